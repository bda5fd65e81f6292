//! A monitor and its channel, made for one test and run by hand: no test waits for a schedule.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Store, TOKEN};

const MONITORS: &str = "_plugins/_alerting/monitors";
const CONFIGS: &str = "_plugins/_notifications/configs";

/// A webhook channel of its own.
pub struct Channel<'a> {
    store: &'a Store,
    pub id: String,
}

impl<'a> Channel<'a> {
    /// One that posts to this address, with the tests' secret.
    pub async fn to(store: &'a Store, url: &str) -> Self {
        let id = format!("{}-{}", store.index("channel"), rand::random::<u32>());
        let config = json!({"config_id": id, "config": {
            "name": id, "config_type": "webhook", "is_enabled": true,
            "webhook": {"url": url, "header_params": {"X-Alertloop-Token": TOKEN}}}});
        store.json(Method::Post, CONFIGS, config).await.expect("a channel");
        Self { store, id }
    }

    pub async fn remove(self) {
        let path = format!("{CONFIGS}/{}", self.id);
        self.store.json(Method::Delete, &path, Value::Null).await.expect("no channel");
    }
}

/// A disabled query-level monitor with one trigger and one action.
pub struct Watched<'a> {
    store: &'a Store,
    pub id: String,
    pub body: Value,
}

impl<'a> Watched<'a> {
    /// One that is about to fire through a channel, each time that it runs.
    pub async fn make(store: &'a Store, name: &str, channel: &str) -> Self {
        Self::of(store, Self::body(store.pattern(), name, channel)).await
    }

    /// The body of such a one, which searches these indices.
    pub fn body(indices: &str, name: &str, channel: &str) -> Value {
        let file = include_str!("../../../provisioning/monitors/malcolm_api_loopback_monitor.json");
        let mut body: Value = serde_json::from_str(file).expect("JSON");
        body["name"] = json!(name);
        body["inputs"][0]["search"]["indices"] = json!([indices]);
        body["inputs"][0]["search"]["query"] = json!({"size": 0, "query": {"match_all": {}}});
        let trigger = &mut body["triggers"][0]["query_level_trigger"];
        trigger["condition"]["script"]["source"] = json!("true");
        trigger["actions"][0]["throttle_enabled"] = json!(false);
        trigger["actions"][0]["destination_id"] = json!(channel);
        body
    }

    /// Any monitor.
    pub async fn of(store: &'a Store, body: Value) -> Self {
        let made = store.make(MONITORS, body.clone()).await;
        let id = made["_id"].as_str().expect("an id").to_owned();
        Self { store, id, body }
    }

    fn path(&self) -> String {
        format!("{MONITORS}/{}", self.id)
    }

    /// Changes it.
    pub async fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.body);
        self.store.json(Method::Put, &self.path(), self.body.clone()).await.expect("a change");
    }

    /// Gives its trigger another condition: `true`, `false`, or a script that throws.
    pub async fn condition(&mut self, source: &str) {
        let source = json!(source);
        self.change(|body| {
            let trigger = &mut body["triggers"][0]["query_level_trigger"];
            trigger["condition"]["script"]["source"] = source;
        })
        .await;
    }

    /// Runs it once, as its schedule would.
    pub async fn run(&self) {
        let path = format!("{}/_execute?dryrun=false", self.path());
        self.store.json(Method::Post, &path, Value::Null).await.expect("a run");
    }

    /// Gives it another condition, and runs it.
    pub async fn run_with(&mut self, source: &str) {
        self.condition(source).await;
        self.run().await;
    }

    /// Its alerts, active and past.
    pub async fn alerts(&self) -> Vec<Value> {
        let answer = self.store.alerts(&format!("monitorId={}&size=1000", self.id)).await;
        answer["alerts"].as_array().cloned().unwrap_or_default()
    }

    /// Its only alert, once that is in this state.
    pub async fn alert(&self, state: &str) -> Value {
        let begin = std::time::Instant::now();
        loop {
            let alerts = self.alerts().await;
            if let [alert] = alerts.as_slice()
                && alert["state"] == state
            {
                return alert.clone();
            }
            assert!(begin.elapsed().as_secs() < 60, "not one alert in {state}: {alerts:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Acknowledges an alert, as somebody does in Dashboards.
    pub async fn acknowledge(&self, alert: &Value) {
        let path = format!("{}/_acknowledge/alerts", self.path());
        let body = json!({"alerts": [alert["id"]]});
        let answer = self.store.json(Method::Post, &path, body).await.expect("an answer");
        assert_eq!(answer["success"], json!([alert["id"]]), "{answer:#}");
    }

    pub async fn remove(self) {
        let path = self.path();
        self.store.json(Method::Delete, &path, Value::Null).await.expect("no monitor");
    }
}
