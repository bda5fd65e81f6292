//! Callbacks while things break: the process is killed, and the others hang, fail and flood.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::{
    effort,
    ledger::{Ledger, alert},
    store,
    support::{Answer, Process, Receiver, Store, TOKEN, settings},
    waiting::{drained, until},
};

/// How long a process may live under load.
const LIFE: Duration = Duration::from_millis(400);
/// How soon a callback is served beside others that do not work.
const SOON: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(2);

/// Settings with these callbacks.
fn settings_with(store: &Store, dir: &Path, callbacks: &str) -> HashMap<String, String> {
    let file = dir.join("alertloop.toml");
    fs::write(&file, callbacks).expect("a file");
    let mut settings = settings(store, &dir.join("data"));
    settings.insert("ALERTLOOP_CONFIG".to_owned(), file.to_str().expect("UTF-8").to_owned());
    settings
}

fn hook(receiver: &Receiver, name: &str) -> String {
    format!("[[callback]]\nname = '{name}'\ntype = 'http'\nurl = '{}'\n", receiver.url(name))
}

async fn get(process: &Process, path: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = Answer::of(client.get(process.url(path))).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.json);
    answer.json
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_an_alert_and_its_callbacks_loses_no_callback() {
    let store = store!();
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let callbacks = hook(&receiver, "one") + &hook(&receiver, "two");
    let settings = settings_with(&store, dir.path(), &callbacks);
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let process = Process::serve(&settings);
    let ledger = Ledger::new(&[process.url("")]);
    let flood = ledger.flood(4, Some(100.0));
    process.kill();
    for _ in 0..effort::times(8, 200) {
        let process = tokio::task::block_in_place(|| Process::serve(&settings));
        ledger.redirect(&[process.url("")]);
        tokio::time::sleep(random.random_range(Duration::ZERO..LIFE)).await;
        process.kill();
    }
    let last = tokio::task::block_in_place(|| Process::serve(&settings));
    ledger.redirect(&[last.url("")]);
    flood.end().await;
    assert!(drained(&last, PATIENCE).await, "the last one stays");
    until("every callback has run", PATIENCE, async || {
        get(&last, "/readyz").await["callbacks"]["pending"] == 0
    })
    .await;
    ledger.settle(&store, PATIENCE).await.must_hold();

    // What was acknowledged was called back, by each of both, and history says so.
    let mut history: BTreeMap<String, u64> = BTreeMap::new();
    let mut before = i64::MAX;
    loop {
        let page = get(&last, &format!("/mapi/deliveries?before={before}")).await;
        for one in page["items"].as_array().expect("items") {
            assert_eq!(one["state"], "delivered", "{one}");
            let of = format!("{}/{}", one["callback"], one["alert"]);
            assert!(history.insert(of, one["attempts"].as_u64().expect("a number")).is_none());
        }
        match page["next"].as_i64() {
            Some(next) => before = next,
            None => break,
        }
    }
    for name in ["one", "two"] {
        let mut came: BTreeMap<String, u64> = BTreeMap::new();
        for one in receiver.received(name) {
            *came.entry(one.json()["event"]["id"].to_string()).or_default() += 1;
        }
        let sent = ledger.acknowledged();
        assert!(came.len() >= sent, "{name}: {} of {sent} alerts were called back", came.len());
        for (alert, times) in &came {
            let tries = history.get(&format!("\"{name}\"/{alert}")).copied().unwrap_or(0);
            assert!(tries >= *times, "{name} {alert}: {times} requests, {tries} tries in history");
        }
        println!("{name}: {} alerts in {} requests", came.len(), came.values().sum::<u64>());
    }
    last.signal("TERM");
    assert_eq!(last.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_fails_or_floods_holds_up_no_other_callback() {
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let flood = dir.path().join("flood");
    fs::write(&flood, "#!/bin/sh\nhead -c 1000000000 /dev/zero\n").expect("a file");
    fs::set_permissions(&flood, fs::Permissions::from_mode(0o755)).expect("a mode");
    let callbacks = hook(&receiver, "good")
        + &hook(&receiver, "hangs")
        + "timeout = '1h'\n"
        + &hook(&receiver, "fails")
        + &format!(
            "[[callback]]\nname = 'floods'\ntype = 'script'\nprogram = '{}'\nat_once = 1\n",
            flood.display()
        );
    receiver.answer("hangs", 0);
    receiver.answer("fails", 500);
    let process = Process::serve(&settings_with(&Store::away(), dir.path(), &callbacks));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut slowest = Duration::ZERO;
    for number in 0..30_usize {
        let begun = Instant::now();
        let request = client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
        let request = request.header("prefer", "respond-async").body(alert(&format!("n{number}")));
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), 202);
        let came = receiver.wait_for("good", number + 1).await;
        slowest = slowest.max(came[number].at - begun);
    }
    let peak = process.memory_peak() >> 20;
    println!("served after {slowest:?} at most, {peak} MiB at most");
    assert!(slowest < SOON, "{slowest:?}");
    until("the flood is over", PATIENCE, async || {
        let page = get(&process, "/mapi/deliveries?callback=floods&state=delivered").await;
        page["items"].as_array().is_some_and(|items| !items.is_empty())
    })
    .await;
    let page = get(&process, "/mapi/deliveries?callback=floods&state=delivered").await;
    let id = &page["items"][0]["id"];
    let told = get(&process, &format!("/mapi/deliveries/{id}")).await;
    let answer = told["runs"][0]["answer"].as_str().expect("an answer").to_owned();
    assert!(answer.ends_with("and 999997952 bytes more") && answer.len() < 20_000, "{answer}");
    let peak = process.memory_peak() >> 20;
    // A debug build, with its symbols read for nothing.
    assert!(peak < 100, "{peak} MiB");
    let hanging = get(&process, "/mapi/deliveries?callback=hangs&state=running").await;
    assert_eq!(hanging["items"].as_array().map(Vec::len), Some(4), "no more than at once");
    // It ends in time all the same, and begins where it was.
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}
