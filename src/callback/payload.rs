//! The bodies that Graylog posts, made of our alerts: of its HTTP alarm callback ([`graylog`]) and of
//! its HTTP notification since 3.1 ([`event`]). What takes Graylog's callbacks takes ours. Pure.
//!
//! Source: the example in Graylog's documentation of stream alerts, `HTTPAlarmCallback.java`,
//! `AbstractAlertCondition.java`, `MessageSummary.java`, `EventNotificationModelData.java` and
//! `EventDto.java` of its server.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Notice,
    view::{self, UNKNOWN, View},
};
use crate::alert::{Body, Source, occasion::Message};

/// Who made what nobody says who made.
const CREATOR: &str = "alertloop";
/// The id of Graylog's stream of all events.
const ALL_EVENTS: &str = "000000000000000000000002";

/// RFC 3339 in UTC with milliseconds, as Graylog writes instants.
#[must_use]
pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The body of Graylog's HTTP alarm callback: `check_result` and `stream`.
///
/// Keys and types are those of the documentation's example. A condition with a title has it besides,
/// and its type in small letters, as since Graylog 2.1. What such a Graylog sent without the older keys
/// is sent without them again.
#[must_use]
pub fn graylog(notice: &Notice) -> Value {
    let view = View::of(notice);
    let at = time(view.triggered_at);
    let condition = &view.condition;
    let kind = condition.kind.as_deref().unwrap_or("unknown").to_owned();
    let is_newer = notice.alert.source == Source::Graylog && condition.description.is_none();
    let is_small = is_newer || condition.title.is_some();
    let shown = if is_small { kind.clone() } else { kind.to_uppercase() };
    let created = condition.created_at.clone().unwrap_or_else(|| at.clone());
    let creator = condition.creator.clone().unwrap_or_else(|| CREATOR.to_owned());
    let mut parameters = condition.parameters.clone();
    // Ours, and nothing that Graylog has.
    parameters.remove("callbacks");
    let mut triggered = json!({
        "id": known(condition.id.as_deref()),
        "type": shown,
        "created_at": created,
        "creator_user_id": creator,
    });
    if !is_newer {
        for name in ["grace", "backlog"] {
            parameters.entry(name).or_insert(json!(0));
            triggered[name] = json!(view.parameter(name));
        }
        triggered["description"] = json!(view.condition_description());
        triggered["type_string"] = json!(shown);
    }
    triggered["parameters"] = json!(parameters);
    let mut listed = json!({
        "creator_user_id": creator,
        "created_at": created,
        "id": known(condition.id.as_deref()),
        "type": kind,
        "parameters": parameters,
    });
    if let Some(title) = &condition.title {
        triggered["title"] = json!(title);
        listed["title"] = json!(title);
    }
    json!({
        "check_result": {
            "result_description": view.description,
            "triggered_condition": triggered,
            "triggered_at": at,
            "triggered": true,
            "matching_messages": view.backlog.iter().map(message).collect::<Vec<_>>(),
        },
        "stream": stream(&view, &created, &creator, &listed),
    })
}

fn stream(view: &View, created: &str, creator: &str, condition: &Value) -> Value {
    let mut stream = json!({
        "creator_user_id": creator,
        "outputs": [],
        "matching_type": "AND",
        "description": "",
        "created_at": created,
        "disabled": false,
        "rules": [],
        "alert_conditions": [condition],
        "id": known(view.stream.id.as_deref()),
        "title": view.stream.title.as_deref().unwrap_or(view.title()),
        "content_pack": null,
    });
    if let Some(description) = &view.stream.description {
        stream["description"] = json!(description);
    }
    for (key, value) in &view.stream.rest {
        stream[key] = value.clone();
    }
    stream
}

/// A message of the backlog, as `MessageSummary.java` tells it.
fn message(message: &Message) -> Value {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    json!({
        "index": text(&message.index),
        "message": text(&message.message),
        "fields": message.fields,
        "id": text(&message.id),
        "stream_ids": message.stream_ids,
        "source": text(&message.source),
        "timestamp": text(&message.timestamp),
    })
}

/// The body of Graylog's HTTP notification (`http-notification-v1`): the event, its definition and the
/// backlog.
#[must_use]
pub fn event(notice: &Notice) -> Value {
    let view = View::of(notice);
    let mut body: Map<String, Value> = definition(notice, &view)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    body.insert("event".to_owned(), event_of(notice, &view));
    body.insert("backlog".to_owned(), view.backlog.iter().map(message).collect());
    Value::Object(body)
}

/// The names at the top of the body of an HTTP notification.
#[must_use]
pub fn definition(notice: &Notice, view: &View) -> [(&'static str, Value); 7] {
    let (id, kind) = definition_id_and_type(notice, view);
    [
        ("event_definition_id", json!(id)),
        ("event_definition_type", json!(kind)),
        ("event_definition_title", json!(view.title())),
        (
            "event_definition_description",
            json!(view.condition.description.as_deref().unwrap_or_default()),
        ),
        ("remediation_steps", json!("")),
        ("job_definition_id", json!(UNKNOWN)),
        ("job_trigger_id", json!(UNKNOWN)),
    ]
}

fn definition_id_and_type<'a>(notice: &'a Notice, view: &'a View) -> (&'a str, &'a str) {
    let id = view.condition.id.as_deref().or(notice.alert.rule.id.as_deref());
    (known(id), known(view.condition.kind.as_deref()))
}

/// The `event` of an HTTP notification, as `EventDto.java` tells it.
#[must_use]
pub fn event_of(notice: &Notice, view: &View) -> Value {
    let alert = &notice.alert;
    let (definition, kind) = definition_id_and_type(notice, view);
    let parameters = &view.condition.parameters;
    let part = |name: &str, other: Value| parameters.get(name).cloned().unwrap_or(other);
    let key = part("key", Value::Null);
    let tuple = key.as_str().map_or_else(|| json!([]), |key| json!([key]));
    let origin = view.backlog.first().filter(|first| first.index.is_some() && first.id.is_some());
    let origin = origin.map(|first| {
        let (index, id) = (first.index.as_deref(), first.id.as_deref());
        format!("urn:graylog:message:es:{}:{}", known(index), known(id))
    });
    let at = |at: Option<Timestamp>| at.map(time);
    json!({
        "id": event_id(notice),
        "event_definition_type": kind,
        "event_definition_id": definition,
        "origin_context": origin,
        "timestamp": time(view.triggered_at),
        "timestamp_processing": time(notice.received),
        "timerange_start": at(alert.start),
        "timerange_end": at(alert.end),
        "streams": [ALL_EVENTS],
        "source_streams": view.stream.id.iter().collect::<Vec<_>>(),
        "message": view.description,
        "source": part("source", json!(CREATOR)),
        "key_tuple": part("key_tuple", tuple),
        "key": key,
        "priority": parameters.get("priority").cloned().unwrap_or_else(|| json!(priority(alert.severity))),
        "scores": {},
        "associated_assets": [],
        "tags": alert.tags,
        "tactics_techniques": [],
        "alert": true,
        "fields": part("fields", json!({})),
        "group_by_fields": part("group_by_fields", json!({})),
        "aggregation_conditions": part("aggregation_conditions", json!({})),
        "replay_info": replay(notice, view),
    })
}

/// The search that led to an event of Graylog, where Graylog has one: of its query nothing is known.
fn replay(notice: &Notice, view: &View) -> Option<Value> {
    let alert = &notice.alert;
    let (start, end) = (alert.start?, alert.end?);
    alert.url.as_deref().filter(|url| url.ends_with("/replay-search"))?;
    Some(json!({
        "timerange_start": time(start), "timerange_end": time(end), "query": "",
        "streams": view.stream.id.iter().collect::<Vec<_>>(), "filters": [],
    }))
}

/// The alert's own id, else that of its record.
fn event_id(notice: &Notice) -> &str {
    let record = notice.record.as_ref().map(|(_, id)| id.as_str());
    known(notice.alert.id.as_deref().or(record))
}

/// Graylog's priorities: 0 info, 1 low, 2 medium, 3 high, 4 critical.
const fn priority(severity: u8) -> u8 {
    match severity {
        0..=20 => 0,
        21..=40 => 1,
        41..=60 => 2,
        61..=80 => 3,
        _ => 4,
    }
}

fn known(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or(UNKNOWN)
}

/// What templates see of the condition, by the names that its Java object has.
#[must_use]
pub fn condition(view: &View) -> Value {
    let condition = &view.condition;
    json!({
        "id": condition.id, "type": condition.kind, "title": condition.title,
        "description": view.condition_description(),
        "grace": view.parameter("grace"), "backlog": view.parameter("backlog"),
        "parameters": condition.parameters,
        "createdAt": condition.created_at, "creatorUserId": condition.creator,
    })
}

/// What templates see as `alert`, but for its record.
#[must_use]
pub fn alert(notice: &Notice) -> Value {
    let Notice { alert, received, .. } = notice;
    let at = |at: Option<Timestamp>| at.map(time);
    let body = match &alert.body {
        Body::Empty => None,
        Body::Text(text) | Body::Json { text, .. } => Some(text),
    };
    json!({
        "id": alert.id.as_deref().or(notice.record.as_ref().map(|(_, id)| id.as_str())),
        "rule": alert.rule.name, "rule_id": alert.rule.id,
        "trigger": alert.trigger.name, "trigger_id": alert.trigger.id,
        "severity": alert.severity, "action": alert.phase.action(),
        "start": at(alert.began.or(alert.start)), "end": at(alert.end), "received": time(*received),
        "source": alert.source.provider(), "tags": alert.tags,
        "message": alert.message, "hits": alert.hits, "error": alert.error, "body": body,
        "url": view::url(alert),
    })
}

/// The address of the Graylog that an alert came from, with `/` at its end; empty for others.
#[must_use]
pub fn external_uri(notice: &Notice) -> String {
    let url = notice.alert.url.as_deref().filter(|_| notice.alert.source == Source::Graylog);
    let origin = url.and_then(|url| url::Url::parse(url).ok()).map(|url| url.origin());
    origin
        .filter(url::Origin::is_tuple)
        .map_or_else(String::new, |origin| format!("{}/", origin.ascii_serialization()))
}

#[cfg(test)]
mod tests;
