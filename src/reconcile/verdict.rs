//! What has to be done about one alert: whether its record says what is true. Pure.

use serde_json::{Map, Value};

use crate::{lifecycle, opensearch::records::Found};

/// What a record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Same,
    /// It is not there: no webhook has come through.
    Missing,
    /// It does not say how its alert stands.
    Outdated,
}

/// Compares a record with the one that the Alerting API's state of its alert makes.
#[must_use]
pub fn judge(record: &Found, truth: Map<String, Value>) -> Verdict {
    let record = match record {
        Found::Absent => return Verdict::Missing,
        // It cannot be written either; where nobody can tell, nobody is asked (`compare`).
        Found::Closed | Found::Unknown => return Verdict::Same,
        Found::There(record) => record,
    };
    let merged = lifecycle::merge(record.clone(), truth);
    if seen(&merged) == seen(record) { Verdict::Same } else { Verdict::Outdated }
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
}
