//! The service under a flood of alerts: what most of these tests begin and end with.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    ledger::{Flood, Ledger, Verdict},
    report,
    support::{Process, Store, settings},
};

/// How long anything that must come is waited for.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A process, and the senders that never pause.
pub struct Scene<'a> {
    pub store: &'a Store,
    pub process: Process,
    pub ledger: Arc<Ledger>,
    flood: Flood,
    _dir: TempDir,
}

impl<'a> Scene<'a> {
    /// Begins with 200 alerts a second, and returns when some are stored; `others` are settings.
    pub async fn begin(store: &'a Store, others: &[(&str, &str)]) -> Self {
        store.make_template().await;
        let dir = tempfile::tempdir().expect("a directory");
        let process = serve(&settings_with(store, &dir, others));
        let ledger = Ledger::new(&[process.url("")]);
        let flood = ledger.flood(8, Some(200.0));
        ledger.acknowledges(50).await;
        let scene = Self { store, process, ledger, flood, _dir: dir };
        scene.takes_alerts(true).await;
        scene
    }

    /// Waits until the process says that the store takes alerts, or that it does not.
    pub async fn takes_alerts(&self, want: bool) {
        let takes = |status: &Value| status["store"]["takes_alerts"] == want;
        wait_for(&self.process, takes).await;
    }

    /// Ends the flood; all must have been acknowledged, and be stored once. Of warnings in the log
    /// there may be `warnings`: a line for each change is enough. `fault`, `how` and `times` are
    /// for the report.
    pub async fn end(self, fault: &str, how: &str, times: u64, warnings: usize) -> Verdict {
        self.flood.end().await;
        self.ledger.all_were_acknowledged();
        let drained = |status: &Value| {
            status["spool"]["waiting"] == 0 && status["spool"]["dead_letters"] == 0
        };
        wait_for(&self.process, drained).await;
        let verdict = self.ledger.settle(self.store, PATIENCE).await;
        verdict.must_hold();
        let said = self.process.warnings();
        let tail = self.ledger.per_mille(999).as_millis();
        let notes = format!("p99.9 of the answers {tail} ms; {} warnings", said.len());
        report::row(fault, how, times, &verdict, &notes);
        assert!(said.len() <= warnings, "{} warnings: {said:#?}", said.len());
        self.process.signal("TERM");
        assert_eq!(self.process.wait().code(), Some(0));
        verdict
    }
}

/// The usual settings and some others.
pub fn settings_with(
    store: &Store,
    dir: &TempDir,
    others: &[(&str, &str)],
) -> HashMap<String, String> {
    let mut settings = settings(store, dir.path());
    settings.extend(others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    settings
}

/// Starts the service, while other tasks of the test go on.
pub fn serve(settings: &HashMap<String, String>) -> Process {
    tokio::task::block_in_place(|| Process::serve(settings))
}

/// Waits until what `/readyz` says is as it shall be.
pub async fn wait_for(process: &Process, is_so: impl Fn(&Value) -> bool) {
    wait_within(process, PATIENCE, is_so).await;
}

/// The same, at most for this long.
pub async fn wait_within(process: &Process, patience: Duration, is_so: impl Fn(&Value) -> bool) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let begun = Instant::now();
    loop {
        let answer = client.get(process.url("/readyz")).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        let status: Value = serde_json::from_str(&text).expect("JSON");
        if is_so(&status) {
            return;
        }
        assert!(begun.elapsed() < patience, "{status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs one of the scripts that start and stop nodes, and gives what it prints.
pub async fn script(path: &str, arguments: &[&str]) -> String {
    possible(path, arguments).await.unwrap_or_else(|why| panic!("{path} {arguments:?}: {why}"))
}

/// The same, or why it cannot be done on this machine, which it says by ending with 3.
pub async fn possible(path: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = std::process::Command::new(path);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic").expect("the script");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.code() == Some(3) {
        return Err(said);
    }
    assert!(output.status.success(), "{path} {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
