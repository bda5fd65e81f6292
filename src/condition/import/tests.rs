use serde_json::json;

use super::*;
use crate::condition::{Schedule, write};

const DEFAULTS: Defaults<'_> = Defaults { index_pattern: "graylog_*", time_field: "timestamp" };

fn imported(json: &Value) -> Vec<Imported> {
    let all = read(&json.to_string(), DEFAULTS).unwrap();
    for condition in all.iter().filter_map(|one| one.condition.as_ref().ok()) {
        let text = write::file(condition, &[]);
        let again = crate::condition::file::read(&text, "x", DEFAULTS);
        assert_eq!(again.as_ref(), Ok(condition), "{text}");
    }
    all
}

fn explained(one: &Imported) -> String {
    match &one.condition {
        Ok(condition) => condition.explained(),
        Err(why) => why.clone(),
    }
}

/// The form of `GET /streams/{id}/alerts/conditions`.
fn legacy(kind: &str, parameters: &Value) -> Value {
    json!({"id": "5e7a9c8d", "type": kind, "creator_user_id": "admin", "in_grace": false,
           "created_at": "2015-09-10T09:44:10.552Z", "title": null, "parameters": parameters})
}

#[test]
fn each_legacy_type_in_both_spellings_is_a_condition() {
    let all = imported(&json!({"conditions": [
        legacy("message_count", &json!({"grace": 1, "threshold": 1, "threshold_type": "more", "backlog": 5, "time": 1})),
        legacy("MESSAGE_COUNT", &json!({"grace": 0, "threshold": 3.0, "threshold_type": "LESS", "backlog": 0, "time": 10, "query": "a:b"})),
        legacy("field_value", &json!({"field": "took", "type": "STDDEV", "threshold": 2.5, "threshold_type": "LOWER", "time": 5, "grace": 0, "backlog": 0})),
        legacy("field_content_value", &json!({"field": "type", "value": "security", "backlog": 9999, "grace": 2, "repeat_notifications": true})),
        legacy("field_value", &json!({"field": "took", "type": "LATEST", "threshold": 1, "threshold_type": "LOWER"})),
        legacy("dummy", &json!({})),
    ], "total": 6}));
    let told: Vec<_> = all.iter().map(explained).collect();
    assert_eq!(
        told[0],
        "fires on more than 1 message in 1 minute, of graylog_*; looks every minute; the last 5 messages go with it; after an alert 1 minute of grace"
    );
    assert_eq!(
        told[1],
        "fires on fewer than 3 messages in 10 minutes, of a:b of graylog_*; looks every minute"
    );
    assert_eq!(
        told[2],
        "fires on the standard deviation of took lower than 2.5 in 5 minutes, of graylog_*; looks every minute"
    );
    assert!(told[3].starts_with("fires on a message with type:\"security\" in 1 minute"));
    assert_eq!(told[4], "there is no statistic \"LATEST\" here");
    assert_eq!(told[5], "conditions of the type \"dummy\" are not known here");
    assert!(all[0].notes[0].contains("its stream is not told"));
    assert!(all[3].notes.iter().any(|note| note == "a backlog of 9999 messages is cut to 500"));
    let condition = all[0].condition.as_ref().unwrap();
    assert_eq!((condition.id.as_str(), condition.creator.as_deref()), ("5e7a9c8d", Some("admin")));
    assert_eq!(all[1].condition.as_ref().unwrap().id, "5e7a9c8d-2", "an id is there once");
}

#[test]
fn a_stream_brings_its_rules_as_a_query() {
    let stream = json!({"id": "55f1", "title": "test", "description": "test stream", "disabled": false,
        "matching_type": "OR", "rules": [
            {"field": "source", "type": 1, "inverted": false, "value": "web-1"},
            {"field": "level", "type": 4, "inverted": false, "value": "4"},
            {"field": "gl2_source_input", "type": 8, "inverted": false, "value": "55f1"}],
        "alert_conditions": [legacy("message_count", &json!({"threshold": 1, "threshold_type": "more", "time": 1, "query": "a:b"}))]});
    for json in [
        stream.clone(),
        json!({"streams": [stream.clone()], "total": 1}),
        json!({"name": "pack", "streams": [stream]}),
    ] {
        let all = imported(&json);
        let condition = all[0].condition.as_ref().unwrap();
        assert_eq!(condition.stream.query, "(source:\"web-1\" OR level:<4) AND (a:b)");
        assert_eq!(
            (condition.stream.id.as_str(), condition.title.as_str()),
            ("55f1", "test: message count")
        );
        assert_eq!(
            all[0].notes,
            [
                "a rule of its stream is left out: it is about the input 55f1, which is Graylog's own"
            ]
        );
    }
}

fn definition() -> Value {
    json!({"id": "5d40", "title": "Slow answers", "description": "d", "priority": 3, "alert": true,
        "config": {"type": "aggregation-v1", "query": "facility:web", "streams": ["s1"], "group_by": ["source"],
            "series": [{"id": "c", "type": "count", "field": null}, {"id": "p", "function": "percentile", "field": "took_ms", "percentile": 99.0}],
            "conditions": {"expression": {"expr": "&&",
                "left": {"expr": ">", "left": {"expr": "number-ref", "ref": "c"}, "right": {"expr": "number", "value": 10.0}},
                "right": {"expr": "group", "operator": "||", "child": {"expr": "||",
                    "left": {"expr": ">=", "left": {"expr": "number-ref", "ref": "p"}, "right": {"expr": "number", "value": 2.5}},
                    "right": {"expr": "==", "left": {"expr": "number-ref", "ref": "p"}, "right": {"expr": "number", "value": 0.0}}}}}},
            "search_within_ms": 90000, "execute_every_ms": 60000},
        "notification_settings": {"grace_period_ms": 300_000, "backlog_size": 5},
        "notifications": [{"notification_id": "n"}], "tags": ["web"]})
}

#[test]
fn event_definitions_come_over_with_what_has_no_place_named() {
    let all = imported(&json!({"event_definitions": [definition()]}));
    let condition = all[0].condition.as_ref().unwrap();
    assert_eq!(
        condition.reason(),
        "count() > 10 and (percentile(took_ms, 99) >= 2.5 or percentile(took_ms, 99) == 0) in 2 minutes, for each source"
    );
    assert_eq!((condition.severity, condition.grace, condition.backlog), (2, 5, 0));
    assert_eq!(condition.tags, ["web", "graylog"]);
    let notes = all[0].notes.join("\n");
    for want in [
        "its stream s1 is not in this import",
        "its backlog, since it makes groups",
        "its notifications: write them as [[callback]]",
        "search_within_ms of 90000 is rounded up to 2 minutes",
    ] {
        assert!(notes.contains(want), "{notes}");
    }
}

#[test]
fn a_content_pack_brings_definitions_and_streams() {
    let value = |text: &str| json!({"@type": "string", "@value": text});
    let mut data = definition();
    data.as_object_mut().unwrap().remove("id");
    data["title"] = value("Packed");
    data["priority"] = json!({"@type": "integer", "@value": 4});
    data["config"]["query"] = value("*");
    data["config"]["use_cron_scheduling"] = json!(true);
    data["config"]["cron_expression"] = json!("0 0 8 ? * MON-FRI");
    data["config"]["cron_timezone"] = json!("Europe/Berlin");
    let rule = json!({"type": value("EXACT"), "field": value("a"), "value": value("b"), "inverted": {"@type": "boolean", "@value": false}});
    let pack = json!({"v": "1", "id": "p", "rev": 1, "name": "pack", "parameters": [], "entities": [
        {"v": "1", "id": "e1", "type": {"name": "event_definition", "version": "1"}, "data": data},
        {"v": "1", "id": "s1", "type": {"name": "stream", "version": "1"}, "data": {"title": value("Web"),
            "matching_type": value("AND"), "stream_rules": [rule], "alert_conditions": [
                {"type": "message_count", "title": value("Too few"), "parameters": {
                    "threshold": {"@type": "integer", "@value": 5}, "threshold_type": value("LESS"), "time": {"@type": "integer", "@value": 10}}}]}},
        {"v": "1", "id": "d", "type": {"name": "dashboard", "version": "2"}, "data": {}}]});
    let all = imported(&pack);
    assert_eq!(all.len(), 2);
    let packed = all[0].condition.as_ref().unwrap();
    assert_eq!(
        (packed.id.as_str(), packed.severity, packed.stream.title.as_str()),
        ("e1", 1, "Web")
    );
    assert_eq!(packed.stream.query, "a:\"b\"");
    let cron =
        Schedule::Cron { expression: "0 8 * * MON-FRI".into(), zone: "Europe/Berlin".into() };
    assert_eq!(packed.schedule, cron);
    let few = all[1].condition.as_ref().unwrap();
    assert_eq!(
        (few.title.as_str(), few.reason().as_str()),
        ("Too few", "fewer than 5 messages in 10 minutes")
    );
}

#[test]
fn what_is_none_of_graylogs_says_so() {
    for (text, want) in [
        ("{", "not JSON"),
        ("{}", "no conditions of Graylog"),
        ("[]", "no conditions of Graylog"),
        ("7", "no conditions of Graylog"),
    ] {
        assert!(read(text, DEFAULTS).unwrap_err().contains(want), "{text}");
    }
    assert!(imported(&json!({"conditions": []})).is_empty());
    for odd in [
        json!({"conditions": [7, null, {}]}),
        json!({"event_definitions": [7]}),
        json!({"entities": [1]}),
    ] {
        assert!(imported(&odd).iter().all(|one| one.condition.is_err()), "{odd}");
    }
}

#[test]
fn titles_become_names_of_files() {
    for (title, want) in [
        ("Many failed logins!", "many_failed_logins"),
        ("../../etc/passwd", "etc_passwd"),
        ("größe 日本", "gr_e"),
        ("", "condition"),
        ("日本", "condition"),
    ] {
        assert_eq!(file_name(title), want, "{title}");
    }
}

#[test]
fn what_would_be_no_condition_file_is_not_taken_over() {
    let count = |more: &Value| {
        let mut parameters = json!({"threshold": 1, "threshold_type": "more", "time": 5});
        parameters.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        legacy("message_count", &parameters)
    };
    for (condition, want) in [
        (count(&json!({"query": "a:\"{{x}}\""})), "`query` holds `{{`"),
        (count(&json!({"time": 10_000_000})), "`time` must be a whole number"),
        (legacy("field_content_value", &json!({"field": "a", "value": "{{x}}"})), "`value` holds"),
    ] {
        let all = read(&json!({"conditions": [condition]}).to_string(), DEFAULTS).unwrap();
        let fault = all[0].condition.as_ref().unwrap_err();
        assert!(fault.contains(want), "{fault}");
    }
}

#[test]
fn a_number_that_makes_a_name_unique_is_one_that_no_other_has() {
    let named = |title: &str| {
        let mut one = legacy("message_count", &json!({"threshold": 1, "time": 5}));
        one["title"] = json!(title);
        one
    };
    let all = imported(&json!({"conditions": [named("a"), named("a (2)"), named("a")]}));
    let different = |of: fn(&Condition) -> &String| {
        let all = all.iter().filter_map(|one| one.condition.as_ref().ok()).map(of);
        all.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((different(|one| &one.title), different(|one| &one.id)), (3, 3));
}
