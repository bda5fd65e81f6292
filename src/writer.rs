//! The worker between spool and store: takes entries, decodes, builds records, sends them in bulk,
//! and settles each entry by what became of it. While requests are in flight the next batch
//! gathers, so an idle system is instant and a busy one batches itself.
//!
//! Nothing leaves the spool before its outcome is known. A stop, a crash or a second replica may
//! send a record again: under the same id, so it changes nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use metrics::{counter, gauge};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use url::Url;

use crate::{
    intake::{Reading, ntopng::version::Version},
    news::News,
    opensearch::{Client, bulk::Item},
    record::{Naming, compat::Compat, fields::FieldSet},
    spool::{AppendError, Entry, EntryId, Fate, Settlement, Spool},
    telemetry,
};

pub mod backoff;
mod batch;
mod firing;
mod health;
pub mod lives;
pub mod outcome;
mod pace;
mod parked;
mod processor;
mod sink;

use backoff::Backoff;
use batch::{Batch, Prepared, Work};
use firing::Firings;
pub use health::Health;
use lives::Lives;
use outcome::Outcome;
use pace::{Flow, Pace};
use parked::Parked;
use processor::Processor;
use sink::Operation;

/// A batch holds at most this many entries, and about this many bytes of bodies.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// While more entries are parked than this, no new ones are read: it bounds memory.
const MOST_PARKED: usize = 1_000_000;
/// The wait after a failed request grows from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What the writer needs to know.
pub struct Settings {
    /// How records are named.
    pub naming: Naming,
    /// The pattern of their indices.
    pub pattern: String,
    /// Whose documents are made; ours if `None`.
    pub compat: Option<Compat>,
    /// To what a packed body may unpack, in bytes.
    pub body_limit: usize,
    /// The version that ntopng was declared to have.
    pub ntopng: Option<Version>,
    /// Graylog's own address, for links to its alerts.
    pub graylog: Option<Url>,
    /// Whether there is an Alerting API to ask.
    pub ask_alerting: bool,
    /// How many requests may be in flight at once; one, where the order of writing matters.
    pub requests_in_flight: usize,
}

impl Settings {
    /// What decoding a message depends on.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        Reading { limit: self.body_limit, ntopng: self.ntopng }
    }
}

/// Whether records may be written, and into which fields: `None` until the index template is there.
pub type Gate = watch::Receiver<Option<Arc<FieldSet>>>;

/// The worker.
pub struct Writer {
    spool: Arc<Spool>,
    client: Client,
    settings: Settings,
    gate: Gate,
    health: Arc<Health>,
    news: Arc<News>,
    firings: Firings,
    lives: Lives,
    parked: Parked,
    cursor: EntryId,
    pace: Pace,
    processor: Processor,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    settling: FuturesUnordered<BoxFuture<'static, Result<(), AppendError>>>,
    outage: Option<Outage>,
    /// The spool cannot be read, or nobody tells an alert's id: nothing is read before then.
    pause: Option<(Instant, Backoff)>,
}

/// The store takes no request: what could not be sent, and when it is tried again.
struct Outage {
    unsent: VecDeque<Batch>,
    backoff: Backoff,
    due: Instant,
}

/// A batch that was sent, with the answers; or the reason why the store takes none.
struct Sent {
    batch: Batch,
    answers: Result<Vec<sink::Answer>, String>,
    took: Duration,
}

impl Writer {
    /// A worker that has done nothing yet.
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        client: Client,
        settings: Settings,
        gate: Gate,
        health: Arc<Health>,
    ) -> Self {
        let firings = Firings::new(client.clone());
        let lives = Lives::new(client.clone(), &settings.pattern);
        let (sending, settling) = (FuturesUnordered::new(), FuturesUnordered::new());
        let parked = Parked::default();
        let (cursor, pace, outage, pause) = (0, Pace::default(), None, None);
        Self {
            spool,
            client,
            settings,
            gate,
            health,
            news: Arc::default(),
            firings,
            lives,
            parked,
            cursor,
            pace,
            processor: Processor::default(),
            sending,
            settling,
            outage,
            pause,
        }
    }

    /// Tells what it stores.
    #[must_use]
    pub fn telling(self, news: Arc<News>) -> Self {
        Self { news, ..self }
    }

    /// Moves entries until `stop`; what is in flight then is finished first.
    ///
    /// # Errors
    /// When the spool is closed before it.
    pub async fn run(self, stop: &CancellationToken) -> anyhow::Result<()> {
        let tidy = lives::tidy::run(self.client.clone());
        tokio::select! {
            done = self.work(stop) => done,
            never = tidy => match never {},
        }
    }

    async fn work(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        // The index template decides on types: before it is there, nothing may be written.
        let mut gate = self.gate.clone();
        let open = gate.wait_for(Option::is_some);
        match stop.run_until_cancelled(open).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Ok(()),
        }
        while !stop.is_cancelled() {
            self.send_more().await;
            let due = self.next_due().map(tokio::time::Instant::from_std);
            tokio::select! {
                () = stop.cancelled() => {}
                Some(sent) = self.sending.next() => self.sort_out(sent),
                Some(settled) = self.settling.next() => settled.context("cannot settle what is stored")?,
                () = self.spool.appended() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
            }
        }
        // Not cut off: half a request would leave us not knowing what was stored.
        while let Some(sent) = self.sending.next().await {
            self.sort_out(sent);
        }
        while self.settling.next().await.is_some() {}
        Ok(())
    }

    /// Starts requests, as far as there is something to send and room to send it.
    async fn send_more(&mut self) {
        if self.outage.is_some() {
            self.probe();
            return;
        }
        while self.may_send() {
            let entries = tokio::task::block_in_place(|| self.next_entries());
            if entries.is_empty() {
                self.pace.sent(self.spool.posted());
                return;
            }
            let batch = self.prepare_batch(entries).await;
            self.send(batch);
        }
    }

    fn may_send(&mut self) -> bool {
        let now = Instant::now();
        if self.pause.as_ref().is_some_and(|(due, _)| *due > now) {
            return false;
        }
        let room = self.sending.len() < self.settings.requests_in_flight;
        let parked_are_due = || self.parked.next_due().is_some_and(|due| due <= now);
        room && parked_are_due() || {
            let flow = self.flow();
            self.pace.may_send(flow, now)
        }
    }

    fn flow(&mut self) -> Flow {
        Flow {
            last: self.spool.last_id(),
            posted: self.spool.posted(),
            cursor: self.cursor,
            in_flight: self.sending.len(),
            limit: self.settings.requests_in_flight,
            is_short: self.processor.is_short(),
        }
    }

    fn send(&mut self, mut batch: Batch) {
        self.pace.sent(self.spool.posted());
        let client = self.client.clone();
        self.sending.push(Box::pin(async move {
            let begun = Instant::now();
            let answers = sink::send(&client, &mut batch.operations).await;
            Sent { batch, answers, took: begun.elapsed() }
        }));
    }

    /// Tries one of the unsent batches again, alone, when it is due.
    fn probe(&mut self) {
        let Some(outage) = &mut self.outage else { return };
        if self.sending.is_empty()
            && outage.due <= Instant::now()
            && let Some(batch) = outage.unsent.pop_front()
        {
            self.send(batch);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match &self.outage {
            Some(_) if !self.sending.is_empty() => None,
            Some(outage) => Some(outage.due),
            None if self.sending.len() < self.settings.requests_in_flight => {
                let paused = self.pause.as_ref().map(|(due, _)| *due);
                let rest = self.pace.rest().filter(|_| self.sending.is_empty());
                paused.or_else(|| rest.into_iter().chain(self.parked.next_due()).min())
            }
            None => None,
        }
    }

    /// What is due and what is new, as far as it can be read; the spool says it when it cannot.
    fn next_entries(&mut self) -> Vec<Entry> {
        let due = self.parked.take_due(Instant::now(), BATCH);
        let mut entries = Vec::new();
        if !due.is_empty() {
            if let Ok(parked) = self.spool.entries(&due) {
                entries = parked;
            } else {
                let again = self.pause();
                for id in due {
                    self.parked.wait_until(again, id);
                }
                return entries;
            }
        }
        let parked = self.parked.len();
        gauge!(telemetry::PARKED).set(u32::try_from(parked).unwrap_or(u32::MAX));
        if parked < MOST_PARKED && entries.len() < BATCH {
            match self.spool.next_batch(self.cursor, BATCH - entries.len(), BATCH_BYTES) {
                Ok(fresh) => {
                    self.cursor = fresh.last().map_or(self.cursor, |entry| entry.id);
                    entries.extend(fresh);
                    if entries.is_empty() {
                        self.pause = None;
                    }
                }
                Err(_) => drop(self.pause()),
            }
        }
        entries
    }

    /// Reads nothing for a while, longer each time until [`Self::pause`] is cleared; till when.
    fn pause(&mut self) -> Instant {
        let begin = || (Instant::now(), Backoff::new(FIRST_WAIT, LONGEST_WAIT));
        let (due, backoff) = self.pause.get_or_insert_with(begin);
        *due = Instant::now() + backoff.next_wait();
        *due
    }

    async fn prepare_batch(&mut self, entries: Vec<Entry>) -> Batch {
        self.firings.begin_batch();
        let known = self.gate.borrow().clone().unwrap_or_default();
        let mut batch = Batch::default();
        let (mut away, mut lasting) = (None, Vec::new());
        for entry in entries {
            let id = entry.id;
            if let Some(due) = away {
                self.parked.wait_until(due, id);
                continue;
            }
            let prepared =
                batch::prepare(entry, &self.settings, &mut self.firings, &self.lives, &known).await;
            let (work, operations) = match prepared {
                Prepared::Operations(work, operations) => (work, operations),
                Prepared::NotYet(due) => {
                    self.parked.wait_until(due, id);
                    continue;
                }
                Prepared::StoreAway(reason) => {
                    self.health.failed(&reason);
                    let due = self.pause();
                    self.parked.wait_until(due, id);
                    away = Some(due);
                    continue;
                }
            };
            let now = Instant::now();
            let blocked = operations.iter().find(|one| self.parked.is_blocked(&one.index, now));
            if let Some(operation) = blocked {
                self.parked.join(&operation.index, id);
                continue;
            }
            if work.waiting.is_empty() {
                batch.push(work, operations);
            } else if self.parked.is_blocked(lives::INDEX, now) {
                self.parked.join(lives::INDEX, id);
            } else {
                lasting.push((work, operations));
            }
        }
        if !lasting.is_empty() && !self.live(lasting, &mut batch).await {
            return batch;
        }
        if away.is_none() {
            self.pause = None;
        }
        batch
    }

    /// Adds what tells of series, as far as it can be told what it is about; no, where the store does
    /// not answer.
    async fn live(&mut self, mut lasting: Vec<(Work, Vec<Operation>)>, batch: &mut Batch) -> bool {
        let first = batch.works.len();
        let mut messages = Vec::new();
        for (place, (work, _)) in lasting.iter_mut().enumerate() {
            for mut message in std::mem::take(&mut work.waiting) {
                message.work = first + place;
                messages.push(message);
            }
        }
        let lived = match self.lives.live(&messages, &self.settings.naming).await {
            Ok(lived) => lived,
            Err(reason) => {
                self.health.failed(&reason);
                let due = self.pause();
                for (work, _) in lasting {
                    self.parked.wait_until(due, work.id);
                }
                return false;
            }
        };
        for (work, operations) in lasting {
            batch.push(work, operations);
        }
        for (record, works) in lived.records {
            batch.share(record.into(), works);
        }
        for place in &lived.waiting {
            let reason = lived.reason.clone().unwrap_or_default();
            batch.works[*place].busy = Some((lives::INDEX.to_owned(), reason));
        }
        for (place, reason) in lived.refused {
            batch.works[place].refused.push(format!("its series: {reason}"));
        }
        if lived.waiting.is_empty() && self.parked.unblock(lives::INDEX, Instant::now()) {
            self.health.index_free(lives::INDEX);
        }
        true
    }

    /// Takes note of what became of a batch.
    fn sort_out(&mut self, sent: Sent) {
        let Sent { mut batch, answers, took } = sent;
        let flow = self.flow();
        self.pace.answered(took, flow, Instant::now());
        let answers = match answers {
            Ok(answers) => answers,
            Err(reason) => {
                self.health.failed(&reason);
                let outage = self.outage.get_or_insert_with(|| Outage {
                    unsent: VecDeque::new(),
                    backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
                    due: Instant::now(),
                });
                // The older goes first: what is tried again comes back to the front.
                outage.unsent.push_front(batch);
                outage.due = Instant::now() + outage.backoff.next_wait();
                return;
            }
        };
        for batch in self.outage.take().into_iter().flat_map(|outage| outage.unsent) {
            self.send(batch);
        }
        let now = Instant::now();
        for ((operation, places), (outcome, answer)) in
            batch.operations.iter().zip(&batch.places).zip(answers)
        {
            if outcome == Outcome::Stored {
                self.news.stored(&operation.index, &operation.id);
            }
            if outcome == Outcome::Exists {
                counter!(telemetry::DUPLICATES).increment(1);
            }
            for place in places {
                let work = &mut batch.works[*place];
                let answer = answer.clone();
                match &outcome {
                    Outcome::Stored => work.stored.extend(answer),
                    Outcome::Exists => {
                        let noop = Some("noop".to_owned());
                        work.stored.extend(answer.map(|item| Item { result: noop, ..item }));
                    }
                    Outcome::Busy(reason) => {
                        work.busy = Some((operation.index.clone(), reason.clone()));
                    }
                    Outcome::Refused(reason) => work.refused.push(reason.clone()),
                }
            }
            if matches!(outcome, Outcome::Busy(_)) {
                continue;
            }
            self.health.succeeded();
            if self.parked.unblock(&operation.index, now) {
                self.health.index_free(&operation.index);
            }
        }
        self.settle(batch.works);
    }

    fn settle(&mut self, works: Vec<Work>) {
        let mut blocked: HashMap<String, (String, Vec<EntryId>)> = HashMap::new();
        let mut settlements = Vec::with_capacity(works.len());
        for work in works {
            if let Some((index, reason)) = work.busy {
                let (_, ids) = blocked.entry(index).or_insert((reason, Vec::new()));
                ids.push(work.id);
                continue;
            }
            let refused = (!work.refused.is_empty()).then(|| work.refused.join("; "));
            if let Some(reason) = &refused {
                counter!(telemetry::DEAD_LETTERS).increment(1);
                warn!(entry.id = work.id, error = %reason, "an alert cannot be stored and is kept as a dead letter");
            } else {
                counter!(telemetry::STORED).increment(1);
                for source in &work.sources {
                    counter!(telemetry::ALERTS, "source" => source.name()).increment(1);
                }
                self.spool.tell(work.id, || Fate::Stored(answer_of(&work.stored)));
            }
            settlements.push(Settlement { id: work.id, refused });
        }
        for (index, (reason, ids)) in blocked {
            debug!(index.name = %index, entries = ids.len(), "parked");
            self.parked.block(&index, ids, Instant::now());
            self.health.index_blocked(&index, &reason);
        }
        if !settlements.is_empty() {
            self.settling.push(Box::pin(settle(Arc::clone(&self.spool), settlements)));
        }
    }
}

/// What a single-document request would have been answered; a list where there were several.
fn answer_of(items: &[Item]) -> Value {
    match items {
        [item] => item.as_index_answer(),
        items => items.iter().map(Item::as_index_answer).collect(),
    }
}

/// Takes entries out of the spool; while the disk fails, again and again.
async fn settle(spool: Arc<Spool>, settlements: Vec<Settlement>) -> Result<(), AppendError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    while let Err(fault) = spool.settle(settlements.clone()).await {
        if matches!(fault, AppendError::Closed) {
            return Err(fault);
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
    // Only now can a dead letter be seen by whoever is told of it.
    for Settlement { id, refused } in settlements {
        if let Some(reason) = refused {
            spool.tell(id, || Fate::SetAside(reason));
        }
    }
    Ok(())
}
