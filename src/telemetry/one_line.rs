//! A log line stays one line, and steers no terminal, whatever a sender wrote that stands in it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::alert::link::turns_or_steers;

/// Gives out writers for one event each.
pub struct OneLine<M> {
    make: M,
    form: Form,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON object: what steers is escaped as JSON has it.
    Json,
    /// Text for people.
    Plain,
    /// The same, in colours: their escapes are the formatter's own, who lets no other through.
    Coloured,
}

impl<M> OneLine<M> {
    /// Over another maker of writers.
    pub const fn over(make: M, form: Form) -> Self {
        Self { make, form }
    }
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for OneLine<M> {
    type Writer = Escaping<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Escaping { inner: self.make.make_writer(), form: self.form }
    }
}

/// Takes the text of one event at a time, as the formatter writes it.
pub struct Escaping<W> {
    inner: W,
    form: Form,
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(escaped(&String::from_utf8_lossy(bytes), self.form).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escaped(event: &str, form: Form) -> Cow<'_, str> {
    let line = event.strip_suffix('\n').unwrap_or(event);
    let is_odd =
        |letter: char| turns_or_steers(letter) && !(form == Form::Coloured && letter == '\u{1b}');
    if !line.contains(is_odd) {
        return Cow::Borrowed(event);
    }
    let mut text = String::with_capacity(event.len());
    for letter in line.chars() {
        match form {
            _ if !is_odd(letter) => text.push(letter),
            // All of them are in the first plane. Writing to a `String` cannot fail.
            Form::Json => write!(text, "\\u{:04x}", u32::from(letter)).unwrap_or_default(),
            Form::Plain | Form::Coloured => text.extend(letter.escape_default()),
        }
    }
    text.push_str(&event[line.len()..]);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_escaped_and_the_end_of_the_line_stays() {
        for (event, form, want) in [
            ("fine, größer\n", Form::Plain, "fine, größer\n"),
            ("a\nb\rc\n", Form::Plain, "a\\nb\\rc\n"),
            ("a\u{9b}2Jb\u{202e}\n", Form::Plain, "a\\u{9b}2Jb\\u{202e}\n"),
            ("\u{1b}[31mred\u{1b}[0m\n", Form::Plain, "\\u{1b}[31mred\\u{1b}[0m\n"),
            ("\u{1b}[31mred\u{1b}[0m\nb\n", Form::Coloured, "\u{1b}[31mred\u{1b}[0m\\nb\n"),
            ("{\"a\":\"\u{2066}\u{85}\"}\n", Form::Json, "{\"a\":\"\\u2066\\u0085\"}\n"),
            ("without an end\n\n", Form::Plain, "without an end\\n\n"),
        ] {
            assert_eq!(escaped(event, form), want, "{event:?}");
        }
    }
}
