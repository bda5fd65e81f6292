//! What a real Alertmanager sends, from its API to the record, over its retries and our restarts.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use alertloop::{
    intake::{Encoding, Envelope},
    lifecycle,
    record::{self, Naming, Receipt, Write, fields::FieldSet, index_name::IndexName},
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    alertmanager, store,
    support::{Answer, App, Process, Proxy, Store, TOKEN, settings},
};

const ROUTE: &str = "/mapi/alert/alertmanager";
const BEARER: &str = "{authorization: {credentials_file: SECRET}}";
const BASIC: &str = "{basic_auth: {username: alertmanager, password_file: SECRET}}";
const POSTS: &str = "alertmanager_notification_requests_total";
const FAILED_POSTS: &str = "alertmanager_notification_requests_failed_total";
const FAILED: &str = "alertmanager_notifications_failed_total";
const PATIENCE: Duration = Duration::from_mins(1);

fn firing(instance: &str, start: Timestamp) -> Value {
    json!({"labels": {"alertname": "DiskFilling", "instance": instance, "severity": "warning"},
        "annotations": {"summary": "it will be full"}, "startsAt": start.to_string(),
        "generatorURL": "http://prom.lan:9090/graph?g0.expr=up"})
}

fn resolved(instance: &str, start: Timestamp, end: Timestamp) -> Value {
    let mut alert = firing(instance, start);
    alert["endsAt"] = json!(end.to_string());
    alert
}

/// A minute ago, to the millisecond as records have it.
fn a_minute_ago() -> Timestamp {
    let now = Timestamp::now().as_millisecond();
    Timestamp::from_millisecond(now - 60_000).expect("a time")
}

/// How many records there are in each phase, and all of them.
async fn phases(store: &Store) -> (usize, usize, Vec<Value>) {
    let records = store.records().await;
    let of = |action: &str| {
        records.iter().filter(|hit| hit["_source"]["event"]["action"] == action).count()
    };
    (of("engaged"), of("released"), records.clone())
}

/// Waits until so many records are engaged and so many released, and there is no other.
async fn wait_for(store: &Store, engaged: usize, released: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let (is_engaged, is_released, records) = phases(store).await;
        if (is_engaged, is_released, records.len()) == (engaged, released, engaged + released) {
            return records;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{is_engaged} engaged and {is_released} released of {}: {records:#?}",
            records.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_repeats_and_is_resolved_is_one_record() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let manager = alertmanager!(&app.url(ROUTE), TOKEN, BEARER, "alertname");
    let start = a_minute_ago();
    manager.put(&[firing("db-1:9100", start)]).await;
    let engaged = wait_for(&store, 1, 0).await.remove(0);
    let source = &engaged["_source"];
    assert_eq!(source["event"]["start"], format!("{start:.3}"));
    assert_eq!(source["event"]["provider"], "alertmanager");
    assert_eq!(
        (&source["rule"]["name"], &source["event"]["severity"]),
        (&json!("DiskFilling"), &json!(60))
    );
    assert_eq!(
        (&source["host"]["name"], &source["event"]["reason"]),
        (&json!("db-1"), &json!("it will be full"))
    );
    assert_eq!(source["related"]["hosts"], json!(["db-1"]));
    assert!(source["event"].get("duration").is_none());

    let posts = manager.count(POSTS).await;
    manager.wait_for(POSTS, posts + 2.0).await;
    app.drained().await;
    let again = wait_for(&store, 1, 0).await.remove(0);
    assert_eq!(again["_id"], engaged["_id"]);
    let moved = |hit: &Value| hit["_source"]["lastPacket"].as_str().map(str::to_owned);
    assert!(moved(&again) > moved(&engaged), "a repeat is news: {again}");
    let without_news = |mut hit: Value| {
        let source = &mut hit["_source"];
        source["lastPacket"].take();
        for field in ["end", "sequence", "hash"] {
            source["event"][field].take();
        }
        source.take()
    };
    assert_eq!(without_news(again), without_news(engaged.clone()), "and changes nothing else");

    let end = Timestamp::from_millisecond(start.as_millisecond() + 45_000).expect("a time");
    manager.put(&[resolved("db-1:9100", start, end)]).await;
    let over = wait_for(&store, 0, 1).await.remove(0);
    assert_eq!(over["_id"], engaged["_id"]);
    assert_eq!(over["_source"]["event"]["end"], format!("{end:.3}"));
    assert_eq!(over["_source"]["event"]["duration"], json!(45_000_000_000_i64));
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_of_a_group_is_a_record_of_its_own() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    // The detecting route, and Basic.
    let manager = alertmanager!(&app.url("/mapi/event"), TOKEN, BASIC, "alertname");
    let start = a_minute_ago();
    let hosts = ["web-0:9100", "[2001:db8::1]:9100", "10.0.0.7:9100"];
    manager.put(&hosts.map(|host| firing(host, start))).await;
    let records = wait_for(&store, 3, 0).await;
    let mut hosts_told: Vec<_> = records
        .iter()
        .flat_map(|hit| hit["_source"]["tags"].as_array().cloned().unwrap_or_default())
        .filter(|tag| tag.as_str().is_some_and(|tag| tag.starts_with("host:")))
        .collect();
    hosts_told.sort_by_key(ToString::to_string);
    assert_eq!(hosts_told, ["host:10.0.0.7", "host:2001:db8::1", "host:web-0"]);
    let end = Timestamp::from_millisecond(start.as_millisecond() + 30_000).expect("a time");
    manager.put(&[resolved(hosts[1], start, end)]).await;
    wait_for(&store, 2, 1).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_alertmanagers_send_is_one_record() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let one = alertmanager!(&app.url(ROUTE), TOKEN, BEARER, "alertname");
    let other = alertmanager!(&app.url(ROUTE), TOKEN, BEARER, "alertname");
    let start = a_minute_ago();
    let end = Timestamp::from_millisecond(start.as_millisecond() + 30_000).expect("a time");
    for manager in [&one, &other] {
        manager.put(&[firing("db-1:9100", start)]).await;
        manager.wait_for(POSTS, 2.0).await;
    }
    wait_for(&store, 1, 0).await;
    let posts = one.count(POSTS).await;
    one.put(&[resolved("db-1:9100", start, end)]).await;
    one.wait_for(POSTS, posts + 1.0).await;
    // The other one has not heard of the end yet, and goes on saying that it fires.
    let posts = other.count(POSTS).await;
    other.wait_for(POSTS, posts + 2.0).await;
    app.drained().await;
    wait_for(&store, 1, 0).await;
    other.put(&[resolved("db-1:9100", start, end)]).await;
    wait_for(&store, 0, 1).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_while_we_are_away_is_there_once_when_we_are_back() {
    let store = store!();
    store.make_template().await;
    let dir = tempfile::tempdir().expect("a directory");
    let address = free_address();
    let mut settings = settings(&store, dir.path());
    settings.insert("ALERTLOOP_LISTEN".to_owned(), address.clone());
    let hook = format!("http://{address}{ROUTE}");
    // Each alert is a group, and so a post.
    let manager = alertmanager!(&hook, TOKEN, BEARER, "alertname, instance");
    let start = a_minute_ago();
    let hosts = |from: usize, to: usize| (from..to).map(|n| format!("web-{n}:9100"));
    let fire = async |from: usize, to: usize| {
        let alerts: Vec<_> = hosts(from, to).map(|host| firing(&host, start)).collect();
        manager.put(&alerts).await;
    };

    let process = Process::serve(&settings);
    fire(0, 40).await;
    // Somewhere among them.
    store_has_some(&store).await;
    process.kill();
    let failed = manager.count(FAILED_POSTS).await;
    fire(40, 60).await;
    manager.wait_for(FAILED_POSTS, failed + 20.0).await;
    let process = Process::serve(&settings);
    wait_for(&store, 60, 0).await;

    process.signal("TERM");
    assert!(process.wait().success());
    let failed = manager.count(FAILED_POSTS).await;
    fire(60, 70).await;
    let end = Timestamp::from_millisecond(start.as_millisecond() + 30_000).expect("a time");
    let over: Vec<_> = hosts(0, 30).map(|host| resolved(&host, start, end)).collect();
    manager.put(&over).await;
    manager.wait_for(FAILED_POSTS, failed + 40.0).await;
    let process = Process::serve(&settings);
    wait_for(&store, 40, 30).await;
    process.kill();
}

/// Waits until the first record is there.
async fn store_has_some(store: &Store) {
    let begun = Instant::now();
    while store.records().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no record");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_shows_and_nothing_that_still_fires_is_lost() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let manager =
        alertmanager!(&app.url(ROUTE), "not-the-secret-of-this-test", BEARER, "alertname");
    let start = a_minute_ago();
    manager.put(&[firing("db-1:9100", start), firing("db-2:9100", start)]).await;
    // Twice: the first failure is not the end of it.
    manager.wait_for(FAILED, 2.0).await;
    assert!(store.records().await.is_empty() && app.dead_letters().await.is_empty());
    manager.set_secret(TOKEN);
    wait_for(&store, 2, 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_the_spool_full_comes_again() {
    let store = store!();
    let proxy = Proxy::start(&store).await;
    let others =
        [("OPENSEARCH_URL", proxy.url()), ("ALERTLOOP_SPOOL_MAX_BYTES", "1MiB".to_owned())];
    let others: Vec<_> = others.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = App::start(&store, &others).await;
    proxy.cut();
    let manager = alertmanager!(&app.url(ROUTE), TOKEN, BEARER, "alertname");
    let fill = |length: usize| {
        let body = format!(r#"{{"alert":{{"alert":"filler","body":"{}"}}}}"#, "x".repeat(length));
        let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN);
        Answer::of(request.header("prefer", "respond-async").body(body))
    };
    let begun = Instant::now();
    // To the last byte: a post of Alertmanager is small.
    for length in [200_000, 10_000, 0] {
        while fill(length).await.status != 503 {
            assert!(begun.elapsed() < PATIENCE, "it is never full");
        }
    }
    let start = a_minute_ago();
    manager.put(&[firing("db-1:9100", start)]).await;
    manager.wait_for(FAILED_POSTS, 2.0).await;
    proxy.mend();
    app.drained().await;
    let begun = Instant::now();
    let is_ours = |hit: &Value| hit["_source"]["rule"]["name"] == "DiskFilling";
    while store.records().await.iter().filter(|hit| is_ours(hit)).count() != 1 {
        assert!(begun.elapsed() < PATIENCE, "it did not come again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_a_post_is_told() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let login = format!("{BEARER}\n        max_alerts: 2");
    let manager = alertmanager!(&app.url(ROUTE), TOKEN, &login, "alertname");
    let start = a_minute_ago();
    manager.put(&["a", "b", "c"].map(|host| firing(host, start))).await;
    for hit in wait_for(&store, 2, 0).await {
        let tags = hit["_source"]["tags"].as_array().cloned().unwrap_or_default();
        assert!(tags.contains(&json!("truncated-alerts")), "{tags:?}");
    }
    app.stop().await;
}

/// The record's document of a post with one alert, as one of two Alertmanagers sends it, received at
/// the second `at`.
fn state(over: bool, manager: u8, at: u8) -> Map<String, Value> {
    let (status, end) = if over {
        ("resolved", "2026-11-05T15:00:00Z")
    } else {
        ("firing", "0001-01-01T00:00:00Z")
    };
    let body = json!({"version": "4", "status": status, "groupLabels": {},
        "externalURL": format!("http://am-{manager}:9093"), "alerts": [{
            "status": status, "labels": {"alertname": "CertExpires", "instance": "mail.lan:443"},
            "annotations": {"summary": format!("in {manager} days")}, "fingerprint": "d1b2c3d4e5f60718",
            "startsAt": "2026-11-05T11:00:00.5Z", "endsAt": end}]})
    .to_string();
    let received = format!("2026-11-05T16:00:{at:02}Z").parse().expect("a time");
    let envelope = Envelope {
        source: None,
        received,
        content_type: String::new(),
        encoding: Encoding::Identity,
        body: body.into_bytes(),
    };
    let alerts = alertloop::intake::decode(&envelope, 1 << 20).expect("JSON");
    let alert = alerts.into_iter().next().expect("an alert").expect("read");
    let hash = record::body_hash(&envelope.body, 0);
    let index = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").expect("a pattern");
    let naming = Naming { index, time_field: "firstPacket".to_owned() };
    let record =
        record::build(&alert, Receipt { received, hash: &hash }, &naming, &FieldSet::everything());
    assert_eq!(
        (record.write, record.id.as_str()),
        (Write::Merge, "261105-d1b2c3d4e5f60718-1793876400500")
    );
    serde_json::from_str(&record.document).expect("JSON")
}

proptest! {
    #[test]
    fn any_order_of_posts_of_two_alertmanagers_gives_the_one_right_record(
        (states, shuffled) in prop::collection::vec((any::<bool>(), 0..2_u8, 0..60_u8), 1..8)
            .prop_flat_map(|states| {
                let twice: Vec<_> = states.iter().chain(&states).copied().collect();
                (Just(states), Just(twice).prop_shuffle())
            })
    ) {
        let fold = |states: &[(bool, u8, u8)]| {
            states.iter().map(|(over, manager, at)| state(*over, *manager, *at)).reduce(lifecycle::merge)
        };
        let one = fold(&states).expect("one at least");
        let again = fold(&shuffled);
        prop_assert_eq!(Some(&one), again.as_ref());
        // The post that came last says how it is; of the same moment, the end.
        let last = states.iter().map(|(over, _, at)| (*at, *over)).max();
        let (at, is_over) = last.expect("one at least");
        let (action, end, duration) = if is_over {
            let lasted = Some(json!(14_399_500_000_000_i64));
            ("released", "2026-11-05T15:00:00.000Z".to_owned(), lasted)
        } else {
            ("engaged", format!("2026-11-05T16:00:{at:02}.000Z"), None)
        };
        prop_assert_eq!(&one["event"]["action"], action);
        prop_assert_eq!((&one["event"]["end"], &one["lastPacket"]), (&json!(end), &json!(end)));
        prop_assert_eq!(&one["event"]["start"], "2026-11-05T11:00:00.500Z");
        prop_assert_eq!(one["event"].get("duration"), duration.as_ref());
    }
}
