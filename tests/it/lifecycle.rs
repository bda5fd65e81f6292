//! The merge script on the real server does what the rule in Rust does.

use alertloop::{
    lifecycle::{MERGE_SCRIPT, RECONCILED, merge},
    opensearch::bulk::{self, Action},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use crate::store;

/// How many alerts, each with several states in some order.
const ALERTS: usize = 150;

/// A state as a message tells it, or as the Alerting API does.
fn state(
    provider: &str,
    sequence: i64,
    variant: u8,
    ingested: u8,
    read_back: bool,
) -> Map<String, Value> {
    let start = format!("2026-11-06T05:00:{:02}.000Z", variant * 7 % 60);
    let end = format!("2026-11-06T05:01:{:02}.000Z", variant * 11 % 60);
    let mut state = json!({
        "firstPacket": start, "lastPacket": end, "rule": {"name": format!("rule {variant}")},
        "event": {"provider": provider, "sequence": sequence, "hash": format!("{variant}"), "hits": sequence,
                  "start": start, "end": end, "severity": 40,
                  "ingested": format!("2026-11-06T05:02:{ingested:02}.000Z")},
    });
    let actions = ["engaged", "acknowledged", "released"];
    // Only what OpenSearch tells is read back; the messages of the others say how it stands.
    let is_told = provider != "malcolm";
    let read_back = read_back && !is_told;
    if is_told {
        state["event"]["action"] = json!(actions[usize::from(variant % 3)]);
    }
    if read_back {
        state["tags"] = json!([RECONCILED]);
        state["event"]["action"] = json!(actions[usize::from(variant % 3)]);
        state["event"].as_object_mut().map(|event| event.remove("hash"));
        // An alert keeps the name that its monitor had.
        state["rule"] = json!({"name": "rule"});
    } else if variant > 0 {
        state["tags"] = json!([format!("t{}", variant % 3)]);
    }
    if (read_back || is_told) && variant % 3 == 2 {
        let seconds = 60 + i64::from(variant * 11 % 60) - i64::from(variant * 7 % 60);
        state["event"]["duration"] = json!(seconds * 1_000_000_000);
    }
    if variant.is_multiple_of(2) {
        state["event"]["outcome"] = json!("failure");
        state["error"] = json!({"message": format!("{variant}")});
    }
    match state {
        Value::Object(state) => state,
        _ => unreachable!(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_and_repetition_of_an_alerts_states_gives_the_same_document() {
    let store = store!();
    let strategy = (
        0..3_usize,
        prop::collection::vec(
            (1_800_000_000_000..1_800_000_000_004_i64, 0..6_u8, 0..60_u8, any::<bool>()),
            1..6,
        ),
    )
        .prop_flat_map(|(provider, states)| {
            let provider = ["malcolm", "ntopng", "alertmanager"][provider];
            let states: Vec<_> =
                states.into_iter().map(|(s, v, i, b)| state(provider, s, v, i, b)).collect();
            let twice: Vec<_> = states.iter().chain(&states).cloned().collect();
            (Just(states), Just(twice).prop_shuffle())
        });
    let mut runner = TestRunner::default();
    let cases: Vec<_> =
        (0..ALERTS).map(|_| strategy.new_tree(&mut runner).expect("a case").current()).collect();

    let index = store.index("261106");
    let mut body = Vec::new();
    let mut count = 0;
    for (number, (_, order)) in cases.iter().enumerate() {
        for state in order {
            let document = Value::Object(state.clone()).to_string();
            bulk::push(
                &mut body,
                Action::Script(MERGE_SCRIPT),
                &index,
                &format!("{number}"),
                &document,
            );
            count += 1;
        }
    }
    let items = store.client().bulk(body.into(), count).await.expect("an answer");
    for item in &items {
        assert!(item.status < 300, "{item:?}");
    }
    assert!(
        items.iter().any(|item| item.result.as_deref() == Some("noop")),
        "repetition changes nothing"
    );

    let records = store.wait_for_records(ALERTS).await;
    for record in records {
        let number: usize = record["_id"].as_str().expect("an id").parse().expect("a number");
        let (states, order) = &cases[number];
        let want = states.clone().into_iter().reduce(merge).map(Value::Object);
        assert_eq!(Some(&record["_source"]), want.as_ref(), "{order:#?}");
    }
}
