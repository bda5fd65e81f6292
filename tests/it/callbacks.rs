//! Callbacks are run for alerts, and what came of it is kept: with a store or without one.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, Channel, Process, Receiver, Store, TOKEN, Watched, settings},
};

const SECRET: &str = "hunter2-is-a-secret";
const PATIENCE: Duration = Duration::from_mins(1);

/// Settings for this store, with these callbacks.
pub fn settings_with(store: &Store, dir: &Path, callbacks: &str) -> HashMap<String, String> {
    let file = dir.join("alertloop.toml");
    fs::write(&file, callbacks).expect("a file");
    let mut settings = settings(store, &dir.join("data"));
    settings.insert("ALERTLOOP_CONFIG".to_owned(), file.to_str().expect("UTF-8").to_owned());
    settings
}

/// A program that does this.
pub fn program(dir: &Path, name: &str, text: &str) -> PathBuf {
    let program = dir.join(name);
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    program
}

/// A message of OpenSearch; without an id, it is a first firing.
fn alert(rule: &str, id: &str, minute: u32) -> String {
    json!({"alert": {
        "monitor": {"id": "m", "name": rule}, "trigger": {"name": "over 9", "severity": "2"},
        "period": {"start": format!("2026-11-06T05:{minute:02}:00.000Z"),
                   "end": format!("2026-11-06T05:{:02}:00.000Z", minute + 1)},
        "body": "", "alert": id, "error": ""}})
    .to_string()
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn send(process: &Process, body: String) {
    let request = client().post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
    let answer = Answer::of(request.header("prefer", "respond-async").body(body)).await;
    assert_eq!(answer.status, 202, "{:?}", answer.json);
}

async fn get(process: &Process, path: &str) -> Value {
    let answer = Answer::of(client().get(process.url(path))).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
    answer.json
}

/// The deliveries, oldest first, as soon as they are so.
pub async fn deliveries(
    process: &Process,
    query: &str,
    are: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let page = get(process, &format!("/mapi/deliveries{query}")).await;
        let mut items = page["items"].as_array().cloned().expect("items");
        items.reverse();
        if are(&items) {
            return items;
        }
        assert!(begun.elapsed() < PATIENCE, "{items:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether there are so many, all in this state.
fn all(count: usize, state: &'static str) -> impl Fn(&[Value]) -> bool {
    move |items| items.len() == count && items.iter().all(|one| one["state"] == state)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_callback_that_is_for_an_alert_runs_once_while_the_store_is_away() {
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let script = program(dir.path(), "page", "cat > input; echo \"$ALERT_RULE $1\"");
    let callbacks = format!(
        r#"
[[callback]]
name = "hook"
type = "http"
url = "{}?key={SECRET}"
bearer = "{SECRET}"
signature_key = "{SECRET}"
headers = {{ "X-Api-Key" = "{SECRET}" }}

[[callback]]
name = "page"
type = "script"
program = "{}"
arguments = ["now"]
directory = "{}"

[[callback]]
name = "again"
type = "http"
url = "{}"
repeat = true
rules = ["bea*"]

[[callback]]
name = "worse"
type = "http"
url = "{}"
min_severity = 90

[[callback]]
name = "off"
type = "http"
url = "{}"
enabled = false
"#,
        receiver.url("hook"),
        script.display(),
        dir.path().display(),
        receiver.url("again"),
        receiver.url("worse"),
        receiver.url("off"),
    );
    let settings = settings_with(&Store::away(), dir.path(), &callbacks);
    let process = Process::serve(&settings);
    send(&process, alert("Beacons", "", 0)).await;
    let first = deliveries(&process, "", all(3, "delivered")).await;
    let of = |name: &str| first.iter().find(|one| one["callback"] == name).expect("one").clone();
    assert_eq!(first.iter().map(|one| one["attempts"].as_u64()).max(), Some(Some(1)));
    assert_eq!((&of("hook")["rule"], &of("hook")["severity"]), (&json!("Beacons"), &json!(80)));

    let hook = receiver.received("hook").remove(0);
    assert_eq!(hook.json()["rule"]["name"], "Beacons");
    assert_eq!(hook.json()["event"]["action"], "engaged");
    assert_eq!(hook.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(hook.header("x-api-key"), SECRET);
    assert_eq!(hook.header("content-type"), "application/json");
    assert_signed(&hook.body, hook.header("x-alertloop-signature"));
    let input = fs::read_to_string(dir.path().join("input")).expect("what the program read");
    assert_eq!(serde_json::from_str::<Value>(&input).expect("JSON"), hook.json());
    let page = get(&process, &format!("/mapi/deliveries/{}", of("page")["id"])).await;
    assert_eq!(page["runs"][0]["answer"], "Beacons now");
    assert_eq!(
        (&page["runs"][0]["status"], &page["runs"][0]["outcome"]),
        (&json!(0), &json!("delivered"))
    );

    // The same message again, a re-fire with the id that is known by then, and one that is another.
    send(&process, alert("Beacons", "", 0)).await;
    send(&process, alert("Beacons", "A1", 1)).await;
    deliveries(&process, "", all(4, "delivered")).await;
    send(&process, alert("Other", "B1", 2)).await;
    let last = deliveries(&process, "", all(6, "delivered")).await;
    let names: Vec<_> = last.iter().map(|one| one["callback"].as_str().expect("a name")).collect();
    assert_eq!(names[3..], ["again", "hook", "page"]);
    assert_eq!((receiver.received("hook").len(), receiver.received("again").len()), (2, 2));
    assert!(receiver.received("worse").is_empty() && receiver.received("off").is_empty());
    // The first delivery is found by the id that its alert got later, and the last by its record.
    assert_eq!(
        get(&process, "/mapi/deliveries?alert=A1").await["items"].as_array().map(Vec::len),
        Some(4)
    );
    let by_record =
        get(&process, "/mapi/deliveries?alert=261106-B1&callback=hook&state=delivered").await;
    assert_eq!(by_record["items"][0]["record"]["_id"], "261106-B1");

    // Nobody is told a secret.
    let whole = get(&process, &format!("/mapi/deliveries/{}", of("hook")["id"])).await.to_string();
    let (_, listed, _) = Process::output(&settings, &["callbacks", "list"]);
    assert!(whole.contains("***") && listed.contains("***"), "{whole} {listed}");
    assert!(!whole.contains(SECRET) && !listed.contains(SECRET), "{whole} {listed}");
    let ready = get(&process, "/readyz").await;
    assert_eq!(ready["callbacks"]["enabled"], 4);
    assert_eq!(
        (&ready["callbacks"]["pending"], &ready["callbacks"]["failing"]),
        (&json!(0), &json!([]))
    );
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

fn assert_signed(body: &[u8], signature: &str) {
    let (time, tag) = signature.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    let signed = [time.as_bytes(), b".", body].concat();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), signed).expect("written");
    let mut openssl = std::process::Command::new("openssl");
    let openssl = openssl.args(["dgst", "-sha256", "-hmac", SECRET]).arg(file.path()).output();
    match openssl {
        Ok(said) => {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.trim().ends_with(tag), "{said} {signature}");
        }
        Err(_) => crate::support::skip("the signature is not compared: openssl is not here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_what_will_not_is_kept_and_replayed() {
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let one = |name: &str| {
        format!("[[callback]]\nname = '{name}'\ntype = 'http'\nurl = '{}'\n", receiver.url(name))
    };
    let settings =
        settings_with(&Store::away(), dir.path(), &(one("down") + &one("gone") + &one("good")));
    receiver.answer("down", 503);
    receiver.answer("gone", 404);
    let process = Process::serve(&settings);
    send(&process, alert("Beacons", "A1", 0)).await;
    deliveries(&process, "?callback=gone", all(1, "failed")).await;
    deliveries(&process, "?callback=good", all(1, "delivered")).await;
    receiver.wait_for("down", 2).await;
    let ready = get(&process, "/readyz").await;
    let failing = ready["callbacks"]["failing"].as_array().expect("a list");
    let names: Vec<_> = failing.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["down", "gone"]);
    assert_eq!((&ready["ready"], &ready["callbacks"]["failed"]), (&json!(true), &json!(1)));
    receiver.answer("down", 200);
    let down = deliveries(&process, "?callback=down", all(1, "delivered")).await.remove(0);
    let shown = get(&process, &format!("/mapi/deliveries/{}", down["id"])).await;
    let runs = shown["runs"].as_array().expect("runs");
    assert_eq!(runs[0]["outcome"], "again");
    assert_eq!(runs[0]["answer"], "the answer is 503 Service Unavailable");
    assert_eq!(runs.last().map(|run| &run["outcome"]), Some(&json!("delivered")));
    let taken = receiver.received("down").len();
    assert_eq!(runs.len(), taken, "each request is told");
    let metrics = client().get(process.url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    for line in [
        r#"alertloop_deliveries_total{callback="good",outcome="delivered"} 1"#,
        r#"alertloop_deliveries_total{callback="gone",outcome="failed"} 1"#,
        "alertloop_failed_deliveries 1",
        "alertloop_pending_deliveries 0",
    ] {
        assert!(metrics.lines().any(|seen| seen == line), "{line}: {metrics}");
    }

    // By the command, through the service; and without it, on the file.
    let url = process.url("");
    let (code, listed, _) =
        Process::output(&settings, &["deliveries", "list", "--state", "failed", "--url", &url]);
    assert!(code == 0 && listed.contains("gone") && listed.contains("answered 404"), "{listed}");
    receiver.answer("gone", 200);
    let replay = ["deliveries", "replay", "--callback", "gone", "--url", &url];
    assert_eq!(Process::output(&settings, &replay).1, "replayed 1\n");
    deliveries(&process, "?callback=gone", all(1, "delivered")).await;
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let id = down["id"].to_string();
    let (code, text, _) = Process::output(&settings, &["deliveries", "show", &id]);
    assert!(
        code == 0 && text.contains("status 503") && text.contains("\"type\": \"http\""),
        "{text}"
    );
    let (code, said, why) = Process::output(&settings, &["deliveries", "replay", &id, "999"]);
    assert_eq!((code, said.as_str()), (1, "replayed 1\n"), "{why}");
    let process = Process::serve(&settings);
    deliveries(&process, "?callback=down", all(1, "delivered")).await;
    assert_eq!(receiver.wait_for("down", taken + 1).await.len(), taken + 1);
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_the_other_side_answers_and_a_rendering_shows_what_is_sent() {
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let text = format!(
        "[[callback]]\nname = 'hook'\ntype = 'http'\nurl = '{}'\nenabled = false\n",
        receiver.url("hook")
    );
    let settings = settings_with(&Store::away(), dir.path(), &text);
    let (code, rendered, _) =
        Process::output(&settings, &["callbacks", "render", "hook", "--sample"]);
    let rendered: Value = serde_json::from_str(&rendered).expect("JSON");
    assert_eq!((code, &rendered["rule"]["name"]), (0, &json!("Sample of alertloop")));
    let try_it = || Process::output(&settings, &["callbacks", "test", "hook", "--output", "json"]);
    let (code, told, _) = try_it();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &told["outcome"], &told["status"]), (0, &json!("delivered"), &json!(200)));
    assert_eq!(receiver.received("hook")[0].json(), rendered);
    receiver.answer("hook", 418);
    assert_eq!(try_it().0, 1);
    let (code, _, why) = Process::output(&settings, &["callbacks", "test", "hoook"]);
    assert!(code == 2 && why.contains("configured: hook"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_through_the_proxy_and_with_the_login_that_are_configured() {
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let text = format!(
        "[[callback]]\nname = 'hook'\ntype = 'http'\nurl = 'http://alerts.invalid/hook'\n\
         proxy = '{}'\nuser = 'ops'\npassword = '{SECRET}'\nmethod = 'PUT'\n",
        receiver.url("")
    );
    let settings = settings_with(&Store::away(), dir.path(), &text);
    let (code, told, why) = Process::output(&settings, &["callbacks", "test", "hook"]);
    assert!(code == 0 && told.starts_with("delivered in "), "{told} {why}");
    let came = receiver.received("hook").remove(0);
    assert_eq!(came.header("host"), "alerts.invalid");
    let login = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("ops:{SECRET}"));
    assert_eq!(came.header("authorization"), format!("Basic {login}"));
    // Without it, the name is nobody's.
    let text = text.replace("proxy", "#");
    let settings = settings_with(&Store::away(), dir.path(), &text);
    let (code, told, _) = Process::output(&settings, &["callbacks", "test", "hook"]);
    assert!(code == 1 && told.contains("cannot connect"), "{told}");
}

#[test]
fn a_fault_of_a_callback_stops_the_start_and_tells_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = format!(
        "[[callback]]\nname = 'hook'\ntype = 'http'\nurl = '{SECRET}'\nbearrer = '{SECRET}'\n"
    );
    let settings = settings_with(&Store::away(), dir.path(), &text);
    let output = Process::command(&settings, &["serve"]).output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ALERTLOOP_CONFIG: callback hook, line 5: bearrer: is not a key of it; did you mean bearer?"), "{said}");
    assert!(said.contains("line 4: url: is not an http:// or https:// address"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_stored_and_called_back_each_once() {
    let store = store!();
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let text =
        format!("[[callback]]\nname = 'hook'\ntype = 'http'\nurl = '{}'\n", receiver.url("hook"));
    let process = Process::serve(&settings_with(&store, dir.path(), &text));
    for number in 0..50 {
        send(&process, alert("Beacons", &format!("N{number}"), number)).await;
    }
    deliveries(&process, "", all(50, "delivered")).await;
    assert_eq!(store.wait_for_records(50).await.len(), 50);
    let mut ids: Vec<String> = receiver
        .received("hook")
        .iter()
        .map(|one| one.json()["event"]["id"].as_str().expect("an id").to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.received("hook").len()), (50, 50));
    process.kill();
}

/// An OpenSearch alert has no id in its first message, and has one in the next; its end is told by
/// the Alerting API alone, and so is its begin, where the webhook was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_alert_is_called_back_at_its_begin_and_its_end_once_each() {
    let store = store!(alerting);
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let text = format!(
        "[[callback]]\nname = 'hook'\ntype = 'http'\nurl = '{}'\n\
         actions = ['engaged', 'released']\n",
        receiver.url("hook")
    );
    let mut settings = settings_with(&store, dir.path(), &text);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a free port").to_string();
    let webhook = format!("http://{address}/mapi/alert");
    for (name, value) in [
        ("ALERTLOOP_LISTEN", address.as_str()),
        ("ALERTLOOP_WEBHOOK_URL", &webhook),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let channel = Channel::to(&store, &webhook).await;
    let mut monitor = Watched::make(&store, "it: called back", &channel.id).await;
    let process = Process::serve(&settings);
    let looked = async |process: &Process| {
        let begun = Instant::now();
        while get(process, "/readyz").await["reconciler"]["last"].is_null() {
            assert!(begun.elapsed() < PATIENCE, "it does not look");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    looked(&process).await;
    for _ in 0..3 {
        monitor.run().await;
    }
    let id = monitor.alert("ACTIVE").await["id"].as_str().expect("an id").to_owned();
    deliveries(&process, "", all(1, "delivered")).await;
    monitor.run_with("false").await;
    let both = deliveries(&process, "", all(2, "delivered")).await;
    assert_eq!((&both[0]["action"], &both[1]["action"]), (&json!("engaged"), &json!("released")));
    let of_alert = get(&process, &format!("/mapi/deliveries?alert={id}")).await;
    assert_eq!(of_alert["items"].as_array().map(Vec::len), Some(2), "{of_alert:#}");
    let told = receiver.received("hook")[1].json();
    assert_eq!((&told["event"]["id"], &told["event"]["action"]), (&json!(id), &json!("released")));

    // While nobody listens, one begins; the next message comes through.
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    monitor.run_with("true").await;
    let process = Process::serve(&settings);
    let third = deliveries(&process, "", all(3, "delivered")).await;
    assert_eq!(third[2]["action"], "engaged");
    monitor.run().await;
    monitor.run_with("false").await;
    let last = deliveries(&process, "", all(4, "delivered")).await;
    let actions: Vec<_> = last.iter().map(|one| one["action"].as_str().expect("one")).collect();
    assert_eq!(actions, ["engaged", "released", "engaged", "released"]);
    assert_eq!(receiver.received("hook").len(), 4);
    process.kill();
    monitor.remove().await;
    channel.remove().await;
}
