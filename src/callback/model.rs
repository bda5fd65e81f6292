//! What a template sees of an alert: a value at each of the known names (`names.rs`). Pure.
//!
//! Messages of the backlog become values only where a template looks at them.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr, Serde, ValueKind},
};
use serde_json::Value as Json;

use super::{Notice, payload, view};
use crate::alert::occasion::Message;

/// The longest single text that a template sees, in bytes; the rest is cut.
const LONGEST_TEXT: usize = 32 * 1_024;
/// The most messages that a template sees.
const MOST_MESSAGES: usize = 500;

/// An alert as templates see it.
#[derive(Clone, Debug)]
pub struct Model {
    notice: Arc<Notice>,
    values: BTreeMap<&'static str, Value>,
}

impl Model {
    /// Prepares the values.
    #[must_use]
    pub fn of(notice: &Notice) -> Self {
        Self::shared(Arc::new(notice.clone()))
    }

    /// The same without a copy.
    #[must_use]
    pub fn shared(notice: Arc<Notice>) -> Self {
        let values = values(&notice);
        Self { notice, values }
    }

    /// How many messages of the backlog a template sees at most.
    #[must_use]
    pub fn backlog_len(&self) -> usize {
        self.messages().min(MOST_MESSAGES)
    }

    fn messages(&self) -> usize {
        self.notice.alert.occasion.as_ref().map_or(0, |occasion| occasion.backlog.len())
    }

    /// The values, with so many messages of the backlog.
    #[must_use]
    pub fn values(&self, shown: usize) -> Value {
        let mut values = self.values.clone();
        let backlog = Backlog { notice: self.notice.clone(), len: shown.min(self.messages()) };
        values.insert("backlog", Value::from_object(backlog));
        Value::from(values)
    }
}

/// All but the backlog.
fn values(notice: &Notice) -> BTreeMap<&'static str, Value> {
    let view = view::View::of(notice);
    let condition = Printed::value(view.condition_text(), &payload::condition(&view));
    let stream = serde_json::json!({
        "id": view.stream.id, "title": view.stream.title, "description": view.stream.description,
    });
    let result = serde_json::json!({
        "triggeredAt": payload::time(view.triggered_at),
        "resultDescription": view.description,
        "triggered": true,
    });
    let mut result: BTreeMap<String, Value> = pairs(&result);
    result.insert("triggeredCondition".to_owned(), condition.clone());
    let record = notice.record.as_ref().map(|(index, id)| {
        let parts = serde_json::json!({"index": index, "id": id});
        Printed::value(format!("{index}/{id}"), &parts)
    });
    let mut alert = pairs(&payload::alert(notice));
    alert.insert("record".to_owned(), Value::from(record));
    let mut values = BTreeMap::from([
        ("alert", Value::from(alert)),
        ("stream", Printed::value(view.stream_text(), &stream)),
        ("stream_url", text(&view::url(&notice.alert))),
        ("check_result", Value::from(result)),
        ("alert_condition", condition.clone()),
        ("alertCondition", condition),
        ("backlog_size", Value::from(view.backlog.len())),
        ("http_external_uri", text(&payload::external_uri(notice))),
        ("product_name", Value::from("alertloop")),
    ]);
    let definition = payload::definition(notice, &view);
    for (name, part) in definition {
        values.insert(name, value(&part));
    }
    values.insert("event", value(&payload::event_of(notice, &view)));
    values
}

/// A JSON value as a template sees it, its texts cut.
fn value(json: &Json) -> Value {
    match json {
        Json::String(long) => text(long),
        Json::Array(list) => list.iter().map(value).collect(),
        Json::Object(_) => Value::from(pairs(json)),
        other => Value::from(Serde(other)),
    }
}

fn pairs(json: &Json) -> BTreeMap<String, Value> {
    let pairs = json.as_object().into_iter().flatten();
    pairs.map(|(key, part)| (key.clone(), value(part))).collect()
}

fn text(text: &str) -> Value {
    if text.len() <= LONGEST_TEXT {
        return Value::from(text);
    }
    let cut = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    Value::from(format!("{cut}…"))
}

/// A map that prints as something of its own: a condition, a stream, a pair.
#[derive(Debug)]
pub struct Printed {
    text: String,
    parts: BTreeMap<String, Value>,
}

impl Printed {
    fn value(text: String, parts: &Json) -> Value {
        Value::from_object(Self { text, parts: pairs(parts) })
    }

    /// The text of a value that has one of its own.
    #[must_use]
    pub fn of(value: &Value) -> Option<String> {
        if let Some(printed) = value.downcast_object_ref::<Self>() {
            return Some(printed.text.clone());
        }
        value.downcast_object_ref::<Item>().and_then(|item| item.message().map(view::message_text))
    }
}

impl Object for Printed {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.parts.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.parts.keys().map(Value::from).collect())
    }
}

/// What a `foreach` of JMTE goes over: the pairs of a map, the items of a list, any other value alone.
#[must_use]
pub fn entries(of: Value) -> Value {
    match of.kind() {
        ValueKind::Undefined | ValueKind::None => Value::from(Vec::<Value>::new()),
        ValueKind::Seq | ValueKind::Iterable => of,
        ValueKind::Map if Printed::of(&of).is_none() => {
            let keys = of.try_iter().into_iter().flatten();
            let pair = |key: Value| {
                let value = of.get_item(&key).unwrap_or_default();
                let text = format!("{key}={value}");
                let parts = BTreeMap::from([("key".to_owned(), key), ("value".to_owned(), value)]);
                Value::from_object(Printed { text, parts })
            };
            keys.map(pair).collect()
        }
        _ => Value::from(vec![of]),
    }
}

#[derive(Debug)]
struct Backlog {
    notice: Arc<Notice>,
    len: usize,
}

impl Object for Backlog {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = key.as_usize().filter(|at| *at < self.len)?;
        Some(Value::from_object(Item { notice: self.notice.clone(), at }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len)
    }
}

/// A message of the backlog.
#[derive(Debug)]
struct Item {
    notice: Arc<Notice>,
    at: usize,
}

impl Item {
    fn message(&self) -> Option<&Message> {
        self.notice.alert.occasion.as_ref()?.backlog.get(self.at)
    }
}

impl Object for Item {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let message = self.message()?;
        let part = |part: &Option<String>| part.as_deref().map_or_else(|| Value::from(()), text);
        match key.as_str()? {
            "id" => Some(part(&message.id)),
            "index" => Some(part(&message.index)),
            "message" => Some(part(&message.message)),
            "source" => Some(part(&message.source)),
            "timestamp" => Some(part(&message.timestamp)),
            "stream_ids" => Some(message.stream_ids.iter().map(|id| text(id)).collect()),
            "fields" => {
                let (notice, at) = (self.notice.clone(), self.at);
                Some(Value::from_object(Fields { item: Item { notice, at }, below: String::new() }))
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["id", "index", "message", "source", "timestamp", "stream_ids", "fields"])
    }
}

/// The fields of a message, among them those that Graylog tells apart from the rest. A field may be
/// `{"source.ip": …}` or `{"source": {"ip": …}}`: `fields.source.ip` finds both.
#[derive(Debug)]
struct Fields {
    item: Item,
    below: String,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let message = self.item.message()?;
        let name = format!("{}{}", self.below, key.as_str()?);
        if let Some(field) = message.fields.get(&name) {
            return Some(value(field));
        }
        let below = format!("{name}.");
        if message.fields.keys().any(|key| key.starts_with(&below)) {
            let (notice, at) = (self.item.notice.clone(), self.item.at);
            return Some(Value::from_object(Fields { item: Item { notice, at }, below }));
        }
        let own = match name.as_str() {
            "_id" => &message.id,
            "message" => &message.message,
            "source" => &message.source,
            "timestamp" => &message.timestamp,
            _ => return None,
        };
        own.as_deref().map(text)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = self.item.message().map(|message| message.fields.keys()).into_iter().flatten();
        let keys = keys.filter_map(|key| key.strip_prefix(&self.below));
        Enumerator::Values(keys.map(Value::from).collect())
    }
}
