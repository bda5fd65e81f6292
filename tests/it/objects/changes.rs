//! Changes that the store or a user makes hard.

use alertloop::provision::{Options, ledger, object::Object, plan::Action};
use serde_json::{Value, json};

use super::{
    FORCE, PRUNE,
    folder::Folder,
    lives::{action, minutes, search},
    step,
};
use crate::store;

fn channel(id: &str, config_type: &str, url: &str) -> Value {
    json!({"config_id": id, "config": {"name": id, "config_type": config_type,
        (config_type): {"url": url}}})
}

const SLACK: &str = "https://hooks.slack.com/services/a/b/hidden";

#[tokio::test]
async fn a_channel_of_another_type_takes_the_place_of_the_old_one() {
    let folder = Folder::new(store!(alerting)).await;
    let id = format!("{}type", folder.prefix);
    let file = format!("channels/{id}.json");
    folder.write(&file, &channel(&id, "webhook", "http://h/x"));
    folder.apply(Options::default()).await;
    folder.edit(Object::Channel, &id, |live| live["is_enabled"] = json!(false)).await;
    folder.write(&file, &channel(&id, "slack", SLACK));
    let applied = folder.apply(Options::default()).await;
    assert!(applied.to_string().contains("the file changed"), "{applied}");
    let (_, live) = folder.live(Object::Channel, &id).await.unwrap();
    assert_eq!((&live["config_type"], &live["is_enabled"]), (&json!("slack"), &json!(false)));
    // One that the store refuses leaves the old one, and says why without its address.
    folder.write(&file, &channel(&id, "webhook", "hidden"));
    let fault = folder.try_apply(Options::default()).await.unwrap_err().to_string();
    assert!(fault.contains("no protocol") && !fault.contains("hidden"), "{fault}");
    let (_, kept) = folder.live(Object::Channel, &id).await.unwrap();
    assert_eq!(kept, live);
    folder.remove(&file);
    assert_eq!(folder.apply(PRUNE).await.done.len(), 1);
}

#[tokio::test]
async fn the_loopback_channel_is_taken_over_also_from_another_type() {
    let folder = Folder::new(store!(alerting)).await;
    folder.remove("channels/malcolm_api_loopback_webhook.json");
    let id = "malcolm-api-loopback-webhook";
    let theirs = channel(id, "slack", SLACK);
    folder.raw("POST", "/_plugins/_notifications/configs", theirs).await;
    let plan = folder.plan(Options::default()).await;
    assert!(step(&plan, id).contains("its type is slack"), "{plan}");
    folder.apply(FORCE).await;
    let (_, live) = folder.live(Object::Channel, id).await.unwrap();
    assert_eq!(live["webhook"]["url"], folder.settings.webhook_url.as_str());
}

#[tokio::test]
async fn a_plan_right_after_an_apply_sees_what_was_written() {
    let folder = Folder::new(store!(alerting)).await;
    let ids: Vec<_> = (0..5).map(|n| format!("{}now{n}", folder.prefix)).collect();
    for round in 0..5 {
        for id in &ids {
            let url = format!("http://h/{round}");
            folder.write(&format!("channels/{id}.json"), &channel(id, "webhook", &url));
        }
        let applied = folder.apply(Options::default()).await;
        assert_eq!(applied.done.len(), ids.len(), "round {round}: {applied}");
        for plan in [applied.after, folder.plan(Options::default()).await] {
            let mut steps = plan.steps.iter().filter(|step| step.file.is_some());
            assert!(steps.all(|step| step.action == Action::InSync), "round {round}: {plan}");
        }
    }
    for id in &ids {
        folder.remove(&format!("channels/{id}.json"));
    }
    assert_eq!(folder.apply(PRUNE).await.done.len(), ids.len());
    assert_eq!(folder.apply(PRUNE).await.after.steps.len(), 1, "nothing is remembered");
}

#[tokio::test]
async fn a_monitor_whose_parts_share_a_name_is_made_with_an_id_for_each() {
    let folder = Folder::new(store!(alerting)).await;
    let name = format!("{}same", folder.prefix);
    let trigger = json!({"query_level_trigger": {"name": "t", "severity": "1",
        "condition": {"script": {"source": "true"}}, "actions": [action("a"), action("a")]}});
    let monitor = json!({"name": name, "enabled": false, "monitor_type": "query_level_monitor",
        "schedule": minutes(5), "triggers": [trigger, trigger],
        "inputs": search(&folder.prefix, &json!({"query": {"match_all": {}}}))});
    folder.write("monitors/same.json", &monitor);
    folder.apply(Options::default()).await;
    let (_, live) = folder.live(Object::Monitor, &name).await.unwrap();
    let ids: std::collections::BTreeSet<_> = [0, 1]
        .iter()
        .flat_map(|at| {
            let trigger = &live["triggers"][at]["query_level_trigger"];
            [&trigger["id"], &trigger["actions"][0]["id"], &trigger["actions"][1]["id"]]
        })
        .map(Value::to_string)
        .collect();
    assert_eq!(ids.len(), 6, "{live}");
    folder.remove("monitors/same.json");
    folder.apply(PRUNE).await;
}

/// A file may take any text of an object from another file, and that may be a secret.
#[tokio::test]
async fn what_a_file_takes_from_another_file_is_shown_nowhere() {
    let folder = Folder::new(store!(alerting)).await;
    let name = format!("{}secret", folder.prefix);
    let mut words = channel(&name, "webhook", "http://h/x");
    words["config"]["description"] = json!("${file:secret}");
    let mut act = action("a");
    act["message_template"]["source"] = json!("${file:secret}");
    let monitor = json!({"name": name, "enabled": false, "monitor_type": "query_level_monitor",
        "schedule": minutes(5), "triggers": [{"query_level_trigger": {"name": "t", "severity": "1",
            "condition": {"script": {"source": "true"}}, "actions": [act]}}],
        "inputs": search(&folder.prefix, &json!({"query": {"match_all": {}}}))});
    let template =
        json!({"index_patterns": [format!("{name}-*")], "_meta": {"a": "${file:secret}"}});
    let files = [("channels", words), ("monitors", monitor), ("templates", template)];
    for (part, body) in &files {
        folder.write(&format!("{part}/{name}.json"), body);
    }
    let secret = |word: &str| std::fs::write(folder.dir.path().join("secret"), word).unwrap();
    let kinds = [Object::Channel, Object::Monitor, Object::Template];
    secret("hidden-1\n");
    folder.apply(Options::default()).await;
    let kept = format!("/{}/_search?size=100", ledger::INDEX);
    let kept = folder.raw("GET", &kept, Value::Null).await;
    assert!(kept.to_string().contains(&name) && !kept.to_string().contains("hidden"), "{kept}");

    secret("hidden-2\n");
    let plan = folder.plan(Options::default()).await;
    assert_eq!(plan.to_string().matches("(the file changed)").count(), 3, "{plan}");
    assert_eq!(plan.to_string().matches(r#""[REDACTED]" -> "#).count(), 3, "{plan}");
    let shown = serde_json::to_string(&plan).unwrap() + &plan.to_string();
    assert!(!shown.contains("hidden"), "{shown}");
    assert_eq!(folder.apply(Options::default()).await.done.len(), 3);
    assert!(folder.apply(Options::default()).await.done.is_empty());

    for object in kinds {
        let edit = |live: &mut Value| {
            *live =
                serde_json::from_str(&live.to_string().replace("hidden-2", "hidden-3")).unwrap();
        };
        folder.edit(object, &name, edit).await;
    }
    for options in [Options::default(), FORCE] {
        let plan = folder.plan(options).await;
        let users = plan.steps.iter().filter(|step| step.to_string().contains("user"));
        assert_eq!(users.count(), 3, "{plan}");
        assert!(!plan.to_string().contains("hidden"), "{plan}");
    }
    assert_eq!(folder.apply(FORCE).await.done.len(), 3);
    for (part, _) in &files {
        folder.remove(&format!("{part}/{name}.json"));
    }
    assert_eq!(folder.apply(PRUNE).await.done.len(), 3);
}

/// The store finds no name of more than 256 units of UTF-16: each run would make another.
#[tokio::test]
async fn a_name_is_refused_just_where_the_store_would_not_find_it_again() {
    let folder = Folder::new(store!(alerting)).await;
    let monitor = |name: &str| {
        json!({"name": name, "enabled": false, "monitor_type": "query_level_monitor",
            "schedule": minutes(5), "triggers": [],
            "inputs": search(&folder.prefix, &json!({"query": {"match_all": {}}}))})
    };
    let longest = folder.prefix.clone() + &"\u{1f600}".repeat((256 - folder.prefix.len()) / 2);
    folder.write("monitors/long.json", &monitor(&longest));
    folder.apply(Options::default()).await;
    folder.lose_the_ledger().await;
    assert!(folder.apply(Options::default()).await.done.is_empty(), "it is found again");
    folder.write("monitors/long.json", &monitor(&(longest.clone() + "\u{1f600}")));
    let fault = folder.try_apply(Options::default()).await.unwrap_err().to_string();
    assert!(fault.contains("long.json: its name has more than 256"), "{fault}");
    let (path, _) = folder.live(Object::Monitor, &longest).await.unwrap();
    folder.raw("DELETE", &path, Value::Null).await;
}
