//! The real `opensearch-keystore`, run as a process of its own.
//!
//! It is the only program that writes the keystore. Names go to it as arguments, values and the
//! keystore's password over its standard input. Its own words may repeat what it read there ("Did not
//! understand answer 'VALUE'"), so they are cleaned before anybody sees them.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::secrets::KeystorePassword;

/// The program's name.
pub const PROGRAM: &str = "opensearch-keystore";

/// The program beside it that lists plugins.
const PLUGIN_PROGRAM: &str = "opensearch-plugin";

/// Limit of one run. A run takes 3 to 5 seconds; a container's image may have to be fetched first.
const LIMIT: Duration = Duration::from_mins(5);

/// How the tool is run.
#[derive(Clone, Debug)]
pub struct Tool {
    words: Vec<String>,
}

/// What the keystore is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// There is no keystore yet; the first key makes one, without a password.
    Missing,
    /// Anybody who may read the file can open it.
    Open,
    /// A password opens it.
    Password,
}

/// What a run left.
struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Tool {
    /// The tool that `command` runs, words split as a shell does and nothing else done to them; else
    /// the one of the OpenSearch in `home`; else the one on the PATH.
    ///
    /// # Errors
    /// When `command` holds no words or a quote that does not end.
    pub fn new(command: Option<&str>, home: Option<&Path>) -> Result<Self, String> {
        let words = match (command, home) {
            (Some(command), _) => shlex::split(command)
                .filter(|words| !words.is_empty())
                .ok_or("the keystore command is empty, or a quote in it does not end")?,
            (None, Some(home)) => vec![home.join("bin").join(PROGRAM).to_string_lossy().into()],
            (None, None) => vec![PROGRAM.to_owned()],
        };
        Ok(Self { words })
    }

    /// The plugins of the OpenSearch that the tool belongs to, as its neighbour tells them; `None`
    /// where the command does not end in the tool's own name.
    ///
    /// # Errors
    /// When the neighbour cannot be run or fails.
    pub async fn plugins(&self) -> anyhow::Result<Option<Vec<String>>> {
        let Some(neighbour) = self.neighbour() else {
            return Ok(None);
        };
        let ran = neighbour.run(&["list"], &[]).await?;
        ran.expect_success("list the plugins of OpenSearch", &[])?;
        Ok(Some(names(&ran.stdout)))
    }

    fn neighbour(&self) -> Option<Self> {
        let (last, rest) = self.words.split_last()?;
        let folder = last.strip_suffix(PROGRAM)?;
        if !folder.is_empty() && !folder.ends_with('/') {
            return None;
        }
        let mut words = rest.to_vec();
        words.push(format!("{folder}{PLUGIN_PROGRAM}"));
        Some(Self { words })
    }

    /// What the keystore is like, and the names in it where no password is needed.
    ///
    /// # Errors
    /// When the tool cannot be run or fails.
    pub async fn look(&self) -> anyhow::Result<(Lock, Vec<String>)> {
        let listed = self.run(&["list"], &[]).await?;
        if listed.status.success() {
            return Ok((Lock::Open, names(&listed.stdout)));
        }
        if listed.says("keystore not found") {
            return Ok((Lock::Missing, Vec::new()));
        }
        // Without a terminal it fails on a keystore with a password as it does on others.
        let asked = self.run(&["has-passwd"], &[]).await?;
        if asked.status.success() {
            return Ok((Lock::Password, Vec::new()));
        }
        listed.expect_success("list the keystore", &[])?;
        Ok((Lock::Open, names(&listed.stdout)))
    }

    /// The names in the keystore.
    ///
    /// # Errors
    /// When the tool cannot be run or fails, as with a wrong password.
    pub async fn list(&self, password: Option<&KeystorePassword>) -> anyhow::Result<Vec<String>> {
        let input = lines(password, &[]);
        let ran = self.run(&["list"], &input).await?;
        ran.expect_success("list the keystore", &both(password, &[]))?;
        Ok(names(&ran.stdout))
    }

    /// Stores values under keys, all of them or none, in place of older ones. Makes the keystore if
    /// there is none. `secret` is the one among the values that nobody may see.
    ///
    /// # Errors
    /// When the tool cannot be run or fails.
    pub async fn add(
        &self,
        entries: &[(String, &str)],
        secret: &str,
        password: Option<&KeystorePassword>,
    ) -> anyhow::Result<()> {
        let values: Vec<&str> = entries.iter().map(|(_, value)| *value).collect();
        let mut arguments = vec!["add", "--force"];
        if password.is_none() {
            // With a password this would store empty values: what is read ahead for the password is
            // lost for them. Then the tool's prompts are answered, one line each (seen on 3.4.0).
            arguments.push("--stdin");
        }
        arguments.extend(entries.iter().map(|(key, _)| key.as_str()));
        let ran = self.run(&arguments, &lines(password, &values)).await?;
        ran.expect_success("store in the keystore", &both(password, &[secret]))
    }

    /// Removes keys, all of them or none.
    ///
    /// # Errors
    /// When the tool cannot be run or fails, as when a key is not there.
    pub async fn remove(
        &self,
        keys: &[String],
        password: Option<&KeystorePassword>,
    ) -> anyhow::Result<()> {
        let mut arguments = vec!["remove"];
        arguments.extend(keys.iter().map(String::as_str));
        let ran = self.run(&arguments, &lines(password, &[])).await?;
        ran.expect_success("remove from the keystore", &both(password, &[]))
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Ran> {
        let (program, prefix) =
            self.words.split_first().context("the keystore command is empty")?;
        let child = Command::new(program)
            .args(prefix)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => bail!(
                "cannot find {program}; set OPENSEARCH_HOME, or say with --keystore-command how {PROGRAM} is run"
            ),
            child => child.with_context(|| format!("cannot run {program}"))?,
        };
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input).await {
                // It failed before it read: what it says about that is better than this.
                Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => {}
                written => written.with_context(|| format!("cannot write to {program}"))?,
            }
        }
        let output = timeout(LIMIT, child.wait_with_output()).await;
        let Ok(output) = output else {
            bail!("{program} did not end in {} s, and was ended", LIMIT.as_secs());
        };
        let output = output.with_context(|| format!("cannot wait for {program}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ok(Ran { status: output.status, stdout, stderr })
    }
}

impl Ran {
    fn says(&self, what: &str) -> bool {
        self.stdout.contains(what) || self.stderr.contains(what)
    }

    fn expect_success(&self, what: &str, secrets: &[&str]) -> anyhow::Result<()> {
        if self.status.success() {
            return Ok(());
        }
        let said = said(&format!("{}\n{}", self.stderr, self.stdout), secrets);
        bail!("{PROGRAM} cannot {what}: {said} ({})", self.status)
    }
}

/// What goes to the tool's standard input: the password, then the values, a line each.
fn lines(password: Option<&KeystorePassword>, values: &[&str]) -> Vec<u8> {
    let mut input = Vec::new();
    for line in both(password, values) {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
    }
    input
}

/// The password, if there is one, and the values.
fn both<'a>(password: Option<&'a KeystorePassword>, values: &[&'a str]) -> Vec<&'a str> {
    password.map(KeystorePassword::expose).into_iter().chain(values.iter().copied()).collect()
}

/// The names in what `list` prints; a prompt may stand before the first.
fn names(stdout: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.rsplit(" : ").next().unwrap_or(line).trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_owned())
    };
    stdout.lines().filter_map(name).collect()
}

/// The tool's own words for a failure, in one line and without a secret: its `ERROR:`, else its
/// exception, else its last line.
fn said(output: &str, secrets: &[&str]) -> String {
    let marked = |mark: &str| {
        output.lines().find_map(|line| line.find(mark).map(|at| &line[at + mark.len()..]))
    };
    let tells = |line: &&str| !line.trim().is_empty() && !line.starts_with("\tat ");
    let said = marked("ERROR: ").or_else(|| marked("Exception: "));
    let said = said.or_else(|| output.lines().rfind(tells)).unwrap_or("it says nothing").trim();
    // A secret of a few letters is in any text by chance: then hiding it would tell it.
    if secrets.iter().any(|secret| secret.len() > 3 && said.contains(secret)) {
        return "its message repeats a secret, so it is not shown".to_owned();
    }
    said.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Option<Vec<String>> {
        Tool::new(Some(command), None).ok().map(|tool| tool.words)
    }

    #[test]
    fn a_command_is_split_like_a_shell_splits_words() {
        for (command, want) in [
            ("opensearch-keystore", Some(&["opensearch-keystore"][..])),
            (
                "docker run -i 'a b' \"c d\" e\\ f",
                Some(&["docker", "run", "-i", "a b", "c d", "e f"]),
            ),
            ("tool $HOME;ls", Some(&["tool", "$HOME;ls"])),
            ("", None),
            ("'open", None),
        ] {
            let words = words(command);
            let words: Option<Vec<&str>> =
                words.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(words.as_deref(), want, "{command}");
        }
        let home = Tool::new(None, Some(Path::new("/opt/os"))).unwrap();
        assert_eq!(home.words, ["/opt/os/bin/opensearch-keystore"]);
        assert_eq!(Tool::new(None, None).unwrap().words, [PROGRAM]);
    }

    #[test]
    fn the_neighbour_is_the_program_beside_the_tool() {
        for (command, want) in [
            ("opensearch-keystore", Some("opensearch-plugin")),
            ("docker run x /a/bin/opensearch-keystore", Some("/a/bin/opensearch-plugin")),
            ("/usr/bin/my-opensearch-keystore", None),
            ("docker run --entrypoint opensearch-keystore image", None),
        ] {
            let neighbour = Tool::new(Some(command), None).unwrap().neighbour();
            let last = neighbour.as_ref().and_then(|tool| tool.words.last());
            assert_eq!(last.map(String::as_str), want, "{command}");
        }
    }

    #[test]
    fn names_are_read_past_a_prompt() {
        let listed =
            "Enter password for the opensearch keystore : a.b.c\nkeystore.seed\n\nnot a name\n";
        assert_eq!(names(listed), ["a.b.c", "keystore.seed"]);
    }

    #[test]
    fn the_tools_words_are_one_line_without_a_secret() {
        for (output, want) in [
            ("warning: no-jdk\nERROR: Setting [x] does not exist\n", "Setting [x] does not exist"),
            ("Enter password : ERROR: password was incorrect", "password was incorrect"),
            (
                "Did not understand answer 'hunter2'\nException in thread \"main\" java.lang.IllegalStateException: unable to read\n\tat x(y)\n",
                "unable to read",
            ),
            ("ERROR: cannot take hunter2 here", "its message repeats a secret, so it is not shown"),
            ("ERROR: upgrade it", "upgrade it"),
            ("docker: no such image\n", "docker: no such image"),
            ("\n", "it says nothing"),
        ] {
            assert_eq!(said(output, &["hunter2", "up", ""]), want, "{output}");
        }
    }

    #[test]
    fn the_password_goes_before_the_values() {
        let password = KeystorePassword::from("open".to_owned());
        assert_eq!(lines(Some(&password), &["u", "p"]), b"open\nu\np\n");
        assert_eq!(lines(None, &["u"]), b"u\n");
    }
}
