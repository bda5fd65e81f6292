//! Plain bodies, as monitors send them, are read straight into alerts: several times faster than by
//! way of the whole JSON. What is not plain (a wrong type, a fault in the JSON) is not read here; then
//! the way that mends is taken, which gives the same for what is plain.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value, value::RawValue};

use super::{
    MOST_ALERTS,
    lenient::time_in_text,
    occasion,
    opensearch::{body, hits_of, severity},
    pruned::Pruned,
};
use crate::alert::{Alert, Named, Source};

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    alert: Part<'a>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    alert: Text<'a>,
    #[serde(borrow, default)]
    start: Text<'a>,
    #[serde(borrow, default)]
    error: Text<'a>,
    #[serde(borrow, default)]
    monitor: Names<'a>,
    #[serde(borrow, default)]
    trigger: Names<'a>,
    #[serde(borrow, default)]
    period: Period<'a>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    // What the messages of our conditions have more.
    #[serde(borrow)]
    condition: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    result_description: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    backlog: Option<&'a RawValue>,
    // What lists its alerts is not plain: one record for each needs the whole JSON.
    #[serde(rename = "newAlerts", default)]
    new_alerts: Option<IgnoredAny>,
    #[serde(rename = "dedupedAlerts", default)]
    deduped_alerts: Option<IgnoredAny>,
    #[serde(rename = "completedAlerts", default)]
    completed_alerts: Option<IgnoredAny>,
    #[serde(default)]
    alerts: Option<IgnoredAny>,
    #[serde(rename = "monitorIdToAlertIdsMap", default)]
    delegates: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Names<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow)]
    severity: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Period<'a> {
    #[serde(borrow, default)]
    start: Text<'a>,
    #[serde(borrow, default)]
    end: Text<'a>,
}

/// One element of `results`, as far as a record needs it.
#[derive(Deserialize)]
struct Search {
    hits: Option<Hits>,
}

#[derive(Deserialize)]
struct Hits {
    total: Option<Value>,
}

/// Why a body is not read here.
struct NotPlain;

impl From<serde_json::Error> for NotPlain {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// The one alert of a plain body, as far as it is needed to name its record.
pub fn read_name(body: &[u8]) -> Option<Alert> {
    serde_json::from_slice::<Whole>(body).ok()?.alert.named().ok()
}

/// Every alert of a plain body.
pub fn read(body: &[u8]) -> Option<Vec<Alert>> {
    if body.starts_with(b"[") {
        let counted: Vec<IgnoredAny> = serde_json::from_slice(body).ok()?;
        if counted.len() > MOST_ALERTS {
            return None;
        }
        let all: Vec<Whole> = serde_json::from_slice(body).ok()?;
        return all.into_iter().map(|whole| whole.alert.read().ok()).collect();
    }
    let whole: Whole = serde_json::from_slice(body).ok()?;
    Some(vec![whole.alert.read().ok()?])
}

impl Part<'_> {
    /// What a record's name needs.
    fn named(self) -> Result<Alert, NotPlain> {
        if self.lists_alerts() {
            return Err(NotPlain);
        }
        let end = time(self.period.end)?;
        let window = value::<Map<String, Value>>(self.condition)?
            .and_then(|condition| occasion::window(&condition, end));
        Ok(Alert {
            id: text(self.alert),
            rule: named(self.monitor),
            trigger: named(self.trigger),
            start: window.or(time(self.period.start)?),
            end,
            began: time(self.start)?,
            error: text(self.error),
            ..Alert::of(Source::OpenSearch)
        })
    }

    fn lists_alerts(&self) -> bool {
        self.new_alerts.is_some()
            || self.deduped_alerts.is_some()
            || self.completed_alerts.is_some()
            || self.alerts.is_some()
            || self.delegates.is_some()
    }

    fn read(self) -> Result<Alert, NotPlain> {
        let severity = severity(value::<Value>(self.trigger.severity)?.as_ref());
        let first = value::<Vec<Search>>(self.results)?.and_then(|found| found.into_iter().next());
        let total = first.and_then(|search| search.hits).and_then(|hits| hits.total);
        let hits = total.as_ref().and_then(hits_of);
        let body = body(value::<Pruned>(self.body)?.map(|Pruned(value)| value).as_ref());
        let more = self.more()?;
        let mut alert = Alert { severity, hits, body, ..self.named()? };
        if let Some(more) = more {
            occasion::complete(&mut alert, &more);
        }
        Ok(alert)
    }

    fn more(&self) -> Result<Option<Map<String, Value>>, NotPlain> {
        if self.condition.is_none() {
            return Ok(None);
        }
        let parts = [
            ("condition", self.condition),
            ("stream", self.stream),
            ("result_description", self.result_description),
            ("values", self.values),
            ("backlog", self.backlog),
        ];
        let mut more = Map::new();
        for (name, raw) in parts {
            if let Some(value) = value(raw)? {
                more.insert(name.to_owned(), value);
            }
        }
        Ok(Some(more))
    }
}

/// A part that was left as it is until now.
fn value<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<Option<T>, NotPlain> {
    Ok(raw.map(|raw| serde_json::from_str(raw.get())).transpose()?)
}

fn text(text: Text) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(Cow::into_owned)
}

fn named(names: Names) -> Named {
    Named { id: text(names.id), name: text(names.name) }
}

/// A text that is no time is not plain.
fn time(text: Text) -> Result<Option<Timestamp>, NotPlain> {
    let text = text.filter(|text| !text.trim().is_empty());
    text.map(|text| time_in_text(&text).ok_or(NotPlain)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies as OpenSearch really sent them, and some that are not plain.
    const BODIES: [&str; 20] = [
        include_str!("../../tests/captured/first-firing.json"),
        include_str!("../../tests/captured/re-fire.json"),
        include_str!("../../tests/captured/names.json"),
        include_str!("../../tests/captured/query-fails.json"),
        include_str!("../../tests/captured/query-fails-unnoticed.json"),
        include_str!("../../tests/captured/severity-word.json"),
        include_str!("../../tests/captured/trigger-throws.json"),
        include_str!("../../tests/captured/with-hits.json"),
        r#"{"alert":{"body":{"results":[1,2],"a":{"b":null}},"results":[{"hits":{"total":7}}]}}"#,
        r#"{"alert":{"body":"{\"a\":1,}","results":[{"hits":null}],"error":"why"}}"#,
        r#"{"alert":{"body":" text ","trigger":{"severity":2},"results":[{"hits":{"total":{"value":9}}},3]}}"#,
        r#"{"alert":{"body":"","trigger":{"severity":"2","name":""},"results":[],"other":[{}]}}"#,
        r#"[{"alert":{"alert":"a","start":"1794038400123"}},{"alert":{"alert":"b"}}]"#,
        r#"[{"alert":{"alert":"a"}},{"alarm":1}]"#,
        r#"{"alert":{"alert":"a","start":"1794038400123","period":{"start":"odd","end":""}}}"#,
        r#"{"alert":{"alert":7,"period":{"start":1794038400123}}}"#,
        r#"{"alert":{"alert":null,"results":null,"error":null,"body":null}}"#,
        r#"{"alert":{"monitor":"text"}}"#,
        r#"{"alert":{"alert":"a","alert":"b"}}"#,
        r#"{"alert":{"alert":"a"}} and more"#,
    ];

    #[test]
    fn what_is_plain_is_read_as_the_way_that_mends_reads_it() {
        let mut plain = 0;
        for body in BODIES {
            let Some(alerts) = read(body.as_bytes()) else { continue };
            plain += 1;
            let slow = super::super::decode_json(body.as_bytes(), None, usize::MAX.into()).unwrap();
            let slow: Vec<_> = slow.into_iter().map(Result::unwrap).collect();
            assert_eq!(alerts, slow, "{body}");
            if let ([alert], Some(named)) = (alerts.as_slice(), read_name(body.as_bytes())) {
                assert_eq!(
                    (&named.id, &named.rule, &named.trigger, named.start, named.end, named.began),
                    (&alert.id, &alert.rule, &alert.trigger, alert.start, alert.end, alert.began),
                );
            }
        }
        assert_eq!(plain, 13, "plain bodies take the short way");
    }
}
