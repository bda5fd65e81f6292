//! Monitors that alertloop runs itself, on the real store: what fires becomes a record, alerts live
//! their lives, and whatever comes between, each run is done once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alertloop::{
    clock,
    config::Config,
    opensearch::{
        Client, acknowledging,
        alerting::{self, Family},
        builtin::{asking, indices::Index, runs},
    },
    provision::desired::CHANNEL_ID,
};
use opensearch::http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    store,
    support::{
        App, Reluctant, Store,
        monitored::{self, MESSAGE},
        settings,
    },
};

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// Monitors of one test, in indices of their own.
struct Scene {
    store: Store,
    prefix: String,
    client: Client,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let prefix = store.pattern().replace("it", "run").replace("-*", "");
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = settings(&store, dir.path());
        for (name, value) in Self::settings_of(&prefix) {
            all.insert(name.to_owned(), value);
        }
        let config = Config::read(|name| all.get(name).cloned(), |path| std::fs::read(path));
        let config = config.unwrap_or_else(|faults| panic!("{faults}"));
        let client = Client::new(&config.store).expect("a client");
        let scene = Self { store, prefix, client };
        let path = format!("/{}", scene.logs());
        let body = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}});
        scene.call(Method::Put, &path, body).await;
        scene
    }

    fn settings_of(prefix: &str) -> [(&'static str, String); 2] {
        [
            ("ALERTLOOP_MONITORS", "builtin".to_owned()),
            ("ALERTLOOP_MONITORS_PREFIX", prefix.to_owned()),
        ]
    }

    async fn start(&self) -> App {
        self.start_with(&[]).await
    }

    async fn start_with(&self, more: &[(&str, &str)]) -> App {
        let own = Self::settings_of(&self.prefix);
        let own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        App::start(&self.store, &[own.as_slice(), more].concat()).await
    }

    /// The index that the monitors look at.
    fn logs(&self) -> String {
        format!("{}-logs", self.prefix)
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let said = format!("{path} {body}");
        self.store.json(method, path, body).await.unwrap_or_else(|fault| panic!("{said}: {fault}"))
    }

    async fn log(&self, count: usize) {
        for _ in 0..count {
            let path = format!("/{}/_doc?refresh=true", self.logs());
            self.call(Method::Post, &path, json!({"what": "login failed"})).await;
        }
    }

    async fn forget_logs(&self) {
        let path = format!("/{}/_delete_by_query?refresh=true", self.logs());
        self.call(Method::Post, &path, json!({"query": {"match_all": {}}})).await;
    }

    /// Fires while there are logs, and tells it once in an hour.
    fn monitor(&self, name: &str, seconds: u64) -> Value {
        let query = json!({"match_all": {}});
        let mut body = monitored::monitor(name, &self.logs(), seconds, &query);
        let action = &mut body["triggers"][0]["query_level_trigger"]["actions"][0];
        action["throttle_enabled"] = json!(true);
        action["throttle"] = json!({"value": 60, "unit": "MINUTES"});
        body
    }

    async fn make(&self, body: &Value) -> String {
        alerting::create(&self.client, Family::Monitor, body).await.expect("a monitor").id
    }

    /// As it is kept, whatever the service that makes monitors would say.
    async fn keep(&self, kind: &str, id: &str, body: Value) {
        let path = format!("/{}-{kind}/_doc/{id}?refresh=true", self.prefix);
        self.call(Method::Put, &path, body).await;
    }

    async fn state(&self, id: &str) -> Value {
        runs::state(&self.client, id).await.expect("a state").source
    }

    /// Waits until what is noted of a monitor is as it shall be.
    async fn noted(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.state(id).await;
            if is_so(&state) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {state:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it ran so often more.
    async fn runs(&self, id: &str, more: usize) -> Value {
        let ran = |state: &Value| state["planned"].as_i64().unwrap_or(0);
        let mut last = ran(&self.state(id).await);
        for _ in 0..more {
            let state = self.noted(id, "a run", |state| ran(state) > last).await;
            last = ran(&state);
        }
        self.noted(id, "nothing pending", |state| state["pending"].is_null()).await
    }

    async fn alert(&self, id: &str) -> Value {
        let path = format!("/{}-alerts/_doc/{id}", self.prefix);
        self.store.json(Method::Get, &path, Value::Null).await.unwrap_or_default()["_source"].take()
    }

    async fn alerts(&self) -> Vec<Value> {
        self.call(Method::Post, &format!("/{}-alerts/_refresh", self.prefix), Value::Null).await;
        let path = format!("/{}-alerts/_search?size=1000", self.prefix);
        let answer = self.call(Method::Post, &path, json!({"sort": [{"start_time": "asc"}]})).await;
        let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
        hits.into_iter().map(|mut hit| hit["_source"].take()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let (client, prefix) = (self.store.client(), self.prefix.clone());
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                for kind in ["logs", "slow", "monitors", "alerts", "runs", "monitors-provisioned"] {
                    drop(client.call(Method::Delete, &format!("/{prefix}-{kind}"), None).await);
                }
            });
        });
        drop(removal.join());
    }
}

fn messages(state: &Value) -> u64 {
    let history = state["history"].as_array().expect("a history");
    history.iter().filter_map(|run| run["messages"].as_u64()).sum()
}

fn current(state: &Value) -> Vec<&str> {
    state["current"].as_array().expect("ids").iter().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_lives_its_life_and_each_is_one_record() {
    let scene = Scene::new(store!()).await;
    let app = scene.start().await;
    let id = scene.make(&scene.monitor("Logins", 2)).await;
    let quiet = scene.runs(&id, 1).await;
    assert_eq!(quiet["history"][0]["outcome"], "quiet");

    scene.log(3).await;
    let records = scene.store.wait_for_records(1).await;
    assert_eq!(records[0]["_source"]["rule"]["name"], "Logins", "{records:#?}");
    // It fires on, and is told no more for an hour.
    let fired = scene.runs(&id, 3).await;
    assert_eq!((messages(&fired), current(&fired).len()), (1, 1), "{fired:#}");
    let first = current(&fired)[0].to_owned();
    let alert = scene.alert(&first).await;
    assert_eq!((&alert["state"], &alert["monitor_id"]), (&json!("ACTIVE"), &json!(id)));
    assert_eq!(records[0]["_source"]["event"]["id"], json!(first), "{records:#?}");

    let said = acknowledging::acknowledge(&scene.client, Family::Monitor, &id, &[&first]).await;
    assert_eq!(said.expect("an answer").success, std::slice::from_ref(&first));
    scene.runs(&id, 2).await;
    assert_eq!(scene.alert(&first).await["state"], "ACKNOWLEDGED");

    scene.forget_logs().await;
    scene.noted(&id, "no alert", |state| current(state).is_empty()).await;
    scene.noted(&id, "nothing pending", |state| state["pending"].is_null()).await;
    let over = scene.alert(&first).await;
    assert_eq!(over["state"], "COMPLETED");
    assert!(over["end_time"].is_i64() && over["acknowledged_time"].is_i64(), "{over:#}");

    scene.log(1).await;
    let records = scene.store.wait_for_records(2).await;
    let state = scene.runs(&id, 1).await;
    assert_ne!(current(&state), [first.as_str()], "another alert");
    assert_eq!(scene.alerts().await.len(), 2);
    assert_eq!(records.len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_were_missed_are_run_once_for_the_last_of_them() {
    let scene = Scene::new(store!()).await;
    let now = clock::now().as_millisecond();
    let minute = 60_000;
    let begun = now - 60 * minute;
    let mut body = scene.monitor("Paused", 60);
    body["enabled_time"] = json!(begun);
    body["last_update_time"] = json!(begun);
    Index::Monitors.make(&scene.client).await.expect("one");
    Index::Runs.make(&scene.client).await.expect("one");
    scene.keep("monitors", "paused", body).await;
    let planned = begun + 30 * minute;
    let state = json!({"kind": "state", "monitor_id": "paused", "planned": planned, "current": [],
        "pending": null, "history": []});
    scene.keep("runs", "paused", state).await;
    let app = scene.start().await;
    let ran = |state: &Value| state["planned"].as_i64() > Some(planned);
    let state = scene.noted("paused", "a run", ran).await;
    let last = state["planned"].as_i64().expect("a time");
    assert_eq!((last - begun) % minute, 0);
    assert!(now - last < 2 * minute, "{state:#}");
    let history = state["history"].as_array().expect("runs");
    let told: Vec<_> = history.iter().map(|run| &run["outcome"]).collect();
    assert_eq!(told, ["quiet", "missed"], "{state:#}");
    assert_eq!(history[1]["scheduled_at"], planned + minute);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_monitors_hold_up_no_other() {
    let scene = Scene::new(store!()).await;
    // What is sent there is never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let kept = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            open.push(connection);
        }
    });
    let way = Reluctant::start(&scene.store, 1).await;
    way.send_to(&format!("http://{address}"), "-slow/_search");
    let app = scene.start_with(&[("OPENSEARCH_URL", way.url().as_str())]).await;
    let slow_index = format!("{}-slow", scene.prefix);
    for n in 0..20 {
        let mut slow = scene.monitor(&format!("Slow {n}"), 2);
        slow["inputs"][0]["search"]["indices"] = json!([slow_index]);
        scene.make(&slow).await;
    }
    let id = scene.make(&scene.monitor("Fast", 2)).await;
    // Each of the others has a call that ends after 30 s.
    let begun = Instant::now();
    scene.runs(&id, 5).await;
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(25),
        "five runs, of which one is due every 2 s, took {took:?}"
    );
    kept.abort();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_left_undone_is_done_by_the_next_leader() {
    let scene = Scene::new(store!()).await;
    let mut body = scene.monitor("Left", 3_600);
    body["enabled"] = json!(false);
    let id = scene.make(&body).await;
    let alert = json!({"id": "left-1", "monitor_id": id, "monitor_name": "Left", "trigger_id": "many",
        "trigger_name": "many", "state": "ACTIVE", "severity": "2", "start_time": 1_800_000_000_000_i64,
        "end_time": null, "acknowledged_time": null, "error_message": null});
    let told = MESSAGE
        .replace("{{ctx.monitor.name}}", "Left")
        .replace("{{ctx.alert.id}}", "left-1")
        .replace("{{ctx.results.0.hits.total.value}}", "7")
        .replace("{{ctx.periodStart}}", "2026-11-22T08:00:00Z")
        .replace("{{ctx.periodEnd}}", "2026-11-22T08:01:00Z");
    let state = json!({"kind": "state", "monitor_id": id, "planned": 1, "current": ["left-1"],
        "history": [], "pending": {"at": clock::now().as_millisecond(), "alerts": [alert],
            "messages": [{"destination": CHANNEL_ID, "body": told, "trigger": "many",
                "alerts": ["left-1"]}]}});
    Index::Runs.make(&scene.client).await.expect("one");
    scene.keep("runs", &id, state).await;
    let app = scene.start().await;
    scene.noted(&id, "nothing pending", |state| state["pending"].is_null()).await;
    assert_eq!(scene.alert("left-1").await["state"], "ACTIVE");
    let records = scene.store.wait_for_records(1).await;
    assert_eq!(records[0]["_source"]["event"]["id"], "left-1", "{records:#?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_runs_a_disabled_monitor_once() {
    let scene = Scene::new(store!()).await;
    scene.log(1).await;
    let mut body = scene.monitor("Wished", 3_600);
    body["enabled"] = json!(false);
    let id = scene.make(&body).await;
    let app = scene.start().await;
    let asked = clock::now().as_millisecond();
    asking::wish(&scene.client, &id, asked).await.expect("a wish");
    let state = scene.noted(&id, "a run", |state| state["wished"] == asked).await;
    assert_eq!(
        (&state["planned"], &state["history"][0]["scheduled_at"]),
        (&Value::Null, &json!(asked))
    );
    scene.store.wait_for_records(1).await;
    let begun = Instant::now();
    while !runs::wishes(&scene.client).await.expect("wishes").is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the wish stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.state(&id).await["history"].as_array().map(Vec::len), Some(1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_is_gone_leaves_no_open_alert() {
    let scene = Scene::new(store!()).await;
    scene.log(1).await;
    let app = scene.start().await;
    let id = scene.make(&scene.monitor("Going", 2)).await;
    let state = scene
        .noted(&id, "an alert", |state| !state["current"].as_array().is_none_or(Vec::is_empty))
        .await;
    let alert = current(&state)[0].to_owned();
    scene.noted(&id, "nothing pending", |state| state["pending"].is_null()).await;
    // Not by us: nobody has told its alerts.
    let path = format!("/{}-monitors/_doc/{id}?refresh=true", scene.prefix);
    scene.call(Method::Delete, &path, Value::Null).await;
    scene.noted(&id, "no note", Value::is_null).await;
    assert_eq!(scene.alert(&alert).await["state"], "DELETED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_one_runs_them_and_the_next_goes_on_where_it_stopped() {
    let scene = Arc::new(Scene::new(store!()).await);
    let (one, other) = (scene.start().await, scene.start().await);
    let id = scene.make(&scene.monitor("Handed", 2)).await;
    scene.log(1).await;
    scene.store.wait_for_records(1).await;
    scene.runs(&id, 1).await;
    let leads = async |app: &App| {
        let answer = crate::support::Answer::of(app.get("/readyz")).await;
        answer.json["runner"]["leads"].clone()
    };
    let (first, second) = if leads(&one).await == true { (one, other) } else { (other, one) };
    assert_eq!(leads(&second).await, false);
    first.stop().await;
    let begun = Instant::now();
    let state = scene.runs(&id, 2).await;
    assert!(begun.elapsed() < Duration::from_secs(25), "the lease was given back");
    assert_eq!(leads(&second).await, true);
    let history = state["history"].as_array().expect("runs");
    let planned = history.iter().filter_map(|run| run["scheduled_at"].as_i64());
    let planned: Vec<_> = planned.collect();
    assert!(planned.is_sorted_by(|a, b| a > b), "each once, the newest first: {planned:?}");
    assert_eq!(scene.alerts().await.len(), 1);
    assert_eq!(scene.store.wait_for_records(1).await.len(), 1);
    second.stop().await;
}
