//! The monitors of the built-in engine. What [`crate::opensearch::alerting`] promises of the plugin's
//! holds of them too: guarded updates, an id that the store chooses, and a stamp that each write moves.

use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use super::{
    alerts,
    checked::checked,
    indices::{Index, hits},
};
use crate::{
    clock,
    opensearch::{
        Client, Error,
        alerting::{Family, MOST, Monitor, Stamp, read, too_many},
        segment,
    },
};

/// Finds those with exactly these names, the oldest write first.
///
/// # Errors
/// [`Error`].
pub async fn named(client: &Client, family: Family, names: &[&str]) -> Result<Vec<Monitor>, Error> {
    find(client, family, &json!({ "terms": { "name.keyword": names } })).await
}

/// Lists all, the oldest write first.
///
/// # Errors
/// [`Error`].
pub async fn all(client: &Client, family: Family) -> Result<Vec<Monitor>, Error> {
    find(client, family, &json!({ "match_all": {} })).await
}

async fn find(client: &Client, family: Family, query: &Value) -> Result<Vec<Monitor>, Error> {
    if family == Family::Workflow {
        return Ok(Vec::new());
    }
    let body = json!({
        "size": MOST, "seq_no_primary_term": true, "version": true, "query": query });
    let hits = hits(&mut Index::Monitors.search(client, &body).await?)?;
    if hits.len() == MOST {
        return Err(too_many());
    }
    let mut found: Vec<Monitor> = hits.into_iter().filter_map(|hit| read(hit, "_source")).collect();
    found.sort_by_key(|monitor| monitor.seq_no);
    Ok(found)
}

/// How many there are, and the number of the last write.
///
/// # Errors
/// [`Error`].
pub async fn stamp(client: &Client) -> Result<Stamp, Error> {
    let body = json!({ "size": 1, "sort": [{ "_seq_no": "desc" }], "track_total_hits": true,
        "_source": false, "seq_no_primary_term": true, "query": { "match_all": {} } });
    let answer = Index::Monitors.search(client, &body).await?;
    Ok(Stamp::read(&answer))
}

/// Reads one as it is, not as the last refresh saw it; `None` where there is none of that id.
///
/// # Errors
/// [`Error`].
pub async fn get(client: &Client, family: Family, id: &str) -> Result<Option<Monitor>, Error> {
    if family == Family::Workflow {
        return Ok(None);
    }
    match client.call(Method::Get, &path_of(client, id), None).await {
        Err(fault) if fault.is_not_found() => Ok(None),
        answer => read(answer?, "_source").map(Some).ok_or_else(without_body),
    }
}

/// Creates one; the store chooses its id.
///
/// # Errors
/// [`Error`]: 400 for a body that is no monitor, 422 for one of a kind that only the plugin runs.
pub async fn create(client: &Client, family: Family, body: &Value) -> Result<Monitor, Error> {
    let body = checked(family, body)?;
    let body = stamped(body, None, clock::now());
    Index::Monitors.make(client).await?;
    let path = format!("/{}/_doc?refresh=true", Index::Monitors.name(client));
    written(client.call(Method::Post, &path, Some(&body)).await?, body)
}

/// Replaces one, unless somebody wrote it since it was read with this sequence number and primary
/// term (409). Alerts of triggers that it has no longer are deleted ones from then on.
///
/// # Errors
/// [`Error`], as [`create`]; 404 where it is gone.
pub async fn update(
    client: &Client,
    family: Family,
    id: &str,
    (seq_no, term): (u64, u64),
    body: &Value,
) -> Result<Monitor, Error> {
    let body = checked(family, body)?;
    let before = get(client, family, id).await?.ok_or_else(|| gone(id))?;
    // The same guard as that of the write: what it had is only of use where it is still so.
    if (before.seq_no, before.primary_term) != (seq_no, term) {
        let reason = format!("the monitor {id} was written since it was read");
        return Err(Error::Status { status: 409, reason });
    }
    let body = stamped(body, Some(&before.body), clock::now());
    let guard = format!("if_seq_no={seq_no}&if_primary_term={term}&refresh=true");
    let path = format!("{}?{guard}", path_of(client, id));
    let after = written(client.call(Method::Put, &path, Some(&body)).await?, body)?;
    let kept = trigger_ids(&after.body);
    if trigger_ids(&before.body).iter().any(|id| !kept.contains(id)) {
        alerts::orphan(client, id, &kept).await?;
    }
    Ok(after)
}

/// Deletes one, and with it its alerts that are not over; one that is gone already is success.
///
/// # Errors
/// [`Error`]; a repetition goes on where it stopped.
pub async fn delete(client: &Client, family: Family, id: &str) -> Result<(), Error> {
    if family == Family::Workflow {
        return Ok(());
    }
    let path = format!("{}?refresh=true", path_of(client, id));
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if !fault.is_not_found() => return Err(fault),
        _ => {}
    }
    alerts::orphan(client, id, &[]).await
}

/// Runs one once, as it stands here, without keeping or sending anything; the report is the plugin's.
///
/// # Errors
/// [`Error`]: 400 for a body that is no monitor, 422 for one of a kind that only the plugin runs.
pub async fn dry_run(client: &Client, monitor: &Value) -> Result<Value, Error> {
    let monitor = checked(Family::Monitor, monitor)?;
    crate::runner::decide::dry_run(client, &monitor, clock::now()).await
}

fn path_of(client: &Client, id: &str) -> String {
    format!("/{}/_doc/{}", Index::Monitors.name(client), segment(id))
}

fn gone(id: &str) -> Error {
    Error::Status { status: 404, reason: format!("there is no monitor {id}") }
}

fn without_body() -> Error {
    Error::Malformed("a monitor without an id or a body".to_owned())
}

/// The answer to a write, with what was written.
fn written(mut answer: Value, body: Value) -> Result<Monitor, Error> {
    answer["_source"] = body;
    read(answer, "_source").ok_or_else(without_body)
}

/// A body with what the plugin fills in. Who was enabled stays enabled since then: his next run would
/// come late otherwise (`TransportIndexMonitorAction.kt`).
fn stamped(mut body: Value, before: Option<&Value>, now: Timestamp) -> Value {
    let now = now.as_millisecond();
    let is_on = |body: &Value| body["enabled"] == true;
    let since = before.filter(|before| is_on(before)).and_then(|one| one["enabled_time"].as_i64());
    body["enabled_time"] = if is_on(&body) { json!(since.unwrap_or(now)) } else { Value::Null };
    body["last_update_time"] = json!(now);
    body["schema_version"] = json!(0);
    for trigger in triggers_mut(&mut body) {
        fill_id(trigger);
        let actions = trigger.get_mut("actions").and_then(Value::as_array_mut);
        for action in actions.into_iter().flatten() {
            fill_id(action);
        }
    }
    body
}

fn fill_id(part: &mut Value) {
    if part["id"].as_str().is_none_or(str::is_empty) {
        part["id"] = json!(format!("{:032x}", rand::random::<u128>()));
    }
}

fn triggers_mut(body: &mut Value) -> impl Iterator<Item = &mut Value> {
    let all = body.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    // Wrapped in an object whose one key is its kind.
    all.filter_map(|wrapped| wrapped.as_object_mut()?.values_mut().next())
}

fn trigger_ids(body: &Value) -> Vec<&str> {
    let all = body.get("triggers").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|wrapped| wrapped.as_object()?.values().next()?.get("id")?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn who_was_enabled_stays_enabled_since_then() {
        let body = |enabled: bool, since: Value| json!({"enabled": enabled, "enabled_time": since});
        for (enabled, before, want) in [
            (true, None, json!(9)),
            (true, Some(body(true, json!(4))), json!(4)),
            (true, Some(body(false, Value::Null)), json!(9)),
            (false, Some(body(true, json!(4))), Value::Null),
            (false, None, Value::Null),
        ] {
            // What the caller sends of it counts for nothing.
            let sent = body(enabled, json!(1));
            let after = stamped(sent, before.as_ref(), at(9));
            assert_eq!(after["enabled_time"], want, "{enabled} {before:?}");
            assert_eq!(after["last_update_time"], 9);
        }
    }

    #[test]
    fn triggers_and_actions_without_an_id_get_one_and_others_keep_theirs() {
        let trigger = |id: &str| json!({"query_level_trigger": {"id": id, "actions": [{"name": "a"}, {"id": "A"}]}});
        let after = stamped(json!({"triggers": [trigger(""), trigger("T")]}), None, at(1));
        let ids = trigger_ids(&after);
        assert!(ids[0].len() == 32 && ids[1] == "T", "{ids:?}");
        let actions = &after["triggers"][1]["query_level_trigger"]["actions"];
        assert_eq!(
            (actions[0]["id"].as_str().unwrap().len(), &actions[1]["id"]),
            (32, &json!("A"))
        );
    }
}
