//! `Prefer` (RFC 7240): how long a sender wants to wait. Pure.

use std::time::Duration;

use axum::http::HeaderMap;

/// The longest wait that `Prefer: wait=N` can ask for.
pub const LONGEST: Duration = Duration::from_secs(30);

/// What it asks for: `respond-async`, or `wait=SECONDS`, at most [`LONGEST`].
#[must_use]
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let mut asked = None;
    for preference in preferences {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "respond-async" => return Some(Duration::ZERO),
            "wait" => {
                let seconds = value.trim().trim_matches('"').parse::<f64>().ok();
                let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
                asked = seconds
                    .map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())));
            }
            _ => {}
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefer_says_how_long_to_wait() {
        for (value, want) in [
            ("respond-async", Some(0)),
            ("wait=2", Some(2_000)),
            ("return=minimal, wait=\"0.5\"", Some(500)),
            ("wait=5, respond-async", Some(0)),
            ("wait=1e9", Some(30_000)),
            ("wait=-1", None),
            ("wait=soon", None),
            ("return=minimal", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            assert_eq!(wait(&headers), want.map(Duration::from_millis), "{value}");
        }
        assert_eq!(wait(&HeaderMap::new()), None);
    }
}
