//! What Alertmanager posts, and Grafana's alerting, which posts the same and more.
//!
//! ```json
//! {"version": "4", "receiver": "…", "status": "firing", "groupKey": "…", "truncatedAlerts": 0,
//!  "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "…",
//!  "alerts": [{"status": "firing", "labels": {"alertname": "…"}, "annotations": {},
//!              "startsAt": "RFC 3339", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "…",
//!              "fingerprint": "16 hex digits"}]}
//! ```
//!
//! Each alert has a status of its own, and is known by its fingerprint and its start, which it keeps
//! over all repeats: so its states merge in any order, whichever of several Alertmanagers tells them.
//!
//! Source: `notify/webhook/webhook.go`, `template/template.go` of Alertmanager 0.3 (version 3, without
//! fingerprints until 0.19) to 0.34; `receivers/webhook/v1/webhook.go`, `templates/template_data.go` of
//! Grafana's alerting (version 1, with `orgId`, `title`, `state` and `message`, and of each alert
//! `values`, `valueString`, `silenceURL`, `dashboardURL`, `panelURL`).

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Undecodable, kind_of, masked::masked};
use crate::alert::{Alert, Phase};

mod fingerprint;
mod group;
mod hosts;
mod labels;
mod one;
mod severity;

use group::Group;

/// Tag of the records of a post from which alerts were left out (`max_alerts`).
pub const TRUNCATED: &str = "truncated-alerts";
/// Tag of what Grafana posted.
const GRAFANA: &str = "grafana";
/// Where the alerts are.
const ALERTS: &str = "alerts";
/// Keys that only these bodies have.
const OF_GROUPS: [&str; 3] = ["groupLabels", "commonLabels", "groupKey"];

/// The key that Grafana adds to each post.
const OF_GRAFANA: &str = "orgId";
/// Tests are small; larger bodies are not looked at, in bytes.
const LONGEST_TEST: usize = 32 << 10;

/// Whether an object is one of Alertmanager's, wherever it was posted to.
pub fn recognises(object: &Map<String, Value>) -> bool {
    let Some(Value::Array(alerts)) = object.get(ALERTS) else { return false };
    let has_labels = |alert: &Value| alert.get("labels").is_some_and(Value::is_object);
    OF_GROUPS.iter().any(|key| object.contains_key(*key)) || alerts.first().is_some_and(has_labels)
}

/// Whether a body is what Grafana posts when somebody tests a contact point. No group has such a key:
/// theirs begin with a brace, that of a test is `NAME-FINGERPRINT-SECONDS`.
///
/// Source: `TestNotifier` of `notify/test_receivers.go` of Grafana's alerting.
pub fn is_test(body: &[u8]) -> bool {
    let Some(text) = str::from_utf8(body).ok().filter(|text| text.len() <= LONGEST_TEST) else {
        return false;
    };
    // Nearly every body ends here.
    if !text.contains(OF_GRAFANA) {
        return false;
    }
    let Ok((Value::Object(object), _)) = super::parse(body) else { return false };
    let group = object.get("groupKey").and_then(Value::as_str).unwrap_or_default();
    let Some(Value::Array(alerts)) = object.get(ALERTS) else { return false };
    let is_named = |alert: &Value| {
        let fingerprint = alert.get("fingerprint").and_then(Value::as_str);
        fingerprint.is_some_and(|one| !one.is_empty() && group.contains(&format!("-{one}-")))
    };
    object.contains_key(OF_GRAFANA)
        && !group.starts_with('{')
        && alerts.first().is_some_and(is_named)
}

/// The alerts of an object: of a whole post, or one alone.
pub fn decode(mut object: Map<String, Value>) -> Vec<Result<Alert, Undecodable>> {
    let fault = |what: String| vec![Err(Undecodable(what))];
    let alerts = match object.remove(ALERTS) {
        Some(Value::Array(alerts)) if alerts.is_empty() => {
            return fault(format!("`{ALERTS}` is empty: no alert in it"));
        }
        Some(Value::Array(alerts)) => alerts,
        Some(alert @ Value::Object(_)) => vec![alert],
        Some(other) => {
            return fault(format!("`{ALERTS}` is {} instead of a list", kind_of(&other)));
        }
        None if object.get("labels").is_some_and(Value::is_object) => {
            let alone = Value::Object(std::mem::take(&mut object));
            vec![alone]
        }
        None => {
            let keys: Vec<_> = object.keys().take(5).map(String::as_str).collect();
            let keys = keys.join(", ");
            return fault(format!("no `{ALERTS}` of Alertmanager in it (keys: {keys})"));
        }
    };
    let group = Group::of(object, alerts.len());
    let read = |alert| match alert {
        Value::Object(alert) => one::decode(alert, &group),
        other => Err(Undecodable(format!("an alert is {} instead of an object", kind_of(&other)))),
    };
    alerts.into_iter().map(read).collect()
}

/// Notes when a post was received: it tells no time of its own, but says how each alert is when it is
/// sent. So of the states of an alert the one that came last stands, also where Alertmanager took
/// silence for the end and the alert fires on since the same `startsAt`; and a repeat is news of it.
pub fn heard(alert: &mut Alert, received: Timestamp) {
    if alert.id.is_none() {
        return; // one of a series, whose moments are those that it tells
    }
    alert.as_of = Some(received);
    if alert.phase == Phase::Engaged {
        alert.end = alert.start.max(Some(received));
    }
}

/// A text that goes into a record, and from there into mails and more.
fn without_secrets(text: &str) -> String {
    String::from_utf8_lossy(&masked(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests;
