//! Lists and maps as Java prints them: `[a, b]`, `{key=value, other=value}`. That is how Graylog
//! puts them into forms and templates. It escapes nothing, so a value may look like the next key; then
//! the reading is a guess.

use serde_json::{Map, Value};

/// Keys of a message, which alone may come next in one: its text may hold anything else.
const OF_A_MESSAGE: [&str; 7] =
    ["index", "message", "fields", "id", "stream_ids", "source", "timestamp"];
/// The longest key of a map.
const LONGEST_KEY: usize = 128;

/// The elements of a list; a text that is none is a list of one.
pub fn texts(text: &str) -> Vec<String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.split(", ").map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The entries of a map, all of them as text; `None` where it is none.
pub fn map(text: &str) -> Option<Map<String, Value>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim().is_empty() {
        return Some(Map::new());
    }
    key_at(inner)?;
    let is_next = |rest: &str| key_at(rest).is_some();
    Some(entries(inner, is_next).into_iter().map(|(key, value)| (key, scalar(value))).collect())
}

/// The messages of a backlog; `None` where it is none.
pub fn messages(text: &str) -> Option<Vec<Map<String, Value>>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = inner.strip_prefix('{').filter(|rest| message_key_at(rest))?;
    let mut all = Vec::new();
    loop {
        let mut ends = rest.match_indices("}, {").map(|(at, _)| at);
        let next = ends.find(|at| message_key_at(&rest[at + 4..]));
        let one = next.map_or_else(|| rest.strip_suffix('}').unwrap_or(rest), |at| &rest[..at]);
        all.push(message(one));
        match next {
            Some(at) => rest = &rest[at + 4..],
            None => return Some(all),
        }
    }
}

fn message(text: &str) -> Map<String, Value> {
    let mut message = Map::new();
    for (key, value) in entries(text, message_key_at) {
        let value = match key.as_str() {
            "fields" => map(value).map_or_else(|| scalar(value), Value::Object),
            "stream_ids" => texts(value).into(),
            _ => scalar(value),
        };
        // A text that holds `, id=…` comes before the message's own id or after it; who knows.
        message.entry(key).or_insert(value);
    }
    message
}

/// Cuts `key=value, key=value` where `is_next` says that a key begins. What stands inside the
/// braces of `fields={…}` is not looked at.
fn entries(text: &str, is_next: impl Fn(&str) -> bool) -> Vec<(String, &str)> {
    let mut all = Vec::new();
    let mut rest = text;
    // Each place is looked at once: the text of a message may hold any number of `fields={`.
    let mut is_closed = true;
    while let Some(key) = key_at(rest) {
        let value = &rest[key.len() + 1..];
        let skipped = if is_closed && key == "fields" && value.starts_with('{') {
            let mut ends = value.match_indices("}, ").map(|(at, _)| at);
            let end = ends.find(|at| is_next(&value[at + 3..]));
            is_closed = end.is_some();
            end.unwrap_or(0)
        } else {
            0
        };
        let mut ends = value[skipped..].match_indices(", ").map(|(at, _)| skipped + at);
        let end = ends.find(|at| is_next(&value[at + 2..]));
        all.push((key.to_owned(), end.map_or(value, |end| &value[..end])));
        match end {
            Some(end) => rest = &value[end + 2..],
            None => break,
        }
    }
    all
}

/// The key that a text begins with, before its `=`.
fn key_at(text: &str) -> Option<&str> {
    let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@".contains(&byte);
    let most = text.len().min(LONGEST_KEY + 1);
    let end = text.as_bytes()[..most].iter().position(|byte| !is_of_key(*byte))?;
    (end > 0 && text.as_bytes()[end] == b'=').then(|| &text[..end])
}

fn message_key_at(text: &str) -> bool {
    key_at(text).is_some_and(|key| OF_A_MESSAGE.contains(&key))
}

fn scalar(text: &str) -> Value {
    match text.trim() {
        "null" | "" => Value::Null,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_of_nothing_but_openings_takes_no_longer_than_it_is() {
        let begun = std::time::Instant::now();
        for opening in ["fields={, ", "fields={}, x, ", "fields={a=b}, {", "}, {", "}, {message=, "]
        {
            let text = format!("[{{message={}}}]", opening.repeat(100_000));
            assert!(messages(&text).is_some(), "{opening}");
        }
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_list_is_read_and_a_bare_text_is_a_list_of_one() {
        for (text, want) in [
            ("[]", vec![]),
            ("", vec![]),
            ("[a]", vec!["a"]),
            ("[a, b]", vec!["a", "b"]),
            (" a ", vec!["a"]),
            ("[a,b]", vec!["a,b"]),
        ] {
            assert_eq!(texts(text), want, "{text}");
        }
    }

    #[test]
    fn a_map_is_cut_where_a_key_begins() {
        for (text, want) in [
            ("{}", Some(json!({}))),
            ("{disk=/dev/sdb1}", Some(json!({"disk": "/dev/sdb1"}))),
            ("{a=1, b=x, y, z, c=null}", Some(json!({"a": "1", "b": "x, y, z", "c": null}))),
            ("{a=b=c, d=}", Some(json!({"a": "b=c", "d": null}))),
            ("{no map}", None),
            ("plain", None),
            ("{a=1", None),
            ("{ü=1}", None),
        ] {
            assert_eq!(map(text).map(Value::Object), want, "{text}");
        }
    }

    #[test]
    fn messages_may_hold_commas_braces_and_signs() {
        let text = "[{index=graylog_1, message=a, b = {c}, d=e], fields={x=1, id=no, note=k, l}, \
                    id=m1, stream_ids=[s1, s2], source=h, timestamp=2026-11-04T09:55:01.000Z}, \
                    {index=graylog_2, message=}, {odd, fields={}, id=m2, stream_ids=[], source=null, \
                    timestamp=t}]";
        let got: Vec<_> = messages(text).unwrap().into_iter().map(Value::Object).collect();
        assert_eq!(
            got,
            [
                json!({"index": "graylog_1", "message": "a, b = {c}, d=e]", "id": "m1",
                       "fields": {"x": "1", "id": "no", "note": "k, l"},
                       "stream_ids": ["s1", "s2"], "source": "h",
                       "timestamp": "2026-11-04T09:55:01.000Z"}),
                json!({"index": "graylog_2", "message": "}, {odd", "fields": {}, "id": "m2",
                       "stream_ids": [], "source": null, "timestamp": "t"}),
            ]
        );
        assert_eq!(messages("[]"), Some(Vec::new()));
        for none in ["", "text", "[text]", "[{text}]"] {
            assert_eq!(messages(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_stumble(text in "[\\[\\]{}=, a-cü]{0,60}") {
            let texts = texts(&text);
            proptest::prop_assert!(texts.len() <= text.len());
            map(&text);
            messages(&text);
            messages(&format!("[{{id={text}}}]"));
        }
    }
}
