//! Addresses and devices, as ntopng writes them.

use std::net::IpAddr;

use crate::alert::bucket::About;

/// How many addresses in a text are told.
const MOST: usize = 20;

/// The address and VLAN of `10.0.0.1@12`; a VLAN of 0 is none.
pub fn address(text: &str) -> (Option<IpAddr>, Option<i64>) {
    let text = text.trim();
    let (ip, vlan) = text.split_once('@').unwrap_or((text, ""));
    (ip.parse().ok(), vlan.parse().ok().filter(|vlan| *vlan > 0))
}

/// Without a VLAN of 0 behind it.
pub fn bare(value: &str) -> String {
    value.trim().trim_end_matches("@0").to_owned()
}

/// As a tag has it: `10.0.0.1@12`.
pub fn at_vlan(ip: IpAddr, vlan: i64) -> String {
    if vlan > 0 { format!("{ip}@{vlan}") } else { ip.to_string() }
}

/// A MAC address in small letters, also of `4A:00:06:A0:7C:51@0`.
pub fn mac(text: &str) -> Option<String> {
    let text = text.split('@').next().unwrap_or_default().trim();
    let mut parts = text.split([':', '-']);
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    (text.len() == 17 && parts.all(is_byte)).then(|| text.to_lowercase().replace('-', ":"))
}

/// ECS's `network.type`.
pub const fn kind_of(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}

/// Adds the addresses and devices that a text names.
pub fn add_named(about: &mut About, text: &str) {
    let is_part = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
    for word in text.split(|c: char| !is_part(c)).filter(|word| word.len() >= 3).take(1_000) {
        let word = word.trim_end_matches(['.', ':']);
        if about.addresses.len() + about.macs.len() >= MOST {
            return;
        }
        // A port may follow an address; in `a:b` of IPv6 none is meant.
        let host = word
            .split_once(':')
            .filter(|(host, _)| host.contains('.'))
            .map_or(word, |(host, _)| host);
        if let Some(mac) = mac(word) {
            add_once(&mut about.macs, mac);
        } else if host.contains(['.', ':'])
            && let Ok(ip) = host.parse::<IpAddr>()
        {
            add_once(&mut about.addresses, ip.to_string());
        }
    }
}

fn add_once(all: &mut Vec<String>, text: String) {
    if !all.contains(&text) {
        all.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_vlan_behind_it() {
        for (text, ip, vlan, shown) in [
            ("10.0.0.1@0", Some("10.0.0.1"), None, "10.0.0.1"),
            ("10.0.0.1@12", Some("10.0.0.1"), Some(12), "10.0.0.1@12"),
            (" fe80::1 ", Some("fe80::1"), None, "fe80::1"),
            ("web-1@0", None, None, "web-1"),
            ("10.0.0.0/8", None, None, "10.0.0.0/8"),
            ("", None, None, ""),
        ] {
            let ip = ip.map(|ip| ip.parse().unwrap());
            assert_eq!((address(text), bare(text).as_str()), ((ip, vlan), shown), "{text}");
        }
    }

    #[test]
    fn a_text_names_addresses_and_devices_and_not_times_or_versions() {
        for (text, addresses, macs) in [
            (
                "IP 10.44.0.12 moved to 4A:00:06:a0:7c:50.",
                vec!["10.44.0.12"],
                vec!["4a:00:06:a0:7c:50"],
            ),
            ("[10.0.0.1:443 -> 2001:db8::1] 10.0.0.1", vec!["10.0.0.1", "2001:db8::1"], vec![]),
            ("ntopng v.3.7.180906 at 12:30:45, 99% of 1.5 MB", vec![], vec![]),
            ("999.1.1.1 and 1.2.3.4.5", vec![], vec![]),
        ] {
            let mut about = About::default();
            add_named(&mut about, text);
            assert_eq!(
                (about.addresses, about.macs),
                (
                    addresses.into_iter().map(str::to_owned).collect(),
                    macs.into_iter().map(str::to_owned).collect()
                ),
                "{text}"
            );
        }
        let many = (0..255).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(" ");
        let mut about = About::default();
        add_named(&mut about, &many);
        assert_eq!(about.addresses.len(), MOST);
    }
}
