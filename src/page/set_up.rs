//! `GET /set-up`: what the doctor found and what provisioning would do, and `POST /set-up`, which has
//! them look. That takes the store some seconds, so it is done only when asked for, and by one at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    extract,
    http::{StatusCode, Uri},
    response::Response,
};
use tracing::info;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    see_other,
    shown::When,
};
use crate::{
    clock,
    doctor::{self, Setup},
    finding::State as Mood,
    http::{
        ApiError, State,
        access::Access,
        caller::{Operator, Reader},
        status::Status,
    },
    opensearch::Client,
    provision::{self, ChannelSecret, Options},
    secrets::WebhookToken,
};

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(45);

/// What looks, and what it saw last.
pub struct SetUp {
    client: Client,
    setup: Setup,
    access: Arc<Access>,
    /// Whether the intake secret is a setting.
    is_configured: bool,
    turn: tokio::sync::Mutex<()>,
    seen: Mutex<(Option<Doctor>, Option<Planned>)>,
}

/// What the doctor saw.
#[derive(Clone)]
struct Doctor {
    at: When,
    took_ms: u128,
    fault: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Clone)]
struct Finding {
    state: String,
    class: &'static str,
    subject: String,
    what: String,
    mend: Option<String>,
}

/// A plan.
#[derive(Clone)]
struct Planned {
    at: When,
    took_ms: u128,
    fault: Option<String>,
    text: String,
}

impl SetUp {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn new(client: &Client, setup: Setup, access: Arc<Access>, is_configured: bool) -> Self {
        let (turn, seen) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { client: client.clone(), setup, access, is_configured, turn, seen }
    }

    async fn ask_doctor(&self) -> Doctor {
        let begun = Instant::now();
        let setup = Setup { token: self.access.own(), ..self.setup.clone() };
        let report = tokio::time::timeout(LIMIT, doctor::run(&self.client, &setup)).await;
        let late = || format!("it did not come to an end within {} s", LIMIT.as_secs());
        let (fault, report) = match report {
            Ok(report) => (None, report),
            Err(_) => (Some(late()), doctor::Report::default()),
        };
        let findings = report.findings.into_iter().map(|one| Finding {
            class: match one.state {
                Mood::Ok => "good",
                Mood::Warn => "warn",
                Mood::Fail => "bad",
            },
            state: one.state.to_string(),
            subject: one.subject,
            what: one.what,
            mend: one.mend,
        });
        let took_ms = begun.elapsed().as_millis();
        Doctor { at: clock::now().into(), took_ms, fault, findings: findings.collect() }
    }

    async fn make_plan(&self) -> Planned {
        let begun = Instant::now();
        let token = self.access.own().unwrap_or_else(WebhookToken::generate);
        let secret = ChannelSecret::new(token, self.is_configured);
        let settings = &self.setup.provisioning;
        let look = provision::look(&self.client, settings, &secret, Options::default());
        let (fault, text) = match tokio::time::timeout(LIMIT, look).await {
            Ok(Ok(plan)) => (None, plan.to_string()),
            Ok(Err(fault)) => (Some(fault.to_string()), String::new()),
            Err(_) => (
                Some(format!("it did not come to an end within {} s", LIMIT.as_secs())),
                String::new(),
            ),
        };
        Planned { at: clock::now().into(), took_ms: begun.elapsed().as_millis(), fault, text }
    }
}

#[derive(Template)]
#[template(path = "set_up.html")]
struct Page {
    frame: Frame,
    is_running: bool,
    doctor: Option<Doctor>,
    plan: Option<Planned>,
    provisioning: String,
}

/// The page.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let set_up = &state.page.set_up;
    let (doctor, plan) = set_up.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let standing = serde_json::to_value(Status::of(&state)).unwrap_or_default();
    let provisioning = standing["provisioning"].as_str().unwrap_or("not by the service").to_owned();
    let is_running = set_up.turn.try_lock().is_err();
    let frame = Frame::of(&state, &caller, &uri, "Set-up");
    Ok(page(StatusCode::OK, &Page { frame, is_running, doctor, plan, provisioning }))
}

/// Has the doctor look, or a plan made. Whoever asks meanwhile is led to the page at once.
pub async fn run(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    form: Raw,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&state, &caller, form)?;
    let set_up = &state.page.set_up;
    if let Ok(_turn) = set_up.turn.try_lock() {
        match fields.get("what") {
            Some("doctor") => {
                let doctor = set_up.ask_doctor().await;
                info!(user.name = caller.name, "the doctor was asked");
                set_up.seen.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(doctor);
            }
            Some("plan") => {
                let plan = set_up.make_plan().await;
                info!(user.name = caller.name, "a plan was made");
                set_up.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(plan);
            }
            _ => return Err(ApiError::BadRequest("say who shall look: doctor or plan".to_owned())),
        }
    }
    Ok(see_other("set-up"))
}
