//! Merges the JSON of `alert.body` into a record, as upstream does since 26.05, but so that
//! nothing promised is lost: what the record has already stays, and the body's value for it goes
//! to `conflicts` as JSON text; `tags` are united; what has no field in the index's template is
//! left out, so that a template never grows by what somebody writes into a monitor.

use serde_json::{Map, Value, json};

use super::fields::FieldSet;

/// So deep objects may lie in objects, as OpenSearch has it (`index.mapping.depth.limit`). A dotted key
/// can spell millions of them.
const DEEPEST: usize = 20;

/// Merges `fields` into `document`; tells whether something was left out for want of a field.
/// Conflicts of a merge before stay.
pub fn merge(
    document: &mut Map<String, Value>,
    fields: &Map<String, Value>,
    known: &FieldSet,
) -> bool {
    let mut merger = Merger { known, left_out: false };
    let mut conflicts = match document.remove("conflicts") {
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
        _ => Map::new(),
    };
    merger.objects(document, fields, "", &mut conflicts);
    if !conflicts.is_empty() {
        let text = Value::Object(conflicts).to_string();
        document.insert("conflicts".to_owned(), Value::String(text));
    }
    merger.left_out
}

struct Merger<'a> {
    known: &'a FieldSet,
    left_out: bool,
}

impl Merger<'_> {
    fn objects(
        &mut self,
        into: &mut Map<String, Value>,
        from: &Map<String, Value>,
        above: &str,
        conflicts: &mut Map<String, Value>,
    ) {
        for (key, value) in from {
            // A dotted key means the same to OpenSearch as the objects it spells.
            if let Some((first, rest)) = key.split_once('.') {
                if dots(above) + dots(key) > DEEPEST {
                    self.left_out = true;
                    continue;
                }
                let nested = Map::from_iter([(rest.to_owned(), value.clone())]);
                let nested = Map::from_iter([(first.to_owned(), Value::Object(nested))]);
                self.objects(into, &nested, above, conflicts);
                continue;
            }
            let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            self.field(into, key, value, &path, conflicts);
        }
    }

    fn field(
        &mut self,
        into: &mut Map<String, Value>,
        key: &str,
        value: &Value,
        path: &str,
        conflicts: &mut Map<String, Value>,
    ) {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => {
                let mut below = Map::new();
                self.objects(into, from, path, &mut below);
                if !below.is_empty() {
                    merge_conflict(conflicts, key, Value::Object(below));
                }
            }
            (Some(have), value) if path == "tags" => unite(have, value),
            (Some(have), value) if have == value => {}
            (Some(_), value) => merge_conflict(conflicts, key, value.clone()),
            (None, _) if key.is_empty() || path == "conflicts" => self.left_out = true,
            (None, Value::Object(from)) if !self.known.is_open(path) => {
                let mut fresh = Map::new();
                self.objects(&mut fresh, from, path, conflicts);
                if !fresh.is_empty() {
                    into.insert(key.to_owned(), Value::Object(fresh));
                }
            }
            (None, value) if self.known.knows(path) => {
                into.insert(key.to_owned(), value.clone());
            }
            (None, _) => self.left_out = true,
        }
    }
}

fn dots(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'.').count()
}

/// Dotted keys may bring a conflict for one object in several pieces.
fn merge_conflict(conflicts: &mut Map<String, Value>, key: &str, value: Value) {
    match (conflicts.get_mut(key), value) {
        (Some(Value::Object(have)), Value::Object(more)) => have.extend(more),
        (_, value) => {
            conflicts.insert(key.to_owned(), value);
        }
    }
}

fn unite(have: &mut Value, more: &Value) {
    let mut all = list(have);
    all.extend(list(more));
    all.sort_unstable_by_key(ToString::to_string);
    all.dedup();
    *have = json!(all);
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> FieldSet {
        let keyword = json!({"type": "keyword"});
        FieldSet::from_mapping(&json!({"properties": {
            "event": {"properties": {"severity": {"type": "long"}, "category": keyword}},
            "rule": {"properties": {"name": keyword, "category": keyword}},
            "source": {"properties": {"ip": {"type": "ip"}}},
            "tags": keyword,
            "labels": {"type": "flat_object"},
        }}))
    }

    fn merged(document: Value, body: Value) -> (Value, bool) {
        let (Value::Object(mut document), Value::Object(body)) = (document, body) else { panic!() };
        let left_out = merge(&mut document, &body, &known());
        (Value::Object(document), left_out)
    }

    #[test]
    fn the_records_value_stays_and_the_bodys_is_kept_as_a_conflict() {
        let (document, left_out) = merged(
            json!({"event": {"severity": 40}, "rule": {"name": "ours"}}),
            json!({"event": {"severity": [91], "category": "network"},
                   "rule": {"name": "ours", "category": "c2"}, "source": {"ip": "10.0.0.1"}}),
        );
        assert_eq!(document["event"], json!({"severity": 40, "category": "network"}));
        assert_eq!(document["rule"], json!({"name": "ours", "category": "c2"}));
        assert_eq!(document["source"], json!({"ip": "10.0.0.1"}));
        assert_eq!(document["conflicts"], json!(r#"{"event":{"severity":[91]}}"#));
        assert!(!left_out);
    }

    #[test]
    fn dotted_keys_are_the_objects_they_spell() {
        let (document, _) = merged(
            json!({"event": {"severity": 40}}),
            json!({"event.severity": 1, "event.category": "x", "source.ip": "10.0.0.1"}),
        );
        assert_eq!(document["event"], json!({"severity": 40, "category": "x"}));
        assert_eq!(document["source"], json!({"ip": "10.0.0.1"}));
        assert_eq!(document["conflicts"], json!(r#"{"event":{"severity":1}}"#));
    }

    #[test]
    fn a_key_that_spells_too_many_objects_is_left_out() {
        let dots = vec!["a"; 1 << 20].join(".");
        let (document, left_out) = merged(json!({}), json!({dots: 1, "source.ip": "10.0.0.1"}));
        assert_eq!((document, left_out), (json!({"source": {"ip": "10.0.0.1"}}), true));
    }

    #[test]
    fn tags_are_united() {
        let (document, _) = merged(json!({"tags": ["b"]}), json!({"tags": ["a", "b"]}));
        assert_eq!(document, json!({"tags": ["a", "b"]}));
        let (document, _) = merged(json!({}), json!({"tags": ["b"]}));
        assert_eq!(document, json!({"tags": ["b"]}));
        let (document, _) = merged(json!({"tags": ["b"]}), json!({"tags": "a"}));
        assert_eq!(document, json!({"tags": ["a", "b"]}));
    }

    #[test]
    fn what_has_no_field_is_left_out_and_what_a_flat_object_takes_is_not() {
        let (document, left_out) =
            merged(json!({}), json!({"mine": {"x": 1}, "source": {"ip": 1}}));
        assert_eq!((document, left_out), (json!({"source": {"ip": 1}}), true));
        let (document, left_out) = merged(json!({}), json!({"labels": {"any": {"thing": 1}}}));
        assert_eq!((document, left_out), (json!({"labels": {"any": {"thing": 1}}}), false));
    }
}
