//! A run by hand: what it decided, and what it would send or has sent. Pure.

use serde::Serialize;
use serde_json::Value;

use crate::provision::shape;

/// What a run came to, by the report of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The monitor's name.
    pub monitor: String,
    /// Whether nothing was kept or sent.
    pub dry_run: bool,
    /// What went wrong with its query.
    pub error: Option<String>,
    /// What each trigger decided.
    pub triggers: Vec<Fired>,
    /// The messages, as they were rendered.
    pub messages: Vec<Rendered>,
}

/// What a trigger decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fired {
    /// Its name.
    pub name: String,
    /// Whether it fires.
    pub fires: bool,
    /// What went wrong with it.
    pub error: Option<String>,
}

/// A rendered message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// The action's name.
    pub action: String,
    /// The message.
    pub body: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

impl Trial {
    /// Reads the report of a run of this monitor.
    #[must_use]
    pub fn of(monitor: &Value, report: &Value, dry_run: bool) -> Self {
        let results = report["trigger_results"].as_object();
        let ids = |one: &Value| one["id"].as_str().unwrap_or_default().to_owned();
        // In a dry run the triggers of a bucket-level monitor have other ids than in the monitor.
        let named = |id: &str, result: &Value| {
            let by_id = shape::triggers(monitor).find(|one| ids(one) == id).map(shape::name);
            by_id.or(result["name"].as_str()).unwrap_or(id).to_owned()
        };
        let triggers = results.into_iter().flatten().map(|(id, result)| {
            let buckets = result["agg_result_buckets"].as_object();
            let fires = result["triggered"].as_bool();
            Fired {
                name: named(id, result),
                fires: fires.unwrap_or_else(|| buckets.is_some_and(|all| !all.is_empty())),
                error: error(&result["error"]),
            }
        });
        let triggers = triggers.collect();
        let actions = shape::actions(monitor);
        let messages = shape::rendered(report).into_iter().map(|one| {
            let action = actions.iter().find(|known| ids(known.action) == one.action);
            let name = action.map_or(one.action.as_str(), shape::Action::name).to_owned();
            match one.message {
                Ok(body) => Rendered { action: name, body: Some(body), error: None },
                Err(fault) => Rendered { action: name, body: None, error: Some(fault) },
            }
        });
        Self {
            monitor: shape::name(monitor).to_owned(),
            dry_run,
            error: error(&report["input_results"]["error"]),
            triggers,
            messages: messages.collect(),
        }
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let messages = self.messages.iter().all(|one| one.error.is_none());
        let triggers = self.triggers.iter().all(|one| one.error.is_none());
        self.error.is_none() && triggers && messages
    }
}

fn error(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_told_with_the_names_of_triggers_and_actions() {
        let monitor = json!({"name": "m", "triggers": [{"query_level_trigger": {"id": "T",
            "name": "too many", "actions": [{"id": "A", "name": "tell"}]}}]});
        let report = json!({"input_results": {"results": [{}], "error": null},
            "trigger_results": {"T": {"name": "too many", "triggered": true, "error": null,
                "action_results": {"A": {"output": {"message": "hello"}, "error": null}}}}});
        let trial = Trial::of(&monitor, &report, true);
        assert_eq!((trial.triggers[0].name.as_str(), trial.triggers[0].fires), ("too many", true));
        assert_eq!(trial.messages[0].action, "tell");
        assert_eq!(trial.messages[0].body.as_deref(), Some("hello"));
        assert!(trial.is_sound());
    }

    #[test]
    fn buckets_fire_where_there_are_any_and_what_went_wrong_is_told() {
        let monitor = json!({"name": "m"});
        let of =
            |result: Value| Trial::of(&monitor, &json!({"trigger_results": {"x": result}}), true);
        let some = of(json!({"name": "t", "agg_result_buckets": {"a": {}}}));
        assert_eq!((some.triggers[0].name.as_str(), some.triggers[0].fires), ("t", true));
        let none = of(json!({"name": "t", "agg_result_buckets": {}, "error": "no script"}));
        assert!(!none.triggers[0].fires && !none.is_sound());
        let failed = Trial::of(&monitor, &json!({"input_results": {"error": "no index"}}), false);
        assert_eq!(failed.error.as_deref(), Some("no index"));
        assert!(!failed.is_sound());
    }
}
