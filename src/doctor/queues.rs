//! Whether the running service takes from its lists in Redis.

use serde_json::Value;

use super::{Report, Setup, heartbeat};

/// The lines `queue`, where lists are configured.
pub(super) async fn look(report: &mut Report, setup: &Setup) {
    if setup.queues > 0 {
        let told = heartbeat::ready(setup).await;
        let told = told.and_then(|told| told["queues"].as_array().cloned());
        judge(report, setup.queues, told.as_deref());
    }
}

fn judge(report: &mut Report, configured: usize, told: Option<&[Value]>) {
    let Some(told) = told.filter(|told| !told.is_empty()) else {
        let what = format!("{configured} configured, and no service at ALERTLOOP_LISTEN takes");
        let mend = "start `alertloop serve` with this configuration, or run this where it runs";
        return report.warn("queue", what, mend);
    };
    for state in told {
        let name = state["queue"].as_str().unwrap_or("?");
        let taken = state["taken"].as_u64().unwrap_or(0);
        match (state["connected"].as_bool(), state["trouble"].as_str()) {
            (Some(true), _) => {
                let left = state["length"].as_u64().unwrap_or(0);
                report.ok("queue", format!("{name}: {taken} taken since the start, {left} wait"));
            }
            (_, Some(trouble)) => {
                let since = state["since"].as_str().unwrap_or("?");
                let what = format!("{name}: nothing is taken since {since}: {trouble}");
                report.fail("queue", what, "see docs/ntopng-queue.md");
            }
            _ => report.ok("queue", format!("{name}: not connected yet")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_case_has_its_line() {
        for (told, want) in [
            (None, "warn  queue  1 configured, and no service"),
            (Some(json!([])), "warn  queue  1 configured, and no service"),
            (
                Some(json!([{"queue": "q", "connected": true, "taken": 7, "length": 2}])),
                "ok    queue  q: 7 taken since the start, 2 wait",
            ),
            (
                Some(json!([{"queue": "q", "connected": false}])),
                "ok    queue  q: not connected yet",
            ),
            (
                Some(
                    json!([{"queue": "q", "connected": false, "trouble": "it is away", "since": "2026-11-22T01:00:00Z"}]),
                ),
                "FAIL  queue  q: nothing is taken since 2026-11-22T01:00:00Z: it is away",
            ),
        ] {
            let mut report = Report::default();
            judge(&mut report, 1, told.as_ref().and_then(Value::as_array).map(Vec::as_slice));
            assert!(report.to_string().starts_with(want), "{report}");
        }
    }
}
