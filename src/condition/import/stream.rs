//! Graylog's streams as an index pattern and a query. A stream is made of rules there, each a test of
//! one field; here they become one query.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value};

use super::{number, text};
use crate::condition::{Stream, file::Defaults};

/// The streams that an import tells of, by their ids.
pub struct Streams<'a> {
    known: BTreeMap<String, Found>,
    defaults: Defaults<'a>,
}

/// A stream, and what is to be looked at in it.
#[derive(Clone, Debug)]
pub struct Found {
    pub stream: Stream,
    pub notes: Vec<String>,
    pub is_enabled: bool,
}

impl<'a> Streams<'a> {
    /// Those that are listed anywhere in an import.
    pub fn of(json: &Value, defaults: Defaults<'a>) -> Self {
        let mut all = Self { known: BTreeMap::new(), defaults };
        let list = |key: &str| json.get(key).and_then(Value::as_array).into_iter().flatten();
        for stream in list("streams").filter(|stream| stream.is_object()) {
            all.learn(stream, None);
        }
        for entity in list("entities") {
            if entity.pointer("/type/name").and_then(Value::as_str) == Some("stream") {
                all.learn(&entity["data"], entity.get("id").and_then(Value::as_str));
            }
        }
        all
    }

    fn learn(&mut self, json: &Value, id: Option<&str>) {
        let mut found = self.read(json);
        if let Some(id) = id {
            id.clone_into(&mut found.stream.id);
        }
        self.known.insert(found.stream.id.clone(), found);
    }

    /// A stream of which nothing is known.
    pub fn unknown(&self) -> Found {
        let mut found = self.empty();
        found.notes.push(
            "its stream is not told: set `indices` and `query` of [stream], or all messages of \
             the default indices count"
                .to_owned(),
        );
        found
    }

    fn empty(&self) -> Found {
        let Defaults { index_pattern, time_field } = self.defaults;
        let stream = Stream {
            id: "unknown".to_owned(),
            title: "Unknown stream".to_owned(),
            description: None,
            indices: vec![index_pattern.to_owned()],
            query: "*".to_owned(),
            time_field: time_field.to_owned(),
            fields: Vec::new(),
        };
        Found { stream, notes: Vec::new(), is_enabled: true }
    }

    /// The stream with these ids, as an event definition names them.
    pub fn named(&self, ids: &[&str]) -> Found {
        match ids {
            [] => self.empty_of_all(),
            [id] => self.one(id),
            several => {
                let all: Vec<_> = several.iter().map(|id| self.one(id)).collect();
                let mut found = all[0].clone();
                found.stream.title =
                    all.iter().map(|one| one.stream.title.as_str()).collect::<Vec<_>>().join(", ");
                let is_all = all.iter().any(|one| one.stream.query == "*");
                let queries = all.iter().map(|one| format!("({})", one.stream.query));
                found.stream.query =
                    if is_all { "*".to_owned() } else { queries.collect::<Vec<_>>().join(" OR ") };
                found.notes = all.into_iter().flat_map(|one| one.notes).collect();
                found.notes.dedup();
                found
            }
        }
    }

    fn empty_of_all(&self) -> Found {
        let mut found = self.empty();
        "all".clone_into(&mut found.stream.id);
        "All messages".clone_into(&mut found.stream.title);
        found
    }

    fn one(&self, id: &str) -> Found {
        self.known.get(id).cloned().unwrap_or_else(|| {
            let mut found = self.empty();
            id.clone_into(&mut found.stream.id);
            id.clone_into(&mut found.stream.title);
            found.notes.push(format!(
                "its stream {id} is not in this import: set `indices` and `query` of [stream]"
            ));
            found
        })
    }

    /// A stream as Graylog tells it.
    pub fn read(&self, json: &Value) -> Found {
        let none = Map::new();
        let map = json.as_object().unwrap_or(&none);
        let mut found = self.empty();
        let oid = json.pointer("/_id/$oid").and_then(Value::as_str).map(str::to_owned);
        let id = text(map, "id").or(oid).or_else(|| text(map, "_id"));
        let title = text(map, "title");
        found.stream.id = id.or_else(|| title.clone()).unwrap_or(found.stream.id);
        found.stream.title = title.unwrap_or_else(|| found.stream.id.clone());
        found.stream.description = text(map, "description");
        found.is_enabled = !map.get("disabled").and_then(Value::as_bool).unwrap_or(false);
        if !found.is_enabled {
            found.notes.push("its stream is switched off, and so is it".to_owned());
        }
        let rules = map.get("stream_rules").or_else(|| map.get("rules")).and_then(Value::as_array);
        let mut queries = Vec::new();
        for rule in rules.into_iter().flatten() {
            match query(rule) {
                Ok(query) => queries.push(query),
                Err(why) => found.notes.push(format!("a rule of its stream is left out: {why}")),
            }
        }
        let by_one = text(map, "matching_type").is_some_and(|kind| kind.eq_ignore_ascii_case("or"));
        match (queries.is_empty(), rules.is_some_and(|rules| !rules.is_empty())) {
            (false, _) => {
                found.stream.query = queries.join(if by_one { " OR " } else { " AND " });
            }
            (true, true) => {}
            (true, false) => found.notes.push(
                "its stream tells no rules: look whether `query` of [stream] is right".to_owned(),
            ),
        }
        found
    }
}

/// The query of one rule. Source: `StreamRuleType.java` (1 exact, 2 regex, 3 greater, 4 smaller,
/// 5 presence, 6 contains, 7 always, 8 input).
fn query(rule: &Value) -> Result<String, String> {
    let none = Map::new();
    let map = rule.as_object().unwrap_or(&none);
    let names = [
        "EXACT",
        "REGEX",
        "GREATER",
        "SMALLER",
        "PRESENCE",
        "CONTAINS",
        "ALWAYS_MATCH",
        "MATCH_INPUT",
    ];
    let of_name = |name: String| (1..).zip(names).find(|(_, known)| **known == name);
    let kind = number(map, "type")
        .or_else(|| text(map, "type").and_then(of_name).map(|(kind, _)| f64::from(kind)))
        .unwrap_or_default();
    let field = escaped(&text(map, "field").unwrap_or_default());
    let value = match map.get("value") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "an odd number is no kind")]
    let kind = kind as i64;
    if field.is_empty() && !matches!(kind, 7 | 8) {
        return Err("it names no field".to_owned());
    }
    let query = match kind {
        1 => format!("{field}:{}", Value::String(value)),
        2 => format!("{field}:/{}/", regex(&value)?),
        3 => format!("{field}:>{value}"),
        4 => format!("{field}:<{value}"),
        5 => format!("_exists_:{field}"),
        6 => format!("{field}:*{}*", escaped(&value)),
        7 => "*".to_owned(),
        8 => return Err(format!("it is about the input {value}, which is Graylog's own")),
        _ => return Err("its type is not known".to_owned()),
    };
    let is_inverted = map.get("inverted").and_then(Value::as_bool).unwrap_or(false);
    Ok(if is_inverted { format!("(*:* NOT {query})") } else { query })
}

/// A regular expression of Java that has to be found somewhere in the value, as one of Lucene that has
/// to be the whole value. Source: `RegexMatcher.java` of Graylog, `RegExp.java` of Lucene.
fn regex(java: &str) -> Result<String, String> {
    let fault = |what: &str| format!("its regular expression {java:?} has {what}");
    let is_literal =
        |head: &str| head.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
    let (start, rest) = java.strip_prefix('^').map_or((".*", java), |rest| ("", rest));
    let (end, rest) = match rest.strip_suffix('$') {
        Some(head) if !is_literal(head) => ("", head),
        _ => (".*", rest),
    };
    let has_one_end = start.is_empty() || end.is_empty();
    let is_in_group = rest.starts_with('(')
        && rest.matches('(').count() == 1
        && rest.rfind('|') < rest.rfind(')');
    if has_one_end && rest.contains('|') && !is_in_group {
        return Err(fault("^ or $ beside alternatives: write its query by hand"));
    }
    if rest.contains("(?") {
        return Err(fault("(?, which Lucene does not know"));
    }
    let mut lucene = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let next = letters.next().unwrap_or('\\');
                if next.is_ascii_alphanumeric() && !"dDwWsS".contains(next) {
                    return Err(fault(&format!("\\{next}, which Lucene does not know")));
                }
                lucene.extend([letter, next]);
            }
            // They mean something to Lucene, and nothing to Java.
            '/' | '@' | '&' | '<' | '>' | '~' | '#' | '"' => lucene.extend(['\\', letter]),
            _ => lucene.push(letter),
        }
    }
    let is_open = !has_one_end && lucene.contains('|');
    Ok(if is_open { format!("{start}({lucene}){end}") } else { format!("{start}{lucene}{end}") })
}

/// A text in a query string, where some letters mean something.
fn escaped(text: &str) -> String {
    let mut all = String::new();
    for letter in text.chars() {
        if letter.is_alphanumeric() || "_.@-".contains(letter) {
            all.push(letter);
        } else {
            // A text is written to memory: nothing can fail.
            write!(all, "\\{letter}").ok();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_rule_is_a_query() {
        for (rule, want) in [
            (json!({"type": 1, "field": "a", "value": "x \"y\""}), Ok(r#"a:"x \"y\"""#)),
            (
                json!({"type": "EXACT", "field": "a b", "value": "x", "inverted": true}),
                Ok(r#"(*:* NOT a\ b:"x")"#),
            ),
            (json!({"type": 2, "field": "a", "value": "^/x.*"}), Ok(r"a:/\/x.*.*/")),
            (json!({"type": 2, "field": "a", "value": "fail"}), Ok("a:/.*fail.*/")),
            (json!({"type": 2, "field": "a", "value": "^(ssh|su)d?$"}), Ok("a:/(ssh|su)d?/")),
            (json!({"type": 2, "field": "a", "value": r"b\$"}), Ok(r"a:/.*b\$.*/")),
            (json!({"type": 2, "field": "a", "value": "su|do"}), Ok("a:/.*(su|do).*/")),
            (
                json!({"type": 2, "field": "a", "value": "u@h<1>[@]\\/"}),
                Ok(r"a:/.*u\@h\<1\>[\@]\/.*/"),
            ),
            (json!({"type": 2, "field": "a", "value": "^su|do$"}), Err("alternatives")),
            (json!({"type": 2, "field": "a", "value": "(su)|do$"}), Err("alternatives")),
            (json!({"type": 2, "field": "a", "value": "(?i)su"}), Err("(?")),
            (json!({"type": 2, "field": "a", "value": r"\bsu"}), Err("\\b")),
            (json!({"type": 3, "field": "a", "value": "5"}), Ok("a:>5")),
            (json!({"type": 4, "field": "a", "value": 5}), Ok("a:<5")),
            (json!({"type": 5, "field": "a", "value": ""}), Ok("_exists_:a")),
            (json!({"type": 6, "field": "a", "value": "x y"}), Ok(r"a:*x\ y*")),
            (json!({"type": 7}), Ok("*")),
            (json!({"type": 8, "value": "id"}), Err("input id")),
            (json!({"type": 9, "field": "a"}), Err("not known")),
            (json!({"type": 1}), Err("no field")),
        ] {
            match (query(&rule), want) {
                (Ok(query), Ok(want)) => assert_eq!(query, want),
                (Err(why), Err(want)) => assert!(why.contains(want), "{why}"),
                (query, want) => panic!("{rule}: {query:?} instead of {want:?}"),
            }
        }
    }
}
