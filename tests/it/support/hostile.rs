//! Whoever makes the traffic writes part of the alert: messages that are hostile in every field.

use serde_json::{Value, json};

/// What would do something: in HTML, an address, a spreadsheet, a template, a shell, a terminal, a mail's
/// head, a log, and `_bulk`. In each place it has to come out as these letters or not at all.
pub const HOSTILE: &str = "</p><script>top.pwned=1</script>\"'><img src=x onerror=top.pwned=1>\
    {{7*7}}${8*8}$(touch pwned)`touch pwned`;touch pwned|cmd\u{1b}[2J\u{1b}]0;pwned\u{7}\u{9b}31m\u{202e}txt\u{2066}\
    \r\nBcc: pwned@example.org\r\nX-Pwned: yes\r\n\r\n\
    {\"timestamp\":\"2026-11-22T00:00:00Z\",\"level\":\"ERROR\",\"message\":\"pwned\"}\n\
    =HYPERLINK(\"http://pwned.example/\",\"x\")\tjavascript:top.pwned=1";
/// Keys whose values are times, or say what a message is: with anything else in them it is another one.
const KEPT: [&str; 12] = [
    "start",
    "end",
    "startsAt",
    "endsAt",
    "timestamp",
    "triggered_at",
    "action",
    "status",
    "version",
    "type",
    "event_definition_type",
    "entity_id",
];

/// A message of each source with [`HOSTILE`] in each of its texts, and the path that it is posted to.
pub fn messages() -> Vec<(&'static str, Value)> {
    let seed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let opensearch = json!({"alert": {
        "monitor": {"id": "m", "name": "Beacons"}, "trigger": {"id": "t", "name": "over 9", "severity": "1"},
        "period": {"start": "2026-11-06T05:00:00.000Z", "end": "2026-11-06T05:01:00.000Z"},
        "results": [{"hits": {"total": {"value": 3}, "hits": [{"_source": {"message": "x"}}]}}],
        "body": {"rule": {"description": "x"}, "source": {"ip": "x", "user": {"name": "x"}}, "tags": ["x"],
            "message": "x", "url": {"full": "x"}, "a.b": "x"},
        "alert": "an-id", "error": "x"}});
    let text = json!({"alert": {
        "monitor": {"id": "m2", "name": "Beacons"}, "trigger": {"id": "t", "name": "over 9", "severity": "1"},
        "period": {"start": "2026-11-06T05:00:00.000Z", "end": "2026-11-06T05:01:00.000Z"},
        "body": "a text", "alert": "", "error": ""}});
    let seeds = [
        ("/mapi/alert", opensearch),
        ("/mapi/alert", text),
        ("/mapi/alert", seed(include_str!("../../fuzz/seeds/bodies/graylog-legacy.seed"))),
        ("/mapi/alert/graylog", seed(include_str!("../../fuzz/seeds/bodies/graylog-event.seed"))),
        ("/mapi/alert/ntopng", seed(include_str!("../../fuzz/seeds/bodies/ntopng-batch.seed"))),
        ("/mapi/alert/ntopng", seed(include_str!("../../fuzz/seeds/bodies/ntopng-queue.seed"))),
        (
            "/mapi/alert/alertmanager",
            seed(include_str!("../../fuzz/seeds/bodies/alertmanager.seed")),
        ),
    ];
    let poisoned = |(path, mut message): (_, Value)| {
        poison(&mut message);
        (path, message)
    };
    seeds.into_iter().map(poisoned).collect()
}

fn poison(value: &mut Value) {
    match value {
        Value::String(text) => text.push_str(HOSTILE),
        Value::Array(items) => items.iter_mut().for_each(poison),
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if !KEPT.contains(&key.as_str()) || value.is_object() {
                    poison(value);
                }
            }
            if let Some(labels) = object.get_mut("labels").and_then(Value::as_object_mut) {
                labels.insert(HOSTILE.to_owned(), json!(HOSTILE));
            }
        }
        _ => {}
    }
}

/// Bodies that are no alerts, each with the path that it is posted to: they become dead letters.
pub fn no_alerts() -> Vec<(&'static str, String)> {
    vec![
        ("/mapi/alert", format!("{{\"no\": \"alert\", \"{HOSTILE}")),
        ("/mapi/alert/graylog", format!("{HOSTILE}={HOSTILE}")),
        ("/mapi/alert/ntopng", json!({ HOSTILE: HOSTILE }).to_string()),
        ("/mapi/alert", HOSTILE.to_owned()),
    ]
}
