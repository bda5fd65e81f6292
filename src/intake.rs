//! A received body as it came, and what it says. [`decode`] is pure, so that a body can be decoded
//! again at any time: on a retry, from a dead letter, by a later version that reads more.

use std::{borrow::Cow, cell::LazyCell, io::Read as _};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::alert::{Alert, Source};

mod alertmanager;
mod graylog;
pub mod heartbeat;
mod lenient;
mod listed;
pub mod masked;
pub mod ntopng;
mod occasion;
mod opensearch;
mod plain;
mod pruned;
pub mod repair;
pub mod shown;
pub mod truth;

use masked::masked;
pub(crate) use opensearch::severity as severity_in_opensearch;
use pruned::Pruned;

/// The text that OpenSearch Notifications posts when a channel is tested; the channel's id follows.
const CHANNEL_TEST: &str = "Test message content body for config id";

/// How much of a body that was not fully understood an alert keeps, in bytes; a record keeps less.
const HEAD: usize = 64 << 10;
/// The most alerts of one body: each takes some KiB until it is stored, and no sender has so many.
const MOST_ALERTS: usize = 100_000;
/// So much of it all alerts of a body keep together, in bytes: a small body can hold many thousands.
const ALL_HEADS: usize = 4 << 20;

/// A received body as it came, with what came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The source named by the route; `None` where the body has to tell.
    pub source: Option<Source>,
    /// When it was received.
    pub received: Timestamp,
    /// `Content-Type`, as sent; only the compatibility modes look at it.
    pub content_type: String,
    /// `Content-Encoding`.
    pub encoding: Encoding,
    /// The body's bytes, still encoded.
    pub body: Vec<u8>,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950), which HTTP calls deflate.
    Deflate,
}

impl Encoding {
    /// The name in `Content-Encoding` and in the spool.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Reads a `Content-Encoding`; an unknown one counts as none, and its body as it is.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            _ => Self::Identity,
        }
    }
}

/// What decoding depends on besides the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The most that a body unpacks to, in bytes.
    pub limit: usize,
    /// The version that ntopng was declared to have; `None` where each alert tells its generation.
    pub ntopng: Option<ntopng::version::Version>,
}

impl From<usize> for Reading {
    fn from(limit: usize) -> Self {
        Self { limit, ntopng: None }
    }
}

/// Why nothing could be read from a body, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// Whether a body is a sender's empty test, which leaves no trace but a count.
#[must_use]
pub fn is_test_post(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty()
        || body.starts_with(CHANNEL_TEST.as_bytes())
        || graylog::is_test(body)
        || alertmanager::is_test(body)
        || ntopng::is_test(body)
}

/// Whether the sender of these alerts left others out of the same body.
#[must_use]
pub fn is_truncated<'a>(mut alerts: impl Iterator<Item = &'a Alert>) -> bool {
    alerts.any(|alert| alert.tags.iter().any(|tag| tag == alertmanager::TRUNCATED))
}

/// The id of the channel that OpenSearch tests with this body.
#[must_use]
pub fn channel_under_test(body: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(body).ok()?.trim().strip_prefix(CHANNEL_TEST)?.trim();
    (!id.is_empty()).then_some(id)
}

/// The only alert of an envelope, as far as naming its record needs it; `None` where there is not
/// exactly one, or none can be read.
#[must_use]
pub fn decode_for_name(envelope: &Envelope, reading: impl Into<Reading>) -> Option<Alert> {
    if envelope.encoding == Encoding::Identity
        && envelope.source.is_none_or(|source| source == Source::OpenSearch)
        && let Some(alert) = plain::read_name(&envelope.body)
    {
        return Some(alert);
    }
    let mut alerts = decode(envelope, reading).ok()?;
    if alerts.len() == 1 { alerts.pop()?.ok() } else { None }
}

/// Reads every alert that an envelope holds, in order; one that cannot be read takes no other
/// with it.
///
/// # Errors
/// [`Undecodable`] when the body as a whole cannot be read.
pub fn decode(
    envelope: &Envelope,
    reading: impl Into<Reading>,
) -> Result<Vec<Result<Alert, Undecodable>>, Undecodable> {
    let mut alerts = read(envelope, reading.into())?;
    let alertmanagers = |alert: &&mut Alert| alert.source == Source::Alertmanager;
    for alert in alerts.iter_mut().flatten().filter(alertmanagers) {
        alertmanager::heard(alert, envelope.received);
    }
    Ok(alerts)
}

fn read(
    envelope: &Envelope,
    reading: Reading,
) -> Result<Vec<Result<Alert, Undecodable>>, Undecodable> {
    let body = unpack(envelope, reading.limit)?;
    let is_json = || matches!(repair::text(&body).trim_start().as_bytes(), [b'{' | b'[', ..]);
    match envelope.source {
        Some(Source::Reconciler) => return Ok(vec![truth::decode(&body)]),
        Some(Source::Graylog) if is_json() => return decode_json(&body, envelope.source, reading),
        Some(Source::Graylog) => return decode_text(&body),
        Some(source @ (Source::Ntopng | Source::Alertmanager)) => {
            return decode_json(&body, Some(source), reading);
        }
        Some(Source::OpenSearch) | None => {}
    }
    match plain::read(&body) {
        Some(alerts) if !alerts.is_empty() => Ok(alerts.into_iter().map(Ok).collect()),
        _ if envelope.source.is_none() && graylog::is_form(&body) => decode_text(&body),
        _ => decode_json(&body, envelope.source, reading),
    }
}

/// The way by the whole JSON, which mends what can be mended.
fn decode_json(
    body: &[u8],
    source: Option<Source>,
    reading: Reading,
) -> Result<Vec<Result<Alert, Undecodable>>, Undecodable> {
    let (json, repaired) = parse(body)?;
    let message = Message { body, source, repaired, ntopng: reading.ntopng };
    match json {
        Value::Array(items) if items.is_empty() => {
            Err(Undecodable("the JSON array is empty: no alert in it".to_owned()))
        }
        Value::Array(items) if items.len() > MOST_ALERTS => Err(too_many(items.len())),
        Value::Array(items) => {
            Ok(message.mark(items.into_iter().flat_map(|item| message.decode(item)).collect()))
        }
        json => Ok(message.mark(message.decode(json))),
    }
}

/// The way of Graylog's bodies that are no JSON.
fn decode_text(body: &[u8]) -> Result<Vec<Result<Alert, Undecodable>>, Undecodable> {
    let object = graylog::read_text(body)?;
    let message = Message { body, source: Some(Source::Graylog), repaired: false, ntopng: None };
    Ok(message.mark(message.decode(Value::Object(object))))
}

/// What is the same for all alerts of a body.
struct Message<'a> {
    body: &'a [u8],
    source: Option<Source>,
    repaired: bool,
    ntopng: Option<ntopng::version::Version>,
}

impl Message<'_> {
    /// The alerts of one object, or why there are none.
    fn decode(&self, json: Value) -> Vec<Result<Alert, Undecodable>> {
        let object = match json {
            Value::Object(object) => object,
            json => {
                let reason = format!("JSON, but {} instead of an object", kind_of(&json));
                return vec![Err(Undecodable(reason))];
            }
        };
        let listed = object.get("alerts").and_then(Value::as_array).map_or(0, Vec::len);
        if listed > MOST_ALERTS {
            return vec![Err(too_many(listed))];
        }
        match self.source.unwrap_or_else(|| sender_of(&object)) {
            Source::Graylog => vec![graylog::decode(object)],
            Source::Ntopng => ntopng::decode(object, self.ntopng),
            Source::Alertmanager => alertmanager::decode(object),
            Source::OpenSearch | Source::Reconciler => match opensearch::decode(&object) {
                Ok(alerts) => alerts.into_iter().map(Ok).collect(),
                Err(fault) => vec![Err(fault)],
            },
        }
    }

    /// Says of the alerts that their body was repaired, and keeps the body's head then, without secrets.
    fn mark(&self, mut alerts: Vec<Result<Alert, Undecodable>>) -> Vec<Result<Alert, Undecodable>> {
        let most = (ALL_HEADS / alerts.len().max(1)).min(HEAD);
        let head = LazyCell::new(|| {
            let head = masked(&self.body[..self.body.len().min(HEAD)]);
            let mut head = String::from_utf8_lossy(&head).into_owned();
            head.truncate(head.floor_char_boundary(most));
            head
        });
        for alert in alerts.iter_mut().flatten() {
            if self.repaired {
                alert.tag("repaired");
            }
            let is_partly_read = || alert.tags.iter().any(|tag| tag == "repaired");
            // Such a post holds alerts that have nothing to do with this one.
            let is_one_of_many = matches!(alert.source, Source::Ntopng | Source::Alertmanager);
            let has_own = is_one_of_many && alert.original.is_some();
            let is_needed = self.repaired && !has_own;
            if is_needed || (alert.source == Source::Graylog && is_partly_read()) {
                alert.original = Some(head.clone());
            }
        }
        alerts
    }
}

/// Whose an object is, by what stands in it.
fn sender_of(object: &Map<String, Value>) -> Source {
    match object {
        object if object.contains_key("alert") => Source::OpenSearch,
        object if graylog::recognises(object) => Source::Graylog,
        object if alertmanager::recognises(object) => Source::Alertmanager,
        object if ntopng::recognises(object) => Source::Ntopng,
        _ => Source::OpenSearch,
    }
}

/// The body's own bytes.
fn unpack(envelope: &Envelope, limit: usize) -> Result<Cow<'_, [u8]>, Undecodable> {
    let packed = envelope.body.as_slice();
    let read = |reader: &mut dyn std::io::Read| {
        let mut plain = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        match reader.take(most).read_to_end(&mut plain) {
            Ok(_) if plain.len() > limit => {
                Err(Undecodable(format!("unpacks to more than the body limit of {limit} bytes")))
            }
            Ok(_) => Ok(Cow::Owned(plain)),
            Err(fault) => {
                Err(Undecodable(format!("{} does not unpack: {fault}", envelope.encoding.name())))
            }
        }
    };
    match envelope.encoding {
        Encoding::Identity => Ok(Cow::Borrowed(packed)),
        Encoding::Gzip => read(&mut flate2::read::MultiGzDecoder::new(packed)),
        Encoding::Deflate => read(&mut flate2::read::ZlibDecoder::new(packed)),
    }
}

/// Parses strictly, then once more after repair; tells whether a repair changed what was said.
fn parse(body: &[u8]) -> Result<(Value, bool), Undecodable> {
    let fault = match serde_json::from_slice::<Pruned>(body) {
        Ok(Pruned(json)) => return Ok((json, false)),
        Err(fault) if pruned::is_full(&fault) => return Err(Undecodable(fault.to_string())),
        Err(fault) => fault,
    };
    if let Some(text) = str::from_utf8(body).ok().and_then(ntopng::mended)
        && let Ok(Pruned(json)) = serde_json::from_str(&text)
    {
        return Ok((json, true));
    }
    let repaired = repair::repair(body);
    match serde_json::from_str::<Pruned>(&repaired.text) {
        Ok(Pruned(json)) => Ok((json, !repaired.is_cosmetic())),
        Err(fault) if pruned::is_full(&fault) => Err(Undecodable(fault.to_string())),
        Err(_) => Err(Undecodable(format!("not JSON: {fault}"))),
    }
}

fn too_many(alerts: usize) -> Undecodable {
    let most = MOST_ALERTS;
    Undecodable(format!("{alerts} alerts in one body, over {most}; send them in several"))
}

fn kind_of(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn envelope(body: &[u8], encoding: Encoding) -> Envelope {
        Envelope {
            source: None,
            received: Timestamp::UNIX_EPOCH,
            content_type: String::new(),
            encoding,
            body: body.to_vec(),
        }
    }

    fn reason(body: &[u8], encoding: Encoding) -> String {
        match decode(&envelope(body, encoding), LIMIT) {
            Err(Undecodable(reason)) => reason,
            Ok(alerts) => match alerts.into_iter().next() {
                Some(Err(Undecodable(reason))) => reason,
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn only_what_senders_post_as_a_test_is_one() {
        for (body, want) in [
            ("", true),
            (" \r\n", true),
            ("Test message content body for config id malcolm-api-loopback-webhook", true),
            ("{}", false),
            ("Test", false),
            (r#"{"alert":{}}"#, false),
        ] {
            assert_eq!(is_test_post(body.as_bytes()), want, "{body}");
        }
        let test = "Test message content body for config id my-channel\n";
        assert_eq!(channel_under_test(test.as_bytes()), Some("my-channel"));
        assert_eq!(channel_under_test(CHANNEL_TEST.as_bytes()), None);
        assert_eq!(channel_under_test(b""), None);
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        for (body, want) in [
            ("<html></html>", "not JSON"),
            ("{\"alert\":{\"monitor\":{", "not JSON"),
            ("{\"alert\":{}}{\"alert\":{}}", "not JSON"),
            ("17", "a number instead of an object"),
            ("\"text\"", "a string instead of an object"),
            ("null", "null instead of an object"),
            ("[]", "no alert in it"),
            ("[[]]", "an array instead of an object"),
            ("{}", "no `alert` key"),
            ("{\"event\":{}}", "no `alert` key"),
            ("{\"alert\":7}", "`alert` is a number"),
        ] {
            let reason = reason(body.as_bytes(), Encoding::Identity);
            assert!(reason.contains(want), "{body}: {reason}");
        }
        let deep = format!("{{\"alert\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(reason(deep.as_bytes(), Encoding::Identity).contains("recursion limit"));
        assert!(reason(b"not gzip", Encoding::Gzip).contains("gzip does not unpack"));
    }

    #[test]
    fn an_array_holds_one_alert_an_element_and_a_bad_one_takes_no_other_with_it() {
        let body = br#"[{"alert":{"alert":"a"}},7,{"alert":{"alert":"b"}}]"#;
        let alerts = decode(&envelope(body, Encoding::Identity), LIMIT).unwrap();
        let ids: Vec<_> =
            alerts.iter().map(|alert| alert.as_ref().ok().and_then(|a| a.id.as_deref())).collect();
        assert_eq!(ids, [Some("a"), None, Some("b")]);
    }

    #[test]
    fn more_alerts_than_any_sender_has_are_not_read() {
        for (one, body) in [
            (r#"{"alert":{}}"#, ("[", "]")),
            (r#"{"type":1}"#, (r#"{"version":"0.2","alerts":["#, "]}")),
            (r#"{"labels":{"a":"b"}}"#, (r#"{"groupLabels":{},"alerts":["#, "]}")),
        ] {
            for (count, is_read) in [(1_000, true), (MOST_ALERTS + 1, false)] {
                let body = [body.0, &vec![one; count].join(","), body.1].concat();
                let told = decode(&envelope(body.as_bytes(), Encoding::Identity), 4 << 20);
                let read = told.into_iter().flatten().flatten().count();
                assert_eq!(read, if is_read { count } else { 0 }, "{one}");
            }
        }
    }

    #[test]
    fn many_alerts_of_a_repaired_body_keep_little_of_it() {
        let many = |item: &str| vec![item; 5_000].join(",");
        for (source, body) in [
            (Source::OpenSearch, format!("[{},]", many(r#"{"alert":{"alert":oops}}"#))),
            (
                Source::Graylog,
                format!(
                    "[{},]",
                    many(r#"{"event_definition_id":"d","event":{"id":"e","message":oops}}"#)
                ),
            ),
            (Source::Ntopng, format!(r#"{{"alerts":[{},]}}"#, many(r#"{"type":1}"#))),
            (
                Source::Alertmanager,
                format!(r#"{{"alerts":[{},]}}"#, many(r#"{"labels":{"a":"b"}}"#)),
            ),
        ] {
            let whole =
                Envelope { source: Some(source), ..envelope(body.as_bytes(), Encoding::Identity) };
            let alerts: Vec<_> = decode(&whole, LIMIT).unwrap().into_iter().flatten().collect();
            assert_eq!(alerts.len(), 5_000, "{source}");
            let kept = alerts.iter().filter_map(|alert| alert.original.as_ref()).map(String::len);
            assert!(kept.sum::<usize>() <= ALL_HEADS, "{source}");
            assert!(alerts.iter().all(|alert| alert.tags.iter().any(|tag| tag == "repaired")));
        }
    }

    #[test]
    fn a_packed_body_is_read_and_a_bomb_is_not() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(br#"{"alert":{"alert":"packed"}}"#).unwrap();
        let packed = gzip.finish().unwrap();
        let alerts = decode(&envelope(&packed, Encoding::Gzip), LIMIT).unwrap();
        assert_eq!(alerts[0].as_ref().unwrap().id.as_deref(), Some("packed"));

        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![b' '; LIMIT + 1]).unwrap();
        assert!(reason(&bomb.finish().unwrap(), Encoding::Gzip).contains("body limit"));
    }
}
