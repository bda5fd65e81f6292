//! JSON whose long arrays are cut while they are parsed: an alert may carry megabytes of search
//! hits, of which a record needs none.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many elements of an array inside an object are kept. A top-level array is a list of alerts
/// and is kept whole.
const KEPT: usize = 64;

/// A JSON value with arrays cut to their first elements.
pub struct Pruned(pub Value);

impl<'de> Deserialize<'de> for Pruned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder { keep: usize::MAX }).map(Self)
    }
}

/// A value below the top level.
struct Inner(Value);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder { keep: KEPT }).map(Self)
    }
}

struct Builder {
    keep: usize,
}

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.keep {
            match seq.next_element::<Inner>()? {
                Some(Inner(item)) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            object.insert(key, map.next_value::<Inner>()?.0);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inner_arrays_are_cut_and_all_else_stays() {
        let json = json!({"a": vec![1; 100], "b": {"c": [null, true, 1.5, -3, "x"]}});
        let Pruned(pruned) = serde_json::from_str(&json.to_string()).unwrap();
        assert_eq!(pruned, json!({"a": vec![1; KEPT], "b": {"c": [null, true, 1.5, -3, "x"]}}));
        let Pruned(top) = serde_json::from_str(&json!(vec![1; 100]).to_string()).unwrap();
        assert_eq!(top, json!(vec![1; 100]));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        let Pruned(pruned) = serde_json::from_str(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(pruned, json!({"a": 2}));
    }
}
