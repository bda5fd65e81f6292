//! What the answers to a channel's test mean, and what to do. Pure.
//!
//! The plugin answers 500 for nearly everything, with the receiver's reason phrase (on 2.19 its body) or
//! a Java exception's text. So what is known beforehand decides first, then the status, then
//! [`words::undelivered`]; what is not recognised is shown as it came.

use serde_json::Value;
use url::Url;

use crate::{
    finding::Finding,
    opensearch::{
        Error,
        notifications::Delivery,
        words::{self, Undelivered},
    },
};

/// What is known before the test.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whether our own intake should answer.
    pub is_ours: bool,
    /// Scheme, host and port that are posted to.
    pub host: Option<String>,
    /// The receipt that our intake gives; none where our secret is not known here.
    pub receipt: Option<String>,
    /// The receipt under the secret before.
    pub previous: Option<String>,
    /// Whether the channel carries our secret; none where one of them is not known.
    pub carries_ours: Option<bool>,
}

/// Scheme, host and port of an address, without what may be secret in it.
#[must_use]
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

const APPLY: &str = "run `alertloop provision apply`, or restart `alertloop serve`";
/// How much of what somebody else answered is shown, in bytes.
const ANSWER_LIMIT: usize = 200;

/// The store does not let us in.
#[must_use]
pub fn store(address: &str, fault: &Error) -> Finding {
    let mend = match fault.status() {
        Some(401) => "correct user and password in OPENSEARCH_CREDS_CONFIG_FILE",
        Some(403) => "give that user the right cluster:monitor/main",
        Some(_) => "see that OPENSEARCH_URL is OpenSearch, and its log",
        None => "start it, or correct OPENSEARCH_URL and the TLS settings",
    };
    Finding::fail("store", format!("{address}: {fault}"), mend)
}

/// There is no such channel.
#[must_use]
pub fn no_channel(id: &str, is_loopback: bool) -> Finding {
    let mend = if is_loopback {
        APPLY
    } else {
        "name the id of a channel: Dashboards shows it in the address of the channel's page"
    };
    Finding::fail(id, "there is no such channel", mend)
}

/// The channel does not send.
#[must_use]
pub fn switched_off(id: &str) -> Finding {
    let mend = "in Dashboards: Notifications, Channels, its page, Actions, Unmute";
    Finding::fail(id, "the channel is switched off, so nothing is sent through it", mend)
}

/// The plugin did not do as asked: `doing` is `read` or `test`.
#[must_use]
pub fn refused(id: &str, doing: &str, fault: &Error) -> Finding {
    let what = format!("the store does not {doing} the channel: {fault}");
    let mend = match (fault.status(), doing) {
        (Some(401), _) => "correct user and password in OPENSEARCH_CREDS_CONFIG_FILE",
        (Some(403), "read") => {
            "give the store's user the right cluster:admin/opensearch/notifications/configs/get"
        }
        (Some(403), _) => {
            "give the store's user the right cluster:admin/opensearch/notifications/test_notification"
        }
        _ if fault.is_unavailable() => {
            "install the plugins opensearch-notifications and opensearch-notifications-core"
        }
        (None, _) => "see whether the address in the channel answers, and ALERTLOOP_STORE_TIMEOUT",
        _ => "look into the store's log",
    };
    Finding::fail(id, what, mend)
}

/// The loopback monitor cannot be run.
#[must_use]
pub fn unrun(name: &str, fault: &Error) -> Finding {
    let what = format!("it cannot be run: {fault}");
    match fault.status() {
        Some(401 | 403) => Finding::warn(
            name,
            what,
            "give the store's user the right cluster:admin/opendistro/alerting/monitor/execute",
        ),
        _ if fault.is_unavailable() => {
            Finding::fail(name, what, "install the plugin opensearch-alerting")
        }
        _ => Finding::fail(name, what, "run `alertloop provision lint --live`"),
    }
}

/// What became of the test message.
#[must_use]
pub fn of(id: &str, delivery: &Delivery, known: &Known) -> Finding {
    let subject = match &delivery.recipient {
        Some(recipient) => format!("{id} {recipient}"),
        None => id.to_owned(),
    };
    if !(200..300).contains(&delivery.status) {
        let (what, mend) = failure(&delivery.text, known);
        return Finding::fail(subject, what, mend);
    }
    if !known.is_ours {
        let what = format!("the test was delivered; the answer: {}", cut(&delivery.text));
        return Finding::ok(subject, what);
    }
    arrival(&subject, &delivery.text, known)
}

/// Something said 2xx: was it our intake?
fn arrival(subject: &str, text: &str, known: &Known) -> Finding {
    let answer: Option<Value> = serde_json::from_str(text).ok();
    let receipt = answer.as_ref().and_then(|answer| answer.get("receipt")).and_then(Value::as_str);
    let host = known.host.as_deref().unwrap_or("the channel's address");
    let is = |mine: &Option<String>| receipt.is_some() && receipt == mine.as_deref();
    if is(&known.receipt) {
        return Finding::ok(subject, format!("the test arrived at our own intake, by {host}"));
    }
    if is(&known.previous) {
        let what = "the test arrived at our own intake, but the channel carries the secret before";
        return Finding::warn(subject, what, APPLY);
    }
    match (receipt, &known.receipt) {
        (Some(_), None) => {
            let mend = "run it with the settings and the data directory of `alertloop serve`";
            let what =
                "an alertloop took the test, but which one is not known: there is no secret here";
            Finding::warn(subject, what, mend)
        }
        (Some(_), Some(_)) => {
            let mend = "correct ALERTLOOP_WEBHOOK_URL; or run this with the settings and the data directory of that one";
            let what =
                format!("an alertloop took the test, but one with another secret, at {host}");
            Finding::fail(subject, what, mend)
        }
        (None, _) => {
            let mend = "correct ALERTLOOP_WEBHOOK_URL, then run `alertloop provision apply`; an intake that is open or older gives no receipt either: then give the channel the secret";
            let what = format!("{host} took the test, but without our receipt: {}", cut(text));
            Finding::fail(subject, what, mend)
        }
    }
}

/// What a failed delivery's text means, and what mends it.
fn failure(text: &str, known: &Known) -> (String, &'static str) {
    let host = known.host.as_deref().unwrap_or("the receiver");
    let said = cut(text);
    match words::undelivered(text) {
        Undelivered::Status(status) => answered(status, host, known),
        Undelivered::Said(text) => refusing(text, host, known),
        Undelivered::Denied => (
            format!("the store may not post to {host}: its deny list forbids it"),
            "take the host out of opensearch.notifications.core.http.host_deny_list",
        ),
        Undelivered::UnknownHost => (
            format!("OpenSearch does not know the host of {host}"),
            "correct the host in ALERTLOOP_WEBHOOK_URL (or in the channel): OpenSearch resolves it in its own network",
        ),
        Undelivered::Tls => (
            format!("TLS with {host} fails: {said}"),
            "write http:// where the receiver speaks no TLS; else give OpenSearch's Java the receiver's CA, for a channel has none of its own",
        ),
        Undelivered::Refused => (
            format!("nothing listens at {host}, as OpenSearch sees it"),
            "start `alertloop serve`, and see that it listens there (ALERTLOOP_LISTEN, published ports)",
        ),
        Undelivered::Unreached => (
            format!("OpenSearch does not reach {host}: {said}"),
            "see that OpenSearch can reach that address: networks, firewalls, the port",
        ),
        Undelivered::Ended => (
            format!("{host} ended the connection without an answer: {said}"),
            "see what listens there; write https:// if it speaks TLS alone",
        ),
        Undelivered::Other => {
            (format!("the test was not delivered: {said}"), "look into the store's log")
        }
    }
}

/// The receiver refused it, and 2.19 does not tell its status: only what it said.
fn refusing(said: &str, host: &str, known: &Known) -> (String, &'static str) {
    let what = format!("{host} refused it, and said: {}", cut(said));
    match known.carries_ours {
        Some(false) => (format!("{what}: the channel's secret is not ours"), APPLY),
        _ => (
            format!("{what} (this OpenSearch does not tell the status)"),
            "see what listens there, and its log: whether the secret, the path or the host is another",
        ),
    }
}

fn answered(status: u16, host: &str, known: &Known) -> (String, &'static str) {
    let what = format!("{host} answered {status}");
    if !known.is_ours {
        let mend =
            "see what the receiver wants: the address, the headers, the secret in the channel";
        return (what, mend);
    }
    match (status, known.carries_ours) {
        (401, Some(false)) => (format!("{what}: the channel's secret is not ours"), APPLY),
        (401, Some(true)) => (
            format!(
                "{what}: the channel carries the secret that is known here, but whoever listens there has another"
            ),
            "run this with the settings and the data directory of `alertloop serve`; or correct ALERTLOOP_WEBHOOK_URL",
        ),
        (401, None) => (format!("{what}: the channel's secret is not that of the intake"), APPLY),
        (300..=399, _) => (
            format!("{what}, a redirection, which OpenSearch does not follow"),
            "write the address that it leads to into ALERTLOOP_WEBHOOK_URL",
        ),
        (404 | 405, _) => (
            format!("{what}: that is not our intake's path"),
            "correct the path in ALERTLOOP_WEBHOOK_URL: /mapi/alert, or as MALCOLM_API_PREFIX says",
        ),
        (502..=504, _) => (
            format!(
                "{what}: a proxy finds no intake behind it, or the intake cannot keep alerts now"
            ),
            "look at `alertloop health` and at the log of `alertloop serve`",
        ),
        _ => (what, "look into the log of what listens there"),
    }
}

fn cut(text: &str) -> String {
    let text = text.trim();
    match &text[..text.floor_char_boundary(ANSWER_LIMIT)] {
        "" => "(nothing)".to_owned(),
        all if all.len() == text.len() => all.to_owned(),
        head => format!("{head}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::State;

    fn known() -> Known {
        Known {
            is_ours: true,
            host: Some("http://a:5000".to_owned()),
            receipt: Some("mine".to_owned()),
            previous: Some("before".to_owned()),
            carries_ours: Some(true),
        }
    }

    fn delivery(status: u16, text: &str) -> Delivery {
        Delivery { recipient: None, status, text: text.to_owned() }
    }

    #[test]
    fn only_our_receipt_proves_that_it_arrived() {
        for (answer, state, want) in [
            (r#"{"result":{},"receipt":"mine"}"#, State::Ok, "arrived at our own intake"),
            (r#"{"result":{},"receipt":"before"}"#, State::Warn, "the secret before"),
            (r#"{"result":{},"receipt":"other"}"#, State::Fail, "one with another secret"),
            (r#"{"result":{}}"#, State::Fail, "without our receipt"),
            (r#"{"result":{},"receipt":7}"#, State::Fail, "without our receipt"),
            ("<html>", State::Fail, "<html>"),
            ("", State::Fail, "(nothing)"),
        ] {
            let finding = of("c", &delivery(200, answer), &known());
            assert_eq!(finding.state, state, "{answer}");
            assert!(finding.what.contains(want), "{answer}: {}", finding.what);
        }
        let unknown = Known { receipt: None, previous: None, ..known() };
        let finding = of("c", &delivery(200, r#"{"receipt":"x"}"#), &unknown);
        assert_eq!(finding.state, State::Warn, "without a secret it is not known whose it is");
        assert_eq!(of("c", &delivery(200, "{}"), &unknown).state, State::Fail);
        let slack = of("c", &delivery(200, "ok"), &Known { is_ours: false, ..known() });
        assert_eq!(
            (slack.state, slack.what.as_str()),
            (State::Ok, "the test was delivered; the answer: ok")
        );
    }

    #[test]
    fn every_failure_that_was_seen_is_named() {
        let captured = include_str!("../../../tests/captured/channel-tests.json");
        let captured: Value = serde_json::from_str(captured).unwrap();
        for (case, want) in [
            ("401", "has another"),
            ("404", "not our intake's path"),
            ("500", "answered 500"),
            ("503", "cannot keep alerts now"),
            ("301", "does not follow"),
            ("connection refused", "nothing listens"),
            ("unknown name", "does not know the host"),
            ("https to a plain port", "TLS with"),
            ("self-signed certificate", "TLS with"),
            ("connection closed", "ended the connection"),
            ("denied host", "deny list"),
        ] {
            let seen = &captured[case];
            let status = seen["status_code"].as_str().unwrap().parse().unwrap();
            let text = seen["status_text"].as_str().unwrap();
            let finding = of("c", &delivery(status, text), &known());
            assert_eq!(finding.state, State::Fail, "{case}");
            assert!(finding.what.contains(want), "{case}: {}", finding.what);
            assert!(finding.mend.is_some_and(|mend| !mend.contains("store's log")), "{case}");
        }
        let odd = of("c", &delivery(500, "quite new"), &known());
        assert!(odd.what.contains("quite new"));
    }

    #[test]
    fn a_refused_secret_is_told_by_whose_it_is() {
        let text = "Failed to send webhook message Failed: Unauthorized";
        for (carries_ours, want) in [
            (Some(false), "not ours"),
            (Some(true), "has another"),
            (None, "not that of the intake"),
        ] {
            let finding = of("c", &delivery(500, text), &Known { carries_ours, ..known() });
            assert!(finding.what.contains(want), "{}", finding.what);
        }
        let other = of("c", &delivery(500, text), &Known { is_ours: false, ..known() });
        assert!(other.what.ends_with("answered 401"), "{}", other.what);
    }

    #[test]
    fn what_the_store_refuses_says_what_is_missing() {
        let status = |status| Error::Status { status, reason: "x".to_owned() };
        for (fault, want) in [
            (status(403), "test_notification"),
            (status(401), "OPENSEARCH_CREDS_CONFIG_FILE"),
            (Error::NoSuchApi { status: 400, reason: "x".to_owned() }, "install the plugins"),
            (status(400), "the store's log"),
            (status(500), "the store's log"),
            (Error::Unreachable("timed out".to_owned()), "ALERTLOOP_STORE_TIMEOUT"),
        ] {
            let finding = refused("c", "test", &fault);
            assert!(finding.mend.is_some_and(|mend| mend.contains(want)), "{fault}");
        }
        assert!(no_channel("c", true).mend.is_some_and(|mend| mend.contains("provision apply")));
        assert!(no_channel("c", false).mend.is_some_and(|mend| mend.contains("Dashboards")));
        let url = Url::parse("https://user:pass@h:1/path?token=x").unwrap();
        assert_eq!(shown(&url), "https://h:1");
    }
}
