//! A monitor that alertloop runs itself, while the store under it is upgraded.

use alertloop::{
    clock,
    opensearch::{
        Client,
        alerting::{self, Family},
        engine::{self, Choice},
    },
};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    scene::{PATIENCE, serve, settings_with},
    support::{Process, Store, monitored},
    waiting::until,
};

/// An alertloop with its own engine, and a monitor whose alert stands.
pub struct Own {
    store: Store,
    prefix: String,
    client: Client,
    monitor: String,
    alert: String,
    process: Process,
    _dir: TempDir,
}

impl Own {
    pub async fn begin(url: &str) -> Self {
        let store = Store::at(url.to_owned());
        store.make_template().await;
        let prefix = store.pattern().replace("it", "own").replace("-*", "");
        let dir = tempfile::tempdir().expect("a directory");
        let others = [
            ("ALERTLOOP_MONITORS", "builtin"),
            ("ALERTLOOP_MONITORS_PREFIX", prefix.as_str()),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
        ];
        let process = serve(&settings_with(&store, &dir, &others));
        let engine = engine::Settings { choice: Choice::Builtin, prefix: prefix.clone() };
        let client = store.client_with(engine);
        let mut body = monitored::monitor("own", "nothing-*", 2, &json!({"match_all": {}}));
        body["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] = json!("true");
        let made = alerting::create(&client, Family::Monitor, &body).await.expect("a monitor");
        let alert = String::new();
        let mut own = Self { store, prefix, client, monitor: made.id, alert, process, _dir: dir };
        own.record_says("engaged").await;
        let alerts = own.alerts().await;
        alerts[0]["_id"].as_str().expect("an id").clone_into(&mut own.alert);
        own
    }

    /// It is run again, its alert is the same one, and has the same record.
    pub async fn goes_on(&self) {
        let now = clock::now().as_millisecond();
        let note = format!("/{}-runs/_doc/{}", self.prefix, self.monitor);
        let has_run = async || {
            let Ok(note) = self.store.json(Method::Get, &note, Value::Null).await else {
                return false;
            };
            let runs = note["_source"]["history"].as_array().cloned().unwrap_or_default();
            runs.iter().any(|run| run["started_at"].as_i64() > Some(now))
        };
        until("alertloop runs its monitor", PATIENCE, has_run).await;
        let stands = async || self.alerts().await[0]["_source"]["state"] == "ACTIVE";
        until("its alert stands", PATIENCE, stands).await;
        let record = self.record_says("engaged").await;
        assert_eq!(record["_source"]["event"]["id"], self.alert);
    }

    /// Its alert is over, and so says the record.
    pub async fn ends(self) {
        let monitor = alerting::get(&self.client, Family::Monitor, &self.monitor).await;
        let mut monitor = monitor.expect("an answer").expect("the monitor");
        let trigger = &mut monitor.body["triggers"][0]["query_level_trigger"];
        trigger["condition"]["script"]["source"] = json!("false");
        let guard = (monitor.seq_no, monitor.primary_term);
        let changed =
            alerting::update(&self.client, Family::Monitor, &monitor.id, guard, &monitor.body);
        changed.await.expect("a change");
        let record = self.record_says("released").await;
        assert_eq!(record["_source"]["event"]["id"], self.alert);
        assert_eq!(self.alerts().await[0]["_source"]["state"], "COMPLETED");
        self.process.signal("TERM");
        assert_eq!(tokio::task::block_in_place(|| self.process.wait()).code(), Some(0));
    }

    /// The alerts of its engine, of which there is never more than one.
    async fn alerts(&self) -> Vec<Value> {
        let refresh = format!("/{}-alerts/_refresh", self.prefix);
        self.store.json(Method::Post, &refresh, Value::Null).await.expect("a refresh");
        let search = format!("/{}-alerts/_search", self.prefix);
        let answer = self.store.json(Method::Post, &search, json!({})).await.expect("alerts");
        let alerts = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts
    }

    /// The only record, once it says so.
    async fn record_says(&self, action: &str) -> Value {
        let mut record = Value::Null;
        until(action, PATIENCE, async || {
            let mut records = self.store.records().await;
            assert!(records.len() <= 1, "more than one record: {records:#?}");
            record = records.pop().unwrap_or_default();
            record["_source"]["event"]["action"] == action
        })
        .await;
        record
    }
}
