//! What the runner tells of itself, for `/readyz`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;

use crate::telemetry;

/// Shared between the runner and whoever asks.
#[derive(Debug, Default)]
pub struct Status(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: bool,
    leads: bool,
    monitors: usize,
    overdue: usize,
    ran: Option<Timestamp>,
    trouble: Option<String>,
}

/// What it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = RunnerStatus)]
pub enum Detail {
    /// The store's own plugin runs the monitors, or it is not known yet.
    Off(Off),
    /// alertloop runs them.
    On(Running),
}

/// That it does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RunnerOff)]
pub enum Off {
    /// `off`
    Off,
}

/// How it fares where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RunnerRunning)]
pub struct Running {
    /// Whether this replica is the one that runs them.
    pub leads: bool,
    /// How many monitors it runs by their schedules.
    pub monitors: usize,
    /// How many of them should have run by now, and have not.
    pub overdue: usize,
    /// When the last run was noted.
    pub last: Option<String>,
    /// Why they cannot be run.
    pub trouble: Option<String>,
}

impl Status {
    /// The monitors are run by alertloop.
    pub fn on(&self) {
        self.inner().is_on = true;
    }

    /// Notes whether this replica is the one that runs them.
    pub fn leads(&self, leads: bool) {
        let mut inner = self.inner();
        if !leads {
            (inner.monitors, inner.overdue, inner.trouble) = (0, 0, None);
        }
        inner.leads = leads;
        gauge!(telemetry::RUNNER_LEADS).set(i32::from(leads));
    }

    /// Notes how many monitors are scheduled, and how many of them are late.
    pub fn scheduled(&self, monitors: usize, overdue: usize) {
        let mut inner = self.inner();
        (inner.monitors, inner.overdue) = (monitors, overdue);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        gauge!(telemetry::SCHEDULED_MONITORS).set(count(monitors));
        gauge!(telemetry::OVERDUE_MONITORS).set(count(overdue));
    }

    /// Notes that a run is noted.
    pub fn ran(&self, at: Timestamp) {
        self.inner().ran = Some(at);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(telemetry::LAST_MONITOR_RUN).set(at.as_millisecond() as f64 / 1_000.0);
    }

    /// Notes why monitors cannot be run; `None` once they can.
    pub fn troubled(&self, why: Option<String>) {
        self.inner().trouble = why;
    }

    /// For people.
    #[must_use]
    pub fn detail(&self) -> Detail {
        let inner = self.inner();
        if !inner.is_on {
            return Detail::Off(Off::Off);
        }
        Detail::On(Running {
            leads: inner.leads,
            monitors: inner.monitors,
            overdue: inner.overdue,
            last: inner.ran.map(|at| at.to_string()),
            trouble: inner.trouble.clone(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
