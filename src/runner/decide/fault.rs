//! What went wrong, in the words of the Alerting plugin. Pure.
//!
//! The plugin has Java's exceptions, and shows one in four ways: its message in a report, all of a
//! script's in the report of a trigger, a chain of classes in `{{ctx.error}}`, and what it thinks that
//! people want in an alert's `error_message`. The store's answers tell the same exceptions as JSON.
//!
//! Source: `MonitorRunResult.kt`, `TriggerRunResult.kt`, `AlertError.kt` of common-utils,
//! `OpenSearchException.java`; seen on 3.4.0.

use serde_json::{Map, Value, json};

use crate::opensearch::Error;

/// An exception, with those that caused it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// As the store tells it: `type`, `reason`, `caused_by`, and of a script `script_stack`, `script`,
    /// `lang`, `position`.
    told: Value,
    /// Where the store told nothing.
    unanswered: Option<Error>,
}

/// How many lines of a script's stack an alert keeps.
const MOST_LINES: usize = 100;

impl Fault {
    /// Of Java's own class, such as `illegal_state_exception`, which people see by its message alone.
    #[must_use]
    pub fn java(kind: &str, message: impl Into<String>) -> Self {
        Self::of(json!({"type": kind, "reason": message.into()}))
    }

    fn of(told: Value) -> Self {
        Self { told, unanswered: None }
    }

    /// Of an answer that is not 2xx.
    #[must_use]
    pub fn answered(status: u16, body: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        match answer.get("error") {
            Some(told @ Value::Object(_)) => Self::of(told.clone()),
            _ => Self::unanswered(&Error::refused(status, body)),
        }
    }

    /// Of a call that brought no answer.
    #[must_use]
    pub fn unanswered(error: &Error) -> Self {
        let fault = Self::java("io_exception", error.to_string());
        Self { unanswered: Some(error.clone()), ..fault }
    }

    /// The error of a search that is no finding about a monitor: the store gave no answer, or cannot read
    /// the search, for which the plugin refuses the monitor.
    #[must_use]
    pub fn refused(&self) -> Option<Error> {
        let status = match self.kind() {
            "parsing_exception" => Some(500),
            "x_content_parse_exception"
            | "named_object_not_found_exception"
            | "json_parse_exception"
            | "illegal_argument_exception" => Some(400),
            _ => None,
        };
        let unreadable = status.map(|status| Error::Status { status, reason: self.message() });
        self.unanswered.clone().or(unreadable)
    }

    /// What the store tells, to be mended where we asked in other words than the plugin.
    pub fn told_mut(&mut self) -> &mut Value {
        &mut self.told
    }

    /// What the store tells.
    #[must_use]
    pub fn told(&self) -> &Value {
        &self.told
    }

    /// The kind of exception, such as `script_exception`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.told["type"].as_str().unwrap_or_default()
    }

    fn is_script(&self) -> bool {
        self.kind() == "script_exception"
    }

    /// Its message, as reports have it.
    #[must_use]
    pub fn message(&self) -> String {
        self.told["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// As the report of a query-level trigger has it: of a script, all that is known.
    #[must_use]
    pub fn of_trigger(&self) -> String {
        if !self.is_script() {
            return self.message();
        }
        let mut whole = self.told.clone();
        whole.as_object_mut().map(|told| told.remove("root_cause"));
        serde_json::to_string_pretty(&whole).unwrap_or_default()
    }

    /// As `{{ctx.error}}` prints it.
    #[must_use]
    pub fn printed(&self) -> String {
        let index =
            self.told["index"].as_str().map(|name| format!("[{name}] ")).unwrap_or_default();
        let chain = self.chain();
        let [(name, message)] = chain.as_slice() else {
            let links = chain.iter().map(|(name, message)| {
                message
                    .as_ref()
                    .map_or_else(|| format!("{name};"), |text| format!("{name}[{text}];"))
            });
            return format!("{index}{}", links.collect::<Vec<_>>().join(" nested: "));
        };
        let message = message.as_deref().unwrap_or("null");
        if self.is_of_java() {
            return format!("{}: {message}", java_name(self.kind(), name));
        }
        format!("{index}{name}[{message}]")
    }

    /// As people see it in an alert.
    #[must_use]
    pub fn for_people(&self) -> String {
        if self.is_script() {
            let lines = self.told["script_stack"].as_array().into_iter().flatten();
            let lines: Vec<_> = lines.filter_map(Value::as_str).collect();
            if lines.len() <= MOST_LINES {
                return lines.join("\n");
            }
            return format!("{}\n...", lines[..MOST_LINES].join("\n"));
        }
        if self.is_of_java() {
            return self.message();
        }
        self.detailed()
    }

    fn detailed(&self) -> String {
        let Some(cause) = self.cause() else { return self.printed() };
        let rest = if cause.is_of_java() { cause.printed() } else { cause.detailed() };
        format!("{}; {rest}", self.printed())
    }

    fn cause(&self) -> Option<Self> {
        let told = self.told.get("caused_by").filter(|cause| cause.is_object())?.clone();
        Some(Self::of(told))
    }

    fn chain(&self) -> Vec<(String, Option<String>)> {
        let mut chain = Vec::new();
        let mut at = Some(&self.told);
        while let Some(told) = at.filter(|told| told.is_object()) {
            let kind = told["type"].as_str().unwrap_or("exception");
            chain.push((class(kind), told["reason"].as_str().map(str::to_owned)));
            at = told.get("caused_by");
        }
        chain
    }

    /// Whether it is none of the store's exceptions, which know more than a message.
    fn is_of_java(&self) -> bool {
        const JAVA: [&str; 9] = [
            "arithmetic_exception",
            "class_cast_exception",
            "illegal_argument_exception",
            "illegal_state_exception",
            "index_out_of_bounds_exception",
            "io_exception",
            "null_pointer_exception",
            "number_format_exception",
            "runtime_exception",
        ];
        JAVA.contains(&self.kind())
    }
}

/// The class of a kind: the store writes `ScriptException` as `script_exception`, and leaves its own
/// name out.
fn class(kind: &str) -> String {
    if kind == "exception" {
        return "OpenSearchException".to_owned();
    }
    let mut name = String::with_capacity(kind.len());
    for word in kind.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn java_name(kind: &str, class: &str) -> String {
    let package = if kind == "io_exception" { "java.io" } else { "java.lang" };
    format!("{package}.{}", if kind == "io_exception" { "IOException" } else { class })
}

/// What an alert keeps of what went wrong with it: `Failed …:`, a line break, and the fault without
/// addresses.
#[must_use]
pub fn of_alert(failed: &str, fault: &Fault) -> String {
    without_addresses(&format!("{failed}:\n{}", fault.for_people()))
}

/// Four numbers of up to three digits with dots between them become `x.x.x.x`.
fn without_addresses(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(letter) = text[at..].chars().next() {
        if let Some(length) = address(&bytes[at..]) {
            masked.push_str("x.x.x.x");
            at += length;
        } else {
            masked.push(letter);
            at += letter.len_utf8();
        }
    }
    masked
}

/// The length of the address that the text begins with.
fn address(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            at += usize::from(*bytes.get(at)? == b'.');
            if bytes[at - 1] != b'.' {
                return None;
            }
        }
        let digits = bytes[at..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        at += digits;
    }
    Some(at)
}

/// A script's exception without a stack, as for what the engine here finds out by itself.
#[must_use]
pub fn of_script(reason: &str, source: &str, (kind, message): (&str, &str)) -> Fault {
    let mut told = Map::new();
    told.insert("type".to_owned(), json!("script_exception"));
    told.insert("reason".to_owned(), json!(reason));
    told.insert("script_stack".to_owned(), json!([source]));
    told.insert("script".to_owned(), json!(source));
    told.insert("lang".to_owned(), json!("painless"));
    told.insert("caused_by".to_owned(), json!({"type": kind, "reason": message}));
    Fault::of(told.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(told: &Value) -> Fault {
        Fault::answered(400, json!({"error": told, "status": 400}).to_string().as_bytes())
    }

    #[test]
    fn each_is_shown_in_the_words_of_the_plugin() {
        let script = json!({"type": "script_exception", "reason": "runtime error",
            "script_stack": ["a.b", " ^---- HERE"], "script": "a.b", "lang": "painless",
            "root_cause": [], "caused_by": {"type": "null_pointer_exception", "reason": "it is null"}});
        let index = json!({"type": "index_not_found_exception", "reason": "no such index [x]", "index": "x"});
        let lexer = json!({"type": "script_exception", "reason": "compile error", "script_stack": [],
            "caused_by": {"type": "illegal_argument_exception", "reason": "bad",
                "caused_by": {"type": "lexer_no_viable_alt_exception", "reason": null}}});
        for (told, message, printed, people) in [
            (
                script,
                "runtime error",
                "ScriptException[runtime error]; nested: NullPointerException[it is null];",
                "a.b\n ^---- HERE",
            ),
            (
                index,
                "no such index [x]",
                "[x] IndexNotFoundException[no such index [x]]",
                "[x] IndexNotFoundException[no such index [x]]",
            ),
            (
                lexer,
                "compile error",
                "ScriptException[compile error]; nested: IllegalArgumentException[bad]; nested: LexerNoViableAltException;",
                "",
            ),
            (
                json!({"type": "illegal_state_exception", "reason": "no"}),
                "no",
                "java.lang.IllegalStateException: no",
                "no",
            ),
        ] {
            let fault = fault(&told);
            assert_eq!(fault.message(), message);
            assert_eq!(fault.printed(), printed);
            assert_eq!(fault.for_people(), people);
        }
    }

    #[test]
    fn the_report_of_a_trigger_has_all_of_a_script_and_the_message_of_others() {
        let script =
            json!({"type": "script_exception", "reason": "runtime error", "root_cause": [1]});
        let told: Value = serde_json::from_str(&fault(&script).of_trigger()).unwrap();
        assert_eq!(told, json!({"type": "script_exception", "reason": "runtime error"}));
        assert_eq!(Fault::java("illegal_state_exception", "no").of_trigger(), "no");
    }

    #[test]
    fn a_search_that_cannot_be_read_is_refused_as_by_the_plugin() {
        for (kind, want) in [
            ("parsing_exception", Some(500)),
            ("x_content_parse_exception", Some(400)),
            ("search_phase_execution_exception", None),
            ("index_not_found_exception", None),
        ] {
            let refused = fault(&json!({"type": kind, "reason": "no"})).refused();
            assert_eq!(refused.and_then(|error| error.status()), want, "{kind}");
        }
        let away = Error::Unreachable("refused".to_owned());
        assert!(matches!(Fault::unanswered(&away).refused(), Some(Error::Unreachable(_))));
    }

    #[test]
    fn an_answer_that_is_no_json_is_told_as_it_is() {
        let fault = Fault::answered(502, b"bad gateway");
        assert_eq!(fault.message(), "the store answered 502: bad gateway");
    }

    #[test]
    fn addresses_are_masked_in_alerts() {
        for (text, want) in [
            ("at 10.0.0.1:9200 and 1.2.3", "at x.x.x.x:9200 and 1.2.3"),
            ("1.2.3.4.5", "x.x.x.x.5"),
            ("ü 192.168.100.200", "ü x.x.x.x"),
            ("1..2.3.4", "1..2.3.4"),
            ("", ""),
        ] {
            assert_eq!(without_addresses(text), want);
        }
    }
}
