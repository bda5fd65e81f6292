//! What has to be done about one alert: whether its record says what is true. Pure.

use serde_json::{Map, Value};

use crate::{intake::truth::ORPHANED, lifecycle, opensearch::records::Found};

/// What a record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Same,
    /// It is not there: no webhook has come through.
    Missing,
    /// It does not say how its alert stands.
    Outdated,
    /// Nobody can tell now.
    Unknown,
}

/// Compares a record with the one that the Alerting API's state of its alert makes.
#[must_use]
pub fn judge(record: &Found, truth: Map<String, Value>) -> Verdict {
    let record = match record {
        Found::Absent => return Verdict::Missing,
        // It cannot be written either.
        Found::Closed => return Verdict::Same,
        Found::Away => return Verdict::Unknown,
        Found::There(record) => record,
    };
    let merged = lifecycle::merge(record.clone(), truth);
    let is_same = if is_repaired(record) {
        // What the store did not take from the one it does not take from the other.
        STANDING.iter().all(|path| merged_at(&merged, path) == merged_at(record, path))
    } else {
        seen(&merged) == seen(record)
    };
    if is_same { Verdict::Same } else { Verdict::Outdated }
}

/// How an alert stands, and when it ended, once it is over.
const STANDING: [&[&str]; 4] =
    [&["event", "action"], &["event", "outcome"], &["event", "duration"], &["error", "message"]];

fn merged_at<'a>(record: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, below) = path.split_first()?;
    below.iter().try_fold(record.get(*first)?, |value, key| value.get(key))
}

/// Whether part of it did not fit its field (`record::misfit`).
fn is_repaired(record: &Map<String, Value>) -> bool {
    has_tag(record, "repaired")
}

fn has_tag(record: &Map<String, Value>, tag: &str) -> bool {
    match record.get("tags") {
        Some(Value::Array(tags)) => tags.iter().any(|one| one == tag),
        Some(one) => one == tag,
        None => false,
    }
}

/// The `event.sequence` (epoch ms) that the truth has to have so that the merge hears it, where a
/// message came with a later time: of a clock that is ahead, or of none at all. `None` where the
/// merge does hear it, and where the record may know more than the API told a moment ago.
#[must_use]
pub fn overheard(record: &Map<String, Value>, truth: &Map<String, Value>) -> Option<i64> {
    let action = |of: &Map<String, Value>| merged_at(of, &["event", "action"]).cloned();
    let rank = |of| match action(of).as_ref().and_then(Value::as_str) {
        Some("released") => 2,
        Some("acknowledged") => 1,
        _ => 0,
    };
    let sequence = merged_at(record, &["event", "sequence"])?.as_i64()?;
    let at = merged_at(truth, &["event", "sequence"])?.as_i64()?;
    let (have, want) = (rank(record), rank(truth));
    if want > have {
        return (at < sequence).then_some(sequence);
    }
    // It was taken for over because the API did not tell of it; now it does.
    let was_missed = have == 2 && want < 2 && has_tag(record, ORPHANED);
    (was_missed && at <= sequence).then_some(sequence.saturating_add(1))
}

/// What people see of a record. Not its version; and while an alert lasts not how far it has come,
/// which moves with every run of its monitor.
fn seen(record: &Map<String, Value>) -> Map<String, Value> {
    let mut seen = record.clone();
    let is_over = record
        .get("event")
        .and_then(|event| event.get("action"))
        .is_some_and(|action| action == "released");
    if let Some(Value::Object(event)) = seen.get_mut("event") {
        event.remove("sequence");
        event.remove("created");
        if !is_over {
            event.remove("end");
        }
    }
    if !is_over {
        seen.remove("lastPacket");
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(action: &str, end: &str, sequence: i64, told: bool) -> Map<String, Value> {
        let mut record = json!({
            "firstPacket": "2026-11-06T05:00:00.000Z", "lastPacket": end,
            "rule": {"name": "Beacons"},
            "event": {"start": "2026-11-06T05:00:00.000Z", "end": end, "action": action,
                      "ingested": "2026-11-06T05:10:00.000Z", "sequence": sequence}});
        if told {
            record["event"]["hash"] = json!("h");
            record["event"]["hits"] = json!(3);
        } else {
            record["tags"] = json!(["reconciled"]);
            record["event"]["ingested"] = json!("2026-11-06T06:00:00.000Z");
        }
        let Value::Object(mut record) = record else { unreachable!() };
        if action == "released" {
            // With its duration.
            record = lifecycle::merge(record.clone(), record);
        }
        record
    }

    #[test]
    fn a_record_is_written_again_only_where_people_would_see_it() {
        const FIVE: &str = "2026-11-06T05:05:00.000Z";
        const SIX: &str = "2026-11-06T05:06:00.000Z";
        let there = |action, sequence| Found::There(record(action, FIVE, sequence, true));
        for (found, truth, want) in [
            (Found::Absent, record("engaged", FIVE, 5, false), Verdict::Missing),
            (Found::Closed, record("engaged", FIVE, 5, false), Verdict::Same),
            (Found::Away, record("engaged", FIVE, 5, false), Verdict::Unknown),
            (there("engaged", 5), record("engaged", SIX, 6, false), Verdict::Same),
            (there("engaged", 5), record("acknowledged", SIX, 6, false), Verdict::Outdated),
            (there("engaged", 5), record("released", SIX, 6, false), Verdict::Outdated),
            (there("released", 6), record("engaged", SIX, 5, false), Verdict::Outdated),
            (there("released", 6), record("engaged", FIVE, 5, false), Verdict::Same),
            (there("acknowledged", 6), record("acknowledged", SIX, 6, false), Verdict::Same),
        ] {
            let what = format!("{found:?} {truth:?}");
            assert_eq!(judge(&found, truth), want, "{what}");
        }
    }

    #[test]
    fn what_was_merged_once_is_the_same_from_then_on() {
        let truth = record("released", "2026-11-06T05:06:00.000Z", 6, false);
        let told = record("engaged", "2026-11-06T05:05:00.000Z", 5, true);
        let merged = lifecycle::merge(told, truth.clone());
        assert_eq!(judge(&Found::There(merged), truth.clone()), Verdict::Same);
        assert_eq!(judge(&Found::There(truth.clone()), truth), Verdict::Same);
    }

    #[test]
    fn an_error_that_came_or_went_is_seen() {
        let mut failed = record("engaged", "2026-11-06T05:06:00.000Z", 6, false);
        failed["event"]["outcome"] = json!("failure");
        failed.insert("error".to_owned(), json!({"message": "why"}));
        let told = record("engaged", "2026-11-06T05:05:00.000Z", 5, true);
        assert_eq!(judge(&Found::There(told.clone()), failed.clone()), Verdict::Outdated);
        let merged = lifecycle::merge(told, failed);
        let well = record("engaged", "2026-11-06T05:07:00.000Z", 7, false);
        assert_eq!(judge(&Found::There(merged), well), Verdict::Outdated);
    }

    #[test]
    fn a_value_that_the_store_did_not_take_makes_no_record_outdated_for_ever() {
        const FIVE: &str = "2026-11-06T05:05:00.000Z";
        let mut truth = record("engaged", FIVE, 6, false);
        truth.insert("source".to_owned(), json!({"ip": "10.0.0.0-10.0.0.9"}));
        let mut stored = record("engaged", FIVE, 5, false);
        stored["event"]["original"] = json!("{\"source.ip\":\"10.0.0.0-10.0.0.9\"}");
        assert_eq!(judge(&Found::There(stored.clone()), truth.clone()), Verdict::Outdated);
        stored["tags"] = json!(["reconciled", "repaired"]);
        assert_eq!(judge(&Found::There(stored.clone()), truth.clone()), Verdict::Same);
        truth["event"]["action"] = json!("acknowledged");
        assert_eq!(judge(&Found::There(stored), truth), Verdict::Outdated);
    }

    #[test]
    fn the_truth_is_heard_whatever_the_clock_of_a_message_said() {
        const FIVE: &str = "2026-11-06T05:05:00.000Z";
        let of = |action, sequence| record(action, FIVE, sequence, true);
        for (have, at, want, seen, heard) in [
            ("engaged", 5, "released", 6, None),
            ("engaged", 9, "released", 6, Some(9)),
            ("engaged", 9, "acknowledged", 6, Some(9)),
            ("acknowledged", 9, "released", 6, Some(9)),
            // The API may not have told of the end yet.
            ("released", 9, "engaged", 6, None),
            ("acknowledged", 9, "engaged", 6, None),
        ] {
            assert_eq!(overheard(&of(have, at), &of(want, seen)), heard, "{have} {want}");
        }
        let mut missed = of("released", 9);
        missed.insert("tags".to_owned(), json!([ORPHANED]));
        assert_eq!(overheard(&missed, &of("acknowledged", 9)), Some(10));
        assert_eq!(overheard(&missed, &of("engaged", 12)), None, "it is heard");
        assert_eq!(overheard(&missed, &of("released", 6)), None);
    }
}
