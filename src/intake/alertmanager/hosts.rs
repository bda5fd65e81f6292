//! Which host a label names: `db-1`, `db-1:9100`, `10.0.0.1:9100`, `[2001:db8::1]:9100`, `2001:db8::1`,
//! `https://shop.example/health`.

use std::net::IpAddr;

use url::Url;

/// The longest name of a host, in bytes (RFC 1035).
const LONGEST: usize = 253;

/// A host, as a label has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By its name.
    Name(String),
}

impl Host {
    /// Reads a value; `None` where it names no host, or none that could be found from elsewhere: each
    /// machine is a `localhost` to itself.
    pub fn of(value: &str) -> Option<Self> {
        let value = value.trim();
        if let Ok(address) = value.parse() {
            return Self::by_address(address);
        }
        if value.contains("://") {
            return match Url::parse(value).ok()?.host()? {
                url::Host::Domain(name) => Self::by_name(name),
                url::Host::Ipv4(address) => Self::by_address(address.into()),
                url::Host::Ipv6(address) => Self::by_address(address.into()),
            };
        }
        if let Some(rest) = value.strip_prefix('[') {
            return Self::by_address(rest.split_once(']')?.0.parse().ok()?);
        }
        let host = match value.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            Some(_) => return None,
            None => value,
        };
        host.parse().map_or_else(|_| Self::by_name(host), Self::by_address)
    }

    fn by_address(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        (!address.is_loopback() && !address.is_unspecified()).then_some(Self::Address(address))
    }

    fn by_name(name: &str) -> Option<Self> {
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=LONGEST).contains(&name.len()) && name.bytes().all(may_stand);
        (is_name && !name.eq_ignore_ascii_case("localhost")).then(|| Self::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_under_port_brackets_and_address() {
        for (value, want) in [
            ("db-1", Some("db-1")),
            ("db-1.lan:9100", Some("db-1.lan")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:9100", Some("10.0.0.1")),
            ("[2001:db8::1]:9100", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("https://shop.example/health?x=1", Some("shop.example")),
            ("http://[2001:db8::1]:8080/", Some("2001:db8::1")),
            ("WIN_HOST", Some("WIN_HOST")),
            // No host, or any.
            ("localhost:9090", None),
            ("127.0.0.1:9100", None),
            ("[::1]:9100", None),
            ("0.0.0.0:9100", None),
            ("", None),
            ("Disk C:", None),
            ("a b", None),
            ("path/to", None),
            ("[broken", None),
            (":9100", None),
        ] {
            let told = Host::of(value).map(|host| match host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => name,
            });
            assert_eq!(told.as_deref(), want, "{value}");
        }
    }
}
