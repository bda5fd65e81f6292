//! What is reconciled: monitors and alerts, put into the Alerting plugin's own indices as the plugin
//! writes them. Through its API a monitor takes 0.15 s, and an alert a run of a monitor.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

const MONITORS: &str = "/_plugins/_alerting/monitors";
const CONFIG: &str = "/.opendistro-alerting-config";
/// Of the alerts that are not over.
pub const ACTIVE: &str = ".opendistro-alerting-alerts";
/// Of those that are.
pub const HISTORY: &str = ".opendistro-alerting-alert-history-write";
const CHANNELS: &str = "/_plugins/_notifications/configs";
const CHANNEL: &str = "bench-reconcile";
/// Nobody listens there: what is measured are lost webhooks.
pub const WEBHOOK: &str = "http://127.0.0.1:1/mapi/alert";
const IN_A_REQUEST: usize = 2_000;

/// The store, and what was made there.
pub struct Ground {
    url: String,
    client: reqwest::Client,
    /// One that was made through the API.
    first: Option<String>,
}

/// An alert of the bench.
#[derive(Clone, Copy)]
pub struct Made {
    pub number: usize,
    /// How many monitors share the alerts.
    pub monitors: usize,
    pub state: &'static str,
    /// Epoch ms.
    pub start: i64,
    pub last: i64,
    pub end: Option<i64>,
}

impl Made {
    pub fn id(&self) -> String {
        format!("bench-alert-{:08}", self.number)
    }

    fn document(&self) -> Value {
        let monitor = self.number % self.monitors;
        let error = (self.state == "ERROR").then_some("Failed running action:\nrefused");
        json!({
            "id": self.id(), "version": -1, "monitor_id": monitor_id(monitor), "workflow_id": "",
            "workflow_name": "", "associated_alert_ids": [], "schema_version": 5,
            "monitor_version": 1, "monitor_name": format!("bench: {monitor}"),
            "execution_id": format!("{}_2026-11-21T20:03:46.987162837_441518c1-f856-4842-aa5a-79a664a75908", monitor_id(monitor)),
            "monitor_user": {"name": "", "backend_roles": [], "roles": [], "custom_attribute_names": []},
            "trigger_id": "malcolm-api-loopback-trigger", "trigger_name": "Malcolm API Loopback Trigger",
            "finding_ids": [], "related_doc_ids": [], "state": self.state, "error_message": error,
            "alert_history": [], "severity": "4",
            "action_execution_results": [{"action_id": "malcolm-api-loopback-action",
                "last_execution_time": self.last, "throttled_count": 0}],
            "start_time": self.start, "last_notification_time": self.last, "end_time": self.end,
            "acknowledged_time": null})
    }
}

fn monitor_id(number: usize) -> String {
    format!("bench-monitor-{number:06}")
}

impl Ground {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().build().context("no client")?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client, first: None })
    }

    /// Carries out a call that must succeed.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, text).await
    }

    async fn send(&self, method: &str, path: &str, body: String) -> anyhow::Result<Value> {
        let request = self.client.request(method.parse()?, format!("{}{path}", self.url));
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: no JSON"))
    }

    /// Operations of a `_bulk`, all of which must succeed.
    pub async fn bulk(&self, lines: String) -> anyhow::Result<()> {
        let answer = self.send("POST", "/_bulk", lines).await?;
        ensure!(answer["errors"] == false, "a _bulk with errors: {}", answer["items"][0]);
        Ok(())
    }

    /// Makes our channel, as one of `since` (epoch ms), and so many monitors, of which the first
    /// `sending` send to it.
    pub async fn make(
        &mut self,
        monitors: usize,
        sending: usize,
        since: i64,
    ) -> anyhow::Result<()> {
        let config = json!({"config_id": CHANNEL, "config": {"name": CHANNEL,
            "config_type": "webhook", "is_enabled": true, "webhook": {"url": WEBHOOK}}});
        self.ask("POST", CHANNELS, &config).await?;
        let age =
            json!({"doc": {"metadata": {"last_updated_time_ms": since, "created_time_ms": since}}});
        let path = format!("/.opensearch-notifications-config/_update/{CHANNEL}?refresh=true");
        self.ask("POST", &path, &age).await?;

        let file = include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
        let mut monitor: Value = serde_json::from_str(file)?;
        monitor["name"] = json!("bench: first");
        monitor["inputs"][0]["search"]["indices"] = json!(["bench-nothing-*"]);
        let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
        trigger["condition"]["script"]["source"] = json!("true");
        trigger["actions"][0]["destination_id"] = json!("bench-elsewhere");
        let made = self.ask("POST", MONITORS, &monitor).await?;
        let id = made["_id"].as_str().context("a monitor without an id")?.to_owned();
        // The indices of alerts are made with the first one.
        let run = format!("{MONITORS}/{id}/_execute?dryrun=false");
        self.ask("POST", &run, &Value::Null).await?;
        let mut kept = self.ask("GET", &format!("{CONFIG}/_doc/{id}"), &Value::Null).await?;
        self.first = Some(id);
        let source = &mut kept["_source"];
        for part in (0..monitors).collect::<Vec<_>>().chunks(IN_A_REQUEST) {
            let mut lines = String::new();
            for number in part {
                source["monitor"]["name"] = json!(format!("bench: {number}"));
                let channel = if *number < sending { CHANNEL } else { "bench-elsewhere" };
                let trigger = &mut source["monitor"]["triggers"][0]["query_level_trigger"];
                trigger["actions"][0]["destination_id"] = json!(channel);
                let id = monitor_id(*number);
                let action = json!({"index": {"_index": &CONFIG[1..], "_id": id}});
                writeln!(lines, "{action}\n{source}")?;
            }
            self.bulk(lines).await?;
        }
        self.ask("POST", &format!("{CONFIG}/_refresh"), &Value::Null).await.map(drop)
    }

    /// Writes alerts, anew where they are there.
    pub async fn alerts(
        &self,
        index: &str,
        alerts: impl Iterator<Item = Made>,
    ) -> anyhow::Result<()> {
        let alerts: Vec<_> = alerts.collect();
        for part in alerts.chunks(IN_A_REQUEST) {
            let mut lines = String::new();
            for one in part {
                let document = one.document();
                let action = json!({"index": {"_index": index, "_id": one.id(),
                    "routing": document["monitor_id"]}});
                writeln!(lines, "{action}\n{document}")?;
            }
            self.bulk(lines).await?;
        }
        self.ask("POST", &format!("/{index}/_refresh"), &Value::Null).await.map(drop)
    }

    /// Writes a monitor as somebody does who changes it.
    pub async fn touch_a_monitor(&self) -> anyhow::Result<()> {
        let path = format!("{CONFIG}/_update/{}?refresh=true", monitor_id(0));
        let change = json!({"doc": {"monitor": {"last_update_time": rand::random::<u32>()}}});
        self.ask("POST", &path, &change).await.map(drop)
    }

    /// How many documents match; none where there is no such index.
    pub async fn count(&self, pattern: &str) -> anyhow::Result<u64> {
        let lenient = "ignore_unavailable=true&allow_no_indices=true";
        self.ask("POST", &format!("/{pattern}/_refresh?{lenient}"), &Value::Null).await?;
        let path = format!("/{pattern}/_count?{lenient}");
        let answer = self.ask("GET", &path, &Value::Null).await?;
        answer["count"].as_u64().context("a count without a number")
    }

    /// How many writes these indices have had.
    pub async fn writes(&self, pattern: &str) -> anyhow::Result<u64> {
        let stats = self.ask("GET", &format!("/{pattern}/_stats/indexing"), &Value::Null).await?;
        stats["_all"]["primaries"]["indexing"]["index_total"].as_u64().context("no statistics")
    }

    /// Removes everything again.
    pub async fn remove(&self, patterns: &[&str]) -> anyhow::Result<()> {
        if let Some(id) = &self.first {
            self.ask("DELETE", &format!("{MONITORS}/{id}"), &Value::Null).await?;
        }
        let ours = |field: &str| json!({"query": {"prefix": {field: "bench-monitor-"}}});
        let by_name = json!({"query": {"prefix": {"monitor.name.keyword": "bench: "}}});
        for (indices, query) in
            [(CONFIG.to_owned(), by_name), (format!("/{ACTIVE},{HISTORY}"), ours("monitor_id"))]
        {
            let path = format!("{indices}/_delete_by_query?conflicts=proceed&refresh=true");
            self.ask("POST", &path, &query).await?;
        }
        self.ask("DELETE", &format!("{CHANNELS}/{CHANNEL}"), &Value::Null).await?;
        for pattern in patterns {
            let list = format!("/_cat/indices/{pattern}?h=index&format=json");
            let indices = self.ask("GET", &list, &Value::Null).await?;
            for index in indices.as_array().into_iter().flatten() {
                let name = index["index"].as_str().unwrap_or_default();
                self.ask("DELETE", &format!("/{name}"), &Value::Null).await?;
            }
        }
        Ok(())
    }
}
