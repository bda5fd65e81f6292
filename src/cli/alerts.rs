//! `alertloop alerts`: alerts that are and were, by way of the running service, else from the store.

use std::{fmt::Display, process::ExitCode};

use anyhow::Context as _;
use clap::{Subcommand, builder::NonEmptyStringValueParser};
use url::Url;

use super::{
    Output, TableArgs, configure, engaged,
    printed::{self, Listed, say},
    teller::{self, Teller},
};
use crate::{
    app::history_settings,
    clock,
    config::Config,
    finding::printable,
    history::{self, Filter, Life, PAGE, Page, Question, State, moment::moment},
    record::index_name::IndexName,
};

mod text;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop alerts list
  alertloop alerts list --from 24h --severity 80
  alertloop alerts list --state released --rule 'Too many notices' --from 2026-11-01 --to 2026-11-08
  alertloop alerts list --entity 10.0.0.1 --output json --limit 1000
  alertloop alerts show 261122-4iCoGaIBdHdTp8SCmGsL

Asks the running service, at --url or where ALERTLOOP_LISTEN says, with ALERTLOOP_ADMIN_USER and
ALERTLOOP_ADMIN_PASSWORD, where they are set. Where none runs, the store itself is asked; deliveries
are then not told.";

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// One line for each, those that began last first
    #[command(after_help = EXAMPLES)]
    List(Box<ListArgs>),
    /// Everything about one: its states, its deliveries, its message and its record
    #[command(after_help = EXAMPLES)]
    Show(Box<ShowArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only those in this state: engaged, acknowledged, released, stored or failure; or several, with
    /// commas between
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<State>,
    /// Only those of this source: opensearch, graylog, ntopng or alertmanager
    #[arg(long, value_name = "NAME", value_parser = engaged::source)]
    source: Option<String>,
    /// Only those of at least this severity, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    severity: Option<u8>,
    /// Only those of the rule with this name or id
    #[arg(long, value_name = "RULE", value_parser = NonEmptyStringValueParser::new())]
    rule: Option<String>,
    /// Only those about this host, interface and so on: host:10.0.0.1, or without its kind
    #[arg(long, value_name = "ENTITY", value_parser = NonEmptyStringValueParser::new())]
    entity: Option<String>,
    /// Only those with these words in their message, or with this in their rule or reason
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    text: Option<String>,
    /// Only those that began then or later: a time, a day (in UTC), or how long ago (24h, 7d)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<jiff::Timestamp>,
    /// Only those that began before: a time, a day (in UTC), or how long ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<jiff::Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Ask the service at this address
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    #[arg(
        value_name = "ID",
        help = "The _id of its record, as `list` shows it, or the alert's own id"
    )]
    id: String,
    /// Ask the service at this address
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    table: TableArgs,
}

fn state(name: &str) -> Result<State, String> {
    let known = State::ALL.map(State::name).join(", ");
    State::of(name).ok_or_else(|| format!("no such state; known: {known}"))
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    moment(text, clock::now())
}

/// Does it.
pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    printed::ended(match action {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
    })
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let config = configure(&args.table.settings)?;
    let filter = Filter {
        states: args.state.clone(),
        source: args.source.clone(),
        severity: args.severity,
        below: None,
        rule: args.rule.clone(),
        entity: args.entity.clone(),
        text: args.text.clone(),
        from: args.from,
        to: args.to,
    };
    let mut teller = Teller::of(args.url.as_ref(), &config)?;
    let limit = usize::try_from(args.limit)?;
    let output = args.table.output;
    let mut listed = Listed::new(output, text::HEADING, text::line);
    let (mut after, mut first) = (None, true);
    while listed.count() < limit && (first || after.is_some()) {
        let count = PAGE.min(limit - listed.count());
        let page = page(&mut teller, &filter, after.take(), count, &config).await?;
        if first {
            notes(&page);
        }
        page.items.iter().try_for_each(|item| listed.add(item))?;
        (after, first) = (page.next, false);
    }
    listed.end("no alerts")?;
    if matches!(output, Output::Text) && after.is_some() {
        say("there are more; raise --limit");
    }
    Ok(())
}

/// What is to be known of the answer before it is read.
fn notes(page: &Page) {
    if let Some(why) = &page.outdated {
        let age = page.age_ms / 1_000;
        say(&format!("as of {age} s ago, for the store does not answer: {}", printable(why)));
    }
    if let Some(why) = &page.incomplete {
        say(&format!("some may be missing: {}", printable(why)));
    }
}

async fn page(
    teller: &mut Teller,
    filter: &Filter,
    after: Option<String>,
    limit: usize,
    config: &Config,
) -> anyhow::Result<Page> {
    fn said(value: Option<impl Display>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    let states: Vec<_> = filter.states.iter().map(|state| state.name()).collect();
    let parameters = [
        ("state", Some(states.join(",")).filter(|states| !states.is_empty())),
        ("source", filter.source.clone()),
        ("severity", said(filter.severity)),
        ("rule", filter.rule.clone()),
        ("entity", filter.entity.clone()),
        ("text", filter.text.clone()),
        ("from", said(filter.from)),
        ("to", said(filter.to)),
        ("after", after.clone()),
        ("limit", Some(limit.to_string())),
    ];
    if let Some(page) = teller.ask(&["alerts"], &parameters).await? {
        return Ok(page);
    }
    let after = after.map(|text| text.parse()).transpose().map_err(anyhow::Error::msg)?;
    let question = Question { filter: filter.clone(), after, limit };
    let (client, settings) = (teller::store(config)?, settings(config)?);
    Ok(history::page(&client, &settings, &question, clock::now()).await?)
}

async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let config = configure(&args.table.settings)?;
    let mut teller = Teller::of(args.url.as_ref(), &config)?;
    let told: Option<Life> = teller.ask(&["alerts", &args.id], &[]).await?;
    let life = if let Some(life) = told {
        life
    } else {
        let (client, settings) = (teller::store(&config)?, settings(&config)?);
        let found = history::life::find(&client, &settings, &args.id, clock::now()).await?;
        found.context("no alert has this id, neither its own nor its record's")?
    };
    printed::show(args.table.output, &life, text::life)
}

fn settings(config: &Config) -> anyhow::Result<history::Settings> {
    let index = IndexName::new(&config.index.pattern, &config.index.suffix)
        .map_err(|fault| anyhow::anyhow!("MALCOLM_NETWORK_INDEX_SUFFIX: {fault}"))?;
    Ok(history_settings(config, index))
}
