//! The store's REST API: TLS, login, time limits and one error type. The only user of the
//! `opensearch` crate, whose own credentials type prints its password and which has no time limit
//! of its own.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use opensearch::{
    auth::{ClientCertificate, Credentials},
    cert::{Certificate, CertificateValidation},
    http::{
        Method,
        headers::{CONTENT_TYPE, HeaderMap, HeaderValue},
        transport::{SingleNodeConnectionPool, Transport, TransportBuilder},
    },
};
use serde_json::Value;
use url::Url;

use crate::secrets::Login;

pub mod acknowledging;
pub mod alert_search;
pub mod alerting;
pub mod alerts;
pub mod bulk;
pub mod cluster;
pub mod guarded;
pub mod jobs;
pub mod notifications;
pub mod records;
pub mod rules;
pub mod scripts;
pub mod searching;
pub mod secure_settings;
pub mod security;
pub mod sending;
pub mod templates;

/// How much of an error's body is kept for a message, in bytes.
const REASON_LIMIT: usize = 2_048;

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
}

/// A client certificate and its key, as PEM; never printed.
#[derive(Clone)]
pub struct Identity(pub Vec<u8>);

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
    /// An answer that is not 2xx.
    #[error("the store answered {status}: {reason}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The store's own reason, cut to some KiB.
        reason: String,
    },
    /// A 2xx whose body is not what the API promises.
    #[error("the store's answer cannot be read: {0}")]
    Malformed(String),
}

impl Error {
    /// An answer that is not 2xx, with its body.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        Self::Status { status, reason: reason_of(body) }
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unreachable(_) | Self::Untrusted { .. } | Self::Malformed(_) => None,
        }
    }

    /// Whether the thing asked for is not there (404).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
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
    transport: Transport,
    timeout: Duration,
    address: String,
}

impl Client {
    /// Prepares a client; opens no connection.
    ///
    /// # Errors
    /// When a certificate or key is not PEM, or TLS cannot be set up.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut builder =
            TransportBuilder::new(SingleNodeConnectionPool::new(settings.url.clone()))
                .timeout(settings.timeout)
                .disable_proxy();
        // The crate takes one kind of credentials: a client certificate goes before a login.
        if let Some(Identity(pem)) = &settings.identity {
            let pem = ClientCertificate::Pem(pem.clone());
            builder = builder.auth(Credentials::Certificate(pem));
        } else if let Some(login) = &settings.login {
            let password = login.password.expose().to_owned();
            builder = builder.auth(Credentials::Basic(login.user.clone(), password));
        }
        if !settings.verify {
            builder = builder.cert_validation(CertificateValidation::None);
        } else if let Some(pem) = &settings.ca {
            let ca = Certificate::from_pem(pem).context("the CA file holds no PEM certificate")?;
            builder = builder.cert_validation(CertificateValidation::Full(ca));
        }
        let transport = builder.build().context("cannot prepare the connection to the store")?;
        Ok(Self { transport, timeout: settings.timeout, address: settings.url.to_string() })
    }

    /// The same client with another limit of one call.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The base address, for people; there is no login in it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
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
        serde_json::from_slice(&answer).map_err(|fault| Error::Malformed(fault.to_string()))
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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let no_query: Option<&()> = None;
        let response = self
            .transport
            .send(method, path, headers, no_query, body, Some(self.timeout))
            .await
            .map_err(|fault| unanswered(innermost(&fault)))?;
        let status = response.status_code().as_u16();
        let bytes =
            response.bytes().await.map_err(|fault| Error::Unreachable(innermost(&fault)))?;
        Ok((status, bytes))
    }
}

/// The last cause of an error: the outer ones repeat the whole address.
fn innermost(fault: &opensearch::Error) -> String {
    if fault.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn std::error::Error = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Names the setting that mends a certificate that is not trusted: the TLS library does not know it.
fn unanswered(cause: String) -> Error {
    let Some(why) = cause.strip_prefix("invalid peer certificate: ") else {
        return Error::Unreachable(cause);
    };
    let mend = if why.contains("NotValidForName") || why.contains("not valid for name") {
        "correct OPENSEARCH_URL, which must be a name in the certificate"
    } else if why.contains("xpired") {
        "the store needs a new one"
    } else {
        "name the PEM file of its CA in ALERTLOOP_OPENSEARCH_CA"
    };
    Error::Untrusted { why: why.to_owned(), mend }
}

/// The store's own words in an error body, else the start of the body.
fn reason_of(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let reason = json.as_ref().and_then(|json| {
        let error = json.get("error")?;
        let reason = error.get("reason").unwrap_or(error);
        reason.as_str().map(str::to_owned)
    });
    let text = reason.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    let end = text.floor_char_boundary(REASON_LIMIT);
    text[..end].to_owned()
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
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_stores_own() {
        for (body, want) in [
            (r#"{"error":{"type":"x","reason":"no such index"},"status":404}"#, "no such index"),
            (r#"{"error":"plain text"}"#, "plain text"),
            ("<html>bad gateway</html>\n", "<html>bad gateway</html>"),
            ("", ""),
        ] {
            assert_eq!(reason_of(body.as_bytes()), want);
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_names_the_setting_that_mends_it() {
        for (cause, want) in [
            ("invalid peer certificate: UnknownIssuer", "ALERTLOOP_OPENSEARCH_CA"),
            ("invalid peer certificate: certificate not valid for name \"x\"", "OPENSEARCH_URL"),
            ("invalid peer certificate: certificate expired: verification…", "a new one"),
            ("Connection refused (os error 111)", "refused"),
        ] {
            let fault = unanswered(cause.to_owned());
            assert!(fault.to_string().contains(want), "{fault}");
            assert_eq!(matches!(fault, Error::Unreachable(_)), want == "refused");
        }
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(segment("arkime_sessions3-*"), "arkime_sessions3-*");
    }
}
