//! The store stops, dies, hangs, refuses an index or one item of many, and loses answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use opensearch::http::Method;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    effort, order,
    scene::{PATIENCE, Scene, script},
    store,
    support::{Mood, Proxy, Reluctant, Store, monitored},
    waiting::until,
};

const MONITORS: &str = "_plugins/_alerting/monitors";

/// The script that stops and starts the node under the store, or `return`s from the test.
macro_rules! node {
    () => {
        match std::env::var("ALERTLOOP_TEST_NODE_SH") {
            Ok(script) => script,
            Err(_) => return crate::support::skip("ALERTLOOP_TEST_NODE_SH names no script"),
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_stopped_and_started() {
    let (store, node) = (store!(), node!());
    let times = effort::times(1, 2);
    let scene = Scene::begin(&store, &[]).await;
    for _ in 0..times {
        script(&node, &["stop"]).await;
        scene.takes_alerts(false).await;
        scene.ledger.acknowledges(3_000).await;
        script(&node, &["start"]).await;
        scene.takes_alerts(true).await;
    }
    let most = 12 * times as usize;
    scene.end("store stopped", "SIGTERM to the node", times.into(), most).await;
    order::must_be_kept(&store, &store.index("261106")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_killed() {
    let (store, node) = (store!(), node!());
    let times = effort::times(1, 3);
    let scene = Scene::begin(&store, &[]).await;
    for _ in 0..times {
        script(&node, &["kill"]).await;
        scene.takes_alerts(false).await;
        scene.ledger.acknowledges(3_000).await;
        script(&node, &["start"]).await;
        scene.takes_alerts(true).await;
    }
    let most = 12 * times as usize;
    scene.end("store killed", "SIGKILL to the node", times.into(), most).await;
    order::must_be_kept(&store, &store.index("261106")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_hangs() {
    let (store, node) = (store!(), node!());
    let (times, timeout, alerts) = (effort::times(1, 1), ["2s", "30s"], [1_000, 12_000]);
    let long = usize::from(effort::minutes().is_some());
    let scene = Scene::begin(&store, &[("ALERTLOOP_STORE_TIMEOUT", timeout[long])]).await;
    for _ in 0..times {
        script(&node, &["pause"]).await;
        scene.ledger.acknowledges(alerts[long]).await;
        scene.takes_alerts(false).await;
        script(&node, &["resume"]).await;
        scene.takes_alerts(true).await;
    }
    let most = 4 * times as usize;
    scene.end("store hangs", "SIGSTOP to the node, then SIGCONT", times.into(), most).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_read_only_or_closed_while_others_are_not() {
    let store = store!();
    let times = effort::times(2, 6);
    let scene = Scene::begin(&store, &[]).await;
    scene.ledger.spread(3);
    let (hindered, other) = (store.index("261106"), store.index("261107"));
    let block = |value: Value| json!({"index.blocks.read_only_allow_delete": value});
    for turn in 0..times {
        let settings = format!("{hindered}/_settings");
        let faults = [
            (Method::Put, settings.clone(), block(json!(true))),
            (Method::Post, format!("{hindered}/_close"), Value::Null),
        ];
        let cures = [
            (Method::Put, settings, block(Value::Null)),
            (Method::Post, format!("{hindered}/_open"), Value::Null),
        ];
        let [fault, cure] = [faults, cures].map(|all| all[turn as usize % 2].clone());
        others_grow_to(&store, &other, 1).await;
        store.json(fault.0, &fault.1, fault.2).await.expect("the fault");
        let before = size(&store, &other).await;
        others_grow_to(&store, &other, before + 100).await;
        store.json(cure.0, &cure.1, cure.2).await.expect("the cure");
        let before = size(&store, &hindered).await;
        others_grow_to(&store, &hindered, before + 100).await;
    }
    // One for each time: the index, and nothing of the store as a whole.
    let most = times as usize;
    scene.end("index refuses", "read-only block; closed", times.into(), most).await;
}

/// How many documents an index has; 0 while it cannot tell.
async fn size(store: &Store, index: &str) -> u64 {
    drop(store.json(Method::Post, &format!("{index}/_refresh"), Value::Null).await);
    let count = store.json(Method::Get, &format!("{index}/_count"), Value::Null).await;
    count.ok().and_then(|count| count["count"].as_u64()).unwrap_or_default()
}

async fn others_grow_to(store: &Store, index: &str, want: u64) {
    let grown = async {
        while size(store, index).await < want {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let grown = tokio::time::timeout(crate::scene::PATIENCE, grown).await;
    assert!(grown.is_ok(), "{index} has not got {want} documents");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_many_is_refused_for_now() {
    let store = store!();
    let reluctant = Reluctant::start(&store, 1).await;
    let scene = Scene::begin(&store, &[("OPENSEARCH_URL", &reluctant.url())]).await;
    let times = effort::times(3, 40);
    for _ in 0..times {
        // A backlog, so that there is a third item.
        reluctant.set(Mood::Status(503));
        scene.ledger.acknowledges(100).await;
        reluctant.set(Mood::Item { nth: 2, status: 429 });
        reluctant.harms(1).await;
        reluctant.set(Mood::Honest);
        scene.takes_alerts(true).await;
    }
    let most = 3 * times as usize;
    scene.end("item refused", "429 for the third item of a `_bulk`", times.into(), most).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_in_the_middle() {
    let store = store!();
    let (proxy, times) = (Proxy::start(&store).await, effort::times(1, 10));
    let reluctant = Reluctant::start(&Store::at(proxy.url()), 1).await;
    let scene = Scene::begin(&store, &[("OPENSEARCH_URL", &reluctant.url())]).await;
    let mut cuts = 0_u32;
    for _ in 0..times {
        for bytes in [0, 1, 40, 200, 2_000] {
            for mood in [Mood::CutRequest(bytes), Mood::CutAnswer(bytes)] {
                reluctant.set(mood);
                // The same one each time, as a sender does that heard nothing.
                scene.ledger.send_as("again").await;
                reluctant.harms(2).await;
                reluctant.set(Mood::Honest);
                scene.takes_alerts(true).await;
                cuts += 1;
            }
        }
        proxy.cut();
        scene.takes_alerts(false).await;
        proxy.mend();
        scene.takes_alerts(true).await;
        cuts += 1;
    }
    let most = 3 * cuts as usize;
    let how = "in the request, in the answer, everywhere at once";
    scene.end("connections cut", how, cuts.into(), most).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_does_all_of_it_in_any_order() {
    let store = store!();
    let seed = rand::random();
    println!("seed {seed}");
    let reluctant = Reluctant::start(&store, seed).await;
    let others =
        [("OPENSEARCH_URL", reluctant.url()), ("ALERTLOOP_STORE_TIMEOUT", "2s".to_owned())];
    let others = others.each_ref().map(|(name, value)| (*name, value.as_str()));
    let scene = Scene::begin(&store, &others).await;
    let mut moods = [
        Mood::Status(429),
        Mood::Status(502),
        Mood::Status(503),
        Mood::Status(401),
        Mood::TooLarge(20_000),
        Mood::Item { nth: 0, status: 503 },
        Mood::Items { chance: 0.3, status: 429 },
        Mood::CutRequest(100),
        Mood::CutAnswer(300),
        Mood::HalfAnswer,
        Mood::Silent,
        Mood::Slow(Duration::from_secs(1)),
    ];
    let times = effort::times(1, 5);
    for _ in 0..times {
        moods.shuffle(&mut rand::rng());
        for mood in moods {
            if matches!(mood, Mood::TooLarge(_)) {
                reluctant.set(Mood::Status(503));
                scene.ledger.acknowledges(200).await;
            }
            reluctant.set(mood);
            reluctant.harms(1).await;
            // Every other time the next fault comes before the store has recovered.
            if rand::random() {
                reluctant.set(Mood::Honest);
                scene.takes_alerts(true).await;
            }
        }
    }
    reluctant.set(Mood::Honest);
    let faults = times * u32::try_from(moods.len()).unwrap_or_default();
    let most = 3 * faults as usize;
    let how = "statuses, items, cuts, silence, in random order";
    scene.end("store reluctant", how, faults.into(), most).await;
}

/// Alerting of 2.19 and 3.4 answers the deletion of a monitor that is not there twice, and the second
/// answer overwrites the beginning of those that others get: with 200, and somebody else's error.
#[tokio::test(flavor = "multi_thread")]
async fn answers_begin_with_somebody_elses() {
    let store = store!(alerting);
    let times = effort::times(1_000, 10_000);
    // With the first monitor comes the index that they are looked for in.
    let mut monitor =
        monitored::monitor("nobody's", store.pattern(), 60, &json!({"match_none": {}}));
    monitor["enabled"] = json!(false);
    monitor["schedule"] = json!({"period": {"interval": 1, "unit": "DAYS"}});
    let made = store.make(MONITORS, monitor).await;
    let made = format!("{MONITORS}/{}", made["_id"].as_str().expect("an id"));
    let scene = Scene::begin(&store, &[]).await;
    let url = format!("{}/{MONITORS}/nobody", store.url());
    let garbled = Arc::new(AtomicU32::new(0));
    let strangers: JoinSet<()> =
        (0..2).map(|_| delete(url.clone(), Arc::clone(&garbled))).collect();
    let enough = async || garbled.load(Ordering::Relaxed) >= times;
    until("deletions are answered twice", PATIENCE, enough).await;
    drop(strangers);
    let (seen, most) = (garbled.load(Ordering::Relaxed), times as usize / 20);
    let how = "others delete monitors that are not there, in a loop";
    scene.end("answers mixed up", how, seen.into(), most).await;
    store.json(Method::Delete, &made, Value::Null).await.expect("no monitor");
}

/// Deletes what is not there until it is dropped; counts the answers that are no JSON.
async fn delete(url: String, garbled: Arc<AtomicU32>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    loop {
        // Of an answer that is longer than it says to be the connection is lost.
        let Ok(answer) = client.delete(&url).send().await else { continue };
        if answer.json::<Value>().await.is_err() {
            garbled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn what_the_proxy_keeps_back_is_not_stored_and_all_else_is() {
    let store = store!();
    let proxy = Reluctant::start(&store, 1).await;
    let index = store.index("261106");
    let bulk = format!(
        "{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"a\"}}}}\n{{\"n\":1}}\n\
         {{\"index\":{{\"_index\":\"{index}\",\"_id\":\"b\"}}}}\n{{\"n\":1}}\n\
         {{\"update\":{{\"_index\":\"{index}\",\"_id\":\"a\"}}}}\n{{\"doc\":{{\"n\":2}}}}\n\
         {{\"delete\":{{\"_index\":\"{index}\",\"_id\":\"none\"}}}}\n\
         {{\"create\":{{\"_index\":\"{index}\",\"_id\":\"c\"}}}}\n{{\"n\":1}}\n"
    );
    proxy.set(Mood::Item { nth: 1, status: 429 });
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = client.post(format!("{}/_bulk", proxy.url()));
    let post = post.header("content-type", "application/x-ndjson").body(bulk);
    let text = post.send().await.expect("an answer").text().await.expect("a body");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let items = answer["items"].as_array().expect("items");
    let seen: Vec<(&str, &Value, &Value)> = items
        .iter()
        .filter_map(|item| item.as_object()?.iter().next())
        .map(|(verb, item)| (verb.as_str(), &item["_id"], &item["status"]))
        .collect();
    assert_eq!(
        seen,
        [
            ("create", &json!("a"), &json!(201)),
            ("index", &json!("b"), &json!(429)),
            ("update", &json!("a"), &json!(200)),
            ("delete", &json!("none"), &json!(404)),
            ("create", &json!("c"), &json!(201)),
        ]
    );
    assert_eq!((&answer["errors"], proxy.harmed()), (&json!(true), 1));
    let ids: Vec<Value> = store.records().await.iter().map(|hit| hit["_id"].clone()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(!ids.contains(&json!("b")));
}
