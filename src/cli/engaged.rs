//! `alertloop engaged`: what is engaged now, by way of the running service, else from the store.

use std::{io, process::ExitCode};

use clap::builder::NonEmptyStringValueParser;
use url::Url;

use super::{
    Output, TableArgs, configure,
    printed::width_of_terminal,
    put,
    teller::{self, Teller},
};
use crate::{
    alert::Source,
    clock,
    config::Config,
    engaged::{self, Filter, PAGE, Page, Question},
};

mod text;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop engaged
  alertloop engaged --entity 10.0.0.1
  alertloop engaged --entity host:10.0.0.1@12 --severity 80
  alertloop engaged --source ntopng --stale true
  alertloop engaged --output json --limit 1000

Asks the running service, at --url or where ALERTLOOP_LISTEN says, with ALERTLOOP_ADMIN_USER and
ALERTLOOP_ADMIN_PASSWORD, where they are set. Where none runs, the store itself is asked.";

#[derive(Debug, clap::Args)]
pub(super) struct EngagedArgs {
    /// Only those about this host, interface and so on: host:10.0.0.1, or without its kind
    #[arg(long, value_name = "ENTITY", value_parser = NonEmptyStringValueParser::new())]
    entity: Option<String>,
    /// Only those of this source: opensearch, graylog, ntopng or alertmanager
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<String>,
    /// Only those of at least this severity, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    severity: Option<u8>,
    /// Only those of the rule with this name or id
    #[arg(long, value_name = "RULE", value_parser = NonEmptyStringValueParser::new())]
    rule: Option<String>,
    /// Only those with these words in their message, or with this in their rule or reason
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    text: Option<String>,
    /// Only those without news for `ALERTLOOP_STALE_AFTER`, or only the others
    #[arg(long, value_name = "YES")]
    stale: Option<bool>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Ask the service at this address
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn source(name: &str) -> Result<String, String> {
    Source::sender(name).map(|source| source.name().to_owned())
}

pub(super) async fn run(args: &EngagedArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.table.settings)?;
    let filter = Filter {
        entity: args.entity.clone(),
        source: args.source.clone(),
        severity: args.severity,
        rule: args.rule.clone(),
        text: args.text.clone(),
        stale: args.stale,
    };
    let mut teller = Teller::of(args.url.as_ref(), &config)?;
    let limit = usize::try_from(args.limit)?;
    let mut all: Option<Page> = None;
    loop {
        let have = all.as_ref().map_or(0, |page| page.items.len());
        let after = all.as_ref().and_then(|page| page.next.clone());
        if have >= limit || (all.is_some() && after.is_none()) {
            break;
        }
        let page = page(&mut teller, &filter, after, PAGE.min(limit - have), &config).await?;
        match &mut all {
            None => all = Some(page),
            Some(all) => {
                all.items.extend(page.items);
                all.next = page.next;
            }
        }
    }
    let page = all.unwrap_or_default();
    let text = match args.table.output {
        Output::Text => text::table(&page, width_of_terminal()),
        Output::Json => serde_json::to_string_pretty(&page)?,
    };
    put(io::stdout().lock(), &text)?;
    Ok(ExitCode::SUCCESS)
}

async fn page(
    teller: &mut Teller,
    filter: &Filter,
    after: Option<String>,
    limit: usize,
    config: &Config,
) -> anyhow::Result<Page> {
    let parameters = [
        ("entity", filter.entity.clone()),
        ("source", filter.source.clone()),
        ("severity", filter.severity.map(|severity| severity.to_string())),
        ("rule", filter.rule.clone()),
        ("text", filter.text.clone()),
        ("stale", filter.stale.map(|stale| stale.to_string())),
        ("after", after.clone()),
        ("limit", Some(limit.to_string())),
    ];
    if let Some(page) = teller.ask(&["alerts", "engaged"], &parameters).await? {
        return Ok(page);
    }
    let settings = engaged::Settings {
        pattern: config.index.pattern.clone(),
        stale_after: config.stale_after,
        reconciles: config.reconciles(),
    };
    let after = after.map(|text| text.parse()).transpose().map_err(anyhow::Error::msg)?;
    let question = Question { filter: filter.clone(), after, limit };
    Ok(engaged::ask(&teller::store(config)?, &settings, &question, clock::now()).await?)
}
