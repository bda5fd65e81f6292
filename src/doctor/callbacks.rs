//! Whether the callbacks of the running service come through.

use serde_json::Value;

use super::{Report, Setup, heartbeat};

/// The line `callbacks`, where some are configured.
pub(super) async fn look(report: &mut Report, setup: &Setup) {
    if setup.callbacks > 0 {
        let told = ask(setup).await;
        judge(report, setup.callbacks, told.as_ref());
    }
}

async fn ask(setup: &Setup) -> Option<Value> {
    let ready = heartbeat::ready(setup).await?;
    ready.get("callbacks").filter(|callbacks| callbacks.is_object()).cloned()
}

fn judge(report: &mut Report, configured: usize, told: Option<&Value>) {
    let Some(told) = told else {
        let what = format!("{configured} enabled, and no service at ALERTLOOP_LISTEN runs them");
        let mend = "start `alertloop serve` with this configuration, or run this where it runs";
        return report.warn("callbacks", what, mend);
    };
    let failing = told["failing"].as_array().map(Vec::as_slice).unwrap_or_default();
    for one in failing {
        let text = |key: &str| one[key].as_str().unwrap_or("?").to_owned();
        let (name, runs) = (text("name"), one["runs"].as_u64().unwrap_or(0));
        let what = format!(
            "callback {name} fails since {}, {runs} times so far: {}",
            text("since"),
            text("error")
        );
        let mend = format!("try it with `alertloop callbacks test {name:?}`");
        report.fail("callbacks", what, mend);
    }
    let failed = told["failed"].as_u64().unwrap_or(0);
    if failed > 0 {
        let what = format!("{failed} deliveries have failed for good");
        let mend = "see `alertloop deliveries list --state failed`, and replay them once the cause is gone";
        return report.warn("callbacks", what, mend);
    }
    if failing.is_empty() {
        let pending = told["pending"].as_u64().unwrap_or(0);
        report.ok("callbacks", format!("{configured} enabled, none fails; {pending} runs wait"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_case_has_its_line() {
        let failing = json!({"name": "pager", "since": "2026-11-21T22:00:00Z", "runs": 3, "error": "answered 500"});
        for (told, want) in [
            (None, "warn  callbacks  2 enabled, and no service"),
            (
                Some(json!({"failing": [], "failed": 0, "pending": 4})),
                "ok    callbacks  2 enabled, none fails; 4 runs wait",
            ),
            (
                Some(json!({"failing": [], "failed": 1})),
                "warn  callbacks  1 deliveries have failed for good",
            ),
            (
                Some(json!({"failing": [failing], "failed": 0})),
                "FAIL  callbacks  callback pager fails since 2026-11-21T22:00:00Z, 3 times so far: answered 500",
            ),
        ] {
            let mut report = Report::default();
            judge(&mut report, 2, told.as_ref());
            assert!(report.to_string().starts_with(want), "{report}");
        }
    }
}
