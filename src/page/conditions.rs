//! `GET /conditions`: the monitors that OpenSearch has, and `POST /conditions/{id}/switch`.

use std::{net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{self, ConnectInfo, Path, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use jiff::Timestamp;
use tracing::info;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    see_other,
    shown::{When, link, span},
    told::Told,
};
use crate::{
    clock,
    history::Band,
    http::{
        ApiError, State,
        caller::{Admin, Reader},
    },
    monitors::{Fault, Item, Trouble},
    opensearch::segment,
};

/// A monitor in the list, and on a page of its own.
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) description: Option<String>,
    pub(super) file: Option<String>,
    pub(super) severity: Option<Band>,
    pub(super) is_enabled: bool,
    pub(super) schedule: String,
    pub(super) last_run: Option<When>,
    pub(super) ago: Option<String>,
    pub(super) last_alert: Option<When>,
    pub(super) engaged: u64,
    pub(super) sends: bool,
    pub(super) link: Option<String>,
    pub(super) trouble: Vec<Trouble>,
}

impl Row {
    pub(super) fn of(item: Item, now: Timestamp) -> Self {
        let last = item.last_run.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        Self {
            kind: item.kind,
            severity: item.severity.map(|severity| Band::of(severity.into())),
            is_enabled: item.enabled,
            last_run: last.map(When::from),
            ago: last.map(|last| span(now.duration_since(last))),
            last_alert: When::maybe(item.last_alert.as_deref()),
            link: item.url.as_deref().and_then(link).map(str::to_owned),
            id: item.id,
            name: item.name,
            description: item.description,
            file: item.file,
            schedule: item.schedule,
            engaged: item.engaged,
            sends: item.sends_to_us,
            trouble: item.trouble,
        }
    }
}

#[derive(Template)]
#[template(path = "conditions.html")]
struct Conditions {
    frame: Frame,
    rows: Vec<Row>,
    trouble: Option<String>,
    unknown: Vec<String>,
    enabled: usize,
}

/// The list; with 200 also while the store is away.
pub async fn list(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let frame = Frame::of(&state, &caller, &uri, "Conditions");
    let now = clock::now();
    let (rows, trouble, unknown) = match state.monitors.list(true).await {
        Ok(list) => {
            let trouble = list.outdated.map(|why| {
                let age = list.age_ms / 1_000;
                format!("OpenSearch does not answer ({why}); this is what it answered {age} seconds ago.")
            });
            let rows = list.items.into_iter().map(|item| Row::of(item, now));
            (rows.collect(), trouble, list.unknown)
        }
        Err(fault) if fault.is_unavailable() => {
            let why = "This store has no Alerting, so no monitors either.";
            (Vec::new(), Some(why.to_owned()), Vec::new())
        }
        Err(fault) => {
            let why = format!("OpenSearch does not say which monitors it has: {fault}");
            (Vec::new(), Some(why), Vec::new())
        }
    };
    let enabled = rows.iter().filter(|row: &&Row| row.is_enabled).count();
    Ok(page(StatusCode::OK, &Conditions { frame, rows, trouble, unknown, enabled }))
}

/// Switches a monitor on or off, and leads back to where the form was: the list, or its own page.
pub async fn switch(
    Admin(caller): Admin,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    id: Result<Path<String>, PathRejection>,
    form: Raw,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&state, &caller, form)?;
    let Path(id) = id.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let enable = match fields.get("enabled") {
        Some("yes") => true,
        Some("no") => false,
        _ => return Err(ApiError::BadRequest("say whether it shall be enabled".to_owned())),
    };
    let told = match state.monitors.switch(&id, enable).await {
        Ok(_) if enable => Told::Enabled,
        Ok(_) => Told::Disabled,
        Err(Fault::Busy) => Told::Changed,
        Err(Fault::Store(fault)) => return Err(ApiError::NoMonitors(fault)),
        Err(fault) => return Err(ApiError::NotFound(fault.to_string())),
    };
    info!(
        rule.id = id,
        enabled = enable,
        is_done = told != Told::Changed,
        user.name = caller.name,
        client.address = %peer.ip(),
        "a monitor was to be switched"
    );
    let back = match fields.get("back") {
        Some("condition") => format!("../{}", segment(&id)),
        _ => "../../conditions".to_owned(),
    };
    Ok(see_other(&format!("{back}?{}", told.query())))
}
