//! What monitors send to us: Malcolm's form, ours, which is a superset of it, and what the shipped
//! messages of the other kinds of monitors add: the alerts that fired at once ([`Listed`]).
//!
//! ```json
//! {"alert": {"monitor": {"id": "…", "name": "…"},
//!            "trigger": {"id": "…", "name": "…", "severity": "4"},
//!            "period": {"start": "RFC 3339", "end": "RFC 3339"},
//!            "results": [{"hits": {"total": {"value": 7}}}],
//!            "body": "text or JSON", "alert": "alert id or empty",
//!            "start": "epoch ms or empty", "error": "text or empty"}}
//! ```
//! Source: `malcolm_api_loopback_monitor.json` of Malcolm; the ids, `start` and the quoted severity
//! are ours.

use serde_json::{Map, Value};

use super::{Undecodable, kind_of, lenient::Lenient, listed::Listed, occasion, parse};
use crate::alert::{Alert, Body, Source, UNKNOWN_SEVERITY};

/// Reads a message: one alert, or those that it lists. What has the wrong type is left out, and the
/// alert tagged `repaired`.
pub fn decode(object: &Map<String, Value>) -> Result<Vec<Alert>, Undecodable> {
    let alert = match object.get("alert") {
        Some(Value::Object(alert)) => alert,
        Some(other) => {
            return Err(Undecodable(format!("`alert` is {} instead of an object", kind_of(other))));
        }
        None => {
            let keys: Vec<_> = object.keys().take(5).map(String::as_str).collect();
            return Err(Undecodable(format!("no `alert` key (keys: {})", keys.join(", "))));
        }
    };
    let mut read = Lenient::default();
    let trigger = read.object(alert.get("trigger"));
    let period = read.object(alert.get("period"));
    let mut decoded = Alert {
        id: read.text(alert.get("alert")),
        rule: read.named(alert.get("monitor")),
        trigger: read.named(alert.get("trigger")),
        severity: severity(trigger.and_then(|trigger| trigger.get("severity"))),
        start: read.time(period.and_then(|period| period.get("start"))),
        end: read.time(period.and_then(|period| period.get("end"))),
        began: read.time(alert.get("start")),
        hits: hits(alert.get("results")),
        error: read.text(alert.get("error")),
        body: body(alert.get("body")),
        ..Alert::of(Source::OpenSearch)
    };
    if read.wrong {
        decoded.tag("repaired");
    }
    occasion::complete(&mut decoded, alert);
    match Listed::read(alert) {
        Some(listed) => Ok(listed.expand(decoded)),
        None => Ok(vec![decoded]),
    }
}

/// Malcolm's scale: 1 (highest) to 5 becomes 100 to 20, clamped; what is no number is unknown.
pub fn severity(value: Option<&Value>) -> u8 {
    let number = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    match number {
        Some(n) if n < 1.5 => 100,
        Some(n) if n < 2.5 => 80,
        Some(n) if n < 3.5 => 60,
        Some(n) if n < 4.5 => 40,
        Some(n) if n.is_finite() => 20,
        _ => UNKNOWN_SEVERITY,
    }
}

/// `results[0].hits.total.value`, or `.total` where a search was made to answer with a plain
/// number; a document-level monitor has neither.
fn hits(results: Option<&Value>) -> Option<i64> {
    hits_of(results?.get(0)?.get("hits")?.get("total")?)
}

/// `{"value": 3}`, or the number itself.
pub fn hits_of(total: &Value) -> Option<i64> {
    total.get("value").unwrap_or(total).as_i64()
}

/// The free part: text, JSON in text or as it is, or nothing.
pub fn body(value: Option<&Value>) -> Body {
    match value {
        Some(Value::Object(fields)) if !fields.is_empty() => {
            let text = Value::Object(fields.clone()).to_string();
            Body::Json { fields: fields.clone(), text }
        }
        Some(Value::String(text)) => match text.trim() {
            "" | "null" | "{}" => Body::Empty,
            trimmed if trimmed.starts_with('{') => match parse(trimmed.as_bytes()) {
                Ok((Value::Object(fields), _)) => Body::Json { fields, text: text.clone() },
                _ => Body::Text(text.clone()),
            },
            _ => Body::Text(text.clone()),
        },
        None | Some(Value::Null | Value::Object(_)) => Body::Empty,
        Some(other) => Body::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(json: &Value) -> Alert {
        let mut alerts = decode(json.as_object().unwrap()).unwrap();
        assert_eq!(alerts.len(), 1);
        alerts.remove(0)
    }

    #[test]
    fn severity_is_malcolms_scale_clamped() {
        for (value, want) in [
            (json!(1), 100),
            (json!("2"), 80),
            (json!(3.0), 60),
            (json!(" 4 "), 40),
            (json!("5"), 20),
            (json!(0), 100),
            (json!(-7), 100),
            (json!(7), 20),
            (json!("high"), 40),
            (json!(""), 40),
            (json!("NaN"), 40),
            (json!("inf"), 40),
            (json!(null), 40),
            (json!([1]), 40),
        ] {
            assert_eq!(severity(Some(&value)), want, "{value}");
        }
        assert_eq!(severity(None), 40);
    }

    #[test]
    fn ours_tells_more_than_malcolms() {
        let alert = decoded(&json!({"alert": {
            "monitor": {"id": "m1", "name": "Beacons"},
            "trigger": {"id": "t1", "name": "over 9", "severity": "4"},
            "period": {"start": "2026-11-06T05:00:00.000Z", "end": "2026-11-06T05:10:00.000Z"},
            "results": [{"hits": {"total": {"value": 3}}}],
            "body": "", "alert": "a1", "start": "1794038400123", "error": ""
        }}));
        assert_eq!(alert.id.as_deref(), Some("a1"));
        assert_eq!(alert.rule.id.as_deref(), Some("m1"));
        assert_eq!(alert.trigger.name.as_deref(), Some("over 9"));
        assert_eq!(alert.began, "2026-11-07T08:00:00.123Z".parse().ok());
        assert_eq!((alert.hits, alert.error, alert.tags.len()), (Some(3), None, 0));
    }

    #[test]
    fn wrong_types_leave_a_record_of_what_can_be_read() {
        let alert = decoded(&json!({"alert": {
            "monitor": "Beacons", "trigger": ["x"], "period": "now", "results": {"hits": 3},
            "body": [1], "alert": 12, "error": {"a": 1}
        }}));
        assert_eq!(alert.rule.name.as_deref(), Some("Beacons"));
        assert_eq!(alert.id.as_deref(), Some("12"));
        assert_eq!(alert.body, Body::Text("[1]".to_owned()));
        assert_eq!((alert.severity, alert.tags), (40, vec!["repaired".into()]));
    }

    #[test]
    fn a_body_is_text_json_or_nothing() {
        for (value, want) in [
            (json!(""), Body::Empty),
            (json!("null"), Body::Empty),
            (json!(null), Body::Empty),
            (json!({}), Body::Empty),
            (json!("plain"), Body::Text("plain".to_owned())),
            (json!("{not json"), Body::Text("{not json".to_owned())),
            (json!("[1,2]"), Body::Text("[1,2]".to_owned())),
        ] {
            assert_eq!(body(Some(&value)), want, "{value}");
        }
        let Body::Json { fields, text } = body(Some(&json!("{\"a\":{\"b\":1,},}"))) else {
            panic!("trailing commas are mended, as upstream does");
        };
        assert_eq!((fields["a"]["b"].as_i64(), text.as_str()), (Some(1), "{\"a\":{\"b\":1,},}"));
    }

    #[test]
    fn hits_are_counted_where_there_are_any() {
        for (results, want) in [
            (json!([{"hits": {"total": {"value": 43}}}]), Some(43)),
            (json!([{"hits": {"total": 7}}]), Some(7)),
            (json!([{"hits": {"total": {"value": 0}}}]), Some(0)),
            (json!([{"query": ["a|b"]}]), None),
            (json!([{"hits": {"total": {"value": 36_893_488_147_419_103_232.0}}}]), None),
            (json!([]), None),
            (json!("[]"), None),
        ] {
            assert_eq!(hits(Some(&results)), want, "{results}");
        }
    }
}
