//! The store's REST API: TLS, login, time limits and one error type. The only user of the
//! `opensearch` crate, whose own credentials type prints its password and which has no time limit
//! of its own.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use opensearch::{
    auth::{ClientCertificate, Credentials},
    cert::{Certificate, CertificateValidation},
    http::{
        Method,
        headers::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT},
        transport::{BuildError, SingleNodeConnectionPool, Transport, TransportBuilder},
    },
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::secrets::{Login, mask::Mask};

pub mod access;
pub mod acknowledging;
pub mod alert_search;
pub mod alerting;
pub mod alerts;
pub mod builtin;
pub mod bulk;
pub mod capabilities;
pub mod cluster;
pub mod engine;
mod following;
pub mod guarded;
pub mod jobs;
pub mod notifications;
pub mod records;
mod refusals;
pub mod rules;
pub mod scripts;
pub mod searching;
pub mod secure_settings;
pub mod security;
pub mod sending;
pub mod templates;
mod tls;
pub mod words;

pub use capabilities::Capabilities;
use capabilities::Known;
use engine::Chosen;
pub use engine::Engine;
pub use following::Files;
use following::Follower;
use refusals::Refusals;

/// How much of an error's body is kept for a message, in bytes.
const REASON_LIMIT: usize = 2_048;
/// How much is told of an answer that should be JSON and is not, in bytes.
const NOT_JSON: usize = 80;

/// How to reach the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base address, without a login in it.
    pub url: Url,
    /// Basic login; `None` sends none.
    pub login: Option<Login>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// PEM certificates that are trusted besides the system's own.
    pub ca: Option<Vec<u8>>,
    /// PEM client certificate and key.
    pub identity: Option<Identity>,
    /// Limit of one call, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Who runs the monitors there.
    pub monitors: engine::Settings,
}

/// A client certificate and its key, as PEM; never printed.
#[derive(Clone)]
pub struct Identity(pub Vec<u8>);

impl Identity {
    /// Of the two files' content.
    #[must_use]
    pub fn of(mut certificate: Vec<u8>, key: &[u8]) -> Self {
        certificate.push(b'\n');
        certificate.extend_from_slice(key);
        Self(certificate)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Why a call to the store did not bring what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No answer: refused, timed out, cut off, or a TLS fault.
    #[error("no answer from the store: {0}")]
    Unreachable(String),
    /// TLS is there, and its certificate is not one that we trust.
    #[error("the store's certificate is not trusted ({why}): {mend}")]
    Untrusted {
        /// What the TLS library says.
        why: String,
        /// What to do about it, with the setting's name.
        mend: &'static str,
    },
    /// There is no TLS connection, for another reason than the store's certificate.
    #[error("no TLS connection to the store ({why}): {mend}")]
    NoTls {
        /// What the TLS library says.
        why: String,
        /// What to do about it, with the setting's name.
        mend: &'static str,
    },
    /// An answer that is not 2xx.
    #[error("the store answered {status}: {reason}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The store's own reason, cut to some KiB.
        reason: String,
    },
    /// The store has no such address: the plugin behind it is not installed.
    #[error("the store answered {status}: {reason}")]
    NoSuchApi {
        /// The HTTP status.
        status: u16,
        /// As in [`Self::Status`].
        reason: String,
    },
    /// A 2xx whose body is not what the API promises; or a 404 that is not the store's own.
    #[error("the store's answer cannot be read: {0}")]
    Malformed(String),
}

impl Error {
    /// An answer that is not 2xx, with its body.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        let json = serde_json::from_slice(body).ok();
        let reason = reason_of(json.as_ref(), body);
        match status {
            400 | 405 | 501 if is_of_no_address(status, json.as_ref()) => {
                Self::NoSuchApi { status, reason }
            }
            // A proxy whose store is away, or whose path is wrong, says 404 too. Who took that for
            // the store's would take every monitor, alert and channel for gone.
            404 if !is_of_nothing(json.as_ref()) => {
                Self::Malformed(format!("a 404 that is not the store's own: {reason}"))
            }
            _ => Self::Status { status, reason },
        }
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::NoSuchApi { status, .. } => Some(*status),
            Self::Unreachable(_)
            | Self::Untrusted { .. }
            | Self::NoTls { .. }
            | Self::Malformed(_) => None,
        }
    }

    /// Whether the thing asked for is not there (404).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the store has no such API: the plugin is not installed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NoSuchApi { .. })
    }

    /// Whether somebody was faster (409).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}

/// A client of one store. Cheap to share by reference; connections are pooled inside.
#[derive(Clone)]
pub struct Client {
    access: Arc<Access>,
    timeout: Duration,
    address: String,
    agent: Option<HeaderValue>,
    engine: Arc<Chosen>,
    known: Arc<Known>,
}

/// What all copies of a client share.
struct Access {
    door: RwLock<Arc<Door>>,
    follower: Option<Follower>,
}

/// One way in to the store.
struct Door {
    transport: Transport,
    /// Sent besides a client certificate: the store decides which of the two it goes by.
    authorization: Option<HeaderValue>,
    /// Whether there is one, or a client certificate.
    has_login: bool,
    /// Proxies before a store may repeat what we sent.
    mask: Mask,
    /// Since when the store refuses it.
    refusals: Refusals,
}

impl Door {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let mut builder =
            TransportBuilder::new(SingleNodeConnectionPool::new(settings.url.clone()))
                .timeout(settings.timeout)
                .disable_proxy();
        if let Some(Identity(pem)) = &settings.identity {
            let pem = ClientCertificate::Pem(pem.clone());
            builder = builder.auth(Credentials::Certificate(pem));
        }
        if !settings.verify {
            builder = builder.cert_validation(CertificateValidation::None);
        } else if let Some(pem) = &settings.ca {
            let ca = Certificate::from_pem(pem).context("the CA file holds no PEM certificate")?;
            builder = builder.cert_validation(CertificateValidation::Full(ca));
        }
        let transport = builder.build();
        let transport =
            transport.map_err(|fault| anyhow!(tls::unprepared(&of_building(&fault))))?;
        let authorization = settings.login.as_ref().map(basic).transpose()?;
        let mut mask = Mask::default();
        if let Some(login) = &settings.login {
            mask.add(login.password.expose());
        }
        if let Some(value) = authorization.as_ref().and_then(|value| value.to_str().ok()) {
            mask.add_header(value);
        }
        let has_login = authorization.is_some() || settings.identity.is_some();
        Ok(Self { transport, authorization, has_login, mask, refusals: Refusals::default() })
    }
}

/// The header of a Basic login, which is left out where headers are printed.
fn basic(login: &Login) -> anyhow::Result<HeaderValue> {
    let pair = format!("{}:{}", login.user, login.password.expose());
    let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut header = HeaderValue::from_str(&text).context("the login fits no header")?;
    header.set_sensitive(true);
    Ok(header)
}

impl Access {
    fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, shut_out: bool) {
        let Some(follower) = &self.follower else { return };
        follower.look(shut_out, |settings| {
            let door = Arc::new(Door::of(settings)?);
            *self.door.write().unwrap_or_else(PoisonError::into_inner) = door;
            Ok(())
        });
    }
}

impl Client {
    /// Prepares a client; opens no connection.
    ///
    /// # Errors
    /// When a certificate or key is not PEM, or TLS cannot be set up.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Self::with(settings, None)
    }

    /// The same, for a service: the files that `settings` were read from are read again when the
    /// store shuts us out, and by [`Self::follow`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn following(settings: &Settings, files: Files) -> anyhow::Result<Self> {
        Self::with(settings, Some(Follower::new(settings.clone(), files)))
    }

    fn with(settings: &Settings, follower: Option<Follower>) -> anyhow::Result<Self> {
        let door = RwLock::new(Arc::new(Door::of(settings)?));
        let access = Arc::new(Access { door, follower });
        Ok(Self {
            access,
            timeout: settings.timeout,
            address: settings.url.to_string(),
            agent: None,
            engine: Chosen::new(&settings.monitors),
            known: Arc::default(),
        })
    }

    /// Keeps up with the files of the login and the certificates, and with what the store can do, until
    /// `stop`.
    pub async fn follow(&self, stop: &CancellationToken) {
        let look = async {
            loop {
                tokio::time::sleep(following::EVERY).await;
                self.look(false).await;
                // A store that is away is told by whoever needs it.
                self.capabilities().await.ok();
            }
        };
        stop.run_until_cancelled(look).await;
    }

    async fn look(&self, shut_out: bool) {
        let access = Arc::clone(&self.access);
        // Files may be on a network. A look that panics has looked at nothing.
        tokio::task::spawn_blocking(move || access.look(shut_out)).await.ok();
    }

    /// The same client with another limit of one call.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client under the name of Dashboards, from which alone the Alerting plugin hides nothing:
    /// it leaves `ui_metadata` out for all others (seen on 3.4.0).
    #[must_use]
    pub fn as_dashboards(&self) -> Self {
        Self { agent: Some(HeaderValue::from_static("OpenSearch-Dashboards")), ..self.clone() }
    }

    /// The base address, for people; there is no login in it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a login is sent, or a client certificate shown.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.access.door().has_login
    }

    /// Sends `body` as JSON and gives the answer's JSON (`null` for an empty answer).
    ///
    /// `path` may hold a query string, and must be percent-encoded.
    ///
    /// # Errors
    /// [`Error`]: no answer, an answer other than 2xx, or one that is not JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let body = body.map(|json| Bytes::from(json.to_string()));
        let answer = self.send(method, path, "application/json", body).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|fault| {
            let start = reason_of(None, &answer[..answer.len().min(NOT_JSON)]);
            Error::Malformed(format!("{fault} in {start:?}"))
        })
    }

    /// Sends newline-delimited JSON and gives the answer's bytes.
    ///
    /// # Errors
    /// [`Error`]: no answer, or an answer other than 2xx.
    pub async fn send_ndjson(&self, path: &str, body: Bytes) -> Result<Bytes, Error> {
        self.send(Method::Post, path, "application/x-ndjson", Some(body)).await
    }

    /// Sends `body` as JSON and gives status and bytes of whatever is answered, for the few calls
    /// whose answers say more than a status and a reason.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: no answer.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Bytes), Error> {
        let body = body.map(|json| Bytes::from(json.to_string()));
        self.ask(method, path, "application/json", body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<Bytes, Error> {
        let (status, bytes) = self.ask(method, path, content_type, body).await?;
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        Err(Error::refused(status, &bytes))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), Error> {
        let door = self.access.door();
        if self.access.follower.is_none() {
            return self.ask_through(&door, method, path, content_type, body).await;
        }
        // A service asks all the time, and stores lock users out who show a wrong password too often.
        let answer = if let Some(refusal) = door.refusals.repeated(Instant::now()) {
            Ok((401, refusal))
        } else {
            let answer = self.ask_through(&door, method, path, content_type, body.clone()).await;
            door.refusals.note(&answer, Instant::now());
            answer
        };
        let is_shut =
            matches!(answer, Ok((401, _)) | Err(Error::Untrusted { .. } | Error::NoTls { .. }));
        if !is_shut {
            return answer;
        }
        self.look(true).await;
        let other = self.access.door();
        if Arc::ptr_eq(&door, &other) {
            return answer;
        }
        // The store did nothing yet: it did not let us in.
        let answer = self.ask_through(&other, method, path, content_type, body).await;
        other.refusals.note(&answer, Instant::now());
        answer
    }

    /// The one door to the store: every call of every part goes through here, and under its limit,
    /// which holds until the last byte of the answer.
    async fn ask_through(
        &self,
        door: &Door,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(agent) = &self.agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        if let Some(authorization) = &door.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let no_query: Option<&()> = None;
        let response = door
            .transport
            .send(method, path, headers, no_query, body, Some(self.timeout))
            .await
            .map_err(|fault| self.unanswered(&fault))?;
        let status = response.status_code().as_u16();
        let bytes = response.bytes().await.map_err(|fault| self.unanswered(&fault))?;
        if (200..300).contains(&status) {
            return Ok((status, bytes));
        }
        if matches!(status, 502..=504) {
            self.known.forget();
        }
        let said = String::from_utf8_lossy(&bytes).into_owned();
        Ok((status, door.mask.apply(said, false).into()))
    }

    /// Whoever answers after this may be another version than before.
    fn unanswered(&self, fault: &opensearch::Error) -> Error {
        self.known.forget();
        tls::unanswered(cause_of(fault))
    }
}

/// The last cause of why a connection cannot be prepared; its type does not lead to it.
fn of_building(fault: &BuildError) -> String {
    match fault {
        BuildError::Cert(fault) => cause_of(fault),
        BuildError::Io(fault) => fault.to_string(),
    }
}

/// The last cause of an error: the outer ones repeat the whole address.
fn cause_of(fault: &(dyn std::error::Error + 'static)) -> String {
    let of_crate = fault.downcast_ref::<opensearch::Error>();
    if of_crate.is_some_and(opensearch::Error::is_timeout) {
        return "timed out".to_owned();
    }
    let mut cause = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The store's own words in an error body, else the start of the body.
fn reason_of(json: Option<&Value>, body: &[u8]) -> String {
    let reason = json.and_then(|json| {
        let error = json.get("error")?;
        let reason = error.get("reason").unwrap_or(error);
        reason.as_str().map(str::to_owned)
    });
    let text = reason.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    let end = text.floor_char_boundary(REASON_LIMIT);
    text[..end].to_owned()
}

/// Whether an answer says that nobody knows the address. Its `error` is a text then, and an object
/// where somebody knew the address and refused (2.19.4, 3.4.0, 3.8.0, Elasticsearch 7.10.2).
fn is_of_no_address(status: u16, json: Option<&Value>) -> bool {
    status == 501 || json.is_some_and(|json| json["error"].is_string())
}

/// Whether an answer is the store's way to say that something is not there: an error, a document
/// that was not found, or, of a legacy template, `{}`.
fn is_of_nothing(json: Option<&Value>) -> bool {
    let Some(Value::Object(fields)) = json else { return false };
    fields.is_empty()
        || ["error", "found", "result", "status"].iter().any(|key| fields.contains_key(*key))
}

/// The `type` of an error's body, for the few whose status says too little: a bulk item or a document of
/// `_mget` in an index that is closed, and an index that is there already (400, as all that is wrong).
pub(crate) fn kind_of(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    json["error"]["type"].as_str().map(str::to_owned)
}

/// Percent-encodes one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~*,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                encoded.push(char::from(HEX[usize::from(digit)]));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
