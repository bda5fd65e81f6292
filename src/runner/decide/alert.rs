//! The life of an alert: what it becomes by a run. Pure.
//!
//! | was | fires | becomes |
//! |---|---|---|
//! | nothing | yes | `ACTIVE`; `ERROR` where something went wrong |
//! | nothing | no | nothing |
//! | `ACTIVE`, `ERROR` | yes | `ACTIVE`; `ERROR` where something went wrong |
//! | `ACKNOWLEDGED` | yes | stays as it is; `ERROR` where something went wrong |
//! | any | no | `COMPLETED` |
//! | any | its trigger is gone | `DELETED` |
//!
//! What goes wrong fires. Source: `AlertService.kt` and `AlertMover.kt` of Alerting.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::decision::Alert,
    context::Known,
    shape::{Trigger, text, triggers},
};
use crate::opensearch::{alerting::Monitor, builtin::alerts::execution};

/// The version of the plugin's mapping of alerts on 3.4.0.
const SCHEMA: u32 = 5;
/// How many errors an alert remembers.
const MOST_ERRORS: usize = 10;

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Did {
    /// The action's id.
    pub action: String,
    /// When it was done; `None` where it was throttled.
    pub at: Option<Timestamp>,
}

/// The id of an alert that a run makes. A run that is done anew makes it again.
#[must_use]
pub fn id(monitor: &str, trigger: &str, bucket: Option<&str>, end: Timestamp) -> String {
    let of = json!(["alert", monitor, trigger, bucket, end.as_millisecond()]);
    blake3::hash(of.to_string().as_bytes()).to_hex()[..32].to_owned()
}

/// A new alert, `ACTIVE`.
#[must_use]
pub fn fresh(known: Known<'_>, trigger: Trigger<'_>, id: &str, bucket: Option<Value>) -> Value {
    let Monitor { id: monitor, version, body, .. } = known.monitor;
    let now = known.now.as_millisecond();
    let mut alert = json!({
        "id": id, "version": -1, "schema_version": SCHEMA,
        "monitor_id": monitor, "monitor_name": text(body, "name"), "monitor_version": version,
        "execution_id": execution(monitor, known.period.end),
        "trigger_id": trigger.id(), "trigger_name": trigger.name(),
        "severity": text(trigger.body, "severity"), "state": "ACTIVE", "error_message": null,
        "alert_history": [], "action_execution_results": [], "finding_ids": [],
        "related_doc_ids": [], "workflow_id": "", "workflow_name": "", "associated_alert_ids": [],
        "start_time": now, "last_notification_time": now, "end_time": null,
        "acknowledged_time": null,
    });
    if let Some(bucket) = bucket {
        alert["agg_alert_content"] = bucket;
    }
    alert
}

/// What the alert of a query-level trigger becomes; `None` where nothing changes.
#[must_use]
pub fn of_query(
    current: Option<&Value>,
    fires: bool,
    error: Option<&str>,
    did: &[Did],
    now: Timestamp,
    fresh: impl FnOnce() -> Value,
) -> Option<Value> {
    let acknowledged = current.is_some_and(|alert| alert["state"] == "ACKNOWLEDGED");
    if fires && error.is_none() && acknowledged {
        return None;
    }
    let mut alert = match current {
        Some(alert) => alert.clone(),
        None if fires || error.is_some() => fresh(),
        None => return None,
    };
    alert["action_execution_results"] = results(&alert, did);
    alert["alert_history"] = history(&alert, error, now);
    alert["error_message"] = error.into();
    if fires || error.is_some() {
        alert["state"] = if error.is_some() { "ERROR" } else { "ACTIVE" }.into();
        alert["last_notification_time"] = now.as_millisecond().into();
    } else {
        end(&mut alert, "COMPLETED", now);
    }
    Some(alert)
}

/// The alert of a bucket that fires no longer.
#[must_use]
pub fn completed(current: &Value, now: Timestamp) -> Value {
    let mut alert = current.clone();
    alert["error_message"] = Value::Null;
    end(&mut alert, "COMPLETED", now);
    alert
}

/// The alert of a bucket after its actions.
#[must_use]
pub fn told(alert: &Value, error: Option<&str>, did: &[Did], now: Timestamp) -> Value {
    let mut alert = alert.clone();
    alert["action_execution_results"] = results(&alert, did);
    alert["last_notification_time"] = now.as_millisecond().into();
    if error.is_some() {
        alert["alert_history"] = history(&alert, error, now);
        alert["error_message"] = error.into();
        alert["state"] = "ERROR".into();
    }
    alert
}

fn end(alert: &mut Value, state: &str, now: Timestamp) {
    alert["state"] = state.into();
    alert["end_time"] = now.as_millisecond().into();
}

/// When each action was done last, and how often it was throttled.
fn results(alert: &Value, did: &[Did]) -> Value {
    let mut results = alert["action_execution_results"].as_array().cloned().unwrap_or_default();
    for Did { action, at } in did {
        let at = at.map(Timestamp::as_millisecond);
        let known = results.iter_mut().find(|result| result["action_id"] == action.as_str());
        match (known, at) {
            (Some(result), Some(at)) => result["last_execution_time"] = at.into(),
            (Some(result), None) => {
                let count = result["throttled_count"].as_u64().unwrap_or(0);
                result["throttled_count"] = (count + 1).into();
            }
            (None, at) => results.push(json!({"action_id": action, "last_execution_time": at,
                "throttled_count": u8::from(at.is_none())})),
        }
    }
    results.into()
}

/// The last errors, the newest first.
fn history(alert: &Value, error: Option<&str>, now: Timestamp) -> Value {
    let mut history = alert["alert_history"].as_array().cloned().unwrap_or_default();
    if let Some(error) = error {
        history.insert(0, json!({"timestamp": now.as_millisecond(), "message": error}));
        history.truncate(MOST_ERRORS);
    }
    history.into()
}

/// The alerts of triggers that the monitor no longer has, or of all where it is gone: `DELETED`.
#[must_use]
pub fn left_over(monitor: Option<&Value>, alerts: &[Alert]) -> Vec<Alert> {
    let triggers = monitor.map(triggers).unwrap_or_default();
    let is_left = |alert: &&Alert| !triggers.iter().any(|one| alert.body["trigger_id"] == one.id());
    let deleted = |alert: &Alert| {
        let mut alert = alert.clone();
        alert.body["state"] = "DELETED".into();
        alert
    };
    alerts.iter().filter(is_left).map(deleted).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::decision::Period, *};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn alert(state: &str) -> Value {
        json!({"id": "x", "state": state, "start_time": 1, "end_time": null, "error_message": null,
            "alert_history": [], "action_execution_results": [
                {"action_id": "a", "last_execution_time": 1, "throttled_count": 0}],
            "last_notification_time": 1})
    }

    #[test]
    fn a_run_leads_from_state_to_state() {
        for (was, fires, error, want) in [
            (None, false, None, None),
            (None, true, None, Some("ACTIVE")),
            (None, true, Some("no"), Some("ERROR")),
            (None, false, Some("no"), Some("ERROR")),
            (Some("ACTIVE"), true, None, Some("ACTIVE")),
            (Some("ACTIVE"), true, Some("no"), Some("ERROR")),
            (Some("ACTIVE"), false, None, Some("COMPLETED")),
            (Some("ERROR"), true, None, Some("ACTIVE")),
            (Some("ERROR"), false, None, Some("COMPLETED")),
            (Some("ACKNOWLEDGED"), true, None, None),
            (Some("ACKNOWLEDGED"), true, Some("no"), Some("ERROR")),
            (Some("ACKNOWLEDGED"), false, None, Some("COMPLETED")),
        ] {
            let was = was.map(alert);
            let fresh = || json!({"state": "ACTIVE", "alert_history": []});
            let became = of_query(was.as_ref(), fires, error, &[], at(9), fresh);
            let state = became.as_ref().and_then(|alert| alert["state"].as_str());
            assert_eq!(state, want, "{was:?} {fires} {error:?}");
            let Some(became) = became else { continue };
            assert_eq!(became["end_time"] == 9, want == Some("COMPLETED"));
            assert_eq!(became["error_message"], json!(error));
            let told = if want == Some("COMPLETED") { 1 } else { 9 };
            assert_eq!(became["last_notification_time"], told);
            assert_eq!(
                became["alert_history"].as_array().unwrap().len(),
                usize::from(error.is_some())
            );
        }
    }

    #[test]
    fn actions_are_counted_by_alert() {
        let did = |action: &str, ms: Option<i64>| Did { action: action.to_owned(), at: ms.map(at) };
        let once = results(&alert("ACTIVE"), &[did("a", None), did("b", Some(5)), did("c", None)]);
        assert_eq!(
            once,
            json!([{"action_id": "a", "last_execution_time": 1, "throttled_count": 1},
                {"action_id": "b", "last_execution_time": 5, "throttled_count": 0},
                {"action_id": "c", "last_execution_time": null, "throttled_count": 1}])
        );
        let again = told(
            &json!({"action_execution_results": once}),
            Some("no"),
            &[did("a", Some(7))],
            at(8),
        );
        assert_eq!(again["action_execution_results"][0]["last_execution_time"], 7);
        assert_eq!(
            (&again["state"], &again["last_notification_time"]),
            (&json!("ERROR"), &json!(8))
        );
    }

    #[test]
    fn ten_errors_are_remembered_the_newest_first() {
        let mut one = alert("ACTIVE");
        for at_ms in 0..12 {
            one["alert_history"] = history(&one, Some(&format!("e{at_ms}")), at(at_ms));
        }
        let messages = one["alert_history"].as_array().unwrap();
        assert_eq!(
            (messages.len(), &messages[0]["message"], &messages[9]["message"]),
            (10, &json!("e11"), &json!("e2"))
        );
    }

    #[test]
    fn an_id_is_the_same_for_the_same_run_and_for_no_other() {
        let one = id("m", "t", None, at(1));
        assert_eq!(one, id("m", "t", None, at(1)));
        assert_eq!(one.len(), 32);
        for other in [
            id("n", "t", None, at(1)),
            id("m", "u", None, at(1)),
            id("m", "t", Some("k"), at(1)),
            id("m", "t", None, at(2)),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_new_alert_has_the_form_of_the_plugins() {
        let body = json!({"name": "M", "triggers": [{"query_level_trigger": {"id": "t", "name": "T", "severity": "2"}}]});
        let monitor = Monitor { id: "m".to_owned(), version: 4, body, ..Monitor::default() };
        let known = Known {
            monitor: &monitor,
            period: Period { start: at(0), end: at(60_000) },
            now: at(61_000),
        };
        let alert =
            fresh(known, triggers(&monitor.body)[0], "x", Some(json!({"bucket_keys": ["k"]})));
        for (key, want) in [
            ("id", json!("x")),
            ("monitor_id", json!("m")),
            ("monitor_version", json!(4)),
            ("execution_id", json!("m_1970-01-01T00:01:00.000Z")),
            ("trigger_name", json!("T")),
            ("severity", json!("2")),
            ("start_time", json!(61_000)),
            ("agg_alert_content", json!({"bucket_keys": ["k"]})),
        ] {
            assert_eq!(alert[key], want, "{key}");
        }
    }

    #[test]
    fn alerts_without_a_trigger_are_deleted() {
        let alert = |trigger: &str| Alert {
            id: trigger.to_owned(),
            body: json!({"trigger_id": trigger, "state": "ACTIVE"}),
        };
        let alerts = [alert("t"), alert("gone")];
        let monitor = json!({"triggers": [{"query_level_trigger": {"id": "t"}}]});
        let left = left_over(Some(&monitor), &alerts);
        assert_eq!(left.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["gone"]);
        assert_eq!(left[0].body["state"], "DELETED");
        assert_eq!(left_over(None, &alerts).len(), 2);
    }
}
