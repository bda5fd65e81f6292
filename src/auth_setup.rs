//! E-mail sender accounts in OpenSearch's keystore.
//!
//! The Notifications plugin logs in to a mail server with what the keystore of its node holds under
//! the name of the `smtp_account`. The keystore is written by OpenSearch's own `opensearch-keystore`
//! ([`tool`]), which gets names as arguments and values over its standard input. Which names a node
//! accepts is decided in [`keys`]: a name that no plugin of a node registers keeps that node from
//! starting. [`files`] makes the objects that use an account.

use anyhow::{Context as _, bail};

use crate::{
    opensearch::{Client, Error, cluster, secure_settings},
    secrets::{KeystorePassword, MailPassword},
};

pub mod files;
pub mod keys;
pub mod name;
pub mod tool;

use keys::Family;
use name::AccountName;
use tool::Tool;

/// What a mail server is told.
#[derive(Clone, Debug)]
pub struct MailLogin {
    /// The user name at the mail server, often an address.
    pub username: String,
    /// The password at the mail server.
    pub password: MailPassword,
}

/// Why a value cannot be stored, or `None`; never repeats the value.
///
/// The tool ends a value at the first line break and stores an empty one without a word. What it
/// reads from a prompt, which is the only way with a keystore password, it reads in the character set
/// of its machine, which may not be UTF-8.
#[must_use]
pub fn unfit(what: &str, value: &str, has_password: bool) -> Option<String> {
    if value.is_empty() {
        return Some(format!("the {what} is empty"));
    }
    if value.chars().any(char::is_control) {
        return Some(format!("the {what} holds a line break or another control character"));
    }
    if has_password && !value.is_ascii() {
        return Some(format!(
            "the {what} is not ASCII, which the tool cannot take while the keystore has a password"
        ));
    }
    None
}

/// Stores an account under the keys of `families`, and gives the keys, sorted.
///
/// The tool writes all of them at once or none; an account that is there already is replaced.
///
/// # Errors
/// When the tool fails; the error says what the keystore holds then.
pub async fn store(
    tool: &Tool,
    name: &AccountName,
    login: &MailLogin,
    families: &[Family],
    password: Option<&KeystorePassword>,
) -> anyhow::Result<Vec<String>> {
    let values = [login.username.as_str(), login.password.expose()];
    let mut wanted = Vec::new();
    for family in families {
        wanted.extend(family.keys(name).into_iter().zip(values));
    }
    if let Err(fault) = tool.add(&wanted, login.password.expose(), password).await {
        let mut keys: Vec<String> = wanted.into_iter().map(|(key, _)| key).collect();
        keys.sort();
        let state = match tool.list(password).await {
            Ok(there) => state_after_failure(&keys, &there),
            Err(_) => "what is stored cannot be told: look with --list".to_owned(),
        };
        return Err(fault.context(format!("{name} was not stored; {state}")));
    }
    let mut keys: Vec<String> = wanted.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    Ok(keys)
}

/// What the keystore holds of the wanted keys after a failure, and what to do.
fn state_after_failure(wanted: &[String], there: &[String]) -> String {
    let stored: Vec<&str> =
        wanted.iter().filter(|key| there.contains(key)).map(String::as_str).collect();
    if stored.is_empty() {
        return "nothing of it is in the keystore; mend the cause, and run this again".to_owned();
    }
    let stored = stored.join(", ");
    format!(
        "in the keystore are {stored}, perhaps with older values; mend the cause, and run this again with --force"
    )
}

/// Removes every key of an account, and gives the keys.
///
/// # Errors
/// When there is no such account, or the tool fails, which removes nothing.
pub async fn remove(
    tool: &Tool,
    name: &str,
    there: &[String],
    password: Option<&KeystorePassword>,
) -> anyhow::Result<Vec<String>> {
    let accounts = keys::accounts(there);
    let Some(account) = accounts.iter().find(|account| account.name == name) else {
        let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("no e-mail account {name} is in the keystore; there are: {names}");
    };
    tool.remove(&account.keys, password).await.context("nothing was removed")?;
    Ok(account.keys.clone())
}

/// Whether a node runs, as far as one can ask.
#[derive(Debug)]
pub enum Node {
    /// Something answers.
    Answers,
    /// Nothing answers, for this reason; a node may still run where we cannot reach it.
    Silent(String),
}

/// Asks whether a node runs. An answer of any kind, a 401 too, comes from somebody.
pub async fn node(client: &Client) -> Node {
    match cluster::about(client).await {
        Err(Error::Unreachable(why)) => Node::Silent(why),
        _ => Node::Answers,
    }
}

/// Has every node read its keystore again, and tells of each.
///
/// # Errors
/// When the API refuses, or a node failed; the error says what to do.
pub async fn reload(
    client: &Client,
    password: Option<&KeystorePassword>,
) -> anyhow::Result<Vec<secure_settings::Reloaded>> {
    let answer = secure_settings::reload(client, password).await.context(
        "the keystore was changed, but no node has read it: restart OpenSearch, or mend the cause \
         and run `POST _nodes/reload_secure_settings`",
    )?;
    let failed: Vec<String> =
        answer.iter().filter_map(secure_settings::Reloaded::failure).collect();
    if !failed.is_empty() {
        bail!(
            "the keystore was changed, but not every node has read it: {}; restart those nodes, or mend \
             the cause and run `POST _nodes/reload_secure_settings`",
            failed.join("; ")
        );
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_would_store_wrongly_is_refused() {
        for (value, has_password, fits) in [
            ("ann@example.org", false, true),
            (r#"päss "wörd' $(x)🔑"#, false, true),
            ("two words", true, true),
            ("", false, false),
            ("a\nb", false, false),
            ("a\rb", false, false),
            ("a\0b", false, false),
            ("pä", true, false),
        ] {
            let fault = unfit("password", value, has_password);
            assert_eq!(fault.is_none(), fits, "{value:?}");
            assert!(fault.is_none_or(|fault| value.is_empty() || !fault.contains(value)));
        }
    }

    #[test]
    fn after_a_failure_one_knows_what_is_stored_and_what_to_do() {
        let wanted = ["x.password".to_owned(), "x.username".to_owned()];
        for (there, want) in [
            (&[][..], "nothing of it is in the keystore; mend"),
            (&["other".to_owned()][..], "nothing of it is in the keystore; mend"),
            (&wanted[1..], "in the keystore are x.username, perhaps with older values"),
            (&wanted[..], "in the keystore are x.password, x.username, perhaps"),
        ] {
            let state = state_after_failure(&wanted, there);
            assert!(state.starts_with(want) && state.contains("run this again"), "{state}");
        }
    }
}
