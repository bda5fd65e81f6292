//! JSON that a template made by hand → JSON, and what was repaired.
//!
//! One pass over the text, without recursion: the work grows with the length of the body alone,
//! and the text is at most six times as long as the body. A body either becomes a complete
//! document or stays as it was: what is cut off, what is two documents, and what never was JSON
//! is left for the parser to refuse. No bracket is ever added, and single quotes, comments and
//! missing commas are not repaired, since more than one reading would be left.

use std::{borrow::Cow, char, ops::Range};

use serde_json::Number;

/// A body after its repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired<'a> {
    /// The text to parse; borrowed when nothing had to be changed.
    pub text: Cow<'a, str>,
    /// What was repaired: each kind once, in the order of its first place.
    pub repairs: Vec<Repair>,
}

impl Repaired<'_> {
    /// Whether nothing was repaired that leaves a doubt about the content.
    #[must_use]
    pub fn is_cosmetic(&self) -> bool {
        self.repairs.iter().all(|repair| repair.is_cosmetic())
    }
}

/// One kind of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// A byte order mark stood before the text.
    ByteOrderMark,
    /// The text was UTF-16, as its byte order mark said.
    Utf16,
    /// The bytes were not UTF-8; each was read as a Latin-1 character.
    Latin1,
    /// A comma had nothing to separate.
    TrailingComma,
    /// Nothing stood where a value belongs; it became `null`.
    MissingValue,
    /// A word without quotes stood where a value belongs.
    UnquotedWord,
    /// JSON stood between quotes, as `"{{#toJson}}x{{/toJson}}"` makes it; the quotes went.
    QuotedJson,
    /// A quote inside a string was not escaped.
    InnerQuote,
    /// A raw control character stood inside a string.
    ControlCharacter,
    /// A backslash inside a string began no escape that JSON knows.
    BadEscape,
    /// Half of a surrogate pair, which is no character; it became U+FFFD.
    LoneSurrogate,
}

impl Repair {
    /// The name of the repair, for logs and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte-order-mark",
            Self::Utf16 => "utf-16",
            Self::Latin1 => "latin-1",
            Self::TrailingComma => "trailing-comma",
            Self::MissingValue => "missing-value",
            Self::UnquotedWord => "unquoted-word",
            Self::QuotedJson => "quoted-json",
            Self::InnerQuote => "inner-quote",
            Self::ControlCharacter => "control-character",
            Self::BadEscape => "bad-escape",
            Self::LoneSurrogate => "lone-surrogate",
        }
    }

    /// Whether the repair leaves no doubt about the content, so that it is not worth a tag.
    #[must_use]
    pub fn is_cosmetic(self) -> bool {
        matches!(self, Self::ByteOrderMark | Self::Utf16)
    }
}

/// Repairs a body that the parser refused; one that is valid comes back as it is.
#[must_use]
pub fn repair(body: &[u8]) -> Repaired<'_> {
    let mut repairs = Vec::new();
    let text = decode(body, &mut repairs);
    let Some((mended, found)) = mend(&text) else {
        return Repaired { text, repairs };
    };
    for repair in found {
        note(&mut repairs, repair);
    }
    Repaired { text: Cow::Owned(mended), repairs }
}

/// A body's text, whatever its characters are written in.
#[must_use]
pub fn text(body: &[u8]) -> Cow<'_, str> {
    decode(body, &mut Vec::new())
}

fn note(repairs: &mut Vec<Repair>, repair: Repair) {
    if !repairs.contains(&repair) {
        repairs.push(repair);
    }
}

// === bytes → text ===

fn decode<'a>(body: &'a [u8], repairs: &mut Vec<Repair>) -> Cow<'a, str> {
    match body {
        [0xFF, 0xFE, units @ ..] => utf16(units, u16::from_le_bytes, repairs),
        [0xFE, 0xFF, units @ ..] => utf16(units, u16::from_be_bytes, repairs),
        [0xEF, 0xBB, 0xBF, text @ ..] => {
            note(repairs, Repair::ByteOrderMark);
            utf8_or_latin1(text, repairs)
        }
        text => utf8_or_latin1(text, repairs),
    }
}

fn utf8_or_latin1<'a>(bytes: &'a [u8], repairs: &mut Vec<Repair>) -> Cow<'a, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    note(repairs, Repair::Latin1);
    bytes.iter().copied().map(char::from).collect()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, repairs: &mut Vec<Repair>) -> Cow<'static, str> {
    note(repairs, Repair::Utf16);
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        text.push(character.unwrap_or_else(|_| {
            note(repairs, Repair::LoneSurrogate);
            char::REPLACEMENT_CHARACTER
        }));
    }
    if !odd.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    Cow::Owned(text)
}

// === text → JSON ===

/// Returns the repaired document, or nothing when it needs no repair or is beyond it.
fn mend(text: &str) -> Option<(String, Vec<Repair>)> {
    let mut mender = Mender::new(text);
    if !matches!(mender.byte(past_blanks(text, 0)), Some(b'{' | b'[')) {
        return None;
    }
    mender.document()?;
    (!mender.repairs.is_empty()).then(|| mender.finish())
}

/// What the grammar lets come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    Key,
    Colon,
    /// A comma, or the end of the container.
    Next,
    /// The document is complete.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// JSON between quotes that went: where the closing quote is, and how deep the value stands.
#[derive(Clone, Copy)]
struct Quoted {
    end: usize,
    depth: usize,
}

/// Walks through the text once. `None` from any step means: beyond repair.
struct Mender<'a> {
    text: &'a str,
    at: usize,
    expect: Expect,
    inside: Vec<Container>,
    /// The last comma, until a value or a key comes after it.
    comma: Option<usize>,
    quoted: Option<Quoted>,
    /// How many bytes may still be read in vain in search of the end of quoted JSON.
    patience: usize,
    /// The output so far; what comes from `copied` on is not in it yet.
    output: String,
    copied: usize,
    repairs: Vec<Repair>,
}

impl<'a> Mender<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            expect: Expect::Value,
            inside: Vec::new(),
            comma: None,
            quoted: None,
            patience: text.len(),
            output: String::new(),
            copied: 0,
            repairs: Vec::new(),
        }
    }

    fn finish(mut self) -> (String, Vec<Repair>) {
        self.output.push_str(&self.text[self.copied..]);
        (self.output, self.repairs)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Puts `new` in the place of `range`. Edits come in the order of the text.
    fn edit(&mut self, range: Range<usize>, new: &str, repair: Repair) {
        self.output.push_str(&self.text[self.copied..range.start]);
        self.output.push_str(new);
        self.copied = range.end;
        note(&mut self.repairs, repair);
    }

    fn document(&mut self) -> Option<()> {
        loop {
            self.at = past_blanks(self.text, self.at);
            if self.quoted.is_some_and(|quoted| self.at >= quoted.end) {
                self.leave_quotes()?;
                continue;
            }
            match self.byte(self.at) {
                Some(byte) => self.step(byte)?,
                None => return (self.expect == Expect::Nothing).then_some(()),
            }
        }
    }

    fn step(&mut self, byte: u8) -> Option<()> {
        match (self.expect, byte) {
            (Expect::Value, _) => self.value(byte),
            (Expect::Key, b'"') => {
                self.at = self.string(self.at + 1)? + 1;
                self.comma = None;
                self.expect = Expect::Colon;
                Some(())
            }
            (Expect::Key, b',') => {
                // Of two commas the first goes, so that edits stay in the order of the text.
                let needless = self.comma.unwrap_or(self.at);
                self.comma = self.comma.map(|_| self.at);
                self.edit(needless..needless + 1, "", Repair::TrailingComma);
                self.at += 1;
                Some(())
            }
            (Expect::Key, b'}') | (Expect::Next, b'}' | b']') => self.close(byte),
            (Expect::Colon, b':') => {
                self.at += 1;
                self.expect = Expect::Value;
                Some(())
            }
            (Expect::Next, b',') => self.separate(),
            _ => None,
        }
    }

    fn value(&mut self, byte: u8) -> Option<()> {
        match (byte, self.inside.last()) {
            (b'{', Some(_)) if self.byte(self.at + 1) == Some(b'{') => self.word(),
            (b'{', _) => {
                self.open(Container::Object, Expect::Key);
                Some(())
            }
            (b'[', _) => {
                self.open(Container::Array, Expect::Value);
                Some(())
            }
            (b'"', _) => self.quoted_value(),
            (b']', Some(Container::Array)) => self.close(byte),
            (b'}', Some(Container::Object)) => {
                self.edit(self.at..self.at, "null", Repair::MissingValue);
                self.close(byte)
            }
            (b',', _) => {
                self.edit(self.at..self.at, "null", Repair::MissingValue);
                self.separate()
            }
            _ => self.word(),
        }
    }

    fn open(&mut self, container: Container, expect: Expect) {
        self.inside.push(container);
        self.at += 1;
        self.comma = None;
        self.expect = expect;
    }

    fn close(&mut self, byte: u8) -> Option<()> {
        match (self.inside.pop()?, byte) {
            (Container::Object, b'}') | (Container::Array, b']') => {}
            _ => return None,
        }
        if let Some(comma) = self.comma {
            self.edit(comma..comma + 1, "", Repair::TrailingComma);
        }
        self.end_value(self.at + 1);
        Some(())
    }

    fn end_value(&mut self, end: usize) {
        self.at = end;
        self.comma = None;
        self.expect = if self.inside.is_empty() { Expect::Nothing } else { Expect::Next };
    }

    fn separate(&mut self) -> Option<()> {
        self.expect = match self.inside.last()? {
            Container::Object => Expect::Key,
            Container::Array => Expect::Value,
        };
        self.comma = Some(self.at);
        self.at += 1;
        Some(())
    }

    // === strings ===

    fn quoted_value(&mut self) -> Option<()> {
        if let Some((start, end)) = self.quoted_json() {
            self.edit(self.at..self.at + 1, "", Repair::QuotedJson);
            self.quoted = Some(Quoted { end, depth: self.inside.len() });
            self.at = start;
            return Some(());
        }
        let end = self.string(self.at + 1)?;
        self.end_value(end + 1);
        Some(())
    }

    /// Mends the string whose text begins at `at`, and returns where its closing quote is.
    fn string(&mut self, mut at: usize) -> Option<usize> {
        loop {
            at = match self.byte(at)? {
                b'"' if self.closes(at) => return Some(at),
                b'"' => {
                    self.edit(at..at, "\\", Repair::InnerQuote);
                    at + 1
                }
                b'\\' => self.escape(at),
                byte @ ..0x20 => self.escape_control(at, byte),
                _ => at + 1,
            };
        }
    }

    /// Whether the quote at `at` ends its string: what comes after it says so.
    fn closes(&self, at: usize) -> bool {
        let next = past_blanks(self.text, at + 1);
        match self.byte(next) {
            None | Some(b',' | b'}' | b']' | b':') => true,
            // A comma is missing at the end of a line; read on, and two lines become one string.
            Some(b'"') if self.text[at..next].contains(['\n', '\r']) => true,
            _ => self.quoted.is_some_and(|quoted| quoted.end == next),
        }
    }

    /// Mends the escape whose backslash is at `at`, and returns where to go on.
    fn escape(&mut self, at: usize) -> usize {
        match (self.byte(at + 1), self.code_unit(at)) {
            (_, Some(0xD800..0xDC00)) if matches!(self.code_unit(at + 6), Some(0xDC00..0xE000)) => {
                at + 12
            }
            (_, Some(0xD800..0xE000)) => {
                self.edit(at..at + 6, "\\ufffd", Repair::LoneSurrogate);
                at + 6
            }
            (_, Some(_)) => at + 6,
            (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => at + 2,
            _ => {
                self.edit(at..at, "\\", Repair::BadEscape);
                at + 1
            }
        }
    }

    fn escape_control(&mut self, at: usize, byte: u8) -> usize {
        let escape = if byte < 0x10 { "\\u000" } else { "\\u001" };
        self.edit(at..at + 1, escape, Repair::ControlCharacter);
        self.output.extend(char::from_digit(u32::from(byte & 0xF), 16));
        at + 1
    }

    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    }

    // === JSON between quotes ===

    /// Returns where the JSON between quotes begins, and where the quote after it is.
    fn quoted_json(&mut self) -> Option<(usize, usize)> {
        let start = past_blanks(self.text, self.at + 1);
        let inner = self.byte(past_blanks(self.text, start + 1))?;
        let looks_like_json = match self.byte(start)? {
            b'"' => start == self.at + 1,
            b'{' => inner == b'"',
            b'[' => matches!(inner, b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'),
            _ => false,
        };
        if !looks_like_json || self.quoted.is_some() || self.patience == 0 {
            return None;
        }
        // When the first quote can be its end, it is an ordinary string.
        if self.closes(self.string_end(self.at + 1)?) {
            return None;
        }
        match self.balanced_end(start) {
            Ok(end) => Some((start, end)),
            Err(stop) => {
                self.patience = self.patience.saturating_sub(stop - start);
                None
            }
        }
    }

    /// Returns where the quote after the JSON from `start` is, or how far it read in vain.
    fn balanced_end(&self, start: usize) -> Result<usize, usize> {
        let mut depth = 0_usize;
        let mut at = start;
        loop {
            match self.byte(at).ok_or(at)? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => at = self.string_end(at + 1).ok_or(self.text.len())?,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                let end = past_blanks(self.text, at);
                let is_end = self.byte(end) == Some(b'"') && self.closes(end);
                return if is_end { Ok(end) } else { Err(end) };
            }
        }
    }

    /// Returns where the first quote from `at` on is that is not escaped.
    fn string_end(&self, mut at: usize) -> Option<usize> {
        loop {
            at += match self.byte(at)? {
                b'"' => return Some(at),
                b'\\' => 2,
                _ => 1,
            };
        }
    }

    fn leave_quotes(&mut self) -> Option<()> {
        let Quoted { end, depth } = self.quoted.take()?;
        if self.at != end || self.expect != Expect::Next || self.inside.len() != depth {
            return None;
        }
        self.edit(end..end + 1, "", Repair::QuotedJson);
        self.at = end + 1;
        Some(())
    }

    // === words without quotes ===

    fn word(&mut self) -> Option<()> {
        let (start, end) = (self.at, self.word_end()?);
        match &self.text[start..end] {
            "true" | "false" | "null" => {}
            "True" | "TRUE" => self.edit(start..end, "true", Repair::UnquotedWord),
            "False" | "FALSE" => self.edit(start..end, "false", Repair::UnquotedWord),
            "None" | "Null" | "NULL" | "NaN" | "Infinity" | "-Infinity" | "undefined" => {
                self.edit(start..end, "null", Repair::UnquotedWord);
            }
            word if word.parse::<Number>().is_ok() => {}
            _ => self.quote(start, end),
        }
        self.end_value(end);
        Some(())
    }

    fn quote(&mut self, start: usize, end: usize) {
        self.edit(start..start, "\"", Repair::UnquotedWord);
        let mut at = start;
        while at < end {
            at = match self.text.as_bytes()[at] {
                b'\\' => self.escape(at),
                byte @ ..0x20 => self.escape_control(at, byte),
                _ => at + 1,
            };
        }
        self.edit(end..end, "\"", Repair::UnquotedWord);
    }

    /// Returns the end of the word at hand: before a comma, a closing bracket or the line's end.
    fn word_end(&self) -> Option<usize> {
        let mut at = self.at;
        loop {
            at = match self.byte(at)? {
                b',' | b'}' | b']' | b'\n' | b'\r' => break,
                b'{' if self.byte(at + 1) == Some(b'{') => self.mustache_end(at)?,
                b'\\' if matches!(self.byte(at + 1), Some(b'"' | b'\\')) => at + 2,
                b'\t' => at + 1,
                b'"' | b'{' | b'[' | ..0x20 => return None,
                _ => at + 1,
            };
        }
        let word = self.text[self.at..at].trim_end_matches([' ', '\t']);
        let is_other = word.is_empty()
            || word.starts_with(['\'', '`', ':'])
            || word.starts_with("//")
            || word.starts_with("/*")
            || word.contains(" //")
            || word.contains(" /*");
        (!is_other).then_some(self.at + word.len())
    }

    /// Returns where a tag ends that the template engine left in its place.
    fn mustache_end(&self, at: usize) -> Option<usize> {
        let rest = &self.text[at..];
        let close = if rest.starts_with("{{{") { "}}}" } else { "}}" };
        let length = rest.find(close)?;
        let is_tag = !rest[..length].contains(|tag: char| tag == '"' || tag.is_control());
        is_tag.then_some(at + length + close.len())
    }
}

fn past_blanks(text: &str, mut at: usize) -> usize {
    while matches!(text.as_bytes().get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::{Map, Value, json};

    use super::{Repair::*, *};

    fn parse(text: &str) -> serde_json::Result<Value> {
        serde_json::from_str(text)
    }

    /// Checks bodies against the JSON that they mean and the repairs that it takes.
    fn check(table: &[(&str, &str, &[Repair])]) {
        for (body, want, repairs) in table {
            let repaired = repair(body.as_bytes());
            let text = &repaired.text;
            let value = parse(text).unwrap_or_else(|fault| panic!("{body} → {text}: {fault}"));
            assert_eq!(value, parse(want).unwrap(), "{body} → {text}");
            assert_eq!(repaired.repairs, *repairs, "{body}");
        }
    }

    #[test]
    fn commas_with_nothing_to_separate_go_and_missing_values_are_null() {
        check(&[
            ("[1,2,]", "[1,2]", &[TrailingComma]),
            ("{\"a\":[{},\n ],\"b\":{\"c\":0 , },}", r#"{"a":[{}],"b":{"c":0}}"#, &[TrailingComma]),
            (r#"{,"a":1,,"b":2,,,}"#, r#"{"a":1,"b":2}"#, &[TrailingComma]),
            ("{,}", "{}", &[TrailingComma]),
            ("[,]", "[null]", &[MissingValue, TrailingComma]),
            ("[1,,2]", "[1,null,2]", &[MissingValue]),
            (r#"{"a":,"b": }"#, r#"{"a":null,"b":null}"#, &[MissingValue]),
        ]);
    }

    #[test]
    fn a_word_where_a_value_belongs_is_a_string_or_the_literal_it_stands_for() {
        check(&[
            (r#"{"severity": high,"x":1}"#, r#"{"severity":"high","x":1}"#, &[UnquotedWord]),
            ("[True,False,TRUE,FALSE,true]", "[true,false,true,false,true]", &[UnquotedWord]),
            ("[None,Null,NaN,-Infinity,undefined]", "[null,null,null,null,null]", &[UnquotedWord]),
            ("[none , nan]", r#"["none","nan"]"#, &[UnquotedWord]),
            (
                "{\"a\": 2026-11-05T01:00:00.500Z,\n\"b\": Rare user-agent \t\r\n}",
                r#"{"a":"2026-11-05T01:00:00.500Z","b":"Rare user-agent"}"#,
                &[UnquotedWord],
            ),
            (
                "[10.0.0.1, 007, 1e999, .5, -, http://x/y, 0/5 * * * *]",
                r#"["10.0.0.1","007","1e999",".5","-","http://x/y","0/5 * * * *"]"#,
                &[UnquotedWord],
            ),
            (
                r#"[say \"hi\", C:\Users, \\srv]"#,
                r#"["say \"hi\"","C:\\Users","\\srv"]"#,
                &[UnquotedWord, BadEscape],
            ),
            ("[a\tb, Ü 日本]", r#"["a\tb","Ü 日本"]"#, &[UnquotedWord, ControlCharacter]),
            (
                r#"{"a":{{ctx.x}},"b":{{{ctx.y}}},"c":[{{#f}}x, y{{/f}}],"d":{{f a,b}} z,"e":{{e}}}"#,
                r#"{"a":"{{ctx.x}}","b":"{{{ctx.y}}}","c":["{{#f}}x","y{{/f}}"],"d":"{{f a,b}} z","e":"{{e}}"}"#,
                &[UnquotedWord],
            ),
        ]);
    }

    #[test]
    fn json_between_quotes_loses_the_quotes() {
        check(&[
            (
                r#"{"body": "{"a":1,"b":"c"}", "x": 1}"#,
                r#"{"body":{"a":1,"b":"c"},"x":1}"#,
                &[QuotedJson],
            ),
            (r#"{"body":"[{"x":1}]"}"#, r#"{"body":[{"x":1}]}"#, &[QuotedJson]),
            (r#"["["a","]\"","{"]"]"#, r#"[["a","]\"","{"]]"#, &[QuotedJson]),
            ("[\" { \"a\" : [ ] }\n\"\n]", r#"[{"a":[]}]"#, &[QuotedJson]),
            (
                r#"{"a":"{"b":{"c":"{\"d\":0}"}}"}"#,
                r#"{"a":{"b":{"c":"{\"d\":0}"}}}"#,
                &[QuotedJson],
            ),
            (
                r#"{"name":""Rare "agents"","x":""}"#,
                r#"{"name":"\"Rare \"agents\"","x":""}"#,
                &[InnerQuote],
            ),
            (
                r#"{"name":""Rare agents"","x":""}"#,
                r#"{"name":"Rare agents","x":""}"#,
                &[QuotedJson],
            ),
            (r#"["{"a":"x","b":tr}",1]"#, r#"[{"a":"x","b":"tr"},1]"#, &[QuotedJson, UnquotedWord]),
            (
                "[\"{\"a\":\"\n\\ud800\"}\",]",
                r#"[{"a":"\n\ufffd"}]"#,
                &[QuotedJson, ControlCharacter, LoneSurrogate, TrailingComma],
            ),
        ]);
    }

    #[test]
    fn what_may_be_a_string_is_one_whatever_its_brackets() {
        check(&[
            (
                r#"["{","[","{}","[1]","[true]","\"",",]",]"#,
                r#"["{","[","{}","[1]","[true]","\"",",]"]"#,
                &[TrailingComma],
            ),
            (r#"["[prod] "web" is down"]"#, r#"["[prod] \"web\" is down"]"#, &[InnerQuote]),
            (r#"["[1] "web" is down"]"#, r#"["[1] \"web\" is down"]"#, &[InnerQuote]),
            (r#"["{"a" b"]"#, r#"["{\"a\" b"]"#, &[InnerQuote]),
        ]);
    }

    #[test]
    fn the_text_of_a_string_is_escaped() {
        check(&[
            (r#"{"a":"the "x" of "y""}"#, r#"{"a":"the \"x\" of \"y\""}"#, &[InnerQuote]),
            (r#"{"the "key"":1}"#, r#"{"the \"key\"":1}"#, &[InnerQuote]),
            (
                "[\"\0\u{1}\u{8}\t\n\r\u{1f}\"]",
                r#"["\u0000\u0001\b\t\n\r\u001f"]"#,
                &[ControlCharacter],
            ),
            (
                r#"["\x41\'\ \u12g4\U\\\n\/\u00E9"]"#,
                r#"["\\x41\\'\\ \\u12g4\\U\\\n\/é"]"#,
                &[BadEscape],
            ),
            ("[\"a\\\nb\"]", r#"["a\\\nb"]"#, &[BadEscape, ControlCharacter]),
            (
                r#"["\ud83d","\ude00\ud83d","\ud83d\ud83d\ude00","\ud83d\u0041"]"#,
                r#"["\ufffd","\ufffd\ufffd","\ufffd😀","\ufffdA"]"#,
                &[LoneSurrogate],
            ),
        ]);
    }

    #[test]
    fn other_encodings_are_read() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
        };
        let table: [(Vec<u8>, Value, &[Repair], bool); 8] = [
            (b"\xEF\xBB\xBF [\"\xC3\xA9\"]".into(), json!(["é"]), &[ByteOrderMark], true),
            (b"\xEF\xBB\xBF[1,]".into(), json!([1]), &[ByteOrderMark, TrailingComma], false),
            (b"[\"caf\xE9\"]".into(), json!(["café"]), &[Latin1], false),
            (
                b"\xEF\xBB\xBF[\"\xC3\xA9\xE9\"]".into(),
                json!(["Ã©é"]),
                &[ByteOrderMark, Latin1],
                false,
            ),
            (utf16("{\"a\":\"é😀\"}", u16::to_le_bytes), json!({"a": "é😀"}), &[Utf16], true),
            (utf16("{\"a\":\"é😀\"}", u16::to_be_bytes), json!({"a": "é😀"}), &[Utf16], true),
            (
                b"\xFE\xFF\0[\0\"\xD8\0\0\"\0]".into(),
                json!(["\u{fffd}"]),
                &[Utf16, LoneSurrogate],
                false,
            ),
            (b"[1]".into(), json!([1]), &[], true),
        ];
        for (body, want, repairs, cosmetic) in table {
            let repaired = repair(&body);
            assert_eq!(parse(&repaired.text).unwrap(), want, "{body:?}");
            assert_eq!(repaired.repairs, repairs, "{body:?}");
            assert_eq!(repaired.is_cosmetic(), cosmetic, "{body:?}");
        }
    }

    #[test]
    fn what_is_beyond_repair_stays_as_it_was() {
        let bodies = [
            "",
            " ",
            "high",
            "12",
            "\"a\",",
            "<!DOCTYPE html>\n<p>[1,]</p>",
            "a=1&b=[,]",
            "null,",
            // Cut off, closed twice, closed wrongly, or more than one document.
            "{",
            "[1,",
            "[1,2",
            "[tru",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"b",
            "{\"a\":\"b\",",
            "{\"a\":\"b\\",
            "[\"{\"a\":1}\"",
            "[,]]",
            "[1,}",
            "{\"a\":,]",
            "[1,]\n[2,]",
            "{\"a\":x}{\"a\":x}",
            "[1,],",
            "[x] log line",
            // More than one reading.
            "['a']",
            "[`a`]",
            "[// a\n1]",
            "[1, /* a */ 2,]",
            "[x // a\n]",
            "{a:1}",
            "{\"a\" 1,}",
            "{\"a\",}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":\"x\"\n\"b\":1,}",
            "[\"a\"\n\"b\",]",
            "{\"hits\": 1,000}",
            "{\"a\": b\", \"c\": 1}",
            "{\"a\":: 1}",
            "[a{b}]",
            "[a[0]]",
            "{{x}}",
            "{{#list}}{},{{/list}}",
            "[{{x]",
            "[{{x\n}}]",
            "[\u{1}]",
            "{\"a\":\"said \"yes\", then left\"}",
            "[\"[1,\"a\"]]\"]",
        ];
        for body in bodies {
            let repaired = repair(body.as_bytes());
            assert_eq!(repaired, Repaired { text: Cow::Borrowed(body), repairs: vec![] }, "{body}");
            assert!(!matches!(parse(body), Ok(Value::Array(_) | Value::Object(_))), "{body}");
        }
    }

    #[test]
    fn every_repair_has_a_name_of_its_own() {
        let all = [
            ByteOrderMark,
            Utf16,
            Latin1,
            TrailingComma,
            MissingValue,
            UnquotedWord,
            QuotedJson,
            InnerQuote,
            ControlCharacter,
            BadEscape,
            LoneSurrogate,
        ];
        let names: std::collections::BTreeSet<_> =
            all.iter().map(|repair| repair.as_str()).collect();
        assert_eq!(names.len(), all.len());
    }

    /// Would run for minutes if a step took time in proportion to what is before or after it.
    #[test]
    fn long_and_deep_bodies_take_linear_time_and_room() {
        let pieces = concat!(
            r#"[¦{"a":¦"[1,¦"["x¦"["a" ¦"{"a":"[¦""a¦" ¦\¦\"¦,¦[,¦["[["x"],¦x ¦{{¦{{x}}¦é¦"[""¦ ¦"#,
            "\0¦\n¦",
            r#""["x",¦\u\ud83d"#
        );
        for piece in pieces.split('¦') {
            for (start, end) in ["[", "{\"a\":", "[\"", "[\"[\""]
                .iter()
                .flat_map(|start| ["", "\"]"].map(|end| (start, end)))
            {
                let body = format!("{start}{}{end}", piece.repeat((1 << 18) / piece.len()));
                assert!(repair(body.as_bytes()).text.len() <= 6 * body.len() + 8, "{piece}");
            }
        }
        let deep = format!("{}{}", "[".repeat(20_000), ",]".repeat(20_000));
        let want = format!("{}null{}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(repair(deep.as_bytes()).text, want);
    }

    /// What the repair looks at, in any order.
    fn soup(
        length: impl Into<proptest::collection::SizeRange>,
    ) -> impl Strategy<Value = String> + Clone {
        let pieces = concat!(
            r#""¦"¦[¦]¦{¦}¦,¦:¦"a":¦\¦ ¦a¦1¦é¦{{¦}}¦/¦'¦\u¦\ud83d¦null¦"{"a":1}"¦"["¦"#,
            "\n¦\0"
        );
        let pieces: Vec<_> = pieces.split('¦').collect();
        vec(select(pieces), length).prop_map(|pieces| pieces.concat())
    }

    fn json_of(
        string: impl Strategy<Value = String> + Clone + 'static,
    ) -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            string.clone().prop_map(Value::from),
        ];
        let value = scalar.prop_recursive(5, 40, 6, move |value| {
            let object = vec((string.clone(), value.clone()), 0..6)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()));
            prop_oneof![vec(value, 0..6).prop_map(Value::from), object]
        });
        vec(value, 0..4).prop_map(Value::from)
    }

    fn quoting(text: &str) -> String {
        format!("a{}", text.replace('q', " \"q\""))
    }

    /// Writes `value` as a careless template does.
    fn by_hand(value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let items: String = items.iter().map(|item| by_hand(item) + ", ").collect();
                format!("[{items}]")
            }
            Value::Object(members) => {
                let member = |(key, value)| format!("\"{key}\": {},\n", by_hand(value));
                format!("{{{}}}", members.iter().map(member).collect::<String>())
            }
            Value::String(text) if text.starts_with('w') => text.clone(),
            Value::String(text) if text.starts_with('q') => format!("\"{}\"", quoting(text)),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    /// The value that [`by_hand`] wrote.
    fn meant(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(meant).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), meant(value))).collect()
            }
            Value::String(text) if text.starts_with('q') => quoting(text).into(),
            other => other.clone(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn valid_json_stays_as_it_is(value in json_of(soup(0..8))) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let same = Repaired { text: Cow::Borrowed(text.as_str()), repairs: vec![] };
                prop_assert_eq!(repair(text.as_bytes()), same);
            }
        }

        #[test]
        fn a_document_cut_off_or_followed_by_another_stays_unreadable(
            value in json_of(soup(0..8)),
            cut in any::<proptest::sample::Index>(),
        ) {
            let text = value.to_string();
            let cut = &text.as_bytes()[..cut.index(text.len())];
            prop_assert!(parse(&repair(cut).text).is_err());
            let two = format!("{text}\n{text}");
            prop_assert!(parse(&repair(two.as_bytes()).text).is_err());
        }

        #[test]
        fn what_is_repaired_is_readable_and_needs_no_other_repair(
            body in soup(0..24),
            wrap in select(&["?", "[?]", "{\"a\":?}", "[\"?\"]", "[{\"a\":\"?\",},]"][..]),
        ) {
            let body = wrap.replace('?', &body);
            let Repaired { text, repairs } = repair(body.as_bytes());
            prop_assert!(text.len() <= 6 * body.len() + 8);
            if repairs.is_empty() {
                prop_assert_eq!(&text, &body);
            } else {
                prop_assert!(parse(&text).is_ok(), "{} → {}", body, text);
                prop_assert_eq!(repair(text.as_bytes()).repairs, vec![]);
            }
        }

        #[test]
        fn any_bytes_are_taken(
            start in select(&["", "[", "[\"", "{\"a\":", "\u{feff}["][..]),
            bytes: Vec<u8>,
            mark in select(vec![vec![], vec![0xFF, 0xFE], vec![0xFE, 0xFF]]),
        ) {
            let body = [&mark, start.as_bytes(), &bytes].concat();
            prop_assert!(repair(&body).text.len() <= 6 * body.len() + 8);
        }

        #[test]
        fn what_is_written_by_hand_is_read_as_it_was_meant(value in json_of("[a-zéqw][a-z0-9éq.-]{0,6}".boxed())) {
            let text = by_hand(&value);
            let repaired = repair(text.as_bytes()).text;
            prop_assert_eq!(parse(&repaired).unwrap(), meant(&parse(&value.to_string()).unwrap()), "{}", text);
        }

        #[test]
        fn json_between_quotes_is_read_as_json(value in json_of("[a-zé]{1,6}".boxed())) {
            let text = value.to_string();
            let body = format!("{{\"body\": \"{text}\", \"x\": [\"{text}\"]}}");
            let want = if text.contains('"') { parse(&text).unwrap() } else { Value::from(text) };
            let repaired = repair(body.as_bytes()).text;
            prop_assert_eq!(parse(&repaired).unwrap(), json!({"body": want, "x": [want]}), "{}", body);
        }
    }
}
