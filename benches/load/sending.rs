//! Sends alerts over many connections, each its next request after the last answer, and keeps
//! count of the answers and of how long they took.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::{alerts::Stencil, histogram::Histogram, http::Connection};

/// Keeps a sidecar that is gone from being called in a busy loop.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(10);

/// What was sent and answered. Alerts, not requests, but for `statuses` and `latencies`.
pub struct Tally {
    pub sent: u64,
    pub accepted: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    pub latencies: Histogram,
    pub began: Instant,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Tally {
    fn new(began: Instant) -> Self {
        Self {
            sent: 0,
            accepted: 0,
            statuses: BTreeMap::new(),
            unanswered: 0,
            latencies: Histogram::new(),
            began,
            took: Duration::ZERO,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.latencies.merge(&other.latencies);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }

    /// `200: 1234, 202: 5`.
    pub fn answers(&self) -> String {
        let mut parts: Vec<_> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        if self.unanswered > 0 {
            parts.push(format!("none: {}", self.unanswered));
        }
        parts.join(", ")
    }
}

/// Where the load goes, and what it is.
pub struct Load {
    pub address: SocketAddr,
    pub stencil: Stencil,
    /// The next alert's number, over all loads of a run.
    pub numbers: Arc<AtomicU64>,
}

impl Load {
    /// Sends for the given time, and waits for the answers to what was sent in it.
    pub async fn run(&self, connections: u16, length: Duration) -> anyhow::Result<Tally> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (stencil, numbers) = (self.stencil.clone(), Arc::clone(&self.numbers));
            tasks.spawn(send(self.address, stencil, numbers, began + length));
        }
        let mut all = Tally::new(began);
        while let Some(tally) = tasks.join_next().await {
            all.merge(&tally.context("a sender broke")?);
        }
        all.took = began.elapsed();
        Ok(all)
    }

    /// Sends one request again and again, at most every millisecond, until it is accepted.
    pub async fn first(&self, limit: Duration) -> anyhow::Result<Instant> {
        let mut stencil = self.stencil.clone();
        let request = stencil.numbered(self.numbers.fetch_add(self.stencil.count, Relaxed));
        let mut connection = Connection::new(self.address);
        let began = Instant::now();
        loop {
            let answer = connection.exchange(request).await;
            match answer {
                Ok(200..=299) => return Ok(Instant::now()),
                _ if began.elapsed() < limit => tokio::time::sleep(Duration::from_millis(1)).await,
                Ok(status) => anyhow::bail!("the first alert is answered with {status}"),
                Err(fault) => return Err(fault).context("the first alert is not answered"),
            }
        }
    }
}

async fn send(
    address: SocketAddr,
    mut stencil: Stencil,
    numbers: Arc<AtomicU64>,
    until: Instant,
) -> Tally {
    let mut connection = Connection::new(address);
    let alerts = stencil.count;
    let mut began = Instant::now();
    let mut tally = Tally::new(began);
    while began < until {
        tally.sent += alerts;
        let request = stencil.numbered(numbers.fetch_add(alerts, Relaxed));
        let answer = connection.exchange(request).await;
        let ended = Instant::now();
        if let Ok(status) = answer {
            tally.latencies.record(ended - began);
            *tally.statuses.entry(status).or_default() += 1;
            if (200..300).contains(&status) {
                tally.accepted += alerts;
            }
        } else {
            tally.unanswered += 1;
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
        }
        began = Instant::now();
    }
    tally
}
