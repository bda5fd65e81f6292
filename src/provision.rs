//! Brings the store to what the files under `provisioning/` say: the index template, the channel
//! that sends to us, and the monitor that shows how.
//!
//! [`probe()`] reads what is there, [`plan()`] decides (purely), [`apply()`] carries out and looks again
//! until nothing is left. It can be repeated, run by several replicas at once and cut off: what is
//! left is one template, one channel, one monitor, and no user's edit undone. (A replica that dies
//! right after creating a monitor in a race leaves a second, disabled one; the plan warns of it.)
//!
//! The template is a *legacy* one. A composable one of ours, even of priority 0, would make the
//! store refuse any other composable template of the same pattern and priority, and Malcolm's own
//! has just that. A legacy template gives way to every composable one.

use std::{fmt, path::PathBuf, time::Duration};

use include_dir::{Dir, include_dir};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use crate::{
    opensearch::{self, Client, cluster, templates},
    secrets::WebhookToken,
};

pub mod apply;
pub mod desired;
pub mod diff;
pub mod lint;
pub mod loop_guard;
pub mod messages;
pub mod plan;
pub mod probe;
pub mod rehearsal;
pub mod shape;

pub use plan::{ChannelSecret, Plan, Step, plan};
pub use probe::{Live, known_fields, probe};

use desired::{BadFile, Desired};

static COMPILED_IN: Dir = include_dir!("$CARGO_MANIFEST_DIR/provisioning");

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
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
    /// Whether the store is OpenSearch; Elasticsearch has neither channels nor monitors.
    pub is_opensearch: bool,
    /// A folder whose files stand in for those compiled in.
    pub dir: Option<PathBuf>,
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
    /// A file under `provisioning/` cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The store did not do as asked.
    #[error("{what}: {source}")]
    Store {
        /// What was tried.
        what: String,
        /// What came of it.
        source: opensearch::Error,
    },
    /// Whatever we write, somebody else writes otherwise.
    #[error("somebody else keeps changing the same objects: is another set-up at work here?")]
    Unsettled,
}

impl Error {
    /// Names what was tried, for `map_err`.
    pub fn store(what: &str) -> impl FnOnce(opensearch::Error) -> Self {
        move |source| Self::Store { what: what.to_owned(), source }
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
    offered: &WebhookToken,
    configured: bool,
) -> Result<Plan, Error> {
    let desired = desired(settings)?;
    let live = probe(client, settings, &desired).await?;
    Ok(plan(settings, &desired, &live, &secret(offered, configured)))
}

/// Brings the store to what the files say, and verifies that nothing is left to do.
///
/// `offered` is our secret. Where it is `configured` the channel is brought to it; else one that
/// the channel has already goes before it.
///
/// # Errors
/// [`Error`]; the steps until then stay done, and a repetition goes on from there.
pub async fn apply(
    client: &Client,
    settings: &Settings,
    offered: &WebhookToken,
    configured: bool,
) -> Result<Applied, Error> {
    let desired = desired(settings)?;
    let secret = secret(offered, configured);
    let mut done = Vec::new();
    if settings.is_opensearch {
        // The template first, by itself: records need it also where Alerting refuses us.
        let template_alone = Settings { is_opensearch: false, ..settings.clone() };
        done = apply::apply(client, &template_alone, &desired, &secret).await?.0;
    }
    let (steps, after) = apply::apply(client, settings, &desired, &secret).await?;
    done.extend(steps);
    let (token, template_ready) = (after.token.clone(), after.template_ready);
    Ok(Applied { done, after, token, template_ready })
}

fn secret(offered: &WebhookToken, configured: bool) -> ChannelSecret {
    let make = if configured { ChannelSecret::Configured } else { ChannelSecret::Offered };
    make(offered.clone())
}

/// Provisions once for `serve`: waits for the store, applies, and tries again until it is done.
///
/// `on_ready` is called when it is done, and once more when Malcolm's template has come, where that
/// is awaited. Ends then, or when `stop` says so.
pub async fn run(
    client: &Client,
    settings: &Settings,
    offered: &WebhookToken,
    configured: bool,
    mut on_ready: impl FnMut(&Applied),
    stop: &CancellationToken,
) {
    let mut trouble = Trouble::default();
    let mut backoff = Backoff::new();
    let mut applied = loop {
        let fault = match wait_for_store(client, stop, &mut trouble).await {
            None => return,
            // Not raced against `stop`: a step cut off in the middle may leave a second monitor.
            Some(()) => match apply(client, settings, offered, configured).await {
                Ok(applied) => break applied,
                Err(fault) => fault,
            },
        };
        trouble.failed(&fault);
        if backoff.wait(stop).await.is_none() {
            return;
        }
    };
    report(&applied);
    on_ready(&applied);
    if !applied.template_ready && wait_for_template(client, settings, stop).await.is_some() {
        info!(template = settings.malcolm_template, "the index template is there");
        applied.template_ready = true;
        on_ready(&applied);
    }
}

fn report(applied: &Applied) {
    for step in &applied.after.steps {
        if step.is_warning() {
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
        match stop.run_until_cancelled(cluster::about(client)).await? {
            Ok(about) => {
                trouble.store_is_up(about.to_string());
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
/// [`BadFile`].
pub fn desired(settings: &Settings) -> Result<Desired, BadFile> {
    Desired::new(settings, |file| text_of(settings, file))
}

/// The text of a provisioning file: from the mounted folder, else as compiled in.
fn text_of(settings: &Settings, file: &'static str) -> Result<String, String> {
    let Some(path) = settings.dir.as_ref().map(|dir| dir.join(file)) else {
        return compiled_in(file);
    };
    match std::fs::read_to_string(path) {
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => compiled_in(file),
        text => text.map_err(|fault| fault.to_string()),
    }
}

fn compiled_in(file: &'static str) -> Result<String, String> {
    let found = COMPILED_IN.get_file(file).and_then(include_dir::File::contents_utf8);
    found.map(str::to_owned).ok_or_else(|| "is missing".to_owned())
}
