//! `alertloop provision test`.

use std::process::ExitCode;

use super::super::{TableArgs, configure, known_token, show};
use crate::{
    app, clock, finding,
    opensearch::Client,
    provision::{
        desired::CHANNEL_ID,
        rehearsal::{self, Secrets},
    },
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop provision test
  alertloop provision test my-slack-channel
  alertloop provision test --output json

OpenSearch sends its test message through the channel. From our own intake, which has to run, comes
a receipt that shows that it arrived there. Then the loopback monitor is run dry with a true
trigger, and its message and the record are shown. Nothing is kept. Exits with 1 when something
fails.";

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// The channel to test: the one that sends to us, or any other
    #[arg(value_name = "CHANNEL_ID", default_value = CHANNEL_ID)]
    channel: String,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) async fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.table.settings)?;
    let (client, naming) = (Client::new(&config.store)?, super::naming(&config)?);
    let settings = app::provision_settings(&config);
    let current = known_token(&config)?;
    let secrets = Secrets { current: current.as_ref(), previous: config.token_previous.as_ref() };
    let received = clock::now();
    let rehearsal =
        rehearsal::run(&client, &settings, &naming, received, &args.channel, secrets).await;
    show(args.table.output, &rehearsal)?;
    Ok(ExitCode::from(finding::exit_code(&rehearsal.findings)))
}
