//! JSON whose `results` are cut while they are parsed: an alert may carry megabytes of search hits,
//! of which a record needs none. Everything else is kept whole.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The key below which arrays are cut.
const CUT_BELOW: &str = "results";
/// How many of their elements are kept.
const KEPT: usize = 64;

/// A JSON value whose `results` are cut to their first elements.
pub struct Pruned(pub Value);

impl<'de> Deserialize<'de> for Pruned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder { keep: usize::MAX }).map(Self)
    }
}

/// A value below `results`.
struct Cut(Value);

impl<'de> Deserialize<'de> for Cut {
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
            let item = if self.keep == KEPT {
                seq.next_element::<Cut>()?.map(|Cut(item)| item)
            } else {
                seq.next_element::<Pruned>()?.map(|Pruned(item)| item)
            };
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = if self.keep == KEPT || key == CUT_BELOW {
                map.next_value::<Cut>()?.0
            } else {
                map.next_value::<Pruned>()?.0
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_cut_and_all_else_stays() {
        let json = json!({"results": [{"hits": vec![1; 100]}], "body": {"c": vec!["x"; 100]}});
        let Pruned(pruned) = serde_json::from_str(&json.to_string()).unwrap();
        let want = json!({"results": [{"hits": vec![1; KEPT]}], "body": {"c": vec!["x"; 100]}});
        assert_eq!(pruned, want);
        let Pruned(top) = serde_json::from_str(&json!(vec![1; 100]).to_string()).unwrap();
        assert_eq!(top, json!(vec![1; 100]));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        let Pruned(pruned) = serde_json::from_str(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(pruned, json!({"a": 2}));
    }
}
