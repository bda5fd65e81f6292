//! `alertloop provision`: what would change in the store, and changing it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{TableArgs, configure, known_token, show};
use crate::{
    app, intake_token,
    opensearch::Client,
    provision::{self, ChannelSecret, Options},
    secrets::WebhookToken,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop provision plan
  alertloop provision plan --output json
  alertloop provision apply --opensearch-url http://localhost:9200";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show what would change, and change nothing
    #[command(after_help = EXAMPLES)]
    Plan(TableArgs),
    /// Change it, in order, and stop at the first failure
    #[command(after_help = EXAMPLES)]
    Apply(TableArgs),
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Plan(args) => plan(args).await,
        Action::Apply(args) => apply(args).await,
    }
}

async fn plan(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.settings)?;
    let (client, token) = (Client::new(&config.store)?, known_token(&config)?);
    let offered = token.unwrap_or_else(WebhookToken::generate);
    let secret = ChannelSecret::new(offered, config.token.is_some());
    let settings = app::provision_settings(&config);
    let plan = provision::look(&client, &settings, &secret, Options::default()).await?;
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
    let secret = ChannelSecret::new(offered, config.token.is_some());
    let settings = app::provision_settings(&config);
    let applied = provision::apply(&client, &settings, &secret, Options::default()).await?;
    if config.token.is_none() {
        intake_token::keep(&config.data_dir, &applied.token)
            .context("cannot keep the channel's secret in the data directory")?;
    }
    show(args.output, &applied)?;
    Ok(ExitCode::SUCCESS)
}
