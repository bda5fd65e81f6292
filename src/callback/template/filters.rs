//! The filters and tests that templates have besides minijinja's own. Pure.

use jiff::tz::TimeZone;
use minijinja::{Environment, Error, ErrorKind, Value, value::ValueKind};

use super::text;
use crate::callback::{joda, model};

/// Adds them.
pub fn add(environment: &mut Environment) {
    environment.add_filter("java", |value: &Value| text::of_java(value));
    environment.add_filter("or_else", or_else);
    environment.add_filter("entries", model::entries);
    environment.add_filter("date", date);
    environment.add_test("present", |value: &Value| is_present(value));
}

/// The value, or another where it is missing or an empty text.
fn or_else(value: Value, other: Value) -> Value {
    if text::of(&value).is_empty() { other } else { value }
}

/// An instant by a pattern of Java, in a time zone (`UTC` where none is said); anything else as it is.
fn date(value: &Value, pattern: &str, zone: Option<&str>) -> Result<String, Error> {
    let fault = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    joda::check(pattern).map_err(fault)?;
    let zone = zone.unwrap_or("UTC");
    let zone = TimeZone::get(zone)
        .map_err(|_| fault(format!("unknown time zone {zone}; write it as in Europe/Berlin")))?;
    let text = text::of(value);
    Ok(joda::read(&text).map_or_else(|| text.to_string(), |at| joda::format(at, &zone, pattern)))
}

/// What `if` means in JMTE: there, no empty text, list or map, and not `false`. A zero is there.
fn is_present(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => false,
        ValueKind::Bool => value.is_true(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => value.len() != Some(0),
        _ => {
            let text = text::of(value);
            !text.is_empty() && !text.eq_ignore_ascii_case("false")
        }
    }
}
