//! Searches.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error, segment};

/// Whether a search finds anything in these indices; those that are not there count as empty.
///
/// # Errors
/// [`Error`]: 400 also for a query that does not fit the type of its field.
pub async fn finds(client: &Client, indices: &[&str], search: &Value) -> Result<bool, Error> {
    let answer = search_in(client, indices, search).await?;
    Ok(answer.pointer("/hits/total/value").and_then(Value::as_u64).unwrap_or(0) > 0)
}

/// Whether there is any of these indices: a search of none has no shards.
///
/// # Errors
/// [`Error`].
pub async fn has_index(client: &Client, indices: &[&str]) -> Result<bool, Error> {
    let answer = search_in(client, indices, &json!({ "size": 0, "terminate_after": 1 })).await?;
    Ok(answer.pointer("/_shards/total").and_then(Value::as_u64).unwrap_or(0) > 0)
}

async fn search_in(client: &Client, indices: &[&str], search: &Value) -> Result<Value, Error> {
    let names = segment(&indices.join(","));
    let path = format!("/{names}/_search?ignore_unavailable=true&allow_no_indices=true");
    client.call(Method::Post, &path, Some(search)).await
}
