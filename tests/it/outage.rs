//! An alert that was acknowledged is in the index exactly once, whatever the store does in between.
//! What the process, the machine and the disk do is in `tests/faults`.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Mood, Proxy, Reluctant, TOKEN},
};

fn alert(id: &str) -> String {
    alert_on(id, "2026-11-06")
}

fn alert_on(id: &str, day: &str) -> String {
    format!(
        r#"{{"alert":{{"monitor":{{"name":"m"}},"trigger":{{"name":"t"}},"alert":"{id}",
            "period":{{"start":"{day}T05:00:00.000Z","end":"{day}T05:10:00.000Z"}}}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_store_is_away_is_stored_when_it_is_back() {
    let store = store!();
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    assert_eq!(app.alert(alert("before")).await.status, 200);
    proxy.cut();
    let request =
        |id: &str| app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(alert(id));
    for n in 0..50 {
        assert_eq!(Answer::of(request(&format!("during{n}"))).await.status, 202);
    }
    let ready = Answer::of(app.get("/readyz")).await.json;
    assert_eq!((&ready["ready"], &ready["store"]["takes_alerts"]), (&json!(true), &json!(false)));
    assert!(ready["store"]["trouble"].is_string());
    proxy.mend();
    store.wait_for_records(51).await;
    assert_eq!(app.alert(alert("after")).await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_took_without_a_whole_answer_is_stored_once() {
    let store = store!();
    let reluctant = Reluctant::start(&store, 1).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &reluctant.url())]).await;
    assert_eq!(app.alert(alert("before")).await.status, 200);
    for (id, mood) in [("cut", Mood::CutAnswer(60)), ("half", Mood::HalfAnswer)] {
        reluctant.set(mood);
        let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN);
        assert_eq!(
            Answer::of(request.header("prefer", "wait=0.2").body(alert(id))).await.status,
            202
        );
        reluctant.harms(2).await;
        reluctant.set(Mood::Honest);
        assert_eq!(app.alert(alert(id)).await.status, 200);
    }
    store.wait_for_records(3).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_index_holds_no_other() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    assert_eq!(app.alert(alert_on("open", "2026-11-06")).await.status, 200);
    assert_eq!(app.alert(alert_on("first", "2026-11-05")).await.status, 200);
    let settings = format!("{}/_settings", store.index("261105"));
    let block = |value: Value| json!({"index.blocks.read_only_allow_delete": value});
    store.json(Method::Put, &settings, block(json!(true))).await.expect("blocked");

    let ask = |id: &str, day: &str, prefer: &'static str| {
        let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN);
        request.header("prefer", prefer).body(alert_on(id, day))
    };
    for n in 0..5 {
        let blocked = Answer::of(ask(&format!("blocked{n}"), "2026-11-05", "wait=0.2")).await;
        assert_eq!(blocked.status, 202, "{:?}", blocked.json);
    }
    let free = Answer::of(ask("free", "2026-11-06", "wait=20")).await;
    assert_eq!(free.status, 200, "{:?}", free.json);
    assert_eq!(store.records().await.len(), 3);
    store.json(Method::Put, &settings, block(Value::Null)).await.expect("open again");
    store.wait_for_records(8).await;
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_leaves_the_record_and_is_kept() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let misfits = r#"{"alert":{"monitor":{"name":"m"},"trigger":{"name":"t"},"alert":"a",
        "period":{"start":"2026-11-06T05:00:00Z","end":"2026-11-06T05:10:00Z"},
        "body":{"source":{"ip":"not an address","port":"none","bytes":7}}}}"#;
    // Once as a new document, once as another state of it.
    for later in [misfits.to_owned(), misfits.replace("05:10", "05:20")] {
        let answer = app.alert(later).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
        let records = store.wait_for_records(1).await;
        let record = &records[0]["_source"];
        assert_eq!(record["source"], json!({"bytes": 7}));
        assert_eq!(record["tags"], json!(["repaired"]));
        let original = record["event"]["original"].as_str().expect("kept");
        assert!(original.contains("not an address") && original.contains("none"), "{original}");
    }
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_the_store_refuses_becomes_a_dead_letter_and_holds_no_other() {
    let store = store!();
    // In this index, which is older than the template, not even the alert's id fits its field.
    let mapping =
        json!({"mappings": {"properties": {"event": {"properties": {"id": {"type": "ip"}}}}}});
    store.json(Method::Put, &store.index("261105"), mapping).await.expect("an index");
    let app = App::start(&store, &[]).await;
    let answer = app.alert(alert_on("bad", "2026-11-05")).await;
    assert_eq!((answer.status, &answer.json["result"]["result"]), (202, &json!("dead-letter")));
    assert_eq!(app.alert(alert("good")).await.status, 200);
    let letters = app.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("event.id"), "{reason}");
    assert_eq!(store.wait_for_records(1).await[0]["_id"], "261106-good");
    app.stop().await;
}
