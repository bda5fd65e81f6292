//! A document of ntopng's Elasticsearch recipient, posted singly: ECS 1.6 outside, and the alert in
//! ntopng's own form, as a text, in its `message`.
//!
//! ```json
//! {"@timestamp": "2020-11-23T14:20:56.0Z", "message": "{\"alert_type\":72, …}", "ecs": {"version": "1.6.0"},
//!  "event": {"module": "ntopng", "dataset": "alerts", "kind": "alert", "category": "network", "created": "…",
//!            "severity": 3, "severity_label": "low", "risk_score": 10},
//!  "rule": {"name": "Low Goodput Ratio"}, "organization": {"name": "ntop"},
//!  "source": {"ip": "…", "port": 1, "geo": {}, "as": {}}, "destination": {}, "network": {}}
//! ```
//!
//! Source: ntopng's `available_recipients.rst`.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{
    address::address,
    codes::{self, Table},
    html,
    key::key,
    native, put, severity, told,
    values::{self, Values},
    version::{Generation, Version},
};
use crate::{
    alert::{Alert, Named, Phase, Source, UNKNOWN_SEVERITY, bucket::About},
    intake::lenient::Lenient,
};

/// Objects whose fields are taken over as they are.
const KEPT: [&str; 7] =
    ["source", "destination", "network", "host", "observer", "organization", "client"];
/// Objects within objects are looked into this far.
const DEEPEST: usize = 6;

/// Whether an object is such a document.
pub fn recognises(object: &Map<String, Value>) -> bool {
    let module = object.get("event").and_then(|event| event.get("module")).and_then(Value::as_str);
    let dotted = object.get("event.module").and_then(Value::as_str);
    module.or(dotted) == Some("ntopng")
}

/// Reads a document.
pub fn decode(object: &Map<String, Value>, declared: Option<Version>) -> Alert {
    let inner = object.get("message").and_then(Value::as_str).and_then(values::object);
    let inner = inner.and_then(|inner| Some((told::generation(&inner)?, inner)));
    let own = inner.map(|(generation, inner)| native::decode(&inner, generation, declared));
    let is_whole = own.is_some();
    let mut alert = own.unwrap_or_else(|| outer(object));
    let mut fields = Vec::new();
    for name in KEPT {
        if let Some(value) = object.get(name) {
            flatten(name, value, DEEPEST, &mut fields);
        }
    }
    let told = fields.len();
    fields.retain(|(name, value)| fits(name, value));
    if fields.len() < told {
        alert.tag("repaired");
    }
    let about = alert.about.get_or_insert_default();
    // What the document itself says comes before what follows from ntopng's own form.
    about.fields.retain(|(name, _)| !fields.iter().any(|(own, _)| own == name));
    about.fields.extend(fields);
    let is_lost =
        |message: &Value| message.as_str().is_some_and(|text| text.trim_start().starts_with('{'));
    if !is_whole && object.get("message").is_some_and(is_lost) {
        alert.tag("repaired");
    }
    let about = alert.about.get_or_insert_default();
    if !is_whole {
        native::add_observer(about, None);
        put(about, "rule.ruleset", Some("ntopng"));
    }
    let category = object.get("event").and_then(|event| event.get("category"));
    put(about, "event.category", category.filter(|told| fits("event.category", told)).cloned());
    let title = object.get("rule").and_then(|rule| rule.get("name")).and_then(Value::as_str);
    if is_whole && title.is_some() {
        about.fields.retain(|(name, _)| name != "rule.description");
        put(about, "rule.description", title.map(html::text));
    }
    alert.original = Some(native::original(object));
    alert
}

/// The alert, where ntopng's own form of it cannot be read.
fn outer(object: &Map<String, Value>) -> Alert {
    let mut lenient = Lenient::default();
    let empty = Map::new();
    let part = |name: &str| object.get(name).and_then(Value::as_object).unwrap_or(&empty);
    let title = Values::of(part("rule"), &mut lenient).text("name").map(|title| html::text(&title));
    let message = Values::of(object, &mut lenient).text("message");
    let said = message.filter(|text| !text.trim_start().starts_with('{'));
    let mut event = Values::of(part("event"), &mut lenient);
    let at = event.time("created");
    let code = event.integer("severity");
    let score = event.integer("risk_score");
    let at = Values::of(object, &mut lenient).time("@timestamp").or(at);
    let version = Version::new(4, 2);
    let named = code.and_then(|code| codes::name(Table::Severity, code, version));
    let of_score = || score.map(|score| severity::of_score(score, Generation::C.version(None)));
    let text = said.as_deref().map(html::text).or_else(|| title.clone());
    let text = text.unwrap_or_else(|| "Alert of ntopng".to_owned());
    let parts = ["source", "destination", "network"]
        .map(|name| Value::Object(part(name).clone()).to_string());
    let time = at.map(|at| at.as_millisecond().to_string()).unwrap_or_default();
    let [source, destination, network] = &parts;
    let name = title.clone().unwrap_or_default();
    let id = key(&["ntopng", "ecs", &time, &name, &text, source, destination, network]);
    let mut alert = Alert {
        id: Some(id),
        rule: Named { id: None, name: title.or_else(|| Some("unknown".to_owned())) },
        trigger: Named { id: None, name: Some(text.clone()) },
        severity: named.or_else(of_score).and_then(severity::percent).unwrap_or(UNKNOWN_SEVERITY),
        start: at,
        end: at,
        phase: Phase::Stored,
        message: Some(text),
        about: Some(Box::new(About::default())),
        ..Alert::of(Source::Ntopng)
    };
    let ends =
        ["source", "destination"].map(|name| Values::of(part(name), &mut lenient).text("ip"));
    for ip in ends.into_iter().flatten().filter_map(|text| address(&text).0) {
        alert.concerns("host", &ip.to_string());
    }
    if lenient.wrong || at.is_none() {
        alert.tag("repaired");
    }
    alert
}

/// Whether an index can take a value for a field of this name: one that it cannot take would cost the
/// whole record.
fn fits(name: &str, value: &Value) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Array(values) => values.iter().all(|value| !value.is_array() && fits(name, value)),
        Value::Object(_) => false,
        Value::Null => true,
        value => match last {
            "ip" => value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            "port" | "bytes" | "packets" | "number" | "uptime" => {
                let text = value.as_str().and_then(|text| text.parse::<i64>().ok());
                value.as_i64().or(text).is_some()
            }
            "location" => false,
            _ => true,
        },
    }
}

/// Each value below an object, under its dotted name.
fn flatten(name: &str, value: &Value, deeper: usize, fields: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(object) if deeper > 0 => {
            for (key, value) in object {
                flatten(&format!("{name}.{key}"), value, deeper - 1, fields);
            }
        }
        Value::Null | Value::Object(_) => {}
        Value::String(text) if text.is_empty() => {}
        value => fields.push((name.to_owned(), value.clone())),
    }
}
