//! An alert in ntopng's own form, of whichever generation, in one shape. The keys and what they hold
//! are those of `AlertsManager::notifyAlert` (3.6, 3.8), `Flow::flow2alertJson` and
//! `AlertableEntity::luaAlert` (4.0, 4.2), `Flow::alert2JSON`, `Host::alert2JSON`,
//! `OtherAlertableEntity::luaAlert` and `alerts_api.lua` (5.0 to 6.2).

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    codes::{self, Table},
    severity,
    values::{self, Coded, Values},
    version::{Generation, Version},
};
use crate::intake::lenient::Lenient;

/// What an alert does to the life of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It began, or still is.
    Engage,
    /// It is over.
    Release,
    /// It happened.
    Store,
}

/// What an alert tells, but for its flow or host.
#[derive(Debug)]
pub struct Told {
    /// The form that it has.
    pub generation: Generation,
    /// The version that its codes are read by.
    pub version: Version,
    /// The interface of ntopng that found it.
    pub ifid: Option<i64>,
    /// What it does.
    pub action: Action,
    /// What it is about: `host`, `flow`, `interface` and so on.
    pub entity: Coded,
    /// Which of them: `10.0.0.1@0`, `flow`, `eth0`.
    pub value: String,
    /// What it says of that.
    pub kind: Coded,
    /// The table of [`Told::kind`].
    pub table: Table,
    /// ntopng's name of the severity.
    pub severity: Option<Cow<'static, str>>,
    /// ntopng's score, from 4.0 on.
    pub score: Option<i64>,
    /// Tells alerts of one kind and entity apart: `alert_subtype`, `alert_key`.
    pub subtype: String,
    /// How often it is looked at, as the sender has it.
    pub granularity: String,
    /// ntopng's name for that: `min`, `5mins`, `hour`, `day`.
    pub engine: Option<Cow<'static, str>>,
    /// When it happened or began.
    pub at: Option<Timestamp>,
    /// When it ended, or was heard of last.
    pub end: Option<Timestamp>,
    /// How long it was engaged, in s, where a release tells that.
    pub duration: Option<i64>,
    /// The first packet of its flow.
    pub first_seen: Option<Timestamp>,
    /// `alert_category`.
    pub category: Option<Coded>,
    /// What is wrong with its flow, up to 4.2.
    pub flow_status: Option<Coded>,
    /// What ntopng says to people, with its markup.
    pub message: Option<String>,
    /// What its kind tells beside.
    pub details: Map<String, Value>,
    /// Somebody has taken note of it.
    pub is_acknowledged: bool,
}

/// The generation of an object by its keys; `None` where it is no alert.
pub fn generation(object: &Map<String, Value>) -> Option<Generation> {
    let has = |keys: &[&str]| keys.iter().any(|key| object.get(*key).is_some_and(is_told));
    if has(&["alert_id"]) {
        Some(Generation::C)
    } else if has(&["type", "entity_type"]) && !has(&["alert_entity", "alert_entity_val"]) {
        Some(Generation::A)
    } else if has(&["alert_type", "alert_entity"]) {
        Some(Generation::B)
    } else {
        None
    }
}

fn is_told(value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::String(_))
}

/// Reads an alert of this generation.
pub fn read(
    object: &Map<String, Value>,
    generation: Generation,
    declared: Option<Version>,
    lenient: &mut Lenient,
) -> Told {
    let version = generation.version(declared);
    let flow = object.get("flow").and_then(Value::as_object);
    let of_flow = flow.and_then(|flow| {
        Values::of(flow, lenient).coded("flow_status", Table::FlowStatus, version)
    });
    let mut values = Values::of(object, lenient);
    let is_flow = values.flag("is_flow_alert") || flow.is_some();
    let names = Names::of(generation).in_use(&values);
    let entity = values.coded(names.entity, Table::Entity, version);
    let entity = entity.unwrap_or_else(|| guessed(is_flow, &values));
    let is_flow = is_flow || entity.name == "flow";
    let value = values
        .label(names.value)
        .or_else(|| if is_flow { Some("flow".to_owned()) } else { values.text("ip") });
    let table = match generation {
        Generation::A | Generation::B => Table::Type,
        Generation::C => table(&entity, values.integer(names.kind)),
    };
    let score = values.integer("score");
    let severity = match (score, generation) {
        (Some(score), Generation::C) => Some(severity::of_score(score, version).into()),
        _ => values.coded(names.severity, Table::Severity, version).map(|coded| coded.name),
    };
    let mut message = values.text("message");
    let mut details = values.json(names.json).unwrap_or_default();
    // 3.6 and 3.8 have the JSON of a flow's alert in the place of its message.
    if let Some(told) = message.take_if(|text| text.trim_start().starts_with('{')) {
        match values::object(&told) {
            Some(told) => details.extend(told),
            None => message = Some(told),
        }
    }
    for key in ["message", "msg"] {
        let told = details.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        message = message.or_else(|| told.map(str::to_owned));
    }
    let subtype = values.text(names.subtype).unwrap_or_default();
    let engine = engine(&mut values, &names, version, &subtype);
    let at = names.times.iter().find_map(|key| values.time(key));
    let flow_status = values.coded("flow_status", Table::FlowStatus, version);
    Told {
        generation,
        version,
        ifid: values.integer("ifid"),
        action: action(&mut values),
        kind: values.coded(names.kind, table, version).unwrap_or(Coded::none()),
        granularity: values.label(names.granularity).unwrap_or_default(),
        end: names.ends.iter().find_map(|key| values.time(key)),
        duration: values.positive("duration"),
        first_seen: values.time("first_seen"),
        category: values.coded("alert_category", Table::Category, version),
        is_acknowledged: values.flag("acknowledged"),
        flow_status: flow_status.or(of_flow),
        at,
        engine,
        subtype,
        entity,
        value: value.unwrap_or_default(),
        table,
        severity,
        score,
        message,
        details,
    }
}

/// What an alert without an entity is about.
fn guessed(is_flow: bool, values: &Values) -> Coded {
    if is_flow {
        Coded { number: Some(4), name: "flow".into() }
    } else if values.has("ip") {
        Coded { number: Some(1), name: "host".into() }
    } else {
        Coded::none()
    }
}

/// From 5.0 on the same number means another thing for flows and for hosts.
fn table(entity: &Coded, number: Option<i64>) -> Table {
    match &*entity.name {
        _ if number.is_some_and(|number| number >= 4_096) => Table::OtherAlert,
        "flow" => Table::FlowAlert,
        "host" => Table::HostAlert,
        _ => Table::OtherAlert,
    }
}

/// Up to 3.9 the first part of `min_bytes`; later a number of seconds, of which 0 is none.
fn engine(
    values: &mut Values,
    names: &Names,
    version: Version,
    subtype: &str,
) -> Option<Cow<'static, str>> {
    if let Some(engine) = values.coded("alert_engine", Table::Engine, version) {
        return Some(engine.name);
    }
    let first = subtype.split('_').next().unwrap_or_default();
    if codes::number(Table::Engine, first, version).is_some() {
        return Some(first.to_owned().into());
    }
    let seconds = values.positive(names.granularity)?;
    codes::name(Table::Granularity, seconds, version).map(Cow::Borrowed)
}

fn action(values: &mut Values) -> Action {
    let Some(word) = values.text("action") else { return Action::Store };
    match word.trim().to_ascii_lowercase().as_str() {
        "engage" | "engaged" => Action::Engage,
        "release" | "released" => Action::Release,
        "store" | "stored" => Action::Store,
        _ => {
            values.guessed();
            Action::Store
        }
    }
}

/// What the keys are called.
struct Names {
    entity: &'static str,
    value: &'static str,
    kind: &'static str,
    severity: &'static str,
    subtype: &'static str,
    granularity: &'static str,
    json: &'static str,
    times: &'static [&'static str],
    ends: &'static [&'static str],
}

impl Names {
    /// The documentation of 3.6 and 3.8 has `alert_type` and `alert_severity` where their sources have
    /// `type` and `severity`; programs follow the one or the other.
    fn in_use(self, values: &Values) -> Self {
        let documented = |key, other| if values.has(key) { key } else { other };
        match self.entity {
            "entity_type" => Self {
                kind: documented(self.kind, "alert_type"),
                severity: documented(self.severity, "alert_severity"),
                ..self
            },
            _ => self,
        }
    }

    const fn of(generation: Generation) -> Self {
        match generation {
            Generation::A => Self {
                entity: "entity_type",
                value: "entity_value",
                kind: "type",
                severity: "severity",
                subtype: "alert_key",
                granularity: "granularity",
                json: "alert_json",
                times: &["tstamp", "when", "timestamp", "alert_tstamp"],
                ends: &[],
            },
            Generation::B => Self {
                entity: "alert_entity",
                value: "alert_entity_val",
                kind: "alert_type",
                severity: "alert_severity",
                subtype: "alert_subtype",
                granularity: "alert_granularity",
                json: "alert_json",
                times: &["alert_tstamp", "tstamp", "when", "timestamp"],
                ends: &["alert_tstamp_end", "tstamp_end"],
            },
            Generation::C => Self {
                entity: "entity_id",
                value: "entity_val",
                kind: "alert_id",
                severity: "severity",
                subtype: "subtype",
                granularity: "granularity",
                json: "json",
                times: &["tstamp", "alert_tstamp", "when", "timestamp"],
                ends: &["tstamp_end", "alert_tstamp_end"],
            },
        }
    }
}
