//! `GET /mapi/alerts` and what is below it: alerts that are and were, how many began when, and one with
//! its life.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{
        self, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{ApiError, State as App, asked::misasked, caller::Reader};
use crate::{
    alert::Source,
    clock,
    history::{
        Filter, Life, Overview, PAGE, Page, Question, Span, State,
        life::Fault,
        moment::{length, moment},
    },
};

/// How many alerts a page has, unless it is asked for another number.
const USUAL: usize = 100;
/// How far back the overview looks, unless it is asked for another span.
const DAY: Duration = Duration::from_hours(24);

/// What is asked for: of which alerts, and which page of them.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// In one of these states, with commas between: engaged, acknowledged, released, stored, failure.
    pub state: Option<String>,
    /// Of this source: opensearch, graylog, ntopng or alertmanager.
    pub source: Option<String>,
    /// Of at least this severity, 0 to 100.
    pub severity: Option<u8>,
    /// Of the rule with this name or id.
    pub rule: Option<String>,
    /// About this: `host:10.0.0.1`, or without its kind.
    pub entity: Option<String>,
    /// With these words in the message, or with this in the rule's name or in the reason.
    pub text: Option<String>,
    /// That began then or later: a time, a day, or how long ago (`24h`).
    pub from: Option<String>,
    /// That began before: a time, a day, or how long ago.
    pub to: Option<String>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// At most so many, up to 1,000.
    pub limit: Option<usize>,
}

impl Asked {
    /// Which alerts.
    ///
    /// # Errors
    /// Which part is not understood, and what would be.
    pub fn filter(&self, now: Timestamp) -> Result<Filter, String> {
        let source = given(self.source.as_ref());
        if let Some(name) = source.as_deref().filter(|name| *name != "malcolm") {
            Source::sender(name)?;
        }
        if let Some(severity) = self.severity.filter(|severity| *severity > 100) {
            return Err(format!("`severity` is from 0 to 100, and not {severity}"));
        }
        let at = |name: &str, text: Option<&String>| {
            let text = given(text);
            let at = text.map(|text| moment(&text, now)).transpose();
            at.map_err(|fault| format!("`{name}`: {fault}"))
        };
        let (from, to) = (at("from", self.from.as_ref())?, at("to", self.to.as_ref())?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err("`from` has to be before `to`".to_owned());
        }
        Ok(Filter {
            states: states(self.state.as_deref().unwrap_or_default())?,
            source,
            severity: self.severity,
            below: None,
            rule: given(self.rule.as_ref()),
            entity: given(self.entity.as_ref()),
            text: given(self.text.as_ref()),
            from,
            to,
        })
    }

    /// Which page of them.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn question(&self, now: Timestamp) -> Result<Question, String> {
        let after = given(self.after.as_ref()).map(|text| text.parse()).transpose()?;
        let limit = self.limit.unwrap_or(USUAL).clamp(1, PAGE);
        Ok(Question { filter: self.filter(now)?, after, limit })
    }

    /// From when to when is counted: as asked for, else the last day.
    ///
    /// # Errors
    /// Where that is no time.
    pub fn span(filter: &Filter, now: Timestamp) -> Result<Span, String> {
        match (filter.from, filter.to) {
            (None, None) => Ok(Span::last(DAY, now)),
            (Some(from), to) => Ok(Span::between(from, to.unwrap_or(now))?),
            (None, Some(to)) => {
                let from = to.checked_sub(DAY).map_err(|_| "`to` is too early")?;
                Ok(Span::between(from, to)?)
            }
        }
    }
}

/// An empty parameter, as a form sends it, is as good as none.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).cloned()
}

fn states(text: &str) -> Result<Vec<State>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut states = names
        .map(|name| {
            let known = State::ALL.map(State::name).join(", ");
            State::of(name).ok_or_else(|| format!("no such state: {name}; known: {known}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    states.sort_unstable();
    states.dedup();
    Ok(states)
}

/// A page of alerts, those that began last first. While the store does not answer it is the last answer,
/// with the reason in `outdated`; 503 where there is none.
pub(super) async fn list(
    _: Reader,
    extract::State(state): extract::State<Arc<App>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(asked) = asked.map_err(misasked)?;
    let question = asked.question(clock::now()).map_err(ApiError::BadRequest)?;
    let page = state.history.page(&question).await.map_err(ApiError::NoAlerts)?;
    Ok(Json(page))
}

/// What the overview is asked for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Counted {
    /// Of so long until now, such as `24h`, which is usual, or `7d`; instead of `from` and `to`.
    pub last: Option<String>,
    /// In one of these states, with commas between.
    pub state: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// Of at least this severity, 0 to 100.
    pub severity: Option<u8>,
    /// Of the rule with this name or id.
    pub rule: Option<String>,
    /// About this.
    pub entity: Option<String>,
    /// With these words.
    pub text: Option<String>,
    /// That began then or later.
    pub from: Option<String>,
    /// That began before.
    pub to: Option<String>,
}

/// How many alerts began when, by severity, and what became of them.
pub(super) async fn overview(
    _: Reader,
    extract::State(state): extract::State<Arc<App>>,
    asked: Result<Query<Counted>, QueryRejection>,
) -> Result<Json<Overview>, ApiError> {
    let Query(asked) = asked.map_err(misasked)?;
    let (filter, span) = counted(asked, clock::now()).map_err(ApiError::BadRequest)?;
    let overview = state.history.overview(&filter, span).await.map_err(ApiError::NoAlerts)?;
    Ok(Json(overview))
}

fn counted(asked: Counted, now: Timestamp) -> Result<(Filter, Span), String> {
    let Counted { last, state, source, severity, rule, entity, text, from, to } = asked;
    let asked = Asked { state, source, severity, rule, entity, text, from, to, ..Asked::default() };
    let filter = asked.filter(now)?;
    let span = match given(last.as_ref()) {
        Some(_) if filter.from.is_some() || filter.to.is_some() => {
            return Err("say either `last`, or `from` and `to`".to_owned());
        }
        Some(last) => Span::last(length(&last)?.unsigned_abs(), now),
        None => Asked::span(&filter, now)?,
    };
    Ok((filter, span))
}

/// One alert with its life: its record, its states over time, its deliveries, and the message as it
/// came. `id` is the `_id` of its record, or the alert's own; of several with that, the newest.
pub(super) async fn show(
    _: Reader,
    extract::State(state): extract::State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Life>, ApiError> {
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    match state.history.one(&id).await {
        Ok(Some(life)) => Ok(Json(life)),
        Ok(None) => Err(ApiError::NotFound(
            "no alert has this id, neither its own nor its record's; one that has just come may not \
             be found yet, and one that was refused is among the dead letters"
                .to_owned(),
        )),
        Err(Fault::Store(fault)) => Err(ApiError::NoAlerts(fault)),
        Err(fault) => Err(ApiError::Away(fault.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T05:31:07Z".parse().unwrap()
    }

    #[test]
    fn a_question_is_understood_or_refused_with_what_would_be() {
        let ask = |query: &str| {
            let uri = format!("http://x/?{query}").parse().unwrap();
            let Query(asked) = Query::<Asked>::try_from_uri(&uri).map_err(|one| one.body_text())?;
            asked.question(now())
        };
        let all = ask("").unwrap();
        assert_eq!((all.filter, all.limit), (Filter::default(), USUAL));
        let some = ask("state=released,engaged,&source=&text=+&from=24h&severity=80").unwrap();
        assert_eq!(some.filter.states, [State::Engaged, State::Released]);
        assert_eq!(
            (some.filter.source, some.filter.text, some.filter.severity),
            (None, None, Some(80))
        );
        assert_eq!(some.filter.from.unwrap().to_string(), "2026-11-21T05:31:00Z");
        assert_eq!(ask("limit=0").unwrap().limit, 1);
        assert_eq!(ask("limit=5000").unwrap().limit, PAGE);
        assert!(ask("source=malcolm").is_ok());
        for (query, why) in [
            ("state=open", "known: engaged"),
            ("source=nagios", "unknown alert source"),
            ("severity=101", "0 to 100"),
            ("severity=high", "severity"),
            ("from=monday", "`from`: write a time"),
            ("from=1h&to=2h", "before"),
            ("after=x", "`after`"),
            ("entities=x", "entities"),
        ] {
            let fault = ask(query).unwrap_err();
            assert!(fault.contains(why), "{query}: {fault}");
        }
    }

    #[test]
    fn what_is_counted_has_a_span_of_its_own_or_the_last_day() {
        let span = |asked: Counted| counted(asked, now()).map(|(_, span)| span);
        assert_eq!(span(Counted::default()), Ok(Span::last(DAY, now())));
        let text = |text: &str| Some(text.to_owned());
        let week = span(Counted { last: text("7d"), ..Counted::default() }).unwrap();
        assert_eq!(week.interval(), Duration::from_hours(3));
        let day = span(Counted { to: text("2026-11-02"), ..Counted::default() }).unwrap();
        assert_eq!(day.from().to_string(), "2026-11-01T00:00:00Z");
        let both = Counted { last: text("7d"), from: text("1h"), ..Counted::default() };
        assert!(span(both).unwrap_err().contains("either"));
    }
}
