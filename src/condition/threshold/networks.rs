//! Networks in CIDR notation, and the address space cut at their ends: so a script finds the
//! networks of an address by halving, however many there are and however they overlap. Pure.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde_json::{Value, json};

/// A network: `10.0.0.0/8`. An address by itself is one of its full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no network such as 10.0.0.0/8 or 2001:db8::/32");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim().parse().map_err(|_| fault())?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => full,
            Some(bits) => {
                bits.trim().parse().ok().filter(|bits| *bits <= full).ok_or_else(fault)?
            }
        };
        let given = Self { address, bits };
        let (first, _) = given.ends();
        let first = match address {
            // Cut where it begins: the number came from 32 bits.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(first).unwrap_or_default())),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(first)),
        };
        if first == address {
            Ok(given)
        } else {
            Err(format!("{text:?} has bits beyond its length; did you mean {first}/{bits}?"))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    /// Its first and its last address as numbers.
    fn ends(&self) -> (u128, u128) {
        let (number, full) = match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let free = full - u32::from(self.bits);
        let host = if free == 128 { u128::MAX } else { (1_u128 << free) - 1 };
        (number & !host, number | host)
    }

    /// Whether it holds this address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let one = Self { address, bits: if address.is_ipv4() { 32 } else { 128 } };
        let (from, to) = self.ends();
        self.address.is_ipv4() == address.is_ipv4() && (from..=to).contains(&one.ends().0)
    }
}

/// The addresses at which something begins or ends, from 0 on, and which of `all` hold what is
/// between: `{"v4": [0, 167772160], "v4_owners": [[], [0]], "v6": [0, 0], "v6_owners": [[]]}`. An
/// address of IPv6 is two numbers of 64 bits, with a sign as all that the store's scripts have.
#[must_use]
pub fn cuts(all: &[&[Cidr]]) -> Value {
    let (v4, v4_owners) = cut(all, true);
    let (v6, v6_owners) = cut(all, false);
    let half = |number: u128| i64::from_ne_bytes(low(number).to_ne_bytes());
    let v6: Vec<i64> = v6.into_iter().flat_map(|at| [half(at >> 64), half(at)]).collect();
    let v4: Vec<u64> = v4.into_iter().map(low).collect();
    json!({"v4": v4, "v4_owners": v4_owners, "v6": v6, "v6_owners": v6_owners})
}

fn low(number: u128) -> u64 {
    u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default()
}

fn cut(all: &[&[Cidr]], is_v4: bool) -> (Vec<u128>, Vec<Vec<usize>>) {
    let last = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    let own = |cidrs: &[Cidr]| -> Vec<(u128, u128)> {
        cidrs.iter().filter(|one| one.address.is_ipv4() == is_v4).map(Cidr::ends).collect()
    };
    let ranges: Vec<_> = all.iter().map(|cidrs| own(cidrs)).collect();
    let mut starts = BTreeSet::from([0]);
    for (from, to) in ranges.iter().flatten() {
        starts.insert(*from);
        starts.extend((*to < last).then(|| to + 1));
    }
    let owners = starts.iter().map(|at| {
        let is_in = |ranges: &Vec<(u128, u128)>| ranges.iter().any(|(a, b)| (a..=b).contains(&at));
        (0..ranges.len()).filter(|place| is_in(&ranges[*place])).collect()
    });
    let owners = owners.collect();
    (starts.into_iter().collect(), owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_read_and_written_or_said_to_be_none() {
        for (text, want) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.1.2.3", Ok("10.1.2.3/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("2001:db8::1", Ok("2001:db8::1/128")),
            ("10.0.0.5/8", Err("did you mean 10.0.0.0/8?")),
            ("2001:db8::1/64", Err("did you mean 2001:db8::/64?")),
            ("10.0.0.0/33", Err("is no network such as 10.0.0.0/8")),
            ("10.0.0/8", Err("is no network")),
            ("10.0.0.0/-1", Err("is no network")),
            ("lan", Err("is no network")),
            ("", Err("is no network")),
        ] {
            match (text.parse::<Cidr>(), want) {
                (Ok(cidr), Ok(want)) => assert_eq!(cidr.to_string(), want),
                (Err(fault), Err(want)) => assert!(fault.contains(want), "{fault}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn a_network_holds_its_first_and_its_last_address_and_none_of_the_other_kind() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
        ] {
            assert_eq!(cidr(network).holds(address.parse().unwrap()), want, "{network} {address}");
        }
    }

    #[test]
    fn the_space_is_cut_where_networks_begin_and_end() {
        let (wide, narrow) = ([cidr("10.0.0.0/8"), cidr("8000::/1")], [cidr("10.1.0.0/16")]);
        assert_eq!(
            cuts(&[&wide, &narrow]),
            json!({
                "v4": [0, 167_772_160, 167_837_696, 167_903_232, 184_549_376],
                "v4_owners": [[], [0], [0, 1], [0], []],
                "v6": [0, 0, i64::MIN, 0], "v6_owners": [[], [0]],
            })
        );
        let all = [cidr("0.0.0.0/0"), cidr("::/0")];
        let want = json!({"v4": [0], "v4_owners": [[0]], "v6": [0, 0], "v6_owners": [[0]]});
        assert_eq!(cuts(&[&all]), want);
    }
}
