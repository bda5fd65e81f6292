//! How fast the history answers what the page and the API ask, with a million records: `cargo bench
//! --bench history`, against the OpenSearch of `ALERTLOOP_TEST_OPENSEARCH`
//! (`ALERTLOOP_TEST_JIT=full tests/opensearch/node.sh up`). `-- --records N` takes another number.
//!
//! Nothing is shared or remembered on our side, and between two rounds a record is written to today's
//! index and is seen, as it is where alerts come in. The baseline is a raw search with the same filter:
//! as many hits, as they come, with neither order nor counts.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use ::opensearch::http::Method;
use alertloop::{
    engaged,
    history::{self, Filter, Question, Settings, Span, State, life},
    opensearch::{self, Client},
    record::index_name::{IndexName, day},
};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const RECORDS: u64 = 1_000_000;
const DAYS: i64 = 30;
const IN_A_REQUEST: u64 = 5_000;
const ROUNDS: usize = 40;
const RULES: u64 = 200;
/// Of so many one is engaged.
const ENGAGED: u64 = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

/// One question, and the filter that it has.
struct Asked {
    name: &'static str,
    what: What,
    filter: Filter,
}

enum What {
    Page(Option<String>),
    Overview(Span),
    One(String),
    Engaged,
}

async fn run() {
    let Ok(url) = std::env::var("ALERTLOOP_TEST_OPENSEARCH") else {
        println!("SKIPPED: ALERTLOOP_TEST_OPENSEARCH names no OpenSearch");
        return;
    };
    let mut arguments = std::env::args().skip_while(|one| one != "--records").skip(1);
    let records = arguments.next().map_or(RECORDS, |text| text.parse().expect("a number"));
    let client = Client::new(&opensearch::Settings {
        url: url.parse().expect("an address"),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_mins(2),
    });
    let client = client.expect("a client");
    let pattern = format!("bench{:08x}-*", rand::random::<u32>());
    let settings = Settings {
        pattern: pattern.clone(),
        index: IndexName::new(&pattern, "").expect("a name"),
        stale_after: Duration::from_hours(1),
        reconciles: true,
        asks_alerting: false,
    };
    let now = Timestamp::now();
    let begun = Instant::now();
    fill(&client, &settings, records, now).await;
    let took = begun.elapsed().as_secs_f64();
    println!("{records} records in {DAYS} daily indices, written in {took:.0} s\n");
    println!("| question | p50 | p95 | longest | raw search, p95 | ratio of p50 |");
    println!("|---|---|---|---|---|---|");
    for asked in questions(&client, &settings, records, now).await {
        measure(&client, &settings, &asked, now).await;
    }
    let list = format!("_cat/indices/{pattern}?h=index&format=json");
    let indices = client.call(Method::Get, &list, None).await.expect("indices");
    for index in indices.as_array().into_iter().flatten() {
        let name = index["index"].as_str().expect("a name");
        client.call(Method::Delete, name, None).await.expect("deleted");
    }
    let template = format!("_template/{}", pattern.trim_end_matches("-*"));
    client.call(Method::Delete, &template, None).await.expect("deleted");
}

fn random(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn record(number: u64, began: Timestamp) -> Value {
    let dice = random(number);
    let pick = |of: u64, shift: u32| (dice >> shift) % of;
    let provider = ["malcolm", "ntopng", "ntopng", "ntopng", "graylog", "alertmanager"]
        [usize::try_from(pick(6, 3)).expect("small")];
    let severity = [20, 40, 40, 60, 60, 60, 80, 100][usize::try_from(pick(8, 7)).expect("small")];
    let (host, peer) = (pick(2_000, 11), pick(250, 23));
    let host = format!("10.{}.{}.{}", host / 250, host % 250, 1 + peer / 50);
    let ended = format!(
        "{:.3}",
        began + SignedDuration::from_secs(i64::try_from(pick(3_600, 17)).expect("small"))
    );
    let (action, rule) = match pick(ENGAGED, 29) {
        0 => ("engaged", pick(RULES, 31)),
        one if one % 4 == 0 => ("stored", pick(RULES, 31)),
        _ => ("released", pick(RULES, 31)),
    };
    let began = format!("{began:.3}");
    json!({
        "firstPacket": began, "lastPacket": ended, "ecs": {"version": "1.6.0"},
        "event": {"kind": "alert", "dataset": "alerting", "module": "alerting", "provider": provider,
            "start": began, "end": ended, "ingested": began, "sequence": number, "action": action,
            "hash": format!("{dice:016x}"), "id": format!("k{number:012}"), "severity": severity,
            "risk_score": severity, "risk_score_norm": severity, "severity_tags": "Alert",
            "reason": format!("threshold {} of metric {}", pick(50, 37), pick(100, 41)),
            "url": "/dashboards/app/alerting#/dashboard"},
        "rule": {"id": format!("rule-{rule:04}"), "name": format!("Rule number {rule} of the bench")},
        "message": format!("host {host} crossed threshold {} on interface eth{}", pick(50, 37), pick(8, 43)),
        "tags": [format!("host:{host}"), format!("interface:eth{}", pick(8, 43))],
        "source": {"ip": host}, "related": {"ip": [host]} })
}

async fn fill(client: &Client, settings: &Settings, records: u64, now: Timestamp) {
    let shipped = include_str!("../provisioning/templates/alertloop_sessions.json");
    let mut template: Value = serde_json::from_str(shipped).expect("JSON");
    template["index_patterns"] = json!([settings.pattern]);
    template["settings"] = json!({"index": {"number_of_shards": 1, "number_of_replicas": 0}});
    let path = format!("_template/{}", settings.pattern.trim_end_matches("-*"));
    client.call(Method::Put, &path, Some(&template)).await.expect("a template");
    let step = SignedDuration::from_hours(24 * DAYS).as_millis() / i128::from(records);
    let step = i64::try_from(step.max(1)).expect("small");
    let mut from = 0;
    while from < records {
        let mut lines = String::new();
        for number in from..records.min(from + IN_A_REQUEST) {
            let ago = step * i64::try_from(records - number).expect("some");
            line(&mut lines, settings, number, now - SignedDuration::from_millis(ago));
        }
        let answer = client.send_ndjson("/_bulk", Bytes::from(lines)).await.expect("written");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["errors"], false, "{}", answer["items"][0]);
        from += IN_A_REQUEST;
    }
    let path = format!("/{}/_refresh", opensearch::segment(&settings.pattern));
    client.call(Method::Post, &path, None).await.expect("a refresh");
}

fn line(lines: &mut String, settings: &Settings, number: u64, began: Timestamp) {
    let index = settings.index.index(began, |_| None);
    let id = format!("{}-k{number:012}", day(began));
    let action = json!({"create": {"_index": index, "_id": id}});
    writeln!(lines, "{action}\n{}", record(number, began)).expect("a String");
}

async fn questions(
    client: &Client,
    settings: &Settings,
    records: u64,
    now: Timestamp,
) -> Vec<Asked> {
    let ago = |hours: i64| Some(now - SignedDuration::from_hours(hours));
    let span = |hours: u64| Span::last(Duration::from_hours(hours), now);
    let text = |text: &str| Some(text.to_owned());
    // Half of all are behind this page.
    let middle = Question {
        filter: Filter { to: ago(12 * DAYS), ..Filter::default() },
        after: None,
        limit: 100,
    };
    let middle = history::page(client, settings, &middle, now).await.expect("a page").next;
    let number = records / 2;
    let own = format!("k{number:012}");
    let body = json!({"query": {"term": {"event.id": own}}});
    let path = format!("/{}/_search", opensearch::segment(&settings.pattern));
    let found = client.call(Method::Post, &path, Some(&body)).await.expect("a search");
    let address = found["hits"]["hits"][0]["_id"].as_str().expect("there").to_owned();
    let rule = || text("rule-0007");
    let page = |name, filter| Asked { name, what: What::Page(None), filter };
    let all = Filter::default;
    vec![
        page("first page of all", all()),
        Asked { name: "a page in the middle of all", what: What::Page(middle), filter: all() },
        page("first page, last 24 h", Filter { from: ago(24), ..all() }),
        page("first page, engaged", Filter { states: vec![State::Engaged], ..all() }),
        page(
            "first page, severity 80, 7 days",
            Filter { severity: Some(80), from: ago(168), ..all() },
        ),
        page("first page, one rule", Filter { rule: rule(), ..all() }),
        page("first page, one host", Filter { entity: text("10.3.7.2"), ..all() }),
        page("first page, words", Filter { text: text("threshold 17"), ..all() }),
        page("first page, words that nothing has", Filter { text: text("zebra"), ..all() }),
        Asked { name: "overview, 24 h", what: What::Overview(span(24)), filter: all() },
        Asked { name: "overview, 7 days", what: What::Overview(span(168)), filter: all() },
        Asked { name: "overview, 30 days", what: What::Overview(span(720)), filter: all() },
        Asked {
            name: "overview, 30 days, one rule",
            what: What::Overview(span(720)),
            filter: Filter { rule: rule(), ..all() },
        },
        Asked { name: "one, by the `_id` of its record", what: What::One(address), filter: all() },
        Asked { name: "one, by its own id", what: What::One(own), filter: all() },
        Asked { name: "what is engaged now", what: What::Engaged, filter: all() },
    ]
}

async fn measure(client: &Client, settings: &Settings, asked: &Asked, now: Timestamp) {
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    // The first rounds warm the store up and are not counted.
    for round in 0..ROUNDS + 5 {
        let mut lines = String::new();
        line(&mut lines, settings, rand::random::<u64>() >> 20, Timestamp::now());
        client.send_ndjson("/_bulk?refresh=true", Bytes::from(lines)).await.expect("written");
        let begun = Instant::now();
        ask(client, settings, asked, now).await;
        let own = begun.elapsed();
        let begun = Instant::now();
        search(client, settings, asked).await;
        if round >= 5 {
            ours.push(own);
            raw.push(begun.elapsed());
        }
    }
    ours.sort_unstable();
    raw.sort_unstable();
    let at = |all: &[Duration], percent: usize| {
        all[(all.len() * percent / 100).min(all.len() - 1)].as_secs_f64() * 1_000.0
    };
    println!(
        "| {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} |",
        asked.name,
        at(&ours, 50),
        at(&ours, 95),
        at(&ours, 100),
        at(&raw, 95),
        at(&ours, 50) / at(&raw, 50)
    );
}

async fn ask(client: &Client, settings: &Settings, asked: &Asked, now: Timestamp) {
    let filter = asked.filter.clone();
    match &asked.what {
        What::Page(after) => {
            let after = after.as_ref().map(|text| text.parse().expect("a place"));
            let question = Question { filter, after, limit: 100 };
            history::page(client, settings, &question, now).await.expect("a page");
        }
        What::Overview(span) => {
            let overview = history::overview(client, settings, &filter, *span, now).await;
            assert!(overview.expect("counts").total > 0);
        }
        What::One(id) => {
            let found = life::find(client, settings, id, now).await.expect("an answer");
            assert!(found.is_some());
        }
        What::Engaged => {
            let settings = engaged::Settings {
                pattern: settings.pattern.clone(),
                stale_after: settings.stale_after,
                reconciles: true,
            };
            let question = engaged::Question { limit: 100, ..engaged::Question::default() };
            engaged::ask(client, &settings, &question, now).await.expect("a page");
        }
    }
}

/// The same filter, raw.
async fn search(client: &Client, settings: &Settings, asked: &Asked) {
    let mut filter = asked.filter.clone();
    let (mut size, mut query) = (100, None);
    match &asked.what {
        What::Page(_) => {}
        What::Overview(span) => {
            (filter.from, filter.to, size) = (Some(span.from()), Some(span.to()), 0);
        }
        What::One(id) => {
            let should = json!([{"ids": {"values": [id]}}, {"term": {"event.id": id}}]);
            (size, query) = (1, Some(json!({"bool": {"should": should}})));
        }
        What::Engaged => filter.states = vec![State::Engaged, State::Acknowledged],
    }
    let query = query.unwrap_or_else(|| filter.query());
    let body = json!({"size": size, "track_total_hits": size == 0, "query": query});
    let path = format!("/{}/_search", opensearch::segment(&settings.pattern));
    client.call(Method::Post, &path, Some(&body)).await.expect("a search");
}
