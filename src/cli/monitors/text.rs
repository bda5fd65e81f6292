//! Monitors and their runs as text for people. What somebody else wrote cannot steer a terminal.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    cli::printed::cut_to,
    finding::{printable, printable_lines},
    monitors::{Item, Past, Run, Trial},
};

/// Above the lines.
pub(super) const HEADING: &str = "id                                state     last run              last alert            name: what is wrong with it";

/// One line; where it is too long for the terminal, its end is cut.
pub(super) fn line(item: &Item, width: Option<usize>) -> String {
    let id = printable(item.id.as_deref().unwrap_or("-"));
    let state = if item.enabled { "enabled" } else { "disabled" };
    let (ran, fired) = (second(item.last_run.as_ref()), second(item.last_alert.as_ref()));
    let mut line = format!("{id:<32}  {state:<8}  {ran:<20}  {fired:<20}  ");
    line.push_str(&printable(&item.name));
    if let Some(trouble) = item.trouble.first() {
        line.push_str(": ");
        line.push_str(&printable(&trouble.what));
    }
    cut_to(width, line)
}

fn second(time: Option<&String>) -> String {
    let Some(text) = time else { return "-".to_owned() };
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => printable(text),
    }
}

/// What is listed of one, and its body.
pub(super) fn shown(shown: &Value) -> String {
    let mut text = String::new();
    let item = shown["condition"].as_object().into_iter().flatten();
    for (name, value) in item {
        let value = match value {
            Value::Null => continue,
            Value::String(value) => value.clone(),
            Value::Array(list) if list.is_empty() => continue,
            value => value.to_string(),
        };
        // Writing to a `String` cannot fail.
        writeln!(text, "{name:<12}{}", printable(&value)).ok();
    }
    let body = serde_json::to_string_pretty(&shown["monitor"]).unwrap_or_default();
    writeln!(text, "\nmonitor\n{}", printable_lines(&body)).ok();
    text
}

/// How it stands after it was switched.
pub(super) fn switched(item: &Item) -> String {
    let state = if item.enabled { "enabled" } else { "disabled" };
    format!("{state} {} ({})", printable(&item.name), printable(item.id.as_deref().unwrap_or("-")))
}

/// A line for each run.
pub(super) fn past(past: &Past) -> String {
    let mut text = String::new();
    if past.runs.is_empty() {
        let what = match past.engine.as_str() {
            "builtin" => "no run yet",
            _ => "no alert yet",
        };
        writeln!(text, "{}: {what}", printable(&past.name)).ok();
        return text;
    }
    writeln!(text, "began                 took       outcome   triggers").ok();
    for run in &past.runs {
        writeln!(text, "{}", run_line(run)).ok();
    }
    text
}

fn run_line(run: &Run) -> String {
    let began = second(run.started_at.as_ref().or(run.scheduled_at.as_ref()));
    let took = run.took_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let mut line = format!("{began:<20}  {took:<9}  {:<8}  ", printable(&run.outcome));
    line.push_str(&printable(&run.triggers.join(", ")));
    if let Some(messages) = run.messages.filter(|count| *count > 0) {
        let s = if messages == 1 { "" } else { "s" };
        write!(line, " ({messages} message{s})").ok();
    }
    if let Some(alert) = &run.alert {
        write!(line, " ({})", printable(alert)).ok();
    }
    if let Some(error) = &run.error {
        write!(line, " error: {}", printable(error)).ok();
    }
    line.trim_end().to_owned()
}

/// What a run decided, and its messages.
pub(super) fn trial(trial: &Trial) -> String {
    let mut text = String::new();
    if let Some(error) = &trial.error {
        writeln!(text, "its query fails: {}", printable(error)).ok();
    }
    for one in &trial.triggers {
        let fires = if one.fires { "fires" } else { "does not fire" };
        writeln!(text, "trigger {:?} {fires}", printable(&one.name)).ok();
        if let Some(error) = &one.error {
            writeln!(text, "  error: {}", printable(error)).ok();
        }
    }
    let verb = if trial.dry_run { "would send" } else { "sent" };
    for one in &trial.messages {
        let action = printable(&one.action);
        match (&one.body, &one.error) {
            (Some(message), _) => {
                writeln!(text, "action {action:?} {verb}:\n{}", printable_lines(message)).ok();
            }
            (None, error) => {
                let why = error.as_deref().unwrap_or("the engine does not say why");
                writeln!(text, "action {action:?} failed: {}", printable(why)).ok();
            }
        }
    }
    if text.is_empty() {
        text.push_str("it has no trigger: it tells nobody\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_under_its_heading() {
        let item = Item {
            id: Some("Q1uoGaIBdHdTp8SCcGmh".to_owned()),
            name: "Too many\u{1b} notices".to_owned(),
            enabled: true,
            last_run: Some("2026-11-22T05:30:00.120Z".to_owned()),
            ..Item::default()
        };
        let line = line(&item, None);
        assert_eq!(HEADING.find("name:"), line.find("Too many\\u{1b}"), "{line}");
        assert_eq!(HEADING.find("last run"), line.find("2026-11-22T05:30:00Z"), "{line}");
    }

    #[test]
    fn runs_and_trials_are_told() {
        let run = Run {
            started_at: Some("2026-11-22T05:30:00.120Z".to_owned()),
            took_ms: Some(41),
            outcome: "fired".to_owned(),
            triggers: vec!["more than 5".to_owned()],
            messages: Some(1),
            ..Run::default()
        };
        let told = past(&Past { runs: vec![run], ..Past::default() });
        let want = "2026-11-22T05:30:00Z  41 ms      fired     more than 5 (1 message)\n";
        assert!(told.ends_with(want), "{told}");
        let none = past(&Past { engine: "builtin".to_owned(), ..Past::default() });
        assert!(none.contains("no run yet"));

        let report = serde_json::json!({"trigger_results": {"T": {"name": "t", "triggered": true,
            "action_results": {"A": {"output": {"message": "a\u{7}b"}}}}}});
        let told = trial(&Trial::of(&Value::Null, &report, true));
        assert_eq!(told, "trigger \"t\" fires\naction \"A\" would send:\na\\u{7}b\n");
    }
}
