//! One run from start to end: the sidecar alone, under load, the store without it, and the verdict.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::{
    alerts::{self, Run, Unique, Wait, Write},
    baseline::{self, Way},
    options::{Options, address_of},
    report::{Report, float, median, rounded},
    sending::{Load, Tally},
    sidecar::{Sidecar, cpu_of},
    store::{Scope, Store},
    verdict::Verdict,
};

/// An address where nothing listens: the port is reserved for a service that nobody runs.
const CLOSED: &str = "http://127.0.0.1:1";
const ROUTE: &str = "/mapi/alert";
const FIRST_LIMIT: Duration = Duration::from_mins(1);
/// The sidecar's memory is idle memory this long after its start.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// A run, and what it must clean up.
pub struct Trial<'a> {
    options: &'a Options,
    run: Run,
    store: Option<Store>,
    scope: Scope,
    sidecar: Option<Sidecar>,
}

/// Where alerts are sent.
struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    token: String,
    numbers: Arc<AtomicU64>,
}

impl<'a> Trial<'a> {
    pub fn new(options: &'a Options, run: Run, store: Option<Store>) -> Self {
        let scope = if options.url.is_some() {
            let query = json!({ "term": { "rule.name": run.name } });
            Scope { indices: options.pattern.clone(), query }
        } else {
            let indices = format!("{}-*,-{}", run.name, baseline::index(&run));
            Scope { indices, query: json!({ "match_all": {} }) }
        };
        Self { options, run, store, scope, sidecar: None }
    }

    /// Gives what was measured, and whether every accepted alert is there once.
    pub async fn measure(&mut self) -> anyhow::Result<(Report, bool)> {
        let options = self.options;
        let mut report = Report::default();
        report.line("machine", machine()?);
        if let (true, Some(store)) = (options.ceiling, &mut self.store) {
            store.put_template(&self.run).await?;
            warm(store, &self.run, options).await?;
            let length = Duration::from_secs_f64(options.baseline_seconds);
            baseline::ceiling(store, &self.run, length, options.rounds, &mut report).await?;
            return Ok((report, true));
        }
        report.line("load", options.title());
        let target = self.target().await?;
        self.first_alert(&target, &mut report).await?;
        let (verdict, rate) = self.load(&target, &mut report).await?;
        if let Some(rate) = rate {
            self.baselines(rate, &mut report).await?;
        }
        if self.store.is_none() {
            report.line("verdict", "not counted: the store is down");
            return Ok((report, true));
        }
        report.line("verdict", verdict.words());
        Ok((report, verdict.sound()))
    }

    /// Ends the sidecar and removes what the run has put into the store.
    pub async fn clean(&mut self) -> anyhow::Result<()> {
        let stopped = self.sidecar.take().map_or(Ok(()), Sidecar::stop);
        if let Some(store) = &mut self.store {
            store.clean(&self.run).await?;
            if self.options.url.is_some() {
                store.delete_documents(&self.scope).await?;
            }
        }
        stopped
    }

    /// Starts the sidecar, or takes the one that was named.
    async fn target(&mut self) -> anyhow::Result<Target> {
        let options = self.options;
        let numbers = Arc::new(AtomicU64::new(1));
        if let (Some(url), Some(token)) = (&options.url, &options.token) {
            if let Some(store) = &mut self.store {
                store.put_template(&self.run).await?;
            }
            let (address, host) = address_of(url)?;
            let path = if url.path() == "/" { ROUTE } else { url.path() }.to_owned();
            return Ok(Target { address, host, path, token: token.clone(), numbers });
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let store = self.store.as_ref().map(|store| format!("http://{}", store.host));
        let mut settings = Vec::from(
            [
                ("OPENSEARCH_URL", store.as_deref().unwrap_or(CLOSED)),
                ("MALCOLM_NETWORK_INDEX_PATTERN", &format!("{}-*", self.run.name)),
                ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
                ("ALERTLOOP_TOKEN", &token),
                ("ALERTLOOP_LOG_FORMAT", "json"),
                // A channel that leads to a sidecar that is gone would stay behind.
                ("ALERTLOOP_PROVISION", "false"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if let (true, Some(store)) = (options.backlog, &mut self.store) {
            store.put_template(&self.run).await?;
            let gate = [("ALERTLOOP_TEMPLATE", "malcolm"), ("MALCOLM_TEMPLATE", &self.run.gate())];
            settings.extend(gate.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        settings.extend_from_slice(&options.settings);
        let sidecar = Sidecar::start(&options.program, &options.data_dir, &settings).await?;
        let address = sidecar.address;
        self.sidecar = Some(sidecar);
        Ok(Target { address, host: address.to_string(), path: ROUTE.to_owned(), token, numbers })
    }

    /// Sends one alert as soon as the sidecar lives, and looks at it when it is idle again.
    async fn first_alert(&mut self, target: &Target, report: &mut Report) -> anyhow::Result<()> {
        let load = self.alerts(target, 1, Wait::Disk);
        let accepted = load.first(FIRST_LIMIT).await;
        let accepted = accepted.with_context(|| format!("no start{}", self.last_words()))?;
        if let Some(store) = self.store.as_mut().filter(|_| !self.options.backlog) {
            let (count, _) = store.settle(&self.scope, 1).await?;
            if count == 0 {
                bail!("the first alert does not reach the store{}", self.last_words());
            }
        }
        if let Some(sidecar) = &self.sidecar {
            let took = accepted - sidecar.started;
            report.line("first alert accepted after start", milliseconds(took.as_secs_f64() * 1e3));
            tokio::time::sleep(IDLE_AFTER.saturating_sub(sidecar.started.elapsed())).await;
            report.line("memory, idle", mebibytes(sidecar.memory("VmRSS")?));
        }
        Ok(())
    }

    /// The load itself, first unmeasured; gives the documents stored per second, with a store.
    async fn load(
        &mut self,
        target: &Target,
        report: &mut Report,
    ) -> anyhow::Result<(Verdict, Option<f64>)> {
        let options = self.options;
        let load = self.alerts(target, options.batch, options.wait());
        if let Some(store) = &mut self.store {
            warm(store, &self.run, options).await?;
        }
        let warmup = Duration::from_secs_f64(options.warmup);
        let before = load.run(options.connections, warmup).await?;
        // One more than these: the first alert.
        let (sent, accepted) = (1 + before.sent, 1 + before.accepted);
        let mut verdict = Verdict { sent, accepted, ..Verdict::default() };
        if let Some(store) = self.store.as_mut().filter(|_| !options.backlog) {
            (verdict.count, _) = store.settle(&self.scope, verdict.accepted).await?;
        }

        let (own_cpu, cpu) = (cpu_of("self")?, self.cpu()?);
        let length = Duration::from_secs_f64(options.seconds);
        let tally = load.run(options.connections, length).await?;
        let own_cpu = cpu_of("self")? - own_cpu;
        if tally.accepted == 0 {
            bail!("nothing was accepted ({}){}", tally.answers(), self.last_words());
        }
        verdict.accepted += tally.accepted;
        verdict.sent += tally.sent;
        show(&tally, report);

        let mut rate = None;
        if let Some(store) = &mut self.store {
            let (start, began) = if options.backlog {
                store.open_gate(&self.run, &self.scope).await?
            } else {
                (verdict.count, tally.began)
            };
            let (count, last) = store.settle(&self.scope, verdict.accepted).await?;
            let (new, took) = (count.saturating_sub(start), (last - began).as_secs_f64());
            let value = float(new) / took;
            report.line("indexed/s", format!("{} ({new} in {took:.1} s)", rounded(value)));
            verdict.count = count;
            verdict.doubled = store.doubled(&self.scope, options.unique()).await?;
            rate = Some(value);
        }
        if let (Some(sidecar), Some(cpu), Some(end)) = (&self.sidecar, cpu, self.cpu()?) {
            report.line("memory, peak", mebibytes(sidecar.memory("VmHWM")?));
            report.line("CPU, sidecar", cpu_line(end - cpu, &tally));
            let size = fs::metadata(&options.program).context("cannot measure the program")?.len();
            report.line("size of the program", mebibytes(float(size) / f64::from(1 << 20)));
        }
        report.line("CPU, load generator", cpu_line(own_cpu, &tally));
        Ok((verdict, rate))
    }

    /// The store without the sidecar, on the same node and in the same run.
    async fn baselines(&mut self, indexed: f64, report: &mut Report) -> anyhow::Result<()> {
        let (options, Some(store)) = (self.options, &mut self.store) else { return Ok(()) };
        if options.baseline_seconds == 0.0 {
            return Ok(());
        }
        let way = |write, size, connections| Way { write, size, connections };
        let mut ways = vec![
            way(Write::Create, options.bulk, 1),
            way(Write::Create, options.bulk, 2),
            way(Write::Create, 64, 1),
            way(Write::Upsert, options.bulk, 1),
            way(Write::Upsert, 64, 1),
        ];
        ways.truncate(if options.oneshot { 3 } else { 5 });
        let length = Duration::from_secs_f64(options.baseline_seconds);
        let rates = baseline::rates(store, &self.run, &ways, length, options.rounds).await?;
        for (way, rates) in ways.iter().zip(rates) {
            let rate = median(rates);
            let share = 100.0 * indexed / rate;
            let value = format!("{} docs/s; indexed is {share:.0} % of it", rounded(rate));
            report.line(way.name(), value);
        }
        Ok(())
    }

    fn alerts(&self, target: &Target, batch: u64, wait: Wait) -> Load {
        let Target { address, host, path, token, numbers } = target;
        let unique: Unique = self.options.unique();
        let stencil = alerts::webhook(&self.run, unique, batch, (host, path), token, wait);
        Load { address: *address, stencil, numbers: Arc::clone(numbers) }
    }

    fn cpu(&self) -> anyhow::Result<Option<f64>> {
        self.sidecar.as_ref().map(Sidecar::cpu).transpose()
    }

    fn last_words(&self) -> String {
        self.sidecar.as_ref().map(Sidecar::last_words).unwrap_or_default()
    }
}

/// Brings the store to its working speed, so that who is measured last has no advantage.
async fn warm(store: &mut Store, run: &Run, options: &Options) -> anyhow::Result<()> {
    if options.warmup == 0.0 {
        return Ok(());
    }
    let length = Duration::from_secs_f64(options.warmup);
    for write in [Write::Create, Write::Upsert] {
        let way = Way { write, size: options.bulk, connections: 2 };
        baseline::rate(store, run, way, length).await?;
    }
    Ok(())
}

/// What shares the cores shows in the load average.
fn machine() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism().context("cannot count the cores")?;
    let load = fs::read_to_string("/proc/loadavg").context("cannot read the load average")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("{cores} cores, load average {load} at the start"))
}

fn show(tally: &Tally, report: &mut Report) {
    let rate = float(tally.accepted) / tally.took.as_secs_f64();
    report.line("accepted/s", rounded(rate));
    report.line("answers", tally.answers());
    for (name, share) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        report.line(
            format!("answered after, {name}"),
            milliseconds(tally.latencies.per_mille(share)),
        );
    }
    report.line("answered after, longest", milliseconds(tally.latencies.max()));
}

fn cpu_line(seconds: f64, tally: &Tally) -> String {
    let each = seconds * 1e6 / float(tally.accepted);
    format!("{seconds:.2} s, {each:.0} µs an alert")
}

fn milliseconds(value: f64) -> String {
    format!("{value:.2} ms")
}

fn mebibytes(value: f64) -> String {
    format!("{value:.1} MiB")
}
