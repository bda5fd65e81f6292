//! A store with the security plugin: what its user must be allowed, what is seen where that is
//! missing, and the ways to be let in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alertloop::{
    config::Config,
    lease::document::Document,
    opensearch::{Client, cluster},
    secrets::WebhookToken,
};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::{
    objects::{self, folder::Folder},
    store,
    support::{self, Answer, App, Process, Store, TOKEN, settings},
};

const ROLES: [(&str, &str); 3] = [
    ("alertloop", include_str!("../../provisioning/security/alertloop.json")),
    (
        "alertloop_provisioning",
        include_str!("../../provisioning/security/alertloop_provisioning.json"),
    ),
    ("alertloop_keystore", include_str!("../../provisioning/security/alertloop_keystore.json")),
];
const SECURITY: &str = "/_plugins/_security/api";
/// What a role says of the session records' indices.
const PATTERN: &str = "arkime_sessions3-*";
const STATE: &str = "alertloop-provisioned";
/// Where the leases are.
const LEASES: &str = "alertloop-state";

/// The roles that we ship, for the indices of one test.
fn shipped(store: &Store, names: &[&str]) -> Vec<Value> {
    let chosen = ROLES.iter().filter(|(name, _)| names.contains(name));
    chosen
        .map(|(_, text)| {
            serde_json::from_str(&text.replace(PATTERN, store.pattern())).expect("a role")
        })
        .collect()
}

/// Their permissions: of the cluster, and of each index pattern.
#[derive(Clone, Debug, Default, PartialEq)]
struct Permissions {
    cluster: BTreeSet<String>,
    index: BTreeMap<String, BTreeSet<String>>,
}

impl Permissions {
    fn of(roles: &[Value]) -> Self {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().into_iter().flatten();
            list.map(|one| one.as_str().expect("a text").to_owned()).collect()
        };
        let mut all = Self::default();
        for role in roles {
            all.cluster.extend(texts(&role["cluster_permissions"]));
            for part in role["index_permissions"].as_array().expect("a list") {
                for pattern in texts(&part["index_patterns"]) {
                    let actions = texts(&part["allowed_actions"]);
                    all.index.entry(pattern).or_default().extend(actions);
                }
            }
        }
        all
    }

    fn add(&mut self, more: Self) {
        self.cluster.extend(more.cluster);
        for (pattern, actions) in more.index {
            self.index.entry(pattern).or_default().extend(actions);
        }
    }

    fn without(mut self, part: &str) -> Self {
        self.cluster.retain(|name| !name.contains(part));
        for actions in self.index.values_mut() {
            actions.retain(|name| !name.contains(part));
        }
        self
    }

    fn role(&self) -> Value {
        let index = self.index.iter().filter(|(_, actions)| !actions.is_empty());
        let index: Vec<_> = index
            .map(|(pattern, actions)| json!({"index_patterns": [pattern], "allowed_actions": actions}))
            .collect();
        json!({"cluster_permissions": self.cluster, "index_permissions": index})
    }
}

/// A user with one role, both made for one test.
struct User<'a> {
    store: &'a Store,
    name: String,
    password: String,
    dir: TempDir,
    /// None for the test that has all turns.
    _turn: Option<RwLockReadGuard<'static, ()>>,
}

/// Settings of the whole cluster are changed only while no other test runs.
static SETTINGS: RwLock<()> = RwLock::const_new(());

impl<'a> User<'a> {
    /// Makes it; the password has quotes and more in it.
    async fn new(store: &'a Store, permissions: &Permissions) -> Self {
        Self::in_turn(store, permissions, Some(SETTINGS.read().await)).await
    }

    async fn in_turn(
        store: &'a Store,
        permissions: &Permissions,
        turn: Option<RwLockReadGuard<'static, ()>>,
    ) -> Self {
        let name = store.pattern().replace("-*", "user");
        let password = format!("Q\"uo\\te: #1 {}", &WebhookToken::generate().expose()[..12]);
        let dir = tempfile::tempdir().expect("a directory");
        let user = Self { store, name, password, dir, _turn: turn };
        user.may(permissions).await;
        user.has_password(&user.password).await;
        user
    }

    async fn change(&self, method: Method, kind: &str, body: Value) {
        // All users are one document, all roles another: of two changes at once one is refused.
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let path = format!("{SECURITY}/{kind}/{}", self.name);
        self.store.json(method, &path, body).await.expect("a change of users or roles");
    }

    async fn may(&self, permissions: &Permissions) {
        self.change(Method::Put, "roles", permissions.role()).await;
    }

    async fn has_password(&self, password: &str) {
        self.is(password, &[]).await;
    }

    async fn is(&self, password: &str, backend_roles: &[&str]) {
        let body = json!({"password": password, "opendistro_security_roles": [self.name],
            "backend_roles": backend_roles});
        self.change(Method::Put, "internalusers", body).await;
    }

    /// The credentials file, as an operator writes it.
    fn credentials(&self) -> PathBuf {
        let escaped = self.password.replace('\\', "\\\\").replace('"', "\\\"");
        self.file("curlrc", &format!("# OpenSearch\nuser: \"{}:{escaped}\"\n", self.name))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Settings of a service that is this user.
    fn settings(&self) -> HashMap<String, String> {
        let mut settings = settings(self.store, self.dir.path());
        let ca = self.store.access().ca.clone().expect("a CA");
        let more = [
            ("OPENSEARCH_SSL_CERTIFICATE_VERIFICATION", "true".to_owned()),
            ("ALERTLOOP_OPENSEARCH_CA", shown(&ca)),
            ("OPENSEARCH_CREDS_CONFIG_FILE", shown(&self.credentials())),
        ];
        settings.extend(more.map(|(name, value)| (name.to_owned(), value)));
        settings
    }

    /// What of its settings concerns the store, for the service in this process.
    fn access(&self) -> Vec<(String, String)> {
        let of_store = |name: &str| name.contains("OPENSEARCH");
        self.settings().into_iter().filter(|(name, _)| of_store(name)).collect()
    }

    fn client(&self) -> Client {
        client(&self.settings()).expect("a client")
    }

    async fn remove(self) {
        for kind in ["internalusers", "roles"] {
            self.change(Method::Delete, kind, Value::Null).await;
        }
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A client made from settings, as the service makes it.
fn client(settings: &HashMap<String, String>) -> anyhow::Result<Client> {
    let config = Config::read(|name| settings.get(name).cloned(), |path| std::fs::read(path));
    Client::new(&config.unwrap_or_else(|faults| panic!("{faults}")).store)
}

fn alert(id: &str) -> String {
    format!(
        r#"{{"alert":{{"monitor":{{"name":"m"}},"trigger":{{"name":"t"}},"alert":"{id}",
            "period":{{"start":"2026-11-06T05:00:00.000Z","end":"2026-11-06T05:10:00.000Z"}}}}}}"#
    )
}

/// Whether the security plugin can be asked what a user may do: 2.19 cannot.
async fn tells_in_advance(store: &Store) -> bool {
    let about = cluster::about(&store.client()).await.expect("a version");
    !about.version.starts_with("2.")
}

/// Posts an alert that cannot be stored now, and waits until the service says why.
async fn trouble_of(app: &App, id: &str) -> String {
    let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(alert(id));
    assert_eq!(Answer::of(request).await.status, 202, "it is kept");
    let mut seen = Value::Null;
    let told = async {
        loop {
            seen = Answer::of(app.get("/readyz")).await.json;
            if let Some(trouble) = seen["store"]["trouble"].as_str() {
                return trouble.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    told.unwrap_or_else(|_| panic!("no trouble is told: {seen}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_roles_hold_what_is_asked_for_and_no_more() {
    let store = store!(secured);
    // It makes and removes the index in which provisioning remembers.
    let _alone = support::provisioning(&store).await;
    let user = User::new(&store, &Permissions::default()).await;
    let ground = Ground::new(&store, &user.name).await;
    let client = user.client();
    let mut has = Permissions::default();
    let mut calls = ground.calls();
    // Each round gives what the refusals of the round before have named.
    for round in 0.. {
        assert!(round < 12, "it asks for more and more: {has:?}");
        let mut asked = Permissions::default();
        let mut refused = Vec::new();
        for call in calls {
            let missing = call.missing(&client).await;
            for name in &missing {
                let is_new = if is_of_cluster(name) {
                    asked.cluster.insert(name.clone());
                    !has.cluster.contains(name)
                } else {
                    asked.index.entry(call.pattern.clone()).or_default().insert(name.clone());
                    !has.index.get(&call.pattern).is_some_and(|known| known.contains(name))
                };
                assert!(is_new, "{} asks again for {name}", call.path);
            }
            if !missing.is_empty() {
                refused.push(call);
            }
        }
        if refused.is_empty() {
            break;
        }
        has.add(asked);
        user.may(&has).await;
        calls = refused;
    }
    let mut want = Permissions::of(&shipped(&store, &ROLES.map(|(name, _)| name)));
    // Asked for only where documents bring new fields, which ours need not.
    for index in [STATE, LEASES] {
        want.index.get_mut(index).expect("it").remove("indices:admin/mapping/put");
    }
    assert_eq!(has, want);
    ground.clean(&user.name).await;
    user.remove().await;
}

/// Whether the security plugin wants a permission for the whole cluster: it takes what is said of a
/// whole request from nowhere else.
fn is_of_cluster(name: &str) -> bool {
    let starts = ["cluster:", "indices:admin/template/", "indices:admin/index_template/"];
    let whole = ["write/bulk", "read/mget", "read/search/template/render"];
    starts.iter().any(|start| name.starts_with(start))
        || whole.iter().any(|rest| name == format!("indices:data/{rest}"))
}

/// A call that alertloop makes or will make.
struct Call {
    /// The indices that it is about.
    pattern: String,
    method: Method,
    path: String,
    body: Option<Value>,
    /// The lines of a bulk request.
    lines: Vec<Value>,
}

impl Call {
    /// The permissions that the store misses for it; any other answer is as good as another here.
    async fn missing(&self, client: &Client) -> Vec<String> {
        let answer = if self.lines.is_empty() {
            let answer = client.call(self.method, &self.path, self.body.as_ref()).await;
            answer.map(|answer| answer.to_string())
        } else {
            let lines: Vec<_> = self.lines.iter().map(Value::to_string).collect();
            let body = lines.join("\n") + "\n";
            let answer = client.send_ndjson(&self.path, body.into()).await;
            answer.map(|answer| String::from_utf8_lossy(&answer).into_owned())
        };
        let text = answer.unwrap_or_else(|fault| fault.to_string());
        if text.contains("have read permissions for one or more configured index") {
            // Alerting itself looks whether who makes a monitor may search its index.
            return vec!["indices:data/read/search".to_owned()];
        }
        let Some((_, rest)) = text.split_once("no permissions for [") else { return Vec::new() };
        let (names, _) = rest.split_once("] and ").expect("an end");
        names.split(", ").map(str::to_owned).collect()
    }
}

/// What the calls are about, made by the admin, so that none of them needs another.
struct Ground<'a> {
    store: &'a Store,
    id: String,
    monitor: String,
    workflow: String,
}

impl<'a> Ground<'a> {
    async fn new(store: &'a Store, id: &str) -> Self {
        let made = async |path: &str, body| {
            let made = store.json(Method::Post, path, body).await.expect("an object");
            made["_id"].as_str().unwrap_or_default().to_owned()
        };
        store.json(Method::Delete, &format!("/{STATE}"), Value::Null).await.ok();
        let index = store.index("261120");
        for path in [format!("/{index}/_doc/1"), format!("/{STATE}/_doc/1")] {
            store.json(Method::Put, &path, json!({"a": "x"})).await.expect("a document");
        }
        let lease = Document::new("learn", store.pattern());
        lease.make_index(&store.client()).await.expect("an index");
        let channel = json!({"config_id": id, "config": Self::channel()});
        made("/_plugins/_notifications/configs", channel).await;
        let monitor = Self::monitor(store.pattern(), id);
        let monitor = made("/_plugins/_alerting/monitors", monitor).await;
        let workflow = Self::workflow(id, &monitor);
        let workflow = made("/_plugins/_alerting/workflows", workflow).await;
        Self { store, id: id.to_owned(), monitor, workflow }
    }

    fn channel() -> Value {
        json!({"name": "learn", "description": "", "config_type": "webhook",
            "is_enabled": true, "webhook": {"url": "http://127.0.0.1:9/"}})
    }

    fn monitor(pattern: &str, name: &str) -> Value {
        json!({"type": "monitor", "monitor_type": "query_level_monitor", "name": name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
            "inputs": [{"search": {"indices": [pattern],
                "query": {"query": {"match_all": {}}}}}],
            "triggers": []})
    }

    fn workflow(name: &str, monitor: &str) -> Value {
        let delegates = json!([{"order": 1, "monitor_id": monitor}]);
        json!({"type": "workflow", "workflow_type": "composite", "name": name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
            "inputs": [{"composite_input": {"sequence": {"delegates": delegates}}}],
            "triggers": []})
    }

    fn calls(&self) -> Vec<Call> {
        let all = [
            self.records(),
            self.alerting(),
            self.notifications(),
            self.templates(),
            self.state(),
            self.leases(),
        ];
        all.into_iter().flatten().collect()
    }

    fn call(&self, method: Method, path: String, body: Value) -> Call {
        let body = (!body.is_null()).then_some(body);
        Call { pattern: self.store.pattern().to_owned(), method, path, body, lines: Vec::new() }
    }

    fn get(&self, path: &str) -> Call {
        self.call(Method::Get, path.to_owned(), Value::Null)
    }

    /// Writing records, and what the doctor asks.
    fn records(&self) -> Vec<Call> {
        let (pattern, day) = (self.store.pattern(), self.store.index("261121"));
        let document = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"hits": 1}});
        let at = json!({"_index": day, "_id": "1"});
        let known = json!({"_index": self.store.index("261120"), "_id": "1"});
        let script = json!({"source": "ctx._source.a = params.a", "params": {"a": 1}});
        let merge = json!({"script": script, "upsert": document});
        let bulk = |lines: [Value; 2]| Call {
            lines: lines.into(),
            ..self.call(Method::Post, "/_bulk".to_owned(), Value::Null)
        };
        vec![
            self.get("/"),
            bulk([json!({"create": at}), document.clone()]),
            bulk([json!({"index": at}), document]),
            bulk([json!({"update": at}), merge]),
            self.get(&format!("/{}/_mapping", self.store.index("261120"))),
            self.get(&format!("/{pattern}/_settings/index.blocks.*")),
            self.call(Method::Post, format!("/{pattern}/_search"), json!({"size": 0})),
            self.call(Method::Post, "/_mget".to_owned(), json!({"docs": [known]})),
            self.get("/_cluster/settings?include_defaults=true&filter_path=**.host_deny_list"),
            self.get("/_cluster/health"),
            self.get("/_cluster/health/.opendistro-alerting-alert*"),
            self.get("/_nodes/_local/stats/os"),
            self.get("/_nodes/plugins"),
            self.get("/_plugins/_security/authinfo"),
            self.call(Method::Post, "/_nodes/reload_secure_settings".to_owned(), json!({})),
        ]
    }

    fn alerting(&self) -> Vec<Call> {
        let (monitors, workflows) =
            ("/_plugins/_alerting/monitors", "/_plugins/_alerting/workflows");
        let all = json!({"query": {"match_all": {}}});
        let monitor = Self::monitor(self.store.pattern(), &self.id);
        let workflow = Self::workflow(&self.id, &self.monitor);
        let (one, flow) =
            (format!("{monitors}/{}", self.monitor), format!("{workflows}/{}", self.workflow));
        let (none, nobody) = (|| Value::Null, json!({"alerts": ["nobody"]}));
        vec![
            self.get("/_plugins/_alerting/destinations"),
            self.get("/_plugins/_alerting/stats"),
            self.get(&format!("{monitors}/alerts")),
            self.get(&one),
            self.call(Method::Post, format!("{monitors}/_search"), all),
            self.call(Method::Post, monitors.to_owned(), monitor.clone()),
            self.call(Method::Put, one.clone(), monitor),
            self.call(Method::Post, format!("{one}/_execute?dryrun=true"), none()),
            self.call(Method::Delete, format!("{monitors}/nobody"), none()),
            self.get(&flow),
            self.call(Method::Post, workflows.to_owned(), workflow.clone()),
            self.call(Method::Put, flow.clone(), workflow),
            self.call(Method::Post, format!("{flow}/_execute?dryrun=true"), json!({})),
            self.call(Method::Delete, format!("{workflows}/nobody"), none()),
            self.call(Method::Post, format!("{one}/_acknowledge/alerts"), nobody.clone()),
            self.call(Method::Post, format!("{flow}/_acknowledge/alerts"), nobody),
        ]
    }

    fn notifications(&self) -> Vec<Call> {
        let one = format!("/_plugins/_notifications/configs/{}", self.id);
        let config = json!({"config": Self::channel()});
        let again = json!({"config_id": self.id, "config": Self::channel()});
        let test = format!("/_plugins/_notifications/feature/test/{}", self.id);
        vec![
            self.get(&one),
            self.get("/_plugins/_notifications/configs"),
            self.get("/_plugins/_notifications/channels"),
            self.get("/_plugins/_notifications/features"),
            self.call(Method::Post, "/_plugins/_notifications/configs".to_owned(), again),
            self.call(Method::Put, one, config),
            self.call(Method::Post, test, Value::Null),
            self.call(
                Method::Delete,
                "/_plugins/_notifications/configs/nobody".to_owned(),
                Value::Null,
            ),
        ]
    }

    fn templates(&self) -> Vec<Call> {
        let day = self.store.index("261121");
        let simulate = format!("/_index_template/_simulate_index/{day}");
        let message = json!({"source": "{{a}}", "params": {"a": 1}});
        let condition = json!({"script": {"source": "1 + 1"}});
        let mut calls = vec![
            self.call(Method::Post, simulate, Value::Null),
            self.call(Method::Post, "/_render/template".to_owned(), message),
            self.call(Method::Post, "/_scripts/painless/_execute".to_owned(), condition),
        ];
        for family in ["_template", "_index_template"] {
            let one = format!("/{family}/{}", self.id);
            let template = json!({"index_patterns": [format!("{}-*", self.id)]});
            calls.extend([
                self.get(&format!("/{family}")),
                self.call(Method::Put, one, template),
                self.call(Method::Delete, format!("/{family}/nobody"), Value::Null),
            ]);
        }
        calls
    }

    /// The small index that remembers what was provisioned.
    fn state(&self) -> Vec<Call> {
        let settings = json!({"settings": {"number_of_shards": 1},
            "mappings": {"dynamic": false, "properties": {"a": {"type": "keyword"}}}});
        let all = json!({"query": {"match_all": {}}});
        let known = format!("/{STATE}/_doc/1?if_seq_no=0&if_primary_term=1");
        let mut calls = vec![
            self.get(&format!("/{STATE}")),
            self.get(&format!("/{STATE}/_mapping")),
            self.get(&format!("/{STATE}/_doc/1")),
            self.call(Method::Put, format!("/{STATE}"), settings),
            self.call(Method::Put, known, json!({"a": "y"})),
            self.call(Method::Post, format!("/{STATE}/_mget"), json!({"ids": ["1"]})),
            self.call(Method::Post, format!("/{STATE}/_search"), all),
            self.call(Method::Post, format!("/{STATE}/_refresh"), Value::Null),
            self.call(Method::Delete, format!("/{STATE}/_doc/nobody"), Value::Null),
        ];
        for call in &mut calls {
            STATE.clone_into(&mut call.pattern);
        }
        calls
    }

    /// The small index of the leases. It is not removed: other tests hold some.
    fn leases(&self) -> Vec<Call> {
        let one = format!("/{LEASES}/_doc/{}", self.id);
        let settings = json!({"settings": {"number_of_shards": 1}});
        let mut calls = vec![
            self.get(&one),
            self.call(Method::Put, format!("/{LEASES}"), settings),
            self.call(Method::Put, format!("{one}?op_type=create"), json!({})),
            self.call(Method::Put, format!("{one}?if_seq_no=0&if_primary_term=1"), json!({})),
        ];
        for call in &mut calls {
            LEASES.clone_into(&mut call.pattern);
        }
        calls
    }

    /// Removes all of it, and what the calls have made once they were allowed.
    async fn clean(&self, name: &str) {
        let mut paths = vec![
            format!("/{STATE}"),
            format!("/{LEASES}/_doc/{}", self.id),
            format!("/_plugins/_alerting/workflows/{}", self.workflow),
            format!("/_plugins/_notifications/configs/{}", self.id),
            format!("/_template/{}", self.id),
            format!("/_index_template/{}", self.id),
        ];
        let search = "/_plugins/_alerting/monitors/_search";
        for kind in ["workflow", "monitor"] {
            let query = json!({"query": {"term": {format!("{kind}.name.keyword"): name}}});
            let found = self.store.json(Method::Post, search, query).await.unwrap_or_default();
            let hits = found["hits"]["hits"].as_array().into_iter().flatten();
            let ids = hits.filter_map(|hit| hit["_id"].as_str());
            paths.extend(ids.map(|id| format!("/_plugins/_alerting/{kind}s/{id}")));
        }
        for path in paths {
            self.store.json(Method::Delete, &path, Value::Null).await.ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_shipped_roles_the_whole_loop_works() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let roles = shipped(&store, &["alertloop", "alertloop_provisioning"]);
    let user = User::new(&store, &Permissions::of(&roles)).await;
    let access = user.access();
    let more = [pairs(&access), vec![("ALERTLOOP_TEMPLATE", "auto")]].concat();
    let app = App::start_provisioning_with(&store, &more).await;
    app.wait_until_provisioned().await;

    let session = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    let path = format!("{}/_doc/session?refresh=true", store.index("261105"));
    store.json(Method::Put, &path, session).await.expect("a session");
    // The user's own monitor: it runs with the user's roles.
    let monitors = "/_plugins/_alerting/monitors";
    let name = json!({"query": {"term": {"monitor.name.keyword": "Malcolm API Loopback Monitor"}}});
    let found = store.json(Method::Post, &format!("{monitors}/_search"), name).await;
    let hit = found.expect("a search")["hits"]["hits"][0].take();
    let mut monitor = hit["_source"].clone();
    assert_eq!(monitor["inputs"][0]["search"]["indices"], json!([store.pattern()]), "{monitor}");
    monitor["inputs"][0]["search"]["query"] = json!({"size": 0, "query": {"match_all": {}}});
    let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
    trigger["condition"]["script"]["source"] = json!("ctx.results[0].hits.total.value > 0");
    let one = format!("{monitors}/{}", hit["_id"].as_str().expect("an id"));
    user.client().call(Method::Put, &one, Some(&monitor)).await.expect("an edit");
    let run = format!("{one}/_execute?dryrun=false");
    user.client().call(Method::Post, &run, None).await.expect("a run");
    let records = store.wait_for_records(2).await;
    let record = records.iter().find(|hit| hit["_source"]["event"]["dataset"] == "alerting");
    let record = record.unwrap_or_else(|| panic!("{records:#?}"));
    assert_eq!(record["_source"]["event"]["hits"], 1);
    assert!(record["_source"]["event"]["id"].is_string(), "the user may ask for the alert's id");

    let mut settings = user.settings();
    let webhook = app.url("/mapi/alert");
    for (name, value) in [
        ("ALERTLOOP_PROVISION", "true"),
        ("ALERTLOOP_WEBHOOK_URL", webhook.as_str()),
        ("ALERTLOOP_SPOOL_MAX_BYTES", "100 MiB"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let (code, text, _) = Process::output(&settings, &["doctor"]);
    assert_eq!(code, 0, "{text}");
    let of_rights = ["cannot be looked at", "lacks", "permission"];
    assert!(!of_rights.iter().any(|word| text.contains(word)), "{text}");
    for want in ["rights    \"", "webhook   the test arrived", "user      \""] {
        assert!(text.contains(&format!("ok    {want}")), "{want}: {text}");
    }
    app.stop().await;
    store.remove_loopback().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    user.remove().await;
}

/// Made, changed, edited, forced, pruned and exported, over TLS and by the user with the least.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_roles_are_enough_for_every_kind_of_object() {
    let store = Arc::new(store!(secured));
    let all = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    let user = User::new(&store, &all).await;
    let folder = Folder::for_user(Arc::clone(&store), user.client()).await;
    objects::whole_life(&folder).await;
    objects::is_exported_and_in_sync(&folder).await;
    drop(folder);
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_alerts_wait_and_are_stored_once_it_is_given() {
    let store = store!(secured);
    let roles = Permissions::of(&shipped(&store, &["alertloop"]));
    for part in ["data/write", "indices:admin/create", "data/write/update"] {
        let user = User::new(&store, &roles.clone().without(part)).await;
        let access = user.access();
        let app = App::start(&store, &pairs(&access)).await;
        let id = part.replace([':', '/'], "");
        if part == "data/write/update" {
            // Only an alert that fires again is an update.
            user.may(&roles).await;
            assert_eq!(app.alert(alert(&id)).await.status, 200);
            user.may(&roles.clone().without(part)).await;
        }
        let again = alert(&id).replace("05:10:00", "05:20:00");
        let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(again);
        assert_eq!(Answer::of(request).await.status, 202, "{part}: it is kept");
        let (_, text, _) = Process::output(&user.settings(), &["doctor"]);
        if tells_in_advance(&store).await {
            let told = text.lines().find(|line| line.starts_with("FAIL  rights"));
            let told = told.unwrap_or_else(|| panic!("{part}: {text}"));
            assert!(told.contains(&user.name) && told.contains(part), "{part}: {text}");
            assert!(told.contains("provisioning/security/alertloop.json"), "{text}");
        } else {
            assert!(text.contains("does not tell in advance what it may write"), "{text}");
        }
        let ready = Answer::of(app.get("/readyz")).await.json;
        assert_eq!(ready["spool"]["waiting"], 1, "{part}: {ready}");

        user.may(&roles).await;
        store.wait_for_records(1).await;
        app.stop().await;
        for hit in store.records().await {
            let index = hit["_index"].as_str().expect("an index").to_owned();
            store.json(Method::Delete, &format!("/{index}"), Value::Null).await.expect("none");
        }
        user.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_without_a_right_says_which_and_whose() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let roles = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    let user = User::new(&store, &roles).await;
    let settings = user.settings();
    for (part, permission) in [
        ("/alerting/", "cluster:admin/opendistro/alerting/monitor/search"),
        ("monitor/write", "cluster:admin/opendistro/alerting/monitor/write"),
        ("/notifications/", "cluster:admin/opensearch/notifications/configs/get"),
        ("configs/create", "cluster:admin/opensearch/notifications/configs/create"),
        ("indices:admin/template/", "indices:admin/template/get"),
        ("indices:admin/template/put", "indices:admin/template/put"),
        ("index_template", "indices:admin/index_template/simulate_index"),
    ] {
        store.remove_loopback().await;
        store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.ok();
        user.may(&roles.clone().without(part)).await;
        let (code, _, errors) = Process::output(&settings, &["provision", "apply"]);
        assert_eq!(code, 1, "{part}: {errors}");
        let whose = format!("no permissions for [{permission}] and User [name={}", user.name);
        assert!(errors.contains(&whose), "{part}: {errors}");
        assert!(!errors.contains(&user.password), "{errors}");
    }
    user.may(&roles).await;
    let (code, _, errors) = Process::output(&settings, &["provision", "apply"]);
    assert_eq!(code, 0, "{errors}");
    store.remove_loopback().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_the_leases_provisioning_goes_on_and_says_which_role_is_missing() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let mut roles = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    roles.index.remove(LEASES).expect("a right to the leases");
    let user = User::new(&store, &roles).await;
    let mut settings = user.settings();
    settings.insert("ALERTLOOP_PROVISION".to_owned(), "true".to_owned());
    let process = Process::serve(&settings);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let done = async {
        while Answer::of(client.get(process.url("/readyz"))).await.json["provisioning"] != "done" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("it is provisioned");
    let warnings = process.warnings();
    let told = warnings
        .iter()
        .find(|line| line["message"].as_str().is_some_and(|told| told.contains("take turns")));
    let told = told.unwrap_or_else(|| panic!("{warnings:#?}"))["error"].to_string();
    for want in
        [LEASES, "indices:data/read/get", &user.name, "provisioning/security/alertloop.json"]
    {
        assert!(told.contains(want), "{want}: {told}");
    }
    assert!(!told.contains(&user.password), "{told}");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    store.remove_loopback().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_each_permission_that_it_lacks_itself() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let roles = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    let user = User::new(&store, &roles).await;
    let mut settings = user.settings();
    settings.insert("ALERTLOOP_PROVISION".to_owned(), "true".to_owned());
    let (code, _, errors) = Process::output(&settings, &["provision", "apply"]);
    assert_eq!(code, 0, "{errors}");
    let index = format!("/{}", store.index("261105"));
    store.json(Method::Put, &index, Value::Null).await.expect("an index to ask for");
    let tells = tells_in_advance(&store).await;
    // At once those that are told side by side, then each that leaves nothing more to look at.
    let side_by_side = [
        ("cluster:monitor/nodes/info", "warn  plugins "),
        ("cluster:monitor/nodes/stats", "warn  clock "),
        ("cluster:monitor/state", "warn  denied "),
        ("indices:monitor/settings/get", "warn  index "),
        ("cluster:admin/opendistro/alerting/alerts/get", "warn  lost "),
        ("cluster:admin/opensearch/notifications/test_notification", "warn  webhook "),
        ("indices:data/write/index", "FAIL  rights "),
        ("indices:data/write/update", "FAIL  rights "),
        ("indices:admin/mapping/put", "FAIL  rights "),
        ("indices:admin/template/put", "warn  rights "),
        ("cluster:admin/opensearch/notifications/configs/update", "warn  rights "),
        ("cluster:admin/opensearch/notifications/configs/delete", "warn  rights "),
        ("cluster:admin/opendistro/alerting/monitor/write", "warn  rights "),
        ("cluster:admin/opendistro/alerting/monitor/delete", "warn  rights "),
    ];
    let alone = [
        [("cluster:monitor/main", "FAIL  store ")],
        [("cluster:admin/opendistro/alerting/monitor/search", "FAIL  objects ")],
        [("cluster:admin/opensearch/notifications/configs/get", "FAIL  objects ")],
        [("indices:admin/template/get", "FAIL  objects ")],
    ];
    for lacking in std::iter::once(&side_by_side[..]).chain(alone.iter().map(|one| &one[..])) {
        let without = |has: Permissions, (name, _): &(&str, _)| has.without(name);
        user.may(&lacking.iter().fold(roles.clone(), without)).await;
        let (_, text, _) = Process::output(&settings, &["doctor"]);
        for (permission, line) in lacking {
            // What only a dry run tells.
            if permission.starts_with("indices:") && line.contains("rights") && !tells {
                continue;
            }
            let is_it = |told: &&str| told.starts_with(line) && told.contains(permission);
            let told = text.lines().find(is_it);
            let told = told.unwrap_or_else(|| panic!("{permission}: {text}"));
            assert!(told.contains("; to mend: give "), "{told}");
        }
    }
    store.remove_loopback().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_backend_roles_that_hides_monitors_and_channels_is_told() {
    let store = store!(secured);
    let _alone = SETTINGS.write().await;
    let roles = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    let user = User::in_turn(&store, &roles, None).await;
    let names = [
        "plugins.alerting.filter_by_backend_roles",
        "opensearch.notifications.general.filter_by_backend_roles",
    ];
    let filter = async |is_on: Value| {
        let body = json!({"transient": names.map(|name| (name, is_on.clone()))
            .into_iter().collect::<HashMap<_, _>>()});
        store.json(Method::Put, "/_cluster/settings", body).await.expect("a setting");
    };
    let line = || {
        let (code, text, _) = Process::output(&user.settings(), &["doctor"]);
        let line = text.lines().find(|line| line.contains(" user ")).unwrap_or_default();
        (code, line.to_owned())
    };
    let (_, off) = line();
    filter(json!(true)).await;
    let (code, refused) = line();
    user.is(&user.password, &["soc"]).await;
    let (_, partial) = line();
    filter(Value::Null).await;
    user.remove().await;
    assert!(off.starts_with("ok    user "), "{off}");
    assert!(code == 1 && refused.starts_with("FAIL  user "), "{refused}");
    assert!(names.iter().all(|name| refused.contains(name)), "{refused}");
    assert!(partial.starts_with("warn  user ") && partial.contains("users of soc"), "{partial}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_runs_with_the_roles_of_who_wrote_it_last() {
    let store = store!(secured);
    let roles = Permissions::of(&shipped(&store, &["alertloop", "alertloop_provisioning"]));
    let user = User::new(&store, &roles).await;
    let path = format!("{}/_doc/1?refresh=true", store.index("261105"));
    store.json(Method::Put, &path, json!({"a": 1})).await.expect("a document");
    let monitors = "/_plugins/_alerting/monitors";
    let monitor = json!({"type": "monitor", "monitor_type": "query_level_monitor",
        "name": user.name, "enabled": false,
        "schedule": {"period": {"interval": 1, "unit": "DAYS"}}, "triggers": [],
        "inputs": [{"search": {"indices": [store.pattern()],
            "query": {"query": {"match_all": {}}}}}]});
    let made = user.client().call(Method::Post, monitors, Some(&monitor)).await.expect("made");
    let one = format!("{monitors}/{}", made["_id"].as_str().expect("an id"));
    let run = format!("{one}/_execute?dryrun=true");
    let error_of_run = async || {
        let ran = store.json(Method::Post, &run, Value::Null).await.expect("a run");
        ran["input_results"]["error"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(error_of_run().await, "");
    user.may(&roles.clone().without("data/read/search")).await;
    let error = error_of_run().await;
    assert!(error.contains("no permissions for [indices:data/read/search]"), "{error}");
    assert!(error.contains(&user.name), "run by the admin, with the roles of its maker: {error}");
    store.json(Method::Put, &one, monitor.clone()).await.expect("the admin's edit");
    assert_eq!(error_of_run().await, "");
    let fault = user.client().call(Method::Put, &one, Some(&monitor)).await.expect_err("refused");
    assert!(fault.to_string().contains("read permissions"), "{fault}");
    store.json(Method::Delete, &one, Value::Null).await.expect("no monitor");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_to_be_let_in_over_tls() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let access = store.access();
    let certificate = access.certificate.clone().expect("a certificate");
    let other_ca = user.file("other-ca.pem", include_str!("../captured/other-ca.pem"));
    let no_file = shown(&user.file("empty-curlrc", ""));
    let wrong = user.file("wrong-curlrc", &format!("user: {}:wrong\n", user.name));
    let set = |pairs: &[(&str, String)]| {
        let mut settings = user.settings();
        for (name, value) in pairs {
            if value.is_empty() {
                settings.remove(*name);
            } else {
                settings.insert((*name).to_owned(), value.clone());
            }
        }
        settings
    };
    let ca = "ALERTLOOP_OPENSEARCH_CA";
    let credentials = "OPENSEARCH_CREDS_CONFIG_FILE";
    let verification = "OPENSEARCH_SSL_CERTIFICATE_VERIFICATION";
    for (why, settings, want) in [
        ("the right CA, and a password with quotes", set(&[]), ""),
        (
            "an untrusted CA",
            set(&[(ca, shown(&other_ca))]),
            "name the PEM file of its CA in ALERTLOOP_OPENSEARCH_CA",
        ),
        ("no CA", set(&[(ca, String::new())]), "ALERTLOOP_OPENSEARCH_CA"),
        ("no verification", set(&[(ca, String::new()), (verification, "false".to_owned())]), ""),
        (
            "a client certificate",
            set(&[
                ("ALERTLOOP_OPENSEARCH_CERT", shown(&certificate[0])),
                ("ALERTLOOP_OPENSEARCH_KEY", shown(&certificate[1])),
                (credentials, no_file.clone()),
            ]),
            "",
        ),
        ("no login", set(&[(credentials, no_file)]), "401"),
        ("a wrong password", set(&[(credentials, shown(&wrong))]), "401"),
    ] {
        let answer = cluster::about(&client(&settings).expect("a client")).await;
        let (code, text, _) = Process::output(&settings, &["doctor"]);
        match answer {
            Ok(_) => assert_eq!(want, "", "{why}"),
            Err(fault) => {
                assert!(!want.is_empty() && fault.to_string().contains(want), "{why}: {fault}");
                assert_eq!(code, 1, "{why}: {text}");
                let told = if want == "401" { "refuses the login" } else { want };
                assert!(text.contains(told), "{why}: {text}");
            }
        }
        assert!(!text.contains(&user.password), "{text}");
    }
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_wait_while_the_password_is_wrong_and_are_stored_when_it_is_right_again() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let access = user.access();
    let app = App::start(&store, &pairs(&access)).await;
    assert_eq!(app.alert(alert("before")).await.status, 200);
    user.has_password("Changed-By-The-Admin-4711").await;
    let trouble = trouble_of(&app, "meanwhile").await;
    assert!(trouble.contains("401"), "{trouble}");
    assert!(trouble.contains("OPENSEARCH_CREDS_CONFIG_FILE"), "{trouble}");
    user.has_password(&user.password).await;
    store.wait_for_records(2).await;
    app.stop().await;
    user.remove().await;
}
