//! The shared OpenSearch node, seen by one test.

use std::{path::PathBuf, time::Duration};

use alertloop::{
    opensearch::{Client, Error, Settings, engine},
    provision::{self, TemplateMode},
    secrets::{Login, WebhookToken},
};
use opensearch::http::Method;
use serde_json::{Value, json};

/// How long a test waits for what should come.
const PATIENCE: Duration = Duration::from_mins(1);

/// The real store, with an index pattern that no other test uses.
pub struct Store {
    url: String,
    pattern: String,
    access: Access,
}

/// What lets one in to a store with the security plugin; nothing for one without.
#[derive(Clone, Default)]
pub struct Access {
    /// PEM file of its CA.
    pub ca: Option<PathBuf>,
    /// The login.
    pub login: Option<Login>,
    /// PEM files of a client certificate and its key.
    pub certificate: Option<[PathBuf; 2]>,
}

impl Store {
    /// The store that this run was given.
    pub fn of_this_run() -> Option<Self> {
        std::env::var("ALERTLOOP_TEST_OPENSEARCH").ok().map(Self::at)
    }

    /// The store at this address.
    pub fn at(url: String) -> Self {
        let random = WebhookToken::generate().expose()[..10].to_owned();
        Self { url, pattern: format!("it{random}-*"), access: Access::default() }
    }

    /// The store with the security plugin that this run was given, for its admin.
    pub fn secured_of_this_run() -> Option<Self> {
        let url = std::env::var("ALERTLOOP_TEST_SECURED").ok()?;
        let folder = PathBuf::from(std::env::var_os("ALERTLOOP_TEST_ACCESS")?);
        let password = std::fs::read_to_string(folder.join("admin-password")).expect("a password");
        let access = Access {
            ca: Some(folder.join("ca.pem")),
            login: Some(Login {
                user: "admin".to_owned(),
                password: password.trim().to_owned().into(),
            }),
            certificate: Some([folder.join("admin.pem"), folder.join("admin.key")]),
        };
        let mut store = Self::at(url);
        store.access = access;
        Some(store)
    }

    /// What lets the admin in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A store that never answers, at an address where nothing listens.
    pub fn away() -> Self {
        Self {
            url: "http://127.0.0.1:1".to_owned(),
            pattern: "away-*".to_owned(),
            access: Access::default(),
        }
    }

    /// Gives this test's indices their types, by a template that no other test touches.
    pub async fn make_template(&self) {
        let text = include_str!("../../../provisioning/templates/alertloop_sessions.json");
        let mut template: Value = serde_json::from_str(text).expect("JSON");
        template["index_patterns"] = json!([self.pattern]);
        let path = format!("_template/{}", self.template());
        self.json(Method::Put, &path, template).await.expect("a template");
    }

    fn template(&self) -> String {
        self.pattern.replace("-*", "")
    }

    /// Whether it can have monitors and channels.
    pub fn has_alerting() -> bool {
        std::env::var("ALERTLOOP_TEST_ALERTING").is_ok_and(|value| value == "1")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pattern, such as `it0123-*`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The index of a day, `yymmdd`.
    pub fn index(&self, day: &str) -> String {
        self.pattern.replace('*', day)
    }

    /// What provisioning has to know of it, where the template is left to the test.
    pub fn provisioning(&self) -> provision::Settings {
        provision::Settings {
            webhook_url: "http://alertloop:5000/mapi/alert".parse().expect("a URL"),
            index_pattern: self.pattern.clone(),
            time_field: "firstPacket".to_owned(),
            template: TemplateMode::None,
            malcolm_template: "malcolm_template".to_owned(),
            may_have_monitors: true,
            dir: None,
        }
    }

    pub fn client(&self) -> Client {
        self.client_with(engine::Settings::default())
    }

    /// A client of a store whose monitors are run as these settings say.
    pub fn client_with(&self, monitors: engine::Settings) -> Client {
        let read = |file: &PathBuf| std::fs::read(file).expect("a PEM file");
        let settings = Settings {
            url: self.url.parse().expect("a URL"),
            login: self.access.login.clone(),
            verify: true,
            ca: self.access.ca.as_ref().map(read),
            identity: None,
            timeout: PATIENCE,
            monitors,
        };
        Client::new(&settings).expect("a client")
    }

    /// Asks the store and gives whatever JSON it answers, also with an error.
    pub async fn raw(&self, method: &str, path: &str, body: Value) -> Value {
        if method == "DELETE" && self.has_no_such_monitor(path).await {
            return Value::Null;
        }
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(ca) = &self.access.ca {
            let pem = std::fs::read(ca).expect("a PEM file");
            builder = builder
                .add_root_certificate(reqwest::Certificate::from_pem(&pem).expect("a certificate"));
        }
        let client = builder.build().expect("a client");
        let method = method.parse().expect("a method");
        let mut request = client.request(method, format!("{}{path}", self.url));
        if let Some(Login { user, password }) = &self.access.login {
            request = request.basic_auth(user, Some(password.expose()));
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let text = request.send().await.expect("an answer").text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Whether this is a monitor's address, and there is none. It must not be deleted then: 2.19.4 and
    /// 3.4.0 answer that twice, and the second answer falls into those of other tests.
    async fn has_no_such_monitor(&self, path: &str) -> bool {
        let is_monitor = path.contains("_plugins/_alerting/monitors/");
        let look = self.client();
        is_monitor
            && look.call(Method::Get, path, None).await.is_err_and(|fault| fault.is_not_found())
    }

    /// Asks the store and gives its answer's JSON.
    pub async fn json(&self, method: Method, path: &str, body: Value) -> Result<Value, Error> {
        if method == Method::Delete && self.has_no_such_monitor(path).await {
            let reason = format!("{path} is not there");
            return Err(Error::Status { status: 404, reason });
        }
        let body = (!body.is_null()).then_some(&body);
        self.client().call(method, path, body).await
    }

    /// Makes a monitor or a workflow; waits while an index that has to do with it is being made, as on
    /// a new node that of the monitors themselves.
    pub async fn make(&self, path: &str, body: Value) -> Value {
        let begun = std::time::Instant::now();
        loop {
            match self.json(Method::Post, path, body.clone()).await {
                Err(Error::Status { status: 500, reason })
                    if reason == "all shards failed" && begun.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                made => return made.expect("made"),
            }
        }
    }

    /// What the Alerting API says to this query of alerts, such as `monitorId=…`; waits while their index
    /// is being made, as by the first run on a new node.
    pub async fn alerts(&self, query: &str) -> Value {
        let path = format!("_plugins/_alerting/monitors/alerts?{query}");
        let begun = std::time::Instant::now();
        loop {
            match self.json(Method::Get, &path, Value::Null).await {
                Err(Error::Status { status: 503, .. }) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                told => return told.expect("alerts"),
            }
        }
    }

    /// Removes the loopback channel, under both of its ids, and the loopback monitor.
    pub async fn remove_loopback(&self) {
        let name =
            json!({"query": {"term": {"monitor.name.keyword": "Malcolm API Loopback Monitor"}}});
        let search = "_plugins/_alerting/monitors/_search";
        let found = self.json(Method::Post, search, name).await.unwrap_or_default();
        let mut paths: Vec<_> = found["hits"]["hits"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|hit| hit["_id"].as_str())
            .map(|id| format!("_plugins/_alerting/monitors/{id}"))
            .collect();
        for id in ["malcolm-api-loopback-webhook", "malcolm-api-loopback-webook"] {
            paths.push(format!("_plugins/_notifications/configs/{id}"));
        }
        for path in paths {
            match self.json(Method::Delete, &path, Value::Null).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => panic!("{path}: {error}"),
            }
        }
    }

    /// Every record under this test's pattern, as search hits.
    pub async fn records(&self) -> Vec<Value> {
        let pattern = &self.pattern;
        let options = "ignore_unavailable=true&allow_no_indices=true";
        let refresh = format!("{pattern}/_refresh?{options}");
        self.json(Method::Post, &refresh, Value::Null).await.expect("a refresh");
        let search = format!("{pattern}/_search?size=10000&version=true&{options}");
        match self.json(Method::Post, &search, json!({"sort": ["_doc"]})).await {
            Ok(answer) => answer["hits"]["hits"].as_array().cloned().unwrap_or_default(),
            // An index that was made a moment ago has no shard to search yet.
            Err(error) if error.status() == Some(503) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until there are `count` records, and gives them; panics with what there is.
    pub async fn wait_for_records(&self, count: usize) -> Vec<Value> {
        let mut seen = Vec::new();
        let enough = async {
            loop {
                seen = self.records().await;
                if seen.len() == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, enough).await.is_ok();
        assert!(came, "{} records instead of {count}: {seen:#?}", seen.len());
        seen
    }
}

impl Drop for Store {
    /// Removes this test's indices, so that the node stays small.
    fn drop(&mut self) {
        let client = self.client();
        let pattern = self.pattern.clone();
        let template = format!("_template/{}", self.template());
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| {
                runtime.block_on(async {
                    drop(client.call(Method::Delete, &template, None).await);
                    let list = format!("_cat/indices/{pattern}?h=index&format=json");
                    let indices = client.call(Method::Get, &list, None).await.unwrap_or_default();
                    for index in indices.as_array().into_iter().flatten() {
                        let name = index["index"].as_str().unwrap_or_default();
                        if !name.is_empty() {
                            drop(client.call(Method::Delete, name, None).await);
                        }
                    }
                });
            })
        });
        drop(removal.join());
    }
}
