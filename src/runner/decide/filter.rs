//! The filter of a bucket-level trigger: which keys count. Pure.
//!
//! ```json
//! {"filter": {"include": ["a", "b"], "exclude": "x.*"}}
//! {"composite_agg_filter": {"SOURCE": {"include": "a|b"}}}
//! ```
//! Of a composite aggregation every source needs a filter: the plugin accepts no key without one. Source:
//! `BucketSelectorExtFilter.kt`, `BucketSelectorExtAggregator.kt` of common-utils.

use serde_json::Value;

use super::{fault::Fault, lucene::Pattern};

/// Whether a trigger looks at a bucket.
///
/// # Errors
/// A [`Fault`]: an expression that cannot be read, or a key that is neither text nor number.
pub fn accepts(condition: &Value, bucket: &Value) -> Result<bool, Fault> {
    if let Some(filters) = condition.get("composite_agg_filter").filter(|one| one.is_object()) {
        let keys = bucket["key"].as_object().into_iter().flatten();
        for (source, key) in keys {
            let Some(filter) = filters.get(source) else { return Ok(false) };
            if !is_accepted(filter, key)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    match condition.get("filter").filter(|one| one.is_object()) {
        Some(filter) => is_accepted(filter, &bucket["key"]),
        None => Ok(true),
    }
}

fn is_accepted(filter: &Value, key: &Value) -> Result<bool, Fault> {
    let names = |side: &str| filter.get(side).map(|side| names(side, key)).transpose();
    Ok(names("include")?.unwrap_or(true) && !names("exclude")?.unwrap_or(false))
}

/// Whether one side of a filter, an expression or a list, names a key.
fn names(side: &Value, key: &Value) -> Result<bool, Fault> {
    match (side, key) {
        (Value::Array(list), Value::String(key)) => Ok(list.iter().any(|one| one == key)),
        (Value::Array(list), Value::Number(key)) => {
            let number = |one: &Value| match one {
                Value::String(text) => text.parse().ok(),
                other => other.as_f64(),
            };
            Ok(list.iter().any(|one| number(one) == key.as_f64()))
        }
        (Value::String(expression), Value::String(key)) => {
            let pattern = Pattern::of(expression).map_err(|why| {
                let why = format!("the filter of the trigger, `{expression}`: {why}");
                Fault::java("illegal_argument_exception", why)
            })?;
            Ok(pattern.matches(key))
        }
        _ => {
            let why = "Object is not comparable. Please use one of String, Long or Double type.";
            Err(Fault::java("illegal_state_exception", why))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_that_are_named_and_not_excluded_count() {
        for (condition, key, want) in [
            (json!({}), json!("a"), Some(true)),
            (json!({"filter": {"include": ["a"]}}), json!("a"), Some(true)),
            (json!({"filter": {"include": ["a"]}}), json!("b"), Some(false)),
            (json!({"filter": {"include": "a.*", "exclude": "ab"}}), json!("ab"), Some(false)),
            (json!({"filter": {"include": "a.*", "exclude": "ab"}}), json!("abc"), Some(true)),
            (json!({"filter": {"exclude": [2, "3"]}}), json!(2), Some(false)),
            (json!({"filter": {"exclude": [2, "3"]}}), json!(3), Some(false)),
            (json!({"filter": {"exclude": [2]}}), json!(4), Some(true)),
            (json!({"filter": {"include": "("}}), json!("a"), None),
            (json!({"filter": {"include": ["a"]}}), Value::Null, None),
            (
                json!({"composite_agg_filter": {"k": {"include": ["a"]}, "n": {"exclude": [1]}}}),
                json!({"k": "a", "n": 2}),
                Some(true),
            ),
            (
                json!({"composite_agg_filter": {"k": {"include": ["a"]}}}),
                json!({"k": "a", "n": 2}),
                Some(false),
            ),
        ] {
            assert_eq!(accepts(&condition, &json!({"key": key})).ok(), want, "{condition} {key}");
        }
    }
}
