//! The kinds of callbacks.

use std::time::Duration;

use super::{
    Notice, Outcome, Ran, email::Email, http::Http, notification::Notification, script::Script,
};
use crate::opensearch::Client;

/// What a callback does.
#[derive(Clone, Debug)]
pub enum How {
    /// Sends a request.
    Http(Box<Http>),
    /// Runs a program.
    Script(Box<Script>),
    /// Sends an e-mail.
    Email(Box<Email>),
    /// Sends a message through a channel of OpenSearch.
    OpenSearch(Box<Notification>),
}

/// What a run came to, and when the other side wants to be asked again, if it said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What it came to.
    pub ran: Ran,
    /// After how long it may be tried again.
    pub after: Option<Duration>,
}

impl From<Ran> for Answered {
    fn from(ran: Ran) -> Self {
        Self { ran, after: None }
    }
}

impl How {
    /// The name of its kind, as the configuration has it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Script(_) => "script",
            Self::Email(_) => "email",
            Self::OpenSearch(_) => "opensearch",
        }
    }

    /// How long a run may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        match self {
            Self::Http(http) => http.timeout,
            Self::Script(script) => script.timeout,
            Self::Email(email) => email.timeout,
            Self::OpenSearch(notification) => notification.timeout,
        }
    }

    /// Does it. `store` is where channels are.
    pub async fn run(&self, notice: &Notice, store: Option<&Client>) -> Answered {
        match self {
            Self::Http(http) => http.run(notice).await,
            Self::Script(script) => script.run(notice).await.into(),
            Self::Email(email) => {
                let (ran, after) = email.run(notice).await;
                Answered { ran, after }
            }
            Self::OpenSearch(notification) => {
                let Some(store) = store else {
                    let outcome = Outcome::Again("no OpenSearch is configured".to_owned());
                    return Ran { outcome, status: None, answer: String::new() }.into();
                };
                notification.run(store, notice).await.into()
            }
        }
    }

    /// What it would send.
    ///
    /// # Errors
    /// Why that cannot be made of this alert.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Http(http) => http.render(notice),
            Self::Script(script) => script.render(notice),
            Self::Email(email) => email.render(notice),
            Self::OpenSearch(notification) => notification.render(notice),
        }
    }
}
