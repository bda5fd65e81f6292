//! The JSON API for people and scripts.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{self, ConnectInfo, Path, Query},
    http::HeaderMap,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, State};
use crate::spool::DeadLetter;

/// How many items a page has, unless it is asked for fewer.
const PAGE: usize = 1_000;

/// `?after=ID&limit=N`.
#[derive(Deserialize)]
pub struct Page {
    after: Option<i64>,
    limit: Option<usize>,
}

/// `{"items": [{"id", "source", "received_at", "reason", "bytes", "attempts"}], "next"}`, oldest
/// first; `next` is the `after` of the next page, or null.
pub async fn dead_letters(
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    admit(&state, &headers, peer)?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let after = page.after.unwrap_or(0);
    let letters = tokio::task::block_in_place(|| state.spool.dead_letters(after, limit))?;
    let next = letters.last().filter(|_| letters.len() == limit).map(|letter| letter.id);
    let items: Vec<_> = letters.iter().map(item).collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// One dead letter, with its body as text.
pub async fn dead_letter(
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    admit(&state, &headers, peer)?;
    let found = tokio::task::block_in_place(|| state.spool.dead_letter(id))?;
    let (letter, body) = found.ok_or_else(|| ApiError::NotFound(format!("no dead letter {id}")))?;
    let mut json = item(&letter);
    json["body"] = String::from_utf8_lossy(&body).into();
    Ok(Json(json))
}

fn admit(state: &State, headers: &HeaderMap, peer: SocketAddr) -> Result<(), ApiError> {
    if state.access.may_read(headers, peer) {
        return Ok(());
    }
    if state.access.has_login() {
        return Err(ApiError::Unauthorized);
    }
    let how = "the API is off: set ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD, or ask from this machine";
    Err(ApiError::NotFound(how.to_owned()))
}

fn item(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id, "source": letter.source, "received_at": letter.received.to_string(),
        "reason": letter.reason, "bytes": letter.bytes, "attempts": letter.attempts,
    })
}
