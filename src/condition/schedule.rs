//! When a condition is looked at. Pure.

use std::fmt;

use serde_json::{Value, json};

use crate::silence::schedule::{Due, Schedule as Read};

/// When a condition is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// After so many minutes again.
    Every(u32),
    /// At the times of a cron expression of five fields.
    Cron {
        /// Such as `0 8 * * 1-5`.
        expression: String,
        /// Such as `Europe/Berlin`.
        zone: String,
    },
}

impl Schedule {
    /// As a monitor has it.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Every(minutes) => json!({"period": {"interval": minutes, "unit": "MINUTES"}}),
            Self::Cron { expression, zone } => {
                json!({"cron": {"expression": expression, "timezone": zone}})
            }
        }
    }

    /// Whether it can be read and ever comes.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let Self::Cron { expression, zone } = self else { return Ok(()) };
        let Some(read) = Read::of(&json!({"schedule": self.json()})) else {
            return Err(format!(
                "{expression:?} in the zone {zone:?} is not understood: write the five fields of \
                 Unix cron (minute, hour, day of the month, month, day of the week), and a zone \
                 such as UTC or Europe/Berlin"
            ));
        };
        match read.second_due_after(jiff::Timestamp::UNIX_EPOCH) {
            Due::Never => Err(format!("{expression:?} never comes")),
            Due::At(_) => Ok(()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(1) => f.write_str("every minute"),
            Self::Every(minutes) => write!(f, "every {minutes} minutes"),
            Self::Cron { expression, zone } => write!(f, "at {expression:?} ({zone})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cron_schedule_must_be_read_and_come() {
        for (expression, zone, want) in [
            ("0 8 * * 1-5", "Europe/Berlin", None),
            ("*/5 * * * *", "UTC", None),
            ("0 0 8 * * ?", "UTC", Some("five fields")),
            ("0 8 * * *", "Atlantis", Some("a zone such as")),
            ("0 0 30 2 *", "UTC", Some("never comes")),
        ] {
            let cron = Schedule::Cron { expression: expression.into(), zone: zone.into() };
            let fault = cron.check().err();
            assert_eq!(fault.is_some(), want.is_some(), "{expression}: {fault:?}");
            assert!(fault.unwrap_or_default().contains(want.unwrap_or_default()), "{expression}");
        }
    }
}
