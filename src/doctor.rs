//! Says what is wrong with a set-up, one line a finding, each with what mends it. Changes nothing.

use std::{
    fmt, fs,
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use url::Url;

pub use crate::finding::State;
use crate::{
    opensearch::{
        Client, Error,
        alerting::{self, Monitor},
        cluster::{self, About},
        notifications,
    },
    provision::{
        self, ChannelSecret, Live, Options, Settings, TemplateMode,
        desired::{CHANNEL_ID, Desired, OLD_CHANNEL_ID},
        loop_guard,
        object::Key,
        plan::{Action, Object, Step},
        probe::Covering,
    },
    secrets::WebhookToken,
};

/// A clock that differs by more than this puts records in the wrong place on a dashboard.
const SKEW_LIMIT_MS: i64 = 5_000;
const APPLY: &str = "run `alertloop provision apply`, or restart `alertloop serve`";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// 1 where something fails, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.findings.iter().any(|finding| finding.state == State::Fail))
    }

    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.findings.push(Finding { check, state: State::Ok, what: what.into(), mend: None });
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, mend: &str) {
        let mend = Some(mend.to_owned());
        self.findings.push(Finding { check, state: State::Warn, what: what.into(), mend });
    }

    fn fail(&mut self, check: &'static str, what: impl Into<String>, mend: &str) {
        let mend = Some(mend.to_owned());
        self.findings.push(Finding { check, state: State::Fail, what: what.into(), mend });
    }

    /// A call that the store refused, or did not answer.
    fn unread(&mut self, check: &'static str, fault: &Error) {
        let mend = match fault.status() {
            Some(401 | 403) => "give the store's user the right to read this",
            _ => "look into the store's log",
        };
        self.warn(check, format!("cannot be looked at: {fault}"), mend);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            write!(f, "{:<4}  {:<9} {}", finding.state, finding.check, finding.what)?;
            if let Some(mend) = &finding.mend {
                write!(f, "; to mend: {mend}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Looks at the store, at what we keep in it, and at our own folder.
///
/// `token` is our secret, where it is known.
pub async fn run(
    client: &Client,
    settings: &Settings,
    data_dir: &Path,
    token: Option<&WebhookToken>,
) -> Report {
    let mut report = Report::default();
    folder(&mut report, data_dir);
    let Some(about) = store(&mut report, client).await else { return report };
    clock(&mut report, client).await;
    let desired = match provision::desired(settings) {
        Ok(desired) => desired,
        Err(fault) => {
            report.fail(
                "files",
                fault.to_string(),
                "correct the file in ALERTLOOP_PROVISIONING_DIR",
            );
            return report;
        }
    };
    match provision::probe(client, settings, &desired, Options::default()).await {
        Ok(live) => {
            objects(&mut report, settings, &desired, &live, token);
            if live.has_alerting && live.channels.is_some() {
                alerting_objects(&mut report, client, &desired).await;
                deny_list(&mut report, client, &settings.webhook_url).await;
            }
        }
        Err(fault) => report.fail(
            "objects",
            fault.to_string(),
            "give the store's user the rights to index templates, Alerting and Notifications",
        ),
    }
    if settings.template == TemplateMode::None {
        foreign_template(&mut report, client, settings, &desired).await;
    }
    if settings.is_opensearch && !about.is_opensearch {
        let mend = "set OPENSEARCH_PRIMARY to elasticsearch-remote";
        report.warn("store", "is not OpenSearch, though the settings say so", mend);
    }
    report
}

/// The data directory, without the lock that `serve` holds on it.
fn folder(report: &mut Report, dir: &Path) {
    let shown = dir.display();
    let mend = "make ALERTLOOP_DATA_DIR a folder that the user of alertloop can write to";
    if !dir.is_dir() {
        return report.fail("data", format!("{shown} is not a folder"), mend);
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"doctor").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => report.ok("data", format!("{shown} can be written to")),
        Err(fault) => report.fail("data", format!("{shown} cannot be written to: {fault}"), mend),
    }
}

async fn store(report: &mut Report, client: &Client) -> Option<About> {
    let at = client.address();
    let fault = match cluster::about(client).await {
        Ok(about) => {
            report.ok("store", format!("{about} answers at {at}"));
            return Some(about);
        }
        Err(fault) => fault,
    };
    let what = format!("{at}: {fault}");
    match fault.status() {
        Some(401) => {
            let mend = "correct user and password in OPENSEARCH_CREDS_CONFIG_FILE";
            report.fail("store", format!("{at} refuses the login"), mend);
        }
        Some(403) => {
            let mend = "give that user the right cluster:monitor/main";
            report.fail("store", format!("{at} knows the user but does not let it in"), mend);
        }
        Some(_) => report.fail("store", what, "see that OPENSEARCH_URL is OpenSearch, and its log"),
        None => {
            let mend = "start it, or correct OPENSEARCH_URL and the TLS settings";
            report.fail("store", what, mend);
        }
    }
    None
}

async fn clock(report: &mut Report, client: &Client) {
    let theirs = match cluster::clock(client).await {
        Ok(time) => time,
        Err(fault) => return report.unread("clock", &fault),
    };
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = i64::try_from(ours.as_millis()).unwrap_or(i64::MAX);
    let skew_ms = ours.saturating_sub(theirs);
    if skew_ms.abs() <= SKEW_LIMIT_MS {
        report.ok("clock", "agrees with the store's");
    } else {
        let mend = "set both clocks by NTP";
        report.warn("clock", format!("differs from the store's by {skew_ms} ms"), mend);
    }
}

/// Template, channel and monitor, as the plan sees them.
fn objects(
    report: &mut Report,
    settings: &Settings,
    desired: &Desired,
    live: &Live,
    token: Option<&WebhookToken>,
) {
    // As if it were configured: then a channel with another secret shows.
    let secret = match token {
        Some(token) => ChannelSecret::Configured(token.clone()),
        None => ChannelSecret::Offered(WebhookToken::generate()),
    };
    let plan = provision::plan(settings, desired, live, &secret, Options::default());
    for step in &plan.steps {
        if step.object == Object::Template && !plan.template_ready {
            let mend =
                "wait until Malcolm's dashboards-helper has made it, or set ALERTLOOP_TEMPLATE";
            report.warn("template", format!("{} is not there; records wait", step.name), mend);
        } else {
            object(report, step, live);
        }
    }
    if token.is_none() && live.channels.is_some() {
        let mend = "start `alertloop serve` once, or set ALERTLOOP_TOKEN";
        report.warn("secret", "we have none yet, so the channel's is not compared", mend);
    }
}

fn object(report: &mut Report, step: &Step, live: &Live) {
    let check = match step.object {
        Object::Template | Object::LegacyTemplate => "template",
        Object::Channel => "channel",
        Object::Monitor | Object::Workflow => "monitor",
    };
    let name = &step.name;
    match &step.action {
        Action::Create => report.warn(check, format!("{name} is missing"), APPLY),
        Action::Update { reason, .. } if step.object == Object::Channel => {
            report.fail(check, format!("{name}: {reason}"), APPLY);
        }
        Action::Update { reason, .. } | Action::Delete { reason } => {
            report.warn(check, format!("{name}: {reason}"), APPLY);
        }
        Action::Leave { reason, warning: true, .. } => {
            let mend = "undo the edit, or delete it and let it be made anew";
            report.warn(check, format!("{name}: {reason}"), mend);
        }
        Action::Unavailable { reason } if live.about.is_opensearch => {
            let mend = "install the plugins opensearch-alerting and opensearch-notifications";
            report.warn(check, format!("{name}: {reason}"), mend);
        }
        Action::Leave { reason, .. } | Action::Unavailable { reason } => {
            report.ok(check, format!("{name}: {reason}"));
        }
        Action::InSync if step.object == Object::Monitor => {
            let found = live.objects.get(&Key::new(Object::Monitor, name)).into_iter().flatten();
            let is_enabled = found.into_iter().any(|one| one.body["enabled"] == true);
            let how = if is_enabled { "enabled" } else { "disabled, as it is shipped" };
            report.ok(check, format!("{name} is there, {how}"));
        }
        Action::InSync => report.ok(check, format!("{name} is there")),
    }
}

/// What a look at all monitors shows.
async fn alerting_objects(report: &mut Report, client: &Client, desired: &Desired) {
    let monitors = match alerting::monitors(client).await {
        Ok(monitors) => monitors,
        Err(fault) => return report.unread("monitors", &fault),
    };
    let mut ids: Vec<&str> = monitors.iter().flat_map(Monitor::channels).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut is_sound = true;
    for id in ids {
        match notifications::channel(client, id).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                is_sound = false;
                let users = monitors.iter().filter(|one| one.channels().contains(&id));
                let names: Vec<_> = users.map(|one| format!("{:?}", one.name())).collect();
                let what = format!("{} send to {id}, which does not exist", names.join(", "));
                report.warn("monitors", what, "choose a channel that exists in their actions");
            }
            Err(fault) => return report.unread("monitors", &fault),
        }
    }
    for monitor in &monitors {
        let Some(mend) = feeds_on_itself(monitor, desired) else { continue };
        is_sound = false;
        let what = format!("{:?} also counts the records of alerts, its own too", monitor.name());
        report.warn("monitors", what, mend);
    }
    if is_sound {
        report.ok("monitors", format!("{} there, all send to channels that exist", monitors.len()));
    }
}

/// Whether a monitor that sends to us counts what becomes of its alerts; what mends it.
fn feeds_on_itself(monitor: &Monitor, desired: &Desired) -> Option<&'static str> {
    let sends_to_us = monitor.channels().iter().any(|id| [CHANNEL_ID, OLD_CHANNEL_ID].contains(id));
    sends_to_us.then(|| loop_guard::fault(&monitor.body, desired)).flatten()
}

async fn foreign_template(
    report: &mut Report,
    client: &Client,
    settings: &Settings,
    desired: &Desired,
) {
    match provision::probe::template(client, desired, &settings.time_field).await {
        Ok((_, Some(Covering { name, maps_time_field: true }))) => {
            report.ok("template", format!("{name} covers {}", desired.index_pattern));
        }
        Ok(_) => {
            let (pattern, field) = (&desired.index_pattern, &settings.time_field);
            let mend = "set ALERTLOOP_TEMPLATE to auto, or make one";
            report.warn("template", format!("none gives {field} a type in {pattern}"), mend);
        }
        Err(fault) => report.unread("template", &fault),
    }
}

async fn deny_list(report: &mut Report, client: &Client, webhook: &Url) {
    let list = match cluster::webhook_deny_list(client).await {
        Ok(list) => list,
        Err(fault) => return report.unread("webhook", &fault),
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
            report.fail("webhook", format!("the store may not post to {host}: {entry}"), mend);
        }
        None => report.ok("webhook", format!("the store's deny list lets it post to {host}")),
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_is_one_line_a_finding_and_fails_only_for_a_failure() {
        let mut report = Report::default();
        report.ok("data", "fine");
        report.warn("clock", "is late", "wind it");
        assert_eq!(report.exit_code(), 0);
        report.fail("store", "is down", "start it");
        assert_eq!(report.exit_code(), 1);
        let text = "ok    data      fine\n\
                    warn  clock     is late; to mend: wind it\n\
                    FAIL  store     is down; to mend: start it\n";
        assert_eq!(report.to_string(), text);
        let first = &serde_json::to_value(&report).unwrap()["findings"][0];
        assert_eq!(first, &json!({"check": "data", "state": "ok", "what": "fine"}));
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

    #[test]
    fn a_folder_is_tried_by_writing_to_it() {
        let dir = tempfile::tempdir().unwrap();
        for (path, want) in
            [(dir.path().to_owned(), State::Ok), (dir.path().join("no"), State::Fail)]
        {
            let mut report = Report::default();
            folder(&mut report, &path);
            assert_eq!(report.findings[0].state, want);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the doctor leaves nothing");
    }
}
