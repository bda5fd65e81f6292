//! The parts of a monitor that linting and rehearsing look at. Pure.

use serde_json::{Value, json};

/// What a monitor fires on, which decides on what its messages can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The result of one query, or of a call of a cluster's API.
    Query,
    /// The buckets of an aggregation, each by itself.
    Bucket,
    /// Single documents.
    Doc,
    /// The alerts of other monitors; a workflow.
    Composite,
}

impl Kind {
    /// The kind of a monitor, as its file or the store has it; `None` for one that is not known
    /// here.
    #[must_use]
    pub fn of(monitor: &Value) -> Option<Self> {
        let text = |key: &str| monitor.get(key).and_then(Value::as_str);
        if text("type") == Some("workflow") || text("workflow_type").is_some() {
            return Some(Self::Composite);
        }
        match text("monitor_type") {
            None | Some("query_level_monitor" | "cluster_metrics_monitor") => Some(Self::Query),
            Some("bucket_level_monitor") => Some(Self::Bucket),
            Some("doc_level_monitor") => Some(Self::Doc),
            Some(_) => None,
        }
    }

    /// The name of the message that is shipped for it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Query => "query_level",
            Self::Bucket => "bucket_level",
            Self::Doc => "doc_level",
            Self::Composite => "composite",
        }
    }
}

/// One action of one trigger.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// The trigger, without the object around it that names its kind.
    pub trigger: &'a Value,
    /// The action.
    pub action: &'a Value,
}

impl<'a> Action<'a> {
    /// The name of the trigger.
    #[must_use]
    pub fn trigger_name(&self) -> &'a str {
        text(self.trigger, "name")
    }

    /// The name of the action.
    #[must_use]
    pub fn name(&self) -> &'a str {
        text(self.action, "name")
    }

    /// The id of the channel that it sends to.
    #[must_use]
    pub fn channel(&self) -> &'a str {
        text(self.action, "destination_id")
    }

    /// The template of its message.
    #[must_use]
    pub fn source(&self) -> &'a str {
        self.action.get("message_template").map_or("", |template| text(template, "source"))
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The monitor's name.
#[must_use]
pub fn name(monitor: &Value) -> &str {
    text(monitor, "name")
}

/// The triggers, each without the object around it that names its kind.
pub fn triggers(monitor: &Value) -> impl Iterator<Item = &Value> {
    let wrapped = monitor.get("triggers").and_then(Value::as_array).into_iter().flatten();
    wrapped.filter_map(|wrapped| wrapped.as_object()?.values().next())
}

/// Every action of every trigger.
#[must_use]
pub fn actions(monitor: &Value) -> Vec<Action<'_>> {
    triggers(monitor)
        .flat_map(|trigger| {
            let actions = trigger.get("actions").and_then(Value::as_array).into_iter().flatten();
            actions.map(move |action| Action { trigger, action })
        })
        .collect()
}

/// The monitor with conditions that are always true. Those of a document-level monitor name its
/// queries and cannot be: it stays as it is.
#[must_use]
pub fn always_true(monitor: &Value) -> Value {
    let mut monitor = monitor.clone();
    let triggers = monitor.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    for wrapped in triggers {
        for kind in ["query_level_trigger", "bucket_level_trigger"] {
            if let Some(source) = wrapped.pointer_mut(&format!("/{kind}/condition/script/source")) {
                *source = json!("true");
            }
        }
    }
    monitor
}

/// The monitor with triggers that tell nobody.
#[must_use]
pub fn without_actions(monitor: &Value) -> Value {
    let mut monitor = monitor.clone();
    let triggers = monitor.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    for trigger in triggers.filter_map(|wrapped| wrapped.as_object_mut()?.values_mut().next()) {
        trigger["actions"] = json!([]);
    }
    monitor
}

/// How many buckets the triggers of a dry run have chosen.
#[must_use]
pub fn buckets(report: &Value) -> usize {
    let triggers = report.get("trigger_results").and_then(Value::as_object).into_iter().flatten();
    let chosen = triggers.filter_map(|(_, result)| result.get("agg_result_buckets")?.as_object());
    chosen.map(serde_json::Map::len).sum()
}

/// What a dry run rendered for one action; of a run that renders for each bucket or document, each
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The trigger's id.
    pub trigger: String,
    /// The action's id.
    pub action: String,
    /// The message, or why there is none.
    pub message: Result<String, String>,
}

/// The messages in the report of a dry run.
#[must_use]
pub fn rendered(report: &Value) -> Vec<Rendered> {
    let triggers = report.get("trigger_results").and_then(Value::as_object).into_iter().flatten();
    let mut all = Vec::new();
    for (trigger, result) in triggers {
        let results = result.get("action_results").and_then(Value::as_object).into_iter().flatten();
        for (key, result) in results {
            // Under the action's id, or under that below the bucket's or the alert's.
            if result.get("output").is_some() {
                all.push(one(trigger, key, result));
            } else {
                let inner = result.as_object().into_iter().flatten();
                all.extend(inner.map(|(key, result)| one(trigger, key, result)));
            }
        }
    }
    all
}

fn one(trigger: &str, action: &str, result: &Value) -> Rendered {
    let message = match (result.pointer("/output/message"), result.get("error")) {
        (Some(Value::String(text)), _) => Ok(text.clone()),
        (_, Some(Value::String(fault))) => Err(fault.clone()),
        _ => Err("the store does not say why".to_owned()),
    };
    Rendered { trigger: trigger.to_owned(), action: action.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitors_kind_decides_on_its_message() {
        for (monitor, want) in [
            (json!({"monitor_type": "query_level_monitor"}), Some("query_level")),
            (json!({}), Some("query_level")),
            (json!({"monitor_type": "cluster_metrics_monitor"}), Some("query_level")),
            (json!({"monitor_type": "bucket_level_monitor"}), Some("bucket_level")),
            (json!({"monitor_type": "doc_level_monitor"}), Some("doc_level")),
            (json!({"type": "workflow"}), Some("composite")),
            (json!({"monitor_type": "ppl_monitor"}), None),
        ] {
            assert_eq!(Kind::of(&monitor).map(Kind::message), want, "{monitor}");
        }
    }

    #[test]
    fn conditions_become_true_where_they_can() {
        let condition = json!({"script": {"source": "x > 1", "lang": "painless"}});
        let of = |kind: &str| json!({"triggers": [{kind: {"condition": condition}}]});
        for (kind, want) in [
            ("query_level_trigger", "true"),
            ("bucket_level_trigger", "true"),
            ("document_level_trigger", "x > 1"),
        ] {
            let monitor = always_true(&of(kind));
            let source = &monitor["triggers"][0][kind]["condition"]["script"]["source"];
            assert_eq!(source, want);
        }
    }

    #[test]
    fn messages_are_found_in_both_shapes_of_a_report() {
        let said = json!({"output": {"subject": "", "message": "hello"}, "error": null});
        let failed = json!({"output": {}, "error": "why"});
        let report = json!({"trigger_results": {
            "q": {"action_results": {"a": said, "b": failed}},
            "bucket": {"action_results": {"h1": {"a": said}, "h2": {"a": said}}},
            "quiet": {"action_results": {}}}});
        let all = rendered(&report);
        let ok = Ok("hello".to_owned());
        assert_eq!(all.iter().filter(|one| one.message == ok).count(), 3);
        let failed = all.iter().find(|one| one.action == "b").unwrap();
        assert_eq!(failed.message, Err("why".to_owned()));
    }
}
