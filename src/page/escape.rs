//! How text of others gets into a page: markup becomes text, and characters that cannot be seen, or
//! that turn the direction of what follows, are shown as their code. Every `{{ }}` of every template
//! goes through here (`askama.toml`), so that none can forget it.

use std::fmt::{self, Write};

use askama::filters::Escaper;

/// The escaper of the templates.
#[derive(Clone, Copy, Debug)]
pub struct Html;

impl Escaper for Html {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '<' => dest.write_str("&lt;")?,
                '>' => dest.write_str("&gt;")?,
                '&' => dest.write_str("&amp;")?,
                '"' => dest.write_str("&quot;")?,
                '\'' => dest.write_str("&#39;")?,
                letter if is_hidden(letter) => write!(dest, "\\u{{{:x}}}", u32::from(letter))?,
                letter => dest.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Whether nobody would see a letter, or see others in another order because of it.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The same for what goes into a place that takes plain text, such as a JSON string.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    static TEMPLATES: include_dir::Dir<'_> =
        include_dir::include_dir!("$CARGO_MANIFEST_DIR/src/page/templates");

    #[test]
    fn markup_is_text_and_what_hides_is_shown() {
        for (text, want) in [
            ("a < b & c", "a &lt; b &amp; c"),
            ("\"><script>", "&quot;&gt;&lt;script&gt;"),
            ("it's\n\tso", "it&#39;s\n\tso"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{1b}[2J\r", "\\u{1b}[2J\\u{d}"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("grüße, 東京 🙂", "grüße, 東京 🙂"),
        ] {
            let mut shown = String::new();
            Html.write_escaped_str(&mut shown, text).unwrap();
            assert_eq!(shown, want);
        }
        assert_eq!(plain("a\u{202e}<b>"), "a\\u{202e}<b>");
    }

    #[test]
    fn templates_take_nothing_as_it_is_but_what_we_have_drawn() {
        let ours = [
            "frame.now",
            "began",
            "row.created",
            "finished",
            "next_try",
            "run.began",
            "row.received",
            "died",
            "doctor.at",
            "plan.at",
            "ended",
            "at",
            "last",
            "chart.svg()",
            "list.rows(frame.base)",
        ];
        for file in TEMPLATES.files() {
            let text = file.contents_utf8().unwrap();
            for place in text.split("{{").skip(1) {
                let place = place.split("}}").next().unwrap().trim();
                if let Some((what, _)) = place.split_once("|safe") {
                    assert!(ours.contains(&what), "{}: {what}", file.path().display());
                }
            }
        }
    }
}
