//! One piece of work at one monitor: a run, or what is left of one. What is decided is noted first,
//! then done, then noted as done; whoever finds a note with something to be done does that before all
//! else. Alerts have ids that are made of the run, so that what is done twice is there once.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use tracing::warn;

use super::{
    decide,
    decision::{Alert, Decision, Period, Question},
    handing::Hands,
    noting::{self, State, Times},
    timetable::Due,
};
use crate::{
    clock,
    opensearch::{
        Client, Error,
        alerting::{self, Family, Monitor},
        builtin::runs::{self, Wish},
        bulk::Cause,
        guarded::{self, Found, Guard, Write},
    },
    spool::AppendError,
};

/// How long a run may take to decide.
pub const LIMIT: Duration = Duration::from_mins(1);
/// How often alerts are written again that somebody else wrote meanwhile.
const TRIES: usize = 5;

/// What every piece of work needs.
pub struct Ground {
    /// The store.
    pub client: Client,
    /// The index of the alerts.
    pub alerts: String,
    /// Takes messages.
    pub hands: Hands,
    /// Where messages can be sent to.
    pub destinations: Vec<String>,
    /// Until when this replica leads.
    pub lead: Lead,
    /// Whether alerts were written that searches do not find yet.
    pub is_unseen: AtomicBool,
    /// How long a run may take to decide.
    pub limit: Duration,
}

/// Until when this replica leads: what was stalled sees that its time is over before it goes on.
#[derive(Debug, Default)]
pub struct Lead(Mutex<Option<Instant>>);

impl Lead {
    /// It leads until then, or does not.
    pub fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether it leads now.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }
}

/// Why a piece of work was not finished. It is to be tried again, by whoever leads then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The store did not do it.
    #[error("cannot {0}: {1}")]
    Store(&'static str, Error),
    /// The spool did not keep a message.
    #[error("a message cannot be kept: {0}")]
    Spool(#[from] AppendError),
    /// Somebody else wrote the note.
    #[error("another replica runs this monitor")]
    Conflict,
    /// The lease is over.
    #[error("another replica may run the monitors by now")]
    Lost,
}

fn at(what: &'static str) -> impl Fn(Error) -> Fault {
    move |fault| Fault::Store(what, fault)
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// What a run before left undone; this is done first by every other job too.
    Finish,
    /// A run that is due.
    Run(Due),
    /// A run that somebody wished for.
    Wish(Wish),
    /// The monitor was changed: alerts of triggers that are gone are deleted.
    Tidy,
    /// The monitor is gone.
    Forget,
}

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Task {
    /// The monitor's id.
    pub id: String,
    /// The monitor, where it is known.
    pub monitor: Option<std::sync::Arc<Monitor>>,
    /// When it is run.
    pub period: Option<Period>,
    /// What is noted of it.
    pub note: Note,
    /// What is to be done.
    pub job: Job,
}

/// What is noted of a monitor, and what guards the next write of it.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// As it is noted.
    pub state: State,
    /// Of the last read or write.
    pub guard: Guard,
    /// Whether it has to be read again: somebody else wrote it, or it is not known whether we did.
    pub is_stale: bool,
}

/// What has become of a piece of work.
#[derive(Debug)]
pub struct Done {
    /// What it was.
    pub task: Task,
    /// The run, where there was one.
    pub ran: Option<noting::Run>,
    /// Why it is not finished.
    pub fault: Option<Fault>,
    /// How long it took.
    pub took: Duration,
}

/// Does it.
pub async fn work(ground: &Ground, mut task: Task) -> Done {
    let begun = Instant::now();
    let mut ran = None;
    let fault = steps(ground, &mut task, &mut ran).await.err();
    if matches!(fault, Some(Fault::Conflict)) {
        task.note.is_stale = true;
    }
    Done { task, ran, fault, took: begun.elapsed() }
}

async fn steps(
    ground: &Ground,
    task: &mut Task,
    ran: &mut Option<noting::Run>,
) -> Result<(), Fault> {
    let was_stale = task.note.is_stale;
    if was_stale {
        let read = runs::state(&ground.client, &task.id).await;
        let read = read.map_err(at("read what is noted of a monitor"))?;
        let state = State::of(&task.id, read.source);
        task.note = Note { state, guard: read.guard, is_stale: false };
    }
    settle(ground, task).await?;
    match task.job.clone() {
        Job::Finish => Ok(()),
        // What is due has to be told from what is noted now.
        Job::Run(_) if was_stale => Ok(()),
        Job::Run(due) => run(ground, task, due, false, ran).await,
        Job::Wish(wish) => {
            if let Ok(at) = Timestamp::from_millisecond(wish.asked_at) {
                run(ground, task, Due { at, missed: 0, first_missed: None }, true, ran).await?;
            }
            let taken = runs::fulfil(&ground.client, &wish).await;
            taken.map_err(at("take a wish away"))
        }
        Job::Tidy => {
            let monitor = task.monitor.clone();
            delete_alerts(ground, task, monitor.as_deref()).await
        }
        Job::Forget => forget(ground, task).await,
    }
}

async fn run(
    ground: &Ground,
    task: &mut Task,
    due: Due,
    is_wished: bool,
    ran: &mut Option<noting::Run>,
) -> Result<(), Fault> {
    let scheduled_at = due.at.as_millisecond();
    let (Some(monitor), Some(period)) = (task.monitor.clone(), task.period) else { return Ok(()) };
    // It was run, and the wish could not be taken away.
    if is_wished && task.note.state.wished >= Some(scheduled_at) {
        return Ok(());
    }
    let now = clock::now();
    let (alerts, current) = read_alerts(ground, &task.note.state.current).await?;
    let left = decide::left_over(Some(&monitor.body), &alerts);
    let is_left = |alert: &Alert| left.iter().any(|one| one.id == alert.id);
    let alerts: Vec<_> = alerts.into_iter().filter(|alert| !is_left(alert)).collect();
    let question = Question {
        monitor: &monitor,
        period,
        now,
        alerts: &alerts,
        destinations: &ground.destinations,
    };
    let decided = tokio::time::timeout(ground.limit, decide::decide(&ground.client, &question));
    let mut decision = match decided.await {
        Ok(decision) => decision,
        Err(_) => too_slow(ground.limit),
    };
    decision.alerts.extend(left);
    let times = Times {
        scheduled_at,
        started_at: now.as_millisecond(),
        decided_at: clock::now().as_millisecond(),
        is_wished,
        missed: due.first_missed.map(|first| (due.missed, first.as_millisecond())),
    };
    let before = State { current, ..task.note.state.clone() };
    let next = before.clone().noted(times, decision);
    let next = match write(ground, task, next).await {
        Err(Fault::Store(_, fault)) if matches!(fault.status(), Some(400 | 413)) => {
            let error = format!("what it decided cannot be noted: {fault}");
            let decision = Decision { error: Some(error), ..Decision::default() };
            write(ground, task, before.noted(times, decision)).await
        }
        written => written,
    };
    next?;
    *ran = task.note.state.history.first().cloned();
    settle(ground, task).await
}

fn too_slow(limit: Duration) -> Decision {
    let error = format!(
        "it was not decided within {limit:?}; make its query or its scripts smaller, or run it less often"
    );
    Decision { error: Some(error), ..Decision::default() }
}

/// Notes that the monitor is as it shall be; nothing is left of one that is gone.
async fn forget(ground: &Ground, task: &mut Task) -> Result<(), Fault> {
    let found = alerting::get(&ground.client, Family::Monitor, &task.id).await;
    if found.map_err(at("read a monitor"))?.is_some() {
        // What lists them is behind.
        return Ok(());
    }
    delete_alerts(ground, task, None).await?;
    let gone = runs::write(&ground.client, &task.id, task.note.guard, None).await;
    task.note.is_stale = true;
    gone.map(drop).map_err(noted_fault)
}

/// Deletes the alerts of triggers that the monitor has no longer, or of all where it is gone.
async fn delete_alerts(
    ground: &Ground,
    task: &mut Task,
    monitor: Option<&Monitor>,
) -> Result<(), Fault> {
    let (alerts, _) = read_alerts(ground, &task.note.state.current).await?;
    let left = decide::left_over(monitor.map(|monitor| &monitor.body), &alerts);
    if left.is_empty() {
        return Ok(());
    }
    let now = clock::now().as_millisecond();
    let next = task.note.state.clone().changes(now, left, Vec::new());
    write(ground, task, next).await?;
    settle(ground, task).await
}

/// Does what is noted to be done, and notes that it is.
async fn settle(ground: &Ground, task: &mut Task) -> Result<(), Fault> {
    let Some(pending) = task.note.state.pending.clone() else { return Ok(()) };
    let decided = Timestamp::from_millisecond(pending.at).unwrap_or(Timestamp::UNIX_EPOCH);
    still_ours(ground)?;
    write_alerts(ground, &pending.alerts).await?;
    for message in &pending.messages {
        still_ours(ground)?;
        ground.hands.hand(message, &pending.alerts, decided).await?;
    }
    let next = task.note.state.clone().done();
    write(ground, task, next).await
}

fn still_ours(ground: &Ground) -> Result<(), Fault> {
    if ground.lead.is_ours() { Ok(()) } else { Err(Fault::Lost) }
}

async fn write(ground: &Ground, task: &mut Task, next: State) -> Result<(), Fault> {
    still_ours(ground)?;
    let note = &mut task.note;
    match runs::write(&ground.client, &task.id, note.guard, Some(&next.source())).await {
        Ok(guard) => {
            *note = Note { state: next, guard, is_stale: false };
            Ok(())
        }
        Err(fault) => {
            // It may be written all the same.
            note.is_stale = !matches!(fault.status(), Some(400 | 413));
            Err(noted_fault(fault))
        }
    }
}

fn noted_fault(fault: Error) -> Fault {
    if fault.is_conflict() { Fault::Conflict } else { Fault::Store("note a run", fault) }
}

/// Those of a monitor's alerts that are not over, as they are now, and their ids.
async fn read_alerts(
    ground: &Ground,
    current: &[String],
) -> Result<(Vec<Alert>, Vec<String>), Fault> {
    let ids: Vec<&str> = current.iter().map(String::as_str).collect();
    let found = guarded::read(&ground.client, &ground.alerts, &ids).await;
    let found = found.map_err(at("read the alerts"))?;
    let mut alerts = Vec::with_capacity(ids.len());
    for (id, found) in ids.iter().zip(found) {
        match found {
            Found::Read { guard: Some(_), source } if !noting::is_over(&source) => {
                alerts.push(Alert { id: (*id).to_owned(), body: source });
            }
            Found::Read { .. } | Found::NoIndex => {}
            Found::Unread(why) => return Err(at("read the alerts")(Error::Malformed(why))),
        }
    }
    let ids = alerts.iter().map(|alert| alert.id.clone()).collect();
    Ok((alerts, ids))
}

/// Writes alerts, each whole, over what is there; see [`noting::merged`].
async fn write_alerts(ground: &Ground, alerts: &[Value]) -> Result<(), Fault> {
    let store = at("write the alerts");
    let (client, index) = (&ground.client, ground.alerts.as_str());
    let mut left: Vec<(&str, &Value)> =
        alerts.iter().filter_map(|alert| Some((alert["id"].as_str()?, alert))).collect();
    for _ in 0..TRIES {
        if left.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = left.iter().map(|(id, _)| *id).collect();
        let mut writes = Vec::new();
        for ((id, ours), found) in
            left.iter().zip(guarded::read(client, index, &ids).await.map_err(&store)?)
        {
            let (guard, stored) = match found {
                Found::Read { guard, source } => (guard, source),
                Found::NoIndex => (None, Value::Null),
                Found::Unread(why) => return Err(store(Error::Malformed(why))),
            };
            let merged = noting::merged(&stored, (*ours).clone());
            if merged != stored {
                writes.push(Write { id, guard, source: Some(merged.to_string()) });
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let items = guarded::write(client, index, &writes).await.map_err(&store)?;
        ground.is_unseen.store(true, Ordering::Relaxed);
        let mut again = BTreeSet::new();
        for item in items {
            let why = || item.error.as_ref().map(Cause::text).unwrap_or_default();
            match item.status {
                200..=299 => {}
                409 => drop(again.insert(item.id.clone())),
                // It will not be taken tomorrow either, and its message must not wait for it.
                400 | 413 => warn!(alert = item.id, error = why(), "the store refuses an alert"),
                status => return Err(store(Error::Status { status, reason: why() })),
            }
        }
        left.retain(|(id, _)| again.contains(*id));
    }
    if left.is_empty() {
        return Ok(());
    }
    let reason = "somebody else keeps changing them".to_owned();
    Err(store(Error::Status { status: 409, reason }))
}
