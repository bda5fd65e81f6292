//! `alertloop provision`: what would change in the store, changing it, writing it as files, and
//! whether it works.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, ensure};
use clap::{Args, Subcommand};

use super::{Misused, TableArgs, configure, confirmed, known_token, may_ask, put, show};
use crate::{
    app,
    config::Config,
    intake_token,
    opensearch::Client,
    provision::{self, ChannelSecret, Options, Plan, desired::BadFiles, export},
    record::{Naming, index_name::IndexName},
    secrets::WebhookToken,
};

mod lint;
mod test;

/// The exit code of a plan that is not empty, where that was asked for.
const CHANGES: u8 = 3;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop provision plan
  alertloop provision plan --detailed-exitcode --output json
  alertloop provision apply --provisioning-dir ./provisioning
  alertloop provision export ./provisioning
  alertloop provision lint my-monitor.json
  alertloop provision test";

const PLAN_EXAMPLES: &str = "\
Examples:
  alertloop provision plan
  alertloop provision plan --prune --provisioning-dir ./provisioning
  alertloop provision plan --detailed-exitcode > /dev/null || echo 'not in sync'

Exits with 0; with --detailed-exitcode with 3 where something is to be done. What a user edited is
not to be done: with --force it is, so `plan --force --detailed-exitcode` finds edits too.";

const APPLY_EXAMPLES: &str = "\
Examples:
  alertloop provision apply
  alertloop provision apply --force
  alertloop provision apply --prune --yes --provisioning-dir ./provisioning

What a user edited is left alone, and so is what was there before: --force takes it over. Whether a
monitor or a channel is switched on stays as it is in any case.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  alertloop provision export ./provisioning
  alertloop provision plan --provisioning-dir ./provisioning

Secrets of channels go to files of their own below secrets/, which the other files name.";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show what would change, and change nothing
    #[command(after_help = PLAN_EXAMPLES)]
    Plan {
        /// Exit with 3 where something is to be done
        #[arg(long)]
        detailed_exitcode: bool,
        #[command(flatten)]
        extent: Extent,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Change it, in order, and stop at the first failure
    #[command(after_help = APPLY_EXAMPLES)]
    Apply {
        /// Remove without asking
        #[arg(long, requires = "prune")]
        yes: bool,
        #[command(flatten)]
        extent: Extent,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Write what is live as files that describe it
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// The folder; made where it is not there
        dir: PathBuf,
        /// Replace files that are there with another content
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Say what is wrong with monitors and their messages before they fire
    #[command(after_help = lint::EXAMPLES)]
    Lint(lint::LintArgs),
    /// Send a test through a channel, see that it arrives, and show what an alert becomes
    #[command(after_help = test::EXAMPLES)]
    Test(test::TestArgs),
}

async fn export(args: &TableArgs, dir: &Path, overwrite: bool) -> anyhow::Result<ExitCode> {
    let config = configure(&args.settings)?;
    let all = export::read(&Client::new(&config.store)?).await?;
    let settings = app::provision_settings(&config);
    let conditions = provision::files::read(settings.dir.as_deref()).map_err(BadFiles::from)?;
    let files = export::files_beside(&all, &settings, &conditions);
    let exported = files.write(dir, overwrite).map_err(|fault| match fault.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow!("{fault}: there with another content; nothing was written; --overwrite does")
        }
        _ => anyhow!("cannot write to {}: {fault}", dir.display()),
    })?;
    show(args.output, &exported)?;
    Ok(ExitCode::SUCCESS)
}

/// How far to go.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Extent {
    /// Take over what users edited, and what was there before
    #[arg(long)]
    force: bool,
    /// Remove what we made and no file describes any more
    #[arg(long)]
    prune: bool,
}

impl From<Extent> for Options {
    fn from(Extent { force, prune }: Extent) -> Self {
        Self { force, prune, ..Self::default() }
    }
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Plan { detailed_exitcode, extent, table } => {
            let plan = plan(table, (*extent).into()).await?;
            let changes = *detailed_exitcode && !plan.is_in_sync();
            Ok(if changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
        }
        Action::Apply { yes, extent, table } => apply(table, (*extent).into(), *yes).await,
        Action::Export { dir, overwrite, table } => export(table, dir, *overwrite).await,
        Action::Lint(args) => lint::run(args).await,
        Action::Test(args) => test::run(args).await,
    }
}

async fn plan(args: &TableArgs, options: Options) -> anyhow::Result<Plan> {
    let config = configure(&args.settings)?;
    let client = Client::new(&config.store)?;
    let offered = known_token(&config)?.unwrap_or_else(WebhookToken::generate);
    let plan = look(&client, &config, offered, options).await?;
    show(args.output, &plan)?;
    Ok(plan)
}

async fn look(
    client: &Client,
    config: &Config,
    offered: WebhookToken,
    options: Options,
) -> anyhow::Result<Plan> {
    let secret = ChannelSecret::new(offered, config.token.is_some());
    let settings = app::provision_settings(config);
    Ok(provision::look(client, &settings, &secret, options).await?)
}

async fn apply(args: &TableArgs, options: Options, yes: bool) -> anyhow::Result<ExitCode> {
    let config = configure(&args.settings)?;
    let client = Client::new(&config.store)?;
    let offered = match &config.token {
        Some(token) => token.clone(),
        None => intake_token::load_or_make(&config.data_dir).context(
            "cannot keep the intake secret in the data directory; set ALERTLOOP_DATA_DIR",
        )?,
    };
    if options.prune && !yes {
        let plan = look(&client, &config, offered.clone(), options).await?;
        confirm_removals(&plan)?;
    }
    let secret = ChannelSecret::new(offered, config.token.is_some());
    let settings = app::provision_settings(&config);
    let applied = provision::apply(&client, &settings, &secret, options).await?;
    if config.token.is_none() {
        intake_token::keep(&config.data_dir, &applied.token)
            .context("cannot keep the channel's secret in the data directory")?;
    }
    show(args.output, &applied)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks whether the objects may go that a plan removes.
fn confirm_removals(plan: &Plan) -> anyhow::Result<()> {
    let removals: Vec<_> = plan.removals().collect();
    if removals.is_empty() {
        return Ok(());
    }
    if !may_ask() {
        let what = "--prune removes objects, and there is no terminal to ask on: say --yes";
        return Err(Misused(what.to_owned()).into());
    }
    for step in &removals {
        put(io::stderr().lock(), &step.to_string())?;
    }
    let question = format!("Remove {} from the store?", removals.len());
    ensure!(confirmed(&question)?, "nothing was changed");
    Ok(())
}

/// What names records, for commands that show one.
fn naming(config: &Config) -> anyhow::Result<Naming> {
    let index = IndexName::new(&config.index.pattern, &config.index.suffix)
        .map_err(|fault| anyhow::anyhow!("MALCOLM_NETWORK_INDEX_SUFFIX: {fault}"))?;
    Ok(Naming { index, time_field: config.index.time_field.clone() })
}
