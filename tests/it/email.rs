//! E-mail is really sent: by OpenSearch, with the login that `auth-setup` stored, through the objects
//! that it wrote.

use std::{
    fs,
    process::{Command, Stdio},
};

use alertloop::opensearch::alerting::{self, Family};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    keystore, store,
    support::{Keystore, MailServer, Process, Store, provisioning, settings, skip},
};

/// The login at the mail server. The password has what tools like to stumble over.
const USERNAME: &str = "analyst@example.org";
const PASSWORD: &str = r#"pä ss"w'örd $(x)"#;

/// An account with its objects, which are removed in the end.
struct Account<'a> {
    store: &'a Store,
    keystore: &'a Keystore,
    name: String,
    folder: TempDir,
    monitor: Option<String>,
}

impl<'a> Account<'a> {
    fn new(store: &'a Store, keystore: &'a Keystore) -> Self {
        let name = store.pattern().replace("-*", "");
        let folder = tempfile::tempdir().expect("a folder");
        Self { store, keystore, name, folder, monitor: None }
    }

    /// Runs `auth-setup --reload` for this account on the keystore of the node that runs.
    fn auth_setup(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_alertloop"))
            .args(["auth-setup", "--yes", "--reload", "--opensearch-url", self.store.url()])
            .args(["--keystore-command", self.keystore.command()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("a process");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{told}");
        told
    }

    fn store_login(&self, password: &str, others: &[&str]) {
        let file = self.folder.path().join("password");
        fs::write(&file, password).expect("a file");
        let file = file.to_str().expect("UTF-8");
        let login = ["--name", &self.name, "--username", USERNAME, "--password-file", file];
        let told = self.auth_setup(&[&login[..], others].concat());
        assert!(told.contains("Keystore read again by: local"), "{told}");
    }

    /// Stores the login, and makes account, channel and a monitor that always fires.
    async fn make(&mut self, server: &MailServer) {
        let port = server.port().to_string();
        let folder = self.folder.path().to_str().expect("UTF-8");
        let mail = ["--smtp-host=127.0.0.1", "--smtp-port", &port, "--smtp-method=start_tls"];
        let files =
            ["--from", USERNAME, "--recipient=soc@example.org", "--provisioning-dir", folder];
        self.store_login(PASSWORD, &[&mail[..], &files].concat());
        let session = json!({"firstPacket": 1_794_000_000_000_i64});
        let path = format!("{}/_doc/session?refresh=true", self.store.index("261105"));
        self.json(Method::Put, &path, session).await;
        let monitor = json!({
            "type": "monitor", "monitor_type": "query_level_monitor", "name": self.name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
            "inputs": [{"search": {
                "indices": [self.store.pattern()], "query": {"size": 0, "query": {"match_all": {}}}}}],
            "triggers": [{"query_level_trigger": {
                "name": "something happened", "severity": "1",
                "condition": {"script": {"source": "true", "lang": "painless"}},
                "actions": [{
                    "name": "mail", "destination_id": format!("email_{}", self.name),
                    "throttle_enabled": false,
                    "subject_template":
                        {"lang": "mustache", "source": "Alert of {{ctx.monitor.name}}"},
                    "message_template": {"lang": "mustache",
                        "source": "{{ctx.trigger.name}}: {{ctx.results.0.hits.total.value}} session"}
                }]
            }}]
        });
        fs::create_dir(self.folder.path().join("monitors")).expect("a folder");
        fs::write(self.folder.path().join("monitors/mail.json"), monitor.to_string())
            .expect("a file");
        let told = self.provision(&["apply"]);
        assert!(told.contains("done: create      channel  smtp_account_"), "{told}");
        let client = self.store.client();
        let made = alerting::named(&client, Family::Monitor, &[&self.name]).await;
        self.monitor = Some(made.expect("a search")[0].id.clone());
    }

    /// Runs `provision` with the files of this account and none of those that are shipped.
    fn provision(&self, arguments: &[&str]) -> String {
        let folder = self.folder.path();
        for file in [
            "channels/malcolm_api_loopback_webhook.json",
            "monitors/malcolm_api_loopback_monitor.json",
        ] {
            fs::write(folder.join(file), "").expect("a file");
        }
        let mut settings = settings(self.store, folder);
        let folder = folder.to_str().expect("UTF-8").to_owned();
        settings.insert("ALERTLOOP_PROVISIONING_DIR".to_owned(), folder);
        settings.insert("ALERTLOOP_TEMPLATE".to_owned(), "none".to_owned());
        let arguments = [&["provision"], arguments].concat();
        let output = Process::command(&settings, &arguments).output().expect("a process");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let fault = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}{fault}");
        told
    }

    /// Fires the monitor, and gives its alert.
    async fn fire(&self) -> Value {
        let monitor = self.monitor.as_ref().expect("a monitor");
        let path = format!("_plugins/_alerting/monitors/{monitor}/_execute?dryrun=false");
        self.json(Method::Post, &path, Value::Null).await;
        let path = format!("_plugins/_alerting/monitors/alerts?monitorId={monitor}");
        let alerts = async {
            loop {
                let mut alerts = self.json(Method::Get, &path, Value::Null).await;
                if alerts["alerts"][0].is_object() {
                    return alerts["alerts"][0].take();
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), alerts).await.expect("an alert")
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.store.json(method, path, body).await;
        answer.unwrap_or_else(|fault| panic!("{path}: {fault}"))
    }

    /// Takes everything away again.
    fn remove(self) {
        let told = self.auth_setup(&["--remove", &self.name]);
        assert!(told.contains("variables removed: opensearch.notifications."), "{told}");
        for folder in ["channels", "monitors"] {
            for file in fs::read_dir(self.folder.path().join(folder)).expect("a folder") {
                fs::remove_file(file.expect("a file").path()).expect("a removal");
            }
        }
        let told = self.provision(&["apply", "--prune", "--yes"]);
        for object in ["monitor  ", "channel  email_", "channel  smtp_account_"] {
            assert!(told.contains(&format!("done: delete      {object}{}", self.name)), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_fires_sends_a_mail_with_the_stored_login_and_no_mail_with_a_wrong_one() {
    let (store, keystore) = (store!(alerting), keystore!(of_the_node));
    let server = match MailServer::start(USERNAME, PASSWORD) {
        Ok(server) => server,
        Err(why) => return skip(&why),
    };
    let _turn = provisioning(&store).await;
    let mut account = Account::new(&store, &keystore);
    account.make(&server).await;

    let alert = account.fire().await;
    assert_eq!(alert["state"], "ACTIVE", "{alert:#}");
    let mail = server.next();
    assert_eq!(mail["login"], USERNAME, "{mail:#}");
    assert_eq!((&mail["from"], &mail["to"]), (&json!(USERNAME), &json!(["soc@example.org"])));
    let text = mail["mail"].as_str().expect("a mail");
    assert!(text.contains(&format!("Subject: Alert of {}", account.name)), "{text}");
    assert!(text.contains("something happened: 1 session"), "{text}");

    account.store_login("wrong", &["--force"]);
    let alert = account.fire().await;
    assert_eq!(alert["state"], "ERROR", "{alert:#}");
    let fault = alert["error_message"].as_str().expect("a reason");
    assert!(fault.contains("535 5.7.8 Authentication credentials invalid"), "{fault}");
    assert_eq!(server.next(), json!({"refused": USERNAME}));

    account.remove();
    let rest = server.rest();
    assert!(rest.iter().all(|told| told["mail"].is_null()), "{rest:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_whose_certificate_is_not_trusted_gets_no_password() {
    let (store, keystore) = (store!(alerting), keystore!(of_the_node));
    let folder = tempfile::tempdir().expect("a folder");
    let server = match MailServer::start_tls(USERNAME, PASSWORD, folder.path()) {
        Ok(server) => server,
        Err(why) => return skip(&why),
    };
    let _turn = provisioning(&store).await;
    let mut account = Account::new(&store, &keystore);
    account.make(&server).await;
    let alert = account.fire().await;
    assert_eq!(alert["state"], "ERROR", "{alert:#}");
    let fault = alert["error_message"].as_str().expect("a reason");
    assert!(fault.contains("sendEmail Error, status:Could not convert socket to TLS"), "{fault}");
    account.remove();
    assert_eq!(server.rest(), Vec::<Value>::new());
}
