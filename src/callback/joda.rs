//! Dates by the patterns of Java (`yyyy-MM-dd HH:mm:ss`), as Graylog's renderer `date` takes them. Pure.
//!
//! Source: `NamedDateRenderer.java` of Graylog and `DateTimeFormat` of Joda-Time. Era, century,
//! weekyear and week are left out.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// What Graylog's renderer takes where nothing is said.
pub const DEFAULT: &str = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'";

/// What is known of Joda's letters.
const LETTERS: &str = "yYMdDEaHhKkmsSzZ";

/// What is wrong with a pattern.
///
/// # Errors
/// The letter that is not known, with those that are, or a quote that is not closed.
pub fn check(pattern: &str) -> Result<(), String> {
    for (run, is_quoted) in runs(pattern)? {
        let letter = run.chars().next().unwrap_or_default();
        if !is_quoted && letter.is_ascii_alphabetic() && !LETTERS.contains(letter) {
            let known: Vec<String> = LETTERS.chars().map(String::from).collect();
            return Err(format!(
                "unknown letter {letter} in the date pattern {pattern}; known: {}; put text between '",
                known.join(" ")
            ));
        }
    }
    Ok(())
}

/// The instant in this zone by a pattern; a pattern that [`check`] refuses is printed as it is.
#[must_use]
pub fn format(at: Timestamp, zone: &TimeZone, pattern: &str) -> String {
    let at = at.to_zoned(zone.clone());
    let Ok(runs) = runs(pattern) else { return pattern.to_owned() };
    let text =
        runs.into_iter().map(|(run, is_quoted)| if is_quoted { run } else { field(&at, &run) });
    text.collect()
}

/// The instant that a text tells: RFC 3339, or epoch ms.
#[must_use]
pub fn read(text: &str) -> Option<Timestamp> {
    let number = || Timestamp::from_millisecond(text.parse().ok()?).ok();
    text.parse().ok().or_else(number)
}

/// Runs of one letter, other characters, and texts between quotes (`''` is a quote).
fn runs(pattern: &str) -> Result<Vec<(String, bool)>, String> {
    let mut runs: Vec<(String, bool)> = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\'' {
            let extends = letter.is_ascii_alphabetic()
                && runs
                    .last()
                    .is_some_and(|(run, is_quoted)| !is_quoted && run.starts_with(letter));
            match runs.last_mut().filter(|_| extends) {
                Some((run, _)) => run.push(letter),
                None => runs.push((letter.to_string(), false)),
            }
            continue;
        }
        let mut text = String::new();
        loop {
            match letters.next() {
                Some('\'') if text.is_empty() => {
                    text.push('\'');
                    break;
                }
                Some('\'') if letters.peek() == Some(&'\'') => {
                    letters.next();
                    text.push('\'');
                }
                Some('\'') => break,
                Some(other) => text.push(other),
                None => {
                    return Err(format!("a ' that is not closed in the date pattern {pattern}"));
                }
            }
        }
        runs.push((text, true));
    }
    Ok(runs)
}

fn field(at: &Zoned, run: &str) -> String {
    let width = run.len();
    let number = |value: i64| format!("{value:0width$}");
    let hour = i64::from(at.hour());
    match run.as_bytes()[0] {
        b'y' | b'Y' if width == 2 => format!("{:02}", at.year().rem_euclid(100)),
        b'y' | b'Y' => number(at.year().into()),
        b'M' if width >= 4 => at.strftime("%B").to_string(),
        b'M' if width == 3 => at.strftime("%b").to_string(),
        b'M' => number(at.month().into()),
        b'd' => number(at.day().into()),
        b'D' => number(at.day_of_year().into()),
        b'E' if width >= 4 => at.strftime("%A").to_string(),
        b'E' => at.strftime("%a").to_string(),
        b'a' => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
        b'H' => number(hour),
        b'h' => number((hour + 11) % 12 + 1),
        b'K' => number(hour % 12),
        b'k' => number((hour + 23) % 24 + 1),
        b'm' => number(at.minute().into()),
        b's' => number(at.second().into()),
        b'S' => {
            let digits = format!("{:09}", at.subsec_nanosecond());
            let kept = &digits[..width.min(9)];
            format!("{kept:0<width$}")
        }
        b'z' => at.strftime("%Z").to_string(),
        b'Z' if width == 1 => at.strftime("%z").to_string(),
        b'Z' if width == 2 => at.strftime("%:z").to_string(),
        b'Z' => at.time_zone().iana_name().unwrap_or("UTC").to_owned(),
        _ => run.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_printed_as_joda_prints_it() {
        let at: Timestamp = "2015-09-10T09:45:54.749Z".parse().unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (zone, pattern, want) in [
            (TimeZone::UTC, DEFAULT, "2015-09-10T09:45:54.749Z"),
            (TimeZone::UTC, "dd.MM.yy HH:mm", "10.09.15 09:45"),
            (TimeZone::UTC, "EEEE, d MMMM yyyy, h:mm a", "Thursday, 10 September 2015, 9:45 AM"),
            (TimeZone::UTC, "EEE MMM D k K S SSSSSS", "Thu Sep 253 9 9 7 749000"),
            (TimeZone::UTC, "HH 'o''clock'", "09 o'clock"),
            (berlin.clone(), "HH:mm z Z ZZ ZZZ", "11:45 CEST +0200 +02:00 Europe/Berlin"),
            (berlin, "yyyy-MM-dd'T'HH:mm:ssZZ", "2015-09-10T11:45:54+02:00"),
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
            assert_eq!(format(at, &zone, pattern), want, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        assert!(check("yyyy-ww").unwrap_err().starts_with("unknown letter w in"));
        assert!(check("yyyy 'at").unwrap_err().contains("not closed"));
    }

    #[test]
    fn texts_and_numbers_are_instants() {
        let at = "2015-09-10T09:45:54.749Z".parse().ok();
        assert_eq!(read("2015-09-10T11:45:54.749+02:00"), at);
        assert_eq!(read("1441878354749"), at);
        assert_eq!(read("yesterday"), None);
    }
}
