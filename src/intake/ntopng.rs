//! What ntopng posts.

use serde_json::{Map, Value};

use super::Undecodable;
use crate::alert::{Alert, Phase, Source};

/// Whether an object is one of ntopng's, wherever it was posted to.
pub fn recognises(_object: &Map<String, Value>) -> bool {
    false
}

/// Whether a body is what ntopng posts when somebody tests a recipient.
pub fn is_test(_body: &[u8]) -> bool {
    false
}

/// The alerts of an object.
pub fn decode(object: Map<String, Value>) -> Vec<Result<Alert, Undecodable>> {
    let Some(message) = object.get("message").and_then(Value::as_str).map(str::to_owned) else {
        return vec![Err(Undecodable("no alert of ntopng's".to_owned()))];
    };
    let at = ["tstamp", "when"].into_iter().find_map(|key| object.get(key)?.as_i64());
    let at = at.and_then(|at| jiff::Timestamp::from_second(at).ok());
    let text = Value::Object(object).to_string();
    vec![Ok(Alert {
        id: Some(blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()),
        start: at,
        end: at,
        phase: Phase::Stored,
        message: Some(message),
        ..Alert::of(Source::Ntopng)
    })]
}
