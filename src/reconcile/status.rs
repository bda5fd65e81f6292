//! What the reconciler tells of itself, for `/readyz`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;

use crate::telemetry;

/// Shared between the reconciler and whoever asks.
#[derive(Debug, Default)]
pub struct Status(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: bool,
    leads: bool,
    looked: Option<Timestamp>,
    missing: u64,
    outdated: u64,
    trouble: Option<String>,
}

/// What it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = ReconcilerStatus)]
pub enum Detail {
    /// It does not run here.
    Off(Off),
    /// It runs here.
    On(Looking),
}

/// That it does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReconcilerOff)]
pub enum Off {
    /// `off`
    Off,
}

/// How it fares where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ReconcilerRunning)]
pub struct Looking {
    /// Whether this replica is the one that does it.
    pub leads: bool,
    /// When it looked last.
    pub last: Option<String>,
    /// How many alerts without a record it has found since the start.
    pub missing: u64,
    /// How many records that were not as their alert.
    pub outdated: u64,
    /// Why it cannot look.
    pub trouble: Option<String>,
}

impl Status {
    /// Of a process that reconciles, or does not.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self(Mutex::new(Inner { is_on, ..Inner::default() }))
    }

    /// Notes whether this replica is the one that does it.
    pub fn leads(&self, leads: bool) {
        let mut inner = self.inner();
        inner.leads = leads;
        if !leads {
            inner.trouble = None;
        }
        gauge!(telemetry::RECONCILER_LEADS).set(i32::from(leads));
    }

    /// Notes what a look has brought, whether it could be finished or not.
    pub fn found(&self, missing: u64, outdated: u64) {
        let mut inner = self.inner();
        inner.missing += missing;
        inner.outdated += outdated;
    }

    /// Notes that a look is done.
    pub fn looked(&self, at: Timestamp) {
        let mut inner = self.inner();
        inner.looked = Some(at);
        inner.trouble = None;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(telemetry::LAST_RECONCILE).set(at.as_millisecond() as f64 / 1_000.0);
    }

    /// Notes why a look could not be done.
    pub fn troubled(&self, why: &str) {
        self.inner().trouble = Some(why.to_owned());
    }

    /// For people.
    #[must_use]
    pub fn detail(&self) -> Detail {
        let inner = self.inner();
        if !inner.is_on {
            return Detail::Off(Off::Off);
        }
        Detail::On(Looking {
            leads: inner.leads,
            last: inner.looked.map(|at| at.to_string()),
            missing: inner.missing,
            outdated: inner.outdated,
            trouble: inner.trouble.clone(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
