//! The worker between spool and store: takes entries, decodes, builds records, sends them in bulk,
//! and settles each entry by what became of it. While one request is in flight the next batch
//! gathers, so an idle system is instant and a busy one batches itself.
//!
//! Nothing leaves the spool before its outcome is known. A stop, a crash or a second replica may
//! send a record again: under the same id, so it changes nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use metrics::{counter, gauge};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    clock,
    config::Compat,
    intake,
    opensearch::Client,
    record::{self, Naming, Receipt, compat, fields::FieldSet},
    spool::{Entry, EntryId, Fate, Settlement, Spool},
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
}

/// An entry on its way.
struct Work {
    id: EntryId,
    /// Why some of its alerts are refused.
    refused: Vec<String>,
    /// The index that does not take it now.
    busy: Option<(String, String)>,
    /// The store's answers.
    stored: Vec<Value>,
    /// It waits for its alert's id.
    waits: Option<Instant>,
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
        Self {
            spool,
            client,
            settings,
            gate,
            health,
            firings,
            parked: Parked::default(),
            cursor: 0,
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
            let entries = tokio::task::block_in_place(|| self.next_entries())
                .context("cannot read the spool")?;
            if entries.is_empty() {
                self.wait(stop).await;
                continue;
            }
            self.process(entries, stop).await?;
        }
        Ok(())
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

    async fn wait(&self, stop: &CancellationToken) {
        let due = self.parked.next_due().map(tokio::time::Instant::from_std);
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.spool.appended() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
        }
    }

    async fn process(
        &mut self,
        entries: Vec<Entry>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.firings.begin_batch();
        let known = self.gate.borrow().clone().unwrap_or_default();
        let mut works = Vec::with_capacity(entries.len());
        let mut batch = Batch::default();
        for entry in entries {
            let (work, operations) = self.prepare(entry, &known).await;
            let place = works.len();
            let blocked = operations
                .iter()
                .find(|operation| self.parked.is_blocked(&operation.index, Instant::now()));
            if let Some(operation) = blocked {
                self.parked.join(&operation.index, work.id);
                continue;
            }
            if let Some(due) = work.waits {
                self.parked.wait_until(due, work.id);
                continue;
            }
            for operation in operations {
                batch.add(place, operation);
            }
            works.push(work);
        }
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let answers = loop {
            match sink::send(&self.client, &batch.operations).await {
                Ok(answers) => break answers,
                Err(reason) => {
                    self.health.failed(&reason);
                    let wait = tokio::time::sleep(backoff.next_wait());
                    if stop.run_until_cancelled(wait).await.is_none() {
                        return Ok(()); // still in the spool: sent again at the next start
                    }
                }
            }
        };
        self.sort_out(&mut works, &batch, answers);
        self.settle(works, stop).await
    }

    /// Decodes an entry and makes the operations that store it.
    async fn prepare(&mut self, entry: Entry, known: &FieldSet) -> (Work, Vec<Operation>) {
        let Entry { id, envelope } = entry;
        let mut work =
            Work { id, refused: Vec::new(), busy: None, stored: Vec::new(), waits: None };
        if let Some(level) = self.settings.compat {
            return match compat::record(&envelope, level, &self.settings.naming) {
                Ok(record) => (work, vec![record.into()]),
                Err(reason) => {
                    work.refused.push(reason);
                    (work, Vec::new())
                }
            };
        }
        let alerts = match intake::decode(&envelope, self.settings.body_limit) {
            Ok(alerts) => alerts,
            Err(fault) => {
                work.refused.push(fault.to_string());
                return (work, Vec::new());
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
                if let Readiness::NotYet(due) = ready {
                    work.waits = Some(due);
                    return (work, Vec::new());
                }
            }
            let hash = record::body_hash(&envelope.body, position);
            let receipt = Receipt { received: envelope.received, hash: &hash };
            operations.push(record::build(&alert, receipt, &self.settings.naming, known).into());
        }
        (work, operations)
    }

    /// Gives each entry the outcomes of its operations.
    fn sort_out(&mut self, works: &mut [Work], batch: &Batch, answers: Vec<sink::Answer>) {
        let now = Instant::now();
        for ((operation, places), (outcome, answer)) in
            batch.operations.iter().zip(&batch.places).zip(answers)
        {
            if matches!(outcome, Outcome::Stored | Outcome::Exists) {
                self.health.succeeded();
                if self.parked.unblock(&operation.index, now) {
                    info!(index.name = %operation.index, "the index takes alerts again");
                }
            }
            for &place in places {
                let work = &mut works[place];
                match &outcome {
                    Outcome::Stored => work.stored.extend(answer.clone()),
                    Outcome::Exists => {
                        counter!(telemetry::DUPLICATES).increment(1);
                        work.stored.push(serde_json::json!({
                            "_index": operation.index, "_id": operation.id, "result": "noop",
                        }));
                    }
                    Outcome::Busy(reason) => {
                        work.busy = Some((operation.index.clone(), reason.clone()));
                    }
                    Outcome::Refused(reason) => work.refused.push(reason.clone()),
                }
            }
        }
    }

    async fn settle(&mut self, works: Vec<Work>, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut blocked: HashMap<String, (String, Vec<EntryId>)> = HashMap::new();
        let mut settlements = Vec::with_capacity(works.len());
        let mut set_aside = Vec::new();
        for work in works {
            if let Some((index, reason)) = work.busy {
                let (_, ids) = blocked.entry(index).or_insert((reason, Vec::new()));
                ids.push(work.id);
                continue;
            }
            let refused = (!work.refused.is_empty()).then(|| work.refused.join("; "));
            match &refused {
                None => {
                    counter!(telemetry::STORED).increment(1);
                    let answer = match <[Value; 1]>::try_from(work.stored) {
                        Ok([one]) => one,
                        Err(several) => Value::Array(several),
                    };
                    self.spool.tell(work.id, Fate::Stored(answer));
                }
                Some(reason) => {
                    counter!(telemetry::DEAD_LETTERS).increment(1);
                    warn!(entry.id = work.id, error = %reason, "an alert cannot be stored and is kept as a dead letter");
                    set_aside.push((work.id, reason.clone()));
                }
            }
            settlements.push(Settlement { id: work.id, refused });
        }
        for (index, (reason, ids)) in blocked {
            debug!(index.name = %index, entries = ids.len(), "parked");
            if self.parked.block(&index, ids, Instant::now()) {
                warn!(index.name = %index, error = %reason, "an index does not take alerts now; they are kept and sent again, others go on");
            }
        }
        if settlements.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(fault) = self.spool.settle(settlements.clone()).await {
            if matches!(fault, crate::spool::AppendError::Closed) {
                return Err(fault).context("cannot settle what is stored");
            }
            let wait = tokio::time::sleep(backoff.next_wait());
            if stop.run_until_cancelled(wait).await.is_none() {
                return Ok(()); // they are stored, and will be found to be so at the next start
            }
        }
        // Only now can the dead letter be seen by whoever is told of it.
        for (id, reason) in set_aside {
            self.spool.tell(id, Fate::SetAside(reason));
        }
        Ok(())
    }
}

/// The operations of a batch, each document once.
#[derive(Default)]
struct Batch {
    operations: Vec<Operation>,
    /// Whose operation it is, by position in the batch.
    places: Vec<Vec<usize>>,
}

impl Batch {
    fn add(&mut self, place: usize, operation: Operation) {
        self.operations.push(operation);
        self.places.push(vec![place]);
    }
}
