//! An event of Graylog 3.1 and later, as its HTTP notifications send it.
//!
//! ```json
//! {"event_definition_id": "…", "event_definition_type": "aggregation-v1",
//!  "event_definition_title": "…", "event_definition_description": "…", "remediation_steps": "…",
//!  "event": {"id": "ULID", "timestamp": "RFC 3339", "timerange_start": null, "timerange_end": null,
//!            "source_streams": ["…"], "message": "…", "source": "node", "key": null, "priority": 2,
//!            "tags": [], "fields": {}, "group_by_fields": {}, "aggregation_conditions": {},
//!            "replay_info": null},
//!  "backlog": [{"id": "…", "message": "…"}]}
//! ```

use serde_json::{Map, Value};

use super::{
    custom, form, groups, known, link, messages, priority, summary, take_object, take_texts,
};
use crate::{
    alert::{
        Alert, Named, Phase, Source, UNKNOWN_SEVERITY,
        bucket::Bucket,
        occasion::{Condition, Occasion, Stream},
    },
    intake::{Undecodable, lenient::Lenient},
};

/// Where the messages are.
const BACKLOG: &str = "backlog";
/// Parts of the event that callbacks and records may want, beside those that have a place.
const PARAMETERS: [&str; 7] = [
    "fields",
    "group_by_fields",
    "aggregation_conditions",
    "key",
    "key_tuple",
    "priority",
    "source",
];
/// How many tags are taken over.
const MOST_TAGS: usize = 50;

/// Reads an event.
///
/// # Errors
/// [`Undecodable`] where it has neither an id nor a title nor a message.
pub fn decode(mut top: Map<String, Value>, read: &mut Lenient) -> Result<Alert, Undecodable> {
    let keys: Vec<String> = top.keys().take(5).cloned().collect();
    form::gather(&mut top);
    let mut event = take_object(&mut top, "event", read);
    custom::name(&mut top, &mut event);
    let backlog = top.remove(BACKLOG);
    let head = summary::Head::of(&top, "event", &event);
    let backlog = messages::read(backlog, read);
    let mut condition = definition(&top, &event, read);
    let id = known(read.text(event.get("id")));
    let message = known(read.text(event.get("message")));
    if id.is_none() && condition.title.is_none() && message.is_none() {
        let keys = keys.join(", ");
        let what = "no id, title or message of an event in it";
        return Err(Undecodable(format!("{what} (keys: {keys}); docs/graylog.md has a template")));
    }
    let at = read.time(event.get("timestamp"));
    let stream = stream(&mut event, read);
    let group = known(read.text(event.get("key")));
    let mut alert = Alert {
        id,
        rule: Named {
            id: condition.id.clone(),
            name: condition.title.clone().or_else(|| condition.kind.clone()),
        },
        // What fired in the definition: the group, else where it looked.
        trigger: Named { id: group.or_else(|| stream.clone()), name: message.clone() },
        start: read.time(event.get("timerange_start")).or(at),
        end: read.time(event.get("timerange_end")).or(at),
        severity: severity(event.get("priority"), read),
        phase: Phase::Stored,
        message: message.clone(),
        original: Some(head.text(BACKLOG, &backlog)),
        ..Alert::of(Source::Graylog)
    };
    for tag in take_texts(&mut event, "tags", read).into_iter().take(MOST_TAGS) {
        alert.tag(tag);
    }
    alert.url = Some(url(&alert, &top, &event, stream.as_deref()));
    condition.parameters = parameters(&mut event, read);
    alert.hits = hits(&condition.parameters, message.as_deref());
    let grouped = condition.parameters.get("group_by_fields").and_then(Value::as_object);
    alert.bucket = grouped.map(groups::named).as_ref().and_then(Bucket::of_groups);
    alert.occasion = Some(Box::new(Occasion {
        condition,
        stream: Stream { id: stream, ..Stream::default() },
        triggered_at: at.or(alert.end),
        description: message,
        backlog,
    }));
    Ok(alert)
}

/// The event definition, which the event itself names too.
fn definition(
    top: &Map<String, Value>,
    event: &Map<String, Value>,
    read: &mut Lenient,
) -> Condition {
    let mut text =
        |key: &str| known(read.text(top.get(key))).or_else(|| known(read.text(event.get(key))));
    Condition {
        id: text("event_definition_id"),
        kind: text("event_definition_type").map(|kind| kind.to_ascii_lowercase()),
        title: text("event_definition_title"),
        description: text("event_definition_description"),
        ..Condition::default()
    }
}

fn severity(told: Option<&Value>, read: &mut Lenient) -> u8 {
    let Some(told) = told.filter(|told| !summary::is_empty(told)) else { return UNKNOWN_SEVERITY };
    priority::severity(told).unwrap_or_else(|| {
        read.wrong = true;
        UNKNOWN_SEVERITY
    })
}

/// Where it looked: the first of its source's streams, else of those that it went into.
fn stream(event: &mut Map<String, Value>, read: &mut Lenient) -> Option<String> {
    let sources = take_texts(event, "source_streams", read);
    let streams = take_texts(event, "streams", read);
    sources.into_iter().chain(streams).next()
}

/// What a template says, else the search that led to it, as a path below Graylog's address.
fn url(
    alert: &Alert,
    top: &Map<String, Value>,
    event: &Map<String, Value>,
    stream: Option<&str>,
) -> String {
    let told = top.get("url").and_then(Value::as_str);
    if let Some(told) = told.filter(|url| url.starts_with("https://") || url.starts_with("http://"))
    {
        return told.to_owned();
    }
    let can_be_replayed = event.get("replay_info").is_some_and(|info| !info.is_null());
    let replay = alert.id.as_deref().filter(|_| can_be_replayed).and_then(link::replay);
    let of_stream = || link::stream(stream?, alert.start, alert.end);
    replay.or_else(of_stream).unwrap_or_else(|| link::ALERTS.to_owned())
}

fn parameters(event: &mut Map<String, Value>, read: &mut Lenient) -> Map<String, Value> {
    let mut parameters = Map::new();
    for name in PARAMETERS {
        let value = match name {
            "fields" | "group_by_fields" | "aggregation_conditions" => {
                Value::Object(take_object(event, name, read))
            }
            "key_tuple" => take_texts(event, name, read).into(),
            _ => event.remove(name).unwrap_or_default(),
        };
        if !summary::is_empty(&value) {
            parameters.insert(name.to_owned(), value);
        }
    }
    parameters
}

/// How many messages it is about, where the definition counts them: `count()`, in the conditions
/// (since Graylog 5) or in the message that Graylog makes of them.
fn hits(parameters: &Map<String, Value>, message: Option<&str>) -> Option<i64> {
    const COUNT: &str = "count()";
    let told = parameters.get("aggregation_conditions").and_then(|told| told.get(COUNT));
    let number = match told {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => {
            let (_, rest) = message?.split_once("count()=")?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            rest[..end].parse().ok()
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within")]
    number.filter(|n: &f64| (0.0..=1e15).contains(n)).map(|n| n as i64)
}
