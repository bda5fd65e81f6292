//! OpenSearch's query DSL, evaluated on a document that holds what all of our records hold.

use serde_json::{Map, Value};

use super::{
    Truth, ours,
    query_string::{self, Operator, fits},
};

/// Whether a query finds our records. No query at all finds everything.
pub fn finds_ours(query: &Value) -> Truth {
    let Some(query) = query.as_object() else { return Truth::Yes };
    let mut clauses = query.iter();
    let Some((kind, inner)) = clauses.next() else { return Truth::Yes };
    if clauses.next().is_some() {
        return Truth::Perhaps; // the store refuses such a one
    }
    match kind.as_str() {
        "match_all" => Truth::Yes,
        "match_none" => Truth::No,
        "bool" => inner.as_object().map_or(Truth::Perhaps, boolean),
        "constant_score" => inner.get("filter").map_or(Truth::Perhaps, finds_ours),
        "boosting" => inner.get("positive").map_or(Truth::Perhaps, finds_ours),
        "function_score" | "script_score" => finds_ours(inner.get("query").unwrap_or(&Value::Null)),
        "dis_max" => Truth::any(list(inner.get("queries")).iter().map(|query| finds_ours(query))),
        "exists" => match inner.get("field").and_then(Value::as_str).and_then(ours) {
            Some(_) => Truth::Yes,
            None => Truth::Perhaps,
        },
        "term" => of_field(inner, |value, own| exact(value, own, "value")),
        "terms" => of_field(inner, |values, own| match values {
            Value::Array(values) => {
                Truth::any(values.iter().map(|value| Truth::of(value.as_str() == Some(own))))
            }
            _ => Truth::Perhaps, // a list that is kept elsewhere
        }),
        "match" | "match_phrase" => of_field(inner, matched),
        "prefix" => of_field(inner, |value, own| {
            pattern(value, "value").map_or(Truth::Perhaps, |text| Truth::of(own.starts_with(text)))
        }),
        "wildcard" => of_field(inner, |value, own| {
            let text = pattern(value, "value").or_else(|| pattern(value, "wildcard"));
            text.filter(|text| !text.contains('\\'))
                .map_or(Truth::Perhaps, |text| Truth::of(fits(text, own)))
        }),
        "query_string" => of_query_string(inner),
        _ => Truth::Perhaps,
    }
}

fn boolean(clauses: &Map<String, Value>) -> Truth {
    let of = |key| -> Vec<Truth> {
        list(clauses.get(key)).iter().map(|query| finds_ours(query)).collect()
    };
    let (must, filter, not, should) = (of("must"), of("filter"), of("must_not"), of("should"));
    let has_others = !must.is_empty() || !filter.is_empty();
    let needed = match clauses.get("minimum_should_match") {
        None => Some(usize::from(!has_others && !should.is_empty())),
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|number| usize::try_from(number).ok())
        }
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None, // a percentage or a formula
    };
    let optional = match needed {
        Some(0) => Truth::Yes,
        _ if should.is_empty() => Truth::Yes,
        Some(1) => Truth::any(should),
        _ if Truth::any(should.iter().copied()) == Truth::No => Truth::No,
        _ => Truth::Perhaps,
    };
    let excluded = not.into_iter().map(Truth::not);
    Truth::all(must.into_iter().chain(filter).chain(excluded).chain([optional]))
}

/// One query or a list of them.
fn list(queries: Option<&Value>) -> Vec<&Value> {
    match queries {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    }
}

/// A query on one field: `{field: what, "boost": 1}`. What it says of a field whose value in our
/// records is not known, or not always the same, may hold.
fn of_field(inner: &Value, judge: impl Fn(&Value, &str) -> Truth) -> Truth {
    let options = ["boost", "_name"];
    let Some(fields) = inner.as_object() else { return Truth::Perhaps };
    let mut fields = fields.iter().filter(|(name, _)| !options.contains(&name.as_str()));
    match (fields.next(), fields.next()) {
        (Some((field, value)), None) => ours(field).map_or(Truth::Perhaps, |own| judge(value, own)),
        _ => Truth::Perhaps,
    }
}

fn exact(value: &Value, own: &str, key: &str) -> Truth {
    let ignores_case = value.get("case_insensitive").and_then(Value::as_bool).unwrap_or(false);
    match value.get(key).unwrap_or(value) {
        Value::String(text) if ignores_case => Truth::of(text.eq_ignore_ascii_case(own)),
        Value::String(text) => Truth::of(text == own),
        Value::Object(_) | Value::Array(_) => Truth::Perhaps,
        _ => Truth::No,
    }
}

/// The fields are keywords; where an index was made without a template they are analysed text, so a
/// text with our word among others may find it.
fn matched(value: &Value, own: &str) -> Truth {
    match exact(value, own, "query") {
        Truth::No => {
            let text = value.get("query").unwrap_or(value).as_str().unwrap_or_default();
            let is_plain = value.is_string() || value.as_object().is_some_and(|map| map.len() == 1);
            let has_word = text.to_lowercase().contains(own);
            if has_word || !is_plain { Truth::Perhaps } else { Truth::No }
        }
        truth => truth,
    }
}

/// The text of a pattern that minds its case.
fn pattern<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    if value.get("case_insensitive").and_then(Value::as_bool).unwrap_or(false) {
        return None;
    }
    value.get(key).unwrap_or(value).as_str()
}

fn of_query_string(inner: &Value) -> Truth {
    let Some(text) = inner.get("query").and_then(Value::as_str) else { return Truth::Perhaps };
    let has_fields = inner.get("default_field").is_some() || inner.get("fields").is_some();
    let operator = inner.get("default_operator").and_then(Value::as_str).unwrap_or("or");
    let operator = if operator.eq_ignore_ascii_case("and") { Operator::And } else { Operator::Or };
    // Words without a field are then looked for in some; whether that finds ours is not known
    // either.
    let found = query_string::finds_ours(text, operator);
    if has_fields && found == Truth::Yes { Truth::Perhaps } else { found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_query_that_surely_leaves_our_records_out_does() {
        let not = |query: Value| json!({"bool": {"must_not": [query]}});
        let module = json!({"term": {"event.module": "alerting"}});
        for (query, want) in [
            (Value::Null, Truth::Yes),
            (json!({"match_all": {}}), Truth::Yes),
            (json!({"bool": {}}), Truth::Yes),
            (json!({"bool": {"should": [], "minimum_should_match": 1}}), Truth::Yes),
            // left out by value
            (not(module.clone()), Truth::No),
            (not(json!({"term": {"event.module": {"value": "alerting", "boost": 1}}})), Truth::No),
            (
                not(
                    json!({"term": {"event.dataset": {"value": "ALERTING", "case_insensitive": true}}}),
                ),
                Truth::No,
            ),
            (not(json!({"terms": {"event.dataset": ["conn", "alerting"], "boost": 1}})), Truth::No),
            (not(json!({"match": {"event.module": "alerting"}})), Truth::No),
            (not(json!({"match_phrase": {"event.module": {"query": "alerting"}}})), Truth::No),
            (not(json!({"term": {"event.kind": "alert"}})), Truth::No),
            (not(json!({"prefix": {"event.module": "alert"}})), Truth::No),
            (not(json!({"wildcard": {"event.module": {"value": "al*ing"}}})), Truth::No),
            (not(json!({"exists": {"field": "event.dataset"}})), Truth::No),
            (not(json!({"query_string": {"query": "event.module:alerting"}})), Truth::No),
            (json!({"bool": {"must_not": module}}), Truth::No),
            (
                json!({"bool": {"filter": [not(json!({"term": {"event.module": "alerting"}}))]}}),
                Truth::No,
            ),
            // only something else is found
            (json!({"term": {"event.dataset": "conn"}}), Truth::No),
            (
                json!({"bool": {"filter": {"terms": {"event.module": ["zeek", "suricata"]}}}}),
                Truth::No,
            ),
            (json!({"constant_score": {"filter": {"term": {"event.module": "zeek"}}}}), Truth::No),
            (
                json!({"bool": {"should": [{"term": {"event.module": "zeek"}}, {"match_none": {}}]}}),
                Truth::No,
            ),
            (json!({"match": {"event.module": "zeek suricata"}}), Truth::No),
            // looks like it, and is not
            (json!({"term": {"event.module": "alerting"}}), Truth::Yes),
            (not(json!({"term": {"event.module": "Alerting"}})), Truth::Yes),
            (not(json!({"term": {"event.module": "zeek"}})), Truth::Yes),
            (not(json!({"term": {"event.module.keyword": "alerting"}})), Truth::Perhaps),
            (
                not(
                    json!({"bool": {"must": [{"term": {"event.module": "alerting"}}, {"range": {"a": {"gt": 1}}}]}}),
                ),
                Truth::Perhaps,
            ),
            (
                json!({"bool": {"should": [{"term": {"event.module": "zeek"}}, {"range": {"a": {"gt": 1}}}]}}),
                Truth::Perhaps,
            ),
            (
                json!({"bool": {"filter": [{"exists": {"field": "a"}}], "should": [{"term": {"event.module": "zeek"}}]}}),
                Truth::Perhaps,
            ),
            (
                json!({"bool": {"should": [{"term": {"event.module": "zeek"}}], "minimum_should_match": 0}}),
                Truth::Yes,
            ),
            (not(not(json!({"term": {"event.module": "alerting"}}))), Truth::Yes),
            (json!({"match": {"event.module": "zeek alerting"}}), Truth::Perhaps),
            (not(json!({"regexp": {"event.module": "alert.*"}})), Truth::Perhaps),
            (
                not(json!({"terms": {"event.module": {"index": "x", "id": "1", "path": "p"}}})),
                Truth::Perhaps,
            ),
            (json!({"range": {"event.severity": {"gt": 50}}}), Truth::Perhaps),
            (json!({"term": {"note": "event.module"}}), Truth::Perhaps),
            (json!({"nested": {"path": "a", "query": {"match_none": {}}}}), Truth::Perhaps),
        ] {
            assert_eq!(finds_ours(&query), want, "{query}");
        }
    }

    #[test]
    fn a_minimum_that_is_a_formula_is_unsafe_unless_no_clause_finds_ours() {
        for (value, other, want) in [
            (json!("50%"), "a", Truth::Perhaps),
            (json!("50%"), "event.dataset", Truth::No),
            (json!(2), "a", Truth::Perhaps),
            (json!("1"), "event.dataset", Truth::No),
        ] {
            let should = json!([{"term": {"event.module": "zeek"}}, {"term": {other: "x"}}]);
            let query = json!({"bool": {"should": should, "minimum_should_match": value}});
            assert_eq!(finds_ours(&query), want, "{query}");
        }
    }
}
