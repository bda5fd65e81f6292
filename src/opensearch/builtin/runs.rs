//! What is noted of the runs of monitors: one document a monitor, whose `_id` is the monitor's; and
//! wishes that one run now.
//!
//! ```json
//! {"kind": "state", "monitor_id": "…", "planned": 1800000000000, "last_run": 1800000000420,
//!  "current": ["alert id"], "pending": null,
//!  "history": [{"scheduled_at": 1800000000000, "started_at": 1800000000007, "took_ms": 413,
//!               "outcome": "fired", "triggers": ["name"], "messages": 1}]}
//! {"kind": "wish", "monitor_id": "…", "asked_at": 1800000000000}
//! ```
//! Times are epoch ms. A state is written by the leading replica alone, each write guarded.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::indices::{Index, hits};
use crate::opensearch::{
    Client, Error,
    guarded::{self, Found, Guard, Write},
    segment,
};

/// As many as one answer holds.
const PAGE: usize = 1_000;

/// A document as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `_id`.
    pub id: String,
    /// What guards its next write.
    pub guard: Guard,
    /// `_source`.
    pub source: Value,
}

/// That a monitor is to be run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The monitor's id.
    pub monitor: String,
    /// When it was asked for; epoch ms.
    pub asked_at: i64,
    /// What guards its removal.
    pub guard: Guard,
}

/// All states, as they are now.
///
/// # Errors
/// [`Error`].
pub async fn states(client: &Client) -> Result<Vec<Document>, Error> {
    let index = Index::Runs.name(client);
    let refresh = format!("/{index}/_refresh?ignore_unavailable=true&allow_no_indices=true");
    client.call(Method::Post, &refresh, None).await?;
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = find(client, "state", after.as_deref()).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|last| last.id.clone());
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// The state of a monitor, as it is at this moment; `source` is null where there is none.
///
/// # Errors
/// [`Error`].
pub async fn state(client: &Client, monitor: &str) -> Result<Document, Error> {
    let mut found = Index::Runs.read(client, &[monitor]).await?;
    match found.pop() {
        Some(Found::Read { guard, source }) => {
            Ok(Document { id: monitor.to_owned(), guard, source })
        }
        Some(Found::NoIndex) => {
            Ok(Document { id: monitor.to_owned(), guard: None, source: Value::Null })
        }
        Some(Found::Unread(why)) => Err(Error::Malformed(why)),
        None => Err(Error::Malformed("no document was answered".to_owned())),
    }
}

/// Writes a state, or removes it where it is `None`; gives what guards the next write.
///
/// # Errors
/// [`Error`]; 409 where somebody wrote since it was read. Where there was no answer, it may be written.
pub async fn write(
    client: &Client,
    monitor: &str,
    guard: Guard,
    state: Option<&Value>,
) -> Result<Guard, Error> {
    let write = Write { id: monitor, guard, source: state.map(Value::to_string) };
    let items = guarded::write(client, &Index::Runs.name(client), &[write]).await?;
    let item = items.into_iter().next();
    let item = item.ok_or_else(|| Error::Malformed("a bulk answer without items".to_owned()))?;
    let is_done = (200..300).contains(&item.status) || (state.is_none() && item.status == 404);
    if is_done {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let place = number(item.seq_no).zip(number(item.primary_term));
        return Ok(place.filter(|_| state.is_some()));
    }
    let reason = item.error.map(|cause| cause.text()).unwrap_or_default();
    Err(Error::Status { status: item.status, reason })
}

/// What is wished for.
///
/// # Errors
/// [`Error`].
pub async fn wishes(client: &Client) -> Result<Vec<Wish>, Error> {
    let found = find(client, "wish", None).await?;
    let wishes = found.into_iter().filter_map(|Document { guard, source, .. }| {
        let monitor = source["monitor_id"].as_str()?.to_owned();
        Some(Wish { monitor, asked_at: source["asked_at"].as_i64()?, guard })
    });
    Ok(wishes.collect())
}

/// Takes a wish away, unless it was asked for again meanwhile.
///
/// # Errors
/// [`Error`].
pub async fn fulfil(client: &Client, wish: &Wish) -> Result<(), Error> {
    let Some((seq_no, primary_term)) = wish.guard else { return Ok(()) };
    let guard = format!("if_seq_no={seq_no}&if_primary_term={primary_term}&refresh=true");
    let path = format!("{}?{guard}", wish_path(client, &wish.monitor));
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if !fault.is_not_found() && !fault.is_conflict() => Err(fault),
        _ => Ok(()),
    }
}

/// Where the wish for a run of a monitor is.
pub(super) fn wish_path(client: &Client, monitor: &str) -> String {
    format!("/{}/_doc/{}", Index::Runs.name(client), segment(&format!("wish-{monitor}")))
}

async fn find(client: &Client, kind: &str, after: Option<&str>) -> Result<Vec<Document>, Error> {
    let mut body = json!({ "size": PAGE, "sort": [{ "monitor_id": "asc" }],
        "query": { "term": { "kind": kind } }, "seq_no_primary_term": true,
        "track_total_hits": false });
    if let Some(after) = after {
        body["search_after"] = json!([after]);
    }
    let path = Index::Runs.search_path(client);
    let mut answer = client.call(Method::Post, &path, Some(&body)).await?;
    if answer.pointer("/_shards/failed").and_then(Value::as_u64) != Some(0) {
        let index = Index::Runs.name(client);
        return Err(Error::Malformed(format!("not all of {index} can be read")));
    }
    Ok(hits(&mut answer)?.into_iter().filter_map(document).collect())
}

fn document(mut hit: Value) -> Option<Document> {
    let id = hit["_id"].as_str()?.to_owned();
    let guard = hit["_seq_no"].as_u64().zip(hit["_primary_term"].as_u64());
    Some(Document { id, guard, source: hit["_source"].take() })
}
