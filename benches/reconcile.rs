//! What the reconciler costs over many monitors and alerts: `cargo bench --bench reconcile`.
//!
//! Needs a node of its own with Alerting (`tests/opensearch/node.sh up`), named in
//! `ALERTLOOP_TEST_OPENSEARCH`: every alert that the node has is compared. Fails when one is without
//! a record, or when a look without news writes.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark prints, starts tasks and looks at the clock and the environment"
)]

#[path = "reconcile/counter.rs"]
mod counter;
#[path = "reconcile/ground.rs"]
mod ground;
#[path = "load/report.rs"]
mod report;
#[path = "load/sidecar.rs"]
mod sidecar;
#[path = "reconcile/webhooks.rs"]
mod webhooks;

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use counter::{Counter, Counts};
use ground::{ACTIVE, Ground, HISTORY, Made, WEBHOOK};
use report::{Report, float, median, rounded};
use sidecar::Sidecar;
use webhooks::Webhooks;

const MONITORS: usize = 1_000;
const SENDING: usize = 500;
const PAST: usize = 100_000;
const OPEN: usize = 20_000;
const FIRING: usize = 2_000;
const HOUR: i64 = 3_600_000;
/// How long a phase may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long an idle process is watched: four looks, and what else it does each minute.
const IDLE: Duration = Duration::from_mins(2);
const TOKEN: &str = "a-secret-for-benches";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: this is for `cargo bench --bench reconcile`");
        return Ok(());
    }
    let Ok(store) = std::env::var("ALERTLOOP_TEST_OPENSEARCH") else {
        println!("SKIPPED: ALERTLOOP_TEST_OPENSEARCH names no OpenSearch");
        return Ok(());
    };
    let mut bench = Bench::new(&store).await?;
    let outcome = bench.run().await;
    let cleaned = bench.clean().await;
    bench.report.print(true);
    outcome.and(cleaned)
}

struct Bench {
    ground: Ground,
    counter: Counter,
    /// The store, as `host:port`.
    to: String,
    client: reqwest::Client,
    name: String,
    begin: i64,
    report: Report,
}

impl Bench {
    async fn new(store: &str) -> anyhow::Result<Self> {
        let to = store.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Self {
            ground: Ground::new(store)?,
            counter: Counter::before(to.clone()).await?,
            to,
            client: reqwest::Client::builder().no_proxy().build()?,
            name: format!("bench{:08x}", rand::random::<u32>()),
            begin: jiff::Timestamp::now().as_millisecond(),
            report: Report::default(),
        })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let text = include_str!("../provisioning/templates/alertloop_sessions.json");
        let mut template: Value = serde_json::from_str(text)?;
        template["index_patterns"] = json!([self.pattern(), format!("raw{}-*", self.name)]);
        self.ground.ask("PUT", &format!("/_template/{}", self.name), &template).await?;
        self.ground.make(MONITORS, SENDING, self.begin - 24 * HOUR).await?;
        self.ground.alerts(HISTORY, (0..PAST).map(|number| self.past(number))).await?;

        let sidecar = self.start("30s", &self.counter).await?;
        self.catch_up(&sidecar).await?;
        self.idle(&sidecar).await?;
        sidecar.stop()?;
        self.raw_bulk().await?;

        self.ground.alerts(ACTIVE, (0..OPEN).map(|n| self.open(n, "ACTIVE"))).await?;
        let sidecar = self.start("5s", &self.counter).await?;
        self.audit(&sidecar).await?;
        self.firing(&sidecar, "ACTIVE", "2,000 of them fire again").await?;
        self.firing(&sidecar, "ERROR", "the same, and each of their webhooks is lost").await?;
        sidecar.stop()
    }

    async fn clean(&self) -> anyhow::Result<()> {
        self.ground.remove(&[&self.pattern(), &format!("raw{}-*", self.name)]).await?;
        let template = format!("/_template/{}", self.name);
        self.ground.ask("DELETE", &template, &Value::Null).await.map(drop)
    }

    fn pattern(&self) -> String {
        format!("{}-*", self.name)
    }

    /// Of the last 23 hours; over for at least 15 minutes.
    fn past(&self, number: usize) -> Made {
        let start = self.before(number, PAST);
        let end = Some(start + 5 * 60_000);
        Made { number, monitors: SENDING, state: "COMPLETED", start, last: start, end }
    }

    fn open(&self, number: usize, state: &'static str) -> Made {
        let start = self.before(number, OPEN);
        Made { number: PAST + number, monitors: SENDING, state, start, last: start, end: None }
    }

    fn before(&self, number: usize, count: usize) -> i64 {
        let (number, count) = (i64::try_from(number), i64::try_from(count));
        let share = number.unwrap_or(0) * 22 * HOUR / count.unwrap_or(1);
        self.begin - 23 * HOUR + share
    }

    async fn start(&self, interval: &str, counter: &Counter) -> anyhow::Result<Sidecar> {
        let (url, pattern) = (counter.url(), self.pattern());
        let settings = [
            ("OPENSEARCH_URL", url.as_str()),
            ("MALCOLM_NETWORK_INDEX_PATTERN", &pattern),
            ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
            ("ALERTLOOP_TOKEN", TOKEN),
            ("ALERTLOOP_LOG_FORMAT", "json"),
            ("ALERTLOOP_PROVISION", "false"),
            ("ALERTLOOP_WEBHOOK_URL", WEBHOOK),
            ("ALERTLOOP_RECONCILE_INTERVAL", interval),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let program = Path::new(env!("CARGO_BIN_EXE_alertloop"));
        counter.take();
        Sidecar::start(program, Path::new(env!("CARGO_TARGET_TMPDIR")), &settings).await
    }

    /// All of the past is without records; webhooks come meanwhile.
    async fn catch_up(&mut self, sidecar: &Sidecar) -> anyhow::Result<()> {
        let webhooks = Webhooks::begin(sidecar.address, TOKEN);
        let want = float(PAST as u64);
        let begun = sidecar.started;
        let stored = self.records(PAST as u64).await;
        stored.with_context(|| sidecar.last_words())?;
        let took = begun.elapsed().as_secs_f64();
        let told = webhooks.end().await?;
        self.looks(sidecar, 1).await?;
        self.records(PAST as u64 + told.posted).await?;
        let found = self.ground.count(&self.pattern()).await?;
        ensure!(found == PAST as u64 + told.posted, "{found} records of {PAST} alerts");
        let counts = self.counter.take();
        let line = &mut self.report;
        line.line("catch-up: alerts without a record", rounded(want));
        line.line("… records/s", format!("{} ({took:.1} s)", rounded(want / took)));
        line.line("… memory, peak", format!("{:.1} MiB", sidecar.memory("VmHWM")?));
        line.line("… processor time", format!("{:.1} s", sidecar.cpu()?));
        line.line("… requests", bytes(&counts));
        line.line("… webhooks meanwhile, answered when durable", told.durable);
        line.line("… webhooks meanwhile, answered when stored", told.stored);
        Ok(())
    }

    /// Nothing happens.
    async fn idle(&mut self, sidecar: &Sidecar) -> anyhow::Result<()> {
        let by = Counter::before(self.to.clone()).await?;
        let standby = self.start("30s", &by).await?;
        self.looks(sidecar, 1).await?;
        self.counter.take();
        by.take();
        let at_rest = standby.cpu()?;
        let (cpu, writes) = (sidecar.cpu()?, self.ground.writes(&self.pattern()).await?);
        let (looks, took) = self.seconds(sidecar).await?;
        tokio::time::sleep(IDLE).await;
        let (later, more) = self.seconds(sidecar).await?;
        let counts = self.counter.take();
        ensure!(writes == self.ground.writes(&self.pattern()).await?, "an idle look writes");
        let waiting = (by.take(), standby.cpu()? - at_rest);
        standby.stop()?;
        let minutes = IDLE.as_secs_f64() / 60.0;
        let line = &mut self.report;
        line.line("idle, a minute: requests", bytes_per(&counts, minutes));
        line.line(
            "… processor time",
            format!("{:.0} ms", (sidecar.cpu()? - cpu) * 1_000.0 / minutes),
        );
        let each = (more - took) * 1_000.0 / (later - looks);
        line.line("… a look takes", format!("{each:.0} ms"));
        line.line("… memory now", format!("{:.1} MiB", sidecar.memory("VmRSS")?));
        line.line("a replica that stands by, a minute: requests", bytes_per(&waiting.0, minutes));
        line.line("… processor time", format!("{:.0} ms", waiting.1 * 1_000.0 / minutes));
        println!("{}", what(&counts));
        Ok(())
    }

    /// All that is open is compared.
    async fn audit(&mut self, sidecar: &Sidecar) -> anyhow::Result<()> {
        let before = self.ground.count(&self.pattern()).await?;
        self.records(before + OPEN as u64).await?;
        self.looks(sidecar, 2).await?;
        let writes = self.ground.writes(&self.pattern()).await?;
        let mut ratios = Vec::new();
        for _ in 0..3 {
            let raw = self.raw_reading().await?;
            self.looks(sidecar, 1).await?;
            self.ground.touch_a_monitor().await?;
            let audit = self.next_look(sidecar, |counts| counts.total() > 20).await?;
            ratios.push((audit.seconds, raw, audit.counts));
        }
        ensure!(writes == self.ground.writes(&self.pattern()).await?, "an audit writes");
        let line = &mut self.report;
        for (seconds, raw, counts) in &ratios {
            let ratio = seconds / raw;
            line.line(
                format!("audit of {} open alerts", rounded(float(OPEN as u64))),
                format!("{seconds:.2} s; {ratio:.1} times reading the same raw ({raw:.2} s)"),
            );
            line.line("… requests", bytes(counts));
        }
        line.line("… memory, peak", format!("{:.1} MiB", sidecar.memory("VmHWM")?));
        if let Some((_, _, counts)) = ratios.first() {
            println!("{}", what(counts));
        }
        Ok(())
    }

    /// Alerts that last fire again and again.
    async fn firing(
        &mut self,
        sidecar: &Sidecar,
        state: &'static str,
        name: &str,
    ) -> anyhow::Result<()> {
        let mut seconds = Vec::new();
        let mut last = Counts::default();
        let writes = self.ground.writes(&self.pattern()).await?;
        for _ in 0..3 {
            self.looks(sidecar, 1).await?;
            let now = jiff::Timestamp::now().as_millisecond();
            let again = (0..FIRING).map(|n| Made { last: now, ..self.open(n, state) });
            self.ground.alerts(ACTIVE, again).await?;
            let look = self.next_look(sidecar, |_| true).await?;
            seconds.push(look.seconds);
            last = look.counts;
        }
        let more = self.ground.writes(&self.pattern()).await? - writes;
        let line = &mut self.report;
        line.line(format!("{name}: a look"), format!("{:.0} ms", median(seconds) * 1_000.0));
        line.line("… requests", bytes(&last));
        line.line("… records written", rounded(float(more)));
        println!("{}", what(&last));
        Ok(())
    }

    /// Waits until there are so many records.
    async fn records(&self, want: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.ground.count(&self.pattern()).await? < want {
            ensure!(begun.elapsed() < PATIENCE, "there are not {want} records");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Waits until so many looks more are done.
    async fn looks(&self, sidecar: &Sidecar, more: u32) -> anyhow::Result<()> {
        let want = self.seconds(sidecar).await?.0 + f64::from(more);
        let begun = Instant::now();
        while self.seconds(sidecar).await?.0 < want {
            ensure!(begun.elapsed() < PATIENCE, "it does not look{}", sidecar.last_words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits for the first look from now on that `is_it`; none must be under way.
    async fn next_look(
        &self,
        sidecar: &Sidecar,
        is_it: impl Fn(&Counts) -> bool,
    ) -> anyhow::Result<Look> {
        loop {
            let (_, before) = self.seconds(sidecar).await?;
            self.counter.take();
            self.looks(sidecar, 1).await?;
            let counts = self.counter.take();
            let (_, after) = self.seconds(sidecar).await?;
            if is_it(&counts) {
                return Ok(Look { seconds: after - before, counts });
            }
        }
    }

    /// How many looks there were, and how long they took in all.
    async fn seconds(&self, sidecar: &Sidecar) -> anyhow::Result<(f64, f64)> {
        let url = format!("http://{}/metrics", sidecar.address);
        let text = self.client.get(url).send().await?.text().await?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Ok((value("alertloop_reconcile_seconds_count"), value("alertloop_reconcile_seconds_sum")))
    }

    /// The same records, sent as fast as the store takes them: 1,000 a request, one at a time.
    async fn raw_bulk(&mut self) -> anyhow::Result<()> {
        let search = format!("/{}/_search?size=10000", self.pattern());
        let found = self.ground.ask("POST", &search, &Value::Null).await?;
        let hits = found["hits"]["hits"].as_array().context("no hits")?;
        let mut rates = Vec::new();
        for round in 0..3 {
            let mut took = Duration::ZERO;
            for part in hits.chunks(1_000) {
                let mut lines = String::new();
                for hit in part {
                    let index = format!("raw{}-{round}", self.name);
                    let action = json!({"create": {"_index": index, "_id": hit["_id"]}});
                    writeln!(lines, "{action}\n{}", hit["_source"])?;
                }
                let begun = Instant::now();
                self.ground.bulk(lines).await?;
                took += begun.elapsed();
            }
            rates.push(float(hits.len() as u64) / took.as_secs_f64());
        }
        let rate = format!("{} records/s", rounded(median(rates)));
        self.report.line("raw `_bulk` of the same records, 1,000 a request", rate);
        Ok(())
    }

    /// Reads what an audit must read at least: the open alerts and their records, by pages of 500.
    async fn raw_reading(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut after = Value::Null;
        loop {
            let mut body = json!({"size": 500, "sort": [{"start_time": "desc"}],
                "query": {"prefix": {"monitor_id": "bench-monitor-"}}});
            if !after.is_null() {
                body["search_after"] = after;
            }
            let page = self.ground.ask("POST", &format!("/{ACTIVE}/_search"), &body).await?;
            let hits = page["hits"]["hits"].as_array().context("no hits")?;
            let Some(last) = hits.last() else { break };
            after = last["sort"].clone();
            let ids: Vec<_> = hits.iter().map(|hit| &hit["_id"]).collect();
            let of = json!({"size": 500, "query": {"terms": {"event.id": ids}}});
            self.ground.ask("POST", &format!("/{}/_search", self.pattern()), &of).await?;
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// What one look did.
struct Look {
    seconds: f64,
    counts: Counts,
}

fn bytes(counts: &Counts) -> String {
    bytes_per(counts, 1.0)
}

fn bytes_per(counts: &Counts, parts: f64) -> String {
    let kib = |bytes: u64| rounded(float(bytes) / 1_024.0 / parts);
    let requests = float(counts.total()) / parts;
    format!("{requests:.1}; {} KiB sent, {} KiB received", kib(counts.sent), kib(counts.received))
}

fn what(counts: &Counts) -> String {
    let mut text = String::new();
    for (request, times) in &counts.requests {
        // Writing into a text cannot fail.
        writeln!(text, "  {times:>6} {request}").ok();
    }
    text
}
