//! What an alert's keys hold, read as far as it means something: ntopng's scripts write numbers as
//! texts, flags as numbers, and JSON into texts.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    codes::{self, Table},
    mend::mended,
    version::Version,
};
use crate::intake::lenient::Lenient;

/// Reads the keys of one object, and notes in [`Lenient`] what had to be guessed.
pub struct Values<'a> {
    object: &'a Map<String, Value>,
    lenient: &'a mut Lenient,
}

/// A code, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// As the sender has it, where it has one that is known.
    pub number: Option<i64>,
    /// Its name; `unknown(number)` where no table has it.
    pub name: Cow<'static, str>,
}

impl Coded {
    /// A name that stands for nothing that was told.
    pub const fn none() -> Self {
        Self { number: None, name: Cow::Borrowed("unknown") }
    }
}

impl<'a> Values<'a> {
    /// Of this object.
    pub fn of(object: &'a Map<String, Value>, lenient: &'a mut Lenient) -> Self {
        Self { object, lenient }
    }

    /// Whether the key is there, with something in it.
    pub fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(|value| !value.is_null())
    }

    /// A text that is not blank.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let text = self.lenient.text(self.object.get(key))?;
        (!text.trim().is_empty()).then_some(text)
    }

    /// A name that may look like a number: then it is one, and nothing is odd about it.
    pub fn label(&mut self, key: &str) -> Option<String> {
        match self.object.get(key) {
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => self.text(key),
        }
    }

    /// Notes that something was guessed.
    pub fn guessed(&mut self) {
        self.lenient.wrong = true;
    }

    /// A whole number; one in a text or with a fraction counts.
    pub fn integer(&mut self, key: &str) -> Option<i64> {
        match self.object.get(key)? {
            Value::Null => None,
            Value::Number(number) => number.as_i64().or_else(|| self.whole(number.as_f64()?)),
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => {
                let text = text.trim();
                self.lenient.wrong = true;
                text.parse().ok().or_else(|| self.whole(text.parse().ok()?))
            }
            _ => {
                self.lenient.wrong = true;
                None
            }
        }
    }

    fn whole(&mut self, number: f64) -> Option<i64> {
        // Beyond this not each whole number can be told from the next.
        let is_whole = number.is_finite() && number.abs() < 9e15;
        self.lenient.wrong |= !is_whole || number.fract() != 0.0;
        #[expect(clippy::cast_possible_truncation, reason = "of no use where it is out of bounds")]
        let number = number as i64;
        is_whole.then_some(number)
    }

    /// The same where it is more than nothing.
    pub fn positive(&mut self, key: &str) -> Option<i64> {
        self.integer(key).filter(|number| *number > 0)
    }

    /// A flag; 0 and 1 count, as numbers or texts.
    pub fn flag(&mut self, key: &str) -> bool {
        match self.object.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
            Some(Value::String(text)) => matches!(text.trim(), "true" | "1"),
            Some(_) => {
                self.lenient.wrong = true;
                false
            }
        }
    }

    /// A time; none where it is 0, as of what is not over.
    pub fn time(&mut self, key: &str) -> Option<Timestamp> {
        let time = self.lenient.time(self.object.get(key));
        time.filter(|time| *time != Timestamp::UNIX_EPOCH)
    }

    /// A code or its name.
    pub fn coded(&mut self, key: &str, table: Table, version: Version) -> Option<Coded> {
        let word = match self.object.get(key)? {
            Value::String(text) if text.trim().parse::<f64>().is_err() => text.trim(),
            _ => {
                let number = self.integer(key)?;
                let name = codes::named(table, number, version);
                return Some(Coded { number: Some(number), name });
            }
        };
        let name = word.to_lowercase().replace([' ', '-'], "_");
        let number = codes::number(table, &name, version);
        (!name.is_empty()).then_some(Coded { number, name: Cow::Owned(name) })
    }

    /// JSON in a text, or as it is; none where it cannot be read.
    pub fn json(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.object.get(key)? {
            Value::Object(object) => Some(object.clone()),
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => {
                let read = object(text);
                self.lenient.wrong |= read.is_none();
                read
            }
            Value::Null => None,
            _ => {
                self.lenient.wrong = true;
                None
            }
        }
    }
}

/// The object that a text spells, be it with quotes that nobody escaped.
pub fn object(text: &str) -> Option<Map<String, Value>> {
    let read = |text: &str| serde_json::from_str(text).ok();
    read(text).or_else(|| read(&mended(text)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(value: Value, read: impl FnOnce(&mut Values) -> T) -> (T, bool) {
        let object = Map::from_iter([("k".to_owned(), value)]);
        let mut lenient = Lenient::default();
        let got = read(&mut Values::of(&object, &mut lenient));
        (got, lenient.wrong)
    }

    #[test]
    fn numbers_are_read_in_each_form_and_what_was_guessed_is_noted() {
        for (value, want) in [
            (json!(7), (Some(7), false)),
            (json!(7.0), (Some(7), false)),
            (json!(7.5), (Some(7), true)),
            (json!("7"), (Some(7), true)),
            (json!(" 7.0 "), (Some(7), true)),
            (json!(-1), (Some(-1), false)),
            (json!(1e300), (None, true)),
            (json!("seven"), (None, true)),
            (json!([7]), (None, true)),
            (json!(true), (None, true)),
            (json!(""), (None, false)),
            (json!(null), (None, false)),
        ] {
            assert_eq!(read(value.clone(), |values| values.integer("k")), want, "{value}");
        }
    }

    #[test]
    fn flags_are_truths_numbers_and_their_texts() {
        for (value, want) in [
            (json!(true), true),
            (json!(1), true),
            (json!("1"), true),
            (json!("true"), true),
            (json!(0), false),
            (json!("0"), false),
            (json!(false), false),
            (json!(null), false),
            (json!({}), false),
        ] {
            assert_eq!(read(value.clone(), |values| values.flag("k")).0, want, "{value}");
        }
    }

    #[test]
    fn a_code_may_be_told_by_its_number_or_by_its_name() {
        let version = Version::new(3, 8);
        for (value, number, name) in [
            (json!(17), Some(17), "mac_ip_association_change"),
            (json!("17"), Some(17), "mac_ip_association_change"),
            (json!("Mac_IP_association change"), Some(17), "mac_ip_association_change"),
            (json!("of_our_own"), None, "of_our_own"),
            (json!(99), Some(99), "unknown(99)"),
        ] {
            let got = read(value.clone(), |values| values.coded("k", Table::Type, version)).0;
            assert_eq!(got, Some(Coded { number, name: Cow::Owned(name.to_owned()) }), "{value}");
        }
        for none in [json!(""), json!({}), json!(null)] {
            assert_eq!(read(none, |values| values.coded("k", Table::Type, version)).0, None);
        }
    }

    #[test]
    fn json_in_a_text_is_read_and_a_half_one_is_noted() {
        for (value, want) in [
            (json!("{\"a\":1}"), (true, false)),
            (json!({"a": 1}), (true, false)),
            (json!("{\"a\":1,\"json\":\"{\"b\":\"c\"}\"}"), (true, false)),
            (json!("{\"a\":\"half"), (false, true)),
            (json!("text"), (false, true)),
            (json!([1]), (false, true)),
            (json!(""), (false, false)),
        ] {
            let (got, wrong) = read(value.clone(), |values| values.json("k"));
            assert_eq!((got.is_some_and(|got| got["a"] == 1), wrong), want, "{value}");
        }
    }
}
