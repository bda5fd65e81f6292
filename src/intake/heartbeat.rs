//! The message of a heartbeat, which makes no record: `{"heartbeat": {"monitor": "…"}}`.

use serde::Deserialize;

/// The largest message that is looked at, in bytes.
const LONGEST: usize = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    heartbeat: Said,
}

/// What else it says is for people.
#[derive(Deserialize)]
struct Said {
    monitor: String,
}

/// The monitor that a heartbeat names; `None` for any other body.
#[must_use]
pub fn read(body: &[u8]) -> Option<String> {
    let body = body.trim_ascii();
    if body.len() > LONGEST || !body.starts_with(b"{") {
        return None;
    }
    serde_json::from_slice(body).ok().map(|Message { heartbeat: Said { monitor } }| monitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_is_nothing_else_is_a_heartbeat() {
        for (body, want) in [
            (r#"{"heartbeat": {"monitor": "Alertloop Heartbeat"}}"#, Some("Alertloop Heartbeat")),
            ("\n{\"heartbeat\":{\"monitor\":\"\",\"at\":\"now\"}}\n", Some("")),
            (r#"{"heartbeat": {"monitor": "x"}, "alert": {}}"#, None),
            (r#"{"heartbeat": {}}"#, None),
            (r#"{"heartbeat": true}"#, None),
            (r#"{"alert": {"heartbeat": {"monitor": "x"}}}"#, None),
            (r#"[{"heartbeat": {"monitor": "x"}}]"#, None),
            ("", None),
        ] {
            assert_eq!(read(body.as_bytes()).as_deref(), want, "{body}");
        }
        let long = format!(r#"{{"heartbeat": {{"monitor": "{}"}}}}"#, "x".repeat(LONGEST));
        assert_eq!(read(long.as_bytes()), None);
    }
}
