//! The dead letters, wherever they are: in the spool's file, or with the service that uses it.

use std::io::Write;

use anyhow::anyhow;
use tokio::task::block_in_place;

use super::service::Service;
use crate::{
    cli::{
        place::{Place, Reached, reach},
        printed::{flush, put},
    },
    dead_letters::{self, Export, Fault, Items, Selection, Tally, Whole},
    spool::{Filter, Spool},
};

/// How many are listed in one go.
const PAGE: usize = 1_000;

/// Where they are.
pub(super) enum Letters {
    /// No service runs: this process has the spool.
    File { spool: Spool, body_limit: usize },
    /// A service has it.
    Service(Service),
}

impl Letters {
    /// Opens the spool, which has to be there; while a service uses it, the service.
    pub(super) fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(match reach(place)? {
            Reached::File(spool, local) => Self::File { spool, body_limit: local.body_limit },
            Reached::Service(url, local) => Self::Service(Service::new(&url, &local)?),
        })
    }

    /// Whether this process has the spool.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Some of them, oldest first.
    pub(super) async fn list(&self, filter: &Filter, after: i64) -> anyhow::Result<Items> {
        match self {
            Self::File { spool, .. } => {
                Ok(block_in_place(|| dead_letters::list(spool, filter, after, PAGE))?)
            }
            Self::Service(service) => service.list(filter, after).await,
        }
    }

    /// How many are selected.
    pub(super) async fn count(&self, selection: &Selection) -> anyhow::Result<u64> {
        let Some(filter) = selection.filter() else {
            let Selection::Ids(ids) = selection else { return Ok(0) };
            return Ok(u64::try_from(ids.len())?);
        };
        let (mut after, mut count) = (Some(0), 0_u64);
        while let Some(from) = after {
            let page = self.list(&filter, from).await?;
            count += u64::try_from(page.items.len())?;
            after = page.next;
        }
        Ok(count)
    }

    /// One of them.
    pub(super) async fn show(&self, id: i64) -> anyhow::Result<Option<Whole>> {
        match self {
            Self::File { spool, body_limit } => {
                Ok(block_in_place(|| dead_letters::show(spool, id, *body_limit))?)
            }
            Self::Service(service) => service.show(id).await,
        }
    }

    /// Makes them entries again.
    pub(super) async fn replay(&self, selection: &Selection) -> anyhow::Result<Tally> {
        match self {
            Self::File { spool, .. } => {
                let mut tally = Tally::default();
                let outcome = dead_letters::replay(spool, selection, &mut tally).await;
                outcome.map_err(|fault| unfinished(fault, tally.done))?;
                Ok(tally)
            }
            Self::Service(service) => service.replay(selection).await,
        }
    }

    /// Removes them.
    pub(super) async fn discard(&self, selection: &Selection) -> anyhow::Result<u64> {
        match self {
            Self::File { spool, .. } => {
                let mut tally = Tally::default();
                let outcome = dead_letters::discard(spool, selection, &mut tally).await;
                outcome.map_err(|fault| unfinished(fault, tally.done))?;
                Ok(tally.done)
            }
            Self::Service(service) => service.discard(selection).await,
        }
    }

    /// Writes them out, one line each.
    pub(super) async fn export(&self, filter: &Filter, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::File { spool, body_limit } => block_in_place(|| {
                let mut export = Export::begin(spool, filter.clone(), *body_limit)?;
                while let Some(piece) = export.next(spool)? {
                    put(out, &piece)?;
                }
                anyhow::Ok(())
            })?,
            Self::Service(service) => service.export(filter, out).await?,
        }
        flush(out)
    }

    /// Ends in order, so that the one file holds everything.
    pub(super) async fn close(self) {
        if let Self::File { spool, .. } = self {
            spool.close().await;
        }
    }
}

fn unfinished(fault: Fault, done: u64) -> anyhow::Error {
    anyhow!(fault).context(format!("it ended after {done} of them"))
}
