//! Monitors that alertloop runs, by three replicas of which the leading one is killed again and again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use alertloop::clock;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    effort,
    scene::{PATIENCE, serve, settings_with, wait_for},
    store,
    support::{Process, Store, monitored},
    waiting::{readiness, until},
};

/// A lease lasts 30 s, and the last renewal may have been seen 10 s after it was made.
const TAKEOVER: Duration = Duration::from_secs(45);
const MONITORS: usize = 8;
/// How often each is run.
const EVERY: i64 = 2_000;
/// For so many runs it is laid down beforehand which of them fire.
const LAID_DOWN: i64 = 3_000;

/// Where the monitors of this test are, and what was seen of their runs.
struct Monitors<'a> {
    store: &'a Store,
    prefix: String,
    /// By monitor and moment: when each run that was ever noted began. One that was done twice has two.
    runs: BTreeMap<(String, i64), BTreeSet<i64>>,
}

impl<'a> Monitors<'a> {
    /// Each fires at every other moment, so that each firing is an alert of its own.
    async fn make(store: &'a Store) -> Self {
        let prefix = store.pattern().replace("it", "run").replace("-*", "");
        let begun = clock::now().as_millisecond();
        let line = |nth| format!("{{\"index\":{{}}}}\n{{\"at\":{}}}\n", begun + nth * EVERY);
        let lines: String = (2..LAID_DOWN).step_by(2).map(line).collect::<Vec<_>>().concat();
        let monitors = Self { store, prefix, runs: BTreeMap::new() };
        let fields = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {"properties": {"at": {"type": "date", "format": "epoch_millis"}}}});
        monitors.call(Method::Put, "logs", fields).await;
        let path = format!("/{}-logs/_bulk?refresh=true", monitors.prefix);
        let sent = store.client().send_ndjson(&path, lines.into()).await;
        sent.expect("what is found");
        let fields = json!({"mappings": {"dynamic": false, "properties": {
            "name": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}}});
        monitors.call(Method::Put, "monitors", fields).await;
        for n in 0..MONITORS {
            let moment = json!({"range": {"at": {"gte": "{{period_end}}", "lte": "{{period_end}}",
                "format": "epoch_millis"}}});
            let index = format!("{}-logs", monitors.prefix);
            let mut body = monitored::monitor(&format!("monitor {n}"), &index, 2, &moment);
            for time in ["enabled_time", "last_update_time"] {
                body[time] = json!(begun);
            }
            monitors.call(Method::Put, &format!("monitors/_doc/m{n}?refresh=true"), body).await;
        }
        monitors
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("/{}-{path}", self.prefix);
        self.store.json(method, &path, body).await.unwrap_or_else(|fault| panic!("{path}: {fault}"))
    }

    fn settings(&self) -> [(&'static str, &str); 2] {
        [("ALERTLOOP_MONITORS", "builtin"), ("ALERTLOOP_MONITORS_PREFIX", &self.prefix)]
    }

    /// Takes note of the runs that are noted now: a note holds the last ones only.
    async fn look(&mut self) {
        for n in 0..MONITORS {
            let id = format!("m{n}");
            let path = format!("/{}-runs/_doc/{id}", self.prefix);
            let Ok(note) = self.store.json(Method::Get, &path, Value::Null).await else { continue };
            for run in note["_source"]["history"].as_array().into_iter().flatten() {
                let (at, began) = (run["scheduled_at"].as_i64(), run["started_at"].as_i64());
                if run["outcome"] != "missed"
                    && let (Some(at), Some(began)) = (at, began)
                {
                    self.runs.entry((id.clone(), at)).or_default().insert(began);
                }
            }
        }
    }

    /// The longest time between two runs of the same monitor.
    fn longest_pause(&self) -> Duration {
        let mut longest = 0;
        for (id, at) in self.runs.keys() {
            let next = self.runs.range((id.clone(), at + 1)..).next();
            if let Some(((other, next), _)) = next
                && other == id
            {
                longest = longest.max(next - at);
            }
        }
        Duration::from_millis(u64::try_from(longest).expect("a span"))
    }

    /// The ids of all alerts.
    async fn alerts(&self) -> BTreeSet<String> {
        self.call(Method::Post, "alerts/_refresh", Value::Null).await;
        let answer = self.call(Method::Post, "alerts/_search?size=10000", json!({})).await;
        let hits = answer["hits"]["hits"].as_array().expect("hits");
        hits.iter().filter_map(|hit| Some(hit["_id"].as_str()?.to_owned())).collect()
    }

    async fn pending(&self) -> bool {
        for n in 0..MONITORS {
            let note = self.call(Method::Get, &format!("runs/_doc/m{n}"), Value::Null).await;
            if !note["_source"]["pending"].is_null() {
                return true;
            }
        }
        false
    }

    async fn clean(self) {
        for kind in ["logs", "monitors", "alerts", "runs"] {
            self.call(Method::Delete, kind, Value::Null).await;
        }
    }
}

async fn leader(replicas: &[Option<Process>]) -> Option<usize> {
    for (n, process) in replicas.iter().enumerate() {
        let Some(process) = process else { continue };
        let says = readiness(process).await;
        if says.is_some_and(|(_, says)| says["runner"]["leads"] == true) {
            return Some(n);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_leader_is_killed_miss_no_more_than_the_lease_and_do_nothing_twice() {
    let store = store!();
    store.make_template().await;
    let mut monitors = Monitors::make(&store).await;
    let rounds = effort::times(2, 20);
    let dirs = [(), (), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let settings: Vec<HashMap<String, String>> =
        dirs.iter().map(|dir| settings_with(&store, dir, &monitors.settings())).collect();
    let mut replicas: Vec<Option<Process>> =
        settings.iter().map(|settings| Some(serve(settings))).collect();
    let mut longest = Duration::ZERO;
    for round in 0..=rounds {
        let begun = Instant::now();
        let leads = loop {
            monitors.look().await;
            if let Some(leads) = leader(&replicas).await {
                break leads;
            }
            assert!(begun.elapsed() < TAKEOVER, "round {round}: nobody leads");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        if round > 0 {
            longest = longest.max(begun.elapsed());
        }
        // The one that was killed is back: what it had taken in is still to be stored.
        for (settings, replica) in settings.iter().zip(&mut replicas) {
            if replica.is_none() {
                *replica = Some(serve(settings));
            }
        }
        // At any moment of what it does.
        let goes_on = Duration::from_millis(rand::random_range(5_000..8_000));
        let since = Instant::now();
        while since.elapsed() < goes_on {
            monitors.look().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if round < rounds {
            replicas[leads].take().expect("a process").kill();
        }
    }
    // No monitor is run any more, and all that was begun is done.
    let query =
        json!({"query": {"match_all": {}}, "script": {"source": "ctx._source.enabled = false"}});
    monitors
        .call(Method::Post, "monitors/_update_by_query?refresh=true&conflicts=proceed", query)
        .await;
    let leads = leader(&replicas).await.and_then(|leads| replicas[leads].as_ref());
    let leads = leads.expect("one leads");
    wait_for(leads, |says| says["runner"]["monitors"] == 0).await;
    // A run that had begun before may be noted after that.
    let is_done = async || {
        let records = store.records().await;
        let ids = records.iter().filter_map(|record| record["_source"]["event"]["id"].as_str());
        !monitors.pending().await
            && ids.map(str::to_owned).collect::<BTreeSet<_>>() == monitors.alerts().await
    };
    until("what was decided is done, and each alert a record", PATIENCE, is_done).await;
    monitors.look().await;
    for process in replicas.iter().flatten() {
        wait_for(process, |says| says["spool"]["waiting"] == 0).await;
    }

    let twice: Vec<_> = monitors.runs.iter().filter(|(_, began)| began.len() > 1).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
    let pause = monitors.longest_pause();
    assert!(pause <= TAKEOVER, "a monitor was not run for {pause:?}");
    let alerts = monitors.alerts().await;
    let records = store.records().await;
    let told: Vec<String> = records
        .iter()
        .filter_map(|record| Some(record["_source"]["event"]["id"].as_str()?.to_owned()))
        .collect();
    let each: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(told.len(), each.len(), "an alert has two records");
    assert_eq!(each, alerts, "each alert is a record, and each record an alert");
    assert!(alerts.len() >= MONITORS, "{} alerts", alerts.len());
    println!(
        "REPORT runner killed: {rounds} kills, {} runs of {MONITORS} monitors, {} alerts, none lost, none twice; the longest pause {pause:?}, the longest takeover {longest:?}",
        monitors.runs.len(),
        alerts.len()
    );
    for process in replicas.into_iter().flatten() {
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
    }
    monitors.clean().await;
}
