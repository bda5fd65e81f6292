//! The web page in a real Chromium, over the real OpenSearch.
//!
//! `scripts/test page` names the node in `ALERTLOOP_TEST_OPENSEARCH`, and the file of axe-core in
//! `ALERTLOOP_TEST_AXE`. A test that cannot run says `SKIPPED name: why`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, start tasks and look at the clock"
)]

mod answers;
mod browser;
mod condition;
mod flows;
mod injection;
mod proxied;
mod roles;
#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the integration tests use the rest of it"
)]
mod support;

/// A browser, or `return`s from a test that cannot run without one.
#[macro_export]
macro_rules! browser {
    () => {
        match $crate::browser::Browser::start().await {
            Some(browser) => browser,
            None => return $crate::support::skip("there is no chromium"),
        }
    };
}

/// An alert as the loopback monitor sends it; `id` is its own.
#[must_use]
pub fn alert(rule: &str, trigger: &str, severity: u8, id: &str) -> String {
    let now = jiff::Timestamp::now();
    let begin = now - jiff::SignedDuration::from_mins(1);
    serde_json::json!({"alert": {
        "monitor": {"id": format!("monitor-of-{id}"), "name": rule},
        "trigger": {"name": trigger, "severity": severity.to_string()},
        "period": {"start": format!("{begin:.3}"), "end": format!("{now:.3}")},
        "results": [], "body": "", "alert": id, "error": ""}})
    .to_string()
}
