//! Graylog's template language, JMTE, becomes minijinja's. Pure.
//!
//! A template is accepted as Graylog accepts it, and checked at once: an unknown name is a fault with
//! its line, where JMTE prints nothing. `docs/templates.md` has the table of what becomes of what.
//!
//! Source: the language reference of JMTE and `Lexer.java`, `InterpretedTemplate.java` and
//! `DefaultModelAdaptor.java` of its version 7, which Graylog uses.

mod lexer;
mod path;

use lexer::Piece;
use path::{Loop, Place, Scope};

use super::{
    joda,
    names::{ENTRY, Kind},
    template::Fault,
};

/// How deep `if` and `foreach` may be nested.
const DEEPEST: usize = 32;

/// Whether a text is JMTE's: it holds `${…}`.
#[must_use]
pub fn is_jmte(text: &str) -> bool {
    lexer::has_expression(text)
}

/// The minijinja source that prints what `text` prints.
///
/// # Errors
/// A [`Fault`]: what is not closed or not opened, unknown names and formats.
pub fn translate(text: &str) -> Result<String, Fault> {
    let pieces = lexer::pieces(text)
        .map_err(|line| Fault::at(line, "`${` without `}`; write `\\${` to print it"))?;
    let mut translator =
        Translator { pieces: pieces.into_iter(), scope: Scope::default(), depth: 0 };
    let mut source = String::new();
    match translator.block(&mut source)? {
        Close::OfText => Ok(source),
        Close::Else(line) => Err(Fault::at(line, "${else} without ${if …}")),
        Close::End(line) => Err(Fault::at(line, "${end} without ${if …} or ${foreach …}")),
    }
}

/// What ends a block.
enum Close {
    OfText,
    Else(usize),
    End(usize),
}

struct Translator {
    pieces: std::vec::IntoIter<Piece>,
    scope: Scope,
    depth: usize,
}

impl Translator {
    fn block(&mut self, source: &mut String) -> Result<Close, Fault> {
        while let Some(piece) = self.pieces.next() {
            let (text, line) = match piece {
                Piece::Text(text) => {
                    push_text(source, &text);
                    continue;
                }
                Piece::Expression { text, line } => (text, line),
            };
            if text.starts_with("--") {
                continue;
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            let is =
                |word: &str| words.first().is_some_and(|first| first.eq_ignore_ascii_case(word));
            match words.as_slice() {
                [] => {}
                [_, _, ..] if is("if") => self.condition(source, &text, line)?,
                [_, _, ..] if is("foreach") => self.each(source, &text, line)?,
                _ if is("else") => return Ok(Close::Else(line)),
                _ if is("end") => return Ok(Close::End(line)),
                _ => self.value(source, &text, line)?,
            }
        }
        Ok(Close::OfText)
    }

    fn inner(&mut self, source: &mut String, line: usize) -> Result<Close, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::at(line, format!("more than {DEEPEST} blocks within each other")));
        }
        let end = self.block(source)?;
        self.depth -= 1;
        Ok(end)
    }

    /// `${if [!]path[;renderer][=operand]}…${else}…${end}`.
    fn condition(&mut self, source: &mut String, text: &str, line: usize) -> Result<(), Fault> {
        // Graylog's own JSON template writes `! last_message`, which JMTE takes for a name of its own.
        let whole = text.trim_start()["if".len()..].trim_start();
        let (is_negated, rest) = match whole.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, whole),
        };
        let question = match comparison(rest) {
            Some((left, right)) => {
                let left = self.shown(left.trim(), line)?;
                let right = self.operand(right);
                format!("{left} {} {right}", if is_negated { "!=" } else { "==" })
            }
            None if rest.contains(';') => {
                let left = self.shown(rest.trim(), line)?;
                format!("{left} {} \"true\"", if is_negated { "!=" } else { "==" })
            }
            None => {
                let mut words = rest.split_whitespace();
                let path = words.next().unwrap_or_default();
                if let Some(word) = words.next() {
                    let what = format!("${{if …}} takes one name; it cannot read `{word}`");
                    return Err(Fault::at(line, what));
                }
                let place = self.scope.place(path, line)?;
                let not = if is_negated { "not " } else { "" };
                if place.is_flag {
                    format!("{not}{}", place.source)
                } else {
                    format!("{} is {not}present", place.source)
                }
            }
        };
        source.extend([format!("{{% if {question} %}}")]);
        let mut end = self.inner(source, line)?;
        if let Close::Else(_) = end {
            source.push_str("{% else %}");
            end = self.inner(source, line)?;
        }
        match end {
            Close::End(_) => source.push_str("{% endif %}"),
            Close::Else(line) => return Err(Fault::at(line, "a second ${else}")),
            Close::OfText => return Err(Fault::at(line, "${if …} without ${end}")),
        }
        Ok(())
    }

    /// What a value is compared with: a text in quotes, a name, or a text as it is.
    fn operand(&self, text: &str) -> String {
        let trimmed = text.trim();
        for quote in ['\'', '"'] {
            if let Some(inner) = trimmed.strip_prefix(quote) {
                return literal(inner.strip_suffix(quote).unwrap_or(inner));
            }
        }
        match self.scope.place(trimmed, 0) {
            Ok(place) => format!("({}|java)", place.source),
            Err(_) => literal(trimmed),
        }
    }

    /// `${foreach path name[ separator]}…${end}`.
    fn each(&mut self, source: &mut String, text: &str, line: usize) -> Result<(), Fault> {
        let (path, rest) = word(text.trim_start()["foreach".len()..].trim_start());
        let (name, separator) = word(rest.trim_start());
        if name.is_empty() {
            return Err(Fault::at(line, format!("${{foreach {path}}} names no item")));
        }
        let place = self.scope.place(path, line)?;
        let (of, kind) = match place.kind {
            Kind::List(kind) => (place.source, *kind),
            Kind::Map => (format!("{}|entries", place.source), &ENTRY),
            Kind::Free => (format!("{}|entries", place.source), &Kind::Free),
            kind => (format!("[{}]", place.source), kind),
        };
        self.scope.enter(Loop::new(name, kind, line)?);
        let mut body = String::new();
        let end = self.inner(&mut body, line)?;
        let left = self.scope.leave();
        match end {
            Close::End(_) => {}
            Close::Else(line) => return Err(Fault::at(line, "${else} within ${foreach …}")),
            Close::OfText => return Err(Fault::at(line, "${foreach …} without ${end}")),
        }
        source.extend([format!("{{% for {name} in {of} %}}")]);
        if left.is_some_and(|left| left.is_asked_from_within) {
            source.extend([format!("{{% set loop_{name} = loop %}}")]);
        }
        source.push_str(&body);
        // One character of white space belongs to the syntax, all that follows to the separator.
        let separator = lexer::unescape(separator.get(1..).unwrap_or_default());
        if !separator.is_empty() {
            source.push_str("{% if not loop.last %}");
            push_text(source, &separator);
            source.push_str("{% endif %}");
        }
        source.push_str("{% endfor %}");
        Ok(())
    }

    /// `${[prefix,]path[(default)][,suffix][;renderer[(format)]]}`.
    fn value(&self, source: &mut String, text: &str, line: usize) -> Result<(), Fault> {
        let parts = lexer::split_raw(text, ';', 2);
        let wrapped = lexer::split_raw(&parts[0], ',', 3);
        let (prefix, path, suffix) = match wrapped.as_slice() {
            [prefix, path, suffix] => {
                (lexer::unescape(prefix), lexer::unescape(path), lexer::unescape(suffix))
            }
            _ => (String::new(), parts[0].clone(), String::new()),
        };
        let renderer = parts.get(1).map(String::as_str);
        let shown = self.filtered(path.trim(), renderer, line)?;
        if prefix.is_empty() && suffix.is_empty() {
            source.extend([format!("{{{{ {shown} }}}}")]);
        } else {
            source.extend([format!("{{% if {shown} is present %}}")]);
            push_text(source, &prefix);
            source.extend([format!("{{{{ {shown} }}}}")]);
            push_text(source, &suffix);
            source.push_str("{% endif %}");
        }
        Ok(())
    }

    /// The text of a `path[;renderer]`, for a comparison.
    fn shown(&self, text: &str, line: usize) -> Result<String, Fault> {
        match text.split_once(';') {
            Some((path, renderer)) => self.filtered(path.trim(), Some(renderer), line),
            None => Ok(format!("{}|java", self.scope.place(text, line)?.source)),
        }
    }

    /// A `path[(default)]` with the filters that print it as JMTE does.
    fn filtered(&self, text: &str, renderer: Option<&str>, line: usize) -> Result<String, Fault> {
        let (path, default) = lexer::call(text);
        let Place { mut source, kind, .. } = self.scope.place(&lexer::unescape(&path), line)?;
        if let Some(default) = default {
            source.extend([format!("|or_else({})", literal(&lexer::unescape(&default)))]);
        }
        if let Some(renderer) = renderer.map(str::trim).filter(|renderer| !renderer.is_empty()) {
            let (name, format) = lexer::call(renderer);
            if name.trim() != "date" {
                let what =
                    format!("unknown renderer {}; known: date(yyyy-MM-dd HH:mm:ss)", name.trim());
                return Err(Fault::at(line, what));
            }
            let pattern = format.unwrap_or_else(|| joda::DEFAULT.to_owned());
            joda::check(&pattern).map_err(|what| Fault::at(line, what))?;
            source.extend([format!("|date({})", literal(&pattern))]);
        } else if !matches!(kind, Kind::Text | Kind::Number | Kind::Flag | Kind::Time) {
            source.push_str("|java");
        }
        Ok(source)
    }
}

/// The two sides of the first `=` that does not stand between brackets.
fn comparison(text: &str) -> Option<(&str, &str)> {
    let is_free = |rest: &str| {
        let end = rest.find(['(', ')']);
        end.is_none_or(|end| rest.as_bytes()[end] == b'(')
    };
    let mut equals = text.match_indices('=').map(|(at, _)| at);
    let at = equals.find(|at| is_free(&text[at + 1..]))?;
    Some((&text[..at], &text[at + 1..]))
}

/// The first word, and the rest with the white space before it.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// A text as a literal of minijinja, which takes JSON's escapes.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text that minijinja prints as it is.
fn push_text(source: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        source.push_str(before);
        // At the end of a text the next thing may begin with a brace.
        let opens = matches!(from.as_bytes().get(1), None | Some(b'{' | b'%' | b'#'));
        source.push_str(if opens { "{{ \"{\" }}" } else { "{" });
        rest = &from[1..];
    }
    source.push_str(rest);
}

#[cfg(test)]
mod tests;
