//! `GET /alerts`: alerts of the past and the present. Filters and page stand in the address, so that a
//! list can be sent to somebody.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{self, Query, rejection::QueryRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;

use super::{
    frame::{Frame, page},
    rows::{List, Row},
    shown::number,
};
use crate::{
    history::{Band, Filter, Page, Question, State as Phase},
    http::{ApiError, State, caller::Reader},
    opensearch::Error,
};

/// How many alerts a page has.
const PAGE: usize = 50;
/// The choices for the state; `open` is what stands.
const STATES: [(&str, &str); 7] = [
    ("", "any"),
    ("open", "engaged or acknowledged"),
    ("engaged", "engaged"),
    ("acknowledged", "acknowledged"),
    ("released", "released"),
    ("stored", "stored"),
    ("failure", "monitor failed"),
];
/// Before the name of a severity: none that is worse.
const ONLY: &str = "only-";
const SOURCES: [&str; 4] = ["opensearch", "graylog", "ntopng", "alertmanager"];

/// What the address asks for; unknown parameters are not ours to refuse.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    state: String,
    source: String,
    severity: String,
    rule: String,
    text: String,
    from: String,
    to: String,
    after: String,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Alerts {
    frame: Frame,
    asked: Asked,
    states: [(&'static str, &'static str); 7],
    sources: [&'static str; 4],
    severities: [Band; 5],
    list: List,
    found: String,
    trouble: Option<String>,
    next: Option<String>,
    download: String,
    is_filtered: bool,
}

impl Alerts {
    #[expect(clippy::unused_self, reason = "templates ask the page")]
    fn only(&self, name: &str) -> String {
        format!("{ONLY}{name}")
    }
}

/// The page.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let question = asked.question().map_err(ApiError::BadRequest)?;
    let is_filtered = question.filter != Filter::default();
    let is_first = question.after.is_none();
    let (found, trouble, rows, next) = match state.history.page(&question).await {
        Ok(page) => {
            let trouble = page.outdated.as_ref().map(|why| {
                format!(
                    "OpenSearch does not answer ({why}); this is what it answered {} seconds ago.",
                    page.age_ms / 1_000
                )
            });
            let lacks = page.incomplete.as_ref().map(|why| format!("Some may be missing: {why}."));
            let rows = page.items.iter().map(Row::of).collect();
            (total(&page), trouble.or(lacks), rows, page.next)
        }
        Err(fault) if fault.status() == Some(400) => return Err(not_understood(&fault)),
        Err(fault) => {
            let why = format!(
                "OpenSearch does not answer ({fault}). Nothing is lost: alerts are kept in the spool until it does."
            );
            (String::new(), Some(why), Vec::new(), None)
        }
    };
    let mut frame = Frame::of(&state, &caller, &uri, "Alerts");
    frame.rows_are_all = is_first && !is_filtered;
    Ok(page(
        StatusCode::OK,
        &Alerts {
            next: next.map(|next| asked.address(&frame.base, &next)),
            download: asked.download(&frame.base),
            list: List {
                name: "Alerts, those that began last first",
                rows,
                none: if trouble.is_some() { "" } else { "No alert is like this." },
                is_live: is_first,
                most: PAGE,
            },
            frame,
            states: STATES,
            sources: SOURCES,
            severities: Band::ALL,
            found,
            trouble,
            is_filtered,
            asked,
        },
    ))
}

/// What is answered where the store refuses a filter.
pub(super) fn not_understood(fault: &Error) -> ApiError {
    ApiError::BadRequest(format!("OpenSearch does not understand this filter: {fault}"))
}

fn total(page: &Page) -> String {
    let many = if page.is_more { "more than " } else { "" };
    match page.total {
        1 => "1 alert".to_owned(),
        total => format!("{many}{} alerts", number(total)),
    }
}

impl Asked {
    /// What the store is asked.
    pub(super) fn question(&self) -> Result<Question, String> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let states =
            match self.state.as_str() {
                "" => Vec::new(),
                "open" => vec![Phase::Engaged, Phase::Acknowledged],
                name => {
                    let state = Phase::of(name);
                    vec![state.ok_or_else(|| {
                        "there is no such state; choose one of the list".to_owned()
                    })?]
                }
            };
        let (severity, below) = severities(&self.severity)?;
        let filter = Filter {
            states,
            source: given(&self.source),
            severity,
            below,
            rule: given(&self.rule),
            entity: None,
            text: given(&self.text),
            from: time(&self.from)?,
            to: time(&self.to)?,
        };
        let after = given(&self.after).map(|text| text.parse()).transpose()?;
        Ok(Question { filter, after, limit: PAGE })
    }

    /// The address of the page after this one.
    fn address(&self, base: &str, after: &str) -> String {
        format!("{base}alerts?{}", self.query().append_pair("after", after).finish())
    }

    /// The address of all that this filter finds, for spreadsheets.
    fn download(&self, base: &str) -> String {
        let query = self.query().finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}alerts.csv{mark}{query}")
    }

    /// The filter.
    fn query(&self) -> url::form_urlencoded::Serializer<'static, String> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("state", &self.state),
            ("source", &self.source),
            ("severity", &self.severity),
            ("rule", &self.rule),
            ("text", &self.text),
            ("from", &self.from),
            ("to", &self.to),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query
    }
}

/// From which severity on, and below which: `high` is high or worse, `only-high` is that alone.
fn severities(text: &str) -> Result<(Option<u8>, Option<u8>), String> {
    if text.is_empty() {
        return Ok((None, None));
    }
    let name = text.strip_prefix(ONLY).unwrap_or(text);
    let place = Band::ALL.iter().position(|band| band.name() == name);
    let place = place.ok_or("there is no such severity; choose one of the list")?;
    let least = |band: &Band| u8::try_from(band.least()).ok();
    let above = Band::ALL[..place].last().filter(|_| text != name).and_then(least);
    Ok((least(&Band::ALL[place]).filter(|least| *least > 0), above))
}

/// What a field for date and time has, in UTC; a whole time with its zone is taken too.
fn time(text: &str) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let civil = || {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    let time = text.parse::<Timestamp>().ok().or_else(civil);
    time.map(Some).ok_or_else(|| "a time is written like 2026-11-22T03:00, in UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_which_alerts() {
        let asked = Asked {
            state: "open".to_owned(),
            severity: "high".to_owned(),
            text: " a&b ".to_owned(),
            from: "2026-11-22T03:00".to_owned(),
            ..Asked::default()
        };
        let question = asked.question().unwrap();
        assert_eq!(question.filter.states, [Phase::Engaged, Phase::Acknowledged]);
        assert_eq!(
            (question.filter.severity, question.filter.text.as_deref()),
            (Some(70), Some("a&b"))
        );
        assert_eq!(question.filter.from, "2026-11-22T03:00:00Z".parse().ok());
        for (text, want) in [
            ("critical", (Some(90), None)),
            ("only-critical", (Some(90), None)),
            ("only-high", (Some(70), Some(90))),
            ("info", (None, None)),
            ("only-info", (None, Some(30))),
        ] {
            assert_eq!(severities(text), Ok(want), "{text}");
        }
        let next = asked.address("./", "1~2~x y");
        assert_eq!(
            next,
            "./alerts?state=open&severity=high&text=+a%26b+&from=2026-11-22T03%3A00&after=1%7E2%7Ex+y"
        );
        assert_eq!(Asked::default().question().unwrap().filter, Filter::default());
        for wrong in [
            Asked { state: "x".to_owned(), ..Asked::default() },
            Asked { severity: "x".to_owned(), ..Asked::default() },
            Asked { severity: "only-".to_owned(), ..Asked::default() },
            Asked { to: "yesterday".to_owned(), ..Asked::default() },
            Asked { after: "x".to_owned(), ..Asked::default() },
        ] {
            assert!(wrong.question().is_err(), "{wrong:?}");
        }
    }
}
