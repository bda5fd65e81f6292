//! Monitors that say nothing are found on the real store, and heartbeats come all the way or are
//! missed.

use std::{collections::HashMap, path::Path, time::Duration};

use alertloop::{
    opensearch::{
        alerting::{self, Family, Monitor},
        cluster,
    },
    silence::{Asked, Memory, Reason, Silent, look},
};
use jiff::{SignedDuration, Timestamp};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{self, Answer, App, Process, Store, TOKEN, settings},
};

const MONITORS: &str = "/_plugins/_alerting/monitors";
const HEARTBEAT: &str = r#"{"heartbeat": {"monitor": "Alertloop Heartbeat"}}"#;
/// How long a run of a minute's monitor may be away, and more.
const PATIENCE: Duration = Duration::from_secs(100);

/// A monitor with one trigger, whose action sends to `channel`.
async fn make(store: &Store, schedule: Value, source: &str, channel: &str) -> Monitor {
    let action = json!({"name": "tell", "destination_id": channel, "throttle_enabled": false,
        "message_template": {"source": "{}"}});
    let query = json!({"size": 0, "query": {"match_none": {}}});
    let body = json!({"type": "monitor", "name": format!("silence: {source} of {}", store.pattern()),
        "monitor_type": "query_level_monitor", "enabled": true, "schedule": schedule,
        "inputs": [{"search": {"indices": [store.pattern()], "query": query}}],
        "triggers": [{"query_level_trigger": {"name": "t", "severity": "2", "actions": [action],
            "condition": {"script": {"source": source, "lang": "painless"}}}}]});
    let made = alerting::create(&store.client(), Family::Monitor, &body).await.expect("a monitor");
    // With what only the store knows, such as the time since when it is enabled.
    let made = alerting::get(&store.client(), Family::Monitor, &made.id).await.expect("a monitor");
    made.expect("it is there")
}

async fn remove(store: &Store, monitors: &[&Monitor]) {
    for monitor in monitors {
        alerting::delete(&store.client(), Family::Monitor, &monitor.id).await.expect("no monitor");
    }
}

fn every(interval: u32, unit: &str) -> Value {
    json!({"period": {"interval": interval, "unit": unit}})
}

fn later(hours: i64) -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_hours(hours)).expect("a time")
}

/// Waits for a condition that is asked for again and again.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, met).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_does_not_run_is_late_and_one_that_runs_is_not() {
    let store = store!(alerting);
    let client = store.client();
    let channel = store.index("channel");
    let ours = "malcolm-api-loopback-webhook";
    // 2.x knows no seconds.
    let version = cluster::about(&client).await.expect("a version").version;
    let often = if version.starts_with("2.") { "MINUTES" } else { "SECONDS" };
    let runs = make(&store, every(1, often), "false", &channel).await;
    let waits = make(&store, every(3, "MINUTES"), "false", &channel).await;
    let cron = json!({"cron": {"expression": "0 0 30 2 *", "timezone": "Europe/Berlin"}});
    let never = make(&store, cron, "false", ours).await;
    let nowhere = Monitor { id: format!("{}-gone", runs.id), ..runs.clone() };
    let disabled = {
        let mut body = runs.body.clone();
        body["enabled"] = json!(false);
        Monitor { body, ..nowhere.clone() }
    };
    let all = [runs.clone(), waits.clone(), never.clone(), nowhere.clone(), disabled];
    let ids = |silent: Vec<Silent>| {
        assert!(silent.iter().all(|one| one.reason == Reason::Late), "{silent:#?}");
        silent.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let asked = |now, all| Asked { now, all, days: 0 };

    let mut memory = Memory::default();
    let begin = Timestamp::now();
    let first = look(&client, &all, asked(begin, true), Some(&mut memory)).await.expect("a look");
    assert_eq!(ids(first), [never.id.as_str()]);
    let only_ours = look(&client, &all, asked(later(1), false), None).await.expect("a look");
    assert_eq!(ids(only_ours), [never.id.as_str()], "the others send elsewhere");
    until("it has run", || async {
        let jobs = alertloop::opensearch::jobs::jobs(&client).await.expect("the runs");
        jobs.last_runs.get(&runs.id).is_some_and(Option::is_some)
    })
    .await;
    let now = look(&client, &all, asked(Timestamp::now(), true), None).await.expect("a look");
    assert_eq!(ids(now), [never.id.as_str()], "the clocks of the test and the store agree");
    // As if an hour had passed in which nothing ran.
    let hour = look(&client, &all, asked(later(1), true), Some(&mut memory)).await.expect("a look");
    assert_eq!(ids(hour), [&*runs.id, &*waits.id, &*never.id, &*nowhere.id]);
    let single = look(&client, &all, asked(later(1), true), None).await.expect("a look");
    let want = [&*runs.id, &*never.id, &*nowhere.id];
    assert_eq!(ids(single), want, "a node that was just started has not run it either");

    let dir = tempfile::tempdir().expect("a directory");
    let (_, text, errors) = Process::output(&settings(&store, dir.path()), &["doctor"]);
    let told = format!("{:?} says nothing: its schedule never comes", never.name());
    assert!(
        text.lines().any(|line| line.starts_with("warn  silence") && line.contains(&told)),
        "{text}{errors}"
    );
    remove(&store, &[&runs, &waits, &never]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_whose_action_fails_and_one_that_never_fired_are_told() {
    let store = store!(alerting);
    let client = store.client();
    let channel = store.index("channel");
    let config = json!({"config_id": channel, "config": {"name": channel, "config_type": "webhook",
        "webhook": {"url": "http://127.0.0.1:9/nobody"}}});
    let configs = "/_plugins/_notifications/configs";
    store.json(Method::Post, configs, config).await.expect("a channel");
    let fires = make(&store, every(1, "DAYS"), "true", &channel).await;
    let quiet = make(&store, every(1, "DAYS"), "false", &channel).await;
    let run = format!("{MONITORS}/{}/_execute?dryrun=false", fires.id);
    store.json(Method::Post, &run, Value::Null).await.expect("a run");
    // More than one list of ids, among which the one that fired stands last.
    let mut all: Vec<Monitor> = (0..90)
        .map(|n| Monitor { id: format!("{}-{n}", quiet.id), ..quiet.clone() })
        .chain([quiet.clone(), fires.clone()])
        .collect();
    // They have been enabled for long.
    for monitor in &mut all {
        monitor.body["enabled_time"] = json!(0);
        monitor.body["last_update_time"] = json!(0);
    }
    let asked = Asked { now: Timestamp::now(), all: true, days: 2 };
    let of = |silent: &[Silent], reason| {
        let some = silent.iter().filter(|one| one.reason == reason);
        some.map(|one| one.id.clone()).collect::<Vec<_>>()
    };
    let mut memory = Memory::default();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent = look(&client, &all, asked, Some(&mut memory)).await.expect("a look");
        assert_eq!(of(&silent, Reason::Failed), [fires.id.as_str()]);
        let never = of(&silent, Reason::Quiet);
        assert_eq!(
            (never.len(), never.contains(&quiet.id), never.contains(&fires.id)),
            (91, true, false)
        );
    }
    let failed = silent.iter().find(|one| one.reason == Reason::Failed).expect("it failed");
    assert!(failed.what.contains("Connection refused"), "{}", failed.what);
    let without = Asked { days: 0, ..asked };
    let silent = look(&client, &all, without, None).await.expect("a look");
    assert!(of(&silent, Reason::Quiet).is_empty());
    // It was told three days ago, as it were, and still stands.
    let past = Asked { now: later(24 * 5), ..asked };
    let silent = look(&client, &all, past, None).await.expect("a look");
    assert!(of(&silent, Reason::Quiet).contains(&fires.id), "an alert in an error does not stand");
    remove(&store, &[&fires, &quiet]).await;
    store
        .json(Method::Delete, &format!("{configs}/{channel}"), Value::Null)
        .await
        .expect("no channel");
}

/// Removes the example's monitors, and what provisioning remembers of them.
async fn remove_heartbeat(store: &Store) {
    let remembered = "/alertloop-provisioned/_doc/monitor%3AAlertloop%20Heartbeat?refresh=true";
    store.raw("DELETE", remembered, Value::Null).await;
    let client = store.client();
    let named = alerting::named(&client, Family::Monitor, &["Alertloop Heartbeat"]).await;
    for monitor in &named.expect("monitors") {
        remove(store, &[monitor]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provisioned_heartbeat_comes_all_the_way_and_makes_no_record() {
    let store = store!(alerting);
    let _alone = support::provisioning(&store).await;
    remove_heartbeat(&store).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/provisioning/examples/heartbeat");
    let more = [("ALERTLOOP_PROVISIONING_DIR", folder), ("ALERTLOOP_HEARTBEAT", "5m")];
    let app = App::start_provisioning_with(&store, &more).await;
    app.wait_until_provisioned().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&store, dir.path());
    settings.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings.insert("ALERTLOOP_LISTEN".to_owned(), app.address().to_string());
    settings.insert("ALERTLOOP_WEBHOOK_URL".to_owned(), app.url("/mapi/alert"));

    let file = format!("{folder}/monitors/alertloop_heartbeat.json");
    let (code, out, errors) = Process::output(&settings, &["provision", "lint", &file]);
    assert_eq!(code, 0, "{out}{errors}");
    assert!(out.contains("sends heartbeats, which make no records"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");

    let client = store.client();
    let named = alerting::named(&client, Family::Monitor, &["Alertloop Heartbeat"]).await;
    let monitor = named.expect("monitors").remove(0);
    assert!(monitor.is_enabled());
    let run = format!("{MONITORS}/{}/_execute?dryrun=false", monitor.id);
    store.json(Method::Post, &run, Value::Null).await.expect("a run");
    let beat = || async { Answer::of(app.get("/readyz")).await.json["heartbeat"].clone() };
    until("a heartbeat", || async { beat().await["last"].is_string() }).await;
    let seen = beat().await;
    assert_eq!((&seen["late"], &seen["expected_every_seconds"]), (&json!(false), &json!(300.0)));
    let (_, text, _) = Process::output(&settings, &["doctor"]);
    assert!(text.contains("ok    heartbeat  the last one came in time"), "{text}");
    assert_eq!((store.records().await.len(), app.dead_letters().await.len()), (0, 0));

    // Whoever acknowledges its alert would end it.
    let alerts = store.alerts(&format!("monitorId={}", monitor.id)).await;
    let alert = alerts["alerts"][0]["id"].as_str().expect("an alert");
    let (code, text, _) = Process::output(&settings, &["acknowledge", alert]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("refused") && text.contains("it is the heartbeat"), "{text}");
    app.stop().await;
    remove_heartbeat(&store).await;
    store.remove_loopback().await;
}

/// Settings for a service without a store.
fn alone(dir: &Path, heartbeat: &str) -> HashMap<String, String> {
    let mut settings = settings(&Store::away(), dir);
    settings.insert("ALERTLOOP_HEARTBEAT".to_owned(), heartbeat.to_owned());
    settings
}

async fn heartbeat(process: &Process) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
    Answer::of(request.body(HEARTBEAT)).await
}

async fn get(process: &Process, path: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Answer::of(client.get(process.url(path))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_that_do_not_come_are_told_once_and_alerts_are_taken_all_the_same() {
    const LATE: &str = "no heartbeat came in time";
    let dir = tempfile::tempdir().expect("a directory");
    let process = Process::serve(&alone(dir.path(), "2s"));
    until("late", || async { process.has_said(LATE) }).await;
    let ready = get(&process, "/readyz").await;
    assert_eq!((ready.status, &ready.json["ready"]), (200, &json!(true)));
    assert_eq!(ready.json["heartbeat"]["late"], json!(true));
    assert_eq!(ready.json["heartbeat"]["last"], Value::Null);
    let metrics = get(&process, "/metrics").await.json;
    assert!(metrics.as_str().is_some_and(|text| text.contains("alertloop_heartbeat_late 1")));

    let answer = heartbeat(&process).await;
    assert_eq!((answer.status, &answer.json["result"]["result"]), (200, &json!("heartbeat")));
    until("they come again", || async { process.has_said("heartbeats come again") }).await;
    let text = get(&process, "/metrics").await.json;
    let text = text.as_str().expect("a text");
    for line in ["alertloop_heartbeats_total 1", "alertloop_spool_depth 0"] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    let late = || {
        process
            .warnings()
            .into_iter()
            .filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with(LATE)))
    };
    assert_eq!(late().count(), 1);
    until("late again", || async { late().count() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_nobody_expects_is_counted_and_missed_by_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = Process::serve(&alone(dir.path(), "0"));
    assert_eq!(get(&process, "/readyz").await.json["heartbeat"], Value::Null);
    assert_eq!(heartbeat(&process).await.status, 200);
    let seen = get(&process, "/readyz").await.json["heartbeat"].clone();
    assert_eq!((&seen["late"], &seen["expected_every_seconds"]), (&json!(false), &Value::Null));
    assert!(seen["last"].is_string());
}
