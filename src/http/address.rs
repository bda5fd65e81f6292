//! Whose address a request counts for.

use std::net::{IpAddr, Ipv6Addr};

/// The address that somebody is known by: an IPv6 network of 64 bits is one customer's, who can use
/// any address in it.
#[must_use]
pub fn known_by(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_neighbour_and_a_mapped_address_is_ipv4() {
        for (ip, want) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(known_by(ip.parse().unwrap()), want.parse::<IpAddr>().unwrap(), "{ip}");
        }
    }
}
