//! How an object in the store differs from the one in the file. Pure.

use std::fmt;

use serde_json::Value;

/// Lists the paths at which `live` is not what `desired` says, each with both values.
///
/// What only `live` has does not count: the store adds ids, times and defaults of its own. Nor does
/// the type of a scalar: some clients write numbers and booleans as text.
#[must_use]
pub fn diff(desired: &Value, live: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(desired, live, String::new(), &mut found);
    found
}

/// One place where two objects differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted path to it.
    pub path: String,
    /// What is there, as JSON.
    pub live: String,
    /// What the file says, as JSON.
    pub desired: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ {}: {} -> {}", self.path, self.live, self.desired)
    }
}

/// The paths of some differences, for a sentence.
#[must_use]
pub fn paths(differences: &[Difference]) -> String {
    let paths: Vec<_> = differences.iter().map(|one| one.path.as_str()).collect();
    paths.join(", ")
}

fn compare(desired: &Value, live: &Value, path: String, found: &mut Vec<Difference>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            for (key, value) in desired {
                compare(value, live.get(key).unwrap_or(&Value::Null), below(key), found);
            }
        }
        (Value::Array(desired), Value::Array(live)) if desired.len() == live.len() => {
            for (at, (desired, live)) in desired.iter().zip(live).enumerate() {
                compare(desired, live, below(&at.to_string()), found);
            }
        }
        _ if is_same(desired, live) => {}
        _ => {
            let (live, desired) = (live.to_string(), desired.to_string());
            found.push(Difference { path, live, desired });
        }
    }
}

fn is_same(desired: &Value, live: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let flag = |value: &Value| match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    desired == live
        || number(desired).is_some_and(|one| number(live) == Some(one))
        || flag(desired).is_some_and(|one| flag(live) == Some(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_file_says_is_compared() {
        for (desired, live, want) in [
            (json!({"a": 1}), json!({"a": 1.0, "added": true}), ""),
            (json!({"a": 1, "b": true}), json!({"a": "1", "b": "true"}), ""),
            (json!({"a": "1"}), json!({"a": 1}), ""),
            (json!({"a": [{"b": 1}]}), json!({"a": [{"b": 2, "c": 3}]}), "a.0.b"),
            (json!({"a": [1]}), json!({"a": [1, 2]}), "a"),
            (json!({"a": {"b": 1}, "c": 2}), json!({"a": 3}), "a, c"),
            (json!({"a": ""}), json!({}), "a"),
            (json!({"a": "x"}), json!({"a": "X"}), "a"),
        ] {
            assert_eq!(paths(&diff(&desired, &live)), want, "{desired} against {live}");
        }
    }
}
