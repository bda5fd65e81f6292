//! The disks of all nodes are over the flood stage, and the store itself blocks every index.

use alertloop::opensearch::cluster::write_blocks;
use opensearch::http::Method;
use serde_json::{Value, json};

use super::{cluster, two_copies_again};
use crate::{
    effort,
    scene::{PATIENCE, Scene, wait_for},
    support::Store,
    waiting::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_disks_are_over_the_flood_stage_and_then_under_it_again() {
    let cluster = cluster!();
    let store = cluster.store(0).await;
    let times = effort::times(1, 5);
    let scene = Scene::begin_stored(&store).await;
    let index = store.index("261106");
    for _ in 0..times {
        two_copies_again(&store).await;
        // No disk has so much room.
        watermarks(&store, "100000gb").await;
        let is_told = |says: &Value| {
            let why = says["store"]["blocked"][&index].as_str();
            says["ready"] == true && why.is_some_and(|why| why.contains("free disk space"))
        };
        wait_for(&scene.process, is_told).await;
        assert!(scene.process.has_said("an index does not take alerts now"));
        scene.ledger.acknowledges(500).await;
        // The first of another day, for which there is no index yet.
        scene.ledger.spread(2);
        scene.ledger.acknowledges(100).await;
        watermarks(&store, "1mb").await;
        let is_free = |says: &Value| says["store"]["blocked"] == json!({});
        wait_for(&scene.process, is_free).await;
        is_released(&store).await;
    }
    let how =
        "watermarks above the room on the disks; the store blocks every index, and takes it off";
    let most = 10 * times as usize;
    scene.end("disks of a cluster full", how, times.into(), most).await;
}

/// Has the nodes look at their disks as often as can be, which shall have so much room.
async fn watermarks(store: &Store, room: &str) {
    let watermark = "cluster.routing.allocation.disk.watermark";
    let body = json!({"transient": {
        "cluster.routing.allocation.disk.threshold_enabled": true,
        "cluster.info.update.interval": "10s",
        format!("{watermark}.low"): room, format!("{watermark}.high"): room,
        format!("{watermark}.flood_stage"): room,
    }});
    store.json(Method::Put, "_cluster/settings", body).await.expect("the watermarks");
}

/// Until the store has taken all of its blocks off; then it looks at no disk any more, as before.
async fn is_released(store: &Store) {
    let client = store.client();
    let is_free = async || {
        let path = "_cluster/settings?flat_settings=true";
        let set = store.json(Method::Get, path, Value::Null).await.unwrap_or_default();
        let may_create = set["persistent"]["cluster.blocks.create_index"] != "true"
            && set["transient"]["cluster.blocks.create_index"] != "true";
        may_create && write_blocks(&client, "*").await.is_ok_and(|blocks| blocks.is_empty())
    };
    until("no index is blocked", PATIENCE, is_free).await;
    let none = json!({"transient": {
        "cluster.routing.allocation.disk.*": null, "cluster.info.update.interval": null,
    }});
    store.json(Method::Put, "_cluster/settings", none).await.expect("the usual settings");
}
