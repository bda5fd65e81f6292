//! Who tells of alerts: the running service, which shares its answers; where none runs, the store.

use std::io;

use serde::de::DeserializeOwned;
use url::Url;

use super::{
    health, put,
    service::{Service, json, refused},
};
use crate::{config::Config, opensearch::Client};

/// The service, as long as it answers.
pub(super) struct Teller {
    service: Option<Service>,
    /// Its address was given: then it must be there.
    must: bool,
}

impl Teller {
    /// The service at `url`, or where the settings say that it listens.
    pub(super) fn of(url: Option<&Url>, config: &Config) -> anyhow::Result<Self> {
        let must = url.is_some();
        let url = match url {
            Some(url) => url.clone(),
            // Where it listens on a port of its own choice, nobody can know whether it runs.
            None if config.listen.port() == 0 => return Ok(Self { service: None, must }),
            None => health::base(config.listen, config.locks.tls.is_some())?,
        };
        let service = Service::new(&url, &config.api_prefix, config.admin.clone())?;
        Ok(Self { service: Some(service), must })
    }

    /// What the service answers under this path to these parameters; `None` where there is none, so
    /// that the store has to be asked.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        parameters: &[(&str, Option<String>)],
    ) -> anyhow::Result<Option<T>> {
        let Some(service) = &self.service else { return Ok(None) };
        let mut url = service.url(path);
        for (name, value) in parameters {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        match service.send(service.get(url)).await {
            Ok(response) if response.status().is_success() => json(response).await.map(Some),
            Ok(response) => {
                let status = response.status();
                let body = response.bytes().await.unwrap_or_default();
                anyhow::bail!(refused(status, &body))
            }
            Err(fault) if fault.is_connect() && !self.must => {
                put(io::stderr().lock(), "no service runs here, so the store is asked").ok();
                self.service = None;
                Ok(None)
            }
            Err(fault) => Err(service.silent(&fault)),
        }
    }
}

/// The store, where it is asked itself.
pub(super) fn store(config: &Config) -> anyhow::Result<Client> {
    Client::new(&config.store)
}
