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

use crate::alert::{Alert, Body};

/// Lists of alerts of the monitor itself.
const LISTS: [&str; 4] = ["newAlerts", "dedupedAlerts", COMPLETED, "alerts"];
const COMPLETED: &str = "completedAlerts";
/// Ids of alerts that other monitors have.
const DELEGATES: &str = "monitorIdToAlertIdsMap";

/// What a firing lists.
pub struct Listed<'a> {
    lists: Vec<(&'static str, &'a Vec<Value>)>,
    delegates: Option<&'a Map<String, Value>>,
}

impl<'a> Listed<'a> {
    /// What is listed in the object `alert`; `None` where nothing is.
    pub fn read(alert: &'a Map<String, Value>) -> Option<Self> {
        let lists = LISTS.into_iter().filter_map(|key| Some((key, alert.get(key)?.as_array()?)));
        let lists: Vec<_> = lists.filter(|(_, list)| !list.is_empty()).collect();
        let delegates = alert.get(DELEGATES).and_then(Value::as_object);
        let delegates = delegates.filter(|map| !map.is_empty());
        (!lists.is_empty() || delegates.is_some()).then_some(Self { lists, delegates })
    }

    /// Fills in what `alert` does not say itself. The only alert of a message is the one that the
    /// record is about; of several none is, and the record is about the firing. Which buckets or
    /// documents they are stands in `event.original`, unless the author said something there.
    pub fn complete(&self, alert: &mut Alert) {
        let mut all = self.lists.iter().flat_map(|(_, list)| list.iter());
        if let (Some(only), None) = (all.next(), all.next()) {
            let id = only.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
            alert.id = alert.id.take().or_else(|| id.map(str::to_owned));
            let began = only.get("start_time").and_then(Value::as_i64);
            let began = began.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            alert.began = alert.began.or(began);
        }
        if matches!(self.lists.as_slice(), [(COMPLETED, _)]) {
            alert.tag("completed");
        }
        if alert.body == Body::Empty {
            alert.body = Body::Text(self.text());
        }
    }

    /// Compact JSON, without what is null or empty.
    fn text(&self) -> String {
        let said = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        let mut lists = Map::new();
        for (key, list) in &self.lists {
            let short = list.iter().map(|one| match one {
                Value::Object(one) => {
                    let kept = one.iter().filter(|(_, value)| said(value));
                    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
                }
                other => other.clone(),
            });
            lists.insert((*key).to_owned(), short.collect());
        }
        if let Some(delegates) = self.delegates {
            lists.insert(DELEGATES.to_owned(), json!(delegates));
        }
        Value::Object(lists).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::opensearch::decode, *};

    fn decoded(alert: &Value) -> Alert {
        let body = json!({ "alert": alert });
        decode(body.as_object().unwrap()).unwrap()
    }

    fn one(id: &str) -> Value {
        json!({"id": id, "start_time": 1_794_038_400_123_i64, "bucket_keys": "a,b", "end_time": null,
               "related_doc_ids": "", "associated_alert_ids": []})
    }

    #[test]
    fn the_only_alert_of_a_message_is_the_one_it_is_about() {
        for list in ["newAlerts", "dedupedAlerts", "completedAlerts", "alerts"] {
            let alert = decoded(&json!({ list: [one("x")] }));
            assert_eq!(alert.id.as_deref(), Some("x"), "{list}");
            assert_eq!(alert.began, "2026-11-07T08:00:00.123Z".parse().ok(), "{list}");
            let over = (list == "completedAlerts").then_some("completed");
            assert_eq!(alert.tags, over.into_iter().collect::<Vec<_>>(), "{list}");
            let start = 1_794_038_400_123_i64;
            let said = json!({list: [{"bucket_keys": "a,b", "id": "x", "start_time": start}]});
            let Body::Text(text) = alert.body else { panic!("{list}") };
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), said);
        }
    }

    #[test]
    fn of_several_none_is_and_all_are_kept() {
        let both =
            json!({"newAlerts": [one("x")], "dedupedAlerts": [one("y")], "completedAlerts": []});
        let alert = decoded(&both);
        assert_eq!((alert.id, alert.began, alert.tags.len()), (None, None, 0));
        let Body::Text(text) = alert.body else { panic!() };
        assert!(text.contains("\"id\":\"x\"") && text.contains("\"id\":\"y\""), "{text}");
    }

    #[test]
    fn what_the_message_says_itself_goes_before_the_list() {
        let said =
            json!({"alert": "own", "start": "1794038400000", "body": "mine", "alerts": [one("x")]});
        let alert = decoded(&said);
        assert_eq!(alert.id.as_deref(), Some("own"));
        assert_eq!(alert.began, "2026-11-07T08:00:00Z".parse().ok());
        assert_eq!(alert.body, Body::Text("mine".to_owned()));
    }

    #[test]
    fn alerts_of_other_monitors_are_kept_and_give_no_id() {
        let alert = decoded(&json!({"monitorIdToAlertIdsMap": {"m": ["x"]}}));
        assert_eq!(alert.id, None);
        assert_eq!(alert.body, Body::Text(r#"{"monitorIdToAlertIdsMap":{"m":["x"]}}"#.to_owned()));
    }

    #[test]
    fn what_opensearch_really_sent_is_read() {
        macro_rules! captured {
            ($name:literal) => {
                include_str!(concat!("../../tests/captured/", $name, ".json"))
            };
        }
        for (body, has_id, tags, listed) in [
            (captured!("bucket-new"), true, vec![], "\"newAlerts\":[{\"bucket_keys\":"),
            (captured!("bucket-again"), true, vec![], "\"dedupedAlerts\":[{\"bucket_keys\":"),
            (captured!("bucket-over"), true, vec!["completed"], "\"bucket_keys\":\"calm\""),
            (captured!("buckets"), false, vec![], "\"bucket_keys\":\"calm\""),
            (captured!("buckets-one-over"), false, vec![], "\"completedAlerts\":[{"),
            (captured!("document"), true, vec![], "\"related_doc_ids\":\"3|"),
            (captured!("composite"), false, vec![], "\"monitorIdToAlertIdsMap\":{"),
            (captured!("bucket-query-fails"), false, vec![], ""),
        ] {
            let json: Value = serde_json::from_str(body).unwrap();
            let alert = decode(json.as_object().unwrap()).unwrap();
            assert_eq!((alert.id.is_some(), alert.began.is_some()), (has_id, has_id), "{body}");
            assert_eq!(alert.tags, tags, "{body}");
            assert!(alert.rule.name.is_some_and(|name| name.starts_with("quo\"te \\ ")), "{body}");
            assert!(alert.start.is_some(), "{body}");
            match alert.body {
                Body::Text(text) => assert!(text.contains(listed) && !listed.is_empty(), "{text}"),
                other => assert_eq!((other, listed), (Body::Empty, ""), "{body}"),
            }
            assert_eq!(alert.error.is_some(), listed.is_empty(), "{body}");
        }
    }

    #[test]
    fn nothing_listed_changes_nothing() {
        for nothing in [json!({}), json!({"newAlerts": [], "monitorIdToAlertIdsMap": {}})] {
            let alert = decoded(&nothing);
            assert_eq!((alert.id, alert.body, alert.tags.len()), (None, Body::Empty, 0));
        }
        // A dry run's alert has no id yet.
        assert_eq!(decoded(&json!({"newAlerts": [one("")]})).id, None);
    }
}
