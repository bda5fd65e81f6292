//! What is answered to a sender, and what becomes of what it sent.

use serde_json::json;

use crate::{
    store,
    support::{Answer, App},
};

fn alert(id: &str, start: &str, end: &str) -> String {
    json!({"alert": {
        "monitor": {"name": "Beacons"}, "trigger": {"name": "over nine", "severity": "2"},
        "period": {"start": start, "end": end},
        "results": [{"hits": {"total": {"value": 7}}}], "body": "", "alert": id, "error": ""
    }})
    .to_string()
}

fn first(id: &str) -> String {
    alert(id, "2026-11-06T05:00:00.000Z", "2026-11-06T05:10:00.000Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_waited_for_is_answered_as_malcolm_does_and_is_there() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let answer = app.alert(first("A1")).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let result = &answer.json["result"];
    assert_eq!(result["_index"], json!(store.index("261106")));
    assert_eq!(result["_id"], "261106-A1");
    assert_eq!((&result["_version"], &result["result"]), (&json!(1), &json!("created")));

    let again = app.alert(first("A1")).await;
    assert_eq!((again.status, &again.json["result"]["result"]), (200, &json!("noop")));
    let later = alert("A1", "2026-11-06T05:10:00.000Z", "2026-11-06T05:20:00.000Z");
    let refire = app.alert(later).await;
    assert_eq!((refire.status, &refire.json["result"]["result"]), (200, &json!("updated")));

    let records = store.wait_for_records(1).await;
    let source = &records[0]["_source"];
    assert_eq!(source["event"]["dataset"], "alerting");
    assert_eq!(source["firstPacket"], "2026-11-06T05:00:00.000Z");
    assert_eq!(source["lastPacket"], "2026-11-06T05:20:00.000Z");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_learns_where_the_alert_will_be() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let request = app.post("/mapi/event/").bearer_auth(crate::support::TOKEN);
    let answer = Answer::of(request.header("prefer", "respond-async").body(first("B1"))).await;
    assert_eq!(answer.status, 202);
    let result = &answer.json["result"];
    assert_eq!(result["result"], "accepted");
    let records = store.wait_for_records(1).await;
    assert_eq!((&records[0]["_index"], &records[0]["_id"]), (&result["_index"], &result["_id"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_each_there_once() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let posts = (0..400).map(|n| app.alert(first(&format!("M{}", n % 300))));
    let answers = futures_util::future::join_all(posts).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    store.wait_for_records(300).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_many_alerts() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let body = format!("[{},{},{{}}]", first("L1"), first("L2"));
    let answer = app.alert(body).await;
    assert_eq!(answer.status, 202);
    store.wait_for_records(2).await;
    let letters = app.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0]["reason"].as_str().is_some_and(|why| why.starts_with("alert 3: no `alert` key")),
        "{letters:?}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_as_a_dead_letter_with_its_reason() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for (number, (body, kind, reason)) in [
        ("<html></html>", "text/html", "not JSON"),
        (r#"{"alert":{"monitor":{"#, "application/json", "not JSON"),
        ("17", "application/json", "a number instead of an object"),
        ("{}", "application/json", "no `alert` key"),
        (r#"{"event":{"x":1}}"#, "application/json", "no `alert` key (keys: event)"),
        (r#"{"alert":"fire"}"#, "text/plain", "`alert` is a string"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = app.post("/mapi/alert").header("x-alertloop-token", crate::support::TOKEN);
        let request = request.header("content-type", kind).header("prefer", "wait=20");
        let answer = Answer::of(request.body(body)).await;
        assert_eq!(
            (answer.status, &answer.json["result"]["result"]),
            (202, &json!("dead-letter")),
            "{body}"
        );
        let letters = app.dead_letters().await;
        assert_eq!(letters.len(), number + 1);
        let letter = letters.last().expect("it is there");
        assert!(letter["reason"].as_str().is_some_and(|why| why.contains(reason)), "{letter}");
        let path = format!("/mapi/dead-letters/{}", letter["id"]);
        assert_eq!(Answer::of(app.get(&path)).await.json["body"], body);
    }
    assert!(store.records().await.is_empty());
    assert_eq!(Answer::of(app.get("/mapi/dead-letters/999")).await.status, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_post_leaves_nothing() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for body in ["", "Test message content body for config id malcolm-api-loopback-webhook"] {
        let answer = app.alert(body).await;
        assert_eq!((answer.status, &answer.json["result"]), (200, &json!({})));
    }
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_without_the_secret() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for secret in [None, Some("wrong-but-long-enough"), Some("")] {
        let mut request = app.post("/mapi/alert").body(first("N1"));
        if let Some(secret) = secret {
            request = request.header("x-alertloop-token", secret);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    for path in ["/mapi/alert/opensearch", "/mapi/event"] {
        assert_eq!(Answer::of(app.post(path).body("<html>")).await.status, 401);
    }
    let query = format!("/mapi/alert?token={}", crate::support::TOKEN);
    let answer = Answer::of(app.post(&query).header("prefer", "wait=20").body(first("N2"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(store.wait_for_records(1).await[0]["_id"], "261106-N2");
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_and_its_head_is_kept() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_BODY_LIMIT", "10000")]).await;
    let large = "x".repeat(10_001);
    let answer = app.alert(large.clone()).await;
    assert_eq!(answer.status, 413, "{:?}", answer.json);
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(large.clone())]);
    let answer = app.alert(reqwest::Body::wrap_stream(stream)).await;
    assert_eq!(answer.status, 413, "chunked: {:?}", answer.json);
    let letters = app.dead_letters().await;
    assert_eq!(letters.len(), 2);
    assert!(
        letters[0]["reason"].as_str().is_some_and(|why| why.contains("10001 bytes")),
        "{letters:?}"
    );
    assert_eq!(letters[0]["bytes"], 4_096);
    let fits = "x".repeat(10_000);
    assert_eq!(app.alert(fits).await.status, 202);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_or_method_says_what_is_right() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let answer = Answer::of(app.post("/nowhere").body("x")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json["error"].as_str().is_some_and(|text| text.contains("POST /mapi/alert")));
    let answer = Answer::of(app.get("/mapi/alert")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    let answer = app.post("/mapi/alert/nagios").header("x-alertloop-token", crate::support::TOKEN);
    let answer = Answer::of(answer.body(first("U1"))).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json["error"].as_str().is_some_and(|text| text.contains("known: opensearch")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_there() {
    let store = store!();
    let app = App::start(&store, &[("MALCOLM_API_PREFIX", "")]).await;
    let request = app.post("/alert/opensearch/").header("x-alertloop-token", crate::support::TOKEN);
    assert_eq!(Answer::of(request.header("prefer", "wait=20").body(first("H1"))).await.status, 200);
    for path in ["/livez", "/readyz", "/ready", "/ping", "/metrics"] {
        let answer = Answer::of(app.get(path)).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
    }
    let ready = Answer::of(app.get("/readyz")).await.json;
    assert_eq!((&ready["ready"], &ready["store"]["takes_alerts"]), (&json!(true), &json!(true)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_needs_its_login_where_there_is_one() {
    let store = store!();
    let login = [("ALERTLOOP_ADMIN_USER", "ops"), ("ALERTLOOP_ADMIN_PASSWORD", "hunting-season")];
    let app = App::start(&store, &login).await;
    let letters = || app.get("/mapi/dead-letters");
    assert_eq!(Answer::of(letters()).await.status, 401);
    assert_eq!(Answer::of(letters().basic_auth("ops", Some("wrong"))).await.status, 401);
    assert_eq!(Answer::of(letters().basic_auth("ops", Some("hunting-season"))).await.status, 200);
    assert_eq!(Answer::of(letters().bearer_auth(crate::support::TOKEN)).await.status, 401);
    app.stop().await;
}
