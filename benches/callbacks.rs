//! How many HTTP deliveries a second one core makes with 20 callbacks: `cargo bench --bench callbacks`.
//!
//! No store is needed: callbacks run without one. The service is held to one core where `taskset` is
//! there. The baseline is what any sender must do at least: the same posts with reqwest, as many at
//! once, nothing kept.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use serde_json::Value;
use tokio::task::JoinSet;

const CALLBACKS: usize = 20;
const ALERTS: usize = 200;
/// As many as four for each callback.
const AT_ONCE: usize = 80;
const TOKEN: &str = "a-secret-for-the-bench";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let (url, count) = receiver().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for number in 0..CALLBACKS {
        writeln!(text, "[[callback]]\nname = 'c{number}'\ntype = 'http'\nurl = '{url}'").ok();
    }
    fs::write(dir.path().join("alertloop.toml"), text).expect("a file");
    let (mut child, service) = serve(dir.path());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");

    let total = CALLBACKS * ALERTS;
    let begin = Instant::now();
    for number in 0..ALERTS {
        let body = format!(
            r#"{{"alert":{{"monitor":{{"name":"bench"}},"trigger":{{"name":"t"}},"alert":"n{number}","period":{{"start":"2026-11-06T05:00:00.000Z","end":"2026-11-06T05:10:00.000Z"}}}}}}"#
        );
        let request = client.post(format!("{service}/mapi/alert"));
        let request = request.header("x-alertloop-token", TOKEN).header("prefer", "respond-async");
        let status = request.body(body).send().await.expect("an answer").status();
        assert_eq!(status.as_u16(), 202);
    }
    until(&count, total).await;
    let ours = begin.elapsed();
    let (processor, peak) = (processor(&child), peak(&child));
    child.kill().expect("a kill");
    child.wait().expect("an end");

    count.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    raw(&url, total).await;
    until(&count, total).await;
    let baseline = begin.elapsed();

    let rate = |took: Duration| f64::from(u32::try_from(total).unwrap_or(0)) / took.as_secs_f64();
    println!("{total} deliveries of {ALERTS} alerts by {CALLBACKS} callbacks");
    println!("alertloop: {:.0}/s, {processor:.2} s of processor, {peak} MiB at most", rate(ours));
    println!(
        "raw reqwest posts: {:.0}/s; ratio {:.2}",
        rate(baseline),
        rate(ours) / rate(baseline)
    );
}

/// A server that counts what comes.
async fn receiver() -> (String, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let take = async |State(count): State<Arc<AtomicUsize>>, _: Bytes| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let router = Router::new().route("/", post(take)).with_state(Arc::clone(&count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, count)
}

fn serve(dir: &Path) -> (Child, String) {
    let program = env!("CARGO_BIN_EXE_alertloop");
    let pinned = Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
    let mut command = if pinned {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", program]);
        command
    } else {
        println!("without taskset: on every core");
        Command::new(program)
    };
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--opensearch-url", "http://127.0.0.1:9"])
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--config")
        .arg(dir.join("alertloop.toml"))
        .env("ALERTLOOP_TOKEN", TOKEN)
        .env("ALERTLOOP_LOG_FORMAT", "json")
        .env("ALERTLOOP_PROVISION", "false")
        .env("ALERTLOOP_RECONCILE_INTERVAL", "0");
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the service");
    let mut log = BufReader::new(child.stderr.take().expect("its log"));
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("a line") > 0, "it ended");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["message"] == "listening" {
            break line["server.address"].as_str().expect("an address").to_owned();
        }
    };
    std::thread::spawn(move || log.lines().count());
    (child, format!("http://{address}"))
}

async fn until(count: &AtomicUsize, total: usize) {
    let begin = Instant::now();
    while count.load(Ordering::Relaxed) < total {
        assert!(begin.elapsed() < Duration::from_mins(5), "{}", count.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn raw(url: &str, total: usize) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut senders = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, url) = (client.clone(), url.to_owned());
        senders.spawn(async move {
            for _ in 0..total / AT_ONCE {
                let sent = client.post(&url).body("x".repeat(400)).send().await;
                assert!(sent.expect("an answer").status().is_success());
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.expect("no panic");
    }
}

/// What the process has used of its processor, in seconds.
fn processor(child: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("its times");
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect::<Vec<_>>();
    let ticks = |n: usize| fields.get(n).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The most memory that it has had, in MiB.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 10
}
