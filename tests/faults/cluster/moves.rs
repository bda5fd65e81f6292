//! Shards move from node to node under load.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{cluster, copies, reroute, two_copies_again};
use crate::{effort, scene::Scene, support::Store};

#[tokio::test(flavor = "multi_thread")]
async fn shards_move_while_alerts_are_written() {
    let cluster = cluster!();
    let store = cluster.store(0).await;
    let index = store.index("261106");
    let times = effort::times(6, 60);
    let scene = Scene::begin_stored(&store).await;
    for _ in 0..times {
        two_copies_again(&store).await;
        let [primary, other] = copies(&store, &index).await;
        let free = format!("node-{}", 3 - primary - other);
        let way = json!({"index": index, "shard": 0, "from_node": format!("node-{primary}"),
            "to_node": free});
        reroute(&store, json!({ "move": way })).await;
        scene.ledger.acknowledges(20).await;
    }
    two_copies_again(&store).await;
    for node in 0..3 {
        exclude(&store, &index, json!(format!("node-{node}"))).await;
        scene.ledger.acknowledges(20).await;
        two_copies_again(&store).await;
        assert!(!copies(&store, &index).await.contains(&node), "a copy is still on node {node}");
    }
    exclude(&store, &index, Value::Null).await;
    let how = "the primary moved to the node without a copy; each node emptied in turn";
    scene.end("shards moved", how, u64::from(times) + 3, 12).await;
}

async fn exclude(store: &Store, index: &str, node: Value) {
    let settings = json!({"index.routing.allocation.exclude._name": node});
    let path = format!("{index}/_settings");
    store.json(Method::Put, &path, settings).await.expect("a setting");
}
