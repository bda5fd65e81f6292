//! Which fields an index has a mapping for, so that a record never makes a new one.

use std::collections::HashSet;

use serde_json::Value;

/// Types whose value may be an object: what lies below such a field makes no mapping of its own.
const TAKES_AN_OBJECT: [&str; 11] = [
    "flat_object",
    "flattened",
    "geo_point",
    "geo_shape",
    "point",
    "shape",
    "completion",
    "percolator",
    "rank_features",
    "histogram",
    "aggregate_metric_double",
];

/// The fields of a mapping, as dotted paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    all: bool,
    leaves: HashSet<String>,
    /// Paths below which anything may stand.
    open: HashSet<String>,
}

impl FieldSet {
    /// The set that knows every field, for a store that cannot be asked.
    #[must_use]
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Reads a mapping: the object that holds `properties`, as templates and indices show it.
    ///
    /// Multi-fields (`fields`) and aliases are left out: nothing can be written to them. Below a
    /// `flat_object`, an object with `enabled: false` or with `dynamic: false`, and in a range,
    /// everything is known, since nothing there becomes a mapping.
    #[must_use]
    pub fn from_mapping(mapping: &Value) -> Self {
        let mut set = Self::default();
        if takes_anything(mapping) {
            set.all = true;
        } else {
            set.add(mapping, "");
        }
        set
    }

    /// Whether a value can be written to `path` without a new mapping.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.leaves.contains(path) || self.is_open(path)
    }

    /// Whether an object of any fields can be written to `path` without a new mapping.
    #[must_use]
    pub fn is_open(&self, path: &str) -> bool {
        self.all
            || self.open.contains(path)
            || path.match_indices('.').any(|(dot, _)| self.open.contains(&path[..dot]))
    }

    fn add(&mut self, node: &Value, prefix: &str) {
        let Some(properties) = node.get("properties").and_then(Value::as_object) else { return };
        for (name, field) in properties {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let kind = field.get("type").and_then(Value::as_str);
            if takes_anything(field) || kind.is_some_and(takes_an_object) {
                self.open.insert(path);
                continue;
            }
            self.add(field, &path);
            let is_object = field.get("properties").is_some()
                || matches!(kind, None | Some("object" | "nested" | "alias"));
            if !is_object {
                self.leaves.insert(path);
            }
        }
    }
}

fn takes_an_object(kind: &str) -> bool {
    TAKES_AN_OBJECT.contains(&kind) || kind.ends_with("_range")
}

/// Whether unknown fields of this object are kept out of the mapping, yet not refused.
fn takes_anything(object: &Value) -> bool {
    let is_false = |name| match object.get(name) {
        Some(Value::Bool(flag)) => !flag,
        Some(Value::String(text)) => text == "false",
        _ => false,
    };
    is_false("enabled") || is_false("dynamic")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_known_when_writing_it_makes_no_new_mapping() {
        let set = FieldSet::from_mapping(&json!({"properties": {
            "firstPacket": {"type": "date"},
            "event": {"properties": {"hits": {"type": "long"}, "kind": {"type": "keyword",
                "fields": {"text": {"type": "text"}}}}},
            "labels": {"type": "object"},
            "details": {"type": "flat_object"},
            "raw": {"type": "object", "enabled": false},
            "loose": {"dynamic": "false", "properties": {"known": {"type": "ip"}}},
            "place": {"type": "geo_point"},
            "period": {"type": "date_range"},
            "other": {"type": "alias", "path": "firstPacket"},
            "list": {"type": "nested", "properties": {"name": {"type": "keyword"}}},
            "dotted.name": {"type": "keyword"},
        }}));
        for known in [
            "firstPacket",
            "event.hits",
            "event.kind",
            "details",
            "details.a.b",
            "raw.x",
            "loose.x",
            "loose.known",
            "place",
            "place.lat",
            "period.gte",
            "list.name",
            "dotted.name",
        ] {
            assert!(set.knows(known), "{known}");
        }
        for unknown in [
            "",
            "event",
            "event.new",
            "event.kind.text",
            "labels",
            "labels.a",
            "other",
            "list",
            "firstPacket.x",
            "detailsx",
            "list.other",
            "dotted",
        ] {
            assert!(!set.knows(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_mapping_that_takes_anything_knows_everything() {
        for mapping in [json!({"dynamic": false}), json!({"dynamic": "false", "properties": {}})] {
            assert!(FieldSet::from_mapping(&mapping).knows("any.thing"), "{mapping}");
        }
        assert!(FieldSet::everything().knows("any.thing"));
        for mapping in [json!({}), json!(null), json!({"dynamic": "strict"})] {
            assert!(!FieldSet::from_mapping(&mapping).knows("any"), "{mapping}");
        }
    }
}
