//! A callback that sends an e-mail by SMTP: one conversation for all receivers, of which one that is
//! refused keeps no other from the mail.
//!
//! A run that is tried again sends the same Message-ID, to those alone that did not take it before.
//! The mails of one alert, engaged and released, refer to the same thread.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    Address,
    message::{Mailbox, header::HeaderName},
    transport::smtp::{client::TlsParameters, extension::ClientId},
};
use tokio::time::Instant;

use super::{Notice, Outcome, Ran, model::Model, template::Template};
use crate::{clock, secrets::MailPassword};

mod compose;
mod conversation;
mod rate;
pub mod settings;
mod verdict;

use rate::Window;

/// Of how many mails it is remembered who took them already.
const REMEMBERED: usize = 1_000;

/// An e-mail that is ready but for its alert.
#[derive(Clone, Debug)]
pub struct Email {
    /// The callback's name.
    callback: String,
    server: String,
    port: u16,
    security: Security,
    hello: ClientId,
    login: Option<Login>,
    from: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    reply_to: Option<Mailbox>,
    subject: Template,
    text: Template,
    /// What is sent where those two fail.
    usual: Usual,
    html: Option<Template>,
    headers: Vec<(HeaderName, Template)>,
    /// Limit of one run, from connecting to the server's last answer.
    pub timeout: Duration,
    rate: Option<Arc<Mutex<Window>>>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Clone, Debug)]
struct Usual {
    subject: Template,
    text: Template,
}

/// How the connection is protected.
#[derive(Clone)]
enum Security {
    None,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::StartTls(_) => "starttls",
            Self::Tls(_) => "tls",
        })
    }
}

#[derive(Clone, Debug)]
struct Login {
    user: String,
    password: Password,
}

/// Where the password is. A file is read for each mail, so that a mended one counts at once.
#[derive(Clone, Debug)]
enum Password {
    Given(MailPassword),
    File(PathBuf),
}

/// Who has taken which mail while others had not yet.
#[derive(Debug, Default)]
struct Taken(VecDeque<(String, BTreeSet<String>)>);

impl Taken {
    fn of(&self, id: &str) -> BTreeSet<String> {
        let found = self.0.iter().find(|(mail, _)| mail == id);
        found.map(|(_, receivers)| receivers.clone()).unwrap_or_default()
    }

    fn keep(&mut self, id: &str, receivers: BTreeSet<String>) {
        self.0.retain(|(mail, _)| mail != id);
        if !receivers.is_empty() {
            self.0.push_back((id.to_owned(), receivers));
        }
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }
}

impl Email {
    /// As the mail of the callback of this name: mail servers drop a second mail of one Message-ID,
    /// and two callbacks may have the same receivers.
    #[must_use]
    pub fn of(self, callback: &str) -> Self {
        Self { callback: callback.to_owned(), ..self }
    }

    /// Sends the mail of an alert. What it came to, and after how long it may be tried again, where
    /// that is known: a mail over the rate is not sent now, and not lost.
    pub async fn run(&self, notice: &Notice) -> (Ran, Option<Duration>) {
        if let Some(wait) = self.wait() {
            let why = format!("waits {} s: more mails than `rate` lets out", wait.as_secs() + 1);
            return (ran(Outcome::Again(why), None, String::new()), Some(wait));
        }
        let mail = match compose::mail(self, &Model::of(notice), notice, clock::now()) {
            Ok(mail) => mail,
            Err(why) => return (ran(Outcome::Refused(why), None, String::new()), None),
        };
        let before = self.taken.lock().unwrap_or_else(PoisonError::into_inner).of(&mail.id);
        let missing: Vec<Address> =
            self.receivers().filter(|to| !before.contains(&to.to_string())).collect();
        let told = conversation::hold(self, &missing, &mail).await;
        let verdict = verdict::of(&told, before.len());
        let mut taken = before;
        match &verdict.outcome {
            Outcome::Again(_) => taken.extend(verdict.taken.iter().cloned()),
            Outcome::Delivered | Outcome::Refused(_) => taken.clear(),
        }
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).keep(&mail.id, taken);
        (ran(verdict.outcome, verdict.status, verdict.answer), None)
    }

    /// The mail as it would be sent.
    ///
    /// # Errors
    /// Why it cannot be made of this alert.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        compose::shown(self, &Model::of(notice), notice)
    }

    fn receivers(&self) -> impl Iterator<Item = Address> {
        let mut seen = BTreeSet::new();
        let all = self.to.iter().chain(&self.cc).chain(&self.bcc);
        let once = all.filter(move |to| seen.insert(to.email.to_string()));
        once.map(|to| to.email.clone()).collect::<Vec<_>>().into_iter()
    }

    /// How long the next mail has to wait; else it is counted.
    fn wait(&self) -> Option<Duration> {
        let rate = self.rate.as_ref()?;
        rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

fn ran(outcome: Outcome, status: Option<i32>, answer: String) -> Ran {
    Ran { outcome, status, answer }
}
