//! An alert as the Alerting API tells it (`GET _plugins/_alerting/monitors/alerts`), one a body:
//!
//! ```json
//! {"id": "…", "state": "ACTIVE | ACKNOWLEDGED | COMPLETED | ERROR | DELETED",
//!  "monitor_id": "…", "monitor_name": "…", "workflow_id": "", "workflow_name": "",
//!  "trigger_id": "…", "trigger_name": "…", "severity": "1", "error_message": null,
//!  "start_time": 1794038400123, "last_notification_time": 1794038400123,
//!  "acknowledged_time": null, "end_time": null,
//!  "agg_alert_content": {"parent_bucket_path": "…", "bucket_keys": ["…"], "bucket": {"key": {}}},
//!  "related_doc_ids": ["id|index"], "finding_ids": ["…"], "associated_alert_ids": ["…"]}
//! ```
//! The last lines are what alerts of bucket- and document-level and of composite monitors have more.
//! Times are epoch ms of the cluster's clocks. Source: `Alert.kt` of OpenSearch's common-utils; seen
//! on 2.19.4, 3.4.0 and 3.8.0.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Undecodable, opensearch::severity};
use crate::{
    alert::{Alert, Body, Named, Phase, Source, bucket::Bucket},
    opensearch::words,
};

/// Tag of an alert whose monitor or trigger was deleted while it was active, or of which nothing is
/// left.
pub const ORPHANED: &str = "orphaned";
/// The state of an alert that the API does not know any more; ours.
const VANISHED: &str = "VANISHED";
/// Epoch ms that its state counts from at least, whatever its times say; ours.
const COUNTS_FROM: &str = "alertloop_counts_from";

/// An index may be of one hour; an alert's period may be of weeks.
const HOUR: i64 = 3_600_000;
const MOST_HOURS: i64 = 24 * 32;

/// Reads one alert.
///
/// # Errors
/// [`Undecodable`] where it is none, or in a state that nobody knows.
pub fn decode(body: &[u8]) -> Result<Alert, Undecodable> {
    let json: Value =
        serde_json::from_slice(body).map_err(|fault| Undecodable(format!("not JSON: {fault}")))?;
    read(&json)
}

/// Reads one alert.
///
/// # Errors
/// [`Undecodable`] where it is none, or in a state that nobody knows.
pub fn read(json: &Value) -> Result<Alert, Undecodable> {
    let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let time = |key: &str| json[key].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let id = text("id").ok_or_else(|| Undecodable("an alert without an id".to_owned()))?;
    let state = text("state").unwrap_or_default();
    let start = time("start_time");
    let (ended, acknowledged) = (time("end_time"), time("acknowledged_time"));
    let active = time("last_notification_time").max(start);
    let latest = active.max(acknowledged).max(ended);
    let (phase, as_of) = match state.as_str() {
        // The error of a document-level monitor that runs again gets an end.
        "ERROR" if ended.is_some() => (Phase::Released, ended),
        "ACTIVE" | "ERROR" => (Phase::Engaged, active),
        "ACKNOWLEDGED" => (Phase::Acknowledged, acknowledged.or(active)),
        "COMPLETED" | VANISHED => (Phase::Released, ended.or(latest)),
        // Nothing tells when: right after the last that is known of it.
        "DELETED" => (Phase::Released, latest.and_then(after)),
        other => return Err(Undecodable(format!("an alert in the unknown state {other:?}"))),
    };
    let is_composite = text("monitor_id").is_none() && text("workflow_id").is_some();
    let message = text("error_message").filter(|_| state == "ERROR");
    let mut alert = Alert {
        id: Some(id),
        // An alert of a composite monitor has no monitor.
        rule: if is_composite {
            Named { id: text("workflow_id"), name: text("workflow_name") }
        } else {
            Named { id: text("monitor_id"), name: text("monitor_name") }
        },
        trigger: Named { id: text("trigger_id"), name: text("trigger_name") },
        severity: severity(json.get("severity")),
        start,
        end: latest,
        began: start,
        phase,
        as_of,
        is_reconciled: true,
        is_composite,
        bucket: bucket(json),
        body: related(json),
        // An alert whose webhook, or another action, failed is itself true.
        error: message.filter(|message| words::failed_action(message).is_none()),
        ..Alert::of(Source::Reconciler)
    };
    alert.as_of = alert.as_of.max(time(COUNTS_FROM));
    if state == "DELETED" || state == VANISHED {
        alert.tag(ORPHANED);
    }
    if let Some(bucket) = alert.bucket.take() {
        bucket.tell(&mut alert);
        alert.bucket = Some(bucket);
    }
    Ok(alert)
}

/// Makes an alert's state count from that time on (epoch ms), so that it is not taken for older than
/// what its record says.
pub fn count_from(alert: &mut Value, at: i64) {
    if let Some(alert) = alert.as_object_mut() {
        alert.insert(COUNTS_FROM.to_owned(), json!(at));
    }
}

/// The end of an alert that the API does not know any more, made of what its open record says
/// (`event.{start,end,ingested,sequence,reason}`, `rule`): it ended at the last time that is known
/// of it.
///
/// The record does not tell when the alert began, which decides where it is: at some time between
/// its start, which may be that of the monitor's period, and its end. Whether a begin leads to the
/// record tells `is_there`; `None` where no begin does.
#[must_use]
pub fn vanished(id: &str, record: &Value, is_there: impl Fn(&Alert) -> bool) -> Option<Value> {
    let event = &record["event"];
    let ms = |key: &str| {
        let at = event[key].as_str()?.parse::<Timestamp>().ok()?;
        Some(at.as_millisecond())
    };
    let end = ms("end").max(event["sequence"].as_i64());
    let start = ms("start")?;
    let hours = (1..MOST_HOURS).map(|hour| start.saturating_add(hour * HOUR));
    let within = hours.take_while(|at| end.is_some_and(|end| *at < end));
    let begins = std::iter::once(start).chain(within).chain(end).chain(ms("ingested"));
    let mut alerts = begins.map(|begin| ended(id, record, begin, end));
    alerts.find(|alert| read(alert).is_ok_and(|alert| is_there(&alert)))
}

fn ended(id: &str, record: &Value, begin: i64, end: Option<i64>) -> Value {
    json!({
        "id": id, "state": VANISHED,
        "monitor_id": record["rule"]["id"], "monitor_name": record["rule"]["name"],
        "trigger_name": record["event"]["reason"],
        "start_time": begin, "end_time": end,
    })
}

/// The reconciler puts the `inputs` of its monitor beside it, which tell what the bucket is made of.
fn bucket(json: &Value) -> Option<Bucket> {
    let mut bucket = Bucket::of_content(&json["agg_alert_content"])?;
    if json.get("inputs").is_some() {
        bucket.learn(json);
    }
    Some(bucket)
}

/// What else the alert names: its bucket, its documents, the alerts that it is made of.
fn related(json: &Value) -> Body {
    let lists = ["related_doc_ids", "finding_ids", "associated_alert_ids"];
    let lists = lists.map(|key| (key, &json[key]));
    let keys = ("bucket_keys", &json["agg_alert_content"]["bucket_keys"]);
    let told: Map<String, Value> = lists
        .into_iter()
        .chain([keys])
        .filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()))
        .map(|(key, list)| (key.to_owned(), list.clone()))
        .collect();
    if told.is_empty() { Body::Empty } else { Body::Text(Value::Object(told).to_string()) }
}

fn after(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_millisecond() + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: &str, times: [Option<i64>; 3], error: Option<&str>) -> Value {
        let [last, acknowledged, end] = times;
        json!({"id": "a", "version": 1, "monitor_id": "m", "monitor_name": "Beacons", "state": state,
               "workflow_id": "", "trigger_id": "t", "trigger_name": "over 9", "severity": "2",
               "error_message": error, "start_time": 1000, "last_notification_time": last,
               "acknowledged_time": acknowledged, "end_time": end})
    }

    #[test]
    fn each_state_has_its_phase_and_its_time() {
        use Phase::{Acknowledged, Engaged, Released};
        let failed = Some("Failed evaluating trigger: x");
        for (state, times, error, phase, as_of, end) in [
            ("ACTIVE", [Some(2000), None, None], None, Engaged, 2000, 2000),
            ("ACTIVE", [None, None, None], None, Engaged, 1000, 1000),
            ("ACKNOWLEDGED", [Some(2000), Some(3000), None], None, Acknowledged, 3000, 3000),
            ("COMPLETED", [Some(2000), Some(3000), Some(4000)], None, Released, 4000, 4000),
            ("COMPLETED", [Some(2000), None, None], None, Released, 2000, 2000),
            ("DELETED", [Some(2000), Some(3000), None], None, Released, 3001, 3000),
            ("ERROR", [Some(2000), None, None], failed, Engaged, 2000, 2000),
            ("ERROR", [Some(2000), None, Some(5000)], failed, Released, 5000, 5000),
        ] {
            let read = read(&alert(state, times, error)).unwrap();
            let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
            assert_eq!((read.phase, ms(read.as_of), ms(read.end)), (phase, Some(as_of), Some(end)));
            assert_eq!((ms(read.start), ms(read.began)), (Some(1000), Some(1000)), "{state}");
            assert_eq!(read.error.is_some(), error.is_some(), "{state}");
            assert_eq!(read.tags.contains(&ORPHANED.into()), state == "DELETED");
            assert_eq!((read.severity, read.is_reconciled), (80, true));
        }
    }

    #[test]
    fn a_lost_webhook_is_no_failure_of_the_monitor() {
        let lost = alert("ERROR", [Some(2000), None, None], Some("Failed running action: refused"));
        let read = read(&lost).unwrap();
        assert_eq!((read.phase, read.error), (Phase::Engaged, None));
    }

    #[test]
    fn what_is_not_known_any_more_ended_when_it_was_last_known() {
        let record = json!({"rule": {"name": "Beacons"}, "event": {"reason": "over 9",
            "start": "2026-11-06T05:00:00.000Z", "end": "2026-11-06T05:05:00.000Z",
            "sequence": 1_793_941_500_000_i64}});
        let alert = read(&vanished("a", &record, |_| true).unwrap()).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().ok();
        assert_eq!(
            (alert.phase, alert.tags.as_slice()),
            (Phase::Released, [ORPHANED.into()].as_slice())
        );
        assert_eq!(alert.start, at("2026-11-06T05:00:00Z"));
        assert_eq!((alert.end, alert.as_of), (at("2026-11-06T05:05:00Z"), alert.end));
        assert_eq!(alert.rule.name.as_deref(), Some("Beacons"));
    }

    #[test]
    fn what_is_not_known_any_more_is_looked_for_where_its_record_is() {
        let record = json!({"event": {"start": "2026-11-04T23:59:00.000Z",
            "end": "2026-11-07T00:00:01.000Z", "ingested": "2026-11-07T00:00:02.000Z"}});
        let began = |day: &'static str| {
            let there =
                |alert: &Alert| alert.began.is_some_and(|at| at.to_string().starts_with(day));
            let alert = vanished("a", &record, there)?;
            Some((read(&alert).unwrap().began?.to_string(), alert["end_time"].as_i64()?))
        };
        let end = 1_794_009_601_000;
        for (day, want) in [
            ("2026-11-04", Some("2026-11-04T23:59:00Z")),
            ("2026-11-05", Some("2026-11-05T00:59:00Z")),
            ("2026-11-06T07", Some("2026-11-06T07:59:00Z")),
            ("2026-11-07", Some("2026-11-07T00:00:01Z")),
            ("2026-11-07T00:00:02", Some("2026-11-07T00:00:02Z")),
            ("2026-11-08", None),
        ] {
            assert_eq!(began(day), want.map(|want| (want.to_owned(), end)), "{day}");
        }
    }

    #[test]
    fn a_state_can_be_made_to_count_from_later_than_its_times_say() {
        let mut alert = alert("COMPLETED", [Some(2000), None, Some(4000)], None);
        count_from(&mut alert, 9000);
        let read = read(&alert).unwrap();
        let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        assert_eq!((ms(read.as_of), ms(read.end)), (Some(9000), Some(4000)));
    }

    #[test]
    fn what_is_no_alert_says_why() {
        let of = |json: Value| read(&json).unwrap_err().0;
        assert!(of(json!({"state": "ACTIVE"})).contains("without an id"));
        assert!(of(json!({"id": "a", "state": "AUDIT"})).contains("\"AUDIT\""));
        assert!(decode(b"[").unwrap_err().0.contains("not JSON"));
    }

    #[test]
    fn an_alert_of_a_composite_monitor_is_its_workflows() {
        let mut chained = alert("ACTIVE", [Some(2000), None, None], None);
        chained["monitor_id"] = json!("");
        chained["workflow_id"] = json!("w");
        chained["workflow_name"] = json!("Both");
        chained["associated_alert_ids"] = json!(["b"]);
        let alert = read(&chained).unwrap();
        let workflow = Named { id: Some("w".to_owned()), name: Some("Both".to_owned()) };
        assert_eq!((alert.rule, alert.is_composite), (workflow, true));
        assert_eq!(alert.body, Body::Text("{\"associated_alert_ids\":[\"b\"]}".to_owned()));
    }

    #[test]
    fn an_alert_names_its_bucket_or_its_documents() {
        let mut alert = alert("ACTIVE", [Some(2000), None, None], None);
        let plain = read(&alert).unwrap();
        assert_eq!((plain.bucket, plain.body, plain.is_composite), (None, Body::Empty, false));
        alert["agg_alert_content"] = json!({"parent_bucket_path": "composite_agg",
            "bucket_keys": ["10.0.0.1"], "bucket": {"doc_count": 1, "key": {"source.ip": "10.0.0.1"}}});
        let bucket = read(&alert).unwrap();
        let fields = bucket.bucket.unwrap().about().fields;
        assert_eq!(fields, [("source.ip".to_owned(), json!("10.0.0.1"))]);
        assert_eq!(bucket.body, Body::Text("{\"bucket_keys\":[\"10.0.0.1\"]}".to_owned()));
        alert["agg_alert_content"] = Value::Null;
        alert["related_doc_ids"] = json!(["3|ix"]);
        let document = read(&alert).unwrap();
        assert_eq!(document.bucket, None);
        assert_eq!(document.body, Body::Text("{\"related_doc_ids\":[\"3|ix\"]}".to_owned()));
    }
}
