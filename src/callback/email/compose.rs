//! The mail of an alert, with its headers. Pure.
//!
//! What an alert holds gets into a header as one line of bounded length, whatever it holds.

use jiff::Timestamp;
use lettre::{
    Message,
    address::Envelope,
    message::{
        MultiPart, SinglePart,
        header::{Header, HeaderName, HeaderValue, To},
    },
};

use super::Email;
use crate::{
    alert::link::turns_or_steers,
    callback::{Notice, model::Model, template::Template},
};

/// The longest subject, in letters; more is cut.
const SUBJECT: usize = 250;
/// The longest value of a header, in letters.
const HEADER: usize = 900;

/// A mail that can be sent.
#[derive(Debug)]
pub struct Mail {
    /// Its Message-ID: the same whenever the same delivery is tried.
    pub id: String,
    /// The mail as it goes over the wire.
    pub bytes: Vec<u8>,
}

/// The mail of `notice`, sent at `now`. A template that fails for this alert is replaced by the usual
/// one, and the mail says so.
///
/// # Errors
/// Why there can be no such mail.
pub fn mail(email: &Email, model: &Model, notice: &Notice, now: Timestamp) -> Result<Mail, String> {
    let id = message_id(email, notice);
    let thread = thread_id(email, notice);
    let mut failed = Vec::new();
    let mut text = |name: &str, template: &Template, usual: Option<&Template>| {
        let rendered = template.render_model(model).map_err(|fault| {
            failed.push(format!("{name}: {fault}"));
        });
        rendered.ok().or_else(|| usual?.render_model(model).ok())
    };
    let subject = text("subject", &email.subject, Some(&email.usual.subject)).unwrap_or_default();
    let mut plain = text("text", &email.text, Some(&email.usual.text)).unwrap_or_default();
    let html = email.html.as_ref().and_then(|html| text("html", html, None));
    let headers = email.headers.iter().filter_map(|(name, template)| {
        Some(HeaderValue::new(name.clone(), line(&text(name, template, None)?, HEADER)))
    });
    let headers: Vec<HeaderValue> = headers.collect();
    if !failed.is_empty() {
        plain
            .extend([format!("\n(templates that failed for this alert: {})\n", failed.join("; "))]);
    }
    let (plain, html) = (body(&plain), html.as_deref().map(body));
    let mut builder = Message::builder()
        .from(email.from.clone())
        .subject(line(&subject, SUBJECT))
        .date(now.into())
        .message_id(Some(id.clone()))
        .in_reply_to(thread.clone())
        .references(thread)
        // Lest holiday notes and the like are sent back.
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Auto-Response-Suppress", "All"));
    for to in &email.to {
        builder = builder.to(to.clone());
    }
    for cc in &email.cc {
        builder = builder.cc(cc.clone());
    }
    if let Some(reply_to) = &email.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    if email.to.is_empty() && email.cc.is_empty() {
        let nobody = "undisclosed-recipients:;".to_owned();
        let value = HeaderValue::dangerous_new_pre_encoded(To::name(), nobody.clone(), nobody);
        builder = builder.raw_header(value);
    }
    for header in headers {
        builder = builder.raw_header(header);
    }
    let fault = |fault: &dyn std::fmt::Display| format!("the mail cannot be made: {fault}");
    let all = email.receivers().collect();
    let envelope = Envelope::new(Some(email.from.email.clone()), all).map_err(|why| fault(&why))?;
    builder = builder.envelope(envelope);
    let message = match html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(plain, html)),
        None => builder.singlepart(SinglePart::plain(plain)),
    };
    Ok(Mail { id, bytes: message.map_err(|why| fault(&why))?.formatted() })
}

/// The mail for people: headers and texts, without the encodings of the wire.
///
/// # Errors
/// What a template cannot do with this alert.
pub fn shown(email: &Email, model: &Model, notice: &Notice) -> Result<String, String> {
    let text =
        |template: &Template| template.render_model(model).map_err(|fault| fault.to_string());
    let list = |all: &[lettre::message::Mailbox]| {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let mut shown = format!("From: {}\nTo: {}\n", email.from, list(&email.to));
    for (name, all) in [("Cc", &email.cc), ("Bcc", &email.bcc)] {
        if !all.is_empty() {
            shown.extend([format!("{name}: {}\n", list(all))]);
        }
    }
    shown.extend([format!("Subject: {}\n", line(&text(&email.subject)?, SUBJECT))]);
    for (name, template) in &email.headers {
        shown.extend([format!("{name}: {}\n", line(&text(template)?, HEADER))]);
    }
    shown.extend([format!("Message-ID: {}\n\n{}", message_id(email, notice), text(&email.text)?)]);
    if let Some(html) = &email.html {
        shown.extend([format!("\n----- as HTML -----\n{}", text(html)?)]);
    }
    Ok(shown)
}

/// On one line: what breaks lines, turns text around, or is no letter at all, becomes a space.
fn line(text: &str, most: usize) -> String {
    let words: Vec<&str> =
        text.split(|c| turns_or_steers(c) || c == ' ').filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Without what mail servers refuse in a text, such as NUL and a carriage return by itself: one log
/// line that holds it would keep the alert from everybody.
fn body(text: &str) -> String {
    let letter = |c: char| match c {
        '\r' => '\n',
        '\n' | '\t' => c,
        c if c.is_ascii_control() => ' ',
        c => c,
    };
    text.replace("\r\n", "\n").chars().map(letter).collect()
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The same for each try of the same delivery: made of the callback, the alert and its state.
fn message_id(email: &Email, notice: &Notice) -> String {
    let alert = &notice.alert;
    let as_of = alert.as_of.or(alert.end).map(|at| at.to_string()).unwrap_or_default();
    let receivers: Vec<String> = email.receivers().map(|to| to.to_string()).collect();
    let parts = [
        email.callback.clone(),
        identity(notice),
        alert.phase.action().to_owned(),
        as_of,
        notice.received.to_string(),
        receivers.join(","),
    ];
    id(email, "mail", &parts)
}

/// The same for all mails about one alert: as if they all answered one.
fn thread_id(email: &Email, notice: &Notice) -> String {
    id(email, "alert", &[identity(notice)])
}

/// What the alert is known by: its record, else its own id, else what it is about.
fn identity(notice: &Notice) -> String {
    let alert = &notice.alert;
    if let Some((index, id)) = &notice.record {
        return format!("{index}/{id}");
    }
    let name = |named: &crate::alert::Named| named.id.clone().or_else(|| named.name.clone());
    let start = alert.began.or(alert.start).map(|at| at.to_string());
    let parts = [name(&alert.rule), name(&alert.trigger), start];
    let about = || parts.iter().flatten().cloned().collect::<Vec<_>>().join("/");
    format!("{}/{}", alert.source.name(), alert.id.clone().unwrap_or_else(about))
}

fn id(email: &Email, kind: &str, parts: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    let hash = hasher.finalize().to_hex();
    format!("<{}.{kind}.alertloop@{}>", &hash[..32], email.from.email.domain())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line_whatever_an_alert_holds() {
        for (text, want) in [
            ("plain", "plain"),
            ("a\r\nBcc: evil@example.org", "a Bcc: evil@example.org"),
            ("a\n\n\tb  c\u{2028}d\0e ", "a b c d e"),
            ("", ""),
        ] {
            assert_eq!(line(text, 99), want, "{text:?}");
        }
        assert_eq!(line("äöü", 2), "äö…");
    }
}
