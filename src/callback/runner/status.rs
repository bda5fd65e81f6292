//! Which callbacks fail at present.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;

/// How the callbacks fare.
#[derive(Debug, Default)]
pub struct Status {
    names: Vec<String>,
    failing: Mutex<BTreeMap<String, Failing>>,
}

/// A callback whose last run was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = FailingCallback)]
pub struct Failing {
    /// Its name.
    pub name: String,
    /// Since when no run of it was delivered.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// How many runs that are.
    pub runs: u64,
    /// Why the last one was not.
    pub error: String,
}

impl Status {
    /// Of these callbacks, which have run nothing yet.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self { names, failing: Mutex::default() }
    }

    /// The names of those that are enabled.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Those that fail, by name.
    #[must_use]
    pub fn failing(&self) -> Vec<Failing> {
        self.lock().values().cloned().collect()
    }

    /// Notes that a run was delivered; tells whether that is news.
    pub(super) fn succeeded(&self, name: &str) -> bool {
        self.lock().remove(name).is_some()
    }

    /// Notes that a run was not; tells whether that is news.
    pub(super) fn failed(&self, name: &str, why: &str, now: Timestamp) -> bool {
        let mut failing = self.lock();
        let is_news = !failing.contains_key(name);
        let first = || Failing { name: name.to_owned(), since: now, runs: 0, error: String::new() };
        let one = failing.entry(name.to_owned()).or_insert_with(first);
        one.runs += 1;
        why.clone_into(&mut one.error);
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_is_news_once_and_so_is_its_end() {
        let status = Status::new(vec!["a".to_owned()]);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!status.succeeded("a"), "it was never bad");
        assert!(status.failed("a", "one", at(1)));
        assert!(!status.failed("a", "two", at(2)));
        let [failing] = status.failing().try_into().unwrap();
        let want = Failing { name: "a".to_owned(), since: at(1), runs: 2, error: "two".to_owned() };
        assert_eq!(failing, want);
        assert!(status.succeeded("a"));
        assert!(status.failing().is_empty());
    }
}
