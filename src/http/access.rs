//! Who may post alerts, and who may read.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use metrics::counter;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{
    ApiError,
    attempts::Attempts,
    caller::{Caller, Role},
    forgery,
    proxies::{self, Proxies, Roles},
};
use crate::{
    secrets::{Login, WebhookToken},
    telemetry,
};

/// The header that our channel carries the secret in.
pub const TOKEN_HEADER: &str = "x-alertloop-token";
/// The query parameter for senders that can only set a URL, where no other is configured.
pub const TOKEN_PARAMETER: &str = "token";
/// So many answers to wrong credentials wait at once; the next goes out at once, or guessing would
/// take all connections.
const WAITING: usize = 256;

/// Somebody who may log in, and what they may do then.
#[derive(Clone, Debug)]
pub struct User {
    /// Name and password.
    pub login: Login,
    /// The most that they may do.
    pub role: Role,
}

/// The secrets that admit, and what is open.
pub struct Access {
    tokens: RwLock<Tokens>,
    parameter: String,
    open: bool,
    users: RwLock<Vec<User>>,
    proxies: Proxies,
    roles: Roles,
    attempts: Attempts,
    waiting: Semaphore,
}

/// The intake secrets: all admit, all the same.
struct Tokens {
    /// The one that is ours now, first.
    known: Vec<WebhookToken>,
    /// The one that is configured as the one before.
    previous: Option<WebhookToken>,
    /// One that has been replaced, while the channel still carries it.
    leaving: Vec<WebhookToken>,
}

impl Tokens {
    fn all(&self) -> impl Iterator<Item = &WebhookToken> {
        self.known.iter().chain(&self.previous).chain(&self.leaving)
    }
}

/// Why somebody is not let in.
#[derive(Debug)]
pub enum Denied {
    /// They have shown nothing.
    Nobody,
    /// What they have shown is wrong.
    Wrong(Vec<u8>),
    /// Too many wrong logins came from their address; after this time one is looked at again.
    Held(Duration),
    /// The proxy let them in, with no role that may do anything here.
    NoRole,
    /// They are known, but this needs more.
    TooLittle {
        /// What it needs.
        needed: Role,
        /// The most that they have.
        has: Role,
    },
    /// There is no login, and they did not come through a trusted proxy.
    NotByProxy,
    /// There is neither a login nor a trusted proxy.
    Off,
    /// A page of another site had their browser do it.
    OtherSite,
}

impl Access {
    /// `tokens` admit to the intake, all the same, the first is ours; with `open` it needs none.
    /// `admin` is a login of the page and the API.
    #[must_use]
    pub fn new(tokens: Vec<WebhookToken>, open: bool, admin: Option<Login>) -> Self {
        let admin = admin.map(|login| User { login, role: Role::Admin });
        Self {
            tokens: RwLock::new(Tokens { known: tokens, previous: None, leaving: Vec::new() }),
            parameter: TOKEN_PARAMETER.to_owned(),
            open,
            users: RwLock::new(admin.into_iter().collect()),
            proxies: Proxies::default(),
            roles: Roles::default(),
            attempts: Attempts::default(),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// With this query parameter in place of the usual one.
    #[must_use]
    pub fn with_parameter(self, parameter: String) -> Self {
        Self { parameter, ..self }
    }

    /// With these proxies, whose word counts, and what Malcolm's roles mean.
    #[must_use]
    pub fn with_proxies(self, proxies: Proxies, roles: Roles) -> Self {
        Self { proxies, roles, ..self }
    }

    /// From now on these may log in, and nobody else.
    pub fn set_users(&self, users: Vec<User>) {
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = users;
    }

    /// Admits one more secret, which is ours from now on; tells whether it is a new one.
    pub fn admit(&self, token: WebhookToken) -> bool {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !tokens.known.iter().any(|known| known.is(&token));
        tokens.known.retain(|known| !known.is(&token));
        tokens.known.insert(0, token);
        is_new
    }

    /// From now on this is our secret. What was ours admits until [`Access::retire`].
    pub fn replace(&self, token: WebhookToken) {
        let mut held = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let Tokens { known, leaving, .. } = &mut *held;
        leaving.append(known);
        leaving.retain(|left| !left.is(&token));
        known.push(token);
    }

    /// Admits this one too, in place of the one that was set here before.
    pub fn set_previous(&self, token: Option<WebhookToken>) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).previous = token;
    }

    /// What has been replaced admits no more.
    pub fn retire(&self) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).leaving.clear();
    }

    /// The secrets that admit, ours first.
    #[must_use]
    pub fn tokens(&self) -> Vec<WebhookToken> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.all().cloned().collect()
    }

    /// Our secret, which the channel shall carry.
    #[must_use]
    pub fn own(&self) -> Option<WebhookToken> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).known.first().cloned()
    }

    /// Whose request it is, for logs and for what guessing costs.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        self.proxies.client(headers, peer)
    }

    /// Whether a request tells a user, and its word does not count.
    #[must_use]
    pub fn is_impostor(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        proxies::tells_of_a_user(headers) && !self.proxies.trusts(peer)
    }

    /// Whether a page of another site had a browser send this.
    #[must_use]
    pub fn is_of_other_site(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        forgery::is_of_other_site(headers, self.proxies.host(headers, peer))
    }

    /// Whether a request may post alerts: one valid secret admits, wherever it stands, and so does a
    /// role that a trusted proxy tells.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn post(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        peer: IpAddr,
    ) -> Result<(), Denied> {
        if self.open || self.sent_token(headers, query).is_some() {
            return Ok(());
        }
        // A browser sends these two by itself.
        let by_role = self.forwarded(headers, peer).map(|caller| caller.role);
        if self.password_token(headers).is_some() || by_role.is_some_and(Role::may_post) {
            let is_forged = self.is_of_other_site(headers, peer);
            return if is_forged { Err(Denied::OtherSite) } else { Ok(()) };
        }
        match (by_role, self.presented(headers, query)) {
            (Some(has), _) => Err(Denied::TooLittle { needed: Role::Operator, has }),
            (None, Some(wrong)) => Err(Denied::Wrong(wrong)),
            (None, None) => Err(Denied::Nobody),
        }
    }

    /// Who asks for the page or the API.
    ///
    /// A trusted proxy tells it, or a login does. Without either, only this machine may; a request
    /// that came through a proxy did not come from this machine. Nor may a web page whose name was
    /// made to lead here (DNS rebinding).
    ///
    /// # Errors
    /// [`Denied`].
    pub fn caller(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Denied> {
        if let Some(caller) = self.forwarded(headers, peer) {
            return Ok(caller);
        }
        let trusted = self.proxies.trusts(peer);
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        if !users.is_empty()
            && let Some((user, password)) = basic(headers)
        {
            if let Some(wait) = self.attempts.held(self.client(headers, peer), Instant::now()) {
                return Err(Denied::Held(wait));
            }
            // All are compared, so that the time does not tell who is known.
            let fits = |so_far, known: &User| {
                let fits = known.login.password.admits(&password) && known.login.user == user;
                if fits { Some(known.role) } else { so_far }
            };
            if let Some(role) = users.iter().fold(None, fits) {
                return Ok(Caller { name: Some(user), role });
            }
            return Err(Denied::Wrong([user.as_bytes(), b":", &password].concat()));
        }
        if trusted && proxies::user(headers).is_some() {
            return Err(Denied::NoRole);
        }
        if !users.is_empty() {
            return Err(Denied::Nobody);
        }
        let is_here =
            !trusted && is_loopback(peer) && !is_proxied(headers) && is_meant_for_here(headers);
        match (is_here, self.proxies.is_empty()) {
            (true, _) => Ok(Caller { name: None, role: Role::Admin }),
            (false, true) => Err(Denied::Off),
            (false, false) => Err(Denied::NotByProxy),
        }
    }

    /// Whom a trusted proxy let in, with a role that may do something here.
    fn forwarded(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Caller> {
        let name = self.proxies.trusts(peer).then(|| proxies::user(headers)).flatten()?;
        let role = self.roles.role(headers)?;
        Some(Caller { name: Some(name.to_owned()), role })
    }

    /// Whether a request may read the metrics: who may post or read may.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn watch(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        peer: IpAddr,
    ) -> Result<(), Denied> {
        let Err(of_secret) = self.post(headers, query, peer) else { return Ok(()) };
        match self.caller(headers, peer) {
            Ok(_) => Ok(()),
            // Where there is no login, the secret is asked for.
            Err(Denied::Nobody | Denied::NotByProxy | Denied::Off) => Err(of_secret),
            Err(denied) => Err(denied),
        }
    }

    /// Notes that somebody was not let in, has them wait as long as guessing costs, and says what
    /// they are told.
    pub async fn refuse(&self, denied: Denied, client: IpAddr) -> ApiError {
        match denied {
            Denied::Nobody => ApiError::Unauthorized,
            Denied::Wrong(credential) => {
                self.guessed(&credential, client).await;
                ApiError::Unauthorized
            }
            Denied::Held(wait) => ApiError::TooManyGuesses { seconds: wait.as_secs() + 1 },
            Denied::NoRole => ApiError::NoRole,
            Denied::TooLittle { needed, has } => ApiError::Forbidden { needed, has },
            Denied::NotByProxy => ApiError::NotByProxy,
            Denied::OtherSite => ApiError::OtherSite,
            Denied::Off => {
                let how = "the API is off: set ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD, or ask from this machine";
                ApiError::NotFound(how.to_owned())
            }
        }
    }

    async fn guessed(&self, credential: &[u8], client: IpAddr) {
        counter!(telemetry::WRONG_CREDENTIALS).increment(1);
        let wrong = self.attempts.wrong(client, credential, Instant::now());
        if wrong.is_news {
            warn!(
                client.address = %client,
                "many wrong secrets or passwords come from one address: no login from there is looked at for a while; if this is a proxy of yours, name it in ALERTLOOP_TRUSTED_PROXIES"
            );
        }
        if !wrong.delay.is_zero()
            && let Ok(_waits) = self.waiting.try_acquire()
        {
            tokio::time::sleep(wrong.delay).await;
        }
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
        tokens.all().fold(None, fits)
    }

    /// The secret that a request presents, if it is one that admits, wherever it stands.
    #[must_use]
    pub fn token_of(&self, headers: &HeaderMap, query: Option<&str>) -> Option<WebhookToken> {
        self.sent_token(headers, query).or_else(|| self.password_token(headers))
    }

    /// The same, where nothing sends it by itself.
    fn sent_token(&self, headers: &HeaderMap, query: Option<&str>) -> Option<WebhookToken> {
        let known = |given: &[u8]| self.known(given);
        let own = headers.get_all(TOKEN_HEADER).iter().find_map(|value| known(value.as_bytes()));
        let bearer = || {
            let mut values = headers.get_all(header::AUTHORIZATION).iter();
            values.find_map(|value| known(scheme(value.as_bytes(), "bearer")?))
        };
        let parameter = || {
            url::form_urlencoded::parse(query?.as_bytes())
                .filter(|(name, _)| *name == self.parameter)
                .find_map(|(_, value)| known(value.as_bytes()))
        };
        own.or_else(bearer).or_else(parameter)
    }

    fn password_token(&self, headers: &HeaderMap) -> Option<WebhookToken> {
        self.known(&basic(headers)?.1)
    }

    /// What a request presents as a secret, right or wrong.
    fn presented(&self, headers: &HeaderMap, query: Option<&str>) -> Option<Vec<u8>> {
        let own = headers.get(TOKEN_HEADER).map(|value| value.as_bytes().to_vec());
        let other = || headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let parameter = || {
            url::form_urlencoded::parse(query?.as_bytes())
                .find(|(name, _)| *name == self.parameter)
                .map(|(_, value)| value.into_owned().into_bytes())
        };
        own.or_else(other).or_else(parameter).filter(|given| !given.is_empty())
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
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Of two logins nobody knows which one is meant.
    let value = values.next().filter(|_| values.next().is_none())?;
    let encoded = scheme(value.as_bytes(), "basic")?;
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
    let tells = |name: &str| {
        name.starts_with("x-forwarded-") || ["x-real-ip", "forwarded", "via"].contains(&name)
    };
    headers.keys().any(|name| tells(name.as_str()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

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
            let posts = access.post(&headers(&given), query, FAR).is_ok();
            assert_eq!(posts, want, "{given:?} {query:?}");
            let token = access.token_of(&headers(&given), query);
            assert_eq!(token.is_some_and(|token| token.expose() == TOKEN), want, "{given:?}");
        }
        // Whoever needs no secret has shown none.
        let open = Access::new(vec![TOKEN.parse().unwrap()], true, None);
        assert!(open.token_of(&headers(&[(TOKEN_HEADER, "wrong-but-admitted")]), None).is_none());
        let none = HeaderMap::new();
        assert!(Access::new(vec![], true, None).post(&none, None, FAR).is_ok());
        assert!(Access::new(vec![], false, None).post(&none, Some("token="), FAR).is_err());
    }

    #[test]
    fn the_query_parameter_can_have_another_name() {
        let access = access(false).with_parameter("api_key".to_owned());
        for (query, want) in [("api_key=0123456789abcdef", true), ("token=0123456789abcdef", false)]
        {
            let posts = access.post(&HeaderMap::new(), Some(query), FAR).is_ok();
            assert_eq!(posts, want, "{query}");
        }
    }

    #[test]
    fn a_second_secret_admits_too() {
        let access = access(false);
        let next = "fedcba9876543210";
        let posts = |token| access.post(&headers(&[(TOKEN_HEADER, token)]), None, FAR).is_ok();
        assert!(!posts(next));
        assert!(access.admit(next.parse().unwrap()));
        assert!(!access.admit(next.parse().unwrap()), "it is known now");
        for token in [TOKEN, next] {
            assert!(posts(token));
        }
        assert!(access.tokens()[0].is(&next.parse().unwrap()), "the last one is ours");
    }

    #[test]
    fn a_replaced_secret_admits_until_it_is_retired() {
        let access = access(false);
        let next = "fedcba9876543210";
        let posts = |token| access.post(&headers(&[(TOKEN_HEADER, token)]), None, FAR).is_ok();
        access.replace(next.parse().unwrap());
        assert!(posts(TOKEN) && posts(next));
        access.retire();
        assert!(!posts(TOKEN) && posts(next));
        // Back again before it was retired: it does not leave.
        access.replace(TOKEN.parse().unwrap());
        access.replace(next.parse().unwrap());
        access.retire();
        assert!(!posts(TOKEN) && posts(next));
        access.set_previous(Some(TOKEN.parse().unwrap()));
        assert!(posts(TOKEN) && access.own().unwrap().is(&next.parse().unwrap()));
        access.set_previous(None);
        assert!(!posts(TOKEN));
    }

    /// Behind a proxy at 10.0.0.1, where Malcolm's roles count.
    fn behind_proxy(admin: bool) -> Access {
        let roles = Roles { enforced: true, ..Roles::default() };
        access(admin).with_proxies(Proxies::parse("10.0.0.1,127.0.0.1").unwrap(), roles)
    }

    #[test]
    fn a_trusted_proxy_tells_who_asks_and_nobody_else_does() {
        let access = behind_proxy(false);
        let proxy = "10.0.0.1".parse().unwrap();
        let told = |roles: &str| headers(&[(proxies::USER, "ada"), (proxies::ROLES, roles)]);
        for (roles, want) in [
            ("admin", Some(Role::Admin)),
            ("read_write_access", Some(Role::Operator)),
            ("read_access", Some(Role::Reader)),
            ("upload", None),
        ] {
            let caller = access.caller(&told(roles), proxy).ok();
            assert_eq!(caller.as_ref().map(|caller| caller.role), want, "{roles}");
            assert!(caller.is_none_or(|caller| caller.name.as_deref() == Some("ada")));
            let posts = access.post(&told(roles), None, proxy).is_ok();
            assert_eq!(posts, want.is_some_and(Role::may_post), "{roles}");
            assert!(access.caller(&told(roles), FAR).is_err(), "{roles}");
            assert!(access.post(&told(roles), None, FAR).is_err(), "{roles}");
        }
        assert!(matches!(access.caller(&told("upload"), proxy), Err(Denied::NoRole)));
        assert!(matches!(access.caller(&HeaderMap::new(), FAR), Err(Denied::NotByProxy)));
        // A trusted proxy on this machine is a proxy.
        let near = "127.0.0.1".parse().unwrap();
        assert!(access.caller(&HeaderMap::new(), near).is_err());
        assert!(access.caller(&HeaderMap::new(), "127.0.0.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_login_goes_through_a_proxy_too() {
        let access = behind_proxy(true);
        let proxy = "10.0.0.1".parse().unwrap();
        let login = format!("Basic {}", BASE64_STANDARD.encode("ops:p:w"));
        let of =
            |more: &[(&str, &str)]| headers(&[&[("Authorization", login.as_str())], more].concat());
        let admin = |headers| access.caller(&headers, proxy).map(|caller| caller.name);
        assert_eq!(admin(of(&[])).unwrap().as_deref(), Some("ops"));
        // Malcolm's own login stands in the same header.
        let both = [(proxies::USER, "ada"), (proxies::ROLES, "read_access")];
        assert_eq!(admin(of(&both)).unwrap().as_deref(), Some("ada"));
        let none = [(proxies::USER, "ada"), (proxies::ROLES, "upload")];
        assert_eq!(admin(of(&none)).unwrap().as_deref(), Some("ops"));
        let twice = of(&[("Authorization", login.as_str())]);
        assert!(access.caller(&twice, FAR).is_err());
    }

    #[test]
    fn each_user_has_their_role() {
        let access = access(true);
        let user = |user: &str, role| User {
            login: Login { user: user.to_owned(), password: "same".to_owned().into() },
            role,
        };
        access.set_users(vec![user("ada", Role::Reader), user("bob", Role::Operator)]);
        let role = |text: &str| {
            let login = format!("Basic {}", BASE64_STANDARD.encode(text));
            access.caller(&headers(&[("Authorization", &login)]), FAR).ok().map(|one| one.role)
        };
        assert_eq!(role("ada:same"), Some(Role::Reader));
        assert_eq!(role("bob:same"), Some(Role::Operator));
        assert_eq!(role("ops:p:w"), None);
    }

    #[tokio::test]
    async fn a_guesser_is_held_and_a_sender_beside_them_is_not() {
        let access = access(true);
        let login = |password: &str| {
            let text = BASE64_STANDARD.encode(format!("ops:{password}"));
            headers(&[("Authorization", &format!("Basic {text}"))])
        };
        for guess in 1..super::super::attempts::AT_ONCE {
            access.attempts.wrong(FAR, &guess.to_be_bytes(), Instant::now());
        }
        let denied = access.caller(&login("no"), FAR).unwrap_err();
        assert!(matches!(denied, Denied::Wrong(_)), "{denied:?}");
        assert!(matches!(access.refuse(denied, FAR).await, ApiError::Unauthorized));
        assert!(matches!(access.caller(&login("p:w"), FAR), Err(Denied::Held(_))));
        assert!(access.caller(&login("p:w"), "192.0.2.8".parse().unwrap()).is_ok());
        assert!(access.post(&headers(&[(TOKEN_HEADER, TOKEN)]), None, FAR).is_ok());
        let wrong = access.post(&headers(&[(TOKEN_HEADER, "x")]), None, FAR).unwrap_err();
        assert!(matches!(access.refuse(wrong, FAR).await, ApiError::Unauthorized));
    }

    #[test]
    fn without_a_login_only_this_machine_may_read() {
        let (near, mapped) = ("127.0.0.1".parse().unwrap(), "::ffff:127.0.0.1".parse().unwrap());
        let none = HeaderMap::new();
        let access = access(false);
        assert!(access.caller(&none, near).is_ok() && access.caller(&none, mapped).is_ok());
        assert!(access.caller(&none, FAR).is_err());
        assert!(access.caller(&headers(&[("X-Forwarded-For", "127.0.0.1")]), near).is_err());
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
            assert_eq!(access.caller(&headers(&[("Host", host)]), near).is_ok(), want, "{host}");
        }
    }

    #[test]
    fn with_a_login_everybody_needs_it() {
        let access = access(true);
        let near = "127.0.0.1".parse().unwrap();
        let login = |text: &str| {
            headers(&[("Authorization", &format!("Basic {}", BASE64_STANDARD.encode(text)))])
        };
        assert!(access.caller(&login("ops:p:w"), near).is_ok());
        for wrong in ["ops:p", "op:p:w", "ops:", ":p:w", ":"] {
            assert!(access.caller(&login(wrong), near).is_err(), "{wrong}");
        }
        assert!(access.caller(&HeaderMap::new(), near).is_err());
    }
}
