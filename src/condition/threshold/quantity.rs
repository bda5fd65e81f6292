//! Quantities as people write them: `"1 MB"`, `"10 min"`, `"5k"`, `250`. Pure.

use crate::alert::crossing::Unit;

const SIZES: [(&str, f64); 10] = [
    ("b", 1.0),
    ("byte", 1.0),
    ("bytes", 1.0),
    ("kb", 1_024.0),
    ("kib", 1_024.0),
    ("mb", 1_048_576.0),
    ("mib", 1_048_576.0),
    ("gb", 1_073_741_824.0),
    ("gib", 1_073_741_824.0),
    ("tb", 1_099_511_627_776.0),
];
const TIMES: [(&str, f64); 14] = [
    ("s", 1.0),
    ("sec", 1.0),
    ("second", 1.0),
    ("seconds", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("mins", 60.0),
    ("minute", 60.0),
    ("minutes", 60.0),
    ("h", 3_600.0),
    ("hour", 3_600.0),
    ("hours", 3_600.0),
    ("day", 86_400.0),
    ("days", 86_400.0),
];
const COUNTS: [(&str, f64); 3] = [("k", 1e3), ("m", 1e6), ("g", 1e9)];

/// Reads a quantity of a metric whose numbers are in `unit`.
///
/// # Errors
/// What is allowed.
pub fn read(text: &str, unit: Unit) -> Result<f64, String> {
    let text = text.trim();
    let end = text.find(|letter: char| !(letter.is_ascii_digit() || "+-._".contains(letter)));
    let (number, word) = text.split_at(end.unwrap_or(text.len()));
    let word = word.trim().to_lowercase();
    let of =
        |units: &[(&str, f64)]| units.iter().find(|(name, _)| *name == word).map(|(_, size)| *size);
    let size = match unit {
        _ if word.is_empty() => Some(1.0),
        Unit::Bytes => of(&SIZES),
        Unit::Seconds => of(&TIMES),
        Unit::Packets | Unit::Flows => of(&COUNTS),
        Unit::Any => of(&SIZES).or(of(&COUNTS)),
    };
    let number = number.replace('_', "").parse::<f64>().ok();
    let quantity = number.zip(size).map(|(number, size)| number * size);
    quantity.filter(|quantity| quantity.is_finite()).ok_or_else(|| {
        let allowed = match unit {
            Unit::Bytes => {
                "a number of bytes such as 500000, \"1 MB\" or \"2.5 GB\" (1 KB is 1024)"
            }
            Unit::Seconds => "a number of seconds such as 600, \"10 min\" or \"2 h\"",
            Unit::Packets | Unit::Flows => "a number such as 500, \"10 k\" or \"1 M\"",
            Unit::Any => "a number such as 500, -2.5, \"10 k\" or \"1 MB\"",
        };
        format!("`threshold` here is {allowed}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_metric() {
        for (text, unit, want) in [
            ("1 MB", Unit::Bytes, Some(1_048_576.0)),
            ("2.5gb", Unit::Bytes, Some(2_684_354_560.0)),
            ("1_000", Unit::Bytes, Some(1_000.0)),
            ("1 KiB", Unit::Bytes, Some(1_024.0)),
            ("1 m", Unit::Bytes, None),
            ("10 min", Unit::Seconds, Some(600.0)),
            ("1 h", Unit::Seconds, Some(3_600.0)),
            ("1 MB", Unit::Seconds, None),
            ("10 k", Unit::Packets, Some(10_000.0)),
            ("1M", Unit::Flows, Some(1_000_000.0)),
            ("1 MB", Unit::Flows, None),
            ("-2.5", Unit::Any, Some(-2.5)),
            ("3 MB", Unit::Any, Some(3_145_728.0)),
            ("10 min", Unit::Any, None),
            ("", Unit::Bytes, None),
            ("MB", Unit::Bytes, None),
            ("1 MB/s", Unit::Bytes, None),
            ("1.2.3", Unit::Bytes, None),
            ("größe", Unit::Bytes, None),
        ] {
            let read = read(text, unit);
            assert_eq!(read.as_ref().ok(), want.as_ref(), "{text}: {read:?}");
        }
    }
}
