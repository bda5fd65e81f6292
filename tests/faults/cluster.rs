//! A cluster of three nodes, started once for all of these tests, whose nodes are killed, restarted,
//! cut off, filled up and emptied of their shards.

use std::{sync::OnceLock, time::Instant};

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    scene::{PATIENCE, Scene, possible, script},
    support::{Store, skip},
};

mod balancer;
mod disk;
mod kills;
mod moves;
mod network;
mod one_life;

const SCRIPT: &str = "tests/opensearch/cluster.sh";

/// Set where the nodes cannot have networks of their own: asked for again, it would cost the cluster.
static NEVER_APART: OnceLock<()> = OnceLock::new();

/// The three nodes; they are taken down once this process has ended.
struct Cluster {
    urls: Vec<String>,
}

/// The cluster, whole and green, or `return`s from a test that cannot have it.
macro_rules! cluster {
    () => {
        match $crate::cluster::Cluster::up().await {
            Some(cluster) => cluster,
            None => return,
        }
    };
    (apart) => {{
        let cluster = cluster!();
        if !cluster.is_apart() {
            let why =
                "no network namespaces and bridges can be made here, so no network can be cut";
            return $crate::support::skip(why);
        }
        cluster
    }};
    (alerting) => {{
        let cluster = cluster!();
        if !$crate::cluster::Cluster::has_alerting() {
            return $crate::support::skip("the cluster has no Alerting plugin");
        }
        cluster
    }};
}
use cluster;

impl Cluster {
    async fn up() -> Option<Self> {
        if std::env::var("ALERTLOOP_TEST_NODE_SH").is_err() {
            skip("ALERTLOOP_TEST_NODE_SH names no script, so no nodes may be started");
            return None;
        }
        let process = std::process::id().to_string();
        let urls = if NEVER_APART.get().is_some() {
            None
        } else {
            possible(SCRIPT, &["up", "--apart", "--while", &process]).await.ok()
        };
        let urls = if let Some(urls) = urls {
            urls
        } else {
            NEVER_APART.get_or_init(|| ());
            script(SCRIPT, &["up", "--while", &process]).await
        };
        Some(Self { urls: urls.lines().map(str::to_owned).collect() })
    }

    /// Whether each node has a network of its own.
    fn is_apart(&self) -> bool {
        !self.urls[0].contains("127.0.0.1")
    }

    fn has_alerting() -> bool {
        let asked = std::process::Command::new(SCRIPT).arg("alerting").status();
        asked.expect("the script").success()
    }

    /// The cluster through one of its nodes.
    async fn store(&self, node: usize) -> Store {
        Self::store_at(&self.urls[node]).await
    }

    /// The cluster at this address. Every index of the test has two copies of each document, on two
    /// nodes.
    async fn store_at(url: &str) -> Store {
        let store = Store::at(url.to_owned());
        let template = json!({
            "index_patterns": [store.pattern()], "order": 9,
            "settings": {"number_of_shards": 1, "number_of_replicas": 1},
        });
        let path = format!("_template/{}-copies", store.pattern().replace("-*", ""));
        store.json(Method::Put, &path, template).await.expect("a template");
        store
    }
}

/// Has the script do this to a node.
async fn to_node(verb: &str, node: usize) {
    script(SCRIPT, &[verb, &node.to_string()]).await;
}

/// Until every copy of this test's documents is where it should be: else the last one might go with the
/// next node, which nobody survives.
async fn two_copies_again(store: &Store) {
    let path = format!(
        "_cluster/health/{}?wait_for_status=green&wait_for_no_relocating_shards=true&timeout=10s",
        store.pattern()
    );
    let begun = Instant::now();
    while let Err(not_yet) = store.json(Method::Get, &path, Value::Null).await {
        assert!(begun.elapsed() < PATIENCE, "{not_yet}");
    }
}

/// The number of the node that manages the cluster, once there is one.
async fn manager(store: &Store) -> usize {
    let begun = Instant::now();
    loop {
        let answer =
            store.json(Method::Get, "_cat/cluster_manager?format=json&h=node", Value::Null);
        match answer.await {
            Ok(answer) => return number(&answer[0]["node"]),
            Err(not_yet) => assert!(begun.elapsed() < PATIENCE, "{not_yet}"),
        }
    }
}

/// The number in a node's name.
fn number(name: &Value) -> usize {
    let number = name.as_str().and_then(|name| name.strip_prefix("node-"));
    number.and_then(|number| number.parse().ok()).expect("a node")
}

/// The nodes with a copy of the only shard of an index: the primary, and the other one.
async fn copies(store: &Store, index: &str) -> [usize; 2] {
    let path = format!("_cat/shards/{index}?format=json&h=prirep,node");
    let answer = store.json(Method::Get, &path, Value::Null).await.expect("the shards");
    let node = |kind: &str| {
        let mut all = answer.as_array().into_iter().flatten();
        number(&all.find(|copy| copy["prirep"] == kind).expect("a copy")["node"])
    };
    [node("p"), node("r")]
}

async fn reroute(store: &Store, command: Value) {
    let commands = json!({"commands": [command]});
    store.json(Method::Post, "_cluster/reroute", commands).await.expect("a way for a shard");
}

/// Moves the copies of an index until the primary is on this node.
async fn primary_on(store: &Store, index: &str, node: usize) {
    loop {
        two_copies_again(store).await;
        let [primary, other] = copies(store, index).await;
        let (here, there) = (format!("node-{primary}"), format!("node-{node}"));
        if primary == node {
            return;
        }
        if other == node {
            // The other copy becomes the primary, and a new one is made.
            let cancel = json!({"index": index, "shard": 0, "node": here, "allow_primary": true});
            reroute(store, json!({ "cancel": cancel })).await;
        } else {
            let way = json!({"index": index, "shard": 0, "from_node": here, "to_node": there});
            reroute(store, json!({ "move": way })).await;
        }
    }
}

impl<'a> Scene<'a> {
    /// Begins with 5 seconds for each request, and returns when the first alerts are stored: then their
    /// index is there.
    async fn begin_stored(store: &'a Store) -> Self {
        let scene = Self::begin(store, &[("ALERTLOOP_STORE_TIMEOUT", "5s")]).await;
        scene.is_stored().await;
        scene
    }

    /// Waits until all that was acknowledged so far is in the index.
    async fn is_stored(&self) {
        let (want, begun) = (self.ledger.acknowledged(), Instant::now());
        while crate::ledger::count(self.store).await < want {
            assert!(begun.elapsed() < PATIENCE, "not all of {want} are stored");
        }
    }
}
