//! The store: whether it answers us, which version it is, its plugins, its clock, and whether the
//! indices of records take writes.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Report, Setup};
use crate::opensearch::{
    Capabilities, Client, Error, alerting,
    capabilities::PLUGINS,
    cluster::{self, About},
    security,
};

/// A clock that differs by more than this puts records in the wrong place on a dashboard.
const SKEW_LIMIT_MS: i64 = 5_000;
/// Whether it answers; without an answer there is nothing more to look at.
pub(super) async fn reach(report: &mut Report, client: &Client) -> Option<Arc<Capabilities>> {
    let at = client.address();
    let fault = match client.capabilities_now().await {
        Ok(can) => {
            report.ok("store", format!("{can} answers at {at}"));
            return Some(can);
        }
        Err(fault) => fault,
    };
    let what = format!("{at}: {fault}");
    if let Error::Untrusted { why, mend } = &fault {
        report.fail("store", format!("{at}: its certificate is not trusted ({why})"), *mend);
        return None;
    }
    if let Error::NoTls { why, mend } = &fault {
        report.fail("store", format!("{at}: no TLS connection ({why})"), *mend);
        return None;
    }
    match fault.status() {
        Some(401) => {
            let mend = "correct user and password in OPENSEARCH_CREDS_CONFIG_FILE";
            report.fail("store", format!("{at} refuses the login"), mend);
        }
        Some(403) => {
            let permission = security::missing(&fault).unwrap_or("cluster:monitor/main");
            let what = format!("{at} knows the user but does not let it in: {fault}");
            let mend = format!("give that user the permission {permission}; see docs/security.md");
            report.fail("store", what, mend);
        }
        Some(_) => report.fail("store", what, "see that OPENSEARCH_URL is OpenSearch, and its log"),
        None => {
            let mend = "start it, or correct OPENSEARCH_URL and the TLS settings";
            report.fail("store", what, mend);
        }
    }
    None
}

/// What is known of its version.
pub(super) async fn version(
    report: &mut Report,
    client: &Client,
    setup: &Setup,
    can: &Capabilities,
) {
    let about = &can.about;
    let is_builtin = client.is_builtin().await.unwrap_or(false);
    if !about.is_opensearch {
        if setup.provisioning.may_have_monitors && !is_builtin {
            let mend = "set OPENSEARCH_PRIMARY to elasticsearch-remote";
            report.warn("version", "it is not OpenSearch, though the settings say so", mend);
        } else {
            report.ok("version", "it has no Alerting and no Notifications; records are written");
        }
        return;
    }
    if can.is_mixed() {
        let what = "its nodes are of several versions, so each call may have another's answer";
        report.warn("version", what, "upgrade the others too");
    }
    match Version::of(about) {
        Version::Known => report.ok("version", "tried with alertloop"),
        Version::Untried => {
            let what = format!("OpenSearch {} was not tried with alertloop", about.version);
            report.warn("version", what, "use 2.19 or 3.x, or watch the first alerts closely");
        }
        Version::Old => old(report, client).await,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Known,
    Untried,
    /// Of before 2.0, when Alerting sent to destinations.
    Old,
}

impl Version {
    fn of(about: &About) -> Self {
        match about.number() {
            Some((0..2, _)) => Self::Old,
            Some((2, 19..) | (3, _)) => Self::Known,
            _ => Self::Untried,
        }
    }
}

async fn old(report: &mut Report, client: &Client) {
    let there = match alerting::destinations(client).await {
        Ok(names) if names.is_empty() => "it has none".to_owned(),
        Ok(names) => format!("it has {}", names.join(", ")),
        Err(fault) => format!("they cannot be listed: {fault}"),
    };
    let what = format!("before 2.0 Alerting sends to destinations, which are not used: {there}");
    let mend = "channels need OpenSearch 2.0 or later; until then let a destination of type \
                custom webhook post to ALERTLOOP_WEBHOOK_URL, with the secret";
    report.warn("version", what, mend);
}

/// The plugins; tells whether something was said about one that is missing.
pub(super) fn plugins(report: &mut Report, can: &Capabilities) -> bool {
    if let Some(fault) = &can.untold {
        report.unread("plugins", fault);
        return false;
    }
    let lacking = can.lacking();
    if lacking.is_empty() {
        let what = format!("{} are on {}", PLUGINS.join(", "), count(can.nodes.len(), "node"));
        report.ok("plugins", what);
        return false;
    }
    let mend = format!("install {} on each node, and restart it", PLUGINS.join(", "));
    let what =
        format!("monitors and channels need plugins that are missing: {}", lacking.join("; "));
    report.warn("plugins", what, mend);
    true
}

/// Whether its clock is ours.
pub(super) async fn clock(report: &mut Report, client: &Client) {
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

/// Whether the indices of records take writes.
pub(super) async fn indices(report: &mut Report, client: &Client, pattern: &str) {
    match cluster::write_blocks(client, pattern).await {
        Ok(blocks) => blocked(report, pattern, &blocks),
        Err(fault) => report.unread("index", &fault),
    }
}

fn blocked(report: &mut Report, pattern: &str, blocks: &[(String, String)]) {
    let names = |flood: bool| {
        let of_kind =
            blocks.iter().filter(|(_, block)| (block == "read_only_allow_delete") == flood);
        of_kind.map(|(index, _)| index.as_str()).collect::<Vec<_>>()
    };
    let (flooded, closed) = (names(true), names(false));
    if !flooded.is_empty() {
        let what = format!(
            "{} over the flood stage of a disk, so nothing is written to {}; alerts wait",
            if flooded.len() == 1 { "an index is" } else { "indices are" },
            shortened(&flooded)
        );
        let mend = "free disk space on the store's nodes; it takes the block off by itself";
        report.fail("index", what, mend);
    }
    if !closed.is_empty() {
        let what = format!("made read-only: {}; alerts of their days wait", shortened(&closed));
        let mend = "leave it where it is meant so (old days); else take the block off";
        report.warn("index", what, mend);
    }
    if blocks.is_empty() {
        report.ok("index", format!("{pattern} takes writes"));
    }
}

/// The last three of them by name, which are the newest.
fn shortened(names: &[&str]) -> String {
    let newest: Vec<_> = names.iter().rev().take(3).copied().collect();
    let more = names.len() - newest.len();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", newest.join(", "))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn versions_that_were_tried_are_known() {
        for (text, want) in [
            ("2.19.4", Version::Known),
            ("3.0.0-beta1", Version::Known),
            ("3.8.0", Version::Known),
            ("2.18.0", Version::Untried),
            ("2.0.0", Version::Untried),
            ("4.0.0", Version::Untried),
            ("1.3.20", Version::Old),
            ("", Version::Untried),
        ] {
            let about = About { is_opensearch: true, version: text.to_owned() };
            assert_eq!(Version::of(&about), want, "{text}");
        }
    }

    #[test]
    fn a_flooded_index_fails_and_one_that_was_made_read_only_is_a_warning() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let flood = "read_only_allow_delete";
        let many = [("s-1", flood), ("s-2", flood), ("s-3", flood), ("s-4", flood)];
        for (blocks, want, text) in [
            (pairs(&[]), vec![State::Ok], "s-* takes writes"),
            (pairs(&[("s-1", flood)]), vec![State::Fail], "an index is over"),
            (pairs(&many), vec![State::Fail], "s-4, s-3, s-2 and 1 more"),
            (pairs(&[("s-1", "write")]), vec![State::Warn], "read-only: s-1"),
            (pairs(&[("s-1", "write"), ("s-2", flood)]), vec![State::Fail, State::Warn], "s-2"),
        ] {
            let mut report = Report::default();
            blocked(&mut report, "s-*", &blocks);
            let states: Vec<_> = report.findings.iter().map(|finding| finding.state).collect();
            assert_eq!(states, want);
            assert!(report.findings[0].what.contains(text), "{report}");
        }
    }
}
