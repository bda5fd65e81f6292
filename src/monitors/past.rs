//! How a monitor's last runs went. The built-in engine notes each run; the plugin tells of its alerts
//! alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Client, Error, Fault, Monitor, switch};
use crate::opensearch::{Engine, alert_search, builtin::asking};

/// As many alerts as are told.
const MOST: usize = 100;

/// A monitor's last runs, or its last alerts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = ConditionHistory)]
pub struct Past {
    /// The monitor's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who runs it: `plugin` or `builtin`.
    pub engine: String,
    /// Its last runs, the newest first; with the plugin, which keeps no runs, those that began an
    /// alert.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = ConditionRun)]
pub struct Run {
    /// For when it was planned.
    pub scheduled_at: Option<String>,
    /// When it began.
    pub started_at: Option<String>,
    /// How many milliseconds it took.
    pub took_ms: Option<u64>,
    /// `quiet`, `fired`, `error`, or `missed` (nobody was there to run it).
    pub outcome: String,
    /// The names of the triggers that fired.
    pub triggers: Vec<String>,
    /// How many messages it sent.
    pub messages: Option<u64>,
    /// The alert that began, with the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reads them of the monitor or the composite monitor with this id.
///
/// # Errors
/// [`Fault`].
pub(super) async fn read(client: &Client, id: &str) -> Result<Past, Fault> {
    let (_, monitor) = switch::read(client, id).await?;
    Ok(of(client, &monitor).await?)
}

/// Reads them of this one.
///
/// # Errors
/// [`Error`].
pub async fn of(client: &Client, monitor: &Monitor) -> Result<Past, Error> {
    let engine = client.engine().await?;
    let runs = match engine {
        Engine::Builtin => asking::runs(client, &monitor.id).await?.iter().map(of_run).collect(),
        Engine::Plugin => {
            let query = ["monitor_id", "workflow_id"]
                .map(|field| alert_search::any_of(field, &[&monitor.id]))
                .join(" OR ");
            let alerts = alert_search::search(client, &query, MOST).await?;
            alerts.iter().map(of_alert).collect()
        }
    };
    let (id, name) = (monitor.id.clone(), monitor.name().to_owned());
    Ok(Past { id, name, engine: engine.word().to_owned(), runs })
}

fn of_run(run: &Value) -> Run {
    let triggers = run["triggers"].as_array().into_iter().flatten();
    Run {
        scheduled_at: time(&run["scheduled_at"]),
        started_at: time(&run["started_at"]),
        took_ms: run["took_ms"].as_u64(),
        outcome: run["outcome"].as_str().unwrap_or("unknown").to_owned(),
        triggers: triggers.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        messages: run["messages"].as_u64(),
        alert: None,
        error: run["error"].as_str().map(str::to_owned),
    }
}

fn of_alert(alert: &Value) -> Run {
    let text = |key: &str| alert[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let error = text("error_message");
    let outcome = if alert["state"] == "ERROR" { "error" } else { "fired" };
    Run {
        started_at: time(&alert["start_time"]),
        outcome: outcome.to_owned(),
        triggers: text("trigger_name").into_iter().collect(),
        alert: text("id"),
        error,
        ..Run::default()
    }
}

fn time(ms: &Value) -> Option<String> {
    Timestamp::from_millisecond(ms.as_i64()?).ok().map(|at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_and_an_alert_are_told_alike() {
        let run = of_run(&json!({"scheduled_at": 1_800_000_000_000_i64,
            "started_at": 1_800_000_000_007_i64, "took_ms": 413, "outcome": "fired",
            "triggers": ["t"], "messages": 2}));
        assert_eq!(run.started_at.as_deref(), Some("2027-01-15T08:00:00.007Z"));
        assert_eq!((run.outcome.as_str(), run.messages, &run.error), ("fired", Some(2), &None));
        let alert = of_alert(&json!({"id": "a", "state": "ERROR", "trigger_name": "t",
            "start_time": 1_800_000_000_007_i64, "error_message": "no such index"}));
        assert_eq!((alert.started_at, alert.triggers), (run.started_at, run.triggers));
        assert_eq!((alert.outcome.as_str(), alert.alert.as_deref()), ("error", Some("a")));
        assert_eq!(alert.error.as_deref(), Some("no such index"));
        assert_eq!(of_alert(&json!({"state": "COMPLETED"})).outcome, "fired");
    }
}
