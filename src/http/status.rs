//! How this replica fares: what `/readyz` and `/mapi/status` tell, and what the page shows.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use axum::{Json, extract};
use jiff::Timestamp;
use serde::Serialize;

use super::{State, caller::Reader};
use crate::{callback::runner::Failing, clock, heartbeat::Beat, queue, reconcile, runner};

/// How this replica fares.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Whether alerts can be kept, so that senders shall send here.
    pub ready: bool,
    /// Whether it is about to end.
    pub stopping: bool,
    /// What is kept here.
    pub spool: SpoolStatus,
    /// Where records go.
    pub store: StoreStatus,
    /// How far provisioning is: `done`, `off`, or null until it is the one or the other.
    pub provisioning: Option<String>,
    /// The reconciler.
    pub reconciler: reconcile::Detail,
    /// What runs the monitors where the store has no plugin for it.
    pub runner: runner::Detail,
    /// The callbacks; null where there are none.
    pub callbacks: Option<CallbacksStatus>,
    /// The queues that are taken.
    pub queues: Vec<queue::State>,
    /// The heartbeat; null where none is expected and none has come.
    pub heartbeat: Option<HeartbeatStatus>,
}

/// What is kept here.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpoolStatus {
    /// Whether alerts can be kept.
    pub writable: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// How many messages wait until their records are stored.
    pub waiting: u64,
    /// When the oldest of them came.
    pub oldest: Option<String>,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// When the oldest of them died.
    pub oldest_dead_letter: Option<String>,
}

/// Where records go.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct StoreStatus {
    /// Whether the last request to write records succeeded.
    pub takes_alerts: bool,
    /// Its product, version and number of nodes, such as `OpenSearch 3.4.0 on 3 nodes`, as it told
    /// them last; null where it never did.
    pub product: Option<String>,
    /// What is wrong, or what is waited for.
    pub trouble: Option<String>,
    /// The indices that take nothing while others may, each with the reason and what to do.
    pub blocked: BTreeMap<String, String>,
}

/// How the callbacks fare.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CallbacksStatus {
    /// How many are enabled.
    pub enabled: usize,
    /// How many deliveries wait or run.
    pub pending: u64,
    /// When the oldest of them was created.
    pub oldest_pending: Option<String>,
    /// How many deliveries failed and are kept.
    pub failed: u64,
    /// The callbacks whose last run was not delivered.
    pub failing: Vec<Failing>,
}

/// How the heartbeat stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HeartbeatStatus {
    /// How many seconds may be between two; null where none is expected.
    pub expected_every_seconds: Option<f64>,
    /// When the last one came.
    pub last: Option<String>,
    /// Whether one is overdue.
    pub late: bool,
}

impl Status {
    /// As it is now; reads the spool.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let held = tokio::task::block_in_place(|| state.spool.stats());
        let stopping = state.readiness.stopping.load(Ordering::Relaxed);
        let trouble =
            state.spool.trouble().or_else(|| held.as_ref().err().map(ToString::to_string));
        let held = held.unwrap_or_default();
        let lock = |told: &std::sync::Mutex<Option<String>>| {
            told.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let text = |at: Timestamp| at.to_string();
        Self {
            ready: !stopping && trouble.is_none(),
            stopping,
            spool: SpoolStatus {
                writable: trouble.is_none(),
                trouble,
                waiting: held.waiting,
                oldest: held.oldest.map(text),
                bytes: held.bytes,
                dead_letters: held.dead_letters,
                oldest_dead_letter: held.oldest_dead_letter.map(text),
            },
            store: StoreStatus {
                takes_alerts: state.writer.is_ok(),
                product: state.client.last_capabilities().map(|can| can.to_string()),
                trouble: lock(&state.readiness.waits_for).or_else(|| state.writer.trouble()),
                blocked: state.writer.blocked(),
            },
            provisioning: lock(&state.readiness.provisioning),
            reconciler: state.reconciler.detail(),
            runner: state.runner.detail(),
            callbacks: CallbacksStatus::of(state),
            queues: state.queues.states(),
            heartbeat: HeartbeatStatus::of(state.heartbeat.beat(clock::now())),
        }
    }
}

impl CallbacksStatus {
    fn of(state: &State) -> Option<Self> {
        let names = state.callbacks.names();
        if names.is_empty() {
            return None;
        }
        let held = tokio::task::block_in_place(|| state.spool.delivery_stats(None));
        // That it cannot be read is told with the spool.
        let held = held.unwrap_or_default();
        Some(Self {
            enabled: names.len(),
            pending: held.pending,
            oldest_pending: held.oldest.map(|at| at.to_string()),
            failed: held.failed,
            failing: state.callbacks.failing(),
        })
    }
}

impl HeartbeatStatus {
    fn of(beat: Beat) -> Option<Self> {
        let Beat { expected, last, is_late, .. } = beat;
        if expected.is_none() && last.is_none() {
            return None;
        }
        Some(Self {
            expected_every_seconds: expected.as_ref().map(Duration::as_secs_f64),
            last: last.map(|last| last.to_string()),
            late: is_late,
        })
    }
}

/// What `GET /mapi/status` answers.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StatusWithVersion)]
pub struct Whole {
    /// The version of alertloop.
    pub version: &'static str,
    /// As `/readyz` tells it.
    #[serde(flatten)]
    pub status: Status,
}

/// How this replica fares, whether it is ready or not.
pub async fn show(_: Reader, extract::State(state): extract::State<Arc<State>>) -> Json<Whole> {
    Json(Whole { version: env!("CARGO_PKG_VERSION"), status: Status::of(&state) })
}
