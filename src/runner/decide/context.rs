//! `ctx`, as the plugin gives it to triggers and to templates. Pure.
//!
//! Both are made of the same things, and differ: a trigger has objects with few properties, of which
//! Painless may read what `org.opensearch.alerting.txt` lists; a template has a map.
//!
//! Source: `TriggerExecutionContext.kt`, `QueryLevelTriggerExecutionContext.kt`,
//! `BucketLevelTriggerExecutionContext.kt`, `AlertContext.kt` of Alerting; `asTemplateArg` in
//! `Monitor.kt`, `Schedule.kt`, `SearchInput.kt`, `Action.kt`, `Alert.kt` of common-utils; seen on 3.4.0.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    super::decision::Period,
    fault::Fault,
    shape::{Action, Trigger, text},
};
use crate::opensearch::alerting::Monitor;

/// What a run knows, whatever its trigger.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The monitor.
    pub monitor: &'a Monitor,
    /// What it looks at.
    pub period: Period,
    /// When: in place of what a monitor that is not kept does not have.
    pub now: Timestamp,
}

/// The alerts that a message of a bucket-level monitor is about.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Of buckets that fire for the first time.
    pub new: Vec<Value>,
    /// Of buckets that fired before.
    pub deduped: Vec<Value>,
    /// Of buckets that fire no longer.
    pub completed: Vec<Value>,
}

impl Known<'_> {
    /// `ctx` of the script of a query-level trigger, with times in epoch ms (`script.rs` makes instants
    /// of them).
    #[must_use]
    pub fn of_trigger(
        &self,
        trigger: Trigger<'_>,
        results: &[Value],
        alert: Option<&Value>,
        error: Option<&Fault>,
    ) -> Value {
        let Monitor { id, version, body, .. } = self.monitor;
        let alert = alert.map(|alert| {
            json!({"alert": {"id": alert["id"], "version": alert["version"],
                "acknowledged": alert["state"] == "ACKNOWLEDGED"}})
        });
        json!({
            "monitor": {"id": id, "version": version, "name": body["name"],
                "enabled": body["enabled"].as_bool().unwrap_or(false)},
            "trigger": {"id": trigger.id(), "name": trigger.name(),
                "severity": text(trigger.body, "severity"), "actions": actions(trigger)},
            "results": results,
            "periodStart": self.period.start.as_millisecond(),
            "periodEnd": self.period.end.as_millisecond(),
            "alert": alert,
            "error": error.map(Fault::message),
        })
    }

    /// `ctx` of the templates of a query-level trigger.
    #[must_use]
    pub fn of_message(
        &self,
        trigger: Trigger<'_>,
        results: &[Value],
        alert: Option<&Value>,
        error: Option<&Fault>,
    ) -> Value {
        let mut ctx = self.shared(trigger, results, error);
        ctx["alert"] = alert.map(alert_for_templates).into();
        ctx
    }

    /// `ctx` of the templates of a bucket-level trigger.
    #[must_use]
    pub fn of_buckets(
        &self,
        trigger: Trigger<'_>,
        results: &[Value],
        alerts: &Alerts,
        error: Option<&Fault>,
    ) -> Value {
        let list = |alerts: &[Value]| alerts.iter().map(alert_for_templates).collect::<Vec<_>>();
        let mut ctx = self.shared(trigger, results, error);
        ctx["trigger"]["parentBucketPath"] =
            trigger.body["condition"]["parent_bucket_path"].clone();
        let mut new = list(&alerts.new);
        // The plugin has documents of a bucket here where a message asks for them.
        for alert in &mut new {
            alert["sample_documents"] = json!([]);
        }
        ctx["newAlerts"] = new.into();
        ctx["dedupedAlerts"] = list(&alerts.deduped).into();
        ctx["completedAlerts"] = list(&alerts.completed).into();
        ctx
    }

    fn shared(&self, trigger: Trigger<'_>, results: &[Value], error: Option<&Fault>) -> Value {
        let script = trigger.script();
        json!({
            "monitor": self.monitor_for_templates(),
            "trigger": {
                "id": trigger.id(), "name": trigger.name(), "severity": text(trigger.body, "severity"),
                "actions": actions(trigger),
                "condition": {"script": {"source": script["source"],
                    "lang": script["lang"].as_str().unwrap_or("painless")}},
            },
            "results": results,
            "periodStart": instant(self.period.start),
            "periodEnd": instant(self.period.end),
            "error": error.map(Fault::printed),
        })
    }

    fn monitor_for_templates(&self) -> Value {
        let Monitor { id, version, body, .. } = self.monitor;
        let last_update = body["last_update_time"].as_i64();
        json!({
            "_id": id,
            "_version": version,
            "name": body["name"],
            "enabled": body["enabled"].as_bool().unwrap_or(false),
            "monitor_type": body["monitor_type"].as_str().unwrap_or("query_level_monitor"),
            "enabled_time": body["enabled_time"].as_i64(),
            "last_update_time": last_update.unwrap_or(self.now.as_millisecond()),
            "schedule": schedule(&body["schedule"]),
            "inputs": inputs(&body["inputs"]),
        })
    }
}

/// Units are written as Java names them: `Minutes`.
fn schedule(schedule: &Value) -> Value {
    let mut schedule = schedule.clone();
    if let Some(Value::String(unit)) = schedule.pointer_mut("/period/unit") {
        let lower = unit.to_lowercase();
        *unit = lower[..1.min(lower.len())].to_uppercase() + lower.get(1..).unwrap_or_default();
    }
    schedule
}

/// The search is a text.
fn inputs(inputs: &Value) -> Value {
    let inputs = inputs.as_array().into_iter().flatten();
    let inputs = inputs.map(|input| {
        let search = &input["search"];
        json!({"search": {"indices": search["indices"], "query": search["query"].to_string()}})
    });
    inputs.collect::<Vec<_>>().into()
}

fn actions(trigger: Trigger<'_>) -> Vec<Value> {
    let action = |action: Action<'_>| {
        json!({"id": action.id(), "name": action.name(), "destination_id": action.destination(),
            "throttle_enabled": action.body["throttle_enabled"].as_bool().unwrap_or(false)})
    };
    trigger.actions().into_iter().map(action).collect()
}

/// `ctx.alert`: less than the alert, its keys in one text.
fn alert_for_templates(alert: &Value) -> Value {
    let joined = |list: &Value| {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(",")
    };
    let mut shown: Map<String, Value> = [
        "acknowledged_time",
        "id",
        "version",
        "end_time",
        "error_message",
        "execution_id",
        "workflow_id",
        "workflow_name",
        "associated_alert_ids",
        "last_notification_time",
        "severity",
        "start_time",
        "state",
        "clusters",
    ]
    .into_iter()
    .map(|key| (key.to_owned(), alert[key].clone()))
    .collect();
    let bucket = &alert["agg_alert_content"];
    let keys = bucket["bucket_keys"].is_array().then(|| joined(&bucket["bucket_keys"]));
    shown.insert("bucket_keys".to_owned(), keys.into());
    shown.insert("parent_bucket_path".to_owned(), bucket["parent_bucket_path"].clone());
    shown.insert("finding_ids".to_owned(), joined(&alert["finding_ids"]).into());
    shown.insert("related_doc_ids".to_owned(), joined(&alert["related_doc_ids"]).into());
    shown.into()
}

/// A moment as Java prints it: three digits of a second where there are any.
#[must_use]
pub fn instant(at: Timestamp) -> String {
    if at.subsec_millisecond() == 0 {
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn monitor() -> Monitor {
        let body = json!({"name": "m", "monitor_type": "query_level_monitor", "enabled": true,
            "schedule": {"period": {"interval": 1, "unit": "MINUTES"}}, "enabled_time": 7,
            "inputs": [{"search": {"indices": ["i"], "query": {"size": 0}}}],
            "triggers": [{"query_level_trigger": {"id": "t", "name": "T", "severity": "1",
                "condition": {"script": {"source": "true", "lang": "painless"}},
                "actions": [{"id": "a", "name": "A", "destination_id": "d"}]}}]});
        Monitor { id: "M".to_owned(), version: 3, body, ..Monitor::default() }
    }

    #[test]
    fn a_template_sees_what_the_plugin_gives() {
        let monitor = monitor();
        let known = Known {
            monitor: &monitor,
            period: Period { start: at(1_794_999_940_000), end: at(1_795_000_000_010) },
            now: at(9),
        };
        let trigger = super::super::shape::triggers(&monitor.body)[0];
        let error = Fault::java("illegal_state_exception", "no");
        let ctx = known.of_message(trigger, &[json!({"took": 1})], None, Some(&error));
        assert_eq!(
            ctx,
            json!({
                "monitor": {"_id": "M", "_version": 3, "name": "m", "enabled": true,
                    "monitor_type": "query_level_monitor", "enabled_time": 7, "last_update_time": 9,
                    "schedule": {"period": {"interval": 1, "unit": "Minutes"}},
                    "inputs": [{"search": {"indices": ["i"], "query": "{\"size\":0}"}}]},
                "trigger": {"id": "t", "name": "T", "severity": "1",
                    "actions": [{"id": "a", "name": "A", "destination_id": "d", "throttle_enabled": false}],
                    "condition": {"script": {"source": "true", "lang": "painless"}}},
                "results": [{"took": 1}], "periodStart": "2026-11-18T11:05:40Z",
                "periodEnd": "2026-11-18T11:06:40.010Z", "alert": null,
                "error": "java.lang.IllegalStateException: no",
            })
        );
        let alert = json!({"id": "x", "version": 2, "state": "ACKNOWLEDGED"});
        let ctx = known.of_trigger(trigger, &[], Some(&alert), Some(&error));
        assert_eq!(ctx["alert"], json!({"alert": {"id": "x", "version": 2, "acknowledged": true}}));
        assert_eq!(ctx["monitor"], json!({"id": "M", "version": 3, "name": "m", "enabled": true}));
        assert_eq!(
            (&ctx["error"], &ctx["periodEnd"]),
            (&json!("no"), &json!(1_795_000_000_010_i64))
        );
    }

    #[test]
    fn the_keys_of_an_alert_are_one_text() {
        let alert = json!({"id": "x", "state": "ACTIVE", "start_time": 5, "finding_ids": [],
            "agg_alert_content": {"parent_bucket_path": "groups", "bucket_keys": ["a", "b"], "bucket": {}}});
        let shown = alert_for_templates(&alert);
        assert_eq!(shown["bucket_keys"], "a,b");
        assert_eq!(shown["parent_bucket_path"], "groups");
        assert_eq!((&shown["finding_ids"], &shown["end_time"]), (&json!(""), &Value::Null));
        assert_eq!(alert_for_templates(&json!({}))["bucket_keys"], Value::Null);
    }
}
