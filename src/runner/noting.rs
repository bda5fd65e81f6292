//! What is noted of a monitor's runs, and how a run changes it. Pure.
//!
//! What a run decides is noted before anything of it is done: with the alerts and the messages in
//! `pending`, whoever leads next does what the one before could not do any more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decision::{Alert, Decision, Message};

/// So many runs are remembered, the newest.
const KEPT_RUNS: usize = 20;
/// How much of an error the history keeps, in bytes.
const LONGEST_ERROR: usize = 2_048;

/// The note of a monitor: see `opensearch::builtin::runs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Id of the monitor.
    pub monitor_id: String,
    /// The moment for which its last run was planned; epoch ms.
    pub planned: Option<i64>,
    /// When its last run was noted; epoch ms.
    pub last_run: Option<i64>,
    /// The wish that was fulfilled last; epoch ms.
    pub wished: Option<i64>,
    /// Its alerts that are not over.
    pub current: Vec<String>,
    /// What its last run decided and is not done yet.
    pub pending: Option<Pending>,
    /// Its last runs, the newest first.
    pub history: Vec<Run>,
}

/// What a run decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// When it was decided; epoch ms.
    pub at: i64,
    /// Alerts, each whole.
    pub alerts: Vec<Value>,
    /// Messages, in their order.
    pub messages: Vec<Handed>,
}

/// A message that is to be handed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handed {
    /// Our channel, or `callback:NAME`.
    pub destination: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Its text.
    pub body: String,
    /// The trigger's id.
    pub trigger: String,
    /// The alerts that it tells of.
    pub alerts: Vec<String>,
}

impl From<Message> for Handed {
    fn from(message: Message) -> Self {
        let Message { destination, subject, body, trigger, alerts, .. } = message;
        Self { destination, subject, body, trigger, alerts }
    }
}

/// A run as the history tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The moment for which it was planned; epoch ms.
    pub scheduled_at: i64,
    /// When it began; of runs that were missed, when the one began that stands for them; epoch ms.
    pub started_at: i64,
    /// How long it took to decide, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
    /// The names of the triggers that fire.
    pub triggers: Vec<String>,
    /// How many messages it sent.
    pub messages: u64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No trigger fires.
    #[default]
    Quiet,
    /// One does.
    Fired,
    /// The search, a trigger or an action failed.
    Error,
    /// It did not run.
    Missed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Quiet, Self::Fired, Self::Error, Self::Missed];

    /// The name in the note and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Fired => "fired",
            Self::Error => "error",
            Self::Missed => "missed",
        }
    }
}

/// When a run was planned for and when it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The moment for which it was planned; epoch ms.
    pub scheduled_at: i64,
    /// When it began; epoch ms.
    pub started_at: i64,
    /// When it was decided; epoch ms.
    pub decided_at: i64,
    /// Whether somebody wished for it; else it was due.
    pub is_wished: bool,
    /// How many runs before it were missed, and the moment of the first.
    pub missed: Option<(u64, i64)>,
}

impl State {
    /// As it was read. What cannot be read was written by nobody that we know: it begins anew.
    #[must_use]
    pub fn of(monitor: &str, source: Value) -> Self {
        let read = serde_json::from_value(source).unwrap_or_default();
        Self { monitor_id: monitor.to_owned(), ..read }
    }

    /// As it is written.
    #[must_use]
    pub fn source(&self) -> Value {
        let mut source = json!(self);
        source["kind"] = json!("state");
        source
    }

    /// Takes in what a run decided.
    #[must_use]
    pub fn noted(mut self, times: Times, decision: Decision) -> Self {
        let Times { scheduled_at, started_at, decided_at, is_wished, missed } = times;
        if let Some((count, first)) = missed {
            let error = Some(format!("{count} not run in time; run once for the last of them"));
            let outcome = Outcome::Missed;
            self.remember(Run {
                scheduled_at: first,
                started_at,
                outcome,
                error,
                ..Run::default()
            });
        }
        let run = Run {
            scheduled_at,
            started_at,
            took_ms: u64::try_from(decided_at - started_at).ok(),
            ..told(&decision)
        };
        self.remember(run);
        let moment = if is_wished { &mut self.wished } else { &mut self.planned };
        *moment = Some(scheduled_at);
        self.last_run = Some(decided_at);
        self.changes(decided_at, decision.alerts, decision.messages)
    }

    /// Takes in alerts that change, and messages.
    #[must_use]
    pub fn changes(mut self, at: i64, alerts: Vec<Alert>, messages: Vec<Message>) -> Self {
        let mut current: BTreeSet<String> = self.current.drain(..).collect();
        for alert in &alerts {
            if is_over(&alert.body) {
                current.remove(&alert.id);
            } else {
                current.insert(alert.id.clone());
            }
        }
        self.current = current.into_iter().collect();
        let is_quiet = alerts.is_empty() && messages.is_empty();
        self.pending = (!is_quiet).then(|| Pending {
            at,
            alerts: alerts.into_iter().map(|alert| alert.body).collect(),
            messages: messages.into_iter().map(Handed::from).collect(),
        });
        self
    }

    /// Nothing is left to be done.
    #[must_use]
    pub fn done(self) -> Self {
        Self { pending: None, ..self }
    }

    fn remember(&mut self, run: Run) {
        self.history.insert(0, run);
        self.history.truncate(KEPT_RUNS);
    }
}

/// What the history tells of a decision.
#[must_use]
pub fn told(decision: &Decision) -> Run {
    let of_triggers = || decision.triggers.iter().find_map(|trigger| trigger.error.clone());
    let error = decision.error.clone().or_else(of_triggers).map(|mut error| {
        error.truncate(error.floor_char_boundary(LONGEST_ERROR));
        error
    });
    let firing = decision.triggers.iter().filter(|trigger| trigger.fires);
    let triggers: Vec<_> = firing.map(|trigger| trigger.name.clone()).collect();
    let outcome = match (&error, triggers.is_empty()) {
        (Some(_), _) => Outcome::Error,
        (None, false) => Outcome::Fired,
        (None, true) => Outcome::Quiet,
    };
    let messages = decision.messages.len() as u64;
    Run { outcome, triggers, messages, error, ..Run::default() }
}

/// Whether an alert's life has ended.
#[must_use]
pub fn is_over(alert: &Value) -> bool {
    matches!(alert["state"].as_str(), Some("COMPLETED" | "DELETED"))
}

/// The alert that is to be written where `stored` is: an acknowledgement that came while the run
/// decided stays, and one that is over is never opened again.
#[must_use]
pub fn merged(stored: &Value, mut ours: Value) -> Value {
    if is_over(stored) && !is_over(&ours) {
        return stored.clone();
    }
    let is_acknowledged = stored["acknowledged_time"].is_i64();
    if is_acknowledged && !ours["acknowledged_time"].is_i64() {
        ours["acknowledged_time"] = stored["acknowledged_time"].clone();
        if ours["state"] == "ACTIVE" {
            ours["state"] = json!("ACKNOWLEDGED");
        }
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::decision::Decided;

    fn alert(id: &str, state: &str) -> Alert {
        Alert { id: id.to_owned(), body: json!({"id": id, "state": state, "trigger_id": "t"}) }
    }

    fn times(scheduled_at: i64) -> Times {
        Times {
            scheduled_at,
            started_at: scheduled_at + 5,
            decided_at: scheduled_at + 25,
            ..Times::default()
        }
    }

    fn decided(fires: bool, error: Option<&str>) -> Decided {
        let (id, name) = ("t".to_owned(), "many".to_owned());
        Decided { id, name, fires, error: error.map(str::to_owned) }
    }

    #[test]
    fn a_run_is_noted_with_what_is_to_be_done_and_a_quiet_one_leaves_nothing_to_do() {
        let message = Message {
            destination: "d".to_owned(),
            subject: None,
            body: "b".to_owned(),
            action: "a".to_owned(),
            trigger: "t".to_owned(),
            alerts: vec!["1".to_owned()],
        };
        let decision = Decision {
            triggers: vec![decided(true, None)],
            alerts: vec![alert("1", "ACTIVE"), alert("0", "COMPLETED")],
            messages: vec![message],
            ..Decision::default()
        };
        let before = State { current: vec!["0".to_owned(), "2".to_owned()], ..State::default() };
        let fired = before.noted(times(1_000), decision);
        assert_eq!(fired.current, ["1", "2"]);
        assert_eq!((fired.planned, fired.last_run), (Some(1_000), Some(1_025)));
        let pending = fired.pending.as_ref().unwrap();
        assert_eq!((pending.at, pending.alerts.len(), pending.messages.len()), (1_025, 2, 1));
        assert_eq!(fired.history[0].outcome, Outcome::Fired);
        assert_eq!((fired.history[0].took_ms, fired.history[0].messages), (Some(20), 1));

        let quiet = fired.clone().done().noted(times(2_000), Decision::default());
        assert_eq!((&quiet.pending, &quiet.current), (&None, &fired.current));
        assert_eq!((quiet.history[0].outcome, quiet.history.len()), (Outcome::Quiet, 2));
        let read = State::of("m", quiet.source());
        assert_eq!(read, State { monitor_id: "m".to_owned(), ..quiet });
        assert_eq!(State::of("m", json!({"history": 5})).monitor_id, "m");
    }

    #[test]
    fn a_wish_does_not_move_the_plan_and_missed_runs_are_one_line() {
        let state = State { planned: Some(500), ..State::default() };
        let wished = state.noted(Times { is_wished: true, ..times(1_000) }, Decision::default());
        assert_eq!((wished.planned, wished.wished), (Some(500), Some(1_000)));
        let late = Times { missed: Some((3, 700)), ..times(2_000) };
        let state = wished.noted(late, Decision::default());
        let told: Vec<_> =
            state.history.iter().map(|run| (run.scheduled_at, run.outcome)).collect();
        assert_eq!(
            told,
            [(2_000, Outcome::Quiet), (700, Outcome::Missed), (1_000, Outcome::Quiet)]
        );
        let mut state = state;
        for n in 0..50 {
            state = state.noted(times(n), Decision::default());
        }
        assert_eq!(state.history.len(), KEPT_RUNS);
    }

    #[test]
    fn an_error_anywhere_is_the_outcome() {
        let search = Decision { error: Some("no index".to_owned()), ..Decision::default() };
        let one = |fires, error| Decision {
            triggers: vec![decided(false, None), decided(fires, error)],
            ..Decision::default()
        };
        for (decision, outcome, error) in [
            (search, Outcome::Error, Some("no index")),
            (one(true, Some("a script")), Outcome::Error, Some("a script")),
            (one(true, None), Outcome::Fired, None),
            (one(false, None), Outcome::Quiet, None),
        ] {
            let run = told(&decision);
            assert_eq!((run.outcome, run.error.as_deref()), (outcome, error));
        }
        let names = Outcome::ALL.map(|outcome| json!(outcome));
        assert_eq!(names, Outcome::ALL.map(|outcome| json!(outcome.name())));
    }

    #[test]
    fn an_acknowledgement_that_came_between_stays_and_nothing_is_opened_again() {
        let of = |state: &str, acknowledged: Option<i64>| json!({"state": state, "acknowledged_time": acknowledged});
        for (stored, ours, want) in [
            (of("ACTIVE", None), of("ACTIVE", None), of("ACTIVE", None)),
            (of("ACKNOWLEDGED", Some(5)), of("ACTIVE", None), of("ACKNOWLEDGED", Some(5))),
            (of("ACKNOWLEDGED", Some(5)), of("COMPLETED", None), of("COMPLETED", Some(5))),
            (of("COMPLETED", None), of("ACTIVE", None), of("COMPLETED", None)),
            (of("COMPLETED", None), of("DELETED", None), of("DELETED", None)),
            (json!(null), of("ERROR", None), of("ERROR", None)),
        ] {
            assert_eq!(merged(&stored, ours.clone()), want, "{stored} {ours}");
        }
    }
}
