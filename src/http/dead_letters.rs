//! The dead letters in the JSON API: `/mapi/dead-letters` and what is below it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{
        self, ConnectInfo, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::task::block_in_place;
use tracing::info;

use super::{
    ApiError, State,
    asked::{given, misasked, number, selection},
    caller::{Admin, Caller, Operator, Reader},
};
use crate::{
    dead_letters::{self, Export, Fault, Items, Selection, Tally, Whole},
    spool::Filter,
};

/// How many items a page has, unless it is asked for fewer.
const PAGE: usize = 1_000;

/// `?after=ID&limit=N&reason=TEXT&source=NAME`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The `next` of the page before.
    after: Option<i64>,
    /// At most so many, up to 1,000.
    limit: Option<usize>,
    /// Whose reason contains this.
    reason: Option<String>,
    /// Of this source; `-` for those without one.
    source: Option<String>,
}

/// `?reason=TEXT&source=NAME`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Whose reason contains this.
    reason: Option<String>,
    /// Of this source; `-` for those without one.
    source: Option<String>,
}

/// `{"items": […], "next"}`, oldest first; `next` is the `after` of the next page, or null.
pub async fn list(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Items>, ApiError> {
    let Query(Asked { after, limit, reason, source }) = asked.map_err(misasked)?;
    let (after, limit) = (after.unwrap_or(0), limit.unwrap_or(PAGE).clamp(1, PAGE));
    let filter = filter(reason, source);
    let items = block_in_place(|| dead_letters::list(&state.spool, &filter, after, limit))?;
    Ok(Json(items))
}

/// One dead letter, with its body.
pub async fn show(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Whole>, ApiError> {
    let id = number(id)?;
    let found = block_in_place(|| dead_letters::show(&state.spool, id, state.body_limit))?;
    found.map(Json).ok_or_else(|| ApiError::NotFound(format!("no dead letter {id}")))
}

/// Every dead letter that is there now as a line of JSON, with its body.
pub async fn export(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Wanted { reason, source }) = wanted.map_err(misasked)?;
    let filter = filter(reason, source);
    let export = block_in_place(|| Export::begin(&state.spool, filter, state.body_limit))?;
    // A fault in the middle cuts the answer off, so that nobody takes it for all.
    let pieces = stream::try_unfold((state, export), |(state, mut export)| async move {
        let piece = block_in_place(|| export.next(&state.spool))?;
        Ok::<_, rusqlite::Error>(piece.map(|piece| (Bytes::from(piece), (state, export))))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

/// Makes dead letters entries again: `{"replayed", "left"}`.
pub async fn replay(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let selection = selection(&headers, body).await?;
    let mut told = Told::of("dead letters are replayed", &selection, (caller, peer));
    let outcome = dead_letters::replay(&state.spool, &selection, &mut told.tally).await;
    outcome.map_err(|fault| unfinished(&fault, told.tally.done))?;
    let Tally { done, left } = told.tally;
    Ok(Json(json!({ "replayed": done, "left": left })).into_response())
}

/// Removes dead letters for good: `{"dropped"}`.
pub async fn discard(
    Admin(caller): Admin,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let selection = selection(&headers, body).await?;
    let mut told = Told::of("dead letters are dropped", &selection, (caller, peer));
    let outcome = dead_letters::discard(&state.spool, &selection, &mut told.tally).await;
    outcome.map_err(|fault| unfinished(&fault, told.tally.done))?;
    Ok(Json(json!({ "dropped": told.tally.done })).into_response())
}

/// Says in the log what was done, however it ends: when the caller goes away, so does the request,
/// after the page that is under way.
struct Told<'a> {
    what: &'static str,
    selection: &'a Selection,
    by: (Caller, SocketAddr),
    tally: Tally,
}

impl<'a> Told<'a> {
    fn of(what: &'static str, selection: &'a Selection, by: (Caller, SocketAddr)) -> Self {
        Self { what, selection, by, tally: Tally::default() }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        info!(
            count = self.tally.done,
            selection = %self.selection,
            client.address = %self.by.1.ip(),
            user.name = self.by.0.name,
            "{}",
            self.what
        );
    }
}

fn filter(reason: Option<String>, source: Option<String>) -> Filter {
    Filter { reason: given(reason), source: given(source) }
}

fn unfinished(fault: &Fault, done: u64) -> ApiError {
    ApiError::Unfinished { done, cause: fault.to_string() }
}
