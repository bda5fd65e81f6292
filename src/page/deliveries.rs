//! `GET /deliveries` and `/deliveries/{id}`: what callbacks were run; `POST /deliveries/replay`.

use std::{net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{
        self, ConnectInfo, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, Uri},
    response::Response,
};
use serde::Deserialize;
use tokio::task::block_in_place;
use tracing::info;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    number, see_other,
    shown::When,
    told::Told,
};
use crate::{
    deliveries::{self, Item, Selection},
    history::Band,
    http::{
        ApiError, State,
        caller::{Operator, Reader},
    },
    spool::{DeliveryFilter, DeliveryState},
};

/// How many deliveries a page has.
const PAGE: usize = 50;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    state: String,
    callback: String,
    alert: String,
    before: Option<i64>,
}

/// A delivery in the list.
struct Row {
    id: i64,
    callback: String,
    state: String,
    class: &'static str,
    action: String,
    rule: String,
    severity: Band,
    created: When,
    attempts: u64,
    reason: Option<String>,
}

impl Row {
    fn of(item: &Item) -> Self {
        Self {
            id: item.id,
            callback: item.callback.clone(),
            class: match item.state.as_str() {
                "delivered" => "good",
                "failed" => "bad",
                _ => "warn",
            },
            state: item.state.clone(),
            action: item.action.clone(),
            rule: item.rule.clone(),
            severity: Band::of(item.severity.into()),
            created: When::of(&item.created_at),
            attempts: item.attempts,
            reason: item.reason.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Deliveries {
    frame: Frame,
    rows: Vec<Row>,
    states: Vec<&'static str>,
    callbacks: Vec<String>,
    state: String,
    callback: String,
    alert: String,
    failed: u64,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct Delivery {
    frame: Frame,
    row: Row,
    record: Option<String>,
    finished: Option<When>,
    next_try: Option<When>,
    may_replay: bool,
    runs: Vec<Run>,
}

/// One try.
struct Run {
    attempt: u64,
    began: When,
    took_ms: Option<u64>,
    outcome: Option<String>,
    status: Option<i32>,
    answer: Option<String>,
    reason: Option<String>,
    configuration: String,
}

/// The list.
pub async fn list(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let wanted = given(&asked.state).map(|name| {
        let none =
            || ApiError::BadRequest("there is no such state; choose one of the list".to_owned());
        DeliveryState::of(&name).ok_or_else(none)
    });
    let filter = DeliveryFilter {
        callback: given(&asked.callback),
        state: wanted.transpose()?,
        alert: given(&asked.alert),
    };
    let before = asked.before.unwrap_or(i64::MAX);
    let found = block_in_place(|| deliveries::list(&state.spool, &filter, before, PAGE))?;
    let held = block_in_place(|| state.spool.delivery_stats(None))?;
    let frame = Frame::of(&state, &caller, &uri, "Deliveries");
    let next = found.next.map(|before| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            [("state", &asked.state), ("callback", &asked.callback), ("alert", &asked.alert)]
        {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.append_pair("before", &before.to_string()).finish();
        format!("{}deliveries?{query}", frame.base)
    });
    Ok(page(
        StatusCode::OK,
        &Deliveries {
            frame,
            rows: found.items.iter().map(Row::of).collect(),
            states: DeliveryState::ALL.map(DeliveryState::name).to_vec(),
            callbacks: state.callbacks.names().to_vec(),
            state: asked.state,
            callback: asked.callback,
            alert: asked.alert,
            failed: held.failed,
            next,
        },
    ))
}

/// One, with its tries.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = number(id)?;
    let found = block_in_place(|| deliveries::show(&state.spool, id))?;
    let whole = found.ok_or_else(|| {
        ApiError::NotFound(format!("there is no delivery {id}; old ones are removed"))
    })?;
    let frame = Frame::of(&state, &caller, &uri, format!("Delivery {id}"));
    let item = &whole.item;
    let is_over = !matches!(item.state.as_str(), "pending" | "running");
    let runs = whole.runs.iter().rev().map(|run| Run {
        attempt: run.attempt,
        began: When::of(&run.began_at),
        took_ms: run.took_ms,
        outcome: run.outcome.clone(),
        status: run.status,
        answer: run.answer.clone(),
        reason: run.reason.clone(),
        configuration: serde_json::to_string_pretty(&run.configuration).unwrap_or_default(),
    });
    Ok(page(
        StatusCode::OK,
        &Delivery {
            record: item.record.as_ref().map(|record| record.id.clone()),
            finished: When::maybe(item.finished_at.as_deref()),
            next_try: When::maybe(item.next_try_at.as_deref()),
            may_replay: frame.may_operate()
                && is_over
                && state.callbacks.names().contains(&item.callback),
            row: Row::of(item),
            runs: runs.collect(),
            frame,
        },
    ))
}

/// Makes one, or all that failed, pending again.
pub async fn replay(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    form: Raw,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&state, &caller, form)?;
    let ids = fields.numbers("id")?;
    let selection = match (ids.is_empty(), fields.get("all")) {
        (false, _) => Selection::Ids(ids.clone()),
        (true, Some("failed")) => Selection::All,
        (true, _) => return Err(ApiError::BadRequest("no delivery was chosen".to_owned())),
    };
    let enabled = Some(state.callbacks.names());
    let done = deliveries::replay(&state.spool, &selection, enabled).await?;
    info!(count = done, selection = %selection, client.address = %peer.ip(), user.name = caller.name, "deliveries are replayed");
    let told = Told::RunAgain(done).query();
    Ok(match ids.as_slice() {
        [id] => see_other(&format!("{id}?{told}")),
        _ => see_other(&format!("../deliveries?{told}")),
    })
}
