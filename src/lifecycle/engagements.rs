//! The rule for alerts whose messages tell when they were engaged: ntopng's and Alertmanager's, as
//! their decoders give them (`id` holds the engagement, `start` is it, `end` and `as_of` are said).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Seconds after the engagement: what a message says it was, when, and until when.
type Said = (&'static str, i64, i64);

fn document(provider: &str, (action, as_of, end): Said) -> Document {
    let at = |second: i64| {
        let at = Timestamp::from_second(1_793_961_200 + second).unwrap();
        format!("{at:.3}")
    };
    let mut document = json!({
        "firstPacket": at(0), "lastPacket": at(end),
        "event": {"provider": provider, "action": action, "start": at(0), "end": at(end),
                  "ingested": at(as_of + 1), "sequence": (1_793_961_200 + as_of) * 1_000,
                  "hash": format!("{action}{as_of}/{end}"), "hits": as_of},
    });
    if action == "released" {
        document["event"]["duration"] = json!(duration(document["event"].as_object().unwrap()));
    }
    let Value::Object(document) = document else { unreachable!() };
    document
}

/// How it stands, when it ends, for how many seconds it lasted.
fn shown(document: &Document) -> (String, i64, Option<i64>) {
    let event = &document["event"];
    let second = |text: &Value| {
        let at: Timestamp = text.as_str().unwrap().parse().unwrap();
        at.as_second() - 1_793_961_200
    };
    assert_eq!(document["lastPacket"], event["end"]);
    let lasted = event.get("duration").and_then(Value::as_i64).map(|ns| ns / 1_000_000_000);
    (event["action"].as_str().unwrap().to_owned(), second(&event["end"]), lasted)
}

#[test]
fn messages_that_tell_their_engagement_become_one_record_in_any_order() {
    let both = ["ntopng", "alertmanager"].as_slice();
    for (what, providers, said, want) in [
        (
            "engaged, refreshed, released",
            both,
            vec![("engaged", 0, 0), ("engaged", 60, 60), ("released", 90, 90)],
            ("released", 90, Some(90)),
        ),
        (
            "a release without an engage",
            both,
            vec![("released", 30, 30)],
            ("released", 30, Some(30)),
        ),
        (
            "a refresh of the same moment does not reopen it",
            both,
            vec![("engaged", 0, 0), ("released", 90, 90), ("engaged", 90, 90)],
            ("released", 90, Some(90)),
        ),
        (
            "the end of the release holds, though news were said to be later",
            both,
            vec![("engaged", 60, 75), ("released", 70, 70)],
            ("released", 70, Some(70)),
        ),
        (
            "two releases: the later one",
            both,
            vec![("released", 90, 90), ("released", 95, 95)],
            ("released", 95, Some(95)),
        ),
        (
            "acknowledged in between",
            both,
            vec![("engaged", 0, 0), ("acknowledged", 20, 0), ("released", 90, 90)],
            ("released", 90, Some(90)),
        ),
        (
            "acknowledged, and refreshed at an older moment",
            both,
            vec![("acknowledged", 20, 20), ("engaged", 10, 10)],
            ("acknowledged", 20, None),
        ),
        (
            "ntopng with a wrong clock: a newer refresh does not reopen it",
            &["ntopng"],
            vec![("engaged", 0, 0), ("released", 90, 90), ("engaged", 200, 200)],
            ("released", 90, Some(90)),
        ),
        (
            "Alertmanager: resolved, and firing again since the same moment",
            &["alertmanager"],
            vec![("engaged", 0, 0), ("released", 90, 90), ("engaged", 200, 200)],
            ("engaged", 200, None),
        ),
        (
            "and resolved for good",
            &["alertmanager"],
            vec![("released", 90, 90), ("engaged", 200, 200), ("released", 260, 250)],
            ("released", 250, Some(250)),
        ),
    ] {
        for provider in providers {
            let states: Vec<_> = said.iter().map(|said| document(provider, *said)).collect();
            let (action, end, lasted) = want;
            let want = (action.to_owned(), end, lasted);
            for shift in 0..states.len() {
                for forwards in [true, false] {
                    let mut order = states.clone();
                    order.rotate_left(shift);
                    if !forwards {
                        order.reverse();
                    }
                    let twice = order.iter().chain(&order).cloned().collect::<Vec<_>>();
                    let merged = twice.into_iter().reduce(merge).unwrap();
                    assert_eq!(shown(&merged), want, "{provider}: {what}, {shift} {forwards}");
                }
            }
        }
    }
}

#[test]
fn what_opensearch_tells_ends_with_the_latest_end_as_before() {
    let merged =
        merge(document("malcolm", ("released", 70, 70)), document("malcolm", ("engaged", 60, 75)));
    assert_eq!(shown(&merged), ("released".to_owned(), 75, Some(75)));
}

proptest! {
    #[test]
    fn any_order_grouping_and_repetition_gives_the_same(
        (states, shuffled, cut) in (any::<bool>(), proptest::collection::vec((0..3_usize, 0..6_i64, 0..6_i64), 1..7))
            .prop_flat_map(|(ntopng, said)| {
                let provider = if ntopng { "ntopng" } else { "alertmanager" };
                let action = |n: usize| ["engaged", "acknowledged", "released"][n];
                let states: Vec<_> = said
                    .into_iter()
                    .map(|(n, as_of, end)| document(provider, (action(n), as_of, end)))
                    .collect();
                let twice: Vec<_> = states.iter().chain(&states).cloned().collect();
                let most = twice.len();
                (Just(states), Just(twice).prop_shuffle(), 0..most)
            })
    ) {
        let fold = |states: &[Document]| states.iter().cloned().reduce(merge);
        let want = fold(&states);
        prop_assert_eq!(&want, &fold(&shuffled));
        // Two replicas that each have merged a part: what they have is merged in turn.
        let (one, other) = shuffled.split_at(cut);
        let halves: Vec<_> = [fold(one), fold(other)].into_iter().flatten().collect();
        prop_assert_eq!(&want, &fold(&halves));
    }
}
