//! `GET /conditions`: the monitors that OpenSearch has, and `POST /conditions/{id}/switch`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{self, ConnectInfo, Path, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use jiff::Timestamp;
use serde_json::Value;
use tracing::info;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    see_other,
    shown::{When, span},
    told::Told,
};
use crate::{
    answers::Answers,
    clock,
    http::{
        ApiError, State,
        caller::{Admin, Reader},
    },
    opensearch::{
        Client, Error,
        alerting::{self, Family, Monitor},
        jobs::{self, Jobs},
    },
    silence::sends_to_us,
};

/// How long what the store says is shared.
const SHARED_FOR: Duration = Duration::from_secs(2);
/// How long the store may take.
const TIME: Duration = Duration::from_secs(12);

/// What the store has, for as long as it is shared.
pub struct Monitors {
    client: Client,
    answers: Answers<(), Arc<All>>,
}

/// All monitors and workflows.
#[derive(Debug, Default)]
pub struct All {
    monitors: Vec<(Family, Monitor)>,
    /// `None` where nobody could tell.
    jobs: Option<Jobs>,
}

impl Monitors {
    /// Asks through `client`; nothing yet.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: client.within(TIME), answers: Answers::new(SHARED_FOR) }
    }

    async fn all(&self) -> Result<Arc<All>, Error> {
        let told = self.answers.to(&(), || ask(&self.client)).await?;
        match told.outdated {
            // What could be switched an hour ago is no help.
            Some(why) => Err(Error::Malformed(why)),
            None => Ok(told.answer),
        }
    }
}

async fn ask(client: &Client) -> Result<Arc<All>, Error> {
    let (monitors, workflows, jobs) = tokio::join!(
        alerting::all(client, Family::Monitor),
        alerting::all(client, Family::Workflow),
        jobs::jobs(client),
    );
    let with = |family| move |monitor| (family, monitor);
    let mut monitors: Vec<_> = monitors?.into_iter().map(with(Family::Monitor)).collect();
    monitors.extend(workflows.unwrap_or_default().into_iter().map(with(Family::Workflow)));
    monitors.sort_by_cached_key(|(_, monitor)| monitor.name().to_lowercase());
    Ok(Arc::new(All { monitors, jobs: jobs.ok() }))
}

/// A monitor in the list.
struct Row {
    id: String,
    name: String,
    kind: &'static str,
    is_enabled: bool,
    schedule: String,
    severities: String,
    last_run: Option<When>,
    ago: Option<String>,
    sends: bool,
    link: String,
    is_workflow: bool,
}

#[derive(Template)]
#[template(path = "conditions.html")]
struct Conditions {
    frame: Frame,
    rows: Vec<Row>,
    trouble: Option<String>,
    are_on: bool,
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
    let (rows, are_on, trouble) = match state.page.monitors.all().await {
        _ if !state.ids_are_asked => (
            Vec::new(),
            true,
            Some("This store has no Alerting, so no monitors either.".to_owned()),
        ),
        Ok(all) => {
            let jobs = all.jobs.as_ref();
            let rows =
                all.monitors.iter().map(|(family, monitor)| row(*family, monitor, jobs, now));
            (rows.collect(), jobs.is_none_or(|jobs| jobs.are_on), None)
        }
        Err(fault) if alerting::is_unavailable(&fault) => (
            Vec::new(),
            true,
            Some("This OpenSearch lacks the Alerting plugin, so it has no monitors.".to_owned()),
        ),
        Err(fault) => (
            Vec::new(),
            true,
            Some(format!("OpenSearch does not say which monitors it has: {fault}")),
        ),
    };
    let enabled = rows.iter().filter(|row: &&Row| row.is_enabled).count();
    Ok(page(StatusCode::OK, &Conditions { frame, rows, trouble, are_on, enabled }))
}

fn row(family: Family, monitor: &Monitor, jobs: Option<&Jobs>, now: Timestamp) -> Row {
    let last = jobs.and_then(|jobs| *jobs.last_runs.get(&monitor.id)?);
    let word = if family == Family::Workflow { "workflow" } else { "monitor" };
    Row {
        id: monitor.id.clone(),
        name: monitor.name().to_owned(),
        kind: kind(family, &monitor.body),
        is_enabled: monitor.is_enabled(),
        schedule: schedule(&monitor.body),
        severities: severities(&monitor.body),
        last_run: last.map(When::from),
        ago: last.map(|last| span(now.duration_since(last))),
        sends: sends_to_us(monitor),
        link: format!(
            "/dashboards/app/alerting#/monitors/{}?type={word}",
            crate::opensearch::segment(&monitor.id)
        ),
        is_workflow: family == Family::Workflow,
    }
}

fn kind(family: Family, body: &Value) -> &'static str {
    match (family, body["monitor_type"].as_str()) {
        (Family::Workflow, _) => "composite",
        (_, Some("bucket_level_monitor")) => "per bucket",
        (_, Some("doc_level_monitor")) => "per document",
        (_, Some("cluster_metrics_monitor")) => "cluster metrics",
        (_, Some("ppl_monitor")) => "PPL",
        (_, _) => "per query",
    }
}

/// `{"period": {"interval": 1, "unit": "MINUTES"}}` or `{"cron": {"expression", "timezone"}}`.
fn schedule(body: &Value) -> String {
    let schedule = &body["schedule"];
    if let Some(expression) = schedule["cron"]["expression"].as_str() {
        let zone = schedule["cron"]["timezone"].as_str().unwrap_or("UTC");
        return format!("cron {expression} ({zone})");
    }
    let unit = schedule["period"]["unit"].as_str().unwrap_or_default().to_lowercase();
    match schedule["period"]["interval"].as_u64() {
        Some(1) => format!("every {}", unit.trim_end_matches('s')),
        Some(interval) => format!("every {interval} {unit}"),
        None => "unknown".to_owned(),
    }
}

/// The severities of its triggers, the worst first, in OpenSearch's own 1 to 5.
fn severities(body: &Value) -> String {
    let triggers = body["triggers"].as_array().into_iter().flatten();
    let mut all: Vec<_> = triggers
        .filter_map(|trigger| trigger.as_object()?.values().next()?["severity"].as_str())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}

/// Switches a monitor on or off, unless somebody changed it since.
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
    let family =
        if fields.get("kind") == Some("workflow") { Family::Workflow } else { Family::Monitor };
    let client = &state.page.monitors.client;
    let found = alerting::get(client, family, &id).await?;
    let none = || ApiError::NotFound("there is no such monitor any more".to_owned());
    let Monitor { seq_no, primary_term, mut body, .. } = found.ok_or_else(none)?;
    body["enabled"] = enable.into();
    if let Some(body) = body.as_object_mut() {
        // The plugin keeps it with the switch, and refuses one that does not fit it.
        body.remove("enabled_time");
    }
    let done = alerting::update(client, family, &id, (seq_no, primary_term), &body).await;
    let told = match done {
        Ok(_) if enable => Told::Enabled,
        Ok(_) => Told::Disabled,
        Err(fault) if fault.status() == Some(409) => Told::Changed,
        Err(fault) => return Err(fault.into()),
    };
    state.page.monitors.answers.forget();
    info!(monitor.id = id, enabled = enable, changed = told != Told::Changed, client.address = %peer.ip(), user.name = caller.name, "a monitor was to be switched");
    Ok(see_other(&format!("../../conditions?{}", told.query())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_monitor_is_told_in_words() {
        for (body, want) in [
            (json!({"schedule": {"period": {"interval": 1, "unit": "MINUTES"}}}), "every minute"),
            (
                json!({"schedule": {"period": {"interval": 5, "unit": "MINUTES"}}}),
                "every 5 minutes",
            ),
            (
                json!({"schedule": {"cron": {"expression": "0 3 * * *", "timezone": "Europe/Berlin"}}}),
                "cron 0 3 * * * (Europe/Berlin)",
            ),
            (json!({}), "unknown"),
        ] {
            assert_eq!(schedule(&body), want);
        }
        let triggers = json!({"triggers": [{"query_level_trigger": {"severity": "3"}},
            {"query_level_trigger": {"severity": "1"}}, {"query_level_trigger": {"severity": "3"}}]});
        assert_eq!(severities(&triggers), "1, 3");
        assert_eq!(
            kind(Family::Monitor, &json!({"monitor_type": "doc_level_monitor"})),
            "per document"
        );
        assert_eq!(kind(Family::Workflow, &json!({})), "composite");
    }
}
