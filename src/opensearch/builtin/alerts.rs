//! The alerts of the built-in engine, the past ones among them: one document each, in the JSON that
//! the Alerting API gives.

use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use super::indices::{Index, hits};
use crate::{
    clock,
    opensearch::{
        Client, Error,
        acknowledging::Said,
        alerts::{Page, Query},
        guarded::{self, Found, Write},
    },
};

/// `execution_id` of the alerts that a run made, whose period ended then, however late it was:
/// `MONITOR_2026-11-22T08:23:00.000Z`.
#[must_use]
pub fn execution(monitor: &str, end: Timestamp) -> String {
    format!("{monitor}_{end:.3}")
}

/// How often it is tried when somebody else writes the same alerts.
const TRIES: usize = 4;
/// How many alerts are deleted at once.
const AT_ONCE: usize = 500;

/// Some of them, with how many there are in all. See [`crate::opensearch::alerts::page`].
///
/// # Errors
/// [`Error`]: 400 for a search that cannot be read.
pub async fn page(client: &Client, query: Query<'_>) -> Result<Page, Error> {
    let Query { search, newest_by, from, size } = query;
    let mut must = Vec::new();
    if !search.trim().is_empty() {
        // Words alone look where those of the plugin do (`TransportGetAlertsAction.kt`).
        must.push(json!({ "query_string": { "query": search, "default_operator": "AND",
            "fields": ["monitor_name", "trigger_name"] } }));
    }
    let body = json!({
        "from": from, "size": size, "version": true, "track_total_hits": true,
        "sort": [{ newest_by: { "order": "desc", "missing": "_last", "unmapped_type": "date" } }],
        "query": { "bool": { "filter": must, "must_not": [{ "term": { "state": "AUDIT" } }] } } });
    let mut answer = Index::Alerts.search(client, &body).await?;
    let total = answer.pointer("/hits/total/value").and_then(Value::as_u64).unwrap_or(0);
    let alerts = hits(&mut answer)?.into_iter().filter_map(told).collect();
    Ok(Page { alerts, total })
}

/// The alert of a hit, with its id and its version, as the API tells it.
fn told(mut hit: Value) -> Option<Value> {
    let (id, version) = (hit["_id"].take(), hit["_version"].take());
    let mut alert = hit.get_mut("_source").map(Value::take).filter(Value::is_object)?;
    alert["id"] = id;
    alert["version"] = version;
    Some(alert)
}

/// Acknowledges alerts of one monitor, each only where nobody wrote it since it was read.
///
/// # Errors
/// [`Error`].
pub async fn acknowledge(client: &Client, monitor: &str, ids: &[&str]) -> Result<Said, Error> {
    let mut said = Said::default();
    let mut left: Vec<&str> = ids.to_vec();
    for _ in 0..TRIES {
        if left.is_empty() {
            break;
        }
        left = acknowledge_once(client, monitor, &left, &mut said).await?;
    }
    for id in left {
        said.failed.insert(id.to_owned(), "somebody else keeps changing it; ask again".to_owned());
    }
    Ok(said)
}

/// Gives those that somebody else wrote meanwhile.
async fn acknowledge_once<'a>(
    client: &Client,
    monitor: &str,
    ids: &[&'a str],
    said: &mut Said,
) -> Result<Vec<&'a str>, Error> {
    let index = Index::Alerts.name(client);
    let (mut writes, now) = (Vec::new(), clock::now().as_millisecond());
    for (id, found) in ids.iter().zip(Index::Alerts.read(client, ids).await?) {
        let (guard, source) = match found {
            Found::Read { guard, source } => (guard, source),
            Found::NoIndex => (None, Value::Null),
            Found::Unread(why) => return Err(Error::Malformed(why)),
        };
        match acknowledged(monitor, id, source, now) {
            Ok(source) => writes.push(Write { id, guard, source: Some(source.to_string()) }),
            Err(reason) => drop(said.failed.insert((*id).to_owned(), reason)),
        }
    }
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let done = guarded::write(client, &index, &writes).await?;
    refresh(client).await?;
    let mut left = Vec::new();
    for item in done {
        match ids.iter().find(|id| **id == item.id) {
            Some(id) if item.status == 409 => left.push(*id),
            _ if (200..300).contains(&item.status) => said.success.push(item.id),
            _ => {
                let why = item.error.map(|cause| cause.text()).unwrap_or_default();
                said.failed.insert(item.id, why);
            }
        }
    }
    Ok(left)
}

/// The alert acknowledged, or why it cannot be, in the plugin's words
/// (`AcknowledgeAlertResponse.kt`).
fn acknowledged(monitor: &str, id: &str, mut alert: Value, now: i64) -> Result<Value, String> {
    if alert["monitor_id"] != monitor {
        return Err(format!("Alert: {id} does not exist (it may have already completed)."));
    }
    match alert["state"].as_str() {
        Some("ACTIVE") => {
            alert["state"] = json!("ACKNOWLEDGED");
            alert["acknowledged_time"] = json!(now);
            Ok(alert)
        }
        Some("ACKNOWLEDGED") => Err("Alert has already been acknowledged.".to_owned()),
        Some("COMPLETED") => Err("Alert has already completed.".to_owned()),
        Some("ERROR") => Err("Alert is in an error state and can not be acknowledged.".to_owned()),
        _ => Err("Alert state unknown.".to_owned()),
    }
}

/// Says of a monitor's alerts that are not over that they are deleted: their monitor is, or their
/// trigger, which is none of `kept`. That moves no time of theirs, as with the plugin
/// (`AlertMover.kt`).
///
/// # Errors
/// [`Error`]; a repetition goes on where it stopped.
pub async fn orphan(client: &Client, monitor: &str, kept: &[&str]) -> Result<(), Error> {
    let index = Index::Alerts.name(client);
    let query = json!({ "bool": {
        "filter": [{ "term": { "monitor_id": monitor } },
            { "terms": { "state": ["ACTIVE", "ACKNOWLEDGED", "ERROR"] } }],
        "must_not": [{ "terms": { "trigger_id": kept } }] } });
    let mut conflicts = 0;
    loop {
        let found = guarded::find(client, &index, &query, AT_ONCE).await?;
        if found.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        let mut writes = Vec::new();
        for (id, found) in ids.iter().zip(Index::Alerts.read(client, &ids).await?) {
            if let Found::Read { guard: guard @ Some(_), mut source } = found {
                source["state"] = json!("DELETED");
                writes.push(Write { id, guard, source: Some(source.to_string()) });
            }
        }
        let done = guarded::write(client, &index, &writes).await?;
        refresh(client).await?;
        conflicts += usize::from(done.iter().any(|item| !(200..300).contains(&item.status)));
        if conflicts == TRIES {
            let reason = format!("the alerts of the monitor {monitor} keep changing; try again");
            return Err(Error::Status { status: 409, reason });
        }
    }
}

/// Lets searches see what was written.
///
/// # Errors
/// [`Error`].
pub async fn refresh(client: &Client) -> Result<(), Error> {
    let path = format!("/{}/_refresh", Index::Alerts.name(client));
    client.call(Method::Post, &path, None).await.map(drop)
}

/// The alerts in an error, newest first.
///
/// # Errors
/// [`Error`].
pub async fn failed(client: &Client, size: usize) -> Result<Vec<Value>, Error> {
    let query = Query { search: "state:ERROR", newest_by: "start_time", from: 0, size };
    page(client, query).await.map(|page| page.alerts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_alert_of_the_monitor_is_acknowledged() {
        for (monitor, state, want) in [
            ("m", "ACTIVE", Ok(json!("ACKNOWLEDGED"))),
            ("m", "ACKNOWLEDGED", Err("already been acknowledged")),
            ("m", "COMPLETED", Err("already completed")),
            ("m", "ERROR", Err("error state")),
            ("m", "DELETED", Err("unknown")),
            ("other", "ACTIVE", Err("does not exist")),
        ] {
            let alert = json!({"monitor_id": monitor, "state": state, "start_time": 1});
            match (acknowledged("m", "a", alert, 7), want) {
                (Ok(alert), Ok(want)) => {
                    assert_eq!((&alert["state"], &alert["acknowledged_time"]), (&want, &json!(7)));
                    assert_eq!(alert["start_time"], 1);
                }
                (Err(reason), Err(want)) => assert!(reason.contains(want), "{reason}"),
                (said, want) => panic!("{monitor} {state}: {said:?}, not {want:?}"),
            }
        }
        assert!(acknowledged("m", "a", Value::Null, 7).unwrap_err().contains("Alert: a does not"));
    }

    #[test]
    fn an_alert_is_told_with_its_id_and_its_version() {
        let hit = json!({"_id": "a", "_version": 3, "_source": {"state": "ACTIVE", "id": "x"}});
        assert_eq!(told(hit), Some(json!({"state": "ACTIVE", "id": "a", "version": 3})));
        assert_eq!(told(json!({"_id": "a"})), None);
    }
}
