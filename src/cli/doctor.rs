//! `alertloop doctor`: what is wrong with this set-up.

use std::process::ExitCode;

use super::{TableArgs, configure, known_token, show};
use crate::{app, doctor, opensearch::Client};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop doctor
  alertloop doctor --strict
  alertloop doctor --output json

Exits with 1 when a line says FAIL, with --strict also for warn; else with 0.";

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Exit with 1 for a warning too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.table.settings)?;
    let client = Client::new(&config.store)?;
    let token = known_token(&config)?;
    let report = doctor::run(&client, &app::doctor_setup(&config, token)).await;
    show(args.table.output, &report)?;
    Ok(ExitCode::from(report.exit_code(args.strict)))
}
