//! The `smtp_account` and the `email` channel that use an account, as provisioning files.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::name::AccountName;

/// How the mail server is spoken to. Only these: of any other word the Notifications plugin makes
/// `none` without a word (seen on 3.4.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// TLS from the first byte.
    #[default]
    Ssl,
    /// TLS after STARTTLS, if the server offers it; if not, everything goes in clear, the password
    /// too.
    StartTls,
    /// In clear, and **without a login**: the account's user name and password are not used.
    None,
}

impl Method {
    /// The word of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ssl => "ssl",
            Self::StartTls => "start_tls",
            Self::None => "none",
        }
    }

    /// The usual port.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Ssl => 465,
            Self::StartTls => 587,
            Self::None => 25,
        }
    }

    /// What an operator should know about it before it is used.
    #[must_use]
    pub fn caution(self) -> Option<&'static str> {
        match self {
            Self::Ssl => None,
            Self::StartTls => Some(
                "with start_tls OpenSearch sends the password in clear to a server that does not offer STARTTLS; ssl never does",
            ),
            Self::None => Some(
                "with none OpenSearch does not log in, so the stored username and password are not used",
            ),
        }
    }
}

impl FromStr for Method {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ssl" => Ok(Self::Ssl),
            "start_tls" => Ok(Self::StartTls),
            "none" => Ok(Self::None),
            _ => Err("a method is ssl, start_tls or none"),
        }
    }
}

/// A mail address that the Notifications plugin takes: `LOCAL@DOMAIN`, with a dot in DOMAIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FAULT: &str = "an address is NAME@DOMAIN with a dot in DOMAIN, and nothing around it, such as soc@example.org";
        let (local, domain) = text.rsplit_once('@').ok_or(FAULT)?;
        let in_local = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c);
        let in_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let word =
            |word: &str, fits: &dyn Fn(char) -> bool| !word.is_empty() && word.chars().all(fits);
        let label =
            |text: &str| word(text, &in_label) && !text.starts_with('-') && !text.ends_with('-');
        let fits = local.split('.').all(|part| word(part, &in_local))
            && domain.contains('.')
            && domain.split('.').all(label);
        if fits { Ok(Self(text.to_owned())) } else { Err(FAULT) }
    }
}

/// A mail server, and who writes to whom.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub method: Method,
    /// Who the mails are from.
    pub from: Address,
    /// Who gets them; at least one.
    pub recipients: Vec<Address>,
}

/// A provisioning file of the Notifications plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// The object's id.
    pub config_id: String,
    /// The object, as in the plugin's API.
    pub config: Value,
}

impl Document {
    /// The path below the provisioning folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new("channels").join(format!("{}.json", self.config_id))
    }
}

/// The account, and the channel that refers to it; in the order in which OpenSearch takes them.
///
/// The Notifications plugin finds the login by the account's `config.name`.
#[must_use]
pub fn documents(name: &AccountName, mail: &Mail) -> [Document; 2] {
    let (account_id, channel_id) = (format!("smtp_account_{name}"), format!("email_{name}"));
    let recipients: Vec<Value> =
        mail.recipients.iter().map(|to| json!({"recipient": to.0})).collect();
    let account = json!({
        "name": name.as_str(),
        "description": "Sender account; its login is in OpenSearch's keystore, under this name",
        "config_type": "smtp_account",
        "is_enabled": true,
        "smtp_account": {
            "host": mail.host,
            "port": mail.port,
            "method": mail.method.word(),
            "from_address": mail.from.0,
        }
    });
    let channel = json!({
        "name": format!("E-mail {name}"),
        "description": format!("Sends e-mail through the sender account {name}"),
        "config_type": "email",
        "is_enabled": true,
        "email": {
            "email_account_id": account_id,
            "recipient_list": recipients,
            "email_group_id_list": [],
        }
    });
    [(account_id, account), (channel_id, channel)]
        .map(|(config_id, config)| Document { config_id, config })
}

/// Writes the files below `folder`, which is made if it is not there, and gives their paths. Where
/// one is there already and `overwrite` is not said, none is written.
///
/// # Errors
/// When a file is there already, or cannot be written.
pub fn write(
    folder: &Path,
    documents: &[Document],
    overwrite: bool,
) -> anyhow::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> =
        documents.iter().map(|document| folder.join(document.path())).collect();
    for path in &paths {
        let there = !overwrite && path.try_exists().unwrap_or(false);
        ensure!(!there, "{} is there already; say --overwrite to replace it", path.display());
    }
    for (path, document) in paths.iter().zip(documents) {
        write_one(path, document, overwrite)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(paths)
}

fn write_one(path: &Path, document: &Document, overwrite: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o644);
    let mut file =
        if overwrite { options.truncate(true) } else { options.create_new(true) }.open(path)?;
    writeln!(file, "{}", serde_json::to_string_pretty(document)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            host: "smtp.example.org".to_owned(),
            port: 465,
            method: Method::Ssl,
            from: "soc@example.org".parse().unwrap(),
            recipients: vec!["a@example.org".parse().unwrap(), "b@example.org".parse().unwrap()],
        }
    }

    #[test]
    fn the_account_has_the_name_of_the_keys_and_the_channel_refers_to_it() {
        let [account, channel] = documents(&"alpha".parse().unwrap(), &mail());
        assert_eq!(account.path(), Path::new("channels/smtp_account_alpha.json"));
        assert_eq!(channel.path(), Path::new("channels/email_alpha.json"));
        assert_eq!(account.config["name"], "alpha");
        assert_eq!(account.config["smtp_account"]["method"], "ssl");
        assert_eq!(account.config["smtp_account"]["from_address"], "soc@example.org");
        let email = &channel.config["email"];
        assert_eq!(email["email_account_id"], account.config_id);
        assert_eq!(email["recipient_list"][1]["recipient"], "b@example.org");
    }

    #[test]
    fn a_file_that_is_there_is_kept_unless_it_is_told_otherwise() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let made = documents(&"alpha".parse().unwrap(), &mail());
        let paths = write(folder.path(), &made, false)?;
        fs::remove_file(&paths[0])?;
        fs::write(&paths[1], "mine")?;
        let fault = write(folder.path(), &made, false).unwrap_err().to_string();
        assert!(fault.contains("email_alpha.json is there already"), "{fault}");
        assert!(!paths[0].exists(), "half of a pair was written");
        assert_eq!(fs::read_to_string(&paths[1])?, "mine");
        write(folder.path(), &made, true)?;
        let read: Value = serde_json::from_str(&fs::read_to_string(&paths[1])?)?;
        assert_eq!(read, serde_json::to_value(&made[1])?);
        Ok(())
    }

    /// What the plugin takes and refuses was asked of 3.4.0.
    #[test]
    fn addresses() {
        for (text, fits) in [
            ("soc@example.org", true),
            ("Analyst+x.y@Example.co.uk", true),
            ("analyst@localhost", false),
            ("SOC <soc@example.org>", false),
            ("soc@example.org ", false),
            ("@example.org", false),
            ("a..b@example.org", false),
            ("a@-x.org", false),
            ("a@x..org", false),
            ("a@b@example.org", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Address>().is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn methods_are_those_of_the_api() {
        for method in [Method::Ssl, Method::StartTls, Method::None] {
            assert_eq!(method.word().parse(), Ok(method));
        }
        for word in ["tls", "SSL", "starttls", ""] {
            assert!(word.parse::<Method>().is_err(), "{word}");
        }
    }
}
