//! `alertloop provision lint`.

use std::{path::PathBuf, process::ExitCode};

use super::super::{TableArgs, configure, show};
use crate::{
    app, clock, finding,
    opensearch::Client,
    provision::lint::{self, files},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop provision lint
  alertloop provision lint my-monitor.json other/*.json
  alertloop provision lint --live
  alertloop provision lint my-monitor.json --records
  alertloop provision lint --output json

Without a FILE it looks at the monitors that `provision apply` makes. Each message is rendered on
the store, with harmless and with hostile values, and is read as the intake reads it. Nothing is
kept or sent. Exits with 1 when something fails.";

#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// Monitors as JSON: the form of `GET _plugins/_alerting/monitors/{id}`, or of our own files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also look at the monitors in the store that send to us
    #[arg(long)]
    live: bool,
    /// Show a message of each action that sends to us, and its record
    #[arg(long)]
    records: bool,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) async fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.table.settings)?;
    let (client, naming) = (Client::new(&config.store)?, super::naming(&config)?);
    let settings = app::provision_settings(&config);
    let mut subjects: Vec<_> = args.files.iter().map(|path| files::read(path, &settings)).collect();
    if args.files.is_empty() {
        subjects = files::provisioned(&settings)?;
    }
    if args.live {
        subjects.extend(lint::live(&client).await?);
    }
    let mut report = lint::run(&client, &settings, &naming, clock::now(), &subjects).await?;
    if !args.records {
        report.records.clear();
    }
    show(args.table.output, &report)?;
    Ok(ExitCode::from(finding::exit_code(&report.findings)))
}
