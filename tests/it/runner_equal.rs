//! The same monitors on the same data, run by the Alerting plugin and by alertloop: the same triggers fire,
//! the same messages are rendered, and the same records are made of them.
//!
//! What has to differ is made alike first: how long a search took, the moments of the run, and the ids that
//! the plugin draws at random for triggers of buckets. Where a store without plugins is there too
//! (`ALERTLOOP_TEST_PLAIN_OPENSEARCH`, `ALERTLOOP_TEST_ELASTICSEARCH`), alertloop runs the table on
//! it as well.

use alertloop::{
    condition::{
        Condition,
        file::{self, Defaults},
    },
    intake::{self, Encoding, Envelope},
    opensearch::{Client, Error},
    provision::{desired::CHANNEL_ID, shape},
    record::{self, Naming, Receipt, fields::FieldSet, index_name::IndexName},
    runner::decide,
};
use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Map, Value, json};

use crate::{store, support::Store};

mod life;

/// The end of the period in all runs, on the dot.
const NOW: i64 = 1_795_000_000_000;
const MINUTE: i64 = 60_000;
const QUERY_MESSAGE: &str = include_str!("../../provisioning/messages/query_level.mustache");
const BUCKET_MESSAGE: &str = include_str!("../../provisioning/messages/bucket_level.mustache");
const LOOPBACK: &str =
    include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");

/// One monitor of the table.
struct Case {
    name: String,
    monitor: Value,
    /// Its faults are found by another engine, which has other words for them.
    other_words: bool,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time")
}

/// A store with room for all these scripts and templates, and with the data.
async fn prepared(store: Store) -> Store {
    let rate =
        |name: &str| (format!("script.context.{name}.max_compilations_rate"), json!("unlimited"));
    let settings: Map<_, _> = ["template", "painless_test"].into_iter().map(rate).collect();
    store
        .json(Method::Put, "_cluster/settings", json!({"transient": settings}))
        .await
        .expect("a setting");
    store.make_template().await;
    let mut documents = vec![
        json!({"firstPacket": 1, "node": "a", "network": {"bytes": 2}, "event": {"dataset": "conn"},
               "source": {"ip": "10.0.0.1", "port": 22}, "destination": {"ip": "10.10.0.1"}}),
        json!({"firstPacket": 2 * MINUTE, "node": "a", "network": {"bytes": 4}, "event": {"dataset": "dns"},
               "source": {"ip": "10.0.0.1", "port": 443}, "destination": {"ip": "10.10.0.2"}}),
        json!({"firstPacket": 30_000, "node": "b", "network": {"bytes": 1}, "message": "a word"}),
        json!({"firstPacket": 40_000, "node": "text", "message": "no security here",
               "event": {"dataset": "conn"}, "source": {"ip": "10.0.0.2", "port": 80}}),
        json!({"firstPacket": 3 * MINUTE, "node": "quoted", "message": "he said \"no\" \\ <b> & 'so' ü\n{{end}}"}),
        json!({"firstPacket": 4 * MINUTE, "node": "ours", "event": {"module": "alerting"}}),
    ];
    documents.extend(
        (0..60).map(
            |number| json!({"firstPacket": 600 * MINUTE, "number": number, "node": "numbers"}),
        ),
    );
    let mut lines = String::new();
    for (id, mut document) in documents.into_iter().enumerate() {
        document["firstPacket"] = json!(NOW - document["firstPacket"].as_i64().expect("an age"));
        let to = json!({"index": {"_index": store.index("s"), "_id": id.to_string()}});
        lines.extend([to.to_string(), "\n".to_owned(), document.to_string(), "\n".to_owned()]);
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/_bulk?refresh=true", store.url());
    let request = client.post(url).header("content-type", "application/x-ndjson").body(lines);
    let answer: Value = request.send().await.expect("sent").json().await.expect("JSON");
    assert_eq!(answer["errors"], false, "{answer}");
    store
}

/// The table, for the index that this run has.
fn table(index: &str) -> Vec<Case> {
    let read = |text: &str| -> Vec<Value> {
        serde_json::from_str(&text.replace("INDEX", index)).expect("a table")
    };
    let queries = read(include_str!("../runner_equal/query_level.json"));
    let buckets = read(include_str!("../runner_equal/bucket_level.json"));
    let conditions = read(include_str!("../runner_equal/conditions.json"));
    let mut cases: Vec<_> = queries.iter().map(|case| query_level(case, index)).collect();
    cases.extend(buckets.iter().map(|case| bucket_level(case, index)));
    cases.extend(conditions.iter().map(|case| compiled(case, index)));
    for (name, source) in [
        ("the loopback monitor as it is shipped", None),
        ("the loopback monitor, which fires", Some("ctx.results[0].hits.total.value > 0")),
    ] {
        let text =
            LOOPBACK.replace("${index_pattern}", index).replace("${time_field}", "firstPacket");
        let mut monitor: Value = serde_json::from_str(&text).expect("a monitor");
        if let Some(source) = source {
            monitor["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] =
                json!(source);
        }
        cases.push(Case { name: name.to_owned(), monitor, other_words: false });
    }
    cases
}

fn monitor(case: &Value, index: &str, kind: &str, search: &Value, triggers: &[Value]) -> Case {
    let name = case["name"].as_str().expect("a name").to_owned();
    let indices = case.get("indices").cloned().unwrap_or(json!([index]));
    let monitor = json!({
        "type": "monitor", "name": format!("it: {name}"), "enabled": false,
        "monitor_type": format!("{kind}_level_monitor"),
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": indices, "query": search}}],
        "triggers": triggers.iter().map(|one| json!({format!("{kind}_level_trigger"): one})).collect::<Vec<_>>()});
    Case { name, monitor, other_words: case["other_words"] == true }
}

fn actions(case: &Value, trigger: &Value, shipped: &str) -> Vec<Value> {
    let messages = trigger["messages"].as_array().expect("messages").iter().enumerate();
    let scope = case.get("scope").cloned().unwrap_or(json!({"per_execution": {}}));
    messages
        .map(|(at, source)| {
            let source = source.as_str().expect("a message").replace("shipped", shipped);
            let template = |source: &str| json!({"source": source, "lang": "mustache"});
            let mut action = json!({"id": format!("action-{at}"), "name": format!("Action {at}"),
                "destination_id": "nowhere", "throttle_enabled": false,
                "message_template": template(&source)});
            if let Some(subject) = trigger["subject"].as_str() {
                action["subject_template"] = template(subject);
            }
            if shipped == BUCKET_MESSAGE {
                action["action_execution_policy"] = json!({"action_execution_scope": scope});
            }
            action
        })
        .collect()
}

fn script(trigger: &Value) -> Value {
    let mut script = json!({"source": trigger["source"], "lang": "painless"});
    if let Some(params) = trigger.get("params") {
        script["params"] = params.clone();
    }
    script
}

fn query_level(case: &Value, index: &str) -> Case {
    let search =
        case.get("search").cloned().unwrap_or(json!({"size": 0, "query": {"match_all": {}}}));
    let triggers = case["triggers"].as_array().expect("triggers").iter().enumerate();
    let triggers: Vec<_> = triggers
        .map(|(at, trigger)| {
            let text = |key: &str, default: String| trigger[key].as_str().map_or(default, str::to_owned);
            json!({"id": text("id", format!("trigger-{at}")), "name": text("name", format!("Trigger {at}")),
                "severity": text("severity", "1".to_owned()), "condition": {"script": script(trigger)},
                "actions": actions(case, trigger, QUERY_MESSAGE)})
        })
        .collect();
    monitor(case, index, "query", &search, &triggers)
}

fn bucket_level(case: &Value, index: &str) -> Case {
    let groups = || {
        let sources = case["sources"].as_array().expect("sources").iter();
        let source = |field: &Value| json!({field.as_str().expect("a field").replace('.', "_"): {"terms": {"field": field}}});
        let mut groups = json!({"composite": {"size": case["size"].as_u64().unwrap_or(100),
            "sources": sources.map(source).collect::<Vec<_>>()}});
        if let Some(metrics) = case.get("metrics") {
            groups["aggregations"] = metrics.clone();
        }
        json!({"groups": groups})
    };
    let aggregations = case.get("aggregations").cloned().unwrap_or_else(groups);
    let query = case.get("query").cloned().unwrap_or(json!({"match_all": {}}));
    let search = json!({"size": 0, "query": query, "aggregations": aggregations});
    let triggers = case["triggers"].as_array().expect("triggers").iter().enumerate();
    let triggers: Vec<_> = triggers
        .map(|(at, trigger)| {
            let mut condition = json!({"parent_bucket_path": case["path"].as_str().unwrap_or("groups"),
                "buckets_path": trigger["buckets_path"], "script": script(trigger)});
            for key in ["gap_policy", "filter", "composite_agg_filter"] {
                if let Some(value) = trigger.get(key) {
                    condition[key] = value.clone();
                }
            }
            // No id: the plugin gives triggers of buckets one of its own in a dry run.
            json!({"name": trigger["name"].as_str().map_or(format!("Trigger {at}"), str::to_owned),
                "severity": "2", "condition": condition, "actions": actions(case, trigger, BUCKET_MESSAGE)})
        })
        .collect();
    monitor(case, index, "bucket", &search, &triggers)
}

fn compiled(case: &Value, index: &str) -> Case {
    let defaults = Defaults { index_pattern: index, time_field: "firstPacket" };
    let name = case["name"].as_str().expect("a name").to_owned();
    let text = format!("title = \"it: {name}\"\n{}", case["lines"].as_str().expect("lines"));
    let condition: Condition =
        file::read(&text, "it_equal", defaults).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let mut monitor = condition.monitor(CHANNEL_ID);
    if let Some(trigger) = monitor["triggers"][0].get_mut("bucket_level_trigger") {
        trigger.as_object_mut().expect("a trigger").remove("id");
    }
    Case { name, monitor, other_words: case["other_words"] == true }
}

/// What the plugin reports.
async fn by_the_plugin(store: &Store, monitor: &Value) -> Value {
    let path = format!("_plugins/_alerting/monitors/_execute?dryrun=true&period_end={NOW}ms");
    store
        .json(Method::Post, &path, monitor.clone())
        .await
        .unwrap_or_else(|error| panic!("{error}: {monitor:#}"))
}

/// What alertloop reports.
async fn by_alertloop(client: &Client, monitor: &Value) -> Value {
    let period = decide::period::ending_at(monitor, at(NOW));
    let report = decide::dry_run_of(client, monitor, period, at(NOW)).await;
    report.unwrap_or_else(|error| panic!("{error}: {monitor:#}"))
}

/// A report with the same ids: those of triggers of buckets are random.
fn named(report: &Value) -> Value {
    let mut text = report.to_string();
    let triggers = report["trigger_results"].as_object().into_iter().flatten();
    for (id, trigger) in triggers.filter(|(_, one)| one.get("agg_result_buckets").is_some()) {
        text = text
            .replace(id.as_str(), &format!("of {}", trigger["name"].as_str().unwrap_or_default()));
    }
    serde_json::from_str(&text).expect("JSON")
}

/// A report without what has to differ. Of a case whose faults are told in `other_words` (the engine that
/// finds them is another one) it counts that there is one.
fn alike(report: &Value, other_words: bool) -> Value {
    let mut report = report.clone();
    blank(&mut report);
    if other_words {
        let triggers = report["trigger_results"].as_object_mut().into_iter().flatten();
        for (_, trigger) in triggers {
            trigger["error"] = json!(trigger["error"].is_null());
        }
        report["input_results"]["error"] = json!(report["input_results"]["error"].is_null());
    }
    report
}

/// Takes moments and durations out, also of texts that are JSON.
fn blank(value: &mut Value) {
    const DIFFERING: [&str; 11] = [
        "took",
        "executionTime",
        "execution_id",
        "last_notification_time",
        "start_time",
        "last_update_time",
        // Of a search that ended early, by the plugin's own aggregation.
        "terminated_early",
        "_shards",
        // Elasticsearch 7 has the one, and scores in another way.
        "_type",
        "_score",
        "max_score",
    ];
    match value {
        Value::Object(object) => {
            // 3.8 tells of its PPL monitors in the reports and alerts of the others too: that there is
            // nothing to tell.
            let of_ppl = |key: &str, value: &Value| {
                key.starts_with("ppl_")
                    || (key == "query" && value.is_null())
                    || (key == "query_results" && value == &json!([]))
            };
            object.retain(|key, value| !DIFFERING.contains(&key.as_str()) && !of_ppl(key, value));
            // The plugin shows a search as its own engine would write it.
            if object.get("search").is_some_and(|search| search["query"].is_string()) {
                object["search"]["query"] = Value::Null;
            }
            // Classes of the plugin itself stand above a script's own lines.
            if let Some(Value::Array(lines)) = object.get_mut("script_stack") {
                lines.drain(..lines.len().saturating_sub(2));
            }
            object.values_mut().for_each(blank);
        }
        Value::Array(list) => list.iter_mut().for_each(blank),
        Value::String(text) if text.starts_with(['{', '[']) => {
            if let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
            {
                blank(&mut inner);
                *value = json!({"as JSON": inner});
            }
        }
        _ => {}
    }
}

/// The records that the writer makes of the messages of a report.
fn records(report: &Value) -> Vec<Value> {
    let naming = Naming {
        index: IndexName::new("it-*", "").expect("a name"),
        time_field: "firstPacket".to_owned(),
    };
    let known = FieldSet::everything();
    let rendered = shape::rendered(report);
    let messages = rendered.into_iter().filter_map(|rendered| rendered.message.ok());
    let mut records: Vec<_> = messages
        .flat_map(|message| {
            let envelope = Envelope {
                source: None,
                received: at(NOW),
                content_type: String::new(),
                encoding: Encoding::Identity,
                body: message.into_bytes(),
            };
            let alerts = intake::decode(&envelope, 1 << 24).unwrap_or_default();
            let receipt = Receipt { received: at(NOW), hash: "hash" };
            let build = |alert| {
                let record = record::build(&alert, receipt, &naming, &known);
                let mut document = serde_json::from_str(&record.document).expect("JSON");
                blank(&mut document);
                json!({"_index": record.index, "_id": record.id, "_source": document})
            };
            alerts.into_iter().filter_map(Result::ok).map(build).collect::<Vec<_>>()
        })
        .collect();
    records.sort_by_key(Value::to_string);
    records
}

/// A place at which two values differ, for a report that can be read.
fn difference(path: &str, left: &Value, right: &Value) -> Option<String> {
    if let (Value::Object(a), Value::Object(b)) = (left, right) {
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        let of =
            |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(json!("(none)"));
        return keys
            .into_iter()
            .find_map(|key| difference(&format!("{path}/{key}"), &of(a, key), &of(b, key)));
    }
    if let (Value::Array(a), Value::Array(b)) = (left, right)
        && a.len() == b.len()
    {
        return a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(at, (a, b))| difference(&format!("{path}/{at}"), a, b));
    }
    (left != right).then(|| format!("{path}\n    plugin:    {left}\n    alertloop: {right}"))
}

#[tokio::test]
async fn the_plugin_and_alertloop_decide_and_say_the_same() {
    let store = prepared(store!(alerting)).await;
    let index = store.index("s");
    let mut elsewhere = Vec::new();
    for variable in ["ALERTLOOP_TEST_PLAIN_OPENSEARCH", "ALERTLOOP_TEST_ELASTICSEARCH"] {
        let Ok(url) = std::env::var(variable) else { continue };
        let other = prepared(Store::at(url)).await;
        // The monitors look at the same index, by another name.
        let path = format!("{}/_alias/{index}", other.index("s"));
        other.json(Method::Put, &path, Value::Null).await.expect("an alias");
        elsewhere.push((variable, other));
    }
    let cases = table(&index);
    let (mut differ, mut fired, mut told) = (Vec::new(), 0, 0);
    for Case { name, monitor, other_words } in &cases {
        let theirs = named(&by_the_plugin(&store, monitor).await);
        let mut ours = vec![("", by_alertloop(&store.client(), monitor).await)];
        for (place, other) in &elsewhere {
            let report = by_alertloop(&other.client(), monitor).await.to_string();
            let report = report.replace(&other.index("s"), &index);
            ours.push((place, serde_json::from_str(&report).expect("JSON")));
        }
        let of_plugin = records(&theirs);
        told += of_plugin.len();
        fired += usize::from(!shape::rendered(&theirs).is_empty());
        for (place, ours) in ours {
            let ours = named(&ours);
            let found = difference("", &alike(&theirs, *other_words), &alike(&ours, *other_words))
                .or_else(|| difference("record", &json!(of_plugin), &json!(records(&ours))));
            differ.extend(found.map(|found| format!("{name} {place}: {found}")));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    println!(
        "{} monitors, {fired} with messages, {told} records, the same either way",
        cases.len()
    );
    assert!(cases.len() > 80 && fired > 60 && told > 60, "{} {fired} {told}", cases.len());
}

#[tokio::test]
async fn what_the_plugin_refuses_to_run_alertloop_refuses_with_the_same_words() {
    let store = store!(alerting);
    let index = store.index("s");
    let types = json!({"mappings": {"properties": {"node": {"type": "keyword"}}}});
    store.json(Method::Put, &index, types).await.expect("an index");
    let searches = [
        json!({"query": {"nope": {}}}),
        json!({"nope": 1}),
        json!({"aggs": {"a": {"nope": {}}}}),
        json!({"query": {"match_all": {}, "term": {"a": 1}}}),
        json!({"size": -5}),
        json!({"query": {"bool": {"filter": "text"}}}),
    ];
    let mut monitors: Vec<_> = searches
        .iter()
        .map(|search| {
            query_level(&json!({"name": "refused", "search": search, "triggers": []}), &index)
                .monitor
        })
        .collect();
    for key in ["name", "schedule"] {
        let case = json!({"name": "refused", "triggers": []});
        let mut monitor = query_level(&case, &index).monitor;
        monitor.as_object_mut().expect("a monitor").remove(key);
        monitors.push(monitor);
    }
    for monitor in &monitors {
        let path = "_plugins/_alerting/monitors/_execute?dryrun=true";
        let theirs = store.json(Method::Post, path, monitor.clone()).await.expect_err("refused");
        let ours = decide::dry_run(&store.client(), monitor, at(NOW)).await.expect_err("refused");
        // Where in the text it stands depends on the text around it.
        let words = |error: &Error| {
            let told = error.to_string();
            let (status, why) =
                told.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a reason");
            let why = why
                .strip_prefix("[1:")
                .and_then(|why| why.split_once("] "))
                .map_or(why.as_str(), |(_, why)| why);
            format!("{status}: {why}")
        };
        assert_eq!(words(&ours), words(&theirs), "{monitor}");
    }
}
