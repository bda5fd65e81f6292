//! Who runs the monitors: whether that is clear, whether the store lets alertloop do it, and whether
//! somebody else has monitors that are enabled too.

use opensearch::http::Method;
use serde_json::json;

use super::{Report, Setup, report::mend_of};
use crate::{
    opensearch::{
        Client, Engine, Error,
        alerting::{self, Family, Monitor},
        builtin::indices::Index,
        engine::Choice,
        scripts, security,
    },
    silence::sends_to_us,
};

const PAINLESS: &str = "/_scripts/painless/_execute";
/// The most names that a finding tells.
const NAMES: usize = 3;

/// Tells who runs them; gives whether that is alertloop itself.
pub(super) async fn look(report: &mut Report, client: &Client, setup: &Setup) -> bool {
    if !setup.provisioning.may_have_monitors {
        return false;
    }
    let engine = match client.engine().await {
        Ok(engine) => engine,
        Err(fault) => {
            report.unread("engine", &fault);
            return false;
        }
    };
    let said = report.findings.len();
    if engine.is_builtin() {
        engines(report, client).await;
    }
    let (others, choice) = match engine {
        Engine::Builtin => (client.run_by(Choice::Plugin), "plugin"),
        Engine::Plugin => (client.run_by(Choice::Builtin), "builtin"),
    };
    // Where the other engine is not there, it has no monitors either.
    if let Ok(monitors) = alerting::all(&others, Family::Monitor).await {
        elsewhere(report, engine, choice, &monitors);
    }
    if report.findings.len() == said {
        let what = match engine {
            Engine::Plugin => "the Alerting plugin runs the monitors".to_owned(),
            Engine::Builtin => {
                let index = Index::Monitors.name(client);
                format!("alertloop runs the monitors itself; they are kept in {index}")
            }
        };
        report.ok("engine", what);
    }
    engine.is_builtin()
}

/// Whether Painless and Mustache do what the built-in engine needs of them.
async fn engines(report: &mut Report, client: &Client) {
    let script = json!({"script": {"source": "def ctx = params.ctx; ctx.results.size() == 1",
        "params": {"ctx": {"results": [1]}}}});
    if let Err(fault) = client.call(Method::Post, PAINLESS, Some(&script)).await {
        refused(report, "Painless", PAINLESS, "cluster:admin/scripts/painless/execute", &fault);
    }
    let params = json!({"ctx": {"monitor": {"name": "x"}}});
    if let Err(fault) = scripts::render(client, "{{ctx.monitor.name}}", &params).await {
        let permission = "indices:data/read/search/template/render";
        refused(report, "Mustache", "/_render/template", permission, &fault);
    }
}

fn refused(report: &mut Report, name: &str, path: &str, permission: &str, fault: &Error) {
    let what =
        format!("the store's {name} does not run for us, so no monitor can ({path}: {fault})");
    let mend = match fault.status() {
        Some(403) if security::missing(fault).is_some() => mend_of(fault),
        Some(401 | 403) => format!("give the store's user the permission {permission}"),
        Some(400 | 404 | 405) => format!("use a store that has the module of {name}"),
        _ => "look into the store's log".to_owned(),
    };
    report.fail("engine", what, mend);
}

/// Monitors that are enabled where the other engine keeps its own.
fn elsewhere(report: &mut Report, engine: Engine, choice: &str, monitors: &[Monitor]) {
    let enabled: Vec<_> =
        monitors.iter().filter(|one| one.is_enabled() && sends_to_us(one)).collect();
    let mut names: Vec<_> = enabled.iter().map(|one| format!("{:?}", one.name())).collect();
    names.sort_unstable();
    names.truncate(NAMES);
    let more = enabled.len().saturating_sub(names.len());
    let names =
        names.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") };
    if enabled.is_empty() {
        return;
    }
    match engine {
        Engine::Builtin => report.warn(
            "engine",
            format!(
                "alertloop runs the monitors, and the plugin has some that are enabled and send here \
                 too: {names}; what both find becomes two records"
            ),
            format!("disable them in Dashboards, or set ALERTLOOP_MONITORS={choice}"),
        ),
        Engine::Plugin => report.warn(
            "engine",
            format!(
                "the plugin runs the monitors, and nobody runs those that alertloop keeps and that are \
                 enabled: {names}"
            ),
            format!(
                "enable them in the plugin and disable them here with ALERTLOOP_MONITORS={choice} \
                 alertloop monitors disable NAME, or set ALERTLOOP_MONITORS={choice} for good"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(name: &str, enabled: bool, to: &str) -> Monitor {
        let body = json!({"name": name, "enabled": enabled, "triggers": [
            {"query_level_trigger": {"actions": [{"destination_id": to}]}}]});
        Monitor { id: name.to_owned(), body, ..Monitor::default() }
    }

    #[test]
    fn only_enabled_monitors_of_the_other_engine_that_send_to_us_are_told() {
        let ours = "malcolm-api-loopback-webhook";
        let quiet = [monitor("off", false, ours), monitor("other", true, "pager")];
        let five: Vec<_> = ["e", "d", "c", "b", "a"].map(|name| monitor(name, true, ours)).into();
        for (engine, monitors, want) in [
            (Engine::Builtin, &quiet[..], None),
            (Engine::Plugin, &quiet[..], None),
            (Engine::Builtin, &five[..1], Some("send here too: \"e\"; what")),
            (Engine::Builtin, &five[..], Some("\"a\", \"b\", \"c\" and 2 more")),
            (Engine::Plugin, &five[..], Some("nobody runs those")),
        ] {
            let mut report = Report::default();
            elsewhere(&mut report, engine, "word", monitors);
            let text = report.to_string();
            match want {
                None => assert!(report.findings.is_empty(), "{text}"),
                Some(want) => assert!(text.contains(want) && text.contains("=word"), "{text}"),
            }
        }
    }

    #[test]
    fn an_engine_that_is_refused_is_told_with_what_mends_it() {
        for (status, reason, want) in [
            (
                403,
                "no permissions for [cluster:admin/x] and User [name=a]",
                "permission cluster:admin/x",
            ),
            (403, "forbidden", "the permission of-it"),
            (400, "no handler", "has the module of Painless"),
            (503, "away", "look into the store's log"),
        ] {
            let mut report = Report::default();
            let fault = Error::Status { status, reason: reason.to_owned() };
            refused(&mut report, "Painless", "/_scripts", "of-it", &fault);
            let text = report.to_string();
            assert!(text.starts_with("FAIL") && text.contains(want), "{text}");
        }
    }
}
