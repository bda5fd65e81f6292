//! The alerts that one firing lists. A bucket-level monitor has one alert a bucket, a
//! document-level monitor one a document, and a composite one names the alerts of the monitors that
//! it is made of; one message may be about any number of them.
//!
//! ```json
//! {"newAlerts": [{"id": "…", "start_time": 1794038400123, "bucket_keys": "zeek,10.0.0.1"}],
//!  "dedupedAlerts": [], "completedAlerts": []}                                  bucket-level
//! {"alerts": [{"id": "…", "start_time": 1794038400123, "related_doc_ids": "id|index"}]}
//! {"monitorIdToAlertIdsMap": {"monitor id": ["alert id"]}}                      composite
//! ```
//! Source: the contexts of OpenSearch Alerting (`BucketLevelTriggerExecutionContext.kt`,
//! `DocumentLevelTriggerExecutionContext.kt`, `ChainedAlertTriggerExecutionContext.kt`,
//! `asTemplateArg` of `Alert.kt`), seen on 3.4.0.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::occasion;
use crate::alert::{Alert, Body, Phase, bucket::Bucket};

/// Lists of alerts of the monitor itself; of an alert in two of them the first tells.
const LISTS: [&str; 4] = [COMPLETED, "newAlerts", "dedupedAlerts", "alerts"];
const COMPLETED: &str = "completedAlerts";
/// Ids of alerts that other monitors have.
const DELEGATES: &str = "monitorIdToAlertIdsMap";

/// What a firing lists.
pub struct Listed<'a> {
    lists: Vec<(&'static str, &'a Vec<Value>)>,
    delegates: Option<&'a Map<String, Value>>,
}

/// One alert of a list.
#[derive(Clone, Copy)]
struct One<'a> {
    list: &'static str,
    id: &'a str,
    alert: &'a Map<String, Value>,
}

impl<'a> Listed<'a> {
    /// What is listed in the object `alert`; `None` where nothing is.
    pub fn read(alert: &'a Map<String, Value>) -> Option<Self> {
        let lists = LISTS.into_iter().filter_map(|key| Some((key, alert.get(key)?.as_array()?)));
        let lists: Vec<_> = lists.filter(|(_, list)| !list.is_empty()).collect();
        let delegates = alert.get(DELEGATES).and_then(Value::as_object);
        (!lists.is_empty() || delegates.is_some()).then_some(Self { lists, delegates })
    }

    /// One alert for each that is listed, with what `firing`, the message, says of all of them. Its
    /// own part stands in `event.original`, unless the author said something there. Where the
    /// message says itself which alert it is about, and lists no other ones or only one, it is one
    /// about that alert; where no id is listed, it is one about the firing.
    pub fn expand(&self, mut firing: Alert) -> Vec<Alert> {
        firing.is_composite = self.delegates.is_some();
        let all = self.alerts();
        let is_listed = |id: &String| all.iter().any(|one| one.id == id);
        let own_is_other = firing.id.as_ref().is_some_and(|id| !is_listed(id));
        let mut alerts = Vec::with_capacity(all.len());
        if all.is_empty() || own_is_other {
            let mut own = firing.clone();
            if own.body == Body::Empty && self.says_something() {
                own.body = Body::Text(self.text());
            }
            alerts.push(own);
            if all.len() == 1 {
                return alerts;
            }
        }
        alerts.extend(all.iter().map(|one| one.complete(firing.clone())));
        alerts
    }

    /// Every alert that has an id, once.
    fn alerts(&self) -> Vec<One<'a>> {
        let mut seen = std::collections::HashSet::new();
        let each = self.lists.iter().flat_map(|(list, alerts)| {
            alerts.iter().filter_map(|alert| {
                let alert = alert.as_object()?;
                let id = alert.get("id")?.as_str().filter(|id| !id.is_empty())?;
                Some(One { list, id, alert })
            })
        });
        each.filter(|one| seen.insert(one.id)).collect()
    }

    fn says_something(&self) -> bool {
        !self.lists.is_empty() || self.delegates.is_some_and(|map| !map.is_empty())
    }

    /// Compact JSON, without what is null or empty.
    fn text(&self) -> String {
        let mut lists = Map::new();
        for (key, list) in &self.lists {
            lists.insert((*key).to_owned(), list.iter().map(short).collect());
        }
        if let Some(delegates) = self.delegates.filter(|map| !map.is_empty()) {
            lists.insert(DELEGATES.to_owned(), json!(delegates));
        }
        Value::Object(lists).to_string()
    }
}

impl One<'_> {
    /// The alert, with what the message says of all.
    fn complete(self, firing: Alert) -> Alert {
        let time = |key: &str| {
            let ms = self.alert.get(key).and_then(Value::as_i64)?;
            Timestamp::from_millisecond(ms).ok()
        };
        let mut alert = firing;
        alert.id = Some(self.id.to_owned());
        alert.began = time("start_time").or(alert.began);
        alert.bucket = Bucket::of_listed(self.alert);
        alert.start = alert.start.map(|start| alert.began.map_or(start, |began| began.min(start)));
        let state = self.alert.get("state").and_then(Value::as_str).unwrap_or_default();
        if self.list == COMPLETED || state == "COMPLETED" {
            alert.phase = Phase::Released;
            alert.as_of = time("end_time");
            alert.end = alert.as_of.max(alert.end);
        } else if state == "ACKNOWLEDGED" {
            alert.phase = Phase::Acknowledged;
        }
        occasion::of_group(&mut alert, self.alert);
        if alert.body == Body::Empty {
            let own = short(&Value::Object(self.alert.clone()));
            alert.body = Body::Text(json!({ self.list: [own] }).to_string());
        }
        alert
    }
}

/// Without what is null or empty.
fn short(one: &Value) -> Value {
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    match one {
        Value::Object(one) => {
            let kept = one.iter().filter(|(_, value)| said(value));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::opensearch::decode, *};

    fn all(alert: &Value) -> Vec<Alert> {
        let body = json!({ "alert": alert });
        decode(body.as_object().unwrap()).unwrap()
    }

    fn only(alert: &Value) -> Alert {
        let mut all = all(alert);
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    fn ids(alerts: &[Alert]) -> Vec<&str> {
        alerts.iter().map(|alert| alert.id.as_deref().unwrap_or("none")).collect()
    }

    fn original(alert: &Alert) -> &str {
        match &alert.body {
            Body::Text(text) => text,
            Body::Empty => "",
            Body::Json { .. } => panic!("{alert:?}"),
        }
    }

    const START: i64 = 1_794_038_400_123;

    fn one(id: &str) -> Value {
        json!({"id": id, "start_time": START, "bucket_keys": "a,b", "end_time": null,
               "related_doc_ids": "", "associated_alert_ids": [], "state": "ACTIVE"})
    }

    fn over(id: &str) -> Value {
        let mut over = one(id);
        over["state"] = json!("COMPLETED");
        over["end_time"] = json!(START + 5);
        over
    }

    #[test]
    fn each_listed_alert_becomes_one_with_its_own_part_of_the_message() {
        let message = json!({"trigger": {"name": "t"}, "newAlerts": [one("x"), one("y")],
            "dedupedAlerts": [one("z")], "completedAlerts": [over("w")],
            "period": {"start": "2026-11-07T07:00:00Z", "end": "2026-11-07T08:00:00.124Z"}});
        let alerts = all(&message);
        assert_eq!(ids(&alerts), ["w", "x", "y", "z"]);
        for alert in &alerts {
            assert_eq!(alert.began, "2026-11-07T08:00:00.123Z".parse().ok());
            assert_eq!(alert.start, "2026-11-07T07:00:00Z".parse().ok());
            assert_eq!(alert.trigger.name.as_deref(), Some("t"));
            assert!(alert.bucket.is_some() && alert.tags.is_empty());
        }
        let w = &alerts[0];
        let ended = "2026-11-07T08:00:00.128Z".parse().ok();
        assert_eq!((w.phase, w.as_of, w.end), (Phase::Released, ended, ended));
        let x = &alerts[1];
        let end = "2026-11-07T08:00:00.124Z".parse().ok();
        assert_eq!((x.phase, x.as_of, x.end), (Phase::Engaged, None, end));
        let said = json!({"newAlerts": [{"bucket_keys": "a,b", "id": "x", "start_time": START, "state": "ACTIVE"}]});
        assert_eq!(serde_json::from_str::<Value>(original(x)).unwrap(), said);
    }

    #[test]
    fn an_alert_in_two_lists_is_one_and_over_if_one_says_so() {
        let twice = json!({"dedupedAlerts": [one("x"), one("x")], "completedAlerts": [over("x")]});
        assert_eq!(only(&twice).phase, Phase::Released);
    }

    #[test]
    fn an_alert_that_somebody_has_noted_stays_so() {
        let mut noted = one("x");
        noted["state"] = json!("ACKNOWLEDGED");
        assert_eq!(only(&json!({"dedupedAlerts": [noted]})).phase, Phase::Acknowledged);
    }

    #[test]
    fn an_alert_that_began_before_the_period_starts_then() {
        let later =
            json!({"dedupedAlerts": [one("x")], "period": {"start": "2026-11-07T09:00:00Z"}});
        let alert = only(&later);
        assert_eq!(
            (alert.start, alert.began),
            (alert.began, "2026-11-07T08:00:00.123Z".parse().ok())
        );
    }

    #[test]
    fn what_the_message_says_itself_goes_before_the_list() {
        let mut said =
            json!({"alert": "own", "start": "1794038400000", "body": "mine", "alerts": [one("x")]});
        let alert = only(&said);
        assert_eq!(alert.id.as_deref(), Some("own"));
        assert_eq!(alert.began, "2026-11-07T08:00:00Z".parse().ok());
        assert_eq!(alert.body, Body::Text("mine".to_owned()));

        said["alerts"] = json!([one("x"), one("y")]);
        let alerts = all(&said);
        assert_eq!(ids(&alerts), ["own", "x", "y"], "none is lost");
        assert!(alerts.iter().all(|alert| original(alert) == "mine"));
        said["alert"] = json!("y");
        assert_eq!(ids(&all(&said)), ["x", "y"]);
    }

    #[test]
    fn alerts_of_other_monitors_are_kept_and_give_no_id() {
        let alert = only(&json!({"monitorIdToAlertIdsMap": {"m": ["x"]}}));
        assert_eq!((alert.id.as_deref(), alert.is_composite), (None, true));
        assert_eq!(original(&alert), r#"{"monitorIdToAlertIdsMap":{"m":["x"]}}"#);
    }

    #[test]
    fn what_opensearch_really_sent_is_read() {
        use Phase::{Engaged, Released};
        macro_rules! captured {
            ($name:literal) => {
                include_str!(concat!("../../tests/captured/", $name, ".json"))
            };
        }
        let new = "\"newAlerts\":[{\"bucket_keys\":";
        let completed = "\"completedAlerts\":[{";
        for (body, listed) in [
            (captured!("bucket-new"), vec![(Engaged, new)]),
            (captured!("bucket-again"), vec![(Engaged, "\"dedupedAlerts\":[{\"bucket_keys\":")]),
            (captured!("bucket-over"), vec![(Released, "\"bucket_keys\":\"calm\"")]),
            (captured!("buckets"), vec![(Engaged, new), (Engaged, new)]),
            (
                captured!("buckets-one-over"),
                vec![(Released, completed), (Engaged, "\"dedupedAlerts\"")],
            ),
            (captured!("document"), vec![(Engaged, "\"related_doc_ids\":\"3|")]),
        ] {
            let json: Value = serde_json::from_str(body).unwrap();
            let alerts = decode(json.as_object().unwrap()).unwrap();
            assert_eq!(alerts.len(), listed.len(), "{body}");
            for (alert, (phase, text)) in alerts.iter().zip(listed) {
                assert!(alert.id.is_some() && alert.began.is_some() && alert.start.is_some());
                assert_eq!((alert.phase, alert.as_of.is_some()), (phase, phase == Released));
                assert!(original(alert).contains(text), "{}", original(alert));
                assert_eq!(
                    original(alert).matches("\"id\":").count(),
                    if text.contains("doc_ids") { 2 } else { 1 }
                );
                assert!(alert.error.is_none() && alert.tags.is_empty(), "{body}");
            }
        }
        for (body, listed, is_composite) in [
            (captured!("composite"), "\"monitorIdToAlertIdsMap\":{", true),
            (captured!("bucket-query-fails"), "", false),
        ] {
            let json: Value = serde_json::from_str(body).unwrap();
            let alert = only(&json["alert"]);
            assert_eq!((alert.id.as_deref(), alert.is_composite), (None, is_composite), "{body}");
            assert!(alert.rule.name.as_ref().is_some_and(|name| name.starts_with("quo\"te \\ ")));
            assert!(original(&alert).contains(listed), "{body}");
            assert_eq!(alert.error.is_some(), listed.is_empty(), "{body}");
        }
    }

    #[test]
    fn nothing_listed_changes_nothing() {
        for nothing in [json!({}), json!({"newAlerts": [], "monitorIdToAlertIdsMap": {}})] {
            let alert = only(&nothing);
            assert_eq!(
                (alert.id.as_deref(), &alert.body, alert.tags.len()),
                (None, &Body::Empty, 0)
            );
        }
        // A dry run's alert has no id yet.
        let dry = only(&json!({"newAlerts": [one("")]}));
        assert!(dry.id.is_none() && original(&dry).contains("newAlerts"));
    }
}
