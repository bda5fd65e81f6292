//! Whether an answer is as the OpenAPI document says: with all that is promised, and nothing beyond it.

use serde_json::{Map, Value};

/// What is wrong with the answer to `GET path` (as the document writes it), if something is.
pub fn fault(document: &Value, path: &str, status: u16, answer: &Value) -> Option<String> {
    let operation = &document["paths"][path]["get"];
    let schema =
        &operation["responses"][status.to_string()]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return Some(format!("the document knows no answer {status} of {path}"));
    }
    let mut faults = Vec::new();
    check(document, schema, answer, path, &mut faults);
    (!faults.is_empty()).then(|| faults.join("\n"))
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("no {schema}"));
        return check(document, target, value, at, faults);
    }
    if let Some(choices) = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array) {
        let fits = choices.iter().any(|choice| {
            let mut faults = Vec::new();
            check(document, choice, value, at, &mut faults);
            faults.is_empty()
        });
        if !fits {
            faults.push(format!("{at}: {value} is none of {schema}"));
        }
        return;
    }
    if let Some(names) = schema["enum"].as_array()
        && !names.contains(value)
    {
        return faults.push(format!("{at}: {value} is none of {names:?}"));
    }
    if !is_of_type(&schema["type"], value) {
        return faults.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    match value {
        Value::Array(list) => {
            for (place, one) in list.iter().enumerate() {
                check(document, &schema["items"], one, &format!("{at}/{place}"), faults);
            }
        }
        Value::Object(object) => check_object(document, schema, object, at, faults),
        _ => {}
    }
}

fn check_object(
    document: &Value,
    schema: &Value,
    object: &Map<String, Value>,
    at: &str,
    faults: &mut Vec<String>,
) {
    let (mut known, mut required, mut is_open) = (Map::new(), Vec::new(), false);
    gather(document, schema, (&mut known, &mut required, &mut is_open));
    for name in required.iter().filter(|name| !object.contains_key(**name)) {
        faults.push(format!("{at}: {name} is missing"));
    }
    for (name, value) in object {
        match known.get(name) {
            Some(schema) => check(document, schema, value, &format!("{at}/{name}"), faults),
            None if is_open => {}
            None => faults.push(format!("{at}: {name} is not in the document")),
        }
    }
}

/// The properties of an object, also of one that is put together (`allOf`).
fn gather<'a>(
    document: &'a Value,
    schema: &'a Value,
    (known, required, is_open): (&mut Map<String, Value>, &mut Vec<&'a str>, &mut bool),
) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#')).expect("a schema");
        return gather(document, target, (known, required, is_open));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(document, part, (known, required, is_open));
    }
    let properties = schema["properties"].as_object();
    known.extend(properties.cloned().unwrap_or_default());
    required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let additional = schema.get("additionalProperties");
    *is_open |= additional.is_some_and(|one| *one != Value::Bool(false))
        || (properties.is_none() && schema.get("allOf").is_none());
}

fn is_of_type(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("an unknown type: {kind}"),
    };
    match kinds {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

#[test]
fn an_answer_that_is_not_as_promised_is_found_out() {
    let document = serde_json::json!({
        "paths": {"/x": {"get": {"responses": {"200": {"content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/X"}}}}}}}},
        "components": {"schemas": {"X": {"allOf": [
            {"type": "object", "required": ["a"], "properties": {"a": {"type": ["string", "null"]}}},
            {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "integer"}}}}]}}}});
    for (answer, is_good) in [
        (r#"{"a": "x"}"#, true),
        (r#"{"a": null, "b": [1, 2]}"#, true),
        (r#"{"a": 1}"#, false),
        (r#"{"b": [1]}"#, false),
        (r#"{"a": "x", "b": [1.5]}"#, false),
        (r#"{"a": "x", "c": 1}"#, false),
    ] {
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        let found = fault(&document, "/x", 200, &answer);
        assert_eq!(found.is_none(), is_good, "{answer}: {found:?}");
    }
    assert!(fault(&document, "/x", 500, &Value::Null).is_some());
}
