//! A running service, asked through its JSON API.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE, redirect::Policy,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::{secrets::Login, tls};

/// How long it may take to connect. There is no other limit: a replay of many takes its time.
const CONNECT: Duration = Duration::from_secs(5);

/// A service and the login for it.
pub(super) struct Service {
    client: Client,
    /// Up to the first part of the routes.
    base: Url,
    login: Option<Login>,
}

impl Service {
    /// The service at `url`, whose routes begin with `prefix`; nothing is asked yet.
    pub(super) fn new(url: &Url, prefix: &str, login: Option<Login>) -> anyhow::Result<Self> {
        let mut base = url.clone();
        base.set_query(None);
        base.set_fragment(None);
        base.path_segments_mut()
            .ok()
            .filter(|_| matches!(url.scheme(), "http" | "https"))
            .context("only an http:// or https:// address can be asked")?
            .pop_if_empty()
            .extend(prefix.split('/').filter(|part| !part.is_empty()));
        // A proxy's request does not count as one of this machine; the login goes to nobody else.
        let builder = Client::builder().no_proxy().redirect(Policy::none());
        let builder = builder.connect_timeout(CONNECT).user_agent("alertloop");
        let builder = tls::trusting_this_machine(builder, url);
        let client = builder.build().context("cannot prepare a connection")?;
        Ok(Self { client, base, login })
    }

    /// The address of a route, by its parts.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        url
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn post(&self, url: Url, json: &Value) -> RequestBuilder {
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json");
        request.body(json.to_string())
    }

    /// Sends a request and gives the answer, which is a good one.
    pub(super) async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = self.send(request).await.map_err(|fault| self.silent(&fault))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        bail!(refused(status, &body))
    }

    /// Sends a request and gives whatever is answered.
    pub(super) async fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let request = match &self.login {
            Some(login) => request.basic_auth(&login.user, Some(login.password.expose())),
            None => request,
        };
        request.send().await
    }

    /// Nobody answers.
    pub(super) fn silent(&self, fault: &reqwest::Error) -> anyhow::Error {
        let address = self.base.origin().ascii_serialization();
        anyhow!(innermost(fault)).context(format!(
            "the service does not answer at {address}; name its address with --url or ALERTLOOP_LISTEN"
        ))
    }
}

/// What the service says is wrong.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> String {
    if status == StatusCode::UNAUTHORIZED {
        return "the service wants the login of its API: set ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD to it".to_owned();
    }
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let status = status.as_u16();
    match json.as_ref().and_then(|json| json["error"].as_str()) {
        Some(said) => format!("the service answered {status}: {said}"),
        None => format!(
            "answered {status}, and not by an alertloop; look at --url, ALERTLOOP_LISTEN and MALCOLM_API_PREFIX"
        ),
    }
}

pub(super) async fn json<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let body = response.bytes().await.context("the service cut its answer off")?;
    serde_json::from_slice(&body)
        .context("cannot read the service's answer; is it an alertloop of this version?")
}

/// The last cause of an error: the outer ones repeat the whole address.
pub(super) fn innermost(fault: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
