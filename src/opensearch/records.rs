//! The session records of alerts, as they are in the store.

use std::collections::HashMap;

use opensearch::http::Method;
use serde_json::{Map, Value, json};

use super::{Client, Error, segment};

/// A record that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Its `_source`.
    There(Map<String, Value>),
    /// There is none.
    Absent,
    /// Its index is closed: nobody can tell, and nothing can be written.
    Closed,
    /// No shard of its index can be asked: it was made a moment ago, or has lost its primary.
    Unknown,
}

/// Reads records by index and id, as they are at this moment.
///
/// # Errors
/// [`Error`].
pub async fn read(client: &Client, addresses: &[(&str, &str)]) -> Result<Vec<Found>, Error> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let docs: Vec<_> =
        addresses.iter().map(|(index, id)| json!({ "_index": index, "_id": id })).collect();
    let body = json!({ "docs": docs });
    let mut answer = client.call(Method::Post, "/_mget", Some(&body)).await?;
    let found = match answer.get_mut("docs").map(Value::take) {
        Some(Value::Array(found)) if found.len() == addresses.len() => found,
        _ => return Err(Error::Malformed("not as many documents as were asked for".to_owned())),
    };
    found.into_iter().map(document).collect()
}

/// One document; a fault of one, but for the state of its index, is a fault of all.
fn document(mut found: Value) -> Result<Found, Error> {
    if let Some(fault) = found.get("error") {
        let kind = fault.get("type").and_then(Value::as_str).unwrap_or_default();
        let reason = fault.get("reason").and_then(Value::as_str).unwrap_or(kind);
        return match kind {
            "index_not_found_exception" => Ok(Found::Absent),
            "index_closed_exception" => Ok(Found::Closed),
            "no_shard_available_action_exception" => Ok(Found::Unknown),
            _ => Err(Error::Malformed(format!("a record cannot be read: {reason}"))),
        };
    }
    match found.get_mut("_source").map(Value::take) {
        Some(Value::Object(source)) => Ok(Found::There(source)),
        _ => Ok(Found::Absent),
    }
}

/// A record whose alert is not over, as far as it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The alert's id.
    pub alert: String,
    /// What there is of the record: `event.{id,start,end,sequence}`, `rule` and `event.reason`.
    pub source: Value,
}

/// Records of alerts that are not over, in an order that does not change.
#[derive(Debug)]
pub struct OpenRecords {
    path: String,
    query: Value,
    after: Option<Value>,
    is_done: bool,
}

const PAGE: usize = 500;

impl OpenRecords {
    /// Those of the rules with these ids or names.
    #[must_use]
    pub fn of(pattern: &str, rules: &HashMap<String, String>) -> Self {
        let path =
            format!("/{}/_search?ignore_unavailable=true&allow_no_indices=true", segment(pattern));
        let ids: Vec<_> = rules.keys().collect();
        let names: Vec<_> = rules.values().collect();
        let query = json!({ "bool": {
            "filter": [
                { "term": { "event.dataset": "alerting" } },
                { "term": { "event.provider": "malcolm" } },
                { "terms": { "event.action": ["engaged", "acknowledged"] } },
                { "bool": { "should": [
                    { "terms": { "rule.id": ids } }, { "terms": { "rule.name": names } } ] } }
            ] } });
        Self { path, query, after: None, is_done: false }
    }

    /// The next of them; none after the last.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self, client: &Client) -> Result<Vec<Open>, Error> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let mut body = json!({
            "size": PAGE, "query": self.query, "track_total_hits": false,
            "_source": ["event.id", "event.start", "event.end", "event.sequence", "event.reason", "rule"],
            "sort": [
                { "event.start": { "order": "desc", "unmapped_type": "date" } },
                { "event.id": { "order": "desc", "unmapped_type": "keyword" } }
            ] });
        if let Some(after) = &self.after {
            body["search_after"] = after.clone();
        }
        let mut answer = client.call(Method::Post, &self.path, Some(&body)).await?;
        let hits = answer.pointer_mut("/hits/hits").map(Value::take);
        let Some(Value::Array(hits)) = hits else {
            return Err(Error::Malformed("a search without hits".to_owned()));
        };
        self.is_done = hits.len() < PAGE;
        self.after = hits.last().and_then(|hit| hit.get("sort").cloned());
        let open = hits.into_iter().filter_map(|mut hit| {
            let source = hit.get_mut("_source")?.take();
            let alert = source["event"]["id"].as_str()?.to_owned();
            Some(Open { alert, source })
        });
        Ok(open.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_not_there_is_none_and_a_fault_is_told() {
        let there = document(json!({"_id": "a", "found": true, "_source": {"a": 1}})).unwrap();
        assert!(matches!(there, Found::There(source) if source["a"] == 1));
        assert_eq!(document(json!({"_id": "a", "found": false})).unwrap(), Found::Absent);
        let fault = |kind: &str| document(json!({"error": {"type": kind, "reason": "why"}}));
        assert_eq!(fault("index_not_found_exception").unwrap(), Found::Absent);
        assert_eq!(fault("index_closed_exception").unwrap(), Found::Closed);
        assert_eq!(fault("no_shard_available_action_exception").unwrap(), Found::Unknown);
        assert!(fault("security_exception").unwrap_err().to_string().contains("why"));
    }
}
