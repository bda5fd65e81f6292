//! The session document, field by field. Most alerts go straight from here into text; only one whose
//! body is JSON, or that is about a bucket, is first taken apart, to be merged.
//!
//! The documents that an alert of a document-level monitor is about are named in `event.original`,
//! as `related_doc_ids` (`id|index`), where the author said nothing: neither ECS 1.6 nor Malcolm's
//! template has a field for other documents' ids, and a new one would be a new mapping.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    IMPLAUSIBLE_TIME, Naming, ORIGINAL_LIMIT, Receipt, buckets, cut, fields::FieldSet,
    is_believable, merge_body, occasion,
};
use crate::{
    alert::{
        Alert, Body, Phase,
        bucket::{About, Bucket},
        link,
    },
    lifecycle::{RECONCILED, nanoseconds},
};

/// A record's document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session<'a> {
    first_packet: String,
    last_packet: String,
    ecs: Ecs,
    event: Event<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Rule::is_empty")]
    rule: Rule<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
struct Ecs {
    version: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Rule<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl Rule<'_> {
    fn is_empty(&self) -> bool {
        self.id.is_none() && self.name.is_none()
    }
}

#[derive(Serialize)]
struct Event<'a> {
    kind: &'static str,
    dataset: &'static str,
    module: &'static str,
    provider: &'static str,
    start: String,
    end: String,
    ingested: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<i64>,
    /// Version of the state, in epoch ms: the end of the message's period, or since when it is so.
    sequence: i64,
    action: &'static str,
    /// Of the message; what was read back from the Alerting API has none (`lifecycle`).
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Cow<'a, str>>,
    id: &'a str,
    severity: u8,
    risk_score: u8,
    risk_score_norm: u8,
    severity_tags: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
}

impl<'a> Session<'a> {
    /// The document of `alert`, without the JSON of its body; `key` is what identifies it.
    pub fn of(alert: &'a Alert, receipt: Receipt<'a>, key: &'a str) -> Self {
        let start = alert.start.unwrap_or(receipt.received);
        let end = alert.end.unwrap_or_else(|| receipt.received.max(start));
        let (first, last) = (text(start), text(end));
        let mut tags: Vec<&str> = alert.tags.iter().map(AsRef::as_ref).collect();
        if !is_believable(start, receipt.received) {
            tags.push(IMPLAUSIBLE_TIME);
        }
        if alert.is_reconciled {
            tags.push(RECONCILED);
        }
        tags.sort_unstable();
        let event = Event {
            kind: "alert",
            dataset: "alerting",
            module: "alerting",
            provider: alert.source.provider(),
            start: first.clone(),
            end: last.clone(),
            ingested: text(receipt.received),
            duration: (alert.phase == Phase::Released).then(|| nanoseconds(start, end)),
            sequence: alert.as_of.or(alert.end).unwrap_or(receipt.received).as_millisecond(),
            action: alert.phase.action(),
            hash: (!alert.is_reconciled).then_some(receipt.hash),
            url: link::of(alert),
            id: alert.id.as_deref().unwrap_or(key),
            severity: alert.severity,
            risk_score: alert.severity,
            risk_score_norm: alert.severity,
            severity_tags: "Alert",
            reason: alert.trigger.name.as_deref(),
            hits: alert.hits,
            outcome: alert.error.is_some().then_some("failure"),
            original: original(alert),
        };
        Self {
            first_packet: first,
            last_packet: last,
            ecs: Ecs { version: "1.6.0" },
            event,
            message: alert.message.as_deref(),
            error: alert.error.as_deref().map(|message| Message { message }),
            rule: Rule { id: alert.rule.id.as_deref(), name: alert.rule.name.as_deref() },
            tags,
        }
    }

    /// As JSON text, with what of the body's JSON has a field in `known`.
    pub fn into_text(self, alert: &Alert, naming: &Naming, known: &FieldSet) -> String {
        let has_own_time_field = naming.time_field != "firstPacket";
        let is_plain = alert.bucket.is_none()
            && alert.occasion.is_none()
            && alert.about.is_none()
            && !matches!(alert.body, Body::Json { .. });
        if !has_own_time_field && is_plain {
            return json_text(&self);
        }
        let time = json!(self.first_packet);
        let Ok(Value::Object(mut document)) = serde_json::to_value(&self) else {
            return json_text(&self);
        };
        if has_own_time_field {
            document.insert(naming.time_field.clone(), time);
        }
        if let Some(told) = &alert.about {
            // A source tells of the alert itself too: `event.code` and the like.
            merge_body::merge(&mut document, &told.fields.iter().cloned().collect(), known);
            buckets::add_related(&mut document, told, known);
        }
        let mut about = alert.bucket.as_ref().map(Bucket::about).unwrap_or_default();
        if let Some(told) = &alert.occasion {
            let fields = occasion::fields(told);
            buckets::add_fields(&mut document, &About { fields, ..About::default() }, known);
            occasion::relate(&mut about, told);
        }
        buckets::add_fields(&mut document, &about, known);
        if let Body::Json { fields, text } = &alert.body {
            let leftover = merge_body::merge(&mut document, fields, known);
            if leftover {
                document["event"]["original"] = json!(cut(text, ORIGINAL_LIMIT));
            }
        }
        buckets::add_related(&mut document, &about, known);
        Value::Object(document).to_string()
    }
}

#[expect(clippy::expect_used, reason = "texts and numbers are always JSON")]
fn json_text(session: &Session) -> String {
    serde_json::to_string(session).expect("texts and numbers")
}

/// RFC 3339 in UTC with milliseconds always: so texts sort as their instants do.
pub fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The author's own text, else the body as it came where part of it could not be read.
fn original(alert: &Alert) -> Option<&str> {
    match (&alert.body, &alert.original) {
        (Body::Text(text), _) | (_, Some(text)) => Some(cut(text, ORIGINAL_LIMIT)),
        _ => None,
    }
}
