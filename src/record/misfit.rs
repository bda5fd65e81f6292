//! A value that does not fit its field: it leaves the record, so that the rest of the alert can be
//! stored, and is kept as text in `event.original`.

use serde_json::{Map, Value, json};

use super::{ORIGINAL_LIMIT, cut};

/// What no record is without: it decides where the record is found.
const ESSENTIAL: [&str; 5] = ["event", "event.dataset", "event.id", "firstPacket", "lastPacket"];

/// Takes the value at `path` out of `document` and into `event.original`, and tags the record
/// `repaired`; tells whether there was such a value. An essential one stays.
pub fn leave_out(document: &mut Map<String, Value>, path: &str) -> bool {
    if ESSENTIAL.contains(&path) {
        return false;
    }
    let Some(value) = remove(document, path) else { return false };
    let misfit = json!({ path: value }).to_string();
    if let Some(Value::Object(event)) = document.get_mut("event") {
        let original = match event.get("original").and_then(Value::as_str) {
            Some(before) if path != "event.original" => format!("{misfit}\n{before}"),
            _ => misfit,
        };
        event.insert("original".to_owned(), json!(cut(&original, ORIGINAL_LIMIT)));
    }
    let mut tags = match document.remove("tags") {
        Some(Value::Array(tags)) => tags,
        Some(tag) => vec![tag],
        None => Vec::new(),
    };
    if path != "tags" && !tags.contains(&json!("repaired")) {
        tags.push(json!("repaired"));
    }
    if !tags.is_empty() {
        document.insert("tags".to_owned(), Value::Array(tags));
    }
    true
}

/// Removes the value at a path, and what is empty without it.
fn remove(object: &mut Map<String, Value>, path: &str) -> Option<Value> {
    if let Some(value) = object.remove(path) {
        return Some(value);
    }
    // A key may hold dots itself, so every way to cut the path is tried.
    for (dot, _) in path.match_indices('.') {
        let (key, rest) = (&path[..dot], &path[dot + 1..]);
        if let Some(Value::Object(below)) = object.get_mut(key)
            && let Some(value) = remove(below, rest)
        {
            if below.is_empty() {
                object.remove(key);
            }
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(mut document: Value, path: &str) -> Option<Value> {
        let object = document.as_object_mut().unwrap();
        leave_out(object, path).then_some(document)
    }

    #[test]
    fn the_value_goes_to_the_original_and_the_rest_stays() {
        let document = json!({"event": {"id": "a"}, "source": {"ip": "no", "port": 1}});
        assert_eq!(
            left_out(document, "source.ip"),
            Some(json!({"event": {"id": "a", "original": r#"{"source.ip":"no"}"#},
                        "source": {"port": 1}, "tags": ["repaired"]}))
        );
        let document = json!({"event": {"original": "{before}"}, "source": {"ip": ["no"]},
                              "tags": ["a"]});
        assert_eq!(
            left_out(document, "source.ip"),
            Some(json!({"event": {"original": "{\"source.ip\":[\"no\"]}\n{before}"},
                        "tags": ["a", "repaired"]}))
        );
    }

    #[test]
    fn what_is_not_there_or_essential_stays() {
        let document = json!({"event": {"id": "a"}, "a": {"b.c": 1}});
        for path in ["source.ip", "event", "event.id", "a.b", ""] {
            assert_eq!(left_out(document.clone(), path), None, "{path}");
        }
        assert!(left_out(document, "a.b.c").is_some());
    }

    #[test]
    fn a_misfit_is_kept_with_a_bound() {
        let document = json!({"event": {}, "kw": "x".repeat(40_000)});
        let kept = left_out(document, "kw").unwrap();
        assert_eq!(kept["event"]["original"].as_str().map(str::len), Some(ORIGINAL_LIMIT));
        let original = json!({"event": {"id": "a", "original": {"a": 1}}});
        let kept = left_out(original, "event.original").unwrap();
        assert_eq!(kept["event"]["original"], json!(r#"{"event.original":{"a":1}}"#));
    }
}
