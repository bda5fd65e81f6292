//! Monitors that alertloop runs itself.

use alertloop::provision::desired::CHANNEL_ID;
use serde_json::{Value, json};

/// A message as the shipped ones are.
pub const MESSAGE: &str = r#"{"alert": {"monitor": {"id": "{{ctx.monitor._id}}", "name": "{{ctx.monitor.name}}"},
    "trigger": {"id": "{{ctx.trigger.id}}", "name": "{{ctx.trigger.name}}", "severity": "{{ctx.trigger.severity}}"},
    "period": {"start": "{{ctx.periodStart}}", "end": "{{ctx.periodEnd}}"},
    "results": [{"hits": {"total": {"value": {{ctx.results.0.hits.total.value}}}}}],
    "body": "too many", "alert": "{{ctx.alert.id}}", "error": ""}}"#;

/// Fires while the query finds something, and tells it to our channel with each run.
pub fn monitor(name: &str, index: &str, seconds: u64, query: &Value) -> Value {
    let action = json!({"id": "tell", "name": "tell", "destination_id": CHANNEL_ID,
        "message_template": {"source": MESSAGE, "lang": "mustache"}, "throttle_enabled": false});
    let condition = json!({"script": {"lang": "painless",
        "source": "ctx.results[0].hits.total.value > 0"}});
    json!({"type": "monitor", "name": name, "monitor_type": "query_level_monitor",
        "enabled": true, "enabled_time": null,
        "schedule": {"period": {"interval": seconds, "unit": "SECONDS"}},
        "inputs": [{"search": {"indices": [index],
            "query": {"size": 0, "track_total_hits": true, "query": query}}}],
        "triggers": [{"query_level_trigger": {"id": "many", "name": "many", "severity": "2",
            "condition": condition, "actions": [action]}}]})
}
