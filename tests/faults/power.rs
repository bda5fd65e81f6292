//! The power fails, at every point at which something is written.
//!
//! A scenario is run once to count its operations on the disk, then once for each of them (in the
//! short form for some), with a power cut there. Afterwards the spool must open, be whole, and
//! hold what was acknowledged, unless that is in the index.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use alertloop::spool::{Filter, Spool};
use futures_util::future::join_all;
use rusqlite::Connection;

use crate::{
    effort,
    faulty_disk::{FaultyDisk, Unsynced},
    ledger::{Ledger, Verdict, alert},
    report, store,
    support::{Process, Store, settings},
    waiting::drained,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The limit of a body, besides the padding.
const BODY_LIMIT: usize = 64 << 10;
/// What is kept of a body over the limit.
const HEAD: usize = 4 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_while_the_store_is_away() {
    let store = Store::away();
    let scenario = Scenario { name: "store away", alerts: 30, padding: 0, store, stores: false };
    scenario.cut_everywhere(effort::times(25, 400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_and_doubles_nothing_while_records_are_stored() {
    let store = store!();
    store.make_template().await;
    let scenario = Scenario { name: "records stored", alerts: 30, padding: 0, store, stores: true };
    scenario.cut_everywhere(effort::times(25, 400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_while_the_log_is_brought_into_the_file() {
    // More than the 4,000 pages after which SQLite does that by itself.
    let (padding, store) = (900_000, Store::away());
    let scenario = Scenario { name: "checkpoint", alerts: 20, padding, store, stores: false };
    scenario.cut_everywhere(effort::times(12, 60)).await;
}

/// What is done until the power fails.
struct Scenario {
    name: &'static str,
    /// Alerts that are sent one after another.
    alerts: u32,
    /// Bytes by which each is larger than it need be.
    padding: usize,
    store: Store,
    /// Whether the store takes records; else it is away.
    stores: bool,
}

/// The bodies, or their heads, that must be in the spool.
type Kept = BTreeSet<String>;

impl Scenario {
    /// Cuts the power at about so many of the operations, in each way.
    async fn cut_everywhere(&self, cuts: u32) {
        let operations = self.count_operations().await;
        let seed: u32 = rand::random();
        self.cut_each_way(operations, cuts / 2, None).await;
        self.cut_each_way(operations, cuts / 2, Some(seed)).await;
    }

    /// Runs without a fault.
    async fn count_operations(&self) -> u64 {
        let (disk, ledger) = (FaultyDisk::new(), Ledger::new(&[String::new()]));
        let kept = self.run(&disk.under(&self.settings(&disk)), &ledger, "whole").await;
        let verdict = self.check(&disk, &kept).await;
        assert!(verdict.lost.is_empty() && verdict.doubled.is_empty(), "{verdict}");
        disk.operations()
    }

    async fn cut_each_way(&self, operations: u64, cuts: u32, seed: Option<u32>) {
        let ledger = Ledger::new(&[String::new()]);
        let step = (operations / u64::from(cuts)).max(1);
        let mut sum = Verdict { acknowledged: 0, found: 0, lost: vec![], doubled: vec![] };
        let mut times = 0;
        let first = rand::random_range(1..=step);
        for at in (first..=operations).step_by(usize::try_from(step).expect("a step")) {
            let unsynced = seed.map_or(Unsynced::Lost, |seed| Unsynced::Torn(seed.into()));
            println!("{}: cut at {at} of {operations}, {unsynced:?}", self.name);
            let disk = FaultyDisk::new();
            let settings = disk.cut_at(at, unsynced, &self.settings(&disk));
            let kept = self.run(&settings, &ledger, &format!("c{at}")).await;
            disk.power_is_back();
            let verdict = self.check(&disk, &kept).await;
            assert!(verdict.lost.is_empty() && verdict.doubled.is_empty(), "{verdict}");
            sum.add(verdict);
            times += 1;
        }
        if self.stores {
            sum.add(ledger.settle(&self.store, PATIENCE).await);
        }
        let unsynced = if seed.is_some() { "torn and out of order" } else { "lost" };
        let how = format!("unsynced writes {unsynced}, at points spread over {operations}");
        report::row(&format!("Power cut, {}", self.name), &how, times, &sum, "");
        sum.must_hold();
    }

    fn settings(&self, disk: &FaultyDisk) -> HashMap<String, String> {
        let mut settings = settings(&self.store, &disk.data());
        let limit = BODY_LIMIT + self.padding;
        settings.insert("ALERTLOOP_BODY_LIMIT".to_owned(), limit.to_string());
        settings
    }

    /// Does it, until the power fails or the end; gives what the spool must hold. The ledger has
    /// what the store must hold.
    async fn run(&self, settings: &HashMap<String, String>, ledger: &Ledger, name: &str) -> Kept {
        let mut kept = Kept::new();
        for life in 0..2 {
            let process = match Process::try_serve(settings) {
                Ok(process) => process,
                Err((status, log)) => {
                    assert_eq!(status.code(), Some(137), "{log}");
                    return kept;
                }
            };
            ledger.redirect(&[process.url("")]);
            let is_whole = if life == 0 {
                self.first_life(&process, ledger, name, &mut kept).await
            } else {
                self.alerts(ledger, &format!("{name}second"), 5, &mut kept).await
            };
            if is_whole {
                process.signal("TERM"); // the log is brought into the file
            }
            let status = process.wait();
            if status.code() != Some(0) {
                assert_eq!(status.code(), Some(137));
                return kept;
            }
        }
        kept
    }

    /// Alerts alone and together, among them some that can never be stored.
    async fn first_life(
        &self,
        process: &Process,
        ledger: &Ledger,
        name: &str,
        kept: &mut Kept,
    ) -> bool {
        for part in 0..3 {
            let alerts = format!("{name}alone{part}n");
            if !self.alerts(ledger, &alerts, self.alerts / 3, kept).await {
                return false;
            }
            let no_json = format!("no JSON {part}");
            match ledger.post(no_json.clone()).await {
                0 => return false,
                status => assert_eq!(status, 202),
            }
            kept.insert(no_json);
            if self.padding == 0 {
                let too_large = part.to_string().repeat(BODY_LIMIT + 1);
                match ledger.post(too_large.clone()).await {
                    0 => return false,
                    status => assert_eq!(status, 413),
                }
                kept.insert(too_large[..HEAD].to_owned());
            }
        }
        let ids: Vec<_> = (0..8).map(|n| format!("{name}together{n}")).collect();
        let sent = join_all(ids.iter().map(|id| self.alert(ledger, id))).await;
        kept.extend(sent.iter().flatten().flatten().cloned());
        let is_whole = sent.iter().all(Option::is_some);
        // Where records are stored, the entries leave the spool again.
        is_whole && (!self.stores || drained(process, PATIENCE).await)
    }

    /// Sends alerts one after another; tells whether the power is still there.
    async fn alerts(&self, ledger: &Ledger, name: &str, count: u32, kept: &mut Kept) -> bool {
        for n in 0..count {
            let Some(sent) = self.alert(ledger, &format!("{name}{n}")).await else { return false };
            kept.extend(sent);
        }
        true
    }

    /// Sends an alert: `None` when the power is gone, else its body, if the spool must hold it.
    async fn alert(&self, ledger: &Ledger, id: &str) -> Option<Option<String>> {
        let body = alert(id) + &" ".repeat(self.padding);
        let status =
            if self.stores { ledger.send_as(id).await } else { ledger.post(body.clone()).await };
        assert!([0, 202].contains(&status), "{status}");
        (status == 202).then(|| (!self.stores).then_some(body))
    }

    /// Whether the spool is whole and holds what it must, and nothing twice.
    async fn check(&self, disk: &FaultyDisk, kept: &Kept) -> Verdict {
        if self.stores {
            let process = Process::serve(&self.settings(disk));
            assert!(drained(&process, PATIENCE).await, "it stays");
            process.signal("TERM");
            assert_eq!(process.wait().code(), Some(0));
        }
        let spool = Spool::open(&disk.data(), u64::MAX).unwrap_or_else(|fault| panic!("{fault}"));
        let bodies = bodies(&spool);
        spool.close().await;
        drop(spool);
        let file = Connection::open(disk.data().join("spool.db")).expect("a file");
        let integrity: String = file
            .pragma_query_value(None, "integrity_check", |row| row.get(0))
            .expect("a look at the file");
        assert_eq!(integrity, "ok");

        let mut found: BTreeMap<&str, u32> = BTreeMap::new();
        for body in &bodies {
            *found.entry(body).or_default() += 1;
        }
        let short = |body: &str| body.chars().take(100).collect::<String>();
        let lost = kept.iter().filter(|body| !found.contains_key(body.as_str()));
        let doubled = found.iter().filter(|(_, times)| **times > 1);
        Verdict {
            acknowledged: kept.len(),
            found: bodies.len(),
            lost: lost.map(|body| short(body)).collect(),
            doubled: doubled.map(|(body, _)| short(body)).collect(),
        }
    }
}

/// What the spool holds, entries and dead letters.
fn bodies(spool: &Spool) -> Vec<String> {
    let entries = spool.next_batch(0, usize::MAX, usize::MAX).expect("entries");
    let (mut letters, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = spool.dead_letters(&Filter::default(), (from, i64::MAX), usize::MAX);
        let page = page.expect("dead letters");
        letters.extend(page.letters);
        after = page.next;
    }
    let letters = letters
        .iter()
        .map(|letter| spool.dead_letter_body(letter.id).expect("read").expect("a dead letter"));
    let bodies = entries.into_iter().map(|entry| entry.envelope.body).chain(letters);
    bodies.map(|body| String::from_utf8(body).expect("UTF-8")).collect()
}
