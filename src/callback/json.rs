//! An alert as JSON, as scripts and the payload `alertloop` have it. Names are ECS's where it has
//! some. What is not known is left out.
//!
//! ```json
//! {"@timestamp": "2026-11-21T22:00:00Z",
//!  "event": {"id": "…", "kind": "alert", "provider": "graylog", "action": "engaged", "severity": 60,
//!            "reason": "over 9", "start": "…", "end": "…", "url": "…", "hits": 3},
//!  "rule": {"id": "…", "name": "Beacons"}, "message": "…", "tags": ["…"],
//!  "error": {"message": "…"}, "body": "what the monitor's author wanted to say; text or JSON",
//!  "record": {"_index": "…", "_id": "…"},
//!  "condition": {"id": "…", "type": "message_count", "title": "…", "description": "…",
//!                "parameters": {}},
//!  "stream": {"id": "…", "title": "…", "description": "…"},
//!  "triggered_at": "…", "result_description": "…",
//!  "backlog": [{"_index": "…", "_id": "…", "message": "…", "source": "…", "timestamp": "…",
//!               "fields": {}}]}
//! ```

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Notice;
use crate::alert::{
    Body,
    occasion::{Message, Occasion},
};

/// The alert of a notice.
#[must_use]
pub fn alertloop(notice: &Notice) -> Value {
    let Notice { alert, received, record } = notice;
    let mut all = Object::default();
    all.put("@timestamp", time(alert.triggered_at().or(alert.end).or(Some(*received))));
    let mut event = Object::default();
    event.put("id", alert.id.as_deref());
    event.put("kind", Some("alert"));
    event.put("provider", Some(alert.source.provider()));
    event.put("action", Some(alert.phase.action()));
    event.put("severity", Some(alert.severity));
    event.put("reason", alert.trigger.name.as_deref());
    event.put("start", time(alert.began.or(alert.start)));
    event.put("end", time(alert.end));
    event.put("created", time(Some(*received)));
    event.put("url", alert.url.as_deref());
    event.put("hits", alert.hits);
    all.put("event", Some(event.0));
    let mut rule = Object::default();
    rule.put("id", alert.rule.id.as_deref());
    rule.put("name", alert.rule.name.as_deref());
    all.put("rule", Some(rule.0));
    all.put("message", alert.message.as_deref());
    all.put("tags", Some(&alert.tags).filter(|tags| !tags.is_empty()).map(|tags| json!(tags)));
    all.put("error", alert.error.as_deref().map(|error| json!({ "message": error })));
    all.put(
        "body",
        match &alert.body {
            Body::Empty => None,
            Body::Text(text) => Some(Value::from(text.as_str())),
            Body::Json { fields, .. } => Some(Value::Object(fields.clone())),
        },
    );
    let record = record.as_ref().map(|(index, id)| json!({ "_index": index, "_id": id }));
    all.put("record", record);
    if let Some(met) = &alert.occasion {
        put_occasion(&mut all, met);
    }
    Value::Object(all.0)
}

fn put_occasion(all: &mut Object, met: &Occasion) {
    let mut condition = Object::default();
    condition.put("id", met.condition.id.as_deref());
    condition.put("type", met.condition.kind.as_deref());
    condition.put("title", met.condition.title.as_deref());
    condition.put("description", met.condition.description.as_deref());
    let parameters = Some(&met.condition.parameters).filter(|all| !all.is_empty());
    condition.put("parameters", parameters.cloned());
    all.put("condition", Some(condition.0));
    let mut stream = Object::default();
    stream.put("id", met.stream.id.as_deref());
    stream.put("title", met.stream.title.as_deref());
    stream.put("description", met.stream.description.as_deref());
    all.put("stream", Some(stream.0));
    all.put("triggered_at", time(met.triggered_at));
    all.put("result_description", met.description.as_deref());
    let backlog: Vec<_> = met.backlog.iter().map(message).collect();
    all.put("backlog", (!backlog.is_empty()).then_some(backlog));
}

fn message(message: &Message) -> Value {
    let mut one = Object::default();
    one.put("_index", message.index.as_deref());
    one.put("_id", message.id.as_deref());
    one.put("message", message.message.as_deref());
    one.put("source", message.source.as_deref());
    one.put("timestamp", message.timestamp.as_deref());
    one.put("stream_ids", Some(&message.stream_ids).filter(|ids| !ids.is_empty()).cloned());
    one.put("fields", Some(&message.fields).filter(|all| !all.is_empty()).cloned());
    Value::Object(one.0)
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// An object that holds nothing empty.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value.map(Into::into) else { return };
        if !value.as_object().is_some_and(Map::is_empty) {
            self.0.insert(name.to_owned(), value);
        }
    }
}

impl crate::alert::Alert {
    /// When its condition was met, where the source tells it.
    fn triggered_at(&self) -> Option<Timestamp> {
        self.occasion.as_ref().and_then(|met| met.triggered_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::{Alert, Source},
        callback::sample::sample,
    };

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_left_out() {
        let received: Timestamp = "2026-11-21T22:00:00Z".parse().unwrap();
        let bare = Notice { alert: Alert::of(Source::OpenSearch), received, record: None };
        let want = json!({"@timestamp": "2026-11-21T22:00:00Z", "event": {"kind": "alert",
            "provider": "malcolm", "action": "engaged", "severity": 40,
            "created": "2026-11-21T22:00:00Z"}});
        assert_eq!(alertloop(&bare), want);

        let full = alertloop(&sample());
        for place in [
            "/event/id",
            "/event/url",
            "/rule/name",
            "/condition/parameters/grace",
            "/stream/title",
            "/record/_id",
            "/backlog/1/fields",
            "/message",
        ] {
            assert!(full.pointer(place).is_some(), "{place}: {full:#}");
        }
    }
}
