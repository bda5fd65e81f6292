//! JSON of the shapes that senders promise, read as far as it keeps the promise: what has another
//! type is left out, or read as what it must have meant.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use crate::alert::Named;

/// Numbers below this are epoch seconds, above it milliseconds (it is the year 5138, or 1973).
const SECONDS_BELOW: f64 = 1e11;

/// Milliseconds from here on are beyond the year 9999.
const LATEST: f64 = 2.5e14;

/// Reads what is there, and notes whether something had the wrong type.
#[derive(Debug, Default)]
pub struct Lenient {
    /// Something had it.
    pub wrong: bool,
}

impl Lenient {
    /// A text that is not empty; a number or a boolean counts as its text.
    pub fn text(&mut self, value: Option<&Value>) -> Option<String> {
        match value? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other @ (Value::Number(_) | Value::Bool(_)) => {
                self.wrong = true;
                Some(other.to_string())
            }
            Value::Array(_) | Value::Object(_) => {
                self.wrong = true;
                None
            }
        }
    }

    /// The same of a value that nobody else needs, so that a long text is not copied.
    pub fn owned_text(&mut self, value: Option<Value>) -> Option<String> {
        match value {
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            other => self.text(other.as_ref()),
        }
    }

    /// An object; nothing where it is something else.
    pub fn object<'a>(&mut self, value: Option<&'a Value>) -> Option<&'a Map<String, Value>> {
        match value? {
            Value::Object(object) => Some(object),
            Value::Null => None,
            _ => {
                self.wrong = true;
                None
            }
        }
    }

    /// An object with `id` and `name`; a bare text counts as the name.
    pub fn named(&mut self, value: Option<&Value>) -> Named {
        match value {
            Some(Value::Object(object)) => {
                Named { id: self.text(object.get("id")), name: self.text(object.get("name")) }
            }
            Some(Value::Null) | None => Named::default(),
            other => {
                self.wrong = true;
                Named { id: None, name: self.text(other) }
            }
        }
    }

    /// RFC 3339 with any offset (none means UTC), or epoch seconds or milliseconds as a number or
    /// its text. Nothing else is guessed.
    pub fn time(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let time = match value? {
            Value::Null => return None,
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => time_in_text(text),
            Value::Number(number) => number.as_f64().and_then(epoch),
            _ => None,
        };
        self.wrong |= time.is_none();
        time
    }
}

/// RFC 3339, or a number of seconds or milliseconds, in text.
pub fn time_in_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let number = text.parse::<f64>().ok();
    number.and_then(epoch).or_else(|| rfc_3339(text))
}

fn rfc_3339(text: &str) -> Option<Timestamp> {
    let with_offset = text.parse::<Timestamp>().ok();
    let time = with_offset.or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Timestamp::from_millisecond(time.as_millisecond()).ok()
}

fn epoch(number: f64) -> Option<Timestamp> {
    let millis = if number.abs() < SECONDS_BELOW { number * 1_000.0 } else { number };
    if millis.is_nan() || millis.abs() >= LATEST {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Timestamp::from_millisecond(millis.floor() as i64).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_each_form_that_senders_use() {
        for (value, want) in [
            (json!("2026-11-07T22:30:00.000-05:00"), Some("2026-11-08T03:30:00Z")),
            (json!("2026-11-07T22:30:00.1239Z"), Some("2026-11-07T22:30:00.123Z")),
            (json!("2026-11-07T22:30:00"), Some("2026-11-07T22:30:00Z")),
            (json!(1_794_038_400_123_i64), Some("2026-11-07T08:00:00.123Z")),
            (json!("1794038400123"), Some("2026-11-07T08:00:00.123Z")),
            (json!(1_794_038_400), Some("2026-11-07T08:00:00Z")),
            (json!("1970-01-01T00:00:00.000Z"), Some("1970-01-01T00:00:00Z")),
            (json!("yesterday-ish"), None),
            (json!("11/07/2026"), None),
            (json!(1e300), None),
            (json!(true), None),
            (json!("NaN"), None),
        ] {
            let mut read = Lenient::default();
            let time = read.time(Some(&value));
            assert_eq!(time, want.map(|want| want.parse().unwrap()), "{value}");
            assert_eq!(read.wrong, want.is_none(), "{value}");
        }
        let mut read = Lenient::default();
        assert_eq!((read.time(Some(&json!(""))), read.time(None), read.wrong), (None, None, false));
    }
}
