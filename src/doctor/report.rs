//! Findings: how they are printed, and what they mean for the exit code.

use std::fmt;

use serde::Serialize;

pub use crate::finding::{Finding, State};
use crate::{
    finding,
    opensearch::{Error, security},
};

/// All findings, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// 1 where something fails, and where it is `strict` also for a warning; else 0.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        let bad = if strict { State::Warn } else { State::Fail };
        u8::from(self.findings.iter().any(|finding| finding.state >= bad))
    }

    pub(super) fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.findings.push(Finding::ok(check, one_line(&what.into())));
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding::warn(check, one_line(&what.into()), mend));
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding::fail(check, one_line(&what.into()), mend));
    }

    /// A call that the store refused, or did not answer.
    pub(super) fn unread(&mut self, check: &'static str, fault: &Error) {
        self.warn(check, format!("cannot be looked at: {fault}"), mend_of(fault));
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }
}

/// The store's words may go over several lines.
fn one_line(what: &str) -> String {
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What mends a refused call.
pub(super) fn mend_of(fault: &Error) -> String {
    match (fault.status(), security::missing(fault)) {
        (Some(403), Some(permission)) => {
            format!("give the store's user the permission {permission}; see docs/security.md")
        }
        (Some(401 | 403), _) => {
            "give the store's user the right to this; see docs/security.md".to_owned()
        }
        _ => "look into the store's log".to_owned(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        finding::write(f, &self.findings)?;
        let [ok, warn, fail] = [State::Ok, State::Warn, State::Fail].map(|state| self.count(state));
        match (warn, fail) {
            (0, 0) => writeln!(f, "Nothing is wrong: {ok} ok."),
            _ => writeln!(f, "{fail} FAIL, {warn} warn, {ok} ok."),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_is_one_line_a_finding_and_fails_only_for_a_failure() {
        let mut report = Report::default();
        report.ok("data", "fine");
        assert_eq!(report.to_string(), "ok    data  fine\nNothing is wrong: 1 ok.\n");
        assert_eq!([false, true].map(|strict| report.exit_code(strict)), [0, 0]);
        report.warn("clock", "is\nlate", "wind it");
        assert_eq!([false, true].map(|strict| report.exit_code(strict)), [0, 1]);
        report.fail("store", "is down", "start it");
        assert_eq!([false, true].map(|strict| report.exit_code(strict)), [1, 1]);
        let text = "ok    data   fine\n\
                    warn  clock  is late; to mend: wind it\n\
                    FAIL  store  is down; to mend: start it\n\
                    1 FAIL, 1 warn, 1 ok.\n";
        assert_eq!(report.to_string(), text);
        let first = &serde_json::to_value(&report).unwrap()["findings"][0];
        assert_eq!(first, &json!({"subject": "data", "state": "ok", "what": "fine"}));
    }

    #[test]
    fn a_refused_call_names_the_missing_permission_where_the_store_does() {
        let lacks = "no permissions for [cluster:monitor/main] and User [name=a]";
        for (status, reason, want) in [
            (403, lacks, "permission cluster:monitor/main"),
            (403, "User doesn't have backend roles configured", "the right to this"),
            (401, "", "the right to this"),
            (500, lacks, "the store's log"),
        ] {
            let mend = mend_of(&Error::Status { status, reason: reason.to_owned() });
            assert!(mend.contains(want), "{mend}");
        }
    }
}
