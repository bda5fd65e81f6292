//! Questions on a terminal.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Write as _},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::auth_setup::files::{Address, Mail, Method};

/// A line, and `default` for an empty one; without a default it asks until there is an answer.
pub(in crate::cli) fn line(question: &str, default: Option<&str>) -> anyhow::Result<String> {
    loop {
        let hint = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        let answer = answer_to(&format!("{question}{hint}: "))?;
        match (answer.trim(), default) {
            ("", None) => {}
            ("", Some(default)) => return Ok(default.to_owned()),
            (answer, _) => return Ok(answer.to_owned()),
        }
    }
}

/// A line that means something; asks again until it does.
pub(super) fn parsed<T>(question: &str, default: Option<&str>) -> anyhow::Result<T>
where
    T: FromStr<Err: Display>,
{
    loop {
        match line(question, default)?.parse() {
            Ok(value) => return Ok(value),
            Err(fault) => tell(&format!("{fault}\n"))?,
        }
    }
}

/// Yes, or no, which an empty answer means too.
pub(super) fn yes(question: &str) -> anyhow::Result<bool> {
    let answer = answer_to(&format!("{question} (y/N): "))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A secret, which does not show.
pub(in crate::cli) fn hidden(question: &str) -> anyhow::Result<String> {
    // The library asks before it hides: what is typed (or pasted) at once would show.
    let _silence = Silence::begin().context("cannot hide what is typed on the terminal")?;
    rpassword::prompt_password(question).context("cannot read the password from the terminal")
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
    }
}

/// The password of `username`, until it was given twice the same.
pub(super) fn password_twice(username: &str) -> anyhow::Result<String> {
    loop {
        let password = hidden(&format!("{username} password: "))?;
        let again = hidden(&format!("{username} password (again): "))?;
        match (password == again, password.is_empty()) {
            (true, false) => return Ok(password),
            (true, true) => tell("The password is empty\n")?,
            (false, _) => tell("Passwords do not match\n")?,
        }
    }
}

/// A mail server, and who writes to whom.
pub(super) fn mail(username: &str) -> anyhow::Result<Mail> {
    let host = line("Mail server", None)?;
    let method: Method = parsed("Method (ssl, start_tls, none)", Some(Method::default().word()))?;
    let port = parsed("Port", Some(&method.port().to_string()))?;
    let from = username.parse::<Address>().is_ok().then_some(username);
    let from = parsed("From address", from)?;
    let recipients = loop {
        let texts = line("Recipients, with commas between", None)?;
        let addresses: Result<Vec<Address>, _> =
            texts.split(',').map(|text| text.trim().parse()).collect();
        match addresses {
            Ok(addresses) => break addresses,
            Err(fault) => tell(&format!("{fault}\n"))?,
        }
    };
    Ok(Mail { host, port, method, from, recipients })
}

fn answer_to(question: &str) -> anyhow::Result<String> {
    tell(question)?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer).context("cannot read the answer")? == 0 {
        bail!("the terminal was closed; nothing was changed");
    }
    Ok(answer)
}

fn tell(text: &str) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes()).and_then(|()| err.flush()).context("cannot ask")
}
