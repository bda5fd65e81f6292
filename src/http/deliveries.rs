//! The deliveries of callbacks in the JSON API: `/mapi/deliveries` and what is below it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{
        self, ConnectInfo, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::HeaderMap,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tracing::info;

use super::{
    ApiError, State,
    asked::{given, misasked, number, selection},
    caller::{Operator, Reader},
};
use crate::{
    deliveries::{self, Items, Selection, Whole},
    spool::{DeliveryFilter, DeliveryState},
};

/// How many items a page has, unless it is asked for fewer.
const PAGE: usize = 1_000;

/// `?before=ID&limit=N&callback=NAME&state=STATE&alert=ID`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The `next` of the page before.
    before: Option<i64>,
    /// At most so many, up to 1,000.
    limit: Option<usize>,
    /// Of this callback.
    callback: Option<String>,
    /// In this state: pending, running, delivered, failed or held.
    state: Option<String>,
    /// Of the alert with this id, or whose record has it.
    alert: Option<String>,
}

/// `{"items": […], "next"}`, newest first; `next` is the `before` of the next page, or null.
pub async fn list(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Items>, ApiError> {
    let Query(asked) = asked.map_err(misasked)?;
    let wanted = given(asked.state);
    let of = wanted.as_deref().map(DeliveryState::of);
    if of == Some(None) {
        let known = DeliveryState::ALL.map(DeliveryState::name).join(", ");
        return Err(ApiError::BadRequest(format!("no such state; known: {known}")));
    }
    let filter = DeliveryFilter {
        callback: given(asked.callback),
        state: of.flatten(),
        alert: given(asked.alert),
    };
    let (before, limit) = (asked.before.unwrap_or(i64::MAX), asked.limit.unwrap_or(PAGE));
    let limit = limit.clamp(1, PAGE);
    let items = block_in_place(|| deliveries::list(&state.spool, &filter, before, limit))?;
    Ok(Json(items))
}

/// One delivery, with its tries.
pub async fn show(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Whole>, ApiError> {
    let id = number(id)?;
    let found = block_in_place(|| deliveries::show(&state.spool, id))?;
    found.map(Json).ok_or_else(|| ApiError::NotFound(format!("no delivery {id}")))
}

/// Makes deliveries pending again: `{"replayed"}`.
pub async fn replay(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let selection: Selection = selection(&headers, body).await?;
    let enabled = state.callbacks.names();
    if let Selection::Callback(name) = &selection
        && !enabled.contains(name)
    {
        return Err(ApiError::NotFound(format!(
            "no enabled callback has the name {name:?}; enable it in the configuration and restart, then replay"
        )));
    }
    let done = deliveries::replay(&state.spool, &selection, Some(enabled)).await?;
    let address = peer.ip();
    info!(count = done, selection = %selection, client.address = %address, user.name = caller.name, "deliveries are replayed");
    Ok(Json(json!({ "replayed": done })))
}
