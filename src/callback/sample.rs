//! The alert that `callbacks test` and `callbacks render --sample` use: it has everything.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Notice;
use crate::alert::{
    Alert, Named, Source,
    occasion::{Condition, Message, Occasion, Stream},
};

/// The sample, always the same; nothing in it is real.
#[must_use]
pub fn sample() -> Notice {
    let at =
        |second| Timestamp::from_second(1_794_038_400 + second).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = |text: &str| Some(text.to_owned());
    let message = |number: i64, said: &str| Message {
        index: text("graylog_7"),
        id: Some(format!("c4d7e2a0-91b3-11f1-8f0c-00000000000{number}")),
        message: text(said),
        source: text("web-1.example.org"),
        timestamp: Some(at(-number).to_string()),
        stream_ids: vec!["6a1f20c4be01d2331c8e7b10".to_owned()],
        fields: object(json!({"level": 3, "facility": "shop", "full_message": said})),
    };
    let description = "Stream had 2 messages in the last 1 minutes with trigger condition more than 1 messages. (Current grace time: 1 minutes)";
    let occasion = Occasion {
        condition: Condition {
            id: text("3c0e1b52-77d4-4f0a-9a65-1d2f84c6b7e9"),
            kind: text("message_count"),
            title: text("Too many errors"),
            description: text("time: 1, threshold_type: more, threshold: 1, grace: 1"),
            created_at: Some(at(-86_400).to_string()),
            creator: text("admin"),
            parameters: object(
                json!({"grace": 1, "threshold": 1, "threshold_type": "more", "backlog": 5, "time": 1}),
            ),
        },
        stream: Stream {
            id: text("6a1f20c4be01d2331c8e7b10"),
            title: text("Errors in production"),
            description: text("Every error of the shop"),
            rest: object(json!({"matching_type": "AND", "rules": [], "disabled": false})),
        },
        triggered_at: Some(at(0)),
        description: text(description),
        backlog: vec![
            message(1, "WARN: <b>this is a sample</b>, not a real message"),
            message(2, "ERROR: this is a sample, not a real message"),
        ],
    };
    let mut alert = Alert {
        id: text("alertloop-sample"),
        rule: Named { id: text("sample"), name: text("Sample of alertloop") },
        trigger: Named { id: None, name: text("Too many errors") },
        severity: 60,
        start: Some(at(-60)),
        end: Some(at(0)),
        message: text(description),
        url: text("https://graylog.example.org/streams/6a1f20c4be01d2331c8e7b10"),
        occasion: Some(Box::new(occasion)),
        hits: Some(2),
        ..Alert::of(Source::OpenSearch)
    };
    alert.tag("sample");
    let record = Some(("arkime_sessions3-261107".to_owned(), "261107-alertloop-sample".to_owned()));
    Notice { alert, received: at(1), record }
}

/// An alert of which next to nothing is known, as a monitor's first firing may be.
#[must_use]
pub fn bare() -> Notice {
    let alert = Alert::of(Source::OpenSearch);
    Notice {
        alert,
        received: Timestamp::from_second(1_794_038_400).unwrap_or_default(),
        record: None,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
