//! What the messages of our own conditions have more than those of other monitors:
//!
//! ```json
//! {"condition": {"id": "…", "type": "message_count", "title": "…", "parameters": {}, "tags": []},
//!  "stream": {"id": "…", "title": "…", "time_field": "firstPacket", "query": "…"},
//!  "result_description": "Stream had 2 messages …", "values": ["2"],
//!  "backlog": [[{"_index": "…", "_id": "…", "_source": {}}]]}
//! ```
//! `backlog` has the hits of each search of the monitor, which has one; `values` are the numbers in
//! the description as the store writes them. Source: `condition::message`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::lenient::time_in_text;
use crate::alert::{
    Alert,
    crossing::Crossing,
    occasion::{Condition, Message, Occasion, Stream},
};

/// The most messages that are kept.
const MOST: usize = 500;
/// The most bytes of a text that is made up for a message without one.
const SUMMARY: usize = 500;
/// Where the text of a message stands, the best first.
const TEXTS: [&str; 5] =
    ["message", "event.original", "event.reason", "rule.name", "network.community_id"];
/// Where a message came from, the best first.
const SOURCES: [&str; 6] = ["source", "host.name", "host", "source.ip", "observer.name", "node"];

/// Puts in what a message of one of our conditions tells; others tell nothing of it.
pub fn complete(alert: &mut Alert, part: &Map<String, Value>) {
    let Some(condition) = part.get("condition").and_then(Value::as_object) else { return };
    let stream = part.get("stream").and_then(Value::as_object);
    let time_field = stream.and_then(|stream| text(stream, "time_field"));
    let time_field = time_field.as_deref().unwrap_or("@timestamp");
    let stream = stream.map(read_stream).unwrap_or_default();
    let searches = part.get("backlog").and_then(Value::as_array).into_iter().flatten();
    let hits = searches.filter_map(Value::as_array).flatten();
    let stream_ids: Vec<String> = stream.id.iter().cloned().collect();
    let backlog = hits.take(MOST).filter_map(|hit| message(hit, time_field, &stream_ids)).collect();
    let description = match &alert.error {
        Some(error) => Some(format!("the condition could not be looked at: {error}")),
        None => described(part),
    };
    for tag in condition.get("tags").and_then(Value::as_array).into_iter().flatten() {
        if let Some(tag) = tag.as_str() {
            alert.tag(tag.to_owned());
        }
    }
    alert.start = window(condition, alert.end).or(alert.start);
    alert.message.clone_from(&description);
    alert.occasion = Some(Box::new(Occasion {
        condition: read_condition(condition),
        stream,
        triggered_at: alert.end,
        description,
        backlog,
    }));
}

/// The begin of the messages that a condition looked at. The monitor's own period is that of its
/// schedule, which may be a weekend long.
pub fn window(condition: &Map<String, Value>, end: Option<Timestamp>) -> Option<Timestamp> {
    let parameters = condition.get("parameters")?;
    // A threshold is looked at some time after its window.
    let delay = parameters.get("delay").and_then(Value::as_i64).unwrap_or(0);
    let minutes = parameters.get("time")?.as_i64()?.checked_add(delay)?;
    end?.checked_sub(SignedDuration::try_from_mins(minutes)?).ok()
}

/// The occasion of one group: its keys stand before the description.
pub fn of_group(alert: &mut Alert, group: &Map<String, Value>) {
    let Some(occasion) = alert.occasion.as_mut() else { return };
    if let Some(keys) = group.get("bucket_keys").and_then(Value::as_str) {
        let is_threshold = occasion.condition.kind.as_deref() == Some("threshold_cross");
        let crossing = Crossing::read(&occasion.condition.parameters).filter(|_| is_threshold);
        if let Some(crossing) = crossing {
            // By how much, only the Alerting API tells.
            return crossing.tell(alert, keys, None);
        }
        let description = occasion.description.take().unwrap_or_default();
        occasion.description = Some(format!("{keys}: {description}"));
        alert.message.clone_from(&occasion.description);
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn read_condition(condition: &Map<String, Value>) -> Condition {
    Condition {
        id: text(condition, "id"),
        kind: text(condition, "type"),
        title: text(condition, "title"),
        description: text(condition, "description"),
        created_at: text(condition, "created_at"),
        creator: text(condition, "creator_user_id"),
        parameters: condition
            .get("parameters")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    }
}

fn read_stream(stream: &Map<String, Value>) -> Stream {
    let own = ["id", "title", "description"];
    let rest = stream.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    Stream {
        id: text(stream, "id"),
        title: text(stream, "title"),
        description: text(stream, "description"),
        rest: rest.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

/// The description, with its numbers as Graylog rounds them: `12.333333333333334` is `12.333`.
fn described(part: &Map<String, Value>) -> Option<String> {
    let whole = text(part, "result_description")?;
    let values = part.get("values").and_then(Value::as_array).into_iter().flatten();
    let (mut done, mut rest) = (String::new(), whole.as_str());
    for value in values.filter_map(Value::as_str).filter(|value| !value.is_empty()) {
        let marks = [format!(" of {value}"), format!(" = {value}"), format!(" had {value}")];
        let found = marks.iter().filter_map(|mark| Some((rest.find(mark)?, mark.len())));
        let Some((at, length)) = found.min() else { continue };
        done.push_str(&rest[..at + length - value.len()]);
        done.push_str(&rounded(value));
        rest = &rest[at + length..];
    }
    Some(done + rest)
}

/// At most three decimals, and none that are 0.
fn rounded(number: &str) -> String {
    let Ok(parsed) = number.parse::<f64>() else { return number.to_owned() };
    let text = format!("{parsed:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One hit of a search as a message.
fn message(hit: &Value, time_field: &str, stream_ids: &[String]) -> Option<Message> {
    let hit = hit.as_object()?;
    let fields = hit.get("_source").and_then(Value::as_object).cloned().unwrap_or_default();
    let found = |names: &[&str]| names.iter().find_map(|name| scalar(at(&fields, name)?));
    let timestamp = at(&fields, time_field).and_then(time);
    Some(Message {
        index: text(hit, "_index"),
        id: text(hit, "_id"),
        message: found(&TEXTS).or_else(|| summary(&fields)),
        source: found(&SOURCES),
        timestamp,
        stream_ids: stream_ids.to_vec(),
        fields,
    })
}

/// A field by its dotted path, whether it is written as one key or as objects.
fn at<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(path) {
        return Some(value);
    }
    let splits = path.match_indices('.').map(|(at, _)| path.split_at(at));
    splits.into_iter().find_map(|(head, tail)| at(fields.get(head)?.as_object()?, &tail[1..]))
}

/// A text or a number, or the first of a list of them.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(list) => scalar(list.first()?),
        _ => None,
    }
}

/// RFC 3339 in UTC, where it is a time at all.
fn time(value: &Value) -> Option<String> {
    let shown = scalar(value)?;
    let parsed: Option<Timestamp> = time_in_text(&shown);
    Some(parsed.map_or(shown, |at| format!("{at:.3}")))
}

/// What stands for the text of a session that has none: who talked to whom, or all of it, cut.
fn summary(fields: &Map<String, Value>) -> Option<String> {
    let of = |path: &str| at(fields, path).and_then(scalar);
    let end = |side: &str| {
        let ip = of(&format!("{side}.ip"))?;
        Some(of(&format!("{side}.port")).map_or(ip.clone(), |port| format!("{ip} port {port}")))
    };
    let pair = match (end("source"), end("destination")) {
        (Some(from), Some(to)) => Some(format!("{from} to {to}")),
        (one, other) => one.or(other),
    };
    if let Some(pair) = pair {
        let what = of("event.dataset").or_else(|| of("network.protocol"));
        return Some(what.map_or(pair.clone(), |what| format!("{what}: {pair}")));
    }
    if fields.is_empty() {
        return None;
    }
    let mut all = Value::Object(fields.clone()).to_string();
    all.truncate(all.floor_char_boundary(SUMMARY));
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::Source;

    fn completed(part: &Value) -> Alert {
        let mut alert = Alert::of(Source::OpenSearch);
        complete(&mut alert, part.as_object().unwrap());
        alert
    }

    #[test]
    fn a_message_without_a_condition_changes_nothing() {
        for part in [json!({}), json!({"condition": "x"}), json!({"backlog": [[{}]]})] {
            assert_eq!(completed(&part), Alert::of(Source::OpenSearch));
        }
    }

    #[test]
    fn numbers_are_rounded_where_the_description_has_them() {
        for (text, values, want) in [
            (
                "Field a had a MEAN of 12.333333333333334 in 5",
                json!(["12.333333333333334"]),
                "Field a had a MEAN of 12.333 in 5",
            ),
            (
                "Field a had a MEAN of 5.0 in the last 5.0",
                json!(["5.0"]),
                "Field a had a MEAN of 5 in the last 5.0",
            ),
            ("Stream had 2 messages", json!(["2"]), "Stream had 2 messages"),
            (
                "x: count() = 12, mean(b) = 0.12345",
                json!(["12", "0.12345"]),
                "x: count() = 12, mean(b) = 0.123",
            ),
            ("x: mean(b) = 1.5E10 it", json!(["1.5E10"]), "x: mean(b) = 15000000000 it"),
            ("x: mean(b) = null", json!(["", 3]), "x: mean(b) = null"),
            ("nothing", json!(["1"]), "nothing"),
        ] {
            let alert =
                completed(&json!({"condition": {}, "result_description": text, "values": values}));
            assert_eq!(alert.message.as_deref(), Some(want));
        }
    }

    #[test]
    fn hits_become_messages_whatever_they_hold() {
        let source = json!({"firstPacket": 1_794_038_400_123_i64, "source": {"ip": "10.0.0.1", "port": 1},
            "destination": {"ip": "10.0.0.2"}, "event": {"dataset": "conn"}});
        let hits = json!([[
            {"_index": "i", "_id": "a", "_source": source},
            {"_index": "i", "_id": "b", "_source": {"message": "hello", "host.name": "h", "firstPacket": "2026-11-06T05:00:00Z"}},
            {"_id": "c", "_source": {"odd": "x".repeat(1000)}},
            {"_id": "d"}, 7
        ]]);
        let alert =
            completed(&json!({"condition": {"id": "c", "type": "message_count", "tags": ["t", 1]},
            "stream": {"id": "s", "title": "S", "time_field": "firstPacket"}, "backlog": hits}));
        let occasion = alert.occasion.unwrap();
        let seen: Vec<_> = occasion
            .backlog
            .iter()
            .map(|one| (one.id.as_deref(), one.source.as_deref(), one.timestamp.as_deref()))
            .collect();
        let want = [
            (Some("a"), Some("10.0.0.1"), Some("2026-11-07T08:00:00.123Z")),
            (Some("b"), Some("h"), Some("2026-11-06T05:00:00.000Z")),
            (Some("c"), None, None),
            (Some("d"), None, None),
        ];
        assert_eq!(seen, want);
        assert_eq!(
            occasion.backlog[0].message.as_deref(),
            Some("conn: 10.0.0.1 port 1 to 10.0.0.2")
        );
        assert_eq!(occasion.backlog[1].message.as_deref(), Some("hello"));
        assert!(occasion.backlog[2].message.as_ref().is_some_and(|text| text.len() == SUMMARY));
        assert_eq!(occasion.backlog[0].stream_ids, ["s"]);
        assert_eq!(
            (alert.tags, occasion.stream.rest["time_field"].as_str()),
            (vec!["t".into()], Some("firstPacket"))
        );
    }

    #[test]
    fn a_backlog_is_bounded() {
        let hits = vec![json!({"_id": "a"}); MOST + 1];
        let alert = completed(&json!({"condition": {}, "backlog": [hits]}));
        assert_eq!(alert.occasion.unwrap().backlog.len(), MOST);
    }

    #[test]
    fn the_period_is_the_one_that_the_condition_looks_at() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        for (condition, want) in [
            (json!({"parameters": {"time": 5}}), "2026-11-06T05:00:00Z"),
            (json!({"parameters": {"time": 5, "delay": 2}}), "2026-11-06T04:58:00Z"),
            (json!({"parameters": {"time": i64::MAX}}), "2026-11-03T00:00:00Z"),
            (json!({"parameters": {"time": i64::MAX, "delay": 1}}), "2026-11-03T00:00:00Z"),
            (json!({"parameters": {"time": "x"}}), "2026-11-03T00:00:00Z"),
            (json!({}), "2026-11-03T00:00:00Z"),
        ] {
            let body = json!({"alert": {"condition": condition, "monitor": {"id": "m"},
                "period": {"start": "2026-11-03T00:00:00Z", "end": "2026-11-06T05:05:00Z"}}});
            let body = body.to_string();
            let plain = super::super::plain::read(body.as_bytes()).unwrap().remove(0);
            let named = super::super::plain::read_name(body.as_bytes()).unwrap();
            let slow = super::super::decode_json(body.as_bytes(), None, usize::MAX.into())
                .unwrap()
                .remove(0)
                .unwrap();
            assert_eq!((plain.start, named.start), (at(want), at(want)), "{body}");
            assert_eq!(plain, slow);
        }
    }

    #[test]
    fn a_failure_is_told_in_the_place_of_what_was_found() {
        let mut alert = Alert { error: Some("no index".into()), ..Alert::of(Source::OpenSearch) };
        let part = json!({"condition": {}, "result_description": "Stream had  messages"});
        complete(&mut alert, part.as_object().unwrap());
        assert_eq!(
            alert.message.as_deref(),
            Some("the condition could not be looked at: no index")
        );
    }
}
