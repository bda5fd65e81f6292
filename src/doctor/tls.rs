//! Whether our own certificate is still good.

use std::fs;

use jiff::Timestamp;

use super::{Report, Setup};
use crate::{clock, tls::expiry};

/// From how many days on the end of a certificate is told.
const SOON: i64 = 21;
const MEND: &str = "put a new certificate and its key into the files of ALERTLOOP_TLS_CERT and ALERTLOOP_TLS_KEY; no restart is needed";

/// The line `tls`, where we speak it.
pub(super) fn look(report: &mut Report, setup: &Setup) {
    let Some(file) = &setup.certificate else { return };
    match fs::read(file) {
        Ok(pem) => judge(report, expiry(&pem), clock::now()),
        Err(fault) => {
            report.fail("tls", format!("{} cannot be read: {fault}", file.display()), MEND);
        }
    }
}

fn judge(report: &mut Report, ends: Option<Timestamp>, now: Timestamp) {
    let Some(ends) = ends else {
        return report.fail("tls", "the certificate cannot be read", MEND);
    };
    let days = ends.duration_since(now).as_secs().div_euclid(24 * 60 * 60);
    match days {
        ..0 => report.fail("tls", format!("our certificate ended at {ends}"), MEND),
        0..SOON => {
            report.warn("tls", format!("our certificate ends in {days} days, at {ends}"), MEND);
        }
        _ => report.ok("tls", format!("our certificate ends in {days} days, at {ends}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_certificate_is_told_in_time() {
        let now: Timestamp = "2026-11-22T05:00:00Z".parse().unwrap();
        for (ends, want) in [
            (
                Some("2026-11-22T04:59:59Z"),
                "FAIL  tls  our certificate ended at 2026-11-22T04:59:59Z",
            ),
            (Some("2026-11-22T06:00:00Z"), "warn  tls  our certificate ends in 0 days"),
            (Some("2026-12-13T04:00:00Z"), "warn  tls  our certificate ends in 20 days"),
            (Some("2026-12-13T06:00:00Z"), "ok    tls  our certificate ends in 21 days"),
            (None, "FAIL  tls  the certificate cannot be read"),
        ] {
            let mut report = Report::default();
            judge(&mut report, ends.map(|ends| ends.parse().unwrap()), now);
            assert!(report.to_string().starts_with(want), "{report}");
        }
    }
}
