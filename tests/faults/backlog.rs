//! The store is away for so long that a great many alerts wait; then it comes back.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use opensearch::http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    effort,
    http::Connection,
    ledger::{Ledger, alert},
    order, report,
    scene::{serve, settings_with, wait_for, wait_within},
    store,
    support::{Process, Proxy, Store, TOKEN},
};

const CONNECTIONS: u32 = 16;
/// What the process may have in memory, however much waits.
const MEMORY: u64 = 100_000_000;
/// Records in a request, when the store's own pace is measured.
const BULK: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_great_many_alerts_wait_for_the_store() {
    let store = store!();
    let (proxy, count) = (Proxy::start(&store).await, effort::times(20_000, 1_000_000));
    let dir = tempfile::tempdir().expect("a directory");
    store.make_template().await;
    let process = serve(&settings_with(&store, &dir, &[("OPENSEARCH_URL", &proxy.url())]));
    wait_for(&process, |status| status["store"]["takes_alerts"] == true).await;
    proxy.cut();
    let ledger = Ledger::new(&[process.url("")]);

    let begun = Instant::now();
    send_all(&ledger, &process, count.into()).await;
    let taking = begun.elapsed();
    ledger.all_were_acknowledged();
    assert_eq!(ledger.acknowledged(), count as usize);
    wait_for(&process, |status| status["spool"]["waiting"] == count).await;
    let full = size(dir.path());

    let begun = Instant::now();
    proxy.mend();
    // The store is left alone meanwhile: to count would cost it as much as to index.
    wait_within(&process, Duration::from_mins(1) + Duration::from_millis(1) * count, |status| {
        status["spool"]["waiting"] == 0
    })
    .await;
    let draining = begun.elapsed();
    let verdict = ledger.settle(&store, Duration::from_mins(1)).await;
    verdict.must_hold();
    let (far, _) = order::displacement(&store, &store.index("261106")).await;
    let memory = process.memory_peak();
    let pace = |count: u32, took: Duration| f64::from(count) / took.as_secs_f64();
    let own = pace(count, raw(&store, count as usize).await);
    let (taken, drained) = (pace(count, taking), pace(count, draining));
    let emptied = shrunk(dir.path(), full / 10).await;
    let notes = format!(
        "taken at {taken:.0}/s, p99.9 {} ms; drained at {drained:.0}/s, {:.2} of the store's own \
         {own:.0}/s, none further than {far} from its place; {} MB of memory; spool of {} kB, {} kB afterwards",
        ledger.per_mille(999).as_millis(),
        drained / own,
        memory / 1_000_000,
        full / 1_000,
        emptied / 1_000,
    );
    report::row("store away for long", "connections refused", 1, &verdict, &notes);
    assert!(memory < MEMORY, "{memory} bytes of memory");
    assert!(emptied < full / 10, "the spool's file takes {emptied} bytes, of {full} when full");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

/// Sends so many alerts, each for itself, as fast as they are answered.
async fn send_all(ledger: &Arc<Ledger>, process: &Process, count: u64) {
    let url: reqwest::Url = process.url("").parse().expect("a URL");
    let address = url.socket_addrs(|| None).expect("an address")[0];
    let (next, mut senders) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let (ledger, next) = (Arc::clone(ledger), Arc::clone(&next));
        senders.spawn(async move {
            let mut connection = Connection::new(address);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let id = format!("n{number}");
                let body = alert(&id);
                let request = format!(
                    "POST /mapi/alert HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\
                     X-Alertloop-Token: {TOKEN}\r\nPrefer: respond-async\r\n\r\n{body}",
                    body.len()
                );
                let begun = Instant::now();
                let status = connection.exchange(request.as_bytes()).await.unwrap_or_default();
                ledger.note(&id, status, begun.elapsed());
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.expect("no panic");
    }
}

/// How long the store takes for so many of the same records, two requests at once, as the writer
/// sends them: this is as fast as a drain could be.
pub async fn raw(store: &Store, count: usize) -> Duration {
    let any = format!("{}/_search?size=1", store.pattern());
    let any = store.json(Method::Get, &any, Value::Null).await.expect("a record");
    let record = any["hits"]["hits"][0]["_source"].to_string();
    let index = store.index("raw");
    let client = store.client();
    let requests = (0..count).step_by(BULK).map(|first| {
        let mut body = String::new();
        for number in first..count.min(first + BULK) {
            let target = json!({"create": {"_index": index, "_id": format!("261106-r{number}")}});
            writeln!(body, "{target}\n{record}").expect("a text");
        }
        client.send_ndjson("_bulk", body.into())
    });
    let begun = Instant::now();
    let mut sent = futures_util::stream::iter(requests).buffer_unordered(2);
    while let Some(answer) = sent.try_next().await.expect("an answer") {
        assert!(
            answer.windows(14).any(|part| part == b"\"errors\":false"),
            "raw records are refused"
        );
    }
    let took = begun.elapsed();
    store.json(Method::Delete, &index, Value::Null).await.expect("a removal");
    took
}

/// How many bytes the spool's file takes.
fn size(dir: &Path) -> u64 {
    dir.join("spool.db").metadata().map_or(0, |file| file.len())
}

/// Waits until the spool's file takes less than this; gives what it takes.
async fn shrunk(dir: &Path, enough: u64) -> u64 {
    let begun = Instant::now();
    while size(dir) >= enough && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    size(dir)
}
