//! All monitors: those that send nowhere, those that feed on themselves, and those whose webhooks
//! were lost or whose queries fail.

use super::Report;
use crate::{
    opensearch::{
        Client,
        alerting::{self, Monitor},
        alerts::{self, Failed},
        notifications,
    },
    provision::{desired::Desired, loop_guard},
    silence::{newest, sends_to_us, why_action_failed},
};

/// The most of the store's words that are repeated, in bytes.
const WORDS: usize = 300;

/// What a look at all monitors shows; gives the monitors, unless they cannot be read.
pub(super) async fn look(
    report: &mut Report,
    client: &Client,
    desired: &Desired,
) -> Option<Vec<Monitor>> {
    let monitors = match alerting::monitors(client).await {
        Ok(monitors) => monitors,
        Err(fault) => {
            report.unread("monitors", &fault);
            return None;
        }
    };
    let said = report.findings.len();
    let is_builtin = client.is_builtin().await.unwrap_or(false);
    if !is_builtin {
        sends_nowhere(report, client, &monitors).await;
    }
    for monitor in monitors.iter().filter(|one| sends_to_us(one)) {
        if let Some(mend) = loop_guard::fault(&monitor.body, desired) {
            let what =
                format!("{:?} also counts the records of alerts, its own too", monitor.name());
            report.warn("monitors", what, mend);
        }
    }
    if report.findings.len() == said {
        let count = monitors.len();
        let more = if is_builtin { "run by alertloop" } else { "all send to channels that exist" };
        report.ok("monitors", format!("{count} there, {more}"));
    }
    match alerts::failed(client).await {
        Ok(failed) => lost(report, &monitors, failed),
        Err(fault) => report.unread("lost", &fault),
    }
    Some(monitors)
}

async fn sends_nowhere(report: &mut Report, client: &Client, monitors: &[Monitor]) {
    let mut ids: Vec<&str> = monitors.iter().flat_map(Monitor::channels).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        match notifications::channel(client, id).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let users = monitors.iter().filter(|one| one.channels().contains(&id));
                let names: Vec<_> = users.map(|one| format!("{:?}", one.name())).collect();
                let what = format!("{} send to {id}, which does not exist", names.join(", "));
                report.warn("monitors", what, "choose a channel that exists in their actions");
            }
            // The others would be refused as well.
            Err(fault) => return report.unread("monitors", &fault),
        }
    }
}

/// The newest failure of each monitor that sends to us.
fn lost(report: &mut Report, monitors: &[Monitor], failed: Vec<Failed>) {
    let ours = |id: &str| monitors.iter().any(|one| one.id == id && sends_to_us(one));
    let newest = newest(failed, ours);
    if newest.is_empty() {
        return report.ok("lost", "no alert of a monitor that sends to us is in an error");
    }
    for failure in newest.into_values() {
        let why = why_action_failed(&failure);
        let Failed { monitor_name: name, at, message, .. } = failure;
        let at = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
        if let Some(why) = why {
            let what = format!("a webhook of {name:?} was lost{at}: {why}");
            let mend = "see the line `webhook`; its record is made from the Alerting API, but OpenSearch \
                        sends nothing again until the throttle is over";
            report.warn("lost", what, mend);
        } else {
            let what = format!("{name:?} could not be run{at}: {}", cut(&message));
            report.warn("lost", what, "correct the query or the trigger of this monitor");
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(WORDS)]
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::{super::State, *};
    use crate::provision::desired::{CHANNEL_ID, OLD_CHANNEL_ID};

    fn monitor(id: &str, channel: &str) -> Monitor {
        let body = json!({"name": id, "triggers": [
            {"query_level_trigger": {"actions": [{"destination_id": channel}]}}]});
        Monitor { id: id.to_owned(), body, ..Monitor::default() }
    }

    fn failure(monitor: &str, second: i64, message: &str) -> Failed {
        Failed {
            monitor_id: monitor.to_owned(),
            monitor_name: format!("name of {monitor}"),
            at: Timestamp::from_second(1_800_000_000 + second).ok(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_lost_webhook_is_told_once_a_monitor_and_only_of_those_that_send_to_us() {
        let monitors =
            [monitor("a", CHANNEL_ID), monitor("b", "pager"), monitor("c", OLD_CHANNEL_ID)];
        let refused = "Failed running action: {\"event_status_list\": [{\"delivery_status\": \
                       {\"status_code\":\"500\",\"status_text\":\"Connection refused\"}}]}";
        let mut report = Report::default();
        let failed = vec![
            failure("a", 0, "Failed running action: the older"),
            failure("a", 9, refused),
            failure("b", 9, refused),
            failure("c", 9, "Failed evaluating trigger: x"),
            failure("gone", 9, refused),
        ];
        lost(&mut report, &monitors, failed);
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let want =
            "a webhook of \"name of a\" was lost at 2027-01-15T08:00:09Z: Connection refused;";
        assert!(lines[0].contains(want), "{text}");
        assert!(lines[1].contains("\"name of c\" could not be run"), "{text}");

        let mut report = Report::default();
        lost(&mut report, &monitors, vec![failure("b", 0, refused)]);
        assert_eq!(report.findings[0].state, State::Ok);
    }
}
