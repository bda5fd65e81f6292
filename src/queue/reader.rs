//! The reader of one queue: takes, keeps, removes, and begins anew after every trouble.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    fault::Fault,
    keep::{Hash, Keeper, hash},
    pace::{self, Pace},
    server::{Server, Taken},
    settings::{Queue, Settings},
    status::Status,
};
use crate::{alert::Source, clock, spool::Spool, telemetry, writer::backoff::Backoff};

/// After a trouble.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How often we say that we are there, and look for those that are not any more.
const BEAT: Duration = Duration::from_secs(20);
/// How long an answer is waited for that is on its way when we are told to stop.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// How many of the spool's last entries may still stand in a work list: one batch, and as much again
/// that came by HTTP meanwhile.
const LATEST: usize = 2 * pace::MOST;

/// Reads one queue.
pub struct Reader {
    settings: Arc<Settings>,
    queue: Queue,
    replica: String,
    spool: Arc<Spool>,
    status: Arc<Status>,
    /// The largest item, in bytes.
    limit: usize,
    pace: Pace,
    /// What is durable and may still stand in the work list, so that it is not kept twice.
    durable: HashSet<Hash>,
    told_way: bool,
}

impl Reader {
    /// Will read this queue of these settings.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        queue: Queue,
        replica: String,
        spool: Arc<Spool>,
        status: Arc<Status>,
        limit: usize,
    ) -> Self {
        // Where it cannot be read, the records' ids see to it that nothing is doubled.
        let durable = spool.latest(Source::Ntopng, LATEST).unwrap_or_default();
        let pace = Pace::default();
        Self { settings, queue, replica, spool, status, limit, pace, durable, told_way: false }
    }

    /// Reads until `stop`; then what is in hand is finished first.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(fault) = self.session(&mut backoff, stop).await {
            if self.status.failed(&self.queue.name, &fault.text, clock::now()) {
                warn!(queue = self.queue.name, error = %fault, "nothing is taken from the queue at present; what is in it stays there");
            }
            let wait = tokio::time::sleep(backoff.next_wait());
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// One connection, until it breaks or `stop`.
    async fn session(
        &mut self,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let connecting = Server::connect(&self.settings, &self.queue, &self.replica);
        let Some(server) = stop.run_until_cancelled(connecting).await else { return Ok(()) };
        let mut server = server?;
        let mut beaten = None;
        // What an earlier connection or process left is the oldest.
        let mut may_hold = true;
        while !stop.is_cancelled() {
            if beaten.is_none_or(|at: Instant| at.elapsed() >= BEAT) {
                may_hold |= self.beat(&mut server).await?;
                beaten = Some(Instant::now());
            }
            let count = self.pace.count();
            let mut items = if may_hold { server.held(count).await? } else { Vec::new() };
            if may_hold && items.is_empty() {
                // Nothing is left there, so whatever comes now is new, even if it says the same.
                self.durable.clear();
            }
            let mut left = None;
            if items.is_empty() {
                let Some(taken) = self.take(&mut server, stop).await? else { return Ok(()) };
                (items, left) = (taken.items, Some(taken.left));
            }
            backoff.reset();
            self.tell(&server, left);
            // A list that is taken as a whole is read from its head by the next taking.
            may_hold = !items.is_empty() && !server.takes_whole();
            if !items.is_empty() && !self.handle(&mut server, &items, stop).await? {
                return Ok(());
            }
        }
        server.leave().await
    }

    /// Takes; `None` where the answer does not come any more.
    async fn take(
        &self,
        server: &mut Server,
        stop: &CancellationToken,
    ) -> Result<Option<Taken>, Fault> {
        tokio::select! {
            taken = server.take(self.pace.count()) => taken.map(Some),
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_ANSWER).await;
            } => Ok(None),
        }
    }

    /// Keeps what stands at the head of the work list, pushes it on, and removes it there; tells
    /// whether it did, or was stopped.
    async fn handle(
        &mut self,
        server: &mut Server,
        items: &[Vec<u8>],
        stop: &CancellationToken,
    ) -> Result<bool, Fault> {
        self.pace.saw(items);
        let (status, name) = (&self.status, &self.queue.name);
        let refused = |fault: &crate::spool::AppendError| {
            let why = format!("nothing is taken, since {fault}");
            if status.failed(name, &why, clock::now()) {
                warn!(queue = name, error = %fault, "items wait in Redis until the spool takes them");
            }
        };
        let mut keeper =
            Keeper { spool: &self.spool, limit: self.limit, durable: &mut self.durable };
        let Some(kept) = keeper.keep(items, refused, stop).await else { return Ok(false) };
        counter!(telemetry::QUEUE_TAKEN, "queue" => name.clone()).increment(kept);
        self.status.took(name, kept, clock::now());
        if let Some(list) = &self.queue.tee {
            let trimmed = server.push_on(list, items).await?;
            let count = u64::try_from(items.len()).unwrap_or_default();
            counter!(telemetry::QUEUE_PUSHED_ON, "queue" => name.clone()).increment(count);
            counter!(telemetry::QUEUE_TRIMMED, "queue" => name.clone()).increment(trimmed);
        }
        server.remove(items).await?;
        for item in items {
            self.durable.remove(&hash(item));
        }
        Ok(true)
    }

    /// Says that we are there, and takes over what others left; tells whether there was some.
    async fn beat(&self, server: &mut Server) -> Result<bool, Fault> {
        let mut some = false;
        let gone = match server.beat().await {
            // Without memory nothing can be said; what is there can be taken all the same.
            Err(fault) if fault.kind == super::fault::Kind::NoMemory => Vec::new(),
            gone => gone?,
        };
        for other in gone {
            let count = server.take_over(&other).await?;
            if count > 0 {
                some = true;
                counter!(telemetry::QUEUE_TAKEN_OVER, "queue" => self.queue.name.clone())
                    .increment(count);
                info!(
                    queue = self.queue.name,
                    replica = other,
                    items = count,
                    "took over what a replica left that is gone"
                );
            }
        }
        Ok(some)
    }

    fn tell(&mut self, server: &Server, left: Option<u64>) {
        if self.status.works(&self.queue.name, left) {
            info!(queue = self.queue.name, waiting = left, "taking from the queue");
        }
        if server.takes_whole() && !std::mem::replace(&mut self.told_way, true) {
            info!(
                queue = self.queue.name,
                "this Redis has no LMOVE for us: the queue is taken as a whole, by RENAMENX"
            );
        }
    }
}
