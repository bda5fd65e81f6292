//! What our own decoder makes of a rendered message. Pure.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    alert::Alert,
    finding::State,
    intake::{
        self, Encoding, Envelope,
        repair::{self, Repair},
    },
};

/// What a message should tell.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The monitor's id; none in a dry run.
    pub monitor_id: Option<&'a str>,
    /// The monitor's name.
    pub monitor: Name<'a>,
    /// The trigger's name, and its severity.
    pub trigger: Name<'a>,
    /// Whether there is one alert that has an id.
    pub has_alert_id: bool,
}

/// A name in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// Exactly this one.
    Is(&'a str),
    /// Any: the author has written one by hand.
    Any,
    /// It may be absent, since the message cannot know it.
    MayLack,
}

impl Name<'_> {
    fn fault(self, what: &str, came: Option<&str>) -> Option<String> {
        match (self, came) {
            (Self::MayLack, _) | (Self::Any, Some(_)) => None,
            (Self::Is(name), Some(came)) if name == came => None,
            (_, None) => Some(format!("it does not tell the {what}")),
            (_, Some(_)) => Some(format!("the {what} does not come through as it is")),
        }
    }
}

/// Something that is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad it is.
    pub state: State,
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

fn warn(what: impl Into<String>, mend: impl Into<String>) -> Fault {
    Fault { state: State::Warn, what: what.into(), mend: mend.into() }
}

/// An envelope with this body, received now.
#[must_use]
pub fn envelope(message: &str, received: Timestamp) -> Envelope {
    Envelope {
        source: None,
        received,
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body: message.as_bytes().to_vec(),
    }
}

/// The alert that the intake would read.
///
/// # Errors
/// In the words of the dead letter that it would become.
pub fn decode(message: &str) -> Result<Alert, String> {
    let envelope = envelope(message, Timestamp::UNIX_EPOCH);
    let alerts = intake::decode(&envelope, usize::MAX).map_err(|fault| fault.0)?;
    alerts.into_iter().next().ok_or("no alert in it")?.map_err(|fault| fault.0)
}

/// Everything that is wrong with a message that should tell `expected`.
#[must_use]
pub fn judge(message: &str, expected: &Expected) -> Vec<Fault> {
    if intake::heartbeat::read(message.as_bytes()).is_some() {
        return Vec::new(); // it shall make no record
    }
    let strict: Result<Value, _> = serde_json::from_str(message);
    let alert = match decode(message) {
        Ok(alert) => alert,
        Err(reason) => {
            let mend = match &strict {
                Ok(_) => "take a shipped message: an object `alert` is what is read".to_owned(),
                Err(_) => mends(&repair::repair(message.as_bytes()).repairs),
            };
            let what = format!("it becomes a dead letter, not a record: {reason}");
            return vec![Fault { state: State::Fail, what, mend }];
        }
    };
    let mut faults = Vec::new();
    if let Err(fault) = &strict {
        let repairs = repair::repair(message.as_bytes()).repairs;
        let names: Vec<_> = repairs.iter().map(|repair| repair.as_str()).collect();
        let what = format!(
            "it is not JSON ({fault}), and is read only after a repair: {}",
            names.join(", ")
        );
        faults.push(warn(what, mends(&repairs)));
    } else if alert.tags.contains(&"repaired".into()) {
        let mend = "put names and times between quotes, and nothing else there";
        faults.push(warn("a part of it has the wrong type and is left out", mend));
    }
    faults.extend(missing(&alert, expected));
    let json = strict.unwrap_or_default();
    let has_severity = json.pointer("/alert/trigger/severity").is_some();
    if json.is_object() && !has_severity && expected.trigger != Name::MayLack {
        let mend = r#"add `"severity": "{{ctx.trigger.severity}}"` to `trigger`"#;
        faults.push(warn("it tells no severity, so the record gets 40", mend));
    }
    faults
}

fn missing(alert: &Alert, expected: &Expected) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(what) = expected.monitor.fault("monitor's name", alert.rule.name.as_deref()) {
        let mend =
            r#"write `"monitor": {"id": "{{ctx.monitor._id}}", "name": "{{ctx.monitor.name}}"}`"#;
        faults.push(warn(what, mend));
    }
    if expected.monitor_id.is_some() && alert.rule.id.as_deref() != expected.monitor_id {
        let mend = r#"add `"id": "{{ctx.monitor._id}}"` to `monitor`"#;
        let what = "it tells no id of the monitor, so the record cannot link to it, and one of two monitors of the same name cannot be told from the other";
        faults.push(warn(what, mend));
    }
    // What crosses a threshold says so in the place of the trigger's name.
    let kind = alert.occasion.as_ref().and_then(|occasion| occasion.condition.kind.as_deref());
    let trigger = match expected.trigger {
        Name::Is(_) if kind == Some("threshold_cross") => Name::Any,
        other => other,
    };
    if let Some(what) = trigger.fault("trigger's name", alert.trigger.name.as_deref()) {
        let mend =
            r#"write `"trigger": {"id": "{{ctx.trigger.id}}", "name": "{{ctx.trigger.name}}", …}`"#;
        faults.push(warn(what, mend));
    }
    if alert.start.is_none() && alert.end.is_none() {
        let mend =
            r#"write `"period": {"start": "{{ctx.periodStart}}", "end": "{{ctx.periodEnd}}"}`"#;
        faults.push(warn("it tells no period, so the record stands where it is received", mend));
    }
    if expected.has_alert_id && alert.id.is_none() {
        let mend = r#"write `"alert": "{{ctx.alert.id}}"`, or take the shipped message of this kind of monitor, which lists the alerts"#;
        let what = "it tells no id of the alert, so each firing may become a record of its own";
        faults.push(warn(what, mend));
    }
    faults
}

/// What makes the repairs needless.
fn mends(repairs: &[Repair]) -> String {
    let mut mends: Vec<&str> = repairs
        .iter()
        .map(|repair| match repair {
            Repair::QuotedJson => "take the quotes around `{{#toJson}}…{{/toJson}}` away",
            Repair::UnquotedWord => "put quotes around `{{…}}`",
            Repair::InnerQuote | Repair::ControlCharacter | Repair::BadEscape => {
                "write `{{x}}`, which escapes, in the place of `{{{x}}}` and of `{{#toJson}}` of a text"
            }
            Repair::TrailingComma => "write no comma before a closing bracket, nor at the end of a list's item",
            Repair::MissingValue => {
                "write nothing with `{{#toJson}}` that this kind of monitor does not have"
            }
            _ => "take the shipped message",
        })
        .collect();
    if mends.is_empty() {
        mends.push("take the shipped message, and look at quotes and brackets around each `{{…}}`");
    }
    mends.dedup();
    mends.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"alert": {"monitor": {"id": "m1", "name": "Beacons"},
        "trigger": {"id": "t", "name": "over", "severity": "2"},
        "period": {"start": "2026-11-06T05:00:00Z", "end": "2026-11-06T05:10:00Z"},
        "results": [], "alert": "a1"}}"#;

    fn expected() -> Expected<'static> {
        Expected {
            monitor_id: Some("m1"),
            monitor: Name::Is("Beacons"),
            trigger: Name::Is("over"),
            has_alert_id: true,
        }
    }

    fn faults(message: &str) -> Vec<(State, String)> {
        let all = judge(message, &expected());
        assert!(all.iter().all(|fault| !fault.mend.is_empty()));
        all.into_iter().map(|fault| (fault.state, fault.what)).collect()
    }

    #[test]
    fn a_message_that_tells_all_has_no_fault() {
        assert_eq!(faults(GOOD), vec![]);
        let later = Expected { has_alert_id: false, ..expected() };
        assert_eq!(judge(&GOOD.replace("a1", ""), &later), vec![]);
        let by_hand = Expected { monitor: Name::Any, trigger: Name::Any, ..expected() };
        assert_eq!(judge(&GOOD.replace("Beacons", "mine"), &by_hand), vec![]);
        let composite = Expected { trigger: Name::MayLack, ..expected() };
        assert_eq!(judge(&GOOD.replace("\"trigger\"", "\"none\""), &composite), vec![]);
    }

    #[test]
    fn a_heartbeat_need_not_tell_anything() {
        assert_eq!(faults(r#"{"heartbeat": {"monitor": "Alertloop Heartbeat"}}"#), vec![]);
        assert_eq!(faults(r#"{"heartbeat": {}}"#)[0].0, State::Fail);
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, state, want) in [
            ("\"id\": \"m1\"", "\"id\": \"\"", State::Warn, "no id of the monitor"),
            ("\"Beacons\"", "\"\"", State::Warn, "does not tell the monitor's name"),
            ("\"Beacons\"", "\"Bea&quot;\"", State::Warn, "monitor's name does not come through"),
            ("\"over\"", "null", State::Warn, "does not tell the trigger's name"),
            ("\"period\"", "\"pereod\"", State::Warn, "no period"),
            ("\"a1\"", "\"\"", State::Warn, "no id of the alert"),
            ("\"severity\"", "\"level\"", State::Warn, "no severity"),
            ("\"a1\"", "[]", State::Warn, "wrong type"),
            ("\"2\"", "high", State::Warn, "unquoted-word"),
            ("Beacons", "Bea\"cons", State::Warn, "inner-quote"),
            ("\"results\": []", "\"results\":", State::Warn, "missing-value"),
            ("{\"alert\": {", "{\"alarm\": {", State::Fail, "dead letter"),
            ("\"a1\"}}", "\"a1\"}", State::Fail, "not JSON"),
        ] {
            let faults = faults(&GOOD.replace(from, to));
            assert!(
                faults.iter().any(|(is, what)| *is == state && what.contains(want)),
                "{to}: {faults:?}"
            );
        }
    }
}
