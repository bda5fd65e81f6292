//! What must not happen while the records are compared: no haste, nothing twice, nothing that one bad
//! record keeps from the others.

use std::time::Duration;

use alertloop::alert::Phase;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    kinds::MALCOLM,
    store,
    support::{App, Bench, Channel, Mood, Reluctant, Store, Watched},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// In which it is watched that something does not happen.
const WHILE: Duration = Duration::from_secs(2);

/// An address that channels of this test have, and nobody listens at.
fn webhook(store: &Store) -> String {
    format!("http://127.0.0.1:9/{}", store.index("hook"))
}

/// An index that nobody has: a monitor that searches the records cannot be written while an index of
/// theirs is being made, or is lost.
fn elsewhere(store: &Store) -> String {
    format!("not-{}", store.pattern())
}

/// Puts an open record of a monitor there, as a webhook made it.
async fn put(store: &Store, monitor: &Watched<'_>, index: &str, id: &str, event: Value) {
    let mut whole = json!({"dataset": "alerting", "provider": "malcolm", "action": "engaged",
        "end": "2026-11-20T00:10:00.000Z", "ingested": "2026-11-20T00:10:01.000Z",
        "sequence": 1_795_133_400_000_i64, "hash": "h"});
    whole.as_object_mut().expect("an object").extend(event.as_object().expect("one").clone());
    let record = json!({"firstPacket": whole["start"], "lastPacket": whole["end"],
        "rule": {"name": monitor.body["name"], "id": monitor.id}, "event": whole});
    let path = format!("/{}/_doc/{id}?refresh=true", store.index(index));
    store.json(Method::Put, &path, record).await.expect("a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_does_not_lead_leaves_the_store_in_peace() {
    let store = store!(alerting);
    let mut other = Bench::lease(&store, &store.client());
    other.hold().await.expect("a lease");
    let reluctant = Reluctant::start(&store, 1).await;
    let slow = Store::at(reluctant.url());
    reluctant.set(Mood::Slow(Duration::ZERO));
    let bench = Bench::start(&store, &slow.client(), &webhook(&store));
    reluctant.harms(1).await;
    let many = tokio::time::timeout(WHILE, reluctant.harms(10)).await;
    assert!(many.is_err(), "it asks for the lease without a pause");
    assert_eq!(bench.detail()["leads"], false);
    bench.stop(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_an_alert_that_is_gone_is_ended_where_it_is() {
    let store = store!(alerting);
    store.make_template().await;
    let monitor = Watched::make(&store, "it: ended where it is", "nowhere").await;
    // The period of its monitor began on the day before the alert did.
    let start = json!({"id": "midnight", "start": "2026-11-19T23:55:00.000Z"});
    put(&store, &monitor, "26112000h", "261120-midnight", start).await;
    let bench = Bench::start_with(&store, &store.client(), &webhook(&store), "%{%y%m%d%Hh}");
    let alert = bench.until_kept("midnight").await;
    assert_eq!((alert.phase, alert.end), (Phase::Released, "2026-11-20T00:10:00Z".parse().ok()));
    assert_eq!(alert.began, alert.end);
    bench.looked().await;
    assert_eq!(bench.kept("midnight").len(), 1, "once is enough");
    bench.stop(&store).await;
    monitor.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_no_request_can_hold_keeps_no_other_record_open() {
    let store = store!(alerting);
    store.make_template().await;
    let monitor = Watched::make(&store, "it: long id", "nowhere").await;
    let start = "2026-11-20T00:05:00.000Z";
    let long = json!({"id": "x".repeat(9_000), "start": start});
    put(&store, &monitor, "261120", "261120-long", long).await;
    put(&store, &monitor, "261120", "261120-short", json!({"id": "short", "start": start})).await;
    let bench = Bench::start(&store, &store.client(), &webhook(&store));
    assert_eq!(bench.until_kept("short").await.phase, Phase::Released);
    bench.looked().await;
    bench.stop(&store).await;
    monitor.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_spool_is_not_put_there_again_by_each_audit() {
    let store = store!(alerting);
    store.make_template().await;
    let hook = webhook(&store);
    let channel = Channel::to(&store, &hook).await;
    let mut monitor = Watched::make(&store, "it: waits", &channel.id).await;
    monitor.run().await;
    let alert = monitor.alert("ERROR").await;
    let id = alert["id"].as_str().expect("an id").to_owned();
    let bench = Bench::patient(&store, &store.client(), &hook);
    bench.until_kept(&id).await;
    for name in ["it: waits, renamed", "it: waits, renamed again"] {
        // A change of a monitor has everything compared.
        monitor.change(|body| body["name"] = json!(name)).await;
        bench.looked().await;
    }
    assert_eq!(bench.kept(&id).len(), 1);
    monitor.run_with("false").await;
    monitor.alert("COMPLETED").await;
    let over = async {
        while bench.kept(&id).last().is_none_or(|alert| alert.phase != Phase::Released) {
            bench.spool.appended().await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("another state is another entry");
    bench.stop(&store).await;
    monitor.remove().await;
    channel.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_over_is_so_whatever_the_clock_of_its_messages_said() {
    let store = store!(alerting);
    store.make_template().await;
    let hook = webhook(&store);
    let channel = Channel::to(&store, &hook).await;
    let mut monitor = Watched::make(&store, "it: clocks", &channel.id).await;
    monitor.run().await;
    let alert = monitor.alert("ERROR").await;
    let id = alert["id"].as_str().expect("an id").to_owned();
    let start = alert["start_time"].as_i64().expect("epoch ms");
    let at = |ms| jiff::Timestamp::from_millisecond(ms).expect("a time");
    // The message's clock was two hours ahead.
    let sequence = start + 7_200_000;
    let day = at(start).strftime("%y%m%d").to_string();
    let event = json!({"id": id, "start": format!("{:.3}", at(start)),
        "end": format!("{:.3}", at(start)), "sequence": sequence});
    put(&store, &monitor, &day, &format!("{day}-{id}"), event).await;
    let bench = Bench::patient(&store, &store.client(), &hook);
    bench.looked().await;
    assert_eq!(bench.kept(&id), [], "it is as it should be");
    monitor.run_with("false").await;
    let over = monitor.alert("COMPLETED").await;
    let kept = bench.until_kept(&id).await;
    assert_eq!((kept.phase, kept.as_of), (Phase::Released, Some(at(sequence))));
    assert_eq!(kept.end.map(jiff::Timestamp::as_millisecond), over["end_time"].as_i64());
    bench.stop(&store).await;
    monitor.remove().await;
    channel.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_named_by_the_rules_id_is_the_same_for_a_message_without_it() {
    let store = store!(alerting);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a free port").to_string();
    let hook = format!("http://{address}/mapi/alert");
    let channel = Channel::to(&store, &hook).await;
    let settings = [
        ("ALERTLOOP_LISTEN", address.as_str()),
        ("ALERTLOOP_WEBHOOK_URL", &hook),
        ("ALERTLOOP_RECONCILE_INTERVAL", "100ms"),
        ("MALCOLM_NETWORK_INDEX_SUFFIX", "{{rule.id}}-%{%y%m%d}"),
    ];
    let app = App::start(&store, &settings).await;
    let name = format!("it: named by id {}", store.pattern());
    let mut body = Watched::body(&elsewhere(&store), &name, &channel.id);
    let action = &mut body["triggers"][0]["query_level_trigger"]["actions"][0];
    action["message_template"]["source"] = json!(MALCOLM);
    let mut monitor = Watched::of(&store, body).await;
    monitor.run().await;
    let alert = monitor.alert("ACTIVE").await;
    // What other tests' monitors say comes here too.
    let records = || async {
        let all = store.records().await;
        all.into_iter().filter(|hit| hit["_source"]["rule"]["name"] == name).collect::<Vec<_>>()
    };
    let until = async |good: fn(&Value) -> bool| {
        let seen = async {
            while !records().await.iter().any(|hit| good(&hit["_source"]["event"])) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("a record");
    };
    until(|event| event["hash"].is_string()).await;
    monitor.run_with("false").await;
    until(|event| event["action"] == "released").await;
    let records = records().await;
    assert_eq!(records.len(), 1, "{records:#?}");
    let source = &records[0]["_source"];
    assert_eq!((&source["event"]["id"], &source["rule"]["id"]), (&alert["id"], &json!(monitor.id)));
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

/// Makes an index whose only copy can be nowhere.
async fn without_a_copy(store: &Store, index: &str) {
    let nowhere = json!({"settings": {"number_of_replicas": 0,
        "index.routing.allocation.require._name": "nowhere"}});
    let path = format!("/{index}?wait_for_active_shards=0");
    store.json(Method::Put, &path, nowhere).await.expect("an index");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_its_shards_keeps_no_other_alert_from_its_record() {
    let store = store!(alerting);
    store.make_template().await;
    let hook = webhook(&store);
    let channel = Channel::to(&store, &hook).await;
    let of = |name| Watched::of(&store, Watched::body(&elsewhere(&store), name, &channel.id));
    let (lost, mut well) = (of("it: index is lost").await, of("it: index is well").await);
    let id = async |monitor: &Watched<'_>| {
        monitor.run().await;
        let alert = monitor.alert("ERROR").await;
        let began = jiff::Timestamp::from_millisecond(alert["start_time"].as_i64().expect("ms"));
        let day = began.expect("a time").strftime("%y%m%d").to_string();
        (alert["id"].as_str().expect("an id").to_owned(), day)
    };
    let (lost_alert, day) = id(&lost).await;
    let (well_alert, _) = id(&well).await;
    let index = store.index(&format!("{}-{day}", lost.id.to_lowercase()));
    without_a_copy(&store, &index).await;
    let open = json!({"id": "open", "start": "2026-11-20T00:05:00.000Z"});
    put(&store, &well, "261120", "261120-open", open).await;
    let suffix = "{{rule.id}}-%{%y%m%d}";
    let bench = Bench::start_with(&store, &store.client(), &hook, suffix);
    bench.until_kept(&well_alert).await;
    bench.until_kept(&lost_alert).await;
    well.change(|body| body["name"] = json!("it: index is well, renamed")).await;
    bench.looked().await;
    assert_eq!((bench.kept(&lost_alert).len(), bench.kept(&well_alert).len()), (1, 1));
    bench.stop(&store).await;
    lost.remove().await;
    well.remove().await;
    channel.remove().await;
}
