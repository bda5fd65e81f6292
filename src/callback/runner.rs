//! Runs what is due. Each callback has a lane of its own: what hangs, fails or prints without end in
//! one holds up no other. What is to be done stays in the spool: a lane takes no more than it runs
//! at once, so memory is bounded whatever waits.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, histogram};
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Callback, Outcome, Ran, dispatcher, how::Answered};
use crate::{
    clock,
    opensearch::Client,
    spool::{AppendError, DeliveryChange, DueDelivery, Finished, Spool},
    telemetry,
};

mod notices;
mod status;

use notices::Notices;
pub use status::{Failing, Status};

/// The wait before the second try; it doubles with each, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// No try is put off for longer, whoever asks for it: what is due much later than that was put off
/// by a clock that has been set back since, and runs at once.
const LONGEST_AFTER: Duration = Duration::from_hours(1);
/// Messages that a lane works on at once have so many bytes, or it is a single one.
const LANE_BYTES: usize = 256 << 10;
/// What a run may take beyond its own limit.
const BEYOND: Duration = Duration::from_secs(5);
/// How long runs may take when we stop.
const LAST: Duration = Duration::from_secs(3);
/// How long a lane sleeps at most: clocks may be set.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// How soon the spool is tried again after it failed.
const SPOOL_AGAIN: Duration = Duration::from_secs(1);
/// How often old deliveries are removed; and how many one transaction removes.
const PRUNE: Duration = Duration::from_mins(1);
const PRUNED_AT_ONCE: u64 = 1_000;
/// An answer and a reason are cut to so many bytes, whatever a callback says.
const TEXT: usize = 8 << 10;

/// How long deliveries are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Days after their end; 0 for ever.
    pub days: u32,
    /// How much they may take, in bytes.
    pub bytes: u64,
}

/// Runs callbacks.
pub struct Runner {
    spool: Arc<Spool>,
    store: Client,
    callbacks: Vec<Callback>,
    notices: Arc<Notices>,
    status: Arc<Status>,
    keep: Keep,
}

impl Runner {
    /// One that has run nothing yet.
    #[must_use]
    pub fn new(
        (spool, store): (Arc<Spool>, Client),
        callbacks: Vec<Callback>,
        settings: dispatcher::Settings,
        status: Arc<Status>,
        keep: Keep,
    ) -> Self {
        let notices = Arc::new(Notices::new(Arc::clone(&spool), settings));
        let callbacks = callbacks.into_iter().filter(|callback| callback.enabled).collect();
        Self { spool, store, callbacks, notices, status, keep }
    }

    /// Runs what is due, until `stop`; what runs then is given a moment to end.
    ///
    /// # Errors
    /// When a lane ends by itself.
    pub async fn run(self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut parts = JoinSet::new();
        for callback in self.callbacks {
            let lane = Lane {
                callback: Arc::new(callback),
                spool: Arc::clone(&self.spool),
                store: self.store.clone(),
                notices: Arc::clone(&self.notices),
                status: Arc::clone(&self.status),
            };
            let stop = stop.clone();
            parts.spawn(async move { lane.run(&stop).await });
        }
        let (spool, keep, until) = (Arc::clone(&self.spool), self.keep, stop.clone());
        parts.spawn(async move { prune(&spool, keep, &until).await });
        while let Some(ended) = parts.join_next().await {
            ended?;
        }
        anyhow::ensure!(stop.is_cancelled(), "the callbacks ended by themselves");
        Ok(())
    }
}

/// Removes old deliveries now and then.
async fn prune(spool: &Spool, keep: Keep, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let age = SignedDuration::from_hours(i64::from(keep.days) * 24);
        let before = match keep.days {
            0 => Timestamp::MIN,
            _ => clock::now().checked_sub(age).unwrap_or(Timestamp::MIN),
        };
        let change = DeliveryChange::Prune { before, bytes: keep.bytes };
        let removed = spool.deliver(change).await.unwrap_or(0);
        if removed < PRUNED_AT_ONCE {
            stop.run_until_cancelled(sleep(PRUNE)).await;
        }
    }
}

/// One callback, with what it needs.
#[derive(Clone)]
struct Lane {
    callback: Arc<Callback>,
    spool: Arc<Spool>,
    store: Client,
    notices: Arc<Notices>,
    status: Arc<Status>,
}

/// Runs in flight; each gives the size of its message.
type Flying = FuturesUnordered<BoxFuture<'static, usize>>;

impl Lane {
    async fn run(self, stop: &CancellationToken) {
        let mut due = self.spool.due_changes();
        let (mut flying, mut bytes) = (Flying::new(), 0);
        let mut next: Option<Duration> = None;
        while !stop.is_cancelled() {
            if flying.len() < self.callback.at_once {
                due.mark_unchanged();
                match self.take(flying.len(), bytes).await {
                    Ok((runs, wait)) => {
                        next = wait;
                        for run in runs {
                            bytes += run.bytes.max(1);
                            let lane = self.clone();
                            flying.push(Box::pin(async move { lane.deliver(run).await }));
                        }
                    }
                    Err(_) => next = Some(SPOOL_AGAIN),
                }
            }
            let room = flying.len() < self.callback.at_once;
            tokio::select! {
                () = stop.cancelled() => {}
                Some(freed) = flying.next() => bytes -= freed,
                changed = due.changed(), if room => if changed.is_err() { return },
                () = sleep(next.unwrap_or(LONGEST_SLEEP)), if room => {}
            }
        }
        // What does not end in time is noted as interrupted at the next start.
        let rest = async { while flying.next().await.is_some() {} };
        timeout(LAST, rest).await.ok();
    }

    /// Takes what is due and finds room; and how long it is until more is due.
    async fn take(
        &self,
        flying: usize,
        mut bytes: usize,
    ) -> Result<(Vec<DueDelivery>, Option<Duration>), AppendError> {
        let name = self.callback.name.as_str();
        let room = self.callback.at_once - flying;
        let now = clock::now();
        let unreadable = |fault: rusqlite::Error| AppendError::Write(fault.to_string());
        let due = block_in_place(|| self.spool.due_deliveries(name, now, room));
        let mut due = due.map_err(unreadable)?;
        let mut taken = 0;
        for one in &due {
            if bytes > 0 && bytes + one.bytes > LANE_BYTES {
                break;
            }
            bytes += one.bytes.max(1);
            taken += 1;
        }
        due.truncate(taken);
        if due.is_empty() {
            let next = block_in_place(|| self.spool.next_due(name)).map_err(unreadable)?;
            let wait = next.map(|next| {
                let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                // What is due and finds no room comes when a run ends.
                left.clamp(Duration::from_millis(5), LONGEST_SLEEP)
            });
            return Ok((due, wait.filter(|_| flying == 0 || next > Some(now))));
        }
        let ids = due.iter().map(|one| one.id).collect();
        let configuration = self.callback.shown.to_string();
        self.spool.deliver(DeliveryChange::Run { ids, configuration, now }).await?;
        Ok((due, None))
    }

    /// Runs a delivery once and keeps what came of it; gives the size of its message.
    async fn deliver(self, run: DueDelivery) -> usize {
        let begun = Instant::now();
        let Answered { ran, after } = self.attempt(&run).await;
        let took = begun.elapsed();
        let now = clock::now();
        let Ran { outcome, status, answer } = ran;
        let attempts = run.attempts + 1;
        let (name, reason, again) = match outcome {
            Outcome::Delivered => ("delivered", None, None),
            Outcome::Refused(why) => ("refused", Some(why), None),
            Outcome::Again(why) => {
                let again = next_try(now, run.since, attempts, after, self.callback.give_up_after);
                ("again", Some(why), again)
            }
        };
        self.say(&run, name, reason.as_deref(), again.is_some());
        histogram!(telemetry::DELIVERY_SECONDS).record(took);
        let finished = Finished {
            id: run.id,
            now,
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            outcome: name,
            status,
            answer: cut(answer),
            reason: reason.map(cut),
            again,
        };
        // Until it is kept: else it would run again for nothing.
        loop {
            match self.spool.deliver(DeliveryChange::Finish(finished.clone())).await {
                Ok(_) | Err(AppendError::Closed) => return run.bytes.max(1),
                Err(_) => sleep(SPOOL_AGAIN).await,
            }
        }
    }

    async fn attempt(&self, run: &DueDelivery) -> Answered {
        let (id, position) = run.notice;
        let notice = match self.notices.get(id, position).await {
            Ok(notice) => notice,
            Err(outcome) => {
                return Ran { outcome, status: None, answer: String::new() }.into();
            }
        };
        let limit = self.callback.how.timeout() + BEYOND;
        let run =
            AssertUnwindSafe(self.callback.how.run(&notice, Some(&self.store))).catch_unwind();
        let outcome = match timeout(limit, run).await {
            Ok(Ok(answered)) => return answered,
            Ok(Err(_)) => "it broke on this alert; this is a fault of alertloop".to_owned(),
            Err(_) => format!("it did not end within {} s", limit.as_secs_f64()),
        };
        Ran { outcome: Outcome::Again(outcome), status: None, answer: String::new() }.into()
    }

    /// Counts, and says what changes: a callback that fails is told once, not each time.
    fn say(&self, run: &DueDelivery, outcome: &'static str, reason: Option<&str>, again: bool) {
        let callback = self.callback.name.as_str();
        let counted = if outcome == "delivered" || again { outcome } else { "failed" };
        counter!(telemetry::DELIVERIES, "callback" => callback.to_owned(), "outcome" => counted)
            .increment(1);
        debug!(callback.name = callback, delivery.id = run.id, outcome, "ran");
        let is_news = match reason {
            None => self.status.succeeded(callback),
            Some(why) => self.status.failed(callback, why, clock::now()),
        };
        match reason {
            None if is_news => info!(callback.name = callback, "the callback works again"),
            Some(why) if !again => warn!(
                callback.name = callback,
                delivery.id = run.id,
                error = why,
                "a delivery failed, and is tried no more; see `alertloop deliveries show`, and replay it once its cause is gone"
            ),
            Some(why) if is_news => {
                warn!(callback.name = callback, error = why, "a callback fails; it is tried again");
            }
            _ => {}
        }
    }
}

/// When a delivery is tried again; `None` when it is given up.
fn next_try(
    now: Timestamp,
    since: Timestamp,
    attempts: u64,
    after: Option<Duration>,
    give_up_after: Duration,
) -> Option<Timestamp> {
    let end = since.checked_add(give_up_after).unwrap_or(Timestamp::MAX);
    if now >= end {
        return None;
    }
    let doubled = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let span = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doubled)).min(LONGEST_WAIT);
    // Not all at the same time, and not at once.
    let after = after.unwrap_or_default().min(LONGEST_AFTER);
    let wait = span.mul_f64(rand::random_range(0.5..=1.0)).max(after);
    // The last try is at the end of its time.
    Some(now.checked_add(wait).unwrap_or(end).min(end))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_later_and_later_until_the_end_of_their_time() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let patience = Duration::from_mins(10);
        let wait = |now: i64, attempts, after: Option<u64>| {
            let after = after.map(Duration::from_secs);
            let next = next_try(at(now), at(0), attempts, after, patience)?;
            Some(next.duration_since(at(now)).as_secs_f64())
        };
        for (attempts, least, most) in
            [(1, 0.5, 1.0), (2, 1.0, 2.0), (5, 8.0, 16.0), (9, 60.0, 120.0), (9_999, 60.0, 120.0)]
        {
            for _ in 0..50 {
                let wait = wait(0, attempts, None).unwrap();
                assert!((least..=most).contains(&wait), "{attempts}: {wait}");
            }
        }
        assert_eq!(wait(0, 1, Some(30)), Some(30.0));
        assert_eq!(wait(590, 9, None), Some(10.0), "the last one");
        assert_eq!(wait(0, 1, Some(9_999)), Some(600.0));
        assert_eq!(wait(600, 1, None), None);
        let day = Duration::from_hours(24);
        let next = next_try(at(0), at(0), 1, Some(day), day.saturating_mul(2));
        assert_eq!(next, Some(at(3_600)), "a try that is put off stays in sight");
        assert_eq!(
            next_try(at(0), at(0), 1, None, Duration::MAX).map(|next| next > at(0)),
            Some(true)
        );
    }

    #[test]
    fn what_a_callback_says_is_cut() {
        assert_eq!(cut("ü".repeat(TEXT)).len(), TEXT);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
