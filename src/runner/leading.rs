//! Of the replicas one leads: it knows the monitors and what is noted of them, and begins what is due.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use metrics::{counter, histogram};
use opensearch::http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Status,
    noting::Outcome,
    roster::{Now, Roster},
    working::{self, Done, Fault, Ground, Job},
};
use crate::{
    clock,
    lease::{Lease, Standing},
    opensearch::{
        Client, Error,
        alerting::{self, Family, Monitor, Stamp},
        builtin::{
            indices::Index,
            runs::{self, Wish},
        },
    },
    telemetry,
};

/// How often it is looked whether monitors were changed, and runs wished for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How soon a replica that stands by looks again at the earliest, where the lease may be free.
const STAND_BY_AT_LEAST: Duration = Duration::from_secs(1);
/// How long it sleeps at most: clocks may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How soon it looks again, and how soon where what is due finds no room.
const AT_LEAST: Duration = Duration::from_millis(5);
const NO_ROOM: Duration = Duration::from_millis(200);
/// How long runs may take when we stop; what they leave undone, the next one does.
const LAST: Duration = Duration::from_secs(2);
/// How often alerts are removed that are long over, and after how long.
const PRUNE_EVERY: Duration = Duration::from_hours(24);
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 60);

/// A replica's part in it.
pub struct Leading {
    ground: Arc<Ground>,
    lease: Lease,
    status: Arc<Status>,
    /// While this replica leads.
    roster: Option<Roster>,
    stamp: Option<Stamp>,
    hold_at: Instant,
    look_at: Instant,
    pruned: Option<Instant>,
    /// Wishes for monitors that are not there.
    nobodys: Vec<Wish>,
    works: JoinSet<Done>,
    looks: JoinSet<Result<Seen, Error>>,
    said: String,
}

/// What a look has seen.
struct Seen {
    stamp: Stamp,
    /// Where they have changed.
    monitors: Option<Vec<Monitor>>,
    wishes: Vec<Wish>,
}

impl Leading {
    /// One that does not lead yet.
    #[must_use]
    pub fn new(ground: Arc<Ground>, lease: Lease, status: Arc<Status>) -> Self {
        Self {
            ground,
            lease,
            status,
            roster: None,
            stamp: None,
            hold_at: Instant::now(),
            look_at: Instant::now(),
            pruned: None,
            nobodys: Vec::new(),
            works: JoinSet::new(),
            looks: JoinSet::new(),
            said: String::new(),
        }
    }

    /// Leads whenever it can, until `stop`; what runs then is given a moment to end.
    pub async fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if Instant::now() >= self.hold_at {
                self.hold().await;
            }
            self.look();
            let wait = self.begin();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(done) = self.works.join_next() => self.done(done.ok()),
                Some(seen) = self.looks.join_next() => self.seen(seen.ok()),
                () = tokio::time::sleep(wait) => {}
            }
        }
        let rest = async { while self.works.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST, rest).await.is_err() {
            debug!("runs are left to the next replica");
        }
        self.lose();
        // The next replica does not have to wait for the lease to run out.
        drop(self.lease.release().await);
    }

    /// Renews the lease or tries to get it.
    async fn hold(&mut self) {
        let timing = self.lease.timing();
        let standing = self.lease.hold().await;
        let now = Instant::now();
        match standing {
            Ok(Standing::Held { is_new, .. }) => {
                self.ground.lead.set(self.lease.held_until());
                self.hold_at = now + timing.renew_every;
                if (is_new || self.roster.is_none())
                    && let Err(fault) = self.take_over().await
                {
                    self.troubled(&Fault::Store("read what is noted of the monitors", fault));
                    self.hold_at = Instant::now() + STAND_BY_AT_LEAST;
                }
            }
            Ok(Standing::Elsewhere { since, .. }) => {
                self.lose();
                let free = since + timing.duration;
                self.hold_at = free.clamp(now + STAND_BY_AT_LEAST, now + timing.renew_every);
            }
            Err(fault) => {
                if !self.lease.is_held(now) {
                    self.lose();
                }
                self.say(&fault.to_string());
                self.hold_at = now + STAND_BY_AT_LEAST;
            }
        }
    }

    async fn take_over(&mut self) -> Result<(), Error> {
        self.lose_work();
        for index in [Index::Runs, Index::Alerts] {
            index.make(&self.ground.client).await?;
        }
        let noted = runs::states(&self.ground.client).await?;
        self.ground.lead.set(self.lease.held_until());
        self.roster = Some(Roster::of(noted));
        (self.look_at, self.stamp) = (Instant::now(), None);
        self.status.leads(true);
        Ok(())
    }

    /// Gives the lead up; what runs is dropped, and what it leaves undone the next one does.
    fn lose(&mut self) {
        self.ground.lead.set(None);
        if self.roster.is_some() {
            info!("this replica runs the monitors no more");
        }
        self.lose_work();
        self.status.leads(false);
    }

    fn lose_work(&mut self) {
        self.works.abort_all();
        // Their answers are nobody's.
        (self.works, self.looks) = (JoinSet::new(), JoinSet::new());
        (self.roster, self.stamp) = (None, None);
    }

    fn look(&mut self) {
        let is_due = Instant::now() >= self.look_at && self.looks.is_empty();
        if self.roster.is_none() || !is_due {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        let prunes = self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY);
        if prunes {
            self.pruned = Some(Instant::now());
        }
        let (ground, stamp) = (Arc::clone(&self.ground), self.stamp);
        let nobodys = std::mem::take(&mut self.nobodys);
        self.looks.spawn(async move { look(&ground, stamp, nobodys, prunes).await });
    }

    fn seen(&mut self, seen: Option<Result<Seen, Error>>) {
        let Some(roster) = &mut self.roster else { return };
        let now = clock::now();
        match seen {
            Some(Ok(Seen { stamp, monitors, wishes })) => {
                if let Some(monitors) = monitors {
                    roster.list(monitors, now);
                }
                self.stamp = Some(stamp);
                self.nobodys = roster.wish(wishes);
                let (scheduled, overdue) = roster.counts(now);
                self.status.scheduled(scheduled, overdue);
                if !roster.is_troubled() {
                    self.said.clear();
                    self.status.troubled(None);
                }
            }
            Some(Err(fault)) => self.troubled(&Fault::Store("list the monitors", fault)),
            None => warn!("a look at the monitors ended badly; it is done again"),
        }
    }

    /// Begins what is due; gives how long it is until more is.
    fn begin(&mut self) -> Duration {
        let now = Now { wall: clock::now(), steady: Instant::now() };
        let until = |at: Instant| at.saturating_duration_since(now.steady);
        let mut wait = until(self.hold_at).min(LONGEST_SLEEP);
        let Some(roster) = &mut self.roster else { return wait };
        if self.looks.is_empty() {
            wait = wait.min(until(self.look_at));
        }
        if self.ground.lead.is_ours() {
            for task in roster.begin(now) {
                if let Job::Run(due) = &task.job {
                    let late = Duration::try_from(now.wall.duration_since(due.at));
                    histogram!(telemetry::MONITOR_RUN_LATENESS).record(late.unwrap_or_default());
                }
                let ground = Arc::clone(&self.ground);
                self.works.spawn(async move { working::work(&ground, task).await });
            }
        }
        // Where those that are due find no room, the end of a run wakes us, or that it has become slow.
        let least = if self.works.is_empty() { AT_LEAST } else { NO_ROOM };
        roster.next(now).map_or(wait, |next| {
            let next = if next.is_zero() { least } else { next.max(AT_LEAST) };
            wait.min(next)
        })
    }

    fn done(&mut self, done: Option<Done>) {
        let Some(done) = done else {
            // What it has noted is not known: all is read again.
            warn!("a run of a monitor ended badly; what is noted of the monitors is read again");
            self.lose_work();
            self.hold_at = Instant::now();
            return;
        };
        if let Some(fault) = &done.fault {
            self.troubled(fault);
            if matches!(fault, Fault::Conflict | Fault::Lost) {
                self.hold_at = Instant::now();
            }
        }
        if let Some(ran) = &done.ran {
            counter!(telemetry::MONITOR_RUNS, "outcome" => ran.outcome.name()).increment(1);
            if let Job::Run(due) = &done.task.job {
                counter!(telemetry::MONITOR_RUNS, "outcome" => Outcome::Missed.name())
                    .increment(due.missed);
            }
            histogram!(telemetry::MONITOR_RUN_SECONDS).record(done.took);
            self.status.ran(clock::now());
        }
        let now = Now { wall: clock::now(), steady: Instant::now() };
        if let Some(roster) = &mut self.roster {
            roster.done(done, now);
        }
    }

    fn troubled(&mut self, fault: &Fault) {
        match fault {
            // The lease says what there is to say.
            Fault::Conflict | Fault::Lost => debug!(error = %fault, "a run is left to another"),
            fault => self.say(&fault.to_string()),
        }
    }

    fn say(&mut self, fault: &str) {
        self.status.troubled(Some(fault.to_owned()));
        if self.said.is_empty() {
            warn!(error = fault, "the monitors cannot be run as they should; tried again");
        } else {
            debug!(error = fault, "the monitors cannot be run yet");
        }
        fault.clone_into(&mut self.said);
    }
}

async fn look(
    ground: &Ground,
    before: Option<Stamp>,
    nobodys: Vec<Wish>,
    prunes: bool,
) -> Result<Seen, Error> {
    let client = &ground.client;
    for wish in nobodys {
        runs::fulfil(client, &wish).await?;
    }
    let stamp = alerting::stamp(client).await?;
    let monitors = if before == Some(stamp) {
        None
    } else {
        Some(alerting::all(client, Family::Monitor).await?)
    };
    let wishes = runs::wishes(client).await?;
    if ground.is_unseen.swap(false, Ordering::Relaxed)
        && let Err(fault) = show_alerts(ground).await
    {
        ground.is_unseen.store(true, Ordering::Relaxed);
        return Err(fault);
    }
    if prunes {
        prune(ground, clock::now()).await?;
    }
    Ok(Seen { stamp, monitors, wishes })
}

/// Lets searches find the alerts that were written: once for many runs.
async fn show_alerts(ground: &Ground) -> Result<(), Error> {
    let path = format!("/{}/_refresh?ignore_unavailable=true", ground.alerts);
    ground.client.call(Method::Post, &path, None).await.map(drop)
}

/// Removes the alerts that are over for long.
async fn prune(ground: &Ground, now: Timestamp) -> Result<(), Error> {
    let before = now.checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
    let old = |field: &str| json!({ "range": { field: { "lt": before } } });
    // One that was deleted has no end.
    let body = json!({ "query": { "bool": {
        "filter": [{ "terms": { "state": ["COMPLETED", "DELETED"] } }, old("start_time")],
        "should": [old("end_time"),
            { "bool": { "must_not": [{ "exists": { "field": "end_time" } }] } }],
        "minimum_should_match": 1,
        "must_not": [{ "range": { "last_notification_time": { "gte": before } } }] } } });
    let path = format!(
        "/{}/_delete_by_query?conflicts=proceed&ignore_unavailable=true&allow_no_indices=true&wait_for_completion=false",
        ground.alerts
    );
    ground.client.call(Method::Post, &path, Some(&body)).await.map(drop)
}

/// Waits until it is known whether the monitors are ours to run; `None` where it is to stop.
pub async fn is_ours(client: &Client, stop: &CancellationToken) -> Option<bool> {
    loop {
        match stop.run_until_cancelled(client.is_builtin()).await? {
            Ok(is_ours) => return Some(is_ours),
            Err(fault) => debug!(error = %fault, "who runs the monitors is not known yet"),
        }
        stop.run_until_cancelled(tokio::time::sleep(STAND_BY_AT_LEAST)).await?;
    }
}
