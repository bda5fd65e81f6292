//! `GET /`: how alerting is, what is engaged, when alerts began, the last of them, and the health of
//! the service. While the store is away the page shows what the service itself knows, with 200.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract,
    http::{StatusCode, Uri},
    response::Response,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    chart::Chart,
    frame::{Frame, page},
    headline::{Facts, Headline},
    rows::{List, Row},
    shown::{bytes, count, number, span},
};
use crate::{
    clock, engaged,
    history::{self, Band, Filter, Span},
    http::{ApiError, State, caller::Reader, status::Status},
    opensearch::Error,
};

/// How much the chart shows.
const CHART: Duration = Duration::from_hours(24);
/// How many alerts are listed.
const LAST: usize = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    headline: Headline,
    tiles: Vec<Tile>,
    chart: Option<Chart>,
    severities: [Band; 5],
    list: List,
    health: Vec<Line>,
}

/// How many are engaged with one severity.
struct Tile {
    severity: Band,
    count: String,
}

/// One line about the service itself.
struct Line {
    name: &'static str,
    text: String,
    is_bad: bool,
    path: Option<&'static str>,
}

/// The page.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let now = clock::now();
    let asked = engaged::Question { limit: 1, ..engaged::Question::default() };
    let last = history::Question { limit: LAST, ..history::Question::default() };
    let none = Filter::default();
    let (engaged, counted, last) = tokio::join!(
        state.engaged.page(&asked),
        state.history.overview(&none, Span::last(CHART, now)),
        state.history.page(&last),
    );
    let standing = serde_json::to_value(Status::of(&state)).unwrap_or_default();
    let troubles = [
        trouble(&engaged, |page| page.outdated.as_ref()),
        trouble(&counted, |counted| counted.outdated.as_ref()),
        trouble(&last, |page| page.outdated.as_ref()),
    ];
    let incomplete = [
        engaged.as_ref().ok().and_then(|page| page.incomplete.clone()),
        counted.as_ref().ok().and_then(|counted| counted.incomplete.clone()),
        last.as_ref().ok().and_then(|page| page.incomplete.clone()),
    ];
    let asked = state.page.away.note(troubles.into_iter().flatten().next(), now);
    let by_severity = engaged.as_ref().map(by_severity).ok();
    let facts = Facts {
        engaged: engaged.as_ref().ok().map(|page| {
            let critical = by_severity.map_or(0, |counts| counts[0]);
            (page.total, critical)
        }),
        incomplete: incomplete.into_iter().flatten().next(),
        ..facts(&state, &standing, asked)
    };
    let tiles = Band::ALL.into_iter().enumerate().map(|(place, severity)| Tile {
        severity,
        count: by_severity.map_or_else(|| "?".to_owned(), |counts| number(counts[place])),
    });
    let rows: Vec<_> =
        last.map(|page| page.items.iter().map(Row::of).collect()).unwrap_or_default();
    let mut frame = Frame::of(&state, &caller, &uri, "Overview");
    frame.rows_are_all = true;
    Ok(page(
        StatusCode::OK,
        &Overview {
            frame,
            headline: Headline::of(&facts, now),
            tiles: tiles.collect(),
            chart: counted.ok().map(|counted| Chart::of(&counted)),
            severities: Band::ALL,
            list: List {
                name: "The ten alerts that began last",
                rows,
                none: if facts.store_trouble.is_some() {
                    "OpenSearch does not answer."
                } else {
                    "None yet."
                },
                is_live: true,
                most: LAST,
            },
            health: lines(&standing, &facts, now),
        },
    ))
}

/// Why the store could not be asked.
fn trouble<T>(answer: &Result<T, Error>, outdated: fn(&T) -> Option<&String>) -> Option<String> {
    match answer {
        Ok(answer) => outdated(answer).cloned(),
        Err(fault) => Some(fault.to_string()),
    }
}

/// How many are engaged of each severity, the worst first.
fn by_severity(page: &engaged::Page) -> [u64; 5] {
    Band::ALL.map(|band| {
        let counts = page.counts.severity.iter();
        let of_band = counts.filter(|(severity, _)| {
            severity.parse::<f64>().is_ok_and(|severity| Band::of(whole(severity)) == band)
        });
        of_band.map(|(_, count)| count).sum()
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a severity is a small number")]
fn whole(severity: f64) -> i64 {
    severity as i64
}

fn facts(state: &State, standing: &Value, asked: Option<(String, Timestamp)>) -> Facts {
    let text = |path: &str| standing.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let count = |path: &str| standing.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let written = text("/store/trouble");
    let (asked, asked_since) = asked.unzip();
    Facts {
        engaged: None,
        store_since: [state.writer.since(), asked_since].into_iter().flatten().min(),
        store_trouble: written.or(asked),
        spool_trouble: text("/spool/trouble"),
        waiting: (count("/spool/waiting"), time(standing, "/spool/oldest")),
        dead_letters: count("/spool/dead_letters"),
        failing: state.callbacks.failing().into_iter().map(|one| one.name).collect(),
        heartbeat_is_late: standing.pointer("/heartbeat/late") == Some(&Value::Bool(true)),
        incomplete: None,
    }
}

fn time(standing: &Value, path: &str) -> Option<Timestamp> {
    standing.pointer(path)?.as_str()?.parse().ok()
}

fn lines(standing: &Value, facts: &Facts, now: Timestamp) -> Vec<Line> {
    let text = |path: &str| standing.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let number_at = |path: &str| standing.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let since = |at: Timestamp| span(now.duration_since(at));
    let line = |name, text: String, is_bad, path| Line { name, text, is_bad, path };
    let (waiting, oldest) = facts.waiting;
    let mut lines = vec![
        line(
            "OpenSearch",
            facts.store_trouble.clone().unwrap_or_else(|| "answers, and takes alerts".to_owned()),
            facts.store_trouble.is_some(),
            None,
        ),
        line(
            "Spool",
            match (&facts.spool_trouble, oldest) {
                (Some(trouble), _) => trouble.clone(),
                (None, None) => "empty: everything is stored".to_owned(),
                (None, Some(oldest)) => format!(
                    "{} not stored yet, the oldest received {} ago; {}",
                    count(waiting, "alert"),
                    since(oldest),
                    bytes(number_at("/spool/bytes")),
                ),
            },
            facts.spool_trouble.is_some(),
            None,
        ),
        line(
            "Dead letters",
            match (facts.dead_letters, time(standing, "/spool/oldest_dead_letter")) {
                (0, _) => "none".to_owned(),
                (letters, oldest) => format!(
                    "{}{}",
                    number(letters),
                    oldest
                        .map(|at| format!(", the oldest received {} ago", since(at)))
                        .unwrap_or_default()
                ),
            },
            facts.dead_letters > 0,
            Some("dead-letters"),
        ),
    ];
    if !standing["callbacks"].is_null() {
        let failing = facts.failing.join(", ");
        let text = format!(
            "{} enabled, {} pending, {} failed{}",
            number_at("/callbacks/enabled"),
            number(number_at("/callbacks/pending")),
            number(number_at("/callbacks/failed")),
            if failing.is_empty() { String::new() } else { format!("; failing now: {failing}") }
        );
        lines.push(line("Callbacks", text, !facts.failing.is_empty(), Some("deliveries")));
    }
    if let Some(provisioning) = text("/provisioning") {
        lines.push(line("Provisioning", provisioning, false, Some("set-up")));
    }
    let trouble = text("/reconciler/trouble");
    let reconciler = match (&trouble, time(standing, "/reconciler/last")) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(last)) => format!("compared with OpenSearch's alerts {} ago", since(last)),
        (None, None) if standing["reconciler"] == "off" => "off".to_owned(),
        (None, None) if standing.pointer("/reconciler/leads") == Some(&Value::Bool(false)) => {
            "another replica does it".to_owned()
        }
        (None, None) => "has not compared yet".to_owned(),
    };
    lines.push(line("Reconciling", reconciler, trouble.is_some(), None));
    if !standing["heartbeat"].is_null() {
        let text = match time(standing, "/heartbeat/last") {
            Some(last) => format!("the last one came {} ago", since(last)),
            None => "none has come yet".to_owned(),
        };
        lines.push(line("Heartbeat", text, facts.heartbeat_is_late, None));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_engaged_is_counted_by_severity_however_the_store_writes_numbers() {
        let page = engaged::Page {
            counts: engaged::Counts {
                severity: [("100", 2), ("90.0", 1), ("89", 4), ("0", 3), ("x", 9)]
                    .map(|(severity, count)| (severity.to_owned(), count))
                    .into(),
                ..engaged::Counts::default()
            },
            ..engaged::Page::default()
        };
        assert_eq!(by_severity(&page), [3, 4, 0, 0, 3]);
    }

    #[test]
    fn every_part_of_the_service_has_its_line_and_trouble_is_marked() {
        let now: Timestamp = "2026-11-22T03:30:00Z".parse().unwrap();
        let standing = json!({
            "spool": {"waiting": 3, "oldest": "2026-11-22T03:00:00Z", "bytes": 2048,
                "dead_letters": 1, "oldest_dead_letter": "2026-11-20T03:00:00Z"},
            "callbacks": {"enabled": 2, "pending": 0, "failed": 7},
            "provisioning": "done", "reconciler": "off",
            "heartbeat": {"last": null, "late": true}});
        let facts = Facts {
            waiting: (3, time(&standing, "/spool/oldest")),
            dead_letters: 1,
            heartbeat_is_late: true,
            ..Facts::default()
        };
        let told: Vec<_> = lines(&standing, &facts, now)
            .into_iter()
            .map(|line| {
                format!("{}{}: {}", if line.is_bad { "!" } else { "" }, line.name, line.text)
            })
            .collect();
        assert_eq!(
            told,
            [
                "OpenSearch: answers, and takes alerts",
                "Spool: 3 alerts not stored yet, the oldest received 30 minutes ago; 2.0 KiB",
                "!Dead letters: 1, the oldest received 2 days ago",
                "Callbacks: 2 enabled, 0 pending, 7 failed",
                "Provisioning: done",
                "Reconciling: off",
                "!Heartbeat: none has come yet",
            ]
        );
    }
}
