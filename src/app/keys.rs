//! Secrets and passwords that are in files, read again when the files change: so that they can be
//! changed without a restart, and no alert is refused meanwhile.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::{self, Config, locks::Person},
    http::access::{Access, User},
    secrets::{Login, Password, WebhookToken},
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What is in which file.
pub struct Keys {
    access: Arc<Access>,
    /// Told when our secret is another one: the channel has to carry it.
    changed: Arc<Notify>,
    token: Option<Followed>,
    previous: Option<Followed>,
    users: Vec<(Person, Option<Followed>)>,
}

impl Keys {
    pub fn new(config: &Config, access: Arc<Access>, changed: Arc<Notify>) -> Self {
        let locks = &config.locks;
        let follow = |file: &Option<PathBuf>, now: Option<&str>| {
            let seen = now.unwrap_or_default().to_owned();
            file.clone().map(|file| Followed { file, seen, fault: None, said: None })
        };
        let user = |person: &Person| {
            let followed = follow(&person.file, Some(person.password.expose()));
            (person.clone(), followed)
        };
        Self {
            access,
            changed,
            token: follow(&locks.token_file, config.token.as_ref().map(WebhookToken::expose)),
            previous: follow(
                &locks.token_previous_file,
                config.token_previous.as_ref().map(WebhookToken::expose),
            ),
            users: locks.users.iter().map(user).collect(),
        }
    }

    /// Follows the files until `stop`.
    pub async fn follow(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            tokio::task::block_in_place(|| self.look());
        }
    }

    fn look(&mut self) {
        // First, so that an old secret that has moved there is not refused for a moment.
        if let Some(token) = self.previous.as_mut().and_then(Followed::token) {
            self.access.set_previous(Some(token));
            info!("the previous intake secret was read again");
        }
        if let Some(token) = self.token.as_mut().and_then(Followed::token) {
            self.access.replace(token);
            self.changed.notify_one();
            info!(
                "the intake secret was read again; the one before is accepted until the channel carries the new one"
            );
        }
        let mut is_new = false;
        for (person, followed) in &mut self.users {
            if let Some(text) = followed.as_mut().and_then(|followed| followed.text(|_| Ok(()))) {
                info!(user.name = person.name, "the password was read again");
                person.password = Password::from(text);
                is_new = true;
            }
        }
        if is_new {
            self.access.set_users(users(self.users.iter().map(|(person, _)| person)));
        }
    }
}

/// Who may log in.
pub fn users<'a>(people: impl Iterator<Item = &'a Person>) -> Vec<User> {
    let user = |person: &Person| {
        let (user, password) = (person.name.clone(), person.password.clone());
        User { login: Login { user, password }, role: person.role }
    };
    people.map(user).collect()
}

/// A file, and what it held when it was last good.
struct Followed {
    file: PathBuf,
    seen: String,
    /// What is wrong with it since the last look.
    fault: Option<String>,
    said: Option<String>,
}

impl Followed {
    /// What it holds, where that is new and good. What it held before holds on otherwise.
    fn text(&mut self, check: impl Fn(&str) -> Result<(), &'static str>) -> Option<String> {
        let read = config::secret_file(&self.file);
        let read = read.and_then(|text| {
            if text == self.seen {
                return Ok(None);
            }
            check(&text).map(|()| Some(text)).map_err(str::to_owned)
        });
        match read {
            Ok(text) => {
                (self.fault, self.said) = (None, None);
                self.seen.clone_from(text.as_ref()?);
                text
            }
            Err(fault) => {
                // It may be half written at the first look.
                let lasts = self.fault.as_ref() == Some(&fault);
                if lasts && self.said.as_ref() != Some(&fault) {
                    warn!(
                        file.path = %self.file.display(),
                        error = fault,
                        "a file of a secret is no good any more; what it held before is used on"
                    );
                    self.said = Some(fault.clone());
                }
                self.fault = Some(fault);
                None
            }
        }
    }

    fn token(&mut self) -> Option<WebhookToken> {
        let text = self.text(|text| text.parse::<WebhookToken>().map(|_| ()))?;
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_file_changes_nothing_and_a_new_secret_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let seen = "0123456789abcdef".to_owned();
        let mut followed = Followed { file: file.clone(), seen, fault: None, said: None };
        for (text, want) in [
            (None, None),
            (Some("0123456789abcdef\n"), None),
            (Some("short\n"), None),
            (Some(""), None),
            (Some("fedcba9876543210\r\n"), Some("fedcba9876543210")),
            (Some("fedcba9876543210"), None),
            (Some("0123456789abcdef"), Some("0123456789abcdef")),
        ] {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => assert!(!file.exists()),
            }
            let token = followed.token();
            assert_eq!(token.as_ref().map(WebhookToken::expose), want, "{text:?}");
        }
    }
}
