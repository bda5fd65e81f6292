//! The dead letters by way of a running service's API.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE, redirect::Policy,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::put;
use crate::{
    config::Local,
    dead_letters::{Items, Selection, Tally, Whole},
    secrets::Login,
    spool::Filter,
};

/// How long it may take to connect. There is no other limit: a replay of many takes its time.
const CONNECT: Duration = Duration::from_secs(5);

/// A service and the login for it.
pub(super) struct Service {
    client: Client,
    /// Up to `/dead-letters`.
    base: Url,
    login: Option<Login>,
}

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
        let mut base = url.clone();
        base.set_query(None);
        base.set_fragment(None);
        base.path_segments_mut()
            .ok()
            .filter(|_| matches!(url.scheme(), "http" | "https"))
            .context("only an http:// or https:// address can be asked")?
            .pop_if_empty()
            .extend(local.api_prefix.split('/').filter(|part| !part.is_empty()))
            .push("dead-letters");
        // A proxy's request does not count as one of this machine; the login goes to nobody else.
        let builder = Client::builder().no_proxy().redirect(Policy::none());
        let builder = builder.connect_timeout(CONNECT).user_agent("alertloop-dead-letters");
        let client = builder.build().context("cannot prepare a connection")?;
        Ok(Self { client, base, login: local.admin.clone() })
    }

    pub(super) async fn list(&self, filter: &Filter, after: i64) -> anyhow::Result<Items> {
        let mut url = self.url("", filter);
        url.query_pairs_mut().append_pair("after", &after.to_string());
        json(self.ask(self.client.get(url)).await?).await
    }

    pub(super) async fn show(&self, id: i64) -> anyhow::Result<Option<Whole>> {
        let url = self.url(&id.to_string(), &Filter::default());
        match self.ask(self.client.get(url)).await {
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
        let mut response = self.ask(self.client.get(self.url("export", filter))).await?;
        while let Some(piece) = response.chunk().await.context("the service cut its answer off")? {
            put(out, &piece)?;
        }
        Ok(())
    }

    async fn post(&self, what: &str, selection: &Selection) -> anyhow::Result<Response> {
        let request = self.client.request(Method::POST, self.url(what, &Filter::default()));
        let request = request.header(CONTENT_TYPE, "application/json");
        self.ask(request.body(selection.json().to_string())).await
    }

    fn url(&self, path: &str, filter: &Filter) -> Url {
        let mut url = self.base.clone();
        if let (false, Ok(mut segments)) = (path.is_empty(), url.path_segments_mut()) {
            segments.push(path);
        }
        for (name, value) in [("reason", &filter.reason), ("source", &filter.source)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }

    /// Sends a request and gives the answer, which is a good one.
    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        good(self.send(request).await?).await
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.login {
            Some(login) => request.basic_auth(&login.user, Some(login.password.expose())),
            None => request,
        };
        let address = self.base.origin().ascii_serialization();
        request.send().await.map_err(|fault| {
            anyhow!(innermost(&fault)).context(format!(
                "the service does not answer at {address}; name its address with --url or ALERTLOOP_LISTEN"
            ))
        })
    }
}

/// An answer of 200; else what the service says is wrong.
async fn good(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "the service wants the login of its API: set ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD to it"
        );
    }
    let body = response.bytes().await.unwrap_or_default();
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    match json.as_ref().and_then(|json| json["error"].as_str()) {
        Some(said) => bail!("the service answered {}: {said}", status.as_u16()),
        None => bail!(
            "answered {}, and not by an alertloop; look at --url, ALERTLOOP_LISTEN and MALCOLM_API_PREFIX",
            status.as_u16()
        ),
    }
}

async fn json<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let body = response.bytes().await.context("the service cut its answer off")?;
    serde_json::from_slice(&body)
        .context("cannot read the service's answer; is it an alertloop of this version?")
}

/// The last cause of an error: the outer ones repeat the whole address.
fn innermost(fault: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
