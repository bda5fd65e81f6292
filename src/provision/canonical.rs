//! One form for all ways of writing the same object, so that only what differs in meaning differs.
//! Pure.
//!
//! The store does not keep a monitor as it was sent: queries come back in their long form, `aggs`
//! as `aggregations`, index settings as text below `index`. And it adds times, its schema's version
//! and the user. (Read back from OpenSearch 3.4.0.)

use serde_json::{Map, Value, json};
use url::Url;

use super::object::Object;

/// What the store changes by itself, or what is the user's: no part of what an object is.
const VOLATILE: [&str; 5] =
    ["last_update_time", "enabled_time", "schema_version", "user", "ui_metadata"];

/// The one form of an object.
#[must_use]
pub fn canonical(object: Object, body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        if let Some(switch) = object.switch() {
            map.remove(switch);
        }
        match object {
            Object::Channel => channel(map),
            Object::Template => {
                list(map, "index_patterns");
                if let Some(Value::Object(template)) = map.get_mut("template") {
                    settings(template);
                    aliases(template);
                }
            }
            Object::LegacyTemplate => {
                list(map, "index_patterns");
                settings(map);
                aliases(map);
            }
            Object::Monitor | Object::Workflow => {
                map.retain(|key, _| !VOLATILE.contains(&key.as_str()));
                let inputs = map.get_mut("inputs").and_then(Value::as_array_mut);
                for input in inputs.into_iter().flatten() {
                    if let Some(search) = input.pointer_mut("/search/query") {
                        query(search);
                    }
                }
            }
        }
    }
    body
}

fn channel(config: &mut Map<String, Value>) {
    for part in config.values_mut().filter_map(Value::as_object_mut) {
        if let Some(url) = part.get_mut("url")
            && let Some(parsed) = url.as_str().and_then(|text| Url::parse(text).ok())
        {
            *url = json!(parsed.as_str());
        }
        if let Some(Value::Object(headers)) = part.get_mut("header_params") {
            let all = std::mem::take(headers).into_iter();
            *headers = all.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        }
    }
}

/// One value in place of a list of one.
fn list(map: &mut Map<String, Value>, key: &str) {
    if let Some(value) = map.get_mut(key)
        && !value.is_array()
    {
        *value = json!([value.take()]);
    }
}

/// Index settings: `number_of_shards`, `index.number_of_shards` and nested ones are the same.
fn settings(template: &mut Map<String, Value>) {
    let Some(Value::Object(settings)) = template.get_mut("settings") else { return };
    let mut flat = Map::new();
    for (key, value) in std::mem::take(settings) {
        flatten(key, value, &mut flat);
    }
    let named = flat.into_iter().map(|(key, value)| match key.strip_prefix("index.") {
        Some(_) => (key, value),
        None => (format!("index.{key}"), value),
    });
    *settings = named.collect();
}

/// One `routing` stands for that of writes and that of searches.
fn aliases(template: &mut Map<String, Value>) {
    let all = template.get_mut("aliases").and_then(Value::as_object_mut);
    for alias in all.into_iter().flat_map(|all| all.values_mut()) {
        let Some(alias) = alias.as_object_mut() else { continue };
        if let Some(routing) = alias.remove("routing") {
            for name in ["index_routing", "search_routing"] {
                alias.entry(name).or_insert_with(|| routing.clone());
            }
        }
    }
}

fn flatten(path: String, value: Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(format!("{path}.{key}"), value, flat);
            }
        }
        value => drop(flat.insert(path, value)),
    }
}

/// A search body or a part of one, in the long form in which the store gives it back.
fn query(part: &mut Value) {
    match part {
        Value::Array(items) => items.iter_mut().for_each(query),
        Value::Object(map) => {
            if let Some(aggs) = map.remove("aggs") {
                map.entry("aggregations").or_insert(aggs);
            }
            map.retain(|key, value| match key.as_str() {
                "boost" => value.as_f64() != Some(1.0),
                "adjust_pure_negative" => *value != json!(true),
                _ => true,
            });
            if map.get("track_total_hits") == Some(&json!(true)) {
                map.insert("track_total_hits".to_owned(), json!(i32::MAX));
            }
            for (key, value) in &mut *map {
                option(key, value);
                clause(key, value);
                query(value);
            }
        }
        _ => {}
    }
}

/// One option that the store writes in another form than people do.
fn option(name: &str, value: &mut Value) {
    match (name, &mut *value) {
        ("operator" | "default_operator", Value::String(text)) => text.make_ascii_lowercase(),
        ("fields", Value::Array(fields)) => {
            for field in fields {
                if let Some(name) = field.as_str().and_then(|text| text.strip_suffix("^1.0")) {
                    *field = json!(name);
                }
            }
        }
        (
            "script" | "init_script" | "map_script" | "combine_script" | "reduce_script",
            Value::String(source),
        ) => *value = json!({ "source": source, "lang": "painless" }),
        ("_source", Value::String(_) | Value::Array(_)) => {
            let fields = value.take();
            let fields = if fields.is_array() { fields } else { json!([fields]) };
            *value = json!({ "includes": fields });
        }
        ("sort", Value::String(_) | Value::Array(_) | Value::Object(_)) => sort(value),
        // Of equal buckets the smaller key comes first, which the store says always.
        ("order", Value::Object(_)) => *value = json!([value.take()]),
        ("order", Value::Array(orders))
            if orders.len() > 1 && orders.last() == Some(&json!({"_key": "asc"})) =>
        {
            orders.pop();
        }
        _ => {}
    }
}

/// `["t"]` and `[{"t": "desc"}]` become `[{"t": {"order": …}}]`.
fn sort(value: &mut Value) {
    if !value.is_array() {
        *value = json!([value.take()]);
    }
    for one in value.as_array_mut().into_iter().flatten() {
        if let Some(field) = one.as_str() {
            let order = if field == "_score" { "desc" } else { "asc" };
            *one = json!({ field: { "order": order } });
        }
        for order in one.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            if order.is_string() {
                *order = json!({ "order": order.take() });
            }
        }
    }
}

/// One clause: its short forms become the long one.
fn clause(name: &str, value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    let long = match name {
        "bool" => {
            for clauses in ["must", "filter", "should", "must_not"] {
                list(map, clauses);
            }
            return;
        }
        "range" => return map.values_mut().for_each(range),
        "term" | "prefix" | "regexp" | "fuzzy" => "value",
        "wildcard" => "wildcard",
        "match" | "match_phrase" | "match_phrase_prefix" | "match_bool_prefix" => "query",
        _ => return,
    };
    for (field, value) in map {
        match value {
            Value::Object(options) => {
                if let Some(given) = options.remove("value") {
                    options.insert(long.to_owned(), given);
                }
            }
            // An option of the clause itself, and no field.
            _ if field == "boost" || field == "_name" => {}
            Value::Array(_) => {}
            given => *given = json!({ long: given.take() }),
        }
    }
}

/// `gte` and its like become `from` and `to`, as the store keeps them.
fn range(bounds: &mut Value) {
    let Some(bounds) = bounds.as_object_mut() else { return };
    for (short, bound, flag, is_included) in [
        ("gte", "from", "include_lower", true),
        ("gt", "from", "include_lower", false),
        ("lte", "to", "include_upper", true),
        ("lt", "to", "include_upper", false),
    ] {
        if let Some(value) = bounds.remove(short) {
            bounds.insert(bound.to_owned(), value);
            bounds.insert(flag.to_owned(), json!(is_included));
        }
    }
    for (bound, flag) in [("from", "include_lower"), ("to", "include_upper")] {
        if bounds.get(bound).is_none_or(Value::is_null) {
            bounds.remove(bound);
            bounds.remove(flag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_looks_the_same() {
        let search = |query: Value| json!({"inputs": [{"search": {"query": {"query": query}}}]});
        for (object, one, other) in [
            (
                Object::Monitor,
                json!({"name": "m", "enabled": true, "last_update_time": 1}),
                json!({"name": "m", "enabled_time": null, "user": {"name": "x"}}),
            ),
            (
                Object::Monitor,
                search(json!({"bool": {"filter": {"term": {"a": 1}}}})),
                search(json!({"bool": {"adjust_pure_negative": true, "boost": 1.0,
                    "filter": [{"term": {"a": {"value": 1, "boost": 1.0}}}]}})),
            ),
            (
                Object::Monitor,
                search(json!({"range": {"t": {"gte": "now-1h", "lt": "now"}}})),
                search(json!({"range": {"t": {"from": "now-1h", "to": "now",
                    "include_lower": true, "include_upper": false, "boost": 1.0}}})),
            ),
            (
                Object::Monitor,
                search(json!({"range": {"t": {"gt": 3}}})),
                search(json!({"range": {"t": {"from": 3, "to": null,
                    "include_lower": false, "include_upper": true}}})),
            ),
            (
                Object::Monitor,
                search(json!({"wildcard": {"a": {"value": "x*"}}})),
                search(json!({"wildcard": {"a": {"wildcard": "x*", "boost": 1.0}}})),
            ),
            (
                Object::Monitor,
                search(json!({"match": {"a": {"query": "x", "operator": "and"}}})),
                search(json!({"match": {"a": {"query": "x", "operator": "AND"}}})),
            ),
            (
                Object::Monitor,
                search(
                    json!({"multi_match": {"fields": ["a", "b^2.0"]}, "sort": ["t", {"u": "desc"}],
                    "_source": "a", "script": "x", "order": {"n": "asc"}}),
                ),
                search(json!({"multi_match": {"fields": ["a^1.0", "b^2.0"]},
                    "sort": [{"t": {"order": "asc"}}, {"u": {"order": "desc"}}],
                    "_source": {"includes": ["a"]}, "script": {"source": "x", "lang": "painless"},
                    "order": [{"n": "asc"}, {"_key": "asc"}]})),
            ),
            (
                Object::Template,
                json!({"index_patterns": "a-*", "template": {"settings":
                    {"number_of_shards": "1", "index": {"refresh_interval": "5s"}}}}),
                json!({"index_patterns": ["a-*"], "template": {"settings":
                    {"index": {"number_of_shards": "1", "refresh_interval": "5s"}}}}),
            ),
            (
                Object::Channel,
                json!({"is_enabled": true, "webhook": {"url": "http://a", "header_params": {"A": "1"}}}),
                json!({"is_enabled": false, "webhook": {"url": "http://a/", "header_params": {"a": "1"}}}),
            ),
        ] {
            assert_eq!(canonical(object, &one), canonical(object, &other));
        }
    }

    #[test]
    fn what_differs_in_meaning_still_differs() {
        let search = |query: Value| {
            let body = json!({"inputs": [{"search": {"query": {"query": query}}}]});
            canonical(Object::Monitor, &body)
        };
        for (one, other) in [
            (json!({"match_all": {}}), json!({"match_none": {}})),
            (json!({"range": {"t": {"gte": 1}}}), json!({"range": {"t": {"gt": 1}}})),
            (json!({"term": {"a": 1}}), json!({"match": {"a": 1}})),
            (json!({"order": {"_key": "asc"}}), json!({"order": {"_key": "desc"}})),
            (json!({"sort": ["a", "b"]}), json!({"sort": ["b", "a"]})),
            (json!({"_source": ["a"]}), json!({"_source": false})),
            (json!({"term": {"a": {"value": 1, "boost": 2.0}}}), json!({"term": {"a": 1}})),
            (
                json!({"bool": {"must": {"term": {"a": 1}}}}),
                json!({"bool": {"filter": {"term": {"a": 1}}}}),
            ),
        ] {
            assert_ne!(search(one), search(other));
        }
    }
}
