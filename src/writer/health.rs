//! How the writer fares with the store, and the one log line when that changes.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tracing::{info, warn};

/// How the writer fares, for readiness and for how long an answer waits.
#[derive(Default)]
pub struct Health {
    ok: AtomicBool,
    trouble: Mutex<Option<String>>,
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
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        if self.ok.swap(false, Ordering::Relaxed) || trouble.as_deref() != Some(reason) {
            warn!(error = %reason, "the store does not take alerts now; they are kept and sent again");
            *trouble = Some(reason.to_owned());
        }
    }
}
