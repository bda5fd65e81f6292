//! What only the store's words tell: the one place where they are read. Pure.
//!
//! Words differ by version and may change with any. So nothing here decides whether a record is
//! written, an alert counts, or an object is made, but for [`failed_action`]; each function says what
//! happens where the words are others. They are tried on what 2.19.4, 3.4.0 and 3.8.0 said
//! (`tests/captured/answers-*.json`). Two more are beside their call, since nothing else is there:
//! [`super::security::missing`] and `tls.rs`.

use serde_json::Value;

use super::bulk::Cause;

/// What an alert's `error_message` begins with where an action failed and not the monitor
/// (`AlertService.kt`). There is no other sign of it: state and fields are the same.
const FAILED_ACTION: &str = "Failed running action";
/// What goes before the reason of a webhook that was not delivered (`WebhookDestinationClient`).
const UNDELIVERED: &str = "Failed to send webhook message ";
/// What goes before the receiver's answer there, where it was not 2xx: its reason phrase, and on 2.19 its
/// body in place of that.
const ANSWERED: &str = "Failed: ";

/// What an alert's `error_message` says of an action that failed: the rest of it. `None` where the
/// monitor itself failed, and where the words are others: then a lost webhook is told as a monitor that
/// fails, with the store's words, and its record says `event.outcome: failure`.
#[must_use]
pub fn failed_action(message: &str) -> Option<&str> {
    message.strip_prefix(FAILED_ACTION).map(|rest| rest.trim_start_matches([':', ' ', '\n']))
}

/// Why a message was not delivered, in a text that holds the delivery's status as JSON, as the rest of
/// [`failed_action`] does. With other words the whole text.
#[must_use]
pub fn status_text(text: &str) -> String {
    let json = text.find('{').map(|start| &text[start..]).unwrap_or_default();
    let first = serde_json::Deserializer::from_str(json).into_iter::<Value>().next();
    let status = first.and_then(Result::ok).and_then(|status| {
        let text = status.pointer("/event_status_list/0/delivery_status/status_text")?;
        text.as_str().map(str::to_owned)
    });
    let status = status.as_deref().unwrap_or(text).trim();
    // Who asks knows what was sent.
    status.strip_prefix(UNDELIVERED).unwrap_or(status).to_owned()
}

/// Why a message was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered<'a> {
    /// The receiver answered with this status.
    Status(u16),
    /// The receiver refused it with this text; its status is not told. So 2.19, whatever it was.
    Said(&'a str),
    /// The deny list forbids the host.
    Denied,
    /// The host has no address.
    UnknownHost,
    /// There is no TLS connection.
    Tls,
    /// Nothing listens.
    Refused,
    /// There was no answer.
    Unreached,
    /// The connection ended without an answer.
    Ended,
    /// None of these; the text as it is.
    Other,
}

/// Sorts a delivery's `status_text`. Words that are not known are [`Undelivered::Other`], which is shown
/// as it came; the names of Java's exceptions are taken as they are in Java 17 to 25.
#[must_use]
pub fn undelivered(text: &str) -> Undelivered<'_> {
    // Before all else: what a receiver said may hold any word.
    if let Some((_, answer)) = text.split_once(ANSWERED) {
        let answer = answer.trim();
        let is_phrase = |code: &u16| {
            let status = axum::http::StatusCode::from_u16(*code).ok();
            status.and_then(|status| status.canonical_reason()) == Some(answer)
        };
        return (300..600).find(is_phrase).map_or(Undelivered::Said(answer), Undelivered::Status);
    }
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["host_deny_list"]) {
        Undelivered::Denied
    } else if has(&["could not be resolved", "UnknownHost", "Name or service not known"]) {
        Undelivered::UnknownHost
    } else if has(&["SSL", "TLS", "PKIX", "certificate", "handshake"]) {
        Undelivered::Tls
    } else if has(&["refused"]) {
        Undelivered::Refused
    } else if has(&["timed out", "Timeout", "timeout", "unreachable", "No route"]) {
        Undelivered::Unreached
    } else if has(&["reset", "closed", "failed to respond", "premature"]) {
        Undelivered::Ended
    } else {
        Undelivered::Other
    }
}

/// The field that a mapper's refusal (400) is about, as its path. What is not understood here costs no
/// more than a second try: the document is then refused as a whole, and kept as a dead letter.
#[must_use]
pub fn misfit(cause: &Cause) -> Option<String> {
    let reason = cause.reason.as_deref()?;
    let within = |from: &str, to: &str| {
        let (_, rest) = reason.split_once(from)?;
        rest.split_once(to).map(|(name, _)| name)
    };
    let named = within("failed to parse field [", "]")
        .or_else(|| within("object mapping for [", "]"))
        .or_else(|| within("immense term in field=\"", "\""));
    let introduced = || {
        let (field, object) = (within("introduction of [", "]")?, within("] within [", "]")?);
        Some(if object == "_doc" { field.to_owned() } else { format!("{object}.{field}") })
    };
    named.map(str::to_owned).or_else(introduced)
}

/// Whether a trigger's script was compiled, so that what it met made it throw, and its innermost
/// reason. The error is a script's fault as JSON in a text; one that is not counts as one that does not
/// compile, with all of it for a reason.
#[must_use]
pub fn script_fault(error: &str) -> (bool, String) {
    let Ok(json) = serde_json::from_str::<Value>(error) else {
        return (false, error.to_owned());
    };
    // Both are of the type `script_exception`.
    let compiles = json.get("reason").and_then(Value::as_str) != Some("compile error");
    let (mut cause, mut why) = (&json, String::new());
    loop {
        if let Some(reason) = cause.get("reason").and_then(Value::as_str) {
            reason.clone_into(&mut why);
        }
        match cause.get("caused_by") {
            Some(next) if next.get("reason").and_then(Value::as_str).is_some() => cause = next,
            _ => return (compiles, why),
        }
    }
}

/// What each version that was tried answered: `{"question": {"status", "body"}}`.
#[cfg(test)]
pub(super) fn captured() -> [(&'static str, Value); 3] {
    [
        ("2.19.4", include_str!("../../tests/captured/answers-2.19.4.json")),
        ("3.4.0", include_str!("../../tests/captured/answers-3.4.0.json")),
        ("3.8.0", include_str!("../../tests/captured/answers-3.8.0.json")),
    ]
    .map(|(version, text)| (version, serde_json::from_str(text).unwrap()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PHRASES: [&str; 2] = ["3.4.0", "3.8.0"];

    #[test]
    fn a_failed_action_is_known_from_a_failed_monitor() {
        for (version, all) in captured() {
            let message =
                |name: &str| all[name]["body"]["error_message"].as_str().unwrap().to_owned();
            let has_phrase = PHRASES.contains(&version);
            let said =
                if has_phrase { "Unauthorized" } else { r#"{"error":"missing or wrong token"}"# };
            for (name, want) in [
                ("alert: 401", Some(format!("Failed: {said}"))),
                ("alert: refused", Some("Connection refused".to_owned())),
                ("alert: no channel", Some("Unable to find a Notification Channel".to_owned())),
                ("alert: switched off", Some("LOCKED".to_owned())),
                ("alert: trigger throws", None),
                ("alert: query fails", None),
            ] {
                let why = message(name);
                let why = failed_action(&why).map(status_text);
                assert_eq!(why.is_some(), want.is_some(), "{version}: {name}: {why:?}");
                let (why, want) = (why.unwrap_or_default(), want.unwrap_or_default());
                assert!(why.contains(&want), "{version}: {name}: {why}");
                assert!(!why.contains("event_status_list"), "{version}: {name}: {why}");
            }
        }
        assert_eq!(failed_action("Action failed: x"), None, "other words are a monitor's");
        assert_eq!(failed_action("Failed running action"), Some(""));
    }

    #[test]
    fn the_reason_of_a_failed_delivery_is_found_in_the_stores_text() {
        let json = r#"{"event_status_list": [{"config_id":"a","delivery_status":
            {"status_code":"500","status_text":"Failed to send webhook message Connection refused"}}]}"#;
        for (text, want) in [
            (json.to_owned(), "Connection refused"),
            (format!("{json} and so on"), "Connection refused"),
            ("only {words".to_owned(), "only {words"),
            (" For input string: \"LOCKED\" ".to_owned(), "For input string: \"LOCKED\""),
        ] {
            assert_eq!(status_text(&text), want);
        }
    }

    #[test]
    fn why_a_test_was_not_delivered_is_known_on_each_version() {
        for (version, all) in captured() {
            let has_phrase = PHRASES.contains(&version);
            let answered = |status, said| {
                if has_phrase { Undelivered::Status(status) } else { Undelivered::Said(said) }
            };
            for (name, want) in [
                ("401", answered(401, r#"{"error":"missing or wrong token"}"#)),
                ("404", answered(404, "")),
                ("405", answered(405, "")),
                ("500", answered(500, r#"{"error":"internal error"}"#)),
                ("502", answered(502, "<html><head><title>502 Bad Gateway</title></head></html>")),
                ("301", answered(301, "")),
                ("connection refused", Undelivered::Refused),
                ("unknown name", Undelivered::UnknownHost),
                ("https to a plain port", Undelivered::Tls),
                ("connection closed", Undelivered::Ended),
                ("no answer", Undelivered::Unreached),
                ("denied host", Undelivered::Denied),
            ] {
                let body = all[format!("test: {name}")]["body"].to_string();
                let deliveries = super::super::notifications::deliveries(body.as_bytes());
                let [delivery] = &deliveries[..] else {
                    panic!("{version}: {name}: {deliveries:?}")
                };
                assert_eq!(undelivered(&delivery.text), want, "{version}: {name}");
            }
        }
        assert_eq!(undelivered("quite new"), Undelivered::Other);
        // A receiver's words, whatever they are, are not the store's.
        let hostile = "Failed to send webhook message Failed: host_deny_list refused Failed: x";
        assert_eq!(undelivered(hostile), Undelivered::Said("host_deny_list refused Failed: x"));
    }

    #[test]
    fn the_field_of_a_misfit_is_told_on_each_version() {
        for (version, all) in captured() {
            for (name, want) in [
                ("ip", Some("source.ip")),
                ("date", Some("at")),
                ("number", Some("n")),
                ("boolean", Some("flag")),
                ("text for an object", Some("rule")),
                ("object for a keyword", Some("kw")),
                ("long keyword", Some("kw")),
                ("strict", Some("b")),
                ("strict within", Some("st.b")),
            ] {
                let item = &all[format!("misfit: {name}")]["body"];
                assert_eq!(item["status"], 400, "{version}: {name}");
                let cause = serde_json::from_value(item["error"].clone()).unwrap();
                assert_eq!(misfit(&cause).as_deref(), want, "{version}: {name}");
            }
        }
        let other = |reason: Value| serde_json::from_value(json!({ "reason": reason })).unwrap();
        assert_eq!(misfit(&other(json!("failed to parse"))), None);
        assert_eq!(misfit(&other(json!(null))), None);
    }

    #[test]
    fn a_script_that_throws_is_known_from_one_that_does_not_compile() {
        for (version, all) in captured() {
            for (name, compiles, want) in [
                ("dry: compile error", false, "invalid sequence of tokens near ['all']."),
                ("dry: throws", true, "null"),
            ] {
                let error = &all[name]["body"]["trigger_results"]["t1"]["error"];
                let (compiled, why) = script_fault(error.as_str().unwrap());
                assert_eq!(compiled, compiles, "{version}: {name}");
                assert!(why.contains(want), "{version}: {name}: {why}");
            }
        }
        assert_eq!(script_fault("odd text"), (false, "odd text".to_owned()));
    }
}
