//! The proof that alerts still come through: a monitor that fires every minute and says so in a
//! message of its own, which makes no record.
//!
//! ```json
//! {"heartbeat": {"monitor": "Alertloop Heartbeat"}}
//! ```
//! Where [`Heartbeat`] expects one and none comes, something on the way from the monitor to us is
//! broken, whatever it is. Each process counts from its own start: it cannot know of others'.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{clock, intake::heartbeat::read, provision::shape};

/// Whether a monitor sends heartbeats and nothing else to us, so that its alert is none of an
/// operator's: it makes no record, and must not be acknowledged.
#[must_use]
pub fn is_sender(monitor: &Value) -> bool {
    let actions = shape::actions(monitor);
    // A template holds the values' places, in texts: it is JSON itself.
    !actions.is_empty() && actions.iter().all(|action| read(action.source().as_bytes()).is_some())
}

/// When a heartbeat came, and whether one is overdue.
#[derive(Debug)]
pub struct Heartbeat {
    /// How long may be between two; zero where none is expected.
    expected: Duration,
    /// Since when one is waited for, until the first comes.
    started: Timestamp,
    last: watch::Sender<Option<Timestamp>>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How long may be between two; `None` where none is expected.
    pub expected: Option<Duration>,
    /// When the last one came to this process.
    pub last: Option<Timestamp>,
    /// How long ago that was; how long we wait for the first, where none came.
    pub age: Duration,
    /// Whether one is overdue.
    pub is_late: bool,
}

impl Heartbeat {
    /// Expects one within each `expected` from now on; none, where that is zero.
    #[must_use]
    pub fn new(expected: Duration, now: Timestamp) -> Self {
        Self { expected, started: now, last: watch::Sender::new(None) }
    }

    /// One has come.
    pub fn came(&self, now: Timestamp) {
        self.last.send_replace(Some(now));
    }

    /// How it stands.
    #[must_use]
    pub fn beat(&self, now: Timestamp) -> Beat {
        let last = *self.last.borrow();
        let age = now.duration_since(last.unwrap_or(self.started)).max(SignedDuration::ZERO);
        let age = age.unsigned_abs();
        let expected = (!self.expected.is_zero()).then_some(self.expected);
        Beat { expected, last, age, is_late: expected.is_some_and(|expected| age > expected) }
    }

    /// Says once that none came in time, and once that they come again; until `stop`.
    pub async fn watch(&self, stop: &CancellationToken) {
        let mut last = self.last.subscribe();
        let mut said_late = false;
        while !stop.is_cancelled() {
            let beat = self.beat(clock::now());
            if beat.is_late && !said_late {
                warn!(
                    expected_ms = self.expected.as_millis(),
                    last = beat.last.map(tracing::field::display),
                    "no heartbeat came in time: alerts may not come through either; see `alertloop doctor`"
                );
            } else if said_late && !beat.is_late {
                info!("heartbeats come again");
            }
            said_late = beat.is_late;
            tokio::select! {
                () = stop.cancelled() => {}
                () = Self::overdue(beat) => {}
                changed = last.changed() => drop(changed),
            }
        }
    }

    /// Waits until one is overdue that is not yet.
    async fn overdue(beat: Beat) {
        match beat.expected {
            // Times are cut to ms.
            Some(expected) if !beat.is_late => {
                let left = expected.saturating_sub(beat.age) + Duration::from_millis(2);
                tokio::time::sleep(left).await;
            }
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shipped_monitor_sends_heartbeats_and_no_other_does() {
        let of = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let example =
            include_str!("../provisioning/examples/heartbeat/monitors/alertloop_heartbeat.json");
        let mut example = of(example);
        assert!(is_sender(&example));
        let loopback = include_str!("../provisioning/monitors/malcolm_api_loopback_monitor.json");
        assert!(!is_sender(&of(loopback)));
        assert!(!is_sender(&of("{}")));
        let trigger = &mut example["triggers"][0]["query_level_trigger"];
        let other = json!({"name": "page", "message_template": {"source": "wake up"}});
        trigger["actions"].as_array_mut().unwrap().push(other);
        assert!(!is_sender(&example), "it pages somebody, too");
    }

    #[test]
    fn it_is_late_only_where_one_is_expected_and_counts_from_the_start() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let heart = Heartbeat::new(Duration::from_mins(3), at(0));
        let beat = |second| heart.beat(at(second));
        assert_eq!((beat(180).last, beat(180).is_late, beat(181).is_late), (None, false, true));
        heart.came(at(200));
        let seen = beat(230);
        assert_eq!(
            (seen.last, seen.age, seen.is_late),
            (Some(at(200)), Duration::from_secs(30), false)
        );
        assert!(beat(381).is_late);
        assert_eq!(beat(199).age, Duration::ZERO, "a clock that is set back");
        let unexpected = Heartbeat::new(Duration::ZERO, at(0));
        assert_eq!(
            (unexpected.beat(at(9_999)).expected, unexpected.beat(at(9_999)).is_late),
            (None, false)
        );
    }
}
