//! An alert condition of Graylog 1 to 3.0.
//!
//! ```json
//! {"id": "…", "type": "message_count", "title": "…", "creator_user_id": "admin", "created_at": "…",
//!  "parameters": {"grace": 1, "threshold": 1, "threshold_type": "MORE", "backlog": 5, "time": 1,
//!                 "repeat_notifications": false, "query": "*"}}
//! ```

use serde_json::{Map, Value};

use super::{Imported, number, stream::Found, text, whole};
use crate::condition::{
    Condition, Schedule, Side, Stream, Test,
    file::MOST_BACKLOG,
    series::{Function, Series},
};

/// Reads one.
pub fn read(json: &Value, stream: &Found) -> Imported {
    let none = Map::new();
    let map = json.as_object().unwrap_or(&none);
    let kind = text(map, "type").unwrap_or_default().to_ascii_lowercase();
    let parameters = map.get("parameters").and_then(Value::as_object).unwrap_or(&none);
    let title = text(map, "title").unwrap_or_else(|| {
        let kind = kind.replace('_', " ");
        format!("{}: {kind}", stream.stream.title)
    });
    let mut notes = stream.notes.clone();
    let condition = test(&kind, parameters).map(|test| {
        let mut of_stream = stream.stream.clone();
        if let Some(query) = text(parameters, "query").filter(|query| query != "*") {
            of_stream.query = both(&of_stream, &query);
        }
        Condition {
            id: text(map, "id").unwrap_or_else(|| super::file_name(&title)),
            title: title.clone(),
            description: None,
            severity: 3,
            enabled: stream.is_enabled,
            stream: of_stream,
            // Graylog looked every minute (`alert_check_interval`).
            schedule: Schedule::Every(1),
            time: match &test {
                Test::FieldContent { .. } => 1,
                _ => whole(parameters, "time").filter(|time| *time > 0).unwrap_or(5),
            },
            test,
            grace: whole(parameters, "grace").unwrap_or(0),
            backlog: bounded(whole(parameters, "backlog").unwrap_or(0), &mut notes),
            repeat_notifications: parameters
                .get("repeat_notifications")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            callbacks: Vec::new(),
            tags: vec!["graylog".to_owned()],
            created_at: text(map, "created_at"),
            creator: text(map, "creator_user_id"),
        }
    });
    Imported { title, condition, notes }
}

/// Not more messages than we take.
pub fn bounded(backlog: u32, notes: &mut Vec<String>) -> u32 {
    if i64::from(backlog) <= MOST_BACKLOG {
        return backlog;
    }
    notes.push(format!("a backlog of {backlog} messages is cut to {MOST_BACKLOG}"));
    u32::try_from(MOST_BACKLOG).unwrap_or_default()
}

/// Messages that both queries find.
pub fn both(stream: &Stream, query: &str) -> String {
    match stream.query.as_str() {
        "*" => query.to_owned(),
        of_stream => format!("({of_stream}) AND ({query})"),
    }
}

fn test(kind: &str, parameters: &Map<String, Value>) -> Result<Test, String> {
    let needed = |key: &str| text(parameters, key).ok_or(format!("it has no `{key}`"));
    let side = |default: &str, above: &str, below: &str| {
        let side = text(parameters, "threshold_type").unwrap_or_else(|| default.to_owned());
        if side.eq_ignore_ascii_case(above) {
            Ok(Side::Above)
        } else if side.eq_ignore_ascii_case(below) {
            Ok(Side::Below)
        } else {
            Err(format!("its threshold_type {side:?} is neither {above} nor {below}"))
        }
    };
    match kind {
        "message_count" => Ok(Test::MessageCount {
            threshold: whole(parameters, "threshold").unwrap_or(0).into(),
            side: side("more", "more", "less")?,
        }),
        "field_value" => {
            let name = text(parameters, "type").unwrap_or_else(|| "MAX".to_owned());
            let function = Function::of(&name)
                .filter(|one| !matches!(one, Function::Count | Function::Cardinality))
                .ok_or_else(|| format!("there is no statistic {name:?} here"))?;
            Ok(Test::FieldValue {
                series: Series { function, field: Some(needed("field")?) },
                threshold: number(parameters, "threshold").unwrap_or(0.0),
                side: side("higher", "higher", "lower")?,
            })
        }
        "field_content_value" => {
            Ok(Test::FieldContent { field: needed("field")?, value: needed("value")? })
        }
        "" => Err("it tells no type".to_owned()),
        other => Err(format!("conditions of the type {other:?} are not known here")),
    }
}
