//! What one look remembers for the next, so that it neither alarms about what passes by itself nor
//! asks for what it knows. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Ran;

/// Since when the nodes tell of each monitor what they tell, and when it is known to have fired.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    told: BTreeMap<String, (Ran, Timestamp)>,
    fired: BTreeMap<String, Timestamp>,
}

impl Memory {
    /// Since when the nodes tell this of a monitor.
    pub fn since(&mut self, id: &str, ran: Ran, now: Timestamp) -> Timestamp {
        match self.told.get(id) {
            Some((known, since)) if *known == ran => *since,
            _ => {
                self.told.insert(id.to_owned(), (ran, now));
                now
            }
        }
    }

    /// Notes an alert.
    pub fn fired(&mut self, id: &str, at: Timestamp) {
        let known = self.fired.entry(id.to_owned()).or_insert(at);
        *known = at.max(*known);
    }

    /// Whether an alert of that time or later is known.
    #[must_use]
    pub fn has_fired(&self, id: &str, from: Timestamp) -> bool {
        self.fired.get(id).is_some_and(|at| *at >= from)
    }

    /// Forgets all other monitors.
    pub fn keep_only(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.told.retain(|id, _| is_kept(id));
        self.fired.retain(|id, _| is_kept(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_anew_begins_anew_and_an_older_alert_takes_nothing_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut memory = Memory::default();
        assert_eq!(memory.since("a", Ran::NotYet, at(1)), at(1));
        assert_eq!(memory.since("a", Ran::NotYet, at(5)), at(1));
        assert_eq!(memory.since("a", Ran::Nowhere, at(6)), at(6));
        assert_eq!(memory.since("a", Ran::NotYet, at(7)), at(7));
        memory.fired("a", at(9));
        memory.fired("a", at(3));
        assert!(memory.has_fired("a", at(9)) && !memory.has_fired("a", at(10)));
        memory.keep_only(|id| id != "a");
        assert!(!memory.has_fired("a", at(0)));
        assert_eq!(memory.since("a", Ran::NotYet, at(8)), at(8));
    }
}
