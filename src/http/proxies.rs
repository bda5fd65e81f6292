//! What a proxy says about who asks: believed only of the proxies that are configured. Pure.
//!
//! Malcolm's nginx sets `X-Forwarded-User` and `X-Forwarded-Roles` itself, in place of what a client
//! sent (`nginx_auth_*.conf`, `nginx_auth_helpers.lua` of Malcolm 26.01), and appends to
//! `X-Forwarded-For`. Whoever else sends these headers could write anything into them.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::caller::Role;

/// The user that a proxy let in.
pub const USER: &str = "x-forwarded-user";
/// The roles of that user, separated by commas.
pub const ROLES: &str = "x-forwarded-roles";
const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";

/// No user's name is longer, in bytes.
const LONGEST_NAME: usize = 256;

/// The addresses of proxies whose word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads addresses and networks, separated by commas: `10.1.0.0/16, 192.0.2.7`.
    ///
    /// A name is refused: what it leads to may change, and with it whose word counts.
    ///
    /// # Errors
    /// Says what is wrong, without the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FAULT: &str = "needs addresses and networks, separated by commas, like 10.1.0.0/16,192.0.2.7; a name is not taken, since whoever may change what it leads to could then be anybody";
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let net = |word: &str| {
            let net = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
            match net {
                Ok(net) if net.prefix_len() == 0 => {
                    Err("must not hold a network of all addresses: everybody could be anybody then")
                }
                Ok(net) => Ok(canonical(net)),
                Err(_) => Err(FAULT),
            }
        };
        words.map(net).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the word of this address counts.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|net| net.contains(&ip))
    }

    /// Whose request it is: of a trusted proxy, the last address in `X-Forwarded-For` that is none of
    /// a trusted proxy. What stands before it was told by somebody who may tell anything.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        if !self.trusts(peer) {
            return peer.to_canonical();
        }
        let mut client = peer.to_canonical();
        for value in headers.get_all(FOR).iter().rev() {
            for word in value.to_str().unwrap_or_default().rsplit(',') {
                // The proxy wrote this, so it is known no better than the proxy itself.
                let Some(ip) = address(word.trim()) else { return client };
                client = ip;
                if !self.trusts(ip) {
                    return client;
                }
            }
        }
        client
    }

    /// The host that a browser asked for.
    #[must_use]
    pub fn host<'a>(&self, headers: &'a HeaderMap, peer: IpAddr) -> Option<&'a str> {
        let one = |name: &str| one(headers, name).and_then(|value| value.to_str().ok());
        let told = if self.trusts(peer) { one(HOST) } else { None };
        told.or_else(|| one("host")).filter(|host| !host.is_empty())
    }
}

/// A mapped network is the IPv4 network that it stands for.
fn canonical(net: IpNet) -> IpNet {
    let mapped = || match net {
        IpNet::V6(v6) => {
            let ip = v6.addr().to_ipv4_mapped()?;
            let length = v6.prefix_len().checked_sub(96)?;
            IpNet::new(ip.into(), length).ok()
        }
        IpNet::V4(_) => None,
    };
    mapped().unwrap_or(net)
}

/// An address, with or without a port, as proxies write it.
fn address(word: &str) -> Option<IpAddr> {
    let plain = word.parse::<IpAddr>().ok();
    let bare = || word.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || word.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain.or_else(bare).or_else(with_port).map(|ip| ip.to_canonical())
}

/// The only value of a header; `None` where there are several.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a request tells a user or roles, true or not.
#[must_use]
pub fn tells_of_a_user(headers: &HeaderMap) -> bool {
    headers.contains_key(USER) || headers.contains_key(ROLES)
}

/// The user that a trusted proxy names; `None` unless it is exactly one plain name.
#[must_use]
pub fn user(headers: &HeaderMap) -> Option<&str> {
    let name = one(headers, USER)?.to_str().ok()?;
    // Of a user with two names nobody knows which one is meant.
    let is_plain = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.trim() == name
        && !name.contains([',', ';', '"']);
    is_plain.then_some(name)
}

/// Which of Malcolm's roles may do what here. A role of the Alerting app in Dashboards is one of "all
/// apps"; the roles without it see visualizations alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// `ROLE_BASED_ACCESS`: without it everybody whom Malcolm lets in may do everything.
    pub enforced: bool,
    /// `ROLE_ADMIN`.
    pub admin: Vec<String>,
    /// `ROLE_READ_WRITE_ACCESS`, `ROLE_DASHBOARDS_READ_WRITE_ALL_APPS_ACCESS`; they post alerts too.
    pub operator: Vec<String>,
    /// `ROLE_READ_ACCESS`, `ROLE_DASHBOARDS_READ_ALL_APPS_ACCESS`.
    pub reader: Vec<String>,
}

impl Roles {
    /// The most that a user may do whom a trusted proxy let in; `None` for nothing.
    #[must_use]
    pub fn role(&self, headers: &HeaderMap) -> Option<Role> {
        if !self.enforced {
            return Some(Role::Admin);
        }
        let told = one(headers, ROLES)?.to_str().ok()?;
        let has = |roles: &[String]| {
            let mut told = told.split(',').map(str::trim).filter(|role| !role.is_empty());
            told.any(|role| roles.iter().any(|known| known == role))
        };
        let ranks = [(Role::Admin, &self.admin), (Role::Operator, &self.operator)];
        let ranks = ranks.into_iter().chain([(Role::Reader, &self.reader)]);
        ranks.into_iter().find(|(_, roles)| has(roles)).map(|(role, _)| role)
    }
}

impl Default for Roles {
    /// As Malcolm's `auth-common.env.example` has them.
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            enforced: false,
            admin: names(&["admin"]),
            operator: names(&["read_write_access", "dashboards_read_write_all_apps_access"]),
            reader: names(&["read_access", "dashboards_read_all_apps_access"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn proxies_are_addresses_and_networks_and_never_everybody() {
        for (text, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.1.0.0/16, 192.0.2.7,", "10.1.255.1", "10.2.0.1"),
            ("2001:db8::/32", "2001:db8:9::1", "2001:db9::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("10.0.0.1/8", "::ffff:10.2.3.4", "127.0.0.1"),
        ] {
            let proxies = Proxies::parse(text).unwrap();
            assert!(proxies.trusts(inside.parse().unwrap()), "{text} {inside}");
            assert!(!proxies.trusts(outside.parse().unwrap()), "{text} {outside}");
        }
        for wrong in ["nginx", "10.0.0.0/33", "0.0.0.0/0", "::/0", "10.2", "1.2.3.4 5.6.7.8"] {
            let fault = Proxies::parse(wrong).unwrap_err();
            assert!(!fault.contains(wrong), "{fault}");
        }
        assert!(Proxies::parse(" , ").unwrap().is_empty());
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let proxies = Proxies::parse("10.0.0.0/8").unwrap();
        for (peer, told, want) in [
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            // What the client itself wrote stands first.
            ("10.0.0.1", &["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["127.0.0.1", "192.0.2.7, 10.0.0.9"], "192.0.2.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, "], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("192.0.2.9", &["192.0.2.7"], "192.0.2.9"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
        ] {
            let pairs: Vec<_> = told.iter().map(|value| (FOR, *value)).collect();
            let client = proxies.client(&headers(&pairs), peer.parse().unwrap());
            assert_eq!(client, want.parse::<IpAddr>().unwrap(), "{peer} {told:?}");
        }
    }

    #[test]
    fn a_user_is_one_plain_name() {
        for (told, want) in [
            (&["ops"][..], Some("ops")),
            (&["ops@example.org"], Some("ops@example.org")),
            (&["Ada Lovelace"], Some("Ada Lovelace")),
            (&[], None),
            (&[""], None),
            (&["ops", "ops"], None),
            (&["ops", ""], None),
            (&["ops,admin"], None),
            (&["ops;admin"], None),
            (&[" ops"], None),
            (&["\u{fc}ber"], None),
        ] {
            let pairs: Vec<_> = told.iter().map(|value| (USER, *value)).collect();
            assert_eq!(user(&headers(&pairs)), want, "{told:?}");
        }
        assert_eq!(user(&headers(&[(USER, &"x".repeat(257))])), None);
    }

    #[test]
    fn the_highest_of_malcolms_roles_counts() {
        let roles = Roles { enforced: true, ..Roles::default() };
        for (told, want) in [
            (&["admin"][..], Some(Role::Admin)),
            (&["read_access, admin"], Some(Role::Admin)),
            (&["read_write_access"], Some(Role::Operator)),
            (&[" dashboards_read_write_all_apps_access "], Some(Role::Operator)),
            (&["x,read_access,y"], Some(Role::Reader)),
            (&["dashboards_read_all_apps_access"], Some(Role::Reader)),
            (&["dashboards_read_access"], None),
            (&["Admin"], None),
            (&["administrator"], None),
            (&["admin read_access"], None),
            (&[""], None),
            (&[], None),
            (&["admin", "admin"], None),
            (&["read_access", "admin"], None),
        ] {
            let pairs: Vec<_> = told.iter().map(|value| (ROLES, *value)).collect();
            assert_eq!(roles.role(&headers(&pairs)), want, "{told:?}");
        }
        assert_eq!(Roles::default().role(&HeaderMap::new()), Some(Role::Admin));
        let nobody = Roles { admin: vec![String::new()], ..roles };
        for told in ["x", "", "x,", ","] {
            assert_eq!(
                nobody.role(&headers(&[(ROLES, told)])),
                None,
                "no name is no role: {told:?}"
            );
        }
    }

    #[test]
    fn the_host_is_told_by_a_trusted_proxy_alone() {
        let proxies = Proxies::parse("10.0.0.1").unwrap();
        let both = headers(&[("host", "api:5000"), (HOST, "malcolm.example")]);
        for (peer, want) in [("10.0.0.1", "malcolm.example"), ("10.0.0.2", "api:5000")] {
            assert_eq!(proxies.host(&both, peer.parse().unwrap()), Some(want), "{peer}");
        }
        let twice = headers(&[("host", "a"), ("host", "b")]);
        assert_eq!(proxies.host(&twice, "10.0.0.2".parse().unwrap()), None);
    }
}
