//! The parts of a monitor that a run looks at. Pure.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::fault::Fault;
use crate::opensearch::{Error, alerting::Monitor};

/// What a monitor fires on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The result of its search.
    Query,
    /// The buckets of an aggregation, each by itself.
    Bucket,
}

impl Kind {
    /// The kind of a monitor; the name of one that is not run here.
    ///
    /// # Errors
    /// Its `monitor_type`.
    pub fn of(monitor: &Value) -> Result<Self, String> {
        match monitor["monitor_type"].as_str() {
            None | Some("query_level_monitor") => Ok(Self::Query),
            Some("bucket_level_monitor") => Ok(Self::Bucket),
            Some(other) => Err(other.to_owned()),
        }
    }
}

/// One trigger.
#[derive(Clone, Copy, Debug)]
pub struct Trigger<'a> {
    /// It, without the object around it that names its kind.
    pub body: &'a Value,
}

impl<'a> Trigger<'a> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        text(self.body, "id")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        text(self.body, "name")
    }

    /// Its script: `source`, `lang`, `params`.
    #[must_use]
    pub fn script(&self) -> &'a Value {
        &self.body["condition"]["script"]
    }

    /// What it does when it fires.
    #[must_use]
    pub fn actions(&self) -> Vec<Action<'a>> {
        let actions = self.body["actions"].as_array().into_iter().flatten();
        actions.map(|body| Action { body }).collect()
    }
}

/// One action.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// It.
    pub body: &'a Value,
}

/// How often an action of a bucket-level monitor is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once for each alert of these categories, in this order.
    PerAlert(Vec<Category>),
    /// Once for all.
    PerExecution,
}

/// What an alert of a bucket is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Its bucket fired before.
    Deduped,
    /// Its bucket fires for the first time.
    New,
    /// Its bucket fires no longer.
    Completed,
}

impl<'a> Action<'a> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        text(self.body, "id")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        text(self.body, "name")
    }

    /// Where it sends to.
    #[must_use]
    pub fn destination(&self) -> &'a str {
        text(self.body, "destination_id")
    }

    /// The template of its subject, where it has one.
    #[must_use]
    pub fn subject(&self) -> Option<&'a Value> {
        self.body.get("subject_template").filter(|template| !template.is_null())
    }

    /// The template of its message.
    #[must_use]
    pub fn message(&self) -> &'a Value {
        &self.body["message_template"]
    }

    /// How often it is done; without a word about it, for each alert that is there.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let scope = &self.body["action_execution_policy"]["action_execution_scope"];
        if scope.get("per_execution").is_some() {
            return Scope::PerExecution;
        }
        let Some(names) = scope["per_alert"]["actionable_alerts"].as_array() else {
            return Scope::PerAlert(vec![Category::Deduped, Category::New]);
        };
        let category = |name: &Value| match name.as_str()? {
            "DEDUPED" => Some(Category::Deduped),
            "NEW" => Some(Category::New),
            "COMPLETED" => Some(Category::Completed),
            _ => None,
        };
        Scope::PerAlert(names.iter().filter_map(category).collect())
    }
}

/// The triggers, in the monitor's order; those of old monitors have no object around them.
#[must_use]
pub fn triggers(monitor: &Value) -> Vec<Trigger<'_>> {
    let list = monitor["triggers"].as_array().into_iter().flatten();
    let inner = |wrapped: &'_ Value| {
        let named = ["query_level_trigger", "bucket_level_trigger"];
        named.into_iter().find_map(|kind| wrapped.get(kind).map(|_| kind))
    };
    list.map(|wrapped| Trigger { body: inner(wrapped).map_or(wrapped, |kind| &wrapped[kind]) })
        .collect()
}

/// The indices and the search of the monitor's one input.
#[must_use]
pub fn search(monitor: &Value) -> Option<(Vec<&str>, &Value)> {
    let search = monitor["inputs"].get(0)?.get("search")?;
    let indices = search["indices"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Some((indices.collect(), &search["query"]))
}

/// A text of an object; empty where there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// The monitor with an id for each trigger and action: the plugin gives those that have none a random
/// one, and here they are the same at each run.
#[must_use]
pub fn identified(monitor: &Monitor) -> Cow<'_, Monitor> {
    let is_named = |one: &Value| one["id"].is_string();
    let all = triggers(&monitor.body);
    let is_whole = all.iter().all(|trigger| {
        is_named(trigger.body) && trigger.actions().iter().all(|action| is_named(action.body))
    });
    if is_whole {
        return Cow::Borrowed(monitor);
    }
    let mut monitor = monitor.clone();
    let name = |one: &mut Value, id: String| {
        if let Some(one) = one.as_object_mut() {
            one.entry("id").or_insert_with(|| json!(id));
        }
    };
    let list = monitor.body.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    for (at, wrapped) in list.enumerate() {
        let kind = ["query_level_trigger", "bucket_level_trigger"]
            .into_iter()
            .find(|kind| wrapped.get(kind).is_some());
        let Some(trigger) = (match kind {
            Some(kind) => wrapped.get_mut(kind),
            None => Some(wrapped),
        }) else {
            continue;
        };
        name(trigger, format!("trigger-{at}"));
        let actions =
            trigger.get_mut("actions").and_then(Value::as_array_mut).into_iter().flatten();
        for (of, action) in actions.enumerate() {
            name(action, format!("action-{at}-{of}"));
        }
    }
    Cow::Owned(monitor)
}

/// Whether a monitor can be run here at all.
///
/// # Errors
/// [`Error::Status`] with 400, as the plugin answers to what is no monitor.
pub fn check(monitor: &Value) -> Result<(), Error> {
    let refused = |reason: String| Err(Error::Status { status: 400, reason });
    if let Err(kind) = Kind::of(monitor) {
        return refused(not_run(&kind).message());
    }
    if monitor["name"].as_str().is_none() {
        return refused("Monitor name is null".to_owned());
    }
    if !monitor["schedule"].is_object() {
        return refused("Monitor schedule is null".to_owned());
    }
    if search(monitor).is_none() && monitor["inputs"].as_array().is_none_or(|all| !all.is_empty()) {
        return refused(without_search().message());
    }
    Ok(())
}

/// Why a monitor of this kind is not run.
#[must_use]
pub fn not_run(kind: &str) -> Fault {
    let why = format!(
        "alertloop itself runs query-level and bucket-level monitors, and this is a {kind}: \
         OpenSearch's Alerting plugin runs it"
    );
    Fault::java("illegal_argument_exception", why)
}

/// Why a monitor without a search is not run.
#[must_use]
pub fn without_search() -> Fault {
    let why = "the monitor has no search: give it `inputs` with one `search` (`indices`, `query`)";
    Fault::java("illegal_argument_exception", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_id_gets_one_that_stays() {
        let body = json!({"triggers": [
            {"query_level_trigger": {"id": "t", "actions": [{"name": "x"}, {"id": "b"}]}},
            {"name": "old"}]});
        let monitor = Monitor { body, ..Monitor::default() };
        let named = identified(&monitor);
        let found: Vec<_> = triggers(&named.body)
            .iter()
            .map(|trigger| {
                (trigger.id(), trigger.actions().iter().map(Action::id).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(found, [("t", vec!["action-0-0", "b"]), ("trigger-1", vec![])]);
        assert!(matches!(identified(&named), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_monitor_is_refused() {
        let search = json!([{"search": {"indices": ["i"], "query": {}}}]);
        for (mut monitor, want) in [
            (json!({"name": "m", "inputs": search}), true),
            (json!({"name": "m", "inputs": []}), true),
            (json!({"inputs": search}), false),
            (json!({"name": "m"}), false),
            (json!({"name": "m", "monitor_type": "doc_level_monitor", "inputs": search}), false),
        ] {
            assert!(check(&monitor).is_err(), "without a schedule: {monitor}");
            monitor["schedule"] = json!({"period": {"interval": 1, "unit": "MINUTES"}});
            assert_eq!(check(&monitor).is_ok(), want, "{monitor}");
        }
    }

    #[test]
    fn the_parts_are_found_in_old_and_new_monitors() {
        let trigger = json!({"id": "t", "name": "T", "condition": {"script": {"source": "true"}},
            "actions": [{"id": "a", "name": "A", "destination_id": "d", "subject_template": null}]});
        for wrapped in [
            json!({"query_level_trigger": trigger}),
            json!({"bucket_level_trigger": trigger}),
            trigger.clone(),
        ] {
            let monitor = json!({"triggers": [wrapped]});
            let found = triggers(&monitor);
            let [trigger] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((trigger.id(), trigger.name()), ("t", "T"));
            assert_eq!(trigger.script()["source"], "true");
            let actions = trigger.actions();
            assert_eq!((actions[0].id(), actions[0].destination()), ("a", "d"));
            assert_eq!(actions[0].subject(), None);
        }
    }

    #[test]
    fn the_scope_of_an_action_is_read() {
        use Category::{Completed, Deduped, New};
        for (policy, want) in [
            (Value::Null, Scope::PerAlert(vec![Deduped, New])),
            (json!({"action_execution_scope": {"per_execution": {}}}), Scope::PerExecution),
            (
                json!({"action_execution_scope": {"per_alert": {"actionable_alerts": ["NEW", "COMPLETED"]}}}),
                Scope::PerAlert(vec![New, Completed]),
            ),
        ] {
            let action = json!({"action_execution_policy": policy});
            assert_eq!(Action { body: &action }.scope(), want);
        }
    }

    #[test]
    fn what_is_not_run_here_is_named() {
        for (monitor, want) in [
            (json!({}), Ok(Kind::Query)),
            (json!({"monitor_type": "bucket_level_monitor"}), Ok(Kind::Bucket)),
            (json!({"monitor_type": "doc_level_monitor"}), Err("doc_level_monitor".to_owned())),
        ] {
            assert_eq!(Kind::of(&monitor), want);
        }
        assert_eq!(search(&json!({"inputs": []})), None);
        let monitor = json!({"inputs": [{"search": {"indices": ["a"], "query": {"size": 0}}}]});
        assert_eq!(search(&monitor), Some((vec!["a"], &json!({"size": 0}))));
    }
}
