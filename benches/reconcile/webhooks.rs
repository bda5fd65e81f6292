//! Webhooks that come while the reconciler has much to do.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::report::rounded;

/// Twenty a second, half of them answered when they are durable and half when they are stored.
pub struct Webhooks {
    stop: CancellationToken,
    tasks: [JoinHandle<anyhow::Result<Vec<f64>>>; 2],
}

/// How they fared.
pub struct Told {
    pub posted: u64,
    pub durable: String,
    pub stored: String,
}

impl Webhooks {
    pub fn begin(address: SocketAddr, token: &'static str) -> Self {
        let stop = CancellationToken::new();
        let tasks = ["respond-async", "wait=60"].map(|prefer| {
            let stop = stop.clone();
            tokio::spawn(async move { post(address, token, prefer, &stop).await })
        });
        Self { stop, tasks }
    }

    pub async fn end(self) -> anyhow::Result<Told> {
        self.stop.cancel();
        let [durable, stored] = self.tasks;
        let (durable, stored) = (durable.await??, stored.await??);
        let posted = (durable.len() + stored.len()) as u64;
        Ok(Told { posted, durable: spread(durable), stored: spread(stored) })
    }
}

/// Posts until `stop`; gives how long each answer took, in ms.
async fn post(
    address: SocketAddr,
    token: &str,
    prefer: &str,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<f64>> {
    let client = reqwest::Client::builder().no_proxy().build().context("no client")?;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut took = Vec::new();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let body = format!(
            r#"{{"alert":{{"monitor":{{"name":"bench: webhooks"}},"trigger":{{"name":"t"}},
                "alert":"{prefer}-{}","period":{{"start":"2026-11-06T05:00:00.000Z","end":"2026-11-06T05:10:00.000Z"}}}}}}"#,
            took.len()
        );
        let request = client.post(format!("http://{address}/mapi/alert")).body(body);
        let request = request.header("x-alertloop-token", token).header("prefer", prefer);
        let begun = Instant::now();
        let answer = request.send().await?;
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let want = if prefer == "respond-async" { 202 } else { 200 };
        ensure!(answer.status().as_u16() == want, "answered {}", answer.status());
    }
    Ok(took)
}

fn spread(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let at = |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1)));
    let [half, most, last] = [50, 99, 100].map(|share| rounded(at(share).copied().unwrap_or(0.0)));
    format!("{} of them: p50 {half} ms, p99 {most} ms, the slowest {last} ms", all.len())
}
