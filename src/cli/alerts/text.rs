//! Alerts as text for people. What somebody else wrote cannot steer a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cli::printed::cut_to,
    finding::{printable, printable_lines},
    history::{Item, Life},
};

/// Above the lines.
pub(super) const HEADING: &str = "began                 sev  state         source        id                           rule: reason";

/// One line; where it is too long for the terminal, its end is cut.
pub(super) fn line(item: &Item, width: Option<usize>) -> String {
    let began = second(item.began.as_deref().unwrap_or("-"));
    let state = match item.outcome.as_deref() {
        Some("failure") => "failure".to_owned(),
        _ if item.stale => "stale".to_owned(),
        _ if item.state.is_empty() => "-".to_owned(),
        _ => printable(&item.state),
    };
    let (severity, source) = (item.severity, printable(&item.source));
    let id = printable(&item.id);
    let mut line = format!("{began:<20}  {severity:>3}  {state:<12}  {source:<12}  {id:<27}  ");
    line.push_str(&printable(if item.rule.is_empty() { "-" } else { &item.rule }));
    let what = item.reason.as_ref().or(item.message.as_ref());
    if let Some(what) = what.filter(|what| **what != item.rule) {
        line.push_str(": ");
        line.push_str(&printable(what));
    }
    cut_to(width, line)
}

/// A time of day to the second, in UTC.
fn second(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => printable(text),
    }
}

/// Every field, the states, the deliveries, the message and the record.
pub(super) fn life(life: &Life) -> String {
    let Life { item, stages, deliveries, raw, record, unknown } = life;
    let mut text = String::new();
    let joined = |list: &[String]| Some(list.join(", ")).filter(|list| !list.is_empty());
    let lasted = item.duration_ms.map(|ms| {
        let seconds = jiff::SignedDuration::from_secs(ms / 1_000);
        format!("{seconds:#}")
    });
    for (name, value) in [
        ("record", Some(format!("{}/{}", item.index, item.id))),
        ("alert", Some(item.alert.clone())),
        ("state", Some(item.state.clone())),
        ("outcome", item.outcome.clone()),
        ("severity", Some(item.severity.to_string())),
        ("source", Some(item.source.clone())),
        ("rule", Some(item.rule.clone())),
        ("rule id", item.rule_id.clone()),
        ("reason", item.reason.clone()),
        ("about", joined(&item.entities)),
        ("tags", joined(&item.tags)),
        ("lasted", lasted),
        ("message", item.message.clone()),
        ("link", item.url.clone()),
    ] {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        // Writing to a `String` cannot fail.
        writeln!(text, "{name:<10}{}", printable(&value)).ok();
    }
    text.push_str("\nwhat happened\n");
    for stage in stages {
        let (at, state) = (second(&stage.at), printable(&stage.state));
        writeln!(text, "  {at:<20}  {state:<12}  {}", printable(&stage.what)).ok();
    }
    if !deliveries.is_empty() {
        text.push_str("\ndeliveries\n");
    }
    for one in deliveries {
        let reason = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (at, id) = (second(&one.created_at), one.id);
        let what = format!("{} by {} ({}){reason}", one.state, one.callback, one.action);
        writeln!(text, "  {at:<20}  {id:<12}  {}", printable(&what)).ok();
    }
    for why in unknown {
        writeln!(text, "\nnot known: {}", printable(why)).ok();
    }
    if let Some(raw) = raw {
        writeln!(text, "\nmessage as it came (kept in the {})", printable(&raw.kept_in)).ok();
        writeln!(text, "{}", printable_lines(&raw.body)).ok();
    }
    let record = Value::Object(record.clone());
    let record = serde_json::to_string_pretty(&record).unwrap_or_default();
    writeln!(text, "\nrecord\n{}", printable_lines(&record)).ok();
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::{Raw, Stage};

    fn item() -> Item {
        Item {
            id: "261122-4iCoGaIBdHdTp8SCmGsL".to_owned(),
            index: "s-261122".to_owned(),
            alert: "4iCoGaIBdHdTp8SCmGsL".to_owned(),
            state: "released".to_owned(),
            severity: 80,
            source: "malcolm".to_owned(),
            rule: "Too many notices".to_owned(),
            reason: Some("more\u{1b}[2J than 5".to_owned()),
            began: Some("2026-11-22T00:40:00.000Z".to_owned()),
            duration_ms: Some(90_000),
            ..Item::default()
        }
    }

    #[test]
    fn a_line_stands_under_its_heading_and_is_cut_to_the_terminal() {
        let whole = line(&item(), None);
        assert_eq!(
            whole,
            "2026-11-22T00:40:00Z   80  released      malcolm       261122-4iCoGaIBdHdTp8SCmGsL  Too many notices: more\\u{1b}[2J than 5\n"
        );
        assert_eq!(HEADING.find("rule:"), whole.find("Too many"));
        assert_eq!(HEADING.find(" id "), whole.find(" 261122"));
        assert_eq!(line(&item(), Some(50)).trim_end().chars().count(), 50);
        let failed = Item { outcome: Some("failure".to_owned()), ..item() };
        assert!(line(&failed, None).contains("failure"));
    }

    #[test]
    fn the_life_is_told_and_nothing_in_it_steers_the_terminal() {
        let life = super::life(&Life {
            item: item(),
            stages: vec![Stage {
                at: "2026-11-22T00:40:00.000Z".to_owned(),
                state: "engaged".to_owned(),
                what: "it began\u{7}".to_owned(),
            }],
            deliveries: Vec::new(),
            raw: Some(Raw { body: "a\n\u{1b}[31mb".to_owned(), kept_in: "record".to_owned() }),
            record: json!({"message": "\u{9b}c"}).as_object().unwrap().clone(),
            unknown: vec!["the Alerting: timed out".to_owned()],
        });
        assert!(life.contains("lasted    1m 30s\n"), "{life}");
        assert!(life.contains("  2026-11-22T00:40:00Z  engaged       it began\\u{7}\n"), "{life}");
        assert!(life.contains("kept in the record)\na\n"), "{life}");
        let controls = life.chars().filter(|letter| letter.is_control() && *letter != '\n');
        assert_eq!(controls.count(), 0, "{life:?}");
    }
}
