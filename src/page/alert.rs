//! `GET /alerts/{id}`: one alert with its life, and `POST /alerts/{id}/acknowledge`.

use std::{net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{self, ConnectInfo, Path, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use jiff::SignedDuration;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    rows::state,
    see_other,
    shown::{When, link, source, span},
    told::Told,
};
use crate::{
    acknowledge::Outcome,
    history::{Band, Life, life::Fault},
    http::{
        self, ApiError, State,
        caller::{Operator, Reader},
    },
    opensearch::segment,
};

#[derive(Template)]
#[template(path = "alert.html")]
struct Alert {
    frame: Frame,
    life: Life,
    severity: Band,
    state: String,
    source: String,
    began: Option<When>,
    ended: Option<When>,
    lasted: Option<String>,
    stages: Vec<(When, String, String)>,
    url: Option<String>,
    record: String,
    may_acknowledge: bool,
    entities: Vec<(String, String)>,
}

/// The page.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let found = state.history.one(&id).await.map_err(|fault| match fault {
        Fault::Store(fault) => ApiError::NoAlerts(fault),
        fault => ApiError::Away(fault.to_string()),
    })?;
    let none = || {
        ApiError::NotFound(
            "no alert has this id; it may have been deleted with its index".to_owned(),
        )
    };
    let life = found.ok_or_else(none)?;
    let item = &life.item;
    let title =
        if item.rule.is_empty() { "Alert".to_owned() } else { super::escape::plain(&item.rule) };
    let frame = Frame::of(&state, &caller, &uri, title);
    let stages = life.stages.iter();
    let lasted = item.duration_ms.map(|ms| span(SignedDuration::from_millis(ms)));
    Ok(page(
        StatusCode::OK,
        &Alert {
            severity: Band::of(item.severity),
            state: self::state(item),
            source: source(&item.source).to_owned(),
            began: When::maybe(item.began.as_deref()),
            ended: When::maybe(item.ended.as_deref()),
            lasted,
            stages: stages
                .map(|one| (When::of(&one.at), one.state.clone(), one.what.clone()))
                .collect(),
            url: item.url.as_deref().and_then(link).map(str::to_owned),
            record: serde_json::to_string_pretty(&life.record).unwrap_or_default(),
            may_acknowledge: frame.may_operate()
                && state.ids_are_asked
                && item.source == "malcolm"
                && item.state == "engaged",
            entities: item
                .entities
                .iter()
                .filter_map(|one| one.split_once(':'))
                .map(|(kind, value)| (kind.to_owned(), value.to_owned()))
                .collect(),
            life,
            frame,
        },
    ))
}

/// Acknowledges it in OpenSearch, and leads back to it.
pub async fn acknowledge(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    id: Result<Path<String>, PathRejection>,
    form: Raw,
) -> Result<Response, ApiError> {
    Fields::of(&state, &caller, form)?;
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let told = match http::acknowledge(&state, (&caller, peer), id.clone()).await?.outcome {
        Outcome::Acknowledged => Told::Acknowledged,
        Outcome::Already => Told::AlreadyAcknowledged,
        Outcome::Over => Told::Over,
        Outcome::Unknown => Told::UnknownAlert,
        Outcome::MonitorGone => Told::MonitorGone,
        Outcome::Refused => Told::NotAcknowledged,
        Outcome::NoAnswer => Told::NoAnswer,
    };
    Ok(see_other(&format!("../{}?{}", segment(&id), told.query())))
}
