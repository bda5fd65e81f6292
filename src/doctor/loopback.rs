//! Whether the store can post to us: its deny list, and a test message through the channel.

use std::{net::IpAddr, time::Duration};

use tokio::net::TcpStream;
use url::Url;

use super::{Finding, Report, Setup, State};
use crate::{
    opensearch::{Client, cluster},
    provision::{
        Live,
        desired::{CHANNEL_ID, OLD_CHANNEL_ID},
        rehearsal::{self, Secrets, verdict},
    },
};

/// How long our own door may take to open.
const OWN_DOOR: Duration = Duration::from_secs(3);

/// Has the store send its test message through our channels that are on.
pub(super) async fn test(report: &mut Report, client: &Client, setup: &Setup, live: &Live) {
    let Some(channels) = &live.channels else { return };
    let both = [(CHANNEL_ID, &channels.current), (OLD_CHANNEL_ID, &channels.old)];
    for (id, channel) in both {
        let Some(channel) = channel.as_ref().filter(|channel| channel.is_enabled) else { continue };
        let secrets = Secrets { current: setup.token.as_ref(), previous: None };
        let sent =
            rehearsal::send(client, &setup.provisioning, ("webhook", id), channel, secrets).await;
        let findings = match sent {
            Ok(findings) => findings,
            Err(fault) if matches!(fault.status(), Some(401 | 403 | 404)) => {
                report.unread("webhook", &fault);
                continue;
            }
            Err(fault) => vec![verdict::refused("webhook", "test", &fault)],
        };
        let has_failed = findings.iter().any(|finding| finding.state == State::Fail);
        let is_here = !has_failed || listens(setup).await;
        for finding in findings {
            report.findings.push(judged(finding, is_here));
        }
    }
}

/// A delivery that failed while nobody is here to take it.
fn judged(finding: Finding, is_here: bool) -> Finding {
    if finding.state != State::Fail || is_here {
        return finding;
    }
    let what = format!("{}; nothing listens at ALERTLOOP_LISTEN either", finding.what);
    Finding::fail(finding.subject, what, "start `alertloop serve`, and look into its log")
}

/// Whether anybody listens where `serve` would.
async fn listens(setup: &Setup) -> bool {
    let mut address = setup.listen;
    if address.ip().is_unspecified() {
        let local = if address.is_ipv4() { [127, 0, 0, 1].into() } else { IpAddr::from([0; 8]) };
        address.set_ip(local);
    }
    let door = tokio::time::timeout(OWN_DOOR, TcpStream::connect(address)).await;
    door.is_ok_and(|opened| opened.is_ok())
}

/// Whether the store's own list forbids our address.
pub(super) async fn deny_list(report: &mut Report, client: &Client, webhook: &Url) {
    let list = match cluster::webhook_deny_list(client).await {
        Ok(list) => list,
        Err(fault) => return report.unread("denied", &fault),
    };
    let Some(host) = webhook.host_str() else { return };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = webhook.port_or_known_default().unwrap_or(80);
    // The store resolves the name in its own network; ours is the best guess that we have.
    let addresses = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<IpAddr> = addresses.into_iter().flatten().map(|all| all.ip()).collect();
    match denied_by(&list, host, &addresses) {
        Some(entry) => {
            let mend = "take it out of opensearch.notifications.core.http.host_deny_list";
            report.fail("denied", format!("the store may not post to {host}: {entry}"), mend);
        }
        None => report.ok("denied", format!("the store's deny list lets it post to {host}")),
    }
}

/// The entry of the deny list that covers a host.
fn denied_by<'a>(list: &'a [String], host: &str, addresses: &[IpAddr]) -> Option<&'a str> {
    let covers = |entry: &&str| {
        entry.eq_ignore_ascii_case(host) || addresses.iter().any(|ip| is_within(*ip, entry))
    };
    list.iter().map(String::as_str).find(covers)
}

/// Whether an address is in a network such as `10.0.0.0/8`, or is the address that stands there.
fn is_within(ip: IpAddr, network: &str) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(base), Ok(bits)) = (base.parse(), bits.parse::<u32>()) else { return false };
    let (ip, base, width) = match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => (ip.to_bits().into(), base.to_bits().into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(base)) => (ip.to_bits(), base.to_bits(), 128),
        _ => return false,
    };
    let rest = width - bits.min(width);
    let differs: u128 = ip ^ base;
    differs.checked_shr(rest).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_delivery_is_ours_to_mend_where_nobody_listens() {
        let failed = Finding::fail("webhook", "it is refused", "look");
        assert_eq!(judged(failed.clone(), true), failed);
        let judged = judged(failed, false);
        assert!(judged.what.ends_with("nothing listens at ALERTLOOP_LISTEN either"));
        assert!(judged.mend.is_some_and(|mend| mend.starts_with("start `alertloop serve`")));
        let arrived = Finding::ok("webhook", "arrived");
        assert_eq!(super::judged(arrived.clone(), false), arrived);
    }

    #[test]
    fn the_deny_list_is_read_as_networks_addresses_and_names() {
        let list = ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "bad.example", "junk/x", "0.0.0.0/33"]
            .map(str::to_owned);
        for (host, ip, want) in [
            ("a", "10.200.0.1", Some("10.0.0.0/8")),
            ("a", "11.0.0.1", None),
            ("a", "192.168.1.7", Some("192.168.1.7")),
            ("a", "192.168.1.8", None),
            ("a", "fd12::1", Some("fd00::/8")),
            ("a", "fe80::1", None),
            ("BAD.example", "1.1.1.1", Some("bad.example")),
        ] {
            assert_eq!(denied_by(&list, host, &[ip.parse().unwrap()]), want, "{host} {ip}");
        }
        assert!(is_within("8.8.8.8".parse().unwrap(), "0.0.0.0/0"));
    }
}
