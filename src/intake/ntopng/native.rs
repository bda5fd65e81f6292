//! An alert in ntopng's own form → [`Alert`].

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    address::{add_named, bare},
    codes::Table,
    entity,
    flow::{self, Flow},
    html,
    key::key,
    put,
    sentence::sentence,
    severity,
    told::{self, Action, Told},
    version::{Generation, Version},
};
use crate::{
    alert::{Alert, Named, Phase, Source, UNKNOWN_SEVERITY, bucket::About},
    intake::{lenient::Lenient, masked::masked},
};

/// Reads an alert of this generation. Nothing in it can be so wrong that there is none.
pub fn decode(
    object: &Map<String, Value>,
    generation: Generation,
    declared: Option<Version>,
) -> Alert {
    let mut lenient = Lenient::default();
    let told = told::read(object, generation, declared, &mut lenient);
    let mut alert = Alert::of(Source::Ntopng);
    let mut about = About::default();
    add_observer(&mut about, told.ifid);
    let is_flow = told.entity.name == "flow";
    let flow = is_flow.then(|| flow::add(&mut about, object, &told, &mut lenient));
    match &flow {
        Some(flow) => flow::concern_hosts(&mut alert, flow),
        None => entity::add(&mut alert, &mut about, object, &told, &mut lenient),
    }
    entity::concern_pools(&mut alert, object, &mut lenient);
    let said = told.message.as_deref().map(html::text).filter(|text| !text.is_empty());
    if let Some(said) = &said {
        add_named(&mut about, said);
    }
    let message = said.unwrap_or_else(|| html::text(&sentence(&told, flow.as_ref())));
    alert.rule = Named { id: rule_id(&told), name: Some(told.kind.name.clone().into_owned()) };
    put(&mut about, "rule.ruleset", Some("ntopng"));
    put(&mut about, "rule.description", description(&told));
    let category = told.category.as_ref().map(|category| category.name.clone().into_owned());
    put(&mut about, "rule.category", category);
    put(&mut about, "event.code", told.kind.number.map(|number| number.to_string()));
    alert.severity =
        told.severity.as_deref().and_then(severity::percent).unwrap_or(UNKNOWN_SEVERITY);
    live(&mut alert, &told, flow.as_ref());
    alert.trigger.name = Some(message.clone());
    alert.message = Some(message);
    alert.original = Some(original(object));
    alert.about = Some(Box::new(about));
    if lenient.wrong {
        alert.tag("repaired");
    }
    alert
}

/// What the names of its kind leave open: `bytes, every 5mins`, `flow status blacklisted`.
fn description(told: &Told) -> Option<String> {
    let subtype = Some(told.subtype.clone()).filter(|subtype| !subtype.is_empty());
    let engine = told.engine.as_ref().map(|engine| format!("every {engine}"));
    let status = told.flow_status.as_ref().map(|status| format!("flow status {}", status.name));
    let parts: Vec<_> = [subtype, engine, status].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `host-20`, `type-17`: a number alone means another thing for another entity.
fn rule_id(told: &Told) -> Option<String> {
    let table = match told.table {
        Table::FlowAlert => "flow",
        Table::HostAlert => "host",
        Table::OtherAlert => "other",
        _ => "type",
    };
    told.kind.number.map(|number| format!("{table}-{number}"))
}

/// The object as it came, without its secrets.
pub fn original(object: &Map<String, Value>) -> String {
    let text = serde_json::to_string(object).unwrap_or_default();
    String::from_utf8_lossy(&masked(text.as_bytes())).into_owned()
}

/// What identifies it, when it was, and how far its life is.
fn live(alert: &mut Alert, told: &Told, flow: Option<&Flow>) {
    if told.action == Action::Store {
        alert.phase = Phase::Stored;
        alert.start = earlier(told.first_seen, told.at).or(told.end);
        alert.end = told.end.max(told.at).or(alert.start);
        alert.id = Some(stored_key(told, flow));
        if told.is_acknowledged {
            alert.tag("acknowledged");
        }
        return;
    }
    alert.phase = match told.action {
        Action::Release => Phase::Released,
        _ if told.is_acknowledged => Phase::Acknowledged,
        _ => Phase::Engaged,
    };
    // An end of 0, or before the begin, is that of what goes on.
    let last = told.end.max(told.at);
    (alert.start, alert.end, alert.as_of) = (told.at.or(last), last, last);
    if let Some(began) = told.at.filter(|_| told.generation != Generation::A) {
        alert.began = Some(began);
        alert.id = Some(series_key(told, Some(began)));
        return;
    }
    // Up to 3.9 nothing says when that began which is released now; but a program may tell how long
    // it was.
    alert.series = Some(series_key(told, None));
    let seconds = told.duration.filter(|_| told.action == Action::Release);
    let long = seconds.map(SignedDuration::from_secs);
    let began = last.zip(long).and_then(|(last, long)| last.checked_sub(long).ok());
    alert.start = began.or(alert.start);
}

/// Of what engages and is released: interface, entity, kind, subtype, how often it is looked at, and
/// since when it is engaged.
fn series_key(told: &Told, began: Option<Timestamp>) -> String {
    let ifid = told.ifid.map(|id| id.to_string()).unwrap_or_default();
    let began = began.map(|began| began.as_millisecond().to_string()).unwrap_or_default();
    key(&[
        "ntopng",
        &ifid,
        &told.entity.name,
        &bare(&told.value),
        &told.kind.name,
        &told.subtype,
        &told.granularity,
        &began,
    ])
}

/// Of what only happened: all that, when it was, what was said, and the flow.
fn stored_key(told: &Told, flow: Option<&Flow>) -> String {
    let at = told.at.map(|at| at.as_millisecond().to_string()).unwrap_or_default();
    let first = told.first_seen.map(|at| at.as_millisecond().to_string()).unwrap_or_default();
    let details = if told.details.is_empty() {
        String::new()
    } else {
        Value::Object(told.details.clone()).to_string()
    };
    let flow = flow.map(Flow::identity).unwrap_or_default();
    let message = told.message.as_deref().unwrap_or_default();
    key(&["ntopng", "store", &series_key(told, None), &at, &first, message, &details, &flow])
}

/// What every record of ntopng has: who saw it.
pub fn add_observer(about: &mut About, ifid: Option<i64>) {
    about.fields.push(("observer.vendor".to_owned(), json!("ntop")));
    about.fields.push(("observer.product".to_owned(), json!("ntopng")));
    put(about, "observer.ingress.interface.id", ifid.map(|id| id.to_string()));
}

/// The earlier of two times that are there.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
