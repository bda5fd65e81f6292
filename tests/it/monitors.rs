//! The monitors as the service lists and switches them, on a real OpenSearch with Alerting.

use std::time::Duration;

use alertloop::{
    monitors::{Fault, Monitors},
    provision::{Options, object::Object},
};
use serde_json::{Value, json};

use crate::{
    objects::{folder::Folder, step},
    store,
    support::{Answer, App, Store},
};

const PATIENCE: Duration = Duration::from_mins(1);
const CHANNEL: &str = "malcolm-api-loopback-webhook";

fn monitor(store: &Store, name: &str, source: &str) -> Value {
    json!({
        "type": "monitor", "name": name, "monitor_type": "query_level_monitor", "enabled": true,
        "schedule": {"period": {"interval": 7, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [store.pattern()],
            "query": {"size": 0, "query": {"match_all": {}}}}}],
        "ui_metadata": {"search": {"searchType": "graph", "timeField": "firstPacket"}},
        "triggers": [{"query_level_trigger": {
            "id": "t1", "name": "always", "severity": "2",
            "condition": {"script": {"source": source, "lang": "painless"}},
            "actions": [{"id": "a1", "name": "tell", "destination_id": CHANNEL,
                "message_template": {"source": "{}", "lang": "mustache"},
                "subject_template": {"source": "", "lang": "mustache"},
                "throttle_enabled": true, "throttle": {"value": 10, "unit": "MINUTES"}}]}}]})
}

/// The monitor as Dashboards sees it: with what is hidden from others.
async fn seen(store: &Store, id: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().user_agent("OpenSearch-Dashboards");
    let url = format!("{}/_plugins/_alerting/monitors/{id}", store.url());
    let answer = client.build().expect("a client").get(url).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["monitor"].clone()
}

async fn switch(app: &App, id: &str, verb: &str) -> Answer {
    let request = app.post(&format!("/mapi/conditions/{id}/{verb}"));
    Answer::of(request.header("content-type", "application/json")).await
}

async fn listed(app: &App, query: &str, name: &str) -> Option<Value> {
    let answer = Answer::of(app.get(&format!("/mapi/conditions{query}"))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let items = answer.json["items"].as_array().expect("items");
    items.iter().find(|item| item["name"] == name).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_are_listed_with_their_runs_and_switched_without_any_other_change() {
    let store = store!(alerting);
    let app = App::start(&store, &[]).await;
    let name = format!("{} ours", store.pattern());
    let made =
        store.make("/_plugins/_alerting/monitors", monitor(&store, &name, "ctx.nothing > 1")).await;
    let id = made["_id"].as_str().expect("an id").to_owned();
    let path = format!("/_plugins/_alerting/monitors/{id}");
    let other_name = format!("{} other", store.pattern());
    let mut other = monitor(&store, &other_name, "false");
    other["triggers"][0]["query_level_trigger"]["actions"] = json!([]);
    let other = store.make("/_plugins/_alerting/monitors", other).await;
    let other = other["_id"].as_str().expect("an id").to_owned();

    let ours = listed(&app, "", &name).await.expect("ours");
    assert_eq!((&ours["kind"], &ours["schedule"]), (&json!("query"), &json!("every 7 minutes")));
    assert_eq!((&ours["sends_to_us"], &ours["severity"]), (&json!(true), &json!(80)));
    assert!(ours["url"].as_str().expect("a link").contains(&id));
    assert_eq!(listed(&app, "", &other_name).await, None);
    assert!(listed(&app, "/?all=true", &other_name).await.is_some());

    // Its trigger fails: that is told, where the alert is.
    store.raw("POST", &format!("{path}/_execute?dryrun=false"), Value::Null).await;
    let broken = async {
        loop {
            let ours = listed(&app, "", &name).await.expect("ours");
            if ours["trouble"][0]["reason"] == "broken" {
                return ours;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, broken).await.expect("broken");

    let before = seen(&store, &id).await;
    assert_eq!(before["ui_metadata"]["search"]["searchType"], "graph", "{before}");
    let off = switch(&app, &id, "disable").await;
    assert_eq!((off.status, &off.json["enabled"]), (200, &json!(false)), "{:?}", off.json);
    assert_eq!(listed(&app, "", &name).await.expect("ours")["enabled"], false);
    let again = switch(&app, &id, "disable").await;
    assert_eq!((again.status, &again.json["enabled"]), (200, &json!(false)));
    let on = switch(&app, &id, "enable/").await;
    assert_eq!((on.status, &on.json["enabled"]), (200, &json!(true)), "{:?}", on.json);
    let mut after = seen(&store, &id).await;
    for key in ["enabled_time", "last_update_time", "schema_version"] {
        after[key] = before[key].clone();
    }
    assert_eq!(after, before);

    for (path, verb, want) in [("nobody", "enable", 404), ("a%2Fb", "disable", 404)] {
        let answer = switch(&app, path, verb).await;
        assert_eq!(answer.status, want, "{path}: {:?}", answer.json);
    }
    let form = Answer::of(app.post(&format!("/mapi/conditions/{id}/disable"))).await;
    assert_eq!(form.status, 415, "a page elsewhere could have a browser do it");
    for id in [id, other] {
        store.raw("DELETE", &format!("/_plugins/_alerting/monitors/{id}"), Value::Null).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_monitor_is_switched_too() {
    let store = store!(alerting);
    let name = format!("{} delegate", store.pattern());
    let made = store.make("/_plugins/_alerting/monitors", monitor(&store, &name, "false")).await;
    let delegate = made["_id"].as_str().expect("an id").to_owned();
    let workflow = json!({"type": "workflow", "workflow_type": "composite", "enabled": true,
        "name": format!("{} workflow", store.pattern()), "triggers": [],
        "schedule": {"period": {"interval": 7, "unit": "MINUTES"}},
        "inputs": [{"composite_input": {"sequence": {"delegates": [
            {"order": 1, "monitor_id": delegate}]}}}]});
    let made = store.make("/_plugins/_alerting/workflows", workflow).await;
    let id = made["_id"].as_str().expect("an id").to_owned();
    let monitors = Monitors::new(&store.client(), store.provisioning());
    let off = monitors.switch(&id, false).await.expect("switched");
    assert_eq!((off.kind.as_str(), off.enabled), ("composite", false));
    let path = format!("/_plugins/_alerting/workflows/{id}");
    let live = store.raw("GET", &path, Value::Null).await;
    assert_eq!(live["workflow"]["enabled"], false, "{live}");
    assert_eq!(live["workflow"]["inputs"], made["workflow"]["inputs"]);
    assert!(matches!(monitors.switch("nobody", true).await, Err(Fault::Unknown(_))));
    store.raw("DELETE", &path, Value::Null).await;
    store.raw("DELETE", &format!("/_plugins/_alerting/monitors/{delegate}"), Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_leaves_the_switch_as_it_was_set_and_says_of_which_file_a_monitor_is() {
    let folder = Folder::new(store!(alerting)).await;
    let name = format!("{} switched", folder.prefix);
    folder.write("monitors/switched.json", &monitor(&folder.store, &name, "false"));
    let monitors = Monitors::new(&folder.client, folder.settings.clone());
    let missing = monitors.list(false).await.expect("a list");
    let missing = missing.items.iter().find(|item| item.name == name).expect("by its file");
    assert_eq!((&missing.id, missing.trouble[0].reason.as_str()), (&None, "missing"));

    folder.apply(Options::default()).await;
    let monitors = Monitors::new(&folder.client, folder.settings.clone());
    let list = monitors.list(false).await.expect("a list");
    let item = list.items.iter().find(|item| item.name == name).expect("listed");
    assert_eq!(item.file.as_deref(), Some("monitors/switched.json"));
    let id = item.id.clone().expect("an id");
    let was = item.enabled;
    let now = monitors.switch(&id, !was).await.expect("switched");
    assert_eq!((now.enabled, now.file.as_deref()), (!was, Some("monitors/switched.json")));
    for options in [Options::default(), Options { force: true, ..Options::default() }] {
        let plan = folder.plan(options).await;
        assert!(step(&plan, &name).starts_with("in sync"), "{plan}");
        assert!(folder.apply(options).await.done.is_empty());
        let (_, live) = folder.live(Object::Monitor, &name).await.expect("there");
        assert_eq!(live["enabled"], !was);
    }
    let (path, _) = folder.live(Object::Monitor, &name).await.expect("there");
    folder.raw("DELETE", &path, Value::Null).await;
    folder.lose_the_ledger().await;
}
