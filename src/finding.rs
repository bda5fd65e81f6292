//! What a look at something shows, one line a finding, each with what mends it.

use std::fmt;

use serde::Serialize;

use crate::alert::link::turns_or_steers;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// Alerts are or will be lost or late.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub state: State,
    /// What was looked at: a file, a monitor's name, a channel's id.
    pub subject: String,
    /// What was seen.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// All is well with `subject`.
    pub fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { state: State::Ok, subject: subject.into(), what: what.into(), mend: None }
    }

    /// Somebody should look at `subject`.
    pub fn warn(
        subject: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { state: State::Warn, subject: subject.into(), what: what.into(), mend }
    }

    /// `subject` does not work.
    pub fn fail(
        subject: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { state: State::Fail, ..Self::warn(subject, what, mend) }
    }
}

/// 1 where something fails, else 0.
#[must_use]
pub fn exit_code(findings: &[Finding]) -> u8 {
    u8::from(findings.iter().any(|finding| finding.state == State::Fail))
}

/// Writes one line a finding, with the subjects in a column.
///
/// # Errors
/// The formatter's.
pub fn write(f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
    let width = findings.iter().map(|finding| printable(&finding.subject).chars().count()).max();
    for Finding { state, subject, what, mend } in findings {
        let width = width.unwrap_or(0);
        write!(f, "{state:<4}  {:<width$}  {}", printable(subject), printable(what))?;
        if let Some(mend) = mend {
            write!(f, "; to mend: {}", printable(mend))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// What somebody else wrote must not steer a terminal, nor begin a line.
#[must_use]
pub fn printable(text: &str) -> String {
    shown(text, |_| false)
}

/// The same for a text of several lines, which may have tabs.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.lines().map(|line| shown(line, |letter| letter == '\t')).collect::<Vec<_>>().join("\n")
}

fn shown(text: &str, may_stay: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if turns_or_steers(letter) && !may_stay(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All(Vec<Finding>);

    impl fmt::Display for All {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, &self.0)
        }
    }

    #[test]
    fn a_finding_is_one_line_whatever_it_holds() {
        let mut all =
            vec![Finding::ok("a.json", "fine"), Finding::warn("b", "x\n\u{1b}[2J\u{2066}", "do\r")];
        assert_eq!(exit_code(&all), 0);
        all.push(Finding::fail("grö", "bad", "do"));
        assert_eq!(exit_code(&all), 1);
        let want = "ok    a.json  fine\n\
                    warn  b       x\\n\\u{1b}[2J\\u{2066}; to mend: do\\r\n\
                    FAIL  grö     bad; to mend: do\n";
        assert_eq!(All(all).to_string(), want);
    }
}
