//! Who may post alerts, and who may read.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{PoisonError, RwLock},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::caller::{Caller, Role};
use crate::secrets::{Login, WebhookToken};

/// The header that our channel carries the secret in.
pub const TOKEN_HEADER: &str = "x-alertloop-token";
/// The query parameter for senders that can only set a URL, where no other is configured.
pub const TOKEN_PARAMETER: &str = "token";

/// The secrets that admit, and what is open.
pub struct Access {
    tokens: RwLock<Vec<WebhookToken>>,
    parameter: String,
    open: bool,
    admin: Option<Login>,
}

impl Access {
    /// `tokens` admit to the intake, all the same; with `open` it needs none. `admin` is the login
    /// of the API.
    #[must_use]
    pub fn new(tokens: Vec<WebhookToken>, open: bool, admin: Option<Login>) -> Self {
        Self { tokens: RwLock::new(tokens), parameter: TOKEN_PARAMETER.to_owned(), open, admin }
    }

    /// With this query parameter in place of the usual one.
    #[must_use]
    pub fn with_parameter(self, parameter: String) -> Self {
        Self { parameter, ..self }
    }

    /// Admits one more secret; tells whether it is a new one.
    pub fn admit(&self, token: WebhookToken) -> bool {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !tokens.iter().any(|known| known.is(&token));
        if is_new {
            tokens.push(token);
        }
        is_new
    }

    /// Whether a request may post alerts: one valid secret admits, wherever it stands.
    #[must_use]
    pub fn may_post(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        self.open || self.token_of(headers, query).is_some()
    }

    /// Who asks for the page or the API; `None` for nobody who may.
    ///
    /// Without a login, only this machine may; a request that came through a proxy did not come
    /// from this machine. Nor may a web page whose name was made to lead here (DNS rebinding).
    #[must_use]
    pub fn caller(&self, headers: &HeaderMap, peer: SocketAddr) -> Option<Caller> {
        let name = match &self.admin {
            Some(admin) => {
                let (user, password) = basic(headers)?;
                (user == admin.user && admin.password.admits(&password)).then_some(Some(user))
            }
            None => (is_loopback(peer.ip()) && !is_proxied(headers) && is_meant_for_here(headers))
                .then_some(None),
        };
        name.map(|name| Caller { name, role: Role::Admin })
    }

    /// Whether there is a login to ask for.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether a request may read the metrics: who may post or read may.
    #[must_use]
    pub fn may_watch(&self, headers: &HeaderMap, query: Option<&str>, peer: SocketAddr) -> bool {
        self.may_post(headers, query) || self.caller(headers, peer).is_some()
    }

    /// Whether a secret admits that stood somewhere else than in headers and query.
    #[must_use]
    pub fn admits(&self, given: &WebhookToken) -> bool {
        self.known(given.expose().as_bytes()).is_some()
    }

    /// All are compared, so that the time does not tell which one fits.
    fn known(&self, given: &[u8]) -> Option<WebhookToken> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |so_far, token: &WebhookToken| {
            if token.admits(given) { Some(token.clone()) } else { so_far }
        };
        tokens.iter().fold(None, fits)
    }

    /// The secret that a request presents, if it is one that admits, wherever it stands.
    #[must_use]
    pub fn token_of(&self, headers: &HeaderMap, query: Option<&str>) -> Option<WebhookToken> {
        let known = |given: &[u8]| self.known(given);
        let own = headers.get_all(TOKEN_HEADER).iter().find_map(|value| known(value.as_bytes()));
        let bearer = || {
            let mut values = headers.get_all(header::AUTHORIZATION).iter();
            values.find_map(|value| known(scheme(value.as_bytes(), "bearer")?))
        };
        let password = || known(&basic(headers)?.1);
        let parameter = || {
            url::form_urlencoded::parse(query?.as_bytes())
                .filter(|(name, _)| *name == self.parameter)
                .find_map(|(_, value)| known(value.as_bytes()))
        };
        own.or_else(bearer).or_else(password).or_else(parameter)
    }
}

/// The credentials after `name` in an `Authorization` value.
fn scheme<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (scheme, rest) = value.split_at_checked(name.len())?;
    let rest = scheme.eq_ignore_ascii_case(name.as_bytes()).then_some(rest)?;
    rest.first().is_some_and(|byte| *byte == b' ').then(|| rest.trim_ascii())
}

/// User and password of a Basic login.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let encoded = scheme(headers.get(header::AUTHORIZATION)?.as_bytes(), "basic")?;
    let decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether `Host` is an address or `localhost`: a name is somebody else's.
fn is_meant_for_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = host.parse::<SocketAddr>().map(|address| address.ip().to_string());
    let name = name.as_deref().unwrap_or_else(|_| host.split(':').next().unwrap_or_default());
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || host.starts_with('[')
}

fn is_proxied(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn access(admin: bool) -> Access {
        let admin =
            admin.then(|| Login { user: "ops".to_owned(), password: "p:w".to_owned().into() });
        Access::new(vec![TOKEN.parse().unwrap()], false, admin)
    }

    #[test]
    fn one_valid_secret_admits_wherever_it_stands() {
        let access = access(false);
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("any:{TOKEN}")));
        let bearer = format!("bearer  {TOKEN}");
        for (given, query, want) in [
            (vec![("X-Alertloop-Token", TOKEN)], None, true),
            (vec![("Authorization", bearer.as_str())], None, true),
            (vec![("Authorization", basic.as_str())], None, true),
            (vec![], Some("a=b&token=0123456789abcdef"), true),
            (vec![("X-Alertloop-Token", "wrong"), ("Authorization", bearer.as_str())], None, true),
            (vec![], None, false),
            (vec![], Some("token="), false),
            (vec![("X-Alertloop-Token", "")], None, false),
            (vec![("Authorization", TOKEN)], None, false),
            (vec![("Authorization", "Bearer")], None, false),
            (vec![("Authorization", "Basic !!")], None, false),
        ] {
            assert_eq!(access.may_post(&headers(&given), query), want, "{given:?} {query:?}");
            let token = access.token_of(&headers(&given), query);
            assert_eq!(token.is_some_and(|token| token.expose() == TOKEN), want, "{given:?}");
        }
        // Whoever needs no secret has shown none.
        let open = Access::new(vec![TOKEN.parse().unwrap()], true, None);
        assert!(open.token_of(&headers(&[(TOKEN_HEADER, "wrong-but-admitted")]), None).is_none());
        assert!(Access::new(vec![], true, None).may_post(&HeaderMap::new(), None));
        assert!(!Access::new(vec![], false, None).may_post(&HeaderMap::new(), Some("token=")));
    }

    #[test]
    fn the_query_parameter_can_have_another_name() {
        let access = access(false).with_parameter("api_key".to_owned());
        for (query, want) in [("api_key=0123456789abcdef", true), ("token=0123456789abcdef", false)]
        {
            assert_eq!(access.may_post(&HeaderMap::new(), Some(query)), want, "{query}");
        }
    }

    #[test]
    fn a_second_secret_admits_too() {
        let access = access(false);
        let next = "fedcba9876543210";
        assert!(!access.may_post(&headers(&[(TOKEN_HEADER, next)]), None));
        assert!(access.admit(next.parse().unwrap()));
        assert!(!access.admit(next.parse().unwrap()), "it is known now");
        for token in [TOKEN, next] {
            assert!(access.may_post(&headers(&[(TOKEN_HEADER, token)]), None));
        }
    }

    #[test]
    fn without_a_login_only_this_machine_may_read() {
        let (near, mapped) =
            ("127.0.0.1:9".parse().unwrap(), "[::ffff:127.0.0.1]:9".parse().unwrap());
        let far = "192.0.2.7:9".parse().unwrap();
        let none = HeaderMap::new();
        let access = access(false);
        assert!(access.caller(&none, near).is_some() && access.caller(&none, mapped).is_some());
        assert!(access.caller(&none, far).is_none());
        assert!(access.caller(&headers(&[("X-Forwarded-For", "127.0.0.1")]), near).is_none());
        for (host, want) in [
            ("127.0.0.1:5000", true),
            ("localhost", true),
            ("LocalHost:5000", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("rebound.example:5000", false),
            ("127.0.0.1.example", false),
            ("", false),
        ] {
            assert_eq!(access.caller(&headers(&[("Host", host)]), near).is_some(), want, "{host}");
        }
    }

    #[test]
    fn with_a_login_everybody_needs_it() {
        let access = access(true);
        let near = "127.0.0.1:9".parse().unwrap();
        let login = |text: &str| {
            headers(&[("Authorization", &format!("Basic {}", BASE64_STANDARD.encode(text)))])
        };
        assert!(access.caller(&login("ops:p:w"), near).is_some());
        for wrong in ["ops:p", "op:p:w", "ops:", ":p:w", ":"] {
            assert!(access.caller(&login(wrong), near).is_none(), "{wrong}");
        }
        assert!(access.caller(&HeaderMap::new(), near).is_none());
    }
}
