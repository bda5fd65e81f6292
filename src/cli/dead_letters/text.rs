//! Dead letters as text for people. What a sender wrote cannot steer a terminal: control
//! characters are shown as `\u{1b}`.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{
    cli::printed::cut_to,
    dead_letters::{Item, Whole},
    finding::{printable, printable_lines},
};

/// Above the lines.
pub(super) const HEADING: &str =
    "   id  received              source        attempts     bytes  reason";

/// One line; where it is too long for the terminal, its reason is cut.
pub(super) fn line(item: &Item, width: Option<usize>) -> String {
    let received = match item.received_at.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => printable(&item.received_at),
    };
    let source = printable(source(item));
    let Item { id, attempts, bytes, .. } = item;
    let mut line = format!("{id:>5}  {received:<20}  {source:<12}  {attempts:>8}  {bytes:>8}  ");
    line.push_str(&printable(&item.reason));
    cut_to(width, line)
}

/// Every field, and then the body.
pub(super) fn whole(whole: &Whole) -> String {
    let Whole { item, content_type, encoding, body, body_base64 } = whole;
    let mut text = String::new();
    for (name, value) in [
        ("id", item.id.to_string().as_str()),
        ("received", &item.received_at),
        ("died", &item.died_at),
        ("source", source(item)),
        ("attempts", &item.attempts.to_string()),
        ("bytes", &item.bytes.to_string()),
        ("type", if content_type.is_empty() { "-" } else { content_type }),
        ("encoding", encoding),
        ("reason", &item.reason),
    ] {
        // Writing to a `String` cannot fail.
        writeln!(text, "{name:<10}{}", printable(value)).ok();
    }
    let (note, body) = match (body, body_base64) {
        (Some(body), _) => ("", printable_lines(body)),
        (None, Some(body)) => ("body      no text, so this is base64\n", body.clone()),
        (None, None) => ("", String::new()),
    };
    text.extend([note, "\n", &body]);
    text
}

fn source(item: &Item) -> &str {
    if item.source.is_empty() { "-" } else { &item.source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(reason: &str) -> Item {
        Item {
            id: 7,
            source: String::new(),
            received_at: "2026-11-21T10:30:37.235Z".to_owned(),
            died_at: "2026-11-21T10:30:38Z".to_owned(),
            reason: reason.to_owned(),
            bytes: 6,
            attempts: 1,
        }
    }

    #[test]
    fn a_line_stands_under_its_heading_and_is_cut_to_the_terminal() {
        let whole = line(&item("not JSON"), None);
        assert_eq!(
            whole,
            "    7  2026-11-21T10:30:37Z  -                    1         6  not JSON\n"
        );
        assert_eq!(HEADING.find("reason"), whole.find("not JSON"));
        let long = "wörter ".repeat(30);
        for width in [72, 80, 100] {
            let line = line(&item(&long), Some(width));
            assert_eq!(line.trim_end_matches('\n').chars().count(), width, "{line}");
            assert!(line.ends_with("…\n"));
        }
        let fits = line(&item("not JSON"), Some(whole.chars().count() - 1));
        assert_eq!(fits, whole);
        assert_eq!(line(&item(""), Some(0)), "…\n");
    }

    #[test]
    fn what_a_sender_wrote_cannot_steer_a_terminal() {
        let evil = "a\u{1b}[2Jb\rc\u{9b}d\n";
        let line = line(&item(evil), None);
        assert!(line.ends_with("a\\u{1b}[2Jb\\rc\\u{9b}d\\n\n"), "{line}");
        let shown = whole(&Whole {
            item: item("x"),
            content_type: String::new(),
            encoding: "identity".to_owned(),
            body: Some("{\n\t\"a\": \u{1b}]0;x\u{7}}".to_owned()),
            body_base64: None,
        });
        assert!(shown.ends_with("reason    x\n\n{\n\t\"a\": \\u{1b}]0;x\\u{7}}"), "{shown}");
    }
}
