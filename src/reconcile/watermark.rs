//! Since when the alerts have to be looked at again. Pure.
//!
//! The times of alerts are those of the cluster's clocks, which may differ from ours and from one
//! another by minutes. So the mark follows the newest time that an alert was seen with, not our own
//! clock, and every look goes back by [`OVERLAP`].

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// By how much the clocks of a cluster's nodes may differ, and how late an alert may become visible.
pub const OVERLAP: Duration = Duration::from_mins(10);
/// How far a search counts what it finds; the API does not ask for more.
const MOST_COUNTED: u64 = 10_000;

/// What is kept between looks, and handed to the next replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Nothing that was over before is looked at; epoch ms by the cluster's clocks.
    pub floor: i64,
    /// The newest time that was seen, or that must have passed since; epoch ms.
    pub newest: i64,
    /// How many alerts of deleted monitors there were.
    #[serde(default)]
    pub deleted: Option<u64>,
}

/// The mark. It moves where a look has seen all changes ([`Watermark::pass`]), and never before: what
/// came while looks failed is still to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    checkpoint: Checkpoint,
    /// When `newest` was seen first: the cluster's clocks have gone on since then as ours has.
    seen: Instant,
    /// When the last look that has seen all changes began.
    passed: Instant,
    /// The newest time that was seen since, and when.
    ahead: Option<(i64, Instant)>,
}

impl Watermark {
    /// Begins where somebody else left off.
    #[must_use]
    pub fn new(checkpoint: Checkpoint, now: Instant) -> Self {
        Self { checkpoint, seen: now, passed: now, ahead: None }
    }

    /// Epoch ms from which on changes are asked for. `ours` is our own clock (epoch ms): a clock of
    /// the cluster that was once far ahead must not make us blind for what comes.
    #[must_use]
    pub fn since(&self, ours: i64) -> i64 {
        (self.newest(self.passed).min(ours) - millis(OVERLAP)).max(self.checkpoint.floor)
    }

    /// Whether anything at or after `at` belongs to us.
    #[must_use]
    pub fn covers(&self, at: i64) -> bool {
        at >= self.checkpoint.floor
    }

    /// Takes note of the time of an alert.
    pub fn observe(&mut self, at: i64, now: Instant) {
        if self.ahead.is_none_or(|(newest, _)| at > newest) {
            self.ahead = Some((at, now));
        }
    }

    /// A look that began then has seen all changes.
    pub fn pass(&mut self, begun: Instant) {
        if let Some((at, seen)) = self.ahead.take() {
            // A long look sees what came after it had passed the place where that belongs.
            let late = millis(seen.saturating_duration_since(begun));
            let (at, seen) = (at.saturating_sub(late), seen.min(begun));
            if at > self.newest(seen) {
                (self.checkpoint.newest, self.seen) = (at, seen);
            }
        }
        self.passed = begun;
    }

    /// What to keep.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { newest: self.newest(self.passed), ..self.checkpoint }
    }

    /// Whether so many alerts of deleted monitors are news.
    #[must_use]
    pub fn is_news(&self, deleted: u64) -> bool {
        // No more are counted.
        deleted >= MOST_COUNTED || self.checkpoint.deleted != Some(deleted)
    }

    /// Takes note of how many alerts of deleted monitors there are; they have been looked at.
    pub fn count_deleted(&mut self, count: u64) {
        self.checkpoint.deleted = Some(count);
    }

    fn newest(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.seen);
        self.checkpoint.newest.saturating_add(millis(since))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const BEGIN: i64 = 1_800_000_000_000;

    fn mark() -> (Watermark, Instant) {
        let now = Instant::now();
        let checkpoint = Checkpoint { floor: BEGIN, newest: BEGIN, deleted: None };
        (Watermark::new(checkpoint, now), now)
    }

    #[test]
    fn it_follows_the_clusters_time_and_not_ours() {
        let (mut mark, begin) = mark();
        let hour = begin + Duration::from_hours(1);
        // Our clock is a day ahead of theirs.
        let ours = BEGIN + 24 * 60 * MINUTE;
        assert_eq!(mark.since(ours), BEGIN, "never before the floor");
        mark.pass(hour);
        assert_eq!(mark.since(ours), BEGIN + 50 * MINUTE, "it goes on while nothing comes");
        mark.observe(BEGIN + 65 * MINUTE, hour);
        mark.observe(BEGIN + 64 * MINUTE, hour);
        mark.pass(hour);
        assert_eq!(mark.since(ours), BEGIN + 55 * MINUTE);
        mark.observe(BEGIN + 5 * MINUTE, hour);
        mark.pass(hour);
        assert_eq!(mark.since(ours), BEGIN + 55 * MINUTE, "an older one changes nothing");
        assert_eq!(mark.checkpoint().newest, BEGIN + 65 * MINUTE);
    }

    #[test]
    fn it_stays_while_looks_fail_however_long_and_whatever_they_saw() {
        let (mut mark, begin) = mark();
        mark.pass(begin + Duration::from_hours(1));
        let ours = BEGIN + 24 * 60 * MINUTE;
        // The first page of a walk has the newest alerts; the next one was not answered.
        mark.observe(BEGIN + 300 * MINUTE, begin + Duration::from_hours(5));
        assert_eq!(mark.since(ours), BEGIN + 50 * MINUTE);
        assert_eq!(mark.checkpoint().newest, BEGIN + 60 * MINUTE);
        mark.pass(begin + Duration::from_hours(6));
        assert_eq!(mark.since(ours), BEGIN + 350 * MINUTE);
    }

    #[test]
    fn what_came_while_a_long_look_went_on_is_looked_at_again() {
        let (mut mark, begin) = mark();
        mark.observe(BEGIN + 90 * MINUTE, begin + Duration::from_mins(90));
        mark.pass(begin + Duration::from_hours(1));
        assert_eq!(mark.since(BEGIN + 90 * MINUTE), BEGIN + 50 * MINUTE);
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_make_it_blind() {
        let (mut mark, begin) = mark();
        mark.observe(BEGIN + 1_000_000 * MINUTE, begin);
        mark.pass(begin);
        assert_eq!(mark.since(BEGIN + 30 * MINUTE), BEGIN + 20 * MINUTE);
    }

    #[test]
    fn a_count_of_deleted_ones_is_news_until_they_were_looked_at() {
        let (mut mark, _) = mark();
        assert!(mark.is_news(0), "never counted before");
        mark.count_deleted(0);
        assert!(!mark.is_news(0) && mark.is_news(3) && mark.is_news(3));
        mark.count_deleted(3);
        assert!(!mark.is_news(3));
        assert_eq!(mark.checkpoint().deleted, Some(3));
        mark.count_deleted(MOST_COUNTED);
        assert!(mark.is_news(MOST_COUNTED), "there may be any number more");
    }
}
