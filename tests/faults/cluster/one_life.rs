//! Alerts of the cluster's own Alerting plugin, while its manager is killed, and behind a balancer.

use std::net::TcpListener;

use opensearch::http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{SCRIPT, balancer::RoundRobin, cluster, manager, to_node};
use crate::{
    effort,
    ledger::Verdict,
    lives::{Balancer, Lives, versions},
    report,
    scene::{PATIENCE, script, serve, settings_with, wait_for},
    support::{Process, Store, Watched},
    waiting::{drained, until},
};

const CHANNEL: &str = "malcolm-api-loopback-webhook";
const MONITORS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_live_on_and_nothing_is_provisioned_twice_while_the_manager_is_killed() {
    let cluster = cluster!(alerting);
    let manages = manager(&cluster.store(0).await).await;
    let [near, far] = [(manages + 1) % 3, (manages + 2) % 3];
    let store = cluster.store(near).await;
    store.make_template().await;
    store.remove_loopback().await;
    let here = script(SCRIPT, &["here"]).await;
    let webhooks = Balancer::at(&here).await;
    let dirs = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let ways =
        [RoundRobin::before(&cluster.urls).await.url().to_owned(), cluster.urls[far].clone()];
    let settings = [0, 1].map(|which| {
        let listen = TcpListener::bind((here.as_str(), 0)).and_then(|free| free.local_addr());
        let listen = listen.expect("a free port").to_string();
        settings_with(
            &store,
            &dirs[which],
            &[
                ("OPENSEARCH_URL", ways[which].as_str()),
                ("ALERTLOOP_LISTEN", &listen),
                ("ALERTLOOP_WEBHOOK_URL", webhooks.url()),
                ("ALERTLOOP_PROVISION", "true"),
                ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
                ("ALERTLOOP_STORE_TIMEOUT", "5s"),
            ],
        )
    });
    let is_provisioned = |says: &Value| says["provisioning"] == "done";
    // Both at once.
    let [mut first, second] = settings.each_ref().map(serve);
    webhooks.before(vec![first.url("/mapi/alert"), second.url("/mapi/alert")]);
    for process in [&first, &second] {
        wait_for(process, is_provisioned).await;
    }
    one_of_each(&store, &settings[1]).await;

    alerts_can_be_read(&store).await;
    let mut monitors = Vec::new();
    for number in 0..MONITORS {
        let name = format!("faults: one life {number}");
        monitors.push(Watched::make(&store, &name, CHANNEL).await);
    }
    let all_are = async |action: &str, version: u64| {
        let records = store.records().await;
        let is_so = |record: &Value| {
            record["_source"]["event"]["action"] == action
                && record["_version"].as_u64() >= Some(version)
        };
        records.len() == MONITORS && records.iter().all(is_so)
    };
    for monitor in &monitors {
        monitor.run().await;
    }
    until("they are engaged", PATIENCE, async || all_are("engaged", 1).await).await;

    to_node("kill", manages).await;
    // One that starts while there is no manager.
    first.kill();
    first = serve(&settings[0]);
    let health = "_cluster/health?wait_for_status=yellow&wait_for_nodes=2&timeout=10s";
    let goes_on = async || store.json(Method::Get, health, Value::Null).await.is_ok();
    until("two go on", PATIENCE, goes_on).await;
    for monitor in &monitors {
        monitor.run().await;
    }
    until("they fired again", PATIENCE, async || all_are("engaged", 2).await).await;
    wait_for(&first, is_provisioned).await;
    to_node("start", manages).await;
    for monitor in &mut monitors {
        monitor.run_with("false").await;
    }
    until("they are released", PATIENCE, async || all_are("released", 2).await).await;
    one_of_each(&store, &settings[1]).await;

    let mut lost: Vec<String> = Vec::new();
    let records = store.records().await;
    for monitor in monitors {
        let alert = monitor.alert("COMPLETED").await;
        let is_it = |record: &&Value| record["_source"]["event"]["id"] == alert["id"];
        if records.iter().filter(is_it).count() != 1 {
            lost.push(alert["id"].to_string());
        }
        monitor.remove().await;
    }
    let verdict =
        Verdict { acknowledged: MONITORS, found: records.len(), lost, doubled: Vec::new() };
    verdict.must_hold();
    let how =
        "SIGKILL to the manager while alerts of monitors are engaged, and to one of two replicas";
    report::row(
        "cluster manager killed, Alerting",
        how,
        1,
        &verdict,
        "one channel, one monitor, an empty plan",
    );
    for process in [first, second] {
        process.signal("TERM");
        assert_eq!(tokio::task::block_in_place(|| process.wait()).code(), Some(0));
    }
    store.remove_loopback().await;
}

/// One loopback monitor and one loopback channel, and nothing to be provisioned.
async fn one_of_each(store: &Store, settings: &std::collections::HashMap<String, String>) {
    let name = json!({"query": {"term": {"monitor.name.keyword": "Malcolm API Loopback Monitor"}}});
    let found = store.json(Method::Post, "_plugins/_alerting/monitors/_search", name).await;
    let found = found.expect("the monitors");
    assert_eq!(found["hits"]["total"]["value"], 1, "{found:#}");
    let path = "_plugins/_notifications/configs?config_type=webhook&max_items=1000";
    let channels = store.json(Method::Get, path, Value::Null).await.expect("the channels");
    let channels = channels["config_list"].as_array().expect("a list");
    let is_ours = |one: &&Value| one["config"]["name"] == "Malcolm API Loopback Webhook";
    assert_eq!(channels.iter().filter(is_ours).count(), 1, "{channels:#?}");
    let (code, plan, said) =
        Process::output(settings, &["provision", "plan", "--detailed-exitcode"]);
    assert_eq!(code, 0, "{plan}{said}");
}

/// The first run of a monitor makes the index of alerts, which answers 503 until its shards are placed.
async fn alerts_can_be_read(store: &Store) {
    let first = Watched::make(store, "faults: the first of all", "none").await;
    first.run().await;
    let health = "_cluster/health/.opendistro-alerting-alerts?wait_for_status=green&timeout=10s";
    let is_placed = async || store.json(Method::Get, health, Value::Null).await.is_ok();
    until("the alerts can be read", PATIENCE, is_placed).await;
    first.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_each_record_is_right_whichever_node_wrote_it() {
    let cluster = cluster!(alerting);
    let store = cluster.store(0).await;
    store.make_template().await;
    let proxy = RoundRobin::before(&cluster.urls).await;
    let here = script(SCRIPT, &["here"]).await;
    let webhooks = Balancer::at(&here).await;
    let dir = tempfile::tempdir().expect("a directory");
    let process = serve(&settings_with(
        &store,
        &dir,
        &[
            ("OPENSEARCH_URL", proxy.url()),
            ("ALERTLOOP_WEBHOOK_URL", webhooks.url()),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
        ],
    ));
    webhooks.before(vec![process.url("/mapi/alert")]);
    alerts_can_be_read(&store).await;
    let lives = Lives::make(&store, webhooks.url(), 4).await;
    let (stop, steps) = (CancellationToken::new(), effort::times(16, 200));
    tokio::join!(lives.go_on(&stop), async {
        lives.happen(steps as usize).await;
        stop.cancel();
    });
    assert!(drained(&process, PATIENCE).await, "it is gone");
    let settled = lives.settle().await;
    let lost = versions(&settled, true);
    // Engaged, acknowledged, released: what it has written itself it always finds.
    assert!(lost.keys().all(|version| *version <= 3), "{lost:?}");
    let verdict = Verdict {
        acknowledged: settled.len(),
        found: settled.len(),
        lost: Vec::new(),
        doubled: Vec::new(),
    };
    let how =
        "each request to the next of three nodes, monitors that fire, are acknowledged and over";
    report::row("cluster behind a balancer", how, steps.into(), &verdict, "each record is right");
    lives.remove().await;
    process.signal("TERM");
    assert_eq!(tokio::task::block_in_place(|| process.wait()).code(), Some(0));
}
