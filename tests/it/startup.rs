//! What can be wrong at the start, and what is said of it; and how it stops.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Process, Store, TOKEN, settings},
};

const ALERT: &str = r#"{"alert":{"monitor":{"name":"m"},"trigger":{"name":"t"},"alert":"S1",
    "period":{"start":"2026-11-06T05:00:00.000Z","end":"2026-11-06T05:10:00.000Z"}}}"#;

/// Runs a command to its end; exit code and stderr.
fn ends(settings: &HashMap<String, String>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Process::command(settings, arguments).output().expect("an end");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Settings for a store that is not there.
fn without_store(dir: &std::path::Path) -> HashMap<String, String> {
    let mut settings: HashMap<String, String> = HashMap::new();
    for (name, value) in [
        ("OPENSEARCH_URL", "http://127.0.0.1:9"),
        ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
        ("ALERTLOOP_DATA_DIR", dir.to_str().expect("UTF-8")),
        ("ALERTLOOP_TOKEN", TOKEN),
        ("ALERTLOOP_LOG_FORMAT", "json"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    settings
}

#[test]
fn all_bad_settings_are_named_at_once_and_no_value_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = without_store(dir.path());
    for (name, value) in [
        ("ALERTLOOP_LISTEN", "nowhere-to-be-seen"),
        ("ALERTLOOP_TOKEN", "sh0rt"),
        ("ALERTLOOP_BODY_LIMIT", "a-lot-of-it"),
        ("ALERTLOOP_LISTNE", "127.0.0.1:1"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let (code, told) = ends(&settings, &["serve"]);
    assert_eq!(code, Some(2), "{told}");
    for name in ["ALERTLOOP_LISTEN", "ALERTLOOP_TOKEN", "ALERTLOOP_BODY_LIMIT", "ALERTLOOP_LISTNE"]
    {
        assert!(told.contains(name), "{name}: {told}");
    }
    for value in ["nowhere-to-be-seen", "sh0rt", "a-lot-of-it"] {
        assert!(!told.contains(value), "{told}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_the_start_with_the_mend() {
    let dir = tempfile::tempdir().expect("a directory");
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "in the way").expect("a file");
    let (code, told) = ends(&without_store(&blocked.join("data")), &["serve"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("ALERTLOOP_DATA_DIR"), "{told}");
}

#[test]
fn a_read_only_data_directory_ends_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut mode = std::fs::metadata(dir.path()).expect("it is there").permissions();
    mode.set_mode(0o500);
    std::fs::set_permissions(dir.path(), mode).expect("a mode");
    if std::fs::write(dir.path().join("probe"), "").is_ok() {
        return crate::support::skip("this user may write anywhere (root)");
    }
    let (code, told) = ends(&without_store(dir.path()), &["serve"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("cannot write to the data directory"), "{told}");
}

#[test]
fn a_second_process_on_the_same_directory_ends_and_the_first_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = without_store(dir.path());
    let first = Process::serve(&settings);
    let (code, told) = ends(&settings, &["serve"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another alertloop uses the data directory"), "{told}");
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_under_way_and_keeps_the_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = without_store(dir.path());
    let process = Process::serve(&settings);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = |process: &Process| {
        client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN).body(ALERT)
    };
    let begin = Instant::now();
    let answer = Answer::of(post(&process)).await;
    assert_eq!(answer.status, 202, "{:?}", answer.json);
    assert!(begin.elapsed() < Duration::from_secs(5), "the store is away, so nobody waits for it");

    // A request that has begun, and is finished only after the signal.
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<&'static str>>(2);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let slow = post(&process).body(reqwest::Body::wrap_stream(body));
    let slow = tokio::spawn(Answer::of(slow));
    sender.send(Ok(&ALERT[..20])).await.expect("room");
    // The request has arrived once the metrics count it.
    loop {
        let text = client.get(process.url("/metrics")).send().await.expect("metrics");
        let text = text.text().await.expect("a text");
        if text.lines().any(|line| line.starts_with("alertloop_received_total 2")) {
            break;
        }
        tokio::task::yield_now().await;
    }
    process.signal("TERM");
    // It listens no more, and finishes what it has.
    while client.get(process.url("/livez")).send().await.is_ok_and(|r| r.status() == 200) {
        tokio::task::yield_now().await;
    }
    sender.send(Ok(&ALERT[20..])).await.expect("room");
    drop(sender);
    assert_eq!(slow.await.expect("no panic").status, 202);
    assert_eq!(process.wait().code(), Some(0));

    let spool = alertloop::spool::Spool::open(dir.path(), 1 << 30).expect("a spool");
    assert_eq!(spool.stats().expect("stats").waiting, 2, "both were acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_so_before_it_closes() {
    let store = store!();
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&store, dir.path());
    settings.insert("ALERTLOOP_STOP_GRACE".to_owned(), "2s".to_owned());
    let process = Process::serve(&settings);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path| client.get(process.url(path));
    assert_eq!(get("/livez").send().await.expect("an answer").headers().get("connection"), None);
    process.signal("TERM");
    let told = loop {
        let answer = Answer::of(get("/readyz")).await;
        if answer.status == 503 {
            break answer;
        }
    };
    assert_eq!((&told.json["stopping"], told.header("connection")), (&json!(true), "close"));
    let late = client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
    let late = Answer::of(late.header("prefer", "respond-async").body(ALERT)).await;
    assert_eq!((late.status, late.header("connection")), (202, "close"));
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let store = store!();
    let proxy = crate::support::Proxy::start(&store).await;
    proxy.cut();
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(ALERT);
    assert_eq!(Answer::of(request).await.status, 202);
    let ready = Answer::of(app.get("/readyz")).await;
    assert_eq!((ready.status, &ready.json["ready"]), (200, &json!(true)), "it can keep alerts");
    assert_eq!(ready.json["store"]["takes_alerts"], json!(false));
    assert_eq!(ready.json["spool"]["waiting"], json!(1));
    proxy.mend();
    store.wait_for_records(1).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_malcolms_template() {
    let store = store!();
    let template = store.pattern().trim_end_matches("-*").to_owned();
    let mode = [("ALERTLOOP_TEMPLATE", "malcolm"), ("MALCOLM_TEMPLATE", template.as_str())];
    let app = App::start(&store, &mode).await;
    let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(ALERT);
    assert_eq!(Answer::of(request).await.status, 202);
    let waits = async {
        loop {
            let ready = Answer::of(app.get("/readyz")).await.json;
            if ready["store"]["trouble"].as_str().is_some_and(|text| text.contains(&template)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits)
        .await
        .expect("readyz says what it waits for");
    assert!(store.records().await.is_empty());

    let path = format!("_index_template/{template}");
    let body = json!({"index_patterns": [store.pattern()], "template": {"mappings": {
        "dynamic": "strict", "properties": EVERY_FIELD.iter().map(|name| ((*name).to_owned(), json!({"type": "object", "dynamic": true}))).chain(
            ["firstPacket", "lastPacket"].map(|name| (name.to_owned(), json!({"type": "date"})))).collect::<serde_json::Map<_, _>>()
    }}});
    store.json(Method::Put, &path, body).await.expect("a template");
    store.wait_for_records(1).await;
    app.stop().await;
    store.json(Method::Delete, &path, Value::Null).await.expect("no template");
    drop::<Store>(store);
}

const EVERY_FIELD: [&str; 3] = ["event", "ecs", "rule"];

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_provisioning_file_keeps_no_record_waiting() {
    let store = store!();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("monitors")).unwrap();
    std::fs::write(dir.path().join("monitors/bad.json"), "{").unwrap();
    let others = [
        ("ALERTLOOP_PROVISION", "true"),
        ("ALERTLOOP_PROVISIONING_DIR", dir.path().to_str().unwrap()),
    ];
    let app = App::start(&store, &others).await;
    let body = r#"{"alert": {"monitor": {"name": "m"}, "trigger": {"name": "t"},
        "period": {"start": "2026-11-05T00:00:00Z", "end": "2026-11-05T00:10:00Z"}, "alert": "id-1"}}"#;
    assert_eq!(app.alert(body).await.status, 200);
    assert_eq!(store.wait_for_records(1).await.len(), 1);
    let ready = Answer::of(app.get("/readyz")).await.json;
    assert_eq!(ready["store"]["takes_alerts"], true, "{ready}");
    assert_ne!(ready["provisioning"], "done", "{ready}");
    app.stop().await;
}
