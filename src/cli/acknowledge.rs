//! `alertloop acknowledge`: stops the actions of alerts, by way of the running service, whose records
//! then say so at once; else by OpenSearch alone.

use std::{collections::BTreeSet, io, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use url::Url;

use super::{TableArgs, configure, health, put, service, service::Service, show};
use crate::{
    acknowledge::{self, Answered, Answers, LIMIT},
    config::Config,
    opensearch::Client,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop acknowledge U3d9_6EBo8ttEhKdmDav
  alertloop acknowledge 261121-U3d9_6EBo8ttEhKdmDav 261121-LFa-_qEBcpvtKt_Nwku7
  alertloop acknowledge --output json U3d9_6EBo8ttEhKdmDav
  alertloop acknowledge --directly -- -id-that-begins-with-a-dash

Asks the running service, at --url or where ALERTLOOP_LISTEN says, with ALERTLOOP_ADMIN_USER and
ALERTLOOP_ADMIN_PASSWORD, where they are set. Where none runs, OpenSearch itself is asked.
Exits with 1 when one of the alerts is not acknowledged.";

#[derive(Debug, clap::Args)]
pub(super) struct AcknowledgeArgs {
    #[arg(
        value_name = "ALERT_ID",
        required = true,
        value_parser = NonEmptyStringValueParser::new(),
        help = "An alert's own id (after -- where it begins with -), or the _id of its record (yymmdd-ID)"
    )]
    ids: Vec<String>,
    /// Ask the service at this address
    #[arg(long, value_name = "URL", conflicts_with = "directly")]
    url: Option<Url>,
    /// Ask OpenSearch without the service; records follow with its next reconciliation
    #[arg(long)]
    directly: bool,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) async fn run(args: &AcknowledgeArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args.table.settings)?;
    let mut seen = BTreeSet::new();
    let ids: Vec<String> = args.ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
    let answers = match service(args, &config)? {
        Some(service) => by_service(&service, &ids, args.url.is_some()).await?,
        None => None,
    };
    let answers = match answers {
        Some(answers) => answers,
        None => directly(&config, &ids).await?,
    };
    let all_are_good = answers.iter().all(|answered| answered.outcome.is_good());
    show(args.table.output, &Answers(answers))?;
    Ok(ExitCode::from(u8::from(!all_are_good)))
}

/// The service that may run, if one may be asked.
fn service(args: &AcknowledgeArgs, config: &Config) -> anyhow::Result<Option<Service>> {
    let url = match &args.url {
        Some(url) => url.clone(),
        // Where it listens on a port of its own choice, nobody can know whether it runs.
        None if args.directly || config.listen.port() == 0 => return Ok(None),
        None => health::base(config.listen, config.locks.tls.is_some())?,
    };
    Service::new(&url, &config.api_prefix, config.admin.clone()).map(Some)
}

/// What the service answers; `None` where nothing listens there, unless it `must`.
async fn by_service(
    service: &Service,
    ids: &[String],
    must: bool,
) -> anyhow::Result<Option<Vec<Answered>>> {
    let mut answers = Vec::new();
    for id in ids {
        let request = service.post(service.url(&["alerts", id, "acknowledge"]), &json!({}));
        let response = match service.send(request).await {
            Ok(response) => response,
            Err(fault) if fault.is_connect() && !must && answers.is_empty() => {
                let note = "no service runs here, so OpenSearch is asked; the records follow when one does";
                put(io::stderr().lock(), note).ok();
                return Ok(None);
            }
            Err(fault) => return Err(service.silent(&fault)),
        };
        let status = response.status();
        let body = response.bytes().await.context("the service cut its answer off")?;
        match serde_json::from_slice(&body) {
            Ok(answered) => answers.push(answered),
            Err(_) => {
                bail!("{}; --directly asks OpenSearch instead", service::refused(status, &body))
            }
        }
    }
    Ok(Some(answers))
}

async fn directly(config: &Config, ids: &[String]) -> anyhow::Result<Vec<Answered>> {
    let client = Client::new(&config.store)?;
    match acknowledge::acknowledge(&client, ids, LIMIT).await {
        Err(fault) if fault.is_unavailable() => {
            bail!("{}: it has no Alerting, so no alerts either", client.address())
        }
        answers => {
            answers.with_context(|| format!("cannot look up the alerts at {}", client.address()))
        }
    }
}
