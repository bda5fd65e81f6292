//! `provision test` against the real store: what it proves, and each fault that can be brought
//! about.

use alertloop::{
    finding::{Finding, State},
    opensearch::notifications::{self, Config},
    provision::rehearsal::{self, Rehearsal, Secrets},
    receipt::receipt,
    secrets::WebhookToken,
};
use axum::{Router, http::StatusCode, routing::post};
use opensearch::http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    lint::{naming, settings},
    store,
    support::{self, Answer, App, Process, Store, TOKEN},
};

const LOOPBACK: &str = "malcolm-api-loopback-webhook";
const OTHER: &str = "another-secret-for-tests";

fn token(text: &str) -> WebhookToken {
    text.parse().expect("a secret")
}

async fn rehearse(store: &Store, id: &str, secret: Option<&str>) -> Rehearsal {
    let current = secret.map(token);
    let secrets = Secrets { current: current.as_ref(), previous: None };
    let (settings, naming) = (settings(store), naming(store));
    let now = jiff::Timestamp::now();
    rehearsal::run(&store.client(), &settings, &naming, now, id, secrets).await
}

/// The last finding: what stopped it, or what all led to.
fn end(rehearsal: &Rehearsal) -> &Finding {
    rehearsal.findings.last().expect("a finding")
}

/// A channel of this test alone; it is removed at the end.
struct Channel<'a> {
    store: &'a Store,
    id: String,
}

impl<'a> Channel<'a> {
    async fn make(store: &'a Store, url: &str, secret: &str) -> Self {
        let id = format!("it-{}", &WebhookToken::generate().expose()[..10]);
        let config = json!({"name": id, "description": "", "config_type": "webhook", "is_enabled": true,
            "webhook": {"url": url, "method": "POST", "header_params": {
                "Content-Type": "application/json", "X-Alertloop-Token": secret}}});
        let config: Config = serde_json::from_value(config).expect("a channel");
        notifications::create(&store.client(), &id, &config).await.expect("a channel");
        Self { store, id }
    }

    async fn rehearse(&self) -> Rehearsal {
        rehearse(self.store, &self.id, Some(TOKEN)).await
    }

    async fn remove(self) {
        notifications::delete(&self.store.client(), &self.id).await.expect("a removal");
    }
}

/// Something that listens and is not our intake.
async fn stranger(status: u16, answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let status = StatusCode::from_u16(status).expect("a status");
    let router = Router::new().fallback(post(move || async move { (status, answer) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/mapi/alert")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loopback_channel_is_proven_and_its_record_shown() {
    let store = store!(alerting);
    let _alone = support::provisioning(&store).await;
    let app = App::start_provisioning(&store).await;
    let provisioned = async {
        while Answer::of(app.get("/readyz")).await.json["provisioning"] != "done" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, provisioned).await.expect("provisioned");
    let rehearsal = rehearse(&store, LOOPBACK, Some(TOKEN)).await;
    assert!(rehearsal.findings.iter().all(|one| one.state == State::Ok), "{rehearsal}");
    assert!(rehearsal.findings[1].what.contains("arrived at our own intake"), "{rehearsal}");
    let sample = rehearsal.sample.as_ref().expect("a record");
    assert_eq!(sample.record["rule"]["name"], "Malcolm API Loopback Monitor");
    assert_eq!(sample.record["event"]["dataset"], "alerting");
    assert_eq!(sample.record["event"]["severity"], 40);
    assert!(serde_json::from_str::<Value>(&sample.message).is_ok());
    assert!(store.records().await.is_empty(), "nothing is kept");

    // The secret before is told; one that is not known here proves nothing.
    let (next, before) = (token(OTHER), token(TOKEN));
    let secrets = Secrets { current: Some(&next), previous: Some(&before) };
    let (settings, naming) = (settings(&store), naming(&store));
    let now = jiff::Timestamp::now();
    let rotated = rehearsal::run(&store.client(), &settings, &naming, now, LOOPBACK, secrets).await;
    assert_eq!(rotated.findings[1].state, State::Warn, "{rotated}");
    let unknown = rehearse(&store, LOOPBACK, None).await;
    assert_eq!(unknown.findings[1].state, State::Warn, "{unknown}");

    // The command says the same, and keeps the secret.
    let dir = tempfile::tempdir().expect("a directory");
    let settings = support::settings(&store, dir.path());
    let output = Process::command(&settings, &["provision", "test"]).output().expect("an end");
    let (said, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{log}");
    assert!(said.contains("arrived at our own intake") && said.contains("becomes the record"));
    assert!(!said.contains(TOKEN) && !log.contains(TOKEN));
    let mut json = Process::command(&settings, &["provision", "test", "--output", "json"]);
    let json: Value = serde_json::from_slice(&json.output().expect("an end").stdout).expect("JSON");
    assert_eq!(json["findings"][1]["state"], "ok");
    assert_eq!(json["sample"]["record"]["event"]["module"], "alerting");
    let mut lint = Process::command(&settings, &["provision", "lint", "--live"]);
    let said = lint.output().expect("an end").stdout;
    let said = String::from_utf8_lossy(&said);
    let good = |line: &str| line.starts_with("ok    Malcolm API Loopback Monitor");
    assert!(said.lines().any(good), "{said}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_on_the_way_is_named() {
    let store = store!(alerting);
    let app = App::start(&store, &[]).await;
    let intake = app.url("/mapi/alert");
    let other_receipt = r#"{"result":{},"receipt":"0000"}"#;
    let closing = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = format!("http://{}/", closing.local_addr().expect("an address"));
    tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    // 2.19 tells what the receiver said in place of its status.
    let can = store.client().capabilities().await.expect("a version");
    let has_status = can.about.number() >= Some((3, 0));
    let by_status = |want| if has_status { want } else { "refused it, and said" };
    for (what, url, secret, want) in [
        ("another secret", intake.clone(), OTHER, "the channel's secret is not ours"),
        ("a wrong path", app.url("/mapi/alerts/none"), TOKEN, by_status("not our intake's path")),
        (
            "a page",
            stranger(200, "<html>hello</html>").await,
            TOKEN,
            "without our receipt: <html>hello",
        ),
        ("another alertloop", stranger(200, other_receipt).await, TOKEN, "one with another secret"),
        (
            "another one's 401",
            stranger(401, "").await,
            TOKEN,
            by_status("whoever listens there has another"),
        ),
        ("a redirection", stranger(302, "").await, TOKEN, by_status("does not follow")),
        ("a proxy's 502", stranger(502, "").await, TOKEN, by_status("a proxy finds no intake")),
        ("an error", stranger(500, "").await, TOKEN, by_status("answered 500")),
        (
            "nothing",
            "http://127.0.0.1:1/mapi/alert".to_owned(),
            TOKEN,
            "nothing listens at http://127.0.0.1:1",
        ),
        ("no such name", "http://none.alertloop.test/".to_owned(), TOKEN, "does not know the host"),
        ("no TLS there", intake.replace("http:", "https:"), TOKEN, "TLS with https://127.0.0.1"),
        ("a closed door", closed, TOKEN, "ended the connection"),
    ] {
        let channel = Channel::make(&store, &url, secret).await;
        let rehearsal = channel.rehearse().await;
        channel.remove().await;
        let end = end(&rehearsal);
        assert_eq!(end.state, State::Fail, "{what}: {rehearsal}");
        assert!(end.what.contains(want), "{what}: {rehearsal}");
        assert!(end.mend.is_some() && !rehearsal.to_string().contains(TOKEN), "{what}");
    }
    let channel = Channel::make(&store, &intake, TOKEN).await;
    let good = channel.rehearse().await;
    assert_eq!(end(&good).state, State::Ok, "{good}");
    channel.remove().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_off_or_not_there_or_denied_is_told() {
    let store = store!(alerting);
    let none = rehearse(&store, "it-no-such-channel", Some(TOKEN)).await;
    assert_eq!(none.findings.len(), 1);
    assert!(none.findings[0].what.contains("no such channel"), "{none}");

    let stranger = stranger(200, "").await;
    let channel = Channel::make(&store, &stranger, TOKEN).await;
    let read = notifications::channel(&store.client(), &channel.id).await;
    let mut config = read.expect("an answer").expect("a channel");
    config.is_enabled = false;
    notifications::update(&store.client(), &channel.id, &config).await.expect("an update");
    let off = channel.rehearse().await;
    assert!(end(&off).state == State::Fail && end(&off).what.contains("switched off"), "{off}");
    channel.remove().await;

    // An address that nobody else uses.
    let list = |hosts: Value| json!({"persistent": {"opensearch.notifications.core.http.host_deny_list": hosts}});
    let put = |hosts| store.json(Method::Put, "_cluster/settings", list(hosts));
    let channel = Channel::make(&store, "http://127.0.0.77:5000/mapi/alert", TOKEN).await;
    put(json!(["127.0.0.77"])).await.expect("a setting");
    let denied = channel.rehearse().await;
    put(Value::Null).await.expect("a setting");
    channel.remove().await;
    assert!(
        end(&denied).state == State::Fail && end(&denied).what.contains("deny list"),
        "{denied}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_first() {
    let away = Store::away();
    let rehearsal = rehearse(&away, LOOPBACK, Some(TOKEN)).await;
    assert_eq!(rehearsal.findings.len(), 1, "{rehearsal}");
    assert_eq!((end(&rehearsal).state, end(&rehearsal).subject.as_str()), (State::Fail, "store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_the_secret_gets_a_receipt() {
    let store = store!();
    let test = |id: &str| format!("Test message content body for config id {id}");
    let app = App::start(&store, &[("ALERTLOOP_INTAKE_OPEN", "true")]).await;
    for (secret, body, want) in [
        (Some(TOKEN), test("c"), Some(receipt(&token(TOKEN), "c"))),
        (Some(TOKEN), test("d"), Some(receipt(&token(TOKEN), "d"))),
        (None, test("c"), None),
        (Some(OTHER), test("c"), None),
        (Some(TOKEN), String::new(), None),
    ] {
        let mut request = app.post("/mapi/alert").body(body.clone());
        if let Some(secret) = secret {
            request = request.header("x-alertloop-token", secret);
        }
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, &answer.json["result"]), (200, &json!({})), "{body}");
        assert_eq!(answer.json.get("receipt"), want.map(Value::String).as_ref(), "{body}");
    }
    app.stop().await;
    let closed = App::start(&store, &[]).await;
    let answer = Answer::of(closed.post("/mapi/alert").body(test("c"))).await;
    assert_eq!((answer.status, answer.json.get("receipt")), (401, None));
    closed.stop().await;
}
