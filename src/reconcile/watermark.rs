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

/// The mark, as it moves: with each look that was finished, and not before. One that fails halfway has
/// seen the newest alerts and not the older ones, and while none succeeds alerts come and go.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    checkpoint: Checkpoint,
    /// When `newest` was so: the cluster's clocks have gone on since then as ours has.
    at: Instant,
    /// The newest time that the look under way has seen.
    ahead: Option<i64>,
}

impl Watermark {
    /// Begins where somebody else left off.
    #[must_use]
    pub fn new(checkpoint: Checkpoint, now: Instant) -> Self {
        Self { checkpoint, at: now, ahead: None }
    }

    /// Epoch ms from which on changes are asked for.
    #[must_use]
    pub fn since(&self) -> i64 {
        let overlap = i64::try_from(OVERLAP.as_millis()).unwrap_or(i64::MAX);
        self.checkpoint.newest.saturating_sub(overlap).max(self.checkpoint.floor)
    }

    /// Whether anything at or after `at` belongs to us.
    #[must_use]
    pub fn covers(&self, at: i64) -> bool {
        at >= self.checkpoint.floor
    }

    /// Takes note of the time of an alert; counts once the look is finished.
    pub fn observe(&mut self, at: i64) {
        self.ahead = self.ahead.max(Some(at));
    }

    /// A look that began at `begun` has seen all that had changed since [`Watermark::since`]. `ours`
    /// was our own clock then (epoch ms): a clock of the cluster that was once far ahead must not
    /// make us blind for what comes.
    pub fn finish(&mut self, begun: Instant, ours: i64) {
        let passed = begun.saturating_duration_since(self.at).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let now = self.checkpoint.newest.saturating_add(passed);
        self.checkpoint.newest = now.max(self.ahead.take().unwrap_or(now)).min(ours);
        self.at = begun;
    }

    /// What to keep.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// Whether another number of alerts of deleted monitors is news.
    #[must_use]
    pub fn is_news(&self, deleted: u64) -> bool {
        self.checkpoint.deleted != Some(deleted)
    }

    /// Takes note of how many alerts of deleted monitors there were, once they are compared.
    pub fn count_deleted(&mut self, count: u64) {
        self.checkpoint.deleted = Some(count);
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
        assert_eq!(mark.since(), BEGIN, "never before the floor");
        mark.finish(hour, ours);
        assert_eq!(mark.since(), BEGIN + 50 * MINUTE, "it goes on while nothing comes");
        mark.observe(BEGIN + 65 * MINUTE);
        mark.finish(hour, ours);
        assert_eq!(mark.since(), BEGIN + 55 * MINUTE);
        mark.observe(BEGIN + 5 * MINUTE);
        mark.finish(hour, ours);
        assert_eq!(mark.since(), BEGIN + 55 * MINUTE, "an older one changes nothing");
        assert_eq!(mark.checkpoint().newest, BEGIN + 65 * MINUTE);
    }

    #[test]
    fn looks_that_fail_do_not_move_it_however_long_that_lasts() {
        let (mut mark, begin) = mark();
        let after = |hours| begin + Duration::from_hours(hours);
        mark.finish(after(1), BEGIN + 60 * MINUTE);
        // The newest page came, and then the store went away for three hours.
        mark.observe(BEGIN + 61 * MINUTE);
        assert_eq!(mark.since(), BEGIN + 50 * MINUTE);
        assert_eq!(mark.checkpoint().newest, BEGIN + 60 * MINUTE, "nor for the next replica");
        mark.finish(after(4), BEGIN + 240 * MINUTE);
        assert_eq!(mark.since(), BEGIN + 230 * MINUTE);
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_make_it_blind() {
        let (mut mark, begin) = mark();
        mark.observe(BEGIN + 1_000_000 * MINUTE);
        mark.finish(begin, BEGIN + 30 * MINUTE);
        assert_eq!(mark.since(), BEGIN + 20 * MINUTE);
    }

    #[test]
    fn a_count_of_deleted_ones_is_news_until_they_were_compared() {
        let (mut mark, _) = mark();
        assert!(mark.is_news(0), "never counted before");
        mark.count_deleted(0);
        assert!(!mark.is_news(0) && mark.is_news(3));
        mark.count_deleted(3);
        assert_eq!(mark.checkpoint().deleted, Some(3));
    }
}
