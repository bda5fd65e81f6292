//! Deliveries as text for people. What somebody else wrote cannot steer a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{
    cli::printed::cut_to,
    deliveries::{Item, Whole},
    finding::{printable, printable_lines},
};

/// Above the lines.
pub(super) const HEADING: &str =
    "   id  created               callback          state      tries  action    rule: reason";

/// One line; where it is too long for the terminal, its end is cut.
pub(super) fn line(item: &Item, width: Option<usize>) -> String {
    let created = match item.created_at.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => printable(&item.created_at),
    };
    let Item { id, attempts, .. } = item;
    let (callback, state) = (printable(&item.callback), printable(&item.state));
    let action = printable(&item.action);
    let mut line =
        format!("{id:>5}  {created:<20}  {callback:<16}  {state:<9}  {attempts:>5}  {action:<8}  ");
    line.push_str(&printable(if item.rule.is_empty() { "-" } else { &item.rule }));
    if let Some(reason) = &item.reason {
        line.push_str(": ");
        line.push_str(&printable(reason));
    }
    cut_to(width, line)
}

/// Every field, and then each try.
pub(super) fn whole(whole: &Whole) -> String {
    let Whole { item, runs } = whole;
    let mut text = String::new();
    let record = item.record.as_ref().map(|record| format!("{}/{}", record.index, record.id));
    for (name, value) in [
        ("id", Some(item.id.to_string())),
        ("callback", Some(item.callback.clone())),
        ("state", Some(item.state.clone())),
        ("action", Some(item.action.clone())),
        ("rule", Some(item.rule.clone())),
        ("severity", Some(item.severity.to_string())),
        ("alert", item.alert.clone()),
        ("record", record),
        ("created", Some(item.created_at.clone())),
        ("finished", item.finished_at.clone()),
        ("next try", item.next_try_at.clone()),
        ("tries", Some(item.attempts.to_string())),
        ("reason", item.reason.clone()),
    ] {
        let Some(value) = value else { continue };
        // Writing to a `String` cannot fail.
        writeln!(text, "{name:<10}{}", printable(&value)).ok();
    }
    for run in runs {
        let took = run.took_ms.map_or("-".to_owned(), |took| format!("{took} ms"));
        let status = run.status.map(|status| format!("  status {status}")).unwrap_or_default();
        let outcome = run.outcome.as_deref().unwrap_or("running");
        let (began, outcome) = (printable(&run.began_at), printable(outcome));
        writeln!(text, "\ntry {}   {began}  {took}  {outcome}{status}", run.attempt).ok();
        for (name, said) in [("reason", &run.reason), ("answer", &run.answer)] {
            if let Some(said) = said {
                let said = printable_lines(said).replace('\n', "\n          ");
                writeln!(text, "  {name:<8}{said}").ok();
            }
        }
    }
    if let Some(last) = runs.last() {
        writeln!(text, "\nconfiguration at the last try\n{:#}", last.configuration).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deliveries::Run;

    fn item(reason: Option<&str>) -> Item {
        Item {
            id: 7,
            callback: "pager".to_owned(),
            state: "failed".to_owned(),
            action: "engaged".to_owned(),
            rule: "Beacons".to_owned(),
            severity: 60,
            alert: None,
            record: None,
            created_at: "2026-11-21T10:30:37.235Z".to_owned(),
            finished_at: None,
            next_try_at: None,
            attempts: 3,
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn a_line_stands_under_its_heading_and_is_cut_to_the_terminal() {
        let whole = line(&item(Some("answered 404")), None);
        assert_eq!(
            whole,
            "    7  2026-11-21T10:30:37Z  pager             failed         3  engaged   Beacons: answered 404\n"
        );
        assert_eq!(HEADING.find("rule"), whole.find("Beacons"));
        let cut = line(&item(Some(&"long ".repeat(30))), Some(80));
        assert_eq!(cut.trim_end_matches('\n').chars().count(), 80);
    }

    #[test]
    fn what_the_other_side_said_cannot_steer_a_terminal() {
        let run = Run {
            attempt: 1,
            began_at: "2026-11-21T10:30:37Z".to_owned(),
            took_ms: None,
            outcome: None,
            status: Some(500),
            answer: Some("\u{1b}[2J\nsecond".to_owned()),
            reason: None,
            configuration: json!({"type": "http"}),
        };
        let shown = whole(&Whole { item: item(None), runs: vec![run] });
        assert!(shown.contains("  answer  \\u{1b}[2J\n          second\n"), "{shown}");
        assert!(shown.contains("try 1   2026-11-21T10:30:37Z  -  running  status 500"), "{shown}");
    }
}
