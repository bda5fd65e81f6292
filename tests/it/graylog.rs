//! What Graylog sends, from its request to the record.

use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Process, TOKEN, settings},
};

const ROUTE: &str = "/mapi/alert/graylog";
const CALLBACK: &str = include_str!("../graylog/callback.json");

fn event(id: &str) -> Value {
    json!({
        "event_definition_id": "66f0", "event_definition_type": "aggregation-v1",
        "event_definition_title": "Failed logins", "event_definition_description": "Somebody guesses",
        "remediation_steps": "", "job_definition_id": "j", "job_trigger_id": "t",
        "event": {
            "id": id, "event_definition_type": "aggregation-v1", "event_definition_id": "66f0",
            "origin_context": null, "timestamp": "2026-11-04T10:00:00.000Z",
            "timestamp_processing": "2026-11-04T10:00:01.000Z",
            "timerange_start": "2026-11-04T09:55:00.000Z", "timerange_end": "2026-11-04T10:00:00.000Z",
            "streams": ["000000000000000000000002"], "source_streams": ["5a0c"],
            "message": "Failed logins: count()=23.0", "source": "graylog-1.lan", "key_tuple": ["10.3.0.9"],
            "key": "10.3.0.9", "priority": 3, "scores": {}, "tags": ["perimeter"], "alert": true,
            "fields": {}, "group_by_fields": {"source_ip": "10.3.0.9"},
            "aggregation_conditions": {"count()": 23.0}, "replay_info": {"query": "*"}
        },
        "backlog": [
            {"index": "graylog_1", "id": "m1", "source": "vpn-1", "message": "failed for ada",
             "timestamp": "2026-11-04T09:55:01.000Z", "stream_ids": ["5a0c"],
             "fields": {"user_name": "ada", "src_ip": "192.0.2.7", "a_field_of_ours": "x"}},
            {"index": "graylog_1", "id": "m2", "source": "vpn-2", "message": "failed for bob",
             "timestamp": "2026-11-04T09:56:01.000Z", "stream_ids": ["5a0c"],
             "fields": {"user_name": "bob", "src_ip": "192.0.2.8"}}
        ]
    })
}

async fn post(app: &App, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.post(path).header("x-alertloop-token", TOKEN).header("prefer", "wait=20");
    Answer::of(request.header("content-type", "application/json").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_one_record_however_often_it_is_sent() {
    let store = store!();
    store.make_template().await;
    let graylog = [("ALERTLOOP_GRAYLOG_URL", "https://graylog.example/logs")];
    let app = App::start(&store, &graylog).await;
    let body = event("01KA40B6R8S0T2V4W6X8Y0Z1A3").to_string();
    let answer = post(&app, ROUTE, body.clone()).await;
    assert_eq!((answer.status, &answer.json["result"]["result"]), (200, &json!("created")));
    for path in [ROUTE, "/mapi/event", "/mapi/alert", "/mapi/alert/graylog/"] {
        let again = post(&app, path, body.clone()).await;
        assert_eq!(
            (again.status, &again.json["result"]["result"]),
            (200, &json!("noop")),
            "{path}"
        );
    }
    let records = store.wait_for_records(1).await;
    assert_eq!(records[0]["_id"], "261104-01KA40B6R8S0T2V4W6X8Y0Z1A3");
    assert_eq!(records[0]["_version"], 1, "it is written once");
    let source = &records[0]["_source"];
    let event = &source["event"];
    for (field, want) in [
        ("provider", json!("graylog")),
        ("action", json!("stored")),
        ("dataset", json!("alerting")),
        ("id", json!("01KA40B6R8S0T2V4W6X8Y0Z1A3")),
        ("reason", json!("Failed logins: count()=23.0")),
        ("severity", json!(80)),
        ("hits", json!(23)),
        (
            "url",
            json!("https://graylog.example/logs/alerts/01KA40B6R8S0T2V4W6X8Y0Z1A3/replay-search"),
        ),
        ("start", json!("2026-11-04T09:55:00.000Z")),
        ("end", json!("2026-11-04T10:00:00.000Z")),
        ("duration", json!(null)),
    ] {
        assert_eq!(event[field], want, "{field}");
    }
    assert_eq!(
        source["rule"],
        json!({"id": "66f0", "name": "Failed logins", "description": "Somebody guesses"})
    );
    assert_eq!(source["observer"], json!({"name": "graylog-1.lan"}));
    assert_eq!(source["message"], "Failed logins: count()=23.0");
    assert_eq!(source["tags"], json!(["perimeter"]));
    assert_eq!(source["source"], json!({"ip": "10.3.0.9"}));
    assert_eq!(
        source["related"],
        json!({"ip": ["10.3.0.9", "192.0.2.7", "192.0.2.8"], "hosts": ["vpn-1", "vpn-2"],
               "user": ["ada", "bob"]})
    );
    let kept: Value =
        serde_json::from_str(event["original"].as_str().expect("kept")).expect("JSON");
    assert_eq!(kept["backlog"]["ids"], json!(["m1", "m2"]));
    assert_eq!(kept["backlog"]["first"]["fields"]["a_field_of_ours"], "x");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_makes_no_field_that_the_template_lacks() {
    let store = store!();
    store.make_template().await;
    let app = App::start(&store, &[]).await;
    let mut body = event("E1");
    body["event"]["group_by_fields"] = json!({"odd.field": "x", "source.ip": "not an address"});
    assert_eq!(post(&app, ROUTE, body.to_string()).await.status, 200);
    let records = store.wait_for_records(1).await;
    let source = &records[0]["_source"];
    assert_eq!((source.get("odd"), source.get("odd.field")), (None, None));
    assert_eq!(source["event"].get("url"), None, "nobody told where Graylog is");
    let mapping = store.raw("GET", &format!("/{}/_mapping", store.pattern()), Value::Null).await;
    let text = mapping.to_string();
    for name in ["odd", "backlog", "group_by_fields", "a_field_of_ours"] {
        assert!(!text.contains(&format!("\"{name}")), "{name}: {text}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_callback_that_is_repeated_is_one_record_and_the_next_alert_another() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let mut next: Value = serde_json::from_str(CALLBACK).expect("JSON");
    next["check_result"]["triggered_at"] = json!("2015-09-10T09:46:54.749Z");
    for (body, path) in [
        (CALLBACK.to_owned(), ROUTE),
        (next.to_string(), "/mapi/event"),
        (CALLBACK.to_owned(), "/mapi/alert"),
    ] {
        let answer = post(&app, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
    }
    let records = store.wait_for_records(2).await;
    let first = records
        .iter()
        .find(|record| record["_source"]["lastPacket"] == "2015-09-10T09:45:54.749Z")
        .map(|record| &record["_source"])
        .expect("the first one");
    assert_eq!(first["firstPacket"], "2015-09-10T09:44:54.749Z");
    assert_eq!(first["event"]["hits"], 2);
    assert_eq!(first["event"]["severity"], 40);
    assert_eq!(first["rule"]["id"], "3c0e1b52-77d4-4f0a-9a65-1d2f84c6b7e9");
    assert_eq!(first["related"]["ip"], json!(["127.0.0.1"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_learns_where_a_callbacks_record_will_be() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let request = app.post(ROUTE).header("x-alertloop-token", TOKEN);
    let answer = Answer::of(request.header("prefer", "respond-async").body(CALLBACK)).await;
    assert_eq!(answer.status, 202);
    let records = store.wait_for_records(1).await;
    let result = &answer.json["result"];
    assert_eq!((&records[0]["_index"], &records[0]["_id"]), (&result["_index"], &result["_id"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graylogs_test_message_is_answered_and_leaves_nothing() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let mut body = event("NotificationTestId");
    body["event_definition_type"] = json!("test-dummy-v1");
    let form = "event_definition_id=this-is-a-test-notification&event_definition_type=test-dummy-v1&event_id=x";
    for path in [ROUTE, "/mapi/event"] {
        for body in [body.to_string(), form.to_owned()] {
            let answer = post(&app, path, body).await;
            assert_eq!((answer.status, &answer.json["result"]), (200, &json!({})), "{path}");
        }
    }
    assert!(app.dead_letters().await.is_empty());
    assert!(store.records().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_and_a_put_are_taken_too() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let form = "event_definition_title=Disk%20%2B%20space&event_id=F1&event_timestamp=2026-11-04T11%3A00%3A00.500Z&event_priority=1";
    let kind = "application/x-www-form-urlencoded";
    let request = app.post(ROUTE).header("x-alertloop-token", TOKEN).header("content-type", kind);
    assert_eq!(Answer::of(request.header("prefer", "wait=20").body(form)).await.status, 200);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let put = client.put(app.url(ROUTE)).header("x-alertloop-token", TOKEN);
    let put = put.header("prefer", "wait=20").body(event("P1").to_string());
    assert_eq!(Answer::of(put).await.status, 200);
    let records = store.wait_for_records(2).await;
    let form = records.iter().find(|record| record["_id"] == "261104-F1").expect("the form's");
    assert_eq!(form["_source"]["rule"]["name"], "Disk + space");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_is_too_large_is_a_dead_letter_of_graylog() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_BODY_LIMIT", "10000")]).await;
    for (body, status, reason) in [
        ("<html></html>".to_owned(), 202, "neither JSON nor a form"),
        ("{\"event\":{".to_owned(), 202, "not JSON"),
        ("{\"token\":1}".to_owned(), 202, "no id, title or message"),
        ("x".repeat(10_001), 413, "10001 bytes"),
    ] {
        assert_eq!(post(&app, ROUTE, body).await.status, status, "{reason}");
        let letters = app.dead_letters().await;
        let letter = letters.last().expect("one");
        assert_eq!(letter["source"], "graylog");
        assert!(letter["reason"].as_str().is_some_and(|why| why.contains(reason)), "{letter}");
    }
    assert!(store.records().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_graylogs_ways_to_send_the_secret_admits() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_TOKEN_PARAMETER", "api_key")]).await;
    let query = format!("{ROUTE}?api_key={TOKEN}");
    let usual = format!("{ROUTE}?token={TOKEN}");
    for (request, want) in [
        (app.post(&query), 200),
        (app.post(ROUTE).basic_auth("graylog", Some(TOKEN)), 200),
        (app.post(ROUTE).header("X-Alertloop-Token", TOKEN), 200),
        (app.post(&usual), 401),
        (app.post(ROUTE), 401),
    ] {
        let request = request.header("prefer", "wait=20").body(event("S1").to_string());
        assert_eq!(Answer::of(request).await.status, want);
    }
    let records = store.wait_for_records(1).await;
    assert!(!records[0].to_string().contains(TOKEN));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_address_stands_in_no_log_and_no_answer() {
    let store = store!();
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&store, dir.path());
    settings.insert("ALERTLOOP_LOG".to_owned(), "trace,hyper=trace,hyper_util=trace".to_owned());
    let process = Process::serve(&settings);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = |path: &str, secret: &str, body: &str| {
        let url = process.url(&format!("{path}?token={secret}"));
        Answer::of(client.post(url).header("prefer", "wait=20").body(body.to_owned()))
    };
    let wrong = "a-wrong-secret-of-graylog";
    let event = event("T1").to_string();
    for (path, secret, body, status) in [
        (ROUTE, TOKEN, event.as_str(), 200),
        (ROUTE, TOKEN, "<html>", 202),
        (ROUTE, wrong, event.as_str(), 401),
        ("/mapi/alert/unknown", TOKEN, event.as_str(), 404),
        ("/nowhere", TOKEN, event.as_str(), 404),
    ] {
        let answer = post(path, secret, body).await;
        assert_eq!(answer.status, status, "{path}: {:?}", answer.json);
        let text = answer.json.to_string();
        assert!(!text.contains(TOKEN) && !text.contains(wrong), "{text}");
    }
    let metrics = Answer::of(client.get(process.url("/metrics"))).await.json.to_string();
    assert!(metrics.contains(r#"alertloop_alerts_total{source=\"graylog\"} 1"#), "{metrics}");
    let log = process.log();
    assert!(log.iter().any(|line| line["level"] == "TRACE"), "it tells all that it can");
    let log = serde_json::to_string(&log).expect("JSON");
    assert!(!log.contains(TOKEN) && !log.contains(wrong), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_cannot_be_read_leaves_the_rest_and_the_body() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let mut body = event("W1");
    body["event"]["priority"] = json!(["high"]);
    body["event"]["timerange_start"] = json!(true);
    body["backlog"] = json!([3]);
    assert_eq!(post(&app, ROUTE, body.to_string()).await.status, 200);
    let records = store.wait_for_records(1).await;
    let source = &records[0]["_source"];
    assert_eq!(source["tags"], json!(["perimeter", "repaired"]));
    assert_eq!(source["firstPacket"], "2026-11-04T10:00:00.000Z");
    assert_eq!(source["event"]["original"], body.to_string());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compatibility_modes_take_graylogs_alerts_on_their_own_route_alone() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_COMPAT", "malcolm-26.08")]).await;
    let answer = post(&app, "/mapi/alert", event("C1").to_string()).await;
    assert_eq!(answer.status, 202, "{:?}", answer.json);
    assert_eq!(app.dead_letters().await.len(), 1);
    assert_eq!(post(&app, ROUTE, event("C2").to_string()).await.status, 200);
    let records = store.wait_for_records(1).await;
    assert_eq!(records[0]["_source"]["event"]["provider"], "graylog");
    app.stop().await;
}
