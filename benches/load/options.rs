//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use url::Url;

use crate::alerts::{Unique, Wait};

/// Measures how many alerts the sidecar accepts and stores, against what `_bulk` alone gives.
///
/// Starts the sidecar of this build against a real OpenSearch, sends it alerts over kept
/// connections, counts the documents, and removes all again. Exits 1 when an accepted alert is
/// missing or doubled, or when nothing could be measured.
#[derive(Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch of the command line")]
pub struct Options {
    /// How many connections send at the same time, each its next request after the last answer
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// How long is measured
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// How long the same load runs before that, unmeasured
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub warmup: f64,
    /// Alerts in one body; more than one are sent as a JSON array
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Ask for an answer as soon as the alert is durable (else: when it is indexed)
    #[arg(long = "async", conflicts_with = "plain")]
    pub durable: bool,
    /// Say nothing of what the answer shall wait for, as OpenSearch does
    #[arg(long)]
    pub plain: bool,
    /// Alerts without an id, unique by their period
    #[arg(long)]
    pub oneshot: bool,
    #[arg(long, value_name = "URL", help = "The store [env: ALERTLOOP_TEST_OPENSEARCH]")]
    pub opensearch: Option<Url>,
    /// Give the sidecar a store that is down, and measure only what it accepts
    #[arg(long, conflicts_with_all = ["url", "ceiling"])]
    pub store_down: bool,
    /// Let the sidecar keep everything at first, then measure how fast it stores that
    #[arg(long, conflicts_with_all = ["url", "ceiling", "store_down"])]
    pub backlog: bool,
    /// Use this running sidecar instead of starting one
    #[arg(long, requires = "token")]
    pub url: Option<Url>,
    /// The running sidecar's intake secret
    #[arg(long, requires = "url")]
    pub token: Option<String>,
    /// The running sidecar's index pattern
    #[arg(long, requires = "url", default_value = "arkime_sessions3-*")]
    pub pattern: String,
    /// Where the sidecar's data directory is made; must be on a real disk
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub data_dir: PathBuf,
    /// The sidecar to start, such as an older build to compare with
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_alertloop"))]
    pub program: PathBuf,
    /// Another setting of the sidecar; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = assignment)]
    pub settings: Vec<(String, String)>,
    /// Records in one request of the baseline
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub bulk: u64,
    /// How long each baseline is measured; 0 leaves them out
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    pub baseline_seconds: f64,
    /// Measure only the store: `_bulk` over batch sizes and connections
    #[arg(long, conflicts_with = "url")]
    pub ceiling: bool,
    /// How often the baselines are measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Print rows of a Markdown table
    #[arg(long)]
    pub table: bool,
    /// Given by `cargo bench`, and missing under `cargo test --all-targets`
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Options {
    pub fn unique(&self) -> Unique {
        if self.oneshot { Unique::End } else { Unique::Id }
    }

    pub fn wait(&self) -> Wait {
        match (self.durable, self.plain) {
            (true, _) => Wait::Disk,
            (_, true) => Wait::Untold,
            _ => Wait::Index,
        }
    }

    /// The load in words.
    pub fn title(&self) -> String {
        let wait = match self.wait() {
            Wait::Index => "answered when indexed",
            Wait::Disk => "answered when durable",
            Wait::Untold => "answered as by default",
        };
        let batch = match self.batch {
            1 => String::new(),
            batch => format!(", {batch} alerts a body"),
        };
        let unique = if self.oneshot { ", without alert ids" } else { "" };
        let store = match (self.store_down, self.backlog) {
            (true, _) => ", store down",
            (_, true) => ", stored afterwards",
            _ => "",
        };
        format!("{} connections, {wait}{batch}{unique}{store}", self.connections)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=3_600.0).contains(&value) { Ok(value) } else { Err("not in 0 to 3600".to_owned()) }
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Where a plain-HTTP address leads, and its `Host` header.
pub fn address_of(url: &Url) -> anyhow::Result<(SocketAddr, String)> {
    if url.scheme() != "http" || !url.username().is_empty() {
        bail!("the load generator speaks plain HTTP without a login only");
    }
    let addresses = url.socket_addrs(|| None).context("cannot resolve the address")?;
    let address = addresses.first().context("the address leads nowhere")?;
    Ok((*address, address.to_string()))
}
