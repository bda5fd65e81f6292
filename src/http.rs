//! The whole route table, and what is around it. Who may go through which route stands with it, and
//! as a table in `docs/security.md`.
//!
//! `/mapi` is `MALCOLM_API_PREFIX`. A slash at the end changes nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{self, ConnectInfo, DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    callback::runner,
    engaged::Engaged,
    heartbeat::Heartbeat,
    history::History,
    intake::{Reading, ntopng::version::Version},
    monitors::Monitors,
    opensearch::Client,
    page, queue,
    record::Naming,
    serving::Connection,
    spool::Spool,
    telemetry, writer,
};

pub mod access;
pub mod address;
mod alerts;
mod asked;
pub mod attempts;
pub mod caller;
mod dead_letters;
mod deliveries;
pub mod doors;
mod engaged;
mod error;
pub mod forgery;
mod headers;
mod health;
pub mod history;
mod intake;
mod monitors;
pub mod openapi;
pub mod prefer;
pub mod proxies;
pub mod status;
mod unread;

pub(crate) use alerts::one as acknowledge;
use caller::Peer;
use doors::{Door, Doors, Needs};
pub use error::{ApiError, Said};
pub use health::Readiness;

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
    /// Whether we speak TLS ourselves.
    pub is_tls: bool,
    /// What readiness tells.
    pub readiness: Arc<Readiness>,
    /// What the reconciler tells of itself.
    pub reconciler: Arc<crate::reconcile::Status>,
    /// What tells of itself that runs the monitors.
    pub runner: Arc<crate::runner::Status>,
    /// How the callbacks fare.
    pub callbacks: Arc<runner::Status>,
    /// How the queues fare.
    pub queues: Arc<queue::Status>,
    /// When a heartbeat came.
    pub heartbeat: Arc<Heartbeat>,
    /// What is engaged now.
    pub engaged: Engaged,
    /// What was.
    pub history: History,
    /// What the page needs.
    pub page: page::Parts,
    /// What fires.
    pub monitors: Monitors,
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

/// Every route, and who may go through it.
fn every_door(prefix: &str) -> Doors {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    let mut doors = Doors::new(prefix);
    doors.at(GET, "/livez", Needs::Nothing, health::live);
    doors.at(GET, "/readyz", Needs::Nothing, health::ready);
    doors.at(GET, "/metrics", Needs::SecretOrReader, health::metrics);
    doors.api(&GET, "/ping", Needs::Nothing, health::ping);
    doors.api(&GET, "/ready", Needs::Nothing, health::ready);
    for path in ["/alert", "/event"] {
        doors.api(&POST, path, Needs::Secret, intake::receive);
    }
    // Graylog's notifications can be set to PUT, and so can OpenSearch's channels.
    for method in [POST, Method::PUT] {
        doors.api(&method, "/alert/{source}", Needs::Secret, intake::receive_from);
    }
    doors.api(&GET, "/alerts", Needs::Reader, history::list);
    doors.api(&GET, "/alerts/engaged", Needs::Reader, engaged::list);
    doors.api(&GET, "/alerts/overview", Needs::Reader, history::overview);
    doors.api(&GET, "/alerts/{id}", Needs::Reader, history::show);
    doors.api(&POST, "/alerts/{id}/acknowledge", Needs::Operator, alerts::acknowledge);
    doors.api(&GET, "/conditions", Needs::Reader, monitors::list);
    doors.api(&GET, "/conditions/{id}/history", Needs::Reader, monitors::past);
    doors.api(&POST, "/conditions/{id}/enable", Needs::Admin, monitors::enable);
    doors.api(&POST, "/conditions/{id}/disable", Needs::Admin, monitors::disable);
    doors.api(&GET, "/dead-letters", Needs::Reader, dead_letters::list);
    doors.api(&GET, "/dead-letters/export", Needs::Reader, dead_letters::export);
    doors.api(&POST, "/dead-letters/replay", Needs::Operator, dead_letters::replay);
    doors.api(&POST, "/dead-letters/drop", Needs::Admin, dead_letters::discard);
    doors.api(&GET, "/dead-letters/{id}", Needs::Reader, dead_letters::show);
    doors.api(&GET, "/deliveries", Needs::Reader, deliveries::list);
    doors.api(&POST, "/deliveries/replay", Needs::Operator, deliveries::replay);
    doors.api(&GET, "/deliveries/{id}", Needs::Reader, deliveries::show);
    doors.api(&GET, "/status", Needs::Reader, status::show);
    doors.api(&GET, "/openapi.json", Needs::Reader, openapi::served(prefix));
    // Without a prefix, the API has the paths that the page would.
    if !prefix.is_empty() {
        page::doors(&mut doors);
    }
    doors
}

/// Every way in, as the router has it.
#[must_use]
pub fn doors(prefix: &str) -> Vec<Door> {
    every_door(prefix).done().1
}

/// Every route.
pub fn router(state: Arc<State>, prefix: &str) -> Router {
    let (router, _) = every_door(prefix).done();
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        // intake::receive counts for itself, so that it can keep the head of what is too large.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state), around))
        .with_state(state)
}

/// What happens around every request: handlers learn whose it is, the connection is in use until the
/// answer is out, and the answer tells a browser what it may do with it.
async fn around(
    extract::State(state): extract::State<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions_mut().remove::<ConnectInfo<Connection>>();
    let busy = connection.map(|ConnectInfo(connection)| {
        let peer = connection.peer();
        let access = &state.access;
        if access.is_impostor(request.headers(), peer.ip()) {
            counter!(telemetry::IGNORED_USERS).increment(1);
        }
        let client = match access.client(request.headers(), peer.ip()) {
            ip if ip == peer.ip() => peer,
            // Its port there is not told.
            ip => SocketAddr::new(ip, 0),
        };
        request.extensions_mut().insert(Peer(peer.ip()));
        // Whose request it is, for logs.
        request.extensions_mut().insert(ConnectInfo(client));
        let busy = connection.busy();
        request.extensions_mut().insert(connection);
        busy
    });
    let mut response = next.run(unread::thrown_away(request)).await;
    let headers = response.headers_mut();
    headers::complete(headers, state.is_tls);
    if state.readiness.is_stopping() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    match busy {
        Some(busy) => response.map(|body| busy.until_the_end_of(body)),
        None => response,
    }
}

async fn unknown_route(uri: axum::http::Uri, headers: HeaderMap) -> Response {
    if page::fault::is_wanted(&headers) {
        return page::unknown(uri.path()).await;
    }
    // The path is not repeated: people put secrets into addresses.
    let error = "no such route; alerts go to POST /mapi/alert (see MALCOLM_API_PREFIX)";
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

async fn wrong_method(method: axum::http::Method) -> impl IntoResponse {
    let error = format!("{method} is not what this route takes; the Allow header says what is");
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": error })))
}
