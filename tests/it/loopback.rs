//! The whole loop: a real monitor fires through the real channel, and becomes one record.

use std::time::Duration;

use alertloop::opensearch::Error;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{self, App, Store, TOKEN},
};

const LOOPBACK: &str = "malcolm-api-loopback-webhook";

/// A monitor made from the shipped loopback example, whose trigger is always true.
async fn monitor(store: &Store, name: &str, enabled: bool, channel: &str) -> Result<String, Error> {
    let file = include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
    let mut monitor: Value = serde_json::from_str(file).expect("JSON");
    monitor["name"] = json!(name);
    monitor["enabled"] = json!(enabled);
    monitor["schedule"] = json!({"period": {"interval": 1, "unit": "MINUTES"}});
    monitor["inputs"][0]["search"]["indices"] = json!([store.pattern()]);
    monitor["inputs"][0]["search"]["query"] = json!({"size": 0, "query": {"match_all": {}}});
    let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
    trigger["condition"]["script"]["source"] = json!("true");
    trigger["actions"][0]["throttle_enabled"] = json!(false);
    trigger["actions"][0]["destination_id"] = json!(channel);
    let made = store.json(Method::Post, "_plugins/_alerting/monitors", monitor).await?;
    Ok(made["_id"].as_str().expect("an id").to_owned())
}

async fn alerts(store: &Store, monitor: &str) -> Vec<Value> {
    let path = format!("_plugins/_alerting/monitors/alerts?monitorId={monitor}");
    let answer = store.json(Method::Get, &path, Value::Null).await.expect("alerts");
    answer["alerts"].as_array().cloned().unwrap_or_default()
}

async fn remove(store: &Store, monitor: &str) {
    let path = format!("_plugins/_alerting/monitors/{monitor}");
    store.json(Method::Delete, &path, Value::Null).await.expect("no monitor");
}

/// Gives the session index something to search.
async fn session(store: &Store) {
    let session = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    let path = format!("{}/_doc/session?refresh=true", store.index("261105"));
    store.json(Method::Put, &path, session).await.expect("a session");
}

/// Waits until the channel is there, and the session index has something to search.
async fn ready(app: &App, store: &Store) {
    let provisioned = async {
        loop {
            let ready = support::Answer::of(app.get("/readyz")).await.json;
            if ready["provisioning"] == "done" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), provisioned).await.expect("provisioned");
    session(store).await;
}

/// The alerting records, without the session that the monitor found.
async fn alerting(store: &Store) -> Vec<Value> {
    let records = store.records().await;
    records.into_iter().filter(|hit| hit["_source"]["event"]["dataset"] == "alerting").collect()
}

async fn wait_for(
    store: &Store,
    patience: Duration,
    enough: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let mut seen = Vec::new();
    let wait = async {
        loop {
            seen = alerting(store).await;
            if enough(&seen) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(patience, wait).await.is_ok(), "{seen:#?}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn three_starts_leave_one_disabled_monitor() {
    let store = store!(alerting);
    let _alone = support::provisioning(&store).await;
    for _ in 0..3 {
        let app = App::start_provisioning(&store).await;
        ready(&app, &store).await;
        app.stop().await;
    }
    let name = json!({"term": {"monitor.name.keyword": "Malcolm API Loopback Monitor"}});
    let search = "_plugins/_alerting/monitors/_search";
    let found = store.json(Method::Post, search, json!({"query": name})).await.expect("monitors");
    let found = found["hits"]["hits"].as_array().expect("hits");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["_source"]["enabled"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_fires_becomes_one_record_with_the_alerts_real_id() {
    let store = store!(alerting);
    let _alone = support::provisioning(&store).await;
    let app = App::start_provisioning(&store).await;
    ready(&app, &store).await;
    let monitor = monitor(&store, "it: executed", false, LOOPBACK).await.expect("a monitor");
    let execute = format!("_plugins/_alerting/monitors/{monitor}/_execute?dryrun=false");
    store.json(Method::Post, &execute, Value::Null).await.expect("a run");
    let first = wait_for(&store, Duration::from_secs(20), |seen| seen.len() == 1).await;
    let alert = alerts(&store, &monitor).await.pop().expect("an alert");
    assert_eq!(first[0]["_source"]["event"]["id"], alert["id"], "{:#}", first[0]);
    assert_eq!(first[0]["_source"]["rule"]["name"], "it: executed");
    assert_eq!(first[0]["_source"]["rule"]["id"], json!(monitor));
    assert_eq!(first[0]["_source"]["event"]["hits"], json!(1));
    let start = &first[0]["_source"]["event"]["start"];

    for refire in 2..4 {
        store.json(Method::Post, &execute, Value::Null).await.expect("a run");
        let seen = wait_for(&store, Duration::from_secs(20), |seen| {
            seen.iter().any(|hit| hit["_version"].as_u64() >= Some(refire))
        })
        .await;
        assert_eq!(seen.len(), 1, "{seen:#?}");
        assert_eq!(&seen[0]["_source"]["event"]["start"], start);
        assert_ne!(seen[0]["_source"]["event"]["end"], first[0]["_source"]["event"]["end"]);
    }
    remove(&store, &monitor).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_monitor_that_fires_twice_is_one_record_with_the_first_start_and_the_last_end()
{
    let store = store!(alerting);
    // Through a channel of its own: it takes minutes, and the loopback channel is wanted by others.
    let app = App::start(&store, &[]).await;
    let channel = store.index("channel");
    let config = json!({"config_id": channel, "config": {"name": channel, "config_type": "webhook",
        "webhook": {"url": app.url("/mapi/alert"), "header_params": {"X-Alertloop-Token": TOKEN}}}});
    let configs = "_plugins/_notifications/configs";
    store.json(Method::Post, configs, config).await.expect("a channel");
    session(&store).await;
    let monitor = monitor(&store, "it: scheduled", true, &channel).await.expect("a monitor");
    let once = wait_for(&store, Duration::from_secs(150), |seen| !seen.is_empty()).await;
    let twice = wait_for(&store, Duration::from_secs(150), |seen| {
        seen.iter().any(|hit| hit["_version"].as_u64() >= Some(2))
    })
    .await;
    assert_eq!((once.len(), twice.len()), (1, 1), "{twice:#?}");
    let alert = alerts(&store, &monitor).await.pop().expect("an alert");
    let (once, twice) = (&once[0]["_source"], &twice[0]["_source"]);
    assert_eq!(twice["event"]["id"], alert["id"]);
    assert_eq!(twice["event"]["start"], once["event"]["start"]);
    let time =
        |value: &Value| value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    let (end, later) = (time(&once["event"]["end"]), time(&twice["event"]["end"]));
    assert!(later.duration_since(end) > jiff::SignedDuration::from_secs(30), "{end} {later}");
    assert_eq!(twice["lastPacket"], twice["event"]["end"]);
    remove(&store, &monitor).await;
    let path = format!("{configs}/{channel}");
    store.json(Method::Delete, &path, Value::Null).await.expect("no channel");
    app.stop().await;
}
