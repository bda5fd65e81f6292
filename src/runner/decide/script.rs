//! The script of a query-level trigger, as `_scripts/painless/_execute` runs it. Pure.
//!
//! The plugin has a context of its own, in which `ctx` is an object and what comes out is a boolean. The
//! store without it has a context whose parameters are a map and whose outcome is printed. So one line
//! that is always the same makes `ctx`, and all data are parameters: the store compiles a script once.
//!
//! Source: `TriggerScript.kt`, `org.opensearch.alerting.txt` (what a script may ask of `ctx`) of
//! Alerting, `PainlessExecuteAction.java`; seen on 3.4.0.

use serde_json::{Value, json};

use super::{
    fault::{self, Fault},
    shape::text,
};

/// Makes `ctx`: its times are instants and its error an exception, as in the plugin.
const PRELUDE: &str = "def ctx = new HashMap(params.ctx); \
    ctx.periodStart = Instant.ofEpochMilli(params.ctx.periodStart); \
    ctx.periodEnd = Instant.ofEpochMilli(params.ctx.periodEnd); \
    if (params.ctx.error != null) { ctx.error = new Exception(params.ctx.error); } ";
/// How much of a script the store shows at each side of what it cannot compile.
const AROUND: usize = 25;

/// A script with its `ctx`.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    source: &'a str,
    /// Where the user's functions end: nothing may stand before them.
    functions: usize,
}

impl<'a> Script<'a> {
    /// Of the trigger's source.
    #[must_use]
    pub fn of(source: &'a str) -> Self {
        Self { source, functions: functions(source) }
    }

    /// What is asked: `ctx` and the parameters that the trigger has itself.
    #[must_use]
    pub fn request(&self, own: &Value, ctx: Value) -> Value {
        let (functions, body) = self.source.split_at(self.functions);
        let mut params = own.as_object().cloned().unwrap_or_default();
        params.insert("ctx".to_owned(), ctx);
        json!({"script": {
            "source": format!("{functions}{PRELUDE}{body}"), "lang": "painless", "params": params}})
    }

    /// What the printed outcome means.
    ///
    /// # Errors
    /// A [`Fault`]: what came out is no boolean, which the plugin would have refused.
    pub fn verdict(&self, printed: &str) -> Result<bool, Fault> {
        match printed {
            "true" => Ok(true),
            "false" => Ok(false),
            // A script that ends without a result has the result of its type, which here is null.
            "null" if self.source.trim_end().ends_with(['}', ';']) && !self.returns_last() => {
                Ok(false)
            }
            "null" => Err(self.unfit(
                "null_pointer_exception",
                "Cannot invoke \"Object.getClass()\" because \"value\" is null",
            )),
            other => Err(self.unfit(
                "class_cast_exception",
                &format!("cannot cast def [{}] to boolean", type_of(other)),
            )),
        }
    }

    /// Whether its last statement is a `return`.
    fn returns_last(&self) -> bool {
        let statements = self.source.trim_end().trim_end_matches(';');
        let last = statements.rsplit([';', '}', '{']).next().unwrap_or_default().trim_start();
        last.starts_with("return")
    }

    fn unfit(&self, kind: &str, message: &str) -> Fault {
        fault::of_script("runtime error", self.source, (kind, message))
    }

    /// A fault in the user's own words: without our line, and with the places where they were. Of a
    /// search that failed there are no results, for which the plugin has a list of its own.
    #[must_use]
    pub fn mended(&self, mut fault: Fault, has_results: bool) -> Fault {
        let told = fault.told_mut();
        if told["type"] != "script_exception" {
            return fault;
        }
        let cause = told
            .get_mut("caused_by")
            .filter(|cause| cause["type"] == "index_out_of_bounds_exception");
        if let Some(cause) = cause.filter(|_| !has_results) {
            let why = text(cause, "reason").strip_prefix("Index ");
            let at = why.and_then(|why| why.strip_suffix(" out of bounds for length 0"));
            if let Some(at) = at {
                let why = format!("Empty list doesn't contain element at index {at}.");
                cause["reason"] = json!(why);
            }
        }
        // Java counts units of UTF-16.
        let source: Vec<u16> = self.source.encode_utf16().collect();
        let functions = self.source[..self.functions].encode_utf16().count();
        let place = |key: &str| {
            let at = usize::try_from(told["position"][key].as_u64()?).ok()?;
            let at = if at > functions { at.saturating_sub(PRELUDE.len()) } else { at };
            Some(at.min(source.len()))
        };
        let (offset, start, end) = (place("offset"), place("start"), place("end"));
        if let Some(offset) = offset.filter(|_| told["reason"] == "compile error") {
            let from = offset.saturating_sub(AROUND);
            let to = (offset + AROUND).min(source.len());
            let before = if from > 0 { "... " } else { "" };
            let after = if to < source.len() { " ..." } else { "" };
            let shown = String::from_utf16_lossy(&source[from..to]);
            let blanks = " ".repeat(before.len() + offset - from);
            told["script_stack"] =
                json!([format!("{before}{shown}{after}"), format!("{blanks}^---- HERE")]);
            told["position"] = json!({"offset": offset, "start": from, "end": to});
        } else if let (Some(offset), Some(start), Some(end)) = (offset, start, end) {
            told["position"] = json!({"offset": offset, "start": start, "end": end});
        }
        told["script"] = json!(self.source);
        if let Some(object) = told.as_object_mut() {
            object.remove("root_cause");
        }
        fault
    }
}

fn type_of(printed: &str) -> &'static str {
    if printed.parse::<i32>().is_ok() {
        "int"
    } else if printed.parse::<i64>().is_ok() {
        "long"
    } else if printed.parse::<f64>().is_ok() {
        "double"
    } else {
        "java.lang.Object"
    }
}

/// Where the functions end with which a script may begin: `type name(…) {…}`, one after the other.
fn functions(source: &str) -> usize {
    let mut end = 0;
    while let Some(length) = function(&source[end..]) {
        end += length;
    }
    end
}

/// The length of the function that the text begins with.
fn function(text: &str) -> Option<usize> {
    let mut rest = Rest { text, at: 0 };
    let kind = rest.name()?;
    if matches!(kind, "return" | "new" | "throw" | "else" | "do" | "try") {
        return None;
    }
    while rest.eat("[") {
        rest.eat("]").then_some(())?;
    }
    rest.name()?;
    rest.eat("(").then_some(())?;
    rest.until(')', '(')?;
    rest.eat("{").then_some(())?;
    rest.until('}', '{')?;
    Some(rest.at)
}

struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let left = self.left();
            let blanks = left.len() - left.trim_start().len();
            self.at += blanks;
            let comment = match self.left() {
                left if left.starts_with("//") => Some(left.find('\n').unwrap_or(left.len())),
                left if left.starts_with("/*") => {
                    Some(left.find("*/").map_or(left.len(), |at| at + 2))
                }
                _ => None,
            };
            match comment {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let is_next = self.left().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// A name, with dots within it.
    fn name(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let left = self.left();
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
        let length = left.find(|letter| !is_part(letter)).unwrap_or(left.len());
        let name = &left[..length];
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        self.at += length;
        Some(name)
    }

    /// Goes behind what closes, past texts, comments and what is opened and closed in between.
    fn until(&mut self, close: char, open: char) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            self.skip_blanks();
            let letter = self.left().chars().next()?;
            self.at += letter.len_utf8();
            if letter == '\'' || letter == '"' {
                self.text_until(letter)?;
            } else if letter == open {
                depth += 1;
            } else if letter == close {
                depth -= 1;
            }
        }
        Some(())
    }

    fn text_until(&mut self, quote: char) -> Option<()> {
        loop {
            let letter = self.left().chars().next()?;
            self.at += letter.len_utf8();
            if letter == '\\' {
                self.at += self.left().chars().next()?.len_utf8();
            } else if letter == quote {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_before_functions() {
        for (source, body) in [
            ("ctx.a > 1", "ctx.a > 1"),
            ("int x = 5; return x > 1", "int x = 5; return x > 1"),
            ("if (a) { return true }", "if (a) { return true }"),
            ("def f(def a) { return a } f(ctx)", " f(ctx)"),
            (
                "int f(int[] a, Map b) { if (a) { return 1 } return 2 }\nf(1, 2) > 1",
                "\nf(1, 2) > 1",
            ),
            ("// of x\nboolean f() { '}' != \"\\\"}\" /* } */ }\nint[] g() { null } true", " true"),
            ("return f(1)", "return f(1)"),
            ("new Foo()", "new Foo()"),
            ("def f(def a) { unclosed", "def f(def a) { unclosed"),
            ("", ""),
        ] {
            let script = Script::of(source);
            assert_eq!(&source[script.functions..], body);
            let request = script.request(&Value::Null, json!({}));
            let (before, after) =
                request["script"]["source"].as_str().unwrap().split_once(PRELUDE).unwrap();
            assert_eq!((format!("{before}{after}").as_str(), after), (source, body));
        }
    }

    #[test]
    fn its_own_parameters_go_with_ctx() {
        let request = Script::of("true").request(&json!({"t0": 1.5}), json!({"a": 1}));
        assert_eq!(request["script"]["params"], json!({"t0": 1.5, "ctx": {"a": 1}}));
    }

    #[test]
    fn only_a_boolean_decides() {
        for (source, printed, want) in [
            ("a > 1", "true", Ok(true)),
            ("a > 1", "false", Ok(false)),
            ("if (a) { return true }", "null", Ok(false)),
            ("def b = a;", "null", Ok(false)),
            ("return a;", "null", Err("null_pointer_exception")),
            ("if (b) { c } return a", "null", Err("null_pointer_exception")),
            ("a", "5", Err("class_cast_exception")),
            ("a", "text", Err("class_cast_exception")),
        ] {
            let verdict = Script::of(source).verdict(printed);
            let want = want.map_err(str::to_owned);
            let kind =
                |fault: Fault| fault.told()["caused_by"]["type"].as_str().unwrap().to_owned();
            assert_eq!(verdict.map_err(kind), want, "{source}: {printed}");
        }
    }

    #[test]
    fn a_fault_is_told_at_its_place_in_the_users_own_script() {
        let source = "ctx.results[0].foo..bar > 1";
        let script = Script::of(source);
        let told = json!({"error": {"type": "script_exception", "reason": "compile error",
            "script_stack": ["…"], "script": format!("{PRELUDE}{source}"), "root_cause": [],
            "position": {"offset": PRELUDE.len() + 19, "start": PRELUDE.len() - 6, "end": 27 + PRELUDE.len()}}});
        let fault = script.mended(Fault::answered(400, told.to_string().as_bytes()), true);
        assert_eq!(fault.told()["script_stack"], json!([source, "                   ^---- HERE"]));
        assert_eq!(fault.told()["position"], json!({"offset": 19, "start": 0, "end": 27}));
        assert_eq!(fault.told()["script"], source);

        let source = "def f() { return 1 } ctx.a.b > 1";
        let script = Script::of(source);
        let at = |at: usize| PRELUDE.len() + at;
        let told = json!({"error": {"type": "script_exception", "reason": "runtime error",
            "script_stack": ["ctx.a.b > 1", "     ^---- HERE"],
            "position": {"offset": at(26), "start": at(21), "end": at(32)}}});
        let fault = script.mended(Fault::answered(400, told.to_string().as_bytes()), true);
        assert_eq!(fault.told()["position"], json!({"offset": 26, "start": 21, "end": 32}));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_script(source in ".{0,60}", offset in 0_u64..400, end in 0_u64..400) {
            let script = Script::of(&source);
            let request = script.request(&Value::Null, json!({}));
            let whole = request["script"]["source"].as_str().unwrap();
            proptest::prop_assert_eq!(whole.replacen(PRELUDE, "", 1), source.as_str());
            for reason in ["compile error", "runtime error"] {
                let told = json!({"error": {"type": "script_exception", "reason": reason,
                    "position": {"offset": offset, "start": 0, "end": end}}});
                let fault = script.mended(Fault::answered(400, told.to_string().as_bytes()), true);
                proptest::prop_assert_eq!(&fault.told()["script"], source.as_str());
            }
        }
    }

    #[test]
    fn that_there_are_no_results_is_told_as_by_the_plugin() {
        let script = Script::of("ctx.results[0] == null");
        let told = json!({"error": {"type": "script_exception", "reason": "runtime error",
            "caused_by": {"type": "index_out_of_bounds_exception",
                "reason": "Index 0 out of bounds for length 0"}}});
        for (has_results, want) in [
            (false, "Empty list doesn't contain element at index 0."),
            (true, "Index 0 out of bounds for length 0"),
        ] {
            let fault = Fault::answered(400, told.to_string().as_bytes());
            let fault = script.mended(fault, has_results);
            assert_eq!(fault.told()["caused_by"]["reason"], want);
        }
    }
}
