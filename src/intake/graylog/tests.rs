use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::{
    alert::{Phase, Source},
    intake::{Encoding, Envelope, decode as decode_envelope, is_test_post},
};

/// The example of Graylog's documentation.
const LEGACY: &str = include_str!("../../../tests/graylog/callback.json");

fn event() -> Value {
    json!({
        "event_definition_id": "66f0", "event_definition_type": "aggregation-v1",
        "event_definition_title": "Denies by source", "event_definition_description": "many",
        "remediation_steps": "", "job_definition_id": "<unknown>", "job_trigger_id": "<unknown>",
        "event": {
            "id": "01KA40B6R8S0T2V4W6X8Y0Z1A3", "event_definition_type": "aggregation-v1",
            "event_definition_id": "66f0", "origin_context": null,
            "timestamp": "2026-11-04T10:00:00.000Z", "timestamp_processing": "2026-11-04T10:00:01.000Z",
            "timerange_start": "2026-11-04T09:55:00.000Z", "timerange_end": "2026-11-04T09:59:00.000Z",
            "streams": ["000000000000000000000002"], "source_streams": ["5a0c"],
            "message": "Many denies: count()=118.0", "source": "graylog-1.lan",
            "key_tuple": ["10.3.0.9"], "key": "10.3.0.9", "priority": 3, "scores": {},
            "tags": ["perimeter"], "alert": true, "fields": {"src": "10.3.0.9"},
            "group_by_fields": {"src": "10.3.0.9"}, "aggregation_conditions": {"count()": 119.0},
            "replay_info": {"query": "action:deny"}
        },
        "backlog": [{"index": "graylog_41", "id": "m1", "source": "fw-1", "message": "DENY", "fields": {},
                     "stream_ids": ["5a0c"], "timestamp": "2026-11-04T09:55:01.000Z"}]
    })
}

fn decoded(source: Option<Source>, body: &str) -> Vec<Result<Alert, Undecodable>> {
    let envelope = Envelope {
        source,
        received: jiff::Timestamp::UNIX_EPOCH,
        content_type: String::new(),
        encoding: Encoding::Identity,
        body: body.as_bytes().to_vec(),
    };
    decode_envelope(&envelope, 1 << 20).unwrap_or_else(|fault| vec![Err(fault)])
}

fn alert(body: &str) -> Alert {
    let mut alerts = decoded(Some(Source::Graylog), body);
    assert_eq!(alerts.len(), 1);
    alerts.remove(0).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

fn reason(source: Option<Source>, body: &str) -> String {
    match decoded(source, body).remove(0) {
        Err(Undecodable(reason)) => reason,
        Ok(alert) => panic!("{body}: {alert:?}"),
    }
}

fn at(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

#[test]
fn the_documentations_callback_is_read_whole() {
    let alert = alert(LEGACY);
    assert_eq!(
        (alert.source, alert.phase, alert.id.as_deref()),
        (Source::Graylog, Phase::Stored, None)
    );
    assert_eq!(alert.rule.id.as_deref(), Some("3c0e1b52-77d4-4f0a-9a65-1d2f84c6b7e9"));
    assert_eq!(alert.rule.name.as_deref(), Some("MESSAGE_COUNT"), "there was no title then");
    assert_eq!(alert.trigger.id.as_deref(), Some("6a1f20c4be01d2331c8e7b10"));
    assert!(alert.trigger.name.as_deref().is_some_and(|text| text.starts_with("Stream had 2")));
    assert_eq!(alert.message, alert.trigger.name);
    assert_eq!(
        (alert.start, alert.end),
        (at("2015-09-10T09:44:54.749Z"), at("2015-09-10T09:45:54.749Z"))
    );
    assert_eq!((alert.severity, alert.hits, alert.tags.len()), (40, Some(2), 0));
    assert_eq!(
        alert.url.as_deref(),
        Some(
            "streams/6a1f20c4be01d2331c8e7b10/search?rangetype=absolute&from=2015-09-10T09:44:54.749Z&to=2015-09-10T09:45:54.749Z&q=*"
        )
    );
    let occasion = alert.occasion.unwrap();
    let condition = &occasion.condition;
    assert_eq!(condition.kind.as_deref(), Some("message_count"));
    assert_eq!(condition.creator.as_deref(), Some("admin"));
    assert_eq!(condition.created_at.as_deref(), Some("2015-09-10T09:44:10.552Z"));
    assert_eq!(condition.parameters["threshold_type"], "more");
    assert!(condition.description.as_deref().is_some_and(|text| text.starts_with("time: 1")));
    assert_eq!(occasion.stream.title.as_deref(), Some("test"));
    assert_eq!(occasion.stream.rest["rules"][0]["type"], 1);
    assert_eq!(occasion.triggered_at, alert.end);
    assert_eq!(occasion.backlog[0].fields["gl2_remote_port"], 56_498);
    let kept: Value = serde_json::from_str(&alert.original.unwrap()).unwrap();
    assert_eq!(
        kept["matching_messages"]["ids"],
        json!(["c4d7e2a0-91b3-11f1-8f0c-0242ac120007", "c1a90b36-91b3-11f1-8f0c-0242ac120007"])
    );
    assert_eq!(kept["matching_messages"]["first"]["message"], "WARN: the queue is nearly full");
    assert_eq!(kept["check_result"]["triggered_condition"]["parameters"]["backlog"], 5);
}

#[test]
fn a_callback_lacks_what_its_version_lacks() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body: Value = serde_json::from_str(LEGACY).unwrap();
        change(&mut body);
        alert(&body.to_string())
    };
    let newer = with(&|body| {
        let condition = &mut body["check_result"]["triggered_condition"];
        condition["title"] = json!("Errors");
        condition["type"] = json!("field_content_value");
        condition["parameters"] = json!({"field": "type", "value": "security"});
        body["check_result"]["matching_messages"] = json!([]);
    });
    assert_eq!(newer.rule.name.as_deref(), Some("Errors"));
    assert_eq!((newer.start, newer.tags.len()), (newer.end, 0), "its type has no period");
    let occasion = newer.occasion.unwrap();
    assert_eq!(occasion.condition.parameters["backlog"], 5, "from beside the parameters");
    assert!(occasion.backlog.is_empty());

    let missing = with(&|body| body["stream"]["id"] = json!("5400deadbeefdeadbeefaffe"));
    assert_eq!(missing.url.as_deref(), Some("alerts"), "that stream is not there");
    let none = with(&|body| body["stream"] = json!(null));
    assert_eq!((none.url.as_deref(), none.tags.len()), (Some("alerts"), 0));
    let told = with(&|body| body["stream_url"] = json!("https://graylog.example/streams/1"));
    assert_eq!(told.url.as_deref(), Some("https://graylog.example/streams/1"));
}

#[test]
fn an_event_is_read_whole() {
    let alert = alert(&event().to_string());
    assert_eq!(alert.id.as_deref(), Some("01KA40B6R8S0T2V4W6X8Y0Z1A3"));
    assert_eq!(alert.phase, Phase::Stored);
    assert_eq!(
        (alert.rule.id.as_deref(), alert.rule.name.as_deref()),
        (Some("66f0"), Some("Denies by source"))
    );
    assert_eq!(alert.trigger.name.as_deref(), Some("Many denies: count()=118.0"));
    assert_eq!((alert.start, alert.end), (at("2026-11-04T09:55:00Z"), at("2026-11-04T09:59:00Z")));
    assert_eq!((alert.severity, alert.hits), (80, Some(119)));
    assert_eq!(alert.tags, ["perimeter"]);
    assert_eq!(alert.url.as_deref(), Some("alerts/01KA40B6R8S0T2V4W6X8Y0Z1A3/replay-search"));
    assert!(alert.bucket.is_some());
    let occasion = alert.occasion.unwrap();
    assert_eq!(occasion.condition.kind.as_deref(), Some("aggregation-v1"));
    assert_eq!(occasion.condition.title.as_deref(), Some("Denies by source"));
    assert_eq!(occasion.condition.description.as_deref(), Some("many"));
    assert_eq!(occasion.condition.parameters["key_tuple"], json!(["10.3.0.9"]));
    assert_eq!(occasion.condition.parameters["priority"], 3);
    assert_eq!(occasion.stream.id.as_deref(), Some("5a0c"));
    assert_eq!(occasion.triggered_at, at("2026-11-04T10:00:00Z"));
    assert_eq!(occasion.backlog[0].source.as_deref(), Some("fw-1"));
    let kept: Value = serde_json::from_str(&alert.original.unwrap()).unwrap();
    assert_eq!(kept["event"]["replay_info"]["query"], "action:deny");
    assert_eq!((kept["backlog"]["count"].as_i64(), kept.get("remediation_steps")), (Some(1), None));
}

#[test]
fn nulls_and_unknowns_are_nothing_and_no_fault() {
    let mut body = event();
    for key in ["event_definition_id", "event_definition_title", "event_definition_type"] {
        body[key] = json!("<unknown>");
    }
    for key in [
        "timerange_start",
        "timerange_end",
        "replay_info",
        "key",
        "message",
        "aggregation_conditions",
    ] {
        body["event"][key] = json!(null);
    }
    body["backlog"] = json!(null);
    let alert = alert(&body.to_string());
    assert_eq!(alert.tags, ["perimeter"]);
    assert_eq!(alert.rule.id.as_deref(), Some("66f0"), "the event itself says it");
    assert_eq!(alert.rule.name.as_deref(), Some("aggregation-v1"));
    assert_eq!((alert.start, alert.end), (at("2026-11-04T10:00:00Z"), at("2026-11-04T10:00:00Z")));
    assert_eq!((alert.hits, alert.message.as_deref()), (None, None));
    assert_eq!(alert.url.as_deref(), Some("streams/5a0c/search"));
}

#[test]
fn the_count_is_in_the_message_where_it_stands_nowhere_else() {
    for (message, want) in [
        ("Many: count()=118.0", Some(118)),
        ("a - count()=23", Some(23)),
        ("count()=", None),
        ("count()=x", None),
        ("avg(took_ms)=5.0", None),
    ] {
        let mut body = event();
        body["event"]["aggregation_conditions"] = json!({});
        body["event"]["message"] = json!(message);
        assert_eq!(alert(&body.to_string()).hits, want, "{message}");
    }
}

#[test]
fn wrong_types_leave_an_alert_of_what_can_be_read_with_the_body_beside_it() {
    let mut body = event();
    body["event"]["id"] = json!(17);
    body["event"]["priority"] = json!("soon");
    body["event"]["timerange_start"] = json!("yesterday");
    body["event"]["fields"] = json!(["x"]);
    body["backlog"] = json!([7, {"id": "m1"}]);
    let alert = alert(&body.to_string());
    assert_eq!((alert.id.as_deref(), alert.severity), (Some("17"), 40));
    assert_eq!(alert.start, at("2026-11-04T10:00:00Z"));
    assert_eq!(alert.tags, ["perimeter", "repaired"]);
    assert_eq!(alert.original.as_deref(), Some(body.to_string().as_str()));
    assert_eq!(alert.occasion.unwrap().backlog.len(), 1);

    let mut body: Value = serde_json::from_str(LEGACY).unwrap();
    body["check_result"]["triggered_condition"]["parameters"] = json!([]);
    body["check_result"]["matching_messages"] = json!("text");
    body["stream"] = json!(5);
    let odd = self::alert(&body.to_string());
    assert_eq!((odd.tags.len(), odd.occasion.unwrap().backlog.len()), (1, 1));
}

#[test]
fn what_a_template_breaks_is_mended_and_its_secret_is_not_kept() {
    // Before Graylog 6.2 a template escapes no quotes below the first level.
    let body = r#"{"event_definition_title": "Disk", "event": {"id": "E1", "message": "disk "sdb" is full", "priority": },
        "url": "https://h/?token=s3cret-s3cret",}"#;
    let alert = alert(body);
    assert_eq!(alert.message.as_deref(), Some("disk \"sdb\" is full"));
    assert_eq!(alert.tags, ["repaired"]);
    let original = alert.original.unwrap();
    assert!(original.contains("\"sdb\"") && original.contains("token=***"), "{original}");
    assert_eq!(alert.url.as_deref(), Some("https://h/?token=***"));
    let mut callback: Value = serde_json::from_str(LEGACY).unwrap();
    callback["stream_url"] = json!("https://h/streams/1?api_key=s3cret-s3cret&q=*");
    let alert = self::alert(&callback.to_string());
    assert_eq!(alert.url.as_deref(), Some("https://h/streams/1?api_key=***&q=*"));
    assert!(!original.contains("s3cret"), "{original}");
}

#[test]
fn a_form_says_the_same_as_the_json() {
    let body = "event_definition_id=66f0&event_definition_type=aggregation-v1&event_definition_title=Denies%20by%20source\
        &event_definition_description=many&event_id=01KA40B6R8S0T2V4W6X8Y0Z1A3&event_origin_context=\
        &event_timestamp=2026-11-04T10%3A00%3A00.000Z&event_timerange_start=2026-11-04T09%3A55%3A00.000Z\
        &event_timerange_end=2026-11-04T09%3A59%3A00.000Z&event_streams=%5B000000000000000000000002%5D\
        &event_source_streams=%5B5a0c%5D&event_message=Many%20denies%3A%20count%28%29%3D119.0\
        &event_key_tuple=%5B10.3.0.9%5D&event_key=10.3.0.9&event_priority=3&event_fields=%7Bsrc%3D10.3.0.9%7D\
        &backlog=%5B%7Bindex%3Dgraylog_41%2C%20message%3DDENY%2C%20fields%3D%7B%7D%2C%20id%3Dm1%2C%20stream_ids%3D%5B5a0c%5D%2C%20source%3Dfw-1%2C%20timestamp%3D2026-11-04T09%3A55%3A01.000Z%7D%5D";
    let (form, json) = (alert(body), alert(&event().to_string()));
    assert_eq!((&form.id, &form.rule, form.hits), (&json.id, &json.rule, json.hits));
    assert_eq!((form.start, form.end, form.severity), (json.start, json.end, json.severity));
    assert!(form.tags.is_empty(), "{:?}", form.tags);
    let (form, json) = (form.occasion.unwrap(), json.occasion.unwrap());
    assert_eq!(form.backlog, json.backlog);
    assert_eq!(form.condition.parameters["fields"], json.condition.parameters["fields"]);
    assert_eq!((form.stream.id, form.triggered_at), (json.stream.id, json.triggered_at));
}

#[test]
fn of_a_template_what_is_recognisable_is_taken() {
    for (body, id, name, message, severity) in [
        (
            r#"{"title": "Disk full", "text": "sdb is at 91 %", "severity": "high", "id": "E1"}"#,
            Some("E1"),
            Some("Disk full"),
            Some("sdb is at 91 %"),
            80,
        ),
        (r#"{"text": "only this"}"#, None, None, Some("only this"), 40),
        ("title=Disk+full&priority=4&message=sdb", None, Some("Disk full"), Some("sdb"), 100),
        (
            "--- [Event Definition] ---\nTitle:       Disk full\n--- [Event] ---\nMessage:   sdb\nPriority:  1\n",
            None,
            Some("Disk full"),
            Some("sdb"),
            40,
        ),
        (
            r#"{"event": "{id=E1, message=sdb, half full, priority=0}", "event_definition_title": "Disk"}"#,
            Some("E1"),
            Some("Disk"),
            Some("sdb, half full"),
            20,
        ),
        (
            r#"{"event.id": "E1", "eventDefinitionTitle": "Disk", "event_message": "sdb"}"#,
            Some("E1"),
            Some("Disk"),
            Some("sdb"),
            40,
        ),
    ] {
        let alert = alert(body);
        assert_eq!(
            (alert.id.as_deref(), alert.rule.name.as_deref(), alert.message.as_deref()),
            (id, name, message),
            "{body}"
        );
        assert_eq!((alert.severity, alert.tags.len()), (severity, 0), "{body}: {:?}", alert.tags);
    }
}

#[test]
fn the_documentations_template_is_read() {
    let docs = include_str!("../../../docs/graylog.md");
    let template =
        docs.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // As Graylog fills it in.
    let mut body = template.to_owned();
    for (variable, value) in [
        ("${event_definition_id}", "66f0"),
        ("${event_definition_type}", "aggregation-v1"),
        ("${event_definition_title}", "Disk \\\"sdb\\\""),
        ("${event_definition_description}", ""),
        ("${event.id}", "E1"),
        ("${event.timestamp}", "2026-11-04T10:00:00.000Z"),
        ("${event.timerange_start}", ""),
        ("${event.timerange_end}", ""),
        ("${event.message}", "full"),
        ("${event.source}", "graylog-1"),
        ("${event.key}", ""),
        ("${event.priority}", "4"),
        ("${event.source_streams}", "5a0c"),
        ("${event.tags}", ""),
        ("${foreach backlog message}", ""),
        ("${message.index}", "graylog_1"),
        ("${message.id}", "m1"),
        ("${message.source}", "db-1"),
        ("${message.timestamp}", "2026-11-04T09:59:00.000Z"),
        ("${message.message}", "no room"),
        ("${if last_message}${else},${end}${end}", ""),
    ] {
        assert!(template.contains(variable), "{variable}");
        body = body.replace(variable, value);
    }
    assert!(!body.contains("${"), "{body}");
    let alert = alert(&body);
    assert_eq!((alert.tags.len(), alert.severity), (0, 100), "{:?}", alert.tags);
    assert_eq!(alert.rule.name.as_deref(), Some("Disk \"sdb\""));
    assert_eq!(alert.start, at("2026-11-04T10:00:00Z"));
    let occasion = alert.occasion.unwrap();
    assert_eq!((occasion.stream.id.as_deref(), occasion.backlog.len()), (Some("5a0c"), 1));
    assert_eq!(occasion.backlog[0].message.as_deref(), Some("no room"));
}

#[test]
fn what_holds_no_alert_says_why() {
    for (body, want) in [
        ("<html></html>", "neither JSON nor a form"),
        ("just words", "neither JSON nor a form"),
        ("{\"event\":{", "not JSON"),
        ("{}", "no id, title or message"),
        ("a=b", "(keys: a)"),
        ("{\"check_result\": 7}", "`check_result` is a number"),
        ("{\"check_result\": {}, \"stream\": {\"id\": \"s\"}}", "neither a condition"),
        ("[]", "no alert in it"),
        ("[7]", "a number instead of an object"),
    ] {
        let reason = reason(Some(Source::Graylog), body);
        assert!(reason.contains(want), "{body}: {reason}");
    }
}

#[test]
fn the_source_is_known_by_the_body_and_opensearchs_is_nobody_elses() {
    let event = event().to_string();
    let form = "event_definition_id=a&event_id=E1&event_definition_title=x";
    for body in [LEGACY, &event, form, r#"{"event": {"event_definition_id": "a", "id": "E1"}}"#] {
        let alert = decoded(None, body).remove(0).unwrap();
        assert_eq!(alert.source, Source::Graylog, "{body}");
    }
    let both = r#"{"alert": {"alert": "a"}, "event_definition_id": "x"}"#;
    assert_eq!(decoded(None, both).remove(0).unwrap().source, Source::OpenSearch);
    for body in ["{\"event\":{\"x\":1}}", "{\"title\":\"x\",\"id\":\"y\"}", "a=b", "title=x&id=y"] {
        reason(None, body);
    }
    let list = format!("[{event},{LEGACY},{{\"alert\":{{\"alert\":\"a\"}}}}]");
    let sources: Vec<_> =
        decoded(None, &list).into_iter().map(|alert| alert.unwrap().source).collect();
    assert_eq!(sources, [Source::Graylog, Source::Graylog, Source::OpenSearch]);
    assert!(reason(Some(Source::OpenSearch), &event).contains("no `alert` key"));
}

#[test]
fn only_graylogs_own_tests_are_tests() {
    let mut test = event();
    test["event_definition_type"] = json!("test-dummy-v1");
    let mut later = event();
    later["event_definition_id"] = json!("this-is-a-test-notification");
    let mut mention = event();
    mention["event"]["message"] = json!("somebody sent test-dummy-v1 again");
    mention["backlog"][0]["fields"] = json!({"type": "test-dummy-v1"});
    let mut legacy: Value = serde_json::from_str(LEGACY).unwrap();
    legacy["check_result"]["triggered_condition"]["type"] = json!("dummy");
    let named_so = legacy.to_string();
    legacy["check_result"]["result_description"] = json!("Dummy alert to test notifications");
    let mut migrated: Value = serde_json::from_str(LEGACY).unwrap();
    migrated["check_result"]["triggered_condition"]["type"] = json!("test-dummy-v1");
    for (body, want) in [
        (test.to_string(), true),
        (later.to_string(), true),
        (legacy.to_string(), true),
        (migrated.to_string(), true),
        ("event_definition_id=x&event_definition_type=test-dummy-v1".to_owned(), true),
        (r#"{"title": "a", "kind": "test-dummy-v1"}"#.to_owned(), true),
        ("Type: test-dummy-v1\nTitle: x".to_owned(), true),
        (mention.to_string(), false),
        (named_so, false),
        (LEGACY.to_owned(), false),
        (event().to_string(), false),
        ("the text test-dummy-v1".to_owned(), false),
        ("[\"test-dummy-v1\"]".to_owned(), false),
    ] {
        assert_eq!(is_test_post(body.as_bytes()), want, "{body}");
    }
}

#[test]
fn a_long_backlog_is_read_whole_and_kept_in_short() {
    let mut body = event();
    body["backlog"] = (0..500)
        .map(|n| json!({"id": format!("m{n:030}"), "message": "x".repeat(300), "source": "h"}))
        .collect();
    let alert = alert(&body.to_string());
    assert!(alert.original.as_deref().is_some_and(|text| text.len() <= 32 << 10));
    let kept: Value = serde_json::from_str(alert.original.as_deref().unwrap()).unwrap();
    assert_eq!(kept["backlog"]["count"], 500);
    assert_eq!(kept["backlog"]["ids"].as_array().map(Vec::len), Some(500));
    assert_eq!(alert.occasion.unwrap().backlog.len(), 500);
}

proptest::proptest! {
    /// Whatever is put in the place of a part, an alert that was an alert stays one.
    #[test]
    fn no_part_takes_the_others_with_it(
        path in proptest::sample::select(vec![
            "/event/priority", "/event/timestamp", "/event/timerange_start", "/event/source_streams",
            "/event/tags", "/event/fields", "/event/group_by_fields", "/event/aggregation_conditions",
            "/event/replay_info", "/event/key", "/event/key_tuple", "/event/message", "/backlog",
            "/backlog/0", "/backlog/0/fields", "/backlog/0/stream_ids", "/event_definition_type",
        ]),
        junk in proptest::sample::select(vec![
            json!(null), json!(7), json!(-1e300), json!(true), json!(""), json!("text"), json!("[a, b]"),
            json!("{a=b}"), json!([]), json!([[], {}, null, 1]), json!({}), json!({"a": {"b": [null]}}),
        ]),
    ) {
        let mut body = event();
        *body.pointer_mut(path).unwrap() = junk;
        let alert = alert(&body.to_string());
        proptest::prop_assert_eq!(alert.id.as_deref(), Some("01KA40B6R8S0T2V4W6X8Y0Z1A3"));
        proptest::prop_assert_eq!(alert.rule.name.as_deref(), Some("Denies by source"));
    }

    #[test]
    fn nothing_makes_it_stumble(body in "[\\[\\]{}=,:\"& a-d%0-3\n]{0,80}") {
        let mut form = String::from("event_definition_id=");
        write!(form, "{body}").unwrap();
        for body in [body.as_str(), &form, &format!("{{\"check_result\":{{{body}}}}}")] {
            decoded(Some(Source::Graylog), body);
            decoded(None, body);
            proptest::prop_assert_eq!(is_test_post(body.as_bytes()), body.trim().is_empty());
        }
    }
}
