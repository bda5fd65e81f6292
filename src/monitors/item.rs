//! One monitor as it is listed. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Family, Kind, Monitor, sends_to_us};
use crate::{
    opensearch::alerts::Failed,
    silence::{Reason, Silent},
};

/// The most of the store's words that are repeated, in bytes.
const WORDS: usize = 300;

/// One monitor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = Condition)]
pub struct Item {
    /// Its id; none where a file describes it and the store does not have it.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// `query`, `bucket`, `doc`, `composite`, or the store's own word.
    pub kind: String,
    /// Whether it runs.
    pub enabled: bool,
    /// When it runs, for people.
    pub schedule: String,
    /// When it ran last on the node that has it now.
    pub last_run: Option<String>,
    /// When it fired last, as far as that is known.
    pub last_alert: Option<String>,
    /// How many of its alerts stand, by the records.
    pub engaged: u64,
    /// Whether one of its actions sends to us.
    pub sends_to_us: bool,
    /// The provisioning file that describes it.
    pub file: Option<String>,
    /// The id of its condition, where that file is one.
    pub condition: Option<String>,
    /// What it is for, by its condition.
    pub description: Option<String>,
    /// The severity of its alerts, 0 to 100, by its condition or its first trigger.
    pub severity: Option<u8>,
    /// What is wrong with it.
    pub trouble: Vec<Trouble>,
    /// When it was written last.
    pub changed_at: Option<String>,
    /// Where to look at it, in Dashboards.
    pub url: Option<String>,
}

/// Something that is wrong with a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = ConditionTrouble)]
pub struct Trouble {
    /// `late` (it does not run), `failed` (nobody was told), `broken` (its query or trigger fails) or
    /// `missing` (OpenSearch does not have it).
    pub reason: String,
    /// What was seen, for people.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl From<Silent> for Trouble {
    fn from(silent: Silent) -> Self {
        let Silent { reason, what, mend, .. } = silent;
        Self { reason: Reason::name(reason).to_owned(), what, mend: mend.to_owned() }
    }
}

impl Trouble {
    /// Of a monitor whose query or trigger fails.
    pub(super) fn broken(failure: &Failed) -> Self {
        let why = &failure.message[..failure.message.floor_char_boundary(WORDS)];
        let at = failure.at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
        Self {
            reason: "broken".to_owned(),
            what: format!("it could not be run{at}: {why}"),
            mend: "correct its query or its trigger".to_owned(),
        }
    }
}

impl Item {
    /// Of what the store has.
    pub(super) fn of(family: Family, monitor: &Monitor) -> Self {
        let body = &monitor.body;
        let kind = match Kind::of(body) {
            Some(Kind::Composite) => "composite",
            _ if family == Family::Workflow => "composite",
            Some(Kind::Query) => "query",
            Some(Kind::Bucket) => "bucket",
            Some(Kind::Doc) => "doc",
            None => body["monitor_type"].as_str().unwrap_or("unknown"),
        };
        let id = Some(monitor.id.clone()).filter(|id| !id.is_empty());
        let of = if family == Family::Workflow { "workflow" } else { "monitor" };
        let changed = body["last_update_time"].as_i64();
        let changed = changed.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        Self {
            url: id.as_ref().map(|id| dashboards(id, of)),
            id,
            name: monitor.name().to_owned(),
            kind: kind.to_owned(),
            enabled: monitor.is_enabled(),
            schedule: schedule(&body["schedule"]),
            sends_to_us: sends_to_us(monitor),
            severity: severity(body),
            changed_at: changed.map(|at| format!("{at:.3}")),
            ..Self::default()
        }
    }

    /// Whether it sends to us, or one of our files describes it.
    #[must_use]
    pub fn concerns_us(&self) -> bool {
        self.sends_to_us || self.file.is_some()
    }
}

/// As in `event.url`.
fn dashboards(id: &str, kind: &str) -> String {
    format!("/dashboards/app/alerting#/monitors/{id}?type={kind}")
}

/// That of the first trigger.
fn severity(body: &Value) -> Option<u8> {
    let trigger = body["triggers"].as_array()?.first()?.as_object()?.values().next()?;
    Some(crate::intake::severity_in_opensearch(Some(trigger.get("severity")?)))
}

/// For people: `every 5 minutes`, or the cron expression with its zone.
fn schedule(schedule: &Value) -> String {
    let period = &schedule["period"];
    if let (Some(interval), Some(unit)) = (period["interval"].as_i64(), period["unit"].as_str()) {
        let unit = unit.to_ascii_lowercase();
        let one = unit.strip_suffix('s').unwrap_or(&unit);
        return match interval {
            1 => format!("every {one}"),
            _ => format!("every {interval} {unit}"),
        };
    }
    let cron = &schedule["cron"];
    match (cron["expression"].as_str(), cron["timezone"].as_str()) {
        (Some(expression), Some(zone)) => format!("at {expression:?} ({zone})"),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provision::desired::CHANNEL_ID;

    fn item(family: Family, body: Value) -> Item {
        Item::of(family, &Monitor { id: "x".to_owned(), body, ..Monitor::default() })
    }

    #[test]
    fn a_monitor_is_listed_with_its_kind_schedule_and_link() {
        for (body, family, kind, schedule, url) in [
            (
                json!({"monitor_type": "query_level_monitor",
                       "schedule": {"period": {"interval": 1, "unit": "MINUTES"}}}),
                Family::Monitor,
                "query",
                "every minute",
                "type=monitor",
            ),
            (
                json!({"monitor_type": "doc_level_monitor",
                       "schedule": {"period": {"interval": 2, "unit": "HOURS"}}}),
                Family::Monitor,
                "doc",
                "every 2 hours",
                "type=monitor",
            ),
            (
                json!({"workflow_type": "composite",
                       "schedule": {"cron": {"expression": "0 8 * * *", "timezone": "UTC"}}}),
                Family::Workflow,
                "composite",
                "at \"0 8 * * *\" (UTC)",
                "type=workflow",
            ),
            (
                json!({"monitor_type": "ppl_monitor"}),
                Family::Monitor,
                "ppl_monitor",
                "unknown",
                "x",
            ),
        ] {
            let item = item(family, body);
            assert_eq!((item.kind.as_str(), item.schedule.as_str()), (kind, schedule));
            assert!(item.url.unwrap().ends_with(url) || url == "x");
        }
    }

    #[test]
    fn what_sends_to_us_or_has_a_file_of_ours_concerns_us() {
        let body = |channel: &str| {
            json!({"enabled": true, "triggers": [{"query_level_trigger": {
                "severity": "2", "actions": [{"destination_id": channel}]}}]})
        };
        let ours = item(Family::Monitor, body(CHANNEL_ID));
        assert_eq!((ours.sends_to_us, ours.severity, ours.enabled), (true, Some(80), true));
        let mut other = item(Family::Monitor, body("pager"));
        assert!(ours.concerns_us() && !other.concerns_us());
        other.file = Some("conditions/x.toml".to_owned());
        assert!(other.concerns_us());
    }
}
