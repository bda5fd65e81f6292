//! The text of HTML: ntopng writes its messages for its own pages, with links and icons in them.
//! What comes out never holds a tag, whatever goes in.

/// How much of a message is looked at, in bytes.
const LONGEST: usize = 16 << 10;
/// Elements whose content is no text.
const SILENT: [&str; 2] = ["script", "style"];
/// Elements that stand on lines of their own, or between words.
const APART: [&str; 15] = [
    "br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "table", "hr", "h1", "h2", "h3", "option",
];
/// Entities beyond numbers; others stay as they are.
const ENTITIES: [(&str, char); 24] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("deg", '°'),
    ("middot", '·'),
    ("bull", '•'),
    ("hellip", '…'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("larr", '←'),
    ("rarr", '→'),
    ("harr", '↔'),
    ("times", '×'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("micro", 'µ'),
    ("le", '≤'),
    ("ge", '≥'),
];

/// The text of `html`, on one line: tags and what they hide are gone, entities are characters.
#[must_use]
pub fn text(html: &str) -> String {
    let html = &html[..html.floor_char_boundary(LONGEST)];
    let text = if html.contains('<') { without_tags(html) } else { html.to_owned() };
    // An entity may spell a tag: what it spells must not become one.
    let text = if text.contains('&') { without_tags(&decoded(&text)) } else { text };
    let text = if text.contains('<') { harmless(&text) } else { text };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn without_tags(html: &str) -> String {
    let mut output = String::with_capacity(html.len());
    let mut rest = html;
    let mut may_end = true;
    while let Some(at) = rest.find('<') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // `2 < 3` is text.
        if !rest.starts_with(begins_tag) {
            output.push('<');
            continue;
        }
        let end = if may_end { end_of_tag(rest) } else { None };
        let Some(end) = end else {
            // It was cut off. Without its beginning it is no tag any more, and still readable.
            may_end = false;
            output.push(' ');
            continue;
        };
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let name = name_of(tag);
        rest = match SILENT.into_iter().find(|silent| name.eq_ignore_ascii_case(silent)) {
            Some(silent) if !tag.starts_with('/') && !tag.ends_with('/') => past(after, silent),
            _ => after,
        };
        if APART.iter().any(|apart| name.eq_ignore_ascii_case(apart)) {
            output.push(' ');
        }
    }
    output.push_str(rest);
    output
}

fn begins_tag(c: char) -> bool {
    c.is_ascii_alphabetic() || "/!?".contains(c)
}

/// Without what has become the beginning of a tag when others were taken out.
fn harmless(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        while begins_tag(c) && output.ends_with('<') {
            output.pop();
        }
        output.push(c);
    }
    output
}

/// Where the `>` of a tag stands, in what follows its `<`: the first that is not in quotes, else the
/// first; of a comment the one that ends it.
fn end_of_tag(rest: &str) -> Option<usize> {
    if rest.starts_with("!--") {
        return rest.find("-->").map(|at| at + 2).or_else(|| rest.find('>'));
    }
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    rest.find('>')
}

fn name_of(tag: &str) -> &str {
    let tag = tag.strip_prefix('/').unwrap_or(tag);
    &tag[..tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len())]
}

/// What follows the end of a silent element; nothing where it has none.
fn past<'a>(text: &'a str, element: &str) -> &'a str {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let end = from + at + 2;
        if name_of(&text[end..]).eq_ignore_ascii_case(element) {
            return text[end..].find('>').map_or("", |close| &text[end + close + 1..]);
        }
        from = end;
    }
    ""
}

fn decoded(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.bytes().take(10).position(|byte| byte == b';');
        match end.and_then(|end| Some((end, entity(&rest[..end])?))) {
            Some((end, character)) => {
                output.push(character);
                rest = &rest[end + 1..];
            }
            None => output.push('&'),
        }
    }
    output.push_str(rest);
    output
}

fn entity(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, character)| *character);
    };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    };
    char::from_u32(number?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_gone_and_what_it_says_is_left() {
        for (html, want) in [
            ("plain", "plain"),
            ("", ""),
            (
                r#"IP 1.2.3.4 changed association from <a href="/lua/mac_details.lua?host=4a:00">4a:00</a> to <a href='x>y'>4b:00</a>"#,
                "IP 1.2.3.4 changed association from 4a:00 to 4b:00",
            ),
            ("a<br>b<BR/>c<p>d</p>e", "a b c d e"),
            ("<i class='fa fa-ok'></i> No alert", "No alert"),
            ("bo<b>l</b>d", "bold"),
            ("2 < 3 and 4 > 3", "2 < 3 and 4 > 3"),
            ("traffic [2.1 MB > 1 MB]", "traffic [2.1 MB > 1 MB]"),
            (
                "a &amp; b &lt; c &quot;d&quot; &#39;e&#39; &#x2192; f&nbsp;g",
                "a & b < c \"d\" 'e' → f g",
            ),
            ("AT&T &unknown; &#xffffffff; &", "AT&T &unknown; &#xffffffff; &"),
            ("x<script>alert('1 </b> 2')</script>y", "xy"),
            ("x<SCRIPT src=a>never ends", "x"),
            ("x<style>p{}</style >y<!-- no <b> -->z", "xyz"),
            ("&lt;script&gt;alert(1)&lt;/script&gt;ok", "ok"),
            ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
            ("cut off <a href=\"/lua/host", "cut off a href=\"/lua/host"),
            ("<<b>i>x", "i>x"),
            ("tab\tand\nline\u{0}\u{7f}end", "tab and line end"),
            ("<svg/onload=alert(1)>x", "x"),
            ("<?php echo 1 ?>x<!DOCTYPE html>y", "xy"),
            ("größer &ouml; <b>ü</b>", "größer &ouml; ü"),
        ] {
            assert_eq!(text(html), want, "{html}");
        }
    }

    #[test]
    fn a_long_one_takes_no_longer_than_it_is_long() {
        for piece in ["<a \"", "<script>", "</", "&", "<!--", "<a"] {
            let html = piece.repeat(LONGEST / piece.len() + 1);
            let begin = std::time::Instant::now();
            std::hint::black_box(text(&html));
            assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn no_tag_ever_comes_out(html in "[<>/!a-c&;\"' =-]{0,40}|(&lt;|&gt;|<script>|</b>|x| |<|>){0,12}") {
            let text = text(&html);
            let mut rest = text.as_str();
            while let Some(at) = rest.find('<') {
                rest = &rest[at + 1..];
                prop_assert!(
                    !rest.starts_with(begins_tag),
                    "{html:?} became {text:?}"
                );
            }
        }
    }
}
