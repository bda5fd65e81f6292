//! `GET /mapi/conditions`: the monitors that concern us, and how the runs of one went; `POST` switches
//! one on or off.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{
        self, ConnectInfo, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::HeaderMap,
};
use serde::Deserialize;
use tracing::info;

use super::{
    ApiError, State,
    asked::{misasked, must_be_json},
    caller::{Admin, Caller, Reader},
};
use crate::monitors::{Fault, Item, List, Past};

/// `?all=true`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Also those that neither send to us nor come from our files.
    all: Option<bool>,
}

/// The monitors that send to us or that our files describe, by name; with `all`, every one.
pub async fn list(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<List>, ApiError> {
    let Query(asked) = asked.map_err(misasked)?;
    let list = state.monitors.list(asked.all.unwrap_or(false)).await;
    list.map(Json).map_err(|fault| {
        if fault.is_unavailable() { no_alerting() } else { ApiError::NoMonitors(fault) }
    })
}

/// How a monitor's last runs went.
pub async fn past(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Past>, ApiError> {
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    state.monitors.past(&id).await.map(Json).map_err(refused)
}

/// Switches a monitor on.
pub async fn enable(
    Admin(caller): Admin,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Item>, ApiError> {
    switch((caller, peer), &state, &headers, id, true).await
}

/// Switches a monitor off.
pub async fn disable(
    Admin(caller): Admin,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Item>, ApiError> {
    switch((caller, peer), &state, &headers, id, false).await
}

async fn switch(
    (caller, peer): (Caller, SocketAddr),
    state: &State,
    headers: &HeaderMap,
    id: Result<Path<String>, PathRejection>,
    enabled: bool,
) -> Result<Json<Item>, ApiError> {
    must_be_json(headers)?;
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let switched = state.monitors.switch(&id, enabled).await;
    let item = switched.map_err(refused)?;
    info!(
        rule.id = id,
        rule.name = item.name,
        enabled,
        user.name = caller.name,
        client.address = %peer.ip(),
        "a monitor was to be switched"
    );
    Ok(Json(item))
}

fn refused(fault: Fault) -> ApiError {
    match fault {
        Fault::Unknown(_) => ApiError::NotFound(fault.to_string()),
        Fault::Several(..) | Fault::Busy => ApiError::Conflict(fault.to_string()),
        Fault::Store(fault) if fault.is_unavailable() => no_alerting(),
        Fault::Store(fault) => ApiError::NoMonitors(fault),
    }
}

fn no_alerting() -> ApiError {
    ApiError::NotFound("this store has no Alerting, so no monitors either".to_owned())
}
