//! A folder of provisioning files, and the store that they describe.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alertloop::{
    opensearch::{
        Client,
        alerting::{self, Family},
        notifications, templates,
    },
    provision::{
        self, Applied, ChannelSecret, Error, Options, Plan, Settings,
        export::{self, Everything},
        ledger,
        object::Object,
    },
    secrets::WebhookToken,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::lives::Life;
use crate::support::{Store, provisioning};

const PATIENCE: Duration = Duration::from_mins(1);

/// A folder of provisioning files in which only what a test writes is asked for.
pub struct Folder {
    pub dir: TempDir,
    pub store: Arc<Store>,
    pub client: Client,
    pub settings: Settings,
    pub token: WebhookToken,
    pub prefix: String,
    _turn: MutexGuard<'static, ()>,
}

impl Folder {
    pub async fn new(store: Store) -> Self {
        let client = store.client();
        Self::for_user(Arc::new(store), client).await
    }

    /// The same for one who may do less than a test; what is done behind our back is not his.
    pub async fn for_user(store: Arc<Store>, client: Client) -> Self {
        let turn = provisioning(&store).await;
        let dir = tempfile::tempdir().unwrap();
        for folder in ["channels", "monitors", "templates"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let prefix = store.pattern().replace("-*", "");
        let settings = Settings { dir: Some(dir.path().to_owned()), ..store.provisioning() };
        let folder = Self {
            dir,
            store,
            client,
            settings,
            token: WebhookToken::generate(),
            prefix,
            _turn: turn,
        };
        for shipped in [
            "channels/malcolm_api_loopback_webhook.json",
            "monitors/malcolm_api_loopback_monitor.json",
            "templates/alertloop_sessions.json",
        ] {
            std::fs::write(folder.dir.path().join(shipped), "").unwrap();
        }
        folder.lose_the_ledger().await;
        folder.raw("PUT", &format!("/{}-idx", folder.prefix), json!({})).await;
        folder
    }

    pub fn write(&self, file: &str, body: &Value) {
        std::fs::write(self.dir.path().join(file), body.to_string()).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.dir.path().join(file)).unwrap();
    }

    pub fn secret(&self) -> ChannelSecret {
        ChannelSecret::new(self.token.clone(), true)
    }

    pub async fn plan(&self, options: Options) -> Plan {
        provision::look(&self.client, &self.settings, &self.secret(), options).await.unwrap()
    }

    /// All that is there, once the list of channels has those that have just been made, ours too: on 2.19
    /// it is up to a second behind.
    pub async fn everything(&self, lives: &[Life], ours: Option<&str>) -> Everything {
        let channels = lives.iter().filter(|life| life.object == Object::Channel);
        let channels: Vec<_> = channels.map(|life| life.name.as_str()).chain(ours).collect();
        let begun = Instant::now();
        loop {
            let listed = notifications::configs(&self.client).await.unwrap();
            if channels.iter().all(|id| listed.contains_key(*id)) {
                return export::read(&self.client).await.unwrap();
            }
            assert!(begun.elapsed() < PATIENCE, "channels are not listed: {listed:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn try_apply(&self, options: Options) -> Result<Applied, Error> {
        provision::apply(&self.client, &self.settings, &self.secret(), options).await
    }

    pub async fn apply(&self, options: Options) -> Applied {
        let applied = self.try_apply(options).await.unwrap();
        assert!(applied.after.is_in_sync(), "{applied}");
        applied
    }

    pub async fn raw(&self, method: &str, path: &str, body: Value) -> Value {
        self.store.raw(method, path, body).await
    }

    pub async fn lose_the_ledger(&self) {
        self.raw("DELETE", &format!("/{}", ledger::INDEX), Value::Null).await;
    }

    /// What the store has of it: the path to write it to, and the body as it is read.
    pub async fn live(&self, object: Object, name: &str) -> Option<(String, Value)> {
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
    pub async fn edit(&self, object: Object, name: &str, edit: impl FnOnce(&mut Value)) {
        let (path, mut body) = self.live(object, name).await.unwrap();
        edit(&mut body);
        if object == Object::Channel {
            body = json!({ "config": body });
        }
        let answer = self.raw("PUT", &path, body).await;
        assert!(answer.get("error").is_none(), "{answer}");
    }
}
