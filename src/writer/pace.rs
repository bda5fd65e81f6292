//! When the writer sends: pure, so that it can be seen in a table.
//!
//! An idle writer sends what there is at once. While one request is in flight a second goes only
//! when enough has gathered: many small requests would cost the store more than they win. And while
//! alerts come faster than they are stored and processors are short, the intake goes first: the
//! store then has its part of them, and what is kept can be stored later. What is taken from a queue
//! makes no such haste: nobody waits for an answer.

use std::time::{Duration, Instant};

use crate::spool::EntryId;

/// Beside a request in flight another one goes when this many entries have gathered.
const ENOUGH: EntryId = 16;
/// With more than this waiting, and half of it posted since the last request, alerts are a flood.
const FLOOD: EntryId = 1_000;
/// In a flood the writer rests for so many times as long as the store took for its last request.
const REST: u32 = 3;

/// What is known of the flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The newest entry.
    pub last: EntryId,
    /// How many were posted so far.
    pub posted: i64,
    /// The newest entry that the writer has taken.
    pub cursor: EntryId,
    /// Requests in flight, and how many there may be.
    pub in_flight: usize,
    pub limit: usize,
    /// Whether processors are short.
    pub is_short: bool,
}

/// The writer's pace.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many were posted when the latest request was sent.
    posted_at_send: i64,
    rest: Option<Instant>,
}

impl Pace {
    /// Whether entries may be taken and sent now.
    pub fn may_send(&self, flow: Flow, now: Instant) -> bool {
        if self.is_flooded(flow) {
            return flow.in_flight == 0 && self.rest.is_none_or(|until| until <= now);
        }
        flow.in_flight == 0 || flow.in_flight < flow.limit && flow.last - flow.cursor >= ENOUGH
    }

    /// Notes that a request goes out.
    pub fn sent(&mut self, posted: i64) {
        self.posted_at_send = posted;
        self.rest = None;
    }

    /// Notes that a request was answered.
    pub fn answered(&mut self, took: Duration, flow: Flow, now: Instant) {
        self.rest = self.is_flooded(flow).then(|| now + took * REST);
    }

    /// When the rest ends, if there is one.
    pub fn rest(&self) -> Option<Instant> {
        self.rest
    }

    fn is_flooded(&self, flow: Flow) -> bool {
        let grows =
            flow.last - flow.cursor > FLOOD && flow.posted - self.posted_at_send > FLOOD / 2;
        grows && flow.is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(50);

    #[test]
    fn one_request_goes_at_once_and_a_second_when_it_is_worth_it() {
        let now = Instant::now();
        for (in_flight, waiting, want) in [
            (0, 0, true),
            (0, 1, true),
            (1, 1, false),
            (1, ENOUGH, true),
            (2, 900, false),
            (1, 50_000, true),
        ] {
            let mut pace = Pace::default();
            pace.sent(50_000);
            let flow = Flow {
                last: 50_000,
                posted: 50_000,
                cursor: 50_000 - waiting,
                in_flight,
                limit: 2,
                is_short: true,
            };
            assert_eq!(pace.may_send(flow, now), want, "{flow:?}");
        }
    }

    #[test]
    fn in_a_flood_the_intake_goes_first() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let flow = |last, in_flight| {
            let (posted, cursor) = (last, 1_000);
            Flow { last, posted, cursor, in_flight, limit: 2, is_short: true }
        };
        pace.sent(2_000);
        assert!(!pace.may_send(flow(3_000, 1), now), "no second request");
        pace.answered(TOOK, flow(3_000, 0), now);
        assert!(!pace.may_send(flow(3_000, 0), now), "and a rest after the first");
        assert!(pace.may_send(flow(3_000, 0), now + TOOK * REST));
        assert_eq!(pace.rest(), Some(now + TOOK * REST));
        let alone = Flow { is_short: false, ..flow(3_000, 1) };
        assert!(pace.may_send(alone, now), "a store with processors of its own gets all it can");
        // Nobody waits for what comes from a queue.
        let pulled = Flow { posted: 2_000, ..flow(3_000, 1) };
        assert!(pace.may_send(pulled, now));
        // A backlog that does not grow is sent as fast as it goes.
        pace.answered(TOOK, flow(2_100, 0), now);
        assert_eq!(pace.rest(), None);
        assert!(pace.may_send(flow(2_100, 1), now));
    }
}
