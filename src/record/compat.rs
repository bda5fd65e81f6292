//! Upstream's exact documents, for `--compat malcolm-26.01` and `malcolm-26.08`. What upstream
//! does to a body is written down in the golden files of the corpus; where it stores nothing, the
//! body becomes a dead letter here, since nothing is ever lost.
//!
//! Source: Malcolm's `api/project/__init__.py`, `event()`, read in 26.01 and 26.08.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Naming, Record, Write, body_hash, hashed, index_name, session};
use crate::intake::{
    Envelope,
    repair::{self, Repair},
};

/// An upstream version whose documents are written exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// Malcolm 26.01.
    Malcolm2601,
    /// Malcolm 26.08.
    Malcolm2608,
}

/// Length of `2026-11-06T05:00:00`.
const DATE_AND_TIME: usize = 19;

/// The record that upstream would have made of an envelope.
///
/// # Errors
/// The reason, where upstream stores nothing.
pub fn record(envelope: &Envelope, level: Compat, naming: &Naming) -> Result<Record, String> {
    let now = envelope.received;
    let request = Request::read(envelope, level)?;
    let alert = &request.alert;
    let text = |path: [&str; 2]| alert[path[0]][path[1]].as_str().map(str::to_owned);
    let start = alert["period"].get("start").cloned().unwrap_or_else(|| session::text(now).into());
    let end = alert["period"].get("end").cloned().unwrap_or_else(|| session::text(now).into());
    let day = day_of(&start).ok_or("upstream cannot read the time of the period's start")?;
    let id = match alert["alert"].as_str() {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => hashed(&["compat", &body_hash(&envelope.body, 0), &now.as_millisecond().to_string()]),
    };
    let mut document = Map::new();
    document.insert(naming.time_field.clone(), start.clone());
    document.insert("firstPacket".to_owned(), start.clone());
    document.insert("lastPacket".to_owned(), end.clone());
    document.insert("ecs".to_owned(), json!({"version": "1.6.0"}));
    document.insert(
        "event".to_owned(),
        json!({
            "kind": "alert", "start": start, "end": end, "ingested": session::text(now),
            "provider": "malcolm", "dataset": "alerting", "module": "alerting",
            "url": "/dashboards/app/alerting#/dashboard", "id": id,
        }),
    );
    place_body(&mut document, &request.body, level);
    if let Some(name) = text(["monitor", "name"]) {
        document.insert("rule".to_owned(), json!({ "name": name }));
    }
    let event = &mut document["event"];
    if let Some(reason) = text(["trigger", "name"]) {
        event["reason"] = json!(reason);
    }
    let severity = severity(&alert["trigger"]["severity"]);
    for field in ["risk_score", "risk_score_norm", "severity"] {
        event[field] = json!(severity);
    }
    event["severity_tags"] = json!("Alert");
    let hits = &alert["results"][0]["hits"]["total"]["value"];
    if !hits.is_null() && hits != &json!(0) {
        event["hits"] = hits.clone();
    }
    let day_text = index_name::day(day);
    Ok(Record {
        index: naming.index.index(day, |_| None),
        id: format!("{day_text}-{id}"),
        write: Write::Overwrite,
        document: Value::Object(document).to_string(),
    })
}

/// What upstream's request handling makes of a body.
struct Request {
    alert: Value,
    body: Value,
}

impl Request {
    fn read(envelope: &Envelope, level: Compat) -> Result<Self, String> {
        let is_json = envelope.content_type.split(';').next().is_some_and(|kind| {
            let kind = kind.trim().to_ascii_lowercase();
            kind == "application/json"
                || (kind.starts_with("application/") && kind.ends_with("+json"))
        });
        let bytes = envelope.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&envelope.body);
        let json = if is_json { serde_json::from_slice::<Value>(bytes) } else { Ok(Value::Null) };
        match (json, level) {
            (Ok(Value::Object(data)), _) if data.get("alert").is_some_and(Value::is_object) => {
                let alert = data.get("alert").cloned().unwrap_or_default();
                let body = alert["body"].clone();
                Ok(Self { alert, body })
            }
            (Ok(Value::Object(_)), _) => Err("upstream stores nothing: no `alert` key".to_owned()),
            (Err(fault), _) if fault.to_string().contains("recursion") => {
                Err("upstream stores nothing: nested too deep".to_owned())
            }
            (_, Compat::Malcolm2601) => Err("upstream stores nothing: not JSON".to_owned()),
            (_, Compat::Malcolm2608) => {
                let raw = String::from_utf8_lossy(&envelope.body).trim().to_owned();
                if raw.is_empty() {
                    return Err("upstream stores nothing: empty".to_owned());
                }
                Ok(Self { alert: Value::Null, body: Value::String(raw) })
            }
        }
    }
}

/// 26.01 keeps the body as text; 26.08 merges what is JSON, and lets it overwrite some fields.
fn place_body(document: &mut Map<String, Value>, body: &Value, level: Compat) {
    let text = match body {
        Value::String(text) if text.is_empty() => return,
        Value::Null => return,
        other => other,
    };
    if level == Compat::Malcolm2608
        && let Some(fields) = object_in(text)
    {
        let conflicts = deep_merge(document, fields);
        if !conflicts.is_empty() {
            // Upstream's later assignments then take the place of what was merged.
            document.insert("conflicts".to_owned(), Value::Object(conflicts));
        }
        return;
    }
    document["event"]["original"] = text.clone();
}

fn object_in(body: &Value) -> Option<Map<String, Value>> {
    let parsed = match body {
        Value::Object(fields) => return Some(fields.clone()),
        Value::String(text) => {
            let strict = serde_json::from_str(text);
            strict
                .or_else(|fault| {
                    // Upstream's parser takes trailing commas, and nothing else.
                    let repaired = repair::repair(text.as_bytes());
                    let commas = repaired.repairs.iter().all(|one| *one == Repair::TrailingComma);
                    if commas { serde_json::from_str(&repaired.text) } else { Err(fault) }
                })
                .ok()?
        }
        _ => return None,
    };
    match parsed {
        // An empty object counts as none.
        Value::Object(fields) if !fields.is_empty() => Some(fields),
        _ => None,
    }
}

fn deep_merge(base: &mut Map<String, Value>, overlay: Map<String, Value>) -> Map<String, Value> {
    let mut conflicts = Map::new();
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => {
                // Upstream notes an object here even when nothing in it collides.
                conflicts.insert(key, Value::Object(deep_merge(base, over)));
            }
            (Some(_), value) => {
                conflicts.insert(key, value);
            }
            (None, value) => {
                base.insert(key, value);
            }
        }
    }
    conflicts
}

/// `100 - (n - 1) * 20` of what consists of digits, unclamped; else 40.
fn severity(value: &Value) -> i64 {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|_| digits);
    number.map_or(40, |number| 100_i64.saturating_sub(number.saturating_sub(1).saturating_mul(20)))
}

/// The day that upstream's date parser sees: of the time as written, whatever its offset.
fn day_of(start: &Value) -> Option<Timestamp> {
    let text = start.as_str()?;
    let civil: jiff::civil::DateTime = text.get(..DATE_AND_TIME)?.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
