//! `POST /mapi/alert` and its kin: check, receive, keep, answer. The answer is 2xx only once the
//! body is on disk; what it says is read later, so no bad body is ever lost.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{self, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use metrics::counter;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    time::timeout,
};

use super::{ApiError, State, access::Denied, caller::Peer, kib, prefer::wait};
use crate::{
    alert::Source,
    clock,
    intake::{self, Encoding, Envelope, Reading},
    receipt,
    record::{self, Receipt},
    secrets::WebhookToken,
    serving::Connection,
    spool::{EntryId, Fate, Spool},
    telemetry, writer,
};

/// How long a sender may take for the next piece of a body, and for all of it.
const NEXT_PIECE: Duration = Duration::from_secs(10);
const WHOLE_BODY: Duration = Duration::from_mins(1);
/// The same of a body whose secret is in it, and how large that may be, in bytes: ntopng sends ten
/// alerts at most, and waits for a second.
const BODY_OF_STRANGER: Duration = Duration::from_secs(5);
const LARGEST_OF_STRANGER: usize = 1 << 20;
/// What is kept of a body that is too large.
const HEAD: usize = 4 << 10;
/// Bodies up to this size are decoded for the answer's prediction of `_index` and `_id`.
const PREDICTED: usize = 64 << 10;
/// So much of one that is packed.
const UNPACKED: usize = 256 << 10;

/// Takes alerts whose body tells their source.
pub async fn receive(
    extract::State(state): extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&state, None, request).await
}

/// Takes alerts of the source that the route names.
pub async fn receive_from(
    extract::State(state): extract::State<Arc<State>>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let source = Source::sender(&source).map_err(ApiError::NotFound)?;
    take(&state, Some(source), request).await
}

async fn take(
    state: &State,
    source: Option<Source>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let Some(Peer(peer)) = parts.extensions.get().copied() else {
        return Err(ApiError::Unauthorized);
    };
    match state.access.post(&parts.headers, parts.uri.query(), peer) {
        Ok(()) => {}
        Err(Denied::OtherSite) => return Err(ApiError::OtherSite),
        Err(denied) => return take_from_stranger(state, source, (parts, body), denied, peer).await,
    }
    counter!(telemetry::RECEIVED).increment(1);
    let declared = content_length(&parts.headers);
    let most = declared.unwrap_or(state.body_limit).min(state.body_limit);
    // Waiting for memory is waiting for the bodies before; the semaphore is never closed.
    let _memory = state.receiving.acquire_many(permits(most)).await;
    let received = timeout(WHOLE_BODY, read(body, state.body_limit, declared)).await;
    let envelope = |body| envelope(source, &parts.headers, body);
    let body = match received.unwrap_or(Err(Broken::Slow)) {
        Ok(body) => body,
        Err(Broken::Slow) => return Err(ApiError::TooSlow),
        Err(Broken::Large(head)) => {
            let length =
                declared.map_or("of unknown length".to_owned(), |n| format!("of {n} bytes"));
            let limit = state.body_limit;
            let reason =
                format!("a body {length} is over the limit of {limit} bytes; this is its head");
            let stub = Envelope { encoding: Encoding::Identity, ..envelope(head) };
            state.spool.set_aside(stub, reason).await?;
            counter!(telemetry::DEAD_LETTERS).increment(1);
            return Err(ApiError::TooLarge { limit });
        }
    };
    if intake::is_test_post(&body) {
        let token = state.access.token_of(&parts.headers, parts.uri.query());
        return Ok(answer_test(&body, token.as_ref()));
    }
    if intake::heartbeat::read(&body).is_some() {
        counter!(telemetry::HEARTBEATS).increment(1);
        state.heartbeat.came(clock::now());
        return Ok(Json(json!({ "result": { "result": "heartbeat" } })).into_response());
    }
    keep(state, envelope(body), wait(&parts.headers)).await
}

/// Takes alerts of a sender that showed no secret outside its body: ntopng has it inside. So a body
/// is read, up to a small bound and within a short time, for the one secret in it.
async fn take_from_stranger(
    state: &State,
    source: Option<Source>,
    (parts, body): (Parts, Body),
    denied: Denied,
    peer: IpAddr,
) -> Result<Response, ApiError> {
    let refused = async |denied| {
        Err(state.access.refuse(denied, state.access.client(&parts.headers, peer)).await)
    };
    let may_be_ntopngs = source.is_none_or(|source| source == Source::Ntopng);
    let declared = content_length(&parts.headers);
    let most = state.body_limit.min(LARGEST_OF_STRANGER);
    let encoding = Encoding::of(&text(&parts.headers, header::CONTENT_ENCODING));
    if !may_be_ntopngs
        || encoding != Encoding::Identity
        || declared.is_some_and(|declared| declared == 0 || declared > most)
    {
        return refused(denied).await;
    }
    let received = timeout(BODY_OF_STRANGER, async {
        let (body, _room) = read_of_stranger(body, most, &state.strangers).await?;
        let memory = state.receiving.acquire_many(permits(body.len())).await;
        Some((body, memory))
    });
    // Until it has shown a secret, it may have to make room for others.
    let received = match parts.extensions.get::<Connection>() {
        Some(connection) => connection.waiting(received).await,
        None => received.await,
    };
    // Whatever is wrong with it, it had no secret.
    let Ok(Some((body, memory))) = received else { return refused(denied).await };
    match intake::ntopng::secret::in_body(&body) {
        Some(secret) if state.access.admits(&secret) => {}
        Some(wrong) => {
            drop((body, memory));
            return refused(Denied::Wrong(wrong.expose().as_bytes().to_vec())).await;
        }
        None => {
            drop((body, memory));
            return refused(denied).await;
        }
    }
    counter!(telemetry::RECEIVED).increment(1);
    if intake::is_test_post(&body) {
        return Ok(answer_test(&body, None));
    }
    keep(state, envelope(source, &parts.headers, body), wait(&parts.headers)).await
}

fn envelope(source: Option<Source>, headers: &HeaderMap, body: Vec<u8>) -> Envelope {
    Envelope {
        source,
        received: clock::now(),
        content_type: text(headers, header::CONTENT_TYPE),
        encoding: Encoding::of(&text(headers, header::CONTENT_ENCODING)),
        body,
    }
}

fn answer_test(body: &[u8], token: Option<&WebhookToken>) -> Response {
    counter!(telemetry::TEST_POSTS).increment(1);
    Json(answer_to_test(body, token)).into_response()
}

/// With a receipt where OpenSearch tests a channel that carries our secret.
fn answer_to_test(body: &[u8], token: Option<&WebhookToken>) -> Value {
    match (intake::channel_under_test(body), token) {
        (Some(id), Some(token)) => json!({ "result": {}, "receipt": receipt::receipt(token, id) }),
        _ => json!({ "result": {} }),
    }
}

/// Keeps the envelope, and waits for the index as long as the caller wants.
async fn keep(
    state: &State,
    envelope: Envelope,
    asked: Option<Duration>,
) -> Result<Response, ApiError> {
    let predicted = predict(state, &envelope);
    let wait = match asked {
        Some(wait) => wait,
        // While the store is away, waiting for it would only delay the sender.
        None if state.writer.is_ok() => state.wait,
        None => Duration::ZERO,
    };
    if wait.is_zero() {
        state.spool.append(envelope, None).await?;
        counter!(telemetry::DURABLE).increment(1);
        return Ok(accepted(predicted));
    }
    let (watch, fate) = oneshot::channel();
    let id = state.spool.append(envelope, Some(watch)).await?;
    let _unwatch = Unwatch { spool: &state.spool, id };
    counter!(telemetry::DURABLE).increment(1);
    match timeout(wait, fate).await {
        Ok(Ok(Fate::Stored(answer))) => Ok(Json(json!({ "result": answer })).into_response()),
        Ok(Ok(Fate::SetAside(reason))) => {
            let answer = json!({ "result": { "result": "dead-letter", "reason": reason } });
            Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
        }
        Ok(Err(_)) | Err(_) => Ok(accepted(predicted)),
    }
}

/// Forgets the watcher when the answer goes out, or the caller goes away, before the fate is known.
struct Unwatch<'a> {
    spool: &'a Spool,
    id: EntryId,
}

impl Drop for Unwatch<'_> {
    fn drop(&mut self) {
        self.spool.unwatch(self.id);
    }
}

fn accepted(predicted: Option<(String, String)>) -> Response {
    let mut result = json!({ "result": "accepted" });
    if let Some((index, id)) = predicted {
        result["_index"] = json!(index);
        result["_id"] = json!(id);
    }
    (StatusCode::ACCEPTED, Json(json!({ "result": result }))).into_response()
}

/// Where a single alert will be found; `None` where only the writer can tell.
fn predict(state: &State, envelope: &Envelope) -> Option<(String, String)> {
    if !state.predicts || envelope.body.len() > PREDICTED {
        return None;
    }
    // A packed body is not unpacked as a whole, where others wait: it may be a bomb.
    let reading = state.reading();
    let reading = Reading { limit: reading.limit.min(UNPACKED), ..reading };
    let alert = intake::decode_for_name(envelope, reading)?;
    if alert.id.is_none() && alert.source.is_alerting() && state.ids_are_asked {
        return None;
    }
    // Which happening of its series it is about is known when the series is read.
    if writer::lives::series_of(&alert).is_some() {
        return None;
    }
    let hash = match alert.id {
        Some(_) => String::new(), // then the hash names nothing
        None => record::body_hash(&envelope.body, 0),
    };
    let receipt = Receipt { received: envelope.received, hash: &hash };
    Some(record::address(&alert, receipt, &state.naming))
}

/// Why there is no body.
enum Broken {
    /// It did not come in time, or the sender went away.
    Slow,
    /// It is too large; its head.
    Large(Vec<u8>),
}

async fn read(mut body: Body, limit: usize, declared: Option<usize>) -> Result<Vec<u8>, Broken> {
    let too_large = declared.is_some_and(|declared| declared > limit);
    let want = if too_large { HEAD } else { declared.unwrap_or(0) };
    let mut bytes = Vec::with_capacity(want.min(limit));
    loop {
        let frame = match timeout(NEXT_PIECE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return if too_large { Err(Broken::Large(bytes)) } else { Ok(bytes) },
            Ok(Some(Err(_))) | Err(_) => return Err(Broken::Slow),
        };
        let Ok(piece) = frame.into_data() else { continue };
        bytes.extend_from_slice(&piece);
        if bytes.len() > limit || (too_large && bytes.len() >= HEAD) {
            bytes.truncate(HEAD);
            return Err(Broken::Large(bytes));
        }
    }
}

/// Reads a body of a stranger; `None` where it is too large, or does not come. What has come of it, and
/// not what was promised, takes of the room for all of theirs.
async fn read_of_stranger(
    mut body: Body,
    most: usize,
    room: &Semaphore,
) -> Option<(Vec<u8>, SemaphorePermit<'_>)> {
    let mut bytes = Vec::new();
    let mut held = room.acquire_many(0).await.ok()?;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.ok()?.into_data() else { continue };
        let length = bytes.len() + piece.len();
        if length > most {
            return None;
        }
        let more = permits(length) - permits(bytes.len());
        held.merge(room.acquire_many(more).await.ok()?);
        bytes.extend_from_slice(&piece);
    }
    Some((bytes, held))
}

/// What a body of this size takes of [`State::receiving`].
fn permits(bytes: usize) -> u32 {
    u32::try_from(kib(bytes)).unwrap_or(u32::MAX)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
