//! What Graylog posts: its legacy HTTP alarm callback ([`legacy`]), its HTTP notifications of today
//! ([`event`]), as JSON, as a form ([`form`]) or as whatever a user's template makes of them
//! ([`custom`]). An alert of Graylog has no life: nobody tells when it is over.
//!
//! Source: Graylog's `HTTPAlarmCallback.java`, `EventNotificationModelData.java`, `EventDto.java`,
//! `HTTPEventNotificationV2.java`, `NotificationTestData.java` and `DummyAlertCondition.java`.

use serde_json::{Map, Value};

use super::{Undecodable, kind_of, lenient::Lenient, masked::masked};
use crate::alert::Alert;

mod custom;
mod event;
mod form;
mod groups;
mod java;
mod legacy;
mod lines;
mod link;
mod messages;
mod priority;
mod summary;

/// Keys that only Graylog's bodies have.
const OF_LEGACY: &str = "check_result";
const OF_EVENTS: [&str; 3] =
    ["event_definition_id", "event_definition_title", "event_definition_type"];
/// What Graylog writes where it knows nothing.
const UNKNOWN: &str = "<unknown>";
/// Type and id of the definition that a test of a notification is about.
const TESTS: [&str; 2] = ["test-dummy-v1", "this-is-a-test-notification"];
/// Type of the condition that a test of an alarm callback is about, in small letters, and what it says.
const DUMMY: &str = "dummy";
const DUMMY_SAYS: &str = "Dummy alert to test notifications";
/// Tests are small; larger bodies are not looked at, in bytes.
const LONGEST_TEST: usize = 32 << 10;

/// Whether an object is one of Graylog's, wherever it was posted to.
pub fn recognises(object: &Map<String, Value>) -> bool {
    let has_event = object.get("event").is_some_and(|event| event.get(OF_EVENTS[0]).is_some());
    object.get(OF_LEGACY).is_some_and(Value::is_object)
        || OF_EVENTS.iter().any(|key| object.contains_key(*key))
        || has_event
}

/// Whether a body that is no JSON is a form of Graylog's, wherever it was posted to.
pub fn is_form(body: &[u8]) -> bool {
    form::read(body).is_some_and(|form| recognises(&form))
}

/// Whether a body is what Graylog posts when somebody tests a notification.
pub fn is_test(body: &[u8]) -> bool {
    let Some(text) = str::from_utf8(body).ok().filter(|text| text.len() <= LONGEST_TEST) else {
        return false;
    };
    // Nearly every body ends here.
    if !TESTS.iter().chain([&DUMMY_SAYS]).any(|mark| text.contains(mark)) {
        return false;
    }
    let object = match super::parse(body) {
        Ok((Value::Object(object), _)) => Some(object),
        Ok(_) => None,
        Err(_) => form::read(body).or_else(|| lines::read(text)),
    };
    object.is_some_and(|object| is_about_a_test(&object))
}

fn is_about_a_test(object: &Map<String, Value>) -> bool {
    let is_mark = |value: &Value| value.as_str().is_some_and(|text| TESTS.contains(&text.trim()));
    // A template may have given them any name.
    let below = object.get("event").and_then(Value::as_object);
    if object.values().chain(below.into_iter().flat_map(Map::values)).any(is_mark) {
        return true;
    }
    let Some(result) = object.get(OF_LEGACY) else { return false };
    let kind = result["triggered_condition"]["type"].as_str().unwrap_or_default();
    let says = result["result_description"].as_str();
    TESTS.contains(&kind) || (kind.eq_ignore_ascii_case(DUMMY) && says == Some(DUMMY_SAYS))
}

/// A body that is no JSON, as the object that it means.
///
/// # Errors
/// [`Undecodable`] where nothing can be read from it.
pub fn read_text(body: &[u8]) -> Result<Map<String, Value>, Undecodable> {
    let read = form::read(body).or_else(|| lines::read(str::from_utf8(body).ok()?));
    read.ok_or_else(|| {
        let what = "neither JSON nor a form nor lines of `name: value`";
        Undecodable(format!("{what}; docs/graylog.md has a template"))
    })
}

/// Reads an alert. What has the wrong type is read as far as it goes, and the alert tagged
/// `repaired`.
///
/// # Errors
/// [`Undecodable`] where nothing in it is of an alert.
pub fn decode(object: Map<String, Value>) -> Result<Alert, Undecodable> {
    let mut read = Lenient::default();
    let mut alert = match object.get(OF_LEGACY) {
        Some(Value::Object(_)) => legacy::decode(object, &mut read)?,
        Some(other) => {
            let kind = kind_of(other);
            return Err(Undecodable(format!("`{OF_LEGACY}` is {kind} instead of an object")));
        }
        None => event::decode(object, &mut read)?,
    };
    // A link may hold a secret too, and goes into the record and into mails.
    if let Some(url) = &mut alert.url {
        *url = String::from_utf8_lossy(&masked(url.as_bytes())).into_owned();
    }
    if read.wrong {
        alert.tag("repaired");
    }
    Ok(alert)
}

/// A text that says something.
fn known(text: Option<String>) -> Option<String> {
    text.filter(|text| text != UNKNOWN && !text.trim().is_empty())
}

/// What `key` holds, as an object. Java's notation of one counts.
fn take_object(from: &mut Map<String, Value>, key: &str, read: &mut Lenient) -> Map<String, Value> {
    match from.remove(key) {
        Some(Value::Object(object)) => object,
        None | Some(Value::Null) => Map::new(),
        Some(Value::String(text)) => java::map(&text).unwrap_or_else(|| {
            read.wrong |= !text.trim().is_empty();
            Map::new()
        }),
        Some(_) => {
            read.wrong = true;
            Map::new()
        }
    }
}

/// What `key` holds, as a list of texts. Java's notation of one counts, and so does a single text,
/// as templates print a list of one.
fn take_texts(from: &mut Map<String, Value>, key: &str, read: &mut Lenient) -> Vec<String> {
    match from.remove(key) {
        Some(Value::Array(items)) => {
            items.into_iter().filter_map(|item| read.owned_text(Some(item))).collect()
        }
        Some(Value::String(text)) => java::texts(&text),
        other => read.owned_text(other).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
