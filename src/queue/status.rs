//! How the queues fare, for readiness, the metrics and the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;

use crate::telemetry;

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = QueueStatus)]
pub struct State {
    /// The list.
    pub queue: String,
    /// Whether Redis answers and lets us take.
    pub connected: bool,
    /// Why nothing is taken.
    pub trouble: Option<String>,
    /// Since when there is trouble.
    #[schema(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    /// How many items were left in the queue when it was last seen.
    pub length: Option<u64>,
    /// How many items were taken since the start.
    pub taken: u64,
    /// When the last one was.
    #[schema(value_type = Option<String>)]
    pub last_taken: Option<Timestamp>,
}

/// All queues.
#[derive(Debug, Default)]
pub struct Status {
    states: Mutex<Vec<State>>,
}

impl Status {
    /// Of these queues, with which nothing has happened yet.
    #[must_use]
    pub fn new<'a>(queues: impl Iterator<Item = &'a str>) -> Self {
        let state = |queue: &str| State {
            queue: queue.to_owned(),
            connected: false,
            trouble: None,
            since: None,
            length: None,
            taken: 0,
            last_taken: None,
        };
        Self { states: Mutex::new(queues.map(state).collect()) }
    }

    /// Every queue; none where there is no Redis.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        self.lock().clone()
    }

    /// Notes that nothing can be taken; tells whether the reason is news.
    pub(super) fn failed(&self, queue: &str, why: &str, now: Timestamp) -> bool {
        gauge!(telemetry::QUEUE_CONNECTED, "queue" => queue.to_owned()).set(0.0);
        self.change(queue, |state| {
            state.connected = false;
            state.since.get_or_insert(now);
            state.trouble.replace(why.to_owned()).as_deref() != Some(why)
        })
    }

    /// Notes that items can be taken, and how many are left, where that was seen; tells whether it
    /// is news that they can.
    pub(super) fn works(&self, queue: &str, left: Option<u64>) -> bool {
        gauge!(telemetry::QUEUE_CONNECTED, "queue" => queue.to_owned()).set(1.0);
        if let Some(left) = left {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            gauge!(telemetry::QUEUE_LENGTH, "queue" => queue.to_owned()).set(left as f64);
        }
        self.change(queue, |state| {
            (state.length, state.trouble, state.since) = (left.or(state.length), None, None);
            !std::mem::replace(&mut state.connected, true)
        })
    }

    /// Notes that so many items are durable.
    pub(super) fn took(&self, queue: &str, count: u64, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(telemetry::QUEUE_LAST_TAKEN, "queue" => queue.to_owned())
            .set(now.as_millisecond() as f64 / 1_000.0);
        self.change(queue, |state| {
            state.taken += count;
            state.last_taken = Some(now);
            false
        });
    }

    fn change(&self, queue: &str, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.lock().iter_mut().find(|state| state.queue == queue).is_some_and(change)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_news_once() {
        let status = Status::new(["a", "b"].into_iter());
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(status.failed("a", "away", at(1)));
        assert!(!status.failed("a", "away", at(2)));
        assert!(status.failed("a", "refused", at(3)), "another reason is news");
        let state = &status.states()[0];
        assert_eq!((state.trouble.as_deref(), state.since), (Some("refused"), Some(at(1))));
        assert!(status.works("a", Some(7)));
        assert!(!status.works("a", Some(3)) && !status.works("a", None));
        status.took("a", 2, at(4));
        status.took("a", 3, at(5));
        let state = &status.states()[0];
        assert_eq!((state.length, state.taken, state.since), (Some(3), 5, None));
        assert_eq!((state.last_taken, &state.trouble), (Some(at(5)), &None));
        assert!(!status.states()[1].connected, "the other is another");
        assert!(!status.works("c", Some(1)), "nobody has asked for it");
    }
}
