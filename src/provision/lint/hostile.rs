//! Contexts such as OpenSearch Alerting gives them to the messages of a monitor of each kind, with
//! values that break messages which are not careful. Pure.
//!
//! The shapes are those of `asTemplateArg` in Alerting's sources (`TriggerExecutionContext.kt` and
//! its kind), seen with `{{#toJson}}ctx{{/toJson}}` on 3.4.0: what is null there is null here.

use serde_json::{Map, Value, json};

use super::super::shape::Kind;

/// What names and values may hold: quotes, backslashes, line breaks, control and non-ASCII
/// characters, markup, and what looks like a template or like the end of our JSON.
pub const HOSTILE: &str = "q\"uote \\ back\\\\slash\nline\ttab \u{1} größe 日本 😀 \u{2028}</b>&<i>' {{ctx}} \"},{\"x\":[";
/// The id of the monitor in all contexts.
pub const MONITOR_ID: &str = "Zm_hostile-monitor";

const START: i64 = 1_794_038_400_123;
/// More than fit into a record, fewer than the store would find.
const MANY: usize = 300;

/// One case of a firing.
#[derive(Clone, Debug)]
pub struct Case {
    /// What happens in it.
    pub when: &'static str,
    /// The `ctx` of the templates.
    pub ctx: Value,
    /// Whether there is exactly one alert, with an id.
    pub has_alert_id: bool,
}

/// The cases of a firing of `trigger` in a monitor of this kind.
#[must_use]
pub fn cases(kind: Kind, trigger: &Value) -> Vec<Case> {
    let case = |when, ctx, has_alert_id| Case { when, ctx, has_alert_id };
    let base = |over: Value| context(kind, trigger, over);
    let error = json!(format!("java.lang.IllegalStateException: {HOSTILE}"));
    match kind {
        Kind::Query => vec![
            case("the first firing", base(json!({"results": [found(1)], "alert": null})), false),
            case(
                "a later firing",
                base(json!({"results": [found(0)], "alert": alert(1, &json!({}))})),
                true,
            ),
            case(
                "many hits",
                base(json!({"results": [found(MANY)], "alert": alert(1, &json!({}))})),
                true,
            ),
            case(
                "a trigger or a query that fails",
                base(json!({"alert": null, "error": error})),
                false,
            ),
        ],
        Kind::Bucket => {
            let lists = |new: &[Value], deduped: &[Value], completed: &[Value]| {
                let total = new.len() + deduped.len() + completed.len();
                let lists = json!({"newAlerts": new, "dedupedAlerts": deduped, "completedAlerts": completed,
                                   "results": [found(0)]});
                (base(lists), total == 1)
            };
            let of = |n| {
                alert(
                    n,
                    &json!({"bucket_keys": format!("zeek,{HOSTILE}"), "parent_bucket_path": "comp"}),
                )
            };
            let many: Vec<Value> = (0..MANY).map(of).collect();
            let with = |when, (ctx, has_alert_id)| case(when, ctx, has_alert_id);
            vec![
                with("a new bucket", lists(&[of(1)], &[], &[])),
                with("a bucket again", lists(&[], &[of(1)], &[])),
                with("a bucket that is over", lists(&[], &[], &[of(1)])),
                with("many buckets", lists(&many, &[of(1)], &[of(2)])),
                case("a trigger or a query that fails", base(json!({"error": error})), false),
            ]
        }
        Kind::Doc => {
            let of = |n| {
                let query = json!([{"id": "q", "name": HOSTILE, "tags": [HOSTILE]}]);
                let document = format!("{HOSTILE}|index");
                alert(
                    n,
                    &json!({"related_doc_ids": document, "finding_ids": "f", "associated_queries": query}),
                )
            };
            let many: Vec<Value> = (0..MANY).map(of).collect();
            vec![
                case("one document", base(json!({"alerts": [of(1)]})), true),
                case("many documents", base(json!({"alerts": many})), false),
                case("a query that fails", base(json!({"error": error})), false),
            ]
        }
        Kind::Composite => {
            let some = json!({"monitorIdToAlertIdsMap": {"m1": ["a1", "a2"], "m2": ["a3"]},
                              "alertGeneratingMonitors": ["m1", "m2"]});
            vec![
                case("alerts of two monitors", base(some), false),
                case("a trigger that fails", base(json!({"error": error})), false),
            ]
        }
    }
}

fn context(kind: Kind, trigger: &Value, over: Value) -> Value {
    let mut ctx = match kind {
        Kind::Composite => json!({
            "monitor": {"_id": MONITOR_ID, "_version": 1, "name": HOSTILE, "enabled": true},
            // An object of the plugin, which templates see as a text like this.
            "results": format!("WorkflowRunResult(workflowName={HOSTILE})"),
            "alertGeneratingMonitors": [],
            "monitorIdToAlertIdsMap": {},
        }),
        _ => json!({
            "monitor": {"_id": MONITOR_ID, "_version": 1, "name": HOSTILE, "enabled": true,
                        "enabled_time": null, "last_update_time": START, "inputs": []},
            "results": [],
            "periodEnd": "2026-11-07T08:00:00Z",
            "trigger": {"id": trigger.get("id"), "name": HOSTILE, "severity": trigger.get("severity"),
                        "actions": []},
        }),
    };
    let more = match kind {
        Kind::Bucket => json!({"newAlerts": [], "dedupedAlerts": [], "completedAlerts": []}),
        Kind::Doc => json!({"alerts": []}),
        Kind::Query => json!({"alert": null, "ppl_query_results": []}),
        Kind::Composite => json!({}),
    };
    let always = json!({"periodStart": "2026-11-07T07:50:00.123456789Z", "error": null});
    if let Value::Object(ctx) = &mut ctx {
        for part in [always, more, over] {
            if let Value::Object(part) = part {
                ctx.extend(part);
            }
        }
    }
    ctx
}

/// One alert as a template sees it.
fn alert(number: usize, over: &Value) -> Value {
    let mut alert = Map::new();
    for null in [
        "acknowledged_time",
        "end_time",
        "error_message",
        "bucket_keys",
        "parent_bucket_path",
        "clusters",
    ] {
        alert.insert(null.to_owned(), Value::Null);
    }
    for empty in ["workflow_id", "workflow_name", "finding_ids", "related_doc_ids"] {
        alert.insert(empty.to_owned(), json!(""));
    }
    let own = json!({"id": format!("alert-{number}"), "version": -1, "start_time": START, "state": "ACTIVE",
        "last_notification_time": START, "severity": "2", "execution_id": HOSTILE,
        "associated_alert_ids": []});
    for part in [&own, over] {
        alert.extend(part.as_object().cloned().unwrap_or_default());
    }
    Value::Object(alert)
}

/// A search's answer with so many hits.
fn found(hits: usize) -> Value {
    let hit = |n| json!({"_index": "i", "_id": format!("{n}\""), "_score": null, "_source": {HOSTILE: HOSTILE}});
    let list: Vec<Value> = (0..hits).map(hit).collect();
    json!({"_shards": {"total": 1, "failed": 0, "successful": 1, "skipped": 0}, "took": 1, "timed_out": false,
           "hits": {"hits": list, "total": {"value": hits, "relation": "eq"}, "max_score": null}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_cases_and_what_it_lacks() {
        let trigger = json!({"id": "t", "severity": "2"});
        for (kind, has, lacks) in [
            (Kind::Query, "alert", "newAlerts"),
            (Kind::Bucket, "completedAlerts", "alert"),
            (Kind::Doc, "alerts", "alert"),
            (Kind::Composite, "monitorIdToAlertIdsMap", "trigger"),
        ] {
            let cases = cases(kind, &trigger);
            assert!(cases.len() > 1);
            for case in cases {
                assert!(case.ctx.get(has).is_some(), "{kind:?} {}", case.when);
                assert!(case.ctx.get(lacks).is_none(), "{kind:?} {}", case.when);
                assert_eq!(case.ctx["monitor"]["name"], HOSTILE);
            }
        }
    }
}
