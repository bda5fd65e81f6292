//! Objects with any content.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::lives::{action, minutes, search};

/// One channel, one monitor and one template with any content.
pub fn any_objects(prefix: &str) -> impl Strategy<Value = Vec<(String, Value)>> + use<> {
    let prefix = prefix.to_owned();
    let text = "[ -~äß漢]{1,20}";
    let number = prop_oneof![
        (1..1_000_000_u64).prop_map(|n| json!(n)),
        (1..1_000_u64).prop_map(|n| json!(n.to_string()))
    ];
    let channel = (
        text,
        any::<bool>(),
        proptest::collection::btree_map("[A-Za-z][A-Za-z0-9-]{0,8}", "[!-~]{1,20}", 0..4),
        "[a-z0-9/]{0,10}",
    );
    let leaf = prop_oneof![
        ("[a-z.]{1,9}", number.clone())
            .prop_map(|(field, value)| json!({"term": {(field): value}})),
        ("[a-z]{1,9}", text).prop_map(|(field, value)| json!({"match_phrase": {(field): value}})),
        ("[a-z]{1,9}", text)
            .prop_map(|(field, value)| json!({"prefix": {(field): {"value": value}}})),
        ("[a-z]{1,9}", 0..4_usize, 0..1000).prop_map(|(field, bound, value)| {
            let bound = ["gt", "gte", "lt", "lte"][bound];
            json!({"range": {(field): {(bound): value}}})
        }),
        Just(json!({"match_all": {}})),
        "[a-z]{1,9}".prop_map(|field| json!({"exists": {"field": field}})),
    ];
    let query = leaf.prop_recursive(3, 12, 3, |inner| {
        (0..4_usize, proptest::collection::vec(inner, 1..3)).prop_map(|(kind, mut inner)| {
            let kind = ["must", "filter", "should", "must_not"][kind];
            let clauses = if inner.len() == 1 { inner.remove(0) } else { json!(inner) };
            json!({"bool": {(kind): clauses}})
        })
    });
    let monitor = (query, 1..60_u32, text, 1..6_u8, any::<bool>());
    let template = (0..400_u32, 1..9_u32, any::<bool>(), 1..9_u32);
    (channel, monitor, template).prop_map(move |(channel, monitor, template)| {
        let (description, is_enabled, headers, path) = channel;
        let mut lower: Vec<_> = headers.keys().map(|key| key.to_lowercase()).collect();
        lower.dedup();
        let headers: serde_json::Map<_, _> =
            headers.into_iter().map(|(key, value)| (key.to_lowercase(), json!(value))).collect();
        let channel = json!({"config": {"name": "n", "description": description.trim(),
            "config_type": "webhook", "is_enabled": is_enabled,
            "webhook": {"url": format!("http://h/{path}"), "header_params": headers}}});
        let (query, interval, words, severity, is_long) = monitor;
        let query = if is_long { json!({"size": 0, "query": query}) } else { json!({"query": query}) };
        let monitor = json!({"type": "monitor", "name": format!("{prefix}any"), "enabled": false,
            "monitor_type": "query_level_monitor", "schedule": minutes(interval),
            "inputs": search(&prefix, &query), "triggers": [{"query_level_trigger": {"name": words,
                "severity": severity, "condition": {"script": {"source": "true"}},
                "actions": [action(&words)]}}]});
        let (priority, shards, is_nested, seconds) = template;
        let settings = if is_nested {
            json!({"index": {"number_of_shards": shards, "refresh_interval": format!("{seconds}s")}})
        } else {
            json!({"number_of_shards": shards, "index.refresh_interval": format!("{seconds}s")})
        };
        let template = json!({"index_patterns": [format!("{prefix}any-*")], "priority": priority,
            "template": {"settings": settings}});
        vec![
            (format!("channels/{prefix}any.json"), channel),
            (format!("monitors/{prefix}any.json"), monitor),
            (format!("templates/{prefix}any.json"), template),
        ]
    })
}
