//! What a post says of all its alerts together.

use serde_json::{Map, Value, json};

use super::{ALERTS, OF_GRAFANA, without_secrets};

/// The longest `event.original`, in bytes: OpenSearch takes no longer term for a keyword than 32,766.
const LONGEST: usize = 30 << 10;
/// A longer text gives room to the rest, where that is too long, in bytes.
const LONG: usize = 1 << 10;
/// What is said of the group is no longer, in bytes: it stands in the record of each of its alerts.
const LONGEST_HEAD: usize = 8 << 10;
/// So much is always left of it, and in all records of a post together it takes at most so much.
const SHORTEST_HEAD: usize = 512;
const ALL_HEADS: usize = 4 << 20;
/// What each alert says too, or nobody needs.
const LEFT_OUT: [&str; 3] = ["commonLabels", "commonAnnotations", "message"];

/// A post without its alerts.
pub struct Group {
    /// `status`, for an alert that has none of its own.
    pub status: Option<String>,
    /// Where the sender's page is.
    pub external_url: Option<String>,
    /// Whether the sender left some alerts out.
    pub is_truncated: bool,
    /// Whether Grafana sent it.
    pub is_grafana: bool,
    head: Map<String, Value>,
}

impl Group {
    /// Takes what stands beside so many alerts.
    pub fn of(mut object: Map<String, Value>, alerts: usize) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let left_out = match object.get("truncatedAlerts") {
            Some(Value::Number(number)) => number.as_f64().unwrap_or_default(),
            Some(Value::String(text)) => text.parse().unwrap_or_default(),
            _ => 0.0,
        };
        let (status, external_url) = (text("status"), text("externalURL"));
        let is_grafana = object.contains_key(OF_GRAFANA);
        object.retain(|key, value| !LEFT_OUT.contains(&key.as_str()) && !says_nothing(value));
        let most = (ALL_HEADS / alerts.max(1)).clamp(SHORTEST_HEAD, LONGEST_HEAD);
        if length(&object) > most {
            object.values_mut().for_each(|value| shorten(value, LONG.min(most / 4)));
        }
        if length(&object) > most {
            object.clear();
        }
        Self { status, external_url, is_truncated: left_out > 0.0, is_grafana, head: object }
    }

    /// The post as it would be with this alert alone, bounded and without secrets.
    pub fn original(&self, mut alert: Map<String, Value>) -> String {
        let room = LONGEST - LONGEST_HEAD;
        if length(&alert) > room {
            alert.values_mut().for_each(|value| shorten(value, LONG));
        }
        if length(&alert) > room {
            // So many labels, or annotations, that none of them needs to be long.
            alert.values_mut().for_each(leave_out);
        }
        if length(&alert) > room {
            alert = Map::from_iter([("alert".to_owned(), note(length(&alert)))]);
        }
        let mut whole = self.head.clone();
        whole.insert(ALERTS.to_owned(), json!([alert]));
        without_secrets(&Value::Object(whole).to_string())
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) => false,
    }
}

fn length(object: &Map<String, Value>) -> usize {
    // Keys, quotes and commas count too.
    object.iter().map(|(key, value)| key.len() + 6 + value.to_string().len()).sum()
}

/// Puts a note in the place of each text that is longer than `most`, however deep.
fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if text.len() > most => *value = note(text.len()),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten(value, most)),
        Value::Array(items) => items.iter_mut().for_each(|value| shorten(value, most)),
        _ => {}
    }
}

/// Puts a note in the place of a value that is long as a whole.
fn leave_out(value: &mut Value) {
    let bytes = value.to_string().len();
    if bytes > LONG {
        *value = note(bytes);
    }
}

fn note(bytes: usize) -> Value {
    format!("({bytes} bytes left out)").into()
}
