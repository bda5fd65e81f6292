//! The fingerprint of an alert, for what is older than Alertmanager 0.19 and does not tell it.

use std::collections::BTreeMap;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;
/// Stands after each name and each value; no UTF-8 text holds it.
const SEPARATOR: u8 = 255;

/// What Alertmanager makes of these labels: FNV-1a of the names, in order, and their values.
///
/// Source: `labelSetToFingerprint` of Prometheus' `common/model/fnv.go` and `signature.go`.
pub fn of(labels: &BTreeMap<String, String>) -> String {
    let mut hash = OFFSET;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    for (name, value) in labels {
        for text in [name, value] {
            text.bytes().for_each(&mut add);
            add(SEPARATOR);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// By Alertmanager 0.25, in its webhook.
    #[test]
    fn it_is_alertmanagers_own() {
        let disk = ("alertname", "DiskFilling");
        for (pairs, want) in [
            (vec![("severity", "warning"), disk, ("instance", "db-1:9100")], "cc8d4495b2d94cc4"),
            (vec![disk, ("instance", "[2001:db8::1]:9100")], "153d7548976ef5e1"),
        ] {
            assert_eq!(of(&labels(&pairs)), want);
        }
    }
}
