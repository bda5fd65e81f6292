//! `alertloop security-setup` with a real administrator.

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use alertloop::opensearch::security;
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::{SECURITY, client, shown};
use crate::{
    store,
    support::{Process, Store, settings},
};

/// The names of the shipped roles are fixed, so one test at a time has them.
static TURN: Mutex<()> = Mutex::const_new(());

/// What the administrator's desk has.
pub(super) struct Desk<'a> {
    store: &'a Store,
    pub(super) dir: TempDir,
    pub(super) settings: HashMap<String, String>,
    pub(super) admin: String,
    pub(super) user: String,
    _turn: MutexGuard<'static, ()>,
}

impl<'a> Desk<'a> {
    pub(super) async fn new(store: &'a Store) -> Self {
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().expect("a directory");
        let access = store.access();
        let login = access.login.as_ref().expect("a login");
        let admin = dir.path().join("admin-curlrc");
        let line = format!("user: {}:{}\n", login.user, login.password.expose());
        fs::write(&admin, line).expect("a file");
        let mut settings = settings(store, dir.path());
        for (name, value) in [
            ("OPENSEARCH_SSL_CERTIFICATE_VERIFICATION", "true".to_owned()),
            ("ALERTLOOP_OPENSEARCH_CA", shown(access.ca.as_ref().expect("a CA"))),
            ("OPENSEARCH_CREDS_CONFIG_FILE", shown(&dir.path().join("curlrc"))),
            ("ALERTLOOP_PROVISION", "true".to_owned()),
        ] {
            settings.insert(name.to_owned(), value);
        }
        let user = store.pattern().replace("-*", "own");
        let desk = Self { store, dir, settings, admin: shown(&admin), user, _turn: turn };
        desk.clean().await;
        desk
    }

    /// Runs `security-setup` for the user of this test, with the administrator's login.
    pub(super) fn run(&self, action: &str, more: &[&str]) -> (i32, String, String) {
        let usual = ["security-setup", action, "--admin-creds", &self.admin, "--user", &self.user];
        Process::output(&self.settings, &[&usual, more].concat())
    }

    async fn live(&self, kind: &str, name: &str) -> Value {
        let path = format!("{SECURITY}/{kind}/{name}");
        let found = self.store.json(Method::Get, &path, Value::Null).await;
        found.map(|mut found| found[name].take()).unwrap_or_default()
    }

    async fn put(&self, kind: &str, name: &str, mut body: Value) {
        for flag in ["reserved", "hidden", "static"] {
            body.as_object_mut().expect("an object").remove(flag);
        }
        let path = format!("{SECURITY}/{kind}/{name}");
        self.store.json(Method::Put, &path, body).await.expect("a change");
    }

    pub(super) async fn clean(&self) {
        let mut all = vec![("internalusers", self.user.as_str())];
        for role in ["alertloop", "alertloop_provisioning", "alertloop_keystore"] {
            all.extend([("rolesmapping", role), ("roles", role)]);
        }
        for (kind, name) in all {
            let path = format!("{SECURITY}/{kind}/{name}");
            self.store.json(Method::Delete, &path, Value::Null).await.ok();
        }
    }

    fn curlrc(&self) -> String {
        fs::read_to_string(self.dir.path().join("curlrc")).expect("the file with the login")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_user_and_mapping_are_made_once_and_what_a_user_edits_is_left() {
    let store = store!(secured);
    let desk = Desk::new(&store).await;

    let (code, text, errors) = desk.run("plan", &[]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("create   role     alertloop\n"), "{text}");
    assert!(text.contains("To do: 6."), "{text}");
    assert_eq!(desk.live("roles", "alertloop").await, Value::Null, "a plan changes nothing");
    assert!(!desk.dir.path().join("curlrc").exists());

    let (code, text, errors) = desk.run("apply", &[]);
    assert_eq!(code, 0, "{text}{errors}");
    let mode = fs::metadata(desk.dir.path().join("curlrc")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let curlrc = desk.curlrc();
    let password = curlrc.trim().trim_end_matches('"').rsplit(':').next().expect("a password");
    assert!(!format!("{text}{errors}").contains(password), "the password is not printed");
    let me = security::whoami(&client(&desk.settings).expect("a client")).await;
    let me = me.expect("let in").expect("a user");
    assert_eq!(me.name, desk.user);
    for role in ["alertloop", "alertloop_provisioning"] {
        assert!(me.roles.iter().any(|has| has == role), "{me:?}");
    }

    for action in ["plan", "apply"] {
        let (code, text, _) = desk.run(action, &[]);
        assert!(code == 0 && text.contains("Nothing is to do."), "{text}");
    }
    assert_eq!(desk.curlrc(), curlrc);

    // Another pattern: the roles are as we left them, so they follow.
    let mut elsewhere = desk.settings.clone();
    elsewhere.insert("MALCOLM_NETWORK_INDEX_PATTERN".to_owned(), "elsewhere-*".to_owned());
    let arguments = ["security-setup", "apply", "--admin-creds", &desk.admin];
    let (code, text, errors) = Process::output(&elsewhere, &arguments);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.contains("+ indices:data/write/index on elsewhere-*"), "{text}");
    let (code, _, errors) = desk.run("apply", &[]);
    assert_eq!(code, 0, "{errors}");

    edited(&desk).await;
    forgotten_password(&desk).await;
    others(&desk).await;
    desk.clean().await;
}

/// A user's edit stays, whichever way it goes, until it is taken over by force.
async fn edited(desk: &Desk<'_>) {
    let mut role = desk.live("roles", "alertloop").await;
    role["cluster_permissions"]
        .as_array_mut()
        .expect("a list")
        .retain(|one| one.as_str() != Some("cluster:monitor/state"));
    role["cluster_permissions"].as_array_mut().expect("a list").push(json!("cluster:monitor/task"));
    desk.put("roles", "alertloop", role.clone()).await;
    let (code, text, _) = desk.run("apply", &[]);
    assert_eq!(code, 1, "{text}");
    for want in ["leave    role     alertloop", "+ cluster:monitor/state", "- cluster:monitor/task"]
    {
        assert!(text.contains(want), "{want}: {text}");
    }
    let now = desk.live("roles", "alertloop").await;
    assert_eq!(now["cluster_permissions"], role["cluster_permissions"]);
    let (code, text, _) = desk.run("apply", &["--force"]);
    assert!(code == 0 && text.contains("update   role     alertloop"), "{text}");
    let (code, text, _) = desk.run("plan", &[]);
    assert!(code == 0 && text.contains("Nothing is to do."), "{text}");
}

/// Somebody changed the password, and added to the user and the mapping.
async fn forgotten_password(desk: &Desk<'_>) {
    let other = json!({"password": "Somebody-Else-Chose-4711", "backend_roles": ["soc"],
        "attributes": {"kept": "yes"}});
    desk.put("internalusers", &desk.user, other).await;
    desk.put("rolesmapping", "alertloop", json!({"users": ["ann"], "hosts": ["h"]})).await;
    let (code, text, _) = desk.run("plan", &[]);
    assert!(code == 0 && text.contains("--reset-password gives it the file's"), "{text}");
    let (code, text, errors) = desk.run("apply", &["--reset-password"]);
    assert_eq!(code, 0, "{text}{errors}");
    let me = security::whoami(&client(&desk.settings).expect("a client")).await;
    let me = me.expect("let in again").expect("a user");
    assert_eq!(me.backend_roles, ["soc"]);
    let user = desk.live("internalusers", &desk.user).await;
    assert_eq!(user["attributes"]["kept"], "yes", "{user}");
    let mapping = desk.live("rolesmapping", "alertloop").await;
    assert_eq!(mapping["users"], json!(["ann", desk.user]), "{mapping}");
    assert_eq!(mapping["hosts"], json!(["h"]), "{mapping}");

    // The file is gone: nothing of the user is changed unless that is asked for.
    fs::remove_file(desk.dir.path().join("curlrc")).expect("no file");
    let (code, text, _) = desk.run("apply", &[]);
    assert!(code == 1 && text.contains("its password is not known here"), "{text}");
    assert!(!desk.dir.path().join("curlrc").exists());
    let (code, text, errors) = desk.run("apply", &["--reset-password"]);
    assert_eq!(code, 0, "{text}{errors}");
    let me = security::whoami(&client(&desk.settings).expect("a client")).await;
    assert_eq!(me.expect("let in").expect("a user").name, desk.user);
}

/// Who else may be the administrator, and who may not.
async fn others(desk: &Desk<'_>) {
    let [certificate, key] = desk.store.access().certificate.clone().expect("a certificate");
    let (certificate, key) = (shown(&certificate), shown(&key));
    let run = |arguments: &[&str]| {
        Process::output(&desk.settings, &[&["security-setup"], arguments].concat())
    };
    let external = ["--user", "sensor-7", "--external-user", "--role", "alertloop"];
    let by_certificate = ["apply", "--admin-cert", &certificate, "--admin-key", &key];
    let (code, text, errors) = run(&[&by_certificate[..], &external].concat());
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.contains("+ user sensor-7"), "{text}");
    assert_eq!(desk.live("internalusers", "sensor-7").await, Value::Null);

    let file = |name: &str, text: &str| {
        fs::write(desk.dir.path().join(name), text).expect("a file");
        shown(&desk.dir.path().join(name))
    };
    let wrong = file("wrong", "user: admin:hunter2-hunter2\n");
    let own = shown(Path::new(&desk.settings["OPENSEARCH_CREDS_CONFIG_FILE"]));
    for (arguments, want_code, want) in [
        (vec!["plan", "--admin-creds", &wrong], 1, "correct the administrator's login"),
        (vec!["plan", "--admin-creds", &own], 1, "restapi.roles_enabled"),
        (vec!["plan"], 2, "--admin-creds"),
        (vec!["plan", "--admin-creds", &wrong, "--role", "admin"], 2, "no role \"admin\""),
        (vec!["plan", "--admin-creds", "/nowhere"], 1, "cannot read /nowhere"),
    ] {
        let (code, text, errors) = run(&arguments);
        assert_eq!(code, want_code, "{arguments:?}: {text}{errors}");
        assert!(errors.contains(want), "{arguments:?}: {errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}
