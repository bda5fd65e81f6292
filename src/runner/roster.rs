//! Which monitors there are, what is noted of each, and what is to be done next. Pure but for what
//! the log is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{
    decision::Period,
    noting::{Outcome, State},
    timetable::Timetable,
    working::{Done, Fault, Job, Note, Task},
};
use crate::opensearch::{
    alerting::Monitor,
    builtin::runs::{Document, Wish},
};

/// So many monitors run at once.
const AT_ONCE: usize = 16;
/// So many more, of those that were slow last time, or that have run for long: they hold up no others.
const SLOW_AT_ONCE: usize = 32;
/// A run that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(2);
/// How soon it is tried again what could not be finished.
const AGAIN: Duration = Duration::from_secs(3);
/// The same where somebody else wrote the note, once that is read again.
const AGAIN_AT_ONCE: Duration = Duration::from_millis(100);
/// A run that is later than this is overdue.
const OVERDUE: SignedDuration = SignedDuration::from_secs(30);

/// All of them.
#[derive(Default)]
pub struct Roster {
    entries: BTreeMap<String, Entry>,
    /// Whether it is known which monitors there are; before, only what they left undone is done.
    is_listed: bool,
}

#[derive(Default)]
struct Entry {
    /// `None` where it is gone.
    monitor: Option<Arc<Monitor>>,
    timetable: Option<Timetable>,
    note: Note,
    /// When it is due next.
    next: Option<Timestamp>,
    wish: Option<Wish>,
    /// Whether alerts of triggers may be left over.
    is_untidy: bool,
    /// Since when it runs.
    running: Option<Instant>,
    was_slow: bool,
    not_before: Option<Instant>,
    is_failing: bool,
}

/// A moment, by the clock on the wall and by the one that is never set.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What schedules go by.
    pub wall: Timestamp,
    /// What waits go by.
    pub steady: Instant,
}

impl Roster {
    /// With what is noted, before it is known which monitors there are.
    #[must_use]
    pub fn of(noted: Vec<Document>) -> Self {
        let entry = |Document { id, guard, source }| {
            let state = State::of(&id, source);
            (id, Entry { note: Note { state, guard, is_stale: false }, ..Entry::default() })
        };
        Self { entries: noted.into_iter().map(entry).collect(), ..Self::default() }
    }

    /// Takes in which monitors there are.
    pub fn list(&mut self, monitors: Vec<Monitor>, now: Timestamp) {
        self.is_listed = true;
        let there: BTreeSet<String> = monitors.iter().map(|monitor| monitor.id.clone()).collect();
        for monitor in monitors {
            let entry = self.entries.entry(monitor.id.clone()).or_default();
            entry.note.state.monitor_id.clone_from(&monitor.id);
            let place = |monitor: &Monitor| (monitor.seq_no, monitor.primary_term);
            if entry.monitor.as_deref().map(place) == Some(place(&monitor)) {
                continue;
            }
            entry.timetable = Timetable::of(&monitor.body).filter(|_| monitor.is_enabled());
            if monitor.is_enabled() && entry.timetable.is_none() {
                let name = monitor.name();
                warn!(
                    monitor = name,
                    "the schedule of {name} is not understood: it does not run; give it a period in MINUTES, HOURS or DAYS, or a cron expression with five fields and a time zone"
                );
            }
            entry.is_untidy = true;
            entry.monitor = Some(Arc::new(monitor));
            entry.plan(now);
        }
        for (id, entry) in &mut self.entries {
            if !there.contains(id) {
                (entry.monitor, entry.timetable, entry.next) = (None, None, None);
            }
        }
    }

    /// Takes in which runs are wished for; gives those of monitors that are not there.
    pub fn wish(&mut self, wishes: Vec<Wish>) -> Vec<Wish> {
        let mut nobodys = Vec::new();
        for wish in wishes {
            match self.entries.get_mut(&wish.monitor) {
                Some(entry) if entry.monitor.is_some() => entry.wish = Some(wish),
                _ if self.is_listed => nobodys.push(wish),
                _ => {}
            }
        }
        nobodys
    }

    /// What is to be begun now, as far as there is room: those first that are due for longest.
    pub fn begin(&mut self, now: Now) -> Vec<Task> {
        let is_listed = self.is_listed;
        let mut ready: Vec<(Option<Timestamp>, &String)> = (self.entries.iter())
            .filter(|(_, entry)| entry.is_ready(is_listed, now))
            .map(|(id, entry)| (entry.next, id))
            .collect();
        ready.sort();
        let ready: Vec<String> = ready.into_iter().map(|(_, id)| id.clone()).collect();
        let (mut room, mut room_for_slow) = self.room(now.steady);
        let mut tasks = Vec::new();
        for id in ready {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let room = if entry.was_slow { &mut room_for_slow } else { &mut room };
            if *room > 0
                && let Some(task) = entry.task(&id, is_listed, now.wall)
            {
                *room -= 1;
                entry.running = Some(now.steady);
                tasks.push(task);
            }
        }
        tasks
    }

    /// How many more may run, and how many more of the slow ones.
    fn room(&self, now: Instant) -> (usize, usize) {
        let (mut running, mut slow) = (0_usize, 0_usize);
        for entry in self.entries.values() {
            let Some(since) = entry.running else { continue };
            // One that has run for long gives its place up to the others.
            let is_slow = entry.was_slow || now.saturating_duration_since(since) > SLOW;
            *if is_slow { &mut slow } else { &mut running } += 1;
        }
        let too_many = slow.saturating_sub(SLOW_AT_ONCE);
        (AT_ONCE.saturating_sub(running + too_many), SLOW_AT_ONCE.saturating_sub(slow))
    }

    /// Takes in what has become of a piece of work.
    pub fn done(&mut self, done: Done, now: Now) {
        let Done { task, ran, fault, took } = done;
        let Some(entry) = self.entries.get_mut(&task.id) else { return };
        entry.running = None;
        entry.note = task.note;
        entry.was_slow = took > SLOW;
        entry.not_before = match &fault {
            None => None,
            Some(Fault::Conflict) => Some(now.steady + AGAIN_AT_ONCE),
            Some(_) => Some(now.steady + AGAIN),
        };
        if fault.is_none() {
            match &task.job {
                Job::Tidy => {
                    entry.is_untidy &= !is_same(entry.monitor.as_ref(), task.monitor.as_ref());
                }
                Job::Wish(wish) => {
                    entry.wish = entry.wish.take().filter(|other| other.asked_at > wish.asked_at);
                }
                Job::Forget if entry.monitor.is_none() && entry.note.is_stale => {
                    self.entries.remove(&task.id);
                    return;
                }
                Job::Finish | Job::Run(_) | Job::Forget => {}
            }
        }
        if let Some(ran) = ran {
            entry.tell(ran.outcome, ran.error.as_deref());
        }
        entry.plan(now.wall);
    }

    /// When something is to be begun next, where that is known.
    #[must_use]
    pub fn next(&self, now: Now) -> Option<Duration> {
        let wait = |entry: &Entry| {
            let later = entry.not_before.map(|at| at.saturating_duration_since(now.steady));
            let until = |at: Timestamp| at.duration_since(now.wall).try_into().unwrap_or_default();
            let due = entry.next.map(until);
            later.or(due)
        };
        self.entries.values().filter(|entry| entry.running.is_none()).filter_map(wait).min()
    }

    /// Whether something could not be finished, and is still to be.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.entries.values().any(|entry| entry.not_before.is_some())
    }

    /// How many monitors are scheduled, and how many of them are late.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> (usize, usize) {
        let scheduled = || self.entries.values().filter(|entry| entry.timetable.is_some());
        let is_late =
            |entry: &&Entry| entry.next.is_some_and(|next| now.duration_since(next) > OVERDUE);
        (scheduled().count(), scheduled().filter(is_late).count())
    }
}

fn is_same(one: Option<&Arc<Monitor>>, other: Option<&Arc<Monitor>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

impl Entry {
    fn plan(&mut self, now: Timestamp) {
        let planned = self.planned();
        self.next = self.timetable.as_ref().and_then(|table| table.next_run(planned, now));
    }

    fn planned(&self) -> Option<Timestamp> {
        self.note.state.planned.and_then(|planned| Timestamp::from_millisecond(planned).ok())
    }

    fn is_ready(&self, is_listed: bool, now: Now) -> bool {
        let may = self.running.is_none() && self.not_before.is_none_or(|at| at <= now.steady);
        let is_left = self.note.is_stale || self.note.state.pending.is_some();
        let is_due = self.next.is_some_and(|next| next <= now.wall);
        let asks =
            is_due || self.wish.is_some() || self.is_untidy && !self.note.state.current.is_empty();
        may && (is_left || is_listed && (self.monitor.is_none() || asks))
    }

    fn task(&self, id: &str, is_listed: bool, now: Timestamp) -> Option<Task> {
        let due = || self.timetable.as_ref()?.due(self.planned(), now);
        let has_left = self.is_untidy && !self.note.state.current.is_empty();
        let (job, period) = if !is_listed {
            (Job::Finish, None)
        } else if self.monitor.is_none() {
            (Job::Forget, None)
        } else if has_left {
            (Job::Tidy, None)
        } else if let Some(due) = due() {
            (Job::Run(due), self.timetable.as_ref().map(|table| table.period(due.at)))
        } else if let Some(wish) = self.wish.clone() {
            let at = Timestamp::from_millisecond(wish.asked_at).ok();
            let monitor = self.monitor.as_deref();
            // One that is disabled has none that is planned.
            let table = monitor.and_then(|monitor| Timetable::of(&monitor.body));
            let period = |at| table.map_or(Period { start: at, end: at }, |table| table.period(at));
            (Job::Wish(wish), at.map(period))
        } else if self.note.is_stale || self.note.state.pending.is_some() {
            (Job::Finish, None)
        } else {
            return None;
        };
        let (monitor, note) = (self.monitor.clone(), self.note.clone());
        Some(Task { id: id.to_owned(), monitor, period, note, job })
    }

    /// Says once that it fails, and once that it does no more.
    fn tell(&mut self, outcome: Outcome, error: Option<&str>) {
        let fails = outcome == Outcome::Error;
        let name = self.monitor.as_ref().map(|monitor| monitor.name()).unwrap_or_default();
        let before = std::mem::replace(&mut self.is_failing, fails);
        if fails && !before {
            warn!(monitor = name, error, "a monitor fails; see `alertloop monitors history`");
        } else if before && !fails {
            info!(monitor = name, "the monitor runs well again");
        }
    }
}

#[cfg(test)]
mod tests;
