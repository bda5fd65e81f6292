//! How an object in the store differs from what it should be, or from what it was. Pure.

use std::fmt;

use serde_json::Value;

/// Lists the paths at which `live` is not what `desired` says, each with both values.
///
/// What only `live` has does not count: the store adds ids, times and defaults of its own. Nor does
/// the type of a scalar: some clients write numbers and booleans as text.
#[must_use]
pub fn diff(desired: &Value, live: &Value) -> Vec<Difference> {
    compare_all(desired, live, false)
}

/// Lists the paths at which two states of one object in the store differ, in either direction;
/// `desired` is the later one.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Difference> {
    compare_all(after, before, true)
}

fn compare_all(desired: &Value, live: &Value, both_ways: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    Comparison { both_ways, found: &mut found }.compare(desired, live, String::new());
    found
}

/// One place where two objects differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted path to it.
    pub path: String,
    /// What is there; `null` where nothing is.
    pub live: Value,
    /// What the file says; `null` where it says nothing.
    pub desired: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, live, desired } = self;
        match (live, desired) {
            (Value::Null, desired) => write!(f, "+ {path}: {}", short(desired)),
            (live, Value::Null) => write!(f, "- {path}: {}", short(live)),
            (live, desired) => write!(f, "~ {path}: {} -> {}", short(live), short(desired)),
        }
    }
}

/// A value as one line that a person can take in.
fn short(value: &Value) -> String {
    const LIMIT: usize = 160;
    let mut text = value.to_string();
    if text.len() > LIMIT {
        text.truncate(text.floor_char_boundary(LIMIT));
        text.push('…');
    }
    text
}

/// The paths of some differences, for a sentence.
#[must_use]
pub fn paths(differences: &[Difference]) -> String {
    let paths: Vec<_> = differences.iter().map(|one| one.path.as_str()).collect();
    paths.join(", ")
}

struct Comparison<'a> {
    both_ways: bool,
    found: &'a mut Vec<Difference>,
}

impl Comparison<'_> {
    fn compare(&mut self, desired: &Value, live: &Value, path: String) {
        let below =
            |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let both_ways = self.both_ways;
        match (desired, live) {
            (Value::Object(desired), Value::Object(live)) => {
                for (key, value) in desired {
                    self.compare(value, live.get(key).unwrap_or(&Value::Null), below(key));
                }
                let only_live = live.iter().filter(|(key, _)| !desired.contains_key(*key));
                for (key, value) in only_live.take_while(|_| both_ways) {
                    self.compare(&Value::Null, value, below(key));
                }
            }
            (Value::Array(desired), Value::Array(live)) if desired.len() == live.len() => {
                for (at, (desired, live)) in desired.iter().zip(live).enumerate() {
                    self.compare(desired, live, below(&at.to_string()));
                }
            }
            _ if is_same(desired, live) => {}
            _ => {
                let (live, desired) = (live.clone(), desired.clone());
                self.found.push(Difference { path, live, desired });
            }
        }
    }
}

fn is_same(desired: &Value, live: &Value) -> bool {
    // Only where the types differ is one of them another's way to write it: "007" is not "7".
    let is_written_alike = desired.is_string() && live.is_string()
        || desired.as_i64().is_some() && live.as_i64().is_some();
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
    // `{}` is not nothing: `match_all: {}` and `match_none: {}` are two queries.
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if desired == live || is_nothing(desired) && is_nothing(live) {
        return true;
    }
    !is_written_alike
        && (number(desired).is_some_and(|one| number(live) == Some(one))
            || flag(desired).is_some_and(|one| flag(live) == Some(one)))
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
            (json!({"a": "", "b": [], "c": null}), json!({}), ""),
            (json!({"a": {}}), json!({"b": {}}), "a"),
            (json!({"a": "x"}), json!({"a": "X"}), "a"),
            (json!({"a": "007", "b": "1.10"}), json!({"a": "7", "b": "1.1"}), "a, b"),
            (json!({"a": 9_007_199_254_740_993_u64}), json!({"a": 9_007_199_254_740_992_u64}), "a"),
        ] {
            assert_eq!(paths(&diff(&desired, &live)), want, "{desired} against {live}");
        }
    }

    #[test]
    fn a_change_is_seen_in_both_directions() {
        for (before, after, want) in [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), vec!["+ b: 2"]),
            (json!({"a": 1, "b": 2}), json!({"a": 3}), vec!["~ a: 1 -> 3", "- b: 2"]),
            (json!({"a": {"b": [1]}}), json!({"a": {"b": []}}), vec!["~ a.b: [1] -> []"]),
        ] {
            let lines: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
            assert_eq!(lines, want);
        }
    }
}
