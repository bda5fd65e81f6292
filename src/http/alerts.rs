//! `POST /mapi/alerts/{id}/acknowledge`: acknowledges an alert in OpenSearch, and has its record say
//! so at once.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{self, ConnectInfo, Path, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tracing::{info, warn};

use super::{
    ApiError, State,
    asked::must_be_json,
    caller::{Caller, Operator},
};
use crate::{
    acknowledge::{self, Answered, LIMIT, Outcome},
    reconcile,
};

/// `{"id", "alert", "monitor", "outcome", "what"}`: 200 where the alert is acknowledged, by this call
/// or before; 404 where OpenSearch knows none, 409 where it can not be, 504 where OpenSearch does not
/// answer. `id` is the alert's own, or the `_id` of its record.
pub async fn acknowledge(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    must_be_json(&headers)?;
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let answered = one(&state, (&caller, peer), id).await?;
    Ok((status(&answered), Json(answered)).into_response())
}

/// Acknowledges an alert for somebody.
pub(crate) async fn one(
    state: &State,
    (caller, peer): (&Caller, SocketAddr),
    id: String,
) -> Result<Answered, ApiError> {
    let none = || ApiError::NotFound("this store has no Alerting, so no alerts either".to_owned());
    if !state.ids_are_asked {
        return Err(none());
    }
    let answers = acknowledge::acknowledge(&state.client, &[id], LIMIT).await;
    let answered = match answers {
        Ok(answers) => answers.into_iter().next().ok_or_else(none)?,
        Err(fault) if fault.is_unavailable() => return Err(none()),
        Err(fault) => return Err(fault.into()),
    };
    info!(
        event.id = answered.alert.as_ref().unwrap_or(&answered.id),
        event.outcome = answered.outcome.name(),
        client.address = %peer.ip(),
        user.name = caller.name,
        "an alert was to be acknowledged"
    );
    if let Some(alert) = &answered.now {
        record(state, alert).await;
    }
    Ok(answered)
}

fn status(answered: &Answered) -> StatusCode {
    match answered.outcome {
        Outcome::Acknowledged | Outcome::Already => StatusCode::OK,
        Outcome::Unknown => StatusCode::NOT_FOUND,
        Outcome::Over | Outcome::MonitorGone | Outcome::Refused => StatusCode::CONFLICT,
        Outcome::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Keeps the alert as it is told now, as the reconciler would with its next look.
async fn record(state: &State, alert: &Value) {
    // In a compatibility mode records are upstream's, which knows no acknowledgement.
    if !state.predicts {
        return;
    }
    // It is acknowledged all the same, and the reconciler sees it too.
    if let Err(fault) = state.spool.append(reconcile::envelope(alert), None).await {
        warn!(error = %fault, "the record of an acknowledged alert follows with the next reconciliation");
    }
}
