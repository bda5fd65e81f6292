//! The settings of an e-mail callback, and what is wrong with them.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use lettre::{
    message::{Mailbox, header::HeaderName},
    transport::smtp::{
        client::{Certificate, TlsParameters},
        extension::ClientId,
    },
};
use serde::Deserialize;

use super::{
    Email, Login, Password, Security, Usual,
    rate::{Rate, Window},
};
use crate::{
    callback::{
        settings::Ground,
        template::{Escape, Template},
    },
    secrets::MailPassword,
};

const SUBJECT: &str = include_str!("subject.txt");
const TEXT: &str = include_str!("text.txt");
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most receivers of one mail; servers take 100 at least (RFC 5321, 4.5.3.1.8).
const RECEIVERS: usize = 100;
/// Headers that are the mail's own.
const OWN: [&str; 17] = [
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "sender",
    "reply-to",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "return-path",
    "received",
    "auto-submitted",
];

/// What `[[callback]]` says for `type = "email"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name or address of the mail server.
    pub server: String,
    /// Its port; by `tls`: 587, 465 or 25.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// A PEM file with certificates that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Hidden>,
    /// The file that holds it; read for each mail.
    pub password_file: Option<PathBuf>,
    /// The variable of the environment that holds it.
    pub password_env: Option<String>,
    /// The name that we greet with; the domain of `from` where none is given.
    pub hello: Option<String>,
    /// Who sends: `soc@example.org`, `SOC <soc@example.org>`.
    pub from: String,
    /// Who gets it.
    #[serde(default)]
    pub to: Receivers,
    /// Who gets it too.
    #[serde(default)]
    pub cc: Receivers,
    /// Who gets it unseen.
    #[serde(default)]
    pub bcc: Receivers,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// Template of the subject.
    pub subject: Option<String>,
    /// Template of the text.
    pub text: Option<String>,
    /// Template of the HTML; without it the mail is plain text.
    pub html: Option<String>,
    /// Further headers; each value is a template.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Limit of one run: `30s`.
    pub timeout: Option<String>,
    /// How many mails may go out: `30/min`. The others wait.
    pub rate: Option<String>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain first, then TLS; without it nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

/// One address, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be an address or a list of them")]
pub enum Receivers {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Receivers {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// A text that is not printed.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub struct Hidden(MailPassword);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Settings {
    /// Makes the callback.
    ///
    /// # Errors
    /// All that is wrong, each as `key: what`, without a secret.
    pub fn build(self, ground: &Ground) -> Result<Email, Vec<String>> {
        let mut faults = Faults::default();
        let from = faults.parsed::<Mailbox>("from", &self.from, ADDRESS);
        let mut list = |name: &str, receivers: Receivers| match receivers {
            Receivers::One(one) => faults.addresses(name, &[one]),
            Receivers::Several(several) => faults.addresses(name, &several),
        };
        let (to, cc, bcc) = (list("to", self.to), list("cc", self.cc), list("bcc", self.bcc));
        let all = to.len() + cc.len() + bcc.len();
        if all == 0 && faults.0.is_empty() {
            faults.note("to", "names no receiver; nobody would get the mail");
        }
        if all > RECEIVERS {
            faults.note("to", format!("more than {RECEIVERS} receivers; use an address of a list"));
        }
        let reply_to =
            self.reply_to.map(|text| faults.parsed::<Mailbox>("reply_to", &text, ADDRESS));
        let server = self.server.trim().to_owned();
        if server.is_empty() || server.contains(['/', ' ', '@']) {
            faults.note("server", "needs the name or address of a mail server, without a port");
        }
        let subject =
            faults.template("subject", self.subject.as_deref().unwrap_or(SUBJECT), Escape::None);
        let text = faults.template("text", self.text.as_deref().unwrap_or(TEXT), Escape::None);
        let usual = (
            faults.template("subject", SUBJECT, Escape::None),
            faults.template("text", TEXT, Escape::None),
        );
        let html = self.html.map(|html| faults.template("html", &html, Escape::Html));
        let headers = faults.headers(self.headers);
        let timeout = self.timeout.map_or(Some(TIMEOUT), |text| {
            faults.taken("timeout", crate::config::limit(text.trim()))
        });
        let rate = self.rate.map(|text| faults.taken("rate", text.parse::<Rate>()));
        let secret =
            Secret { plain: self.password, file: self.password_file, variable: self.password_env };
        let login = faults.login(self.user, secret, ground);
        let security = faults.security(self.tls, &server, self.ca.as_deref(), ground);
        let port = self.port.unwrap_or(match self.tls {
            Tls::StartTls => 587,
            Tls::Tls => 465,
            Tls::None => 25,
        });
        let hello = self.hello.filter(|name| !name.trim().is_empty());
        let usual = usual.0.zip(usual.1).map(|(subject, text)| Usual { subject, text });
        let complete = (from, subject, text, usual, timeout, security);
        let (
            (Some(from), Some(subject), Some(text), Some(usual), Some(timeout), Some(security)),
            true,
        ) = (complete, faults.0.is_empty())
        else {
            return Err(faults.0);
        };
        let hello = hello.unwrap_or_else(|| from.email.domain().to_owned());
        Ok(Email {
            callback: String::new(),
            server,
            port,
            security,
            hello: ClientId::Domain(hello),
            login,
            from,
            to,
            cc,
            bcc,
            reply_to: reply_to.flatten(),
            subject,
            text,
            usual,
            html: html.flatten(),
            headers,
            timeout,
            rate: rate.flatten().map(|rate| Arc::new(Window::new(rate).into())),
            taken: Arc::default(),
        })
    }
}

const ADDRESS: &str = "is no e-mail address; write soc@example.org or SOC <soc@example.org>";

struct Secret {
    plain: Option<Hidden>,
    file: Option<PathBuf>,
    variable: Option<String>,
}

/// Everything that is wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn note(&mut self, name: &str, what: impl Display) {
        self.0.push(format!("{name}: {what}"));
    }

    fn taken<T>(&mut self, name: &str, read: Result<T, impl Display>) -> Option<T> {
        read.map_err(|what| self.note(name, what)).ok()
    }

    fn parsed<T: FromStr>(&mut self, name: &str, text: &str, what: &str) -> Option<T> {
        self.taken(name, text.trim().parse::<T>().map_err(|_| format!("{text:?} {what}")))
    }

    fn addresses(&mut self, name: &str, texts: &[String]) -> Vec<Mailbox> {
        texts.iter().filter_map(|text| self.parsed(name, text, ADDRESS)).collect()
    }

    fn template(&mut self, name: &str, text: &str, escape: Escape) -> Option<Template> {
        self.taken(name, Template::compile(text, escape))
    }

    fn headers(&mut self, headers: BTreeMap<String, String>) -> Vec<(HeaderName, Template)> {
        let mut all = Vec::new();
        for (name, value) in headers {
            let place = format!("headers.{name}");
            if OWN.contains(&name.to_ascii_lowercase().as_str()) {
                self.note(&place, "is the mail's own; it has a setting of its own, or none");
                continue;
            }
            let known = HeaderName::new_from_ascii(name.clone());
            let known = self.taken(&place, known.map_err(|_| "is no name of a header"));
            let value = self.template(&place, &value, Escape::None);
            all.extend(known.zip(value));
        }
        all
    }

    fn login(&mut self, user: Option<String>, secret: Secret, ground: &Ground) -> Option<Login> {
        let password = match (secret.plain, secret.file, secret.variable) {
            (None, None, None) => None,
            (Some(Hidden(password)), None, None) => Some(Password::Given(password)),
            (None, Some(path), None) => {
                // What cannot be read now is told now; what is in it counts when a mail is sent.
                let read = (ground.read_file)(&path);
                self.taken(
                    "password_file",
                    read.map_err(|why| format!("cannot read the file: {why}")),
                )
                .map(|_| Password::File(path))
            }
            (None, None, Some(name)) => {
                let value = (ground.variable)(&name).filter(|value| !value.is_empty());
                let value = value.ok_or("the variable that it names is not set, or empty");
                self.taken("password_env", value).map(|value| Password::Given(value.into()))
            }
            _ => {
                let what = "is given twice; keep one of password, password_file, password_env";
                self.note("password", what);
                return None;
            }
        };
        match (user, password) {
            (Some(user), Some(password)) => Some(Login { user, password }),
            (None, None) => None,
            (Some(_), None) => {
                if self.0.iter().all(|fault| !fault.starts_with("password")) {
                    self.note("user", "has no password; give password_file or password_env");
                }
                None
            }
            (None, Some(_)) => {
                self.note("user", "is missing beside the password");
                None
            }
        }
    }

    fn security(
        &mut self,
        tls: Tls,
        server: &str,
        ca: Option<&Path>,
        ground: &Ground,
    ) -> Option<Security> {
        if tls == Tls::None {
            if ca.is_some() {
                self.note("ca", "counts only with TLS; remove it, or set tls");
            }
            return Some(Security::None);
        }
        let mut parameters = TlsParameters::builder(server.to_owned());
        if let Some(path) = ca {
            let pem =
                (ground.read_file)(path).map_err(|why| format!("cannot read the file: {why}"));
            let pem = self.taken("ca", pem)?;
            let certificate =
                Certificate::from_pem(&pem).map_err(|_| "the file holds no PEM certificate");
            parameters = parameters.add_root_certificate(self.taken("ca", certificate)?);
        }
        let parameters = parameters.build().map_err(|why| format!("TLS cannot be set up: {why}"));
        let parameters = self.taken("tls", parameters)?;
        Some(if tls == Tls::Tls {
            Security::Tls(parameters)
        } else {
            Security::StartTls(parameters)
        })
    }
}

#[cfg(test)]
mod tests;
