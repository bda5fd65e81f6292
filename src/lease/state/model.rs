//! The state machine that production runs, in a world that is as bad as it can be: requests that
//! come late, answers that are lost, processes that are killed, frozen, stopped and started again,
//! documents that are deleted; and each machine with a clock of its own, years apart and up to 5 %
//! fast or slow.

use std::cell::RefCell;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

use super::*;

const TIMING: Timing =
    Timing { duration: Duration::from_secs(30), renew_every: Duration::from_secs(10) };
/// How long the store remembers what was deleted, in true ms; longer than a lease lasts.
const REMEMBERS: u64 = 60_000;
const CASES: u32 = 2_000;

#[derive(Clone, Debug)]
enum Event {
    /// True time goes by, ms; to a process with nothing else happening to it, it is frozen.
    Tick(u64),
    /// Starts to hold, where it does nothing else; who holds leaves something new first.
    Hold(usize),
    /// Starts to end in order.
    Stop(usize),
    /// The request on its way takes effect.
    Reach(usize),
    /// It is answered.
    Answer(usize),
    /// It is given up; a write that has not taken effect may do so later.
    Fail { who: usize, may_land: bool },
    /// A write that was given up takes effect after all.
    Land(usize),
    /// `kill -9`.
    Crash(usize),
    /// Started again on the same data directory.
    Start(usize),
    /// Somebody deletes the document.
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..4_usize;
    prop_oneof![
        6 => (0..4_000_u64).prop_map(Event::Tick),
        2 => (4_000..45_000_u64).prop_map(Event::Tick),
        10 => who().prop_map(Event::Hold),
        1 => who().prop_map(Event::Stop),
        4 => who().prop_map(Event::Reach),
        24 => who().prop_map(Event::Answer),
        3 => (who(), any::<bool>()).prop_map(|(who, may_land)| Event::Fail { who, may_land }),
        3 => (0..8_usize).prop_map(Event::Land),
        1 => who().prop_map(Event::Crash),
        3 => who().prop_map(Event::Start),
        1 => Just(Event::Delete),
    ]
}

/// What happened in all runs, so that it is known what was tried.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    taken_from_another: u64,
    conflicts: u64,
    landed: u64,
    deleted_while_held: u64,
    answered_too_late: u64,
}

struct Store {
    document: Option<(Seen, u64)>,
    next: u64,
    /// Version and time of the last deletion.
    deleted: Option<(u64, u64)>,
}

impl Store {
    fn write(&mut self, write: &Write, now: u64) -> Result<Written, TestCaseError> {
        let before = self.document.as_ref().map(|(seen, _)| seen.place);
        if before != write.guard {
            return Ok(Written::Conflict);
        }
        let remembered = self.deleted.filter(|(_, at)| now - at < REMEMBERS);
        let version = match (&self.document, remembered) {
            (Some((seen, version)), _) => {
                let payload = |entry: &Entry| entry.payload.as_u64().unwrap_or(0);
                let (old, new) = (payload(&seen.entry), payload(&write.entry));
                prop_assert!(new >= old, "payload {new} after {old}");
                version + 1
            }
            (None, Some((version, _))) => version + 1,
            (None, None) => 1,
        };
        let place = Place { seq_no: self.next, primary_term: 1 };
        self.next += 1;
        self.document = Some((Seen { place, entry: write.entry.clone() }, version));
        Ok(Written::Done { place, version })
    }

    fn delete(&mut self, now: u64) {
        if let Some((_, version)) = self.document.take() {
            self.deleted = Some((version + 1, now));
            self.next += 1;
        }
    }
}

enum Request {
    Read,
    /// It has taken effect.
    HasRead(Option<Seen>),
    Write {
        write: Write,
        started: Instant,
        answer: Option<Written>,
    },
}

struct Process {
    state: State,
    request: Option<Request>,
    ending: Option<Ending>,
}

/// It has begun to end in order.
struct Ending {
    leaves: Option<Value>,
}

struct Replica {
    id: String,
    offset: Duration,
    /// Of its clock, in thousandths.
    speed: u64,
    process: Option<Process>,
}

impl Replica {
    fn clock(&self, epoch: Instant, now: u64) -> Instant {
        epoch + self.offset + Duration::from_micros(now * self.speed)
    }
}

struct World {
    epoch: Instant,
    now: u64,
    store: Store,
    replicas: Vec<Replica>,
    given_up: Vec<Write>,
    sessions: u64,
    payloads: u64,
    last_holder: Option<usize>,
    tally: Tally,
}

impl World {
    fn new(clocks: &[(u64, u64)]) -> Self {
        let replicas = clocks.iter().enumerate().map(|(number, (offset, speed))| Replica {
            id: format!("r{number}"),
            offset: Duration::from_secs(*offset),
            speed: *speed,
            process: None,
        });
        let mut world = Self {
            epoch: Instant::now(),
            now: 0,
            store: Store { document: None, next: 0, deleted: None },
            replicas: replicas.collect(),
            given_up: Vec::new(),
            sessions: 0,
            payloads: 0,
            last_holder: None,
            tally: Tally::default(),
        };
        for number in 0..world.replicas.len() {
            world.start(number);
        }
        world
    }

    fn start(&mut self, who: usize) {
        self.sessions += 1;
        let session = format!("s{}", self.sessions);
        let replica = &mut self.replicas[who];
        let state = State::new(replica.id.clone(), session, TIMING);
        if replica.process.is_none() {
            replica.process = Some(Process { state, request: None, ending: None });
        }
    }

    fn holders(&self) -> Vec<usize> {
        let holds = |replica: &Replica| {
            let now = replica.clock(self.epoch, self.now);
            replica.process.as_ref().is_some_and(|process| process.state.is_held(now))
        };
        (0..self.replicas.len()).filter(|who| holds(&self.replicas[*who])).collect()
    }

    fn happens(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let count = self.replicas.len();
        match *event {
            Event::Tick(ms) => self.now += ms,
            Event::Hold(who) => self.hold(who % count),
            Event::Stop(who) => self.stop(who % count),
            Event::Reach(who) => self.reach(who % count)?,
            Event::Answer(who) => self.answer(who % count)?,
            Event::Fail { who, may_land } => self.fail(who % count, may_land),
            Event::Land(which) => self.land(which)?,
            Event::Crash(who) => {
                self.fail(who % count, true);
                self.replicas[who % count].process = None;
            }
            Event::Start(who) => self.start(who % count),
            Event::Delete => {
                self.tally.deleted_while_held += u64::from(!self.holders().is_empty());
                self.store.delete(self.now);
            }
        }
        let holders = self.holders();
        prop_assert!(holders.len() < 2, "{holders:?} hold it at once, after {event:?}");
        if let [holder] = holders[..]
            && self.last_holder != Some(holder)
        {
            self.tally.taken += 1;
            self.tally.taken_from_another += u64::from(self.last_holder.is_some());
            self.last_holder = Some(holder);
        }
        Ok(())
    }

    fn hold(&mut self, who: usize) {
        let holds = self.holders().contains(&who);
        let Some(process) = &mut self.replicas[who].process else { return };
        if process.request.is_some() || process.ending.is_some() {
            return;
        }
        if holds {
            self.payloads += 1;
            process.state.keep(json!(self.payloads));
        }
        process.request = Some(Request::Read);
    }

    fn stop(&mut self, who: usize) {
        let Some(process) = &mut self.replicas[who].process else { return };
        if process.request.is_none() && process.ending.is_none() {
            process.ending = Some(Ending { leaves: process.state.resign() });
            process.request = Some(Request::Read);
        }
    }

    fn reach(&mut self, who: usize) -> Result<(), TestCaseError> {
        let Some(process) = &mut self.replicas[who].process else { return Ok(()) };
        match &mut process.request {
            Some(request @ Request::Read) => {
                let seen = self.store.document.as_ref().map(|(seen, _)| seen.clone());
                *request = Request::HasRead(seen);
            }
            Some(Request::Write { write, answer: answer @ None, .. }) => {
                *answer = Some(self.store.write(write, self.now)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, who: usize) -> Result<(), TestCaseError> {
        self.reach(who)?;
        let now = self.replicas[who].clock(self.epoch, self.now);
        let Some(process) = &mut self.replicas[who].process else { return Ok(()) };
        let Some(request) = process.request.take() else { return Ok(()) };
        let next = match request {
            Request::Read => unreachable!("it has been reached"),
            Request::HasRead(seen) => match &process.ending {
                Some(Ending { leaves }) => {
                    seen.and_then(|seen| process.state.release(seen, leaves.clone()))
                }
                None => process.state.read(seen, now),
            },
            Request::Write { write, started, answer } => {
                let answer = answer.unwrap_or(Written::Conflict);
                self.tally.conflicts += u64::from(matches!(answer, Written::Conflict));
                let late = now.duration_since(started) > TIMING.duration;
                self.tally.answered_too_late += u64::from(late);
                if process.ending.is_some() {
                    None
                } else {
                    process.state.written(&write, answer, started, now)
                }
            }
        };
        process.request = next.map(|write| Request::Write { write, started: now, answer: None });
        if process.request.is_none() && process.ending.is_some() {
            self.replicas[who].process = None;
        }
        Ok(())
    }

    fn fail(&mut self, who: usize, may_land: bool) {
        let Some(process) = &mut self.replicas[who].process else { return };
        if let Some(Request::Write { write, answer: None, .. }) = process.request.take()
            && may_land
        {
            self.given_up.push(write);
        }
        if process.ending.is_some() {
            self.replicas[who].process = None;
        }
    }

    fn land(&mut self, which: usize) -> Result<(), TestCaseError> {
        if self.given_up.is_empty() {
            return Ok(());
        }
        let write = self.given_up.remove(which % self.given_up.len());
        let answer = self.store.write(&write, self.now)?;
        self.tally.landed += u64::from(matches!(answer, Written::Done { .. }));
        Ok(())
    }

    /// From now on nothing fails, and everybody holds as often as it should.
    fn recovers(&mut self) -> Result<(), TestCaseError> {
        self.given_up.clear();
        for who in 0..self.replicas.len() {
            self.fail(who, false);
        }
        self.start(0);
        let round = u64::try_from(TIMING.renew_every.as_millis()).unwrap_or(u64::MAX);
        let mut held_for = 0;
        // The whole duration by the slowest clock, and a few renewals.
        for _ in 0..7 + 5 {
            for who in 0..self.replicas.len() {
                self.hold(who);
                while self.replicas[who].process.as_ref().is_some_and(|one| one.request.is_some()) {
                    self.happens(&Event::Answer(who))?;
                }
            }
            held_for = if self.holders().is_empty() { 0 } else { held_for + 1 };
            let changed = self.last_holder;
            self.happens(&Event::Tick(round))?;
            prop_assert!(held_for < 2 || self.last_holder == changed, "it changes hands");
        }
        prop_assert!(held_for >= 5, "nobody has held it for long: {held_for}");
        Ok(())
    }
}

#[test]
fn in_any_schedule_one_holds_it_at_a_time_and_nothing_newer_is_forgotten() {
    let total = RefCell::new(Tally::default());
    let clocks = proptest::collection::vec((0..1_000_000_000_u64, 950..=1_050_u64), 2..=4);
    let schedule = (clocks, proptest::collection::vec(event(), 1..250));
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let ran = runner.run(&schedule, |(clocks, events)| {
        let mut world = World::new(&clocks);
        for event in &events {
            world.happens(event)?;
        }
        world.recovers()?;
        let (mut total, one) = (total.borrow_mut(), world.tally);
        total.taken += one.taken;
        total.taken_from_another += one.taken_from_another;
        total.conflicts += one.conflicts;
        total.landed += one.landed;
        total.deleted_while_held += one.deleted_while_held;
        total.answered_too_late += one.answered_too_late;
        Ok(())
    });
    if let Err(fault) = ran {
        panic!("{fault}");
    }
    let Tally {
        taken,
        taken_from_another,
        conflicts,
        landed,
        deleted_while_held,
        answered_too_late,
    } = total.into_inner();
    println!(
        "{CASES} schedules: taken {taken} times, {taken_from_another} from another, {conflicts} conflicts, {landed} late writes, {deleted_while_held} deleted while held, {answered_too_late} answered too late"
    );
    let tried =
        [taken, taken_from_another, conflicts, landed, deleted_while_held, answered_too_late];
    assert!(tried.iter().all(|times| *times > u64::from(CASES) / 40), "{tried:?}");
}
