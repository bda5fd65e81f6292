//! Keeps the records equal to what the Alerting API says of their alerts. A webhook is a hint that
//! can be lost: OpenSearch tries once, takes a failed delivery for a delivered one, and tells nobody
//! when an alert is acknowledged or over.
//!
//! A **look** asks for what has changed since the last one: one small request while nothing has. An
//! **audit** compares all that is open on either side, and what was deleted, which moves no time:
//! at the start, when a monitor was written or deleted, and every ten minutes. What a record lacks
//! goes into the spool as the API tells it (`intake::truth`), and from there the way of every alert;
//! the merge (`lifecycle`) makes one document of it, whatever else comes.

use std::{
    collections::{BTreeSet, HashMap},
    hash::RandomState,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::histogram;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    alert::Source,
    clock,
    intake::{Encoding, Envelope},
    lease::{self, Lease, Standing},
    opensearch::{Client, Error, alerting::Stamp, notifications},
    provision::desired::{CHANNEL_ID, is_our_channel},
    record::Naming,
    silence::{self, Asked},
    spool::{AppendError, Spool},
    telemetry,
    writer::Gate,
};

mod audit;
mod compare;
mod look;
mod query;
mod scope;
mod status;
mod verdict;
mod walk;
mod watermark;

use compare::Compared;
pub use scope::Monitors;
use scope::Scope;
pub use status::{Detail, Looking, Off, Status};
use watermark::{Checkpoint, Watermark};

/// How often everything that is open is compared, even where nothing seems to have changed.
const AUDIT_EVERY: Duration = Duration::from_mins(10);
/// Within this the alerts of a monitor that is gone are marked as deleted, which is done after it is.
const MARKED_WITHIN: Duration = Duration::from_secs(15);
/// How often the lease is renewed, or looked at.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How soon a replica that stands by looks again at the earliest, where the lease may be free.
const STAND_BY_AT_LEAST: Duration = Duration::from_secs(1);
/// How long the first look waits for the channel to be provisioned.
const CHANNEL_WITHIN: Duration = Duration::from_mins(1);
/// How far back the very first look goes at most: before that somebody else wrote the records.
const FIRST_LOOK: Duration = Duration::from_hours(24);
/// How many alerts are asked for by id in one request.
pub(crate) const ASKED_AT_ONCE: usize = 40;
/// How many alerts are put into the spool at once.
const APPENDED_AT_ONCE: usize = 64;
/// While the spool holds more entries than this, the next page waits: webhooks go first.
const FULL_ENOUGH: u64 = 5_000;
/// How long that is nothing that has to be told.
const WAITS_QUIETLY: Duration = Duration::from_mins(1);
/// How many alerts are remembered as compared.
const REMEMBERED: usize = 200_000;
/// How often it is looked whether monitors say nothing.
const LISTEN_EVERY: Duration = Duration::from_mins(1);
/// How long the API must not know an alert before it is taken for over: what was just written may be
/// ahead of it, and an answer can be incomplete while the store recovers.
pub const MISSED_FOR: Duration = Duration::from_mins(5);
/// How long the first look waits until the store has all alerts; after that some are taken for lost.
const RECOVERS_WITHIN: Duration = Duration::from_mins(5);

/// What the reconciler needs to know.
pub struct Settings {
    /// How long after a look the next one comes.
    pub interval: Duration,
    /// Whose alerts become records.
    pub monitors: Monitors,
    /// How records are named.
    pub naming: Naming,
    /// The indices of the records, such as `arkime_sessions3-*`.
    pub pattern: String,
    /// The address that channels post to.
    pub webhook: String,
    /// After how many days without an alert a monitor is told; 0 for never.
    pub silence_days: u32,
    /// How long the API must not know an alert before it is taken for over: [`MISSED_FOR`].
    pub missed_for: Duration,
}

/// Why a look could not be finished.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot {0}: {1}")]
    Store(&'static str, Error),
    #[error("what was found cannot be kept: {0}")]
    Spool(#[from] AppendError),
    #[error("the spool cannot be read: {0}")]
    Unread(#[from] rusqlite::Error),
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error("the store has no Alerting plugin: nothing is compared")]
    NoAlerting,
    #[error(
        "not all alerts can be read: the store's health of the alerts' indices (.opendistro-alerting-alert*, or alertloop-alerts) is red; see GET _cat/indices?health=red"
    )]
    Recovering,
    #[error("another replica has taken over")]
    Lost,
}

impl Fault {
    /// What is the same until something else is wrong: a store that goes and comes back fails in many
    /// ways one after the other.
    fn cause(&self) -> String {
        let passes = |fault: &Error| matches!(fault.status(), None | Some(408 | 429 | 500..));
        let is_the_store = match self {
            Self::Store(_, fault) => passes(fault),
            Self::Lease(fault) => fault.fault().is_some_and(passes),
            Self::Recovering => true,
            _ => false,
        };
        if is_the_store { String::from("the store") } else { self.to_string() }
    }
}

fn at(what: &'static str) -> impl Fn(Error) -> Fault {
    move |fault| Fault::Store(what, fault)
}

/// What one look brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    missing: u64,
    outdated: u64,
}

/// The task.
pub struct Reconciler {
    client: Client,
    spool: Arc<Spool>,
    settings: Settings,
    gate: Gate,
    provisioned: watch::Receiver<bool>,
    lease: Lease,
    status: Arc<Status>,
    renewed: Instant,
    /// Since when this replica does it.
    begun: Instant,
    mark: Option<Watermark>,
    scope: Scope,
    stamp: Option<Stamp>,
    audited: Option<Instant>,
    /// When the next audit is due because the monitors were changed.
    audit_due: Option<Instant>,
    /// Alerts whose monitor fails: that it works again moves no time that we ask for.
    failing: BTreeSet<String>,
    hasher: RandomState,
    /// How each alert stood when it was compared last.
    compared: HashMap<u64, Compared>,
    /// Alerts of open records that the API did not know at the last audit, and since when.
    unknown: HashMap<u64, Instant>,
    found: Found,
    silence: silence::Watch,
    listened: Option<Instant>,
}

impl Reconciler {
    /// A reconciler that has seen nothing yet.
    #[must_use]
    pub fn new(
        client: Client,
        spool: Arc<Spool>,
        settings: Settings,
        (gate, provisioned): (Gate, watch::Receiver<bool>),
        lease: Lease,
        status: Arc<Status>,
    ) -> Self {
        Self {
            client,
            spool,
            settings,
            gate,
            provisioned,
            lease,
            status,
            renewed: Instant::now(),
            begun: Instant::now(),
            mark: None,
            scope: Scope::default(),
            stamp: None,
            audited: None,
            audit_due: None,
            failing: BTreeSet::new(),
            hasher: RandomState::new(),
            compared: HashMap::new(),
            unknown: HashMap::new(),
            found: Found::default(),
            silence: silence::Watch::default(),
            listened: None,
        }
    }

    /// Reconciles until `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut gate = self.gate.clone();
        if !matches!(stop.run_until_cancelled(gate.wait_for(Option::is_some)).await, Some(Ok(_))) {
            return;
        }
        let mut provisioned = self.provisioned.clone();
        let ready = tokio::time::timeout(CHANNEL_WITHIN, provisioned.wait_for(|done| *done));
        if stop.run_until_cancelled(ready).await.is_none() {
            return;
        }
        let mut look_due = Instant::now();
        let mut said = String::new();
        loop {
            let turn = stop.run_until_cancelled(self.turn(&mut look_due)).await;
            let Some(turn) = turn else { break };
            match turn {
                Ok(()) => said.clear(),
                Err(Fault::Lost) => {
                    info!("another replica compares the records from now on");
                    look_due = Instant::now() + RENEW_EVERY;
                }
                Err(fault) => {
                    if !self.lease.is_held(Instant::now()) {
                        self.status.leads(false);
                    }
                    self.status.troubled(&fault.to_string());
                    let cause = fault.cause();
                    if cause == said {
                        debug!(error = %fault, "the records cannot be compared yet");
                    } else if matches!(fault, Fault::NoAlerting) {
                        info!("{fault}");
                    } else {
                        warn!(error = %fault, "the records cannot be compared with the Alerting API; tried again");
                    }
                    said = cause;
                    look_due = Instant::now() + self.settings.interval.min(RENEW_EVERY);
                }
            }
            let wait = look_due.saturating_duration_since(Instant::now()).min(RENEW_EVERY);
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        // The next replica does not have to wait for the lease to run out.
        drop(self.lease.release().await);
    }

    /// Holds the lease, and looks when it is due.
    async fn turn(&mut self, look_due: &mut Instant) -> Result<(), Fault> {
        if let Some(free) = self.waits().await? {
            // A replica that only stands by asks when the lease may be free, and not all the time.
            *look_due =
                free.clamp(Instant::now() + STAND_BY_AT_LEAST, Instant::now() + RENEW_EVERY);
            return Ok(());
        }
        if *look_due > Instant::now() {
            return Ok(());
        }
        let begun = Instant::now();
        let is_first = self.stamp.is_none();
        self.found = Found::default();
        let looked = self.look().await;
        let Found { missing, outdated } = self.found;
        self.status.found(missing, outdated);
        if missing + outdated > 0 || (is_first && looked.is_ok()) {
            let took_ms = begun.elapsed().as_millis();
            let what = if is_first { "caught up with the Alerting API" } else { "reconciled" };
            info!(missing, outdated, took_ms, "{what}");
        }
        looked?;
        self.listen().await;
        histogram!(telemetry::RECONCILE_SECONDS).record(begun.elapsed());
        self.status.looked(clock::now());
        *look_due = begun + self.settings.interval;
        Ok(())
    }

    /// Renews the lease or tries to get it; what was known is forgotten when it is new. When it may be
    /// free, where another replica has it.
    async fn waits(&mut self) -> Result<Option<Instant>, Fault> {
        match self.renew().await? {
            Standing::Held { payload, is_new } => {
                if is_new || self.mark.is_none() {
                    self.begin(payload).await?;
                }
                self.status.leads(true);
                Ok(None)
            }
            Standing::Elsewhere { since, .. } => {
                if self.mark.take().is_some() {
                    self.silence.rest();
                }
                self.status.leads(false);
                Ok(Some(since + self.lease.timing().duration))
            }
        }
    }

    /// A holder goes on until its lease has run out, whatever becomes of a renewal.
    async fn renew(&mut self) -> Result<Standing, Fault> {
        let standing = match self.lease.hold().await {
            Err(fault) if self.mark.is_some() && self.lease.is_held(Instant::now()) => {
                debug!(error = %fault, "the lease could not be renewed");
                Standing::Held { payload: Value::Null, is_new: false }
            }
            standing => standing?,
        };
        self.renewed = Instant::now();
        Ok(standing)
    }

    async fn begin(&mut self, payload: Value) -> Result<(), Fault> {
        let checkpoint = match serde_json::from_value::<Checkpoint>(payload) {
            Ok(checkpoint) => checkpoint,
            Err(_) => self.first_checkpoint().await?,
        };
        self.mark = Some(Watermark::new(checkpoint, Instant::now()));
        (self.begun, self.stamp, self.audited) = (Instant::now(), None, None);
        self.compared.clear();
        self.unknown.clear();
        Ok(())
    }

    /// From when on the alerts are ours: since the channel carries what lets it in to us. Before that
    /// somebody else wrote the records, if anybody did.
    async fn first_checkpoint(&self) -> Result<Checkpoint, Fault> {
        let ours = clock::now().as_millisecond();
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let written_at =
            async |id: &str| notifications::written_at(&self.client, id).await.map_err(at_channel);
        let is_builtin = self.client.is_builtin().await.map_err(at_channel)?;
        // A user's channel with our address may be as old as Malcolm's.
        let mut written = if is_builtin { None } else { written_at(CHANNEL_ID).await? };
        if written.is_none() && !is_builtin {
            for id in self.channels().await? {
                written = written.into_iter().chain(written_at(&id).await?).min();
            }
        }
        let earliest = ours - ms(FIRST_LOOK);
        let floor = written.unwrap_or(ours - ms(watermark::OVERLAP)).max(earliest);
        Ok(Checkpoint { floor, newest: floor, deleted: None })
    }

    /// Our own channels, and those that others made with our address.
    async fn channels(&self) -> Result<BTreeSet<String>, Fault> {
        if self.client.is_builtin().await.map_err(at_channel)? {
            // The built-in engine knows ours by their ids alone.
            return Ok(BTreeSet::new());
        }
        let all = notifications::configs(&self.client).await.map_err(at_channel)?;
        let ours = all.into_iter().filter(|(id, config)| {
            let url = config.pointer("/webhook/url").and_then(Value::as_str);
            is_our_channel(id) || url == Some(self.settings.webhook.as_str())
        });
        Ok(ours.map(|(id, _)| id).collect())
    }

    /// Looks for monitors that should have run, or sent, and have not.
    async fn listen(&mut self) {
        if self.listened.is_some_and(|at| at.elapsed() < LISTEN_EVERY) {
            return;
        }
        self.listened = Some(Instant::now());
        let days = self.settings.silence_days;
        let asked = Asked { now: clock::now(), all: true, days };
        let listened = self.silence.look(&self.client, self.scope.members(), asked);
        if let Err(fault) = listened.await {
            debug!(error = %fault, "cannot tell which monitors say nothing");
        }
    }

    /// Renews the lease within a long look.
    async fn keep_lease(&mut self) -> Result<(), Fault> {
        if self.renewed.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        match self.renew().await? {
            Standing::Held { is_new: false, .. } => Ok(()),
            Standing::Held { .. } | Standing::Elsewhere { .. } => {
                self.mark = None;
                Err(Fault::Lost)
            }
        }
    }

    /// Leaves for the next holder how far this one has come. Written with the next renewal: one that is
    /// lost with its process has the next holder look a little further back.
    fn keep_checkpoint(&mut self) {
        if let Some(mark) = &self.mark {
            self.lease.keep(json!(mark.checkpoint()));
        }
    }
}

fn at_alerts(fault: Error) -> Fault {
    Fault::Store("read the alerts", fault)
}

fn at_channel(fault: Error) -> Fault {
    Fault::Store("read the channels", fault)
}

/// An alert of the Alerting API as an entry of the spool.
#[must_use]
pub fn envelope(alert: &Value) -> Envelope {
    Envelope {
        source: Some(Source::Reconciler),
        received: clock::now(),
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body: alert.to_string().into_bytes(),
    }
}
