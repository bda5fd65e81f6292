//! An alert in Graylog's words: which condition on which stream was met, when, and what was found.
//! What no condition told is filled from the alert: the monitor is the stream, the trigger the
//! condition. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Notice;
use crate::alert::{
    Alert, Body, link,
    occasion::{Condition, Message, Stream},
};

/// What stands for an id or a title that nobody told; Graylog's own word.
pub const UNKNOWN: &str = "<unknown>";

/// A notice in Graylog's words.
#[derive(Debug)]
pub struct View<'a> {
    /// The condition that was met.
    pub condition: Cow<'a, Condition>,
    /// Where it looks.
    pub stream: Cow<'a, Stream>,
    /// When it was met.
    pub triggered_at: Timestamp,
    /// What was found, for people.
    pub description: Cow<'a, str>,
    /// The messages that went with it.
    pub backlog: &'a [Message],
}

impl<'a> View<'a> {
    /// The view of `notice`.
    #[must_use]
    pub fn of(notice: &'a Notice) -> Self {
        let alert = &notice.alert;
        let occasion = alert.occasion.as_deref();
        let told = occasion.and_then(|occasion| occasion.triggered_at);
        let description = occasion.and_then(|occasion| occasion.description.as_deref());
        Self {
            condition: match occasion {
                Some(occasion) => Cow::Borrowed(&occasion.condition),
                None => Cow::Owned(trigger(alert)),
            },
            stream: match occasion {
                Some(occasion) => Cow::Borrowed(&occasion.stream),
                None => Cow::Owned(monitor(alert)),
            },
            triggered_at: told.or(alert.end).or(alert.start).unwrap_or(notice.received),
            description: description.map_or_else(|| reason(alert), Cow::Borrowed),
            backlog: occasion.map_or(&[], |occasion| &occasion.backlog),
        }
    }

    /// `event_definition_title`, or what comes nearest to it.
    #[must_use]
    pub fn title(&self) -> &str {
        let named = self.condition.title.as_deref().or(self.stream.title.as_deref());
        named.filter(|title| !title.is_empty()).unwrap_or(UNKNOWN)
    }

    /// A whole number among the condition's parameters; 0 where there is none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> i64 {
        let value = self.condition.parameters.get(name);
        value.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0)
    }

    /// What Graylog says of a condition: `time: 1, threshold_type: more, threshold: 1, grace: 1`.
    #[must_use]
    pub fn condition_description(&self) -> String {
        if let Some(description) =
            self.condition.description.as_deref().filter(|text| !text.is_empty())
        {
            return description.to_owned();
        }
        let parameters = &self.condition.parameters;
        let text = |name: &str| parameters.get(name).map(plain).unwrap_or_default();
        let lower = |name: &str| text(name).to_lowercase();
        let mut parts = match self.condition.kind.as_deref() {
            Some("message_count") => vec![
                format!("time: {}", text("time")),
                format!("threshold_type: {}", lower("threshold_type")),
                format!("threshold: {}", text("threshold")),
            ],
            Some("field_value") => vec![
                format!("time: {}", text("time")),
                format!("field: {}", text("field")),
                format!("check type: {}", lower("type")),
                format!("threshold_type: {}", lower("threshold_type")),
                format!("threshold: {}", text("threshold")),
            ],
            Some("field_content_value") => {
                vec![format!("field: {}", text("field")), format!("value: {}", text("value"))]
            }
            _ => Vec::new(),
        };
        parts.push(format!("grace: {}", self.parameter("grace")));
        if let Some(repeats) = parameters.get("repeat_notifications") {
            parts.push(format!("repeat notifications: {}", plain(repeats)));
        }
        parts.join(", ")
    }

    /// A condition as Graylog prints it:
    /// `id:message_count={time: 1, …}, stream:={id: "title"}` (`AbstractAlertCondition.java`).
    #[must_use]
    pub fn condition_text(&self) -> String {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        format!(
            "{}:{}={{{}}}, stream:={{{}}}",
            known(&self.condition.id),
            known(&self.condition.kind),
            self.condition_description(),
            self.stream_text()
        )
    }

    /// A stream as Graylog prints it: `id: "title"` (`StreamImpl.java`).
    #[must_use]
    pub fn stream_text(&self) -> String {
        let known = |text: &'_ Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        format!("{}: \"{}\"", known(&self.stream.id), known(&self.stream.title))
    }
}

/// A message as Graylog prints it: `source: … | message: … { key: value | … }`, whose text is cut
/// after 225 characters and loses its line breaks (`Message.java`).
#[must_use]
pub fn message_text(message: &Message) -> String {
    const LONGEST: usize = 225;
    let text = message.message.as_deref().unwrap_or_default();
    let mut letters = text.chars().filter(|c| !matches!(c, '\n' | '\t'));
    let mut shown: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        shown.push_str(" (...)");
    }
    let own = [("timestamp", &message.timestamp), ("_id", &message.id)];
    let own =
        own.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?)));
    let others =
        message.fields.iter().filter(|(name, _)| !matches!(name.as_str(), "timestamp" | "_id"));
    let fields = others.map(|(name, value)| format!("{name}: {}", plain(value)));
    let fields: Vec<String> = fields.chain(own).collect();
    let source = message.source.as_deref().unwrap_or("null");
    format!("source: {source} | message: {shown} {{ {} }}", fields.join(" | "))
}

/// A value as Java prints it: a list as `[a, b]`, a map as `{k=v}`, nothing as `null`.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn trigger(alert: &Alert) -> Condition {
    let minutes = match (alert.start, alert.end) {
        (Some(start), Some(end)) => (end.as_second() - start.as_second()).max(0) / 60,
        _ => 0,
    };
    let parameters = [("grace", 0), ("backlog", 0), ("time", minutes)];
    let parameters = parameters.map(|(name, number)| (name.to_owned(), json!(number)));
    Condition {
        id: alert.trigger.id.clone().or_else(|| alert.rule.id.clone()),
        kind: Some("monitor".to_owned()),
        title: alert.trigger.name.clone().or_else(|| alert.rule.name.clone()),
        description: None,
        created_at: None,
        creator: None,
        parameters: parameters.into_iter().collect(),
    }
}

fn monitor(alert: &Alert) -> Stream {
    Stream {
        id: alert.rule.id.clone(),
        title: alert.rule.name.clone(),
        description: None,
        rest: Map::new(),
    }
}

/// What happened, in the fewest words that the alert has.
fn reason(alert: &Alert) -> Cow<'_, str> {
    if let Some(error) = &alert.error {
        return format!("the monitor failed: {error}").into();
    }
    if let Some(message) = &alert.message {
        return message.into();
    }
    if let Body::Text(text) = &alert.body {
        return text.into();
    }
    let trigger = alert.trigger.name.as_deref().unwrap_or(UNKNOWN);
    match alert.hits {
        Some(hits) => format!("{trigger} ({hits} hits)").into(),
        None => trigger.into(),
    }
}

/// Where to look at it, as in the record; empty where nobody knows.
#[must_use]
pub fn url(alert: &Alert) -> Cow<'_, str> {
    link::of(alert).unwrap_or_default()
}
