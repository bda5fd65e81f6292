//! A notification as plain text, of lines like `Title: Disk full`, as Graylog's own e-mail template
//! writes them.

use serde_json::{Map, Value};

/// The longest name of a line, and how many lines are looked at.
const LONGEST_NAME: usize = 40;
const MOST_LINES: usize = 200;

/// The lines of a text that name something; `None` where there is none. Of a name that comes twice
/// the first line counts.
pub fn read(text: &str) -> Option<Map<String, Value>> {
    if text.trim_start().starts_with(['<', '{', '[', '"']) {
        return None;
    }
    let mut found = Map::new();
    for line in text.lines().take(MOST_LINES) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        let is_name = (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-".contains(&byte));
        if is_name && !value.is_empty() && value != "null" {
            found.entry(name.to_ascii_lowercase()).or_insert_with(|| value.into());
        }
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_with_a_name_are_read() {
        let text = "--- [Event Definition] ---\nTitle:       Disk full\nDescription: \n--- [Event] ---\n\
                    Timestamp:            2026-11-04T11:00:00.500Z\nKey: null\nTitle: other\nhttp://x";
        let want =
            json!({"title": "Disk full", "timestamp": "2026-11-04T11:00:00.500Z", "http": "//x"});
        assert_eq!(read(text).map(Value::Object), Some(want));
        for none in ["", "a text", "<p>Title: x</p>", "{\"title\": \"x\"", ": x"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
