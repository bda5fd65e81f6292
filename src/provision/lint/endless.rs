//! A run of a bucket-level monitor that never ends. Pure.
//!
//! OpenSearch asks for the next page of buckets by writing the last key of the page before into the
//! query, and then renders the query as a template (`AggregationQueryRewriter.kt`,
//! `InputService.kt`; seen on 3.4.0). A key with `{{x}}` in it comes out as another key, so the
//! same page is asked for again and again, with new alerts each time, until the index is gone; a
//! `{{` that does not close makes the run fail. Whoever can have such a value recorded can bring
//! that about.

use serde_json::{Value, json};

use crate::condition::monitor;

/// A regular expression for values with `{{`, written so that it is not itself a part of a
/// template.
const PATTERN: &str = r".*\{\{.*";

/// The fields whose values become keys of buckets and are not kept free of `{{` by the query.
#[must_use]
pub fn unguarded(monitor: &Value) -> Vec<&str> {
    let inputs = monitor.get("inputs").and_then(Value::as_array).into_iter().flatten();
    let mut fields = Vec::new();
    for query in inputs.filter_map(|input| input.pointer("/search/query")) {
        let mut found = Vec::new();
        composites(query, &mut found);
        found.retain(|field| !is_guarded(query.get("query").unwrap_or(&Value::Null), field));
        fields.extend(found);
    }
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Collects the fields of all `composite` aggregations.
fn composites<'a>(json: &'a Value, fields: &mut Vec<&'a str>) {
    let sources = json.pointer("/composite/sources").and_then(Value::as_array);
    for source in sources.into_iter().flatten() {
        let sources = source.as_object().into_iter().flat_map(serde_json::Map::values);
        let names = sources.filter_map(|source| source.pointer("/terms/field")?.as_str());
        fields.extend(names);
    }
    for key in ["aggregations", "aggs"] {
        let inner = json.get(key).and_then(Value::as_object).into_iter().flatten();
        inner.for_each(|(_, aggregation)| composites(aggregation, fields));
    }
}

/// Whether a `must_not` that always applies leaves such values of the field out.
fn is_guarded(query: &Value, field: &str) -> bool {
    let list = |key: &str| match query.pointer(&format!("/bool/{key}")) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let excludes = |query: &Value| {
        // The guard of our conditions, which fits fields of any type.
        if let Some(text) = query.pointer("/query_string/query") {
            return text.as_str() == Some(&monitor::without_templates(field));
        }
        let pattern = query.get("regexp").and_then(|fields| fields.get(field));
        let pattern = pattern.map(|pattern| pattern.get("value").unwrap_or(pattern));
        pattern.and_then(Value::as_str) == Some(PATTERN)
    };
    list("must_not").into_iter().any(excludes)
        || list("must").into_iter().chain(list("filter")).any(|query| is_guarded(query, field))
}

/// A search that finds a document with such a value in the field.
#[must_use]
pub fn search(field: &str) -> Value {
    json!({"size": 0, "timeout": "5s", "terminate_after": 1, "query": {"wildcard": {field: "*{{*"}}})
}

/// What keeps such values out.
#[must_use]
pub fn mend(field: &str) -> String {
    let guard = json!({"regexp": {field: PATTERN}});
    format!("add `{guard}` to the `must_not` of its query")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(query: &Value) -> Value {
        let sources = json!([{"h": {"terms": {"field": "host.name"}}}, {"d": {"date_histogram": {"field": "t"}}}]);
        let aggregations =
            json!({"outer": {"filter": {}, "aggs": {"c": {"composite": {"sources": sources}}}}});
        json!({"inputs": [{"search": {"query": {"query": query, "aggregations": aggregations}}}]})
    }

    #[test]
    fn a_field_is_guarded_by_a_must_not_that_always_applies() {
        let guard = json!({"bool": {"must_not": [{"regexp": {"host.name": {"value": PATTERN}}}]}});
        for (query, want) in [
            (json!({"match_all": {}}), vec!["host.name"]),
            (guard.clone(), vec![]),
            (json!({"bool": {"filter": [guard]}}), vec![]),
            (json!({"bool": {"should": [guard]}}), vec!["host.name"]),
            (json!({"bool": {"must_not": {"regexp": {"host.name": PATTERN}}}}), vec![]),
            (json!({"bool": {"must_not": {"regexp": {"other": PATTERN}}}}), vec!["host.name"]),
            (json!({"bool": {"filter": {"regexp": {"host.name": PATTERN}}}}), vec!["host.name"]),
        ] {
            assert_eq!(unguarded(&monitor(&query)), want, "{query}");
        }
        assert!(unguarded(&json!({"inputs": [{"doc_level_input": {}}]})).is_empty());
    }

    #[test]
    fn what_mends_it_is_no_template_itself() {
        assert!(!mend("host.name").contains("{{"), "{}", mend("host.name"));
    }
}
