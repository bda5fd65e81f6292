//! Whether a body is a monitor that the built-in engine can run. What the plugin refuses with a 400 is
//! refused so here; what only the plugin can run is a 422. Pure.

use serde_json::{Map, Value, json};

use crate::opensearch::{Error, alerting::Family};

/// The plugin's own limit, `plugins.alerting.monitor.max_triggers`.
const MOST_TRIGGERS: usize = 10;
/// The status of what only the plugin can run.
pub(super) const UNABLE: u16 = 422;
const QUERY: &str = "query_level_monitor";
const BUCKET: &str = "bucket_level_monitor";
/// What to do about what only the plugin can run.
const MEND: &str = "the built-in engine runs query-level and bucket-level monitors; take \
                    OpenSearch's Alerting plugin (ALERTLOOP_MONITORS=plugin) for others";

/// The body as it is kept: a trigger that does not say its kind is one of a query-level monitor.
///
/// # Errors
/// [`Error::Status`]: 400 and 422.
pub(super) fn checked(family: Family, body: &Value) -> Result<Value, Error> {
    let kind = body.get("type").and_then(Value::as_str);
    let is_workflow = kind == Some("workflow") || body.get("workflow_type").is_some();
    if family == Family::Workflow || is_workflow {
        return Err(no_workflows());
    }
    let Value::Object(body) = body else { return Err(bad("a monitor must be a JSON object")) };
    let mut body = body.clone();
    text(&body, "name", "Monitor name is null")?;
    if kind.is_some_and(|kind| kind != "monitor") {
        return Err(bad("type must be monitor"));
    }
    body.insert("type".to_owned(), json!("monitor"));
    let kind = body.entry("monitor_type").or_insert_with(|| json!(QUERY)).as_str();
    let (kind, trigger) = match kind {
        Some(QUERY) => (QUERY, "query_level_trigger"),
        Some(BUCKET) => (BUCKET, "bucket_level_trigger"),
        Some(other @ ("doc_level_monitor" | "cluster_metrics_monitor")) => {
            return Err(unable(&format!("a monitor of the type {other}")));
        }
        _ => return Err(bad(&format!("monitor_type must be {QUERY} or {BUCKET}"))),
    };
    schedule(body.get("schedule"))?;
    inputs(body.get("inputs"))?;
    let triggers = body.entry("triggers").or_insert_with(|| json!([])).as_array_mut();
    let triggers = triggers.ok_or_else(|| bad("triggers must be a list"))?;
    if triggers.len() > MOST_TRIGGERS {
        return Err(bad(&format!("Monitors can only support up to {MOST_TRIGGERS} triggers")));
    }
    let mut ids = Vec::new();
    for wrapped in triggers {
        let map = wrapped.as_object().ok_or_else(|| bad("a trigger must be a JSON object"))?;
        if kind == QUERY && map.contains_key("condition") {
            *wrapped = json!({ trigger: wrapped.take() });
        }
        let inner = wrapped.get(trigger).and_then(Value::as_object);
        let inner = inner.ok_or_else(|| {
            bad(&format!("a trigger of a {kind} must be a {trigger}: {{\"{trigger}\": {{…}}}}"))
        })?;
        check_trigger(inner, kind)?;
        let id = inner.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        if let Some(id) = id.map(str::to_owned) {
            if ids.contains(&id) {
                return Err(bad(&format!(
                    "Duplicate trigger id: {id}. Trigger ids must be unique."
                )));
            }
            ids.push(id);
        }
    }
    Ok(Value::Object(body))
}

/// Composite monitors run other monitors, which is the plugin's alone.
pub(super) fn no_workflows() -> Error {
    unable("a composite monitor")
}

fn bad(reason: &str) -> Error {
    Error::Status { status: 400, reason: reason.to_owned() }
}

fn unable(what: &str) -> Error {
    Error::Status { status: UNABLE, reason: format!("{what} cannot be run: {MEND}") }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str, fault: &str) -> Result<&'a str, Error> {
    let text = map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| bad(fault))
}

fn schedule(schedule: Option<&Value>) -> Result<(), Error> {
    let schedule = schedule.filter(|one| !one.is_null());
    let schedule = schedule.ok_or_else(|| bad("Monitor schedule is null"))?;
    if let Some(period) = schedule.get("period") {
        let interval = period.get("interval").and_then(Value::as_i64).unwrap_or_default();
        if interval <= 0 {
            return Err(bad("Interval is not allowed to be 0 or negative"));
        }
        let unit = period.get("unit").and_then(Value::as_str);
        return match unit {
            Some("SECONDS" | "MINUTES" | "HOURS" | "DAYS") => Ok(()),
            _ => Err(bad("schedule.period.unit must be MINUTES, HOURS or DAYS")),
        };
    }
    let cron = schedule.get("cron").and_then(Value::as_object);
    let cron = cron.ok_or_else(|| bad("schedule needs a period or a cron"))?;
    let expression = text(cron, "expression", "schedule.cron.expression is missing")?;
    let zone = text(cron, "timezone", "schedule.cron.timezone is missing")?;
    let read = cronexpr::parse_crontab(&format!("{} {zone}", expression.trim()));
    read.map(drop).map_err(|fault| {
        bad(&format!("schedule.cron ({expression:?} in {zone:?}) cannot be read: {fault}"))
    })
}

fn inputs(inputs: Option<&Value>) -> Result<(), Error> {
    let none = Vec::new();
    let inputs = match inputs {
        None => &none,
        Some(Value::Array(inputs)) => inputs,
        Some(_) => return Err(bad("inputs must be a list")),
    };
    if inputs.len() > 1 {
        return Err(bad("Monitors can only have 1 search input."));
    }
    for input in inputs {
        let Some(search) = input.get("search") else {
            let kind = input.as_object().and_then(|map| map.keys().next());
            let kind = kind.map_or("nothing", String::as_str);
            return Err(unable(&format!("a monitor whose input is {kind:?}, not a search,")));
        };
        let indices = search.get("indices").and_then(Value::as_array);
        if indices.is_none_or(|all| all.is_empty() || !all.iter().all(Value::is_string)) {
            return Err(bad("inputs[0].search.indices must be a list of names"));
        }
        if !search.get("query").is_some_and(Value::is_object) {
            return Err(bad("inputs[0].search.query must be the body of a search"));
        }
    }
    Ok(())
}

fn check_trigger(trigger: &Map<String, Value>, kind: &str) -> Result<(), Error> {
    text(trigger, "name", "Trigger name is null")?;
    text(trigger, "severity", "Trigger severity is null")?;
    let script = trigger.get("condition").and_then(|one| one.pointer("/script/source"));
    if !script.is_some_and(Value::is_string) {
        return Err(bad("a trigger needs condition.script.source"));
    }
    if kind == BUCKET {
        let condition = trigger.get("condition");
        let part = |key: &str| condition.and_then(|one| one.get(key));
        if !part("parent_bucket_path").is_some_and(Value::is_string)
            || !part("buckets_path").is_some_and(Value::is_object)
        {
            return Err(bad("a bucket_level_trigger needs condition.parent_bucket_path and \
                            condition.buckets_path"));
        }
    }
    let actions = match trigger.get("actions") {
        None => return Ok(()),
        Some(actions) => actions.as_array().ok_or_else(|| bad("actions must be a list"))?,
    };
    for action in actions {
        let action = action.as_object().ok_or_else(|| bad("an action must be a JSON object"))?;
        text(action, "name", "Action name is null")?;
        text(action, "destination_id", "Destination id is null")?;
        let template = action.get("message_template").and_then(|one| one.get("source"));
        if !template.is_some_and(Value::is_string) {
            return Err(bad("an action needs message_template.source"));
        }
        throttle(action)?;
    }
    Ok(())
}

fn throttle(action: &Map<String, Value>) -> Result<(), Error> {
    let is_on = action.get("throttle_enabled") == Some(&Value::Bool(true));
    let throttle = action.get("throttle").filter(|one| !one.is_null());
    match throttle {
        None if is_on => Err(bad("Action throttle enabled but not set throttle value")),
        None => Ok(()),
        Some(throttle) => {
            let value = throttle.get("value").and_then(Value::as_i64).unwrap_or_default();
            if throttle.get("unit") != Some(&json!("MINUTES")) {
                return Err(bad("Only support MINUTES throttle unit currently"));
            }
            if value < 1 {
                return Err(bad("Can only set positive throttle period"));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor() -> Value {
        json!({"name": "m", "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": ["a-*"], "query": {"size": 0}}}],
            "triggers": [{"query_level_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"source": "return true", "lang": "painless"}},
                "actions": [{"name": "a", "destination_id": "d",
                    "message_template": {"source": "x"}}]}}]})
    }

    fn with(path: &str, value: Value) -> Value {
        let mut body = monitor();
        let (parent, key) = path.rsplit_once('/').unwrap();
        match body.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            map => map[key] = value,
        }
        body
    }

    #[test]
    fn a_monitor_is_kept_with_its_kind() {
        let kept = checked(Family::Monitor, &monitor()).unwrap();
        assert_eq!((&kept["type"], &kept["monitor_type"]), (&json!("monitor"), &json!(QUERY)));
        let mut bare = monitor();
        bare["triggers"][0] = bare["triggers"][0]["query_level_trigger"].take();
        assert_eq!(checked(Family::Monitor, &bare).unwrap(), kept);
    }

    #[test]
    fn what_is_no_monitor_and_what_only_the_plugin_runs_are_told_apart() {
        let trigger = "/triggers/0/query_level_trigger";
        let action = format!("{trigger}/actions/0");
        for (body, want, words) in [
            (json!([]), 400, "JSON object"),
            (with("/name", json!("")), 400, "name is null"),
            (with("/type", json!("destination")), 400, "type must be"),
            (with("/type", json!("workflow")), 422, "composite"),
            (with("/workflow_type", json!("composite")), 422, "composite"),
            (with("/monitor_type", json!("foo")), 400, "monitor_type must be"),
            (with("/monitor_type", json!("doc_level_monitor")), 422, "doc_level_monitor"),
            (with("/monitor_type", json!("cluster_metrics_monitor")), 422, "cluster_metrics"),
            (with("/monitor_type", json!(BUCKET)), 400, "must be a bucket_level_trigger"),
            (with("/schedule", Value::Null), 400, "schedule is null"),
            (with("/schedule/period", json!({"interval": 0, "unit": "DAYS"})), 400, "negative"),
            (with("/schedule/period", json!({"interval": 1, "unit": "WEEKS"})), 400, "unit"),
            (
                with("/schedule", json!({"cron": {"expression": "bad", "timezone": "UTC"}})),
                400,
                "schedule.cron (\"bad\"",
            ),
            (
                with("/schedule", json!({"cron": {"expression": "* * * * *", "timezone": "X/Y"}})),
                400,
                "schedule.cron",
            ),
            (with("/inputs/0", json!({"doc_level_input": {}})), 422, "doc_level_input"),
            (with("/inputs/0/search", json!({"indices": [], "query": {}})), 400, "indices"),
            (with("/inputs/0/search", json!({"indices": ["a"]})), 400, "query"),
            (with(&format!("{trigger}/severity"), Value::Null), 400, "severity"),
            (with(&format!("{trigger}/condition"), json!({})), 400, "condition.script"),
            (with(&format!("{action}/destination_id"), Value::Null), 400, "Destination id"),
            (with(&format!("{action}/message_template"), json!({})), 400, "message_template"),
            (with(&format!("{action}/throttle_enabled"), json!(true)), 400, "throttle"),
            (
                with(&format!("{action}/throttle"), json!({"value": 1, "unit": "HOURS"})),
                400,
                "MINUTES",
            ),
        ] {
            let fault = checked(Family::Monitor, &body).unwrap_err();
            assert_eq!(fault.status(), Some(want), "{fault}");
            assert!(fault.to_string().contains(words), "{fault}");
        }
        let workflow = checked(Family::Workflow, &monitor()).unwrap_err();
        assert!(workflow.to_string().contains("ALERTLOOP_MONITORS"), "{workflow}");
    }

    #[test]
    fn ids_of_triggers_are_unique_and_there_are_not_too_many() {
        let mut body = monitor();
        body["triggers"][0]["query_level_trigger"]["id"] = json!("T");
        let one = body["triggers"][0].clone();
        body["triggers"] = json!([one, one]);
        let fault = checked(Family::Monitor, &body).unwrap_err().to_string();
        assert!(fault.contains("Duplicate trigger id: T"), "{fault}");
        let one = monitor()["triggers"][0].clone();
        body["triggers"] = json!(vec![one; MOST_TRIGGERS + 1]);
        assert!(checked(Family::Monitor, &body).unwrap_err().to_string().contains("up to 10"));
    }
}
