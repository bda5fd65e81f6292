//! What the store gives without us: plain `_bulk` requests of the same records, each connection
//! its next request after the last answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    alerts::{self, Run, Stencil, Write},
    http::Connection,
    report::{Report, float, median, rounded},
    store::{Scope, Store},
};

/// One way to write.
#[derive(Clone, Copy)]
pub struct Way {
    pub write: Write,
    pub size: u64,
    pub connections: u16,
}

impl Way {
    pub fn name(self) -> String {
        let write = match self.write {
            Write::Create => "create",
            Write::Upsert => "scripted upsert",
        };
        let Self { size, connections, .. } = self;
        format!("_bulk {write}, batches of {size}, {connections} at a time")
    }
}

/// Measures every way `rounds` times, in turn, in documents a second.
pub async fn rates(
    store: &mut Store,
    run: &Run,
    ways: &[Way],
    length: Duration,
    rounds: u16,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut rates = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, rates) in ways.iter().zip(&mut rates) {
            rates.push(rate(store, run, *way, length).await?);
        }
    }
    Ok(rates)
}

/// All batch sizes and connections, as a picture of what this store can give.
pub async fn ceiling(
    store: &mut Store,
    run: &Run,
    length: Duration,
    rounds: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut ways = Vec::new();
    for write in [Write::Create, Write::Upsert] {
        for size in [16, 64, 256, 1_000] {
            ways.extend([1, 2, 4].map(|connections| Way { write, size, connections }));
        }
    }
    for (way, rates) in ways.iter().zip(rates(store, run, &ways, length, rounds).await?) {
        let best = rates.iter().copied().fold(0.0, f64::max);
        let value = format!("{} docs/s, best {}", rounded(median(rates)), rounded(best));
        report.line(way.name(), value);
    }
    Ok(())
}

/// The index that a baseline writes to; the sidecar's pattern covers it.
pub fn index(run: &Run) -> String {
    format!("{}-baseline", run.name)
}

/// Measures one way in an index of its own, and deletes it, so that no way pays for another.
pub async fn rate(store: &mut Store, run: &Run, way: Way, length: Duration) -> anyhow::Result<f64> {
    let index = index(run);
    store.ask("PUT", &format!("/{index}"), &Value::Null).await?;
    let stencil = alerts::bulk(run, &index, way.write, way.size, &store.host);
    let batches = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..way.connections {
        let (stencil, batches) = (stencil.clone(), Arc::clone(&batches));
        tasks.spawn(write(store.address, stencil, batches, began + length));
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a writer broke")??;
    }
    let took = began.elapsed();
    let written = batches.load(Relaxed) * way.size;
    let scope = Scope { indices: index.clone(), query: json!({ "match_all": {} }) };
    let count = store.count(&scope).await?;
    store.delete_indices(&index).await?;
    if count != written {
        bail!("the store has {count} of {written} documents that it took: {}", way.name());
    }
    Ok(float(written) / took.as_secs_f64())
}

async fn write(
    address: SocketAddr,
    mut stencil: Stencil,
    batches: Arc<AtomicU64>,
    until: Instant,
) -> anyhow::Result<()> {
    let mut connection = Connection::new(address);
    while Instant::now() < until {
        let first = batches.fetch_add(1, Relaxed) * stencil.count;
        let status = connection.exchange(stencil.numbered(first)).await?;
        let body = connection.body();
        // The verdict stands before the items.
        let start = &body[..body.len().min(64)];
        if status != 200 || !start.windows(14).any(|text| text == b"\"errors\":false") {
            bail!(
                "_bulk answered {status}: {}",
                String::from_utf8_lossy(&body[..body.len().min(500)])
            );
        }
    }
    Ok(())
}
