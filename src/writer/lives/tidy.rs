//! Removes the documents of series of which nothing was heard for a long time.

use std::{convert::Infallible, time::Duration};

use serde_json::json;
use tracing::{debug, info};

use super::INDEX;
use crate::{
    clock,
    opensearch::{
        Client, Error,
        guarded::{self, Write},
    },
};

/// How often it is looked.
const EVERY: Duration = Duration::from_hours(1);
/// How long a series is kept that is over, and one that still is engaged, in ms.
const OVER: i64 = 90 * 86_400_000;
const ENGAGED: i64 = 400 * 86_400_000;
/// How many are removed at once.
const PAGE: usize = 5_000;

/// Looks now and then, for ever; it may be dropped at any point.
pub async fn run(client: Client) -> Infallible {
    loop {
        tokio::time::sleep(EVERY).await;
        match remove_old(&client, clock::now().as_millisecond()).await {
            Ok(0) => {}
            Ok(count) => info!(count, "series without news were removed from {INDEX}"),
            // The next time will do.
            Err(fault) => debug!(error = %fault, "old series cannot be removed now"),
        }
    }
}

/// Removes what is too old at the time `now`, epoch ms; gives how many.
///
/// # Errors
/// [`Error`].
pub async fn remove_old(client: &Client, now: i64) -> Result<usize, Error> {
    let older = |engaged: bool, than: i64| {
        json!({ "bool": { "filter": [ { "term": { "engaged": engaged } },
            { "range": { "updated": { "lt": now.saturating_sub(than) } } } ] } })
    };
    let query = json!({ "bool": { "should": [older(false, OVER), older(true, ENGAGED)] } });
    let found = guarded::find(client, INDEX, &query, PAGE).await?;
    let writes: Vec<_> =
        found.iter().map(|(id, guard)| Write { id, guard: *guard, source: None }).collect();
    let items = guarded::write(client, INDEX, &writes).await?;
    Ok(items.iter().filter(|item| item.status < 300).count())
}
