//! A queue in Redis, while alertloop and Redis are killed. What Redis confirmed to the one who
//! pushed is what must be in the index, once.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opensearch::http::Method;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    effort,
    ledger::{self, Verdict},
    redis, report,
    scene::{serve, settings_with, wait_within},
    store,
    support::{Process, Redis, Store},
};

const QUEUE: &str = "ntopng.alert_process_queue";
/// How many items are pushed by one command.
const PUSHED: u32 = 100;
/// How much later than planned a kill may come.
const LATER: Duration = Duration::from_millis(300);
/// How long an alert may take on the average: the store is the limit, and may have others to serve.
const SLOWEST: Duration = Duration::from_millis(5);
/// How far who pushes may be ahead of who takes, so that both are killed at work.
const AHEAD: u64 = 50_000;

/// A stored alert of the seed's form, or as ntopng 3.8 itself pushes it; each has a number of its
/// own, and they are spread over an hour of 2026-11-06.
fn alert(number: u32) -> String {
    let at = 1_793_944_800 + number % 3_600;
    if number.is_multiple_of(2) {
        json!({
            "ifid": 0, "entity_type": 5, "entity_value": "4a:00:06:a0:7c:51", "type": 17,
            "severity": 1, "tstamp": at, "action": "store",
            "message": format!("n{number} changed <a href=\"/lua/mac_details.lua\">its address</a>"),
        })
    } else {
        json!({
            "ifid": 0, "entity_type": 4, "entity_value": "flow", "type": 7, "severity": 2,
            "message": format!("n{number} scans"), "tstamp": at, "action": "store",
            "origin": "10.0.0.1", "target": "10.0.0.2",
            "flow": {
                "cli_port": 1, "srv_port": 2, "cli_blacklisted": 0, "srv_blacklisted": 1,
                "vlan_id": 0, "proto": 6, "flow_status": 13, "l7_proto": 7,
                "cli_addr": "10.0.0.1", "srv_addr": "10.0.0.2",
            },
        })
    }
    .to_string()
}

/// Who pushes: every number, again until it is confirmed.
struct Pusher {
    socket: std::path::PathBuf,
    confirmed: AtomicU64,
    /// Pushes that were not confirmed, though they may have been done.
    again: AtomicU64,
    taken: AtomicU64,
    stop: AtomicBool,
}

impl Pusher {
    /// Pushes numbers `0..count`.
    fn push(&self, count: u32) {
        let mut connection = None;
        for first in (0..count).step_by(PUSHED as usize) {
            let last = count.min(first + PUSHED);
            let items: Vec<_> = (first..last).map(alert).collect();
            while !self.stop.load(Ordering::Relaxed) {
                let ahead = u64::from(first).saturating_sub(self.taken.load(Ordering::Relaxed));
                if ahead < AHEAD && self.confirms(&mut connection, &items) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            self.confirmed.store(last.into(), Ordering::Relaxed);
        }
    }

    fn confirms(&self, to: &mut Option<::redis::Connection>, items: &[String]) -> bool {
        if to.is_none() {
            let url = format!("unix://{}", self.socket.display());
            *to = ::redis::Client::open(url).ok().and_then(|client| client.get_connection().ok());
        }
        let Some(connection) = to else { return false };
        let pushed = ::redis::cmd("RPUSH").arg(QUEUE).arg(items).query::<u64>(connection);
        if pushed.is_err() {
            *to = None;
            self.again.fetch_add(1, Ordering::Relaxed);
        }
        pushed.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_many_alerts_while_both_sides_are_killed() {
    let (store, redis) = (store!(), redis!());
    let (count, kills) = (effort::times(20_000, 1_000_000), effort::times(6, 60));
    let dir = tempfile::tempdir().expect("a directory");
    store.make_template().await;
    let settings = settings_with(&store, &dir, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]);
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let pusher = Arc::new(Pusher {
        socket: redis.socket(),
        confirmed: AtomicU64::new(0),
        again: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let at_work = Arc::clone(&pusher);
    let pushing = std::thread::spawn(move || at_work.push(count));
    let redis = Arc::new(Mutex::new(redis));

    let (mut killed, begun) = ((0, 0), Instant::now());
    let mut process = serve(&settings);
    for turn in 0..kills {
        // As far into the work as the turn is into the kills.
        let share = u64::from(count) * u64::from(turn) / u64::from(kills);
        while pusher.confirmed.load(Ordering::Relaxed) < share {
            pusher.taken.store(taken(&store).await, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(random.random_range(Duration::ZERO..LATER)).await;
        if turn % 2 == 0 {
            process.kill();
            process = serve(&settings);
            killed.0 += 1;
        } else {
            let redis = Arc::clone(&redis);
            let again = tokio::task::spawn_blocking(move || {
                let mut redis = redis.lock().unwrap_or_else(PoisonError::into_inner);
                redis.kill();
                redis.start_again();
            });
            again.await.expect("Redis starts again");
            killed.1 += 1;
        }
    }
    let patience = Duration::from_mins(2) + SLOWEST * count;
    while !pushing.is_finished() {
        pusher.taken.store(taken(&store).await, Ordering::Relaxed);
        tokio::time::sleep(LATER).await;
        assert!(begun.elapsed() < patience, "not all is pushed");
    }
    pushing.join().expect("no panic");
    emptied(&process, patience).await;
    let took = begun.elapsed();
    let verdict = verdict(&store, count).await;
    let pace = f64::from(count) / took.as_secs_f64();
    let notes = format!(
        "{} kills of alertloop, {} of Redis; {} pushes not confirmed and done again; {pace:.0}/s \
         from the push to the index, kills included",
        killed.0,
        killed.1,
        pusher.again.load(Ordering::Relaxed),
    );
    report::row("Queue in Redis", "`kill -9` of both sides", kills.into(), &verdict, &notes);
    verdict.must_hold();
    nothing_is_left(&redis.lock().unwrap_or_else(PoisonError::into_inner));
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_taken_at_the_pace_of_the_store() {
    let (store, redis) = (store!(), redis!());
    let count = effort::times(20_000, 500_000);
    let dir = tempfile::tempdir().expect("a directory");
    store.make_template().await;
    let settings = settings_with(&store, &dir, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]);
    // One push of much, so that Redis syncs seldom: it is not what is measured.
    for first in (0..count).step_by(1_000) {
        let items: Vec<_> = (first..count.min(first + 1_000)).map(alert).collect();
        redis.push(QUEUE, &items);
    }
    let begun = Instant::now();
    let process = serve(&settings);
    let patience = Duration::from_mins(2) + SLOWEST * count;
    wait_within(&process, patience, |status| status["queues"][0]["taken"] == count).await;
    let taking = begun.elapsed();
    emptied(&process, patience).await;
    let storing = begun.elapsed();
    let verdict = verdict(&store, count).await;
    let memory = process.memory_peak();
    let own = crate::backlog::raw(&store, count as usize).await;
    let pace = |took: Duration| f64::from(count) / took.as_secs_f64();
    let notes = format!(
        "durable at {:.0}/s, stored at {:.0}/s, {:.2} of raw `_bulk` ({:.0}/s); {} MB of memory",
        pace(taking),
        pace(storing),
        own.as_secs_f64() / storing.as_secs_f64(),
        pace(own),
        memory / 1_000_000,
    );
    report::row("Queue in Redis", "nothing; the pace", 0, &verdict, &notes);
    verdict.must_hold();
    nothing_is_left(&redis);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

/// How many records there are, as of the last refresh.
async fn taken(store: &Store) -> u64 {
    let path = format!("{}/_count?ignore_unavailable=true&allow_no_indices=true", store.pattern());
    let count = store.json(Method::Get, &path, Value::Null).await;
    count.ok().and_then(|count| count["count"].as_u64()).unwrap_or_default()
}

/// Waits until nothing is in the queue, and nothing waits in the spool.
async fn emptied(process: &Process, patience: Duration) {
    wait_within(process, patience, |status| {
        let queue = &status["queues"][0];
        queue["connected"] == true
            && queue["length"] == 0
            && status["spool"]["waiting"] == 0
            && status["spool"]["dead_letters"] == 0
    })
    .await;
}

fn nothing_is_left(redis: &Redis) {
    let mut keys = redis.keys("*");
    keys.retain(|key| !key.ends_with(":takers") && !key.contains(":alive:"));
    assert!(keys.is_empty(), "{keys:?}");
}

/// Compares what was pushed with what the index holds, one by one.
async fn verdict(store: &Store, count: u32) -> Verdict {
    ledger::count(store).await; // refreshes
    let pushed: BTreeSet<_> = (0..count).map(|number| format!("n{number}")).collect();
    let number = |record: &Value| {
        let message = record["message"].as_str().unwrap_or_default();
        message.split_whitespace().next().unwrap_or_default().to_owned()
    };
    Verdict::of(&pushed, ledger::all(store, "message", number).await)
}
