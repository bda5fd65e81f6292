//! Entries that have to wait, so that they do not hold the others: for a blocked index, or for the
//! id of an alert that the Alerting API does not show yet. Holds numbers only; bodies stay on disk.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::backoff::Backoff;
use crate::spool::EntryId;

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Entries that wait.
#[derive(Default)]
pub struct Parked {
    by_index: HashMap<String, Queue>,
    until: Vec<(Instant, EntryId)>,
}

struct Queue {
    ids: VecDeque<EntryId>,
    due: Instant,
    backoff: Backoff,
}

impl Parked {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_index.values().map(|queue| queue.ids.len()).sum::<usize>() + self.until.len()
    }

    /// Whether `index` is not to be tried before it is due.
    #[must_use]
    pub fn is_blocked(&self, index: &str, now: Instant) -> bool {
        self.by_index.get(index).is_some_and(|queue| queue.due > now)
    }

    /// Lets an entry wait with the others of a blocked index.
    pub fn join(&mut self, index: &str, id: EntryId) {
        if let Some(queue) = self.by_index.get_mut(index) {
            queue.ids.push_back(id);
        }
    }

    /// Notes that `index` refused these entries for now.
    pub fn block(&mut self, index: &str, ids: impl IntoIterator<Item = EntryId>, now: Instant) {
        let queue = self.by_index.entry(index.to_owned()).or_insert_with(|| Queue {
            ids: VecDeque::new(),
            due: now,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        });
        queue.ids.extend(ids);
        // What was tried before goes before what joined meanwhile.
        queue.ids.make_contiguous().sort_unstable();
        queue.due = now + queue.backoff.next_wait();
    }

    /// Notes that `index` takes documents. Tells whether it was blocked before and is free now.
    pub fn unblock(&mut self, index: &str, now: Instant) -> bool {
        let Some(queue) = self.by_index.get_mut(index) else { return false };
        queue.due = now;
        queue.backoff.reset();
        let free = queue.ids.is_empty();
        if free {
            self.by_index.remove(index);
        }
        free
    }

    /// Lets an entry wait until `due`.
    pub fn wait_until(&mut self, due: Instant, id: EntryId) {
        self.until.push((due, id));
    }

    /// Takes out at most `count` entries that are due.
    pub fn take_due(&mut self, now: Instant, count: usize) -> Vec<EntryId> {
        let mut taken = Vec::new();
        self.until.retain(|(due, id)| {
            let take = *due <= now && taken.len() < count;
            if take {
                taken.push(*id);
            }
            !take
        });
        for queue in self.by_index.values_mut().filter(|queue| queue.due <= now) {
            let most = queue.ids.len().min(count - taken.len());
            taken.extend(queue.ids.drain(..most));
        }
        taken
    }

    /// When the next entry is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.by_index.values().filter(|queue| !queue.ids.is_empty());
        let blocked = waiting.map(|queue| queue.due);
        blocked.chain(self.until.iter().map(|(due, _)| *due)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_index_keeps_its_order_and_holds_no_other() {
        let start = Instant::now();
        let later = start + LONGEST_WAIT * 2;
        let mut parked = Parked::default();
        parked.block("a", [2, 1], start);
        assert!(parked.is_blocked("a", start) && !parked.is_blocked("b", start));
        parked.join("a", 3);
        parked.join("b", 9);
        assert_eq!((parked.len(), parked.take_due(start, 9)), (3, vec![]));
        assert_eq!(parked.take_due(later, 2), [1, 2]);
        parked.block("a", [2, 1], later);
        assert_eq!(parked.take_due(later + LONGEST_WAIT, 9), [1, 2, 3]);
        assert!(parked.unblock("a", later) && !parked.unblock("a", later));
        assert_eq!((parked.len(), parked.next_due()), (0, None));
    }

    #[test]
    fn what_waits_for_a_time_comes_then() {
        let start = Instant::now();
        let mut parked = Parked::default();
        parked.wait_until(start + Duration::from_secs(1), 7);
        assert_eq!(parked.next_due(), Some(start + Duration::from_secs(1)));
        assert!(parked.take_due(start, 9).is_empty());
        assert_eq!(parked.take_due(start + Duration::from_secs(1), 9), [7]);
    }
}
