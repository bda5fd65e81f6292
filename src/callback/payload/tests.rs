use serde_json::json;

use super::*;
use crate::{
    alert::occasion::{Condition, Occasion, Stream},
    callback::sample::{bare, sample},
};

/// The shape of the example in Graylog's documentation: its keys, and values of its types.
fn example() -> Value {
    json!({
        "check_result": {
            "result_description": "Stream had 3 messages in the last 2 minutes with trigger condition more than 2 messages. (Current grace time: 4 minutes)",
            "triggered_condition": {
                "id": "0a1b2c3d-0000-4000-8000-000000000001",
                "type": "MESSAGE_COUNT",
                "created_at": "2026-01-02T03:04:05.006Z",
                "creator_user_id": "operator",
                "grace": 4,
                "parameters": {"grace": 4, "threshold": 2, "threshold_type": "more", "backlog": 5, "time": 2},
                "description": "time: 2, threshold_type: more, threshold: 2, grace: 4",
                "type_string": "MESSAGE_COUNT",
                "backlog": 5
            },
            "triggered_at": "2026-01-02T03:06:07.008Z",
            "triggered": true,
            "matching_messages": [{
                "index": "graylog2_7",
                "message": "WARN: something",
                "fields": {"gl2_remote_ip": "192.0.2.1", "gl2_remote_port": 56498},
                "id": "c4d7e2a0-91b3-11f1-8f0c-0242ac120007",
                "stream_ids": ["6a1f20c4be01d2331c8e7b10"],
                "source": "192.0.2.1",
                "timestamp": "2026-01-02T03:05:49.284Z"
            }]
        },
        "stream": {
            "creator_user_id": "operator",
            "outputs": [],
            "matching_type": "AND",
            "description": "some stream",
            "created_at": "2026-01-01T00:00:00.000Z",
            "disabled": false,
            "rules": [{"field": "gl2_source_input", "stream_id": "6a1f20c4be01d2331c8e7b10",
                "id": "6a1f20d9be01d2331c8e7b2a", "type": 1, "inverted": false, "value": "6a1f20a1be01d2331c8e7b03"}],
            "alert_conditions": [{
                "creator_user_id": "operator",
                "created_at": "2026-01-02T03:04:05.006Z",
                "id": "0a1b2c3d-0000-4000-8000-000000000001",
                "type": "message_count",
                "parameters": {"grace": 4, "threshold": 2, "threshold_type": "more", "backlog": 5, "time": 2}
            }],
            "id": "6a1f20c4be01d2331c8e7b10",
            "title": "some",
            "content_pack": null
        }
    })
}

/// What an intake makes of the example: its alert, without what can be made again.
fn read(example: &Value) -> Notice {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (result, stream) = (&example["check_result"], &example["stream"]);
    let condition = &result["triggered_condition"];
    let message = &result["matching_messages"][0];
    let mut rest = object(stream);
    rest.retain(|key, _| {
        !["id", "title", "description", "alert_conditions"].contains(&key.as_str())
    });
    let occasion = Occasion {
        condition: Condition {
            id: text(&condition["id"]),
            kind: Some("message_count".to_owned()),
            title: None,
            description: text(&condition["description"]),
            created_at: text(&condition["created_at"]),
            creator: text(&condition["creator_user_id"]),
            parameters: object(&condition["parameters"]),
        },
        stream: Stream {
            id: text(&stream["id"]),
            title: text(&stream["title"]),
            description: text(&stream["description"]),
            rest,
        },
        triggered_at: result["triggered_at"].as_str().and_then(|at| at.parse().ok()),
        description: text(&result["result_description"]),
        backlog: vec![Message {
            index: text(&message["index"]),
            id: text(&message["id"]),
            message: text(&message["message"]),
            source: text(&message["source"]),
            timestamp: text(&message["timestamp"]),
            stream_ids: vec!["6a1f20c4be01d2331c8e7b10".to_owned()],
            fields: object(&message["fields"]),
        }],
    };
    let mut notice = bare();
    notice.alert.occasion = Some(Box::new(occasion));
    notice
}

/// Path and type of everything in a JSON value.
fn shape(value: &Value, path: &str, into: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    into.push(format!("{path}: {kind}"));
    match value {
        Value::Array(list) => {
            for item in list {
                shape(item, &format!("{path}[]"), into);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                shape(item, &format!("{path}.{key}"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn what_graylog_sent_is_sent_again_as_it_was() {
    let example = example();
    assert_eq!(graylog(&read(&example)), example);
}

#[test]
fn what_a_newer_graylog_sent_gets_no_older_keys() {
    let mut notice = read(&example());
    notice.alert.source = Source::Graylog;
    if let Some(occasion) = &mut notice.alert.occasion {
        occasion.condition.title = Some("Many".to_owned());
        occasion.condition.description = None;
    }
    let body = graylog(&notice);
    let condition = body["check_result"]["triggered_condition"].as_object().unwrap();
    let keys: Vec<&str> = condition.keys().map(String::as_str).collect();
    assert_eq!(keys, ["created_at", "creator_user_id", "id", "parameters", "title", "type"]);
    assert_eq!(condition["type"], "message_count");
}

#[test]
fn every_alert_has_the_keys_and_types_of_the_example() {
    let (mut want, mut lists) = (Vec::new(), example());
    shape(&lists, "", &mut want);
    want.retain(|path| {
        !path.contains(".fields.") && !path.contains(".rules[]") && !path.contains(".parameters.")
    });
    for notice in [bare(), sample()] {
        let mut got = Vec::new();
        shape(&graylog(&notice), "", &mut got);
        for path in want.iter().filter(|path| !path.contains("matching_messages[]")) {
            assert!(got.contains(path), "{path} of {got:#?}");
        }
    }
    lists = graylog(&sample());
    let mut got = Vec::new();
    shape(&lists, "", &mut got);
    assert!(want.iter().all(|path| got.contains(path)), "{got:#?}");
    assert_eq!(lists["check_result"]["triggered_condition"]["title"], "Too many errors");
}

#[test]
fn an_alert_of_opensearch_is_told_in_graylogs_words() {
    let mut notice = bare();
    let named = |id: &str, name: &str| crate::alert::Named {
        id: Some(id.to_owned()),
        name: Some(name.to_owned()),
    };
    notice.alert.rule = named("M", "Beacons");
    notice.alert.trigger = named("T", "over 9");
    notice.alert.hits = Some(12);
    let body = graylog(&notice);
    assert_eq!(body["stream"]["title"], "Beacons");
    assert_eq!(body["stream"]["id"], "M");
    assert_eq!(body["check_result"]["triggered_condition"]["id"], "T");
    assert_eq!(body["check_result"]["result_description"], "over 9 (12 hits)");
    assert_eq!(body["check_result"]["triggered_at"], "2026-11-07T08:00:00.000Z");
}

#[test]
fn an_event_has_all_that_graylogs_has() {
    const TOP: [&str; 9] = [
        "event_definition_id",
        "event_definition_type",
        "event_definition_title",
        "event_definition_description",
        "remediation_steps",
        "job_definition_id",
        "job_trigger_id",
        "event",
        "backlog",
    ];
    const EVENT: [&str; 24] = [
        "id",
        "event_definition_type",
        "event_definition_id",
        "origin_context",
        "timestamp",
        "timestamp_processing",
        "timerange_start",
        "timerange_end",
        "streams",
        "source_streams",
        "message",
        "source",
        "key_tuple",
        "key",
        "priority",
        "scores",
        "associated_assets",
        "tags",
        "tactics_techniques",
        "alert",
        "fields",
        "group_by_fields",
        "aggregation_conditions",
        "replay_info",
    ];
    for notice in [bare(), sample()] {
        let body = event(&notice);
        let keys = |value: &Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(keys(&body), sorted(&TOP));
        assert_eq!(keys(&body["event"]), sorted(&EVENT));
        for text in ["id", "message", "source", "timestamp", "event_definition_id"] {
            assert!(body["event"][text].is_string(), "{text}");
        }
    }
    let body = event(&sample());
    assert_eq!(body["event"]["id"], "alertloop-sample");
    assert_eq!(body["event"]["priority"], 2);
    assert_eq!(
        body["event"]["origin_context"],
        "urn:graylog:message:es:graylog_7:c4d7e2a0-91b3-11f1-8f0c-000000000001"
    );
}

#[test]
fn an_event_that_graylog_can_replay_stays_one() {
    let mut notice = sample();
    assert_eq!(event(&notice)["event"]["replay_info"], Value::Null);
    notice.alert.url = Some("https://graylog.example/alerts/1/replay-search".to_owned());
    let info = &event(&notice)["event"]["replay_info"];
    assert_eq!(info["timerange_start"], "2026-11-07T07:59:00.000Z");
    assert_eq!(info["streams"], json!(["6a1f20c4be01d2331c8e7b10"]));
}

#[test]
fn priorities_are_the_other_way_round_of_severities() {
    for (severity, want) in [(0, 0), (20, 0), (40, 1), (60, 2), (80, 3), (100, 4)] {
        assert_eq!(priority(severity), want, "{severity}");
    }
}
