//! The process is killed, at any moment.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    effort,
    ledger::Ledger,
    report, store,
    support::{Process, settings},
    waiting::drained,
};

/// How long a process may live under load.
const LIFE: Duration = Duration::from_millis(150);
const CONNECTIONS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_and_doubles_nothing() {
    let store = store!();
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(&store, dir.path());
    store.make_template().await;
    let rounds = effort::times(20, 1_000);
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let process = Process::serve(&settings);
    let ledger = Ledger::new(&[process.url("")]);
    process.kill();
    let flood = ledger.flood(CONNECTIONS, None);
    let mut early = 0;
    for _ in 0..rounds {
        let begun = Instant::now();
        let process = Process::serve(&settings);
        let start = begun.elapsed();
        ledger.redirect(&[process.url("")]);
        tokio::time::sleep(random.random_range(Duration::ZERO..LIFE)).await;
        process.kill();
        if random.random_bool(0.3) {
            // And one that is killed at any moment of its start, while it reads what is left.
            let mut command = Process::command(&settings, &["serve"]);
            let mut child = command.stderr(Stdio::null()).spawn().expect("a process");
            tokio::time::sleep(random.random_range(Duration::ZERO..start)).await;
            child.kill().expect("a kill");
            child.wait().expect("an end");
            early += 1;
        }
    }
    let last = Process::serve(&settings);
    ledger.redirect(&[last.url("")]);
    flood.end().await;
    let patience = Duration::from_mins(1) + LIFE * rounds;
    assert!(drained(&last, patience).await, "the last one stays");
    let verdict = ledger.settle(&store, patience).await;
    let notes = format!("{early} of the kills at the start, while it read what was left");
    let kills = u64::from(rounds + early);
    report::row("Process killed", "`kill -9` under load", kills, &verdict, &notes);
    verdict.must_hold();
    last.signal("TERM");
    assert_eq!(last.wait().code(), Some(0));
}
