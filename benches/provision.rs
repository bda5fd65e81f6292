//! How long a plan takes over many objects, and how much memory: `cargo bench --bench provision`.
//!
//! Needs a node with Alerting (`tests/opensearch/node.sh up`), named in `ALERTLOOP_TEST_OPENSEARCH`.
//! The baseline is what any plan must do at least: read the same objects from the store, raw.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const MONITORS: usize = 1_000;
const CHANNELS: usize = 200;
const ROUNDS: usize = 5;

fn main() {
    let Ok(store) = std::env::var("ALERTLOOP_TEST_OPENSEARCH") else {
        println!("SKIPPED: ALERTLOOP_TEST_OPENSEARCH names no OpenSearch");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(&store));
}

async fn run(store: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    write_files(dir.path());
    // The plugin's own limit is 1,000 monitors.
    let limit = json!({"transient": {"plugins.alerting.monitor.max_monitors": 5_000}});
    raw(store, "PUT", "/_cluster/settings", limit).await;

    let begin = Instant::now();
    alertloop(store, dir.path(), &["apply"]);
    let objects = MONITORS + CHANNELS;
    println!("apply: {objects} objects made in {:.1} s", begin.elapsed().as_secs_f64());

    let (mut ours, mut baseline, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        read_everything(store).await;
        baseline.push(begin.elapsed());
        let begin = Instant::now();
        peak = peak.max(alertloop(store, dir.path(), &["plan", "--detailed-exitcode"]));
        ours.push(begin.elapsed());
    }
    let (ours, baseline) = (median(ours), median(baseline));
    let ratio = ours.as_secs_f64() / baseline.as_secs_f64();
    println!("plan: {:.2} s (median of {ROUNDS}), {peak} MB at most", ours.as_secs_f64());
    println!("raw reading of the same: {:.2} s; ratio {ratio:.1}", baseline.as_secs_f64());

    for folder in ["channels", "monitors"] {
        std::fs::remove_dir_all(dir.path().join(folder)).expect("a removal");
    }
    mask(dir.path());
    alertloop(store, dir.path(), &["apply", "--prune", "--yes"]);
    let limit = json!({"transient": {"plugins.alerting.monitor.max_monitors": null}});
    raw(store, "PUT", "/_cluster/settings", limit).await;
}

/// Takes the shipped files away.
fn mask(dir: &Path) {
    for file in [
        "channels/malcolm_api_loopback_webhook.json",
        "monitors/malcolm_api_loopback_monitor.json",
        "templates/alertloop_sessions.json",
    ] {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, "").expect("a file");
    }
}

fn write_files(dir: &Path) {
    mask(dir);
    let shipped = include_str!("../provisioning/monitors/malcolm_api_loopback_monitor.json");
    let mut monitor: Value = serde_json::from_str(shipped).expect("JSON");
    let write = |file: String, body: &Value| {
        std::fs::write(dir.join(file), body.to_string()).expect("a file");
    };
    for number in 0..MONITORS {
        monitor["name"] = json!(format!("bench monitor {number}"));
        let channel = number % CHANNELS;
        let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
        trigger["actions"][0]["destination_id"] = json!(format!("bench-channel-{channel}"));
        write(format!("monitors/bench_{number}.json"), &monitor);
    }
    for number in 0..CHANNELS {
        let id = format!("bench-channel-{number}");
        let config = json!({"name": id, "config_type": "webhook",
            "webhook": {"url": format!("http://bench/{number}"), "header_params": {"X-Key": "x"}}});
        let body = json!({"config_id": id, "config": config});
        write(format!("channels/bench_{number}.json"), &body);
    }
}

/// Runs `alertloop provision` to a good end, and gives the most memory that it had, in MB.
fn alertloop(store: &str, dir: &Path, arguments: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alertloop"))
        .arg("provision")
        .args(arguments)
        .env_clear()
        .env("OPENSEARCH_URL", store)
        .env("ALERTLOOP_DATA_DIR", dir)
        .env("ALERTLOOP_PROVISIONING_DIR", dir)
        .env("ALERTLOOP_TEMPLATE", "none")
        .env("ALERTLOOP_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        if let Some(end) = child.try_wait().expect("a status") {
            assert!(end.success(), "provision {arguments:?}: {end}");
            return peak >> 10;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

async fn read_everything(store: &str) {
    let query = json!({"size": 10_000, "query": {"match_all": {}}});
    for (method, path, body) in [
        ("POST", "/_plugins/_alerting/monitors/_search", query.clone()),
        ("GET", "/_plugins/_notifications/configs?max_items=500", Value::Null),
        ("POST", "/alertloop-provisioned/_search", query),
    ] {
        let text = raw(store, method, path, body).await;
        let _: Value = serde_json::from_str(&text).expect("JSON");
    }
}

async fn raw(store: &str, method: &str, path: &str, body: Value) -> String {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let method = method.parse().expect("a method");
    let mut request = client.request(method, format!("{store}{path}"));
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    request.send().await.expect("an answer").text().await.expect("a body")
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}
