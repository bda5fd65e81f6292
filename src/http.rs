//! The whole route table, and the layers before it.
//!
//! | route | who may | what |
//! |---|---|---|
//! | `POST /mapi/alert`, `/mapi/event`, `/mapi/alert/{source}` | the intake secret | takes alerts in; the last by `PUT` too |
//! | `GET /mapi/dead-letters`, `/mapi/dead-letters/{id}`, `/mapi/dead-letters/export` | the login; without one, loopback | what was refused |
//! | `POST /mapi/dead-letters/replay`, `/mapi/dead-letters/drop` | the same | sends it again, or removes it |
//! | `GET /mapi/deliveries`, `/mapi/deliveries/{id}` | the same | what callbacks were run, and how it went |
//! | `POST /mapi/deliveries/replay` | the same | runs failed ones again |
//! | `GET /mapi/alerts/engaged` | the same | what is engaged now |
//! | `POST /mapi/alerts/{id}/acknowledge` | the same | acknowledges an alert in OpenSearch |
//! | `GET /metrics` | the login or the intake secret; loopback | Prometheus text |
//! | `GET /livez`, `/readyz`, `/mapi/ready`, `/mapi/ping` | everybody | health |
//!
//! `/mapi` is `MALCOLM_API_PREFIX`. A slash at the end changes nothing.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::map_response_with_state,
    response::IntoResponse,
    routing::{MethodFilter, get, on, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    callback::runner,
    engaged::Engaged,
    heartbeat::Heartbeat,
    intake::{Reading, ntopng::version::Version},
    opensearch::Client,
    queue,
    record::Naming,
    spool::Spool,
    writer,
};

pub mod access;
mod alerts;
mod asked;
pub mod caller;
mod dead_letters;
mod deliveries;
mod engaged;
mod error;
pub mod forgery;
mod health;
mod intake;
pub mod prefer;

pub use error::ApiError;
pub use health::Readiness;

/// Graylog's notifications can be set to PUT, and so can OpenSearch's channels.
const POST_OR_PUT: MethodFilter = MethodFilter::POST.or(MethodFilter::PUT);
/// Bodies that are being received at once take at most this much memory, in KiB.
const RECEIVING_KIB: usize = 64 << 10;
/// Of these, what nobody has shown a secret for yet: so that strangers cannot keep out senders.
const STRANGERS_KIB: usize = 8 << 10;

/// What every handler can reach.
pub struct State {
    /// Where bodies are kept.
    pub spool: Arc<Spool>,
    /// How the writer fares.
    pub writer: Arc<writer::Health>,
    /// The store, for what is asked of it in a request.
    pub client: Client,
    /// Who may do what.
    pub access: Arc<access::Access>,
    /// Makes and checks what forms carry.
    pub forgery: forgery::Forgery,
    /// What readiness tells.
    pub readiness: Arc<Readiness>,
    /// What the reconciler tells of itself.
    pub reconciler: Arc<crate::reconcile::Status>,
    /// How the callbacks fare.
    pub callbacks: Arc<runner::Status>,
    /// How the queues fare.
    pub queues: Arc<queue::Status>,
    /// When a heartbeat came.
    pub heartbeat: Arc<Heartbeat>,
    /// What is engaged now.
    pub engaged: Engaged,
    /// For the answer's prediction of `_index` and `_id`.
    pub naming: Naming,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// The version that ntopng was declared to have.
    pub ntopng: Option<Version>,
    /// How long an answer waits for the index.
    pub wait: Duration,
    /// Whether an answer may say where the alert will be found.
    pub predicts: bool,
    /// Whether the Alerting API is asked for the ids that a body lacks.
    pub ids_are_asked: bool,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Memory for bodies, in KiB.
    pub receiving: Semaphore,
    /// How much of that may be taken by bodies whose secret is still to be read, in KiB.
    pub strangers: Semaphore,
}

impl State {
    /// What decoding a message depends on.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        Reading { limit: self.body_limit, ntopng: self.ntopng }
    }

    /// Permits for [`State::receiving`].
    #[must_use]
    pub fn receiving(body_limit: usize) -> Semaphore {
        Semaphore::new(RECEIVING_KIB.max(kib(body_limit)))
    }

    /// Permits for [`State::strangers`].
    #[must_use]
    pub fn strangers() -> Semaphore {
        Semaphore::new(STRANGERS_KIB)
    }
}

/// A size in KiB, rounded up.
fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1_024)
}

/// Every route.
pub fn router(state: Arc<State>, prefix: &str) -> Router {
    let at = |path: &str| match prefix {
        "" => path.to_owned(),
        prefix => format!("/{prefix}{path}"),
    };
    let mut router = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    for path in ["/alert", "/event"] {
        router = router.route(&at(path), post(intake::receive));
        router = router.route(&at(&format!("{path}/")), post(intake::receive));
    }
    for end in ["", "/"] {
        router = router
            .route(&at(&format!("/alert/{{source}}{end}")), on(POST_OR_PUT, intake::receive_from))
            .route(&at(&format!("/ping{end}")), get(health::ping))
            .route(&at(&format!("/ready{end}")), get(health::ready))
            .route(&at(&format!("/alerts/engaged{end}")), get(engaged::list))
            .route(&at(&format!("/alerts/{{id}}/acknowledge{end}")), post(alerts::acknowledge))
            .route(&at(&format!("/dead-letters{end}")), get(dead_letters::list))
            .route(&at(&format!("/dead-letters/export{end}")), get(dead_letters::export))
            .route(&at(&format!("/dead-letters/replay{end}")), post(dead_letters::replay))
            .route(&at(&format!("/dead-letters/drop{end}")), post(dead_letters::discard))
            .route(&at(&format!("/dead-letters/{{id}}{end}")), get(dead_letters::show))
            .route(&at(&format!("/deliveries{end}")), get(deliveries::list))
            .route(&at(&format!("/deliveries/replay{end}")), post(deliveries::replay))
            .route(&at(&format!("/deliveries/{{id}}{end}")), get(deliveries::show));
    }
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        // intake::receive counts for itself, so that it can keep the head of what is too large.
        .layer(DefaultBodyLimit::disable())
        .layer(map_response_with_state(Arc::clone(&state), health::end_connections))
        .with_state(state)
}

async fn unknown_route() -> impl IntoResponse {
    // The path is not repeated: people put secrets into addresses.
    let error = "no such route; alerts go to POST /mapi/alert (see MALCOLM_API_PREFIX)";
    (StatusCode::NOT_FOUND, Json(json!({ "error": error })))
}

async fn wrong_method(method: axum::http::Method) -> impl IntoResponse {
    let error = format!("{method} is not what this route takes; the Allow header says what is");
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": error })))
}
