//! `alertloop provision`: what would change in the store, changing it, and whether it works.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{TableArgs, configure, known_token, show};
use crate::{
    app,
    config::Config,
    intake_token,
    opensearch::Client,
    provision,
    record::{Naming, index_name::IndexName},
    secrets::WebhookToken,
};

mod lint;
mod test;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop provision plan
  alertloop provision plan --output json
  alertloop provision apply --opensearch-url http://localhost:9200
  alertloop provision lint my-monitor.json
  alertloop provision test";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show what would change, and change nothing
    #[command(after_help = EXAMPLES)]
    Plan(TableArgs),
    /// Change it, in order, and stop at the first failure
    #[command(after_help = EXAMPLES)]
    Apply(TableArgs),
    /// Say what is wrong with monitors and their messages before they fire
    #[command(after_help = lint::EXAMPLES)]
    Lint(lint::LintArgs),
    /// Send a test through a channel, see that it arrives, and show what an alert becomes
    #[command(after_help = test::EXAMPLES)]
    Test(test::TestArgs),
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Plan(args) => plan(args).await,
        Action::Apply(args) => apply(args).await,
        Action::Lint(args) => lint::run(args).await,
        Action::Test(args) => test::run(args).await,
    }
}

async fn plan(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.settings)?;
    let (client, token) = (Client::new(&config.store)?, known_token(&config)?);
    let offered = token.unwrap_or_else(WebhookToken::generate);
    let settings = app::provision_settings(&config);
    let plan = provision::look(&client, &settings, &offered, config.token.is_some()).await?;
    show(args.output, &plan)?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.settings)?;
    let client = Client::new(&config.store)?;
    let offered = match &config.token {
        Some(token) => token.clone(),
        None => intake_token::load_or_make(&config.data_dir).context(
            "cannot keep the intake secret in the data directory; set ALERTLOOP_DATA_DIR",
        )?,
    };
    let settings = app::provision_settings(&config);
    let applied = provision::apply(&client, &settings, &offered, config.token.is_some()).await?;
    if config.token.is_none() {
        intake_token::keep(&config.data_dir, &applied.token)
            .context("cannot keep the channel's secret in the data directory")?;
    }
    show(args.output, &applied)?;
    Ok(ExitCode::SUCCESS)
}

/// What names records, for commands that show one.
fn naming(config: &Config) -> anyhow::Result<Naming> {
    let index = IndexName::new(&config.index.pattern, &config.index.suffix)
        .map_err(|fault| anyhow::anyhow!("MALCOLM_NETWORK_INDEX_SUFFIX: {fault}"))?;
    Ok(Naming { index, time_field: config.index.time_field.clone() })
}
