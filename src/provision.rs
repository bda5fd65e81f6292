//! Brings the store to what the files under `provisioning/` say: the index template, the channel
//! that sends to us, and the monitor that shows how.
//!
//! [`probe()`] reads what is there, [`plan()`] decides (purely), [`apply()`] carries out and looks again
//! until nothing is left. It can be repeated, run by several replicas at once and cut off: what is
//! left is one template, one channel, one monitor, and no user's edit undone. What was applied last
//! is kept in the [`ledger`], an index of the store's own.
//!
//! The template is a *legacy* one. A composable one of ours, even of priority 0, would make the
//! store refuse any other composable template of the same pattern and priority, and Malcolm's own
//! has just that. A legacy template gives way to every composable one.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use crate::{
    condition, config,
    lease::Turn,
    opensearch::{self, Client, notifications, templates},
    secrets::WebhookToken,
};

pub mod apply;
pub mod canonical;
pub mod desired;
pub mod diff;
pub mod export;
pub mod files;
pub mod ledger;
pub mod lint;
pub mod loop_guard;
pub mod messages;
pub mod object;
mod placeholder;
pub mod plan;
pub mod probe;
pub mod rehearsal;
pub mod sealed;
pub mod shape;

use plan::Action;
pub use plan::{ChannelSecret, Plan, Step, plan};
pub use probe::{Live, known_fields, probe};

use desired::{BadFiles, Desired};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What is tried where the store is asked whether it has the plugin.
const WHO_RUNS: &str = "cannot tell who runs the monitors";
/// How often Malcolm's template is looked for while records wait for it.
const TEMPLATE_WAIT: Duration = Duration::from_secs(2);

/// What provisioning has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How OpenSearch reaches us; goes into the channel.
    pub webhook_url: Url,
    /// The pattern of the indices that records and sessions go to, such as `arkime_sessions3-*`.
    pub index_pattern: String,
    /// The field that the monitor's period is about, such as `firstPacket`.
    pub time_field: String,
    /// Who provides the index template.
    pub template: TemplateMode,
    /// The name of Malcolm's index template.
    pub malcolm_template: String,
    /// Whether the store may have monitors; Elasticsearch has none but those that alertloop runs.
    pub may_have_monitors: bool,
    /// A folder whose files stand in for those compiled in.
    pub dir: Option<PathBuf>,
}

impl Settings {
    /// What stands for settings that a condition's file leaves out.
    #[must_use]
    pub fn for_conditions(&self) -> condition::file::Defaults<'_> {
        let Self { index_pattern, time_field, .. } = self;
        condition::file::Defaults { index_pattern, time_field }
    }
}

#[cfg(test)]
impl Settings {
    /// Such as a set-up beside Malcolm has.
    pub(crate) fn for_tests() -> Self {
        Self {
            webhook_url: "http://alertloop:5000/mapi/alert".parse().unwrap(),
            index_pattern: "arkime_sessions3-*".to_owned(),
            time_field: "firstPacket".to_owned(),
            template: TemplateMode::Auto,
            malcolm_template: "malcolm_template".to_owned(),
            may_have_monitors: true,
            dir: None,
        }
    }
}

/// How far provisioning may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Takes over what users edited, and what was there before us.
    pub force: bool,
    /// Removes what we made and no file describes any more.
    pub prune: bool,
    /// Looks after the index template of the sessions, and nothing else.
    pub session_template_only: bool,
}

impl Options {
    /// The index template of the sessions, and nothing else.
    pub const SESSION_TEMPLATE: Self =
        Self { force: false, prune: false, session_template_only: true };
}

/// Who provides the index template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateMode {
    /// One that covers the pattern is used; where there is none, ours is made.
    Auto,
    /// Malcolm does; no record may be written before it has.
    Malcolm,
    /// Somebody else, or nobody: none is made or awaited.
    None,
}

/// Why provisioning did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files under `provisioning/` cannot be used.
    #[error(transparent)]
    File(#[from] BadFiles),
    /// The store did not do as asked.
    #[error("{what}: {fault}")]
    Store {
        /// What was tried.
        what: String,
        /// What came of it.
        fault: opensearch::Error,
    },
    /// A step failed; those before it stay done.
    #[error("cannot {what}: {fault}; {} before it, {left} left: run it again when that is mended", steps(.done))]
    Stopped {
        /// What was tried.
        what: String,
        /// What came of it.
        fault: opensearch::Error,
        /// The steps that were done.
        done: Vec<Step>,
        /// How many steps were not tried.
        left: usize,
    },
    /// Whatever we write, somebody else writes otherwise.
    #[error("somebody else keeps changing the same objects: is another set-up at work here?")]
    Unsettled,
}

impl Error {
    /// Names what was tried, for `map_err`.
    pub fn store(what: &str) -> impl FnOnce(opensearch::Error) -> Self {
        move |fault| Self::Store { what: what.to_owned(), fault }
    }
}

fn steps(done: &[Step]) -> String {
    match done.len() {
        1 => "1 step done".to_owned(),
        steps => format!("{steps} steps done"),
    }
}

/// What came of provisioning.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The steps that were carried out, in order.
    pub done: Vec<Step>,
    /// What a plan made afterwards says; nothing in it is to be done.
    pub after: Plan,
    /// The secret that the channel carries: intake must accept it, and the data directory keep it.
    #[serde(skip)]
    pub token: WebhookToken,
    /// Whether records may be written: false only while Malcolm's own template is awaited.
    pub template_ready: bool,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.done {
            writeln!(f, "done: {step}")?;
        }
        self.after.fmt(f)
    }
}

/// Says what [`apply()`] would do.
///
/// # Errors
/// [`Error`].
pub async fn look(
    client: &Client,
    settings: &Settings,
    secret: &ChannelSecret,
    options: Options,
) -> Result<Plan, Error> {
    let desired = desired(settings)?;
    let live = probe(client, settings, &desired, options).await?;
    Ok(plan(settings, &desired, &live, secret, options))
}

/// The secret that the loopback channel carries, under either of its ids; `None` where there is no
/// channel, or one without a secret of ours.
///
/// # Errors
/// [`Error`].
pub async fn token_in_use(client: &Client) -> Result<Option<WebhookToken>, Error> {
    if client.is_builtin().await.map_err(Error::store(WHO_RUNS))? {
        return Ok(None);
    }
    for id in [desired::CHANNEL_ID, desired::OLD_CHANNEL_ID] {
        let found = notifications::channel(client, id).await;
        let found = found.map_err(Error::store("cannot read the channel"))?;
        if let Some(token) = found.as_ref().and_then(plan::token_of) {
            return Ok(Some(token));
        }
    }
    Ok(None)
}

/// Brings the store to what the files say, and verifies that nothing is left to do.
///
/// # Errors
/// [`Error`]; the steps until then stay done, and a repetition goes on from there.
pub async fn apply(
    client: &Client,
    settings: &Settings,
    secret: &ChannelSecret,
    options: Options,
) -> Result<Applied, Error> {
    // A bad file stops all the rest before anything is changed.
    let rest = if options.session_template_only { None } else { Some(desired(settings)?) };
    // The template first, by itself: records need it also where Alerting refuses us.
    let template = Options::SESSION_TEMPLATE;
    let alone = session_template(settings)?;
    let (mut done, mut after) = apply::apply(client, settings, &alone, secret, template).await?;
    if let Some(desired) = rest {
        let (steps, all) = apply::apply(client, settings, &desired, secret, options).await?;
        done.extend(steps);
        after = all;
    }
    let (token, template_ready) = (after.token.clone(), after.template_ready);
    Ok(Applied { done, after, token, template_ready })
}

/// Provisions once for `serve`: waits for the store, applies, and tries again until it is done.
///
/// `on_ready` is called when it is done, and once more when Malcolm's template has come, where that
/// is awaited. Ends then, or when `stop` says so.
pub async fn run(
    client: &Client,
    settings: &Settings,
    secret: &ChannelSecret,
    turn: &mut Turn,
    mut on_ready: impl FnMut(&Applied),
    stop: &CancellationToken,
) {
    let mut trouble = Trouble::default();
    let mut backoff = Backoff::new();
    let mut applied = loop {
        if wait_for_store(client, stop, &mut trouble).await.is_none() {
            return;
        }
        turn.take(stop).await;
        if stop.is_cancelled() {
            return turn.end().await;
        }
        // Not raced against `stop`: a step cut off in the middle may leave a second monitor.
        let fault = match apply(client, settings, secret, Options::default()).await {
            Ok(applied) => break applied,
            Err(fault) => fault,
        };
        turn.end().await;
        trouble.failed(&fault);
        if backoff.wait(stop).await.is_none() {
            return;
        }
    };
    report(&applied, settings);
    on_ready(&applied);
    turn.end().await;
    if !applied.template_ready && wait_for_template(client, settings, stop).await.is_some() {
        info!(template = settings.malcolm_template, "the index template is there");
        applied.template_ready = true;
        on_ready(&applied);
    }
}

fn report(applied: &Applied, settings: &Settings) {
    let mut reasons = BTreeSet::new();
    let is_left = |step: &&Step| {
        settings.template == TemplateMode::None && step.name == desired::TEMPLATE_NAME
    };
    for step in applied.after.steps.iter().filter(|step| !is_left(step)) {
        if let Action::Unavailable { reason } = &step.action {
            // One line for all objects that cannot be had for the same reason.
            if reasons.insert(reason) {
                warn!("not provisioned: {step}");
            }
        } else if step.is_warning() {
            warn!("provisioning: {step}");
        } else if applied.done.iter().all(|done| done.name != step.name) {
            info!("provisioning: {step}");
        }
    }
    info!(steps = applied.done.len(), "provisioned; nothing is left to do");
}

/// Waits until the store answers; `None` when `stop` came first.
async fn wait_for_store(
    client: &Client,
    stop: &CancellationToken,
    trouble: &mut Trouble,
) -> Option<()> {
    let mut backoff = Backoff::new();
    loop {
        match stop.run_until_cancelled(client.capabilities()).await? {
            Ok(can) => {
                trouble.store_is_up(can.to_string());
                return Some(());
            }
            Err(fault) => trouble.waiting(&fault),
        }
        backoff.wait(stop).await?;
    }
}

async fn wait_for_template(
    client: &Client,
    settings: &Settings,
    stop: &CancellationToken,
) -> Option<()> {
    loop {
        stop.run_until_cancelled(tokio::time::sleep(TEMPLATE_WAIT)).await?;
        // A failed look is like a template that is not there: the store's state is told elsewhere.
        let look = templates::exists(client, &settings.malcolm_template);
        if stop.run_until_cancelled(look).await?.unwrap_or(false) {
            return Some(());
        }
    }
}

/// What was last said: a state is logged when it changes, not at each try.
#[derive(Default)]
struct Trouble {
    store: String,
    fault: String,
}

impl Trouble {
    fn waiting(&mut self, fault: &opensearch::Error) {
        if !changes(&mut self.store, fault.to_string()) {
            return;
        }
        if let opensearch::Error::Unreachable(_) = fault {
            info!(error.message = self.store, "waiting for the store");
        } else {
            error!(error.message = self.store, "the store does not let us in; trying again");
        }
    }

    fn store_is_up(&mut self, about: String) {
        if changes(&mut self.store, about) {
            info!(store = self.store, "the store answers");
        }
    }

    fn failed(&mut self, fault: &Error) {
        if changes(&mut self.fault, fault.to_string()) {
            error!(error.message = self.fault, "cannot provision; trying again");
        }
    }
}

fn changes(said: &mut String, now: String) -> bool {
    let changes = *said != now;
    *said = now;
    changes
}

/// Waits that double up to a limit, each somewhere between its half and its whole.
struct Backoff(Duration);

impl Backoff {
    const fn new() -> Self {
        Self(FIRST_WAIT)
    }

    async fn wait(&mut self, stop: &CancellationToken) -> Option<()> {
        let wait = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = LONGEST_WAIT.min(self.0 * 2);
        stop.run_until_cancelled(tokio::time::sleep(wait)).await
    }
}

/// Reads the provisioning files.
///
/// # Errors
/// [`BadFiles`].
pub fn desired(settings: &Settings) -> Result<Desired, BadFiles> {
    let files = files::read(settings.dir.as_deref())?;
    Desired::new(settings, &files, |name| placeholder_value(settings, name))
}

/// Reads the template of the session records alone.
fn session_template(settings: &Settings) -> Result<Desired, BadFiles> {
    let files = files::session_template(settings.dir.as_deref())?;
    Desired::new(settings, &files, |name| placeholder_value(settings, name))
}

/// What `${name}` stands for in a file; `None` for what is known once the store was looked at.
///
/// # Errors
/// Why it stands for nothing, for people.
fn placeholder_value(settings: &Settings, name: &str) -> Result<Option<String>, String> {
    let dir = settings.dir.as_deref();
    match name.split_once(':').unwrap_or((name, "")) {
        ("webhook_url", "") => Ok(Some(settings.webhook_url.as_str().to_owned())),
        ("index_pattern", "") => Ok(Some(settings.index_pattern.clone())),
        ("time_field", "") => Ok(Some(settings.time_field.clone())),
        ("token", "") | ("monitor", _) => Ok(None),
        ("message", name) => messages::message_in(dir, name).map(|text| Some(text.into_owned())),
        ("file", path) => files::named(dir, path).map(Some),
        ("env", name) => {
            config::variable(name).map(Some).ok_or_else(|| format!("the environment has no {name}"))
        }
        _ => Err(format!(
            "${{{name}}} is not known; known are webhook_url, index_pattern, time_field, token, \
             message:NAME, file:PATH, env:NAME and, in composite monitors, monitor:NAME"
        )),
    }
}
