//! `GET /conditions/{id}`: one monitor, what it did last, and its alerts.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{self, Path, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};

use super::{
    conditions::Row,
    frame::{Frame, page},
    rows::{self, List},
    shown::When,
};
use crate::{
    clock,
    history::{Filter, Question},
    http::{ApiError, State, caller::Reader},
    monitors::{Past, Run},
    opensearch::Engine,
};

/// How many of its alerts are listed.
const ALERTS: usize = 10;
/// How many of its runs are.
const RUNS: usize = 20;

/// A run in the list.
struct Shown {
    planned: Option<When>,
    began: Option<When>,
    took: Option<String>,
    outcome: String,
    class: &'static str,
    triggers: Vec<String>,
    messages: Option<u64>,
    error: Option<String>,
}

impl Shown {
    fn of(run: Run) -> Self {
        Self {
            planned: When::maybe(run.scheduled_at.as_deref()),
            began: When::maybe(run.started_at.as_deref()),
            took: run.took_ms.map(took),
            class: match run.outcome.as_str() {
                "quiet" => "good",
                "fired" => "warn",
                _ => "bad",
            },
            outcome: run.outcome,
            triggers: run.triggers,
            messages: run.messages,
            error: run.error,
        }
    }
}

/// A time that is short: `12 ms`, `1.5 s`.
fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

#[derive(Template)]
#[template(path = "condition.html")]
struct Condition {
    frame: Frame,
    id: String,
    row: Row,
    trouble: Option<String>,
    runs: Vec<Shown>,
    /// Whether every run is known, and not only those that began an alert.
    are_all: bool,
    no_runs: Option<String>,
    list: List,
    no_alerts: Option<String>,
}

/// The page.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let none = || ApiError::NotFound("no monitor has this id; it may have been deleted".to_owned());
    let question = Question {
        filter: Filter { rule: Some(id.clone()), ..Filter::default() },
        limit: ALERTS,
        ..Question::default()
    };
    let (listed, past, alerts) = tokio::join!(
        state.monitors.list(true),
        state.monitors.past(&id),
        state.history.page(&question),
    );
    let listed = listed.map_err(|fault| {
        if fault.is_unavailable() { none() } else { ApiError::NoMonitors(fault) }
    })?;
    let trouble = listed.outdated.map(|why| {
        let age = listed.age_ms / 1_000;
        format!("OpenSearch does not answer ({why}); this is what it answered {age} seconds ago.")
    });
    let item = listed.items.into_iter().find(|item| item.id.as_ref() == Some(&id));
    let row = Row::of(item.ok_or_else(none)?, clock::now());
    let (past, no_runs) = match past {
        Ok(past) if past.runs.is_empty() => (past, Some("None is known.".to_owned())),
        Ok(past) => (past, None),
        Err(fault) => (Past::default(), Some(format!("They cannot be read: {fault}."))),
    };
    let are_all = past.engine == Engine::Builtin.word();
    let runs = past.runs.into_iter().take(RUNS).map(Shown::of).collect();
    let (alerts, no_alerts) = match alerts {
        Ok(page) => (page.items.iter().map(rows::Row::of).collect(), None),
        Err(fault) => (Vec::new(), Some(format!("They cannot be read: {fault}."))),
    };
    let frame = Frame::of(&state, &caller, &uri, super::escape::plain(&row.name));
    let list = List {
        name: "Its alerts, those that began last first",
        rows: alerts,
        none: "None yet.",
        is_live: false,
        most: ALERTS,
    };
    let condition = Condition { frame, id, row, trouble, runs, are_all, no_runs, list, no_alerts };
    Ok(page(StatusCode::OK, &condition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_by_what_came_of_it() {
        for (outcome, class) in
            [("quiet", "good"), ("fired", "warn"), ("error", "bad"), ("missed", "bad")]
        {
            let run = Run { outcome: outcome.to_owned(), ..Run::default() };
            assert_eq!(Shown::of(run).class, class, "{outcome}");
        }
    }

    #[test]
    fn how_long_a_run_took_is_told_in_the_unit_that_says_enough() {
        for (ms, want) in [(0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (61_250, "61.2 s")] {
            assert_eq!(took(ms), want);
        }
    }
}
