//! All that a run brought: a decision for who keeps it, or a report for who looks. Pure.
//!
//! The report has the shape of the plugin's `_execute` (`MonitorRunResult.kt` of common-utils).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    super::decision::{Alert, Decided, Decision, Message},
    context::Known,
    fault::{self, Fault},
};

/// What a run brought.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the search found; nothing where it failed.
    pub results: Vec<Value>,
    /// Why it failed.
    pub error: Option<Fault>,
    /// The triggers, in the monitor's order.
    pub triggers: Vec<Judged>,
    /// The alerts that change.
    pub alerts: Vec<Alert>,
    /// What is to be sent.
    pub messages: Vec<Message>,
}

/// What came of a trigger.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why its script failed.
    pub error: Option<Fault>,
    /// What it found.
    pub found: Found,
}

/// What a trigger found, and what was done.
#[derive(Clone, Debug)]
pub enum Found {
    /// Of a query-level monitor.
    Query {
        /// Whether it fires.
        fires: bool,
        /// What was done.
        actions: Vec<Done>,
    },
    /// Of a bucket-level monitor.
    Buckets {
        /// The buckets that fire, by their keys: `{"agg_alert_content": …}`.
        chosen: Map<String, Value>,
        /// What was done, by the keys of the bucket.
        actions: Vec<(String, Done)>,
    },
}

/// What came of an action.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Subject and message, where they were rendered.
    pub output: Option<(String, String)>,
    /// When; `None` where it was throttled.
    pub at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<Fault>,
}

impl Judged {
    /// What goes into an alert; of a bucket's actions nothing does.
    #[must_use]
    pub fn error_of_alert(&self) -> Option<String> {
        if let Some(fault) = &self.error {
            return Some(fault::of_alert("Failed evaluating trigger", fault));
        }
        let Found::Query { actions, .. } = &self.found else { return None };
        let fault = actions.iter().find_map(|action| action.error.as_ref())?;
        Some(fault::of_alert("Failed running action", fault))
    }

    fn fires(&self) -> bool {
        match &self.found {
            Found::Query { fires, .. } => *fires,
            Found::Buckets { chosen, .. } => !chosen.is_empty(),
        }
    }

    fn decided(&self) -> Decided {
        let failed = || match &self.found {
            Found::Query { .. } => None,
            Found::Buckets { actions, .. } => {
                let fault = actions.iter().find_map(|(_, action)| action.error.as_ref())?;
                Some(fault::of_alert("Failed running action", fault))
            }
        };
        Decided {
            id: self.id.clone(),
            name: self.name.clone(),
            fires: self.fires(),
            error: self.error_of_alert().or_else(failed),
        }
    }

    fn report(&self) -> Value {
        match &self.found {
            Found::Query { fires, actions } => {
                let actions = actions.iter().map(|done| (done.id.clone(), done.report()));
                json!({"name": self.name, "triggered": fires,
                    "action_results": actions.collect::<Map<_, _>>(),
                    "error": self.error.as_ref().map(Fault::of_trigger)})
            }
            Found::Buckets { chosen, actions } => {
                let mut by_bucket = Map::new();
                for (keys, done) in actions {
                    let of_bucket = by_bucket.entry(keys).or_insert_with(|| json!({}));
                    of_bucket[&done.id] = done.report();
                }
                json!({"name": self.name, "agg_result_buckets": chosen, "action_results": by_bucket,
                    "error": self.error.as_ref().map(Fault::message)})
            }
        }
    }
}

impl Done {
    fn report(&self) -> Value {
        let output = self.output.as_ref();
        json!({
            "id": self.id,
            "name": self.name,
            "output": output.map_or_else(|| json!({}), |(subject, message)| json!({"subject": subject, "message": message})),
            "throttled": self.at.is_none(),
            "executionTime": self.at.map(Timestamp::as_millisecond),
            "error": self.error.as_ref().map(Fault::message),
        })
    }
}

impl Outcome {
    /// What is to be kept and sent.
    #[must_use]
    pub fn decision(self) -> Decision {
        Decision {
            triggers: self.triggers.iter().map(Judged::decided).collect(),
            error: self.error.as_ref().map(Fault::message),
            results: self.results,
            alerts: self.alerts,
            messages: self.messages,
        }
    }

    /// What the plugin would report.
    #[must_use]
    pub fn report(&self, known: Known<'_>) -> Value {
        let triggers = self.triggers.iter().map(|one| (one.id.clone(), one.report()));
        json!({
            "monitor_name": known.monitor.name(),
            "period_start": known.period.start.as_millisecond(),
            "period_end": known.period.end.as_millisecond(),
            "error": null,
            "input_results": {"results": self.results,
                "error": self.error.as_ref().map(Fault::message)},
            "trigger_results": triggers.collect::<Map<_, _>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::decision::Period, *};
    use crate::opensearch::alerting::Monitor;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn done(output: Option<&str>, ms: Option<i64>, error: Option<&str>) -> Done {
        Done {
            id: "a".to_owned(),
            name: "A".to_owned(),
            output: output.map(|text| ("s".to_owned(), text.to_owned())),
            at: ms.map(at),
            error: error.map(|why| Fault::java("illegal_state_exception", why)),
        }
    }

    fn judged(error: Option<&str>, found: Found) -> Judged {
        let error = error.map(|why| Fault::java("illegal_state_exception", why));
        Judged { id: "t".to_owned(), name: "T".to_owned(), error, found }
    }

    #[test]
    fn a_decision_and_a_report_tell_the_same() {
        let query = |error, actions| judged(error, Found::Query { fires: true, actions });
        let bucket = |actions| {
            let chosen = Map::from_iter([("k".to_owned(), json!({}))]);
            judged(None, Found::Buckets { chosen, actions })
        };
        for (judged, error, report) in [
            (
                query(None, vec![done(Some("m"), Some(5), None)]),
                None,
                json!({"name": "T", "triggered": true, "error": null, "action_results": {"a": {
                    "id": "a", "name": "A", "output": {"subject": "s", "message": "m"},
                    "throttled": false, "executionTime": 5, "error": null}}}),
            ),
            (
                query(Some("no"), vec![]),
                Some("Failed evaluating trigger:\nno"),
                json!({"name": "T", "triggered": true, "error": "no", "action_results": {}}),
            ),
            (
                query(None, vec![done(None, None, None), done(None, Some(5), Some("lost"))]),
                Some("Failed running action:\nlost"),
                json!({"name": "T", "triggered": true, "error": null, "action_results": {"a": {
                    "id": "a", "name": "A", "output": {}, "throttled": false, "executionTime": 5,
                    "error": "lost"}}}),
            ),
            (
                bucket(vec![("k".to_owned(), done(None, None, None))]),
                None,
                json!({"name": "T", "agg_result_buckets": {"k": {}}, "error": null,
                    "action_results": {"k": {"a": {"id": "a", "name": "A", "output": {},
                        "throttled": true, "executionTime": null, "error": null}}}}),
            ),
            (
                bucket(vec![("k".to_owned(), done(None, Some(5), Some("lost")))]),
                Some("Failed running action:\nlost"),
                json!({"name": "T", "agg_result_buckets": {"k": {}}, "error": null,
                    "action_results": {"k": {"a": {"id": "a", "name": "A", "output": {},
                        "throttled": false, "executionTime": 5, "error": "lost"}}}}),
            ),
        ] {
            let decided = judged.decided();
            assert_eq!((decided.fires, decided.error.as_deref()), (true, error));
            assert_eq!(judged.report(), report);
        }
    }

    #[test]
    fn a_report_has_the_shape_of_the_plugins() {
        let monitor = Monitor { body: json!({"name": "m"}), ..Monitor::default() };
        let known =
            Known { monitor: &monitor, period: Period { start: at(1), end: at(2) }, now: at(3) };
        let error = Some(Fault::java("illegal_state_exception", "no"));
        let triggers = vec![judged(None, Found::Query { fires: false, actions: Vec::new() })];
        let outcome = Outcome { error, triggers, ..Outcome::default() };
        assert_eq!(
            outcome.report(known),
            json!({"monitor_name": "m", "period_start": 1, "period_end": 2, "error": null,
                "input_results": {"results": [], "error": "no"},
                "trigger_results": {"t": {"name": "T", "triggered": false, "action_results": {}, "error": null}}})
        );
        assert_eq!(outcome.decision().error.as_deref(), Some("no"));
    }
}
