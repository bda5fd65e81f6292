//! What a record keeps of a body as `event.original`: all that was said, as compact JSON, but of the
//! messages only how many there are, their ids and the first of them.

use serde_json::{Map, Value, json};

use crate::{alert::occasion::Message, intake::masked::masked};

/// The longest summary, in bytes: OpenSearch takes no longer term for a keyword than 32,766.
const LONGEST: usize = 30 << 10;
/// What is longer than this gives room to the rest, where that is too long, in bytes.
const LONG: usize = 1 << 10;
/// The longest text of the first message, and the longest of all its fields, in bytes.
const LONGEST_MESSAGE: usize = 4 << 10;

/// A body without its messages.
pub struct Head(Map<String, Value>);

impl Head {
    /// What is said besides the messages: `below`, which stands at `key`, and all else of `top`.
    pub fn of(top: &Map<String, Value>, key: &str, below: &Map<String, Value>) -> Self {
        let mut head = top.clone();
        head.insert(key.to_owned(), Value::Object(below.clone()));
        let mut whole = Value::Object(head);
        compact(&mut whole);
        match whole {
            Value::Object(head) => Self(head),
            _ => Self(Map::new()),
        }
    }

    /// As JSON, with a summary of the messages under their own name; without secrets.
    pub fn text(mut self, name: &str, messages: &[Message]) -> String {
        let first = messages.first().map(first);
        let mut told = json!({ "count": messages.len() });
        if let Some(first) = first {
            told["first"] = first;
        }
        let taken = told.to_string().len() + name.len() + 64;
        if length(&self.0) + taken > LONGEST {
            self.0.values_mut().for_each(leave_out);
        }
        let room = LONGEST.saturating_sub(length(&self.0) + taken);
        let ids = messages.iter().filter_map(|message| message.id.as_deref());
        let mut used = 0;
        let ids: Vec<&str> = ids
            .take_while(|id| {
                used += json!(id).to_string().len() + 1;
                used <= room
            })
            .collect();
        if !ids.is_empty() {
            told["ids"] = json!(ids);
        }
        if !messages.is_empty() {
            self.0.insert(name.to_owned(), told);
        }
        let text = Value::Object(self.0).to_string();
        String::from_utf8_lossy(&masked(text.as_bytes())).into_owned()
    }
}

/// Whether a value says nothing.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Leaves out what says nothing.
fn compact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(compact);
            fields.retain(|_, value| !is_empty(value));
        }
        Value::Array(items) => items.iter_mut().for_each(compact),
        _ => {}
    }
}

/// Puts a note in the place of what is long, two levels deep.
fn leave_out(value: &mut Value) {
    let shorten = |value: &mut Value| {
        let length = value.to_string().len();
        if length > LONG {
            *value = format!("({length} bytes left out)").into();
        }
    };
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(shorten);
    }
    shorten(value);
}

fn length(head: &Map<String, Value>) -> usize {
    // Keys, quotes and commas count too.
    head.iter().map(|(key, value)| key.len() + 4 + value.to_string().len()).sum()
}

fn first(message: &Message) -> Value {
    let fields = Value::Object(message.fields.clone());
    let length = fields.to_string().len();
    let fields =
        if length > LONGEST_MESSAGE { format!("({length} bytes left out)").into() } else { fields };
    let mut first = json!({
        "index": cut(message.index.as_deref()), "id": cut(message.id.as_deref()),
        "source": cut(message.source.as_deref()), "message": cut(message.message.as_deref()),
        "timestamp": cut(message.timestamp.as_deref()), "fields": fields,
    });
    compact(&mut first);
    first
}

fn cut(text: Option<&str>) -> Option<&str> {
    text.map(|text| &text[..text.floor_char_boundary(LONGEST_MESSAGE)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: usize) -> Message {
        let id = Some(format!("5c2e1001-aa01-11f0-8c1d-{id:012}"));
        Message { id, message: Some("text".to_owned()), ..Message::default() }
    }

    fn head(json: &Value) -> Head {
        let top = json.as_object().unwrap();
        let event = top.get("event").and_then(Value::as_object).cloned().unwrap_or_default();
        Head::of(top, "event", &event)
    }

    #[test]
    fn what_says_nothing_is_left_out_and_messages_are_counted() {
        let body = json!({"title": "x", "steps": "", "event": {"key": null, "fields": {}, "n": 0}});
        assert_eq!(head(&body).text("backlog", &[]), r#"{"event":{"n":0},"title":"x"}"#);
        let messages: Vec<_> = (1..3).map(message).collect();
        let told: Value = serde_json::from_str(&head(&body).text("backlog", &messages)).unwrap();
        assert_eq!(
            told["backlog"],
            json!({"count": 2, "ids": [messages[0].id, messages[1].id],
                   "first": {"id": messages[0].id, "message": "text"}})
        );
    }

    #[test]
    fn it_is_json_and_has_a_bound_however_much_there_is() {
        let messages: Vec<_> = (0..5_000).map(message).collect();
        let long = Message {
            message: Some("ü".repeat(100_000)),
            fields: json!({"a": "x".repeat(50_000)}).as_object().unwrap().clone(),
            ..message(1)
        };
        let wide = json!({"stream": {"rules": vec!["rule"; 20_000], "id": "s"}, "title": "t"});
        for (body, messages) in [
            (json!({"title": "t"}), messages.clone()),
            (wide, messages),
            (json!({"title": "t", "stream": {"id": "s"}}), vec![long]),
            (json!({"title": "t".repeat(50_000), "stream": {"id": "s"}}), vec![message(1)]),
        ] {
            let text = head(&body).text("backlog", &messages);
            assert!(text.len() <= LONGEST, "{}", text.len());
            let told: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(told["backlog"]["count"], messages.len());
            assert!(told["stream"]["id"] == "s" || told.get("stream").is_none());
        }
    }

    #[test]
    fn a_secret_is_not_kept() {
        let body = json!({"url": "http://h/mapi/alert/graylog?token=s3cret-s3cret"});
        let text = head(&body).text("backlog", &[]);
        assert!(text.contains("token=***") && !text.contains("s3cret"), "{text}");
    }
}
