//! The records are kept equal to what the Alerting API says, whatever became of the webhooks.

use std::time::Duration;

use alertloop::{alert::Phase, intake};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Bench, Channel, Store, Watched},
};

/// How long a test waits for what should come.
const PATIENCE: Duration = Duration::from_mins(1);
/// A script that throws.
const THROWS: &str = "ctx.results[0].nothing.there > 1";

/// An address that nobody listens at, in the form of a webhook's.
fn nowhere() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    format!("http://{}/mapi/alert", port.expect("a free port"))
}

/// The service, reconciling each second; its webhooks are posted to `webhook`.
async fn start(store: &Store, webhook: &str) -> App {
    start_with(store, webhook, &[]).await
}

async fn start_with(store: &Store, webhook: &str, more: &[(&str, &str)]) -> App {
    let address = webhook.trim_start_matches("http://").split('/').next().expect("an address");
    let settings = [
        ("ALERTLOOP_LISTEN", address),
        ("ALERTLOOP_WEBHOOK_URL", webhook),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
    ];
    App::start(store, &[&settings, more].concat()).await
}

async fn reconciler(app: &App) -> Value {
    Answer::of(app.get("/readyz")).await.json["reconciler"].take()
}

/// Waits until it has looked twice more: what was there before has been seen.
async fn looked(app: &App) {
    for _ in 0..2 {
        let before = reconciler(app).await["last"].clone();
        let begin = std::time::Instant::now();
        loop {
            let now = reconciler(app).await;
            if !now["last"].is_null() && now["last"] != before {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not look: {now}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The record of a monitor of this name, once it is as it should be; there must be no other.
async fn record(store: &Store, name: &str, good: impl Fn(&Value) -> bool) -> Value {
    let begin = std::time::Instant::now();
    loop {
        let records = records(store, name).await;
        assert!(records.len() < 2, "{records:#?}");
        if let [one] = records.as_slice()
            && good(&one["_source"])
        {
            return one.clone();
        }
        assert!(begin.elapsed() < PATIENCE, "not as it should be: {records:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn records(store: &Store, name: &str) -> Vec<Value> {
    let all = store.records().await;
    all.into_iter().filter(|hit| hit["_source"]["rule"]["name"] == name).collect()
}

fn action(record: &Value, action: &str) -> bool {
    record["event"]["action"] == action
}

/// Epoch ms as a record has it.
fn text(ms: &Value) -> Value {
    let at = jiff::Timestamp::from_millisecond(ms.as_i64().expect("epoch ms")).expect("a time");
    json!(format!("{at:.3}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_and_is_over_while_we_are_away_is_one_record_that_is_not_touched_again() {
    let store = store!(alerting);
    let webhook = nowhere();
    let channel = Channel::to(&store, &webhook).await;
    let app = start(&store, &webhook).await;
    looked(&app).await;
    app.stop().await;

    let mut monitor = Watched::make(&store, "it: while away", &channel.id).await;
    monitor
        .change(|body| {
            let action = &mut body["triggers"][0]["query_level_trigger"]["actions"][0];
            action["throttle_enabled"] = json!(true);
            action["throttle"] = json!({"value": 10, "unit": "MINUTES"});
        })
        .await;
    monitor.run().await;
    monitor.alert("ERROR").await;
    monitor.run().await;
    let alert = monitor.alert("ACTIVE").await;
    assert_eq!(alert["action_execution_results"][0]["throttled_count"], json!(1), "{alert:#}");
    monitor.run_with("false").await;
    let alert = monitor.alert("COMPLETED").await;

    let app = start(&store, &webhook).await;
    let record = record(&store, "it: while away", |record| action(record, "released")).await;
    let source = &record["_source"];
    let event = &source["event"];
    assert_eq!(event["id"], alert["id"]);
    assert_eq!(
        (&event["start"], &event["end"]),
        (&text(&alert["start_time"]), &text(&alert["end_time"]))
    );
    assert_eq!((&source["firstPacket"], &source["lastPacket"]), (&event["start"], &event["end"]));
    let ms = |key: &str| alert[key].as_i64().expect("epoch ms");
    assert_eq!(event["duration"], json!((ms("end_time") - ms("start_time")) * 1_000_000));
    assert_eq!(event["severity"], json!(40));
    assert_eq!(event["reason"], "Malcolm API Loopback Trigger");
    assert_eq!(source["rule"]["id"], json!(monitor.id));
    assert_eq!((&event["outcome"], &source["tags"]), (&Value::Null, &json!(["reconciled"])));
    looked(&app).await;
    // A change of a monitor has everything compared once more.
    monitor.change(|body| body["name"] = json!("it: while away, renamed")).await;
    looked(&app).await;
    let later = records(&store, "it: while away").await;
    assert_eq!(later, [record], "it was touched again");
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_was_dropped_on_its_way_is_made_up_for() {
    let store = store!(alerting);
    let webhook = nowhere();
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let by_proxy = format!("http://{}/mapi/alert", proxy.local_addr().expect("an address"));
    let dropping = tokio::spawn(async move {
        while let Ok((connection, _)) = proxy.accept().await {
            drop(connection);
        }
    });
    let channel = Channel::to(&store, &by_proxy).await;
    let listen = webhook.trim_start_matches("http://").trim_end_matches("/mapi/alert");
    let app = start_with(&store, &by_proxy, &[("ALERTLOOP_LISTEN", listen)]).await;
    looked(&app).await;
    let monitor = Watched::make(&store, "it: dropped", &channel.id).await;
    monitor.run().await;
    let alert = monitor.alert("ERROR").await;
    let message = alert["error_message"].as_str().expect("why");
    assert!(message.starts_with("Failed running action"), "{message}");
    let record = record(&store, "it: dropped", |_| true).await;
    let event = &record["_source"]["event"];
    assert_eq!((&event["id"], &event["action"]), (&alert["id"], &json!("engaged")));
    assert_eq!(event["outcome"], Value::Null, "the alert is true, only its webhook was lost");
    monitor.remove().await;
    channel.remove().await;
    dropping.abort();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_and_reconciler_at_the_same_time_make_one_document() {
    const MONITORS: usize = 12;
    let store = store!(alerting);
    let webhook = nowhere();
    let channel = Channel::to(&store, &webhook).await;
    let app = start_with(&store, &webhook, &[("ALERTLOOP_RECONCILE_INTERVAL", "50ms")]).await;
    looked(&app).await;
    let mut monitors = Vec::new();
    for number in 0..MONITORS {
        let name = format!("it: race {number}");
        monitors.push(Watched::make(&store, &name, &channel.id).await);
    }
    futures_util::future::join_all(monitors.iter().map(Watched::run)).await;
    futures_util::future::join_all(monitors.iter().map(Watched::run)).await;
    for (number, monitor) in monitors.iter().enumerate() {
        let alert = monitor.alert("ACTIVE").await;
        let name = format!("it: race {number}");
        // Its webhooks have come, whoever wrote it first.
        let record = record(&store, &name, |record| record["event"]["hash"].is_string()).await;
        let source = &record["_source"];
        assert_eq!(source["event"]["id"], alert["id"]);
        assert_eq!(source["tags"], Value::Null, "a webhook told of it: {source:#}");
    }
    looked(&app).await;
    for number in 0..MONITORS {
        let records = records(&store, &format!("it: race {number}")).await;
        assert_eq!(records.len(), 1, "{records:#?}");
    }
    for monitor in monitors {
        monitor.remove().await;
    }
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_alert_is_that_of_its_record() {
    let store = store!(alerting);
    let webhook = nowhere();
    let channel = Channel::to(&store, &webhook).await;
    let app = start(&store, &webhook).await;
    looked(&app).await;

    // Acknowledged, then over.
    let mut monitor = Watched::make(&store, "it: acknowledged", &channel.id).await;
    monitor.run().await;
    let engaged = record(&store, "it: acknowledged", |record| action(record, "engaged")).await;
    assert_eq!(engaged["_source"]["event"]["duration"], Value::Null);
    monitor.acknowledge(&monitor.alert("ACTIVE").await).await;
    let taken = record(&store, "it: acknowledged", |record| action(record, "acknowledged")).await;
    assert_eq!(taken["_source"]["event"]["hits"], engaged["_source"]["event"]["hits"]);
    assert_eq!(taken["_source"]["tags"], Value::Null);
    monitor.run_with("false").await;
    let alert = monitor.alert("COMPLETED").await;
    let over = record(&store, "it: acknowledged", |record| action(record, "released")).await;
    let event = &over["_source"]["event"];
    assert_eq!(
        (&event["end"], &event["start"]),
        (&text(&alert["end_time"]), &engaged["_source"]["event"]["start"])
    );
    assert!(event["duration"].as_i64() > Some(0), "{event}");
    monitor.remove().await;

    // Fires again after it was over: another alert, another record.
    let mut monitor = Watched::make(&store, "it: again", &channel.id).await;
    monitor.run().await;
    monitor.alert("ACTIVE").await;
    monitor.run_with("false").await;
    record(&store, "it: again", |record| action(record, "released")).await;
    monitor.run_with("true").await;
    let two = async {
        loop {
            let records = records(&store, "it: again").await;
            let engaged = records.iter().filter(|one| action(&one["_source"], "engaged")).count();
            if (records.len(), engaged) == (2, 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, two).await.expect("one that is over and one that is not");
    monitor.remove().await;

    // One that does not send to us any more is followed until its alert is over.
    let mut monitor = Watched::make(&store, "it: leaves", &channel.id).await;
    monitor.run().await;
    record(&store, "it: leaves", |record| action(record, "engaged")).await;
    monitor.change(|body| body["triggers"][0]["query_level_trigger"]["actions"] = json!([])).await;
    monitor.run_with("false").await;
    monitor.alert("COMPLETED").await;
    monitor.change(|body| body["name"] = json!("it: left")).await;
    record(&store, "it: leaves", |record| action(record, "released")).await;
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_fails_is_told_from_one_whose_webhook_was_lost_and_heals() {
    let store = store!(alerting);
    let webhook = nowhere();
    // Nobody listens there: only the reconciler can tell.
    let lost = nowhere();
    let channel = Channel::to(&store, &lost).await;
    let listen = webhook.trim_start_matches("http://").trim_end_matches("/mapi/alert");
    let app = start_with(&store, &lost, &[("ALERTLOOP_LISTEN", listen)]).await;
    looked(&app).await;
    let mut monitor = Watched::make(&store, "it: fails", &channel.id).await;
    monitor.run_with(THROWS).await;
    monitor.alert("ERROR").await;
    let failed =
        record(&store, "it: fails", |record| record["event"]["outcome"] == "failure").await;
    let why = failed["_source"]["error"]["message"].as_str().expect("why");
    assert!(!why.starts_with("Failed running action"), "{why}");
    assert_eq!(failed["_source"]["event"]["action"], "engaged");
    monitor.run_with("true").await;
    let healed = record(&store, "it: fails", |record| record["event"]["outcome"].is_null()).await;
    assert_eq!(healed["_source"]["error"], Value::Null);
    assert_eq!(healed["_source"]["event"]["action"], "engaged");
    monitor.run_with("false").await;
    record(&store, "it: fails", |record| action(record, "released")).await;
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_monitor_or_trigger_is_deleted_is_over_and_marked() {
    let store = store!(alerting);
    let webhook = nowhere();
    let channel = Channel::to(&store, &webhook).await;
    let app = start(&store, &webhook).await;
    looked(&app).await;

    let monitor = Watched::make(&store, "it: deleted", &channel.id).await;
    monitor.run().await;
    record(&store, "it: deleted", |record| action(record, "engaged")).await;
    monitor.remove().await;
    let gone = record(&store, "it: deleted", |record| action(record, "released")).await;
    assert_eq!(gone["_source"]["tags"], json!(["orphaned"]));

    // Other ids are other triggers: the alerts of those that are gone are moved away.
    let mut monitor = Watched::make(&store, "it: trigger", &channel.id).await;
    monitor.run().await;
    record(&store, "it: trigger", |record| action(record, "engaged")).await;
    monitor
        .change(|body| body["triggers"][0]["query_level_trigger"]["id"] = json!("another"))
        .await;
    let gone = record(&store, "it: trigger", |record| action(record, "released")).await;
    assert_eq!(gone["_source"]["tags"], json!(["orphaned"]));
    monitor.remove().await;

    // Renamed and switched while it is active: the alert lives on, and so does its record.
    let mut monitor = Watched::make(&store, "it: changed", &channel.id).await;
    monitor.run().await;
    // Message and state are both written where they come at the same time.
    record(&store, "it: changed", |record| record["event"]["hash"].is_string()).await;
    looked(&app).await;
    app.drained().await;
    let before = record(&store, "it: changed", |record| action(record, "engaged")).await;
    monitor.change(|body| body["enabled"] = json!(true)).await;
    monitor.change(|body| body["enabled"] = json!(false)).await;
    looked(&app).await;
    assert_eq!(records(&store, "it: changed").await, [before]);
    monitor.run_with("false").await;
    record(&store, "it: changed", |record| action(record, "released")).await;
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_of_a_monitor_that_does_not_send_to_us_never_appear_unless_asked_for() {
    let store = store!(alerting);
    let webhook = nowhere();
    // All monitors are asked for, those of earlier runs too.
    let name = format!("it: not ours {}", store.pattern());
    let channel = Channel::to(&store, &nowhere()).await;
    let app = start(&store, &webhook).await;
    looked(&app).await;
    let monitor = Watched::make(&store, &name, &channel.id).await;
    monitor.run().await;
    monitor.alert("ERROR").await;
    looked(&app).await;
    assert_eq!(records(&store, &name).await, Vec::<Value>::new());
    app.stop().await;

    let all = [("ALERTLOOP_RECONCILE_MONITORS", "all")];
    let app = start_with(&store, &webhook, &all).await;
    record(&store, &name, |record| action(record, "engaged")).await;
    monitor.remove().await;
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_opensearch_has_forgotten_is_over_and_marked() {
    let store = store!(alerting);
    store.make_template().await;
    let monitor = Watched::make(&store, "it: forgotten", "nowhere").await;
    let open = json!({
        "firstPacket": "2026-11-20T05:00:00.000Z", "lastPacket": "2026-11-20T05:10:00.000Z",
        "rule": {"name": "it: forgotten", "id": monitor.id},
        "event": {"id": "forgotten", "dataset": "alerting", "provider": "malcolm", "action": "engaged",
            "start": "2026-11-20T05:00:00.000Z", "end": "2026-11-20T05:10:00.000Z",
            "ingested": "2026-11-20T05:10:01.000Z", "sequence": 1_795_151_400_000_i64, "hash": "h"}});
    let path = format!("{}/_doc/261120-forgotten?refresh=true", store.index("261120"));
    store.json(Method::Put, &path, open.clone()).await.expect("a record");
    // Somebody else's: its monitor is not one of this store.
    let mut foreign = open;
    foreign["rule"] = json!({"name": "elsewhere", "id": "elsewhere"});
    foreign["event"]["id"] = json!("foreign");
    let path = format!("{}/_doc/261120-foreign?refresh=true", store.index("261120"));
    store.json(Method::Put, &path, foreign).await.expect("a record");

    let bench = Bench::start(&store, &store.client(), &nowhere());
    let alert = bench.until_kept("forgotten").await;
    bench.looked().await;
    assert_eq!(bench.kept("foreign"), []);
    assert_eq!(alert.phase, Phase::Released);
    assert_eq!(alert.tags, [intake::truth::ORPHANED]);
    assert_eq!(alert.end, "2026-11-20T05:10:00Z".parse().ok());
    bench.stop(&store).await;
    monitor.remove().await;
}
