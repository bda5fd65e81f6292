//! How times, spans, numbers and severities are written for people. Pure.

use askama::filters::Escaper as _;
use jiff::{SignedDuration, Timestamp};

use super::escape::Html;

/// A time, for `<time>`: what a machine reads, and what people do. In UTC; where a browser runs our
/// script, it shows its own zone besides. Templates take it as it is (`safe`): what is not ours in it
/// went through the escaper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When(Option<Timestamp>, String);

impl When {
    /// Of a text; one that is no time is shown as it is.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text.parse::<Timestamp>() {
            Ok(at) => at.into(),
            Err(_) => Self(None, text.to_owned()),
        }
    }

    /// Of a text that may be missing.
    #[must_use]
    pub fn maybe(text: Option<&str>) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(Self::of)
    }
}

impl From<Timestamp> for When {
    fn from(at: Timestamp) -> Self {
        Self(Some(at), String::new())
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(at) => {
                write!(
                    f,
                    "<time datetime=\"{at:.3}\">{} UTC</time>",
                    at.strftime("%Y-%m-%d %H:%M:%S")
                )
            }
            None => Html.write_escaped_str(f, &self.1),
        }
    }
}

/// How long something is ago, in the largest unit that says enough.
#[must_use]
pub fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let some = |number: i64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    match seconds {
        0..120 => some(seconds, "second"),
        120..7_200 => some(seconds / 60, "minute"),
        7_200..172_800 => some(seconds / 3_600, "hour"),
        _ => some(seconds / 86_400, "day"),
    }
}

/// A number with its thousands apart: `1,204`.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number and what is counted: `1 alert`, `1,204 alerts`.
#[must_use]
pub fn count(how_many: u64, what: &str) -> String {
    let s = if how_many == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(how_many))
}

/// A size: `1.5 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let mut unit = 1_u64;
    for (next, name) in [(1 << 10, "bytes"), (1 << 20, "KiB"), (1 << 30, "MiB"), (u64::MAX, "GiB")]
    {
        if bytes < next {
            let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
            return if unit == 1 {
                format!("{whole} {name}")
            } else {
                format!("{whole}.{tenth} {name}")
            };
        }
        unit = next;
    }
    format!("{bytes} bytes")
}

/// An address that a sender gave, where a browser may be led to it: `https` and `http` alone, and those
/// below the host that serves us, as Dashboards has in Malcolm.
#[must_use]
pub fn link(url: &str) -> Option<&str> {
    let is_below = url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
    let is_web = url::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let is_plain =
        !url.chars().any(|letter| super::escape::is_hidden(letter) || letter.is_whitespace());
    ((is_below || is_web) && is_plain).then_some(url)
}

/// The name of a source, from `event.provider`.
#[must_use]
pub fn source(provider: &str) -> &str {
    if provider == "malcolm" { "opensearch" } else { provider }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_written_for_people() {
        for (value, want) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(number(value), want);
        }
        assert_eq!(count(1, "alert"), "1 alert");
        assert_eq!(count(1_204, "alert"), "1,204 alerts");
        for (seconds, want) in [
            (-5, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_199, "119 minutes"),
            (86_400, "24 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), want);
        }
        for (size, want) in [(5, "5 bytes"), (1_536, "1.5 KiB"), (20 << 20, "20.0 MiB")] {
            assert_eq!(bytes(size), want);
        }
    }

    #[test]
    fn a_time_is_in_utc_and_what_is_none_is_text() {
        let when = When::of("2026-11-22T02:00:00.5Z").to_string();
        let want = "<time datetime=\"2026-11-22T02:00:00.500Z\">2026-11-22 02:00:00 UTC</time>";
        assert_eq!(when, want);
        assert_eq!(When::of("<b>").to_string(), "&lt;b&gt;");
        assert_eq!(When::maybe(Some("")), None);
    }

    #[test]
    fn only_an_address_of_the_web_becomes_a_link() {
        for (url, is_link) in [
            ("https://graylog.example/a?b=c#d", true),
            ("http://10.0.0.1:3000/", true),
            ("/dashboards/app/alerting#/monitors/x?type=monitor", true),
            ("//evil.example/", false),
            ("/\\evil.example/", false),
            ("javascript:alert(1)", false),
            ("JaVaScript:alert(1)", false),
            ("data:text/html,<script>", false),
            ("https:", false),
            ("http://a b/", false),
            ("https://a/\u{202e}x", false),
            ("dashboards", false),
            ("", false),
        ] {
            assert_eq!(link(url).is_some(), is_link, "{url}");
        }
    }
}
