//! Many that provision at once, some of them killed, and Malcolm's own script among them: what is
//! left is one of each, and nothing to do.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use alertloop::{
    opensearch::alerting::{self, Family},
    provision::{desired::HANDOVER_ID, ledger},
};
use rand::Rng as _;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Process, Store, provisioning, settings},
};

const ROUNDS: usize = 34;
const AT_ONCE: usize = 3;
const LOOPBACK: &str = "Malcolm API Loopback Monitor";
const CHANNEL: &str = "malcolm-api-loopback-webhook";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_runs_three_at_a_time_and_killed_leave_one_of_each() {
    let store = store!(alerting);
    let _turn = provisioning(&store).await;
    let dir = tempfile::tempdir().unwrap();
    let prefix = store.pattern().replace("-*", "");
    let (own, own_channel) = (format!("{prefix}own"), format!("{prefix}own-channel"));
    let mut settings = settings(&store, dir.path());
    let folder = dir.path().join("provisioning");
    for part in ["channels", "monitors"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    settings.extend([
        ("ALERTLOOP_PROVISIONING_DIR".to_owned(), folder.to_str().unwrap().to_owned()),
        ("ALERTLOOP_TEMPLATE".to_owned(), "none".to_owned()),
    ]);
    let write = |round: usize| {
        let monitor = json!({"name": own, "enabled": false, "monitor_type": "query_level_monitor",
            "schedule": {"period": {"interval": round + 1, "unit": "MINUTES"}},
            "inputs": [{"search": {"indices": [store.pattern()],
                "query": {"query": {"term": {"a": round}}}}}],
            "triggers": [{"query_level_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"source": "true"}},
                "actions": [{"name": "a", "destination_id": own_channel,
                    "message_template": {"source": "m"}}]}}]});
        let channel = json!({"config_id": own_channel, "config": {"name": own_channel,
            "config_type": "webhook", "webhook": {"url": format!("http://h/{round}")}}});
        std::fs::write(folder.join("monitors/own.json"), monitor.to_string()).unwrap();
        std::fs::write(folder.join("channels/own.json"), channel.to_string()).unwrap();
    };
    let (mut killed, mut finished) = (0, 0);
    for round in 0..ROUNDS {
        write(round);
        match round % 4 {
            // Everything is missing, and so is the memory of it.
            0 | 3 => {
                remove_monitors(&store, &[LOOPBACK, &own]).await;
                for id in [CHANNEL, &own_channel] {
                    remove_channel(&store, id).await;
                }
                store.raw("DELETE", &format!("/{}", ledger::INDEX), Value::Null).await;
            }
            1 => remove_monitors(&store, &[LOOPBACK, &own]).await,
            // The files have changed.
            _ => {}
        }
        let malcolm = async {
            if round % 4 == 3 {
                tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..800))).await;
                malcolms_script(&store).await;
            }
        };
        let runs = (0..AT_ONCE).map(|_| apply_or_be_killed(&settings));
        let ((), ends) = tokio::join!(malcolm, futures_join(runs));
        killed += ends.iter().filter(|end| end.is_none()).count();
        finished += ends.iter().filter(|end| end.is_some()).count();
        assert!(ends.iter().flatten().all(|end| *end), "round {round}: a run failed");

        let end = Process::command(&settings, &["provision", "apply"]).output().unwrap();
        let said = String::from_utf8_lossy(&end.stdout).into_owned();
        assert!(
            end.status.success(),
            "round {round}: {said}{}",
            String::from_utf8_lossy(&end.stderr)
        );
        let plan = ["provision", "plan", "--detailed-exitcode"];
        let plan = Process::command(&settings, &plan).output().unwrap();
        let said = String::from_utf8_lossy(&plan.stdout).into_owned();
        assert_eq!(plan.status.code(), Some(0), "round {round}: {said}");
        assert_eq!(count(&store, LOOPBACK).await, 1, "round {round}: {said}");
        assert_eq!(count(&store, &own).await, 1, "round {round}: {said}");
        for (id, is_there) in [(CHANNEL, true), (own_channel.as_str(), true), (HANDOVER_ID, false)]
        {
            let path = format!("/_plugins/_notifications/configs/{id}");
            let config = store.raw("GET", &path, Value::Null).await;
            assert_eq!(config.get("config_list").is_some(), is_there, "round {round}: {id}");
        }
        let monitors = format!("in sync     monitor  {own}");
        assert!(said.contains(&monitors), "round {round}: {said}");
    }
    let known = format!("/{}/_search?size=100", ledger::INDEX);
    let known = store.raw("GET", &known, Value::Null).await;
    for hit in known["hits"]["hits"].as_array().unwrap() {
        let entry = &hit["_source"];
        let is_ours = entry["name"].as_str().unwrap().starts_with(&prefix);
        assert!(entry["made"] == true || !is_ours, "{entry}");
    }
    println!("{killed} killed, {finished} finished");
    assert!(killed > ROUNDS / 2 && finished > ROUNDS / 2, "{killed} killed, {finished} finished");
    remove_monitors(&store, &[LOOPBACK, &own]).await;
    for id in [CHANNEL, &own_channel] {
        remove_channel(&store, id).await;
    }
    store.raw("DELETE", &format!("/{}", ledger::INDEX), Value::Null).await;
}

async fn futures_join<F: Future<Output = Option<bool>>>(
    all: impl Iterator<Item = F>,
) -> [Option<bool>; AT_ONCE] {
    let mut all: Vec<F> = all.collect();
    let (c, b, a) = (all.pop().unwrap(), all.pop().unwrap(), all.pop().unwrap());
    tokio::join!(a, b, c).into()
}

/// Whether it ended well; `None` where it was killed.
async fn apply_or_be_killed(settings: &std::collections::HashMap<String, String>) -> Option<bool> {
    let (is_doomed, life) = {
        let mut random = rand::rng();
        (random.random_bool(0.5), Duration::from_millis(random.random_range(30..900)))
    };
    let mut command = Process::command(settings, &["provision", "apply"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if is_doomed && begin.elapsed() > life {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "a run does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What Malcolm's shared-object-creation.sh does: the channel always, the monitor where not exactly
/// one is found that shares a word of its name.
async fn malcolms_script(store: &Store) {
    let channel = json!({"config_id": CHANNEL, "name": CHANNEL, "config": {
        "name": "Malcolm API Loopback Webhook",
        "description": "Malcolm API webhook to index OpenSearch alerts as session documents",
        "config_type": "webhook", "webhook": {"url": "http://api:5000/mapi/alert", "method": "POST",
            "header_params": {"Content-Type": "application/json"}}}});
    store.raw("POST", "/_plugins/_notifications/configs", channel).await;
    let query = json!({"query": {"match": {"monitor.name": LOOPBACK}}});
    let found = store.raw("POST", "/_plugins/_alerting/monitors/_search", query).await;
    if found["hits"]["hits"].as_array().is_some_and(|hits| hits.len() == 1) {
        return;
    }
    let shipped = include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
    let mut monitor: Value = serde_json::from_str(shipped).unwrap();
    monitor["inputs"][0]["search"]["indices"] = json!(["arkime_sessions3-*"]);
    let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
    trigger.as_object_mut().unwrap().remove("id");
    trigger["actions"][0].as_object_mut().unwrap().remove("id");
    trigger["actions"][0]["message_template"]["source"] = json!("{\"alert\": {}}");
    store.raw("POST", "/_plugins/_alerting/monitors", monitor).await;
}

async fn count(store: &Store, name: &str) -> usize {
    alerting::named(&store.client(), Family::Monitor, &[name]).await.unwrap().len()
}

async fn remove_monitors(store: &Store, names: &[&str]) {
    let client = store.client();
    for monitor in alerting::named(&client, Family::Monitor, names).await.unwrap() {
        alerting::delete(&client, Family::Monitor, &monitor.id).await.unwrap();
    }
}

async fn remove_channel(store: &Store, id: &str) {
    store.raw("DELETE", &format!("/_plugins/_notifications/configs/{id}"), Value::Null).await;
}
