//! How the writer fares with the store, and the one log line when that changes.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use tracing::{info, warn};

use crate::clock;

/// How the writer fares, for readiness and for how long an answer waits.
#[derive(Default)]
pub struct Health {
    ok: AtomicBool,
    trouble: Mutex<Option<(String, Timestamp)>>,
    blocked: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// Whether the last request to the store succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.ok.load(Ordering::Relaxed)
    }

    /// What is wrong, if something is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(reason, _)| reason.clone())
    }

    /// Since when something is.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(_, since)| *since)
    }

    /// The indices that take nothing now, each with the last reason, while the store takes others.
    #[must_use]
    pub fn blocked(&self) -> BTreeMap<String, String> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that an index took nothing; logs it when it did before.
    pub fn index_blocked(&self, index: &str, reason: &str) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.insert(index.to_owned(), reason.to_owned()).is_none() {
            warn!(index.name = %index, error = %reason, "an index does not take alerts now; they are kept and sent again, others go on");
        }
    }

    /// Notes that all that waited for an index is stored; logs it when something did.
    pub fn index_free(&self, index: &str) {
        if self.blocked.lock().unwrap_or_else(PoisonError::into_inner).remove(index).is_some() {
            info!(index.name = %index, "the index takes alerts again");
        }
    }

    /// Notes a success; logs it when it is a change.
    pub fn succeeded(&self) {
        if !self.ok.swap(true, Ordering::Relaxed) {
            let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            if trouble.is_some() {
                info!("the store takes alerts again");
            }
        }
    }

    /// Notes a failure; logs it when it is a change.
    pub fn failed(&self, reason: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let known = trouble.as_ref().map(|(known, _)| known.as_str());
        if self.ok.swap(false, Ordering::Relaxed) || known != Some(reason) {
            warn!(error = %reason, "the store does not take alerts now; they are kept and sent again");
            let since = trouble.as_ref().map_or_else(clock::now, |(_, since)| *since);
            *trouble = Some((reason.to_owned(), since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_blocked_with_its_last_reason_until_it_is_free() {
        let health = Health::default();
        health.succeeded();
        health.index_blocked("a", "no disk");
        health.index_blocked("b", "closed");
        health.index_blocked("a", "no shard");
        let blocked = |health: &Health| Vec::from_iter(health.blocked());
        let [a, b] =
            [("a", "no shard"), ("b", "closed")].map(|(i, why)| (i.to_owned(), why.to_owned()));
        assert_eq!(blocked(&health), [a, b.clone()]);
        assert!(health.is_ok(), "others are taken");
        health.index_free("a");
        health.index_free("never blocked");
        assert_eq!(blocked(&health), [b]);
    }

    #[test]
    fn trouble_keeps_its_beginning_while_its_reason_changes() {
        let health = Health::default();
        health.failed("refused");
        let since = health.since();
        health.failed("timed out");
        assert_eq!((health.trouble().as_deref(), health.since()), (Some("timed out"), since));
        assert!(since.is_some() && !health.is_ok());
        health.succeeded();
        assert_eq!((health.trouble(), health.since(), health.is_ok()), (None, None, true));
    }
}
