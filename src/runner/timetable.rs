//! When a monitor is run, and at which time such a run looks. Pure.
//!
//! Source: `Schedule.kt` of OpenSearch's common-utils. A period counts from `enabled_time`, so that
//! its moments do not drift, whatever a run takes; a run looks at the one period that ends with its
//! moment. In cron, as in Unix, either day counts where both are given.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::decision::Period;
use crate::silence::schedule::Schedule;

/// A run that is noted for so long after now was noted by a clock that was wrong.
const FARTHEST: SignedDuration = SignedDuration::from_mins(5);
/// Moments that were missed are counted up to this.
const MOST_COUNTED: u64 = 1_000;
/// How far back a moment of a cron schedule is looked for: the 29th of February, over a year that
/// has none.
const LONGEST_LOOK_BACK: SignedDuration = SignedDuration::from_hours(24 * 366 * 8);

/// When a monitor is run.
#[derive(Clone, Debug)]
pub struct Timetable {
    schedule: Schedule,
    /// From when on: no moment is at or before it.
    anchor: Timestamp,
}

/// A run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The moment for which it was planned.
    pub at: Timestamp,
    /// How many moments before it passed without a run.
    pub missed: u64,
    /// The first of those.
    pub first_missed: Option<Timestamp>,
}

impl Timetable {
    /// Of a monitor's body; `None` for a schedule that is not understood, such as one with a time zone
    /// that only Java knows.
    #[must_use]
    pub fn of(monitor: &Value) -> Option<Self> {
        let schedule = Schedule::of(monitor)?;
        let time = |name: &str| Timestamp::from_millisecond(monitor.get(name)?.as_i64()?).ok();
        let anchor = time("enabled_time").or_else(|| time("last_update_time"));
        Some(Self { schedule, anchor: anchor.unwrap_or(Timestamp::UNIX_EPOCH) })
    }

    /// The first moment after `after`; `None` where there is none.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.schedule {
            Schedule::Every(interval) => {
                let count = self.count(*interval, after).map_or(1, |count| count + 1);
                self.nth(*interval, count)
            }
            Schedule::Cron(crontab) => next(crontab, after.max(self.anchor)),
        }
    }

    /// When the next run is due, where the last one was planned for `planned`: not before that may
    /// be looked again.
    #[must_use]
    pub fn next_run(&self, planned: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        self.next(self.floor(planned, now))
    }

    /// What is due now, where the last run was planned for `planned`: the latest moment, however many
    /// have passed.
    #[must_use]
    pub fn due(&self, planned: Option<Timestamp>, now: Timestamp) -> Option<Due> {
        let floor = self.floor(planned, now);
        let first = self.next(floor).filter(|first| *first <= now)?;
        let at = self.latest(now).unwrap_or(first).max(first);
        // What was before it first ran, or before it was enabled again, is not missed.
        let has_run = planned.is_some_and(|planned| planned == floor);
        let missed = if has_run { self.between(first, at) } else { 0 };
        Some(Due { at, missed, first_missed: (missed > 0).then_some(first) })
    }

    /// What the run of the moment `end` looks at.
    #[must_use]
    pub fn period(&self, end: Timestamp) -> Period {
        let start = match &self.schedule {
            Schedule::Every(interval) => end.checked_sub(*interval).ok(),
            Schedule::Cron(crontab) => last_before(crontab, end),
        };
        Period { start: start.unwrap_or(end), end }
    }

    /// Nothing at or before it is run any more.
    fn floor(&self, planned: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let is_believable = |planned: &Timestamp| planned.duration_since(now) <= FARTHEST;
        planned.filter(is_believable).map_or(self.anchor, |planned| planned.max(self.anchor))
    }

    /// The last moment at or before `now`.
    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.schedule {
            Schedule::Every(interval) => self.nth(*interval, self.count(*interval, now)?),
            Schedule::Cron(crontab) => {
                let after = now.checked_add(SignedDuration::from_nanos(1)).ok()?;
                last_before(crontab, after).filter(|last| *last > self.anchor)
            }
        }
    }

    /// How many moments there are from `first` on and before `end`.
    fn between(&self, first: Timestamp, end: Timestamp) -> u64 {
        match &self.schedule {
            Schedule::Every(interval) => {
                let span = end.duration_since(first).as_millis() / interval.as_millis().max(1);
                u64::try_from(span).unwrap_or(0).min(MOST_COUNTED)
            }
            Schedule::Cron(crontab) => {
                let moments = std::iter::successors(Some(first), |at| next(crontab, *at));
                let most = usize::try_from(MOST_COUNTED).unwrap_or(usize::MAX);
                moments.take_while(|at| *at < end).take(most).count() as u64
            }
        }
    }

    /// How many whole intervals have passed since the anchor; `None` before the first.
    fn count(&self, interval: SignedDuration, now: Timestamp) -> Option<i64> {
        let passed = now.as_millisecond() - self.anchor.as_millisecond();
        let interval = i64::try_from(interval.as_millis()).ok()?;
        Some(passed.checked_div_euclid(interval)?).filter(|count| *count > 0)
    }

    fn nth(&self, interval: SignedDuration, count: i64) -> Option<Timestamp> {
        let interval = i64::try_from(interval.as_millis()).ok()?;
        let at = self.anchor.as_millisecond().checked_add(interval.checked_mul(count)?)?;
        Timestamp::from_millisecond(at).ok()
    }
}

fn next(crontab: &Crontab, after: Timestamp) -> Option<Timestamp> {
    crontab.find_next(MakeTimestamp(after)).ok().map(|found| found.timestamp())
}

/// The last moment before `end`: looked for in spans that double, since only the next one can be asked
/// for.
fn last_before(crontab: &Crontab, end: Timestamp) -> Option<Timestamp> {
    let mut back = SignedDuration::from_mins(1);
    loop {
        let from = end.checked_sub(back).ok()?;
        let mut found = next(crontab, from).filter(|first| *first < end);
        if found.is_some() {
            while let Some(later) = found.and_then(|at| next(crontab, at)).filter(|at| *at < end) {
                found = Some(later);
            }
            return found;
        }
        if back >= LONGEST_LOOK_BACK {
            return None;
        }
        back = back.checked_mul(2)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn every(interval: i64, unit: &str, enabled: &str) -> Timetable {
        Timetable::of(&json!({"enabled_time": at(enabled).as_millisecond(),
            "schedule": {"period": {"interval": interval, "unit": unit}}}))
        .unwrap()
    }

    fn cron(expression: &str, timezone: &str, enabled: &str) -> Timetable {
        Timetable::of(&json!({"enabled_time": at(enabled).as_millisecond(),
            "schedule": {"cron": {"expression": expression, "timezone": timezone}}}))
        .unwrap()
    }

    fn due(table: &Timetable, planned: Option<&str>, now: &str) -> Option<(String, u64)> {
        let due = table.due(planned.map(at), at(now))?;
        assert_eq!(due.first_missed.is_some(), due.missed > 0);
        Some((due.at.to_string(), due.missed))
    }

    #[test]
    fn a_period_counts_from_when_it_was_enabled_and_what_was_missed_is_run_once() {
        let table = every(10, "MINUTES", "2026-11-22T08:03:00Z");
        for (planned, now, want) in [
            (None, "2026-11-22T08:03:00Z", None),
            (None, "2026-11-22T08:12:59.999Z", None),
            (None, "2026-11-22T08:13:00Z", Some(("2026-11-22T08:13:00Z", 0))),
            // The service was away when it should have run first.
            (None, "2026-11-22T08:44:00Z", Some(("2026-11-22T08:43:00Z", 0))),
            (Some("2026-11-22T08:13:00Z"), "2026-11-22T08:22:00Z", None),
            (
                Some("2026-11-22T08:13:00Z"),
                "2026-11-22T08:23:04Z",
                Some(("2026-11-22T08:23:00Z", 0)),
            ),
            (
                Some("2026-11-22T08:13:00Z"),
                "2026-11-22T09:00:00Z",
                Some(("2026-11-22T08:53:00Z", 3)),
            ),
            // It was disabled after that run, and enabled again.
            (Some("2026-11-22T07:00:00Z"), "2026-11-22T08:12:00Z", None),
            (
                Some("2026-11-22T07:00:00Z"),
                "2026-11-22T08:13:00Z",
                Some(("2026-11-22T08:13:00Z", 0)),
            ),
            // Its interval was another one.
            (
                Some("2026-11-22T08:15:00Z"),
                "2026-11-22T08:24:00Z",
                Some(("2026-11-22T08:23:00Z", 0)),
            ),
            // Noted by a clock that was a year ahead, and by one that was a second ahead.
            (
                Some("2027-11-22T08:13:00Z"),
                "2026-11-22T08:24:00Z",
                Some(("2026-11-22T08:23:00Z", 0)),
            ),
            (Some("2026-11-22T08:23:00Z"), "2026-11-22T08:22:59Z", None),
        ] {
            let want = want.map(|(at, missed)| (at.to_owned(), missed));
            assert_eq!(due(&table, planned, now), want, "{planned:?} {now}");
        }
        let Period { start, end } = table.period(at("2026-11-22T08:23:00Z"));
        assert_eq!([start, end], ["2026-11-22T08:13:00Z", "2026-11-22T08:23:00Z"].map(at));
    }

    #[test]
    fn a_cron_schedule_runs_at_its_times_of_day_and_looks_back_to_the_one_before() {
        let long_ago = "2020-01-01T00:00:00Z";
        for (expression, zone, planned, now, want, start) in [
            (
                "0 8 * * 1-5",
                "Europe/Berlin",
                "2026-11-20T07:00:00Z",
                "2026-11-23T07:00:01Z",
                Some(("2026-11-23T07:00:00Z", 0)),
                "2026-11-20T07:00:00Z",
            ),
            // Summer time began between the two: 23 hours.
            (
                "30 6 * * *",
                "Europe/Berlin",
                "2026-03-28T05:30:00Z",
                "2026-03-29T04:30:00Z",
                Some(("2026-03-29T04:30:00Z", 0)),
                "2026-03-28T05:30:00Z",
            ),
            (
                "*/5 * * * *",
                "UTC",
                "2026-11-22T08:00:00Z",
                "2026-11-22T08:21:00Z",
                Some(("2026-11-22T08:20:00Z", 3)),
                "2026-11-22T08:15:00Z",
            ),
            // Either day: the 13th, and every Friday.
            (
                "0 0 13 * 5",
                "UTC",
                "2026-11-20T00:00:00Z",
                "2026-12-13T00:00:30Z",
                Some(("2026-12-13T00:00:00Z", 3)),
                "2026-12-11T00:00:00Z",
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2020-02-29T00:00:00Z",
                "2026-11-22T00:00:00Z",
                Some(("2024-02-29T00:00:00Z", 0)),
                "2020-02-29T00:00:00Z",
            ),
            ("0 8 * * *", "UTC", "2026-11-22T08:00:00Z", "2026-11-23T07:59:59Z", None, ""),
        ] {
            let table = cron(expression, zone, long_ago);
            let found = due(&table, Some(planned), now);
            assert_eq!(found, want.map(|(at, n)| (at.to_owned(), n)), "{expression} {zone}");
            if let Some((end, _)) = want {
                assert_eq!(table.period(at(end)), Period { start: at(start), end: at(end) });
                assert_eq!(
                    table.next_run(Some(at(planned)), at(now)).map(|at| at <= self::at(now)),
                    Some(true)
                );
            }
        }
    }

    #[test]
    fn a_schedule_that_never_comes_is_never_due_and_one_that_is_not_understood_is_none() {
        let never = cron("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z");
        assert_eq!(due(&never, None, "2026-11-22T00:00:00Z"), None);
        assert_eq!(never.next_run(None, at("2026-11-22T00:00:00Z")), None);
        for schedule in [json!({}), json!({"period": {"interval": 0, "unit": "MINUTES"}})] {
            assert!(Timetable::of(&json!({ "schedule": schedule })).is_none());
        }
    }

    /// One moment after the other, from the anchor on.
    fn slowly(table: &Timetable, planned: Option<Timestamp>, now: Timestamp) -> Option<Due> {
        let mut moments = Vec::new();
        let mut last = table.anchor;
        loop {
            last = match &table.schedule {
                Schedule::Every(interval) => last + *interval,
                Schedule::Cron(crontab) => {
                    crontab.find_next(MakeTimestamp(last)).unwrap().timestamp()
                }
            };
            if last > now {
                break;
            }
            moments.push(last);
        }
        let open = |at: &&Timestamp| planned.is_none_or(|planned| **at > planned);
        let open: Vec<_> = moments.iter().filter(open).copied().collect();
        let at = *open.last()?;
        let has_run = planned.is_some_and(|planned| planned >= table.anchor);
        let missed = if has_run { open.len() as u64 - 1 } else { 0 };
        Some(Due { at, missed, first_missed: (missed > 0).then(|| open[0]) })
    }

    proptest! {
        #[test]
        fn it_is_as_one_that_counts_every_moment(
            minutes in 1..50_i64, is_cron in any::<bool>(),
            ran in proptest::option::of(-3..30_i64), pause in 0..700_i64, second in 0..60_i64,
        ) {
            let enabled = "2026-10-24T20:07:00Z";
            // Over the end of summer time.
            let table = if is_cron {
                cron(&format!("*/{minutes} */2 * * *"), "Europe/Berlin", enabled)
            } else {
                every(minutes, "MINUTES", enabled)
            };
            let mut planned = None;
            if let Some(ran) = ran {
                planned = Some(at(enabled) + SignedDuration::from_mins(minutes * ran.min(0)));
                for _ in 0..ran.max(0) {
                    planned = table.next(planned.unwrap());
                }
            }
            let now = planned.unwrap_or(at(enabled))
                + SignedDuration::from_mins(pause) + SignedDuration::from_secs(second);
            prop_assert_eq!(table.due(planned, now), slowly(&table, planned, now));
            let next = table.next_run(planned, now).unwrap();
            prop_assert_eq!(next <= now, table.due(planned, now).is_some());
        }
    }
}
