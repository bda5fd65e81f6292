//! The alerts of all sources, those of the past too: listed, counted over time, and one with its life.
//! All of it comes from the store, so that every replica and every restart sees the same.
//!
//! Pages are stable while alerts come in: they are sorted by when the alerts began, which never
//! changes for the better part of them, and a page goes on after the last alert of the one before
//! (`search_after`). What begins meanwhile stands before the first page. A point in time would keep
//! segments open in the store for everybody who looks, and could be neither linked to nor shared by
//! replicas.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use opensearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    answers::{Answers, Told},
    clock,
    opensearch::{Client, Error, segment},
    record::index_name::IndexName,
    spool::Spool,
};

mod item;
pub mod life;
pub mod moment;
mod overview;
pub(crate) mod query;

pub use item::{Item, Stale};
pub use life::{Life, Raw, Stage};
pub use overview::{Band, Bar, BySeverity, Overview, Span};

/// The most that a page has.
pub const PAGE: usize = 1_000;
/// So many are counted; it costs time to count more.
pub(crate) const COUNTED: u64 = 10_000;
/// How long the store may take.
pub(crate) const TIME: Duration = Duration::from_secs(12);
/// How long a page is shared: live updates shall be seen at once.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// How long the counts are.
const COUNTED_FOR: Duration = Duration::from_secs(2);

/// Where an alert is in its life.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = AlertState)]
pub enum State {
    /// It stands.
    Engaged,
    /// It stands, and somebody has said that they know.
    Acknowledged,
    /// It is over.
    Released,
    /// It has no end: it happened.
    Stored,
    /// Its monitor failed, whatever else it is.
    Failure,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Engaged, Self::Acknowledged, Self::Released, Self::Stored, Self::Failure];

    /// As records say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engaged => "engaged",
            Self::Acknowledged => "acknowledged",
            Self::Released => "released",
            Self::Stored => "stored",
            Self::Failure => "failure",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Which alerts are asked for; empty for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// In one of these states.
    pub states: Vec<State>,
    /// `event.provider`: opensearch (or malcolm), graylog, ntopng, alertmanager.
    pub source: Option<String>,
    /// At least this severity, 0 to 100.
    pub severity: Option<u8>,
    /// Less than this severity.
    pub below: Option<u8>,
    /// Name or id of the rule.
    pub rule: Option<String>,
    /// An entity with its kind, `host:10.0.0.1`, or without: also by the fields of the record.
    pub entity: Option<String>,
    /// Words of the message, or a part of the rule's name or of the reason.
    pub text: Option<String>,
    /// Those that began then or later.
    pub from: Option<Timestamp>,
    /// Those that began before.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// As a query of the store.
    #[must_use]
    pub fn query(&self) -> Value {
        serde_json::json!({ "bool": { "filter": query::conditions(self) } })
    }
}

/// A question: which ones, after which one, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which ones.
    pub filter: Filter,
    /// The `next` of the page before.
    pub after: Option<After>,
    /// At most so many, up to [`PAGE`].
    pub limit: usize,
}

/// The last alert of a page: its start in epoch ms, the number of its last write (`_seq_no`), and its
/// `event.id`. A record that somebody else wrote may have no start, then the store puts the least
/// number in its place, and no id; so the number of the write tells those apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct After {
    pub(crate) at: i64,
    pub(crate) write: i64,
    pub(crate) id: Option<String>,
}

impl After {
    /// The values that a hit is sorted by; `None` where they are others.
    fn of(hit: &Value) -> Option<Self> {
        let [at, id, write] = hit["sort"].as_array()?.as_slice() else { return None };
        let id = if id.is_null() { None } else { Some(id.as_str()?.to_owned()) };
        Some(Self { at: at.as_i64()?, write: write.as_i64()?, id })
    }
}

impl std::fmt::Display for After {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}~{}", self.at, self.write)?;
        self.id.as_ref().map_or(Ok(()), |id| write!(out, "~{id}"))
    }
}

impl std::str::FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FAULT: &str = "`after` is what `next` of the page before says";
        let mut parts = text.splitn(3, '~');
        let mut number = || parts.next()?.parse().ok();
        let (at, write) = (number().ok_or(FAULT)?, number().ok_or(FAULT)?);
        Ok(Self { at, write, id: parts.next().map(str::to_owned) })
    }
}

/// A page of alerts, those that began last first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = Alerts)]
pub struct Page {
    /// The alerts.
    pub items: Vec<Item>,
    /// The `after` of the next page.
    pub next: Option<String>,
    /// How many there are on all pages; at most 10,000 are counted.
    pub total: u64,
    /// Whether there are more than `total`.
    pub is_more: bool,
    /// When the store was asked.
    pub asked_at: String,
    /// How many milliseconds ago that was.
    pub age_ms: u64,
    /// Why the store cannot be asked now; this is what it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// Why some may be missing: a part of the store did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// Where and how is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Pattern of the indices of the records.
    pub pattern: String,
    /// How the index of a record is named.
    pub index: IndexName,
    /// After how long without news an alert is stale; zero for never.
    pub stale_after: Duration,
    /// Whether the alerts of OpenSearch are compared with its Alerting: then they are never stale.
    pub reconciles: bool,
    /// Whether the Alerting API is there to be asked.
    pub asks_alerting: bool,
}

/// The alerts, from the store.
pub struct History {
    client: Client,
    settings: Settings,
    pages: Answers<Question, Page>,
    overviews: Answers<(Filter, overview::Question), Overview>,
    kept: Option<(Arc<Spool>, usize)>,
}

impl History {
    /// Asks through `client`; nothing yet.
    #[must_use]
    pub fn new(client: &Client, settings: Settings) -> Self {
        let (pages, overviews) = (Answers::new(SHARED_FOR), Answers::new(COUNTED_FOR));
        Self { client: client.within(TIME), settings, pages, overviews, kept: None }
    }

    /// Also tells what a spool knows of an alert; of a body, so many bytes.
    #[must_use]
    pub fn with_spool(self, spool: Arc<Spool>, body_limit: usize) -> Self {
        Self { kept: Some((spool, body_limit)), ..self }
    }

    /// A page of alerts: not older than a second while the store answers; else what it answered last,
    /// if that is not too old, with the reason.
    ///
    /// # Errors
    /// [`Error`]: the store does not answer, and has not lately.
    pub async fn page(&self, question: &Question) -> Result<Page, Error> {
        let ask = || page(&self.client, &self.settings, question, clock::now());
        let Told { answer, age_ms, outdated } = self.pages.to(question, ask).await?;
        Ok(Page { age_ms, outdated, ..answer })
    }

    /// A page of alerts, as the store has them now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn anew(&self, question: &Question) -> Result<Page, Error> {
        page(&self.client, &self.settings, question, clock::now()).await
    }

    /// How many alerts began when within `span`, which takes the place of the filter's own times: not
    /// older than two seconds while the store answers; else as [`Self::page`].
    ///
    /// # Errors
    /// [`Error`]: the store does not answer, and has not lately.
    pub async fn overview(&self, filter: &Filter, span: Span) -> Result<Overview, Error> {
        let filter = Filter { from: None, to: None, ..filter.clone() };
        let ask = || overview(&self.client, &self.settings, &filter, span, clock::now());
        // Of the last day, say: while the store is away the answer of before has to be found also when
        // the next bar has begun.
        let question = (filter.clone(), span.question());
        let Told { answer, age_ms, outdated } = self.overviews.to(&question, ask).await?;
        Ok(Overview { age_ms, outdated, ..answer })
    }

    /// The alert whose record has this `_id`, or which has this id itself; `None` where there is none.
    ///
    /// # Errors
    /// [`life::Fault`]. That the spool cannot be read is told in [`Life::unknown`].
    pub async fn one(&self, id: &str) -> Result<Option<Life>, life::Fault> {
        let found = life::find(&self.client, &self.settings, id, clock::now()).await?;
        let Some(mut life) = found else { return Ok(None) };
        if let Some((spool, limit)) = &self.kept
            && let Err(fault) = tokio::task::block_in_place(|| life.complete(spool, *limit))
        {
            life.unknown
                .push(format!("which callbacks were run: the spool cannot be read: {fault}"));
        }
        Ok(Some(life))
    }
}

/// Asks the store how many alerts began when.
///
/// # Errors
/// [`Error`].
pub async fn overview(
    client: &Client,
    settings: &Settings,
    filter: &Filter,
    span: Span,
    now: Timestamp,
) -> Result<Overview, Error> {
    let body = overview::body(filter, span);
    let answer = search(client, &settings.pattern, &body).await?;
    overview::read(&answer, span, now).ok_or_else(without_hits)
}

/// Asks the store for a page.
///
/// # Errors
/// [`Error`].
pub async fn page(
    client: &Client,
    settings: &Settings,
    question: &Question,
    now: Timestamp,
) -> Result<Page, Error> {
    let body = query::page(question);
    let answer = search(client, &settings.pattern, &body).await?;
    let stale = Stale::of(settings.stale_after, settings.reconciles, now);
    let list = List::of(&answer, question.limit, stale).ok_or_else(without_hits)?;
    Ok(Page {
        items: list.items,
        next: list.next,
        total: list.total,
        is_more: list.is_more,
        asked_at: format!("{now:.3}"),
        age_ms: 0,
        outdated: None,
        incomplete: incomplete(&answer),
    })
}

/// Searches the indices of the records; those that are not there count as empty.
pub(crate) async fn search(client: &Client, pattern: &str, body: &Value) -> Result<Value, Error> {
    let path =
        format!("/{}/_search?ignore_unavailable=true&allow_no_indices=true", segment(pattern));
    client.call(Method::Post, &path, Some(body)).await
}

pub(crate) fn without_hits() -> Error {
    Error::Malformed("a search without hits".to_owned())
}

/// The hits of a search.
pub(crate) struct List {
    pub items: Vec<Item>,
    pub next: Option<String>,
    pub total: u64,
    pub is_more: bool,
}

impl List {
    /// Of an answer to a search for at most `limit`; `None` where it is none.
    pub fn of(answer: &Value, limit: usize, stale: Option<Stale>) -> Option<Self> {
        let hits = answer.pointer("/hits/hits")?.as_array()?;
        let total = answer.pointer("/hits/total");
        let is_full = hits.len() >= limit;
        let next = hits.last().filter(|_| is_full).and_then(After::of);
        Some(Self {
            items: hits.iter().map(|hit| Item::of(hit, stale)).collect(),
            next: next.map(|next| next.to_string()),
            total: total.and_then(|total| total["value"].as_u64()).unwrap_or_default(),
            is_more: total.is_some_and(|total| total["relation"] == "gte"),
        })
    }
}

/// Why an answer may lack something.
pub(crate) fn incomplete(answer: &Value) -> Option<String> {
    let number = |path: &str| answer.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let all = number("/_shards/total");
    // One that has no copy anywhere counts neither as successful nor as failed (seen on 3.4.0).
    let failed = all.saturating_sub(number("/_shards/successful"));
    if failed > 0 {
        let reason = answer.pointer("/_shards/failures/0/reason/reason").and_then(Value::as_str);
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some(format!("{failed} of {all} shards did not answer{reason}"));
    }
    let is_late = answer["timed_out"] == true;
    is_late.then(|| "the store did not look at everything in time".to_owned())
}
