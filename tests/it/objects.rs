//! Every kind of object that a file can describe, through its whole life in the real store.

use alertloop::provision::{
    self, Error, Options, Plan, Settings,
    desired::{CHANNEL_ID, MONITOR_NAME},
    export, ledger,
    object::Object,
    plan::Action,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::store;

mod any;
mod changes;
pub mod folder;
pub mod lives;
mod odd;

use any::any_objects;
use folder::Folder;
use lives::{Life, lives, minutes};

const FORCE: Options = Options { force: true, prune: false, session_template_only: false };
const PRUNE: Options = Options { force: false, prune: true, session_template_only: false };

pub fn step(plan: &Plan, name: &str) -> String {
    let step = plan.steps.iter().find(|step| step.name == name);
    step.unwrap_or_else(|| panic!("no {name} in {plan}")).to_string()
}

#[tokio::test]
async fn every_kind_of_object_goes_through_its_life() {
    whole_life(&Folder::new(store!(alerting)).await).await;
}

pub async fn whole_life(folder: &Folder) {
    let lives = lives(&folder.prefix);
    are_made_and_then_nothing_is_left_to_do(folder, &lives).await;
    follow_their_files_but_for_the_switch(folder, &lives).await;
    keep_a_users_edits_unless_forced(folder, &lives).await;
    are_removed_when_asked_for(folder, &lives).await;
}

async fn are_made_and_then_nothing_is_left_to_do(folder: &Folder, lives: &[Life]) {
    for life in lives {
        folder.write(&life.file, &life.body);
    }
    let plan = folder.plan(Options::default()).await;
    let created = plan.steps.iter().filter(|step| step.action == Action::Create).count();
    assert_eq!(created, lives.len(), "{plan}");
    assert!(!plan.to_string().contains(folder.token.expose()));
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "{applied}");
    let kept = format!("/{}/_search?size=100", ledger::INDEX);
    let kept = folder.raw("GET", &kept, Value::Null).await;
    assert!(!kept.to_string().contains(folder.token.expose()), "the ledger holds no secret");
    are_the_same_in_another_form(folder, lives).await;
    // Also not for one who has lost the ledger.
    for lost in [false, true] {
        if lost {
            folder.lose_the_ledger().await;
        }
        let plan = folder.plan(Options::default()).await;
        let mut of_files = plan.steps.iter().filter(|step| step.file.is_some());
        assert!(of_files.all(|step| step.action == Action::InSync), "ledger lost: {lost}\n{plan}");
        assert!(folder.apply(Options::default()).await.done.is_empty());
    }
    // A ledger that was lost no longer knows that we made them.
    for life in lives.iter().rev() {
        let (path, _) = folder.live(life.object, &life.name).await.unwrap();
        folder.raw("DELETE", &path, Value::Null).await;
    }
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "what is deleted is made again: {applied}");
}

/// What is exported says at length what the files say in short, and is no change.
async fn are_the_same_in_another_form(folder: &Folder, lives: &[Life]) {
    let other = tempfile::tempdir().unwrap();
    let all = folder.everything(lives, None).await;
    export::files(&all, &folder.settings).write(other.path(), false).unwrap();
    let settings = Settings { dir: Some(other.path().to_owned()), ..folder.settings.clone() };
    let options = Options::default();
    let plan = provision::look(&folder.client, &settings, &folder.secret(), options).await.unwrap();
    for life in lives {
        assert!(step(&plan, &life.name).starts_with("in sync"), "{plan}");
    }
}

async fn follow_their_files_but_for_the_switch(folder: &Folder, lives: &[Life]) {
    for life in lives {
        folder.write(&life.file, &life.changed());
        if let Some(switch) = life.object.switch() {
            let turn = |live: &mut Value| live[switch] = json!(live[switch] != true);
            folder.edit(life.object, &life.name, turn).await;
        }
    }
    let before = all_live(folder, lives).await;
    let plan = folder.plan(Options::default()).await;
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "{applied}");
    for (life, before) in lives.iter().zip(&before) {
        let text = step(&plan, &life.name).to_lowercase();
        let path = life.change.0[1..].replace('/', ".").to_lowercase();
        let path = path.replace("settings.", "settings.index.");
        assert!(text.starts_with("update") && text.contains(&path), "{path} in {text}");
        let (_, live) = folder.live(life.object, &life.name).await.unwrap();
        assert_ne!(&live, before, "{}", life.name);
        if let Some(switch) = life.object.switch() {
            assert_eq!(live[switch], before[switch], "{}", life.name);
        }
    }
}

async fn keep_a_users_edits_unless_forced(folder: &Folder, lives: &[Life]) {
    for life in lives {
        folder.edit(life.object, &life.name, |live| life.edit(live)).await;
    }
    let edited = all_live(folder, lives).await;
    assert!(folder.apply(Options::default()).await.done.is_empty());
    let plan = folder.plan(Options::default()).await;
    let forced = folder.plan(FORCE).await;
    for life in lives {
        let text = step(&plan, &life.name);
        assert!(text.contains("edited by a user"), "{text}");
        assert!(step(&forced, &life.name).contains("taken over from a user"), "{forced}");
    }
    assert_eq!(all_live(folder, lives).await, edited);
    assert_eq!(folder.apply(FORCE).await.done.len(), lives.len());
    for (life, edited) in lives.iter().zip(&edited) {
        let (_, live) = folder.live(life.object, &life.name).await.unwrap();
        assert_ne!(&live, edited, "{}", life.name);
        if let Some(switch) = life.object.switch() {
            assert_eq!(live[switch], edited[switch], "{}", life.name);
        }
    }
    assert!(folder.apply(FORCE).await.done.is_empty());
}

async fn are_removed_when_asked_for(folder: &Folder, lives: &[Life]) {
    // Not what a user edited.
    folder.edit(lives[0].object, &lives[0].name, |live| lives[0].edit(live)).await;
    for life in lives {
        folder.remove(&life.file);
    }
    let plan = folder.plan(Options::default()).await;
    assert!(plan.is_in_sync(), "{plan}");
    assert_eq!(plan.to_string().matches("--prune removes it").count(), lives.len(), "{plan}");
    let applied = folder.apply(PRUNE).await;
    assert_eq!(applied.done.len(), lives.len() - 1, "{applied}");
    let all = Options { force: true, ..PRUNE };
    assert_eq!(folder.apply(all).await.done.len(), 1);
    for life in lives {
        assert_eq!(folder.live(life.object, &life.name).await, None);
    }
    assert_eq!(folder.plan(all).await.steps.len(), 1, "nothing is remembered");
}

async fn all_live(folder: &Folder, lives: &[Life]) -> Vec<Value> {
    let mut all = Vec::new();
    for life in lives {
        all.push(folder.live(life.object, &life.name).await.unwrap().1);
    }
    all
}

#[tokio::test]
async fn what_was_there_before_us_is_left_alone_and_never_pruned() {
    let folder = Folder::new(store!(alerting)).await;
    let lives = lives(&folder.prefix);
    let (channel, monitor, template) = (&lives[1], &lives[9], &lives[13]);
    let theirs = json!({"config_id": channel.name, "config": {"name": "theirs",
        "config_type": "slack", "slack": {"url": "https://hooks.slack.com/services/theirs"}}});
    folder.raw("POST", "/_plugins/_notifications/configs", theirs).await;
    let mut body = monitor.body.clone();
    body["schedule"] = minutes(7);
    folder.raw("POST", "/_plugins/_alerting/monitors", body).await;
    let path = format!("/_index_template/{}", template.name);
    folder.raw("PUT", &path, json!({"index_patterns": ["theirs-*"]})).await;
    let all = [channel, monitor, template];
    for life in all {
        folder.write(&life.file, &life.body);
    }
    let plan = folder.plan(Options::default()).await;
    assert!(plan.is_in_sync(), "{plan}");
    for life in all {
        assert!(step(&plan, &life.name).contains("it exists, and not from this file"), "{plan}");
    }
    assert!(!plan.to_string().contains("services/theirs"), "{plan}");
    assert_eq!(folder.apply(FORCE).await.done.len(), all.len());
    assert!(folder.apply(Options::default()).await.done.is_empty());
    for life in all {
        folder.remove(&life.file);
    }
    assert!(folder.apply(PRUNE).await.done.is_empty(), "it was not made by us");
    for life in all {
        let (path, _) = folder.live(life.object, &life.name).await.expect("it stays");
        folder.raw("DELETE", &path, Value::Null).await;
    }
}

#[tokio::test]
async fn a_refused_step_stops_the_rest_and_the_next_run_goes_on() {
    let folder = Folder::new(store!(alerting)).await;
    let lives = lives(&folder.prefix);
    let (channel, monitor) = (&lives[1], &lives[9]);
    let mut bad = lives[0].body.clone();
    bad["config"]["webhook"]["url"] = json!("no address");
    folder.write(&channel.file, &channel.body);
    folder.write(&lives[0].file, &bad);
    folder.write(&monitor.file, &monitor.body);
    let fault = folder.try_apply(Options::default()).await.unwrap_err();
    let text = fault.to_string();
    let Error::Stopped { done, left, .. } = fault else { panic!("{text}") };
    assert!(text.contains(&format!("cannot create the channel {}", lives[0].name)), "{text}");
    assert!(text.contains("1 step done before it, 1 left"), "{text}");
    assert_eq!((done.len(), done[0].name.as_str(), left), (1, channel.name.as_str(), 1));
    folder.write(&lives[0].file, &lives[0].body);
    assert_eq!(folder.apply(Options::default()).await.done.len(), 2);
    for life in [channel, monitor, &lives[0]] {
        folder.remove(&life.file);
    }
    assert_eq!(folder.apply(PRUNE).await.done.len(), 3);
}

/// For any object that can be described: applied, then there is nothing to do; as read back from
/// the store, with what was applied known and without.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_apply_the_plan_is_empty() {
    let folder = Folder::new(store!(alerting)).await;
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    for round in 0..12 {
        let objects = any_objects(&folder.prefix).new_tree(&mut runner).unwrap().current();
        for (file, body) in &objects {
            folder.write(file, body);
        }
        folder.apply(Options::default()).await;
        let plan = folder.plan(Options::default()).await;
        assert!(plan.is_in_sync(), "round {round}: {plan}\n{objects:#?}");
        folder.lose_the_ledger().await;
        let plan = folder.plan(Options::default()).await;
        let left_alone =
            plan.steps.iter().filter(|step| step.action != Action::InSync && step.file.is_some());
        assert_eq!(left_alone.count(), 0, "round {round}: {plan}\n{objects:#?}");
        // For the next round, they are ours again.
        folder.apply(FORCE).await;
    }
    for (file, _) in any_objects(&folder.prefix).new_tree(&mut runner).unwrap().current() {
        let name = file.split(['/', '.']).nth(1).unwrap().to_owned();
        let object = match file.split('/').next() {
            Some("channels") => Object::Channel,
            Some("monitors") => Object::Monitor,
            _ => Object::Template,
        };
        if let Some((path, _)) = folder.live(object, &name).await {
            folder.raw("DELETE", &path, Value::Null).await;
        }
    }
}

#[tokio::test]
async fn what_is_exported_plans_as_in_sync() {
    is_exported_and_in_sync(&Folder::new(store!(alerting)).await).await;
}

pub async fn is_exported_and_in_sync(folder: &Folder) {
    let lives = lives(&folder.prefix);
    // As Dashboards, or any other client, makes them; the loopback objects by ourselves, and edited.
    for life in lives.iter().filter(|life| life.object != Object::Workflow) {
        let (method, path, mut body) = match life.object {
            Object::Channel => {
                ("POST", "/_plugins/_notifications/configs".to_owned(), life.body.clone())
            }
            Object::Template => {
                ("PUT", format!("/_index_template/{}", life.name), life.body.clone())
            }
            Object::LegacyTemplate => {
                ("PUT", format!("/_template/{}", life.name), life.body.clone())
            }
            _ => ("POST", "/_plugins/_alerting/monitors".to_owned(), life.body.clone()),
        };
        if let Some(headers) = body.pointer_mut("/config/webhook/header_params") {
            headers["X-Token"] = json!("hidden");
        }
        if life.object == Object::Monitor {
            body["ui_metadata"] = json!({"schedule": {"frequency": "interval"},
                "search": {"searchType": "graph", "timeField": "firstPacket"}});
        }
        let made = folder.raw(method, &path, body).await;
        assert!(made.get("error").is_none(), "{made}");
    }
    let workflow = lives.iter().find(|life| life.object == Object::Workflow).unwrap();
    let mut text = workflow.body.to_string();
    for kind in ["query", "doc"] {
        let name = format!("{}{kind}", folder.prefix);
        let (path, _) = folder.live(Object::Monitor, &name).await.unwrap();
        let id = path.rsplit('/').next().unwrap();
        text = text.replace(&format!("${{monitor:{name}}}"), id);
    }
    let body = serde_json::from_str(&text).unwrap();
    folder.raw("POST", "/_plugins/_alerting/workflows", body).await;
    let shipped = [
        "channels/malcolm_api_loopback_webhook.json",
        "monitors/malcolm_api_loopback_monitor.json",
    ];
    for file in shipped {
        folder.remove(file);
    }
    folder.apply(Options::default()).await;
    let minutes = minutes(33);
    folder.edit(Object::Monitor, MONITOR_NAME, |live| live["schedule"] = minutes).await;

    let all = folder.everything(&lives, Some(CHANNEL_ID)).await;
    let files = export::files(&all, &folder.settings);
    let exported = files.write(folder.dir.path(), true).unwrap();
    assert!(shipped.iter().all(|file| exported.files.iter().any(|one| one == file)), "{exported}");
    let texts = exported.files.iter().map(|file| folder.dir.path().join(file));
    let texts = texts.map(|file| std::fs::read_to_string(file).unwrap());
    let shown = texts.filter(|text| text.contains(&folder.prefix) && text.contains("\"graph\""));
    let monitors = lives.iter().filter(|life| life.object == Object::Monitor).count();
    assert_eq!(shown.count(), monitors, "how Dashboards shows them is exported too");
    for lost in [false, true] {
        if lost {
            folder.lose_the_ledger().await;
        }
        let plan = folder.plan(Options::default()).await;
        let ours = |name: &str| {
            name.starts_with(&folder.prefix)
                || name.starts_with("Malcolm")
                || name.starts_with("malcolm")
        };
        let steps: Vec<_> = plan.steps.iter().filter(|step| ours(&step.name)).collect();
        assert_eq!(steps.len(), lives.len() + 2, "{plan}");
        assert!(
            steps.iter().all(|step| step.action == Action::InSync),
            "ledger lost: {lost}\n{plan}"
        );
    }
    // The same files make the same objects, wherever they are applied.
    for life in lives.iter().rev() {
        let (path, _) = folder.live(life.object, &life.name).await.unwrap();
        folder.raw("DELETE", &path, Value::Null).await;
    }
    for file in exported.files.iter().filter(|file| !shipped.contains(&file.as_str())) {
        if !std::fs::read_to_string(folder.dir.path().join(file)).unwrap().contains(&folder.prefix)
        {
            folder.remove(file); // another test's
        }
    }
    folder.apply(Options::default()).await;
    for life in lives.iter().rev() {
        let (path, _) = folder.live(life.object, &life.name).await.unwrap();
        folder.raw("DELETE", &path, Value::Null).await;
    }
}

/// Where somebody deletes the index in the middle of a run, the next write makes it, with fields of
/// other types.
#[tokio::test]
async fn a_ledger_that_the_store_made_by_itself_is_read_all_the_same() {
    let folder = Folder::new(store!(alerting)).await;
    let life = &lives(&folder.prefix)[1];
    folder.write(&life.file, &life.body);
    folder.apply(Options::default()).await;
    let all = format!("/{}/_search", ledger::INDEX);
    let mut known = folder.raw("GET", &all, Value::Null).await;
    let known = known["hits"]["hits"][0].take();
    folder.lose_the_ledger().await;
    let path = format!("/{}/_doc/{}", ledger::INDEX, known["_id"].as_str().unwrap());
    let written = folder.raw("PUT", &path, known["_source"].clone()).await;
    assert_eq!(written["result"], "created", "{written}");
    let plan = folder.plan(Options::default()).await;
    assert!(step(&plan, &life.name).starts_with("in sync"), "{plan}");
    folder.remove(&life.file);
    assert_eq!(folder.apply(PRUNE).await.done.len(), 1);
}
