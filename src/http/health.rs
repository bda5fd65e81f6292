//! Health: alive, ready (and why not), and the metrics.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Extension, Json,
    extract::{self, RawQuery},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::gauge;
use serde_json::{Value, json};

use super::{ApiError, State, caller::Peer};
use crate::{clock, heartbeat::Beat, spool::DeliveryStats, telemetry};

/// What readiness tells besides what it finds out itself.
#[derive(Default)]
pub struct Readiness {
    stopping: AtomicBool,
    provisioning: Mutex<Option<String>>,
    waits_for: Mutex<Option<String>>,
}

impl Readiness {
    /// From now on not ready: balancers shall send elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// While it stops every answer ends its connection, so that a proxy which keeps connections does
    /// not send its next request into one that is being closed.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Notes how far provisioning is.
    pub fn provisioning(&self, state: impl Into<String>) {
        *self.provisioning.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.into());
    }

    /// Notes what has to come before records can be written; `None` once they can.
    pub fn waits_for(&self, what: Option<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// 200 while the process serves at all.
pub async fn live() -> &'static str {
    "alive\n"
}

/// What Malcolm's health checks ask for.
pub async fn ping() -> Json<Value> {
    Json(json!({ "ping": "pong" }))
}

/// 200 while alerts can be kept; the store may be away meanwhile, and `detail` says so.
pub async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    let held = tokio::task::block_in_place(|| state.spool.stats());
    let stopping = state.readiness.stopping.load(Ordering::Relaxed);
    let trouble = state.spool.trouble().or_else(|| held.as_ref().err().map(ToString::to_string));
    let ready = !stopping && trouble.is_none();
    let held = held.unwrap_or_default();
    let provisioning =
        state.readiness.provisioning.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let waits_for =
        state.readiness.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let body = json!({
        "ready": ready,
        "stopping": stopping,
        "spool": {
            "writable": trouble.is_none(),
            "trouble": trouble,
            "waiting": held.waiting,
            "oldest": held.oldest.map(|at| at.to_string()),
            "bytes": held.bytes,
            "dead_letters": held.dead_letters,
            "oldest_dead_letter": held.oldest_dead_letter.map(|at| at.to_string()),
        },
        "store": {
            "takes_alerts": state.writer.is_ok(),
            "trouble": waits_for.or_else(|| state.writer.trouble()),
        },
        "provisioning": provisioning,
        "reconciler": state.reconciler.detail(),
        "callbacks": callbacks(&state),
        "queues": state.queues.states(),
        "heartbeat": heartbeat(state.heartbeat.beat(clock::now())),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// How the callbacks fare; `null` where there are none.
fn callbacks(state: &State) -> Value {
    if state.callbacks.names().is_empty() {
        return Value::Null;
    }
    let held = tokio::task::block_in_place(|| state.spool.delivery_stats(None));
    // That it cannot be read is told with the spool.
    let held = held.unwrap_or_default();
    json!({
        "enabled": state.callbacks.names().len(),
        "pending": held.pending,
        "oldest_pending": held.oldest.map(|at| at.to_string()),
        "failed": held.failed,
        "failing": state.callbacks.failing(),
    })
}

/// Sets what the metrics tell of callbacks.
fn measure_callbacks(state: &State) -> rusqlite::Result<()> {
    let age = |at: Option<jiff::Timestamp>| {
        at.map_or(0.0, |at| clock::now().duration_since(at).as_secs_f64().max(0.0))
    };
    for name in state.callbacks.names() {
        let held = tokio::task::block_in_place(|| state.spool.delivery_stats(Some(name)))?;
        gauge!(telemetry::OLDEST_PENDING_DELIVERY_AGE, "callback" => name.clone())
            .set(age(held.oldest));
    }
    let held = match state.callbacks.names() {
        [] => DeliveryStats::default(),
        _ => tokio::task::block_in_place(|| state.spool.delivery_stats(None))?,
    };
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    gauge!(telemetry::PENDING_DELIVERIES).set(count(held.pending));
    gauge!(telemetry::FAILED_DELIVERIES).set(count(held.failed));
    let failing = state.callbacks.failing().len();
    gauge!(telemetry::FAILING_CALLBACKS).set(u32::try_from(failing).unwrap_or(u32::MAX));
    Ok(())
}

/// How the heartbeat stands; `null` where none is expected and none has come.
fn heartbeat(beat: Beat) -> Value {
    let Beat { expected, last, is_late, .. } = beat;
    if expected.is_none() && last.is_none() {
        return Value::Null;
    }
    json!({
        "expected_every_seconds": expected.map(|expected| expected.as_secs_f64()),
        "last": last.map(|last| last.to_string()),
        "late": is_late,
    })
}

/// The metrics as Prometheus reads them.
pub async fn metrics(
    extract::State(state): extract::State<Arc<State>>,
    Extension(Peer(peer)): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Err(denied) = state.access.watch(&headers, query.as_deref(), peer) {
        return Err(state.access.refuse(denied, state.access.client(&headers, peer)).await);
    }
    let held = tokio::task::block_in_place(|| state.spool.stats())?;
    let age = |at: Option<jiff::Timestamp>| {
        at.map_or(0.0, |at| clock::now().duration_since(at).as_secs_f64().max(0.0))
    };
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        gauge!(telemetry::SPOOL_DEPTH).set(held.waiting as f64);
        gauge!(telemetry::SPOOL_BYTES).set(held.bytes as f64);
        gauge!(telemetry::DEAD_LETTERS_KEPT).set(held.dead_letters as f64);
    }
    gauge!(telemetry::OLDEST_UNSTORED_AGE).set(age(held.oldest));
    gauge!(telemetry::OLDEST_DEAD_LETTER_AGE).set(age(held.oldest_dead_letter));
    gauge!(telemetry::STORE_UP).set(if state.writer.is_ok() { 1.0 } else { 0.0 });
    let beat = state.heartbeat.beat(clock::now());
    if beat.expected.is_some() || beat.last.is_some() {
        gauge!(telemetry::HEARTBEAT_AGE).set(beat.age.as_secs_f64());
        gauge!(telemetry::HEARTBEAT_LATE).set(if beat.is_late { 1.0 } else { 0.0 });
    }
    measure_callbacks(&state)?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, state.metrics.render()).into_response())
}
