//! The load generator that proves the sidecar's speed: `cargo bench --bench load -- --help`.
//!
//! It shares the machine with the sidecar and the store, so it must be cheap: one thread, requests
//! patched in place, answers parsed no further than their length. What it promises: every figure
//! is of documents that were counted in the store, and the run fails when one that was accepted
//! is missing or doubled.

#[path = "load/alerts.rs"]
mod alerts;
#[path = "load/baseline.rs"]
mod baseline;
#[path = "load/histogram.rs"]
mod histogram;
#[path = "load/http.rs"]
mod http;
#[path = "load/options.rs"]
mod options;
#[path = "load/report.rs"]
mod report;
#[path = "load/sending.rs"]
mod sending;
#[path = "load/sidecar.rs"]
mod sidecar;
#[path = "load/store.rs"]
mod store;
#[path = "load/trial.rs"]
mod trial;
#[path = "load/verdict.rs"]
mod verdict;

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context as _;
use clap::Parser as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{alerts::Run, options::Options, store::Store, trial::Trial};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("not measured: this is for `cargo bench --bench load`");
        return ExitCode::SUCCESS;
    }
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, shows the results and cleans up in any case; says whether nothing was lost.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let now = Timestamp::try_from(SystemTime::now()).context("cannot tell the time")?;
    let run = Run::new(now);
    let store = if options.store_down { None } else { Some(Store::new(&store_url(options)?)?) };
    let mut trial = Trial::new(options, run, store);
    let outcome = tokio::select! {
        outcome = trial.measure() => outcome,
        fault = interrupted() => Err(fault),
    };
    let cleaned = trial.clean().await;
    let (report, sound) = outcome?;
    report.print(options.table);
    cleaned.context("cannot clean up")?;
    Ok(sound)
}

#[expect(clippy::disallowed_methods, reason = "a tool of its own, which Config is not for")]
fn store_url(options: &Options) -> anyhow::Result<Url> {
    if let Some(url) = &options.opensearch {
        return Ok(url.clone());
    }
    let url = std::env::var("ALERTLOOP_TEST_OPENSEARCH").context(
        "no OpenSearch to measure against; start one with `tests/opensearch/node.sh up`, and name \
         it by --opensearch URL or ALERTLOOP_TEST_OPENSEARCH",
    )?;
    url.parse().context("ALERTLOOP_TEST_OPENSEARCH is no URL")
}

/// Ends when the run is to be given up.
async fn interrupted() -> anyhow::Error {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => signals.recv().await,
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        _ = wait(SignalKind::interrupt()) => {}
        _ = wait(SignalKind::terminate()) => {}
    }
    anyhow::anyhow!("interrupted")
}
