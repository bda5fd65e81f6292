//! `alertloop deliveries`: what callbacks were run for alerts, in the same way whether a service runs
//! or not.

use std::{io, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::{
    Subcommand,
    builder::{NonEmptyStringValueParser, PossibleValuesParser},
};
use serde::Deserialize;
use tokio::task::block_in_place;
use url::Url;

use super::{
    Output,
    place::{Place, Reached, reach},
    printed::{self, Listed, put, say},
    service::{Service, json},
};
use crate::{
    deliveries::{self, Items, Selection, Whole},
    spool::{DeliveryFilter, DeliveryState, Spool},
};

mod text;

/// How many are listed in one go.
const PAGE: usize = 1_000;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop deliveries list
  alertloop deliveries list --state failed --callback pager
  alertloop deliveries list --alert 261121-5DpMaHEBv --output json
  alertloop deliveries show 17
  alertloop deliveries replay 17 18
  alertloop deliveries replay --callback pager

Works on the spool in the data directory. While a service uses it, the service is asked: at --url,
or where ALERTLOOP_LISTEN says; with ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD, where they
are set.";

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// One line for each, newest first
    #[command(after_help = EXAMPLES)]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Form of what is printed
        #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Everything about one, with each try
    #[command(after_help = EXAMPLES)]
    Show {
        #[arg(value_name = "ID", help = "Its number, as `list` shows it")]
        id: i64,
        /// Form of what is printed
        #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Run failed ones again, once their cause is gone
    #[command(after_help = EXAMPLES)]
    Replay {
        #[command(flatten)]
        picked: Picked,
        #[command(flatten)]
        place: Place,
    },
}

/// Which are looked at: all of them, or some.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only those of this callback
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    callback: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::name)))]
    state: Option<String>,
    /// Only those of this alert, by its id or the _id of its record
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    alert: Option<String>,
}

/// Which are meant; exactly one way of saying it.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Picked {
    #[arg(
        value_name = "ID",
        help = "Their numbers, as `list` shows them; these may be held or delivered, too",
        value_parser = clap::value_parser!(i64).range(1..)
    )]
    ids: Vec<i64>,
    /// Every failed one
    #[arg(long)]
    all: bool,
    /// Every failed one of this callback
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    callback: Option<String>,
}

impl Picked {
    fn selection(&self) -> Selection {
        match &self.callback {
            Some(name) => Selection::Callback(name.clone()),
            None if self.all => Selection::All,
            None => {
                let mut ids = self.ids.clone();
                ids.sort_unstable();
                ids.dedup();
                Selection::Ids(ids)
            }
        }
    }
}

/// Does it.
pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    printed::ended(act(action).await)
}

async fn act(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::List { filter, limit, output, place } => {
            let place = Deliveries::open(place)?;
            let outcome = list(&place, filter, usize::try_from(*limit)?, *output).await;
            place.close().await;
            outcome
        }
        Action::Show { id, output, place } => {
            let place = Deliveries::open(place)?;
            let found = place.show(*id).await;
            place.close().await;
            let whole = found?.with_context(|| format!("no delivery {id}"))?;
            printed::show(*output, &whole, text::whole)
        }
        Action::Replay { picked, place } => {
            let selection = picked.selection();
            let place = Deliveries::open(place)?;
            let outcome = place.replay(&selection).await;
            let waits = matches!(place, Deliveries::File(_));
            place.close().await;
            let done = outcome?;
            put(&mut io::stdout(), format!("replayed {done}\n").as_bytes())?;
            if waits && done > 0 {
                say("no service uses this spool now; they are run when `alertloop serve` runs");
            }
            if let Selection::Ids(ids) = &selection {
                let missing = u64::try_from(ids.len())?.saturating_sub(done);
                ensure!(
                    missing == 0,
                    "{missing} of {} numbers name no delivery that has ended and whose callback is enabled",
                    ids.len()
                );
            }
            Ok(())
        }
    }
}

async fn list(
    place: &Deliveries,
    filter: &FilterArgs,
    limit: usize,
    output: Output,
) -> anyhow::Result<()> {
    let state = filter.state.as_deref().and_then(DeliveryState::of);
    let filter =
        DeliveryFilter { callback: filter.callback.clone(), state, alert: filter.alert.clone() };
    let mut listed = Listed::new(output, text::HEADING, text::line);
    let mut before = Some(i64::MAX);
    while let Some(from) = before.filter(|_| listed.count() < limit) {
        let page = place.list(&filter, from, PAGE.min(limit - listed.count())).await?;
        page.items.iter().try_for_each(|item| listed.add(item))?;
        before = page.next;
    }
    listed.end("no deliveries")?;
    if matches!(output, Output::Text) && before.is_some() {
        say("there are more; raise --limit");
    }
    Ok(())
}

/// The deliveries, wherever they are.
enum Deliveries {
    /// No service runs: this process has the spool.
    File(Spool),
    /// A service has it.
    Service(Service),
}

#[derive(Deserialize)]
struct Replayed {
    replayed: u64,
}

impl Deliveries {
    fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(match reach(place)? {
            Reached::File(spool, _) => Self::File(spool),
            Reached::Service(url, local) => {
                Self::Service(Service::new(&url, &local.api_prefix, local.admin)?)
            }
        })
    }

    async fn list(
        &self,
        filter: &DeliveryFilter,
        before: i64,
        count: usize,
    ) -> anyhow::Result<Items> {
        let service = match self {
            Self::File(spool) => {
                return Ok(block_in_place(|| deliveries::list(spool, filter, before, count))?);
            }
            Self::Service(service) => service,
        };
        let mut url = service.url(&["deliveries"]);
        let state = filter.state.map(|state| state.name().to_owned());
        let pairs = [
            ("before", Some(before.to_string())),
            ("limit", Some(count.to_string())),
            ("callback", filter.callback.clone()),
            ("state", state),
            ("alert", filter.alert.clone()),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        json(service.ask(service.get(url)).await?).await
    }

    async fn show(&self, id: i64) -> anyhow::Result<Option<Whole>> {
        let service = match self {
            Self::File(spool) => return Ok(block_in_place(|| deliveries::show(spool, id))?),
            Self::Service(service) => service,
        };
        let url: Url = service.url(&["deliveries", &id.to_string()]);
        match service.ask(service.get(url)).await {
            Ok(response) => json(response).await.map(Some),
            // 404 may also say that there is no such route.
            Err(fault) if fault.to_string().ends_with(&format!("no delivery {id}")) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn replay(&self, selection: &Selection) -> anyhow::Result<u64> {
        let service = match self {
            Self::File(spool) => return Ok(deliveries::replay(spool, selection, None).await?),
            Self::Service(service) => service,
        };
        let url = service.url(&["deliveries", "replay"]);
        let answer = service.ask(service.post(url, &selection.json())).await?;
        let Replayed { replayed } = json(answer).await?;
        Ok(replayed)
    }

    async fn close(self) {
        if let Self::File(spool) = self {
            spool.close().await;
        }
    }
}
