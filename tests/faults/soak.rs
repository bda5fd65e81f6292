//! Everything at once, for long: a fault every few seconds, under a steady load.

use std::time::{Duration, Instant};

use opensearch::http::Method;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use crate::{
    effort,
    ledger::Ledger,
    report,
    scene::{PATIENCE, serve, settings_with, wait_for},
    store,
    support::{Mood, Proxy, Reluctant, Store},
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Restart,
    Store(Mood),
    Block,
    Cut,
}

const FAULTS: [Fault; 9] = [
    Fault::Kill,
    Fault::Restart,
    Fault::Store(Mood::Status(429)),
    Fault::Store(Mood::Status(503)),
    Fault::Store(Mood::Silent),
    Fault::Store(Mood::CutAnswer(300)),
    Fault::Store(Mood::Items { chance: 0.2, status: 429 }),
    Fault::Block,
    Fault::Cut,
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_one_thing_after_the_other_breaks() {
    let store = store!();
    let long = effort::minutes().is_some();
    let (rate, every) = if long { (500.0, 10) } else { (200.0, 4) };
    let every = Duration::from_secs(every);
    let reluctant = Reluctant::start(&store, rand::random()).await;
    let proxy = Proxy::before(&reluctant.url()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings_with(&store, &dir, &[("OPENSEARCH_URL", &proxy.url())]);
    store.make_template().await;
    let mut process = serve(&settings);
    let ledger = Ledger::new(&[process.url("")]);
    let flood = ledger.flood(16, Some(rate));
    ledger.acknowledges(100).await;
    let (end, mut beat) =
        (Instant::now() + effort::span(Duration::from_secs(20), 0.5), tokio::time::interval(every));
    let (mut faults, mut times) = (FAULTS, 0);
    while Instant::now() < end {
        beat.tick().await;
        // Each once before any comes again.
        let place = times % FAULTS.len();
        if place == 0 {
            faults.shuffle(&mut rand::rng());
        }
        let fault = faults[place];
        times += 1;
        println!("{fault:?}");
        match fault {
            Fault::Kill => {
                process.kill();
                process = serve(&settings);
                ledger.redirect(&[process.url("")]);
            }
            Fault::Restart => {
                process.signal("TERM");
                let ended = tokio::task::block_in_place(|| process.wait());
                assert_eq!(ended.code(), Some(0));
                process = serve(&settings);
                ledger.redirect(&[process.url("")]);
            }
            Fault::Store(mood) => {
                reluctant.set(mood);
                tokio::time::sleep(every.mul_f64(0.6).min(Duration::from_secs(3))).await;
                reluctant.set(Mood::Honest);
            }
            Fault::Block => {
                block(&store, json!(true)).await;
                tokio::time::sleep(Duration::from_secs(2)).await;
                block(&store, Value::Null).await;
            }
            Fault::Cut => {
                proxy.cut();
                tokio::time::sleep(Duration::from_secs(1)).await;
                proxy.mend();
            }
        }
    }
    flood.end().await;
    // Only a sender to a process that is not there gets no answer.
    let answers = ledger.answers();
    assert!(
        answers.keys().all(|status| *status == 0 || (200..300).contains(status)),
        "{answers:?}"
    );
    wait_for(&process, |status| status["spool"]["waiting"] == 0).await;
    let verdict = ledger.settle(&store, PATIENCE).await;
    verdict.must_hold();
    let (tail, memory) = (ledger.per_mille(999).as_millis(), process.memory_peak() >> 20);
    let notes = format!("p99.9 of the answers {tail} ms; at most {memory} MiB of memory");
    let how = "kills, restarts, a reluctant store, blocks, cuts";
    report::row("everything in turn", how, times as u64, &verdict, &notes);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

async fn block(store: &Store, value: Value) {
    let path = format!("{}/_settings?allow_no_indices=true", store.pattern());
    let block = json!({"index.blocks.read_only_allow_delete": value});
    store.json(Method::Put, &path, block).await.expect("other settings");
}
