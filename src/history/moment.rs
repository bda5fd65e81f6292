//! Times as people and addresses say them. Pure.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// What is understood.
const FORMS: &str = "write a time as `2026-11-22T05:00:00Z`, a day in UTC as `2026-11-22`, or how long ago \
                     as `90m`, `24h`, `7d` or `4w`";
/// No time is asked for from before (in seconds): a hundred years.
const LONGEST: i64 = 100 * 366 * 86_400;

/// When that is: a time (RFC 3339), the begin of a day in UTC, or so long before `now`, in whole
/// minutes, so that whoever asks within one minute asks the same.
///
/// # Errors
/// What is understood.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<Date>() {
        let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| FORMS)?;
        return Ok(midnight.timestamp());
    }
    let minute = now.as_second().div_euclid(60) * 60;
    let ago = minute.checked_sub(seconds(text)?).and_then(|at| Timestamp::from_second(at).ok());
    ago.ok_or_else(|| FORMS.to_owned())
}

/// How long `90m`, `24h`, `7d` or `4w` is.
///
/// # Errors
/// What is understood.
pub fn length(text: &str) -> Result<SignedDuration, String> {
    seconds(text.trim()).map(SignedDuration::from_secs)
}

fn seconds(text: &str) -> Result<i64, String> {
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        _ => return Err(FORMS.to_owned()),
    };
    let digits = &text[..text.len() - 1];
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>());
    let seconds = number.and_then(Result::ok).and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or_else(|| FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_ways_that_people_say_it() {
        let now: Timestamp = "2026-11-22T05:31:07.5Z".parse().unwrap();
        for (text, want) in [
            ("2026-11-22T01:00:00+01:00", Some("2026-11-22T00:00:00Z")),
            (" 2026-11-22 ", Some("2026-11-22T00:00:00Z")),
            ("90s", Some("2026-11-22T05:29:30Z")),
            ("24h", Some("2026-11-21T05:31:00Z")),
            ("7d", Some("2026-11-15T05:31:00Z")),
            ("4w", Some("2026-10-25T05:31:00Z")),
            ("", None),
            ("h", None),
            ("0h", None),
            ("-1h", None),
            ("+1h", None),
            ("1y", None),
            ("1ä", None),
            ("99999999999w", None),
            ("2026-13-01", None),
            ("yesterday", None),
        ] {
            let at = moment(text, now).ok().map(|at| at.to_string());
            assert_eq!(at.as_deref(), want, "{text}");
        }
        assert_eq!(length("90m"), Ok(SignedDuration::from_mins(90)));
    }
}
