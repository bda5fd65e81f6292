//! The words of people for how bad it is → our severity. There is no standard: Prometheus leaves the
//! label `severity` to who writes the rules. The scale is our choice (docs/alertmanager.md).

use crate::alert::UNKNOWN_SEVERITY;

/// 20 to 100; 40 for what says nothing.
pub fn of(word: &str) -> u8 {
    match word.trim().to_ascii_lowercase().as_str() {
        "critical" | "crit" | "fatal" | "emergency" | "disaster" | "page" | "p1" | "sev1" => 100,
        "error" | "err" | "high" | "major" | "p2" | "sev2" => 80,
        "warning" | "warn" | "medium" | "moderate" | "average" | "p3" | "sev3" => 60,
        "minor" | "notice" | "low" | "p4" | "sev4" => 40,
        "info" | "information" | "informational" | "none" | "debug" | "ok" | "p5" | "sev5" => 20,
        _ => UNKNOWN_SEVERITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_that_of_the_documentation() {
        for (word, want) in [
            ("critical", 100),
            (" Critical ", 100),
            ("page", 100),
            ("P1", 100),
            ("error", 80),
            ("high", 80),
            ("major", 80),
            ("warning", 60),
            ("WARN", 60),
            ("minor", 40),
            ("notice", 40),
            ("low", 40),
            ("info", 20),
            ("none", 20),
            ("", 40),
            ("1", 40),
            ("sehr schlimm", 40),
        ] {
            assert_eq!(of(word), want, "{word}");
        }
    }
}
