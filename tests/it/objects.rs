//! Every kind of object that a file can describe, through its whole life in the real store.

use alertloop::{
    opensearch::{
        alerting::{self, Family},
        notifications, templates,
    },
    provision::{
        self, Applied, ChannelSecret, Error, Options, Plan, Settings, TemplateMode, ledger,
        object::Object, plan::Action,
    },
    secrets::WebhookToken,
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::{
    store,
    support::{Store, provisioning},
};

const FORCE: Options = Options { force: true, prune: false, session_template_only: false };
const PRUNE: Options = Options { force: false, prune: true, session_template_only: false };

/// A folder of provisioning files in which only what a test writes is asked for.
struct Folder {
    dir: TempDir,
    store: Store,
    settings: Settings,
    token: WebhookToken,
    prefix: String,
    _turn: MutexGuard<'static, ()>,
}

impl Folder {
    async fn new(store: Store) -> Self {
        let turn = provisioning(&store).await;
        let dir = tempfile::tempdir().unwrap();
        for folder in ["channels", "monitors", "templates"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let prefix = store.pattern().replace("-*", "");
        let settings = Settings {
            webhook_url: "http://alertloop:5000/mapi/alert".parse().unwrap(),
            index_pattern: store.pattern().to_owned(),
            time_field: "firstPacket".to_owned(),
            template: TemplateMode::None,
            malcolm_template: "malcolm_template".to_owned(),
            is_opensearch: true,
            dir: Some(dir.path().to_owned()),
        };
        let folder =
            Self { dir, store, settings, token: WebhookToken::generate(), prefix, _turn: turn };
        for shipped in [
            "channels/malcolm_api_loopback_webhook.json",
            "monitors/malcolm_api_loopback_monitor.json",
            "templates/alertloop_sessions.json",
        ] {
            std::fs::write(folder.dir.path().join(shipped), "").unwrap();
        }
        folder.lose_the_ledger().await;
        folder.raw("PUT", &format!("/{}idx", folder.prefix), json!({})).await;
        folder
    }

    fn write(&self, file: &str, body: &Value) {
        std::fs::write(self.dir.path().join(file), body.to_string()).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.dir.path().join(file)).unwrap();
    }

    fn secret(&self) -> ChannelSecret {
        ChannelSecret::new(self.token.clone(), true)
    }

    async fn plan(&self, options: Options) -> Plan {
        let client = self.store.client();
        provision::look(&client, &self.settings, &self.secret(), options).await.unwrap()
    }

    async fn try_apply(&self, options: Options) -> Result<Applied, Error> {
        let client = self.store.client();
        provision::apply(&client, &self.settings, &self.secret(), options).await
    }

    async fn apply(&self, options: Options) -> Applied {
        let applied = self.try_apply(options).await.unwrap();
        assert!(applied.after.is_in_sync(), "{applied}");
        applied
    }

    async fn raw(&self, method: &str, path: &str, body: Value) -> Value {
        self.store.raw(method, path, body).await
    }

    async fn lose_the_ledger(&self) {
        self.raw("DELETE", &format!("/{}", ledger::INDEX), Value::Null).await;
    }

    /// What the store has of it: the path to write it to, and the body as it is read.
    async fn live(&self, object: Object, name: &str) -> Option<(String, Value)> {
        let client = self.store.client();
        let monitor = |family| {
            let client = client.clone();
            async move {
                let mut all = alerting::named(&client, family, &[name]).await.unwrap();
                assert!(all.len() < 2, "{all:?}");
                all.pop()
            }
        };
        match object {
            Object::Channel => {
                let path = format!("/_plugins/_notifications/configs/{name}");
                Some((path, notifications::config(&client, name).await.unwrap()?))
            }
            Object::Template => {
                let body = templates::body(&client, templates::Family::Composable, name).await;
                Some((format!("/_index_template/{name}"), body.unwrap()?))
            }
            Object::LegacyTemplate => {
                let body = templates::body(&client, templates::Family::Legacy, name).await;
                Some((format!("/_template/{name}"), body.unwrap()?))
            }
            Object::Monitor => {
                let found = monitor(Family::Monitor).await?;
                Some((format!("/_plugins/_alerting/monitors/{}", found.id), found.body))
            }
            Object::Workflow => {
                let found = monitor(Family::Workflow).await?;
                Some((format!("/_plugins/_alerting/workflows/{}", found.id), found.body))
            }
        }
    }

    /// Changes it behind our back, as somebody with Dashboards or curl would.
    async fn edit(&self, object: Object, name: &str, edit: impl FnOnce(&mut Value)) {
        let (path, mut body) = self.live(object, name).await.unwrap();
        edit(&mut body);
        if object == Object::Channel {
            body = json!({ "config": body });
        }
        let answer = self.raw("PUT", &path, body).await;
        assert!(answer.get("error").is_none(), "{answer}");
    }
}

fn step(plan: &Plan, name: &str) -> String {
    let step = plan.steps.iter().find(|step| step.name == name);
    step.unwrap_or_else(|| panic!("no {name} in {plan}")).to_string()
}

/// One object: its file, how the file changes, and how a user changes the live one.
struct Life {
    object: Object,
    file: String,
    name: String,
    body: Value,
    /// A pointer into the file's body, from the object's own, and another value for it.
    change: (&'static str, Value),
}

impl Life {
    fn channel(id: &str, config_type: &str, part: Value, change: (&'static str, Value)) -> Self {
        let config = json!({"name": id, "config_type": config_type, (config_type): part});
        Self {
            object: Object::Channel,
            file: format!("channels/{id}.json"),
            name: id.to_owned(),
            body: json!({ "config_id": id, "config": config }),
            change,
        }
    }

    fn monitor(file: &str, body: Value, change: (&'static str, Value)) -> Self {
        let is_workflow = body["type"] == "workflow";
        let object = if is_workflow { Object::Workflow } else { Object::Monitor };
        let name = body["name"].as_str().unwrap().to_owned();
        Self { object, file: format!("monitors/{file}.json"), name, body, change }
    }

    fn template(object: Object, name: &str, body: Value, change: (&'static str, Value)) -> Self {
        Self { object, file: format!("templates/{name}.json"), name: name.to_owned(), body, change }
    }

    fn changed(&self) -> Value {
        let mut body = self.body.clone();
        let own = if self.object == Object::Channel { &mut body["config"] } else { &mut body };
        *own.pointer_mut(self.change.0).unwrap() = self.change.1.clone();
        body
    }

    /// The switch and something else, changed by a user.
    fn edit(&self, live: &mut Value) {
        match self.object {
            Object::Template => live["priority"] = json!(77),
            Object::LegacyTemplate => live["order"] = json!(77),
            Object::Channel => live["description"] = json!("a user's own words"),
            Object::Monitor | Object::Workflow => {
                live["schedule"] = json!({"period": {"interval": 59, "unit": "MINUTES"}});
            }
        }
        if let Some(switch) = self.object.switch() {
            live[switch] = json!(live[switch] != true);
        }
    }
}

fn action(name: &str) -> Value {
    json!({"name": name, "destination_id": "nowhere", "throttle_enabled": false,
        "message_template": {"source": "{{ctx.monitor.name}}"}})
}

fn search(prefix: &str, query: &Value) -> Value {
    json!([{"search": {"indices": [format!("{prefix}idx")], "query": query}}])
}

fn minutes(interval: u32) -> Value {
    json!({"period": {"interval": interval, "unit": "MINUTES"}})
}

/// One of each kind, in short forms that the store rewrites.
fn lives(prefix: &str) -> Vec<Life> {
    let name = |kind: &str| format!("{prefix}{kind}");
    let query = json!({"size": 0, "query": {"bool": {
        "filter": {"range": {"firstPacket": {"gte": "now-1h", "lt": "now"}}},
        "must": [{"term": {"a": 1}}, {"match": {"b": "c"}}, {"wildcard": {"w": "x*"}},
            {"query_string": {"query": "x:1 AND y:2"}}, {"terms": {"t": [1, 2]}},
            {"exists": {"field": "e"}}],
        "must_not": {"prefix": {"p": "q"}}}},
        "aggs": {"by": {"terms": {"field": "a", "size": 3}, "aggs": {"n": {"avg": {"field": "x"}}}}}});
    let composite = json!({"size": 0, "query": {"match_all": {}}, "aggregations": {"by":
        {"composite": {"sources": [{"ip": {"terms": {"field": "source.ip"}}}]}}}});
    let composite_monitor = |kind: &str| format!("${{monitor:{prefix}{kind}}}");
    let (first, second) = (composite_monitor("query"), composite_monitor("doc"));
    let url = |change| ("/description", json!(change));
    let mut channels = vec![
        Life::channel(
            &name("webhook"),
            "webhook",
            json!({"url": "http://h:1?k=v", "header_params": {"X-Token": "${token}", "Accept": "a/b"}}),
            ("/webhook/header_params/Accept", json!("c/d")),
        ),
        Life::channel(
            &name("slack"),
            "slack",
            json!({"url": "https://hooks.slack.com/services/a"}),
            ("/slack/url", json!("https://hooks.slack.com/services/b")),
        ),
        Life::channel(
            &name("chime"),
            "chime",
            json!({"url": "https://hooks.chime.aws/incomingwebhooks/a?token=b"}),
            ("/name", json!("another name")),
        ),
        Life::channel(
            &name("teams"),
            "microsoft_teams",
            json!({"url": "https://x.webhook.office.com/webhookb2/a"}),
            url("words"),
        ),
        Life::channel(
            &name("account"),
            "smtp_account",
            json!({"host": "mail", "port": "25",
            "method": "start_tls", "from_address": "a@example.org"}),
            ("/smtp_account/port", json!(26)),
        ),
        Life::channel(
            &name("group"),
            "email_group",
            json!({"recipient_list": [{"recipient": "a@example.org"}]}),
            ("/email_group/recipient_list", json!([{"recipient": "b@example.org"}])),
        ),
        Life::channel(
            &name("email"),
            "email",
            json!({"email_account_id": name("account"),
            "recipient_list": [{"recipient": "c@example.org"}], "email_group_id_list": [name("group")]}),
            ("/email/recipient_list/0/recipient", json!("d@example.org")),
        ),
        Life::channel(
            &name("sns"),
            "sns",
            json!({"topic_arn": "arn:aws:sns:us-west-2:012345678989:a"}),
            ("/sns/topic_arn", json!("arn:aws:sns:us-west-2:012345678989:b")),
        ),
        Life::channel(
            &name("ses"),
            "ses_account",
            json!({"region": "us-east-1",
            "role_arn": "arn:aws:iam::012345678912:role/a", "from_address": "a@example.org"}),
            ("/ses_account/region", json!("us-east-2")),
        ),
    ];
    channels[3].body["config"]["description"] = json!("first words");
    let monitors = [
        Life::monitor(
            "a_query",
            json!({"type": "monitor", "name": name("query"), "enabled": false,
            "monitor_type": "query_level_monitor", "schedule": minutes(5),
            "inputs": search(prefix, &query), "triggers": [{"query_level_trigger": {"name": "t",
                "severity": 1, "condition": {"script": {"source": "true", "lang": "painless"}},
                "actions": [action("a"), action("b")]}}]}),
            ("/triggers/0/query_level_trigger/severity", json!("2")),
        ),
        Life::monitor(
            "b_bucket",
            json!({"type": "monitor", "name": name("bucket"), "enabled": true,
            "monitor_type": "bucket_level_monitor",
            "schedule": {"cron": {"expression": "0 12 * * *", "timezone": "Europe/Berlin"}},
            "inputs": search(prefix, &composite), "triggers": [{"bucket_level_trigger": {"name": "t",
                "severity": "3", "condition": {"buckets_path": {"_count": "_count"},
                    "parent_bucket_path": "by", "script": {"source": "params._count > 3"}},
                "actions": [action("a")]}}]}),
            (
                "/triggers/0/bucket_level_trigger/condition/script/source",
                json!("params._count > 4"),
            ),
        ),
        Life::monitor(
            "c_doc",
            json!({"type": "monitor", "name": name("doc"), "enabled": false,
            "monitor_type": "doc_level_monitor", "schedule": minutes(5),
            "inputs": [{"doc_level_input": {"description": "d", "indices": [format!("{prefix}idx")],
                "queries": [{"id": "q", "name": "q", "query": "a:1", "tags": ["x"]}]}}],
            "triggers": [{"document_level_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"source": "query[name=q]", "lang": "painless"}},
                "actions": [action("a")]}}]}),
            ("/inputs/0/doc_level_input/queries/0/query", json!("a:2")),
        ),
        Life::monitor(
            "d_workflow",
            json!({"type": "workflow", "name": name("workflow"),
            "workflow_type": "composite", "enabled": false, "schedule": minutes(5),
            "inputs": [{"composite_input": {"sequence": {"delegates": [
                {"order": 1, "monitor_id": first}, {"order": 2, "monitor_id": second}]}}}],
            "triggers": [{"chained_alert_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"lang": "painless",
                    "source": format!("(monitor[id={first}] && monitor[id={second}])")}},
                "actions": [action("a")]}}]}),
            ("/triggers/0/chained_alert_trigger/severity", json!("4")),
        ),
    ];
    let mapping = json!({"properties": {"a": {"type": "keyword", "ignore_above": 10}}});
    let patterns = [format!("{prefix}t-*")];
    let templates = [
        Life::template(
            Object::Template,
            &name("new"),
            json!({"index_patterns": patterns[0],
            "priority": 5, "version": 3, "template": {"mappings": mapping,
                "settings": {"number_of_shards": 1, "index": {"refresh_interval": "5s"}}}}),
            ("/template/settings/number_of_shards", json!(2)),
        ),
        Life::template(
            Object::LegacyTemplate,
            &name("old"),
            json!({"index_patterns": patterns,
            "order": 5, "mappings": mapping, "settings": {"index.refresh_interval": "5s"}}),
            ("/order", json!(6)),
        ),
    ];
    channels.into_iter().chain(monitors).chain(templates).collect()
}

#[tokio::test]
async fn every_kind_of_object_goes_through_its_life() {
    let folder = Folder::new(store!(alerting)).await;
    let lives = lives(&folder.prefix);
    for life in &lives {
        folder.write(&life.file, &life.body);
    }
    let plan = folder.plan(Options::default()).await;
    let created = plan.steps.iter().filter(|step| step.action == Action::Create).count();
    assert_eq!(created, lives.len(), "{plan}");
    assert!(!plan.to_string().contains(folder.token.expose()));

    // Made, and nothing is left to do; also not for one who has lost the ledger.
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "{applied}");
    let kept =
        folder.raw("GET", &format!("/{}/_search?size=100", ledger::INDEX), Value::Null).await;
    assert!(!kept.to_string().contains(folder.token.expose()), "the ledger holds no secret");
    for lost in [false, true] {
        if lost {
            folder.lose_the_ledger().await;
        }
        let plan = folder.plan(Options::default()).await;
        let is_in_sync = plan
            .steps
            .iter()
            .all(|step| step.action == Action::InSync || step.name == "alertloop_sessions");
        assert!(is_in_sync, "ledger lost: {lost}\n{plan}");
        assert!(folder.apply(Options::default()).await.done.is_empty());
    }
    // A ledger that was lost no longer knows that we made them: begin anew.
    for life in lives.iter().rev() {
        let (path, _) = folder.live(life.object, &life.name).await.unwrap();
        folder.raw("DELETE", &path, Value::Null).await;
    }
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "what is deleted is made again: {applied}");

    // The file changes; what a user switched stays.
    for life in &lives {
        folder.write(&life.file, &life.changed());
        if let Some(switch) = life.object.switch() {
            folder
                .edit(life.object, &life.name, |live| live[switch] = json!(live[switch] != true))
                .await;
        }
    }
    let mut before = Vec::new();
    for life in &lives {
        before.push(folder.live(life.object, &life.name).await.unwrap().1);
    }
    let plan = folder.plan(Options::default()).await;
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), lives.len(), "{applied}");
    for (life, before) in lives.iter().zip(&before) {
        let text = step(&plan, &life.name);
        let path = life.change.0[1..].replace('/', ".");
        assert!(
            text.starts_with("update") && text.to_lowercase().contains(&path.to_lowercase())
                || text.contains("settings"),
            "{text}"
        );
        let (_, live) = folder.live(life.object, &life.name).await.unwrap();
        assert_ne!(&live, before, "{}", life.name);
        if let Some(switch) = life.object.switch() {
            assert_eq!(live[switch], before[switch], "{}", life.name);
        }
    }

    // A user edits: left alone, shown, and taken over only by force, but for the switch.
    for life in &lives {
        folder.edit(life.object, &life.name, |live| life.edit(live)).await;
    }
    let mut edited = Vec::new();
    for life in &lives {
        edited.push(folder.live(life.object, &life.name).await.unwrap().1);
    }
    assert!(folder.apply(Options::default()).await.done.is_empty());
    let plan = folder.plan(Options::default()).await;
    let forced = folder.plan(FORCE).await;
    for (life, edited) in lives.iter().zip(&edited) {
        let text = step(&plan, &life.name);
        assert!(text.contains("edited by a user"), "{text}");
        assert!(step(&forced, &life.name).contains("taken over from a user"), "{forced}");
        assert_eq!(&folder.live(life.object, &life.name).await.unwrap().1, edited);
    }
    assert_eq!(folder.apply(FORCE).await.done.len(), lives.len());
    for (life, edited) in lives.iter().zip(&edited) {
        let (_, live) = folder.live(life.object, &life.name).await.unwrap();
        assert_ne!(&live, edited, "{}", life.name);
        if let Some(switch) = life.object.switch() {
            assert_eq!(live[switch], edited[switch], "{}", life.name);
        }
    }
    assert!(folder.apply(FORCE).await.done.is_empty());

    // The files go: nothing is removed unless asked for, and then not what a user edited.
    folder.edit(lives[0].object, &lives[0].name, |live| lives[0].edit(live)).await;
    for life in &lives {
        folder.remove(&life.file);
    }
    let plan = folder.plan(Options::default()).await;
    assert!(
        plan.is_in_sync() && plan.to_string().matches("--prune removes it").count() == lives.len()
    );
    let applied = folder.apply(PRUNE).await;
    assert_eq!(applied.done.len(), lives.len() - 1, "{applied}");
    let all = Options { force: true, ..PRUNE };
    assert_eq!(folder.apply(all).await.done.len(), 1);
    for life in &lives {
        assert_eq!(folder.live(life.object, &life.name).await, None);
    }
    assert_eq!(folder.plan(all).await.steps.len(), 1, "nothing is remembered");
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

/// One channel, one monitor and one template with any content.
fn any_objects(prefix: &str) -> impl Strategy<Value = Vec<(String, Value)>> + use<> {
    let prefix = prefix.to_owned();
    let text = "[ -~äß漢]{1,20}";
    let number = prop_oneof![
        (1..1_000_000_u64).prop_map(|n| json!(n)),
        (1..1_000_u64).prop_map(|n| json!(n.to_string()))
    ];
    let channel = (
        text,
        any::<bool>(),
        proptest::collection::btree_map("[A-Za-z][A-Za-z0-9-]{0,8}", "[!-~]{1,20}", 0..4),
        "[a-z0-9/]{0,10}",
    );
    let leaf = prop_oneof![
        ("[a-z.]{1,9}", number.clone())
            .prop_map(|(field, value)| json!({"term": {(field): value}})),
        ("[a-z]{1,9}", text).prop_map(|(field, value)| json!({"match_phrase": {(field): value}})),
        ("[a-z]{1,9}", text)
            .prop_map(|(field, value)| json!({"prefix": {(field): {"value": value}}})),
        ("[a-z]{1,9}", 0..4_usize, 0..1000).prop_map(|(field, bound, value)| {
            let bound = ["gt", "gte", "lt", "lte"][bound];
            json!({"range": {(field): {(bound): value}}})
        }),
        Just(json!({"match_all": {}})),
        "[a-z]{1,9}".prop_map(|field| json!({"exists": {"field": field}})),
    ];
    let query = leaf.prop_recursive(3, 12, 3, |inner| {
        (0..4_usize, proptest::collection::vec(inner, 1..3)).prop_map(|(kind, mut inner)| {
            let kind = ["must", "filter", "should", "must_not"][kind];
            let clauses = if inner.len() == 1 { inner.remove(0) } else { json!(inner) };
            json!({"bool": {(kind): clauses}})
        })
    });
    let monitor = (query, 1..60_u32, text, 1..6_u8, any::<bool>());
    let template = (0..400_u32, 1..9_u32, any::<bool>(), 1..9_u32);
    (channel, monitor, template).prop_map(move |(channel, monitor, template)| {
        let (description, is_enabled, headers, path) = channel;
        let mut lower: Vec<_> = headers.keys().map(|key| key.to_lowercase()).collect();
        lower.dedup();
        let headers: serde_json::Map<_, _> =
            headers.into_iter().map(|(key, value)| (key.to_lowercase(), json!(value))).collect();
        let channel = json!({"config": {"name": "n", "description": description.trim(),
            "config_type": "webhook", "is_enabled": is_enabled,
            "webhook": {"url": format!("http://h/{path}"), "header_params": headers}}});
        let (query, interval, words, severity, is_long) = monitor;
        let query = if is_long { json!({"size": 0, "query": query}) } else { json!({"query": query}) };
        let monitor = json!({"type": "monitor", "name": format!("{prefix}any"), "enabled": false,
            "monitor_type": "query_level_monitor", "schedule": minutes(interval),
            "inputs": search(&prefix, &query), "triggers": [{"query_level_trigger": {"name": words,
                "severity": severity, "condition": {"script": {"source": "true"}},
                "actions": [action(&words)]}}]});
        let (priority, shards, is_nested, seconds) = template;
        let settings = if is_nested {
            json!({"index": {"number_of_shards": shards, "refresh_interval": format!("{seconds}s")}})
        } else {
            json!({"number_of_shards": shards, "index.refresh_interval": format!("{seconds}s")})
        };
        let template = json!({"index_patterns": [format!("{prefix}any-*")], "priority": priority,
            "template": {"settings": settings}});
        vec![
            (format!("channels/{prefix}any.json"), channel),
            (format!("monitors/{prefix}any.json"), monitor),
            (format!("templates/{prefix}any.json"), template),
        ]
    })
}
