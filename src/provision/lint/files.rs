//! Monitors from files: those that are named, or those that provisioning uses.

use std::path::Path;

use serde_json::Value;

use super::super::{
    Settings, desired,
    desired::{BadFiles, CHANNEL_ID},
    object::Object,
    placeholder, placeholder_value,
};
use crate::condition;

/// A monitor to be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The file, or the name in the store: what findings begin with.
    pub name: String,
    /// The monitor; or why there is none, and what to do.
    pub monitor: Result<Value, (String, String)>,
}

/// The monitors that provisioning would make, each with the name of its file.
///
/// # Errors
/// [`BadFiles`].
pub fn provisioned(settings: &Settings) -> Result<Vec<Subject>, BadFiles> {
    let desired = desired(settings)?;
    let kinds = [Object::Monitor, Object::Workflow];
    let monitors = desired.wanted.into_iter().filter(|one| kinds.contains(&one.key.object));
    Ok(monitors.map(|one| Subject { name: one.file, monitor: Ok(one.body) }).collect())
}

/// Reads the monitor of a file, with the placeholders of provisioning filled in.
#[must_use]
pub fn read(path: &Path, settings: &Settings) -> Subject {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|fault| {
        (format!("cannot be read: {fault}"), "name a file that is there".to_owned())
    });
    let monitor = if path.extension().is_some_and(|ending| ending == "toml") {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        bytes.and_then(|bytes| compiled(&bytes, &stem, settings))
    } else {
        bytes.and_then(|bytes| parse(&bytes)).and_then(|monitor| filled(monitor, settings))
    };
    Subject { name, monitor }
}

/// The monitor of a condition.
fn compiled(bytes: &[u8], stem: &str, settings: &Settings) -> Result<Value, (String, String)> {
    let text = std::str::from_utf8(bytes).map_err(|fault| fault.to_string());
    let condition = text.and_then(|text| {
        condition::file::read(text, stem, settings.for_conditions())
            .map_err(|fault| fault.to_string())
    });
    let condition = condition.map_err(|what| (what, "correct it there".to_owned()))?;
    Ok(condition.monitor(CHANNEL_ID))
}

fn parse(bytes: &[u8]) -> Result<Value, (String, String)> {
    // Editors of Windows begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let json: Value = serde_json::from_slice(bytes).map_err(|fault| {
        let (line, column) = (fault.line(), fault.column());
        let why = fault.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        (format!("line {line}, column {column}: not JSON: {why}"), "correct it there".to_owned())
    })?;
    let inner = ["monitor", "workflow"].into_iter().find_map(|key| {
        json.get(key).filter(|inner| inner.is_object()).cloned() // as the store's API shows it
    });
    let monitor = inner.unwrap_or(json);
    match monitor.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(monitor),
        _ => {
            let mend = "give it what `GET _plugins/_alerting/monitors/{id}` shows of one";
            Err(("JSON, but no monitor: it has no name".to_owned(), mend.to_owned()))
        }
    }
}

fn filled(json: Value, settings: &Settings) -> Result<Value, (String, String)> {
    placeholder::fill(json, &|name| placeholder_value(settings, name))
        .map_err(|fault| (fault, "correct the placeholder".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provision::messages;

    fn settings() -> Settings {
        Settings::for_tests()
    }

    fn read_text(text: &str) -> Result<Value, (String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.json");
        std::fs::write(&path, text).unwrap();
        let subject = read(&path, &settings());
        assert_eq!(subject.name, path.display().to_string());
        subject.monitor
    }

    #[test]
    fn a_file_that_is_no_monitor_says_where_and_why() {
        for (text, want) in [
            ("", "line 1, column 0: not JSON: EOF"),
            ("{\n  \"name\": \"x\",\n  }", "line 3, column 3: not JSON: trailing comma"),
            ("{\n  \"name\": 'x'\n}", "line 2, column 11: not JSON: expected value"),
            ("[]", "no monitor"),
            ("{}", "no monitor"),
            (
                r#"{"name": "x", "a": "${message:other}"}"#,
                "there is no message \"other\"; there are query_level",
            ),
            (r#"{"name": "x", "a": "${other}"}"#, "${other} is not known"),
        ] {
            let (what, mend) = read_text(text).unwrap_err();
            assert!(what.contains(want), "{text}: {what}");
            assert!(!mend.is_empty());
        }
        let away = read(Path::new("/no/such/file.json"), &settings());
        assert!(away.monitor.unwrap_err().0.contains("No such file"));
    }

    #[test]
    fn placeholders_are_filled_and_what_the_api_shows_is_unwrapped() {
        let text = r#"{"_id": "i", "monitor": {"name": "m", "a": ["${index_pattern}", "${monitor:x}"],
                       "r": {"${time_field}": {"to": 1}}, "source": "${message:doc_level}"}}"#;
        let monitor = read_text(&format!("\u{feff}{text}")).unwrap();
        assert_eq!(monitor["a"], json!(["arkime_sessions3-*", "${monitor:x}"]));
        assert_eq!(monitor["r"]["firstPacket"]["to"], 1);
        assert_eq!(monitor["source"].as_str(), messages::message("doc_level"));
    }

    #[test]
    fn the_monitors_of_provisioning_have_no_placeholder_left() {
        let all = provisioned(&settings()).unwrap();
        let monitor = all[0].monitor.as_ref().unwrap();
        assert_eq!(monitor["name"], "Malcolm API Loopback Monitor");
        assert!(!monitor.to_string().contains("${"));
    }
}
