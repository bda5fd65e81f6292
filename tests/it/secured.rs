//! A store with the security plugin: what its user must be allowed, what is seen where that is
//! missing, and the ways to be let in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alertloop::opensearch::cluster;
use opensearch::http::Method;
use serde_json::{Value, json};

mod calls;
mod monitors;
mod rotation;
mod server_certificate;
mod setup;
mod stack;
mod user;

use calls::*;
use user::*;

use crate::{
    objects::{self, folder::Folder},
    store,
    support::{self, Answer, App, Process, Store, TOKEN},
};

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
    let mut has = learned(&user, ground.calls()).await;
    let mut want = Permissions::of(&shipped(&store, &WITH_THE_PLUGIN));
    // Asked for only where documents bring new fields, as they do to an index that nobody has made
    // before with its mapping.
    for index in [STATE, LEASES, SERIES] {
        for permissions in [&mut has, &mut want] {
            permissions.index.get_mut(index).expect("it").remove("indices:admin/mapping/put");
        }
    }
    assert_eq!(has, want);
    ground.clean(&user.name).await;
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_shipped_roles_the_whole_loop_works() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let roles = shipped(&store, &["alertloop", "alertloop_provisioning"]);
    let user = User::new(&store, &Permissions::of(&roles)).await;
    let access = user.access();
    let own = vec![("ALERTLOOP_TEMPLATE", "auto"), ("ALERTLOOP_RECONCILE_INTERVAL", "1s")];
    let more = [pairs(&access), own].concat();
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
    let id = record["_source"]["event"]["id"].as_str().expect("the user may ask for the id");

    let acknowledge = app.post(&format!("/mapi/alerts/{id}/acknowledge"));
    let acknowledge = acknowledge.header("content-type", "application/json").body("{}");
    let acknowledged = Answer::of(acknowledge).await;
    assert_eq!(acknowledged.json["outcome"], "acknowledged", "{:#}", acknowledged.json);
    monitor["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] = json!("false");
    user.client().call(Method::Put, &one, Some(&monitor)).await.expect("an edit");
    user.client().call(Method::Post, &run, None).await.expect("a run");
    let over = async {
        loop {
            let records = store.records().await;
            if records.iter().any(|hit| hit["_source"]["event"]["action"] == "released") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let is_over = tokio::time::timeout(Duration::from_secs(30), over).await.is_ok();
    let reconciler = Answer::of(app.get("/readyz")).await.json["reconciler"].take();
    assert!(is_over, "the user may read what has become of the alert: {reconciler:#}");
    assert_eq!((&reconciler["leads"], &reconciler["trouble"]), (&json!(true), &Value::Null));

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
    settings.insert("ALERTLOOP_RECONCILE_INTERVAL".to_owned(), "1s".to_owned());
    let process = Process::serve(&settings);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let done = async {
        loop {
            let ready = Answer::of(client.get(process.url("/readyz"))).await.json;
            let trouble = ready["reconciler"]["trouble"].as_str().unwrap_or_default();
            // Nobody reconciles, and it says why.
            if ready["provisioning"] == "done" && trouble.contains(LEASES) {
                assert!(trouble.contains("provisioning/security/alertloop.json"), "{trouble}");
                return;
            }
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
    settings.insert("ALERTLOOP_RECONCILE_INTERVAL".to_owned(), "30s".to_owned());
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
        [("indices:data/read/mget", "warn  rights ")],
    ];
    for lacking in std::iter::once(&side_by_side[..]).chain(alone.iter().map(|one| &one[..])) {
        let without = |has: Permissions, (name, _): &(&str, _)| has.without(name);
        user.may(&lacking.iter().fold(roles.clone(), without)).await;
        let (_, text, _) = Process::output(&settings, &["doctor"]);
        for (permission, line) in lacking {
            // What only a dry run tells.
            let only_dry = permission.starts_with("indices:") && line.contains("rights")
                || permission.ends_with("monitor/delete");
            if only_dry && !tells {
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
