//! The network of a node is cut.

use std::time::Duration;

use serde_json::Value;

use super::{SCRIPT, cluster, copies, primary_on, to_node, two_copies_again};
use crate::{
    effort,
    scene::{Scene, script},
    waiting::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_node_that_alertloop_talks_to_loses_the_others() {
    let cluster = cluster!(apart);
    let store = cluster.store(0).await;
    let index = store.index("261106");
    let times = effort::times(1, 5);
    let scene = Scene::begin_stored(&store).await;
    for turn in 0..times {
        // So that it writes there, and cannot have it confirmed.
        primary_on(&store, &index, 0).await;
        let [_, other] = copies(&store, &index).await;
        let majority = cluster.store(other).await;
        scene.ledger.acknowledges(100).await;
        script(SCRIPT, &["cut", "0", "peers"]).await;
        // What the old primary has alone must not be taken for stored, not even when it is sent again.
        for _ in 0..2 {
            let status = create(store.url(), &index, &format!("alone-{turn}")).await;
            assert!(!(200..300).contains(&status) && status != 409, "{status}");
        }
        scene.takes_alerts(false).await;
        scene.ledger.acknowledges(1_000).await;
        // The others have made their copy the primary, and take writes.
        let is_taken = async || {
            let status = create(majority.url(), &index, &format!("others-{turn}")).await;
            (200..300).contains(&status) || status == 409
        };
        until("the others take writes", crate::scene::PATIENCE, is_taken).await;
        to_node("mend", 0).await;
        scene.takes_alerts(true).await;
        two_copies_again(&store).await;
        let path = format!("/{index}/_doc/others-{turn}");
        let found = store.raw("GET", &path, Value::Null).await;
        assert_eq!(found["found"], true, "{found}");
    }
    let how =
        "the link of the node that alertloop talks to to the two others, with the primary on it";
    scene.end("network of a cluster cut", how, times.into(), 20 * times as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_loses_everybody() {
    let cluster = cluster!(apart);
    let store = cluster.store(0).await;
    let index = store.index("261106");
    let times = effort::times(1, 5);
    let scene = Scene::begin_stored(&store).await;
    for turn in 0..times {
        let node = 1 + turn as usize % 2;
        primary_on(&store, &index, node).await;
        scene.ledger.acknowledges(100).await;
        script(SCRIPT, &["cut", &node.to_string(), "all"]).await;
        scene.ledger.acknowledges(400).await;
        // By the two that are left.
        scene.is_stored().await;
        to_node("mend", node).await;
        two_copies_again(&store).await;
    }
    let how = "both links of a node that alertloop does not talk to, with the primary on it";
    scene.end("node of a cluster cut off", how, times.into(), 20 * times as usize).await;
}

/// What the store answers to the creation of a document within 3 seconds; 0 is nothing.
async fn create(url: &str, index: &str, id: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3));
    let client = client.build().expect("a client");
    let path = format!("{url}/{index}/_create/{id}?timeout=2s");
    let request = client.put(path).header("content-type", "application/json");
    let request = request.body(format!(r#"{{"event":{{"id":"{id}"}}}}"#));
    request.send().await.map_or(0, |answer| answer.status().as_u16())
}
