//! What is asked of the replica that runs the monitors: how a monitor's runs went, and a run now. It
//! looks for wishes every few seconds, and takes away those that it has fulfilled.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{
    indices::Index,
    runs::{self, wish_path},
};
use crate::opensearch::{Client, Error};

/// What is noted of a monitor's last runs, the newest first:
///
/// ```json
/// {"scheduled_at": 1800000000000, "started_at": 1800000000007, "took_ms": 413, "outcome": "fired",
///  "triggers": ["name"], "messages": 1, "error": "…"}
/// ```
///
/// # Errors
/// [`Error`].
pub async fn runs(client: &Client, monitor: &str) -> Result<Vec<Value>, Error> {
    let mut state = runs::state(client, monitor).await?.source;
    let past = state.get_mut("history").map(Value::take);
    let mut past = past.and_then(|past| past.as_array().cloned()).unwrap_or_default();
    // One that nobody ran has not begun.
    let at = |run: &Value| run["started_at"].as_i64().or(run["scheduled_at"].as_i64());
    past.sort_by_key(|run| std::cmp::Reverse(at(run)));
    Ok(past)
}

/// Asks for a run of a monitor now, `asked_at` in epoch ms; the leading replica finds it within some
/// seconds.
///
/// # Errors
/// [`Error`].
pub async fn wish(client: &Client, monitor: &str, asked_at: i64) -> Result<(), Error> {
    // The store would make it with whatever fields are usual.
    Index::Runs.make(client).await?;
    let body = json!({ "kind": "wish", "monitor_id": monitor, "asked_at": asked_at });
    let path = format!("{}?refresh=true", wish_path(client, monitor));
    client.call(Method::Put, &path, Some(&body)).await.map(drop)
}

/// Whether nobody has fulfilled the wish for a run of this monitor yet.
///
/// # Errors
/// [`Error`].
pub async fn is_wished(client: &Client, monitor: &str) -> Result<bool, Error> {
    match client.call(Method::Get, &wish_path(client, monitor), None).await {
        Err(fault) if fault.is_not_found() => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Takes a wish back.
///
/// # Errors
/// [`Error`].
pub async fn withdraw(client: &Client, monitor: &str) -> Result<(), Error> {
    let path = format!("{}?refresh=true", wish_path(client, monitor));
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if !fault.is_not_found() => Err(fault),
        _ => Ok(()),
    }
}
