//! The program: see the library.

use std::process::ExitCode;

use alertloop::cli::{self, Cli};
use clap::Parser as _;
use tokio::runtime::Builder;

/// The work is waiting for the disk and the store: two threads keep up with both.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return cli::answer(&answer),
    };
    let runtime = match Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return cli::failed(&anyhow::Error::new(fault).context("cannot start")),
    };
    let outcome = runtime.block_on(cli::run(cli));
    // Whatever should have ended orderly has: nothing is waited for after a second signal.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|fault| cli::failed(&fault))
}
