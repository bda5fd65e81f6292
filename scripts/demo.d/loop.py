#!/usr/bin/env python3
"""What scripts/demo says to OpenSearch and to alertloop, and what it shows of their answers.

A line that begins with "+ " is something that was reached, with "! " a warning; others are details.
Each command keeps what the next one needs in $DEMO_WORK/state.json.
"""
import datetime
import json
import os
import pathlib
import random
import socket
import sys
import time
import urllib.error
import urllib.request

NAME = "alertloop demo"  # of the monitor, and so rule.name of its records
TAG = "alertloop-demo"  # of the sessions
PATTERN = "arkime_sessions3-*"
CHANNEL = "malcolm-api-loopback-webhook"
EXAMPLE = "Malcolm API Loopback Monitor"
TEMPLATE = "alertloop_sessions"
TOKEN_HEADER = "X-Alertloop-Token"
LATELY = 540  # seconds over which the sessions are spread; the monitor looks at the last 600
REASON = "More than 5 sessions in 10 minutes"
PLUGINS = {"opensearch-alerting", "opensearch-notifications", "opensearch-notifications-core"}

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ["DEMO_WORK"])
OPENSEARCH = os.environ.get("DEMO_OPENSEARCH", "")
ALERTLOOP = os.environ.get("DEMO_ALERTLOOP", "")
WEBHOOK = os.environ.get("DEMO_WEBHOOK", "")

STATE_FILE = WORK / "state.json"
STATE = json.loads(STATE_FILE.read_text()) if STATE_FILE.exists() else {}


class Failure(Exception):
    """The demo cannot go on; says why."""


# ---- HTTP

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method, url, body=None, headers=None, absent=()):
    """The decoded answer; None where the status is one of `absent`."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with NO_PROXY.open(request, timeout=60) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as fault:
        if fault.code in absent:
            return None
        raise Failure(f"{method} {url}: {fault.code} {fault.read(600).decode(errors='replace')}") from None
    except OSError as fault:
        raise Failure(f"{method} {url}: {getattr(fault, 'reason', fault)}") from None
    try:
        return json.loads(text)
    except ValueError:
        return text


def store(method, path, body=None, absent=()):
    return call(method, f"{OPENSEARCH}/{path}", body, absent=absent)


def wait_for(what, seconds, look):
    """What `look` gives once it gives anything; `what` and what it last complained of, if it never does."""
    end = time.monotonic() + seconds
    while True:
        trouble = "nothing yet"
        try:
            found = look()
            if found:
                return found
        except Failure as fault:
            trouble = str(fault)
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what}: {trouble}")
        time.sleep(0.1)


# ---- OpenSearch

def channel():
    found = store("GET", f"_plugins/_notifications/configs/{CHANNEL}", absent=(400, 404, 405)) or {}
    return (found.get("config_list") or [{}])[0].get("config")


def monitors(name):
    query = {"size": 100, "query": {"term": {"monitor.name.keyword": name}}}
    found = store("POST", "_plugins/_alerting/monitors/_search", query, absent=(400, 404, 405)) or {"hits": {"hits": []}}
    return {hit["_id"]: hit["_source"].get("monitor", hit["_source"]) for hit in found["hits"]["hits"]}


def hidden():
    """What alertloop remembers in the store."""
    listed = store("GET", "_cat/indices/alertloop-*?expand_wildcards=all&h=index&format=json")
    return [one["index"] for one in listed]


def indices():
    return [one["index"] for one in store("GET", f"_cat/indices/{PATTERN}?format=json&expand_wildcards=open")]


def records():
    """All records of this run's monitor, the first one first."""
    store("POST", f"{PATTERN}/_refresh")
    query = {"version": True, "size": 20, "sort": {"event.ingested": {"unmapped_type": "date"}}, "query": {"bool": {"filter": [
        {"term": {"event.dataset": "alerting"}}, {"term": {"rule.id": STATE["monitor"]}}]}}}
    return store("POST", f"{PATTERN}/_search", query)["hits"]["hits"]


# ---- alertloop

def token():
    """The secret of the intake; only the channel and alertloop's own folder have it."""
    here = channel() if STATE["alerting"] else None
    if here:
        return here["webhook"]["header_params"].get(TOKEN_HEADER, "")
    kept = WORK / "data" / "intake-token"
    return kept.read_text().strip() if kept.exists() else ""


def readiness():
    return call("GET", f"{ALERTLOOP}/readyz")


def received():
    metrics = call("GET", f"{ALERTLOOP}/metrics", headers={TOKEN_HEADER: token()})
    for line in metrics.splitlines():
        if line.startswith("alertloop_received_total "):
            return int(float(line.split()[1]))
    raise Failure("alertloop's metrics lack alertloop_received_total")


def is_refused():
    """Whether a post without the secret is."""
    return call("POST", f"{ALERTLOOP}/mapi/alert", {}, absent=(401,)) is None


# ---- steps

def port():
    """A free one; 5000, as in the documentation, where that is one."""
    for wanted in (5000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            print(probe.getsockname()[1])
            return


def look(patience):
    """What the node is and holds; leftovers of an earlier demo are removed."""
    about = wait_for("OpenSearch", int(patience), lambda: store("GET", ""))
    wait_for("its shards", 120, lambda: store("GET", "_cluster/health?wait_for_status=yellow&timeout=5s"))
    plugins = {one["component"] for one in store("GET", "_cat/plugins?format=json")}
    STATE["alerting"] = PLUGINS <= plugins
    remove_demo()
    STATE["before"] = {
        "indices": indices(),
        "channel": channel() is not None,
        "example": bool(monitors(EXAMPLE)),
        "template": store("GET", f"_template/{TEMPLATE}", absent=(404,)) is not None,
        "hidden": hidden(),
    }
    having = "with its Alerting and Notifications plugins" if STATE["alerting"] else "without the Alerting plugin"
    version = about["version"]["number"]
    print(f"+ OpenSearch {version} at {OPENSEARCH}, {having}")
    if not STATE["alerting"]:
        print("! SKIPPED alerting: without the Alerting and Notifications plugins no monitor can fire.")
        print("! The demo posts what they would send, as captured from OpenSearch 3.4.0; all else is real.")
        print("! For the whole loop put the three plugin zips into a folder and name it in ALERTLOOP_TEST_PLUGINS.")


def provisioned():
    """What alertloop made in OpenSearch at its first run."""
    wait_for("provisioning", 60, lambda: readiness()["provisioning"] == "done")
    made = channel() if STATE["alerting"] else None
    began = f"alertloop serves at {ALERTLOOP}"
    if STATE["alerting"] and not made:
        raise Failure("alertloop says that it has provisioned, but there is no channel")
    template = store("GET", f"_template/{TEMPLATE}", absent=(404,))
    if not made:
        print(f"+ {began}, and made the index template {TEMPLATE}" if template else f"+ {began}")
        return
    url = made["webhook"]["url"]
    if url != WEBHOOK:
        raise Failure(f"somebody made the channel {CHANNEL} of this node his own: it sends to {url}; delete it first")
    found = monitors(EXAMPLE)
    if len(found) != 1:
        raise Failure(f"there are {len(found)} monitors named {EXAMPLE!r}, not one")
    state = "enabled" if list(found.values())[0]["enabled"] else "disabled: an example to copy"
    print(f"+ {began}; what it set up in OpenSearch:")
    print(f"channel   {made['name']} → {url}")
    if made["webhook"]["header_params"].get(TOKEN_HEADER) and is_refused():
        print(f"          with the secret {TOKEN_HEADER}: [REDACTED] (a post without it gets 401)")
    print(f"monitor   {EXAMPLE}, {state}")
    if template:
        print(f"template  {TEMPLATE}, field types for {PATTERN}")


def traffic(count, more=""):
    """Indexes sessions of the last minutes, like those that Zeek sees of somebody who guesses SSH passwords."""
    count, now, lines = int(count), time.time(), []
    said = f"{count} {more} sessions" if more else f"{count} sessions"
    for number in range(count):
        start = int((now - LATELY * (count - number) / (count + 1)) * 1000)
        day = datetime.datetime.fromtimestamp(start / 1000, datetime.timezone.utc).strftime("%y%m%d")
        uid = "C" + "".join(random.choices("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", k=17))
        lines.append({"create": {"_index": PATTERN.replace("*", day), "_id": f"{day}-{uid}"}})
        lines.append(session(start, uid, dns=number % 6 == 0))
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    answer = store("POST", "_bulk?refresh=true", body)
    faults = [item["create"]["error"] for item in answer["items"] if "error" in item["create"]]
    if faults:
        raise Failure(f"{len(faults)} of {count} sessions were refused: {json.dumps(faults[0])}")
    days = sorted({item["create"]["_index"] for item in answer["items"]})
    print(f"+ {said} of the last {LATELY // 60} minutes (Zeek's ssh and dns) are in {', '.join(days)}")


def session(start, uid, dns):
    """One record of Zeek's conn.log or dns.log, much as Malcolm writes it."""
    server, service, transport, number = ("10.20.0.2", 53, "udp", 17) if dns else ("10.20.0.15", 22, "tcp", 6)
    length = random.randrange(2, 60) if dns else random.randrange(800, 2600)
    bytes_out, bytes_in = (60, 130) if dns else (random.randrange(1800, 2400), random.randrange(2400, 3900))
    name = "dns" if dns else "ssh"
    return {
        "firstPacket": start, "lastPacket": start + length, "length": length,
        "@timestamp": start, "node": "sensor-1", "tags": [TAG], "ipProtocol": number,
        "protocol": [transport, name],
        "event": {"kind": "event", "module": "zeek", "provider": "zeek", "dataset": "dns" if dns else "conn",
                  "id": uid, "start": start, "end": start + length, "duration": length * 1_000_000},
        "source": {"ip": "10.20.0.31" if dns else "198.51.100.23", "port": random.randrange(32768, 61000),
                   "bytes": bytes_out},
        "destination": {"ip": server, "port": service, "bytes": bytes_in},
        "network": {"transport": transport, "protocol": [name], "type": "ipv4", "bytes": bytes_out + bytes_in},
        "totDataBytes": bytes_out + bytes_in,
    }


def fire():
    """The first firing, until its record is there."""
    began = received()
    if STATE["alerting"]:
        STATE["monitor"] = store("POST", "_plugins/_alerting/monitors", demo_monitor())["_id"]
        execute()
        print(f'+ monitor "{NAME}", a copy of the example, fired: {REASON.lower()}')
    else:
        STATE["monitor"] = "demo-" + random.randbytes(6).hex()
        post("first-firing.json", alert="")
        print("+ the body of a first firing was posted, without an alert id, just as OpenSearch sends it")
    show_receipt(began)
    found = wait_for("the record of the alert", 30, records)
    STATE["first"] = found[0]
    print(f"+ the alert is a record beside the traffic, in {PATTERN}:")
    source = found[0]["_source"]
    for name, value in (("_index", found[0]["_index"]), ("_id", found[0]["_id"]), ("rule.name", source["rule"]["name"]),
                        ("event.reason", source["event"]["reason"])):
        print(f"{name:15} {value}")
    for field in ("severity", "start", "end", "hits"):
        print(f"event.{field:9} {source['event'][field]}")


def fire_again():
    """The same alert fires again; its record changes, and stays one."""
    began, first = received(), STATE["first"]
    if STATE["alerting"]:
        execute()
        print(f'+ monitor "{NAME}" fired again')
        show_receipt(began)
        wait_for("the record to change", 30, lambda: any(hit["_version"] > first["_version"] for hit in records()))
    else:
        alert = "demo-" + random.randbytes(8).hex()
        post("re-fire.json", alert)
        of_alert = lambda: [hit for hit in records() if hit["_source"]["event"]["id"] == alert]
        first = wait_for("the record of the re-fire", 30, of_alert)[0]
        time.sleep(0.01)  # so that the next one is later
        post("re-fire.json", alert)
        print("+ the body of a re-fire was posted, with the alert's id, and then that of the next re-fire")
        show_receipt(began)
        wait_for("the record to change", 30, lambda: any(hit["_version"] > 1 for hit in of_alert()))
    wait_for("everything that came to be stored", 30, lambda: readiness()["spool"]["waiting"] == 0)
    seen = records()
    if not STATE["alerting"]:
        seen = [hit for hit in seen if hit["_source"]["event"]["id"] == alert]
    judge(first, seen)
    if not STATE["alerting"]:
        print("! the first firing stays a record of its own: with Alerting there, alertloop asks it for the id")


def over():
    """The condition holds no longer: alertloop reads from the Alerting API that the alert is over."""
    if not STATE["alerting"]:
        print("! SKIPPED: only the Alerting API tells it")
        return
    monitor, body = f"_plugins/_alerting/monitors/{STATE['monitor']}", demo_monitor()
    script = body["triggers"][0]["query_level_trigger"]["condition"]["script"]
    wanted, script["source"] = script["source"], "ctx.results[0].hits.total.value > 5000"
    store("PUT", monitor, body)
    began, was = received(), records()[0]
    store("POST", f"{monitor}/_execute?dryrun=false")
    print(f'+ monitor "{NAME}" ran again, and its condition holds no longer')
    seen = wait_for("the record to change", 60, lambda: [
        hit for hit in records() if hit["_source"]["event"]["action"] == "released"])
    script["source"] = wanted  # so that it can fire again
    store("PUT", monitor, body)
    old, now = was["_source"]["event"], seen[0]["_source"]["event"]
    if len(records()) != 1 or now["id"] != old["id"] or received() != began:
        raise Failure(f"wanted the one record {was['_id']} to be over without a webhook, but saw {json.dumps(seen)}")
    print("+ without a webhook: alertloop read it from OpenSearch Alerting, and the record says so:")
    for name in ("action", "end"):
        print(f"event.{name:9} {old[name]} → {now[name]}")
    print(f"event.duration  {now['duration'] / 1e9:.1f} s")


def judge(first, seen):
    """Fails unless `seen` is the one record that `first` became."""
    was = first["_source"]["event"]
    good = len(seen) == 1 and seen[0]["_id"] == first["_id"] and seen[0]["_version"] >= 2
    if good:
        now = seen[0]["_source"]["event"]
        good = now["start"] == was["start"] and now["end"] > was["end"]
    if not good:
        saw = [f"{hit['_index']}/{hit['_id']} _version {hit['_version']}, "
               f"{hit['_source']['event']['start']} to {hit['_source']['event']['end']}" for hit in [first, *seen]]
        raise Failure("\n  ".join([f"wanted {saw[0]} with a later end, but saw {len(seen)} records:", *saw[1:]]))
    still = "still" if STATE["alerting"] else "the re-fires are"
    print(f"+ {still} exactly 1 record, {seen[0]['_id']}, brought up to date:")
    for name, old, new in (("_version", first["_version"], seen[0]["_version"]),
                           ("event.start", was["start"], now["start"]),
                           ("event.end", was["end"], now["end"]),
                           ("event.hits", was["hits"], now["hits"])):
        print(f"{name:15} {old} (unchanged)" if old == new else f"{name:15} {old} → {new}")


def show_receipt(began):
    what = "the webhook" if STATE["alerting"] else "it"
    now = wait_for("the webhook", 30, lambda: (count := received()) > began and count)
    print(f"+ {what} came in, with the right secret: alertloop_received_total {began} → {now}")


def demo_monitor():
    text = (ROOT / "provisioning/monitors/malcolm_api_loopback_monitor.json").read_text()
    monitor = json.loads(text.replace("${index_pattern}", PATTERN).replace("${time_field}", "firstPacket"))
    monitor["name"] = NAME
    trigger = monitor["triggers"][0]["query_level_trigger"]
    trigger.update(name=REASON, severity="2")
    trigger["condition"]["script"]["source"] = "ctx.results[0].hits.total.value > 5"
    trigger["actions"][0]["throttle_enabled"] = False
    return monitor


def execute():
    run = store("POST", f"_plugins/_alerting/monitors/{STATE['monitor']}/_execute?dryrun=false")
    for trigger in run["trigger_results"].values():
        fault = run.get("error") or trigger.get("error") or next(
            (action["error"] for action in trigger["action_results"].values() if action.get("error")), None)
        if fault or not trigger["triggered"]:
            raise Failure(f"the monitor did not fire, or could not send: {fault or json.dumps(run)}")


def post(captured, alert):
    """Posts what OpenSearch once sent, with this run's names and times."""
    hits = store("POST", f"{PATTERN}/_count", {"query": {"term": {"tags": TAG}}})["count"]
    now = datetime.datetime.now(datetime.timezone.utc)
    times = {"start": now - datetime.timedelta(minutes=10), "end": now}
    body = json.loads((ROOT / "tests/captured" / captured).read_text())
    body["alert"]["monitor"] = {"id": STATE["monitor"], "name": NAME}
    body["alert"]["trigger"].update(name=REASON, severity="2")
    body["alert"]["period"] = {
        name: at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for name, at in times.items()}
    body["alert"]["results"][0]["hits"]["total"]["value"] = hits
    began = STATE.setdefault("began", str(int(now.timestamp() * 1000)))
    body["alert"].update(alert=alert, start=began if alert else "")
    answer = call("POST", f"{ALERTLOOP}/mapi/alert", body, {TOKEN_HEADER: token(), "Prefer": "wait=20"})
    if "reason" in answer["result"]:
        raise Failure(f"alertloop did not store it: {answer['result']['reason']}")


def where_next():
    """Addresses; of alertloop's own only those that answer without a login or a secret."""
    for name, path in (("is it well?", "readyz"), ("metrics", "metrics"), ("dead letters", "mapi/dead-letters")):
        if call("GET", f"{ALERTLOOP}/{path}", absent=(401, 404)) is not None:
            print(f"{name:13} {ALERTLOOP}/{path}")
    record = STATE["first"]
    print(f"{'the record':13} {OPENSEARCH}/{record['_index']}/_doc/{record['_id']}?pretty")
    if STATE["alerting"]:
        run = f"{OPENSEARCH}/_plugins/_alerting/monitors/{STATE['monitor']}/_execute?dryrun=false"
        print(f"{'fire again':13} curl -X POST '{run}'")


def remove_demo():
    for monitor in monitors(NAME) if STATE["alerting"] else ():
        store("DELETE", f"_plugins/_alerting/monitors/{monitor}", absent=(404,))
    ours = {"query": {"bool": {"should": [{"term": {"tags": TAG}}, {"term": {"rule.name": NAME}}]}}}
    if indices():
        store("POST", f"{PATTERN}/_refresh")
        store("POST", f"{PATTERN}/_delete_by_query?conflicts=proceed&refresh=true", ours)


def undo():
    """Leaves a node that is not the demo's own as it was."""
    remove_demo()
    before = STATE["before"]
    if STATE["alerting"] and not before["example"]:
        for monitor in monitors(EXAMPLE):
            store("DELETE", f"_plugins/_alerting/monitors/{monitor}", absent=(404,))
    if STATE["alerting"] and not before["channel"]:
        store("DELETE", f"_plugins/_notifications/configs/{CHANNEL}", absent=(404,))
    for index in set(indices()) - set(before["indices"]):
        if store("POST", f"{index}/_count")["count"] == 0:
            store("DELETE", index, absent=(404,))
    for index in set(hidden()) - set(before["hidden"]):
        store("DELETE", index, absent=(404,))
    if not before["template"]:
        store("DELETE", f"_template/{TEMPLATE}", absent=(404,))


COMMANDS = {
    "port": port, "look": look, "provisioned": provisioned, "traffic": traffic, "fire": fire,
    "fire-again": fire_again, "over": over, "where-next": where_next, "undo": undo,
}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]](*sys.argv[2:])
        STATE_FILE.write_text(json.dumps(STATE))
    except Failure as fault:
        sys.exit(str(fault))
