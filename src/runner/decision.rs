//! What one run of a monitor is asked, and what it decides.

use jiff::Timestamp;
use serde_json::Value;

use crate::opensearch::alerting::Monitor;

/// The time that a run looks at: `{{period_start}}` to `{{period_end}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Where it begins.
    pub start: Timestamp,
    /// Where it ends: the moment for which the run was planned, so that a run that is done anew after
    /// a crash looks at the same time and makes the same alerts.
    pub end: Timestamp,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The monitor, with its id and its version.
    pub monitor: &'a Monitor,
    /// What it looks at.
    pub period: Period,
    /// The moment of the run: `start_time` of an alert, and what throttling counts with.
    pub now: Timestamp,
    /// The monitor's alerts that are `ACTIVE`, `ACKNOWLEDGED` or `ERROR` now.
    pub alerts: &'a [Alert],
    /// The destinations that there are: our channel, and `callback:NAME`.
    pub destinations: &'a [String],
}

/// An alert as the Alerting plugin tells it: `id`, `monitor_id`, `monitor_name`, `trigger_id`, `state`,
/// `start_time`, …
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// `id`. Of a new one it is made of the monitor, the trigger, the bucket and the period's end.
    pub id: String,
    /// The whole of it, with times in epoch ms.
    pub body: Value,
}

/// A rendered message that is to be handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `destination_id` of the action.
    pub destination: String,
    /// The rendered subject, where the action has one.
    pub subject: Option<String>,
    /// The rendered message.
    pub body: String,
    /// The action's id.
    pub action: String,
    /// The trigger's id.
    pub trigger: String,
    /// The alerts that it tells of.
    pub alerts: Vec<String>,
}

/// What a trigger decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// The trigger's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it fires; for buckets: whether one of them does.
    pub fires: bool,
    /// What went wrong with it or with one of its actions.
    pub error: Option<String>,
}

/// What a run decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// `ctx.results`.
    pub results: Vec<Value>,
    /// What went wrong with the search.
    pub error: Option<String>,
    /// The triggers, in the monitor's order.
    pub triggers: Vec<Decided>,
    /// The alerts that this run makes or changes, each once and whole.
    pub alerts: Vec<Alert>,
    /// What is to be handed over, in the order in which the plugin sends.
    pub messages: Vec<Message>,
}
