//! Nodes are killed, the cluster manager among them, and all are restarted one after the other.

use super::{Cluster, balancer::RoundRobin, cluster, manager, to_node, two_copies_again};
use crate::{effort, scene::Scene};

#[tokio::test(flavor = "multi_thread")]
async fn the_node_that_alertloop_talks_to_is_killed() {
    let cluster = cluster!();
    let store = cluster.store(0).await;
    let times = effort::times(1, 3);
    let scene = Scene::begin_stored(&store).await;
    for _ in 0..times {
        two_copies_again(&store).await;
        scene.ledger.acknowledges(100).await;
        to_node("kill", 0).await;
        scene.takes_alerts(false).await;
        scene.ledger.acknowledges(400).await;
        to_node("start", 0).await;
        scene.takes_alerts(true).await;
    }
    let how = "SIGKILL to one of three nodes, the one that alertloop talks to";
    scene.end("node of a cluster killed", how, times.into(), 20 * times as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_manager_is_killed() {
    let cluster = cluster!();
    let store = cluster.store(0).await;
    // Alertloop talks to another one, which goes on.
    let talks_to = (manager(&store).await + 1) % 3;
    let store = cluster.store(talks_to).await;
    let times = effort::times(1, 3);
    let scene = Scene::begin_stored(&store).await;
    let mut killed = 0;
    while killed < times {
        two_copies_again(&store).await;
        let manager = manager(&store).await;
        scene.ledger.acknowledges(100).await;
        to_node("kill", manager).await;
        scene.ledger.acknowledges(400).await;
        if manager != talks_to {
            // By the two that are left.
            scene.is_stored().await;
            killed += 1;
        }
        to_node("start", manager).await;
        scene.takes_alerts(true).await;
    }
    let how = "SIGKILL to the manager of three nodes, while alertloop talks to another one";
    scene.end("cluster manager killed", how, times.into(), 20 * times as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_restarted_one_after_the_other() {
    let cluster = cluster!();
    let proxy = RoundRobin::before(&cluster.urls).await;
    let store = Cluster::store_at(proxy.url()).await;
    let times = effort::times(1, 3);
    let scene = Scene::begin_stored(&store).await;
    for _ in 0..times {
        for node in 0..3 {
            scene.ledger.acknowledges(100).await;
            to_node("stop", node).await;
            scene.ledger.acknowledges(100).await;
            // By the two that are left.
            scene.is_stored().await;
            to_node("start", node).await;
            // As operators do before they go on.
            two_copies_again(&store).await;
            scene.takes_alerts(true).await;
        }
    }
    let how = "SIGTERM to each of three nodes behind a balancer, green before the next";
    let times = times * 3;
    scene.end("rolling restart of a cluster", how, times.into(), 6 * times as usize).await;
}
