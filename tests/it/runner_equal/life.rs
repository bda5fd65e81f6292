//! The life of an alert, step by step: a monitor that the plugin keeps and runs, and the same monitor with
//! the alerts that alertloop decided on.

use std::collections::BTreeMap;

use alertloop::{
    opensearch::alerting::{self, Family, Monitor},
    runner::decision::{Alert, Period, Question},
};

use super::*;
use crate::support::Receiver;

const MONITORS: &str = "_plugins/_alerting/monitors";
const CHANNELS: &str = "_plugins/_notifications/configs";

/// What happens between two runs.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Documents of these nodes are there, and no others.
    Nodes(&'static [&'static str]),
    /// The active alerts are acknowledged.
    Acknowledge,
    /// The index is gone.
    NoIndex,
    /// Nothing does.
    Nothing,
}

/// A monitor in the plugin, and beside it what alertloop decided of it.
struct Both {
    store: Store,
    receiver: Receiver,
    channel: String,
    monitor: Monitor,
    alerts: BTreeMap<String, Alert>,
    runs: i64,
}

impl Both {
    async fn new(store: Store, trigger: Value, kind: &str, search: &Value) -> Self {
        let receiver = Receiver::start().await;
        let channel = store.index("channel");
        let config = json!({"config_id": channel, "config": {"name": channel, "config_type": "webhook",
            "webhook": {"url": receiver.url("told")}}});
        store.json(Method::Post, CHANNELS, config).await.expect("a channel");
        let mut trigger = trigger;
        for action in trigger["actions"].as_array_mut().expect("actions") {
            if action["destination_id"].is_null() {
                action["destination_id"] = json!(channel);
            }
        }
        let monitor = json!({"type": "monitor", "monitor_type": format!("{kind}_level_monitor"),
            "name": channel, "enabled": false, "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": [store.index("s")], "query": search}}],
            "triggers": [{format!("{kind}_level_trigger"): trigger}]});
        // The plugin keeps no monitor of an index that is not there.
        store.json(Method::Put, &store.index("s"), json!({})).await.expect("an index");
        let made = store.make(MONITORS, monitor).await;
        let id = made["_id"].as_str().expect("an id");
        let monitor = alerting::get(&store.client(), Family::Monitor, id).await.expect("read");
        let monitor = monitor.expect("a monitor");
        Self { store, receiver, channel, monitor, alerts: BTreeMap::new(), runs: 0 }
    }

    async fn take(&mut self, step: Step) {
        let index = self.store.index("s");
        let delete = format!("{index}?ignore_unavailable=true");
        match step {
            Step::Nodes(nodes) => {
                self.store.json(Method::Delete, &delete, Value::Null).await.expect("deleted");
                let types = json!({"mappings": {"properties": {"node": {"type": "keyword"}}}});
                self.store.json(Method::Put, &index, types).await.expect("an index");
                for node in nodes {
                    let path = format!("{index}/_doc?refresh=true");
                    self.store
                        .json(Method::Post, &path, json!({"node": node}))
                        .await
                        .expect("kept");
                }
            }
            Step::Acknowledge => {
                let ids = |alerts: Vec<Value>| -> Vec<Value> {
                    let active = alerts.into_iter().filter(|alert| alert["state"] == "ACTIVE");
                    active.map(|alert| alert["id"].clone()).collect()
                };
                let active = ids(self.of_plugin().await);
                let path = format!("{MONITORS}/{}/_acknowledge/alerts", self.monitor.id);
                let answer = self.store.json(Method::Post, &path, json!({"alerts": active})).await;
                assert_eq!(answer.expect("acknowledged")["failed"], json!([]));
                for alert in self.alerts.values_mut().filter(|one| one.body["state"] == "ACTIVE") {
                    alert.body["state"] = json!("ACKNOWLEDGED");
                    alert.body["acknowledged_time"] = json!(NOW);
                }
            }
            Step::NoIndex => {
                self.store.json(Method::Delete, &delete, Value::Null).await.expect("deleted");
            }
            Step::Nothing => {}
        }
    }

    /// The alerts that the plugin has of the monitor, active and past.
    async fn of_plugin(&self) -> Vec<Value> {
        let path = format!(
            "{MONITORS}/alerts?size=1000&searchString=monitor_id:%22{}%22",
            self.monitor.id
        );
        let answer = self.store.json(Method::Get, &path, Value::Null).await.expect("alerts");
        answer["alerts"].as_array().cloned().unwrap_or_default()
    }

    /// Runs both, and gives what each has then: its alerts, and what it told.
    async fn run(&mut self) -> [Value; 2] {
        let end = NOW + self.runs * 1_000;
        self.runs += 1;
        let before = self.receiver.received("told").len();
        let path = format!("{MONITORS}/{}/_execute?dryrun=false", self.monitor.id);
        let run = self.store.json(Method::Post, &path, Value::Null).await.expect("a run");
        assert!(run["error"].is_null(), "{run:#}");
        let told = self.receiver.received("told").into_iter().skip(before);
        let told: Vec<_> =
            told.map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
        let theirs = seen(self.of_plugin().await, &told);

        let active: Vec<_> =
            self.alerts.values().filter(|alert| is_open(&alert.body)).cloned().collect();
        let question = Question {
            monitor: &self.monitor,
            period: Period { start: at(end - MINUTE), end: at(end) },
            now: at(end),
            alerts: &active,
            destinations: std::slice::from_ref(&self.channel),
        };
        let decision = decide::decide(&self.store.client(), &question).await;
        for alert in decision.alerts {
            self.alerts.insert(alert.id.clone(), alert);
        }
        let all = self.alerts.values().map(|alert| alert.body.clone()).collect();
        let told: Vec<_> = decision.messages.into_iter().map(|message| message.body).collect();
        [theirs, seen(all, &told)]
    }

    async fn end(self) {
        for path in
            [format!("{MONITORS}/{}", self.monitor.id), format!("{CHANNELS}/{}", self.channel)]
        {
            self.store.json(Method::Delete, &path, Value::Null).await.expect("removed");
        }
    }
}

fn is_open(alert: &Value) -> bool {
    ["ACTIVE", "ACKNOWLEDGED", "ERROR"].iter().any(|state| alert["state"] == *state)
}

/// The words of a message. The plugin lists alerts of buckets in the order in which its search found them,
/// which is another one from time to time.
fn in_any_order(text: &str) -> String {
    let mut words: Vec<_> = text.split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}

/// What has to be the same of alerts and messages.
fn seen(alerts: Vec<Value>, told: &[String]) -> Value {
    let one = |alert: Value| {
        let results = alert["action_execution_results"].as_array().into_iter().flatten();
        let results: BTreeMap<_, _> = results
            .map(|one| {
                let done = one["last_execution_time"].is_number();
                (one["action_id"].to_string(), (done, one["throttled_count"].clone()))
            })
            .collect();
        let history = alert["alert_history"].as_array().into_iter().flatten();
        let history: Vec<_> = history.map(|one| one["message"].clone()).collect();
        let keys = [
            "state",
            "severity",
            "trigger_id",
            "trigger_name",
            "monitor_id",
            "monitor_name",
            "monitor_version",
            "error_message",
        ];
        let mut shown: Map<_, _> =
            keys.into_iter().map(|key| (key.to_owned(), alert[key].clone())).collect();
        shown.insert("actions".to_owned(), json!(results));
        shown.insert("history".to_owned(), json!(history));
        for key in ["end_time", "acknowledged_time", "start_time", "last_notification_time"] {
            shown.insert(key.to_owned(), json!(alert[key].is_number()));
        }
        shown.insert("bucket".to_owned(), alert["agg_alert_content"].clone());
        Value::from(shown)
    };
    let mut alerts: Vec<_> = alerts.into_iter().map(one).collect();
    alerts.sort_by_key(Value::to_string);
    let mut told: Vec<_> = told.iter().map(|text| in_any_order(text)).collect();
    told.sort();
    json!({"alerts": alerts, "told": told})
}

fn states(seen: &Value) -> Vec<&str> {
    seen["alerts"]
        .as_array()
        .expect("alerts")
        .iter()
        .map(|one| one["state"].as_str().expect("a state"))
        .collect()
}

/// Leads both through these steps; after each, these are the states, and so many messages were told.
async fn lives(mut both: Both, steps: &[(Step, &[&str], usize)]) {
    for (number, (step, want, told)) in steps.iter().enumerate() {
        both.take(*step).await;
        let [theirs, ours] = both.run().await;
        let place = format!("step {number}, {step:?}");
        assert_eq!(difference(&place, &theirs, &ours), None);
        let mut found = states(&ours);
        found.sort_unstable();
        assert_eq!(found, *want, "{place}");
        assert_eq!(ours["told"].as_array().expect("messages").len(), *told, "{place}: {ours:#}");
    }
    both.end().await;
}

fn action(id: &str, message: &str) -> Value {
    json!({"id": id, "name": id, "throttle_enabled": true, "throttle": {"value": 10, "unit": "MINUTES"},
        "message_template": {"source": message, "lang": "mustache"}})
}

#[tokio::test]
async fn an_alert_of_a_query_lives_the_same_life() {
    let store = store!(alerting);
    let trigger = json!({"id": "t", "name": "T", "severity": "2",
        "condition": {"script": {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}},
        "actions": [action("a", "{{ctx.trigger.name}} {{ctx.alert.state}} {{ctx.results.0.hits.total.value}} [{{ctx.error}}]")]});
    let search = json!({"size": 0, "query": {"match_all": {}}});
    let both = Both::new(store, trigger, "query", &search).await;
    lives(
        both,
        &[
            (Step::Nodes(&[]), &[], 0),
            (Step::Nodes(&["a"]), &["ACTIVE"], 1),
            (Step::Nodes(&["a", "b"]), &["ACTIVE"], 0),
            (Step::Nothing, &["ACTIVE"], 0),
            (Step::Acknowledge, &["ACKNOWLEDGED"], 0),
            (Step::Nodes(&[]), &["COMPLETED"], 0),
            (Step::Nothing, &["COMPLETED"], 0),
            (Step::Nodes(&["c"]), &["ACTIVE", "COMPLETED"], 1),
            (Step::NoIndex, &["COMPLETED", "ERROR"], 0),
            (Step::Nodes(&["c"]), &["ACTIVE", "COMPLETED"], 0),
            (Step::Nodes(&[]), &["COMPLETED", "COMPLETED"], 0),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_alert_whose_action_fails_lives_the_same_life() {
    let store = store!(alerting);
    let mut lost = action("lost", "to nobody");
    lost["destination_id"] = json!("no-such-channel");
    let trigger = json!({"id": "t", "name": "T", "severity": "1",
        "condition": {"script": {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}},
        "actions": [lost, action("empty", "{{ctx.nothing}}"), action("fine", "told")]});
    let search = json!({"size": 0, "query": {"match_all": {}}});
    let both = Both::new(store, trigger, "query", &search).await;
    lives(
        both,
        &[
            (Step::Nodes(&["a"]), &["ERROR"], 1),
            (Step::Nothing, &["ACTIVE"], 0),
            (Step::Acknowledge, &["ACKNOWLEDGED"], 0),
            (Step::NoIndex, &["ERROR"], 0),
            (Step::Nodes(&[]), &["COMPLETED"], 0),
        ],
    )
    .await;
}

fn by_node(scope: &Value) -> (Value, Value) {
    let mut told = action(
        "a",
        "{{#ctx.newAlerts}}new {{bucket_keys}} {{/ctx.newAlerts}}{{#ctx.dedupedAlerts}}again {{bucket_keys}} {{state}} {{/ctx.dedupedAlerts}}{{#ctx.completedAlerts}}over {{bucket_keys}} {{state}} {{/ctx.completedAlerts}}[{{ctx.error}}]",
    );
    told["action_execution_policy"] = json!({"action_execution_scope": scope});
    if scope.get("per_execution").is_some() {
        told["throttle_enabled"] = json!(false);
        told.as_object_mut().expect("an action").remove("throttle");
    }
    let trigger = json!({"id": "t", "name": "T", "severity": "3", "actions": [told],
        "condition": {"parent_bucket_path": "groups", "buckets_path": {"count": "_count"},
            "script": {"source": "params.count > 0", "lang": "painless"}}});
    let search = json!({"size": 0, "aggregations": {"groups": {"composite": {"size": 2,
        "sources": [{"node": {"terms": {"field": "node"}}}]}}}});
    (trigger, search)
}

#[tokio::test]
async fn alerts_of_buckets_live_the_same_lives_told_in_one_message() {
    let (trigger, search) = by_node(&json!({"per_execution": {}}));
    let both = Both::new(store!(alerting), trigger, "bucket", &search).await;
    lives(
        both,
        &[
            (Step::Nodes(&[]), &[], 0),
            (Step::Nodes(&["a", "b", "c"]), &["ACTIVE", "ACTIVE", "ACTIVE"], 1),
            (Step::Nodes(&["a", "b", "b"]), &["ACTIVE", "ACTIVE", "COMPLETED"], 1),
            (Step::Acknowledge, &["ACKNOWLEDGED", "ACKNOWLEDGED", "COMPLETED"], 0),
            (Step::Nodes(&["a", "d"]), &["ACKNOWLEDGED", "ACTIVE", "COMPLETED", "COMPLETED"], 1),
            (Step::NoIndex, &["COMPLETED", "COMPLETED", "ERROR", "ERROR"], 1),
            (Step::Nodes(&[]), &["COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED"], 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn alerts_of_buckets_live_the_same_lives_told_one_by_one() {
    let categories = json!({"per_alert": {"actionable_alerts": ["NEW", "DEDUPED", "COMPLETED"]}});
    let (trigger, search) = by_node(&categories);
    let both = Both::new(store!(alerting), trigger, "bucket", &search).await;
    lives(
        both,
        &[
            (Step::Nodes(&["a", "b", "c"]), &["ACTIVE", "ACTIVE", "ACTIVE"], 3),
            (Step::Nothing, &["ACTIVE", "ACTIVE", "ACTIVE"], 0),
            (Step::Nodes(&["a", "d"]), &["ACTIVE", "ACTIVE", "COMPLETED", "COMPLETED"], 1),
        ],
    )
    .await;
}
