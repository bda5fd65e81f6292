//! Searches.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error, segment};

/// Whether a search finds anything in these indices; those that are not there count as empty.
///
/// # Errors
/// [`Error`]: 400 also for a query that does not fit the type of its field.
pub async fn finds(client: &Client, indices: &[&str], search: &Value) -> Result<bool, Error> {
    let names = segment(&indices.join(","));
    let path = format!("/{names}/_search?ignore_unavailable=true&allow_no_indices=true");
    let answer = client.call(Method::Post, &path, Some(search)).await?;
    Ok(answer.pointer("/hits/total/value").and_then(Value::as_u64).unwrap_or(0) > 0)
}
