//! How fast the page is with a million records, how soon 200 open browsers are told of an alert, and
//! what they cost the intake: `cargo bench --bench page`, against the OpenSearch of
//! `ALERTLOOP_TEST_OPENSEARCH` (`ALERTLOOP_TEST_JIT=full tests/opensearch/node.sh up`).
//! `-- --records N` takes another number of records.
//!
//! Between two rounds a record is written and seen, and no round comes so soon that it is answered from
//! what the one before was told. The baselines: a list of five records as the store gives it, and the
//! intake while no browser is open.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

#[path = "history/month.rs"]
#[allow(dead_code, reason = "another benchmark uses the rest")]
mod month;
#[path = "load/report.rs"]
#[allow(dead_code, reason = "another benchmark uses the rest")]
mod report;
#[path = "load/sidecar.rs"]
#[allow(dead_code, reason = "another benchmark uses the rest")]
mod sidecar;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ::opensearch::http::Method;
use alertloop::opensearch;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    month::Month,
    report::{float, median, rounded},
    sidecar::Sidecar,
};

const ROUNDS: usize = 40;
/// Longer than any answer of the store is shared among those who ask.
const APART: Duration = Duration::from_millis(3_200);
const BROWSERS: usize = 200;
const ALERTS: usize = 50;
const TOKEN: &str = "a-secret-for-the-bench";
const SENDERS: usize = 64;
const BURST: Duration = Duration::from_secs(5);
/// Without and with browsers, so many times.
const BURSTS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let Some(month) = Month::make().await else { return };
    let store = std::env::var("ALERTLOOP_TEST_OPENSEARCH").expect("an address");
    let settings = [
        ("OPENSEARCH_URL", store.as_str()),
        ("MALCOLM_NETWORK_INDEX_PATTERN", &month.settings.pattern),
        ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
        ("ALERTLOOP_TOKEN", TOKEN),
        ("ALERTLOOP_LOG_FORMAT", "json"),
        ("ALERTLOOP_PROVISION", "false"),
        ("ALERTLOOP_RECONCILE_INTERVAL", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program = Path::new(env!("CARGO_BIN_EXE_alertloop"));
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let service = Sidecar::start(program, parent, &settings).await.expect("the service");
    let client = reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client");
    let page = Page { client, url: format!("http://{}", service.address) };
    pages(&month, &page).await;
    browsers(&page).await;
    intake(&page).await;
    println!("\nmemory at its peak: {:.0} MiB", service.memory("VmHWM").expect("a figure"));
    service.stop().expect("an end");
    month.remove().await;
}

#[derive(Clone)]
struct Page {
    client: reqwest::Client,
    url: String,
}

impl Page {
    /// How long the first byte takes, and how many bytes come, packed as a browser asks for them.
    async fn get(&self, path: &str) -> (Duration, usize) {
        let request = self.client.get(format!("{}{path}", self.url));
        let begun = Instant::now();
        let request = request.header("accept", "text/html").header("accept-encoding", "gzip");
        let mut answer = request.send().await.expect("an answer");
        let (status, packed) = (answer.status(), answer.headers().get("content-encoding").cloned());
        let first = answer.chunk().await.expect("bytes").expect("some");
        let took = begun.elapsed();
        let mut bytes = first.len();
        while let Some(chunk) = answer.chunk().await.expect("bytes") {
            bytes += chunk.len();
        }
        assert_eq!(status, 200, "{path}");
        assert_eq!(packed.expect("a packed page"), "gzip", "{path}");
        (took, bytes)
    }

    /// Keeps an alert; whether it is stored or only durable, the answer says.
    async fn post(&self, name: &str, prefer: &str) -> reqwest::StatusCode {
        let body = format!(
            r#"{{"alert":{{"monitor":{{"name":"bench"}},"trigger":{{"name":"{name}","severity":"2"}},"alert":"{name}","period":{{"start":"{at}","end":"{at}"}}}}}}"#,
            at = jiff::Timestamp::now()
        );
        let request = self.client.post(format!("{}/mapi/alert", self.url));
        let request = request.header("x-alertloop-token", TOKEN).header("prefer", prefer);
        request.body(body).send().await.expect("an answer").status()
    }
}

async fn pages(month: &Month, page: &Page) {
    let path = format!("{}/_search", opensearch::segment(&month.settings.pattern));
    let body = json!({"size": 1, "query": {"term": {"event.severity": 80}}});
    let found = month.client.call(Method::Post, &path, Some(&body)).await.expect("a search");
    let id = found["hits"]["hits"][0]["_id"].as_str().expect("there");
    let id = opensearch::segment(id);
    let pages = [
        ("Overview", "/".to_owned()),
        ("Alerts", "/alerts".to_owned()),
        ("Alerts, engaged", "/alerts?state=engaged".to_owned()),
        ("Alerts, one rule", "/alerts?rule=rule-0007".to_owned()),
        ("Alerts, words", "/alerts?text=threshold+17".to_owned()),
        ("an alert", format!("/alerts/{id}")),
        ("Conditions", "/conditions".to_owned()),
        ("Deliveries", "/deliveries".to_owned()),
        ("Dead letters", "/dead-letters".to_owned()),
        ("Set-up", "/set-up".to_owned()),
    ];
    let mut measured = vec![(Vec::new(), 0); pages.len()];
    let mut raw = Vec::new();
    // The first rounds warm both up and are not counted.
    for round in 0..ROUNDS + 3 {
        month.one_more().await;
        // Each is the first of a round now and then: what they share costs every one of them.
        for turn in 0..pages.len() {
            let number = (turn + round) % pages.len();
            let (took, bytes) = page.get(&pages[number].1).await;
            if round >= 3 {
                measured[number].0.push(took);
                measured[number].1 = bytes.max(measured[number].1);
            }
        }
        let body = json!({"size": 5, "track_total_hits": false, "query": {"match_all": {}}});
        let begun = Instant::now();
        month.client.call(Method::Post, &path, Some(&body)).await.expect("a search");
        raw.push(begun.elapsed());
        tokio::time::sleep(APART).await;
    }
    let baseline = at(&mut raw, 50);
    println!(
        "| page | first byte, p50 | p95 | longest | to a raw search for five | bytes, packed |"
    );
    println!("|---|---|---|---|---|---|");
    for ((name, _), (mut took, bytes)) in pages.into_iter().zip(measured) {
        println!(
            "| {name} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} | {} |",
            at(&mut took, 50),
            at(&mut took, 95),
            at(&mut took, 100),
            at(&mut took, 50) / baseline,
            rounded(float(bytes as u64))
        );
    }
}

/// In milliseconds.
fn at(all: &mut [Duration], percent: usize) -> f64 {
    all.sort_unstable();
    all[(all.len() * percent / 100).min(all.len() - 1)].as_secs_f64() * 1_000.0
}

/// Browsers that read what is new; each tells how much of it has come.
struct Open {
    readers: JoinSet<()>,
    told: mpsc::UnboundedReceiver<(Instant, String)>,
}

async fn open(page: &Page) -> Open {
    let (tell, told) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    let (ready, mut all_ready) = mpsc::unbounded_channel();
    for _ in 0..BROWSERS {
        // A browser has connections of its own.
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let (url, tell, ready) = (format!("{}/events", page.url), tell.clone(), ready.clone());
        readers.spawn(async move {
            let answer = client.get(url).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            ready.send(()).expect("somebody waits");
            let mut chunks = answer.bytes_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                let text = String::from_utf8_lossy(&chunk).into_owned();
                if tell.send((Instant::now(), text)).is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..BROWSERS {
        all_ready.recv().await.expect("an open stream");
    }
    Open { readers, told }
}

/// How long after its record is written, and after it was sent, an alert is at every browser.
async fn browsers(page: &Page) {
    let mut open = open(page).await;
    let (mut since_sent, mut since_stored) = (Vec::new(), Vec::new());
    for number in 0..ALERTS {
        let name = format!("live-{number}-{:08x}", rand::random::<u32>());
        let sent = Instant::now();
        let status = page.post(&name, "wait=30").await;
        let stored = Instant::now();
        assert_eq!(status, 200, "the record is written");
        let mut left = BROWSERS;
        let address = &name;
        while left > 0 {
            let next = timeout(Duration::from_secs(30), open.told.recv()).await;
            let (at, text) = next.expect("each browser is told").expect("open streams");
            if text.contains(address) {
                left -= 1;
                since_sent.push(at - sent);
                since_stored.push(at.saturating_duration_since(stored));
            }
        }
    }
    open.readers.abort_all();
    println!(
        "\n| {ALERTS} alerts, {BROWSERS} open browsers | p50 | p95 | longest |\n|---|---|---|---|"
    );
    for (name, all) in
        [("since it was sent", &mut since_sent), ("since its record", &mut since_stored)]
    {
        let [half, most, all] = [50, 95, 100].map(|percent| at(all, percent));
        println!("| {name} | {half:.0} ms | {most:.0} ms | {all:.0} ms |");
    }
}

/// What the intake takes while browsers are open, next to what it takes without.
async fn intake(page: &Page) {
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..BURSTS {
        alone.push(burst(page).await);
        let mut open = open(page).await;
        // What they are told is taken away, as browsers do.
        let reader = tokio::spawn(async move { while open.told.recv().await.is_some() {} });
        watched.push(burst(page).await);
        reader.abort();
    }
    let (alone, watched) = (median(alone), median(watched));
    println!(
        "\nintake, {SENDERS} senders, each answered when its record is written: {} alerts/s; with \
         {BROWSERS} open browsers {}: ratio {:.2}",
        rounded(alone),
        rounded(watched),
        watched / alone
    );
}

/// Alerts a second.
async fn burst(page: &Page) -> f64 {
    let count = Arc::<AtomicUsize>::default();
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (page, count) = (page.clone(), Arc::clone(&count));
        senders.spawn(async move {
            while begun.elapsed() < BURST {
                let name = format!("burst-{:016x}", rand::random::<u64>());
                let status = page.post(&name, "wait=30").await;
                assert_eq!(status, 200, "the record is written");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.expect("no panic");
    }
    float(count.load(Ordering::Relaxed) as u64) / begun.elapsed().as_secs_f64()
}
