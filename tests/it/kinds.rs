//! Each kind of monitor on the real server: every alert that the Alerting API has becomes one record
//! under its own id, whatever the message and the scope of the action, and no other record is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alertloop::opensearch::bulk::{self, Action};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{App, Store, TOKEN, provisioning},
};

const BUCKETS: &str = include_str!("../../provisioning/messages/bucket_level.mustache");
const DOCUMENTS: &str = include_str!("../../provisioning/messages/doc_level.mustache");
const COMPOSITE: &str = include_str!("../../provisioning/messages/composite.mustache");
const QUERY: &str = include_str!("../../provisioning/messages/query_level.mustache");
/// What Malcolm's own monitor sends: no id of anything but of a query's alert.
pub const MALCOLM: &str = r#"{"alert": {"monitor": {"name": "{{ctx.monitor.name}}"},
    "trigger": {"name": "{{ctx.trigger.name}}", "severity": "{{ctx.trigger.severity}}"},
    "period": {"start": "{{ctx.periodStart}}", "end": "{{ctx.periodEnd}}"},
    "results": {{#toJson}}ctx.results{{/toJson}}, "body": "", "alert": "{{ctx.alert.id}}",
    "error": "{{ctx.error}}"}}"#;

/// A message of a composite monitor that names it only; what [`MALCOLM`] sends of `ctx.results` is
/// no JSON there.
const NAMED: &str = r#"{"alert": {"monitor": {"name": "{{ctx.monitor.name}}"},
    "period": {"start": "{{ctx.periodStart}}"}, "body": "both"}}"#;

const MONITORS: &str = "_plugins/_alerting/monitors";
const WORKFLOWS: &str = "_plugins/_alerting/workflows";
const CHANNELS: &str = "_plugins/_notifications/configs";
/// 200 records are written and read back while other tests run.
const PATIENCE: Duration = Duration::from_mins(1);

/// The service with a channel of its own that leads to it, and what has to be removed afterwards.
struct Scene {
    store: Store,
    app: App,
    channel: String,
    /// The index of sessions that the monitors look at.
    sessions: String,
    made: Vec<String>,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let app = App::start(&store, &[]).await;
        let channel = store.index("channel");
        let config = json!({"config_id": channel, "config": {"name": channel, "config_type": "webhook",
            "webhook": {"url": app.url("/mapi/alert"), "header_params": {"X-Alertloop-Token": TOKEN}}}});
        store.json(Method::Post, CHANNELS, config).await.expect("a channel");
        let made = vec![format!("{CHANNELS}/{channel}")];
        let sessions = store.index("261105");
        Self { store, app, channel, sessions, made }
    }

    /// A name that no other test has.
    fn name(&self, name: &str) -> String {
        format!("{} {name}", self.channel)
    }

    /// Stores sessions, each from an address of its own, in one bulk; tells the addresses.
    async fn store_sessions(&self, count: usize) -> BTreeSet<String> {
        let mut body = Vec::new();
        let addresses = (0..count).map(|n| format!("10.9.{}.{}", n / 250, n % 250));
        let addresses: BTreeSet<_> = addresses.collect();
        for address in &addresses {
            let session = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"},
                "source": {"ip": address, "port": 40_000}, "host": {"name": "web,1"}});
            bulk::push(&mut body, Action::Index, &self.sessions, address, &session.to_string());
        }
        let items = self.store.client().bulk(body.into(), count).await.expect("an answer");
        assert!(items.iter().all(|item| item.status < 300), "{items:?}");
        self.refresh().await;
        addresses
    }

    async fn refresh(&self) {
        let path = format!("{}/_refresh", self.sessions);
        self.store.json(Method::Post, &path, Value::Null).await.expect("a refresh");
    }

    fn action(&self, id: &str, message: &str, scope: &str) -> Value {
        let scope = match scope {
            "per_alert" => {
                json!({"per_alert": {"actionable_alerts": ["DEDUPED", "NEW", "COMPLETED"]}})
            }
            _ => json!({"per_execution": {}}),
        };
        let lang = json!({"lang": "mustache", "source": message});
        json!({"id": id, "name": id, "destination_id": self.channel, "throttle_enabled": false,
               "message_template": lang, "subject_template": {"lang": "mustache", "source": "s"},
               "action_execution_policy": {"action_execution_scope": scope}})
    }

    /// Makes what the API then runs by hand.
    async fn make(&mut self, path: &str, body: Value) -> String {
        let made = self.store.make(path, body).await;
        let id = made["_id"].as_str().expect("an id").to_owned();
        // What was made last is removed first: a workflow before its monitors.
        self.made.push(format!("{path}/{id}"));
        id
    }

    async fn bucket_monitor(&mut self, name: &str, sources: &Value, actions: &Value) -> String {
        let name = self.name(name);
        let query = json!({"size": 0, "query": {"term": {"event.module": "zeek"}}, "aggregations": {
            "composite_agg": {"composite": {"size": 150, "sources": sources}}}});
        let trigger = json!({"id": "buckets", "name": "many", "severity": "2", "actions": actions,
            "condition": {"parent_bucket_path": "composite_agg", "buckets_path": {"count": "_count"},
                          "gap_policy": "skip",
                          "script": {"source": "params.count > 0", "lang": "painless"}}});
        let monitor = json!({"type": "monitor", "monitor_type": "bucket_level_monitor", "name": name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": [self.sessions], "query": query}}],
            "triggers": [{"bucket_level_trigger": trigger}]});
        self.make(MONITORS, monitor).await
    }

    async fn document_monitor(&mut self, name: &str, actions: &Value) -> String {
        let queries = json!([{"id": "q", "name": "q", "query": "event.module:zeek", "fields": [], "tags": ["t"]}]);
        let input = json!({"description": "", "indices": [self.sessions], "queries": queries});
        let trigger = json!({"id": "documents", "name": "some", "severity": "3", "actions": actions,
            "condition": {"script": {"source": "query[name=q]", "lang": "painless"}}});
        let monitor = json!({"type": "monitor", "monitor_type": "doc_level_monitor",
            "name": self.name(name), "enabled": false,
            "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"doc_level_input": input}],
            "triggers": [{"document_level_trigger": trigger}]});
        self.make(MONITORS, monitor).await
    }

    async fn query_monitor(&mut self, name: &str, triggers: &Value) -> String {
        let query = json!({"size": 0, "query": {"term": {"event.module": "zeek"}}});
        let monitor = json!({"type": "monitor", "monitor_type": "query_level_monitor",
            "name": self.name(name), "enabled": false,
            "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": [self.sessions], "query": query}}],
            "triggers": triggers});
        self.make(MONITORS, monitor).await
    }

    async fn run(&self, path: &str, id: &str) {
        let execute = format!("{path}/{id}/_execute?dryrun=false");
        let run = self.store.json(Method::Post, &execute, Value::Null).await.expect("a run");
        assert!(run["error"].is_null(), "{run:#}");
    }

    /// The alerts that the API has of a monitor, by their ids.
    async fn alerts(&self, of: &str, id: &str) -> BTreeMap<String, Value> {
        let query = format!("size=10000&searchString={of}:%22{id}%22");
        let answer = self.store.alerts(&query).await;
        let alerts = answer["alerts"].as_array().cloned().unwrap_or_default().into_iter();
        let alerts = alerts.filter(|alert| of != "workflow_id" || alert["monitor_id"] == "");
        alerts.map(|alert| (alert["id"].as_str().expect("an id").to_owned(), alert)).collect()
    }

    /// The alerting records of a monitor.
    async fn records(&self, monitor: &str) -> Vec<Value> {
        let records = self.store.records().await;
        let of_monitor = |hit: &Value| {
            let source = &hit["_source"];
            source["event"]["dataset"] == "alerting"
                && (source["rule"]["id"] == json!(monitor)
                    || source["rule"]["name"] == json!(self.name(monitor)))
        };
        records.into_iter().filter(of_monitor).collect()
    }

    /// Waits until the records of a monitor are as wanted.
    async fn wait_for(&self, monitor: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        let wait = async {
            loop {
                seen = self.records(monitor).await;
                if done(&seen) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        if !came {
            let letters = self.app.dead_letters().await;
            panic!("{monitor}: {} records, {:#?}; dead: {letters:#?}", seen.len(), seen.first());
        }
        seen
    }

    /// Waits until nothing that was received waits any more, so that no further record can come.
    async fn drained(&self) {
        let empty = async {
            loop {
                let metrics = self.app.get("/metrics").send().await.expect("an answer");
                let text = metrics.text().await.expect("text");
                let of = |name: &str| {
                    let value = text.lines().filter(|line| line.starts_with(name));
                    value
                        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                        .sum::<f64>()
                };
                if of("alertloop_waiting") == 0.0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, empty).await.expect("nothing waits");
    }

    async fn end(self) {
        for path in self.made.iter().rev() {
            self.store.json(Method::Delete, path, Value::Null).await.expect("removed");
        }
        self.app.stop().await;
    }
}

fn id_of(record: &Value) -> &str {
    record["_source"]["event"]["id"].as_str().expect("an id")
}

fn ids(records: &[Value]) -> BTreeSet<&str> {
    let ids: BTreeSet<_> = records.iter().map(id_of).collect();
    assert_eq!(ids.len(), records.len(), "an alert has two records");
    ids
}

fn addresses(records: &[Value], field: &str) -> BTreeSet<String> {
    let value = |record: &Value| match record["_source"].pointer(field) {
        Some(Value::Array(list)) => list[0].as_str().map(str::to_owned),
        value => value.and_then(Value::as_str).map(str::to_owned),
    };
    records.iter().filter_map(value).collect()
}

/// The source of 200 buckets.
fn by_address() -> Value {
    json!([{"address": {"terms": {"field": "source.ip"}}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bucket_is_one_record_however_many_and_whatever_the_message_and_the_scope() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    // The last is more than one page of the alerts' API.
    for (name, message, scope, count) in [
        ("shipped", BUCKETS, "per_execution", 200),
        ("each", BUCKETS, "per_alert", 200),
        ("Malcolm's", MALCOLM, "per_execution", 1_200),
    ] {
        let all = scene.store_sessions(count).await;
        let actions = json!([scene.action("tell", message, scope)]);
        let monitor = scene.bucket_monitor(name, &by_address(), &actions).await;
        scene.run(MONITORS, &monitor).await;
        let key = if message == MALCOLM { name } else { monitor.as_str() };
        let records = scene.wait_for(key, |seen| seen.len() >= count).await;
        let alerts = scene.alerts("monitor_id", &monitor).await;
        assert_eq!(ids(&records), alerts.keys().map(String::as_str).collect(), "{name}");
        assert_eq!(addresses(&records, "/source/ip"), all, "{name}");
        assert_eq!(addresses(&records, "/related/ip"), all, "{name}");
        for record in &records {
            let (source, alert) = (&record["_source"], &alerts[id_of(record)]);
            let address = &alert["agg_alert_content"]["bucket_keys"][0];
            assert_eq!(&source["source"]["ip"], address, "{name}: {record:#}");
            assert_eq!(source["event"]["action"], "engaged");
            assert_eq!(source["event"]["severity"], 80);
            let original = source["event"]["original"].as_str().unwrap_or_default();
            assert_eq!(original.matches("bucket_keys").count(), usize::from(message != MALCOLM));
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_over_is_released_and_the_others_go_on() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    for (name, scope) in [("at once", "per_execution"), ("each", "per_alert")] {
        scene.store_sessions(20).await;
        let actions = json!([scene.action("tell", BUCKETS, scope)]);
        let monitor = scene.bucket_monitor(name, &by_address(), &actions).await;
        scene.run(MONITORS, &monitor).await;
        scene.wait_for(&monitor, |seen| seen.len() == 20).await;
        let gone = "10.9.0.5";
        let path = format!("{}/_doc/{gone}?refresh=true", scene.sessions);
        scene.store.json(Method::Delete, &path, Value::Null).await.expect("gone");
        scene.run(MONITORS, &monitor).await;
        let is_over = |hit: &Value| hit["_source"]["event"]["action"] == "released";
        let records = scene
            .wait_for(&monitor, |seen| {
                seen.iter().any(is_over) && seen.iter().all(|hit| hit["_version"] != json!(1))
            })
            .await;
        assert_eq!(records.len(), 20, "{name}");
        let over: Vec<_> = records.iter().filter(|hit| is_over(hit)).collect();
        assert_eq!(over.len(), 1, "{name}: {over:#?}");
        let (source, alert) = (&over[0]["_source"], &scene.alerts("monitor_id", &monitor).await);
        let alert = &alert[id_of(over[0])];
        assert_eq!(source["source"]["ip"], gone);
        assert_eq!(source["event"]["sequence"], alert["end_time"]);
        assert!(source["event"]["duration"].as_i64() > Some(0), "{source:#}");
        assert_eq!(source.get("tags"), None);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_sources_go_into_the_right_fields_though_opensearch_mixes_their_order() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    scene.store_sessions(3).await;
    // The order in `bucket_keys` is that of a hash map of the names, and one key has a comma.
    let sources = json!([{"mod": {"terms": {"field": "event.module"}}}, {"ip": {"terms": {"field": "source.ip"}}},
        {"port": {"terms": {"field": "source.port"}}}, {"name": {"terms": {"field": "host.name"}}}]);
    for (name, message) in [("shipped", BUCKETS), ("Malcolm's", MALCOLM)] {
        let actions = json!([scene.action("tell", message, "per_execution")]);
        let monitor = scene.bucket_monitor(name, &sources, &actions).await;
        scene.run(MONITORS, &monitor).await;
        let key = if message == MALCOLM { name } else { monitor.as_str() };
        let records = scene.wait_for(key, |seen| seen.len() == 3).await;
        for record in records {
            let source = &record["_source"];
            let address = source["source"]["ip"].as_str().unwrap_or_default();
            assert!(address.starts_with("10.9.0."), "{record:#}");
            assert_eq!(
                (&source["source"]["port"], &source["host"]["name"]),
                (&json!(40_000), &json!("web,1"))
            );
            assert_eq!(source["related"], json!({"ip": [address], "hosts": ["web,1"]}));
            assert_eq!(source["event"]["module"], "alerting", "a key never says what the alert is");
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_fit_its_field_loses_no_record() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    // An index of somebody else's, where the field is text.
    scene.sessions = format!("odd-{}", scene.store.index("sessions"));
    let keyword = json!({"type": "keyword"});
    let mappings = json!({"properties": {"source": {"properties": {"ip": keyword}},
        "event": {"properties": {"module": keyword}}}});
    let made = json!({ "mappings": mappings });
    scene.store.json(Method::Put, &scene.sessions, made).await.expect("an index");
    scene.made.push(scene.sessions.clone());
    let session = json!({"event": {"module": "zeek"}, "source": {"ip": "no address, this"}});
    let path = format!("{}/_doc/odd?refresh=true", scene.sessions);
    scene.store.json(Method::Put, &path, session).await.expect("a session");
    let actions = json!([scene.action("tell", BUCKETS, "per_execution")]);
    let monitor = scene.bucket_monitor("odd", &by_address(), &actions).await;
    scene.run(MONITORS, &monitor).await;
    let records = scene.wait_for(&monitor, |seen| seen.len() == 1).await;
    let source = &records[0]["_source"];
    assert_eq!((source.get("source"), &source["tags"]), (None, &json!(["repaired"])), "{source:#}");
    let original = source["event"]["original"].as_str().unwrap_or_default();
    assert!(original.starts_with(r#"{"source.ip":"no address, this"}"#), "{original}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_document_is_one_record_whatever_the_message_and_the_scope() {
    let store = store!(alerting);
    // Who has monitors of documents has them alone; lint.rs says why.
    let _alone = provisioning(&store).await;
    let mut scene = Scene::new(store).await;
    for (name, message, scope) in [
        ("shipped", DOCUMENTS, "per_execution"),
        ("each", DOCUMENTS, "per_alert"),
        ("Malcolm's", MALCOLM, "per_execution"),
    ] {
        let actions = json!([scene.action("tell", message, scope)]);
        // The first run of such a monitor only notes where the index ends.
        scene.store_sessions(1).await;
        let monitor = scene.document_monitor(name, &actions).await;
        scene.run(MONITORS, &monitor).await;
        scene.store_sessions(20).await;
        scene.run(MONITORS, &monitor).await;
        let alerts = scene.alerts("monitor_id", &monitor).await;
        assert!(alerts.len() >= 20, "{} alerts", alerts.len());
        let key = if message == MALCOLM { name } else { monitor.as_str() };
        let records = scene.wait_for(key, |seen| seen.len() >= alerts.len()).await;
        assert_eq!(ids(&records), alerts.keys().map(String::as_str).collect(), "{name}");
        for record in &records {
            let document =
                alerts[id_of(record)]["related_doc_ids"][0].as_str().expect("a document");
            let original = record["_source"]["event"]["original"].as_str().unwrap_or_default();
            assert_eq!(original.contains(document), message != MALCOLM, "{record:#}");
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_a_composite_monitor_is_one_record_under_its_own_id() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    scene.store_sessions(2).await;
    for (name, message) in [("shipped", COMPOSITE), ("named", NAMED)] {
        let silent = format!("delegate of {name}");
        let delegate = scene.bucket_monitor(&silent, &by_address(), &json!([])).await;
        let actions = json!([scene.action("tell", message, "per_execution")]);
        let condition =
            json!({"script": {"source": format!("monitor[id={delegate}]"), "lang": "painless"}});
        let trigger = json!({"id": "chained", "name": "both", "severity": "1",
            "condition": condition, "actions": actions});
        let sequence = json!({"delegates": [{"order": 1, "monitor_id": delegate}]});
        let workflow = json!({"type": "workflow", "workflow_type": "composite", "name": scene.name(name),
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"composite_input": {"sequence": sequence}}],
            "triggers": [{"chained_alert_trigger": trigger}]});
        let workflow = scene.make(WORKFLOWS, workflow).await;
        let key = if message == NAMED { name } else { workflow.as_str() };
        for firing in 1..3 {
            scene.run(WORKFLOWS, &workflow).await;
            let records = scene
                .wait_for(key, |seen| {
                    seen.iter().any(|hit| hit["_version"].as_u64() >= Some(firing))
                })
                .await;
            let alerts = scene.alerts("workflow_id", &workflow).await;
            assert_eq!(ids(&records), alerts.keys().map(String::as_str).collect(), "{name}");
            assert_eq!(records.len(), 1, "{name}");
            let source = &records[0]["_source"];
            assert_eq!(
                (&source["event"]["reason"], &source["event"]["severity"]),
                (&json!("both"), &json!(100))
            );
            let url = source["event"]["url"].as_str().unwrap_or_default();
            assert!(
                message == NAMED || url.ends_with(&format!("/monitors/{workflow}?type=workflow")),
                "{url}"
            );
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trigger_has_its_record_and_several_actions_of_one_share_it() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    scene.store_sessions(1).await;
    for message in [QUERY, MALCOLM] {
        let trigger = |id: &str, actions: Value| {
            json!({"query_level_trigger": {"id": id, "name": id, "severity": "1", "actions": actions,
                "condition": {"script": {"source": "true", "lang": "painless"}}}})
        };
        let two = json!([
            scene.action("one", message, "per_execution"),
            scene.action("two", message, "per_execution")
        ]);
        let one = json!([scene.action("three", message, "per_execution")]);
        let name = if message == MALCOLM { "Malcolm's" } else { "shipped" };
        let triggers = json!([trigger("first", two), trigger("second", one)]);
        let monitor = scene.query_monitor(name, &triggers).await;
        let key = if message == MALCOLM { name } else { monitor.as_str() };
        for run in 1..3 {
            scene.run(MONITORS, &monitor).await;
            let records = scene
                .wait_for(key, |seen| {
                    seen.len() >= 2 && seen.iter().all(|hit| hit["_version"].as_u64() >= Some(run))
                })
                .await;
            let alerts = scene.alerts("monitor_id", &monitor).await;
            assert_eq!(ids(&records), alerts.keys().map(String::as_str).collect(), "run {run}");
            for record in &records {
                let alert = &alerts[id_of(record)];
                assert_eq!(record["_source"]["event"]["reason"], alert["trigger_name"]);
            }
        }
        scene.drained().await;
        assert_eq!(scene.records(key).await.len(), 2);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_saved_late_because_another_action_hangs_is_waited_for() {
    let store = store!(alerting);
    let mut scene = Scene::new(store).await;
    scene.store_sessions(1).await;
    // Takes the webhook and never answers it, until the record was looked for.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", hanging.local_addr().expect("an address"));
    let slow = scene.store.index("slow");
    let config = json!({"config_id": slow, "config": {"name": slow, "config_type": "webhook",
        "webhook": {"url": url, "header_params": {}}}});
    scene.store.json(Method::Post, CHANNELS, config).await.expect("a channel");
    scene.made.push(format!("{CHANNELS}/{slow}"));
    let mut second = scene.action("second", QUERY, "per_execution");
    second["destination_id"] = json!(slow);
    let actions = json!([scene.action("first", QUERY, "per_execution"), second]);
    let condition = json!({"script": {"source": "true", "lang": "painless"}});
    let trigger = json!({"query_level_trigger": {"id": "t", "name": "t", "severity": "1",
        "condition": condition, "actions": actions}});
    let monitor = scene.query_monitor("late", &json!([trigger])).await;
    let hang = async {
        let (held, _) = hanging.accept().await.expect("a connection");
        // Longer than an alert took to be waited for once, and no shorter than that is it late.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(scene.records(&monitor).await.is_empty(), "a record before its alert");
        drop(held);
        // Notifications tries again.
        while let Ok((again, _)) = hanging.accept().await {
            drop(again);
        }
    };
    let seen = async {
        scene.run(MONITORS, &monitor).await;
        scene.wait_for(&monitor, |seen| !seen.is_empty()).await
    };
    let records = tokio::select! {
        records = seen => records,
        () = hang => unreachable!("the listener stays"),
    };
    let alerts = scene.alerts("monitor_id", &monitor).await;
    assert_eq!(ids(&records), alerts.keys().map(String::as_str).collect());
    assert_eq!(alerts.len(), 1);
    scene.end().await;
}
