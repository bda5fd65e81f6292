//! Whether an action is due. Pure.
//!
//! Source: `isActionActionable` in `MonitorRunnerService.kt`, `Throttle.kt`: a throttle is of an action and
//! of an alert, and an alert that is new is never throttled.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::shape::Action;

/// Whether an action is due for an alert that is there already.
#[must_use]
pub fn is_due(action: Action<'_>, alert: Option<&Value>, now: Timestamp) -> bool {
    let Some(alert) = alert else { return true };
    if action.body["throttle_enabled"] != true {
        return true;
    }
    let Some(wait) = wait(&action.body["throttle"]) else { return true };
    let mut results = alert["action_execution_results"].as_array().into_iter().flatten();
    let result = results.find(|result| result["action_id"] == action.id());
    let last = result.and_then(|result| result["last_execution_time"].as_i64());
    let last = last.and_then(|last| Timestamp::from_millisecond(last).ok());
    match (last, now.checked_sub(wait)) {
        (Some(last), Ok(bound)) => last < bound,
        _ => true,
    }
}

fn wait(throttle: &Value) -> Option<SignedDuration> {
    let value = throttle["value"].as_i64()?;
    let seconds = match throttle["unit"].as_str().map(str::to_uppercase).as_deref() {
        Some("SECONDS") => 1,
        Some("HOURS") => 3_600,
        Some("DAYS") => 86_400,
        _ => 60,
    };
    Some(SignedDuration::from_secs(value.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_waits_for_its_throttle_and_for_no_other() {
        let done = |id: &str, at: Value| json!({"action_id": id, "last_execution_time": at});
        let minute = json!({"value": 1, "unit": "MINUTES"});
        for (enabled, throttle, results, want) in [
            (true, &minute, json!([done("a", json!(40_000))]), false),
            (true, &minute, json!([done("a", json!(39_999))]), true),
            (true, &minute, json!([done("other", json!(99_000))]), true),
            (true, &minute, json!([done("a", Value::Null)]), true),
            (true, &minute, json!([]), true),
            (false, &minute, json!([done("a", json!(99_000))]), true),
            (true, &Value::Null, json!([done("a", json!(99_000))]), true),
        ] {
            let action = json!({"id": "a", "throttle_enabled": enabled, "throttle": throttle});
            let alert = json!({"action_execution_results": results});
            let now = Timestamp::from_millisecond(100_000).unwrap();
            assert_eq!(
                is_due(Action { body: &action }, Some(&alert), now),
                want,
                "{action} {alert}"
            );
            assert!(is_due(Action { body: &action }, None, now));
        }
    }
}
