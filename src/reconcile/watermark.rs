//! Since when the alerts have to be looked at again. Pure.
//!
//! The times of alerts are those of the cluster's clocks, which may differ from ours and from one
//! another by minutes. So the mark follows the newest time that an alert was seen with, not our own
//! clock, and every look goes back by [`OVERLAP`].

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// By how much the clocks of a cluster's nodes may differ, and how late an alert may become visible.
pub const OVERLAP: Duration = Duration::from_mins(10);

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

/// The mark, as it moves.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    checkpoint: Checkpoint,
    /// When `newest` was seen first: the cluster's clocks have gone on since then as ours has.
    seen: Instant,
}

impl Watermark {
    /// Begins where somebody else left off.
    #[must_use]
    pub fn new(checkpoint: Checkpoint, now: Instant) -> Self {
        Self { checkpoint, seen: now }
    }

    /// Epoch ms from which on changes are asked for. `ours` is our own clock (epoch ms): a clock of
    /// the cluster that was once far ahead must not make us blind for what comes.
    #[must_use]
    pub fn since(&self, now: Instant, ours: i64) -> i64 {
        let overlap = i64::try_from(OVERLAP.as_millis()).unwrap_or(i64::MAX);
        (self.newest(now).min(ours) - overlap).max(self.checkpoint.floor)
    }

    /// Whether anything at or after `at` belongs to us.
    #[must_use]
    pub fn covers(&self, at: i64) -> bool {
        at >= self.checkpoint.floor
    }

    /// Takes note of the time of an alert.
    pub fn observe(&mut self, at: i64, now: Instant) {
        if at > self.newest(now) {
            self.checkpoint.newest = at;
            self.seen = now;
        }
    }

    /// What to keep.
    #[must_use]
    pub fn checkpoint(&self, now: Instant) -> Checkpoint {
        Checkpoint { newest: self.newest(now), ..self.checkpoint }
    }

    /// Takes note of how many alerts of deleted monitors there are; whether that is news.
    pub fn count_deleted(&mut self, count: u64) -> bool {
        self.checkpoint.deleted.replace(count) != Some(count)
    }

    fn newest(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.seen).as_millis();
        self.checkpoint.newest.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
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
        assert_eq!(mark.since(begin, ours), BEGIN, "never before the floor");
        assert_eq!(mark.since(hour, ours), BEGIN + 50 * MINUTE, "it goes on while nothing comes");
        mark.observe(BEGIN + 65 * MINUTE, hour);
        assert_eq!(mark.since(hour, ours), BEGIN + 55 * MINUTE);
        mark.observe(BEGIN + 5 * MINUTE, hour);
        assert_eq!(mark.since(hour, ours), BEGIN + 55 * MINUTE, "an older one changes nothing");
        assert_eq!(mark.checkpoint(hour).newest, BEGIN + 65 * MINUTE);
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_make_it_blind() {
        let (mut mark, begin) = mark();
        mark.observe(BEGIN + 1_000_000 * MINUTE, begin);
        let ours = BEGIN + 30 * MINUTE;
        assert_eq!(mark.since(begin, ours), BEGIN + 20 * MINUTE);
    }

    #[test]
    fn a_count_of_deleted_ones_is_news_once() {
        let (mut mark, now) = mark();
        assert!(mark.count_deleted(0), "never counted before");
        assert!(!mark.count_deleted(0));
        assert!(mark.count_deleted(3));
        assert_eq!(mark.checkpoint(now).deleted, Some(3));
    }
}
