//! How bad an alert is: ntopng's names, and its scores since 5.0.
//!
//! Source: `Utils::mapScoreToSeverity` and `SCORE_LEVEL_*` of the branches 5.0 to 6.2: up to 5.4 a
//! score is never worse than `error`.

use super::version::Version;

/// 0 to 100 for ntopng's name of a severity.
pub fn percent(name: &str) -> Option<u8> {
    match name {
        "emergency" | "alert" | "critical" => Some(100),
        "error" => Some(80),
        "warning" => Some(60),
        "notice" => Some(40),
        "info" | "debug" | "none" => Some(20),
        _ => None,
    }
}

/// ntopng's name for a score.
pub fn of_score(score: i64, version: Version) -> &'static str {
    match score {
        ..1 => "none",
        1..10 => "info",
        10..50 => "notice",
        50..100 => "warning",
        100..200 => "error",
        _ if version < Version::new(5, 6) => "error",
        200..250 => "critical",
        250.. => "emergency",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_as_bad_as_ntopng_says() {
        for (score, version, want) in [
            (-1, (6, 2), 20),
            (0, (6, 2), 20),
            (9, (6, 2), 20),
            (10, (6, 2), 40),
            (49, (6, 2), 40),
            (50, (6, 2), 60),
            (99, (5, 0), 60),
            (100, (6, 2), 80),
            (199, (6, 2), 80),
            (200, (6, 2), 100),
            (250, (6, 2), 100),
            (250, (5, 4), 80),
            (250, (5, 6), 100),
        ] {
            let name = of_score(score, Version::new(version.0, version.1));
            assert_eq!(percent(name), Some(want), "{score} in {version:?}");
        }
        assert_eq!(percent("unknown(9)"), None);
    }
}
