//! Monitors without the Alerting plugin, kept by alertloop itself: the same provisioning, searches,
//! switches and acknowledgements, on the real store, in indices of each test's own.

use std::{collections::HashMap, time::Duration};

use alertloop::{
    acknowledge::{self, Outcome},
    monitors,
    opensearch::{
        Client, Engine, Error, Settings as StoreSettings, acknowledging, alert_search,
        alerting::{self, Family},
        alerts::{self, Query},
        builtin::indices::Index,
        engine::{Choice, Settings as EngineSettings},
        jobs,
    },
    provision::{
        self, Applied, ChannelSecret, Options, Plan, Settings,
        desired::{CHANNEL_ID, MONITOR_NAME},
    },
    secrets::WebhookToken,
};
use axum::{Router, http::StatusCode, routing::post};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    objects::step,
    store,
    support::{Answer, App, Process, Store, settings},
};

const LIMIT: Duration = Duration::from_secs(10);
const FORCE: Options = Options { force: true, prune: false, session_template_only: false };
const PRUNE: Options = Options { force: false, prune: true, session_template_only: false };

/// The store, with monitors of this test's own.
struct Own {
    store: Store,
    client: Client,
    prefix: String,
    dir: TempDir,
    settings: Settings,
    secret: ChannelSecret,
}

impl Own {
    fn new(store: Store) -> Self {
        let prefix = format!("own{}", store.pattern().replace("-*", ""));
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["channels", "monitors", "conditions"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let settings = Settings { dir: Some(dir.path().to_owned()), ..store.provisioning() };
        let client = client(store.url(), Choice::Builtin, &prefix);
        let secret = ChannelSecret::new(WebhookToken::generate(), true);
        Self { store, client, prefix, dir, settings, secret }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir.path().join(file), text).expect("a file");
    }

    async fn plan(&self, options: Options) -> Plan {
        let plan = provision::look(&self.client, &self.settings, &self.secret, options).await;
        plan.expect("a plan")
    }

    async fn apply(&self, options: Options) -> Applied {
        let applied = provision::apply(&self.client, &self.settings, &self.secret, options).await;
        let applied = applied.expect("applied");
        assert!(applied.after.is_in_sync(), "{applied}");
        applied
    }

    async fn named(&self, name: &str) -> alerting::Monitor {
        let found = alerting::named(&self.client, Family::Monitor, &[name]).await.expect("found");
        <[_; 1]>::try_from(found).map(|[one]| one).expect("one of this name")
    }

    async fn make(&self, body: &Value) -> alerting::Monitor {
        alerting::create(&self.client, Family::Monitor, body).await.expect("a monitor")
    }

    /// Puts an alert there, as whoever runs the monitors does.
    async fn alert(&self, id: &str, monitor: &str, state: &str, began: i64) {
        Index::Alerts.make(&self.client).await.expect("an index");
        let body = json!({"id": id, "monitor_id": monitor, "monitor_name": "Own monitor",
            "trigger_id": "T", "trigger_name": "always", "state": state, "severity": "1",
            "error_message": if state == "ERROR" { json!("no such index") } else { Value::Null },
            "start_time": began, "last_notification_time": began, "end_time": null,
            "acknowledged_time": null, "alert_history": [], "action_execution_results": []});
        let path = format!("/{}/_doc/{id}?refresh=true", Index::Alerts.name(&self.client));
        self.client.call(Method::Put, &path, Some(&body)).await.expect("an alert");
    }

    async fn found(&self, search: &str) -> Vec<String> {
        let query = Query { search, newest_by: "start_time", from: 0, size: 10 };
        let page = alerts::page(&self.client, query).await.expect("alerts");
        assert_eq!(page.total, page.alerts.len() as u64);
        page.alerts.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    }

    async fn end(self) {
        let path = format!("/{}-*?expand_wildcards=all", self.prefix);
        self.store.raw("DELETE", &path, Value::Null).await;
    }
}

fn client(url: &str, choice: Choice, prefix: &str) -> Client {
    let settings = StoreSettings {
        url: url.parse().expect("a URL"),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(30),
        monitors: EngineSettings { choice, prefix: prefix.to_owned() },
    };
    Client::new(&settings).expect("a client")
}

fn monitor(name: &str) -> Value {
    json!({
        "type": "monitor", "name": name, "monitor_type": "query_level_monitor", "enabled": true,
        "schedule": {"period": {"interval": 7, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": ["nothing-*"],
            "query": {"size": 0, "query": {"match_all": {}}}}}],
        "ui_metadata": {"search": {"searchType": "graph"}},
        "triggers": [{"query_level_trigger": {
            "id": "T", "name": "always", "severity": "2",
            "condition": {"script": {"source": "return true", "lang": "painless"}},
            "actions": [{"id": "A", "name": "tell", "destination_id": CHANNEL_ID,
                "message_template": {"source": "{{ctx.monitor.name}} fires", "lang": "mustache"},
                "throttle_enabled": false}]}}]})
}

fn status(answer: Result<alerting::Monitor, Error>) -> (u16, String) {
    let fault = answer.expect_err("a refusal");
    (fault.status().expect("a status"), fault.to_string())
}

const CONDITION: &str = r#"
title = "Many failed logins"
type = "message_count"
threshold = 50
time = 5

[stream]
query = "event.action:failed-login"
"#;

#[tokio::test]
async fn files_are_provisioned_and_what_a_user_edits_is_left_alone() {
    let own = Own::new(store!());
    own.write("conditions/logins.toml", CONDITION);
    let plan = own.plan(Options::default()).await;
    assert!(step(&plan, MONITOR_NAME).starts_with("create"), "{plan}");
    assert!(step(&plan, CHANNEL_ID).contains("not needed"), "{plan}");
    let applied = own.apply(Options::default()).await;
    assert_eq!(applied.done.len(), 2, "{applied}");
    let plan = own.plan(Options::default()).await;
    assert!(plan.is_in_sync(), "{plan}");
    assert!(own.apply(Options::default()).await.done.is_empty());
    let shipped = own.named(MONITOR_NAME).await;
    assert!(!shipped.is_enabled() && shipped.body["enabled_time"].is_null(), "{shipped:?}");
    assert!(own.named("Many failed logins").await.is_enabled());

    // Switched on by a user: that is his, and no edit.
    let (item, _) =
        monitors::find(&own.client, &own.settings, MONITOR_NAME).await.expect("a monitor");
    assert!(item.file.is_some() && item.sends_to_us);
    monitors::switch(&own.client, &own.settings, &shipped.id, true).await.expect("switched");
    let switched = own.named(MONITOR_NAME).await;
    assert_eq!(switched.body["enabled_time"], switched.body["last_update_time"]);
    assert!(own.plan(Options::default()).await.is_in_sync());

    // Edited by a user: left alone, unless by force, which leaves the switch.
    let mut edited = switched.body.clone();
    edited["triggers"][0]["query_level_trigger"]["severity"] = json!("5");
    let guards = (switched.seq_no, switched.primary_term);
    let update = alerting::update(&own.client, Family::Monitor, &shipped.id, guards, &edited);
    update.await.expect("an edit");
    let plan = own.plan(Options::default()).await;
    assert!(step(&plan, MONITOR_NAME).contains("edited by a user"), "{plan}");
    assert!(own.apply(Options::default()).await.done.is_empty());
    assert_eq!(own.apply(FORCE).await.done.len(), 1);
    let forced = own.named(MONITOR_NAME).await;
    assert_ne!(forced.body["triggers"], edited["triggers"]);
    assert!(forced.is_enabled());
    assert_eq!(forced.body["enabled_time"], switched.body["enabled_time"], "since it was switched");

    // A file that changes, and one that goes.
    own.write("conditions/logins.toml", &CONDITION.replace("50", "60"));
    assert_eq!(own.apply(Options::default()).await.done.len(), 1);
    std::fs::remove_file(own.dir.path().join("conditions/logins.toml")).expect("gone");
    assert_eq!(own.apply(PRUNE).await.done.len(), 1);
    let all = alerting::monitors(&own.client).await.expect("a list");
    assert_eq!(all.iter().map(alerting::Monitor::name).collect::<Vec<_>>(), [MONITOR_NAME]);
    own.end().await;
}

#[tokio::test]
async fn what_only_the_plugins_can_have_is_left_out_with_the_reason() {
    let own = Own::new(store!());
    own.write("monitors/malcolm_api_loopback_monitor.json", "");
    let mut documents = monitor("Own documents");
    documents["monitor_type"] = json!("doc_level_monitor");
    own.write("monitors/documents.json", &documents.to_string());
    let workflow = json!({"type": "workflow", "name": "Own composite"});
    own.write("monitors/composite.json", &workflow.to_string());
    let mail = json!({"config_id": "own-mail", "config": {"name": "Own mail",
        "config_type": "slack", "slack": {"url": "https://example.org/"}}});
    own.write("channels/own-mail.json", &mail.to_string());
    own.write("monitors/plain.json", &monitor("Own plain").to_string());
    let applied = own.apply(Options::default()).await;
    assert_eq!(applied.done.len(), 1, "{applied}");
    for (name, why) in [
        ("Own documents", "doc_level_monitor"),
        ("Own composite", "composite"),
        ("own-mail", "callback"),
    ] {
        let told = step(&applied.after, name);
        assert!(told.starts_with("unavailable") && told.contains(why), "{told}");
    }

    let refused =
        async |body: &Value, family| status(alerting::create(&own.client, family, body).await);
    assert_eq!(refused(&documents, Family::Monitor).await.0, 422);
    let (code, words) = refused(&workflow, Family::Workflow).await;
    assert!(code == 422 && words.contains("ALERTLOOP_MONITORS"), "{words}");
    let mut nameless = monitor("");
    assert_eq!(refused(&nameless, Family::Monitor).await.0, 400);
    nameless["name"] = json!("Own cron");
    nameless["schedule"] = json!({"cron": {"expression": "at noon", "timezone": "UTC"}});
    let (code, words) = refused(&nameless, Family::Monitor).await;
    assert!(code == 400 && words.contains("at noon"), "{words}");
    own.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_at_once_make_one_monitor() {
    let own = Own::new(store!());
    let other = client(own.store.url(), Choice::Builtin, &own.prefix);
    let secret = ChannelSecret::new(WebhookToken::generate(), true);
    let options = Options::default();
    let (one, two) = tokio::join!(
        provision::apply(&own.client, &own.settings, &own.secret, options),
        provision::apply(&other, &own.settings, &secret, options),
    );
    let (one, two) = (one.expect("applied"), two.expect("applied"));
    assert!(one.after.is_in_sync() && two.after.is_in_sync(), "{one}{two}");
    own.named(MONITOR_NAME).await;
    assert!(own.plan(options).await.is_in_sync());
    own.end().await;
}

#[tokio::test]
async fn a_write_is_guarded_and_moves_the_stamp_and_a_run_does_not() {
    let own = Own::new(store!());
    assert!(alerting::monitors(&own.client).await.expect("a list").is_empty());
    let mut stamps = vec![alerting::stamp(&own.client).await.expect("a stamp")];
    let made = own.make(&monitor("Own stamp")).await;
    stamps.push(alerting::stamp(&own.client).await.expect("a stamp"));
    let read = alerting::get(&own.client, Family::Monitor, &made.id).await.expect("read");
    assert_eq!(read.as_ref(), Some(&made));
    assert_eq!(made.body["ui_metadata"], monitor("")["ui_metadata"]);
    let update = |seq_no: u64, body: Value| {
        let (client, id) = (own.client.clone(), made.id.clone());
        let guards = (seq_no, made.primary_term);
        async move { alerting::update(&client, Family::Monitor, &id, guards, &body).await }
    };
    let changed = update(made.seq_no, monitor("Own stamp, changed")).await.expect("changed");
    assert_eq!((changed.version, changed.name()), (2, "Own stamp, changed"));
    stamps.push(alerting::stamp(&own.client).await.expect("a stamp"));
    assert_eq!(status(update(made.seq_no, monitor("late")).await).0, 409);

    // A run is noted elsewhere; the list tells it.
    Index::Runs.make(&own.client).await.expect("an index");
    let ran = changed.body["last_update_time"].as_i64().expect("a time") + 1;
    let path = format!("/{}/_doc/{}?refresh=true", Index::Runs.name(&own.client), made.id);
    let run = json!({"kind": "state", "monitor_id": made.id, "last_run": ran, "history": [
        {"scheduled_at": ran - 9, "started_at": ran - 8, "took_ms": 8, "outcome": "quiet",
            "triggers": [], "messages": 0},
        {"scheduled_at": ran - 1, "started_at": ran, "took_ms": 2, "outcome": "fired",
            "triggers": ["always"], "messages": 1}]});
    own.client.call(Method::Put, &path, Some(&run)).await.expect("a run");
    assert_eq!(alerting::stamp(&own.client).await.expect("a stamp"), stamps[2]);
    let jobs = jobs::jobs(&own.client).await.expect("runs");
    assert_eq!(jobs.last_runs[&made.id].map(jiff::Timestamp::as_millisecond), Some(ran));
    let past = monitors::past(&own.client, &changed).await.expect("its runs");
    let outcomes: Vec<_> = past.runs.iter().map(|run| run.outcome.as_str()).collect();
    assert_eq!((past.engine.as_str(), outcomes), ("builtin", vec!["fired", "quiet"]));

    alerting::delete(&own.client, Family::Monitor, &made.id).await.expect("deleted");
    alerting::delete(&own.client, Family::Monitor, &made.id).await.expect("deleted twice");
    stamps.push(alerting::stamp(&own.client).await.expect("a stamp"));
    assert!(stamps.windows(2).all(|pair| pair[0] != pair[1]), "{stamps:?}");
    assert_eq!(status(update(changed.seq_no, monitor("gone")).await).0, 404);
    own.end().await;
}

#[tokio::test]
async fn alerts_are_searched_acknowledged_and_deleted_with_their_monitor() {
    let own = Own::new(store!());
    assert_eq!(own.found("*").await, [""; 0], "before the first alert");
    let made = own.make(&monitor("Own monitor")).await;
    let id = made.id.as_str();
    for (alert, monitor, state, began) in [
        ("a-active", id, "ACTIVE", 4_000),
        ("a-over", id, "COMPLETED", 3_000),
        ("a-error", id, "ERROR", 2_000),
        ("a-audit", id, "AUDIT", 1_500),
        ("b-other", "other", "ACTIVE", 1_000),
    ] {
        own.alert(alert, monitor, state, began).await;
    }
    let all = ["a-active", "a-over", "a-error", "b-other"];
    for (search, want) in [
        ("", &all[..]),
        ("*", &all[..]),
        ("_id:(\"a-over\" OR \"b-other\")", &["a-over", "b-other"][..]),
        (&alert_search::any_of("monitor_id", &[id]), &all[..3]),
        ("state:(ACTIVE OR ACKNOWLEDGED OR ERROR)", &["a-active", "a-error", "b-other"][..]),
        ("start_time:[2000 TO 3000]", &["a-over", "a-error"][..]),
        ("(start_time:[4000 TO *] OR end_time:[1 TO *])", &["a-active"][..]),
        ("own monitor", &all[..]),
        ("own stranger", &[][..]),
    ] {
        assert_eq!(own.found(search).await, want, "{search}");
    }
    let first = alert_search::search(&own.client, "*", 1).await.expect("alerts");
    assert_eq!((&first[0]["id"], first[0]["version"].as_u64()), (&json!("a-active"), Some(1)));
    let failed = alerts::failed(&own.client).await.expect("failures");
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].monitor_id.as_str(), failed[0].message.as_str()), (id, "no such index"));

    let asked = ["a-active", "a-over", "a-error", "b-other", "a-none"];
    let said = acknowledging::acknowledge(&own.client, Family::Monitor, id, &asked).await;
    let said = said.expect("an answer");
    assert_eq!(said.success, ["a-active"]);
    let reasons: Vec<_> = said.failed.values().map(String::as_str).collect();
    let [error, none, over, other] = reasons[..] else { panic!("{said:?}") };
    assert!(error.contains("error state") && over.contains("already completed"), "{said:?}");
    assert!(none.contains("does not exist") && other.contains("does not exist"), "{said:?}");
    let now = alert_search::search(&own.client, "_id:(\"a-active\")", 1).await.expect("an alert");
    assert_eq!(now[0]["state"], "ACKNOWLEDGED");
    assert!(now[0]["acknowledged_time"].as_i64() > Some(4_000));
    // By way of all that people use.
    own.alert("a-second", id, "ACTIVE", 5_000).await;
    let ids = ["a-second", "a-active", "nothing"].map(str::to_owned);
    let answers = acknowledge::acknowledge(&own.client, &ids, LIMIT).await.expect("answers");
    let outcomes: Vec<_> = answers.iter().map(|answered| answered.outcome).collect();
    assert_eq!(outcomes, [Outcome::Acknowledged, Outcome::Already, Outcome::Unknown]);

    // A trigger that goes takes its alerts along, and so does the monitor.
    own.alert("a-third", id, "ACTIVE", 6_000).await;
    let mut body = made.body.clone();
    body["triggers"][0]["query_level_trigger"]["id"] = json!("another");
    let guards = (made.seq_no, made.primary_term);
    let changed = alerting::update(&own.client, Family::Monitor, id, guards, &body).await;
    changed.expect("changed");
    let deleted = own.found("state:DELETED").await;
    assert_eq!(deleted, ["a-third", "a-second", "a-active", "a-error"]);
    own.alert("a-fourth", id, "ACTIVE", 7_000).await;
    alerting::delete(&own.client, Family::Monitor, id).await.expect("deleted");
    assert_eq!(own.found("state:DELETED").await[0], "a-fourth");
    assert_eq!(own.found("state:ACTIVE").await, ["b-other"]);
    own.end().await;
}

#[tokio::test]
async fn who_runs_the_monitors_is_found_out_once_and_never_guessed() {
    let store = store!(alerting);
    let plugin = client(store.url(), Choice::Auto, "unused");
    assert_eq!(plugin.engine().await.expect("an answer"), Engine::Plugin);
    assert_eq!(
        client("http://127.0.0.1:1", Choice::Plugin, "x").engine().await.ok(),
        Some(Engine::Plugin)
    );
    assert_eq!(
        client("http://127.0.0.1:1", Choice::Builtin, "x").engine().await.ok(),
        Some(Engine::Builtin)
    );
    let away = client("http://127.0.0.1:1", Choice::Auto, "x");
    assert!(matches!(away.engine().await, Err(Error::Unreachable(_))));

    // A store that starts says nothing of it; one that knows no such address does.
    let answers = std::sync::Arc::new(std::sync::Mutex::new(vec![
        (StatusCode::BAD_REQUEST, r#"{"error":"no handler found for uri [/x] and method [POST]"}"#),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":{"reason":"not recovered"}}"#),
    ]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let next = move || {
        let next = answers.lock().expect("unharmed").pop();
        async move { next.expect("it is not asked again") }
    };
    let router = Router::new().route("/_plugins/_alerting/monitors/_search", post(next));
    let task = tokio::spawn(axum::serve(listener, router).into_future());
    let bare = client(&url, Choice::Auto, "x");
    let fault = bare.engine().await.expect_err("not yet");
    assert_eq!(fault.status(), Some(503));
    for _ in 0..3 {
        assert_eq!(bare.clone().engine().await.expect("an answer"), Engine::Builtin);
    }
    task.abort();
}

/// What a service and a command need to keep monitors by themselves.
fn builtin(own: &Own) -> [(&'static str, String); 2] {
    [
        ("ALERTLOOP_MONITORS", "builtin".to_owned()),
        ("ALERTLOOP_MONITORS_PREFIX", own.prefix.clone()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_and_the_commands_show_and_switch_them() {
    let own = Own::new(store!());
    let more = builtin(&own);
    let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = App::start_provisioning_with(&own.store, &more).await;
    app.wait_until_provisioned().await;
    let listed = Answer::of(app.get("/mapi/conditions")).await;
    assert_eq!(listed.status, 200, "{}", listed.json);
    let item = listed.json["items"].as_array().expect("items").iter();
    let item = item.clone().find(|item| item["name"] == MONITOR_NAME).expect("the shipped one");
    let id = item["id"].as_str().expect("an id");
    let request = app.post(&format!("/mapi/conditions/{id}/enable"));
    let enabled = Answer::of(request.header("content-type", "application/json")).await;
    assert_eq!((enabled.status, &enabled.json["enabled"]), (200, &json!(true)));
    let past = Answer::of(app.get(&format!("/mapi/conditions/{id}/history"))).await;
    assert_eq!((past.status, &past.json["engine"]), (200, &json!("builtin")), "{}", past.json);
    let none = Answer::of(app.get("/mapi/conditions/none/history")).await;
    assert_eq!(none.status, 404, "{}", none.json);

    let dir = tempfile::tempdir().expect("a folder");
    let mut all: HashMap<String, String> = settings(&own.store, dir.path());
    all.extend(builtin(&own).map(|(name, value)| (name.to_owned(), value)));
    let command = |arguments: &[&str]| {
        let (code, out, err) = Process::output(&all, &[&["monitors"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    let text = command(&["list"]);
    assert!(text.contains(id) && text.contains("enabled"), "{text}");
    assert!(command(&["disable", MONITOR_NAME]).starts_with("disabled"));
    let shown = command(&["show", id, "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["condition"]["enabled"], &shown["monitor"]["enabled"]),
        (&json!(false), &json!(false))
    );
    let listed: Value =
        serde_json::from_str(&command(&["list", "--output", "json"])).expect("JSON");
    assert_eq!(listed[0]["name"], MONITOR_NAME);
    let past: Value =
        serde_json::from_str(&command(&["history", id, "--output", "json"])).expect("JSON");
    assert_eq!(past["id"], id);
    let (code, _, err) = Process::output(&all, &["monitors", "show", "no such monitor"]);
    assert!(code == 1 && err.contains("no such monitor"), "{err}");

    // Run by hand, without keeping or sending anything.
    let made = own.make(&monitor("Own monitor")).await;
    let trial = command(&["run", "Own monitor", "--dry-run", "--output", "json"]);
    let trial: Value = serde_json::from_str(&trial).expect("JSON");
    assert_eq!((&trial["dry_run"], &trial["triggers"][0]["fires"]), (&json!(true), &json!(true)));
    assert_eq!(trial["messages"][0]["body"], "Own monitor fires", "{trial}");
    assert_eq!(own.found(&alert_search::any_of("monitor_id", &[&made.id])).await, [""; 0]);

    // By the service, as if its time had come.
    let mut silent = monitor("Own silent");
    silent["triggers"][0]["query_level_trigger"]["actions"] = json!([]);
    silent["schedule"] = json!({"period": {"interval": 1, "unit": "DAYS"}});
    let made = own.make(&silent).await;
    let ran = command(&["run", "Own silent", "--output", "json"]);
    let ran: Value = serde_json::from_str(&ran).expect("JSON");
    assert_eq!((&ran["runs"][0]["outcome"], &ran["engine"]), (&json!("fired"), &json!("builtin")));
    assert_eq!(ran["runs"][0]["triggers"], json!(["always"]), "{ran}");
    // Searches find its alert once the store has refreshed.
    let search = alert_search::any_of("monitor_id", &[&made.id]);
    let found = async {
        while own.found(&search).await.len() != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("one alert");
    let past = Answer::of(app.get(&format!("/mapi/conditions/{}/history", made.id))).await;
    assert_eq!(past.json["runs"][0], ran["runs"][0]);
    app.stop().await;
    own.end().await;
}
