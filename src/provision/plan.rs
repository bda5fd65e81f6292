//! What is to be done so that the store holds what it should: pure, from what is there.
//!
//! Who wins: an object that is missing is made; one that stands as Malcolm or we left it is brought
//! up to date; one that a user edited is left alone. A monitor that exists is never touched.

use std::fmt;

use serde::Serialize;

use super::{
    Settings, TemplateMode,
    desired::{CHANNEL_ID, Desired, TOKEN_HEADER},
    diff::{diff, paths},
    probe::Live,
};
use crate::{
    opensearch::{notifications::Config, templates::Legacy},
    secrets::WebhookToken,
};

mod channel;
mod template;

/// Where the channel's secret comes from.
#[derive(Clone, Debug)]
pub enum ChannelSecret {
    /// It is a setting: the channel is brought to it.
    Configured(WebhookToken),
    /// It was made by us: one that the channel carries already goes before it.
    Offered(WebhookToken),
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
}

/// What happens to one object.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its kind.
    pub object: Object,
    /// Its name, or a channel's id.
    pub name: String,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
    /// What `apply` sends for it.
    #[serde(skip)]
    pub(super) work: Option<Work>,
}

/// The kinds of objects that we keep in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// An index template.
    Template,
    /// A channel of the Notifications plugin.
    Channel,
    /// A monitor of the Alerting plugin.
    Monitor,
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
#[derive(Clone, Debug)]
pub(super) enum Work {
    PutTemplate(Legacy),
    CreateChannel(Config),
    UpdateChannel {
        config: Config,
        /// Whether several replicas may be at it with a secret of their own each.
        races: bool,
    },
    CreateMonitor(serde_json::Value),
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.steps.iter().all(|step| step.work.is_none())
    }
}

/// Plans what to do.
#[must_use]
pub fn plan(settings: &Settings, desired: &Desired, live: &Live, secret: &ChannelSecret) -> Plan {
    let (token, is_decided) = decide_token(live, secret);
    let mut steps = vec![template::step(settings, desired, live)];
    if let Some(reason) = no_alerting(settings, live) {
        let action = Action::Unavailable { reason: reason.to_owned() };
        steps.push(Step::channel(CHANNEL_ID, action.clone(), None));
        steps.push(Step::monitor(desired, action, None));
    } else {
        steps.extend(channel::steps(desired, live, &token, !is_decided));
        steps.push(monitor(desired, live));
    }
    let template_ready = settings.template != TemplateMode::Malcolm || live.malcolm_template_exists;
    Plan { steps, token, template_ready }
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
    if !settings.is_opensearch || !live.about.is_opensearch {
        Some("the store is not OpenSearch; alerts of other sources are still recorded")
    } else if live.channels.is_none() {
        Some("the store has no Notifications plugin")
    } else if live.monitors.is_none() {
        Some("the store has no Alerting plugin")
    } else {
        None
    }
}

fn monitor(desired: &Desired, live: &Live) -> Step {
    let leave =
        |reason: String, warning| Step::monitor(desired, Action::Leave { reason, warning }, None);
    match live.monitors.as_deref().unwrap_or_default() {
        [] => {
            let work = Work::CreateMonitor(desired.monitor.clone());
            Step::monitor(desired, Action::Create, Some(work))
        }
        [one] => {
            let differences = diff(&desired.monitor, &one.body);
            if differences.is_empty() {
                return Step::monitor(desired, Action::InSync, None);
            }
            leave(format!("it exists, and differs in {}", paths(&differences)), false)
        }
        several => {
            let ids: Vec<_> = several.iter().map(|one| one.id.as_str()).collect();
            let reason = format!("{} have this name: {}", several.len(), ids.join(", "));
            leave(reason, true)
        }
    }
}

impl Step {
    fn new(object: Object, name: &str, action: Action, work: Option<Work>) -> Self {
        Self { object, name: name.to_owned(), action, work }
    }

    fn channel(id: &str, action: Action, work: Option<Work>) -> Self {
        Self::new(Object::Channel, id, action, work)
    }

    fn monitor(desired: &Desired, action: Action, work: Option<Work>) -> Self {
        Self::new(Object::Monitor, desired.monitor_name(), action, work)
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self.action, Action::Leave { warning: true, .. })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template => "template",
            Self::Channel => "channel",
            Self::Monitor => "monitor",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.action {
            Action::Create => ("create", ""),
            Action::Update { reason, .. } => ("update", reason.as_str()),
            Action::Leave { reason, .. } => ("leave", reason.as_str()),
            Action::InSync => ("in sync", ""),
            Action::Unavailable { reason } => ("unavailable", reason.as_str()),
        };
        write!(f, "{word:<11} {:<8} {}", self.object.to_string(), self.name)?;
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        if let Action::Update { diff, .. } = &self.action {
            for line in diff {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match self.steps.iter().filter(|step| step.work.is_some()).count() {
            0 => writeln!(f, "Nothing is to do."),
            steps => writeln!(f, "To do: {steps}. `alertloop provision apply` does it."),
        }
    }
}

#[cfg(test)]
mod tests;
