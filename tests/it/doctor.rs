//! `alertloop doctor` against good and bad set-ups of the real store.

use std::collections::HashMap;

use alertloop::opensearch::security;
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::{
    store,
    support::{self, Answer, App, Process, Store, settings},
};

const CHANNEL: &str = "/_plugins/_notifications/configs/malcolm-api-loopback-webhook";
const MONITORS: &str = "/_plugins/_alerting/monitors";

/// A store without our objects, for one test alone, and settings for commands.
struct Scene {
    store: Store,
    settings: HashMap<String, String>,
    made: Vec<String>,
    _dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let turn = support::provisioning(&store).await;
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = settings(&store, dir.path());
        settings.insert("ALERTLOOP_PROVISION".to_owned(), "true".to_owned());
        Self { store, settings, made: Vec::new(), _dir: dir, _turn: turn }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// The exit code of the doctor, and what it prints.
    fn look(&self, arguments: &[&str]) -> (i32, String) {
        let (code, out, errors) =
            Process::output(&self.settings, &[&["doctor"], arguments].concat());
        assert!(!out.is_empty(), "{errors}");
        (code, out)
    }

    /// Makes a monitor like the shipped one that is always true, and gives its id.
    async fn monitor(&mut self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let file = include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
        let mut body: Value = serde_json::from_str(file).expect("JSON");
        body["name"] = json!(name);
        body["inputs"][0]["search"]["indices"] = json!([self.store.pattern()]);
        let query = json!({"bool": {"must_not": {"term": {"event.module": "alerting"}}}});
        body["inputs"][0]["search"]["query"] = json!({"size": 0, "query": query});
        let trigger = &mut body["triggers"][0]["query_level_trigger"];
        trigger["condition"]["script"]["source"] = json!("true");
        change(&mut body);
        let made = self.store.make(MONITORS, body).await;
        let id = made["_id"].as_str().expect("an id").to_owned();
        self.made.push(format!("{MONITORS}/{id}"));
        id
    }

    async fn clean(self) {
        let template = "/_template/alertloop_sessions".to_owned();
        for path in self.made.iter().chain([&template]) {
            self.store.raw("DELETE", path, Value::Null).await;
        }
        self.store.remove_loopback().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_what_is_wrong_and_changes_nothing() {
    let mut scene = Scene::new(store!(alerting)).await;
    let (code, text) = scene.look(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warn  channel   malcolm-api-loopback-webhook is missing"), "{text}");
    assert_eq!(scene.look(&["--strict"]).0, 1);
    let channel = scene.store.json(Method::Get, CHANNEL, Value::Null).await;
    assert!(channel.is_err_and(|fault| fault.is_not_found()), "the doctor made a channel");

    let (code, _, errors) = Process::output(&scene.settings, &["provision", "apply"]);
    assert_eq!(code, 0, "{errors}");
    let (_, text) = scene.look(&[]);
    let user = security::whoami(&scene.store.client()).await.expect("an answer");
    let user = match user {
        Some(_) => "user      \"admin\" sees the monitors and channels of all users",
        None => "user      the store asks for no login",
    };
    for want in [
        user,
        "monitor   Malcolm API Loopback Monitor is there, disabled",
        "clock     agrees",
        "plugins   opensearch-alerting, ",
        "version   tried",
        "spool     no alert waits",
        "files     no other user",
    ] {
        assert!(text.contains(&format!("ok    {want}")), "{want}: {text}");
    }
    let ours = scene.settings["ALERTLOOP_TOKEN"].clone();
    scene.set("ALERTLOOP_TOKEN", "another-secret-for-tests");
    let (code, text) = scene.look(&[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAIL  channel   malcolm-api-loopback-webhook: its secret is not ours"));
    assert!(!text.contains(&ours) && !text.contains("another-secret"), "{text}");

    scene
        .monitor("doctor: feeds on itself", |body| {
            body["inputs"][0]["search"]["query"]["query"] = json!({"match_all": {}});
        })
        .await;
    scene
        .monitor("doctor: sends nowhere", |body| {
            let trigger = &mut body["triggers"][0]["query_level_trigger"];
            trigger["actions"][0]["destination_id"] = json!("nowhere");
        })
        .await;
    scene.monitor("Malcolm API Loopback Monitor", |_| {}).await;
    let (_, text) = scene.look(&[]);
    assert!(text.contains("\"doctor: feeds on itself\" also counts"), "{text}");
    assert!(text.contains("\"doctor: sends nowhere\" send to nowhere"), "{text}");
    let told = "warn  monitor   Malcolm API Loopback Monitor: somebody else made one of this name";
    assert!(text.contains(told), "{text}");
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_the_store_to_us_is_tried_and_what_was_lost_on_it_is_told() {
    let mut scene = Scene::new(store!(alerting)).await;
    let app = App::start_provisioning(&scene.store).await;
    app.wait_until_provisioned().await;
    let webhook = app.url("/mapi/alert");
    scene.set("ALERTLOOP_LISTEN", &app.address().to_string());
    scene.set("ALERTLOOP_WEBHOOK_URL", &webhook);
    let (code, text) = scene.look(&["--output", "json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let of = |check: &str| findings.iter().find(|one| one["subject"] == check).expect("a finding");
    assert_eq!((code, &of("webhook")["state"]), (0, &json!("ok")), "{text}");
    let what = of("webhook")["what"].as_str().expect("a text");
    assert!(what.contains("the test arrived at our own intake"), "{what}");
    assert_eq!(of("lost")["state"], "ok");
    assert_eq!(app.dead_letters().await, [Value::Null; 0], "a test message is kept nowhere");
    assert_eq!(Answer::of(app.get("/readyz")).await.json["spool"]["waiting"], 0);
    assert_eq!(scene.store.records().await.len(), 0);

    app.stop().await;
    let (code, text) = scene.look(&[]);
    assert_eq!(code, 1, "{text}");
    // A connection that the store kept open ends in other words than a new one.
    assert!(text.contains("FAIL  webhook   "), "{text}");
    assert!(
        text.contains("; nothing listens at ALERTLOOP_LISTEN either; to mend: start"),
        "{text}"
    );

    let session = format!("/{}/_doc/1?refresh=true", scene.store.index("261105"));
    let body = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    scene.store.json(Method::Put, &session, body).await.expect("a session");
    let lost = scene.monitor("doctor: loses a webhook", |_| {}).await;
    let broken = scene
        .monitor("doctor: its trigger throws", |body| {
            body["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] =
                json!("ctx.results[7] == 1");
        })
        .await;
    for id in [lost, broken] {
        let run = format!("{MONITORS}/{id}/_execute?dryrun=false");
        scene.store.json(Method::Post, &run, Value::Null).await.expect("a run");
    }
    let (_, text) = scene.look(&[]);
    let line = |start: &str| text.lines().find(|line| line.contains(start)).unwrap_or_default();
    let told = line("a webhook of \"doctor: loses a webhook\" was lost at 20");
    assert!(told.starts_with("warn  lost") && told.contains("Connection refused"), "{text}");
    let told = line("\"doctor: its trigger throws\" could not be run");
    assert!(told.starts_with("warn  lost"), "{text}");
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_at_our_address_is_not_taken_for_us() {
    let mut scene = Scene::new(store!(alerting)).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mapi/alert", listener.local_addr().expect("an address"));
    let other = axum::Router::new().fallback(|| async { "<html>hello" });
    let server = tokio::spawn(axum::serve(listener, other).into_future());
    scene.set("ALERTLOOP_WEBHOOK_URL", &url);
    let (code, _, errors) = Process::output(&scene.settings, &["provision", "apply"]);
    assert_eq!(code, 0, "{errors}");
    let (_, text) = scene.look(&[]);
    assert!(text.contains("FAIL  webhook "), "{text}");
    assert!(text.contains("took the test, but without our receipt: <html>hello"), "{text}");
    server.abort();
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_the_store_made_read_only_for_want_of_disk_is_told() {
    let store = store!();
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&store, dir.path());
    settings.insert("OPENSEARCH_PRIMARY".to_owned(), "elasticsearch-remote".to_owned());
    let look = || Process::output(&settings, &["doctor"]);
    let index = store.index("261121");
    store.json(Method::Put, &format!("/{index}"), Value::Null).await.expect("an index");
    let (code, text, _) = look();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("ok    index     {} takes writes", store.pattern())), "{text}");
    let block = |value: Value| {
        let body = json!({"index.blocks.read_only_allow_delete": value});
        let path = format!("/{index}/_settings");
        let store = &store;
        async move { store.json(Method::Put, &path, body).await.expect("a block") }
    };
    block(json!(true)).await;
    let (code, text, _) = look();
    block(Value::Null).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAIL  index     an index is over the flood stage"), "{text}");
    assert!(text.contains(&index), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_fails_and_our_own_side_is_looked_at_all_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&Store::away(), dir.path());
    settings.insert("ALERTLOOP_SPOOL_MAX_BYTES".to_owned(), "1000 TiB".to_owned());
    let (code, text, errors) = Process::output(&settings, &["doctor"]);
    assert_eq!(code, 1, "{text}{errors}");
    assert!(text.contains("ok    data "), "{text}");
    assert!(text.contains("warn  disk "), "{text}");
    assert!(text.contains("FAIL  store  http://127.0.0.1:1/: no answer"), "{text}");
}
