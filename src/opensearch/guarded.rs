//! Many documents of one index at once, each written only where nobody wrote it since it was read:
//! `_mget`, and `_bulk` with `if_seq_no` and `if_primary_term`.

use bytes::Bytes;
use opensearch::http::Method;
use serde_json::{Value, json};

use super::{
    Client, Error,
    bulk::{Cause, Item},
    kind_of,
};

/// A request grows to at most about this many bytes.
const REQUEST_BYTES: usize = 8 << 20;
/// So many documents are read at once: an answer of a thousand large ones would be very long.
const AT_ONCE: usize = 250;

/// Where a document was when it was read: `_seq_no` and `_primary_term`; `None` where there was none.
pub type Guard = Option<(u64, u64)>;

/// What is at an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A document, or none yet.
    Read {
        /// What guards its next write.
        guard: Guard,
        /// `_source`; null where there is none.
        source: Value,
    },
    /// There is no such index.
    NoIndex,
    /// It cannot be read now, and why.
    Unread(String),
}

/// A document that is to be written.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// `_id`.
    pub id: &'a str,
    /// Of the read before it.
    pub guard: Guard,
    /// `_source`, as JSON on one line; `None` removes it.
    pub source: Option<String>,
}

/// Reads documents by their ids, as they are at this moment.
///
/// # Errors
/// [`Error`], of the request as a whole.
pub async fn read(client: &Client, index: &str, ids: &[&str]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for part in ids.chunks(AT_ONCE) {
        found.extend(read_part(client, index, part).await?);
    }
    Ok(found)
}

async fn read_part(client: &Client, index: &str, ids: &[&str]) -> Result<Vec<Found>, Error> {
    // The index is named with each document, not in the path: a missing one is then told for each.
    let docs: Vec<_> = ids.iter().map(|id| json!({ "_index": index, "_id": id })).collect();
    let mut answer = client.call(Method::Post, "/_mget", Some(&json!({ "docs": docs }))).await?;
    match answer.get_mut("docs").map(Value::take) {
        Some(Value::Array(found)) if found.len() == ids.len() => {
            Ok(found.into_iter().map(found_of).collect())
        }
        _ => Err(Error::Malformed("not as many documents as were asked for".to_owned())),
    }
}

fn found_of(mut answer: Value) -> Found {
    if let Some(fault) = answer.get("error") {
        let text = |name: &str| fault[name].as_str().map(str::to_owned);
        if text("type").as_deref() == Some("index_not_found_exception") {
            return Found::NoIndex;
        }
        return Found::Unread(
            Cause { kind: text("type"), reason: text("reason"), caused_by: None }.text(),
        );
    }
    let number = |name: &str| answer[name].as_u64();
    match (answer["found"].as_bool(), number("_seq_no").zip(number("_primary_term"))) {
        (Some(true), guard @ Some(_)) => Found::Read { guard, source: answer["_source"].take() },
        (Some(false), _) => Found::Read { guard: None, source: Value::Null },
        _ => Found::Unread("an answer without _seq_no".to_owned()),
    }
}

/// Writes documents, each under its guard; a 409 is one that somebody wrote since.
///
/// # Errors
/// [`Error`], of a request as a whole: some may be written. One that is too much for the store
/// (400, 413) is cut in two until it is told of each document.
pub async fn write(client: &Client, index: &str, writes: &[Write<'_>]) -> Result<Vec<Item>, Error> {
    let mut items = Vec::with_capacity(writes.len());
    let mut todo = requests(writes);
    while let Some(part) = todo.pop() {
        let mut body = Vec::new();
        for write in part {
            push(&mut body, index, write);
        }
        match client.bulk(Bytes::from(body), part.len()).await {
            Ok(answers) => items.extend(answers),
            Err(fault) => match (fault.status(), part) {
                (Some(status @ (400 | 413)), [one]) => {
                    items.push(refused(index, one.id, status, &fault));
                }
                (Some(400 | 413), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    todo.extend([second, first]);
                }
                _ => return Err(fault),
            },
        }
    }
    Ok(items)
}

/// Runs of writes that keep the bound (one large document is a run of its own), the first one last.
fn requests<'a, 'b>(writes: &'a [Write<'b>]) -> Vec<&'a [Write<'b>]> {
    let size = |write: &Write| write.source.as_ref().map_or(0, String::len) + 256;
    let (mut runs, mut rest) = (Vec::new(), writes);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |write: &&Write| {
            bytes += size(write);
            bytes <= REQUEST_BYTES
        };
        let (run, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        runs.push(run);
        rest = others;
    }
    runs.reverse();
    runs
}

/// What a document is told that the store does not take even alone.
fn refused(index: &str, id: &str, status: u16, fault: &Error) -> Item {
    let reason = Some(fault.to_string());
    Item {
        status,
        index: index.to_owned(),
        id: id.to_owned(),
        version: None,
        result: None,
        seq_no: None,
        primary_term: None,
        shards: None,
        error: Some(Cause { kind: None, reason, caused_by: None }),
    }
}

fn push(body: &mut Vec<u8>, index: &str, write: &Write) {
    let mut target = json!({ "_index": index, "_id": write.id });
    if let Some((seq_no, primary_term)) = write.guard {
        target["if_seq_no"] = json!(seq_no);
        target["if_primary_term"] = json!(primary_term);
    }
    let verb = match (write.guard, &write.source) {
        (_, None) => "delete",
        (None, _) => "create",
        (Some(_), _) => "index",
    };
    body.extend_from_slice(json!({ verb: target }).to_string().as_bytes());
    body.push(b'\n');
    if let Some(source) = &write.source {
        body.extend_from_slice(source.as_bytes());
        body.push(b'\n');
    }
}

/// Makes a small hidden index with these fields, where nobody else does: on one shard, with a copy
/// where there is a second node, and out of everybody's `*`.
///
/// # Errors
/// [`Error`].
pub async fn make_index(client: &Client, index: &str, fields: Value) -> Result<(), Error> {
    let body = json!({
        "settings": { "index": { "hidden": true, "number_of_shards": 1,
            "auto_expand_replicas": "0-1", "refresh_interval": "30s" } },
        "mappings": { "dynamic": false, "properties": fields }
    });
    let (status, bytes) = client.exchange(Method::Put, &format!("/{index}"), Some(&body)).await?;
    made(status, &bytes)
}

/// Reads the answer to the making of an index. One that is there already is told by the `type` alone:
/// the status is that of any fault of the request (400).
///
/// # Errors
/// [`Error`].
pub(crate) fn made(status: u16, body: &[u8]) -> Result<(), Error> {
    let is_there = || kind_of(body).as_deref() == Some("resource_already_exists_exception");
    if (200..300).contains(&status) || is_there() {
        return Ok(());
    }
    Err(Error::refused(status, body))
}

/// Documents that a search finds, with what guards them; none where there is no index.
///
/// # Errors
/// [`Error`].
pub async fn find(
    client: &Client,
    index: &str,
    query: &Value,
    size: usize,
) -> Result<Vec<(String, Guard)>, Error> {
    let body = json!({ "size": size, "query": query, "_source": false,
        "seq_no_primary_term": true, "track_total_hits": false });
    let path = format!("/{index}/_search?ignore_unavailable=true&allow_no_indices=true");
    let answer = client.call(Method::Post, &path, Some(&body)).await?;
    let hits = answer.pointer("/hits/hits").and_then(Value::as_array);
    let hits = hits.ok_or_else(|| Error::Malformed("a search without hits".to_owned()))?;
    let found = hits.iter().filter_map(|hit| {
        let guard = hit["_seq_no"].as_u64().zip(hit["_primary_term"].as_u64());
        Some((hit["_id"].as_str()?.to_owned(), guard))
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_there_is_created_and_all_else_is_guarded() {
        let lines = |guard, source: Option<&str>| {
            let mut body = Vec::new();
            push(&mut body, "i", &Write { id: "a", guard, source: source.map(str::to_owned) });
            String::from_utf8(body).unwrap()
        };
        assert_eq!(lines(None, Some("{}")), "{\"create\":{\"_id\":\"a\",\"_index\":\"i\"}}\n{}\n");
        assert_eq!(
            lines(Some((3, 1)), Some("{}")),
            "{\"index\":{\"_id\":\"a\",\"_index\":\"i\",\"if_primary_term\":1,\"if_seq_no\":3}}\n{}\n"
        );
        assert!(lines(Some((3, 1)), None).starts_with("{\"delete\":{"));
    }

    #[test]
    fn a_document_an_absent_one_an_absent_index_and_a_fault_are_told_apart() {
        for (answer, want) in [
            (
                json!({"found": true, "_seq_no": 3, "_primary_term": 2, "_source": {"a": 1}}),
                Found::Read { guard: Some((3, 2)), source: json!({"a": 1}) },
            ),
            (json!({"found": false}), Found::Read { guard: None, source: Value::Null }),
            (json!({"error": {"type": "index_not_found_exception"}}), Found::NoIndex),
            (
                json!({"error": {"type": "security_exception", "reason": "no permissions"}}),
                Found::Unread("security_exception: no permissions".to_owned()),
            ),
        ] {
            assert_eq!(found_of(answer.clone()), want, "{answer}");
        }
    }
}
