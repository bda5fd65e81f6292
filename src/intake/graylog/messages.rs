//! The messages that go with an alert: `matching_messages` or `backlog`.
//!
//! ```json
//! [{"index": "graylog_41", "id": "…", "source": "fw-1", "message": "text",
//!   "timestamp": "RFC 3339", "stream_ids": ["…"], "fields": {"any": 1}}]
//! ```
//! Source: Graylog's `MessageSummary.java`.

use serde_json::{Map, Value};

use super::{java, take_object, take_texts};
use crate::{alert::occasion::Message, intake::lenient::Lenient};

/// Reads the messages, in their order. They are moved out of the JSON, since they are most of it.
pub fn read(list: Option<Value>, read: &mut Lenient) -> Vec<Message> {
    match list {
        Some(Value::Array(items)) => {
            items.into_iter().filter_map(|item| message(item, read)).collect()
        }
        Some(one @ Value::Object(_)) => message(one, read).into_iter().collect(),
        Some(Value::String(text)) if text.trim().is_empty() => Vec::new(),
        Some(Value::String(text)) => match java::messages(&text) {
            Some(all) => all.into_iter().map(|fields| of_object(fields, read)).collect(),
            None => message(Value::String(text), read).into_iter().collect(),
        },
        None | Some(Value::Null) => Vec::new(),
        Some(_) => {
            read.wrong = true;
            Vec::new()
        }
    }
}

fn message(item: Value, read: &mut Lenient) -> Option<Message> {
    match item {
        Value::Object(fields) => Some(of_object(fields, read)),
        // A template may list the texts alone.
        Value::String(text) => Some(Message { message: Some(text), ..Message::default() }),
        _ => {
            read.wrong = true;
            None
        }
    }
}

fn of_object(mut object: Map<String, Value>, read: &mut Lenient) -> Message {
    let mut text = |key: &str| read.owned_text(object.remove(key));
    let (index, id, message) = (text("index"), text("id"), text("message"));
    let (source, timestamp) = (text("source"), text("timestamp"));
    let stream_ids = take_texts(&mut object, "stream_ids", read);
    let mut fields = take_object(&mut object, "fields", read);
    for (name, value) in object {
        fields.entry(name).or_insert(value);
    }
    Message { index, id, message, source, timestamp, stream_ids, fields }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_of(value: Value) -> (Vec<Message>, bool) {
        let mut lenient = Lenient::default();
        let messages = read(Some(value), &mut lenient);
        (messages, lenient.wrong)
    }

    #[test]
    fn a_message_is_read_whole_and_what_has_no_place_is_a_field() {
        let (messages, wrong) = read_of(json!([{"index": "i", "id": "m", "source": "h",
            "message": "text", "timestamp": "t", "stream_ids": ["s"], "fields": {"a": 1}, "b": 2}]));
        let want = Message {
            index: Some("i".to_owned()),
            id: Some("m".to_owned()),
            message: Some("text".to_owned()),
            source: Some("h".to_owned()),
            timestamp: Some("t".to_owned()),
            stream_ids: vec!["s".to_owned()],
            fields: json!({"a": 1, "b": 2}).as_object().unwrap().clone(),
        };
        assert_eq!((messages, wrong), (vec![want], false));
    }

    #[test]
    fn whatever_stands_there_what_can_be_read_is() {
        for (value, count, want) in [
            (json!([]), 0, false),
            (json!(null), 0, false),
            (json!(""), 0, false),
            (json!("[]"), 0, false),
            (json!("[{id=a, message=b}, {id=c, message=d}]"), 2, false),
            (json!("one text"), 1, false),
            (json!(["a", "b"]), 2, false),
            (json!({"id": "a"}), 1, false),
            (json!([{"id": 7}, 3, {"fields": []}]), 2, true),
            (json!(true), 0, true),
        ] {
            let (messages, wrong) = read_of(value.clone());
            assert_eq!((messages.len(), wrong), (count, want), "{value}");
        }
    }
}
