//! The whole loop: a real monitor fires through the real channel, and becomes one record.

use std::time::Duration;

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{self, App, Channel, Store, Watched},
};

const LOOPBACK: &str = "malcolm-api-loopback-webhook";

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
    let monitor = Watched::make(&store, "it: executed", LOOPBACK).await;
    monitor.run().await;
    let first = wait_for(&store, Duration::from_secs(20), |seen| seen.len() == 1).await;
    let alert = monitor.alerts().await.pop().expect("an alert");
    assert_eq!(first[0]["_source"]["event"]["id"], alert["id"], "{:#}", first[0]);
    assert_eq!(first[0]["_source"]["rule"]["name"], "it: executed");
    assert_eq!(first[0]["_source"]["rule"]["id"], json!(monitor.id));
    assert_eq!(first[0]["_source"]["event"]["hits"], json!(1));
    let start = &first[0]["_source"]["event"]["start"];

    for refire in 2..4 {
        monitor.run().await;
        let seen = wait_for(&store, Duration::from_secs(20), |seen| {
            seen.iter().any(|hit| hit["_version"].as_u64() >= Some(refire))
        })
        .await;
        assert_eq!(seen.len(), 1, "{seen:#?}");
        assert_eq!(&seen[0]["_source"]["event"]["start"], start);
        assert_ne!(seen[0]["_source"]["event"]["end"], first[0]["_source"]["event"]["end"]);
    }
    monitor.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_monitor_that_fires_twice_is_one_record_with_the_first_start_and_the_last_end()
{
    let store = store!(alerting);
    // Through a channel of its own: it takes minutes, and the loopback channel is wanted by others.
    let app = App::start(&store, &[]).await;
    let channel = Channel::to(&store, &app.url("/mapi/alert")).await;
    session(&store).await;
    let mut body = Watched::body(store.pattern(), "it: scheduled", &channel.id);
    body["enabled"] = json!(true);
    body["schedule"] = json!({"period": {"interval": 1, "unit": "MINUTES"}});
    let monitor = Watched::of(&store, body).await;
    let once = wait_for(&store, Duration::from_secs(150), |seen| !seen.is_empty()).await;
    let twice = wait_for(&store, Duration::from_secs(150), |seen| {
        seen.iter().any(|hit| hit["_version"].as_u64() >= Some(2))
    })
    .await;
    assert_eq!((once.len(), twice.len()), (1, 1), "{twice:#?}");
    let alert = monitor.alerts().await.pop().expect("an alert");
    let (once, twice) = (&once[0]["_source"], &twice[0]["_source"]);
    assert_eq!(twice["event"]["id"], alert["id"]);
    assert_eq!(twice["event"]["start"], once["event"]["start"]);
    let time =
        |value: &Value| value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    let (end, later) = (time(&once["event"]["end"]), time(&twice["event"]["end"]));
    assert!(later.duration_since(end) > jiff::SignedDuration::from_secs(30), "{end} {later}");
    assert_eq!(twice["lastPacket"], twice["event"]["end"]);
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}
