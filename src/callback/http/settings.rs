//! What a `[[callback]]` of type `http` says.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use url::Url;

use super::{Http, Parts, headers};
use crate::{
    callback::{
        body::{Body, Payload},
        settings::{Ground, Secret, Span, shown},
        template::{Escape, Template},
    },
    secrets::{CallbackSecret, mask::Mask},
};

/// The header of the signature, where none is named.
const SIGNATURE: &str = "x-alertloop-signature";
/// A part of a secret address may be a secret by itself from this length on, in bytes.
const LONG_PART: usize = 8;

/// The keys of this type, as the file has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    url: Option<CallbackSecret>,
    url_file: Option<String>,
    url_env: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, CallbackSecret>,
    content_type: Option<String>,
    user: Option<String>,
    password: Option<CallbackSecret>,
    password_file: Option<String>,
    password_env: Option<String>,
    bearer: Option<CallbackSecret>,
    bearer_file: Option<String>,
    bearer_env: Option<String>,
    signature_key: Option<CallbackSecret>,
    signature_key_file: Option<String>,
    signature_key_env: Option<String>,
    signature_header: Option<String>,
    #[serde(default = "usual_timeout")]
    timeout: Span,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    #[serde(default)]
    insecure: bool,
    proxy: Option<CallbackSecret>,
    payload: Option<Payload>,
    shared_secret: Option<CallbackSecret>,
    shared_secret_file: Option<String>,
    shared_secret_env: Option<String>,
    body: Option<String>,
}

fn usual_timeout() -> Span {
    Span(std::time::Duration::from_secs(10))
}

impl Settings {
    /// Checks them.
    ///
    /// # Errors
    /// Everything that is wrong, by key and never by value.
    pub fn build(self, ground: &Ground) -> Result<Http, Vec<String>> {
        let mut faults = Vec::new();
        let mut secret = |name: &'static str, plain, file, variable| {
            let secret = Secret { name, plain, file, variable };
            ground.secret(secret).unwrap_or_else(|fault| {
                faults.push(fault);
                None
            })
        };
        let url_is_secret = self.url.is_none();
        let url = secret("url", self.url, self.url_file, self.url_env);
        let password = secret("password", self.password, self.password_file, self.password_env);
        let bearer = secret("bearer", self.bearer, self.bearer_file, self.bearer_env);
        let key = secret(
            "signature_key",
            self.signature_key,
            self.signature_key_file,
            self.signature_key_env,
        );
        let shared = secret(
            "shared_secret",
            self.shared_secret,
            self.shared_secret_file,
            self.shared_secret_env,
        );
        let mut note = |fault: &str| faults.push(fault.to_owned());
        let mut mask = mask_of([&password, &bearer, &key, &shared]);
        let url = url.as_ref().map(|url| address(url.expose()));
        let url = match url {
            None => {
                note("url: is required; or url_file, or url_env");
                None
            }
            Some(Err(fault)) => {
                note(fault);
                None
            }
            Some(Ok(url)) => Some(url),
        };
        let method = self.method.as_deref().unwrap_or("POST").parse::<Method>();
        let method = method
            .ok()
            .filter(|method| [Method::POST, Method::PUT, Method::PATCH].contains(method));
        if method.is_none() {
            note("method: must be POST, PUT or PATCH");
        }
        let mut all = headers(&self.headers).unwrap_or_else(|fault| {
            note(&fault);
            HeaderMap::new()
        });
        if let Some(kind) = self.content_type {
            match HeaderValue::from_str(&kind) {
                Ok(kind) => drop(all.insert(CONTENT_TYPE, kind)),
                Err(_) => note("content_type: is not the name of a type, like application/json"),
            }
        }
        let login = url.as_ref().and_then(|(_, login)| login.clone());
        add_login((self.user, password, bearer), login, &mut all, &mut note);
        let signature = signature(key, self.signature_header.as_deref(), &mut note);
        if self.cert.is_some() != self.key.is_some() {
            note("cert and key: each needs the other");
        }
        let mut pem = |name: &str, path: Option<String>| {
            ground.file(name, path).unwrap_or_else(|fault| {
                note(&fault);
                None
            })
        };
        let ca = pem("ca", self.ca);
        let identity = pem("cert", self.cert).zip(pem("key", self.key));
        let identity =
            identity.map(|(cert, key)| [cert.as_slice(), b"\n", key.as_slice()].concat());
        let body = body(self.payload, self.body.as_deref(), all.get(CONTENT_TYPE), &mut note);
        let body = with_shared_secret(body, shared, &mut note);
        let (Some((url, _)), Some(method), Some(body), true) =
            (url, method, body, faults.is_empty())
        else {
            return Err(faults);
        };
        mask_address(&url, url_is_secret, &mut mask);
        for (name, value) in &all {
            if let Ok(value) = str::from_utf8(value.as_bytes())
                && shown::hides_value(name.as_str(), value)
            {
                mask.add_header(value);
            }
        }
        let parts = Parts {
            mask,
            url,
            method,
            headers: all,
            signature,
            body,
            timeout: self.timeout.0,
            ca,
            identity,
            insecure: self.insecure,
            proxy: self.proxy,
        };
        Http::new(parts).map_err(|fault| vec![fault])
    }
}

fn mask_of(secrets: [&Option<CallbackSecret>; 4]) -> Mask {
    let mut mask = Mask::default();
    for secret in secrets.into_iter().flatten() {
        mask.add(secret.expose());
    }
    mask
}

/// Hides what an address has of secrets: the values of its query, and its path where that is not
/// shown either.
fn mask_address(url: &Url, is_secret: bool, mask: &mut Mask) {
    for (_, value) in url.query_pairs() {
        mask.add(&value);
    }
    // Escaped too, as it is sent.
    for part in url.query().into_iter().flat_map(|query| query.split('&')) {
        mask.add(part.split_once('=').map_or(part, |(_, value)| value));
    }
    if is_secret {
        mask.add(url.path());
        let parts = url.path_segments().into_iter().flatten();
        // What names a kind of thing is short; what nobody shall guess is not.
        parts.filter(|part| part.len() >= LONG_PART).for_each(|part| mask.add(part));
    }
}

/// Adds the login to the headers; there may be one.
fn add_login(
    (user, password, bearer): (Option<String>, Option<CallbackSecret>, Option<CallbackSecret>),
    in_url: Option<String>,
    headers: &mut HeaderMap,
    note: &mut impl FnMut(&str),
) {
    let own = match (user, password) {
        (Some(user), Some(password)) => Some(basic(&user, password.expose())),
        (Some(_), None) => {
            note("user: needs password, password_file or password_env too");
            None
        }
        (None, Some(_)) => {
            note("password: needs user too");
            None
        }
        (None, None) => None,
    };
    let bearer = bearer.map(|token| format!("Bearer {}", token.expose()));
    let given = usize::from(headers.contains_key(AUTHORIZATION));
    let logins: Vec<String> = [own, bearer, in_url].into_iter().flatten().collect();
    if logins.len() + given > 1 {
        note(
            "there is more than one login: keep one of user, bearer, the one in url, and the header Authorization",
        );
    }
    for login in logins {
        match HeaderValue::from_str(&login) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            Err(_) => note("the login holds characters that a header cannot have"),
        }
    }
}

/// What makes the body: one of ours, or a template, whose values stay values in what it writes.
fn body(
    payload: Option<Payload>,
    template: Option<&str>,
    content_type: Option<&HeaderValue>,
    note: &mut impl FnMut(&str),
) -> Option<Body> {
    let Some(template) = template else {
        return Some(Body::Payload(payload.unwrap_or_default()));
    };
    if payload.is_some() {
        note("body: is given beside payload; keep one of them");
    }
    let kind = content_type.map_or("json", |kind| kind.to_str().unwrap_or_default());
    let escape = match kind {
        kind if kind.contains("json") => Escape::Json,
        kind if kind.contains("html") || kind.contains("xml") => Escape::Html,
        _ => Escape::None,
    };
    match Template::compile(template, escape) {
        Ok(template) => Some(Body::Template(template)),
        Err(fault) => {
            note(&format!("body: {fault}"));
            None
        }
    }
}

/// ntopng's webhook carries its secret in its body.
fn with_shared_secret(
    body: Option<Body>,
    shared: Option<CallbackSecret>,
    note: &mut impl FnMut(&str),
) -> Option<Body> {
    match body {
        Some(Body::Payload(Payload::Ntopng)) => Some(Body::Ntopng(shared)),
        body => {
            if shared.is_some() {
                note("shared_secret: is ntopng's; it needs payload = \"ntopng\"");
            }
            body
        }
    }
}

/// Header and key of the signature, where there is a key.
fn signature(
    key: Option<CallbackSecret>,
    header: Option<&str>,
    note: &mut impl FnMut(&str),
) -> Option<(HeaderName, CallbackSecret)> {
    let name = HeaderName::from_bytes(header.unwrap_or(SIGNATURE).as_bytes());
    match (key, name) {
        (Some(key), Ok(name)) => Some((name, key)),
        (_, Err(_)) => {
            note("signature_header: is not a name that a header can have");
            None
        }
        (None, Ok(_)) => {
            if header.is_some() {
                note("signature_header: needs signature_key too");
            }
            None
        }
    }
}

/// An address without its login, and that as a header.
fn address(text: &str) -> Result<(Url, Option<String>), &'static str> {
    let bad = "url: is not an http:// or https:// address";
    let mut url = Url::parse(text.trim()).map_err(|_| bad)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad);
    }
    let plain = |text: &str| percent_decoded(text).ok_or("url: its login is not UTF-8 text");
    let user = plain(url.username())?;
    let password = url.password().map(plain).transpose()?;
    let login = (!user.is_empty() || password.is_some())
        .then(|| basic(&user, password.as_deref().unwrap_or_default()));
    // Both cannot fail for an address with a host.
    url.set_username("").ok();
    url.set_password(None).ok();
    Ok((url, login))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_the_address_becomes_a_header() {
        let (url, login) = address("https://ops:p%40ss@example.org/hook?x=1").unwrap();
        assert_eq!(url.as_str(), "https://example.org/hook?x=1");
        assert_eq!(login.as_deref(), Some("Basic b3BzOnBAc3M="));
        assert_eq!(address("http://example.org").unwrap().1, None);
        for bad in ["", "example.org", "ftp://example.org", "file:///etc/passwd", "http://"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    /// The other side's answer: the request that came to it, as some services do when they refuse it.
    async fn echoed(text: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let serving = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"}") {
                let length = peer.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..length]);
            }
            let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
            let head = &request[..head];
            let status = format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\n\r\n", head.len());
            peer.write_all(&[status.as_bytes(), head].concat()).await.unwrap();
        };
        let settings: Settings = toml::from_str(&text.replace("HERE", &own)).unwrap();
        let secret = format!("http://{own}/services/T0/hunter2-in-path?k=hunter2-in-query");
        let ground = Ground {
            read_file: &|_| Err(std::io::ErrorKind::NotFound.into()),
            variable: &|_| Some(secret.clone()),
        };
        let http = settings.build(&ground).unwrap();
        let sample = crate::callback::sample::sample();
        let (answered, ()) = tokio::join!(http.run(&sample), serving);
        assert_eq!(answered.ran.status, Some(400));
        answered.ran.answer
    }

    #[tokio::test]
    async fn an_answer_that_repeats_the_request_shows_no_secret() {
        for text in [
            "url = 'http://HERE/hook?token=hunter2-a%2Bb'\nbearer = 'hunter2-bearer'",
            "url = 'http://ops:hunter2@HERE/hook'\nheaders = {X-Api-Key = 'hunter2-key'}",
            "url = 'http://HERE/hook'\nuser = 'ops'\npassword = 'hunter2'",
            "url_env = 'HOOK'\nheaders = {Authorization = 'Token hunter2'}",
        ] {
            let answer = echoed(text).await;
            assert!(answer.starts_with("POST ") && answer.contains("***"), "{answer}");
            assert!(answer.contains("application/json"), "the rest stays: {answer}");
            let login = BASE64_STANDARD.encode("ops:hunter2");
            assert!(!answer.contains("hunter2") && !answer.contains(&login), "{answer}");
        }
    }
}
