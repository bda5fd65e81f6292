//! Texts with a unit, `10GiB` and `250ms`, and the words for yes and no.

use std::time::Duration;

/// Reads a number of bytes: `1048576`, `20MiB`, `500MB`.
///
/// # Errors
/// Says what is wrong, without the text.
pub fn bytes(text: &str) -> Result<u64, &'static str> {
    const FAULT: &str = "needs a whole number of bytes, like 1048576, 20MiB or 500MB";
    let (number, unit) = split(text).ok_or(FAULT)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(FAULT),
    };
    match number.checked_mul(factor) {
        Some(0) => Err("must not be 0"),
        Some(bytes) => Ok(bytes),
        None => Err("is too large"),
    }
}

/// Reads a time span: `0`, `250ms`, `5s`, `1m`, `2h`.
///
/// # Errors
/// Says what is wrong, without the text.
pub fn span(text: &str) -> Result<Duration, &'static str> {
    const FAULT: &str = "needs a whole number with a unit, like 250ms, 5s, 1m or 2h";
    let (number, unit) = split(text).ok_or(FAULT)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 0,
        _ => return Err(FAULT),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or("is too large")
}

/// Reads a time span that is longer than nothing.
///
/// # Errors
/// Says what is wrong, without the text.
pub fn limit(text: &str) -> Result<Duration, &'static str> {
    span(text).and_then(|span| if span.is_zero() { Err("must not be 0") } else { Ok(span) })
}

/// Reads yes or no.
///
/// # Errors
/// Says what is wrong, without the text.
pub fn truth(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// A number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("1", Some(1)),
            ("1048576", Some(1 << 20)),
            ("10GiB", Some(10 << 30)),
            ("20 MiB", Some(20 << 20)),
            ("500MB", Some(500_000_000)),
            ("3kb", Some(3_000)),
            ("2TiB", Some(2 << 40)),
            ("7B", Some(7)),
            ("0", None),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("10G", None),
            ("99999999TiB", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(bytes(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn spans() {
        for (text, want) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("5s", Some(5_000)),
            ("1m", Some(60_000)),
            ("2h", Some(7_200_000)),
            ("5 s", Some(5_000)),
            ("5", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("1.5s", None),
            ("-1s", None),
            ("99999999999999999h", None),
        ] {
            assert_eq!(span(text).ok(), want.map(Duration::from_millis), "{text}");
        }
        assert!(limit("0").is_err());
        assert_eq!(limit("30s"), Ok(Duration::from_secs(30)));
    }

    #[test]
    fn words_for_yes_and_no() {
        for (text, want) in [
            ("true", Some(true)),
            ("True", Some(true)),
            ("1", Some(true)),
            ("yes", Some(true)),
            ("on", Some(true)),
            ("false", Some(false)),
            ("0", Some(false)),
            ("no", Some(false)),
            ("OFF", Some(false)),
            ("", None),
            ("maybe", None),
        ] {
            assert_eq!(truth(text).ok(), want, "{text}");
        }
    }
}
