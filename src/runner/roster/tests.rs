//! Which work is begun when.

use serde_json::{Value, json};

use super::*;
use crate::{
    opensearch::Error,
    runner::{noting, timetable::Due},
};

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

/// A monitor that runs every minute from the start on.
fn monitor(id: &str, seq_no: u64) -> Monitor {
    let body = json!({"name": id, "enabled": true, "enabled_time": at(0).as_millisecond(),
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}}});
    Monitor { id: id.to_owned(), seq_no, body, ..Monitor::default() }
}

fn noted(id: &str, source: Value) -> Document {
    Document { id: id.to_owned(), guard: Some((1, 1)), source }
}

struct Scene {
    roster: Roster,
    begun: Instant,
}

impl Scene {
    fn of(noted: Vec<Document>, monitors: Vec<Monitor>) -> Self {
        let mut roster = Roster::of(noted);
        roster.list(monitors, at(0));
        Self { roster, begun: Instant::now() }
    }

    fn now(&self, second: i64) -> Now {
        let passed = Duration::from_secs(u64::try_from(second).unwrap());
        Now { wall: at(second), steady: self.begun + passed }
    }

    fn begin(&mut self, second: i64) -> Vec<Task> {
        self.roster.begin(self.now(second))
    }

    /// It was run as planned.
    fn end(&mut self, mut task: Task, second: i64, took: Duration, fault: Option<Fault>) {
        let mut ran = None;
        if let (Job::Run(due), None) = (&task.job, &fault) {
            task.note.state.planned = Some(due.at.as_millisecond());
            ran = Some(noting::Run::default());
        }
        if matches!(fault, Some(Fault::Conflict)) {
            task.note.is_stale = true;
        }
        let now = self.now(second);
        self.roster.done(Done { task, ran, fault, took }, now);
    }

    fn end_all(&mut self, tasks: Vec<Task>, second: i64) {
        for task in tasks {
            self.end(task, second, Duration::ZERO, None);
        }
    }
}

fn ids(tasks: &[Task]) -> Vec<&str> {
    tasks.iter().map(|task| task.id.as_str()).collect()
}

#[test]
fn each_is_begun_at_its_moment_and_never_twice_at_once() {
    let mut scene = Scene::of(vec![], vec![monitor("a", 0), monitor("b", 0)]);
    assert_eq!(scene.begin(59).len(), 0);
    let wait = scene.roster.next(scene.now(59));
    assert_eq!(wait, Some(Duration::from_secs(1)));
    let tasks = scene.begin(60);
    assert_eq!(ids(&tasks), ["a", "b"]);
    assert_eq!(tasks[0].period, Some(Period { start: at(0), end: at(60) }));
    assert_eq!(scene.begin(150).len(), 0, "they still run");
    scene.end_all(tasks, 200);
    let tasks = scene.begin(200);
    let due = Due { at: at(180), missed: 1, first_missed: Some(at(120)) };
    assert_eq!(tasks[0].job, Job::Run(due), "once, for the last moment");
    scene.end_all(tasks, 201);
    assert_eq!(scene.begin(239).len(), 0);
}

#[test]
fn slow_ones_hold_up_no_others() {
    let all = (0..100).map(|n| monitor(&format!("{n:03}"), 0)).collect();
    let mut scene = Scene::of(vec![], all);
    // All hang: what has run for long gives its place up, as long as there is room for slow ones.
    let mut running = Vec::new();
    for (second, more) in [(60, AT_ONCE), (61, 0), (63, AT_ONCE), (66, AT_ONCE), (69, 0)] {
        let begun = scene.begin(second);
        assert_eq!(begun.len(), more, "{second}");
        running.extend(begun);
    }
    for task in running {
        scene.end(task, 90, SLOW * 2, None);
    }
    // The others come and go beside those that were slow, which have places of their own.
    let tasks = scene.begin(120);
    let slow = tasks.iter().filter(|task| task.id.as_str() < "048").count();
    assert_eq!((slow, tasks.len()), (SLOW_AT_ONCE, SLOW_AT_ONCE + AT_ONCE));
    let (_, quick): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.id.as_str() < "048");
    scene.end_all(quick, 121);
    assert_eq!(scene.begin(180).len(), AT_ONCE);
}

#[test]
fn what_was_left_undone_comes_first_and_before_the_monitors_are_known() {
    let pending = json!({"pending": {"at": 1, "messages": []}, "planned": at(60).as_millisecond()});
    let mut roster = Roster::of(vec![noted("a", pending.clone()), noted("b", json!({}))]);
    let now = Now { wall: at(400), steady: Instant::now() };
    let tasks = roster.begin(now);
    assert_eq!((ids(&tasks), &tasks[0].job), (vec!["a"], &Job::Finish));
    assert_eq!(roster.begin(now).len(), 0);
    // "b" is gone, and only that is known once they are listed.
    roster.list(vec![monitor("a", 0)], at(400));
    let tasks = roster.begin(now);
    assert_eq!((ids(&tasks), &tasks[0].job), (vec!["b"], &Job::Forget));
}

#[test]
fn a_fault_is_tried_again_later_and_a_conflict_after_the_note_was_read() {
    let mut scene = Scene::of(vec![], vec![monitor("a", 0)]);
    let fault = Fault::Store("note a run", Error::Unreachable("gone".to_owned()));
    let task = scene.begin(60).remove(0);
    scene.end(task, 60, Duration::ZERO, Some(fault));
    assert_eq!(scene.begin(61).len(), 0);
    assert_eq!(scene.roster.next(scene.now(61)), Some(Duration::from_secs(2)));
    let task = scene.begin(64).remove(0);
    scene.end(task, 64, Duration::ZERO, Some(Fault::Conflict));
    let task = scene.begin(65).remove(0);
    assert!(task.note.is_stale);
}

#[test]
fn a_changed_monitor_is_tidied_and_a_wish_runs_a_disabled_one() {
    let state = json!({"current": ["alert"], "planned": at(60).as_millisecond()});
    let mut scene = Scene::of(vec![noted("a", state)], vec![monitor("a", 0)]);
    let tasks = scene.begin(61);
    assert_eq!(tasks[0].job, Job::Tidy, "a new leader cannot know");
    scene.end_all(tasks, 61);
    assert_eq!(scene.begin(61).len(), 0);
    let mut disabled = monitor("a", 1);
    disabled.body["enabled"] = json!(false);
    scene.roster.list(vec![disabled], at(62));
    let tasks = scene.begin(62);
    assert_eq!(tasks[0].job, Job::Tidy);
    scene.end_all(tasks, 62);
    assert_eq!((scene.begin(200).len(), scene.roster.counts(at(200))), (0, (0, 0)));

    let wish = |monitor: &str, second| Wish {
        monitor: monitor.to_owned(),
        asked_at: at(second).as_millisecond(),
        guard: Some((1, 1)),
    };
    let nobodys = scene.roster.wish(vec![wish("a", 201), wish("other", 201)]);
    assert_eq!(nobodys, [wish("other", 201)]);
    let task = scene.begin(201).remove(0);
    assert_eq!(task.job, Job::Wish(wish("a", 201)));
    assert_eq!(task.period, Some(Period { start: at(141), end: at(201) }));
    scene.end(task, 202, Duration::ZERO, None);
    assert_eq!(scene.begin(202).len(), 0);
}

#[test]
fn those_that_are_late_are_counted() {
    let scene = Scene::of(vec![], vec![monitor("a", 0), monitor("b", 0)]);
    assert_eq!(scene.roster.counts(at(89)), (2, 0));
    assert_eq!(scene.roster.counts(at(91)), (2, 2));
}
