//! How the states of one alert become one document, in whatever order and however often they
//! come. Commutative, associative and idempotent, so a retry, a replay, a second replica, a late
//! webhook and the reconciler all end in the same document. What it holds:
//!
//! - **what was said**: everything that is not named below, from the newest message. A message is
//!   known by its `event.hash`; what was read back from the Alerting API has none, says less, and
//!   counts only while no message has come. Then the document has the tag `reconciled`.
//! - **how it stands**: `event.action`, `event.outcome` and `error.message`, of the highest
//!   `event.sequence`.
//! - the earliest start and receipt, the latest end, all tags; `event.duration` once it is over.
//!
//! What ntopng and Alertmanager tell (`event.provider`) is judged in two points differently, since an
//! engaged alert of theirs ends with its last news, and a release alone says when it was over:
//!
//! - `event.end` belongs to how it stands, not to the latest time that anybody named.
//! - An alert of ntopng that was released stays so, whatever the clocks say: its id holds the time of
//!   its engagement, and the next one has another. One of Alertmanager can be resolved and fire again
//!   under the same `startsAt`, when Prometheus was silent for too long: the newer state stands.
//!
//! Where the newest message is older than the newest state, `event.created` (epoch ms) tells from
//! when it is.
//!
//! The rule stands here twice: in Rust, for what the reconciler finds to be different, and as the
//! script that the store runs; a test holds the one against the other on a real server.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The rule as a Painless script; `params.state` is the newly come state's document.
///
/// Our times are RFC 3339 in UTC with milliseconds, so the texts compare as their instants do.
pub const MERGE_SCRIPT: &str = include_str!("lifecycle/merge.painless");

/// Tag of a record that no message has told of.
pub const RECONCILED: &str = "reconciled";

type Document = Map<String, Value>;

/// Merges two states of the same alert.
#[must_use]
pub fn merge(one: Document, other: Document) -> Document {
    let standing = Standing::of(&one).max(Standing::of(&other));
    let (mut next, old) = if said(&one) >= said(&other) { (one, other) } else { (other, one) };
    let newest_said = said(&next);
    choose(&mut next, &old, "firstPacket", None, str::lt);
    choose(&mut next, &old, "event", Some("start"), str::lt);
    if !tells_its_end(&next) {
        choose(&mut next, &old, "lastPacket", None, str::gt);
        choose(&mut next, &old, "event", Some("end"), str::gt);
    }
    choose(&mut next, &old, "event", Some("ingested"), str::lt);
    unite_tags(&mut next, &old);
    standing.write(&mut next, newest_said);
    next
}

fn provider(state: &Document) -> &str {
    let provider = state.get("event").and_then(|event| event.get("provider"));
    provider.and_then(Value::as_str).unwrap_or_default()
}

/// Whether only the state that stands says when the alert ends.
fn tells_its_end(state: &Document) -> bool {
    matches!(provider(state), "ntopng" | "alertmanager")
}

/// What makes what was said newer: that it was said at all, when, and between equals its hash.
fn said(state: &Document) -> (bool, i64, String) {
    let event = state.get("event");
    let number = |key: &str| event.and_then(|event| event.get(key)).and_then(Value::as_i64);
    let hash = event.and_then(|event| event.get("hash")).and_then(Value::as_str);
    let at = number("created").or_else(|| number("sequence")).unwrap_or(i64::MIN);
    (hash.is_some(), at, hash.unwrap_or_default().to_owned())
}

/// How an alert stands; the greatest is the newest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// Whether it is over for good.
    is_final: bool,
    sequence: i64,
    rank: u8,
    action: Option<String>,
    outcome: Option<String>,
    error: Option<String>,
    /// `event.end` and `lastPacket`, where they belong to how it stands.
    end: Option<[Option<String>; 2]>,
}

impl Standing {
    fn of(state: &Document) -> Self {
        let event = state.get("event");
        let text = |key: &str| event?.get(key)?.as_str().map(str::to_owned);
        let action = text("action");
        let sequence = event.and_then(|event| event.get("sequence")).and_then(Value::as_i64);
        let error = state.get("error").and_then(|error| error.get("message"));
        let last = || state.get("lastPacket").and_then(Value::as_str).map(str::to_owned);
        Self {
            is_final: action.as_deref() == Some("released") && provider(state) == "ntopng",
            end: tells_its_end(state).then(|| [text("end"), last()]),
            sequence: sequence.unwrap_or(i64::MIN),
            rank: match action.as_deref() {
                Some("released") => 2,
                Some("acknowledged") => 1,
                _ => 0,
            },
            action,
            outcome: text("outcome"),
            error: error.and_then(Value::as_str).map(str::to_owned),
        }
    }

    fn write(self, state: &mut Document, (was_said, at, _): (bool, i64, String)) {
        let mut error = match state.remove("error") {
            Some(Value::Object(error)) => error,
            _ => Map::new(),
        };
        set(&mut error, "message", self.error);
        set(state, "error", (!error.is_empty()).then_some(error));
        let end = self.end.map(|[end, last]| {
            set(state, "lastPacket", last);
            end
        });
        let Some(Value::Object(event)) = state.get_mut("event") else { return };
        if let Some(end) = end {
            set(event, "end", end);
        }
        let duration = (self.rank == 2).then(|| duration(event)).flatten();
        let has_sequence = self.sequence != i64::MIN;
        let created = (was_said && has_sequence && at != self.sequence).then_some(at);
        set(event, "action", self.action);
        set(event, "outcome", self.outcome);
        set(event, "sequence", has_sequence.then_some(self.sequence));
        set(event, "created", created);
        set(event, "duration", duration);
    }
}

fn set(object: &mut Document, key: &str, value: Option<impl Into<Value>>) {
    match value {
        Some(value) => drop(object.insert(key.to_owned(), value.into())),
        None => drop(object.remove(key)),
    }
}

/// From `start` to `end` in ns; 0 where the end is earlier, or that is more than fits.
#[must_use]
pub fn nanoseconds(start: Timestamp, end: Timestamp) -> i64 {
    nanoseconds_of(start.as_millisecond(), end.as_millisecond())
}

/// The same of two times in epoch ms.
#[must_use]
pub fn nanoseconds_of(start: i64, end: i64) -> i64 {
    end.saturating_sub(start).max(0).checked_mul(1_000_000).unwrap_or(0)
}

fn duration(event: &Document) -> Option<i64> {
    let time = |key: &str| event.get(key)?.as_str()?.parse::<Timestamp>().ok();
    Some(nanoseconds(time("start")?, time("end")?))
}

/// All tags, sorted; [`RECONCILED`] only where no message has told of the alert.
fn unite_tags(next: &mut Document, old: &Document) {
    let keeps = said(next).0;
    let mut tags: Vec<Value> = Vec::new();
    for state in [&*next, old] {
        match state.get("tags") {
            Some(Value::Array(list)) => tags.extend(list.iter().cloned()),
            Some(tag @ Value::String(_)) => tags.push(tag.clone()),
            _ => {}
        }
    }
    tags.retain(|tag| !keeps || tag != RECONCILED);
    tags.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
    tags.dedup();
    if tags.is_empty() {
        next.remove("tags");
    } else {
        next.insert("tags".to_owned(), Value::Array(tags));
    }
}

/// Takes the text at `field` (`field.below`) from `old` where it `wins`.
fn choose(
    next: &mut Document,
    old: &Document,
    field: &str,
    below: Option<&str>,
    wins: fn(&str, &str) -> bool,
) {
    let find = |state: &Value| match below {
        Some(key) => state.get(key).and_then(Value::as_str).map(str::to_owned),
        None => state.as_str().map(str::to_owned),
    };
    let Some(old) = old.get(field).and_then(find) else { return };
    let won = next.get(field).and_then(find).is_none_or(|new| wins(&old, &new));
    if !won {
        return;
    }
    match below {
        None => {
            next.insert(field.to_owned(), Value::String(old));
        }
        Some(key) => {
            if let Some(Value::Object(object)) = next.get_mut(field) {
                object.insert(key.to_owned(), Value::String(old));
            }
        }
    }
}

#[cfg(test)]
mod engagements;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A state as a message tells it, or as it is read back; `variant` tells states of the same
    /// time apart.
    fn state(sequence: i64, variant: u8, ingested: u8, read_back: bool) -> Document {
        let start = format!("2026-11-06T05:00:{:02}.000Z", variant * 7 % 60);
        let end = format!("2026-11-06T05:01:{:02}.000Z", variant * 11 % 60);
        let actions = ["engaged", "acknowledged", "released"];
        let action = if read_back { actions[usize::from(variant % 3)] } else { "engaged" };
        let mut state = json!({
            "firstPacket": start, "lastPacket": end,
            "event": {"sequence": sequence, "start": start, "end": end, "action": action,
                      "ingested": format!("2026-11-06T05:02:{ingested:02}.000Z")},
        });
        if action == "released" {
            state["event"]["duration"] = json!(duration(state["event"].as_object().unwrap()));
        }
        if read_back {
            state["tags"] = json!([RECONCILED]);
        } else {
            state["event"]["hash"] = json!(format!("{variant}"));
            state["event"]["hits"] = json!(sequence);
        }
        if variant.is_multiple_of(2) {
            state["event"]["outcome"] = json!("failure");
            state["error"] = json!({"message": format!("{variant}"), "code": "c"});
            if read_back {
                state["error"] = json!({"message": format!("{variant}")});
            }
        }
        if variant > 0 && !read_back {
            state["tags"] = json!([format!("t{}", variant % 3)]);
        }
        let Value::Object(state) = state else { unreachable!() };
        state
    }

    #[test]
    fn a_late_message_widens_the_period_and_changes_nothing_else() {
        let merged = merge(state(2, 5, 1, false), state(1, 1, 0, false));
        assert_eq!(merged["firstPacket"], json!("2026-11-06T05:00:07.000Z"));
        assert_eq!(merged["lastPacket"], json!("2026-11-06T05:01:55.000Z"));
        assert_eq!(merged["event"]["ingested"], json!("2026-11-06T05:02:00.000Z"));
        let tags = &merged["tags"];
        assert_eq!((&merged["event"]["hits"], tags), (&json!(2), &json!(["t1", "t2"])));
        assert_eq!(merged["event"].get("created"), None);
    }

    #[test]
    fn what_is_read_back_tells_how_it_stands_and_leaves_what_was_said() {
        let over = merge(state(1, 1, 0, false), state(9, 5, 1, true));
        let event = &over["event"];
        assert_eq!((&event["action"], &event["sequence"]), (&json!("released"), &json!(9)));
        assert_eq!((&event["hits"], &event["created"]), (&json!(1), &json!(1)));
        assert_eq!(event["duration"], json!(108_000_000_000_i64));
        assert_eq!(over["tags"], json!(["t1"]));
        let later = merge(over, state(2, 1, 0, false));
        assert_eq!((&later["event"]["hits"], &later["event"]["created"]), (&json!(2), &json!(2)));
        assert_eq!(later["event"]["action"], json!("released"));
    }

    #[test]
    fn without_a_message_it_is_tagged_until_one_comes() {
        let alone = merge(state(3, 1, 0, true), state(1, 3, 1, true));
        assert_eq!(alone["tags"], json!([RECONCILED]));
        assert_eq!(alone["event"]["action"], json!("acknowledged"));
        let told = merge(alone, state(1, 1, 2, false));
        assert_eq!((&told["tags"], &told["event"]["hits"]), (&json!(["t1"]), &json!(1)));
        assert_eq!(told["event"]["action"], json!("acknowledged"));
    }

    #[test]
    fn an_error_that_is_over_is_gone() {
        let failed = merge(state(1, 1, 0, false), state(2, 0, 0, true));
        assert_eq!(failed["event"]["outcome"], json!("failure"));
        assert_eq!(failed["error"], json!({"message": "0"}));
        let well = merge(failed, state(3, 3, 0, true));
        assert_eq!((well["event"].get("outcome"), well.get("error")), (None, None));
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_gives_the_same(
            (states, shuffled) in proptest::collection::vec(
                (0..4_i64, 0..6_u8, 0..60_u8, any::<bool>()).prop_map(|(s, v, i, b)| state(s, v, i, b)),
                1..6,
            ).prop_flat_map(|states| {
                let twice: Vec<_> = states.iter().chain(&states).cloned().collect();
                (Just(states), Just(twice).prop_shuffle())
            })
        ) {
            let fold = |states: Vec<Document>| states.into_iter().reduce(merge);
            prop_assert_eq!(fold(states), fold(shuffled));
        }
    }
}
