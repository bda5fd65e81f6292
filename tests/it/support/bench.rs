//! A reconciler in this process, on a spool that nobody empties.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alertloop::{
    alert::Alert,
    intake,
    lease::{self, Lease, ReplicaId},
    opensearch::Client,
    reconcile::{self, Monitors, Reconciler},
    record::{Naming, fields::FieldSet, index_name::IndexName},
    spool::Spool,
};
use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Store;

/// How long it is waited for what should come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A reconciler that looks all the time, and has a lease that no other test has. What it finds stays in
/// its spool.
pub struct Bench {
    /// Where its finds are.
    pub spool: Arc<Spool>,
    /// What it says of itself.
    pub status: Arc<reconcile::Status>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    leases: String,
    _dir: TempDir,
}

impl Bench {
    /// For the monitors whose channel posts to `webhook`; what the API does not know is over at once,
    /// as it may be for a moment with an alert that is moved to the history.
    pub fn start(store: &Store, client: &Client, webhook: &str) -> Self {
        Self::start_with(store, client, webhook, "%{%y%m%d}")
    }

    /// The same for indices with another suffix.
    pub fn start_with(store: &Store, client: &Client, webhook: &str, suffix: &str) -> Self {
        Self::begin(store, client, webhook, (suffix, Duration::ZERO))
    }

    /// One that waits before it takes what the API does not know for over, as the service does.
    pub fn patient(store: &Store, client: &Client, webhook: &str) -> Self {
        Self::begin(store, client, webhook, ("%{%y%m%d}", reconcile::MISSED_FOR))
    }

    fn begin(
        store: &Store,
        client: &Client,
        webhook: &str,
        (suffix, missed_for): (&str, Duration),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Arc::new(Spool::open(dir.path(), 1 << 22).expect("a spool"));
        let index = IndexName::new(store.pattern(), suffix).expect("a name");
        let settings = reconcile::Settings {
            interval: Duration::from_millis(100),
            monitors: Monitors::Ours,
            naming: Naming { index, time_field: "firstPacket".to_owned() },
            pattern: store.pattern().to_owned(),
            webhook: webhook.to_owned(),
            silence_days: 0,
            missed_for,
        };
        let (open, gate) = watch::channel(Some(Arc::new(FieldSet::everything())));
        let (done, provisioned) = watch::channel(true);
        let status = Arc::new(reconcile::Status::new(true));
        let reconciler = Reconciler::new(
            client.clone(),
            Arc::clone(&spool),
            settings,
            (gate, provisioned),
            Self::lease(store, client),
            Arc::clone(&status),
        );
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            reconciler.run(&until).await;
            drop((open, done));
        });
        Self { spool, status, stop, task, leases: store.index("leases"), _dir: dir }
    }

    /// Another replica's part in its lease.
    pub fn lease(store: &Store, client: &Client) -> Lease {
        let document = lease::document::Document::new("reconciler", store.pattern());
        let document = document.kept_in(&store.index("leases"));
        Lease::new(client.clone(), document, &ReplicaId::random(), lease::Timing::default())
    }

    /// What it tells of itself.
    pub fn detail(&self) -> Value {
        json!(self.status.detail())
    }

    /// The alerts in the spool with this id, in the order in which they came.
    pub fn kept(&self, id: &str) -> Vec<Alert> {
        let entries = self.spool.next_batch(0, 10_000, 1 << 22).expect("entries");
        let alerts = entries.iter().flat_map(|one| intake::decode(&one.envelope, 1 << 20));
        let alerts = alerts.flatten().map(|alert| alert.expect("an alert"));
        alerts.filter(|alert| alert.id.as_deref() == Some(id)).collect()
    }

    /// The first alert in the spool with this id, once it is there.
    pub async fn until_kept(&self, id: &str) -> Alert {
        let kept = async {
            loop {
                match self.kept(id).into_iter().next() {
                    Some(alert) => return alert,
                    None => self.spool.appended().await,
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, kept).await;
        waited.unwrap_or_else(|_| panic!("{id} does not come: {}", self.detail()))
    }

    /// Waits until it has looked twice more.
    pub async fn looked(&self) {
        for _ in 0..2 {
            self.looked_or_failed().await;
            let trouble = self.detail()["trouble"].take();
            assert!(trouble.is_null(), "it does not look: {trouble}");
        }
    }

    /// Waits until it has looked once more, or could not.
    pub async fn looked_or_failed(&self) {
        let before = self.detail()["last"].clone();
        let begun = Instant::now();
        while self.detail()["last"] == before && self.detail()["trouble"].is_null() {
            assert!(begun.elapsed() < PATIENCE, "it does not look: {}", self.detail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it, and removes its lease.
    pub async fn stop(self, store: &Store) {
        self.stop.cancel();
        self.task.await.expect("an end");
        self.spool.close().await;
        let path = format!("/{}", self.leases);
        store.json(Method::Delete, &path, Value::Null).await.expect("no leases");
    }
}
