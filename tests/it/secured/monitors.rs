//! What alertloop's user must be allowed where alertloop runs the monitors itself.

use std::{collections::BTreeSet, fs, path::Path};

use alertloop::opensearch::{
    Client,
    alerting::{self, Family},
    builtin::{asking, indices::Index},
    engine::{self, Choice},
};

use super::*;
use crate::support::monitored;

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
const INDICES: [Index; 4] = [Index::Monitors, Index::Alerts, Index::Runs, Index::Ledger];
/// What alertloop's user has where it runs the monitors.
const OURS: [&str; 2] = ["alertloop", BUILTIN];
/// The id of an alert that was over long ago.
const PAST: &str = "long-over";

/// The indices of the built-in engine, for one test.
struct Own<'a> {
    store: &'a Store,
    /// The admin's.
    client: Client,
}

impl<'a> Own<'a> {
    fn new(store: &'a Store) -> Self {
        let monitors = engine::Settings { choice: Choice::Builtin, prefix: prefix(store) };
        Self { store, client: store.client_with(monitors) }
    }

    fn name(&self, index: Index) -> String {
        index.name(&self.client)
    }

    async fn put(&self, index: Index, id: &str, body: Value) {
        let path = format!("/{}/_doc/{id}?refresh=true", self.name(index));
        self.store.json(Method::Put, &path, body).await.expect("a document");
    }

    /// Makes the index of alerts, with one that is to be removed.
    async fn keep_a_past_alert(&self) {
        Index::Alerts.make(&self.client).await.expect("an index");
        let times = json!({"state": "COMPLETED", "start_time": 1, "end_time": 2});
        self.put(Index::Alerts, PAST, times).await;
    }

    async fn has_the_past_alert(&self) -> bool {
        let path = format!("/{}/_doc/{PAST}", self.name(Index::Alerts));
        self.store.raw("GET", &path, Value::Null).await["found"] == true
    }

    /// What a user who is to run the monitors is told besides who he is.
    fn settings(&self, folder: &Path) -> Vec<(String, String)> {
        [
            ("ALERTLOOP_MONITORS", "builtin"),
            ("ALERTLOOP_MONITORS_PREFIX", self.client.builtin_prefix()),
            ("ALERTLOOP_PROVISION", "true"),
            ("ALERTLOOP_PROVISIONING_DIR", folder.to_str().expect("UTF-8")),
            ("ALERTLOOP_TEMPLATE", "auto"),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Every call that is made for monitors that alertloop runs.
    fn calls(&self) -> Vec<Call> {
        let all = [self.of_monitors(), self.of_alerts(), self.of_runs(), self.of_the_ledger()];
        let mut calls: Vec<_> = all.into_iter().flatten().collect();
        calls.extend(self.of_what_they_run());
        calls
    }

    fn call(&self, index: Index, method: Method, path: &str, body: Value) -> Call {
        let body = (!body.is_null()).then_some(body);
        let (pattern, path) = (self.name(index), path.replace("INDEX", &self.name(index)));
        Call { pattern, method, path, body, lines: Vec::new() }
    }

    fn bulk(&self, index: Index, verb: &str, target: Value, body: Option<Value>) -> Call {
        let mut target = target;
        target["_index"] = json!(self.name(index));
        let lines = std::iter::once(json!({ verb: target })).chain(body).collect();
        Call { lines, ..self.call(index, Method::Post, "/_bulk", Value::Null) }
    }

    /// Made, and searched also where it is not there.
    fn of_each(&self, index: Index) -> Vec<Call> {
        let search = "/INDEX/_search?ignore_unavailable=true&allow_no_indices=true";
        let health = "/_cluster/health/INDEX?wait_for_status=yellow&timeout=1s";
        vec![
            self.call(index, Method::Put, "/INDEX", json!({"mappings": {"dynamic": false}})),
            self.call(index, Method::Post, search, json!({"query": {"match_all": {}}})),
            self.call(index, Method::Get, health, Value::Null),
        ]
    }

    fn of_monitors(&self) -> Vec<Call> {
        let index = Index::Monitors;
        let of = |method, path: &str, body| self.call(index, method, path, body);
        let guarded = "/INDEX/_doc/1?if_seq_no=0&if_primary_term=1&refresh=true";
        let mut calls = self.of_each(index);
        calls.extend([
            of(Method::Get, "/INDEX/_doc/1", Value::Null),
            of(Method::Post, "/INDEX/_doc?refresh=true", json!({"name": "a"})),
            of(Method::Put, guarded, json!({"name": "b"})),
            of(Method::Delete, "/INDEX/_doc/nobody?refresh=true", Value::Null),
        ]);
        calls
    }

    /// They are written by many at once, by guarded requests.
    fn of_alerts(&self) -> Vec<Call> {
        let index = Index::Alerts;
        let of = |method, path: &str, body| self.call(index, method, path, body);
        let known = json!({"_id": "1", "if_seq_no": 0, "if_primary_term": 1});
        let one = json!({"docs": [{"_index": self.name(index), "_id": "1"}]});
        let over = json!({"query": {"term": {"state": "COMPLETED"}}});
        let alert = || Some(json!({"state": "ACTIVE"}));
        let mut calls = self.of_each(index);
        calls.extend([
            of(Method::Post, "/INDEX/_refresh?ignore_unavailable=true", Value::Null),
            of(Method::Post, "/_mget", one),
            self.bulk(index, "create", json!({"_id": "2"}), alert()),
            self.bulk(index, "index", known, alert()),
            // It is waited for here, so that what is refused in the middle of it is told.
            of(Method::Post, "/INDEX/_delete_by_query?conflicts=proceed", over),
            // It does this at its end; a refusal is told to the store's log alone.
            of(Method::Delete, "/_search/scroll", json!({"scroll_id": ["none"]})),
        ]);
        calls
    }

    /// How monitors ran, and wishes for a run.
    fn of_runs(&self) -> Vec<Call> {
        let index = Index::Runs;
        let of = |method, path: &str, body| self.call(index, method, path, body);
        let known = || json!({"_id": "1", "if_seq_no": 0, "if_primary_term": 1});
        let one = json!({"docs": [{"_index": self.name(index), "_id": "1"}]});
        let refresh = "/INDEX/_refresh?ignore_unavailable=true&allow_no_indices=true";
        let mut calls = self.of_each(index);
        calls.extend([
            of(Method::Post, refresh, Value::Null),
            of(Method::Post, "/_mget", one),
            self.bulk(index, "create", json!({"_id": "2"}), Some(json!({"kind": "state"}))),
            self.bulk(index, "index", known(), Some(json!({"kind": "state"}))),
            self.bulk(index, "delete", known(), None),
            of(Method::Put, "/INDEX/_doc/wish-1?refresh=true", json!({"kind": "wish"})),
            of(Method::Get, "/INDEX/_doc/wish-1", Value::Null),
            of(Method::Delete, "/INDEX/_doc/wish-2?refresh=true", Value::Null),
        ]);
        calls
    }

    /// What was provisioned.
    fn of_the_ledger(&self) -> Vec<Call> {
        let index = Index::Ledger;
        let of = |method, path: &str, body| self.call(index, method, path, body);
        let guard = "if_seq_no=0&if_primary_term=1";
        let mut calls = self.of_each(index);
        calls.extend([
            of(Method::Get, "/INDEX", Value::Null),
            of(Method::Post, "/INDEX/_refresh", Value::Null),
            of(Method::Get, "/INDEX/_doc/1", Value::Null),
            of(Method::Put, "/INDEX/_doc/2?op_type=create", json!({"name": "a"})),
            of(Method::Put, &format!("/INDEX/_doc/1?{guard}"), json!({"name": "b"})),
            of(Method::Delete, &format!("/INDEX/_doc/1?{guard}"), Value::Null),
        ]);
        calls
    }

    /// The store's engines, what the monitors search, and the index templates of provisioning.
    fn of_what_they_run(&self) -> Vec<Call> {
        let pattern = self.store.pattern();
        let of = |method, path: String, body: Value| Call {
            pattern: pattern.to_owned(),
            method,
            path,
            body: (!body.is_null()).then_some(body),
            lines: Vec::new(),
        };
        let condition = json!({"script": {"source": "1 + 1"}});
        let message = json!({"source": "{{a}}", "params": {"a": 1}});
        let day = self.store.index("261121");
        let mut calls = vec![
            of(Method::Post, "/_scripts/painless/_execute".to_owned(), condition),
            of(Method::Post, "/_render/template".to_owned(), message),
            of(Method::Post, format!("/{pattern}/_search"), json!({"size": 0})),
            of(Method::Post, format!("/_index_template/_simulate_index/{day}"), Value::Null),
        ];
        for family in ["_template", "_index_template"] {
            let template = json!({"index_patterns": [format!("{}-*", prefix(self.store))]});
            let one = format!("/{family}/{}", prefix(self.store));
            calls.extend([
                of(Method::Get, format!("/{family}"), Value::Null),
                of(Method::Put, one, template),
                of(Method::Delete, format!("/{family}/nobody"), Value::Null),
            ]);
        }
        calls
    }

    async fn clean(&self) {
        let mut paths = INDICES.map(|index| format!("/{}", self.name(index))).to_vec();
        let own = prefix(self.store);
        paths.extend(["_template", "_index_template"].map(|family| format!("/{family}/{own}")));
        for path in paths {
            self.store.json(Method::Delete, &path, Value::Null).await.ok();
        }
    }
}

/// Each permission as a line.
fn lines(permissions: &Permissions) -> BTreeSet<String> {
    let of_index = permissions.index.iter().flat_map(|(index, actions)| {
        actions.iter().map(move |action| format!("{action} on {index}"))
    });
    permissions.cluster.iter().cloned().chain(of_index).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_who_runs_the_monitors_holds_what_is_asked_for_and_no_more() {
    let store = store!(secured);
    let own = Own::new(&store);
    for index in INDICES {
        index.make(&own.client).await.expect("an index");
        own.put(index, "1", json!({"name": "x"})).await;
    }
    own.keep_a_past_alert().await;
    let path = format!("{}/_doc/1?refresh=true", store.index("261120"));
    store.json(Method::Put, &path, json!({"a": "x"})).await.expect("a session");
    let user = User::new(&store, &Permissions::default()).await;

    let asked = lines(&learned(&user, own.calls()).await);
    assert!(!own.has_the_past_alert().await, "what is long over may be removed");
    let both = lines(&Permissions::of(&shipped(&store, &OURS)));
    let missing: Vec<_> = asked.difference(&both).collect();
    assert_eq!(missing, [""; 0], "the roles lack these");
    let role = lines(&Permissions::of(&shipped(&store, &[BUILTIN])));
    // Asked for only where documents bring new fields, as they do to an index that nobody has made
    // before with its mapping.
    let besides =
        role.difference(&asked).filter(|line| !line.starts_with("indices:admin/mapping/put"));
    assert_eq!(besides.collect::<Vec<_>>(), [""; 0], "nobody asks for these");
    own.clean().await;
    user.remove().await;
}

/// A disabled monitor that looks at the sessions every two seconds, and tells once of what it finds.
fn monitor(store: &Store, name: &str) -> Value {
    let mut body = monitored::monitor(name, store.pattern(), 2, &json!({"match_all": {}}));
    body["inputs"][0]["search"]["query"]["query"] = json!({"term": {"event.module": "zeek"}});
    body["enabled"] = json!(false);
    let action = &mut body["triggers"][0]["query_level_trigger"]["actions"][0];
    action["throttle_enabled"] = json!(true);
    action["throttle"] = json!({"value": 60, "unit": "MINUTES"});
    body
}

/// Waits until the records of the monitors are as they should be; gives them, the first one first.
async fn records(store: &Store, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    let settled = async {
        loop {
            seen = store.records().await;
            seen.retain(|hit| hit["_source"]["event"]["dataset"] == "alerting");
            seen.sort_by_key(|hit| hit["_source"]["event"]["start"].to_string());
            if good(&seen) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, settled).await.is_ok();
    assert!(in_time, "not as they should be: {seen:#?}");
    seen
}

/// Whether these are all, and this was done last about each.
fn are(records: &[Value], actions: &[&str]) -> bool {
    let last = records.iter().map(|hit| hit["_source"]["event"]["action"].as_str());
    last.eq(actions.iter().map(|action| Some(*action)))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_that_role_alertloop_keeps_and_runs_the_monitors_itself() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let user = User::new(&store, &Permissions::of(&shipped(&store, &OURS))).await;
    let own = Own::new(&store);
    own.keep_a_past_alert().await;
    assert!(own.has_the_past_alert().await);
    let session = format!("{}/_doc/session?refresh=true", store.index("261105"));
    let body = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    store.json(Method::Put, &session, body.clone()).await.expect("a session");

    let folder = tempfile::tempdir().expect("a directory");
    fs::create_dir(folder.path().join("monitors")).expect("a folder");
    let (file, name) = (folder.path().join("monitors/sessions.json"), "it: sessions");
    fs::write(&file, monitor(&store, name).to_string()).expect("a file");
    let more = [user.access(), own.settings(folder.path())].concat();
    let app = App::start_provisioning_with(&store, &pairs(&more)).await;
    app.wait_until_provisioned().await;
    let mut settings = user.settings();
    settings.extend(own.settings(folder.path()));
    settings.insert("ALERTLOOP_LOG".to_owned(), "error".to_owned());
    settings.insert("ALERTLOOP_WEBHOOK_URL".to_owned(), app.url("/mapi/alert"));
    settings.insert("ALERTLOOP_SPOOL_MAX_BYTES".to_owned(), "100 MiB".to_owned());
    let said = |arguments: &[&str]| {
        let (code, text, errors) = Process::output(&settings, arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}{errors}");
        text
    };
    let listed = said(&["monitors", "list"]);
    assert!(listed.contains(name) && listed.contains("Malcolm API Loopback Monitor"), "{listed}");

    // It fires by its schedule.
    said(&["monitors", "enable", name]);
    let fired = records(&store, |records| records.len() == 1).await;
    assert_eq!(fired[0]["_source"]["rule"]["name"], name, "{fired:#?}");
    let history = said(&["monitors", "history", name]);
    assert!(history.contains("fired"), "{history}");
    let tried = said(&["monitors", "run", name, "--dry-run"]);
    assert!(tried.contains("fires"), "{tried}");

    let id = fired[0]["_id"].as_str().expect("an id");
    let acknowledge = app.post(&format!("/mapi/alerts/{id}/acknowledge"));
    let acknowledge = acknowledge.header("content-type", "application/json").body("{}");
    let acknowledged = Answer::of(acknowledge).await;
    assert_eq!(acknowledged.json["outcome"], "acknowledged", "{:#}", acknowledged.json);
    records(&store, |records| are(records, &["acknowledged"])).await;
    store.json(Method::Delete, &session, Value::Null).await.expect("no session");
    records(&store, |records| are(records, &["released"])).await;
    said(&["monitors", "disable", name]);

    // It fires for who wishes for a run, and its alert goes with it.
    store.json(Method::Put, &session, body).await.expect("a session");
    said(&["monitors", "run", name]);
    records(&store, |records| records.len() == 2).await;
    let checked = said(&["doctor"]);
    let of_rights = ["cannot be looked at", "lacks", "permission"];
    assert!(!of_rights.iter().any(|word| checked.contains(word)), "{checked}");
    for want in ["rights    \"", "engine    alertloop runs the monitors itself"] {
        assert!(checked.contains(&format!("ok    {want}")), "{want}: {checked}");
    }
    fs::remove_file(&file).expect("no file");
    said(&["provision", "apply", "--prune", "--yes"]);
    assert!(!said(&["monitors", "list"]).contains(name), "it is gone");
    records(&store, |records| are(records, &["released", "released"])).await;

    let pruned = async {
        while own.has_the_past_alert().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, pruned).await.expect("what is long over is removed");
    let ready = Answer::of(app.get("/readyz")).await.json;
    for part in ["runner", "reconciler"] {
        let (leads, trouble) = (&ready[part]["leads"], &ready[part]["trouble"]);
        assert_eq!((leads, trouble), (&json!(true), &Value::Null), "{part}: {ready:#}");
    }
    app.stop().await;
    own.clean().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_that_role_lacks_is_told_by_the_doctor_and_by_the_runner() {
    let store = store!(secured);
    let own = Own::new(&store);
    let roles = Permissions::of(&shipped(&store, &OURS));
    let user = User::new(&store, &roles).await;
    let tells = tells_in_advance(&store).await;
    let folder = tempfile::tempdir().expect("a directory");
    let mut settings = user.settings();
    settings.extend(own.settings(folder.path()));
    let without = |index: &str, permission: &str| {
        let mut less = roles.clone();
        assert!(less.index.get_mut(index).expect("a right to it").remove(permission));
        less
    };
    let of = |index| own.name(index);
    for (index, permission, line) in [
        (None, "cluster:admin/scripts/painless/execute", "FAIL  engine "),
        (None, "indices:data/read/search/template/render", "FAIL  engine "),
        (Some(of(Index::Monitors)), "indices:data/write/index", "FAIL  rights "),
        (Some(of(Index::Alerts)), "indices:data/write/delete", "FAIL  rights "),
        (Some(of(Index::Runs)), "indices:data/write/index", "FAIL  rights "),
        (Some(store.pattern().to_owned()), "indices:data/read/search", "FAIL  rights "),
    ] {
        let less = index.map(|index| without(&index, permission));
        user.may(&less.unwrap_or_else(|| roles.clone().without(permission))).await;
        let (code, text, _) = Process::output(&settings, &["doctor"]);
        if line.contains("rights") && !tells {
            continue;
        }
        let told = text.lines().find(|told| told.starts_with(line) && told.contains(permission));
        let told = told.unwrap_or_else(|| panic!("{permission}: {text}"));
        assert!(code == 1 && told.contains("; to mend: give "), "{told}");
        assert!(line.contains("engine") || told.contains("alertloop_monitors.json"), "{told}");
    }

    // It is said why nothing runs, and once it is mended all goes on.
    user.may(&without(&of(Index::Runs), "indices:admin/create")).await;
    let mut alone = user.access();
    alone.extend(own.settings(folder.path()));
    alone.retain(|(name, _)| !name.contains("TEMPLATE"));
    alone.push(("ALERTLOOP_PROVISION".to_owned(), "false".to_owned()));
    let app = App::start(&store, &pairs(&alone)).await;
    let told = async |good: &dyn Fn(&Value) -> bool| {
        let mut runner = Value::Null;
        let settled = async {
            loop {
                runner = Answer::of(app.get("/readyz")).await.json["runner"].take();
                if good(&runner) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, settled).await.is_ok();
        assert!(in_time, "{runner:#}");
    };
    let why = |runner: &Value| runner["trouble"].as_str().unwrap_or_default().to_owned();
    told(&|runner| why(runner).contains("no permissions for [indices:admin/create]")).await;
    user.may(&roles).await;
    told(&|runner| runner["leads"] == true && runner["trouble"].is_null()).await;

    // So does a run that has fired.
    let session = format!("{}/_doc/session?refresh=true", store.index("261105"));
    let body = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    store.json(Method::Put, &session, body).await.expect("a session");
    user.may(&without(&of(Index::Alerts), "indices:data/write/index")).await;
    let mut body = monitor(&store, "it: refused");
    body["enabled"] = json!(true);
    let made = alerting::create(&own.client, Family::Monitor, &body).await.expect("a monitor");
    told(&|runner| why(runner).contains("no permissions for [indices:data/write/index]")).await;
    user.may(&roles).await;
    records(&store, |records| are(records, &["engaged"])).await;

    // A search that is refused is an error of the run.
    user.may(&without(store.pattern(), "indices:data/read/search")).await;
    let error = async {
        loop {
            let runs = asking::runs(&own.client, &made.id).await.expect("its runs");
            let errors = runs.iter().filter_map(|run| run["error"].as_str());
            if errors.into_iter().any(|why| why.contains("indices:data/read/search")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, error).await.expect("the error of a run");
    app.stop().await;
    own.clean().await;
    user.remove().await;
}
