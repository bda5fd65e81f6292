//! How fast messages find their happening where none tells which it is about: `cargo bench --bench
//! series`, against the OpenSearch of `ALERTLOOP_TEST_OPENSEARCH` (`tests/opensearch/node.sh up`).
//!
//! The baseline is the same records written raw by `_bulk`: without the documents of the series, and
//! each once.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::time::{Duration, Instant};

use alertloop::{
    alert::{Alert, Named, Phase, Source},
    opensearch::{
        self, Client,
        bulk::{self, Action},
    },
    record::{Naming, Receipt, Record, fields::FieldSet, index_name::IndexName},
    series::REPLACE_SCRIPT,
    writer::lives::{INDEX, Lives},
};
use jiff::Timestamp;
use serde_json::json;

const MESSAGES: i64 = 20_000;
/// As many as the writer takes at once.
const BATCH: usize = 1_000;
const NOON: i64 = 1_793_966_400;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let url = std::env::var("ALERTLOOP_TEST_OPENSEARCH");
    let url = url.expect("ALERTLOOP_TEST_OPENSEARCH: tests/opensearch/node.sh up prints it");
    let settings = opensearch::Settings {
        url: url.parse().expect("an address"),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(30),
        monitors: alertloop::opensearch::engine::Settings::default(),
    };
    let client = Client::new(&settings).expect("a client");
    for series in [200, 10_000] {
        let pattern = format!("bench{:08x}-*", rand::random::<u32>());
        let (ours, records) = live(&client, &pattern, series).await;
        let raw = raw(&client, &pattern, &records).await;
        clean(&client, &pattern).await;
        let rate = |count: f64, took: Duration| count / took.as_secs_f64();
        let messages = f64::from(i32::try_from(MESSAGES).expect("some"));
        let written = f64::from(u32::try_from(records.len()).expect("some"));
        println!(
            "{MESSAGES} messages of {series} series: {:.0}/s; {} records, raw `_bulk` {:.0}/s; ratio {:.2}",
            rate(messages, ours),
            records.len(),
            rate(written, raw),
            rate(messages, ours) / rate(written, raw),
        );
    }
}

/// Every seventh message releases.
fn alert(number: i64, series: i64) -> Alert {
    Alert {
        series: Some(format!("host {} flood", number % series)),
        rule: Named { id: None, name: Some("flow_flood".to_owned()) },
        phase: if number % 7 == 0 { Phase::Released } else { Phase::Engaged },
        as_of: Timestamp::from_second(NOON + number).ok(),
        tags: vec![format!("host:host-{}", number % series).into()],
        ..Alert::of(Source::Ntopng)
    }
}

/// Writes the messages as the writer does; how long that took, and the records.
async fn live(client: &Client, pattern: &str, series: i64) -> (Duration, Vec<Record>) {
    let index = IndexName::new(pattern, "%{%y%m%d}").expect("a name");
    let naming = Naming { index, time_field: "firstPacket".to_owned() };
    let known = FieldSet::everything();
    let mut lives = Lives::new(client.clone(), pattern);
    let mut all = std::collections::HashMap::new();
    let begin = Instant::now();
    let numbers: Vec<i64> = (0..MESSAGES).collect();
    for batch in numbers.chunks(BATCH) {
        let batch: Vec<_> = batch
            .iter()
            .enumerate()
            .map(|(work, &number)| {
                let hash = number.to_string();
                let received = Timestamp::from_second(NOON + MESSAGES).expect("a time");
                let receipt = Receipt { received, hash: &hash };
                let alert = alert(number, series);
                let mut waiting = lives.waiting(&alert, receipt, &naming, &known).remove(0);
                waiting.work = work;
                waiting
            })
            .collect();
        let told = lives.live(&batch, &naming).await.expect("an answer");
        assert!(told.waiting.is_empty(), "{:?}", told.reason);
        let mut body = Vec::new();
        for (record, _) in &told.records {
            let action = Action::Script(REPLACE_SCRIPT);
            bulk::push(&mut body, action, &record.index, &record.id, &record.document);
        }
        send(client, body, told.records.len()).await;
        all.extend(told.records.into_iter().map(|(record, _)| (record.id.clone(), record)));
    }
    (begin.elapsed(), all.into_values().collect())
}

/// How long the same records take without any of it.
async fn raw(client: &Client, pattern: &str, records: &[Record]) -> Duration {
    let index = pattern.replace('*', "raw");
    let begin = Instant::now();
    for batch in records.chunks(BATCH) {
        let mut body = Vec::new();
        for record in batch {
            bulk::push(&mut body, Action::Create, &index, &record.id, &record.document);
        }
        send(client, body, batch.len()).await;
    }
    begin.elapsed()
}

async fn send(client: &Client, body: Vec<u8>, count: usize) {
    let items = client.bulk(body.into(), count).await.expect("an answer");
    assert!(items.iter().all(|item| item.status < 300), "the store refuses some");
}

async fn clean(client: &Client, pattern: &str) {
    let delete = ::opensearch::http::Method::Delete;
    let path = format!("/{}*", pattern.trim_end_matches('*'));
    client.call(delete, &path, None).await.ok();
    let query = json!({ "query": { "term": { "index_pattern": pattern } } });
    let path = format!("/{INDEX}/_delete_by_query?refresh=true&conflicts=proceed");
    client.call(::opensearch::http::Method::Post, &path, Some(&query)).await.ok();
}
