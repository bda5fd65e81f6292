//! Alert → record: the session document, its index and its id. Pure.
//!
//! The fields are Malcolm's (ECS 1.6 and Arkime), so that alerts stand on the dashboards where the
//! traffic stands; what differs from upstream is listed in `docs/compatibility.md`.

use jiff::Timestamp;

use crate::alert::{Alert, Phase, Source};

mod buckets;
pub mod compat;
pub mod fields;
pub mod index_name;
pub mod merge_body;
pub mod misfit;
mod occasion;
mod session;

use fields::FieldSet;
use index_name::IndexName;
use session::Session;

/// The earliest start that is believed: a clock that was never set is older.
const EARLIEST: i64 = 631_152_000_000; // 1990-01-01T00:00:00Z
/// How far ahead of its receipt a start is believed, in ms.
const AHEAD: i64 = 2 * 86_400_000;
/// Tag of an alert whose time cannot be believed.
pub const IMPLAUSIBLE_TIME: &str = "implausible-time";
/// How much of a body that was not fully understood a record keeps, in bytes.
const ORIGINAL_LIMIT: usize = 32 * 1_024;
/// Ids that are longer, or hold other characters, are replaced by their hash: OpenSearch takes 512
/// bytes, and Arkime cannot take a `/`.
const KEY_LIMIT: usize = 256;
/// Length of a hashed key.
const HASHED_KEY: usize = 20;

/// What is the same for all records of a process.
#[derive(Clone, Debug)]
pub struct Naming {
    /// Names the index of a start.
    pub index: IndexName,
    /// The time field of the index pattern, where it is not `firstPacket`.
    pub time_field: String,
}

/// What an envelope tells besides its alerts.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<'a> {
    /// When it was received.
    pub received: Timestamp,
    /// Hash of the envelope's body, and of the alert's place in it.
    pub hash: &'a str,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Once: that it is there already is success.
    Create,
    /// As one state of an alert with a life, merged with the states that came before.
    Merge,
    /// As the later state of a happening, over an earlier one.
    Replace,
    /// Over whatever is there, as upstream does.
    Overwrite,
}

/// A document of the session index, with its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `_index`.
    pub index: String,
    /// `_id`.
    pub id: String,
    /// How it is written.
    pub write: Write,
    /// `_source`, as JSON on one line.
    pub document: String,
}

/// Where the record of `alert` goes: `_index` and `_id`.
#[must_use]
pub fn address(alert: &Alert, receipt: Receipt, naming: &Naming) -> (String, String) {
    let anchor = anchor(alert, receipt.received);
    let id = format!("{}-{}", index_name::day(anchor), key(alert, receipt));
    (naming.index.index(anchor, |field| naming_field(alert, field)), id)
}

/// Makes the record of `alert`. Parts of its body that have no field in `known` stay in
/// `event.original`.
#[must_use]
pub fn build(alert: &Alert, receipt: Receipt, naming: &Naming, known: &FieldSet) -> Record {
    let anchor = anchor(alert, receipt.received);
    let key = key(alert, receipt);
    let index = naming.index.index(anchor, |field| naming_field(alert, field));
    let id = format!("{}-{key}", index_name::day(anchor));
    // Without an alert's own id there is one state only, and nothing to merge with; nor has an alert
    // more than one that has no life.
    let has_life = alert.id.is_some() && alert.phase != Phase::Stored;
    let write = if has_life { Write::Merge } else { Write::Create };
    let document = Session::of(alert, receipt, &key).into_text(alert, naming, known);
    Record { index, id, write, document }
}

/// The instant that decides on index and `_id`: the alert's own begin, so that it stays one
/// document past midnight; else the period's start; else, when neither is believable, its receipt.
fn anchor(alert: &Alert, received: Timestamp) -> Timestamp {
    let start = alert.began.filter(|began| is_believable(*began, received)).or(alert.start);
    start.filter(|start| is_believable(*start, received)).unwrap_or(received)
}

/// Whether something received then can have happened at this time, as clocks go.
#[must_use]
pub fn is_believable(at: Timestamp, received: Timestamp) -> bool {
    (EARLIEST..=received.as_millisecond() + AHEAD).contains(&at.as_millisecond())
}

/// What identifies the alert within its day: its own id, else a hash of rule, trigger and period,
/// else a hash of the body.
fn key(alert: &Alert, receipt: Receipt) -> String {
    if let Some(id) = &alert.id {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.len() <= KEY_LIMIT && id.bytes().all(plain) {
            return id.clone();
        }
        return hashed(&["id", id]);
    }
    let rule = alert.rule.id.as_deref().or(alert.rule.name.as_deref());
    let trigger = alert.trigger.id.as_deref().or(alert.trigger.name.as_deref());
    let Some((at, _)) = alert.end.or(alert.start).zip(rule.or(trigger)) else {
        return hashed(&["body", receipt.hash]);
    };
    let at = at.as_millisecond().to_string();
    let parts =
        [alert.source.name(), rule.unwrap_or_default(), trigger.unwrap_or_default(), at.as_str()];
    match &alert.trigger.name {
        // Today's Graylog gives all groups of a run one time, one definition and one stream in its
        // legacy callback: only what it says tells them apart.
        Some(said) if alert.source == Source::Graylog => {
            hashed(&[parts.as_slice(), &[said.as_str()]].concat())
        }
        _ => hashed(&parts),
    }
}

/// Twenty letters and digits (119 bits) of the BLAKE3 hash of `parts`.
#[must_use]
pub fn hashed(parts: &[&str]) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    let hash = hasher.finalize();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    hash.as_bytes()[..HASHED_KEY].iter().map(letter).collect()
}

/// Hash of a body, and of an alert's place where it holds several: `event.hash`.
#[must_use]
pub fn body_hash(body: &[u8], position: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(body);
    if position > 0 {
        hasher.update(&position.to_be_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The fields that `{{…}}` in `MALCOLM_NETWORK_INDEX_SUFFIX` may name: those that are known before
/// the document is.
fn naming_field(alert: &Alert, field: &str) -> Option<String> {
    match field {
        "event.provider" => Some(alert.source.provider().to_owned()),
        "event.dataset" | "event.module" => Some("alerting".to_owned()),
        "event.kind" => Some("alert".to_owned()),
        "rule.name" => alert.rule.name.clone(),
        "rule.id" => alert.rule.id.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alert::{
        Body, Named,
        occasion::{Message, Occasion},
    };

    fn naming() -> Naming {
        let index = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").unwrap();
        Naming { index, time_field: "firstPacket".to_owned() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn alert() -> Alert {
        let named = |name: &str| Named { id: None, name: Some(name.to_owned()) };
        Alert {
            id: Some("A1".to_owned()),
            rule: named("Beacons"),
            trigger: named("over 9"),
            start: Some(at("2026-11-06T23:50:00Z")),
            end: Some(at("2026-11-07T00:00:00Z")),
            hits: Some(3),
            ..Alert::of(Source::OpenSearch)
        }
    }

    fn record(alert: &Alert) -> Record {
        let receipt = Receipt { received: at("2026-11-07T00:00:01Z"), hash: "h" };
        build(alert, receipt, &naming(), &FieldSet::everything())
    }

    fn field(record: &Record, path: &str) -> Option<Value> {
        let document: Value = serde_json::from_str(&record.document).unwrap();
        document.pointer(&format!("/{}", path.replace('.', "/"))).cloned()
    }

    #[test]
    fn index_and_id_come_from_the_alerts_own_begin() {
        let mut alert = alert();
        for (began, start, want) in [
            (None, Some("2026-11-06T23:50:00Z"), "261106"),
            (Some("2026-11-05T00:00:00Z"), Some("2026-11-06T23:50:00Z"), "261105"),
            (Some("1970-01-01T00:00:00Z"), Some("2026-11-06T23:50:00Z"), "261106"),
            (None, Some("1970-01-01T00:00:00Z"), "261107"),
            (None, Some("2027-11-06T23:50:00Z"), "261107"),
            (None, None, "261107"),
        ] {
            (alert.began, alert.start) = (began.map(at), start.map(at));
            let record = record(&alert);
            assert_eq!(record.index, format!("arkime_sessions3-{want}"), "{began:?} {start:?}");
            assert_eq!(record.id, format!("{want}-A1"));
        }
    }

    #[test]
    fn an_unbelievable_time_is_kept_and_tagged() {
        let mut alert = alert();
        alert.start = Some(Timestamp::UNIX_EPOCH);
        let record = record(&alert);
        assert_eq!(field(&record, "event.start"), Some(json!("1970-01-01T00:00:00.000Z")));
        assert_eq!(field(&record, "tags"), Some(json!(["implausible-time"])));
    }

    #[test]
    fn the_key_is_the_alerts_id_or_the_same_hash_each_time() {
        let mut alert = alert();
        alert.id = None;
        let first = record(&alert);
        assert_eq!(first.write, Write::Create);
        assert_eq!(first.id.len(), "261106-".len() + HASHED_KEY);
        assert_eq!(field(&first, "event.id"), Some(json!(first.id["261106-".len()..])));
        alert.hits = None;
        assert_eq!(record(&alert).id, first.id, "hits do not identify");
        alert.end = Some(at("2026-11-07T00:00:00.001Z"));
        assert_ne!(record(&alert).id, first.id, "the period does");

        for strange in ["a/b", "a b", "ü", &"x".repeat(300)] {
            alert.id = Some(strange.to_owned());
            let record = record(&alert);
            assert_eq!(record.id.len(), "261106-".len() + HASHED_KEY, "{strange}");
            assert_eq!(field(&record, "event.id"), Some(json!(strange)), "the id itself stays");
        }
    }

    #[test]
    fn what_graylog_found_for_two_groups_at_once_is_two_records() {
        // A legacy callback of today's Graylog has the id of the definition and the time of its
        // run, which are the same for all groups; only what it says differs.
        let of = |said: &str| Alert {
            id: None,
            rule: Named { id: Some("definition".to_owned()), name: None },
            trigger: Named { id: Some("stream".to_owned()), name: Some(said.to_owned()) },
            ..Alert { source: Source::Graylog, ..alert() }
        };
        let [one, other] = ["Logins: ada - count()=9", "Logins: bob - count()=7"].map(of);
        assert_ne!(record(&one).id, record(&other).id);
        assert_eq!(record(&one).id, record(&one.clone()).id);
    }

    #[test]
    fn an_alert_without_a_life_is_written_once_though_it_has_an_id() {
        let mut alert = alert();
        assert_eq!(record(&alert).write, Write::Merge);
        (alert.source, alert.phase) = (Source::Graylog, Phase::Stored);
        let record = record(&alert);
        assert_eq!((record.write, record.id.as_str()), (Write::Create, "261106-A1"));
        assert_eq!(field(&record, "event.provider"), Some(json!("graylog")));
        assert_eq!(field(&record, "event.action"), Some(json!("stored")));
        assert_eq!(field(&record, "event.duration"), None);
    }

    #[test]
    fn where_to_look_is_in_dashboards_only_for_what_dashboards_knows() {
        let mut alert = alert();
        let dashboard = json!("/dashboards/app/alerting#/dashboard");
        assert_eq!(field(&record(&alert), "event.url"), Some(dashboard));
        alert.source = Source::Graylog;
        assert_eq!(field(&record(&alert), "event.url"), None);
        alert.url = Some("https://graylog.example/alerts".to_owned());
        assert_eq!(field(&record(&alert), "event.url"), Some(json!(alert.url)));
    }

    #[test]
    fn what_an_occasion_tells_is_related_where_the_index_knows_that() {
        let mut alert = alert();
        let message = Message { source: Some("fw-1".to_owned()), ..Message::default() };
        let fields = json!({"user_name": "ada", "src_ip": "10.0.0.1"});
        let fields = fields.as_object().unwrap().clone();
        let backlog = vec![message, Message { fields, ..Message::default() }];
        alert.occasion = Some(Box::new(Occasion { backlog, ..Occasion::default() }));
        let want = json!({"ip": ["10.0.0.1"], "hosts": ["fw-1"], "user": ["ada"]});
        assert_eq!(field(&record(&alert), "related"), Some(want));
        let ip = json!({"properties": {"related": {"properties": {"ip": {"type": "ip"}}}}});
        let receipt = Receipt { received: at("2026-11-07T00:00:01Z"), hash: "h" };
        let record = build(&alert, receipt, &naming(), &FieldSet::from_mapping(&ip));
        assert_eq!(field(&record, "related"), Some(json!({"ip": ["10.0.0.1"]})));
    }

    #[test]
    fn a_monitors_failure_is_an_outcome() {
        let mut alert = alert();
        assert_eq!(field(&record(&alert), "event.outcome"), None);
        alert.error = Some("no such index".to_owned());
        let record = record(&alert);
        assert_eq!(field(&record, "event.outcome"), Some(json!("failure")));
        assert_eq!(field(&record, "error.message"), Some(json!("no such index")));
    }

    #[test]
    fn what_is_over_has_a_duration_and_what_was_read_back_has_no_hash() {
        let mut alert = alert();
        assert_eq!(field(&record(&alert), "event.duration"), None);
        alert.phase = Phase::Released;
        alert.as_of = Some(at("2026-11-07T00:00:00.5Z"));
        alert.is_reconciled = true;
        let record = record(&alert);
        assert_eq!(field(&record, "event.action"), Some(json!("released")));
        assert_eq!(field(&record, "event.duration"), Some(json!(600_000_000_000_i64)));
        assert_eq!(field(&record, "event.sequence"), Some(json!(1_794_009_600_500_i64)));
        assert_eq!(field(&record, "event.hash"), None);
        assert_eq!(field(&record, "tags"), Some(json!(["reconciled"])));
    }

    #[test]
    fn what_was_said_is_kept_but_not_without_bound() {
        let mut alert = alert();
        alert.body = Body::Text("ü".repeat(ORIGINAL_LIMIT));
        let record = record(&alert);
        let kept = field(&record, "event.original").unwrap();
        assert_eq!(kept.as_str().unwrap().len(), ORIGINAL_LIMIT);
    }
}
