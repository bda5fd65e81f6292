//! Monitors that fire, are acknowledged and are over, run by hand all the time; and whether each of
//! their alerts has one record that says how it stands.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode};
use opensearch::http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    scene::PATIENCE,
    support::{Channel, Store, TOKEN, Watched},
};

/// In the name of a monitor whose webhooks are all lost.
const LOST: &str = "lost";

/// Stands before the replicas and gives each webhook to one of them; or loses it. OpenSearch is told
/// that it was delivered in any case.
pub struct Balancer {
    url: String,
    replicas: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    pub async fn start() -> Self {
        Self::at("127.0.0.1").await
    }

    /// At an address of this machine that the store reaches.
    pub async fn at(host: &str) -> Self {
        let listener = tokio::net::TcpListener::bind((host, 0)).await.expect("a port");
        let url = format!("http://{}/mapi/alert", listener.local_addr().expect("an address"));
        let replicas = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new().fallback(hand_on).with_state(Arc::clone(&replicas));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, replicas }
    }

    /// What the channel posts to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on these are there.
    pub fn before(&self, urls: Vec<String>) {
        *self.replicas.lock().unwrap_or_else(PoisonError::into_inner) = urls;
    }
}

async fn hand_on(State(replicas): State<Arc<Mutex<Vec<String>>>>, body: Bytes) -> StatusCode {
    let is_lost = body.windows(LOST.len()).any(|part| part == LOST.as_bytes());
    let urls = replicas.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
    let client = client.expect("a client");
    for url in urls.into_iter().filter(|_| !is_lost) {
        let request = client.post(url).header("x-alertloop-token", TOKEN).body(body.clone());
        if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
    }
    StatusCode::OK
}

/// Some monitors of one store; every other one loses its webhooks.
pub struct Lives<'a> {
    store: &'a Store,
    channel: Channel<'a>,
    /// What they search: a document for each, that says whether it shall fire.
    switches: String,
    monitors: Vec<Watched<'a>>,
    steps: AtomicUsize,
}

impl<'a> Lives<'a> {
    pub async fn make(store: &'a Store, webhook: &str, count: usize) -> Self {
        let channel = Channel::to(store, webhook).await;
        let switches = format!("switches-{}", store.index("all"));
        let mut lives =
            Self { store, channel, switches, monitors: Vec::new(), steps: AtomicUsize::new(0) };
        for number in 0..count {
            lives.switch(number, false).await;
            let kind = if number % 2 == 0 { LOST } else { "told" };
            let file =
                include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
            let mut body: Value = serde_json::from_str(file).expect("JSON");
            body["name"] = json!(format!("faults: {kind} {number} {}", store.pattern()));
            body["inputs"][0]["search"]["indices"] = json!([lives.switches]);
            body["inputs"][0]["search"]["query"] = json!({"size": 0, "query": {"bool": {
                "filter": [{"term": {"monitor": number}}, {"term": {"on": true}}]}}});
            let trigger = &mut body["triggers"][0]["query_level_trigger"];
            trigger["condition"]["script"]["source"] = json!("ctx.results[0].hits.total.value > 0");
            trigger["actions"][0]["throttle_enabled"] = json!(false);
            trigger["actions"][0]["destination_id"] = json!(lives.channel.id);
            lives.monitors.push(Watched::of(store, body).await);
        }
        lives
    }

    async fn switch(&self, number: usize, on: bool) {
        let path = format!("{}/_doc/{number}?refresh=true", self.switches);
        let body = json!({"monitor": number, "on": on});
        self.store.json(Method::Put, &path, body).await.expect("a switch");
    }

    /// How much has happened.
    pub fn steps(&self) -> usize {
        self.steps.load(Ordering::Relaxed)
    }

    /// Waits until so much more has happened.
    pub async fn happen(&self, more: usize) {
        let (want, begun) = (self.steps() + more, Instant::now());
        while self.steps() < want {
            assert!(begun.elapsed() < PATIENCE, "the monitors do nothing");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fires, is acknowledged and is over, again and again until `stop`, wherever that comes. The
    /// first fires once, and stays so.
    pub async fn go_on(&self, stop: &CancellationToken) {
        let all = (0..self.monitors.len()).map(|number| self.live(number, stop));
        futures_util::future::join_all(all).await;
    }

    async fn live(&self, number: usize, stop: &CancellationToken) {
        let monitor = &self.monitors[number];
        while !stop.is_cancelled() {
            self.switch(number, true).await;
            monitor.run().await;
            let alert = self.seen(monitor, &["ACTIVE"]).await;
            self.pause().await;
            if number == 0 {
                return;
            }
            if rand::random_bool(0.5) {
                // Fires once more.
                monitor.run().await;
                self.pause().await;
            }
            if rand::random_bool(0.5) {
                monitor.acknowledge(&alert).await;
                self.pause().await;
            }
            if stop.is_cancelled() {
                return;
            }
            self.switch(number, false).await;
            monitor.run().await;
            self.seen(monitor, &[]).await;
            self.pause().await;
        }
    }

    /// A moment that is sometimes long enough for a look, and sometimes not.
    async fn pause(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..1_500))).await;
    }

    /// The only alert of a monitor that is open, once it is in one of these states; with none, waits
    /// until none is open.
    async fn seen(&self, monitor: &Watched<'_>, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let alerts = monitor.alerts().await;
            let open: Vec<_> =
                alerts.into_iter().filter(|alert| alert["state"] != "COMPLETED").collect();
            match open.as_slice() {
                [] if states.is_empty() => return Value::Null,
                [one] if states.iter().any(|state| one["state"] == *state) => return one.clone(),
                _ => {}
            }
            assert!(begun.elapsed() < PATIENCE, "not in {states:?}: {open:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until each alert has one record that says how it stands, and gives those.
    pub async fn settle(&self) -> Vec<Settled> {
        let begun = Instant::now();
        loop {
            let fault = match self.compare().await {
                Ok(settled) => return settled,
                Err(fault) => fault,
            };
            assert!(begun.elapsed() < PATIENCE, "{fault}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn compare(&self) -> Result<Vec<Settled>, String> {
        let mut records: HashMap<String, Vec<Value>> = HashMap::new();
        // The alerts of other tests that use the provisioned channel are records too.
        let is_ours = |record: &Value| {
            let name = record["_source"]["rule"]["name"].as_str();
            name.is_some_and(|name| name.ends_with(self.store.pattern()))
        };
        for record in self.store.records().await.into_iter().filter(is_ours) {
            let id = record["_source"]["event"]["id"].as_str().unwrap_or_default().to_owned();
            records.entry(id).or_default().push(record);
        }
        let mut settled = Vec::new();
        for (number, monitor) in self.monitors.iter().enumerate() {
            for alert in monitor.alerts().await {
                let id = alert["id"].as_str().unwrap_or_default();
                let record = match records.remove(id).as_deref() {
                    Some([one]) => one.clone(),
                    other => return Err(format!("not one record of {alert:#}: {other:#?}")),
                };
                let event = &record["_source"]["event"];
                let want = match alert["state"].as_str() {
                    Some("ACTIVE") => "engaged",
                    Some("ACKNOWLEDGED") => "acknowledged",
                    Some("COMPLETED") => "released",
                    _ => "something else",
                };
                let is_over = want == "released";
                let is_lost = number % 2 == 0;
                // A webhook tells the begin of the period that was searched, which is earlier.
                let is_right = event["action"] == want
                    && (!is_lost || event["start"] == text(&alert["start_time"]))
                    && (!is_over || event["end"] == text(&alert["end_time"]))
                    && event["duration"].is_null() != is_over;
                if !is_right {
                    return Err(format!("{alert:#} is not {record:#}"));
                }
                let version = record["_version"].as_u64().unwrap_or(0);
                settled.push(Settled { id: id.to_owned(), is_lost, version });
            }
        }
        // The API gives alerts of one monitor in any order.
        settled.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        if records.is_empty() { Ok(settled) } else { Err(format!("of no alert: {records:#?}")) }
    }

    /// Has everything compared once more: a monitor is changed.
    pub async fn touch(&mut self) {
        let monitor = &mut self.monitors[0];
        monitor.change(|body| body["schedule"]["period"]["interval"] = json!(11)).await;
    }

    pub async fn remove(self) {
        for monitor in self.monitors {
            monitor.remove().await;
        }
        self.channel.remove().await;
        self.store.json(Method::Delete, &self.switches, Value::Null).await.expect("no switches");
    }
}

/// An alert whose record is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub id: String,
    /// Whether no webhook told of it.
    pub is_lost: bool,
    /// How often its record was written.
    pub version: u64,
}

/// How many records were written how often.
pub fn versions(settled: &[Settled], is_lost: bool) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for one in settled.iter().filter(|one| one.is_lost == is_lost) {
        *counts.entry(one.version).or_default() += 1;
    }
    counts
}

/// Epoch ms as a record has it.
pub fn text(ms: &Value) -> Value {
    let at = jiff::Timestamp::from_millisecond(ms.as_i64().unwrap_or_default());
    json!(format!("{:.3}", at.expect("a time")))
}
