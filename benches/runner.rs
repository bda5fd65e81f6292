//! What it costs to run 1,000 monitors a minute, all of them at the same moment: `cargo bench --bench
//! runner`, against the OpenSearch of `ALERTLOOP_TEST_OPENSEARCH` (`tests/opensearch/node.sh up`).
//! `-- --monitors N --rounds N` takes other numbers.
//!
//! Nine of ten are quiet; the others fire on and are throttled. Between two rounds the same searches
//! are sent alone, as many at once: what the processor time of the service and the time until all have
//! run are compared with.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ::opensearch::http::Method;
use alertloop::opensearch::{Client, Settings};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

const AT_ONCE: usize = 16;
const EVERY: i64 = 60_000;
/// How long a round is waited for.
const PATIENCE: Duration = Duration::from_secs(55);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

fn option(name: &str, usual: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|number| number.parse().ok()).unwrap_or(usual)
}

async fn run() {
    let Ok(url) = std::env::var("ALERTLOOP_TEST_OPENSEARCH") else {
        println!("ALERTLOOP_TEST_OPENSEARCH names no OpenSearch");
        return;
    };
    let (monitors, rounds) = (option("--monitors", 1_000), option("--rounds", 3));
    let ground = Ground::new(&url);
    let begun = ground.make(monitors).await;
    let dir = tempfile::tempdir().expect("a directory");
    let service = Service::start(&url, &ground.prefix, dir.path());
    ground.round(monitors, begun).await;
    println!(
        "| round | all had run after | CPU of alertloop a run | 1,000 raw searches took | CPU of a raw search | ratio of CPU |"
    );
    println!("|---|---|---|---|---|---|");
    for round in 1..=rounds {
        let planned = begun + EVERY * i64::try_from(round).expect("a small number");
        let before = service.busy();
        let took = ground.round(monitors, planned).await;
        let each = (service.busy() - before) / u32::try_from(monitors).expect("a count");
        let (own, started) = (busy("self"), Instant::now());
        ground.search(monitors).await;
        let (raw, alone) = (started.elapsed(), busy("self") - own);
        let alone = alone / u32::try_from(monitors).expect("a count");
        let ratio = each.as_secs_f64() / alone.as_secs_f64();
        println!("| {round} | {took:.2?} | {each:.2?} | {raw:.2?} | {alone:.2?} | {ratio:.1} |");
    }
    drop(service);
    ground.clean().await;
}

/// The store, and what is made there.
struct Ground {
    client: Client,
    prefix: String,
}

impl Ground {
    fn new(url: &str) -> Self {
        let settings = Settings {
            url: url.parse().expect("a URL"),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(30),
            monitors: alertloop::opensearch::engine::Settings::default(),
        };
        let client = Client::new(&settings).expect("a client");
        Self { client, prefix: format!("bench{:08x}", rand::random::<u32>()) }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let path = format!("/{}-{path}", self.prefix);
        let body = (!body.is_null()).then_some(body);
        self.client
            .call(method, &path, body)
            .await
            .unwrap_or_else(|fault| panic!("{path}: {fault}"))
    }

    async fn lines(&self, index: &str, lines: impl Iterator<Item = (String, Value)>) {
        let pair =
            |(id, line): (String, Value)| format!("{}\n{line}\n", json!({"index": {"_id": id}}));
        let body = lines.map(pair).collect::<Vec<_>>().concat();
        let path = format!("/{}-{index}/_bulk?refresh=true", self.prefix);
        self.client.send_ndjson(&path, body.into()).await.expect("documents");
    }

    /// Makes 10,000 documents to look at, and the monitors; gives the moment of their first run.
    async fn make(&self, monitors: usize) -> i64 {
        self.call(Method::Put, "logs", &json!({"settings": {"number_of_replicas": 0}})).await;
        let log = |n: usize| (n.to_string(), json!({"n": n, "user": format!("user {}", n % 100)}));
        self.lines("logs", (0..10_000).map(log)).await;
        let names = json!({"mappings": {"dynamic": false, "properties": {
            "name": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}}});
        self.call(Method::Put, "monitors", &names).await;
        let first = Timestamp::now().as_millisecond() + 15_000;
        let monitor = |n: usize| {
            let condition = if n % 10 == 0 { "> 0" } else { "< 0" };
            (format!("m{n}"), self.monitor(n, condition, first - EVERY))
        };
        self.lines("monitors", (0..monitors).map(monitor)).await;
        first
    }

    fn query() -> Value {
        json!({"size": 0, "track_total_hits": true,
            "query": {"bool": {"filter": [{"term": {"user.keyword": "user 7"}}]}}})
    }

    fn monitor(&self, n: usize, condition: &str, enabled: i64) -> Value {
        let action = json!({"id": "tell", "name": "tell",
            "destination_id": alertloop::provision::desired::CHANNEL_ID,
            "throttle_enabled": true, "throttle": {"value": 60, "unit": "MINUTES"},
            "message_template": {"lang": "mustache", "source":
                r#"{"alert": {"monitor": {"name": "{{ctx.monitor.name}}"}, "alert": "{{ctx.alert.id}}"}}"#}});
        let source = format!("ctx.results[0].hits.total.value {condition}");
        json!({"type": "monitor", "name": format!("bench {n}"), "monitor_type": "query_level_monitor",
            "enabled": true, "enabled_time": enabled, "last_update_time": enabled,
            "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": [format!("{}-logs", self.prefix)], "query": Self::query()}}],
            "triggers": [{"query_level_trigger": {"id": "many", "name": "many", "severity": "2",
                "condition": {"script": {"lang": "painless", "source": source}},
                "actions": [action]}}]})
    }

    /// Waits until all have run that were planned for this moment; how long after it that was.
    async fn round(&self, monitors: usize, planned: i64) -> Duration {
        let now = Timestamp::now().as_millisecond();
        let wait = u64::try_from(planned - now).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let begun = Instant::now();
        // What counts is when the last of them was noted; looking often would cost the store.
        let body = json!({"size": 0, "track_total_hits": true,
            "query": {"range": {"last_run": {"gte": planned}}},
            "aggs": {"last": {"max": {"field": "last_run"}}}});
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.call(Method::Post, "runs/_refresh", &Value::Null).await;
            let answer = self.call(Method::Post, "runs/_search", &body).await;
            if answer["hits"]["total"]["value"].as_u64() == u64::try_from(monitors).ok() {
                let last = answer["aggregations"]["last"]["value"].as_f64().expect("a time");
                #[expect(clippy::cast_precision_loss, reason = "a time in ms is exact")]
                return Duration::from_secs_f64((last - planned as f64) / 1_000.0);
            }
            assert!(begun.elapsed() < PATIENCE, "not all have run: {answer}");
        }
    }

    /// The same searches, and nothing else.
    async fn search(&self, count: usize) {
        let query = Self::query();
        let path = format!("/{}-logs/_search", self.prefix);
        let each = futures_util::stream::iter(0..count).map(async |_| {
            self.client.call(Method::Post, &path, Some(&query)).await.expect("an answer")
        });
        each.buffer_unordered(AT_ONCE).for_each(async |_| ()).await;
    }

    async fn clean(&self) {
        for index in ["logs", "monitors", "alerts", "runs"] {
            self.call(Method::Delete, index, &Value::Null).await;
        }
    }
}

/// The service as a process of its own.
struct Service(Child);

impl Service {
    fn start(url: &str, prefix: &str, dir: &std::path::Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_alertloop"))
            .arg("serve")
            .env_clear()
            .env("OPENSEARCH_URL", url)
            .env("ALERTLOOP_DATA_DIR", dir)
            .env("ALERTLOOP_LISTEN", "127.0.0.1:0")
            .env("ALERTLOOP_PROVISION", "false")
            .env("ALERTLOOP_TEMPLATE", "none")
            .env("ALERTLOOP_RECONCILE_INTERVAL", "0")
            .env("ALERTLOOP_MONITORS", "builtin")
            .env("ALERTLOOP_MONITORS_PREFIX", prefix)
            .env("MALCOLM_NETWORK_INDEX_PATTERN", format!("{prefix}_records-*"))
            .env("ALERTLOOP_LOG", "error")
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("a process"))
    }

    fn busy(&self) -> Duration {
        busy(&self.0.id().to_string())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The processor time of a process until now. Source: `proc(5)`: fields 14 and 15 of `stat`, in ticks
/// of 10 ms.
fn busy(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("stat");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks =
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}
