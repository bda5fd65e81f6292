//! The second HTTP notification as a form: `event_definition_id=…&event_id=…&event_fields={k=v}`.
//! Lists and maps are in Java's notation, and what is null is empty.

use serde_json::{Map, Value};

/// What the names of the event's own parts begin with, and what begins so and is none.
const OF_THE_EVENT: [&str; 2] = ["event_", "event."];
const OF_THE_DEFINITION: &str = "event_definition";

/// A form as the JSON that Graylog would have sent; `None` where it is no form.
pub fn read(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.trim_ascii();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"{}\\^`".contains(byte);
    // A form is percent-encoded: what holds blanks or braces is a text.
    if !body.contains(&b'=') || !body.iter().all(is_plain) {
        return None;
    }
    let mut top = Map::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        if !value.trim().is_empty() {
            top.insert(name.into_owned(), Value::String(value.into_owned()));
        }
    }
    let is_named = top.keys().all(|name| name.len() <= 128 && !name.is_empty());
    (is_named && !top.is_empty()).then(|| {
        gather(&mut top);
        top
    })
}

/// Puts `event_id`, `event.id` and so on into the object `event`, where they are not there already.
pub fn gather(top: &mut Map<String, Value>) {
    let is_part = |name: &str| {
        !name.starts_with(OF_THE_DEFINITION)
            && OF_THE_EVENT.iter().any(|start| name.starts_with(start))
    };
    let names: Vec<String> = top.keys().filter(|name| is_part(name)).cloned().collect();
    if names.is_empty() {
        return;
    }
    let event = top.entry("event").or_insert(Value::Null);
    if event.is_null() {
        *event = Value::Object(Map::new());
    }
    let Some(Value::Object(mut event)) = top.remove("event") else { return };
    for name in names {
        if let Some(value) = top.remove(&name) {
            event.entry(&name[OF_THE_EVENT[0].len()..]).or_insert(value);
        }
    }
    top.insert("event".to_owned(), Value::Object(event));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_becomes_what_graylog_sends_as_json() {
        for (body, want) in [
            (
                "event_definition_title=Disk%20%2B+space&event_id=E1&event_key=&backlog=%5B%5D",
                Some(
                    json!({"event_definition_title": "Disk + space", "event": {"id": "E1"}, "backlog": "[]"}),
                ),
            ),
            ("event.id=E1&x", Some(json!({"event": {"id": "E1"}}))),
            ("title=a", Some(json!({"title": "a"}))),
            ("", None),
            ("text", None),
            ("a=", None),
            ("=a", None),
            ("{\"a\":\"=\"}", None),
            ("<html a=b>", None),
            ("a = b", None),
        ] {
            assert_eq!(read(body.as_bytes()).map(Value::Object), want, "{body}");
        }
    }

    #[test]
    fn what_the_event_has_already_stays() {
        let mut top = json!({"event": {"id": "a"}, "event_id": "b", "event_message": "m"});
        gather(top.as_object_mut().unwrap());
        assert_eq!(top, json!({"event": {"id": "a", "message": "m"}}));
        let mut odd = json!({"event": "text", "event_id": "b"});
        gather(odd.as_object_mut().unwrap());
        assert_eq!(odd["event_id"], "b");
    }
}
