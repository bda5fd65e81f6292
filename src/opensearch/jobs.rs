//! When each monitor ran last, as the nodes that run them tell it: `GET _plugins/_alerting/stats`; or
//! as the built-in engine keeps it.
//!
//! ```json
//! {"plugins.scheduled_jobs.enabled": true, "_nodes": {"failed": 0},
//!  "nodes": {"node id": {"jobs_info": {"monitor id": {"last_execution_time": 1795287840001,
//!                                                     "running_on_time": true}}}}}
//! ```
//! A monitor has no `last_execution_time` until its first run on that node: after it was made or
//! changed, or the node was started, or another took it over. `running_on_time` is true then as well;
//! for a cron schedule it is false where a run began a second late. Source: `JobScheduler.kt`,
//! `Schedule.kt`; seen on 3.4.0.

use std::collections::HashMap;

use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error, builtin};

/// What runs on the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Whether anything runs at all: the cluster setting `plugins.scheduled_jobs.enabled`.
    pub are_on: bool,
    /// Whether every node has answered.
    pub are_all: bool,
    /// The last run of each monitor and workflow that a node has, by its id.
    pub last_runs: HashMap<String, Option<Timestamp>>,
}

/// Asks all nodes.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn jobs(client: &Client) -> Result<Jobs, Error> {
    if client.is_builtin().await? {
        return builtin::jobs::jobs(client).await;
    }
    let answer = client.call(Method::Get, "/_plugins/_alerting/stats/jobs_info", None).await?;
    read(&answer).ok_or_else(|| Error::Malformed("no list of nodes".to_owned()))
}

fn read(answer: &Value) -> Option<Jobs> {
    let nodes = answer.get("nodes")?.as_object()?.values();
    let mut last_runs: HashMap<String, Option<Timestamp>> = HashMap::new();
    for (id, job) in nodes.filter_map(|node| node.get("jobs_info")?.as_object()).flatten() {
        let last = job.get("last_execution_time").and_then(Value::as_i64);
        let last = last.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let known = last_runs.entry(id.clone()).or_default();
        *known = last.max(*known);
    }
    Some(Jobs {
        are_on: answer.get("plugins.scheduled_jobs.enabled") != Some(&Value::Bool(false)),
        are_all: answer.pointer("/_nodes/failed").and_then(Value::as_u64).unwrap_or(0) == 0,
        last_runs,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_run_on_any_node_counts() {
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        let answer = json!({"_nodes": {"failed": 1}, "plugins.scheduled_jobs.enabled": false,
            "nodes": {
                "one": {"jobs_info": {"a": {"last_execution_time": 5, "running_on_time": true},
                                      "b": {"running_on_time": true}}},
                "two": {"jobs_info": {"a": {"last_execution_time": 9}}},
                "three": {}}});
        let jobs = read(&answer).unwrap();
        assert_eq!((jobs.are_on, jobs.are_all), (false, false));
        assert_eq!(
            (jobs.last_runs["a"], jobs.last_runs["b"], jobs.last_runs.len()),
            (at(9), None, 2)
        );
        let quiet = read(&json!({"_nodes": {"failed": 0}, "nodes": {}})).unwrap();
        assert_eq!((quiet.are_on, quiet.are_all), (true, true));
        assert_eq!(read(&json!({})), None);
    }
}
