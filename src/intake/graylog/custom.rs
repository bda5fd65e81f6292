//! What a user's own template makes of an event: the names that are likely, in place of Graylog's.
//! Only what Graylog's names leave open is filled in.

use serde_json::{Map, Value};

/// Graylog's name of a part of the event, and what else it may be called: small letters and digits
/// alone are compared.
const OF_THE_EVENT: [(&str, &[&str]); 12] = [
    ("id", &["eventid", "id", "alertid"]),
    ("message", &["message", "msg", "text", "summary", "reason", "resultdescription", "body"]),
    ("timestamp", &["timestamp", "time", "date", "datetime", "triggeredat", "eventtime"]),
    ("timerange_start", &["timerangestart", "start", "from", "begin"]),
    ("timerange_end", &["timerangeend", "end", "to"]),
    ("priority", &["priority", "severity", "level", "urgency"]),
    ("source", &["source", "node"]),
    ("key", &["key", "eventkey"]),
    ("source_streams", &["sourcestreams", "streamid", "streams", "stream"]),
    ("tags", &["tags"]),
    ("fields", &["fields"]),
    ("group_by_fields", &["groupbyfields", "groupby"]),
];
/// The same of what stands beside the event.
const BESIDE_IT: [(&str, &[&str]); 6] = [
    ("event_definition_id", &["eventdefinitionid", "definitionid", "ruleid", "conditionid"]),
    (
        "event_definition_title",
        &["eventdefinitiontitle", "title", "rule", "rulename", "alertname", "name", "subject"],
    ),
    ("event_definition_type", &["eventdefinitiontype", "type"]),
    ("event_definition_description", &["eventdefinitiondescription", "description"]),
    ("backlog", &["backlog", "messages", "matchingmessages"]),
    ("url", &["url", "link"]),
];

/// Gives the parts of an event Graylog's names.
pub fn name(top: &mut Map<String, Value>, event: &mut Map<String, Value>) {
    for (name, others) in OF_THE_EVENT {
        if !says(event.get(name))
            && let Some(value) = find(top, others)
        {
            event.insert(name.to_owned(), value);
        }
    }
    for (name, others) in BESIDE_IT {
        if !says(top.get(name))
            && let Some(value) = find(top, others)
        {
            top.insert(name.to_owned(), value);
        }
    }
}

fn find(top: &mut Map<String, Value>, others: &[&str]) -> Option<Value> {
    let key = others.iter().find_map(|other| {
        top.iter().find(|(key, value)| says(Some(value)) && plain(key) == *other)
    });
    let key = key.map(|(key, _)| key.clone())?;
    top.remove(&key)
}

fn says(value: Option<&Value>) -> bool {
    !matches!(value, None | Some(Value::Null))
        && value.and_then(Value::as_str).is_none_or(|text| !text.trim().is_empty())
}

fn plain(key: &str) -> String {
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn likely_names_become_graylogs_and_graylogs_own_stay() {
        let (mut top, mut event) = (
            json!({"Title": "Disk full", "Event-Id": "E1", "severity": "high", "Time": "t", "message": "beside",
                   "type": "", "url": "https://graylog.example/", "other": 1}),
            json!({"message": "own", "priority": null}),
        );
        name(top.as_object_mut().unwrap(), event.as_object_mut().unwrap());
        assert_eq!(
            event,
            json!({"id": "E1", "message": "own", "priority": "high", "timestamp": "t"})
        );
        assert_eq!(
            top,
            json!({"event_definition_title": "Disk full", "message": "beside", "type": "",
                   "url": "https://graylog.example/", "other": 1})
        );
    }
}
