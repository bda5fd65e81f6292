//! An alert that was acknowledged is in the index exactly once, whatever the store and the process
//! do in between.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Mood, Process, Proxy, Reluctant, TOKEN, settings},
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
async fn a_killed_process_loses_and_doubles_nothing() {
    let store = store!();
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(&store, dir.path());
    store.make_template().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0..20 {
        let process = Process::serve(&settings);
        // The kill comes at another moment each round: after so many of 16 acknowledgements.
        let (acknowledge, mut seen) = tokio::sync::watch::channel(0);
        let posts = (0..16).map(|n| {
            let id = format!("k{round}x{n}");
            let url = process.url("/mapi/alert");
            let (client, acknowledge) = (&client, &acknowledge);
            async move {
                let post = client.post(url).header("x-alertloop-token", TOKEN);
                let post = post.header("prefer", "respond-async").body(alert(&id));
                let status = post.send().await.map(|response| response.status());
                let accepted = status.is_ok_and(|status| status.is_success());
                if accepted {
                    acknowledge.send_modify(|count| *count += 1);
                }
                (id, accepted)
            }
        });
        let load = futures_util::future::join_all(posts);
        let killer = tokio::spawn(async move {
            seen.wait_for(|count| *count >= round * 15 / 19).await.expect("a count");
            process.kill();
        });
        let done = load.await;
        killer.await.expect("killed");
        acknowledged.extend(done.into_iter().filter(|(_, accepted)| *accepted).map(|(id, _)| id));
    }
    let last = Process::serve(&settings);
    let probe = client.post(last.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
    let answer = Answer::of(probe.header("prefer", "wait=20").body(alert("last"))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    // Entries are stored in order, so all before the last one are.
    let records = store.records().await;
    let ids: Vec<String> = records
        .iter()
        .map(|record| record["_source"]["event"]["id"].as_str().expect("an id").to_owned())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(distinct.len(), ids.len(), "nothing is doubled");
    let missing: Vec<_> = acknowledged.difference(&distinct).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert!(acknowledged.len() >= 150, "half were acknowledged before the kills");
    last.signal("TERM");
    assert_eq!(last.wait().code(), Some(0));
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
async fn a_document_that_the_store_refuses_becomes_a_dead_letter_and_holds_no_other() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let wrong = r#"{"alert":{"monitor":{"name":"m"},"trigger":{"name":"t"},"alert":"bad",
        "period":{"start":"2026-11-06T05:00:00Z","end":"2026-11-06T05:10:00Z"},
        "body":{"source":{"ip":"not an address"}}}}"#;
    let answer = app.alert(wrong).await;
    assert_eq!((answer.status, &answer.json["result"]["result"]), (202, &json!("dead-letter")));
    assert_eq!(app.alert(alert("good")).await.status, 200);
    let letters = app.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("source.ip"), "{reason}");
    assert_eq!(store.wait_for_records(1).await[0]["_id"], "261106-good");
    app.stop().await;
}
