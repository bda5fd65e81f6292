//! `alertloop engaged`: what is engaged now, by way of the running service, else from the store.

use std::{io, process::ExitCode};

use clap::builder::NonEmptyStringValueParser;
use url::Url;

use super::{
    Output, TableArgs, configure, health,
    printed::width_of_terminal,
    put,
    service::{Service, json, refused},
};
use crate::{
    alert::Source,
    clock,
    config::Config,
    engaged::{self, Filter, PAGE, Page, Question},
    opensearch::Client,
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

fn source(name: &str) -> Result<String, String> {
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
    let mut place = Place::of(args, &config)?;
    let limit = usize::try_from(args.limit)?;
    let mut all: Option<Page> = None;
    loop {
        let have = all.as_ref().map_or(0, |page| page.items.len());
        let after = all.as_ref().and_then(|page| page.next.clone());
        if have >= limit || (all.is_some() && after.is_none()) {
            break;
        }
        let page = place.page(&filter, after, PAGE.min(limit - have), &config).await?;
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

/// Who is asked.
enum Place {
    /// A service; it must be there where its address was given.
    Service(Service, bool),
    /// The store.
    Store(Client),
}

impl Place {
    fn of(args: &EngagedArgs, config: &Config) -> anyhow::Result<Self> {
        let url = match &args.url {
            Some(url) => url.clone(),
            // Where it listens on a port of its own choice, nobody can know whether it runs.
            None if config.listen.port() == 0 => {
                return Ok(Self::Store(Client::new(&config.store)?));
            }
            None => health::base(config.listen, config.locks.tls.is_some())?,
        };
        let service = Service::new(&url, &config.api_prefix, config.admin.clone())?;
        Ok(Self::Service(service, args.url.is_some()))
    }

    async fn page(
        &mut self,
        filter: &Filter,
        after: Option<String>,
        limit: usize,
        config: &Config,
    ) -> anyhow::Result<Page> {
        if let Self::Service(service, must) = self {
            let mut url = service.url(&["alerts", "engaged"]);
            let pairs = [
                ("entity", filter.entity.clone()),
                ("source", filter.source.clone()),
                ("severity", filter.severity.map(|severity| severity.to_string())),
                ("rule", filter.rule.clone()),
                ("text", filter.text.clone()),
                ("stale", filter.stale.map(|stale| stale.to_string())),
                ("after", after.clone()),
                ("limit", Some(limit.to_string())),
            ];
            for (name, value) in pairs {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
            match service.send(service.get(url)).await {
                Ok(response) if response.status().is_success() => return json(response).await,
                Ok(response) => {
                    let status = response.status();
                    let body = response.bytes().await.unwrap_or_default();
                    anyhow::bail!(refused(status, &body));
                }
                Err(fault) if fault.is_connect() && !*must => {
                    put(io::stderr().lock(), "no service runs here, so the store is asked").ok();
                    *self = Self::Store(Client::new(&config.store)?);
                }
                Err(fault) => return Err(service.silent(&fault)),
            }
        }
        let Self::Store(client) = self else { anyhow::bail!("nobody to ask") };
        let settings = engaged::Settings {
            pattern: config.index.pattern.clone(),
            stale_after: config.stale_after,
            reconciles: config.reconciles(),
        };
        let after = after.map(|text| text.parse()).transpose().map_err(anyhow::Error::msg)?;
        let question = Question { filter: filter.clone(), after, limit };
        Ok(engaged::ask(client, &settings, &question, clock::now()).await?)
    }
}
