//! The monitors of the Alerting plugin.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error, segment};

const MONITORS: &str = "/_plugins/_alerting/monitors";
/// More than the plugin's own default limit (1,000), as many as one search gives.
const MOST: usize = 10_000;

/// A monitor as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// The id that the store chose.
    pub id: String,
    /// When it was last written: a later write has a higher number.
    pub seq_no: u64,
    /// The monitor itself.
    pub body: Value,
}

impl Monitor {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.body.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.body.get("enabled").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The channels that its actions send to, in order, each once.
    #[must_use]
    pub fn channels(&self) -> Vec<&str> {
        let triggers = self.body.get("triggers").and_then(Value::as_array).into_iter().flatten();
        // A trigger is wrapped in an object whose one key is its kind.
        let triggers = triggers.filter_map(|wrapped| wrapped.as_object()?.values().next());
        let actions = triggers.filter_map(|trigger| trigger.get("actions")?.as_array()).flatten();
        let mut ids: Vec<&str> =
            actions.filter_map(|action| action.get("destination_id")?.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// Whether an error says that the store has no such API: the plugin is not installed.
#[must_use]
pub fn is_unavailable(fault: &Error) -> bool {
    matches!(fault.status(), Some(400 | 405 | 501))
}

/// Finds the monitors with exactly this name, the oldest write first.
///
/// # Errors
/// [`Error`]; see [`is_unavailable`] for a store without the plugin.
pub async fn monitors_named(client: &Client, name: &str) -> Result<Vec<Monitor>, Error> {
    // `monitor.name` itself is analysed text: it would match any monitor that shares a word.
    search(client, &json!({ "term": { "monitor.name.keyword": name } })).await
}

/// Lists all monitors, the oldest write first.
///
/// # Errors
/// [`Error`]; see [`is_unavailable`] for a store without the plugin.
pub async fn monitors(client: &Client) -> Result<Vec<Monitor>, Error> {
    search(client, &json!({ "exists": { "field": "monitor.name" } })).await
}

async fn search(client: &Client, query: &Value) -> Result<Vec<Monitor>, Error> {
    let body = json!({ "size": MOST, "seq_no_primary_term": true, "query": query });
    let answer = match client.call(Method::Post, &format!("{MONITORS}/_search"), Some(&body)).await
    {
        // 2.19 says so before the first monitor is made.
        Err(fault) if fault.is_not_found() => return Ok(Vec::new()),
        answer => answer?,
    };
    let hits = answer.pointer("/hits/hits").and_then(Value::as_array);
    let hits = hits.ok_or_else(|| Error::Malformed("a search without hits".to_owned()))?;
    let mut found: Vec<Monitor> = hits.iter().filter_map(read_hit).collect();
    found.sort_by_key(|monitor| monitor.seq_no);
    Ok(found)
}

fn read_hit(hit: &Value) -> Option<Monitor> {
    let source = hit.get("_source")?;
    Some(Monitor {
        id: hit.get("_id")?.as_str()?.to_owned(),
        seq_no: hit.get("_seq_no").and_then(Value::as_u64).unwrap_or(0),
        body: source.get("monitor").unwrap_or(source).clone(),
    })
}

/// The names of the destinations of OpenSearch 1.x, in whose place 2.0 has channels.
///
/// # Errors
/// [`Error`].
pub async fn destinations(client: &Client) -> Result<Vec<String>, Error> {
    let path = "/_plugins/_alerting/destinations?size=200";
    let answer = client.call(Method::Get, path, None).await?;
    let list = answer.get("destinations").and_then(Value::as_array).into_iter().flatten();
    Ok(list.filter_map(|one| one.get("name")?.as_str().map(str::to_owned)).collect())
}

/// Creates a monitor; the store chooses its id.
///
/// # Errors
/// [`Error`].
pub async fn create_monitor(client: &Client, body: &Value) -> Result<Monitor, Error> {
    let mut answer = client.call(Method::Post, MONITORS, Some(body)).await?;
    let id = answer.get("_id").and_then(Value::as_str).map(str::to_owned);
    let id = id.ok_or_else(|| Error::Malformed("a new monitor without an id".to_owned()))?;
    let seq_no = answer.get("_seq_no").and_then(Value::as_u64).unwrap_or(0);
    let body = answer.get_mut("monitor").map(Value::take).unwrap_or_default();
    Ok(Monitor { id, seq_no, body })
}

/// Deletes a monitor; one that is gone already is success.
///
/// # Errors
/// [`Error`].
pub async fn delete_monitor(client: &Client, id: &str) -> Result<(), Error> {
    match client.call(Method::Delete, &format!("{MONITORS}/{}", segment(id)), None).await {
        Err(fault) if !fault.is_not_found() => Err(fault),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_read_in_both_shapes() {
        let body = json!({"name": "m", "enabled": true, "triggers": [
            {"query_level_trigger": {"actions": [{"destination_id": "b"}, {"destination_id": "a"}]}},
            {"bucket_level_trigger": {"actions": [{"destination_id": "b"}, {"name": "none"}]}},
            {"chained_alert_trigger": {}}, "noise"]});
        for source in [body.clone(), json!({ "monitor": body })] {
            let hit = json!({"_id": "x", "_seq_no": 7, "_source": source});
            let monitor = read_hit(&hit).unwrap();
            assert_eq!((monitor.id.as_str(), monitor.seq_no), ("x", 7));
            assert_eq!((monitor.name(), monitor.is_enabled()), ("m", true));
            assert_eq!(monitor.channels(), ["a", "b"]);
        }
        assert_eq!(read_hit(&json!({"_id": "x"})), None);
    }
}
