//! Takes a JMTE template apart, character by character as JMTE itself does. Pure.
//!
//! Source: `Util.java`, `MiniParser.java` and `Lexer.java` of JMTE 7, whose ways with backslashes
//! and quotes are kept.

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is printed.
    Text(String),
    /// What stands between `${` and `}`.
    Expression {
        /// As it is written.
        text: String,
        /// The line where it begins, from 1.
        line: usize,
    },
}

/// The pieces of `template`.
///
/// # Errors
/// The line of a `${` that is not closed.
pub fn pieces(template: &str) -> Result<Vec<Piece>, usize> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(start) = unescaped(template, "${", at) {
        let line = line_of(template, start);
        let end = unescaped(template, "}", start + 2).ok_or(line)?;
        push_text(&mut pieces, &template[at..start]);
        pieces.push(Piece::Expression { text: template[start + 2..end].to_owned(), line });
        at = end + 1;
    }
    push_text(&mut pieces, &template[at..]);
    Ok(pieces)
}

/// Whether there is an expression in `template` at all.
pub fn has_expression(template: &str) -> bool {
    unescaped(template, "${", 0).is_some()
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(unescape(text)));
    }
}

fn line_of(template: &str, at: usize) -> usize {
    1 + template[..at].matches('\n').count()
}

/// Where `what` stands next without a backslash before it; a backslash after a backslash is none.
fn unescaped(text: &str, what: &str, mut from: usize) -> Option<usize> {
    loop {
        let at = from + text.get(from..)?.find(what)?;
        let before = &text.as_bytes()[..at];
        let is_escaped = before.ends_with(b"\\") && !before.ends_with(b"\\\\");
        if !is_escaped {
            return Some(at);
        }
        from = at + what.len();
    }
}

/// How a character is taken over.
#[derive(Clone, Copy)]
struct Mode {
    quotes: bool,
    raw: bool,
}

/// Backslashes go, quotes stay.
const UNESCAPE: Mode = Mode { quotes: false, raw: false };
/// Both go.
const PLAIN: Mode = Mode { quotes: true, raw: false };
/// Both stay, and still protect what they stand before.
const RAW: Mode = Mode { quotes: true, raw: true };

#[derive(Default)]
struct Reader {
    is_escaped: bool,
    is_quoted: bool,
}

impl Reader {
    fn is_protected(&self) -> bool {
        self.is_escaped || self.is_quoted
    }

    fn take(&mut self, into: &mut String, c: char, mode: Mode) {
        if c == '\\' {
            if self.is_escaped || mode.raw {
                into.push(c);
            }
            self.is_escaped = !self.is_escaped;
        } else if c == '"' && mode.quotes {
            if self.is_escaped {
                into.push(c);
                self.is_escaped = false;
            } else {
                self.is_quoted = !self.is_quoted;
                if mode.raw {
                    into.push(c);
                }
            }
        } else {
            into.push(c);
            self.is_escaped = false;
        }
    }
}

/// The text without its backslashes, but for those that a backslash stands before.
pub fn unescape(text: &str) -> String {
    let (mut reader, mut into) = (Reader::default(), String::new());
    text.chars().for_each(|c| reader.take(&mut into, c, UNESCAPE));
    into
}

/// The parts between `separator`s that neither a backslash nor quotes protect, at most `most`; what
/// protects stays.
pub fn split_raw(text: &str, separator: char, most: usize) -> Vec<String> {
    split(text, separator, most, RAW)
}

/// The same, without what protects: the segments of a path.
pub fn segments(path: &str) -> Vec<String> {
    split(path, '.', usize::MAX, PLAIN)
}

fn split(text: &str, separator: char, most: usize, mode: Mode) -> Vec<String> {
    let (mut reader, mut parts, mut part) = (Reader::default(), Vec::new(), String::new());
    for c in text.chars() {
        if c == separator && !reader.is_protected() && parts.len() + 1 < most {
            parts.push(std::mem::take(&mut part));
        } else {
            reader.take(&mut part, c, mode);
        }
    }
    parts.push(part);
    parts
}

/// What stands before the first `(`, and what between it and the last `)`.
pub fn call(text: &str) -> (String, Option<String>) {
    let last = text.rfind(')');
    let mut reader = Reader::default();
    let (mut before, mut inside) = (String::new(), None::<String>);
    for (at, c) in text.char_indices() {
        if c == '(' && inside.is_none() && !reader.is_protected() {
            inside = Some(String::new());
        } else if Some(at) == last && inside.is_some() && !reader.is_protected() {
            break;
        } else {
            reader.take(inside.as_mut().unwrap_or(&mut before), c, PLAIN);
        }
    }
    (before, inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart_as_jmte_does() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let expression = |text: &str, line| Piece::Expression { text: text.to_owned(), line };
        for (template, want) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("a\n${b}c", vec![text("a\n"), expression("b", 2), text("c")]),
            (r"\${no} ${yes}", vec![text("${no} "), expression("yes", 1)]),
            (r"${a(\})}", vec![expression(r"a(\})", 1)]),
            (r"C:\\temp \x", vec![text(r"C:\temp x")]),
            (r#"{"k": "${v}"}"#, vec![text(r#"{"k": ""#), expression("v", 1), text(r#""}"#)]),
        ] {
            assert_eq!(pieces(template), Ok(want), "{template}");
        }
        assert_eq!(pieces("a\nb ${c"), Err(2));
    }

    #[test]
    fn parts_are_not_split_where_they_are_protected() {
        assert_eq!(split_raw(r"a\;b;c;d", ';', 2), [r"a\;b", "c;d"]);
        assert_eq!(
            split_raw(r#"<a href="x,y">,z,</a>"#, ',', 3),
            [r#"<a href="x,y">"#, "z", "</a>"]
        );
        assert_eq!(segments(r"message.fields.a\.b"), ["message", "fields", "a.b"]);
    }

    #[test]
    fn a_call_is_greedy() {
        let some = |text: &str| Some(text.to_owned());
        for (text, want) in [
            ("name", ("name", None)),
            ("name(none)", ("name", some("none"))),
            ("name(a (b) c)", ("name", some("a (b) c"))),
            ("date(yyyy-MM-dd)", ("date", some("yyyy-MM-dd"))),
            (r#"name(")")"#, ("name", some(")"))),
        ] {
            assert_eq!(call(text), (want.0.to_owned(), want.1), "{text}");
        }
    }
}
