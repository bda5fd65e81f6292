//! Conditions on the real store: each type at its boundary, random ones against the definition,
//! what goes with an alert, and the way from a file to a record.

use std::collections::BTreeMap;

use alertloop::{
    alert::Alert,
    condition::{
        Condition,
        file::{self, Defaults},
    },
    intake::{self, Encoding, Envelope},
    provision::{
        self, ChannelSecret, Options, desired::CHANNEL_ID, lint::Subject, plan::Action, shape,
    },
    secrets::WebhookToken,
};
use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{self, App, Store},
};

mod commands;
mod table;

/// The end of the window in all dry runs, on the dot.
const NOW: i64 = 1_795_000_000_000;
const MINUTE: i64 = 60_000;

/// Makes a condition of the lines of its file.
fn condition(store: &Store, lines: &str) -> Condition {
    let defaults = Defaults { index_pattern: store.pattern(), time_field: "firstPacket" };
    let text = format!("title = \"it: a condition\"\n{lines}");
    file::read(&text, "it_condition", defaults).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// The store, with room for the queries of all these tests: each is a template to it, and as shipped it
/// compiles 75 of them in 5 minutes and no more.
async fn roomy(store: Store) -> Store {
    let settings =
        json!({"transient": {"script.context.template.max_compilations_rate": "unlimited"}});
    store.json(Method::Put, "_cluster/settings", settings).await.expect("a setting");
    store
}

/// Keeps these documents; `firstPacket` is in ms before [`NOW`].
async fn keep(store: &Store, documents: &[Value]) {
    let lines = documents.iter().map(|document| {
        let mut document = document.clone();
        document["firstPacket"] = json!(NOW - document["firstPacket"].as_i64().expect("an age"));
        format!("{}\n{document}\n", json!({"index": {"_index": store.index("s")}}))
    });
    let body: String = lines.collect();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/_bulk?refresh=true", store.url());
    let request = client.post(url).header("content-type", "application/x-ndjson").body(body);
    let answer: Value = request.send().await.expect("sent").json().await.expect("JSON");
    assert_eq!(answer["errors"], false, "{answer}");
}

/// The report of a dry run at [`NOW`].
async fn dry_run(store: &Store, condition: &Condition) -> Value {
    dry_run_of(store, condition.monitor(CHANNEL_ID)).await
}

async fn dry_run_of(store: &Store, mut monitor: Value) -> Value {
    // As `alerting::dry_run` says: the plugin wants it first, or not at all.
    if let Some(trigger) = monitor["triggers"][0].get_mut("bucket_level_trigger") {
        trigger.as_object_mut().expect("a trigger").remove("id");
    }
    let path = format!("_plugins/_alerting/monitors/_execute?dryrun=true&period_end={NOW}ms");
    let report = store.json(Method::Post, &path, monitor).await.expect("a report");
    assert_eq!(report["error"], Value::Null, "{report:#}");
    assert_eq!(report["input_results"]["error"], Value::Null, "{report:#}");
    for trigger in report["trigger_results"].as_object().expect("triggers").values() {
        assert_eq!(trigger["error"], Value::Null, "{report:#}");
    }
    report
}

/// Whether it fires.
async fn fires(store: &Store, lines: &str) -> bool {
    let report = dry_run(store, &condition(store, lines)).await;
    let triggers = report["trigger_results"].as_object().expect("triggers");
    triggers.values().any(|trigger| trigger["triggered"] == true)
}

/// The keys of the groups that fire. The report of a dry run repeats the message for each of them, so
/// it is run without one.
async fn groups(store: &Store, condition: &Condition) -> Vec<String> {
    let mut monitor = condition.monitor(CHANNEL_ID);
    monitor["triggers"][0]["bucket_level_trigger"]["actions"] = json!([]);
    let report = dry_run_of(store, monitor).await;
    let triggers = report["trigger_results"].as_object().expect("triggers");
    let results = triggers.values().filter_map(|trigger| trigger["agg_result_buckets"].as_object());
    let mut keys: Vec<_> = results.flat_map(|buckets| buckets.keys().cloned()).collect();
    keys.sort();
    keys
}

/// What the intake makes of the message that a dry run renders.
fn decoded(report: &Value) -> Vec<Alert> {
    let rendered = shape::rendered(report);
    let message = rendered.first().expect("an action").message.as_ref().expect("a message");
    serde_json::from_str::<Value>(message).unwrap_or_else(|fault| panic!("{fault}: {message}"));
    let envelope = Envelope {
        source: None,
        received: Timestamp::from_millisecond(NOW).expect("a time"),
        content_type: String::new(),
        encoding: Encoding::Identity,
        body: message.clone().into_bytes(),
    };
    let alerts = intake::decode(&envelope, 1 << 24).expect("alerts");
    alerts.into_iter().map(|alert| alert.expect("an alert")).collect()
}

#[tokio::test]
async fn each_type_fires_beyond_its_boundary_and_not_on_it() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    keep(
        &store,
        &[
            json!({"firstPacket": 1, "node": "a", "network": {"bytes": 2}, "event": {"dataset": "conn"}}),
            json!({"firstPacket": MINUTE, "node": "a", "network": {"bytes": 4}, "event": {"dataset": "dns"}}),
            json!({"firstPacket": MINUTE + 1, "node": "a", "network": {"bytes": 90}}),
            json!({"firstPacket": -1, "node": "a", "network": {"bytes": 90}}),
            json!({"firstPacket": 10, "node": "b"}),
            json!({"firstPacket": 10, "node": "ours", "event": {"module": "alerting"}}),
            json!({"firstPacket": 10, "node": "text", "message": "no security here",
                   "source": {"ip": "10.0.0.1", "port": 443}}),
        ],
    )
    .await;
    let count = |threshold: u32, side: &str, node: &str| {
        format!(
            "type = \"message_count\"\nthreshold = {threshold}\nthreshold_type = \"{side}\"\ntime = 1\nstream.query = \"node:{node}\""
        )
    };
    let value = |statistic: &str, threshold: &str, side: &str, node: &str| {
        format!(
            "type = \"field_value\"\nfield = \"network.bytes\"\nstatistic = \"{statistic}\"\nthreshold = {threshold}\nthreshold_type = \"{side}\"\ntime = 1\nstream.query = \"node:{node}\""
        )
    };
    let content = |field: &str, value: &str| {
        format!(
            "type = \"field_content_value\"\nfield = \"{field}\"\nvalue = \"{value}\"\nevery = 1"
        )
    };
    let aggregation = |conditions: &str, node: &str| {
        format!(
            "type = \"aggregation\"\nconditions = '{conditions}'\ntime = 1\nstream.query = \"node:{node}\""
        )
    };
    for (lines, want) in [
        // The window has both of its ends: two of the four messages of `a`.
        (count(1, "more", "a"), true),
        (count(2, "more", "a"), false),
        (count(3, "less", "a"), true),
        (count(2, "less", "a"), false),
        (count(0, "more", "nobody"), false),
        (count(1, "less", "nobody"), true),
        (count(0, "less", "nobody"), false),
        // Our own records never count.
        (count(0, "more", "ours"), false),
        (value("mean", "2.99", "higher", "a"), true),
        (value("mean", "3", "higher", "a"), false),
        (value("mean", "3", "lower", "a"), false),
        (value("mean", "3.01", "lower", "a"), true),
        (value("min", "2", "lower", "a"), false),
        (value("min", "2.5", "lower", "a"), true),
        (value("max", "4", "higher", "a"), false),
        (value("max", "3.5", "higher", "a"), true),
        (value("sum", "6", "higher", "a"), false),
        (value("sum", "5.9", "higher", "a"), true),
        (value("stddev", "1", "higher", "a"), false),
        (value("stddev", "0.9", "higher", "a"), true),
        (value("count", "1.5", "higher", "a"), true),
        (value("cardinality", "2", "higher", "a"), false),
        (value("cardinality", "1", "higher", "a"), true),
        (value("percentile", "4", "higher", "a"), false),
        (value("percentile", "3", "higher", "a"), true),
        // A stream without messages, and one whose messages lack the field.
        (value("mean", "1000", "lower", "nobody"), false),
        (value("sum", "1000", "lower", "nobody"), false),
        (value("min", "1000", "lower", "b"), false),
        (value("sum", "1000", "lower", "b"), false),
        (value("stddev", "1000", "lower", "b"), false),
        (value("percentile", "1000", "lower", "b"), false),
        (value("count", "1", "lower", "b"), true),
        (content("event.dataset", "conn"), true),
        (content("event.dataset", "con"), false),
        (content("event.dataset", "nothing"), false),
        (content("no.such.field", "conn"), false),
        (content("source.ip", "10.0.0.1"), true),
        (content("source.port", "443"), true),
        (content("source.port", "80"), false),
        // Analysed text is compared by its words, as in Graylog.
        (content("message", "security"), true),
        (content("message", "security no"), false),
        (aggregation("count() == 2 and mean(network.bytes) >= 3", "a"), true),
        (aggregation("count() == 2 and mean(network.bytes) > 3", "a"), false),
        (aggregation("count() > 5 or max(network.bytes) != 5", "a"), true),
        (aggregation("not (count() > 5)", "a"), true),
        (aggregation("max(network.bytes) > min(network.bytes)", "a"), true),
        (aggregation("max(network.bytes) != 5", "b"), false),
        (aggregation("not (max(network.bytes) > 5)", "b"), true),
        (aggregation("count(network.bytes) < 1 and count() == 1", "b"), true),
        (aggregation("cardinality(event.dataset) == 2", "a"), true),
        (
            aggregation(
                "variance(network.bytes) == 1 and sum_of_squares(network.bytes) == 20",
                "a",
            ),
            true,
        ),
    ] {
        assert_eq!(fires(&store, &lines).await, want, "{lines}");
    }
}

#[tokio::test]
async fn groups_fire_each_by_itself() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    let one = |host: &str, port: u32, bytes: Option<i64>| {
        let mut document = json!({"firstPacket": 10, "host": {"name": host},
            "source": {"ip": "10.0.0.1", "port": port}});
        if let Some(bytes) = bytes {
            document["network"] = json!({ "bytes": bytes });
        }
        document
    };
    keep(
        &store,
        &[
            one("calm", 1, Some(1)),
            one("busy", 1, Some(5)),
            one("busy", 2, Some(7)),
            one("mute", 1, None),
            one("mute", 1, None),
            // A name that OpenSearch would take for a template, and never come to an end.
            one("{{evil}}", 1, Some(100)),
            one("{{evil}}", 1, Some(100)),
            json!({"firstPacket": 10, "source": {"port": 9}}),
        ],
    )
    .await;
    for (group_by, conditions, want) in [
        ("\"host.name\"", "count() > 1", vec!["busy", "mute"]),
        ("\"host.name\"", "count() > 0", vec!["busy", "calm", "mute"]),
        ("\"host.name\"", "sum(network.bytes) < 1000", vec!["busy", "calm"]),
        ("\"host.name\"", "max(network.bytes) > 5 or count() == 2", vec!["busy", "mute"]),
        ("\"host.name\"", "mean(network.bytes) == 6", vec!["busy"]),
        ("\"host.name\"", "not (mean(network.bytes) > 1)", vec!["calm", "mute"]),
        ("\"host.name\"", "stddev(network.bytes) > 0.5", vec!["busy"]),
        ("\"host.name\"", "cardinality(source.port) > 1", vec!["busy"]),
        ("\"host.name\"", "count(network.bytes) < 1", vec!["mute"]),
        ("\"host.name\"", "percentile(network.bytes, 95) >= 5", vec!["busy"]),
        ("\"host.name\"", "percentile(network.bytes, 99.9) < 5", vec!["calm"]),
        ("\"source.ip\"", "count() >= 5", vec!["10.0.0.1"]),
        ("\"source.port\"", "count() > 3", vec!["1"]),
    ] {
        let lines = format!(
            "type = \"aggregation\"\ngroup_by = [{group_by}]\nconditions = \"{conditions}\"\ntime = 1"
        );
        let seen = groups(&store, &condition(&store, &lines)).await;
        assert_eq!(seen, want, "{lines}");
    }
    let two = "type = \"aggregation\"\ngroup_by = [\"host.name\", \"source.port\"]\nconditions = \"count() > 1\"\ntime = 1";
    let seen = groups(&store, &condition(&store, two)).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains("mute") && seen[0].contains('1'), "{seen:?}");
}

#[tokio::test]
async fn all_groups_are_looked_at_and_of_those_that_fire_the_most_are_taken() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    let host = |number| {
        json!({"firstPacket": 10, "host": {"name": format!("host-{number}")},
        "network": {"bytes": number}, "source": {"port": number}})
    };
    keep(&store, &(1..=2_500).map(host).collect::<Vec<_>>()).await;
    let hosts = |numbers: std::ops::RangeInclusive<u32>| {
        let mut hosts: Vec<_> = numbers.map(|number| format!("host-{number}")).collect();
        hosts.sort();
        hosts
    };
    for (conditions, want) in [
        ("sum(network.bytes) > 2100", hosts(2_101..=2_500)),
        ("sum(network.bytes) > 0", hosts(2_001..=2_500)),
        ("max(network.bytes) <= 2000", hosts(1..=500)),
        ("percentile(network.bytes, 50) > 0", hosts(2_001..=2_500)),
        // What is furthest beyond the first number does not fire here.
        ("sum(network.bytes) > 0 and max(source.port) < 400", hosts(1..=399)),
        // Those that fire have nothing to be sorted by.
        ("max(destination.bytes) > 5 or max(source.port) < 400", hosts(1..=399)),
    ] {
        let lines = format!(
            "type = \"aggregation\"\ngroup_by = [\"host.name\"]\nconditions = \"{conditions}\"\ntime = 1"
        );
        let mut seen = groups(&store, &condition(&store, &lines)).await;
        seen.sort();
        assert_eq!((seen.len(), &seen), (want.len(), &want), "{conditions}");
    }
}

/// Letters that messages and files have trouble with.
const HOSTILE: &str = "q\"uote \\ back\nline \u{1} größe 😀 </b> {{ctx}} {{{x}}} \"},{";

#[tokio::test]
async fn the_last_messages_go_with_an_alert_whatever_they_hold() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    let document = |age: i64, text: &str| json!({"firstPacket": age, "message": text, "host": {"name": "web-1"}, "network": {"bytes": age}});
    let documents = [document(3, "third"), document(1, HOSTILE), document(2, "second")];
    keep(&store, &documents).await;
    let text = serde_json::to_string(HOSTILE).expect("TOML has the same escapes");
    let lines = format!(
        "description = {text}\ntype = \"message_count\"\nthreshold = 2\ntime = 1\nbacklog = 2\ngrace = 1\n\
         tags = [{text}]\ncallbacks = [\"mail\"]\n[stream]\ntitle = {text}\ndescription = {text}"
    );
    let report = dry_run(&store, &condition(&store, &lines)).await;
    let alert = decoded(&report).pop().expect("an alert");
    let occasion = alert.occasion.expect("an occasion");
    let want = "Stream had 3 messages in the last 1 minutes with trigger condition more than 2 messages. (Current grace time: 1 minutes)";
    assert_eq!(alert.message.as_deref(), Some(want));
    assert_eq!(occasion.description.as_deref(), Some(want));
    assert_eq!((alert.hits, alert.tags), (Some(3), vec![HOSTILE.into()]));
    let begin = Timestamp::from_millisecond(NOW - MINUTE).ok();
    assert_eq!((alert.start, occasion.triggered_at), (begin, alert.end));
    let condition = occasion.condition;
    assert_eq!(condition.description.as_deref(), Some(HOSTILE));
    assert_eq!(condition.kind.as_deref(), Some("message_count"));
    let parameters = json!({"threshold": 2, "threshold_type": "more", "time": 1, "backlog": 2,
        "grace": 1, "callbacks": ["mail"]});
    assert_eq!(Value::Object(condition.parameters), parameters);
    assert_eq!(occasion.stream.title.as_deref(), Some(HOSTILE));
    assert_eq!(occasion.stream.description.as_deref(), Some(HOSTILE));
    let backlog: Vec<_> = occasion.backlog.iter().map(|one| one.message.as_deref()).collect();
    assert_eq!(backlog, [Some(HOSTILE), Some("second")], "the newest first");
    let first = &occasion.backlog[0];
    assert_eq!(
        (first.source.as_deref(), first.fields["network"]["bytes"].as_i64()),
        (Some("web-1"), Some(1))
    );
    let at = Timestamp::from_millisecond(NOW - 1).expect("a time");
    assert_eq!(first.timestamp.as_deref(), Some(format!("{at:.3}").as_str()));
    assert!(first.index.as_ref().is_some_and(|index| *index == store.index("s")));

    for (lines, want) in [
        (
            "type = \"field_value\"\nfield = \"network.bytes\"\nstatistic = \"mean\"\nthreshold = 1.25\ntime = 5",
            "Field network.bytes had a MEAN of 2 in the last 5 minutes with trigger condition HIGHER than 1.25. (Current grace time: 0 minutes)",
        ),
        (
            "type = \"field_value\"\nfield = \"network.bytes\"\nstatistic = \"stddev\"\nthreshold = 1\nthreshold_type = \"lower\"\ntime = 5",
            "Field network.bytes had a STDDEV of 0.816 in the last 5 minutes with trigger condition LOWER than 1. (Current grace time: 0 minutes)",
        ),
        (
            "type = \"field_content_value\"\nfield = \"host.name\"\nvalue = \"web-1\"\nevery = 2\ngrace = 3",
            "Stream received messages matching <host.name:\"web-1\"> (Current grace time: 3 minutes)",
        ),
        (
            "type = \"aggregation\"\nconditions = \"count() > 1 and mean(network.bytes) < 9 and percentile(network.bytes, 50) < 9\"\ntime = 1",
            "count() > 1 and mean(network.bytes) < 9 and percentile(network.bytes, 50) < 9 in the last 1 minute: count() = 3, mean(network.bytes) = 2, percentile(network.bytes, 50) = 2. (Current grace time: 0 minutes)",
        ),
    ] {
        let report = dry_run(&store, &self::condition(&store, lines)).await;
        let alert = decoded(&report).pop().expect("an alert");
        assert_eq!(alert.message.as_deref(), Some(want));
        assert!(alert.occasion.expect("an occasion").backlog.is_empty());
    }
}

#[tokio::test]
async fn a_big_backlog_comes_through_and_only_the_fields_that_are_asked_for() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    let long = "x\"y".repeat(3_000);
    let document = |age| json!({"firstPacket": age, "message": long, "node": "n"});
    keep(&store, &(0..510).map(document).collect::<Vec<_>>()).await;
    let lines = "type = \"message_count\"\nthreshold = 1\ntime = 1\nbacklog = 500";
    let alert = decoded(&dry_run(&store, &condition(&store, lines)).await).pop().expect("an alert");
    let backlog = alert.occasion.expect("an occasion").backlog;
    assert_eq!(backlog.len(), 500);
    assert!(backlog.iter().all(|one| one.message.as_ref() == Some(&long)));
    let lines = format!("{lines}\nstream.fields = [\"node\"]");
    let alert =
        decoded(&dry_run(&store, &condition(&store, &lines)).await).pop().expect("an alert");
    let first = &alert.occasion.expect("an occasion").backlog[0];
    let keys: Vec<_> = first.fields.keys().map(String::as_str).collect();
    assert_eq!(keys, ["firstPacket", "node"]);
}

#[tokio::test]
async fn a_query_that_fails_is_told_as_such() {
    let store = roomy(store!(alerting)).await;
    let lines = "type = \"message_count\"\nthreshold = 1\ntime = 1\nbacklog = 5\nstream.indices = \"no-such-index\"";
    let monitor = condition(&store, lines).monitor(CHANNEL_ID);
    let path = "_plugins/_alerting/monitors/_execute?dryrun=true";
    let report = store.json(Method::Post, path, monitor).await.expect("a report");
    let alert = decoded(&report).pop().expect("an alert");
    assert!(
        alert.error.as_ref().is_some_and(|error| error.contains("no-such-index")),
        "{report:#}"
    );
    let message = alert.message.expect("a message");
    assert!(message.starts_with("the condition could not be looked at: "), "{message}");
    assert!(alert.tags.is_empty(), "it needed no repair: {:?}", alert.tags);
}

/// A folder with these condition files, and what provisioning has to know of it.
fn folder(
    store: &Store,
    files: &BTreeMap<String, String>,
) -> (tempfile::TempDir, provision::Settings) {
    let dir = tempfile::tempdir().expect("a folder");
    let conditions = dir.path().join("conditions");
    std::fs::create_dir(&conditions).expect("a folder");
    for (name, text) in files {
        std::fs::write(conditions.join(name), text).expect("a file");
    }
    let settings = provision::Settings { dir: Some(dir.path().to_owned()), ..store.provisioning() };
    (dir, settings)
}

async fn plan(store: &Store, settings: &provision::Settings, options: Options) -> provision::Plan {
    let secret = ChannelSecret::new(WebhookToken::generate(), false);
    provision::look(&store.client(), settings, &secret, options).await.expect("a plan")
}

async fn apply(store: &Store, settings: &provision::Settings, options: Options) {
    let secret = ChannelSecret::new(WebhookToken::generate(), false);
    provision::apply(&store.client(), settings, &secret, options).await.expect("applied");
}

#[tokio::test]
async fn conditions_are_provisioned_and_then_nothing_is_left_to_do() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    store.make_template().await;
    keep(&store, &[json!({"firstPacket": 1, "host": {"name": "h"}})]).await;
    let prefix = store.pattern().replace("-*", "");
    let text = |name: &str, lines: &str| {
        (format!("{name}.toml"), format!("title = \"{prefix} {name}\"\n{lines}"))
    };
    let files: BTreeMap<_, _> = [
        text("count", "type = \"message_count\"\nthreshold = 5\ntime = 1\nbacklog = 3"),
        text("value", "type = \"field_value\"\nfield = \"network.bytes\"\nstatistic = \"max\"\nthreshold = 5.5\ntime = 1\nstream.fields = [\"node\"]\nbacklog = 1\nstream.query = \"node:a OR b\""),
        text("content", "type = \"field_content_value\"\nfield = \"node\"\nvalue = \"a\"\ncron = \"0 8 * * 1-5\"\ntimezone = \"Europe/Berlin\"\ntime = 5\nenabled = false"),
        text("groups", "type = \"aggregation\"\ngroup_by = [\"host.name\", \"source.ip\"]\nconditions = \"count() > 1 and percentile(network.bytes, 95) > 5\"\ntime = 5"),
    ]
    .into();
    let (dir, settings) = folder(&store, &files);
    let before = plan(&store, &settings, Options::default()).await;
    let created = |plan: &provision::Plan| {
        plan.steps
            .iter()
            .filter(|step| step.action == Action::Create && step.name.starts_with(&prefix))
            .count()
    };
    assert_eq!(created(&before), 4, "{before}");
    assert!(
        before.to_string().contains(&format!("{prefix} count, of conditions/count.toml")),
        "{before}"
    );
    apply(&store, &settings, Options::default()).await;
    let after = plan(&store, &settings, Options::default()).await;
    assert!(after.is_in_sync(), "{after}");

    // Lint, on the store.
    let subjects: Vec<Subject> = provision::lint::files::provisioned(&settings).expect("files");
    let subjects: Vec<_> =
        subjects.into_iter().filter(|one| one.name.starts_with("conditions/")).collect();
    assert_eq!(subjects.len(), 4);
    let naming = crate::lint::naming(&store);
    let received = Timestamp::from_millisecond(NOW).expect("a time");
    let report = provision::lint::run(&store.client(), &settings, &naming, received, &subjects)
        .await
        .expect("a report");
    assert_eq!(alertloop::finding::exit_code(&report.findings), 0, "{report}");
    assert!(
        report.findings.iter().all(|one| one.state == alertloop::finding::State::Ok),
        "{report}"
    );

    // For one who has lost the ledger the store says the same in its own words.
    let client = store.client();
    let found = alertloop::opensearch::alerting::named(
        &client,
        alertloop::opensearch::alerting::Family::Monitor,
        &files
            .keys()
            .map(|name| format!("{prefix} {}", name.trim_end_matches(".toml")))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )
    .await
    .expect("monitors");
    assert_eq!(found.len(), 4);
    let desired = provision::desired(&settings).expect("files");
    for monitor in &found {
        let wanted = desired.monitors().find(|one| one.key.name == monitor.name()).expect("a file");
        let canonical =
            |body| provision::canonical::canonical(provision::object::Object::Monitor, body);
        let differences =
            provision::diff::diff(&canonical(&wanted.body), &canonical(&monitor.body));
        assert!(differences.is_empty(), "{}: {differences:?}", monitor.name());
    }

    // A change of a number keeps the alerts' trigger; a user's edit is left alone.
    let file = dir.path().join("conditions/count.toml");
    std::fs::write(&file, files["count.toml"].replace("threshold = 5", "threshold = 6"))
        .expect("a file");
    let changed = plan(&store, &settings, Options::default()).await;
    let step = changed.steps.iter().find(|step| step.name.ends_with(" count")).expect("a step");
    assert!(matches!(step.action, Action::Update { .. }), "{changed}");
    let ids = |body: &Value| body["triggers"][0]["query_level_trigger"]["id"].clone();
    let live = found.iter().find(|one| one.name().ends_with(" count")).expect("a monitor");
    let desired = provision::desired(&settings).expect("files");
    let wanted = desired.monitors().find(|one| one.key.name == live.name()).expect("a file");
    assert_eq!(ids(&live.body), ids(&wanted.body));
    let mut edited = live.body.clone();
    edited["schedule"]["period"]["interval"] = json!(7);
    let path = format!("_plugins/_alerting/monitors/{}", live.id);
    store.json(Method::Put, &path, edited).await.expect("an edit");
    let left = plan(&store, &settings, Options::default()).await;
    let step = left.steps.iter().find(|step| step.name.ends_with(" count")).expect("a step");
    assert!(matches!(step.action, Action::Leave { .. }), "{left}");

    for name in files.keys() {
        std::fs::remove_file(dir.path().join("conditions").join(name)).expect("removed");
    }
    // Also the one that was edited.
    apply(&store, &settings, Options { prune: true, force: true, ..Options::default() }).await;
    let gone = plan(&store, &settings, Options::default()).await;
    assert!(!gone.to_string().contains(&prefix), "{gone}");
}

/// Runs a saved monitor, for real.
async fn run(store: &Store, id: &str) {
    let path = format!("_plugins/_alerting/monitors/{id}/_execute?dryrun=false");
    let report = store.json(Method::Post, &path, Value::Null).await.expect("a run");
    assert_eq!(report["error"], Value::Null, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fires_becomes_one_record_and_each_group_its_own() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    let prefix = store.pattern().replace("-*", "");
    let files: BTreeMap<_, _> = [
        ("count.toml".to_owned(), format!("title = \"{prefix} count\"\nenabled = false\nseverity = 1\ntags = [\"logins\"]\ntype = \"message_count\"\nthreshold = 2\ntime = 10\nbacklog = 2\nstream.query = \"node:n\"")),
        ("groups.toml".to_owned(), format!("title = \"{prefix} groups\"\nenabled = false\ntype = \"aggregation\"\ngroup_by = [\"host.name\"]\nconditions = \"count() > 0 and max(network.bytes) > 0\"\ntime = 10\nstream.query = \"node:n\"")),
    ]
    .into();
    let (dir, _) = folder(&store, &files);
    let path = dir.path().to_str().expect("UTF-8").to_owned();
    let app = App::start_provisioning_with(&store, &[("ALERTLOOP_PROVISIONING_DIR", &path)]).await;
    app.wait_until_provisioned().await;
    let now = Timestamp::now().as_millisecond();
    let document = |host: &str| json!({"firstPacket": NOW - now, "node": "n", "host": {"name": host}, "network": {"bytes": 3}});
    keep(&store, &[document("h1"), document("h1"), document("h2")]).await;
    let names = [format!("{prefix} count"), format!("{prefix} groups")];
    let monitors = alertloop::opensearch::alerting::named(
        &store.client(),
        alertloop::opensearch::alerting::Family::Monitor,
        &[&names[0], &names[1]],
    )
    .await
    .expect("monitors");
    for monitor in &monitors {
        run(&store, &monitor.id).await;
    }
    let all = wait_for(&store, 3).await;
    for monitor in &monitors {
        run(&store, &monitor.id).await;
    }
    let again = wait_for(&store, 3).await;
    assert_eq!(all.len(), again.len());
    let of = |name: &str| -> Vec<Value> {
        all.iter().filter(|record| record["rule"]["name"] == name).cloned().collect()
    };
    let count = of(&names[0]).pop().expect("a record");
    assert_eq!(count["event"]["reason"], "more than 2 messages in 10 minutes");
    assert_eq!((&count["event"]["severity"], &count["event"]["hits"]), (&json!(100), &json!(3)));
    assert_eq!(count["tags"], json!(["logins"]));
    let want = "Stream had 3 messages in the last 10 minutes with trigger condition more than 2 messages. (Current grace time: 0 minutes)";
    assert_eq!(count["message"], want);
    for one in of(&names[1]) {
        let host = one["host"]["name"].as_str().expect("the key in its field");
        assert!(one["message"].as_str().is_some_and(|text| text.starts_with(host)), "{one:#}");
    }
    let mut messages: Vec<_> = of(&names[1]).iter().map(|one| one["message"].to_string()).collect();
    messages.sort();
    assert!(
        messages[0]
            .starts_with("\"h1: count() > 0 and max(network.bytes) > 0 in the last 10 minutes"),
        "{messages:?}"
    );
    assert!(messages[1].starts_with("\"h2: "), "{messages:?}");
    assert_eq!(app.dead_letters().await, Vec::<Value>::new());
    for monitor in &monitors {
        let path = format!("_plugins/_alerting/monitors/{}", monitor.id);
        store.json(Method::Delete, &path, Value::Null).await.expect("removed");
    }
    app.stop().await;
}

/// The alerts' records among the traffic.
async fn wait_for(store: &Store, count: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    let enough = async {
        loop {
            let all = store.records().await.into_iter().map(|hit| hit["_source"].clone());
            seen = all.filter(|record| record["event"]["dataset"] == "alerting").collect();
            if seen.len() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(std::time::Duration::from_secs(20), enough).await.is_ok();
    assert!(came, "{} records instead of {count}: {seen:#?}", seen.len());
    seen
}
