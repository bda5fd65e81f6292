//! `alertloop doctor`: what is wrong with this set-up.

use std::process::ExitCode;

use super::{TableArgs, configure, known_token, show};
use crate::{
    app,
    config::Config,
    doctor::{self, Setup},
    opensearch::Client,
    reconcile::Monitors,
};

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
    let report = doctor::run(&client, &setup(config)?).await;
    show(args.table.output, &report)?;
    Ok(ExitCode::from(report.exit_code(args.strict)))
}

fn setup(config: Config) -> anyhow::Result<Setup> {
    Ok(Setup {
        token: known_token(&config)?,
        provisioning: app::provision_settings(&config),
        provisions: config.provision,
        reconciles: config.reconciles(),
        callbacks: config.callbacks.iter().filter(|callback| callback.enabled).count(),
        queues: config.ntopng_queue.as_ref().map_or(0, |settings| settings.queues.len()),
        data_dir: config.data_dir,
        spool_max_bytes: config.spool_max_bytes,
        secret_files: config.secret_files,
        listen: config.listen,
        certificate: config.locks.tls.map(|files| files.certificate),
        heartbeat: config.heartbeat,
        silence_days: config.silence_days,
        all_monitors: config.reconcile_monitors == Monitors::All,
    })
}
