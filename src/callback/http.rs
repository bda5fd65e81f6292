//! A callback that sends a request. A 2xx has taken the alert; what may pass (no connection, 408,
//! 425, 429, 5xx) is tried again, not before `Retry-After`; any other answer refuses it. Redirects
//! are not followed: a POST would become a GET.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use url::Url;

use super::{Notice, Outcome, Ran, body::Body, how::Answered};
use crate::{
    clock,
    secrets::{CallbackSecret, mask::Mask},
};

pub mod settings;

/// How much of an answer is kept, in bytes.
const ANSWER: usize = 2_048;
/// No body is larger: what is sent at once has to fit into memory, for all callbacks.
const LARGEST_BODY: usize = 2 << 20;
/// The longest `Retry-After` that is believed.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// A request that is ready but for its body.
#[derive(Clone)]
pub struct Http {
    client: Client,
    url: Url,
    method: Method,
    headers: HeaderMap,
    signature: Option<Signature>,
    body: Body,
    mask: Mask,
    /// Limit of one request, from connecting to the end of the answer.
    pub timeout: Duration,
}

/// Signs a body, so that the other side knows that it is ours, and when it was sent.
#[derive(Clone)]
struct Signature {
    header: HeaderName,
    key: CallbackSecret,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address and the headers may hold secrets.
        f.debug_struct("Http").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The parts of a request that the settings tell, checked.
pub struct Parts {
    /// The address, without a login in it.
    pub url: Url,
    /// The method.
    pub method: Method,
    /// Headers, logins among them.
    pub headers: HeaderMap,
    /// Header and key of the signature.
    pub signature: Option<(HeaderName, CallbackSecret)>,
    /// What makes the body.
    pub body: Body,
    /// What no answer may show.
    pub mask: Mask,
    /// Limit of one request.
    pub timeout: Duration,
    /// PEM certificates that are trusted besides the system's own.
    pub ca: Option<Vec<u8>>,
    /// PEM client certificate and key.
    pub identity: Option<Vec<u8>>,
    /// Whether the other side's certificate is not checked.
    pub insecure: bool,
    /// A proxy, with its login.
    pub proxy: Option<CallbackSecret>,
}

impl Http {
    /// Prepares it; opens no connection.
    ///
    /// # Errors
    /// What cannot be used, without a secret in it.
    pub fn new(parts: Parts) -> Result<Self, String> {
        let mut client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(parts.timeout))
            .timeout(parts.timeout)
            .user_agent(concat!("alertloop/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(parts.insecure);
        if let Some(ca) = parts.ca {
            let bad = "ca: the file holds no PEM certificate that can be used";
            let certificates = reqwest::Certificate::from_pem_bundle(&ca).map_err(|_| bad)?;
            client = client.tls_certs_merge(certificates);
        }
        if let Some(identity) = parts.identity {
            let bad = "cert and key: they are no PEM certificate and key that can be used";
            client = client.identity(reqwest::Identity::from_pem(&identity).map_err(|_| bad)?);
        }
        if let Some(proxy) = parts.proxy {
            let proxy = reqwest::Proxy::all(proxy.expose());
            client = client.proxy(proxy.map_err(|_| "proxy: is not an http:// address")?);
        }
        let client = client.build().map_err(|_| "the TLS options do not fit together")?;
        let signature = parts.signature.map(|(header, key)| Signature { header, key });
        let Parts { url, method, headers, body, mask, timeout, .. } = parts;
        Ok(Self { client, url, method, headers, signature, body, mask, timeout })
    }

    /// The body for an alert, as people may see it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        self.body.render(notice)
    }

    /// Sends it.
    pub async fn run(&self, notice: &Notice) -> Answered {
        let body = match self.body.to_send(notice) {
            Ok(body) if body.len() > LARGEST_BODY => {
                let why = format!(
                    "the body has {} bytes, over the limit of {LARGEST_BODY}; send less of the alert with a template",
                    body.len()
                );
                return refused(why).into();
            }
            Ok(body) => body,
            Err(why) => return refused(format!("the body cannot be made: {why}")).into(),
        };
        let mut request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone());
        if let Some(Signature { header, key }) = &self.signature {
            request = request.header(header, sign(key, &body, clock::now()));
        }
        match request.body(body).send().await {
            Ok(response) => read(response, &self.mask).await,
            Err(fault) => again(cause(&fault), None).into(),
        }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`. The time is signed too, so that the other side
/// can refuse what somebody sends once more.
fn sign(key: &CallbackSecret, body: &str, now: Timestamp) -> String {
    let seconds = now.as_second();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let mut text = format!("t={seconds},v1=");
    for byte in tag.as_ref() {
        // Writing to a `String` cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

async fn read(mut response: Response, mask: &Mask) -> Answered {
    let status = response.status();
    let after = retry_after(response.headers(), clock::now());
    let mut answer = Vec::new();
    let mut broken = None;
    // It is only for people: what does not fit is not waited for.
    while answer.len() < ANSWER {
        match response.chunk().await {
            Ok(Some(piece)) => answer.extend_from_slice(&piece),
            Ok(None) => break,
            Err(fault) => {
                broken = Some(cause(&fault));
                break;
            }
        }
    }
    let is_cut = answer.len() >= ANSWER || broken.is_some();
    answer.truncate(ANSWER);
    let answer = mask.apply(String::from_utf8_lossy(&answer).into_owned(), is_cut);
    let outcome = outcome_of(status);
    let after = after.filter(|_| matches!(outcome, Outcome::Again(_)));
    let answer = match broken {
        Some(why) if answer.is_empty() => format!("the answer was cut off: {why}"),
        _ => answer,
    };
    Answered { ran: Ran { outcome, status: Some(i32::from(status.as_u16())), answer }, after }
}

fn outcome_of(status: StatusCode) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Delivered,
        408 | 425 | 429 | 500..=599 => Outcome::Again(format!("answered {status}")),
        300..=399 => Outcome::Refused(format!("answered {status}, and redirects are not followed")),
        _ => Outcome::Refused(format!("answered {status}")),
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).ok()?
    };
    Some(wait.min(LONGEST_WAIT))
}

fn refused(why: String) -> Ran {
    Ran { outcome: Outcome::Refused(why), status: None, answer: String::new() }
}

fn again(why: String, status: Option<i32>) -> Ran {
    Ran { outcome: Outcome::Again(why), status, answer: String::new() }
}

/// The last cause of an error: the outer ones repeat the address, which may hold a secret.
fn cause(fault: &reqwest::Error) -> String {
    if fault.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let what = if fault.is_connect() { "cannot connect" } else { "no answer" };
    format!("{what}: {cause}")
}

/// Headers as the configuration names them.
///
/// # Errors
/// The name of the header that cannot be sent, without its value.
pub fn headers(given: &BTreeMap<String, CallbackSecret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = |what: &str| format!("headers: {name} {what}");
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad("is not a name that a header can have"))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| bad("has a value that a header cannot have"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        for (status, want) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "refused"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (408, "again"),
            (413, "refused"),
            (425, "again"),
            (429, "again"),
            (500, "again"),
            (503, "again"),
        ] {
            let told = match outcome_of(StatusCode::from_u16(status).unwrap()) {
                Outcome::Delivered => "delivered",
                Outcome::Again(_) => "again",
                Outcome::Refused(_) => "refused",
            };
            assert_eq!(told, want, "{status}");
        }
    }

    #[test]
    fn the_other_side_says_when_to_come_again() {
        let now: Timestamp = "2026-11-21T22:00:00Z".parse().unwrap();
        for (text, want) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("999999", Some(3_600)),
            ("Sat, 21 Nov 2026 22:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 21:00:30 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs()), want, "{text}");
        }
    }

    /// By `printf '1.what do ya…' | openssl dgst -sha256 -hmac Jefe`.
    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        let key = CallbackSecret::from("Jefe".to_owned());
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = sign(&key, "what do ya want for nothing?", at(1));
        let want = "a9049465ce89cfb8e9aac62333abda66f80e3403f51f57f6bae3c3a4485eca38";
        assert_eq!(first, format!("t=1,v1={want}"));
        assert_ne!(first[7..], sign(&key, "what do ya want for nothing?", at(2))[7..]);
        assert_ne!(first, sign(&key, "what do ya want for nothing", at(1)));
        assert_ne!(
            first,
            sign(&CallbackSecret::from("Jeff".to_owned()), "what do ya want for nothing?", at(1))
        );
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_told_without_its_value() {
        let of = |name: &str, value: &str| {
            let value = CallbackSecret::from(value.to_owned());
            headers(&BTreeMap::from([(name.to_owned(), value)]))
        };
        assert_eq!(of("X-A", "b").unwrap().len(), 2, "and the type of the body");
        assert_eq!(of("content-type", "text/plain").unwrap()[CONTENT_TYPE], "text/plain");
        for (name, value) in [("a b", "hunter2"), ("X-A", "hunter2\n")] {
            let fault = of(name, value).unwrap_err();
            assert!(fault.contains(name) && !fault.contains("hunter2"), "{fault}");
        }
    }
}
