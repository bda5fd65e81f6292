//! Malcolm's credentials file: a curl configuration whose `user` line holds the login.
//!
//! `user: "name:pass"`, `user = name:pass`, `--user name:pass` and `-u name:pass` are read, the
//! last one counts; `#` starts a comment line; other options are passed over. A quoted value ends
//! at its closing quote and has backslash escapes; a bare one is taken as it is to the end of the
//! line, as Malcolm does, so a password may hold anything.

use std::fmt;

use crate::secrets::Login;

/// What a credentials file says.
#[derive(Clone, Debug, Default)]
pub struct Curlrc {
    /// The login, if there is one.
    pub login: Option<Login>,
    /// Whether it asks not to check the server's certificate.
    pub insecure: bool,
}

/// A line that cannot be used; never repeats it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    line: usize,
    what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads the text of a credentials file.
///
/// # Errors
/// When a `user` line holds no `name:password`.
pub fn parse(text: &str) -> Result<Curlrc, Fault> {
    let mut found = Curlrc::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        match option_of(line.trim()) {
            Some(("user", value)) => {
                let fault = |what| Fault { line: index + 1, what };
                found.login = login_of(&unquoted(value)).map_err(fault)?;
            }
            Some(("insecure", _)) => found.insecure = true,
            Some(("no-insecure", _)) => found.insecure = false,
            _ => {}
        }
    }
    Ok(found)
}

/// The long name of the option on a line, and the text after it.
fn option_of(line: &str) -> Option<(&str, &str)> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let bare = line.trim_start_matches('-');
    let end = bare.find(|c: char| c.is_whitespace() || c == ':' || c == '=').unwrap_or(bare.len());
    let (name, rest) = bare.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([':', '=']).unwrap_or(rest).trim_start();
    match name {
        "u" if line.starts_with('-') => Some(("user", rest)),
        "k" if line.starts_with('-') => Some(("insecure", rest)),
        _ => Some((name, rest)),
    }
}

/// The value without its quotes and escapes.
fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => text.extend(rest.next().map(|escaped| match escaped {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'v' => '\u{b}',
                other => other,
            })),
            other => text.push(other),
        }
    }
    text
}

fn login_of(value: &str) -> Result<Option<Login>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    let (user, password) = value.split_once(':').ok_or("the user has no password")?;
    if user.is_empty() {
        return Err("the user has no name");
    }
    Ok(Some(Login { user: user.to_owned(), password: password.to_owned().into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_login() {
        for (text, want) in [
            ("user: \"ann:pass\"", Some(("ann", "pass"))),
            ("user = \"ann:pass\"", Some(("ann", "pass"))),
            ("user = ann:pass", Some(("ann", "pass"))),
            ("user=ann:pass", Some(("ann", "pass"))),
            ("user:ann:pass", Some(("ann", "pass"))),
            ("user ann:pass", Some(("ann", "pass"))),
            ("--user ann:pass", Some(("ann", "pass"))),
            ("--user \"ann:pass\"", Some(("ann", "pass"))),
            ("-u ann:pass", Some(("ann", "pass"))),
            ("-u \"ann:pass\"", Some(("ann", "pass"))),
            ("\u{feff}  user: \"ann:pass\"  \r\n", Some(("ann", "pass"))),
            ("# a comment\n\nuser: \"ann:pass\"\ninsecure\n", Some(("ann", "pass"))),
            ("user: \"old:one\"\nuser: \"ann:pass\"", Some(("ann", "pass"))),
            ("user: \"ann:pass\" # trailing", Some(("ann", "pass"))),
            ("user: \"ann:with:colons\"", Some(("ann", "with:colons"))),
            ("user: ann:with: colons = and spaces", Some(("ann", "with: colons = and spaces"))),
            ("user: \"ann:two words\"", Some(("ann", "two words"))),
            (r#"user: "ann:a\"b\\c\td\x#""#, Some(("ann", "a\"b\\c\tdx#"))),
            (r"user: ann:back\slash", Some(("ann", r"back\slash"))),
            ("user: ann:quote\"inside", Some(("ann", "quote\"inside"))),
            ("user: \"ann:not closed", Some(("ann", "not closed"))),
            ("user: \"änn:пароль🔑\"", Some(("änn", "пароль🔑"))),
            ("user: \"ann:\"", Some(("ann", ""))),
            ("user: \"\"", None),
            ("user", None),
            ("#user: \"ann:pass\"", None),
            ("url = \"http://ann:pass@host\"\nuser-agent: \"x:y\"\nu = a:b", None),
            ("", None),
        ] {
            let found = parse(text).unwrap();
            let login = found.login.as_ref();
            let login = login.map(|login| (login.user.as_str(), login.password.expose()));
            assert_eq!(login, want, "{text}");
        }
    }

    #[test]
    fn insecure_is_seen() {
        for (text, want) in [
            ("insecure", true),
            ("--insecure", true),
            ("-k", true),
            ("user: \"ann:pass\"\ninsecure\n", true),
            ("insecure\nno-insecure", false),
            ("# insecure", false),
            ("", false),
        ] {
            assert_eq!(parse(text).unwrap().insecure, want, "{text}");
        }
    }

    #[test]
    fn a_login_without_name_or_password_is_a_fault_that_names_the_line_alone() {
        for text in ["\nuser: hunter2", "\nuser: \":hunter2\""] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.starts_with("line 2: ") && !fault.contains("hunter2"), "{fault}");
        }
    }
}
