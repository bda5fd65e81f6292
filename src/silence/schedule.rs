//! When a monitor is due. Pure.
//!
//! ```json
//! {"period": {"interval": 10, "unit": "MINUTES"}}
//! {"cron": {"expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"}}
//! ```
//! Source: `Schedule.kt` of OpenSearch's common-utils: SECONDS, MINUTES, HOURS and DAYS; cron has the
//! five fields of Unix.

use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The schedule of a monitor or workflow.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// After every such time.
    Every(SignedDuration),
    /// At certain times of a time zone.
    Cron(Box<Crontab>),
}

/// When a monitor has missed more than one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It should have run twice by then.
    At(Timestamp),
    /// The schedule never comes: the 30th of February.
    Never,
}

impl Schedule {
    /// Reads the schedule of a monitor's body; `None` for one that is not understood here, such as
    /// a time zone that only Java knows.
    #[must_use]
    pub fn of(monitor: &Value) -> Option<Self> {
        let schedule = monitor.get("schedule")?;
        if let Some(period) = schedule.get("period") {
            let number = period.get("interval")?.as_i64().filter(|number| *number > 0)?;
            let seconds = match period.get("unit")?.as_str()? {
                "SECONDS" => 1,
                "MINUTES" => 60,
                "HOURS" => 3_600,
                "DAYS" => 86_400,
                _ => return None,
            };
            return Some(Self::Every(SignedDuration::from_secs(number.checked_mul(seconds)?)));
        }
        let cron = schedule.get("cron")?;
        let (expression, zone) =
            (cron.get("expression")?.as_str()?, cron.get("timezone")?.as_str()?);
        let crontab = parse_crontab(&format!("{} {zone}", expression.trim())).ok()?;
        Some(Self::Cron(Box::new(crontab)))
    }

    /// The second time that a monitor is due after `last`.
    #[must_use]
    pub fn second_due_after(&self, last: Timestamp) -> Due {
        match self {
            Self::Every(interval) => {
                let twice = interval.checked_mul(2).and_then(|twice| last.checked_add(twice).ok());
                twice.map_or(Due::Never, Due::At)
            }
            Self::Cron(crontab) => {
                let next = |after| crontab.find_next(MakeTimestamp(after)).ok();
                // The first run after the last one that is known may still be under way.
                let second = next(last).and_then(|first| next(first.timestamp()));
                second.map_or(Due::Never, |second| Due::At(second.timestamp()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn second_due(schedule: &Value, last: &str) -> Option<String> {
        let due = Schedule::of(&json!({ "schedule": schedule }))?;
        match due.second_due_after(last.parse().unwrap()) {
            Due::At(at) => Some(at.to_string()),
            Due::Never => Some("never".to_owned()),
        }
    }

    #[test]
    fn a_period_is_due_twice_after_two_of_it() {
        let last = "2026-11-21T08:00:00Z";
        for (interval, unit, want) in [
            (10, "SECONDS", Some("2026-11-21T08:00:20Z")),
            (10, "MINUTES", Some("2026-11-21T08:20:00Z")),
            (2, "HOURS", Some("2026-11-21T12:00:00Z")),
            (1, "DAYS", Some("2026-11-23T08:00:00Z")),
            (1, "WEEKS", None),
            (0, "MINUTES", None),
            (i64::MAX, "DAYS", None),
        ] {
            let period = json!({"period": {"interval": interval, "unit": unit}});
            assert_eq!(second_due(&period, last).as_deref(), want, "{interval} {unit}");
        }
        assert!(second_due(&json!({}), last).is_none());
    }

    #[test]
    fn a_cron_schedule_is_due_in_its_own_time_zone() {
        let cron = |expression: &str, timezone: &str| json!({"cron": {"expression": expression, "timezone": timezone}});
        for (expression, zone, last, want) in [
            ("*/5 * * * *", "UTC", "2026-11-21T08:00:01Z", Some("2026-11-21T08:10:00Z")),
            ("0 8 * * *", "Europe/Berlin", "2026-11-21T07:00:00Z", Some("2026-11-23T07:00:00Z")),
            // Over the change of the clocks.
            ("0 8 * * *", "Europe/Berlin", "2026-10-24T06:00:00Z", Some("2026-10-26T07:00:00Z")),
            // Friday, then Monday, then Tuesday.
            ("0 8 * * MON-FRI", "UTC", "2026-11-20T08:00:02Z", Some("2026-11-24T08:00:00Z")),
            ("0 0 1 * *", "America/New_York", "2026-11-01T04:00:01Z", Some("2027-01-01T05:00:00Z")),
            ("0 0 30 2 *", "UTC", "2026-11-21T08:00:00Z", Some("never")),
            ("0 8 * * *", "+02:00", "2026-11-21T08:00:00Z", Some("2026-11-23T06:00:00Z")),
            ("0 8 * * *", "Europe/Atlantis", "2026-11-21T08:00:00Z", None),
            ("0 8 * *", "UTC", "2026-11-21T08:00:00Z", None),
            ("now and then", "UTC", "2026-11-21T08:00:00Z", None),
        ] {
            let seen = second_due(&cron(expression, zone), last);
            assert_eq!(seen.as_deref(), want, "{expression} {zone}");
        }
    }
}
