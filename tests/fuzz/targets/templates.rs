//! Templates that users write, for alerts that strangers write.

use std::{io, sync::LazyLock};

use alertloop::callback::{
    Callback, Notice,
    sample::{bare, sample},
    settings::{self, Ground},
    template::{Escape, LONGEST, Template},
};
use jiff::Timestamp;
use serde_json::Value;

use super::bodies;

/// Text that would do something in each of the places where it is printed.
const HOSTILE: &str =
    "</p><script>alert(1)</script>\"'&{{7*7}}${8*8}\\\r\nBcc: a@example.org\u{202e}\0";

/// One of each kind, with Graylog's own texts and the usual ones.
static CALLBACKS: LazyLock<Vec<Callback>> = LazyLock::new(|| {
    let text = include_str!("../seeds/callbacks/all.seed");
    read(text).expect("the callbacks of the seed")
});
static STRANGERS: LazyLock<Notice> = LazyLock::new(|| {
    let mut notice = sample();
    let alert = &mut notice.alert;
    for text in [
        &mut alert.id,
        &mut alert.rule.name,
        &mut alert.rule.id,
        &mut alert.trigger.name,
        &mut alert.message,
        &mut alert.url,
        &mut alert.error,
    ] {
        *text = Some(HOSTILE.to_owned());
    }
    if let Some(occasion) = &mut alert.occasion {
        occasion.stream.title = Some(HOSTILE.to_owned());
        occasion.condition.title = Some(HOSTILE.to_owned());
        for message in &mut occasion.backlog {
            message.message = Some(HOSTILE.to_owned());
            message.fields.insert(HOSTILE.to_owned(), Value::from(HOSTILE));
        }
    }
    notice
});

pub fn read(text: &str) -> Result<Vec<Callback>, Vec<String>> {
    let ground = Ground {
        read_file: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
        variable: &|_| None,
    };
    settings::read(text, &ground)
}

/// Any text is a template or a fault; what it gives is bounded, for any alert.
pub fn template(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for escape in [Escape::None, Escape::Html, Escape::Json] {
        let Ok(template) = Template::compile(&text, escape) else { continue };
        for notice in [&*STRANGERS, &bare()] {
            if let Ok(text) = template.render(notice) {
                assert!(text.len() <= LONGEST + 64, "{} bytes", text.len());
            }
        }
    }
}

/// What is sent for the alerts of any body is what its kind is: JSON is JSON, HTML has no markup of
/// the alert's, a header is a line.
pub fn rendered(body: &[u8]) {
    for alert in bodies::alerts(body).into_iter().take(3) {
        let notice = Notice { alert, received: Timestamp::UNIX_EPOCH, record: None };
        for callback in CALLBACKS.iter() {
            let Ok(text) = callback.how.render(&notice) else { continue };
            match callback.name.as_str() {
                "mail" => mail(&text),
                "page" | "channel" => {}
                _ => drop(
                    serde_json::from_str::<Value>(&text)
                        .unwrap_or_else(|fault| panic!("{}: {fault}: {text}", callback.name)),
                ),
            }
        }
    }
}

fn mail(text: &str) {
    let (headers, _) = text.split_once("\n\n").expect("headers and a text");
    for line in headers.lines() {
        let (name, _) = line.split_once(": ").unwrap_or((line, ""));
        let known = ["From", "To", "Subject", "X-Rule", "Message-ID"];
        assert!(known.contains(&name), "a header is not ours: {line:?}");
        assert!(!line.contains(|letter: char| letter.is_control()), "{line:?}");
    }
    let (_, html) = text.rsplit_once("\n----- as HTML -----\n").expect("a part that is HTML");
    let marks = html.matches('<').count();
    let ours = html.matches("<p>").count() + html.matches("</p>").count();
    assert_eq!(marks, ours, "markup that is not ours: {html}");
}
