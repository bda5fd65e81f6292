//! One conversation with a mail server: connect, TLS, login, the receivers one by one, the mail.
//!
//! `lettre` sends to all receivers or to none; here each has its own answer.

use std::path::PathBuf;

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt, Rset},
        response::Response,
    },
};

use super::{Email, Login, Password, Security, compose};
use crate::secrets::mask::Mask;

/// What the server said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What went wrong before the mail could be offered.
    pub broken: Option<String>,
    /// To the login, where it was refused.
    pub login: Option<Reply>,
    /// To the sender.
    pub sender: Option<Reply>,
    /// To each receiver.
    pub receivers: Vec<(String, Reply)>,
    /// To the mail.
    pub mail: Option<Reply>,
}

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `250`, `450` and so on.
    pub code: u16,
    /// What it said.
    pub text: String,
}

impl Reply {
    /// Of a good answer, or of one that refuses; what else went wrong is an error.
    fn of(answer: Result<Response, Error>) -> Result<Self, String> {
        match answer {
            Ok(response) => {
                let text: Vec<&str> = response.message().collect();
                Ok(Self { code: response.code().into(), text: text.join(" ") })
            }
            Err(fault) => match fault.status() {
                Some(code) => {
                    let text = std::error::Error::source(&fault).map(ToString::to_string);
                    Ok(Self { code: code.into(), text: text.unwrap_or_default() })
                }
                None => Err(fault.to_string()),
            },
        }
    }

    fn is_good(&self) -> bool {
        self.code < 400
    }
}

/// Offers a mail to these receivers, within the callback's time. What was said before the time was
/// over is told.
pub async fn hold(email: &Email, to: &[Address], mail: &compose::Mail) -> Told {
    let mut told = Told::default();
    let talked = tokio::time::timeout(email.timeout, talk(email, to, mail, &mut told)).await;
    told.broken = if let Ok(talked) = talked {
        talked.err()
    } else {
        let seconds = email.timeout.as_secs_f32();
        Some(format!("no answer of {}:{} within {seconds} s", email.server, email.port))
    };
    told
}

async fn talk(
    email: &Email,
    to: &[Address],
    mail: &compose::Mail,
    told: &mut Told,
) -> Result<(), String> {
    let mut server = connect(email).await?;
    if let Some(login) = &email.login
        && let Some(refused) = log_in(&mut server, login).await?
    {
        told.login = Some(refused);
        server.abort().await;
        return Ok(());
    }
    let sender = Mail::new(Some(email.from.email.clone()), Vec::new());
    let sender = Reply::of(server.command(sender).await)?;
    let is_good = sender.is_good();
    told.sender = Some(sender);
    if is_good {
        for receiver in to {
            let reply = Reply::of(server.command(Rcpt::new(receiver.clone(), Vec::new())).await)?;
            told.receivers.push((receiver.to_string(), reply));
        }
    }
    if told.receivers.iter().any(|(_, reply)| reply.is_good()) {
        let offered = Reply::of(server.command(Data).await)?;
        let is_wanted = offered.is_good();
        told.mail = Some(offered);
        if is_wanted {
            told.mail = None;
            told.mail = Some(Reply::of(server.message(&mail.bytes).await)?);
        }
    } else {
        drop(server.command(Rset).await);
    }
    // What is said after the mail was taken changes nothing.
    drop(server.quit().await);
    Ok(())
}

async fn connect(email: &Email) -> Result<AsyncSmtpConnection, String> {
    let address = (email.server.as_str(), email.port);
    let tls = match &email.security {
        Security::Tls(tls) => Some(tls.clone()),
        Security::None | Security::StartTls(_) => None,
    };
    let server =
        AsyncSmtpConnection::connect_tokio1(address, Some(email.timeout), &email.hello, tls, None)
            .await;
    let place = format!("{}:{}", email.server, email.port);
    let mut server =
        server.map_err(|fault| format!("cannot connect to {place}: {}", told(&fault)))?;
    if let Security::StartTls(tls) = &email.security {
        if !server.can_starttls() {
            server.abort().await;
            return Err(format!("{place} offers no STARTTLS; set tls to \"tls\" or \"none\""));
        }
        let started = server.starttls(tls.clone(), &email.hello).await;
        started.map_err(|fault| format!("TLS with {place} failed: {}", told(&fault)))?;
    }
    Ok(server)
}

/// What refused the login; `None` where it was good.
async fn log_in(server: &mut AsyncSmtpConnection, login: &Login) -> Result<Option<Reply>, String> {
    const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
    if server.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
        server.abort().await;
        return Err("the server takes no login (AUTH PLAIN or LOGIN) on this connection; \
                    remove `user`, or set tls"
            .to_owned());
    }
    let password = match &login.password {
        Password::Given(password) => password.expose().to_owned(),
        Password::File(path) => read(path.clone()).await?,
    };
    // Some servers repeat what they refuse.
    let mut mask = Mask::default();
    mask.add(&password);
    let credentials = Credentials::new(login.user.clone(), password);
    let reply = Reply::of(server.auth(&MECHANISMS, &credentials).await);
    let reply = reply.map_err(|fault| mask.apply(fault, false))?;
    let reply = Reply { text: mask.apply(reply.text, false), ..reply };
    Ok((!reply.is_good()).then_some(reply))
}

async fn read(path: PathBuf) -> Result<String, String> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = read.map_err(std::io::Error::other).and_then(|read| read);
    let text = text.map_err(|fault| format!("cannot read password_file {shown}: {fault}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// An error with its causes, and what to do about one that says it badly.
fn told(fault: &Error) -> String {
    let text = fault.to_string().replace("Connection error: ", "");
    if fault.is_timeout() {
        return format!("no answer in time ({text})");
    }
    if text.contains("CaUsedAsEndEntity") {
        return format!(
            "{text}: the server's certificate is marked as an authority's; make it anew with \
             `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
        );
    }
    text
}
