//! JSON in which ntopng has put JSON as a text without escaping its quotes:
//! `"alert_json":"{"info":"a.example"}"`, as some of its versions and its own documentation do.

use std::borrow::Cow;

/// Keys whose values are such texts.
const KEYS: [&str; 3] = ["\"alert_json\"", "\"status_info\"", "\"json\""];

/// The same with those quotes escaped; `None` where there is nothing of the kind.
#[must_use]
pub fn mended(text: &str) -> Option<String> {
    let mut output = String::with_capacity(text.len() + 64);
    let (mut rest, mut found) = (text, false);
    while let Some((start, end)) = next(rest) {
        output.push_str(&rest[..start]);
        let escaped = escaped(&rest[start..end]);
        found |= matches!(escaped, Cow::Owned(_));
        output.push_str(&escaped);
        rest = &rest[end..];
    }
    output.push_str(rest);
    found.then_some(output)
}

/// Where the content of the next such text begins and ends.
fn next(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = text[from..].find('"').map(|at| from + at) {
        let key = KEYS.into_iter().find(|key| text[at..].starts_with(key));
        from = at + key.map_or(1, str::len);
        let Some(_) = key else { continue };
        let after = text[from..].trim_start().strip_prefix(':').map(str::trim_start);
        let Some(value) = after.and_then(|value| value.strip_prefix('"')) else { continue };
        let start = text.len() - value.len();
        if !value.starts_with('{') {
            continue;
        }
        // Where one has no end, nothing after it can be told from its inside.
        let length = object(value).filter(|length| value[*length..].starts_with('"'))?;
        return Some((start, start + length));
    }
    None
}

/// The length of an object whose quotes cannot be trusted: its brackets must do.
fn object(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn escaped(content: &str) -> Cow<'_, str> {
    let mut output = String::new();
    let (mut copied, mut slashes) = (0, 0);
    for (at, byte) in content.bytes().enumerate() {
        if byte == b'"' && slashes % 2 == 0 {
            output.push_str(&content[copied..at]);
            output.push_str("\\\"");
            copied = at + 1;
        }
        slashes = if byte == b'\\' { slashes + 1 } else { 0 };
    }
    if output.is_empty() {
        return Cow::Borrowed(content);
    }
    output.push_str(&content[copied..]);
    Cow::Owned(output)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn quotes_within_a_text_are_escaped_and_the_rest_stays() {
        let body = r#"{"alerts":[{"alert_json":"{"info":"a.example"}","ifid":1},{"json" : "{"a":{"b":"}"}}"}]}"#;
        let read: Value =
            serde_json::from_str(&mended(body).unwrap_or_default()).unwrap_or_default();
        // A bracket in a text of it can mislead: then there is no JSON, but nothing is made up.
        assert!(read.is_null() || read["alerts"][0]["ifid"] == 1, "{read}");

        let body =
            r#"{"alert_json":"{"info":"a.example","status_info":"{"ratio":39.7}"}","ifid":1}"#;
        let read: Value = serde_json::from_str(&mended(body).unwrap()).unwrap();
        assert_eq!(read["ifid"], 1);
        let inner = read["alert_json"].as_str().unwrap();
        assert_eq!(inner, r#"{"info":"a.example","status_info":"{"ratio":39.7}"}"#);
        let inner: Value = serde_json::from_str(&mended(inner).unwrap()).unwrap();
        assert_eq!(
            (&inner["info"], &inner["status_info"]),
            (&"a.example".into(), &"{\"ratio\":39.7}".into())
        );
    }

    #[test]
    fn what_is_right_or_something_else_is_left_alone() {
        for text in [
            r#"{"json":"{\"a\":\"b\"}"}"#,
            r#"{"json":"{}"}"#,
            r#"{"json":"text"}"#,
            r#"{"json":"{"a":"#,
            r#"{"json":"{}x","json":"{"a":1}"}"#,
            r#"{"json":{"a":"b"}}"#,
            r#"{"other":"{"a":"b"}"}"#,
            "",
        ] {
            assert_eq!(mended(text), None, "{text}");
        }
    }
}
