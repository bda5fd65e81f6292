//! What engages and is released again and again, on the real store: whatever comes in whatever order
//! by several writers at once ends with one right record a happening.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alertloop::{
    alert::{Alert, Named, Phase, Source},
    opensearch::bulk::{self, Action},
    record::{Receipt, Write, fields::FieldSet},
    series::REPLACE_SCRIPT,
    writer::lives::{INDEX, Lives, tidy},
};
use jiff::Timestamp;
use opensearch::http::Method;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{
    lint::naming,
    store,
    support::{Answer, App, Mood, Proxy, Reluctant, Store, TOKEN},
};

const NOON: i64 = 1_793_966_400;
const PATIENCE: Duration = Duration::from_mins(1);

/// A message: which series, whether it is a release, and when, in seconds after noon.
type Said = (u16, bool, i64);

fn alert(&(series, is_over, second): &Said) -> Alert {
    Alert {
        series: Some(format!("host 10.0.0.{series} flood")),
        rule: Named { id: None, name: Some(format!("rule {series}")) },
        phase: if is_over { Phase::Released } else { Phase::Engaged },
        as_of: Timestamp::from_second(NOON + second).ok(),
        tags: vec![format!("host:10.0.0.{series}").into()],
        ..Alert::of(Source::Ntopng)
    }
}

/// What happened, from the set of all messages: rule, start, end, state.
fn wanted(messages: &[Said]) -> Vec<(String, String, String, String)> {
    let mut pieces: BTreeMap<u16, Vec<Vec<(i64, bool)>>> = BTreeMap::new();
    let mut sorted: Vec<_> =
        messages.iter().map(|(series, over, at)| (*series, *at, *over)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    for (series, at, is_over) in sorted {
        let of = pieces.entry(series).or_insert_with(|| vec![Vec::new()]);
        if let Some(last) = of.last_mut() {
            last.push((at, is_over));
        }
        if is_over {
            of.push(Vec::new());
        }
    }
    let text = |second: i64| format!("{:.3}", Timestamp::from_second(NOON + second).unwrap());
    let mut wanted: Vec<_> = pieces
        .iter()
        .flat_map(|(series, of)| of.iter().map(move |piece| (series, piece)))
        .filter_map(|(series, piece)| {
            let ((first, _), (last, is_over)) = (*piece.first()?, *piece.last()?);
            let action = if is_over { "released" } else { "engaged" };
            Some((format!("rule {series}"), text(first), text(last), action.to_owned()))
        })
        .collect();
    wanted.sort();
    wanted
}

fn shown(records: &[Value]) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let of = |hit: &Value| {
        let source = &hit["_source"];
        let event = &source["event"];
        let is_over = event["action"] == "released";
        assert_eq!(event.get("duration").is_some(), is_over, "{source}");
        assert_eq!(hit["_id"], json!(format!("261106-{}", text(&event["id"]))));
        (
            text(&source["rule"]["name"]),
            text(&event["start"]),
            text(&event["end"]),
            text(&event["action"]),
        )
    };
    let mut shown: Vec<_> = records.iter().map(of).collect();
    shown.sort();
    shown
}

/// One replica's part: all these messages, in batches of this size.
async fn write(store: &Store, client: alertloop::opensearch::Client, said: &[Said], size: usize) {
    let (naming, known) = (naming(store), FieldSet::everything());
    let mut lives = Lives::new(client.clone(), store.pattern());
    for batch in said.chunks(size) {
        let mut messages: Vec<_> = batch
            .iter()
            .enumerate()
            .map(|(work, said)| {
                let (alert, hash) = (alert(said), format!("{said:?}"));
                let received = Timestamp::from_second(NOON + 500).expect("a time");
                let receipt = Receipt { received, hash: &hash };
                let mut one = lives.waiting(&alert, receipt, &naming, &known).remove(0);
                one.work = work;
                one
            })
            .collect();
        let begun = Instant::now();
        while !messages.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "it does not get through");
            let Ok(told) = lives.live(&messages, &naming).await else { continue };
            let mut body = Vec::new();
            for (record, _) in &told.records {
                assert_eq!(record.write, Write::Replace);
                let action = Action::Script(REPLACE_SCRIPT);
                bulk::push(&mut body, action, &record.index, &record.id, &record.document);
            }
            if !told.records.is_empty() {
                let items = client.bulk(body.into(), told.records.len()).await;
                // Whatever went wrong: the messages are still there, and everything is done again.
                if !items.is_ok_and(|items| items.iter().all(|item| item.status < 300)) {
                    continue;
                }
            }
            messages.retain(|one| told.waiting.contains(&one.work));
        }
    }
}

async fn clean(store: &Store) {
    let query = json!({ "query": { "term": { "index_pattern": store.pattern() } } });
    let path = format!("/{INDEX}/_delete_by_query?refresh=true&conflicts=proceed");
    store.json(Method::Post, &format!("/{INDEX}/_refresh"), Value::Null).await.expect("a refresh");
    store.json(Method::Post, &path, query).await.expect("a clean end");
}

/// Random messages of some series, by lot in another order and doubled for each of two writers.
fn schedule() -> (Vec<Said>, Vec<Said>, Vec<Said>) {
    let one = (0..40_u16, prop::bool::weighted(0.4), 0..40_i64);
    let strategy = prop::collection::vec(one, 300..400).prop_flat_map(|all| {
        let half = all.len() / 2;
        // A third of them comes to both.
        let one: Vec<_> = all[..half + all.len() / 6].to_vec();
        let other: Vec<_> = all[half - all.len() / 6..].to_vec();
        (Just(all), Just(one).prop_shuffle(), Just(other).prop_shuffle())
    });
    strategy.new_tree(&mut TestRunner::default()).expect("a schedule").current()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_end_with_one_right_record_a_happening() {
    let store = store!();
    store.make_template().await;
    for (one, other) in [(2, 50), (7, 20)] {
        let (all, first, second) = schedule();
        tokio::join!(
            write(&store, store.client(), &first, one * 10),
            write(&store, store.client(), &second, other),
        );
        let want = wanted(&all);
        let records = store.wait_for_records(want.len()).await;
        assert_eq!(shown(&records), want, "{first:?} {second:?}");
        clean(&store).await;
        let all = json!({ "query": { "match_all": {} } });
        let path = format!("/{}/_delete_by_query?refresh=true", store.pattern());
        store.json(Method::Post, &path, all).await.expect("an empty index");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_did_without_telling_is_found_again() {
    let store = store!();
    store.make_template().await;
    // Each answer of this connection is lost now and then, after the store has done what it should.
    let proxy = Proxy::start(&store).await;
    let settings = alertloop::opensearch::Settings {
        url: proxy.url().parse().expect("a URL"),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(5),
        monitors: alertloop::opensearch::engine::Settings::default(),
    };
    let through = alertloop::opensearch::Client::new(&settings).expect("a client");
    let (all, first, second) = schedule();
    let cut = async {
        for _ in 0..25 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(5)).await;
            proxy.mend();
        }
    };
    tokio::join!(
        write(&store, through.clone(), &first, 20),
        write(&store, store.client(), &second, 20),
        cut,
    );
    let want = wanted(&all);
    let records = store.wait_for_records(want.len()).await;
    assert_eq!(shown(&records), want);
    clean(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_alone_and_holds_up_no_other() {
    let store = store!();
    store.make_template().await;
    // As a proxy does that was never told how large a request may be.
    let reluctant = Reluctant::start(&store, 1).await;
    let settings = alertloop::opensearch::Settings {
        url: reluctant.url().parse().expect("a URL"),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(5),
        monitors: alertloop::opensearch::engine::Settings::default(),
    };
    let client = alertloop::opensearch::Client::new(&settings).expect("a client");
    let (naming, known) = (naming(&store), FieldSet::everything());
    let mut lives = Lives::new(client, store.pattern());
    // The fourth and the fifth are of one series, and the fifth is the large one.
    let all: Vec<Said> =
        (0..60).map(|n| (if n == 4 { 3 } else { n }, false, i64::from(n))).collect();
    let messages: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(work, said)| {
            let long = if work == 4 { 50_000 } else { 2_000 };
            let alert = Alert { message: Some("x".repeat(long)), ..alert(said) };
            let received = Timestamp::from_second(NOON + 500).expect("a time");
            let receipt = Receipt { received, hash: "hash" };
            let mut one = lives.waiting(&alert, receipt, &naming, &known).remove(0);
            one.work = work;
            one
        })
        .collect();
    reluctant.set(Mood::TooLarge(20_000));
    let told = lives.live(&messages, &naming).await.expect("an answer");
    assert_eq!((&told.waiting, told.reason), (&Vec::new(), None));
    let [(work, reason)] = told.refused.as_slice() else { panic!("{:?}", told.refused) };
    assert!(*work == 4 && reason.contains("413"), "{work} {reason}");
    let mut works: Vec<_> = told.records.iter().flat_map(|(_, works)| works.clone()).collect();
    works.sort_unstable();
    assert_eq!(works, (0..60).filter(|work| *work != 4).collect::<Vec<_>>());
    clean(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_that_is_long_over_is_removed_and_another_one_is_not() {
    let store = store!();
    store.make_template().await;
    write(&store, store.client(), &[(1, false, 0), (1, true, 5), (2, false, 0)], 10).await;
    let day = 86_400_000;
    let of_ours = || async {
        store.json(Method::Post, &format!("/{INDEX}/_refresh"), Value::Null).await.expect("fresh");
        let query = json!({ "query": { "term": { "index_pattern": store.pattern() } },
            "_source": ["series", "engaged"], "sort": ["series"] });
        let found = store.json(Method::Post, &format!("/{INDEX}/_search"), query).await;
        let found = found.expect("a search");
        let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
        hits.iter()
            .map(|hit| (hit["_id"].clone(), hit["_source"]["engaged"] == true))
            .collect::<Vec<_>>()
    };
    let ours = of_ours().await;
    assert_eq!(ours.iter().map(|(_, engaged)| *engaged).collect::<Vec<_>>(), [false, true]);
    // Other tests write to the same index now; ours are made to be the only old ones.
    for (id, _) in &ours {
        let old = json!({ "doc": { "updated": NOON * 1_000 - 200 * day } });
        let path = format!("/{INDEX}/_update/{}?refresh=true", id.as_str().expect("an id"));
        store.json(Method::Post, &path, old).await.expect("an old one");
    }
    let removed = tidy::remove_old(&store.client(), NOON * 1_000).await.expect("a removal");
    assert_eq!(removed, 1, "the one that is over for 200 days");
    assert_eq!(of_ours().await.iter().map(|(_, engaged)| *engaged).collect::<Vec<_>>(), [true]);
    clean(&store).await;
}

/// As ntopng 3.6 pushes it to its queue.
fn of_ntopng(action: &str, second: i64) -> String {
    json!({ "ifid": 2, "entity_type": 1, "entity_value": "10.0.0.1", "type": 2, "severity": 2,
        "message": "crossed", "tstamp": NOON + second, "action": action, "alert_key": "min_bytes" })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_tells_how_long_it_was_has_its_begin() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let post = async |body: String| {
        let request = app.post("/mapi/alert/ntopng").header("x-alertloop-token", TOKEN);
        let answer = Answer::of(request.header("prefer", "wait=20").body(body)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
    };
    let mut release: Value = serde_json::from_str(&of_ntopng("release", 300)).expect("JSON");
    release["duration"] = json!(120);
    // Again, and with the engagement that it tells of after all: still one.
    for body in [release.to_string(), release.to_string(), of_ntopng("engage", 180)] {
        post(body).await;
        let records = store.wait_for_records(1).await;
        let event = &records[0]["_source"]["event"];
        assert_eq!(
            (&event["action"], &event["duration"]),
            (&json!("released"), &json!(120_000_000_000_i64))
        );
        let start = Timestamp::from_second(NOON + 180).expect("a time");
        assert_eq!(event["start"], format!("{start:.3}"));
    }
    app.stop().await;
    clean(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_replicas_are_told_out_of_order_is_one_record() {
    let store = store!();
    let one = App::start(&store, &[]).await;
    let other = App::start(&store, &[]).await;
    let post = |app: &App, prefer: &str, body: String| {
        let request = app.post("/mapi/alert/ntopng").header("x-alertloop-token", TOKEN);
        Answer::of(request.header("prefer", prefer).body(body))
    };
    for (app, action, second) in [
        (&one, "release", 300),
        (&other, "engage", 0),
        (&one, "engage", 60),
        (&other, "release", 300),
    ] {
        let answer = post(app, "wait=20", of_ntopng(action, second)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
    }
    let records = store.wait_for_records(1).await;
    let event = &records[0]["_source"]["event"];
    assert_eq!(
        (&event["action"], &event["duration"]),
        (&json!("released"), &json!(300_000_000_000_i64))
    );
    // Which record that will be is not promised before the series is read.
    let answer = post(&one, "respond-async", of_ntopng("engage", 400)).await;
    assert_eq!((answer.status, answer.json), (202, json!({ "result": { "result": "accepted" } })));
    store.wait_for_records(2).await;
    one.stop().await;
    other.stop().await;
    clean(&store).await;
}
