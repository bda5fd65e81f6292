//! Whether a monitor counts our own records. A monitor that sends to us and also searches the index
//! that its records go to fires on them, and so goes on firing.
//!
//! Each record of an alert has the values of `OURS`. A query is safe only when it surely finds no
//! document with these values: `query::finds_ours` evaluates it on such a document in three values,
//! and everything that it does not know is "perhaps". So a query may be called unsafe that is not,
//! but none safe that is not.

use serde_json::Value;

use super::desired::Desired;

mod query;
mod query_string;

/// What all of our records hold, whatever their source, and under both compatibility modes.
const OURS: [(&str, &str); 3] =
    [("event.kind", "alert"), ("event.module", "alerting"), ("event.dataset", "alerting")];

/// What keeps our records out of a query, in words for the one who mends it.
pub const MEND: &str =
    "add `\"must_not\": [{\"term\": {\"event.module\": \"alerting\"}}]` to the query's `bool`";
/// The same for the query strings of a document-level monitor.
pub const MEND_STRING: &str = "write each query as `(…) AND NOT event.module:alerting`";

/// Whether something holds for a document of which only a part is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    Perhaps,
    Yes,
}

impl Truth {
    fn of(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }

    fn all(list: impl IntoIterator<Item = Self>) -> Self {
        list.into_iter().min().unwrap_or(Self::Yes)
    }

    fn any(list: impl IntoIterator<Item = Self>) -> Self {
        list.into_iter().max().unwrap_or(Self::No)
    }
}

/// The value that our records have in a field; `None` where it is not always the same.
fn ours(field: &str) -> Option<&'static str> {
    OURS.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
}

/// What mends a monitor that perhaps counts our records; `None` where it surely does not.
#[must_use]
pub fn fault(monitor: &Value, desired: &Desired) -> Option<&'static str> {
    let mut inputs = monitor.get("inputs").and_then(Value::as_array).into_iter().flatten();
    inputs.find_map(|input| fault_of_input(input, desired))
}

fn fault_of_input(input: &Value, desired: &Desired) -> Option<&'static str> {
    let reads_ours = |indices: Option<&Value>| {
        let indices = indices.and_then(Value::as_array).into_iter().flatten();
        let names: Vec<&str> =
            indices.filter_map(Value::as_str).flat_map(|names| names.split(',')).collect();
        names.iter().any(|name| overlap(name, &desired.index_pattern))
    };
    if let Some(search) = input.get("search") {
        let query = search.pointer("/query/query").unwrap_or(&Value::Null);
        let is_unsafe = reads_ours(search.get("indices")) && query::finds_ours(query) != Truth::No;
        return is_unsafe.then_some(MEND);
    }
    let documents = input.get("doc_level_input")?;
    if !reads_ours(documents.get("indices")) {
        return None;
    }
    let queries = documents.get("queries").and_then(Value::as_array).into_iter().flatten();
    let texts = queries.map(|query| query.get("query").and_then(Value::as_str).unwrap_or("*:*"));
    let found =
        Truth::any(texts.map(|text| query_string::finds_ours(text, query_string::Operator::Or)));
    (found != Truth::No).then_some(MEND_STRING)
}

/// Whether some index name fits both patterns; `*` stands for any characters. An exclusion
/// (`-name`) names none.
fn overlap(a: &str, b: &str) -> bool {
    fn fit(a: &[u8], b: &[u8]) -> bool {
        match (a, b) {
            ([], rest) | (rest, []) => rest.iter().all(|byte| *byte == b'*'),
            ([b'*', rest @ ..], _) if fit(rest, b) => true,
            (_, [b'*', rest @ ..]) if fit(a, rest) => true,
            ([b'*', ..], [b'*', ..]) => false,
            ([b'*', ..], [_, rest @ ..]) => fit(a, rest),
            ([_, rest @ ..], [b'*', ..]) => fit(rest, b),
            ([x, left @ ..], [y, right @ ..]) => x == y && fit(left, right),
        }
    }
    let a = a.trim();
    a == "_all" || (!a.starts_with('-') && fit(a.as_bytes(), b.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{files, placeholder_value},
        *,
    };
    use crate::provision::Settings;

    fn desired() -> Desired {
        let settings = Settings::for_tests();
        let files = files::read(None).unwrap();
        Desired::new(&settings, &files, |name| placeholder_value(&settings, name)).unwrap()
    }

    #[test]
    fn patterns_overlap_where_one_name_fits_both() {
        for (name, want) in [
            ("arkime_sessions3-*", true),
            ("arkime_sessions3-261121", true),
            ("arkime_sessions3-26*", true),
            ("arkime*", true),
            ("*", true),
            ("_all", true),
            ("*-2611*", true),
            ("malcolm_beats_*", false),
            ("arkime_sessions2-*", false),
            ("-arkime_sessions3-*", false),
            ("arkime_sessions3", false),
        ] {
            assert_eq!(overlap(name, "arkime_sessions3-*"), want, "{name}");
        }
    }

    #[test]
    fn the_shipped_monitor_is_safe_and_one_without_its_must_not_is_not() {
        let desired = desired();
        let mut monitor = desired.monitors().next().unwrap().body.clone();
        assert_eq!(fault(&monitor, &desired), None);
        monitor["inputs"][0]["search"]["query"]["query"]["bool"]["must_not"] = json!([]);
        assert_eq!(fault(&monitor, &desired), Some(MEND));
        monitor["inputs"][0]["search"]["indices"] = json!(["malcolm_beats_*"]);
        assert_eq!(fault(&monitor, &desired), None);
        monitor["inputs"][0]["search"]["indices"] = json!(["x,arkime_sessions3-*"]);
        assert_eq!(fault(&monitor, &desired), Some(MEND));
    }

    #[test]
    fn every_query_of_a_document_level_monitor_must_be_safe() {
        let desired = desired();
        for (queries, want) in [
            (json!([{"query": "network.bytes:>1000"}]), Some(MEND_STRING)),
            (json!([{"query": "(a:b OR c) AND NOT event.module:alerting"}]), None),
            (json!([{"query": "event.module:zeek"}, {"query": "a:b"}]), Some(MEND_STRING)),
            (json!([{"query": "event.module:zeek"}, {"query": "event.dataset:conn"}]), None),
            (json!([{}]), Some(MEND_STRING)),
        ] {
            let input = json!({"indices": ["arkime_sessions3-*"], "queries": queries});
            let monitor = json!({"inputs": [{"doc_level_input": input}]});
            assert_eq!(fault(&monitor, &desired), want, "{monitor}");
        }
        assert_eq!(
            fault(&json!({"inputs": [{"uri": {"path": "/_cluster/health"}}]}), &desired),
            None
        );
    }
}
