//! What is to be done so that the store holds what it should: pure, from what is there.
//!
//! Who wins: an object that is missing is made; one that stands as Malcolm or we left it is brought
//! up to date; one that a user edited, or that was there before us, is left alone, unless it is
//! taken over by force. Whether it is switched on is always the user's.

use std::fmt;

use serde::Serialize;

pub use super::object::Object;
use super::{
    Options, Settings, TemplateMode,
    desired::{CHANNEL_ID, Desired, TOKEN_HEADER},
    ledger::Entry,
    object::{Found, Key, Wanted},
    probe::Live,
    sealed::Hidden,
};
use crate::{
    condition,
    opensearch::{notifications::Config, templates::Legacy},
    secrets::WebhookToken,
};

mod channel;
pub(super) mod ids;
mod kept;
mod template;

/// Where the channel's secret comes from.
#[derive(Clone, Debug)]
pub enum ChannelSecret {
    /// It is a setting: the channel is brought to it.
    Configured(WebhookToken),
    /// It was made by us: one that the channel carries already goes before it.
    Offered(WebhookToken),
}

impl ChannelSecret {
    /// A secret that is a setting (`configured`) or was made by us.
    #[must_use]
    pub fn new(token: WebhookToken, configured: bool) -> Self {
        if configured { Self::Configured(token) } else { Self::Offered(token) }
    }
}

/// The steps from what is there to what should be, in their order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// One step an object, also for those that need nothing.
    pub steps: Vec<Step>,
    /// The secret that the channel carries once the plan is done.
    #[serde(skip)]
    pub token: WebhookToken,
    /// Whether a record may be written once the plan is done: false only while Malcolm's own
    /// template is awaited.
    pub template_ready: bool,
    /// How far it goes; `apply` does all of it only with the same.
    #[serde(skip)]
    pub options: Options,
}

/// What happens to one object.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its kind.
    pub object: Object,
    /// Its name, or a channel's id.
    pub name: String,
    /// The file that describes it, below the provisioning folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
    /// What `apply` sends for it.
    #[serde(skip)]
    pub(super) work: Option<Work>,
}

/// What happens to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It is missing and will be made.
    Create,
    /// It is as Malcolm or we left it, and will be changed.
    Update {
        /// Why.
        reason: String,
        /// The changes, one a line; secrets are shown as `[REDACTED]`.
        diff: Vec<String>,
    },
    /// It stays as it is.
    Leave {
        /// Why.
        reason: String,
        /// Whether somebody should look at it.
        warning: bool,
        /// What a user changed, a line each.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        diff: Vec<String>,
    },
    /// It is removed: we made it, and nothing asks for it any more.
    Delete {
        /// Why.
        reason: String,
    },
    /// It is as it should be.
    InSync,
    /// The store cannot hold it.
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// What `apply` sends to the store.
#[derive(Clone)]
pub(super) enum Work {
    PutTemplate(Legacy),
    CreateChannel(Config),
    UpdateChannel {
        config: Config,
        /// The channel that the plan was made for.
        found: Config,
        /// Whether several replicas may be at it with a secret of their own each.
        races: bool,
    },
    /// Makes an object that is missing.
    Make(Write),
    /// Brings an object up to date, as long as it is as it was found.
    Change(Write, Found),
    /// Removes an object of ours, as long as it is as it was found.
    Remove(Key, Found, Option<Entry>),
    /// Waits until the monitors are made that a workflow runs.
    Await,
    /// Keeps what is known of an object that needs nothing else.
    Note(Entry),
    /// Drops what was known of an object that is gone.
    Forget(Entry),
}

impl fmt::Debug for Work {
    /// Bodies may hold secrets: only the kind of work is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PutTemplate(_) => "PutTemplate",
            Self::CreateChannel(_) => "CreateChannel",
            Self::UpdateChannel { .. } => "UpdateChannel",
            Self::Make(_) => "Make",
            Self::Change(..) => "Change",
            Self::Remove(..) => "Remove",
            Self::Await => "Await",
            Self::Note(_) => "Note",
            Self::Forget(_) => "Forget",
        })
    }
}

/// A body on its way to the store.
#[derive(Clone)]
pub(super) struct Write {
    /// What was known of the object, as it was read; a fresh one where nothing was.
    pub entry: Entry,
    /// What is sent.
    pub body: serde_json::Value,
    /// What the file says: canonical.
    pub said: serde_json::Value,
    /// The digest of that.
    pub digest: String,
    /// What in it is not to be shown.
    pub hidden: Hidden,
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        !self.steps.iter().any(Step::is_to_do)
    }

    /// The steps that remove something.
    pub fn removals(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.action, Action::Delete { .. }))
    }
}

/// Plans what to do.
#[must_use]
pub fn plan(
    settings: &Settings,
    desired: &Desired,
    live: &Live,
    secret: &ChannelSecret,
    options: Options,
) -> Plan {
    let (token, is_decided) = decide_token(live, secret);
    let mut steps = vec![template::step(settings, desired, live)];
    if !options.session_template_only {
        let no_alerting = no_alerting(settings, live);
        match no_alerting {
            Some(_) if desired.channel.is_none() => {}
            Some(reason) => {
                let action = Action::Unavailable { reason: reason.to_owned() };
                steps.push(Step::channel(CHANNEL_ID, action, None));
            }
            None if live.is_builtin => {
                let reason = "not needed: alertloop runs the monitors itself, and takes what they \
                              send here without a channel";
                steps.push(Step::channel(CHANNEL_ID, Action::leave(reason), None));
            }
            None => steps.extend(channel::steps(desired, live, &token, !is_decided, options)),
        }
        let kept = kept::Kept { live, token: &token, options, no_alerting };
        // A template that is removed may be what keeps another of its pattern from being made.
        let orphans = kept.orphans(&desired.wanted);
        let (first, last): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|step| step.object == Object::Template);
        steps.extend(first);
        steps.extend(desired.wanted.iter().map(|wanted| kept.step(wanted, &desired.wanted)));
        steps.extend(last);
    }
    let template_ready = settings.template != TemplateMode::Malcolm || live.malcolm_template_exists;
    Plan { steps, token, template_ready, options }
}

/// The secret, and whether every replica would decide on the same one.
fn decide_token(live: &Live, secret: &ChannelSecret) -> (WebhookToken, bool) {
    match secret {
        ChannelSecret::Configured(token) => (token.clone(), true),
        ChannelSecret::Offered(token) => {
            let channels = live.channels.as_ref();
            let both = channels.map(|all| [&all.current, &all.old]).into_iter().flatten();
            let found = both.flatten().find_map(token_of);
            let is_decided = found.is_some();
            (found.unwrap_or_else(|| token.clone()), is_decided)
        }
    }
}

/// The secret that a channel carries, if it is one that intake could accept.
pub(crate) fn token_of(channel: &Config) -> Option<WebhookToken> {
    channel.webhook.as_ref()?.header(TOKEN_HEADER)?.parse().ok()
}

fn no_alerting(settings: &Settings, live: &Live) -> Option<&'static str> {
    if live.is_builtin {
        None
    } else if !settings.may_have_monitors || !live.about.is_opensearch {
        Some("the store is not OpenSearch; alerts of other sources are still recorded")
    } else if live.channels.is_none() && live.about.number().is_some_and(|(major, _)| major < 2) {
        Some("OpenSearch 1.x has no channels; `alertloop doctor` lists its destinations")
    } else if live.channels.is_none() {
        Some("the store has no Notifications plugin")
    } else if !live.has_alerting {
        Some("the store has no Alerting plugin")
    } else {
        None
    }
}

impl Action {
    /// It stays, and for a reason that needs nobody's attention.
    fn leave(reason: impl Into<String>) -> Self {
        Self::Leave { reason: reason.into(), warning: false, diff: Vec::new() }
    }

    /// It stays, and somebody should look at it.
    fn warn(reason: impl Into<String>) -> Self {
        Self::Leave { reason: reason.into(), warning: true, diff: Vec::new() }
    }
}

impl Step {
    fn new(object: Object, name: &str, action: Action, work: Option<Work>) -> Self {
        Self { object, name: name.to_owned(), file: None, action, work }
    }

    fn channel(id: &str, action: Action, work: Option<Work>) -> Self {
        Self::new(Object::Channel, id, action, work)
    }

    fn of(wanted: &Wanted, action: Action, work: Option<Work>) -> Self {
        let file = Some(wanted.file.clone());
        Self { file, ..Self::new(wanted.key.object, &wanted.key.name, action, work) }
    }

    /// Whether `apply` would change something in the store that people see.
    #[must_use]
    pub fn is_to_do(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !matches!(work, Work::Note(_) | Work::Forget(_)))
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self.action, Action::Leave { warning: true, .. })
    }
}

/// How wide the kind of an object is shown at least.
const NARROWEST: usize = "template".len();

impl fmt::Display for Step {
    /// The width that may be asked for is that of the kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.action {
            Action::Create => ("create", ""),
            Action::Update { reason, .. } => ("update", reason.as_str()),
            Action::Delete { reason } => ("delete", reason.as_str()),
            Action::Leave { reason, .. } => ("leave", reason.as_str()),
            Action::InSync => ("in sync", ""),
            Action::Unavailable { reason } => ("unavailable", reason.as_str()),
        };
        let width = f.width().unwrap_or(NARROWEST);
        write!(f, "{word:<11} {:<width$} {}", self.object.to_string(), self.name)?;
        if let Some(file) = self.file.as_ref().filter(|file| condition::stem(file).is_some()) {
            write!(f, ", of {file}")?;
        }
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        if let Action::Update { diff, .. } | Action::Leave { diff, .. } = &self.action {
            for line in diff {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.steps.iter().map(|step| step.object.to_string().len());
        let width = widths.max().unwrap_or_default().max(NARROWEST);
        for step in &self.steps {
            writeln!(f, "{step:width$}")?;
        }
        match self.steps.iter().filter(|step| step.is_to_do()).count() {
            0 => writeln!(f, "Nothing is to do."),
            steps => {
                let force = if self.options.force { " --force" } else { "" };
                let prune = if self.options.prune { " --prune" } else { "" };
                writeln!(f, "To do: {steps}. `alertloop provision apply{force}{prune}` does it.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
