//! OpenSearch is upgraded in place, from 2.19.4 by way of 3.4.0 to 3.8.0, while alertloop runs.

use std::{
    collections::HashMap,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use alertloop::provision::desired::{CHANNEL_ID, MONITOR_NAME, TEMPLATE_NAME};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use own::Own;

use crate::{
    effort,
    ledger::{Flood, Ledger},
    lives::text,
    reconciler::looks,
    report,
    scene::{PATIENCE, possible, script, serve, settings_with, wait_for, wait_within},
    support::{Process, Store, Watched, skip},
    waiting::until,
};

mod own;

const SCRIPT: &str = "tests/opensearch/upgrade.sh";
const MONITORS: &str = "_plugins/_alerting/monitors";
const CONFIGS: &str = "_plugins/_notifications/configs";
/// How long it may take to store what has gathered while the store was away.
const DRAINS: Duration = Duration::from_mins(5);
/// A condition that throws.
const THROWS: &str = "throw new RuntimeException('on purpose')";
/// What a user makes of the shipped condition.
const EDITED: &str = "ctx.results[0].hits.total.value > 777777";

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_is_upgraded_in_place_and_nothing_is_lost_doubled_or_made_anew() {
    if std::env::var("ALERTLOOP_TEST_NODE_SH").is_err() {
        return skip("ALERTLOOP_TEST_NODE_SH names no script, so no nodes may be started");
    }
    let ways = [["stop", "kill"], ["kill", "stop"]];
    for [first, second] in ways.into_iter().take(effort::times(1, 2) as usize) {
        let node = match Node::up().await {
            Ok(node) => node,
            Err(why) => return skip(&why),
        };
        let mut walk = Walk::begin(&node.0).await;
        walk.goes_to_3_4(first).await;
        walk.goes_to_3_8(second).await;
        let (first, second) = (signal(first), signal(second));
        let how =
            format!("2.19.4's data opened by 3.4.0 after {first}, then by 3.8.0 after {second}");
        walk.end(&how).await;
    }
}

/// What a word of the script sends to the node.
fn signal(how: &str) -> &str {
    if how == "kill" { "SIGKILL" } else { "SIGTERM" }
}

/// Taken down at the end, however the test ends.
struct Node(Store);

impl Node {
    /// The first version, with no data; or why there is none.
    async fn up() -> Result<Self, String> {
        let url = possible(SCRIPT, &["up"]).await;
        let last = |said: String| said.lines().last().unwrap_or_default().to_owned();
        url.map(|url| Self(Store::at(url))).map_err(last)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        Command::new(SCRIPT).arg("down").status().ok();
    }
}

/// A monitor of the test, and its only alert.
struct Life<'a> {
    monitor: Watched<'a>,
    store: &'a Store,
    alert: String,
    /// As the Alerting API has it.
    state: &'static str,
}

impl<'a> Life<'a> {
    /// One that has fired; with a `minute` it is run each minute besides.
    async fn begin(store: &'a Store, name: &str, each_minute: bool) -> Self {
        let mut body = Watched::body("nothing-*", &format!("upgrade: {name}"), CHANNEL_ID);
        if each_minute {
            body["enabled"] = json!(true);
            body["schedule"]["period"]["interval"] = json!(1);
        }
        let monitor = Watched::of(store, body).await;
        monitor.run().await;
        let alert = monitor.alert("ACTIVE").await;
        let alert = alert["id"].as_str().expect("an id").to_owned();
        Self { monitor, store, alert, state: "ACTIVE" }
    }

    /// Waits until its alert is in this state, and no other was made.
    async fn becomes(&mut self, state: &'static str) {
        let alert = self.monitor.alert(state).await;
        assert_eq!(alert["id"], self.alert);
        self.state = state;
    }

    async fn run_with(&mut self, source: &str, state: &'static str) {
        self.monitor.run_with(source).await;
        self.becomes(state).await;
    }

    fn action(&self) -> &'static str {
        match self.state {
            "ACKNOWLEDGED" => "acknowledged",
            "COMPLETED" => "released",
            _ => "engaged",
        }
    }

    /// The records of its monitor.
    async fn records(&self) -> Vec<Value> {
        let pattern = self.store.pattern();
        let options = "ignore_unavailable=true&allow_no_indices=true";
        let refresh = format!("{pattern}/_refresh?{options}");
        self.store.json(Method::Post, &refresh, Value::Null).await.expect("a refresh");
        let search = format!("{pattern}/_search?version=true&{options}");
        let query = json!({"query": {"term": {"rule.id": self.monitor.id}}});
        let mut answer = self.store.json(Method::Post, &search, query).await.expect("an answer");
        let hits = answer["hits"]["hits"].as_array_mut().map(std::mem::take);
        hits.unwrap_or_default()
    }

    /// Its only record, once that says how the alert stands.
    async fn record(&self) -> Value {
        let (begun, failed) = (Instant::now(), self.state == "ERROR");
        loop {
            let records = self.records().await;
            assert!(records.len() <= 1, "more than one record: {records:#?}");
            let event = records.first().map_or(&Value::Null, |record| &record["_source"]["event"]);
            if event["action"] == self.action()
                && (event["outcome"] == "failure") == failed
                && event["end"].is_string()
            {
                assert_eq!(event["id"], self.alert);
                return records.into_iter().next().expect("a record");
            }
            assert!(begun.elapsed() < PATIENCE, "not {}: {records:#?}", self.state);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often its record was written.
    async fn version(&self) -> u64 {
        self.record().await["_version"].as_u64().expect("a version")
    }

    async fn last_notification(&self) -> i64 {
        let alert = self.monitor.alert(self.state).await;
        alert["last_notification_time"].as_i64().expect("a time")
    }

    /// It stands as it does, and so says alertloop, as a command and as an API.
    async fn must_stand(&self, service: &Service<'_>) {
        let alert = self.monitor.alert(self.state).await;
        assert_eq!(alert["id"], self.alert);
        self.record().await;
        let rule = format!("--rule={}", self.monitor.id);
        let listed = service.command(&["alerts", "list", &rule, "--output", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let [item] = listed.as_array().expect("a list").as_slice() else {
            panic!("not one alert: {listed:#}")
        };
        assert_eq!((&item["alert"], &item["state"]), (&json!(self.alert), &json!(self.action())));
        let engaged = service.get(&format!("/mapi/alerts/engaged?rule={}", self.monitor.id)).await;
        let want = usize::from(self.state != "COMPLETED");
        assert_eq!(engaged["total"], want, "{}: {engaged:#}", self.state);
    }
}

/// alertloop, and what it is sent.
struct Service<'a> {
    store: &'a Store,
    settings: HashMap<String, String>,
    process: Option<Process>,
    ledger: Arc<Ledger>,
    flood: Option<Flood>,
    _dir: TempDir,
}

impl<'a> Service<'a> {
    /// One that provisions everything, the template too, and that OpenSearch reaches.
    async fn start(store: &'a Store) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let listen = port.expect("a free port").to_string();
        let webhook = format!("http://{listen}/mapi/alert");
        let others = [
            ("ALERTLOOP_LISTEN", listen.as_str()),
            ("ALERTLOOP_WEBHOOK_URL", webhook.as_str()),
            ("ALERTLOOP_PROVISION", "true"),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
        ];
        let settings = settings_with(store, &dir, &others);
        let ledger = Ledger::new(&[format!("http://{listen}")]);
        let mut service = Self { store, settings, process: None, ledger, flood: None, _dir: dir };
        service.begin();
        service.is_provisioned().await;
        service
    }

    fn begin(&mut self) {
        self.process = Some(serve(&self.settings));
        self.flood = Some(self.ledger.flood(8, Some(100.0)));
    }

    /// Ends the senders, then the process in order.
    async fn end(&mut self) {
        if let Some(flood) = self.flood.take() {
            flood.end().await;
        }
        let process = self.process.take().expect("a process");
        process.signal("TERM");
        assert_eq!(tokio::task::block_in_place(|| process.wait()).code(), Some(0));
    }

    async fn is_provisioned(&self) {
        wait_for(self.process(), |says| says["provisioning"] == "done").await;
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a process")
    }

    async fn takes_alerts(&self, want: bool) {
        wait_for(self.process(), |says| says["store"]["takes_alerts"] == want).await;
    }

    /// Runs a command that must end well, and gives what it prints.
    fn command(&self, arguments: &[&str]) -> String {
        let (code, out, errors) = Process::output(&self.settings, arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{errors}");
        out
    }

    async fn get(&self, path: &str) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(self.process().url(path)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Ends the senders for as long as it takes to see that the index holds what was acknowledged.
    async fn settles(&mut self) {
        self.ledger.acknowledges(200).await;
        if let Some(flood) = self.flood.take() {
            flood.end().await;
        }
        self.ledger.all_were_acknowledged();
        let drained =
            |says: &Value| says["spool"]["waiting"] == 0 && says["spool"]["dead_letters"] == 0;
        wait_within(self.process(), DRAINS, drained).await;
        self.ledger.settle(self.store, PATIENCE).await.must_hold();
        self.flood = Some(self.ledger.flood(8, Some(100.0)));
    }
}

/// The whole way, and what there is on it.
struct Walk<'a> {
    store: &'a Store,
    service: Service<'a>,
    /// Stays active, fires again, and is over at the end.
    active: Life<'a>,
    /// Acknowledged before the first upgrade.
    acknowledged: Life<'a>,
    /// Acknowledged after it.
    later: Life<'a>,
    over: Life<'a>,
    /// Its condition throws.
    failing: Life<'a>,
    /// Run by its schedule, too.
    minutely: Life<'a>,
    /// Of another alertloop, which runs its monitors itself.
    own: Own,
    /// How long the store was away at each step.
    away: Vec<Duration>,
    warnings: usize,
}

impl<'a> Walk<'a> {
    /// On 2.19.4: everything is provisioned, a user has edited it, and alerts of all kinds stand.
    async fn begin(store: &'a Store) -> Self {
        let service = Service::start(store).await;
        edit_by_hand(store).await;
        let active = Life::begin(store, "active", false).await;
        let mut acknowledged = Life::begin(store, "acknowledged", false).await;
        let alert = acknowledged.monitor.alert("ACTIVE").await;
        acknowledged.monitor.acknowledge(&alert).await;
        acknowledged.becomes("ACKNOWLEDGED").await;
        let later = Life::begin(store, "acknowledged later", false).await;
        let mut over = Life::begin(store, "over", false).await;
        over.run_with("false", "COMPLETED").await;
        let mut failing = Life::begin(store, "failing", false).await;
        failing.run_with(THROWS, "ERROR").await;
        let minutely = Life::begin(store, "each minute", true).await;
        let mut walk = Self {
            store,
            service,
            active,
            acknowledged,
            later,
            over,
            failing,
            minutely,
            own: Own::begin(store.url()).await,
            away: Vec::new(),
            warnings: 0,
        };
        walk.all_is_well().await;
        walk
    }

    /// One process of alertloop sees it.
    async fn goes_to_3_4(&mut self, how: &str) {
        let before = self.before().await;
        let begun = Instant::now();
        let process = self.service.process().id();
        let to = ["to", "3.4.0", how];
        tokio::join!(script(SCRIPT, &to), self.service.takes_alerts(false));
        self.service.takes_alerts(true).await;
        self.away.push(begun.elapsed());
        self.is_as_it_was(before).await;
        assert_eq!(self.service.process().id(), process);

        let version = self.active.version().await;
        self.active.monitor.run().await;
        let is_told = async || self.active.version().await > version;
        until("it fires again, into its record", PATIENCE, is_told).await;
        self.acknowledged.monitor.run().await;
        self.service.command(&["acknowledge", "--", &self.later.alert]);
        self.later.becomes("ACKNOWLEDGED").await;
        self.failing.run_with("true", "ACTIVE").await;
        self.all_is_well().await;
    }

    /// alertloop is started anew while the store is away; and, later, OpenSearch goes on while
    /// alertloop is.
    async fn goes_to_3_8(&mut self, how: &str) {
        let before = self.before().await;
        let begun = Instant::now();
        let to = ["to", "3.8.0", how];
        tokio::join!(script(SCRIPT, &to), async {
            self.service.takes_alerts(false).await;
            self.service.ledger.acknowledges(100).await;
            self.warnings += self.service.process().warnings().len();
            self.service.end().await;
            self.service.begin();
        });
        self.service.takes_alerts(true).await;
        self.away.push(begun.elapsed());
        self.service.is_provisioned().await;
        self.is_as_it_was(before).await;
        let begun = alertloop::clock::now().as_millisecond();
        let runs = async || self.minutely.last_notification().await > begun;
        until("a monitor is run by its schedule", PATIENCE, runs).await;
        self.all_is_well().await;

        self.warnings += self.service.process().warnings().len();
        self.service.end().await;
        self.active.run_with("false", "COMPLETED").await;
        self.later.run_with("false", "COMPLETED").await;
        self.service.begin();
        self.service.is_provisioned().await;
        let record = self.active.record().await;
        let alert = self.active.monitor.alert("COMPLETED").await;
        assert_eq!(record["_source"]["event"]["end"], text(&alert["end_time"]));
        self.acknowledged.run_with("false", "COMPLETED").await;
        self.failing.run_with(THROWS, "ERROR").await;
        self.all_is_well().await;
    }

    async fn end(mut self, how: &str) {
        self.service.ledger.acknowledges(100).await;
        self.warnings += self.service.process().warnings().len();
        self.service.settles().await;
        let ledger = Arc::clone(&self.service.ledger);
        self.service.end().await;
        self.own.ends().await;
        let verdict = ledger.settle(self.store, PATIENCE).await;
        verdict.must_hold();
        let away: Vec<_> = self.away.iter().map(|away| away.as_secs().to_string()).collect();
        let notes = format!(
            "away for {} s; each plan empty; {} warnings",
            away.join(" and "),
            self.warnings
        );
        report::row("OpenSearch upgraded", how, 2, &verdict, &notes);
    }

    fn lives(&self) -> [&Life<'a>; 6] {
        [&self.active, &self.acknowledged, &self.later, &self.over, &self.failing, &self.minutely]
    }

    /// What must be the same after an upgrade: the objects, and how often each record was written.
    async fn before(&self) -> (Value, Vec<u64>) {
        looks(self.service.process()).await;
        let mut versions = Vec::new();
        for life in self.lives().into_iter().take(5) {
            versions.push(life.version().await);
        }
        (objects(self.store).await, versions)
    }

    async fn is_as_it_was(&mut self, (objects_then, versions): (Value, Vec<u64>)) {
        wait_for(self.service.process(), |says| {
            says["reconciler"]["leads"] == true && says["reconciler"]["trouble"].is_null()
        })
        .await;
        looks(self.service.process()).await;
        self.all_is_well().await;
        let lives = self.lives();
        for (life, version) in lives.iter().zip(versions) {
            assert_eq!(
                life.version().await,
                version,
                "{} was written again",
                life.monitor.body["name"]
            );
        }
        assert_eq!(objects(self.store).await, objects_then, "it was made or written anew");
    }

    /// Nothing is lost, doubled, or to be done.
    async fn all_is_well(&mut self) {
        for life in self.lives() {
            life.must_stand(&self.service).await;
        }
        self.own.goes_on().await;
        let plan = self.service.command(&["provision", "plan", "--detailed-exitcode"]);
        assert!(plan.contains("edited by a user"), "{plan}");
        assert!(!plan.contains("create") && !plan.contains("update"), "{plan}");
        // It ends well when nothing fails.
        self.service.command(&["doctor"]);
        self.service.settles().await;
    }
}

/// As a user would in Dashboards: the shipped monitor is switched on, with another threshold.
async fn edit_by_hand(store: &Store) {
    let query = json!({"query": {"term": {"monitor.name.keyword": MONITOR_NAME}}});
    let found = store.json(Method::Post, &format!("{MONITORS}/_search"), query).await;
    let found = found.expect("a search");
    let id = found["hits"]["hits"][0]["_id"].as_str().expect("the shipped monitor");
    let path = format!("{MONITORS}/{id}");
    let mut monitor =
        store.json(Method::Get, &path, Value::Null).await.expect("it")["monitor"].take();
    monitor["enabled"] = json!(true);
    monitor["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] = json!(EDITED);
    store.json(Method::Put, &path, monitor).await.expect("a change");
}

/// Every channel, monitor and template, with what moves when it is written.
async fn objects(store: &Store) -> Value {
    let query = json!({"size": 100, "seq_no_primary_term": true, "version": true,
        "query": {"match_all": {}}});
    let monitors = store.json(Method::Post, &format!("{MONITORS}/_search"), query).await;
    let monitors = monitors.expect("monitors");
    let monitors: HashMap<&str, Value> = monitors["hits"]["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|hit| {
            let body = if hit["_source"]["monitor"].is_object() {
                &hit["_source"]["monitor"]
            } else {
                &hit["_source"]
            };
            let moves =
                json!([hit["_seq_no"], hit["_version"], body["last_update_time"], body["enabled"]]);
            (hit["_id"].as_str().expect("an id"), moves)
        })
        .collect();
    let channels = store.json(Method::Get, CONFIGS, Value::Null).await.expect("channels");
    let channels: HashMap<&str, &Value> = channels["config_list"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["config_id"].as_str().expect("an id"), &one["last_updated_time_ms"]))
        .collect();
    let template = format!("_template/{TEMPLATE_NAME}");
    let template = store.json(Method::Get, &template, Value::Null).await.expect("the template");
    json!({"monitors": monitors, "channels": channels, "template": template})
}
