//! How the states of one alert become one document, in whatever order and however often they
//! come: the newest state's fields, the earliest start, the latest end, the earliest receipt, and
//! all tags. Commutative, associative and idempotent, so a retry, a replay, a second replica and a
//! late webhook all end in the same document.
//!
//! The rule stands here twice: in Rust, for states that meet before they are sent, and as the
//! script that the store runs; a test holds the one against the other on a real server.

use serde_json::{Map, Value};

/// The rule as a Painless script; `params.state` is the newly come state's document.
///
/// Our times are RFC 3339 in UTC with milliseconds, so the texts compare as their instants do.
pub const MERGE_SCRIPT: &str = include_str!("lifecycle/merge.painless");

/// Merges two states of the same alert.
#[must_use]
pub fn merge(one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    let (mut newest, oldest) =
        if version(&one) >= version(&other) { (one, other) } else { (other, one) };
    choose(&mut newest, &oldest, "firstPacket", None, str::lt);
    choose(&mut newest, &oldest, "lastPacket", None, str::gt);
    choose(&mut newest, &oldest, "event", Some("start"), str::lt);
    choose(&mut newest, &oldest, "event", Some("end"), str::gt);
    choose(&mut newest, &oldest, "event", Some("ingested"), str::lt);
    let mut tags: Vec<Value> = Vec::new();
    for state in [&newest, &oldest] {
        match state.get("tags") {
            Some(Value::Array(list)) => tags.extend(list.iter().cloned()),
            Some(tag @ Value::String(_)) => tags.push(tag.clone()),
            _ => {}
        }
    }
    tags.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
    tags.dedup();
    if !tags.is_empty() {
        newest.insert("tags".to_owned(), Value::Array(tags));
    }
    newest
}

/// What makes a state newer than another: its time, and between equals its hash.
fn version(state: &Map<String, Value>) -> (i64, &str) {
    let event = state.get("event");
    let sequence = event.and_then(|event| event.get("sequence")).and_then(Value::as_i64);
    let hash = event.and_then(|event| event.get("hash")).and_then(Value::as_str);
    (sequence.unwrap_or(i64::MIN), hash.unwrap_or_default())
}

/// Takes the text at `field` (`field.below`) from `oldest` where it `wins`.
fn choose(
    newest: &mut Map<String, Value>,
    oldest: &Map<String, Value>,
    field: &str,
    below: Option<&str>,
    wins: fn(&str, &str) -> bool,
) {
    let find = |state: &Value| match below {
        Some(key) => state.get(key).and_then(Value::as_str).map(str::to_owned),
        None => state.as_str().map(str::to_owned),
    };
    let Some(old) = oldest.get(field).and_then(find) else { return };
    let won = newest.get(field).and_then(find).is_none_or(|new| wins(&old, &new));
    if !won {
        return;
    }
    match below {
        None => {
            newest.insert(field.to_owned(), Value::String(old));
        }
        Some(key) => {
            if let Some(Value::Object(object)) = newest.get_mut(field) {
                object.insert(key.to_owned(), Value::String(old));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A state as a monitor sends it; `variant` tells states of the same time apart.
    fn state(sequence: i64, variant: u8, ingested: u8) -> Map<String, Value> {
        let start = format!("2026-11-06T05:00:{:02}.000Z", variant * 7 % 60);
        let end = format!("2026-11-06T05:01:{:02}.000Z", variant * 11 % 60);
        let mut state = json!({
            "firstPacket": start, "lastPacket": end,
            "event": {"sequence": sequence, "hash": format!("{variant}"), "hits": sequence,
                      "start": start, "end": end,
                      "ingested": format!("2026-11-06T05:02:{ingested:02}.000Z")},
        });
        if variant > 0 {
            state["tags"] = json!([format!("t{}", variant % 3)]);
        }
        let Value::Object(state) = state else { unreachable!() };
        state
    }

    #[test]
    fn a_late_state_widens_the_period_and_changes_nothing_else() {
        let merged = merge(state(2, 4, 1), state(1, 1, 0));
        assert_eq!(merged["firstPacket"], json!("2026-11-06T05:00:07.000Z"));
        assert_eq!(merged["lastPacket"], json!("2026-11-06T05:01:44.000Z"));
        assert_eq!(merged["event"]["ingested"], json!("2026-11-06T05:02:00.000Z"));
        assert_eq!((&merged["event"]["hits"], &merged["tags"]), (&json!(2), &json!(["t1"])));
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_gives_the_same(
            (states, shuffled) in proptest::collection::vec(
                (0..4_i64, 0..6_u8, 0..60_u8).prop_map(|(s, v, i)| state(s, v, i)), 1..6,
            ).prop_flat_map(|states| {
                let twice: Vec<_> = states.iter().chain(&states).cloned().collect();
                (Just(states), Just(twice).prop_shuffle())
            })
        ) {
            let fold = |states: Vec<Map<String, Value>>| states.into_iter().reduce(merge);
            prop_assert_eq!(fold(states), fold(shuffled));
        }
    }
}
