//! Who holds a lease, decided from what was read and written. No I/O and no clock of its own: the
//! times handed in are this machine's monotonic ones, and no time is ever compared with another
//! machine's.
//!
//! The lease is one document; `if_seq_no` and `if_primary_term` let only one of several writers
//! change it. The rules:
//!
//! - A holder renews by writing the document again, and believes in its lease until nine tenths of
//!   the duration after the *start* of its last renewal that succeeded.
//! - A contender takes over what it has seen unchanged for the whole duration. The tenth between is
//!   for clocks that do not run equally fast.
//! - What a holder released in order is taken at once; so is what this replica held when this
//!   process started, since then its holder was a process that is dead.
//! - Where there is no document one is made that nobody holds. It has to be seen unchanged for the
//!   whole duration like any other, since a holder may believe in the one that was deleted. Only
//!   who knows that there was none before takes it at once: the store calls it version 1 (it
//!   remembers deleted ones for `index.gc_deletes`), and this process has never seen one.
//! - A write whose answer was lost may have happened, or may happen yet. So each step begins with
//!   a read, and a document of our own session is ours, however it came about.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a lease lasts.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a contender must see it unchanged.
    pub duration: Duration,
    /// How often a holder renews it; a third of the duration lets it fail twice.
    pub renew_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { duration: Duration::from_secs(30), renew_every: Duration::from_secs(10) }
    }
}

impl Timing {
    /// How long a holder believes in its lease.
    fn believed(self) -> Duration {
        self.duration.saturating_sub(self.duration / 10)
    }
}

/// Where the document is in the order of writes; another one after each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `_seq_no`.
    pub seq_no: u64,
    /// `_primary_term`.
    pub primary_term: u64,
}

/// What a document says of the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenure {
    /// Nobody holds it, and it is not known who held what was here before.
    #[default]
    New,
    /// Its holder holds it.
    Held,
    /// Its holder has given it back.
    Released,
}

/// The document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Whether it is held.
    pub tenure: Tenure,
    /// The replica that wrote it.
    pub holder: String,
    /// The process of that replica that wrote it.
    pub session: String,
    /// What its holder leaves for the next one.
    pub payload: Value,
}

/// The document as it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Guards of the next write.
    pub place: Place,
    /// What it says.
    pub entry: Entry,
}

/// A write that happens only where the document is at `guard`, or not there where it is `None`.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where the document has to be.
    pub guard: Option<Place>,
    /// What it shall say.
    pub entry: Entry,
}

/// What became of a write that was answered.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    /// It happened.
    Done {
        /// Where the document is now.
        place: Place,
        /// `_version`: 1 where the store remembers none before.
        version: u64,
    },
    /// The document was not where it had to be.
    Conflict,
}

/// How the lease stands for this process.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// This process holds it.
    Held {
        /// What the holder before left, or this one kept since.
        payload: Value,
        /// Whether it was taken since this was last told.
        is_new: bool,
    },
    /// Another one holds it, or nobody for the time being.
    Elsewhere {
        /// The replica that holds it; `None` where nobody is known to.
        holder: Option<String>,
        /// Since when nothing was heard of it.
        since: Instant,
    },
}

#[derive(Clone, Debug)]
enum Phase {
    /// Not looked at since it was made, lost or given back.
    Unknown,
    /// Not ours, and at this place since.
    Watching { place: Place, holder: Option<String>, since: Instant },
    /// Ours; believed until.
    Ours { until: Instant },
}

/// One process's view of one lease.
#[derive(Clone, Debug)]
pub struct State {
    replica: String,
    session: String,
    timing: Timing,
    phase: Phase,
    /// What the next renewal leaves for the next holder; counts while the lease is ours.
    payload: Value,
    has_seen_one: bool,
    /// Where the document was when this process first saw it, if its replica held it then.
    left_behind: Option<Place>,
    is_new: bool,
    shares_its_id: bool,
}

impl State {
    /// A process of `replica`; `session` is this process's alone.
    #[must_use]
    pub fn new(replica: String, session: String, timing: Timing) -> Self {
        Self {
            replica,
            session,
            timing,
            phase: Phase::Unknown,
            payload: Value::Null,
            has_seen_one: false,
            left_behind: None,
            is_new: false,
            shares_its_id: false,
        }
    }

    /// Whether this process may act as the holder at the moment `now`.
    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Ours { until } if now < until)
    }

    /// How it stands; `None` where the document is ours, but confirmed too long ago to believe it.
    pub fn standing(&mut self, now: Instant) -> Option<Standing> {
        match &self.phase {
            Phase::Ours { until } if now < *until => {
                let is_new = std::mem::take(&mut self.is_new);
                Some(Standing::Held { payload: self.payload.clone(), is_new })
            }
            Phase::Ours { .. } => None,
            Phase::Watching { holder, since, .. } => {
                Some(Standing::Elsewhere { holder: holder.clone(), since: *since })
            }
            Phase::Unknown => Some(Standing::Elsewhere { holder: None, since: now }),
        }
    }

    /// Whether another living process has this replica's id: its data directory was copied.
    #[must_use]
    pub fn shares_its_id(&self) -> bool {
        self.shares_its_id
    }

    /// Until when it is believed to be ours; `None` where it is not.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ours { until } => Some(until),
            Phase::Unknown | Phase::Watching { .. } => None,
        }
    }

    /// Whether the lease was taken and [`State::standing`] has not told so yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Leaves this for the next holder, from the next renewal on; nothing where it is not ours.
    pub fn keep(&mut self, payload: Value) {
        if matches!(self.phase, Phase::Ours { .. }) {
            self.payload = payload;
        }
    }

    /// The document was read, `None` where there is none, and the answer came at `now`; gives what
    /// is to be written.
    pub fn read(&mut self, seen: Option<Seen>, now: Instant) -> Option<Write> {
        let Some(Seen { place, entry }) = seen else {
            self.lose();
            return Some(Write { guard: None, entry: Entry::default() });
        };
        let is_first = !std::mem::replace(&mut self.has_seen_one, true);
        let is_held = entry.tenure == Tenure::Held;
        if is_held && entry.session == self.session {
            let is_ours = matches!(self.phase, Phase::Ours { .. });
            let payload = if is_ours { self.payload.clone() } else { entry.payload };
            return Some(self.holding(place, payload));
        }
        if is_held && entry.holder == self.replica {
            if is_first {
                self.left_behind = Some(place);
            }
            self.shares_its_id |= self.left_behind != Some(place);
        }
        let since = match self.phase {
            Phase::Watching { place: before, since, .. } if before == place => since,
            _ => now,
        };
        self.lose();
        let holder = is_held.then_some(entry.holder);
        self.phase = Phase::Watching { place, holder, since };
        let is_free = entry.tenure == Tenure::Released
            || self.left_behind == Some(place)
            || now.saturating_duration_since(since) >= self.timing.duration;
        is_free.then(|| self.holding(place, entry.payload))
    }

    /// A write that was sent at `started` was answered at `now`; gives what else is to be written.
    pub fn written(
        &mut self,
        write: &Write,
        answer: Written,
        started: Instant,
        now: Instant,
    ) -> Option<Write> {
        let Written::Done { place, version } = answer else {
            self.lose();
            return None;
        };
        match write.entry.tenure {
            Tenure::Held => {
                self.is_new |= !matches!(self.phase, Phase::Ours { .. });
                self.phase = Phase::Ours { until: started + self.timing.believed() };
                self.payload = write.entry.payload.clone();
                None
            }
            Tenure::New => {
                self.phase = Phase::Watching { place, holder: None, since: now };
                let is_first = !std::mem::replace(&mut self.has_seen_one, true);
                (is_first && version == 1).then(|| self.holding(place, Value::Null))
            }
            Tenure::Released => {
                self.lose();
                None
            }
        }
    }

    /// Stops believing, before anybody is told; gives what is left for the next holder, where the
    /// lease was ours.
    pub fn resign(&mut self) -> Option<Value> {
        let was_ours = matches!(self.phase, Phase::Ours { .. });
        let payload = was_ours.then(|| self.payload.take());
        self.lose();
        payload
    }

    /// What gives the lease back, once [`State::resign`] was called and the document read again;
    /// nothing where it is not ours.
    #[must_use]
    pub fn release(&self, seen: Seen, payload: Option<Value>) -> Option<Write> {
        let Seen { place, entry } = seen;
        let is_ours = entry.tenure == Tenure::Held && entry.session == self.session;
        is_ours.then(|| Write {
            guard: Some(place),
            entry: Entry {
                tenure: Tenure::Released,
                payload: payload.unwrap_or_else(|| entry.payload.clone()),
                ..entry
            },
        })
    }

    fn holding(&self, place: Place, payload: Value) -> Write {
        let (holder, session) = (self.replica.clone(), self.session.clone());
        Write {
            guard: Some(place),
            entry: Entry { tenure: Tenure::Held, holder, session, payload },
        }
    }

    fn lose(&mut self) {
        self.phase = Phase::Unknown;
        self.payload = Value::Null;
        self.is_new = false;
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TIMING: Timing =
        Timing { duration: Duration::from_secs(30), renew_every: Duration::from_secs(10) };

    fn state(replica: &str, session: &str) -> State {
        State::new(replica.to_owned(), session.to_owned(), TIMING)
    }

    fn at(seq_no: u64) -> Place {
        Place { seq_no, primary_term: 1 }
    }

    fn seen(seq_no: u64, tenure: Tenure, holder: &str, session: &str) -> Seen {
        let (holder, session) = (holder.to_owned(), session.to_owned());
        let entry = Entry { tenure, holder, session, payload: json!(seq_no) };
        Seen { place: at(seq_no), entry }
    }

    fn done(seq_no: u64) -> Written {
        Written::Done { place: at(seq_no), version: seq_no + 1 }
    }

    #[test]
    fn what_is_seen_at_first_decides_whether_it_is_taken_at_once() {
        use Tenure::{Held, New, Released};
        for (tenure, holder, session, is_taken) in [
            (Held, "b", "s9", false),
            (New, "", "", false),
            (Released, "b", "s9", true),
            (Released, "a", "s0", true),
            // Of the process before this one.
            (Held, "a", "s0", true),
        ] {
            let mut state = state("a", "s1");
            let now = Instant::now();
            let write = state.read(Some(seen(5, tenure, holder, session)), now);
            assert_eq!(write.is_some(), is_taken, "{tenure:?} {holder}");
            assert!(!state.is_held(now), "nothing is written yet");
            let Some(write) = write else { continue };
            assert_eq!((write.guard, &write.entry.payload), (Some(at(5)), &json!(5)));
            assert!(state.written(&write, done(6), now, now).is_none());
            assert!(state.is_held(now));
            let told = Standing::Held { payload: json!(5), is_new: true };
            assert_eq!(state.standing(now), Some(told));
        }
    }

    #[test]
    fn what_stays_unchanged_for_the_whole_duration_is_taken() {
        let (mut state, begin) = (state("a", "s1"), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let other = |seq_no| seen(seq_no, Tenure::Held, "b", "s9");
        for (seconds, seq_no, is_taken) in
            [(0, 5, false), (29, 5, false), (30, 6, false), (59, 6, false), (60, 6, true)]
        {
            let write = state.read(Some(other(seq_no)), after(seconds));
            assert_eq!(write.is_some(), is_taken, "{seconds} s");
        }
        let elsewhere = Standing::Elsewhere { holder: Some("b".to_owned()), since: after(30) };
        assert_eq!(state.standing(after(60)), Some(elsewhere));
    }

    #[test]
    fn one_whose_taking_was_not_answered_finds_that_it_has_it() {
        let (mut state, now) = (state("a", "s1"), Instant::now());
        state.read(Some(seen(5, Tenure::Released, "b", "s9")), now).unwrap();
        assert!(!state.is_held(now));
        let write = state.read(Some(seen(6, Tenure::Held, "a", "s1")), now).unwrap();
        assert!(!state.is_held(now) && !state.shares_its_id());
        // What the document says is the newest: nothing was kept since.
        assert_eq!((write.guard, &write.entry.payload), (Some(at(6)), &json!(6)));
        state.written(&write, done(7), now, now);
        let told = Standing::Held { payload: json!(6), is_new: true };
        assert_eq!(state.standing(now), Some(told));
    }

    #[test]
    fn a_holder_believes_from_the_start_of_its_last_renewal() {
        let (mut state, begin) = (state("a", "s1"), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let write = state.read(Some(seen(5, Tenure::Released, "b", "s9")), after(0)).unwrap();
        state.written(&write, done(6), after(1), after(9));
        assert!(state.is_held(after(27)) && !state.is_held(after(28)));
        state.keep(json!("kept"));
        // The answer to a renewal was lost; it is found to have happened.
        let write = state.read(Some(seen(7, Tenure::Held, "a", "s1")), after(20)).unwrap();
        assert_eq!((write.guard, write.entry.payload.clone()), (Some(at(7)), json!("kept")));
        state.written(&write, done(8), after(21), after(21));
        assert!(state.is_held(after(47)) && !state.is_held(after(48)));
        assert_eq!(state.standing(after(48)), None);
        // Somebody else's write.
        let write = state.read(Some(seen(8, Tenure::Held, "a", "s1")), after(49)).unwrap();
        state.written(&write, Written::Conflict, after(49), after(49));
        assert!(!state.is_held(after(49)));
    }

    #[test]
    fn where_there_was_a_document_nobody_holds_the_new_one_at_once() {
        for (version, has_seen_one, is_taken) in
            [(1, false, true), (3, false, false), (1, true, false)]
        {
            let (mut state, now) = (state("a", "s1"), Instant::now());
            if has_seen_one {
                state.read(Some(seen(5, Tenure::Held, "b", "s9")), now);
            }
            let write = state.read(None, now).unwrap();
            assert_eq!((write.guard, write.entry.tenure), (None, Tenure::New));
            let answer = Written::Done { place: at(9), version };
            let next = state.written(&write, answer, now, now);
            assert_eq!(next.is_some(), is_taken, "version {version}, seen {has_seen_one}");
        }
    }

    #[test]
    fn copies_of_a_replica_take_from_each_other_once_and_do_not_fight() {
        let (mut one, now) = (state("a", "s1"), Instant::now());
        let mut copy = state("a", "s2");
        let write = one.read(Some(seen(0, Tenure::Released, "b", "s9")), now).unwrap();
        one.written(&write, done(1), now, now);
        let write = copy.read(Some(seen(1, Tenure::Held, "a", "s1")), now).unwrap();
        copy.written(&write, done(2), now, now);
        assert!(!copy.shares_its_id());
        for seq_no in 2..100 {
            assert!(one.read(Some(seen(seq_no, Tenure::Held, "a", "s2")), now).is_none());
            assert!(!one.is_held(now) && one.shares_its_id());
        }
    }

    #[test]
    fn only_what_is_ours_is_given_back() {
        let (mut state, now) = (state("a", "s1"), Instant::now());
        let write = state.read(Some(seen(5, Tenure::Released, "b", "s9")), now).unwrap();
        state.written(&write, done(6), now, now);
        state.keep(json!("last"));
        let payload = state.resign();
        assert!(!state.is_held(now));
        let others = seen(7, Tenure::Held, "b", "s9");
        assert!(state.release(others, payload.clone()).is_none());
        let ours = seen(6, Tenure::Held, "a", "s1");
        let write = state.release(ours, payload).unwrap();
        assert_eq!((write.entry.tenure, write.entry.payload), (Tenure::Released, json!("last")));
    }
}
