//! The store as a bystander: counts what has arrived, and removes what a run has made.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use url::Url;

use crate::{
    alerts::{Run, Unique},
    http::Connection,
    options::address_of,
    report::float,
};

/// How long the count may stand still below what is expected before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long after the last document a surplus one is waited for.
const AFTERMATH: Duration = Duration::from_millis(1_500);

/// An OpenSearch node.
pub struct Store {
    pub address: SocketAddr,
    pub host: String,
    connection: Connection,
}

/// Which documents are counted.
pub struct Scope {
    /// Index pattern, as it stands in a path.
    pub indices: String,
    /// Narrows a pattern that holds others' documents too.
    pub query: Value,
}

impl Store {
    pub fn new(url: &Url) -> anyhow::Result<Self> {
        let (address, host) = address_of(url)?;
        Ok(Self { address, host, connection: Connection::new(address) })
    }

    /// Carries out one call and gives the answer's status and JSON.
    async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let host = &self.host;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let status = self.connection.exchange(request.as_bytes()).await;
        let status =
            status.with_context(|| format!("the store does not answer {method} {path}"))?;
        let answer = serde_json::from_slice(self.connection.body());
        Ok((status, answer.with_context(|| format!("no JSON from {method} {path}"))?))
    }

    /// [`Self::call`] that must succeed.
    pub async fn ask(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        match self.call(method, path, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => bail!("the store answered {method} {path} with {status}: {answer}"),
        }
    }

    /// Counts the documents that are there now.
    pub async fn count(&mut self, scope: &Scope) -> anyhow::Result<u64> {
        let Scope { indices, query } = scope;
        self.ask("POST", &format!("/{indices}/_refresh?{LENIENT}"), &Value::Null).await?;
        let path = format!("/{indices}/_count?{LENIENT}");
        match self.call("POST", &path, &json!({ "query": query })).await? {
            (200, answer) => answer["count"].as_u64().context("a count without a number"),
            // An index that was made just now has no shard yet that could be searched.
            (503, _) => Ok(0),
            (status, answer) => bail!("the store cannot count ({status}): {answer}"),
        }
    }

    /// Waits until `expected` documents are there, or no more come. Gives how many there are in
    /// the end, and when the last one that was expected was there.
    pub async fn settle(&mut self, scope: &Scope, expected: u64) -> anyhow::Result<(u64, Instant)> {
        let mut count = 0;
        let mut seen = Instant::now();
        let mut pause = Duration::ZERO;
        while count < expected && seen.elapsed() < PATIENCE {
            tokio::time::sleep(pause).await;
            let (before, asked) = (count, seen);
            count = self.count(scope).await?;
            if count > before {
                seen = Instant::now();
            }
            // Every refresh costs the store time, so there are few of them until the end is near.
            let (new, rest) = (count.saturating_sub(before), expected.saturating_sub(count));
            let needed = seen.duration_since(asked).mul_f64(float(rest) / float(new.max(1)));
            pause = (needed / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        }
        tokio::time::sleep(AFTERMATH).await;
        Ok((self.count(scope).await?, seen))
    }

    /// Finds alerts that have more than one document; an example, where there is one.
    pub async fn doubled(
        &mut self,
        scope: &Scope,
        unique: Unique,
    ) -> anyhow::Result<Option<String>> {
        // Ordered by count and with one shard an index, the first bucket cannot be a wrong one.
        let field = match unique {
            Unique::Id => "event.id",
            Unique::End => "lastPacket",
        };
        let path = format!("/{}/_search?size=0&{LENIENT}", scope.indices);
        let search = json!({
            "query": scope.query,
            "aggs": { "doubled": { "terms": { "field": field, "size": 1 } } },
        });
        let answer = self.ask("POST", &path, &search).await?;
        let first = &answer["aggregations"]["doubled"]["buckets"][0];
        let count = first["doc_count"].as_u64().unwrap_or(0);
        Ok((count > 1).then(|| format!("{field} {} in {count} documents", first["key"])))
    }

    /// Gives indices of this run the types that Malcolm's template gives them.
    pub async fn put_template(&mut self, run: &Run) -> anyhow::Result<()> {
        let date = json!({ "type": "date" });
        let keywords = json!({
            "match_mapping_type": "string",
            "mapping": { "type": "keyword", "ignore_above": 1_024 },
        });
        let template = json!({
            "index_patterns": [format!("{}-*", run.name)],
            "template": {
                "settings": { "number_of_shards": 1, "number_of_replicas": 0 },
                "mappings": {
                    "dynamic_templates": [{ "keywords": keywords }],
                    "properties": {
                        "firstPacket": date, "lastPacket": date,
                        "event": { "properties": { "start": date, "end": date, "ingested": date } },
                    },
                },
            },
        });
        self.ask("PUT", &format!("/_index_template/{}", run.name), &template).await.map(drop)
    }

    /// Lets the records of a backlog through, and waits for the first: how many there are then, and
    /// when that was.
    pub async fn open_gate(&mut self, run: &Run, scope: &Scope) -> anyhow::Result<(u64, Instant)> {
        let template = json!({ "index_patterns": [format!("{}-*", run.gate())], "priority": 1 });
        self.ask("PUT", &format!("/_index_template/{}", run.gate()), &template).await?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.count(scope).await? {
                0 => tokio::time::sleep(SHORTEST_PAUSE).await,
                count => return Ok((count, Instant::now())),
            }
        }
        bail!("the backlog does not begin to move")
    }

    /// Deletes indices by pattern; asks for their names first, since a node may refuse wildcards.
    pub async fn delete_indices(&mut self, pattern: &str) -> anyhow::Result<()> {
        let path = format!("/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all");
        let rows = match self.call("GET", &path, &Value::Null).await? {
            (404, _) => return Ok(()),
            (_, rows) => rows,
        };
        for row in rows.as_array().context("no list of indices")? {
            let name = row["index"].as_str().context("an index without a name")?;
            self.ask("DELETE", &format!("/{name}"), &Value::Null).await?;
        }
        Ok(())
    }

    /// Deletes what a run has left: its indices, and the templates that cover nothing else.
    pub async fn clean(&mut self, run: &Run) -> anyhow::Result<()> {
        self.delete_indices(&format!("{}-*", run.name)).await?;
        let answer = self.ask("GET", "/_index_template", &Value::Null).await?;
        for template in answer["index_templates"].as_array().into_iter().flatten() {
            let patterns = template["index_template"]["index_patterns"].as_array();
            let ours = patterns.is_some_and(|patterns| {
                let mut patterns = patterns.iter().filter_map(Value::as_str);
                patterns.all(|pattern| pattern.starts_with(&run.name))
            });
            if let (true, Some(name)) = (ours, template["name"].as_str()) {
                self.ask("DELETE", &format!("/_index_template/{name}"), &Value::Null).await?;
            }
        }
        Ok(())
    }

    /// Deletes a run's documents from indices that hold others' too.
    pub async fn delete_documents(&mut self, scope: &Scope) -> anyhow::Result<()> {
        let path = format!("/{}/_delete_by_query?{LENIENT}&conflicts=proceed", scope.indices);
        let path = format!("{path}&refresh=true");
        self.ask("POST", &path, &json!({ "query": scope.query })).await.map(drop)
    }
}

/// A pattern that covers no index yet is no fault.
const LENIENT: &str = "ignore_unavailable=true&allow_no_indices=true";
