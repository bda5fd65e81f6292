//! The worker between spool and store: takes entries, decodes, builds records, sends them in bulk,
//! and settles each entry by what became of it. While requests are in flight the next batch
//! gathers, so an idle system is instant and a busy one batches itself.
//!
//! Nothing leaves the spool before its outcome is known. A stop, a crash or a second replica may
//! send a record again: under the same id, so it changes nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use metrics::{counter, gauge};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    clock, intake,
    opensearch::{Client, bulk::Item},
    record::{
        self, Naming, Receipt,
        compat::{self, Compat},
        fields::FieldSet,
    },
    spool::{AppendError, Entry, EntryId, Fate, Settlement, Spool},
    telemetry,
};

pub mod backoff;
mod firing;
pub mod outcome;
mod parked;
mod sink;

use backoff::Backoff;
use firing::{Firings, Readiness};
use outcome::Outcome;
use parked::Parked;
use sink::Operation;

/// A batch holds at most this many entries, and about this many bytes of bodies.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// Beside a request in flight another one goes when this many entries have gathered.
const ENOUGH: EntryId = 16;
/// With more than this waiting, and half of it come during one request, alerts are a flood.
const FLOOD: EntryId = 1_000;
/// While more entries are parked than this, no new ones are read: it bounds memory.
const MOST_PARKED: usize = 1_000_000;
/// The wait after a failed request grows from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What the writer needs to know.
pub struct Settings {
    /// How records are named.
    pub naming: Naming,
    /// Whose documents are made; ours if `None`.
    pub compat: Option<Compat>,
    /// To what a packed body may unpack, in bytes.
    pub body_limit: usize,
    /// Whether there is an Alerting API to ask.
    pub ask_alerting: bool,
    /// How many requests may be in flight at once; one, where the order of writing matters.
    pub requests_in_flight: usize,
}

/// Whether records may be written, and into which fields: `None` until the index template is there.
pub type Gate = watch::Receiver<Option<Arc<FieldSet>>>;

/// How the writer fares, for readiness and for how long an answer waits.
#[derive(Default)]
pub struct Health {
    ok: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Health {
    /// Whether the last request to the store succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.ok.load(Ordering::Relaxed)
    }

    /// What is wrong, if something is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a success; logs it when it is a change.
    pub fn succeeded(&self) {
        if !self.ok.swap(true, Ordering::Relaxed) {
            let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            if trouble.is_some() {
                info!("the store takes alerts again");
            }
        }
    }

    /// Notes a failure; logs it when it is a change.
    pub fn failed(&self, reason: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ok.swap(false, Ordering::Relaxed) || trouble.as_deref() != Some(reason) {
            warn!(error = %reason, "the store does not take alerts now; they are kept and sent again");
            *trouble = Some(reason.to_owned());
        }
    }
}

/// The worker.
pub struct Writer {
    spool: Arc<Spool>,
    client: Client,
    settings: Settings,
    gate: Gate,
    health: Arc<Health>,
    firings: Firings,
    parked: Parked,
    cursor: EntryId,
    /// The newest entry when the latest request was sent.
    last_at_send: EntryId,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    settling: FuturesUnordered<BoxFuture<'static, Result<(), AppendError>>>,
    outage: Option<Outage>,
}

/// The store takes no request: what could not be sent, and when it is tried again.
struct Outage {
    unsent: VecDeque<Batch>,
    backoff: Backoff,
    due: Instant,
}

/// An entry on its way.
struct Work {
    id: EntryId,
    /// Why some of its alerts are refused.
    refused: Vec<String>,
    /// The index that does not take it now, and why.
    busy: Option<(String, String)>,
    /// The store's answers.
    stored: Vec<Item>,
}

/// Entries that go to the store together.
#[derive(Default)]
struct Batch {
    works: Vec<Work>,
    operations: Vec<Operation>,
    /// Whose operation each is, by position in `works`.
    places: Vec<usize>,
}

/// A batch that was sent, with the answers; or the reason why the store takes none.
type Sent = (Batch, Result<Vec<sink::Answer>, String>);

/// What an entry is after it was decoded.
enum Prepared {
    Operations(Work, Vec<Operation>),
    /// It waits for its alert's id.
    Waits(Instant),
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
        let (sending, settling) = (FuturesUnordered::new(), FuturesUnordered::new());
        let parked = Parked::default();
        let (cursor, last_at_send, outage) = (0, 0, None);
        Self {
            spool,
            client,
            settings,
            gate,
            health,
            firings,
            parked,
            cursor,
            last_at_send,
            sending,
            settling,
            outage,
        }
    }

    /// Moves entries until `stop`; what is in flight then is finished first.
    ///
    /// # Errors
    /// When the spool cannot be read or written any more.
    pub async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        // The index template decides on types: before it is there, nothing may be written.
        let mut gate = self.gate.clone();
        let open = gate.wait_for(Option::is_some);
        match stop.run_until_cancelled(open).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Ok(()),
        }
        while !stop.is_cancelled() {
            self.send_more().await?;
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
    async fn send_more(&mut self) -> anyhow::Result<()> {
        if self.outage.is_some() {
            self.probe();
            return Ok(());
        }
        while self.may_send() {
            let entries = tokio::task::block_in_place(|| self.next_entries())
                .context("cannot read the spool")?;
            if entries.is_empty() {
                return Ok(());
            }
            let batch = self.prepare_batch(entries).await;
            self.send(batch);
        }
        Ok(())
    }

    /// An idle writer sends what there is at once. Beside a request in flight a second one goes
    /// only when enough has gathered: many small requests would cost the store more than they win.
    fn may_send(&self) -> bool {
        match self.sending.len() {
            0 => true,
            in_flight if in_flight < self.settings.requests_in_flight => {
                let last = self.spool.last_id();
                let gathered = last - self.cursor;
                // While alerts come faster than they are stored, the intake goes first: the store
                // shares the processor with it, and what is kept can be stored later.
                let flooded = gathered > FLOOD && last - self.last_at_send > FLOOD / 2;
                !flooded && gathered >= ENOUGH
                    || self.parked.next_due().is_some_and(|due| due <= Instant::now())
            }
            _ => false,
        }
    }

    fn send(&mut self, batch: Batch) {
        self.last_at_send = self.spool.last_id();
        let client = self.client.clone();
        self.sending.push(Box::pin(async move {
            let answers = sink::send(&client, &batch.operations).await;
            (batch, answers)
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
            None if self.sending.len() < self.settings.requests_in_flight => self.parked.next_due(),
            None => None,
        }
    }

    fn next_entries(&mut self) -> rusqlite::Result<Vec<Entry>> {
        let due = self.parked.take_due(Instant::now(), BATCH);
        let mut entries = if due.is_empty() { Vec::new() } else { self.spool.entries(&due)? };
        let parked = self.parked.len();
        gauge!(telemetry::PARKED).set(u32::try_from(parked).unwrap_or(u32::MAX));
        if parked < MOST_PARKED && entries.len() < BATCH {
            let fresh = self.spool.next_batch(self.cursor, BATCH - entries.len(), BATCH_BYTES)?;
            self.cursor = fresh.last().map_or(self.cursor, |entry| entry.id);
            entries.extend(fresh);
        }
        Ok(entries)
    }

    async fn prepare_batch(&mut self, entries: Vec<Entry>) -> Batch {
        self.firings.begin_batch();
        let known = self.gate.borrow().clone().unwrap_or_default();
        let mut batch = Batch::default();
        for entry in entries {
            let id = entry.id;
            let (work, operations) = match self.prepare(entry, &known).await {
                Prepared::Operations(work, operations) => (work, operations),
                Prepared::Waits(due) => {
                    self.parked.wait_until(due, id);
                    continue;
                }
            };
            let now = Instant::now();
            let blocked = operations.iter().find(|one| self.parked.is_blocked(&one.index, now));
            if let Some(operation) = blocked {
                self.parked.join(&operation.index, id);
                continue;
            }
            batch.places.extend(operations.iter().map(|_| batch.works.len()));
            batch.operations.extend(operations);
            batch.works.push(work);
        }
        batch
    }

    /// Decodes an entry and makes the operations that store it.
    async fn prepare(&mut self, entry: Entry, known: &FieldSet) -> Prepared {
        let Entry { id, envelope } = entry;
        let mut work = Work { id, refused: Vec::new(), busy: None, stored: Vec::new() };
        if let Some(level) = self.settings.compat {
            let mut operations = Vec::new();
            match compat::record(&envelope, level, &self.settings.naming) {
                Ok(record) => operations.push(record.into()),
                Err(reason) => work.refused.push(reason),
            }
            return Prepared::Operations(work, operations);
        }
        let alerts = match intake::decode(&envelope, self.settings.body_limit) {
            Ok(alerts) => alerts,
            Err(fault) => {
                work.refused.push(fault.to_string());
                return Prepared::Operations(work, Vec::new());
            }
        };
        let several = alerts.len() > 1;
        let mut operations = Vec::with_capacity(alerts.len());
        for (position, alert) in alerts.into_iter().enumerate() {
            let mut alert = match alert {
                Ok(alert) => alert,
                Err(fault) if several => {
                    work.refused.push(format!("alert {}: {fault}", position + 1));
                    continue;
                }
                Err(fault) => {
                    work.refused.push(fault.to_string());
                    continue;
                }
            };
            if self.settings.ask_alerting {
                let ready =
                    self.firings.complete(&mut alert, envelope.received, clock::now()).await;
                match ready {
                    Readiness::Ready => {}
                    Readiness::NotYet(due) => return Prepared::Waits(due),
                    Readiness::StoreAway(due, reason) => {
                        self.health.failed(&reason);
                        return Prepared::Waits(due);
                    }
                }
            }
            let hash = record::body_hash(&envelope.body, position);
            let receipt = Receipt { received: envelope.received, hash: &hash };
            operations.push(record::build(&alert, receipt, &self.settings.naming, known).into());
        }
        Prepared::Operations(work, operations)
    }

    /// Takes note of what became of a batch.
    fn sort_out(&mut self, (mut batch, answers): Sent) {
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
        for ((operation, place), (outcome, answer)) in
            batch.operations.iter().zip(&batch.places).zip(answers)
        {
            let work = &mut batch.works[*place];
            match outcome {
                Outcome::Stored => work.stored.extend(answer),
                Outcome::Exists => {
                    counter!(telemetry::DUPLICATES).increment(1);
                    let noop = Some("noop".to_owned());
                    work.stored.extend(answer.map(|item| Item { result: noop, ..item }));
                }
                Outcome::Busy(reason) => {
                    work.busy = Some((operation.index.clone(), reason));
                    continue;
                }
                Outcome::Refused(reason) => work.refused.push(reason),
            }
            self.health.succeeded();
            if self.parked.unblock(&operation.index, now) {
                info!(index.name = %operation.index, "the index takes alerts again");
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
                self.spool.tell(work.id, || Fate::Stored(answer_of(&work.stored)));
            }
            settlements.push(Settlement { id: work.id, refused });
        }
        for (index, (reason, ids)) in blocked {
            debug!(index.name = %index, entries = ids.len(), "parked");
            if self.parked.block(&index, ids, Instant::now()) {
                warn!(index.name = %index, error = %reason, "an index does not take alerts now; they are kept and sent again, others go on");
            }
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
