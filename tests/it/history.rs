//! Alerts that are and were, as the service and the command tell them from the real store.

use std::time::Duration;

use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    callbacks::settings_with,
    store,
    support::{
        Answer, App, Process, Proxy, Receiver, Store, TOKEN,
        kept::{ago, ids, keep, keep_traffic, record, refresh},
        schema, settings,
    },
};

const PATIENCE: Duration = Duration::from_mins(1);
const DAY: &str = "261122";

async fn fill(store: &Store) {
    let mut all = [
        record("a", "engaged", ("ntopng", 80), (10, 1)),
        record("b", "released", ("ntopng", 60), (20, 2)),
        record("c", "acknowledged", ("malcolm", 100), (30, 3)),
        record("d", "engaged", ("ntopng", 40), (600, 500)),
        record("e", "stored", ("graylog", 20), (700, 700)),
        record("f", "engaged", ("malcolm", 80), (3_000, 2_990)),
    ];
    all[0]["tags"] = json!(["host:10.0.0.1", "repaired"]);
    all[0]["message"] = json!("SYN flood by host 10.0.0.1");
    all[1]["event"]["duration"] = json!(1_080_000_000_000_i64);
    all[2]["source"] = json!({ "ip": "10.0.0.1" });
    all[5]["event"]["outcome"] = json!("failure");
    all[5]["error"] = json!({ "message": "no such field" });
    keep(store, DAY, &all[..3]).await;
    keep(store, "261121", &all[3..]).await;
    // Traffic beside: it is no alert.
    keep_traffic(store, DAY).await;
    refresh(store).await;
}

async fn get(app: &App, path: &str) -> Value {
    let answer = Answer::of(app.get(path)).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
    answer.json
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_filtered_and_counted() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let app = App::start(&store, &[("ALERTLOOP_STALE_AFTER", "1h")]).await;
    for (query, want) in [
        ("", "a b c d e f"),
        ("/?limit=2", "a b"),
        ("?state=engaged", "a d f"),
        ("?state=released,stored", "b e"),
        ("?state=failure", "f"),
        ("?state=failure,stored", "e f"),
        ("?source=ntopng", "a b d"),
        ("?source=opensearch", "c f"),
        ("?source=malcolm", "c f"),
        ("?severity=80", "a c f"),
        ("?rule=rule%20ntopng", "a b d"),
        ("?rule=id-malcolm&severity=100", "c"),
        ("?entity=10.0.0.1", "a c"),
        ("?entity=host:10.0.0.1", "a"),
        ("?text=syn%20FLOOD", "a"),
        ("?text=Reason%20of%20b", "b"),
        ("?text=no%20such%20thing", ""),
        ("?from=60m", "a b c"),
        ("?from=24h&to=5h", "d e"),
        ("?to=1d", "f"),
        ("?state=&source=&text=", "a b c d e f"),
    ] {
        let page = get(&app, &format!("/mapi/alerts{query}")).await;
        assert_eq!(ids(&page), want, "{query}");
    }
    let all = get(&app, "/mapi/alerts").await;
    assert_eq!((&all["total"], &all["is_more"]), (&json!(6), &json!(false)));
    let [a, b, _, d, ..] = all["items"].as_array().expect("items").as_slice() else { panic!() };
    assert_eq!((&a["tags"], &a["ended"]), (&json!(["repaired"]), &Value::Null));
    assert_eq!((&b["duration_ms"], &b["ended"]), (&json!(1_080_000), &b["news"]));
    assert_eq!((&b["stale"], &d["stale"]), (&json!(false), &json!(true)));

    let overview = get(&app, "/mapi/alerts/overview").await;
    assert_eq!((&overview["total"], &overview["interval_seconds"]), (&json!(5), &json!(1_800)));
    let counts = json!({"critical": 1, "high": 1, "medium": 1, "low": 1, "info": 1});
    assert_eq!(overview["severities"], counts);
    assert_eq!(overview["sources"], json!({"ntopng": 3, "malcolm": 1, "graylog": 1}));
    assert_eq!(
        overview["states"],
        json!({"engaged": 2, "released": 1, "acknowledged": 1, "stored": 1})
    );
    let bars = overview["bars"].as_array().expect("bars");
    let in_bars = bars.iter().flat_map(|bar| bar["counts"].as_object().expect("counts").values());
    assert_eq!((bars.len(), in_bars.filter_map(Value::as_u64).sum::<u64>()), (48, 5));
    let week = get(&app, "/mapi/alerts/overview/?last=7d&source=malcolm").await;
    assert_eq!((&week["total"], &week["states"]["failure"]), (&json!(2), &json!(1)));
    for (path, why) in [
        ("/mapi/alerts?after=x", "`after`"),
        ("/mapi/alerts?state=open", "known: engaged"),
        ("/mapi/alerts?from=monday", "write a time"),
        ("/mapi/alerts?severity=101", "0 to 100"),
        ("/mapi/alerts?sevrity=1", "sevrity"),
        ("/mapi/alerts/overview?last=1y", "write a time"),
    ] {
        let answer = Answer::of(app.get(path)).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json.to_string().contains(why), "{path}: {:?}", answer.json);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_all_pages_sees_every_alert_once_while_others_come_and_change() {
    let store = store!();
    store.make_template().await;
    // Some began at the very same moment.
    let began = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let old: Vec<Value> = (0..40)
        .map(|number| {
            let mut one = record(&format!("old-{number:02}"), "engaged", ("ntopng", 60), (0, 0));
            let at = began - jiff::SignedDuration::from_secs(number / 4);
            one["event"]["start"] = json!(format!("{at:.3}"));
            one
        })
        .collect();
    keep(&store, DAY, &old).await;
    refresh(&store).await;
    let app = App::start(&store, &[]).await;
    let (mut seen, mut next, mut round) = (Vec::new(), Some(String::new()), 0);
    while let Some(after) = next {
        let page = get(&app, &format!("/mapi/alerts?limit=7&after={after}")).await;
        seen.extend(ids(&page).split_whitespace().map(str::to_owned));
        next = page["next"].as_str().map(str::to_owned);
        // New ones come, and old ones change their state, on pages before and on pages to come.
        keep(&store, DAY, &[record(&format!("new-{round}"), "engaged", ("ntopng", 80), (0, 0))])
            .await;
        for changed in [round, 39 - round] {
            let path = format!("/{}/_update/{DAY}-old-{changed:02}", store.index(DAY));
            let released = json!({"doc": {"event": {"action": "released", "end": ago(0)}}});
            store.json(Method::Post, &path, released).await.expect("an update");
        }
        refresh(&store).await;
        round += 1;
    }
    let want: Vec<_> = (0..40).map(|number| format!("old-{number:02}")).collect();
    assert_eq!(seen, want);
    let all = get(&app, "/mapi/alerts?limit=1000").await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(40 + round));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_goes_on_past_records_of_others_without_an_id_or_a_start_and_past_one_written_again()
{
    let store = store!();
    store.make_template().await;
    keep(&store, DAY, &[record("ours", "engaged", ("ntopng", 60), (60, 60))]).await;
    let foreign = json!({ "dataset": "alerting", "action": "stored", "provider": "other" });
    for (id, start, own) in [
        ("a", Some(60), None),
        ("b", Some(60), None),
        ("c", None, Some("c")),
        ("d", None, None),
        ("e", None, None),
        ("f", Some(60), Some("")),
    ] {
        let mut event = foreign.clone();
        event["start"] = json!(start.map(ago));
        event["id"] = json!(own);
        let path = format!("/{}/_doc/{DAY}-{id}", store.index(DAY));
        let one = json!({ "firstPacket": ago(60), "event": event });
        store.json(Method::Put, &path, one).await.expect("a record");
    }
    refresh(&store).await;
    let app = App::start(&store, &[]).await;
    let (mut seen, mut next) = (Vec::new(), Some(String::new()));
    while let Some(after) = next {
        assert!(seen.len() < 20, "it goes round: {seen:?}");
        let page = get(&app, &format!("/mapi/alerts?limit=1&after={after}")).await;
        if let Some(last) = page["items"][0]["id"].as_str() {
            seen.push(last.to_owned());
            let path = format!("/{}/_update/{last}", store.index(DAY));
            let again = json!({"doc": {"event": {"reason": "written again"}}});
            store.json(Method::Post, &path, again).await.expect("an update");
            refresh(&store).await;
        }
        next = page["next"].as_str().map(str::to_owned);
    }
    seen.sort_unstable();
    let want = ["a", "b", "c", "d", "e", "f", "ours"].map(|id| format!("{DAY}-{id}"));
    assert_eq!(seen, want);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_csv_every_alert_of_a_filter_is_there_and_no_formula_and_a_part_is_never_taken_for_all()
{
    const COUNT: usize = 3_500;
    let store = store!();
    store.make_template().await;
    // Together more than connections hold back.
    let padding = "+".repeat(8_000);
    for numbers in (0..COUNT).collect::<Vec<_>>().chunks(500) {
        let record = |number: &usize| {
            let mut one = record(&format!("n{number}"), "stored", ("ntopng", 60), (20, 2));
            one["rule"]["name"] = json!("=HYPERLINK(\"http://198.51.100.1/\",\"more\")");
            one["message"] = json!(padding);
            one
        };
        keep(&store, DAY, &numbers.iter().map(record).collect::<Vec<_>>()).await;
    }
    keep(&store, DAY, &[record("other", "stored", ("graylog", 60), (20, 2))]).await;
    refresh(&store).await;
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;

    let answer = app.get("/alerts.csv?source=ntopng").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    let shown = answer.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert!(shown.starts_with("attachment; filename=\"alerts-2"), "{shown}");
    let csv = answer.text().await.expect("all of it");
    let mut lines = csv.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("\"began\",")), "{csv:.80}");
    let mut ids = Vec::new();
    for line in lines {
        assert!(line.contains(",\"'=HYPERLINK(\"\"http"), "{line:.200}");
        assert!(line.contains(",\"'+++"), "{line:.200}");
        ids.push(line.rsplit(',').next().expect("an id"));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), COUNT, "{csv:.300}");

    let mut answer = app.get("/alerts.csv?source=ntopng").send().await.expect("an answer");
    assert!(answer.chunk().await.expect("bytes").is_some());
    proxy.cut();
    let rest = async {
        while answer.chunk().await.map_err(drop)?.is_some() {}
        Ok::<_, ()>(())
    };
    assert_eq!(rest.await, Err(()), "it is cut off");
    let answer = Answer::of(app.get("/alerts.csv")).await;
    assert_eq!(answer.status, 503, "{:?}", answer.json);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alert_is_told_with_all_that_is_known_of_it() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    // It is seen before the index is refreshed, and odd ids stay what they are.
    for odd in ["a/b", "a b&c?d#e", "ü~%2F", "../../x", "\"quoted\\"] {
        keep(&store, DAY, &[record(odd, "engaged", ("ntopng", 80), (1, 1))]).await;
    }
    let app = App::start(&store, &[]).await;
    for odd in ["a/b", "a b&c?d#e", "ü~%2F", "../../x", "\"quoted\\"] {
        let mut url: reqwest::Url = app.url("/").parse().expect("a URL");
        let id = format!("{DAY}-{odd}");
        url.path_segments_mut().expect("a path").pop_if_empty().extend(["mapi", "alerts", &id]);
        let path = url.path().to_owned();
        assert_eq!(get(&app, &path).await["alert"], odd, "{path}");
    }
    let released = get(&app, &format!("/mapi/alerts/{DAY}-b")).await;
    let stages = released["stages"].as_array().expect("stages").iter();
    let told: Vec<_> = stages.map(|stage| stage["state"].as_str().expect("text")).collect();
    assert_eq!(told, ["engaged", "received", "released"]);
    assert_eq!(released["record"]["rule"]["name"], "rule ntopng");
    // By the alert's own id, in another index than today's; with a slash at the end.
    let failed = get(&app, "/mapi/alerts/f/").await;
    assert_eq!((&failed["id"], &failed["outcome"]), (&json!("261121-f"), &json!("failure")));
    let last = failed["stages"].as_array().expect("stages").last().expect("a stage");
    assert_eq!((&last["state"], &last["what"]), (&json!("failure"), &json!("no such field")));
    let long = "x".repeat(2_000);
    for missing in ["261122-nobody", "nobody", "261122-traffic", "991399-x", "%00", &long] {
        let answer = Answer::of(app.get(&format!("/mapi/alerts/{missing}"))).await;
        assert_eq!(answer.status, 404, "{missing}: {:?}", answer.json);
        assert!(answer.json["error"].as_str().expect("a reason").contains("dead letters"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deliveries_of_an_alert_and_its_message_belong_to_its_life() {
    let store = store!();
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let callbacks = format!(
        "[[callback]]\nname = \"hook\"\ntype = \"http\"\nurl = \"{}\"\n",
        receiver.url("hook")
    );
    let process = Process::serve(&settings_with(&store, dir.path(), &callbacks));
    let body = json!({"sharedsecret": "s3cret-in-a-body", "alert": {
        "monitor": {"id": "m", "name": "history"}, "trigger": {"name": "over 9", "severity": "2"},
        "period": {"start": ago(2), "end": ago(1)}, "alert": "history-1", "body": "", "error": ""}});
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
    let answer = Answer::of(request.header("prefer", "wait=20").body(body.to_string())).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let id = answer.json["result"]["_id"].as_str().expect("an id").to_owned();
    let told = async {
        loop {
            let life =
                Answer::of(client.get(process.url(&format!("/mapi/alerts/{id}")))).await.json;
            if life["deliveries"][0]["state"] == "delivered" {
                return life;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let life = tokio::time::timeout(PATIENCE, told).await.expect("delivered");
    assert_eq!(life["deliveries"].as_array().map(Vec::len), Some(1), "{life}");
    assert_eq!(life["deliveries"][0]["callback"], "hook");
    assert_eq!(life["raw"]["kept_in"], "delivery", "{life}");
    let raw = life["raw"]["body"].as_str().expect("a body");
    assert!(raw.contains("history-1") && raw.contains("\"sharedsecret\":\"***\""), "{raw}");
    assert!(!life.to_string().contains("s3cret-in-a-body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_the_last_answers_are_given_and_marked() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    assert_eq!(ids(&get(&app, "/mapi/alerts").await), "a b c d e f");
    assert_eq!(get(&app, "/mapi/alerts/overview").await["total"], 5);
    proxy.cut();
    for (path, seen) in [("/mapi/alerts", "/items/0/alert"), ("/mapi/alerts/overview", "/total")] {
        let marked = async {
            loop {
                let answer = get(&app, path).await;
                assert!(!answer.pointer(seen).expect("as before").is_null());
                if answer["outdated"].is_string() {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, marked).await.expect("marked");
        assert!(answer["age_ms"].as_u64() >= Some(1_000), "{answer}");
    }
    for path in ["/mapi/alerts?source=ntopng", "/mapi/alerts/261122-a", "/mapi/conditions"] {
        let answer = Answer::of(app.get(path)).await;
        assert_eq!(answer.status, 503, "{path}: {:?}", answer.json);
        assert_eq!(answer.header("retry-after"), "5");
    }
    assert_eq!(get(&app, "/mapi/status").await["ready"], true);
    proxy.mend();
    let again = async {
        while get(&app, "/mapi/alerts").await["outdated"].is_string() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("as before");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_closed_or_has_no_shard_hides_its_own_alerts_alone_and_is_named() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let app = App::start(&store, &[]).await;
    let closed = store.index("261121");
    store.json(Method::Post, &format!("/{closed}/_close"), Value::Null).await.expect("closed");
    assert_eq!(ids(&get(&app, "/mapi/alerts").await), "a b c");
    let answer = Answer::of(app.get("/mapi/alerts/261121-f")).await;
    let why = answer.json["error"].as_str().expect("a reason").to_owned();
    assert_eq!(answer.status, 503, "{why}");
    assert!(why.contains(&format!("POST {closed}/_open")), "{why}");

    let red = store.index("261120");
    let nowhere = json!({"settings": {"index.routing.allocation.require._name": "nowhere"}});
    let path = format!("/{red}?wait_for_active_shards=0");
    store.json(Method::Put, &path, nowhere).await.expect("an index");
    let incomplete = async {
        loop {
            let page = get(&app, "/mapi/alerts").await;
            assert_eq!(ids(&page), "a b c");
            if let Some(why) = page["incomplete"].as_str() {
                return why.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let why = tokio::time::timeout(PATIENCE, incomplete).await.expect("marked");
    assert!(why.contains("1 of 2 shards"), "{why}");
    for (id, part) in [("261120-x", red.as_str()), ("nobody", "1 of 2 shards")] {
        let answer = Answer::of(app.get(&format!("/mapi/alerts/{id}"))).await;
        let why = answer.json["error"].as_str().expect("a reason").to_owned();
        assert_eq!(answer.status, 503, "{id}: {why}");
        assert!(why.contains(part), "{why}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_as_the_openapi_document_promises() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let app = App::start(&store, &[]).await;
    // A dead letter, to have one.
    let answer = Answer::of(
        app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body("\u{0}\u{1} no alert"),
    )
    .await;
    assert!(answer.status < 300, "{:?}", answer.json);
    app.drained().await;
    let document = get(&app, "/mapi/openapi.json").await;
    let letter = app.dead_letters().await.first().map(|one| one["id"].to_string());
    let mut asked = vec![
        ("/mapi/alerts", "/mapi/alerts".to_owned(), 200),
        ("/mapi/alerts", "/mapi/alerts?state=x".to_owned(), 400),
        ("/mapi/alerts/engaged", "/mapi/alerts/engaged".to_owned(), 200),
        ("/mapi/alerts/overview", "/mapi/alerts/overview".to_owned(), 200),
        ("/mapi/alerts/{id}", "/mapi/alerts/261122-b".to_owned(), 200),
        ("/mapi/alerts/{id}", "/mapi/alerts/nobody".to_owned(), 404),
        ("/mapi/deliveries", "/mapi/deliveries".to_owned(), 200),
        ("/mapi/dead-letters", "/mapi/dead-letters".to_owned(), 200),
        ("/mapi/status", "/mapi/status".to_owned(), 200),
        ("/readyz", "/readyz".to_owned(), 200),
        ("/mapi/ping", "/mapi/ping/".to_owned(), 200),
        ("/mapi/openapi.json", "/mapi/openapi.json".to_owned(), 200),
    ];
    if let Some(id) = letter {
        asked.push(("/mapi/dead-letters/{id}", format!("/mapi/dead-letters/{id}"), 200));
    }
    if Store::has_alerting() {
        asked.push(("/mapi/conditions", "/mapi/conditions?all=true".to_owned(), 200));
    }
    for (path, url, status) in asked {
        let answer = Answer::of(app.get(&url)).await;
        assert_eq!(answer.status, status, "{url}: {:?}", answer.json);
        let fault = schema::fault(&document, path, status, &answer.json);
        assert_eq!(fault, None, "{url}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_and_shows_by_way_of_the_service_and_without_one_from_the_store() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let mut evil = record("g", "released", ("ntopng", 60), (5, 4));
    evil["rule"]["name"] = json!("evil\u{1b}[2Jrule");
    keep(&store, DAY, &[evil]).await;
    refresh(&store).await;
    let app = App::start(&store, &[]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(&store, dir.path());
    let url = app.url("/");
    for place in [["--url", url.as_str()].as_slice(), &[]] {
        let run = |words: &[&str], more: &[&str]| {
            Process::output(&settings, &[&["alerts"], words, place, more].concat())
        };
        let (code, out, err) = run(&["list"], &["--severity", "60", "--from", "1h"]);
        assert_eq!((code, out.lines().count()), (0, 5), "{out}{err}");
        assert!(out.contains("evil\\u{1b}[2Jrule") && !out.contains('\u{1b}'), "{out}");
        let (code, out, _) = run(&["list"], &["--output", "json", "--limit", "2"]);
        let items: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((code, ids(&json!({"items": items})).as_str()), (0, "g a"));
        let (code, out, err) = run(&["list"], &["--entity", "10.9.9.9"]);
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        assert!(err.contains("no alerts"), "{err}");
        let (code, out, err) = run(&["show", "261122-b"], &[]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("lasted    18m") && out.contains("what happened"), "{out}");
        let (code, out, _) = run(&["show", "b"], &["--output", "json"]);
        let life: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((code, &life["id"]), (0, &json!("261122-b")));
        let (code, _, err) = run(&["show", "nobody"], &[]);
        assert_eq!(code, 1);
        assert!(err.contains("no alert has this id"), "{err}");
        let (code, _, err) = run(&["list"], &["--from", "monday"]);
        assert_eq!(code, 2, "{err}");
    }
    app.stop().await;
}
