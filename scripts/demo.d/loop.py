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
import subprocess
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
MONITORS = "alertloop-monitors"  # where alertloop keeps the monitors that it runs itself
ALERTS = "alertloop-alerts"
RUNS = "alertloop-runs"
LATELY = 540  # seconds over which the sessions are spread; the monitor looks at the last 600
REASON = "More than 5 sessions in 10 minutes"
PLUGINS = {"opensearch-alerting", "opensearch-notifications", "opensearch-notifications-core"}

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ["DEMO_WORK"])
BINARY = os.environ.get("DEMO_BINARY", "")
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
    if not STATE["alerting"]:
        found = store("POST", f"{MONITORS}/_search?size=1000", absent=(404,)) or {"hits": {"hits": []}}
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"] if hit["_source"].get("name") == name}
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


def counter():
    """What counts the messages of monitors that have come in."""
    return "alertloop_received_total" if STATE["alerting"] else "alertloop_monitor_messages_total"


def received():
    """How many have; one that counts nothing yet may be missing."""
    metrics = call("GET", f"{ALERTLOOP}/metrics", headers={TOKEN_HEADER: token()}).splitlines()
    return sum(int(float(line.split()[-1])) for line in metrics if line.startswith((counter() + " ", counter() + "{")))


def command(*arguments):
    """Runs alertloop's own command line, with the settings of the one that serves."""
    settings = {
        "OPENSEARCH_URL": OPENSEARCH, "ALERTLOOP_WEBHOOK_URL": WEBHOOK, "ALERTLOOP_DATA_DIR": str(WORK / "data"),
        "ALERTLOOP_PROVISIONING_DIR": str(WORK / "provisioning"), "ALERTLOOP_LOG": "error", "PATH": os.environ["PATH"]}
    ended = subprocess.run([BINARY, *arguments], env=settings, capture_output=True, text=True, timeout=120)
    if ended.returncode:
        raise Failure(f"alertloop {' '.join(arguments)} failed: {ended.stdout}{ended.stderr}")
    return ended.stdout


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
    having = "with its Alerting and Notifications plugins" if STATE["alerting"] else (
        "without the Alerting plugin: alertloop runs the monitors itself")
    version = about["version"]["number"]
    print(f"+ OpenSearch {version} at {OPENSEARCH}, {having}")


def provisioned():
    """What alertloop made in OpenSearch at its first run."""
    wait_for("provisioning", 60, lambda: readiness()["provisioning"] == "done")
    made = channel() if STATE["alerting"] else None
    began = f"alertloop serves at {ALERTLOOP}"
    if STATE["alerting"] and not made:
        raise Failure("alertloop says that it has provisioned, but there is no channel")
    template = store("GET", f"_template/{TEMPLATE}", absent=(404,))
    url = made["webhook"]["url"] if made else None
    if url and url != WEBHOOK:
        raise Failure(f"somebody made the channel {CHANNEL} of this node his own: it sends to {url}; delete it first")
    found = monitors(EXAMPLE)
    if len(found) != 1:
        raise Failure(f"there are {len(found)} monitors named {EXAMPLE!r}, not one")
    state = "enabled" if list(found.values())[0]["enabled"] else "disabled: an example to copy"
    print(f"+ {began}; what it set up in OpenSearch:")
    if made:
        print(f"channel   {made['name']} → {url}")
        if made["webhook"]["header_params"].get(TOKEN_HEADER) and is_refused():
            print(f"          with the secret {TOKEN_HEADER}: [REDACTED] (a post without it gets 401)")
    else:
        print(f"indices   {MONITORS}, {ALERTS} and {RUNS}, in place of the plugin's; no channel is needed")
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
        STATE["monitor"] = apply(demo_monitor())
        print(f'+ monitor "{NAME}", a file that `alertloop provision apply` has read, is enabled: every minute it asks for {REASON.lower()}')
        wait_for("the monitor's turn", 90, lambda: received() > began)
        print("+ alertloop ran it when it was its turn, and it fired")
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
    else:
        command("monitors", "run", NAME)
        print(f'+ `alertloop monitors run "{NAME}"`: it fired again')
    show_receipt(began)
    wait_for("the record to change", 30, lambda: any(hit["_version"] > first["_version"] for hit in records()))
    wait_for("everything that came to be stored", 30, lambda: readiness()["spool"]["waiting"] == 0)
    judge(first, records())


def over():
    """The condition holds no longer: nobody sends anything, and alertloop reads that the alert is over."""
    body = demo_monitor()
    script = body["triggers"][0]["query_level_trigger"]["condition"]["script"]
    wanted, script["source"] = script["source"], "ctx.results[0].hits.total.value > 5000"
    change(body)
    began, was = received(), records()[0]
    execute_anew()
    print(f'+ monitor "{NAME}" ran again, and its condition holds no longer')
    seen = wait_for("the record to change", 60, lambda: [
        hit for hit in records() if hit["_source"]["event"]["action"] == "released"])
    sent = received() - began
    script["source"] = wanted  # so that it can fire again
    change(body)
    old, now = was["_source"]["event"], seen[0]["_source"]["event"]
    if len(seen) != 1 or now["id"] != old["id"] or sent:
        raise Failure(f"wanted the one record {was['_id']} to be over without a message, but saw {json.dumps(seen)}")
    read = "without a webhook: alertloop read it from OpenSearch Alerting" if STATE["alerting"] else (
        f"without a message: alertloop read it from {ALERTS}")
    print(f"+ {read}, and the record says so:")
    for name in ("action", "end"):
        print(f"event.{name:9} {old[name]} → {now[name]}")
    print(f"event.duration  {now['duration'] / 1e9:.1f} s")


def apply(body):
    """Has alertloop take the demo's monitor from a file; gives its id."""
    folder = WORK / "provisioning" / "monitors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertloop_demo.json").write_text(json.dumps(body))
    command("provision", "apply")
    found = wait_for("the monitor of the file", 30, lambda: list(monitors(NAME)))
    if len(found) != 1:
        raise Failure(f"there are {len(found)} monitors named {NAME!r}, not one")
    return found[0]


def change(body):
    if STATE["alerting"]:
        store("PUT", f"_plugins/_alerting/monitors/{STATE['monitor']}", body)
    else:
        apply(body)


def execute_anew():
    if STATE["alerting"]:
        store("POST", f"_plugins/_alerting/monitors/{STATE['monitor']}/_execute?dryrun=false")
    else:
        command("monitors", "run", NAME)


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
    print(f"+ still exactly 1 record, {seen[0]['_id']}, brought up to date:")
    for name, old, new in (("_version", first["_version"], seen[0]["_version"]),
                           ("event.start", was["start"], now["start"]),
                           ("event.end", was["end"], now["end"]),
                           ("event.hits", was["hits"], now["hits"])):
        print(f"{name:15} {old} (unchanged)" if old == new else f"{name:15} {old} → {new}")


def show_receipt(began):
    what = "the webhook came in, with the right secret" if STATE["alerting"] else (
        "its message went straight into alertloop's spool, without a webhook")
    now = wait_for("the message", 30, lambda: (count := received()) > began and count)
    print(f"+ {what}: {counter()} {began} → {now}")


def demo_monitor():
    text = (ROOT / "provisioning/monitors/malcolm_api_loopback_monitor.json").read_text()
    monitor = json.loads(text.replace("${index_pattern}", PATTERN).replace("${time_field}", "firstPacket"))
    monitor["name"] = NAME
    trigger = monitor["triggers"][0]["query_level_trigger"]
    trigger.update(name=REASON, severity="2")
    trigger["condition"]["script"]["source"] = "ctx.results[0].hits.total.value > 5"
    trigger["actions"][0]["throttle_enabled"] = False
    if not STATE["alerting"]:
        monitor["enabled"] = True  # the plugin's is executed by hand, so that nobody has to wait for its turn
        monitor["schedule"] = {"period": {"interval": 1, "unit": "MINUTES"}}
    return monitor


def execute():
    run = store("POST", f"_plugins/_alerting/monitors/{STATE['monitor']}/_execute?dryrun=false")
    for trigger in run["trigger_results"].values():
        fault = run.get("error") or trigger.get("error") or next(
            (action["error"] for action in trigger["action_results"].values() if action.get("error")), None)
        if fault or not trigger["triggered"]:
            raise Failure(f"the monitor did not fire, or could not send: {fault or json.dumps(run)}")


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
    else:
        settings = f"OPENSEARCH_URL={OPENSEARCH} ALERTLOOP_DATA_DIR={WORK / 'data'}"
        print(f"{'its runs':13} {settings} {BINARY} monitors history '{NAME}'")
        print(f"{'fire again':13} {settings} {BINARY} monitors run '{NAME}'")


def remove_demo():
    for monitor in monitors(NAME):
        remove(monitor)
    ours = {"query": {"bool": {"should": [{"term": {"tags": TAG}}, {"term": {"rule.name": NAME}}]}}}
    if indices():
        store("POST", f"{PATTERN}/_refresh")
        store("POST", f"{PATTERN}/_delete_by_query?conflicts=proceed&refresh=true", ours)


def remove(monitor):
    if STATE["alerting"]:
        store("DELETE", f"_plugins/_alerting/monitors/{monitor}", absent=(404,))
        return
    for index in (MONITORS, RUNS):
        store("DELETE", f"{index}/_doc/{monitor}?refresh=true", absent=(404,))
    query = {"query": {"term": {"monitor_id": monitor}}}
    store("POST", f"{ALERTS}/_delete_by_query?conflicts=proceed&refresh=true", query, absent=(404,))


def undo():
    """Leaves a node that is not the demo's own as it was."""
    remove_demo()
    before = STATE["before"]
    if not before["example"]:
        for monitor in monitors(EXAMPLE):
            remove(monitor)
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
