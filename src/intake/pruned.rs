//! JSON whose `results` are cut while they are parsed: an alert may carry megabytes of search hits,
//! of which a record needs none. Everything else is kept whole.

use std::{cell::Cell, fmt};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// The key below which arrays are cut.
const CUT_BELOW: &str = "results";
/// How many of their elements are kept.
const KEPT: usize = 64;

/// What values may take in memory, besides their texts, in bytes: a body of tiny objects takes a hundred
/// times its own size.
const ROOM: usize = 192 << 20;
/// What an object and a value in it or in a list take, in about.
const OBJECT: usize = 600;
const VALUE: usize = 64;

/// A JSON value whose `results` are cut to their first elements.
pub struct Pruned(pub Value);

/// Whether that fault says that the values take too much.
pub fn is_full(fault: &serde_json::Error) -> bool {
    fault.is_data()
}

impl<'de> Deserialize<'de> for Pruned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let room = Cell::new(ROOM);
        Builder { keep: usize::MAX, room: &room }.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Builder<'a> {
    keep: usize,
    room: &'a Cell<usize>,
}

impl Builder<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let Some(left) = self.room.get().checked_sub(bytes) else {
            return Err(E::custom("too many values in one body; send them in several"));
        };
        self.room.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
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
            match seq.next_element_seed(self)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
            self.take(VALUE)?;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.take(OBJECT)?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.take(VALUE)?;
            let keep = if key == CUT_BELOW { KEPT } else { self.keep };
            object.insert(key, map.next_value_seed(Self { keep, ..self })?);
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
    fn a_body_of_tiny_values_takes_no_more_than_its_room() {
        let many = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        for (item, count) in [("{}", ROOM / OBJECT), ("0", ROOM / VALUE), ("[]", ROOM / VALUE)] {
            let fault = serde_json::from_str::<Pruned>(&many(item, count + 1)).err().unwrap();
            assert!(is_full(&fault), "{item} {fault}");
        }
        assert!(serde_json::from_str::<Pruned>(&many("{\"type\":1}", 100_000)).is_ok());
        assert!(!is_full(&serde_json::from_str::<Pruned>("{oops}").err().unwrap()));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        let Pruned(pruned) = serde_json::from_str(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(pruned, json!({"a": 2}));
    }
}
