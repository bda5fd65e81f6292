//! `alertloop monitors`: the monitors in the store, whoever runs them; switched, run by hand, and how
//! their last runs went.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Subcommand, builder::NonEmptyStringValueParser};
use serde_json::json;

use super::{
    Output, TableArgs, configure,
    printed::{self, Listed, say},
    teller,
};
use crate::{
    app::provision_settings,
    clock,
    config::Config,
    finding::printable,
    monitors::{self, Trial},
    opensearch::{
        Client, Engine,
        alerting::{self, Monitor},
        builtin::asking,
    },
};

mod text;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop monitors list
  alertloop monitors show 'Too many notices'
  alertloop monitors enable Q1uoGaIBdHdTp8SCcGmh
  alertloop monitors run 'Too many notices' --dry-run
  alertloop monitors history 'Too many notices' --output json

A monitor is named by its id, or by its name where only one has it. The store is asked; who runs
the monitors says ALERTLOOP_MONITORS.";

const RUN_EXAMPLES: &str = "\
Examples:
  alertloop monitors run 'Too many notices' --dry-run
  alertloop monitors run Q1uoGaIBdHdTp8SCcGmh

With --dry-run it says what the monitor decides now and each message that it would send; nothing is
kept or sent. Without it the monitor is run as if its time had come: by OpenSearch, or by the
`alertloop serve` that runs the monitors. Exits with 1 when something went wrong in the run.";

/// How long `alertloop serve` may take to run a monitor by hand.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// One line for each that sends to us or that our files describe, by name
    #[command(after_help = EXAMPLES)]
    List(Box<ListArgs>),
    /// Everything about one, with its body
    #[command(after_help = EXAMPLES)]
    Show(Box<OneArgs>),
    /// Switch it on, and change nothing else of it
    #[command(after_help = EXAMPLES)]
    Enable(Box<OneArgs>),
    /// Switch it off, and change nothing else of it
    #[command(after_help = EXAMPLES)]
    Disable(Box<OneArgs>),
    /// Run it now
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// How its last runs went, the newest first; with the plugin, its last alerts
    #[command(after_help = EXAMPLES)]
    History(Box<OneArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Also those that neither send to us nor come from our files
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    #[arg(
        value_name = "MONITOR",
        value_parser = NonEmptyStringValueParser::new(),
        help = "Its id (after -- where it begins with -), or its name"
    )]
    monitor: String,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Only say what it decides and would send
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    one: OneArgs,
}

/// Does it.
pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(args) => printed::ended(list(args).await),
        Action::Show(args) => printed::ended(show(args).await),
        Action::Enable(args) => printed::ended(switch(args, true).await),
        Action::Disable(args) => printed::ended(switch(args, false).await),
        Action::History(args) => printed::ended(history(args).await),
        Action::Run(args) => {
            let is_sound = run_now(args).await?;
            Ok(ExitCode::from(u8::from(!is_sound)))
        }
    }
}

fn begin(table: &TableArgs) -> anyhow::Result<(Config, Client)> {
    let config = configure(&table.settings)?;
    let client = teller::store(&config)?;
    Ok((config, client))
}

async fn find(
    args: &OneArgs,
    config: &Config,
    client: &Client,
) -> anyhow::Result<(monitors::Item, Monitor)> {
    let settings = provision_settings(config);
    monitors::find(client, &settings, &args.monitor).await.map_err(|fault| told(client, fault))
}

/// A store without monitors is told as such.
fn told(client: &Client, fault: monitors::Fault) -> anyhow::Error {
    match fault {
        monitors::Fault::Store(fault) if fault.is_unavailable() => anyhow::anyhow!(
            "{}: it has no Alerting, so no monitors either; with ALERTLOOP_MONITORS=builtin \
             alertloop runs them itself",
            client.address()
        ),
        fault => fault.into(),
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let (config, client) = begin(&args.table)?;
    let list = monitors::list(&client, &provision_settings(&config), clock::now()).await;
    let list = list.map_err(|fault| told(&client, fault.into()))?;
    let output = args.table.output;
    let mut listed = Listed::new(output, text::HEADING, text::line);
    for item in list.items.iter().filter(|item| args.all || item.concerns_us()) {
        listed.add(item)?;
    }
    listed.end("no monitors")?;
    if matches!(output, Output::Text) {
        for what in &list.unknown {
            say(&format!("not known: {}", printable(what)));
        }
        if !args.all && list.others > 0 {
            say(&format!("{} more; --all lists them", list.others));
        }
    }
    Ok(())
}

async fn show(args: &OneArgs) -> anyhow::Result<()> {
    let (config, client) = begin(&args.table)?;
    let (item, monitor) = find(args, &config, &client).await?;
    let shown = json!({ "condition": item, "monitor": monitor.body });
    printed::show(args.table.output, &shown, text::shown)
}

async fn switch(args: &OneArgs, enabled: bool) -> anyhow::Result<()> {
    let (config, client) = begin(&args.table)?;
    let (_, monitor) = find(args, &config, &client).await?;
    let settings = provision_settings(&config);
    let item = monitors::switch(&client, &settings, &monitor.id, enabled).await;
    let item = item.map_err(|fault| told(&client, fault))?;
    printed::show(args.table.output, &item, text::switched)
}

async fn history(args: &OneArgs) -> anyhow::Result<()> {
    let (config, client) = begin(&args.table)?;
    let (_, monitor) = find(args, &config, &client).await?;
    let past = monitors::past(&client, &monitor).await.context("cannot read its runs")?;
    printed::show(args.table.output, &past, text::past)
}

/// Runs one; tells whether nothing went wrong.
async fn run_now(args: &RunArgs) -> anyhow::Result<bool> {
    let (config, client) = begin(&args.one.table)?;
    let (item, monitor) = find(&args.one, &config, &client).await?;
    if item.kind == "composite" {
        bail!("a composite monitor runs others, and cannot be run by hand; run one of those");
    }
    let output = args.one.table.output;
    let report = if args.dry_run {
        alerting::dry_run(&client, &monitor.body).await
    } else {
        match client.engine().await? {
            Engine::Plugin => alerting::run(&client, &monitor.id).await,
            Engine::Builtin => return wished(&client, &monitor, output).await,
        }
    };
    let report = report.map_err(|fault| told(&client, fault.into()))?;
    let trial = Trial::of(&monitor.body, &report, args.dry_run);
    let printed = printed::ended(printed::show(output, &trial, text::trial));
    printed.map(|_| trial.is_sound())
}

/// Has `alertloop serve` run it.
async fn wished(client: &Client, monitor: &Monitor, output: Output) -> anyhow::Result<bool> {
    let before = monitors::past(client, monitor).await?.runs.into_iter().next();
    asking::wish(client, &monitor.id, clock::now().as_millisecond()).await?;
    let begun = Instant::now();
    while asking::is_wished(client, &monitor.id).await? {
        if begun.elapsed() > PATIENCE {
            asking::withdraw(client, &monitor.id).await?;
            bail!(
                "nobody has run it within {} s: see that `alertloop serve` runs with this store, \
                 with the same ALERTLOOP_MONITORS and ALERTLOOP_MONITORS_PREFIX",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut past = monitors::past(client, monitor).await?;
    past.runs.truncate(1);
    let Some(run) = past.runs.first().filter(|run| Some(*run) != before.as_ref()) else {
        bail!("it was not run: see the log of the `alertloop serve` that runs the monitors")
    };
    let is_sound = run.error.is_none();
    printed::ended(printed::show(output, &past, text::past)).map(|_| is_sound)
}
