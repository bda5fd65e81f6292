//! A cluster of three nodes, of which one after the other is killed.

use std::time::Instant;

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    effort,
    scene::{PATIENCE, Scene, script},
    support::{Store, skip},
};

const SCRIPT: &str = "tests/opensearch/cluster.sh";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_cluster_are_killed() {
    if std::env::var("ALERTLOOP_TEST_NODE_SH").is_err() {
        return skip("ALERTLOOP_TEST_NODE_SH names no script, so no nodes may be started");
    }
    let urls: Vec<String> = script(SCRIPT, &["up"]).await.lines().map(str::to_owned).collect();
    let _cluster = Cluster;
    // Node 0 is the one that alertloop talks to.
    let store = Store::at(urls[0].clone());
    two_copies(&store).await;
    let scene = Scene::begin(&store, &[("ALERTLOOP_STORE_TIMEOUT", "5s")]).await;
    let (kills, mut of_managers) = (effort::times(2, 3), 0);
    for turn in 0..kills {
        let manager = manager(&store).await;
        // Once the one that alertloop talks to, once one of those behind it.
        let node = match turn % 4 {
            0 if manager == 0 => 1,
            0 => manager,
            1 => 0,
            node => node - 1,
        };
        of_managers += u32::from(node == manager);
        scene.ledger.acknowledges(100).await;
        script(SCRIPT, &["kill", &node.to_string()]).await;
        if node == 0 {
            scene.takes_alerts(false).await;
        }
        scene.ledger.acknowledges(400).await;
        script(SCRIPT, &["start", &node.to_string()]).await;
        scene.takes_alerts(true).await;
        two_copies_again(&store).await;
    }
    let how = format!("SIGKILL to one of three nodes, {of_managers} times the cluster manager");
    scene.end("node of a cluster killed", &how, kills.into(), 12 * kills as usize).await;
}

/// Every index of this test has two copies of each document, on two nodes.
async fn two_copies(store: &Store) {
    let template = json!({
        "index_patterns": [store.pattern()], "order": 9, "settings": {"number_of_replicas": 1},
    });
    let path = format!("_template/{}-copies", store.pattern().replace("-*", ""));
    store.json(Method::Put, &path, template).await.expect("a template");
}

/// Before the next node is killed: else the last copy might go with it, which nobody survives.
async fn two_copies_again(store: &Store) {
    let path = format!("_cluster/health/{}?wait_for_status=green&timeout=10s", store.pattern());
    let begun = Instant::now();
    while let Err(not_yet) = store.json(Method::Get, &path, Value::Null).await {
        assert!(begun.elapsed() < PATIENCE, "{not_yet}");
    }
}

/// The number of the node that manages the cluster.
async fn manager(store: &Store) -> u32 {
    let path = "_cat/cluster_manager?format=json&h=node";
    let answer = store.json(Method::Get, path, Value::Null).await.expect("a cluster manager");
    let name = answer[0]["node"].as_str().and_then(|name| name.strip_prefix("node-"));
    name.and_then(|number| number.parse().ok()).expect("a node")
}

/// Takes the cluster down at the end, however the test ends.
struct Cluster;

impl Drop for Cluster {
    fn drop(&mut self) {
        std::process::Command::new(SCRIPT).arg("down").status().ok();
    }
}
