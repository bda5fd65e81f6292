//! What ntopng posts, of every generation, and what other programs push in its form: batches of its
//! webhook (`0.1`, `0.2`), single alerts of its queues, and documents of its Elasticsearch recipient.
//! The generation is detected for each alert by its keys; a declared version only
//! decides where codes differ ([`codes`]).

use serde_json::{Map, Value};

use super::{Undecodable, kind_of};
use crate::alert::{Alert, bucket::About};

mod address;
pub mod codes;
mod ecs;
mod entity;
mod flow;
mod html;
mod key;
mod mend;
mod native;
pub mod secret;
mod sentence;
mod severity;
mod told;
mod values;
pub mod version;

use version::Version;

/// Where a batch has its alerts.
const ALERTS: &str = "alerts";
/// Texts in fields are no longer, in bytes: an index does not look at longer ones (`ignore_above`).
const LONGEST_FIELD: usize = 1 << 10;
/// Tests are small; larger bodies are not looked at, in bytes.
const LONGEST_TEST: usize = 4 << 10;

/// Whether an object is one of ntopng's, wherever it was posted to.
#[must_use]
pub fn recognises(object: &Map<String, Value>) -> bool {
    match object.get(ALERTS) {
        Some(Value::Array(alerts)) => {
            is_envelope(object) || alerts.iter().filter_map(Value::as_object).any(is_alert)
        }
        Some(Value::Object(_) | Value::String(_)) => is_envelope(object),
        _ => is_alert(object),
    }
}

/// Whether a body is what ntopng posts when somebody tests a recipient: a batch without alerts.
#[must_use]
pub fn is_test(body: &[u8]) -> bool {
    let is_small = body.len() <= LONGEST_TEST;
    let text = str::from_utf8(body).ok().filter(|text| is_small && text.contains(ALERTS));
    let object = text.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    object.is_some_and(|object| {
        let is_empty = match object.get(ALERTS) {
            Some(Value::Array(alerts)) => alerts.is_empty(),
            // Lua does not tell an empty list from an empty table.
            Some(Value::Object(alerts)) => alerts.is_empty(),
            _ => false,
        };
        is_empty && is_envelope(&object)
    })
}

/// Whether the first level is that of a batch: `version` (`0.1`, `0.2`) and `sharedsecret`.
fn is_envelope(object: &Map<String, Value>) -> bool {
    let version = match object.get("version") {
        Some(Value::String(version)) => version.starts_with("0."),
        Some(Value::Number(version)) => version.as_f64().is_some_and(|v| (0.0..1.0).contains(&v)),
        _ => false,
    };
    version || object.contains_key("sharedsecret")
}

/// Whether an object is a single alert: a kind and an entity, by any generation's names.
fn is_alert(object: &Map<String, Value>) -> bool {
    const PAIRS: [[&str; 2]; 12] = [
        ["alert_id", "entity_id"],
        ["alert_id", "entity_val"],
        ["alert_id", "is_flow_alert"],
        ["alert_type", "alert_entity"],
        ["alert_type", "alert_entity_val"],
        ["alert_type", "is_flow_alert"],
        ["alert_type", "flow_status"],
        ["alert_type", "entity_type"],
        ["alert_type", "entity_value"],
        ["type", "entity_type"],
        ["type", "entity_value"],
        ["entity_type", "entity_value"],
    ];
    ecs::recognises(object)
        || PAIRS.iter().any(|pair| pair.iter().all(|key| object.contains_key(*key)))
}

/// The same with the quotes escaped that ntopng did not escape; `None` where there are none such.
#[must_use]
pub fn mended(text: &str) -> Option<String> {
    mend::mended(text)
}

/// The alerts of an object, in order; one that cannot be read takes no other with it. `declared` is
/// the version that ntopng was said to have.
#[must_use]
pub fn decode(
    mut object: Map<String, Value>,
    declared: Option<Version>,
) -> Vec<Result<Alert, Undecodable>> {
    let alerts = match object.remove(ALERTS) {
        Some(Value::Array(alerts)) => alerts,
        Some(Value::Object(alert)) if told::generation(&alert).is_some() => {
            vec![Value::Object(alert)]
        }
        // Lua writes a list with gaps as a table.
        Some(Value::Object(alerts)) => alerts.into_iter().map(|(_, alert)| alert).collect(),
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
        _ => vec![Value::Object(object)],
    };
    if alerts.is_empty() {
        return vec![Err(Undecodable("`alerts` holds no alert".to_owned()))];
    }
    alerts.into_iter().map(|alert| one(&alert, declared)).collect()
}

fn one(alert: &Value, declared: Option<Version>) -> Result<Alert, Undecodable> {
    let Value::Object(object) = alert else {
        return Err(Undecodable(format!("{} instead of an object", kind_of(alert))));
    };
    if ecs::recognises(object) {
        return Ok(ecs::decode(object, declared));
    }
    if let Some(generation) = told::generation(object) {
        return Ok(native::decode(object, generation, declared));
    }
    let keys: Vec<_> = object.keys().take(5).map(String::as_str).collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let what = "no `alert_id`, `alert_type` or `type` in it";
    Err(Undecodable(format!("{what} (keys: {keys}); docs/ntopng.md has the forms")))
}

/// Adds a field where there is a value for it.
fn put(about: &mut About, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        let mut value = value.into();
        if let Value::String(text) = &mut value {
            text.truncate(text.floor_char_boundary(LONGEST_FIELD));
        }
        about.fields.push((field.to_owned(), value));
    }
}

#[cfg(test)]
mod tests;
