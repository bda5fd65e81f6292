//! The reconciler while its replica is killed, frozen or cut off, and while the store has trouble.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    effort,
    ground::{self, Ground, Made},
    ledger::Verdict,
    lives::{Balancer, Lives, Settled, versions},
    report,
    scene::{PATIENCE, script, serve, settings_with, wait_for},
    store,
    support::{Bench, Channel, Mood, Process, Proxy, Reluctant, Store, Watched, skip},
    waiting::{drained, readiness, until},
};

/// A lease lasts 30 s, and the last renewal may have been seen 10 s after it was made.
const TAKEOVER: Duration = Duration::from_secs(45);
/// A process that is started again needs no lease to run out.
const AT_ONCE: Duration = Duration::from_secs(15);

/// A message waits 90 s at most for the alert that it tells of.
const MESSAGES_WAIT: Duration = Duration::from_mins(2);

/// Two replicas on one store, and the way to it.
struct Pair<'a> {
    store: &'a Store,
    proxies: [Proxy; 2],
    balancer: Balancer,
    settings: [HashMap<String, String>; 2],
    processes: [Option<Process>; 2],
    _dirs: [TempDir; 2],
}

impl<'a> Pair<'a> {
    async fn start(store: &'a Store) -> Self {
        store.make_template().await;
        let dirs = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
        let proxies = [Proxy::start(store).await, Proxy::start(store).await];
        let balancer = Balancer::start().await;
        let settings = [0, 1].map(|which| {
            let url = proxies[which].url();
            settings_with(
                store,
                &dirs[which],
                &[
                    ("OPENSEARCH_URL", url.as_str()),
                    ("ALERTLOOP_WEBHOOK_URL", balancer.url()),
                    ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
                ],
            )
        });
        let processes = [None, None];
        let mut pair = Self { store, proxies, balancer, settings, processes, _dirs: dirs };
        pair.begin(0);
        pair.begin(1);
        pair
    }

    fn begin(&mut self, which: usize) {
        self.processes[which] = Some(serve(&self.settings[which]));
        let there = self.processes.iter().flatten();
        self.balancer.before(there.map(|one| one.url("/mapi/alert")).collect());
    }

    fn kill(&mut self, which: usize) {
        self.processes[which].take().expect("a process").kill();
    }

    fn process(&self, which: usize) -> &Process {
        self.processes[which].as_ref().expect("a process")
    }

    async fn leads(&self, which: usize) -> bool {
        let says = readiness(self.process(which)).await;
        says.is_some_and(|(_, says)| says["reconciler"]["leads"] == true)
    }

    /// The one that leads, once exactly one does.
    async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            match [self.leads(0).await, self.leads(1).await] {
                [true, false] => return 0,
                [false, true] => return 1,
                both => assert!(begun.elapsed() < TAKEOVER, "{both:?} lead"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until this one leads; how long that took.
    async fn takes_over(&self, which: usize, within: Duration) -> Duration {
        let begun = Instant::now();
        until("it leads", within, async || self.leads(which).await).await;
        begun.elapsed()
    }

    /// Each alert has one record that says how it stands, nothing was written for nothing, and one
    /// of the two leads.
    async fn end(mut self, mut lives: Lives<'_>, fault: &str, how: &str, times: u64, notes: &str) {
        // A webhook that came while its replica was away is written when that is back, whoever has
        // written the record by then.
        for process in self.processes.iter().flatten() {
            assert!(drained(process, MESSAGES_WAIT).await, "a replica is gone");
        }
        let settled = lives.settle().await;
        let (lost, told) = (versions(&settled, true), versions(&settled, false));
        println!("{fault}: writes of records: webhooks lost {lost:?}, webhooks told {told:?}");
        // Engaged, acknowledged, released.
        assert!(lost.keys().all(|version| *version <= 3), "{lost:?}");
        // Two webhooks more.
        assert!(told.keys().all(|version| *version <= 5), "{told:?}");
        let leader = self.leader().await;
        for _ in 0..2 {
            self.looks(leader).await;
        }
        lives.touch().await;
        for _ in 0..2 {
            self.looks(leader).await;
        }
        assert_eq!(changed(&settled, &lives.settle().await), [], "written for nothing");
        assert_eq!(self.leader().await, leader);
        row(fault, how, times, &settled, notes);
        for process in &mut self.processes {
            let process = process.take().expect("a process");
            process.signal("TERM");
            assert_eq!(tokio::task::block_in_place(|| process.wait()).code(), Some(0));
        }
        lives.remove().await;
        assert!(!self.store.records().await.is_empty());
    }

    /// Waits for a whole look.
    async fn looks(&self, which: usize) {
        looks(self.process(which)).await;
    }
}

/// Waits until one look more is done.
pub async fn looks(process: &Process) {
    let last =
        async || readiness(process).await.map(|(_, says)| says["reconciler"]["last"].clone());
    let before = last().await;
    until("it looks", PATIENCE, async || last().await != before).await;
}

/// The records that are not as they were: before and after.
fn changed(before: &[Settled], after: &[Settled]) -> Vec<(Settled, Settled)> {
    assert_eq!(before.len(), after.len());
    let pairs = before.iter().zip(after).filter(|(before, after)| before != after);
    pairs.map(|(before, after)| (before.clone(), after.clone())).collect()
}

fn row(fault: &str, how: &str, times: u64, settled: &[Settled], notes: &str) {
    assert!(!settled.is_empty());
    let verdict = Verdict {
        acknowledged: settled.len(),
        found: settled.len(),
        lost: Vec::new(),
        doubled: Vec::new(),
    };
    report::row(fault, how, times, &verdict, notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_frozen_or_cut_off_is_replaced_and_each_record_is_right() {
    // On patterns of their own, so that they can wait at the same time.
    let _needed = store!(alerting);
    tokio::join!(killed(), frozen(), cut_off());
}

async fn killed() {
    let Some(store) = Store::of_this_run() else { return };
    let mut pair = Pair::start(&store).await;
    let lives = Lives::make(&store, pair.balancer.url(), 4).await;
    let stop = CancellationToken::new();
    let back = effort::times(3, 20);
    let (mut slowest, mut takeover) = (Duration::ZERO, Duration::ZERO);
    tokio::join!(lives.go_on(&stop), async {
        lives.happen(8).await;
        for _ in 0..back {
            let leader = pair.leader().await;
            pair.kill(leader);
            lives.happen(4).await;
            pair.begin(leader);
            slowest = slowest.max(pair.takes_over(leader, AT_ONCE).await);
            lives.happen(6).await;
        }
        let leader = pair.leader().await;
        pair.kill(leader);
        takeover = pair.takes_over(1 - leader, TAKEOVER).await;
        pair.begin(leader);
        lives.happen(6).await;
        stop.cancel();
    });
    let notes = format!(
        "started again it has its lease back after {:.1} s at most; the other one takes over after {:.0} s",
        slowest.as_secs_f64(),
        takeover.as_secs_f64()
    );
    pair.end(lives, "reconciler killed", "`kill -9` to the leader", u64::from(back) + 1, &notes)
        .await;
}

async fn frozen() {
    let Some(store) = Store::of_this_run() else { return };
    let pair = Pair::start(&store).await;
    let lives = Lives::make(&store, pair.balancer.url(), 4).await;
    let stop = CancellationToken::new();
    let mut takeover = Duration::ZERO;
    tokio::join!(lives.go_on(&stop), async {
        lives.happen(8).await;
        let leader = pair.leader().await;
        pair.process(leader).signal("STOP");
        takeover = pair.takes_over(1 - leader, TAKEOVER).await;
        lives.happen(6).await;
        pair.process(leader).signal("CONT");
        until("it has noticed", AT_ONCE, async || !pair.leads(leader).await).await;
        lives.happen(6).await;
        stop.cancel();
    });
    let notes = format!("the other one takes over after {:.0} s", takeover.as_secs_f64());
    pair.end(lives, "reconciler frozen", "SIGSTOP to the leader, then SIGCONT", 1, &notes).await;
}

async fn cut_off() {
    let Some(store) = Store::of_this_run() else { return };
    let pair = Pair::start(&store).await;
    let lives = Lives::make(&store, pair.balancer.url(), 4).await;
    let stop = CancellationToken::new();
    let times = effort::times(2, 10);
    tokio::join!(lives.go_on(&stop), async {
        for _ in 0..times {
            lives.happen(8).await;
            let leader = pair.leader().await;
            pair.proxies.iter().for_each(Proxy::cut);
            wait_for(pair.process(leader), |says| !says["reconciler"]["trouble"].is_null()).await;
            lives.happen(8).await;
            pair.proxies.iter().for_each(Proxy::mend);
            wait_for(pair.process(leader), |says| says["reconciler"]["trouble"].is_null()).await;
        }
        // Longer than the lease lasts, and the leader alone.
        let leader = pair.leader().await;
        pair.proxies[leader].cut();
        pair.takes_over(1 - leader, TAKEOVER).await;
        assert!(!pair.leads(leader).await, "it knows that its lease ran out");
        pair.proxies[leader].mend();
        lives.happen(6).await;
        stop.cancel();
    });
    let how = "both cut off from the store; then the leader alone";
    pair.end(lives, "reconciler cut off", how, u64::from(times) + 1, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_told_once_and_made_up_for() {
    if effort::minutes().is_none() {
        return skip("it takes a minute or more: scripts/torture runs it");
    }
    let store = store!(alerting);
    store.make_template().await;
    let reluctant = Reluctant::start(&store, 1).await;
    let balancer = Balancer::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let url = reluctant.url();
    let settings = [
        ("OPENSEARCH_URL", url.as_str()),
        ("ALERTLOOP_WEBHOOK_URL", balancer.url()),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
    ];
    let process = serve(&settings_with(&store, &dir, &settings));
    let mut lives = Lives::make(&store, balancer.url(), 3).await;
    let stop = CancellationToken::new();
    let parts = [
        ("monitors/_search", 429, true),
        ("monitors/alerts", 503, true),
        ("_mget", 429, true),
        // A leader goes on until its lease has run out.
        ("alertloop-state", 503, false),
    ];
    tokio::join!(lives.go_on(&stop), async {
        lives.happen(4).await;
        for (path, status, is_told) in parts {
            reluctant.set(Mood::Part { path, status });
            let before = process.warnings().len();
            if is_told {
                let tells = |says: &Value| {
                    let trouble = says["reconciler"]["trouble"].as_str();
                    trouble.is_some_and(|text| text.contains(&status.to_string()))
                };
                wait_for(&process, tells).await;
            }
            reluctant.harms(3).await;
            lives.happen(4).await;
            if !is_told {
                looks(&process).await;
            }
            let said = process.warnings().split_off(before);
            assert_eq!(said.len(), usize::from(is_told), "{path}: {said:#?}");
            reluctant.set(Mood::Honest);
            wait_for(&process, |says| says["reconciler"]["trouble"].is_null()).await;
            looks(&process).await;
        }
        stop.cancel();
    });
    let settled = lives.settle().await;
    lives.touch().await;
    looks(&process).await;
    looks(&process).await;
    assert_eq!(changed(&settled, &lives.settle().await), [], "written for nothing");
    let lasting = settled.iter().find(|one| one.is_lost).map(|one| one.version);
    assert_eq!(lasting, Some(1), "one that lasts is written once");
    let how = "429 or 503 to searches, reads and the lease";
    row("reconciler refused", how, parts.len() as u64, &settled, "one warning each");
    lives.remove().await;
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_killed_in_the_middle_of_catching_up_has_every_record_once_in_the_end() {
    const ALERTS: usize = 6_000;
    if effort::minutes().is_none() {
        return skip("it takes a minute or more: scripts/torture runs it");
    }
    let store = store!(alerting);
    let Ok(node) = std::env::var("ALERTLOOP_TEST_NODE_SH") else {
        return skip("ALERTLOOP_TEST_NODE_SH names no script");
    };
    store.make_template().await;
    let now = alertloop::clock::now().as_millisecond();
    let mut ground = Ground::new(store.url()).expect("the ground");
    ground.make(10, 10, now - 3_600_000).await.expect("monitors");
    let alerts = (0..ALERTS).map(|number| {
        let start = now - 3_000_000 + i64::try_from(number).expect("small");
        let end = Some(start + 60_000);
        Made { number, monitors: 10, state: "COMPLETED", start, last: start, end }
    });
    ground.alerts(ground::HISTORY, alerts).await.expect("alerts");

    let dir = tempfile::tempdir().expect("a directory");
    let settings =
        [("ALERTLOOP_WEBHOOK_URL", ground::WEBHOOK), ("ALERTLOOP_RECONCILE_INTERVAL", "1s")];
    let process = serve(&settings_with(&store, &dir, &settings));
    let some = async || count(&store).await > ALERTS / 10;
    until("some records", PATIENCE, some).await;
    script(&node, &["kill"]).await;
    wait_for(&process, |says| !says["reconciler"]["trouble"].is_null()).await;
    let before = count(&store).await;
    assert_eq!(before, 0, "the store is away");
    script(&node, &["start"]).await;
    until("all records", PATIENCE, async || count(&store).await >= ALERTS).await;
    wait_for(&process, |says| says["reconciler"]["trouble"].is_null()).await;
    looks(&process).await;
    let records = store.records().await;
    assert_eq!(records.len(), ALERTS);
    let written_again = records.iter().filter(|record| record["_version"] != 1).count();
    let released = records.iter().all(|record| record["_source"]["event"]["action"] == "released");
    assert!(released);
    assert_eq!(written_again, 0, "written more than once");
    let about = "the records cannot be compared";
    let said = process.warnings();
    let said = said
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with(about)));
    let said = said.count();
    assert_eq!(said, 1, "{:#?}", process.warnings());
    let verdict =
        Verdict { acknowledged: ALERTS, found: ALERTS, lost: Vec::new(), doubled: Vec::new() };
    let how = "SIGKILL to the node while it catches up";
    report::row("store killed, reconciler", how, 1, &verdict, "one warning");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    ground.remove(&[]).await.expect("nothing left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_the_api_leaves_out_because_its_index_is_red_is_not_over() {
    let store = store!(alerting);
    if std::env::var("ALERTLOOP_TEST_NODE_SH").is_err() {
        return skip("ALERTLOOP_TEST_NODE_SH names no script, so the node is not ours");
    }
    store.make_template().await;
    let balancer = Balancer::start().await;
    let channel = Channel::to(&store, balancer.url()).await;
    let monitor = Watched::make(&store, "faults: lost, red", &channel.id).await;
    monitor.run().await;
    monitor.alert("ACTIVE").await;
    let bench = Bench::start(&store, &store.client(), balancer.url());
    let waiting = || bench.spool.stats().expect("a spool that can be read").waiting;
    until("it is found", PATIENCE, async || waiting() == 1).await;
    // As the writer would.
    let alert = monitor.alert("ACTIVE").await;
    let start = jiff::Timestamp::from_millisecond(alert["start_time"].as_i64().expect("ms"));
    let start = format!("{:.3}", start.expect("a time"));
    let open = json!({
        "firstPacket": start, "lastPacket": start, "tags": ["reconciled"],
        "rule": {"name": "faults: lost, red", "id": monitor.id},
        "event": {"id": alert["id"], "dataset": "alerting", "provider": "malcolm",
            "action": "engaged", "start": start, "end": start, "sequence": alert["start_time"],
            "reason": "Malcolm API Loopback Trigger", "ingested": start, "severity": 40}});
    let day: String = start[2..10].split('-').collect();
    let id = alert["id"].as_str().expect("an id");
    let path = format!("{}/_doc/{day}-{id}?refresh=true", store.index(&day));
    store.json(Method::Put, &path, open).await.expect("a record");

    let alerts = ground::ACTIVE;
    // Primaries of an index that is opened wait for ever; other ways are overruled for an only copy.
    let recoveries = async |at_once: Value| {
        let name = "cluster.routing.allocation.node_initial_primaries_recoveries";
        let setting = json!({"transient": {name: at_once}});
        store.json(Method::Put, "_cluster/settings", setting).await.expect("the setting");
        store.json(Method::Post, "_cluster/reroute", Value::Null).await.expect("an allocation");
    };
    recoveries(json!(0)).await;
    for path in [format!("{alerts}/_close"), format!("{alerts}/_open?wait_for_active_shards=0")] {
        store.json(Method::Post, &path, Value::Null).await.expect("a red index");
    }
    let health = store.json(Method::Get, "_cluster/health", Value::Null).await.expect("health");
    assert_eq!(health["status"], "red");
    assert_eq!(monitor.alerts().await, Vec::<Value>::new(), "it leaves them out and says nothing");
    // A monitor more has everything compared.
    let another = Watched::make(&store, "faults: lost, another", &channel.id).await;
    for _ in 0..3 {
        bench.looked_or_failed().await;
    }
    let found = waiting();
    recoveries(Value::Null).await;
    assert_eq!(found, 1, "something was found to be over");
    let health = "_cluster/health?wait_for_status=yellow&timeout=30s";
    store.json(Method::Get, health, Value::Null).await.expect("health");
    monitor.alert("ACTIVE").await;
    let is_well = async || bench.detail()["trouble"].is_null();
    until("it is well again", PATIENCE, is_well).await;
    bench.looked().await;
    assert_eq!(waiting(), 1);
    bench.stop(&store).await;
    another.remove().await;
    monitor.remove().await;
    channel.remove().await;
}

/// How many records there are; 0 while the store cannot tell.
async fn count(store: &Store) -> usize {
    crate::ledger::count(store).await
}
