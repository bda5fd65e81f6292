//! Whether heartbeats are sent, and whether they come.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use url::Url;

use super::{Report, Setup};
use crate::{heartbeat, opensearch::alerting::Monitor, tls};

/// How long the service may take to say how it is.
const LIMIT: Duration = Duration::from_secs(5);
const EXAMPLE: &str = "provision the monitor of provisioning/examples/heartbeat, and enable it";

/// What the running service tells of heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// They come.
    InTime,
    /// One is overdue.
    Late,
    /// None has come yet, and it is not overdue.
    None,
    /// No service tells.
    Nothing,
}

/// The line `heartbeat`, where there is something to be said.
pub(super) async fn look(report: &mut Report, setup: &Setup, monitors: &[Monitor]) {
    let is_sent = monitors.iter().any(|one| one.is_enabled() && heartbeat::is_sender(&one.body));
    let is_expected = !setup.heartbeat.is_zero();
    if is_sent || is_expected {
        let told = if is_expected { ask(setup).await } else { Told::Nothing };
        judge(report, is_sent, is_expected, told);
    }
}

fn judge(report: &mut Report, is_sent: bool, is_expected: bool, told: Told) {
    match (is_sent, is_expected, told) {
        (false, false, _) => {}
        (true, false, _) => {
            let what = "a monitor sends heartbeats, and nobody misses them when they do not come";
            report.warn("heartbeat", what, "set ALERTLOOP_HEARTBEAT, for example to 3m");
        }
        (true, true, Told::InTime) => report.ok("heartbeat", "the last one came in time"),
        (false, true, _) => {
            let what = "ALERTLOOP_HEARTBEAT is set, and no enabled monitor sends one";
            report.warn("heartbeat", what, EXAMPLE);
        }
        (true, true, Told::Late) => {
            let what = "none came in time: alerts may not come through either";
            let mend =
                "see the lines `webhook`, `lost` and `silence`; its alert must not be acknowledged";
            report.fail("heartbeat", what, mend);
        }
        (true, true, Told::None) => report.ok("heartbeat", "the first is still waited for"),
        (true, true, Told::Nothing) => {
            let what = "no service at ALERTLOOP_LISTEN tells whether they come";
            report.warn("heartbeat", what, "start `alertloop serve`, or run this where it runs");
        }
    }
}

async fn ask(setup: &Setup) -> Told {
    ready(setup).await.map_or(Told::Nothing, |ready| told(&ready))
}

/// What the service says of itself that listens where ours does.
pub(super) async fn ready(setup: &Setup) -> Option<Value> {
    let mut address = setup.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if setup.certificate.is_some() { "https" } else { "http" };
    let url: Url = format!("{scheme}://{address}/readyz").parse().ok()?;
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT);
    let client = tls::trusting_this_machine(client, &url).build().ok()?;
    let answer = client.get(url).send().await.ok()?;
    let body = answer.bytes().await.unwrap_or_default();
    Some(serde_json::from_slice(&body).unwrap_or_default())
}

fn told(ready: &Value) -> Told {
    let Some(beat) = ready.get("heartbeat").filter(|beat| beat.is_object()) else {
        return Told::Nothing;
    };
    match (beat["late"].as_bool(), beat["last"].is_string()) {
        (Some(true), _) => Told::Late,
        (Some(false), true) => Told::InTime,
        (Some(false), false) => Told::None,
        (None, _) => Told::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_service_tells_whether_heartbeats_come() {
        for (ready, want) in [
            (json!({"heartbeat": {"last": "2026-11-21T08:00:00Z", "late": false}}), Told::InTime),
            (json!({"heartbeat": {"last": "2026-11-21T08:00:00Z", "late": true}}), Told::Late),
            (json!({"heartbeat": {"last": null, "late": true}}), Told::Late),
            (json!({"heartbeat": {"last": null, "late": false}}), Told::None),
            (json!({"heartbeat": null}), Told::Nothing),
            (json!({}), Told::Nothing),
        ] {
            assert_eq!(told(&ready), want, "{ready}");
        }
    }

    #[test]
    fn each_case_has_its_line() {
        for (is_sent, is_expected, told, want) in [
            (false, false, Told::Nothing, ""),
            (true, false, Told::Nothing, "warn  heartbeat  a monitor sends"),
            (false, true, Told::Late, "warn  heartbeat  ALERTLOOP_HEARTBEAT is set"),
            (true, true, Told::InTime, "ok    heartbeat  the last one came"),
            (true, true, Told::None, "ok    heartbeat  the first"),
            (true, true, Told::Late, "FAIL  heartbeat  none came"),
            (true, true, Told::Nothing, "warn  heartbeat  no service"),
        ] {
            let mut report = Report::default();
            judge(&mut report, is_sent, is_expected, told);
            assert!(report.to_string().starts_with(want), "{report}");
            assert_eq!(report.findings.len(), usize::from(!want.is_empty()));
        }
    }
}
