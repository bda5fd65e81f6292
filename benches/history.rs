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

#[path = "history/month.rs"]
mod month;

use std::time::{Duration, Instant};

use ::opensearch::http::Method;
use alertloop::{
    engaged,
    history::{self, Filter, Question, Settings, Span, State, life},
    opensearch::{self, Client},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::month::Month;

const ROUNDS: usize = 40;

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
    let Some(month) = Month::make().await else { return };
    println!("| question | p50 | p95 | longest | raw search, p95 | ratio of p50 |");
    println!("|---|---|---|---|---|---|");
    let all = questions(&month).await;
    // The store compiles what it is asked often.
    for asked in all.iter().cycle().take(5 * all.len()) {
        ask(&month.client, &month.settings, asked, month.now).await;
    }
    for asked in all {
        measure(&month, &asked).await;
    }
    month.remove().await;
}

async fn questions(month: &Month) -> Vec<Asked> {
    let Month { client, settings, records, now } = month;
    let now = *now;
    let ago = |hours: i64| Some(now - SignedDuration::from_hours(hours));
    let span = |hours: u64| Span::last(Duration::from_hours(hours), now);
    let text = |text: &str| Some(text.to_owned());
    // Half of all are behind this page.
    let middle = Question {
        filter: Filter { to: ago(12 * month::DAYS), ..Filter::default() },
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

async fn measure(month: &Month, asked: &Asked) {
    let Month { client, settings, now, .. } = month;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        month.one_more().await;
        let begun = Instant::now();
        ask(client, settings, asked, *now).await;
        let own = begun.elapsed();
        let begun = Instant::now();
        search(client, settings, asked).await;
        ours.push(own);
        raw.push(begun.elapsed());
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
