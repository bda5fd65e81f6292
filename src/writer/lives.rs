//! The messages of [`crate::series`]: which happening each is about is told by the documents of the series in
//! the store, one for each series, all of a batch at once. A document is written before its records
//! are, and only where no other replica wrote it since; so whoever repeats a message finds what was
//! decided, and writes the same records.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};

use super::outcome::Outcome;
use crate::{
    alert::{Alert, Phase, Source},
    clock,
    opensearch::{
        Client, Error,
        guarded::{self, Found, Guard},
    },
    record::{self, Naming, Receipt, Record, Write, fields::FieldSet},
    series::{Added, Happening, Kind, LATE, Message, Moment, Name, Series},
};

pub mod tidy;

/// The index of the series.
pub const INDEX: &str = "alertloop-series";
/// How often a lost race is run again at once.
const ROUNDS: usize = 8;

/// A message of a series, on its way.
pub struct Waiting {
    /// Whose entry it is.
    pub work: usize,
    /// `_id` of its series.
    pub series: String,
    /// What it says.
    pub message: Message,
    /// For the names of the records.
    alert: Alert,
    received: Timestamp,
    /// Whether it only says when that began which is released by the next.
    is_begin: bool,
}

/// What became of the messages.
#[derive(Default)]
pub struct Lived {
    /// Records, each with the works that it is for.
    pub records: Vec<(Record, Vec<usize>)>,
    /// Works that have to wait.
    pub waiting: Vec<usize>,
    /// Why.
    pub reason: Option<String>,
    /// Works that can never be kept in their series, and why.
    pub refused: Vec<(usize, String)>,
}

/// Reads and writes the documents of series.
pub struct Lives {
    client: Client,
    pattern: String,
    is_told: bool,
}

/// A series as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    source: String,
    series: String,
    index_pattern: String,
    /// Epoch ms.
    updated: i64,
    engaged: bool,
    /// A [`Series`] as one text, so that nothing ever reads it as fields.
    state: String,
}

/// A series while it is worked on.
struct Open {
    guard: Guard,
    series: Series,
    is_news: bool,
}

impl Lives {
    /// Works through `client`, for those whose records go to the indices of `pattern`.
    #[must_use]
    pub fn new(client: Client, pattern: &str) -> Self {
        Self { client, pattern: pattern.to_owned(), is_told: false }
    }

    /// What an alert of a series says, message by message; nothing for any other alert. A release that
    /// tells how long it was engaged says when that began, too.
    #[must_use]
    pub fn waiting(
        &self,
        alert: &Alert,
        receipt: Receipt,
        naming: &Naming,
        known: &FieldSet,
    ) -> Vec<Waiting> {
        let Some(series) = series_of(alert) else { return Vec::new() };
        let series = document_id(&self.pattern, alert.source, series);
        let is_begin = |at: &Timestamp| {
            alert.phase == Phase::Released
                && alert.as_of.is_some_and(|release| *at < release)
                && record::is_believable(*at, receipt.received)
        };
        let began = alert.start.filter(is_begin).map(|began| Alert {
            phase: Phase::Engaged,
            as_of: Some(began),
            ..alert.clone()
        });
        let of = |alert, is_begin| {
            let said = message(alert, &series, receipt, naming, known);
            Waiting { is_begin, ..said }
        };
        began.iter().map(|began| of(began, true)).chain([of(alert, false)]).collect()
    }

    /// Finds the happenings of all these messages, in their order.
    ///
    /// # Errors
    /// Why the store does not answer at all.
    pub async fn live(&mut self, messages: &[Waiting], naming: &Naming) -> Result<Lived, String> {
        let mut lived = Lived::default();
        let mut todo: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
        for message in messages {
            todo.entry(&message.series).or_default().push(message);
        }
        for _ in 0..ROUNDS {
            todo.retain(|_, messages| !messages.is_empty());
            let open = match self.open(&mut todo, &mut lived).await {
                Ok(open) => open,
                Err(fault) => return self.failed(&fault, todo, lived),
            };
            if open.is_empty() {
                break;
            }
            if let Err(fault) = self.round(open, &mut todo, &mut lived, naming).await {
                return self.failed(&fault, todo, lived);
            }
        }
        for message in todo.into_values().flatten() {
            lived.wait(message.work, "another replica was faster, again and again");
        }
        self.tell(lived.reason.as_deref());
        Ok(lived)
    }

    /// Reads the series that are still to be worked on.
    async fn open<'a>(
        &self,
        todo: &mut BTreeMap<&'a str, Vec<&'a Waiting>>,
        lived: &mut Lived,
    ) -> Result<Vec<(&'a str, Open)>, Error> {
        let ids: Vec<&str> = todo.keys().copied().collect();
        let mut found = guarded::read(&self.client, INDEX, &ids).await?;
        if found.contains(&Found::NoIndex) {
            let fields = json!({
                "source": { "type": "keyword" },
                "series": { "type": "keyword", "ignore_above": 1024 },
                "index_pattern": { "type": "keyword" }, "engaged": { "type": "boolean" },
                "updated": { "type": "date", "format": "epoch_millis" } });
            guarded::make_index(&self.client, INDEX, fields).await?;
            for one in &mut found {
                if *one == Found::NoIndex {
                    *one = Found::Read { guard: None, source: serde_json::Value::Null };
                }
            }
        }
        let mut open = Vec::with_capacity(ids.len());
        for (id, found) in ids.into_iter().zip(found) {
            match found {
                Found::Read { guard, source } => {
                    let series = read(source).unwrap_or_else(|| {
                        warn!(
                            series.id = id,
                            "a document of {INDEX} cannot be read; its series begins anew"
                        );
                        Series::default()
                    });
                    open.push((id, Open { guard, series, is_news: false }));
                }
                Found::Unread(reason) => {
                    for message in todo.remove(id).into_iter().flatten() {
                        lived.wait(message.work, &reason);
                    }
                }
                Found::NoIndex => {}
            }
        }
        Ok(open)
    }

    /// Adds the messages, writes the series, and gives the records of those that were written.
    async fn round<'a>(
        &self,
        mut open: Vec<(&'a str, Open)>,
        todo: &mut BTreeMap<&'a str, Vec<&'a Waiting>>,
        lived: &mut Lived,
        naming: &Naming,
    ) -> Result<(), Error> {
        let now = clock::now().as_millisecond();
        let mut drafts: Vec<Draft> = open
            .iter_mut()
            .map(|(id, open)| add(open, todo.get(id).map_or(&[], Vec::as_slice), now, naming))
            .collect();
        let changed: Vec<usize> = (0..open.len()).filter(|n| open[*n].1.is_news).collect();
        let kept = |n: &usize| {
            let (id, open) = &open[*n];
            let source = self.kept(todo.get(id)?.first()?, &open.series, now);
            Some(guarded::Write { id, guard: open.guard, source: Some(source) })
        };
        let writes: Vec<_> = changed.iter().filter_map(kept).collect();
        let items = guarded::write(&self.client, INDEX, &writes).await?;
        drop(writes);
        let mut lost = Vec::new();
        for (n, item) in changed.into_iter().zip(&items) {
            let outcome = Outcome::of(item);
            if outcome == Outcome::Stored {
                continue;
            }
            lost.push(n);
            match (outcome, todo.get_mut(open[n].0)) {
                (Outcome::Busy(reason), Some(messages)) => {
                    for message in std::mem::take(messages) {
                        lived.wait(message.work, &reason);
                    }
                }
                (Outcome::Refused(reason), Some(messages)) => lived.refuse(messages, reason),
                _ => {}
            }
        }
        for (n, (id, _)) in open.iter().enumerate().filter(|(n, _)| !lost.contains(n)) {
            todo.remove(id);
            lived.records.extend(std::mem::take(&mut drafts[n]).records(naming));
        }
        Ok(())
    }

    fn kept(&self, first: &Waiting, series: &Series, now: i64) -> String {
        let kept = Kept {
            source: first.alert.source.name().to_owned(),
            series: first.alert.series.clone().unwrap_or_default(),
            index_pattern: self.pattern.clone(),
            updated: now,
            engaged: series.is_engaged(),
            state: json!(series).to_string(),
        };
        json!(kept).to_string()
    }

    /// A request failed: where the store answers at all, only the series wait.
    fn failed(
        &mut self,
        fault: &Error,
        todo: BTreeMap<&str, Vec<&Waiting>>,
        mut lived: Lived,
    ) -> Result<Lived, String> {
        if fault.status().is_none() {
            return Err(fault.to_string());
        }
        for message in todo.into_values().flatten() {
            lived.wait(message.work, &fault.to_string());
        }
        self.tell(lived.reason.as_deref());
        Ok(lived)
    }

    /// Once when it begins, and once when it is over.
    fn tell(&mut self, reason: Option<&str>) {
        match (self.is_told, reason) {
            (false, Some(reason)) => warn!(
                error = %reason,
                "what engages and is released cannot be kept in {INDEX} now; such alerts wait in the spool; to mend where a permission is missing: give alertloop's user the role of provisioning/security/alertloop.json"
            ),
            (true, None) => info!("{INDEX} is read and written again"),
            _ => {}
        }
        self.is_told = reason.is_some();
    }
}

impl Lived {
    /// Gives up the longest, which is too much; the others are tried again without it.
    fn refuse(&mut self, messages: &mut Vec<&Waiting>, reason: String) {
        let longest = messages.iter().max_by_key(|one| one.message.content.len());
        let Some(work) = longest.map(|one| one.work) else { return };
        messages.retain(|one| one.work != work);
        self.refused.push((work, reason));
    }

    fn wait(&mut self, work: usize, reason: &str) {
        self.reason.get_or_insert_with(|| reason.to_owned());
        if !self.waiting.contains(&work) {
            self.waiting.push(work);
        }
    }
}

/// The records of one series, by `_index` and `_id`, as its last message left them.
#[derive(Default)]
struct Draft {
    happenings: HashMap<Name, (Happening, Vec<usize>)>,
    late: Vec<(Record, usize)>,
}

impl Draft {
    fn records(self, naming: &Naming) -> Vec<(Record, Vec<usize>)> {
        let happenings = self.happenings.into_values().map(|(one, works)| {
            let document = one.document(&naming.time_field);
            let Name { index, id, .. } = one.name;
            (Record { index, id, write: Write::Replace, document }, works)
        });
        happenings.chain(self.late.into_iter().map(|(record, work)| (record, vec![work]))).collect()
    }
}

fn add(open: &mut Open, messages: &[&Waiting], now: i64, naming: &Naming) -> Draft {
    let mut draft = Draft::default();
    for waiting in messages {
        match open.series.add(&waiting.message, now, |founder| waiting.name(founder, naming)) {
            Added::Happenings { touched, is_news } => {
                open.is_news |= is_news;
                for one in touched {
                    let (have, works) = draft
                        .happenings
                        .entry(one.name.clone())
                        .or_insert_with(|| (one.clone(), Vec::new()));
                    *have = one;
                    if !works.contains(&waiting.work) {
                        works.push(waiting.work);
                    }
                }
            }
            // Its release follows, and tells all of it.
            Added::TooLate if waiting.is_begin => {}
            Added::TooLate => draft.late.push((waiting.late(naming), waiting.work)),
        }
    }
    draft
}

/// One message of a series.
fn message(
    alert: &Alert,
    series: &str,
    receipt: Receipt,
    naming: &Naming,
    known: &FieldSet,
) -> Waiting {
    let mut alert = alert.clone();
    let received = receipt.received;
    let told = alert.as_of.filter(|at| record::is_believable(*at, received));
    if alert.as_of.is_some() && told.is_none() {
        alert.tag(record::IMPLAUSIBLE_TIME);
    }
    let at = told.unwrap_or(received);
    (alert.start, alert.end, alert.as_of) = (Some(at), Some(at), Some(at));
    let kind = if alert.phase == Phase::Released { Kind::Release } else { Kind::Engage };
    let content = record::build(&alert, receipt, naming, known).document;
    let message = Message {
        moment: (at.as_millisecond(), kind),
        is_timed: told.is_some(),
        received: received.as_millisecond(),
        hash: receipt.hash.to_owned(),
        content,
    };
    let series = series.to_owned();
    Waiting { work: 0, series, message, alert, received, is_begin: false }
}

impl Waiting {
    /// The record of a happening that this moment founded.
    fn name(&self, founder: Moment, naming: &Naming) -> Name {
        let (at, kind) = founder;
        let at_text = at.to_string();
        let kind = if kind == Kind::Release { "release" } else { "engage" };
        let key = record::hashed(&["series", &self.series, &at_text, kind]);
        let mut alert = self.alert.clone();
        alert.id = Some(key.clone());
        alert.began = Timestamp::from_millisecond(at).ok();
        let receipt = Receipt { received: self.received, hash: "" };
        let (index, id) = record::address(&alert, receipt, naming);
        Name { key, index, id }
    }

    /// A record of its own, for what came after its happening was forgotten: an engagement is over
    /// since, though nobody can tell when.
    fn late(&self, naming: &Naming) -> Record {
        let name = self.name(self.message.moment, naming);
        let mut document: serde_json::Value =
            serde_json::from_str(&self.message.content).unwrap_or_default();
        if let Some(event) = document["event"].as_object_mut() {
            event.insert("id".to_owned(), json!(name.key));
            if self.message.moment.1 == Kind::Engage {
                event.insert("action".to_owned(), json!(Phase::Stored.action()));
            }
        }
        let mut tags: Vec<_> = document["tags"].as_array().cloned().unwrap_or_default();
        tags.push(json!(LATE));
        document["tags"] = json!(tags);
        Record {
            index: name.index,
            id: name.id,
            write: Write::Create,
            document: document.to_string(),
        }
    }
}

/// The key of an alert's series, where only its series tells what it is about.
#[must_use]
pub fn series_of(alert: &Alert) -> Option<&str> {
    alert.series.as_deref().filter(|_| alert.id.is_none() && alert.phase != Phase::Stored)
}

fn document_id(pattern: &str, source: Source, series: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [pattern, source.name(), series] {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What is kept; `None` where it cannot be read.
fn read(source: serde_json::Value) -> Option<Series> {
    if source.is_null() {
        return Some(Series::default());
    }
    let kept: Kept = serde_json::from_value(source).ok()?;
    serde_json::from_str(&kept.state).ok()
}
