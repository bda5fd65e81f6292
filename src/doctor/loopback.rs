//! Whether the store can post to us: its deny list, and a test message through the channel.

use std::{net::IpAddr, time::Duration};

use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

use super::{Report, Setup};
use crate::{
    opensearch::{
        Client, Error, cluster,
        notifications::{self, Config},
    },
    provision::{
        Live,
        desired::{CHANNEL_ID, OLD_CHANNEL_ID},
    },
};

/// How long our own door may take to open.
const OWN_DOOR: Duration = Duration::from_secs(3);

/// Has the store send its test message through our channels that are on.
pub(super) async fn test(report: &mut Report, client: &Client, setup: &Setup, live: &Live) {
    let Some(channels) = &live.channels else { return };
    let both = [(CHANNEL_ID, &channels.current), (OLD_CHANNEL_ID, &channels.old)];
    for (id, channel) in both {
        let Some(url) = channel.as_ref().and_then(posts_to) else { continue };
        let outcome = notifications::test(client, id).await;
        let is_here = match &outcome {
            Ok(_) => true,
            Err(_) => listens(setup).await,
        };
        judge(report, &url, outcome, is_here);
    }
}

/// The address of a channel that sends, without a login or a query, which may hold secrets.
fn posts_to(channel: &Config) -> Option<String> {
    let webhook = channel.webhook.as_ref().filter(|_| channel.is_enabled)?;
    let Ok(mut url) = Url::parse(&webhook.url) else { return Some("its address".to_owned()) };
    url.set_query(None);
    url.set_username("").and_then(|()| url.set_password(None)).ok();
    Some(url.to_string())
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

fn judge(report: &mut Report, url: &str, outcome: Result<String, Error>, is_here: bool) {
    let fault = match outcome {
        Ok(answer) if is_ours(&answer) => {
            return report.ok("webhook", format!("the store posts to {url}, and gets our answer"));
        }
        Ok(_) => {
            let what = format!("{url} answers the store's test, but not as alertloop does");
            let mend = "see what listens there, and correct ALERTLOOP_WEBHOOK_URL";
            return report.warn("webhook", what, mend);
        }
        Err(fault) => fault,
    };
    let (why, is_about_us) = match &fault {
        Error::Status { status: 401 | 403 | 404, .. } | Error::Malformed(_) => {
            return report.unread("webhook", &fault);
        }
        Error::Status { reason, .. } => (notifications::status_text(reason), true),
        fault @ Error::Untrusted { .. } => (fault.to_string(), false),
        Error::Unreachable(why) => (format!("no word from the store about it: {why}"), false),
    };
    let what = format!("the store cannot post to {url}: {why}");
    match (is_about_us, is_here) {
        (true, false) => report.fail(
            "webhook",
            format!("{what}; nothing listens at ALERTLOOP_LISTEN either"),
            "start `alertloop serve`, and look into its log",
        ),
        _ => report.fail(
            "webhook",
            what,
            "let ALERTLOOP_WEBHOOK_URL be a name and port at which the store's nodes reach alertloop; \
             look at the lines `channel` and `denied`, and at firewalls and proxies in between",
        ),
    }
}

/// Whether an answer is what our intake says to a test message.
fn is_ours(answer: &str) -> bool {
    let answer: Option<Value> = serde_json::from_str(answer).ok();
    answer.as_ref().and_then(|json| json.get("result")).is_some_and(Value::is_object)
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
    use super::{super::State, *};

    #[test]
    fn the_answer_to_the_test_tells_who_listens() {
        let refused = r#"{"event_status_list": [{"delivery_status": {"status_code": "500",
            "status_text": "Connect to http://a:5000 failed: Connection refused"}}]}"#;
        let status =
            |status, reason: &str| Err(Error::Status { status, reason: reason.to_owned() });
        let slow = || Err(Error::Unreachable("timed out".to_owned()));
        for (outcome, is_here, state, text) in [
            (Ok(r#"{"result":{}}"#.to_owned()), true, State::Ok, "gets our answer"),
            (Ok("<html>".to_owned()), true, State::Warn, "not as alertloop does"),
            (Ok(r#"{"ok":true}"#.to_owned()), true, State::Warn, "not as alertloop does"),
            (status(500, refused), true, State::Fail, "Connection refused"),
            (status(500, refused), false, State::Fail, "nothing listens at ALERTLOOP_LISTEN"),
            (slow(), false, State::Fail, "no word from the store"),
            (status(403, "no permissions for [x] and y"), true, State::Warn, "cannot be looked at"),
        ] {
            let mut report = Report::default();
            judge(&mut report, "http://a:5000/mapi/alert", outcome, is_here);
            let found = &report.findings[0];
            assert_eq!(found.state, state, "{report}");
            assert!(found.what.contains(text), "{report}");
        }
    }

    #[test]
    fn the_channels_address_is_shown_without_what_may_be_secret() {
        let config = |is_enabled, url: &str| -> Config {
            serde_json::from_value(serde_json::json!({"name": "n", "config_type": "webhook",
                "is_enabled": is_enabled, "webhook": {"url": url}}))
            .unwrap()
        };
        let shown = posts_to(&config(true, "http://me:hidden@a:5000/mapi/alert?token=hidden"));
        assert_eq!(shown.as_deref(), Some("http://a:5000/mapi/alert"));
        assert_eq!(posts_to(&config(false, "http://a/")), None);
        assert_eq!(posts_to(&config(true, "no address, hidden")).as_deref(), Some("its address"));
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
