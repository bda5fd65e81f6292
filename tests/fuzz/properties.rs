//! The same targets by way of a grammar: proptest makes any JSON of the names that senders use, and
//! shrinks what fails.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::targets::{bodies, output, templates};

fn key() -> impl Strategy<Value = String> {
    let known = vec![
        "alert",
        "monitor",
        "trigger",
        "period",
        "start",
        "end",
        "name",
        "id",
        "severity",
        "body",
        "error",
        "results",
        "alerts",
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "fingerprint",
        "event",
        "event_definition_id",
        "event_definition_title",
        "backlog",
        "fields",
        "stream",
        "check_result",
        "triggered_condition",
        "parameters",
        "matching_messages",
        "action",
        "entity_val",
        "entity_id",
        "tstamp",
        "alert_id",
        "ip",
        "cli_ip",
        "srv_ip",
        "json",
        "sharedsecret",
        "version",
    ];
    prop_oneof![4 => select(known).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
        select(vec![
            "engage",
            "release",
            "firing",
            "resolved",
            "ACTIVE",
            "2026-11-06T05:00:00Z",
            "10.0.0.1"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key(), inner.clone()), 0..10)
                .prop_map(|all| Value::Object(all.into_iter().collect::<Map<_, _>>())),
            inner.prop_map(|inner| json!(inner.to_string())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_json_is_read_for_every_source(json in any_json()) {
        let body = json.to_string().into_bytes();
        for read in [
            bodies::detected, bodies::opensearch, bodies::graylog, bodies::ntopng, bodies::alertmanager,
            bodies::reconciler, bodies::compat, templates::rendered,
        ] {
            read(&body);
        }
    }

    #[test]
    fn any_text_is_mended_masked_and_printed(text in "\\PC{0,200}|.{0,200}") {
        for read in [bodies::repaired, bodies::masked, bodies::unpacked, output::printed] {
            read(text.as_bytes());
        }
    }

    #[test]
    fn a_packed_body_is_read_as_the_body(json in any_json()) {
        let body = json.to_string().into_bytes();
        bodies::unpacked(&bodies::packed(&body));
    }
}
