//! Who sent what, what of it was acknowledged, and whether each of that is in the index once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opensearch::http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Store, TOKEN};

/// A body with one alert of its own id, on 2026-11-06.
pub fn alert(id: &str) -> String {
    alert_on(id, FIRST_DAY)
}

/// The same, on another day of November.
fn alert_on(id: &str, day: u64) -> String {
    format!(
        r#"{{"alert":{{"monitor":{{"name":"faults"}},"trigger":{{"name":"t"}},"alert":"{id}",
            "period":{{"start":"2026-11-{day:02}T05:00:00.000Z","end":"2026-11-{day:02}T05:10:00.000Z"}}}}}}"#
    )
}

const FIRST_DAY: u64 = 6;
/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Sends alerts with ids that are never used twice, and keeps which were acknowledged.
pub struct Ledger {
    client: reqwest::Client,
    /// The base addresses of the service, in turn; what changes them is a restart.
    to: Mutex<Vec<String>>,
    next: AtomicU64,
    /// Bytes by which each alert is larger than it need be.
    padding: usize,
    /// On how many days the alerts are, in turn.
    days: AtomicU64,
    acknowledged: Mutex<BTreeSet<String>>,
    /// Answers by status; 0 is no answer at all.
    answers: Mutex<BTreeMap<u16, u64>>,
    /// How long each acknowledgement took.
    took: Mutex<Vec<Duration>>,
}

impl Ledger {
    /// Will send to these base addresses (`http://127.0.0.1:5000`) in turn.
    pub fn new(to: &[String]) -> Arc<Self> {
        Self::heavy(to, 0)
    }

    /// Will send alerts that are larger by so many bytes.
    pub fn heavy(to: &[String], padding: usize) -> Arc<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        Arc::new(Self {
            client: client.build().expect("a client"),
            to: Mutex::new(to.to_vec()),
            next: AtomicU64::new(0),
            padding,
            days: AtomicU64::new(1),
            acknowledged: Mutex::default(),
            answers: Mutex::default(),
            took: Mutex::default(),
        })
    }

    /// From now on sends there.
    pub fn redirect(&self, to: &[String]) {
        *lock(&self.to) = to.to_vec();
    }

    /// From now on the alerts are on so many days in turn, from 2026-11-06 on.
    pub fn spread(&self, days: u64) {
        self.days.store(days, Ordering::Relaxed);
    }

    /// Sends one new alert, answered when it is durable; gives the status, 0 without an answer.
    pub async fn send(&self) -> u16 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let day = FIRST_DAY + number % self.days.load(Ordering::Relaxed);
        let id = format!("n{number}");
        let body = alert_on(&id, day);
        self.send_body(&id, body).await
    }

    /// Sends the alert of this id, and notes whether it was acknowledged.
    pub async fn send_as(&self, id: &str) -> u16 {
        self.send_body(id, alert(id) + &" ".repeat(self.padding)).await
    }

    async fn send_body(&self, id: &str, body: String) -> u16 {
        let begun = Instant::now();
        let status = self.answer_to(body).await;
        self.note(id, status, begun.elapsed());
        status
    }

    /// Sends any body, of which nothing but the answer is noted; gives the status.
    pub async fn post(&self, body: String) -> u16 {
        let status = self.answer_to(body).await;
        *lock(&self.answers).entry(status).or_default() += 1;
        status
    }

    async fn answer_to(&self, body: String) -> u16 {
        let to = {
            let to = lock(&self.to);
            let turn = usize::try_from(self.next.load(Ordering::Relaxed)).unwrap_or_default();
            format!("{}/mapi/alert", to[turn % to.len()])
        };
        let request = self.client.post(to).header("x-alertloop-token", TOKEN);
        let request = request.header("prefer", "respond-async").body(body);
        match request.send().await {
            Ok(response) => response.status().as_u16(),
            Err(_) => 0,
        }
    }

    /// Notes an answer, here or of a sender of another kind; 0 is none.
    pub fn note(&self, id: &str, status: u16, took: Duration) {
        if (200..300).contains(&status) {
            lock(&self.took).push(took);
            lock(&self.acknowledged).insert(id.to_owned());
        }
        *lock(&self.answers).entry(status).or_default() += 1;
    }

    /// Sends over `connections` at once, each its next alert after the last answer, until told to
    /// end; with `per_second`, no faster than that in all.
    pub fn flood(self: &Arc<Self>, connections: u32, per_second: Option<f64>) -> Flood {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..connections {
            let (ledger, stop) = (Arc::clone(self), stop.clone());
            let pause =
                per_second.map(|rate| Duration::from_secs_f64(f64::from(connections) / rate));
            tasks.spawn(async move {
                let mut beat = pause.map(tokio::time::interval);
                while !stop.is_cancelled() {
                    if let Some(beat) = &mut beat {
                        beat.tick().await;
                    }
                    // A sender that is refused comes again, but not at full speed.
                    if !(200..300).contains(&ledger.send().await) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            });
        }
        Flood { stop, tasks }
    }

    /// How many alerts were acknowledged.
    pub fn acknowledged(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// Waits until so many more alerts were acknowledged.
    pub async fn acknowledges(&self, more: usize) {
        let (enough, begun) = (self.acknowledged() + more, Instant::now());
        while self.acknowledged() < enough {
            let have = self.acknowledged();
            assert!(begun.elapsed() < PATIENCE, "{have} acknowledged, {enough} wanted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Panics unless every answer was an acknowledgement.
    pub fn all_were_acknowledged(&self) {
        let answers = self.answers();
        assert!(answers.keys().all(|status| (200..300).contains(status)), "{answers:?}");
    }

    /// How many answers there were of each status; 0 is no answer.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        lock(&self.answers).clone()
    }

    /// Under which time so many of a thousand acknowledgements came.
    pub fn per_mille(&self, share: usize) -> Duration {
        let mut took = lock(&self.took).clone();
        took.sort_unstable();
        let place = (took.len() * share / 1_000).min(took.len().saturating_sub(1));
        took.get(place).copied().unwrap_or_default()
    }

    /// Waits until the index holds every record that was acknowledged, at most for `patience`, and
    /// compares them one by one.
    pub async fn settle(&self, store: &Store, patience: Duration) -> Verdict {
        let acknowledged = lock(&self.acknowledged).clone();
        let begun = Instant::now();
        loop {
            let late = begun.elapsed() >= patience;
            // There may be as many before the last has come: what was kept, and could not be
            // acknowledged any more, is in the index too.
            if late || count(store).await >= acknowledged.len() {
                let verdict = Verdict::of(&acknowledged, ids(store).await);
                if late || verdict.lost.is_empty() {
                    return verdict;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Senders at work.
pub struct Flood {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Flood {
    /// Ends after the requests that are on their way.
    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
    }
}

/// What the index holds of what was acknowledged.
pub struct Verdict {
    pub acknowledged: usize,
    /// Alerts in the index; those that were kept without an acknowledgement too.
    pub found: usize,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
}

impl Verdict {
    /// Takes another one into account, of other alerts.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
    }

    /// Compares what was acknowledged with what was found.
    pub fn of(acknowledged: &BTreeSet<String>, ids: Vec<String>) -> Self {
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for id in ids {
            *found.entry(id).or_default() += 1;
        }
        let lost = acknowledged.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
        let doubled = found.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.clone());
        let doubled = doubled.collect();
        Self { acknowledged: acknowledged.len(), found: found.len(), lost, doubled }
    }

    /// Panics, with what there is, unless nothing was lost or doubled.
    pub fn must_hold(&self) {
        assert!(self.lost.is_empty() && self.doubled.is_empty(), "{self}");
        assert!(self.acknowledged > 0, "nothing was acknowledged, so nothing was shown");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { acknowledged, found, lost, doubled } = self;
        let some = |ids: &[String]| ids.iter().take(20).cloned().collect::<Vec<_>>().join(" ");
        write!(
            f,
            "{acknowledged} acknowledged, {found} in the index, {} lost ({}), {} doubled ({})",
            lost.len(),
            some(lost),
            doubled.len(),
            some(doubled)
        )
    }
}

const OPTIONS: &str = "ignore_unavailable=true&allow_no_indices=true";

/// How many records there are; 0 while the store cannot tell.
pub async fn count(store: &Store) -> usize {
    let pattern = store.pattern();
    let refresh = format!("{pattern}/_refresh?{OPTIONS}");
    drop(store.json(Method::Post, &refresh, Value::Null).await);
    let answer = store.json(Method::Get, &format!("{pattern}/_count?{OPTIONS}"), Value::Null).await;
    let count = answer.ok().and_then(|answer| answer["count"].as_u64());
    usize::try_from(count.unwrap_or_default()).unwrap_or_default()
}

/// `event.id` of every record.
async fn ids(store: &Store) -> Vec<String> {
    let id = |record: &Value| record["event"]["id"].as_str().unwrap_or_default().to_owned();
    all(store, "event.id", id).await
}

/// What `read` reads of every record, which has no more than `field`.
pub async fn all(store: &Store, field: &str, read: impl Fn(&Value) -> String) -> Vec<String> {
    let search = format!("{}/_search?scroll=1m&{OPTIONS}", store.pattern());
    let query = json!({"size": 10_000, "sort": ["_doc"], "_source": [field]});
    let mut page = store.json(Method::Post, &search, query).await.expect("a search");
    let mut ids = Vec::new();
    loop {
        let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
        ids.extend(hits.iter().map(|hit| read(&hit["_source"])));
        let scroll = json!({"scroll": "1m", "scroll_id": page["_scroll_id"]});
        if hits.is_empty() {
            drop(
                store
                    .json(
                        Method::Delete,
                        "_search/scroll",
                        json!({"scroll_id": [page["_scroll_id"]]}),
                    )
                    .await,
            );
            return ids;
        }
        page = store.json(Method::Post, "_search/scroll", scroll).await.expect("the next page");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
