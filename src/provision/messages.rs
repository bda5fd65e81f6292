//! The message templates that we ship, one for each kind of monitor: they always give valid JSON,
//! and tell all that a record needs. A monitor's file names one by `"${message:query_level}"` and
//! so on in the place of its action's `message_template.source`.
//!
//! What makes them valid JSON whatever a name or a value holds (seen on OpenSearch 3.4.0): `{{x}}`
//! escapes for JSON, and is empty where there is no `x`, so it stands between quotes; `{{#toJson}}`
//! gives nothing at all where there is no such thing, and text without quotes for a text, so it
//! stands only where the monitor's kind always has a list or an object; `{{{x}}}` does not escape.

use std::{borrow::Cow, io::ErrorKind, path::Path};

use super::files::COMPILED_IN;

/// The kinds of messages: the names that a monitor's file may use.
pub const NAMES: [&str; 4] = ["query_level", "bucket_level", "doc_level", "composite"];

/// The message of this name, as it is compiled in.
#[must_use]
pub fn message(name: &str) -> Option<&'static str> {
    let name = NAMES.iter().find(|known| **known == name)?;
    let file = COMPILED_IN.get_file(format!("messages/{name}.mustache"))?;
    Some(file.contents_utf8()?.trim_end())
}

/// The message of this name: from the folder `dir` where that has one, which may be of a new name,
/// else as it is compiled in.
///
/// # Errors
/// In words, with the known names, when there is none or it cannot be read.
pub fn message_in(dir: Option<&Path>, name: &str) -> Result<Cow<'static, str>, String> {
    let is_plain = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(dir) = dir.filter(|_| is_plain(name)) {
        let path = dir.join("messages").join(format!("{name}.mustache"));
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Cow::Owned(text.trim_end().to_owned())),
            Err(fault) if fault.kind() == ErrorKind::NotFound => {}
            Err(fault) => return Err(format!("{}: {fault}", path.display())),
        }
    }
    message(name)
        .map(Cow::Borrowed)
        .ok_or_else(|| format!("there is no message {name:?}; there are {}", NAMES.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_name_has_its_message_and_no_other_has() {
        for name in NAMES {
            assert!(message(name).unwrap().ends_with('}'), "{name}");
        }
        for other in
            ["", "query", "../channels/malcolm_api_loopback_webhook", "query_level.mustache"]
        {
            assert_eq!(message(other), None, "{other}");
            assert!(message_in(Some(Path::new("/")), other).is_err());
        }
    }

    #[test]
    fn the_query_level_message_is_the_one_of_the_loopback_monitor() {
        let file = include_str!("../../provisioning/monitors/malcolm_api_loopback_monitor.json");
        let monitor: Value = serde_json::from_str(file).unwrap();
        let action = &monitor["triggers"][0]["query_level_trigger"]["actions"][0];
        let source = action["message_template"]["source"].as_str().unwrap();
        assert!(source == "${message:query_level}" || Some(source) == message("query_level"));
    }

    #[test]
    fn a_folder_goes_before_what_is_compiled_in_and_may_have_more() {
        let dir = tempfile::tempdir().unwrap();
        let messages = dir.path().join("messages");
        std::fs::create_dir(&messages).unwrap();
        std::fs::write(messages.join("query_level.mustache"), "{\"mine\":1}\n").unwrap();
        std::fs::write(messages.join("other.mustache"), "{}").unwrap();
        let read = |name| message_in(Some(dir.path()), name);
        assert_eq!(read("query_level").unwrap(), "{\"mine\":1}");
        assert_eq!(read("other").unwrap(), "{}");
        assert_eq!(read("doc_level").unwrap(), message("doc_level").unwrap());
        assert!(read("none").unwrap_err().contains("query_level, bucket_level"));
    }
}
