//! A user of the store, with exactly the permissions that a test gives it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use alertloop::{config::Config, opensearch::Client, secrets::WebhookToken};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::support::{Store, settings};

const ROLES: [(&str, &str); 4] = [
    ("alertloop", include_str!("../../../provisioning/security/alertloop.json")),
    (
        "alertloop_provisioning",
        include_str!("../../../provisioning/security/alertloop_provisioning.json"),
    ),
    (BUILTIN, include_str!("../../../provisioning/security/alertloop_monitors.json")),
    ("alertloop_keystore", include_str!("../../../provisioning/security/alertloop_keystore.json")),
];
/// Those for a store whose plugin runs the monitors.
pub(super) const WITH_THE_PLUGIN: [&str; 3] =
    ["alertloop", "alertloop_provisioning", "alertloop_keystore"];
/// The one for a store whose monitors alertloop runs.
pub(super) const BUILTIN: &str = "alertloop_monitors";
pub(super) const SECURITY: &str = "/_plugins/_security/api";
/// What a role says of the session records' indices.
pub(super) const PATTERN: &str = "arkime_sessions3-*";
pub(super) const STATE: &str = "alertloop-provisioned";
/// Where the leases are.
pub(super) const LEASES: &str = "alertloop-state";
/// Where it is kept what engages and is released.
pub(super) const SERIES: &str = "alertloop-series";

/// What the names of a test's indices of the built-in engine begin with.
pub(super) fn prefix(store: &Store) -> String {
    format!("own{}", store.pattern().replace("-*", ""))
}

/// The roles that we ship, for the indices of one test.
pub(super) fn shipped(store: &Store, names: &[&str]) -> Vec<Value> {
    let chosen = ROLES.iter().filter(|(name, _)| names.contains(name));
    let own = format!("\"{}-", prefix(store));
    chosen
        .map(|(name, text)| {
            let mut text = text.replace(PATTERN, store.pattern());
            if *name == BUILTIN {
                text = text.replace("\"alertloop-", &own);
            }
            serde_json::from_str(&text).expect("a role")
        })
        .collect()
}

/// Their permissions: of the cluster, and of each index pattern.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Permissions {
    pub(super) cluster: BTreeSet<String>,
    pub(super) index: BTreeMap<String, BTreeSet<String>>,
}

impl Permissions {
    pub(super) fn of(roles: &[Value]) -> Self {
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

    pub(super) fn add(&mut self, more: Self) {
        self.cluster.extend(more.cluster);
        for (pattern, actions) in more.index {
            self.index.entry(pattern).or_default().extend(actions);
        }
    }

    pub(super) fn without(mut self, part: &str) -> Self {
        self.cluster.retain(|name| !name.contains(part));
        for actions in self.index.values_mut() {
            actions.retain(|name| !name.contains(part));
        }
        self
    }

    pub(super) fn role(&self) -> Value {
        let index = self.index.iter().filter(|(_, actions)| !actions.is_empty());
        let index: Vec<_> = index
            .map(|(pattern, actions)| json!({"index_patterns": [pattern], "allowed_actions": actions}))
            .collect();
        json!({"cluster_permissions": self.cluster, "index_permissions": index})
    }
}

/// A user with one role, both made for one test.
pub(super) struct User<'a> {
    pub(super) store: &'a Store,
    pub(super) name: String,
    pub(super) password: String,
    pub(super) dir: TempDir,
    /// None for the test that has all turns.
    pub(super) _turn: Option<RwLockReadGuard<'static, ()>>,
}

/// Settings of the whole cluster are changed only while no other test runs.
pub(super) static SETTINGS: RwLock<()> = RwLock::const_new(());

impl<'a> User<'a> {
    /// Makes it; the password has quotes and more in it.
    pub(super) async fn new(store: &'a Store, permissions: &Permissions) -> Self {
        Self::in_turn(store, permissions, Some(SETTINGS.read().await)).await
    }

    pub(super) async fn in_turn(
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

    pub(super) async fn change(&self, method: Method, kind: &str, body: Value) {
        // All users are one document, all roles another: of two changes at once one is refused.
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let path = format!("{SECURITY}/{kind}/{}", self.name);
        self.store.json(method, &path, body).await.expect("a change of users or roles");
    }

    pub(super) async fn may(&self, permissions: &Permissions) {
        self.change(Method::Put, "roles", permissions.role()).await;
    }

    pub(super) async fn has_password(&self, password: &str) {
        self.is(password, &[]).await;
    }

    pub(super) async fn is(&self, password: &str, backend_roles: &[&str]) {
        let body = json!({"password": password, "opendistro_security_roles": [self.name],
            "backend_roles": backend_roles});
        self.change(Method::Put, "internalusers", body).await;
    }

    /// The credentials file, as an operator writes it.
    pub(super) fn credentials(&self) -> PathBuf {
        let escaped = self.password.replace('\\', "\\\\").replace('"', "\\\"");
        self.file("curlrc", &format!("# OpenSearch\nuser: \"{}:{escaped}\"\n", self.name))
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Settings of a service that is this user.
    pub(super) fn settings(&self) -> HashMap<String, String> {
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
    pub(super) fn access(&self) -> Vec<(String, String)> {
        let of_store = |name: &str| name.contains("OPENSEARCH");
        self.settings().into_iter().filter(|(name, _)| of_store(name)).collect()
    }

    pub(super) fn client(&self) -> Client {
        client(&self.settings()).expect("a client")
    }

    pub(super) async fn remove(self) {
        for kind in ["internalusers", "roles"] {
            self.change(Method::Delete, kind, Value::Null).await;
        }
    }
}

pub(super) fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

pub(super) fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A client made from settings, as the service makes it.
pub(super) fn client(settings: &HashMap<String, String>) -> anyhow::Result<Client> {
    let config = Config::read(|name| settings.get(name).cloned(), |path| std::fs::read(path));
    Client::new(&config.unwrap_or_else(|faults| panic!("{faults}")).store)
}
