//! Waiting for what the service says of itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Process;

/// How often it is asked.
const BEAT: Duration = Duration::from_millis(20);

/// What `/readyz` says, with its status; `None` when there is no answer.
pub async fn readiness(process: &Process) -> Option<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(process.url("/readyz")).send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}

/// Waits until nothing waits in the spool; tells whether that came, or the process is gone.
pub async fn drained(process: &Process, patience: Duration) -> bool {
    let begun = Instant::now();
    while let Some((_, says)) = readiness(process).await {
        if says["spool"]["waiting"] == 0 {
            return true;
        }
        assert!(begun.elapsed() < patience, "the spool does not drain: {says:#}");
        tokio::time::sleep(BEAT).await;
    }
    false
}

/// Waits until `come` is so.
pub async fn until(what: &str, patience: Duration, mut come: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !come().await {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(BEAT).await;
    }
}
