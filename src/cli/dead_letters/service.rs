//! The dead letters by way of a running service's API.

use std::io::Write;

use anyhow::Context as _;
use reqwest::Response;
use serde::Deserialize;
use url::Url;

use crate::{
    cli::{
        printed::put,
        service::{self, json},
    },
    config::Local,
    dead_letters::{Items, Selection, Tally, Whole},
    spool::Filter,
};

/// A service and the login for it.
pub(super) struct Service(service::Service);

#[derive(Deserialize)]
struct Replayed {
    replayed: u64,
    left: u64,
}

#[derive(Deserialize)]
struct Dropped {
    dropped: u64,
}

impl Service {
    /// The service at `url`; nothing is asked yet.
    pub(super) fn new(url: &Url, local: &Local) -> anyhow::Result<Self> {
        service::Service::new(url, &local.api_prefix, local.admin.clone()).map(Self)
    }

    pub(super) async fn list(&self, filter: &Filter, after: i64) -> anyhow::Result<Items> {
        let mut url = self.url(None, filter);
        url.query_pairs_mut().append_pair("after", &after.to_string());
        json(self.0.ask(self.0.get(url)).await?).await
    }

    pub(super) async fn show(&self, id: i64) -> anyhow::Result<Option<Whole>> {
        let url = self.url(Some(&id.to_string()), &Filter::default());
        match self.0.ask(self.0.get(url)).await {
            Ok(response) => json(response).await.map(Some),
            // 404 may also say that there is no such route.
            Err(fault) if fault.to_string().ends_with(&format!("no dead letter {id}")) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn replay(&self, selection: &Selection) -> anyhow::Result<Tally> {
        let Replayed { replayed, left } = json(self.post("replay", selection).await?).await?;
        Ok(Tally { done: replayed, left })
    }

    pub(super) async fn discard(&self, selection: &Selection) -> anyhow::Result<u64> {
        let Dropped { dropped } = json(self.post("drop", selection).await?).await?;
        Ok(dropped)
    }

    pub(super) async fn export(&self, filter: &Filter, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut response = self.0.ask(self.0.get(self.url(Some("export"), filter))).await?;
        while let Some(piece) = response.chunk().await.context("the service cut its answer off")? {
            put(out, &piece)?;
        }
        Ok(())
    }

    async fn post(&self, what: &str, selection: &Selection) -> anyhow::Result<Response> {
        let url = self.url(Some(what), &Filter::default());
        self.0.ask(self.0.post(url, &selection.json())).await
    }

    fn url(&self, path: Option<&str>, filter: &Filter) -> Url {
        let path: Vec<&str> = std::iter::once("dead-letters").chain(path).collect();
        let mut url = self.0.url(&path);
        for (name, value) in [("reason", &filter.reason), ("source", &filter.source)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }
}
