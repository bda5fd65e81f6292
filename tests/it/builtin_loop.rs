//! The whole loop without the Alerting plugin: the same monitor, run by alertloop, gives the same
//! records as the plugin's, on OpenSearch and on Elasticsearch.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use alertloop::opensearch::{
    Client, Settings,
    alerting::{self, Family, Monitor},
    engine::{self, Choice},
};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Channel, Process, Store, TOKEN, Watched, skip},
};

/// How long a test waits for what should come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where a monitor's action sends to that is for us.
const OURS: &str = "malcolm-api-loopback-webhook";
/// What holds on the sessions of a test, and what does not.
const MANY: &str = "ctx.results[0].hits.total.value > 5";
const TOO_MANY: &str = "ctx.results[0].hits.total.value > 5000";

/// Who runs the monitor, and where.
struct Ground<'a> {
    store: &'a Store,
    app: App,
    /// For commands beside the service.
    settings: HashMap<String, String>,
    runs: Runs<'a>,
    _dir: tempfile::TempDir,
}

enum Runs<'a> {
    Plugin(Box<Watched<'a>>, Channel<'a>),
    Builtin(Client, Monitor),
}

/// What the names of a test's indices of the built-in engine begin with.
fn prefix(store: &Store) -> String {
    format!("own{}", store.pattern().replace("-*", ""))
}

/// A store of another kind than the one that all tests share.
pub(crate) fn other(variable: &str) -> Option<Store> {
    std::env::var(variable).ok().map(Store::at)
}

/// What alertloop has to be told for the built-in engine.
fn builtin(store: &Store, primary: &str, choice: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OPENSEARCH_PRIMARY", primary.to_owned()),
        ("ALERTLOOP_MONITORS", choice.to_owned()),
        ("ALERTLOOP_MONITORS_PREFIX", prefix(store)),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s".to_owned()),
    ]
}

/// Starts the service with these settings; gives them all, for commands beside it.
async fn start(
    store: &Store,
    dir: &Path,
    more: &[(&str, String)],
) -> (App, HashMap<String, String>) {
    let more: Vec<(&str, &str)> =
        more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = App::start(store, &more).await;
    let mut settings = crate::support::settings(store, dir);
    settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    settings.insert("ALERTLOOP_LOG".to_owned(), "error".to_owned());
    (app, settings)
}

/// A monitor that looks for more than five of the test's sessions, and throttles.
fn monitor(store: &Store, name: &str, to: &str) -> Value {
    let mut body = Watched::body(&store.index("261105"), name, to);
    body["inputs"][0]["search"]["query"] = json!({
        "size": 0, "track_total_hits": 2_147_483_647,
        "query": {"bool": {"filter": [{"term": {"event.module": "zeek"}}]}}});
    let trigger = &mut body["triggers"][0]["query_level_trigger"];
    trigger["name"] = json!("More than 5 sessions");
    trigger["severity"] = json!("2");
    trigger["condition"]["script"]["source"] = json!(MANY);
    trigger["actions"][0]["throttle_enabled"] = json!(true);
    trigger["actions"][0]["throttle"] = json!({"value": 10, "unit": "MINUTES"});
    body
}

/// The sessions that it looks at.
async fn sessions(store: &Store) {
    for number in 0..8 {
        let session = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
        let path = format!("{}/_doc/{number}?refresh=true", store.index("261105"));
        store.json(Method::Put, &path, session).await.expect("a session");
    }
}

impl<'a> Ground<'a> {
    async fn plugin(store: &'a Store, name: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = port.expect("a free port").to_string();
        let webhook = format!("http://{address}/mapi/alert");
        let channel = Channel::to(store, &webhook).await;
        let dir = tempfile::tempdir().expect("a directory");
        let more = [
            ("ALERTLOOP_MONITORS", "plugin".to_owned()),
            ("ALERTLOOP_LISTEN", address),
            ("ALERTLOOP_WEBHOOK_URL", webhook),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s".to_owned()),
        ];
        let (app, settings) = start(store, dir.path(), &more).await;
        let watched = Watched::of(store, monitor(store, name, &channel.id)).await;
        let runs = Runs::Plugin(Box::new(watched), channel);
        Self { store, app, settings, runs, _dir: dir }
    }

    async fn builtin(store: &'a Store, primary: &str, name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (app, settings) = start(store, dir.path(), &builtin(store, primary, "builtin")).await;
        let client = Client::new(&Settings {
            url: store.url().parse().expect("a URL"),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: PATIENCE,
            monitors: engine::Settings { choice: Choice::Builtin, prefix: prefix(store) },
        });
        let client = client.expect("a client");
        let body = monitor(store, name, OURS);
        let made = alerting::create(&client, Family::Monitor, &body).await.expect("a monitor");
        Self { store, app, settings, runs: Runs::Builtin(client, made), _dir: dir }
    }

    fn monitor_id(&self) -> &str {
        match &self.runs {
            Runs::Plugin(watched, _) => &watched.id,
            Runs::Builtin(_, monitor) => &monitor.id,
        }
    }

    /// Gives the monitor's trigger a condition, and has it run.
    async fn run_with(&mut self, source: &str) {
        match &mut self.runs {
            Runs::Plugin(watched, _) => watched.run_with(source).await,
            Runs::Builtin(client, monitor) => {
                let found = alerting::get(client, Family::Monitor, &monitor.id).await;
                *monitor = found.expect("an answer").expect("the monitor");
                let trigger = &mut monitor.body["triggers"][0]["query_level_trigger"];
                trigger["condition"]["script"]["source"] = json!(source);
                let guard = (monitor.seq_no, monitor.primary_term);
                let (id, body) = (&monitor.id, &monitor.body);
                alerting::update(client, Family::Monitor, id, guard, body).await.expect("a change");
                self.run();
            }
        }
    }

    /// Has a monitor of the built-in engine run, as an operator does.
    fn run(&self) {
        let (code, said, wrong) =
            Process::output(&self.settings, &["monitors", "run", "--", self.monitor_id()]);
        assert_eq!(code, 0, "{said}{wrong}");
    }

    /// The records of the monitor, the first one first, once there are so many and all are as they
    /// should be.
    async fn records(&self, count: usize, good: impl Fn(&Value) -> bool) -> Vec<Value> {
        records(self.store, self.monitor_id(), count, good).await
    }

    /// Acknowledges the alert of a record, as an operator does.
    async fn acknowledge(&self, record: &Value) {
        let id = record["_id"].as_str().expect("an id");
        let request = self.app.post(&format!("/mapi/alerts/{id}/acknowledge"));
        let answer = Answer::of(request.header("content-type", "application/json")).await;
        assert_eq!(answer.status, 200, "{:#}", answer.json);
        assert_eq!(answer.json["outcome"], "acknowledged", "{:#}", answer.json);
    }

    async fn end(self) {
        self.app.stop().await;
        match self.runs {
            Runs::Plugin(watched, channel) => {
                watched.remove().await;
                channel.remove().await;
            }
            Runs::Builtin(..) => forget(self.store).await,
        }
    }
}

/// Removes what the built-in engine of a test has kept.
async fn forget(store: &Store) {
    for part in ["monitors", "alerts", "runs", "monitors-provisioned"] {
        let path = format!("{}-{part}", prefix(store));
        drop(store.json(Method::Delete, &path, Value::Null).await);
    }
}

/// The records of a monitor, the first one first, once there are so many and all are as they should be.
async fn records(
    store: &Store,
    monitor: &str,
    count: usize,
    good: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let mut seen = store.records().await;
        seen.retain(|hit| hit["_source"]["rule"]["id"] == monitor);
        seen.sort_by_key(|hit| hit["_source"]["event"]["start"].to_string());
        if seen.len() == count && seen.iter().all(|hit| good(&hit["_source"])) {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "not as it should be: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is(action: &str) -> impl Fn(&Value) -> bool {
    move |record| record["event"]["action"] == action
}

/// Whether the message has come, which tells more than the reconciler can read.
fn is_told(record: &Value) -> bool {
    record["event"].get("hits").is_some()
}

/// A record without what no two runs have in common: moments become the word `time`, and ids `id`.
fn common(record: &Value) -> Value {
    let mut record = record["_source"].clone();
    let id = record["rule"]["id"].as_str().expect("the monitor's id").to_owned();
    let url = record["event"]["url"].as_str().map(|url| url.replace(&id, "id"));
    for key in ["firstPacket", "lastPacket"] {
        is_time(&record[key]);
        record[key] = json!("time");
    }
    record["rule"]["id"] = json!("id");
    let event = &mut record["event"];
    for key in ["start", "end", "ingested"] {
        is_time(&event[key]);
        event[key] = json!("time");
    }
    assert!(event["sequence"].is_i64(), "{event:#}");
    event["sequence"] = json!("time");
    // There where the reconciler has read of the alert since its message came, which is a race.
    event.as_object_mut().and_then(|event| event.remove("created"));
    assert!(event["id"].as_str().is_some_and(|id| !id.is_empty()), "{event:#}");
    event["id"] = json!("id");
    event["url"] = json!(url);
    for key in ["hash", "duration"] {
        if let Some(value) = event.get_mut(key) {
            *value = json!(key);
        }
    }
    record
}

fn is_time(value: &Value) {
    let time = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    assert!(time.is_some(), "{value} is no time");
}

/// What was seen after each step of an alert's life.
type Life = Vec<(&'static str, Vec<Value>)>;

/// Fires, goes on under its throttle, is acknowledged, is over, and fires again.
async fn life(mut ground: Ground<'_>) -> Life {
    let mut life = Life::new();
    let mut saw = |step, records: &[Value]| {
        life.push((step, records.iter().map(common).collect()));
    };
    ground.run_with(MANY).await;
    let fired = ground.records(1, is_told).await;
    saw("fires", &fired);

    ground.run_with(MANY).await;
    let throttled = ground.records(1, |_| true).await;
    saw("goes on under its throttle", &throttled);
    let (was, now) = (&fired[0]["_source"]["event"], &throttled[0]["_source"]["event"]);
    assert_eq!((&was["hash"], &was["id"]), (&now["hash"], &now["id"]), "no second message");

    ground.acknowledge(&throttled[0]).await;
    saw("is acknowledged", &ground.records(1, is("acknowledged")).await);

    ground.run_with(TOO_MANY).await;
    let over = ground.records(1, is("released")).await;
    saw("is over", &over);
    assert_eq!(over[0]["_source"]["event"]["id"], was["id"]);

    ground.run_with(MANY).await;
    let again = ground.records(2, is_told).await;
    saw("fires again", &again);
    assert_eq!(again[0]["_source"]["event"]["id"], was["id"]);
    assert_ne!(again[1]["_source"]["event"]["id"], was["id"]);
    ground.end().await;
    life
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alerts_life_leaves_the_same_records_whoever_runs_the_monitor() {
    let store = store!(alerting);
    sessions(&store).await;
    let name = "it: a life either way";
    let wanted = life(Ground::plugin(&store, name).await).await;
    let steps: Vec<_> = wanted.iter().map(|(_, records)| records.len()).collect();
    assert_eq!(steps, [1, 1, 1, 1, 2]);

    let builtin = Store::of_this_run().expect("the store");
    let mut grounds = vec![("the same OpenSearch", builtin, "opensearch-local")];
    for (kind, variable, primary) in [
        ("OpenSearch without plugins", "ALERTLOOP_TEST_PLAIN_OPENSEARCH", "opensearch-remote"),
        ("Elasticsearch", "ALERTLOOP_TEST_ELASTICSEARCH", "elasticsearch-remote"),
    ] {
        grounds.extend(other(variable).map(|store| (kind, store, primary)));
    }
    for (kind, store, primary) in &grounds {
        sessions(store).await;
        let seen = life(Ground::builtin(store, primary, name).await).await;
        for ((step, wanted), (_, seen)) in wanted.iter().zip(&seen) {
            assert_eq!(seen, wanted, "{kind}, {step}");
        }
        assert_eq!(seen.len(), wanted.len());
    }
}

/// Provision, enable, fire when it is its turn, acknowledge, be over.
pub(crate) async fn whole_loop(store: &Store, primary: &str) {
    sessions(store).await;
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("monitors")).expect("a folder");
    let file = folder.path().join("monitors/loop.json");
    let name = format!("it: the whole loop {}", store.index("x"));
    let mut body = monitor(store, &name, OURS);
    body["schedule"] = json!({"period": {"interval": 1, "unit": "MINUTES"}});
    std::fs::write(&file, body.to_string()).expect("a file");

    let mut more = builtin(store, primary, "auto");
    more.push(("ALERTLOOP_PROVISION", "true".to_owned()));
    more.push(("ALERTLOOP_PROVISIONING_DIR", folder.path().to_str().expect("UTF-8").to_owned()));
    let dir = tempfile::tempdir().expect("a directory");
    let (app, settings) = start(store, dir.path(), &more).await;
    app.wait_until_provisioned().await;

    // All that the files describe is there, and disabled; nothing is left to do.
    let (code, plan, wrong) = Process::output(&settings, &["provision", "plan"]);
    assert_eq!(code, 0, "{plan}{wrong}");
    let listed = conditions(&app).await;
    let find = |name: &str| listed.iter().find(|one| one["name"] == name).cloned();
    for name in ["Malcolm API Loopback Monitor", &name] {
        let found = find(name).unwrap_or_else(|| panic!("{name} is missing: {listed:#?}"));
        assert_eq!(found["enabled"], json!(false), "{found:#}");
        assert_eq!(found["sends_to_us"], json!(true), "{found:#}");
    }
    let id = find(&name).and_then(|one| one["id"].as_str().map(str::to_owned)).expect("an id");

    // It fires when it is its turn, which nobody asks for.
    switch(&app, &id, "enable").await;
    let begin = Instant::now();
    let fired = loop {
        let mut seen = store.records().await;
        seen.retain(|hit| hit["_source"]["rule"]["id"] == *id);
        if let Some(one) = seen.pop() {
            assert!(seen.is_empty(), "{seen:#?}");
            break one;
        }
        assert!(begin.elapsed() < Duration::from_mins(2), "it does not fire");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let event = &fired["_source"]["event"];
    assert_eq!((&event["hits"], &event["severity"]), (&json!(8), &json!(80)), "{event:#}");
    assert_eq!(event["reason"], "More than 5 sessions");

    // What it did is told.
    let path = format!("/mapi/conditions/{id}/history");
    let history = Answer::of(app.get(&path)).await;
    assert_eq!(history.status, 200, "{:#}", history.json);
    let text = history.json.to_string();
    assert!(text.contains("\"fired\"") && text.contains("More than 5 sessions"), "{text}");
    let page = Answer::of(app.get(&format!("/conditions/{id}"))).await;
    let text = page.json.as_str().unwrap_or_default();
    assert!(page.status == 200 && text.contains("More than 5 sessions"), "{text}");

    let record = fired["_id"].as_str().expect("an id");
    let request = app.post(&format!("/mapi/alerts/{record}/acknowledge"));
    let answer = Answer::of(request.header("content-type", "application/json")).await;
    assert_eq!(answer.json["outcome"], "acknowledged", "{:#}", answer.json);
    records(store, &id, 1, is("acknowledged")).await;

    // The file changes, and the condition holds no longer.
    body["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] = json!(TOO_MANY);
    std::fs::write(&file, body.to_string()).expect("a file");
    let (code, said, wrong) = Process::output(&settings, &["provision", "apply"]);
    assert_eq!(code, 0, "{said}{wrong}");
    let (code, said, wrong) = Process::output(&settings, &["monitors", "run", &name]);
    assert_eq!(code, 0, "{said}{wrong}");
    let over = records(store, &id, 1, is("released")).await;
    assert!(over[0]["_source"]["event"]["duration"].as_i64() > Some(0), "{:#}", over[0]);
    switch(&app, &id, "disable").await;
    app.stop().await;
    forget(store).await;
}

async fn conditions(app: &App) -> Vec<Value> {
    let answer = Answer::of(app.get("/mapi/conditions?all=true")).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    answer.json["items"].as_array().cloned().unwrap_or_default()
}

async fn switch(app: &App, id: &str, how: &str) {
    let request = app.post(&format!("/mapi/conditions/{id}/{how}"));
    let request =
        request.header("content-type", "application/json").header("x-alertloop-token", TOKEN);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_loop_goes_on_an_opensearch_without_plugins() {
    let Some(store) = other("ALERTLOOP_TEST_PLAIN_OPENSEARCH") else {
        return skip("ALERTLOOP_TEST_PLAIN_OPENSEARCH names no OpenSearch");
    };
    whole_loop(&store, "opensearch-local").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_loop_goes_on_elasticsearch() {
    let Some(store) = other("ALERTLOOP_TEST_ELASTICSEARCH") else {
        return skip("ALERTLOOP_TEST_ELASTICSEARCH names no Elasticsearch");
    };
    whole_loop(&store, "elasticsearch-remote").await;
}
