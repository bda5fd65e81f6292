//! What commands print: lists that come page by page, single things, and notes beside them.

use std::{
    io::{self, BufWriter, Stdout, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::Output;

/// Whoever read what we print has gone away, as in `| head`: that is no fault.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads on")]
pub(super) struct Gone;

/// How a command ends: well, also where nobody reads on.
pub(super) fn ended(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    match outcome {
        Err(fault) if !fault.is::<Gone>() => Err(fault),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// A list on standard output: lines under a heading, or a JSON array.
pub(super) struct Listed<T> {
    output: Output,
    heading: &'static str,
    line: fn(&T, Option<usize>) -> String,
    width: Option<usize>,
    out: BufWriter<Stdout>,
    count: usize,
}

impl<T: Serialize> Listed<T> {
    /// A list of nothing so far; `line` makes a line of an item, for a terminal of so many columns.
    pub(super) fn new(
        output: Output,
        heading: &'static str,
        line: fn(&T, Option<usize>) -> String,
    ) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { output, heading, line, width: width_of_terminal(), out, count: 0 }
    }

    /// How many items there are so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds one.
    pub(super) fn add(&mut self, item: &T) -> anyhow::Result<()> {
        let text = match (self.output, self.count) {
            (Output::Text, 0) => format!("{}\n{}", self.heading, (self.line)(item, self.width)),
            (Output::Text, _) => (self.line)(item, self.width),
            (Output::Json, 0) => format!("[\n  {}", serde_json::to_string(item)?),
            (Output::Json, _) => format!(",\n  {}", serde_json::to_string(item)?),
        };
        self.count += 1;
        put(&mut self.out, text.as_bytes())
    }

    /// Ends it; `none` is said to people where it is empty.
    pub(super) fn end(mut self, none: &str) -> anyhow::Result<()> {
        match (self.output, self.count) {
            (Output::Json, 0) => put(&mut self.out, b"[]\n")?,
            (Output::Json, _) => put(&mut self.out, b"\n]\n")?,
            (Output::Text, 0) => say(none),
            (Output::Text, _) => {}
        }
        flush(&mut self.out)
    }
}

/// One thing on standard output, for people or as JSON.
pub(super) fn show<T: Serialize>(
    output: Output,
    thing: &T,
    text: fn(&T) -> String,
) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => text(thing),
        Output::Json => serde_json::to_string_pretty(thing)?,
    };
    put(&mut io::stdout().lock(), format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

/// The columns of the terminal that is printed to, if it is one.
pub(super) fn width_of_terminal() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// A line that ends here; where it is longer than the terminal, its end is cut.
pub(super) fn cut_to(width: Option<usize>, mut line: String) -> String {
    if let Some(width) = width
        && let Some((cut, _)) = line.char_indices().nth(width.saturating_sub(1))
        && line[cut..].chars().nth(1).is_some()
    {
        line.truncate(cut);
        line.push('…');
    }
    line.push('\n');
    line
}

/// Writes, as long as somebody reads.
pub(super) fn put(out: &mut dyn Write, bytes: &[u8]) -> anyhow::Result<()> {
    written(out.write_all(bytes))
}

/// Sends on what was put.
pub(super) fn flush(out: &mut dyn Write) -> anyhow::Result<()> {
    written(out.flush())
}

fn written(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Err(Gone.into()),
        outcome => outcome.context("cannot write what was found"),
    }
}

/// Says something beside what is printed.
pub(super) fn say(what: &str) {
    super::put(io::stderr().lock(), what).ok();
}
