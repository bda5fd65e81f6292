//! An alert in ntopng's own form → [`Alert`].

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    codes::Table,
    html,
    key::key,
    sentence::sentence,
    severity,
    told::{self, Action, Told},
    traffic::{self, Flow},
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
    traffic::add_observer(&mut about, told.ifid);
    let is_flow = told.entity.name == "flow";
    let flow = is_flow.then(|| traffic::add_flow(&mut about, object, &told, &mut lenient));
    match &flow {
        Some(flow) => traffic::concern_hosts(&mut alert, flow),
        None => traffic::add_entity(&mut alert, &mut about, object, &told, &mut lenient),
    }
    traffic::concern_pools(&mut alert, object, &mut lenient);
    let said = told.message.as_deref().map(html::text).filter(|text| !text.is_empty());
    if let Some(said) = &said {
        traffic::add_named(&mut about, said);
    }
    let message = said.unwrap_or_else(|| html::text(&sentence(&told, flow.as_ref())));
    alert.rule = Named { id: rule_id(&told), name: Some(told.kind.name.clone().into_owned()) };
    traffic::put(&mut about, "rule.ruleset", Some("ntopng"));
    let category = told.category.as_ref().map(|category| category.name.clone().into_owned());
    traffic::put(&mut about, "rule.category", category);
    traffic::put(&mut about, "event.code", told.kind.number.map(|number| number.to_string()));
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
        alert.start = traffic::earlier(told.first_seen, told.at).or(told.end);
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
    match told.at.filter(|_| told.generation != Generation::A) {
        Some(began) => {
            alert.began = Some(began);
            alert.id = Some(series_key(told, Some(began)));
        }
        // Up to 3.9 nothing says when that began which is released now.
        None => alert.series = Some(series_key(told, None)),
    }
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
        &traffic::bare(&told.value),
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
    let flow = flow.map(|flow| format!("{flow:?}")).unwrap_or_default();
    let message = told.message.as_deref().unwrap_or_default();
    key(&["ntopng", "store", &series_key(told, None), &at, &first, message, &details, &flow])
}
