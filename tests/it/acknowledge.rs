//! Alerts of the real store are acknowledged by the command and by the API, and each that cannot be
//! says why. What would jam the store is tried through a gate that lets no acknowledgement pass.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alertloop::{
    acknowledge::{self, Outcome},
    opensearch::{Client, Settings},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method as AxumMethod, StatusCode, Uri},
    response::IntoResponse,
};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Process, Store, settings},
};

const MONITORS: &str = "/_plugins/_alerting/monitors";
const WORKFLOWS: &str = "/_plugins/_alerting/workflows";
const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(1);

/// Monitors of one test, which are removed at its end.
struct Scene {
    store: Store,
    made: Vec<String>,
}

impl Scene {
    fn new(store: Store) -> Self {
        Self { store, made: Vec::new() }
    }

    async fn make(&mut self, kind: &str, body: Value) -> String {
        let made = self.store.make(kind, body).await;
        let id = made["_id"].as_str().expect("an id").to_owned();
        self.made.insert(0, format!("{kind}/{id}"));
        id
    }

    /// A monitor that is true when it is run, by a trigger that tells nobody; by another, which is
    /// never true, it sends to us.
    async fn monitor(&mut self, name: &str, source: &str) -> String {
        let body = self.body(name, source);
        self.make(MONITORS, body).await
    }

    fn body(&self, name: &str, source: &str) -> Value {
        let trigger = |name: &str, source: &str, actions: Value| {
            json!({"query_level_trigger": {"name": name, "severity": "2", "actions": actions,
                "condition": {"script": {"source": source, "lang": "painless"}}}})
        };
        let action = json!({"name": "tell", "destination_id": "malcolm-api-loopback-webhook",
            "message_template": {"source": "{}"}, "throttle_enabled": false});
        let query = json!({"size": 0, "query": {"match_none": {}}});
        json!({"type": "monitor", "name": format!("{name} of {}", self.store.pattern()),
            "monitor_type": "query_level_monitor", "enabled": false,
            "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
            "inputs": [{"search": {"indices": [self.store.pattern()], "query": query}}],
            "triggers": [trigger("speaks", source, json!([])), trigger("tells", "false", json!([action]))]})
    }

    async fn run(&self, path: &str) {
        let path = format!("{path}/_execute?dryrun=false");
        self.store.json(Method::Post, &path, json!({})).await.expect("a run");
    }

    /// The only alert of a monitor or workflow, once it is in this state.
    async fn alert(&self, owner: &str, state: &str) -> Value {
        // An id may begin with a dash, which a query string would read as "not".
        let query = format!("(monitor_id:%22{owner}%22%20OR%20workflow_id:%22{owner}%22)");
        let query = format!("searchString={query}");
        let mut seen = Value::Null;
        let told = async {
            loop {
                seen = self.store.alerts(&query).await;
                if seen["alerts"][0]["state"] == state {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, told).await.is_ok(), "{state}: {seen:#}");
        seen["alerts"][0].clone()
    }

    /// The id of a new active alert, and its monitor's.
    async fn active(&mut self, name: &str) -> (String, String) {
        let monitor = self.monitor(name, "true").await;
        self.run(&format!("{MONITORS}/{monitor}")).await;
        (text(&self.alert(&monitor, "ACTIVE").await["id"]), monitor)
    }

    async fn clean(self) {
        for path in &self.made {
            self.store.raw("DELETE", path, Value::Null).await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn outcomes(client: &Client, ids: &[String]) -> Vec<(Outcome, String)> {
    let answers = acknowledge::acknowledge(client, ids, LIMIT).await.expect("answers");
    answers.into_iter().map(|one| (one.outcome, one.what)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_is_acknowledged_or_says_why_not() {
    use Outcome::{Acknowledged, Already, Over, Refused, Unknown};
    let mut scene = Scene::new(store!(alerting));
    let client = scene.store.client();
    let (active, monitor) = scene.active("active").await;
    let (by_record, _) = scene.active("by its record").await;

    let (over, completed) = scene.active("completed").await;
    let body = scene.body("completed", "false");
    let path = format!("{MONITORS}/{completed}");
    scene.store.json(Method::Put, &path, body).await.expect("another trigger");
    scene.run(&path).await;
    // Its trigger got another id, so the alert belongs to none any more.
    let state = text(&last_state(&scene.store, &over, "ACTIVE").await);
    assert!(["COMPLETED", "DELETED"].contains(&state.as_str()), "{state}");

    let broken = scene.monitor("broken", "ctx.results[7] == 1").await;
    scene.run(&format!("{MONITORS}/{broken}")).await;
    let broken = text(&scene.alert(&broken, "ERROR").await["id"]);

    let ids: Vec<String> = [
        &*active,
        &*format!("261121-{by_record}"),
        &*over,
        &*broken,
        "nobody\"s",
        &*"x".repeat(600),
    ]
    .map(str::to_owned)
    .into();
    let seen = outcomes(&client, &ids).await;
    let kinds: Vec<Outcome> = seen.iter().map(|(outcome, _)| *outcome).collect();
    assert_eq!(kinds, [Acknowledged, Acknowledged, Over, Refused, Unknown, Unknown], "{seen:#?}");
    assert!(seen[3].1.contains("in an error"), "{}", seen[3].1);
    scene.alert(&monitor, "ACKNOWLEDGED").await;
    let again = outcomes(&client, &ids[..2]).await;
    assert!(again.iter().all(|(outcome, _)| *outcome == Already), "{again:#?}");
    scene.clean().await;
}

/// The state of an alert when it is no longer `before`.
async fn last_state(store: &Store, alert: &str, before: &str) -> Value {
    let path = format!("{MONITORS}/alerts?searchString=_id:%22{alert}%22");
    let mut seen = json!(before);
    let changed = async {
        while seen == before || seen.is_null() {
            let answer = store.json(Method::Get, &path, Value::Null).await.expect("alerts");
            seen = answer["alerts"][0]["state"].clone();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, changed).await.is_ok(), "still {before}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alert_of_a_composite_monitor_is_acknowledged_by_its_workflow() {
    let mut scene = Scene::new(store!(alerting));
    let one = scene.monitor("first", "true").await;
    let other = scene.monitor("second", "true").await;
    let source = format!("(monitor[id={one}] && monitor[id={other}])");
    let body = json!({"type": "workflow", "workflow_type": "composite", "enabled": false,
        "name": format!("both of {}", scene.store.pattern()),
        "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
        "inputs": [{"composite_input": {"sequence": {"delegates": [
            {"order": 1, "monitor_id": one}, {"order": 2, "monitor_id": other}]}}}],
        "triggers": [{"chained_alert_trigger": {"name": "both", "severity": "1", "actions": [],
            "condition": {"script": {"lang": "painless", "source": source}}}}]});
    let workflow = scene.make(WORKFLOWS, body).await;
    scene.run(&format!("{WORKFLOWS}/{workflow}")).await;
    let alert = text(&scene.alert(&workflow, "ACTIVE").await["id"]);
    let seen = outcomes(&scene.store.client(), &[alert]).await;
    assert_eq!(seen[0].0, Outcome::Acknowledged, "{seen:#?}");
    scene.alert(&workflow, "ACKNOWLEDGED").await;
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_acknowledges_and_the_record_says_so_at_once() {
    let mut scene = Scene::new(store!(alerting));
    let app = App::start(&scene.store, &[]).await;
    let (alert, monitor) = scene.active("api").await;
    let path = format!("/mapi/alerts/{alert}/acknowledge");
    let post = |path: &str| app.post(path).header("content-type", "application/json");
    assert_eq!(Answer::of(app.post(&path)).await.status, 415, "as a form on any page could");
    let far = post(&path).header("x-forwarded-for", "192.0.2.7");
    assert_eq!(Answer::of(far).await.status, 404, "not from elsewhere without a login");
    assert_eq!(scene.alert(&monitor, "ACTIVE").await["id"], json!(alert));

    let answer = Answer::of(post(&path)).await;
    assert_eq!(
        (answer.status, &answer.json["outcome"]),
        (200, &json!("acknowledged")),
        "{answer:?}"
    );
    assert_eq!((&answer.json["id"], &answer.json["alert"]), (&json!(alert), &json!(alert)));
    let record = scene.store.wait_for_records(1).await.remove(0);
    let event = &record["_source"]["event"];
    assert_eq!((&event["id"], &event["action"]), (&json!(alert), &json!("acknowledged")));
    assert_eq!(record["_source"]["tags"], json!(["reconciled"]));
    let told = scene.alert(&monitor, "ACKNOWLEDGED").await;
    assert_eq!(event["sequence"], told["acknowledged_time"]);

    let id = record["_id"].as_str().expect("an id");
    let again = Answer::of(post(&format!("/mapi/alerts/{id}/acknowledge/"))).await;
    assert_eq!((again.status, &again.json["outcome"]), (200, &json!("already")));
    let none = Answer::of(post("/mapi/alerts/no%20such/acknowledge")).await;
    assert_eq!((none.status, &none.json["outcome"]), (404, &json!("unknown")));
    app.stop().await;
    scene.clean().await;
}

/// Settings for the command, for a service at this address.
fn command(store: &Store, listen: &str) -> HashMap<String, String> {
    let mut settings = settings(store, std::path::Path::new("/nonexistent"));
    settings.insert("ALERTLOOP_LISTEN".to_owned(), listen.to_owned());
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_the_service_and_without_one_the_store() {
    let mut scene = Scene::new(store!(alerting));
    let app = App::start(&scene.store, &[]).await;
    let (first, _) = scene.active("by the service").await;
    let (second, monitor) = scene.active("by the store").await;
    let listen = app.address().to_string();

    let told = command(&scene.store, &listen);
    let (code, out, errors) = Process::output(&told, &["acknowledge", "--", &first, &first]);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}{errors}");
    assert!(out.starts_with(&format!("acknowledged  {first}  \"by the service of ")), "{out}");
    assert_eq!(scene.store.wait_for_records(1).await[0]["_source"]["event"]["id"], json!(first));
    app.stop().await;

    let (code, out, errors) =
        Process::output(&told, &["acknowledge", "--output", "json", "--", &second, &first, "none"]);
    let answers: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{errors}"));
    let outcomes: Vec<_> =
        answers.as_array().expect("all").iter().map(|one| &one["outcome"]).collect();
    assert_eq!(
        (code, json!(outcomes)),
        (1, json!(["acknowledged", "already", "unknown"])),
        "{errors}"
    );
    assert!(errors.contains("no service runs here, so OpenSearch is asked"), "{errors}");
    scene.alert(&monitor, "ACKNOWLEDGED").await;
    assert_eq!(scene.store.records().await.len(), 1, "the record follows later");

    let url = format!("http://{listen}");
    let (code, _, errors) = Process::output(&told, &["acknowledge", "--url", &url, "--", &first]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("the service does not answer at"), "{errors}");
    assert_eq!(Process::output(&told, &["acknowledge"]).0, 2);
    scene.clean().await;
}

/// Stands before the store, lets everything pass but acknowledgements, counts those, and answers none.
struct Gate {
    client: Client,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Gate {
    async fn before(store: &Store) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let state = (store.url().to_owned(), http, Arc::clone(&asked));
        let router = Router::new().fallback(pass).with_state(state);
        let task = tokio::spawn(axum::serve(listener, router).into_future());
        let settings = Settings {
            url: format!("http://{address}").parse().expect("a URL"),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(30),
            monitors: alertloop::opensearch::engine::Settings::default(),
        };
        Self { client: Client::new(&settings).expect("a client"), asked, task }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Behind = (String, reqwest::Client, Arc<AtomicUsize>);

async fn pass(
    State((to, client, asked)): State<Behind>,
    method: AxumMethod,
    uri: Uri,
    body: Bytes,
) -> impl IntoResponse {
    if uri.path().contains("/_acknowledge/") {
        asked.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
    let request = client.request(method, format!("{to}{uri}")).body(body);
    let answer =
        request.header("content-type", "application/json").send().await.expect("an answer");
    let status = StatusCode::from_u16(answer.status().as_u16()).expect("a status");
    (status, answer.bytes().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_is_gone_is_not_asked() {
    let mut scene = Scene::new(store!(alerting));
    let (alert, monitor) = scene.active("gone").await;
    // What its deletion leaves is marked as deleted; one that is not yet has to be planted.
    let mut planted = scene.alert(&monitor, "ACTIVE").await;
    let orphan = format!("{alert}-planted");
    let gone = format!("{monitor}-gone");
    planted["monitor_id"] = json!(gone);
    let path = format!("/.opendistro-alerting-alerts/_doc/{orphan}?routing={gone}&refresh=true");
    planted.as_object_mut().map(|alert| alert.remove("id"));
    scene.store.json(Method::Put, &path, planted).await.expect("planted");
    let gate = Gate::before(&scene.store).await;
    let seen = outcomes(&gate.client, &[orphan]).await;
    assert_eq!((seen[0].0, gate.asked()), (Outcome::MonitorGone, 0), "{seen:#?}");
    scene.store.json(Method::Delete, &path, Value::Null).await.expect("removed");

    let path = format!("{MONITORS}/{monitor}");
    scene.store.json(Method::Delete, &path, Value::Null).await.expect("deleted");
    let state = last_state(&scene.store, &alert, "ACTIVE").await;
    assert_eq!(state, "DELETED");
    let seen = outcomes(&gate.client, &[alert]).await;
    assert_eq!((seen[0].0, gate.asked()), (Outcome::Over, 0), "{seen:#?}");
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_acknowledging_is_stuck_is_asked_once_and_told_of() {
    let mut scene = Scene::new(store!(alerting));
    let (first, _) = scene.active("stuck").await;
    let (second, _) = scene.active("stuck too").await;
    let gate = Gate::before(&scene.store).await;
    let limit = Duration::from_millis(500);
    let answers = acknowledge::acknowledge(&gate.client, &[first, second], limit).await;
    let answers = answers.expect("answers");
    assert!(answers.iter().all(|one| one.outcome == Outcome::NoAnswer), "{answers:#?}");
    assert_eq!(gate.asked(), 1, "the second would only wait as well");
    assert!(answers[0].what.contains("did not answer within 0.5 s"), "{}", answers[0].what);
    let can = scene.store.client().capabilities().await.expect("a version");
    let want = if can.acknowledging_jams() {
        "Restart the node at http://127.0.0.1:"
    } else {
        "though it answers other calls"
    };
    assert!(answers[0].what.contains(want), "{}", answers[0].what);
    scene.clean().await;
}
