//! Every fault of a table, not the first alone, and none with a value in it: a value may be a
//! secret in the wrong place.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::deserialize;

/// Where a table stands.
pub struct Place<'a> {
    /// The whole file.
    pub text: &'a str,
    /// The table's part of it.
    pub from: Range<usize>,
}

impl Place<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }

    /// A fault that begins with its key, with the line of that key.
    pub fn within(&self, table: &DeTable, fault: &str) -> String {
        let key = fault.split(':').next().unwrap_or_default();
        let stands = table.iter().find(|(one, _)| one.get_ref() == key);
        let at = stands.map_or(self.from.start, |(key, _)| key.span().start);
        format!(", line {}: {fault}", self.line(at))
    }
}

/// Reads a table; what is at fault is told and left out, until the rest can be read or something
/// is missing. `others` are keys that are known besides.
pub fn gather<T: DeserializeOwned>(
    mut table: DeTable,
    place: &Place,
    others: &[&str],
) -> (Option<T>, Vec<String>) {
    let mut faults = Vec::new();
    loop {
        let fault = match deserialize(table.clone(), place) {
            Ok(value) => return (Some(value), faults),
            Err(fault) => fault,
        };
        let span = fault.span().unwrap_or_else(|| place.from.clone());
        let of = |(key, value): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue>)| {
            let all = key.span().start..value.span().end.max(key.span().end);
            all.contains(&span.start) && span.end <= all.end
        };
        let culprit = table.iter().find(|(key, value)| of((key, value)));
        let Some(culprit) = culprit.map(|(key, _)| key.clone()) else {
            // Nothing to leave out: something is missing.
            let line = place.line(place.from.start);
            faults.push(format!(", line {line}: {}", without_value(fault.message(), others)));
            return (None, faults);
        };
        let (name, line) = (culprit.get_ref(), place.line(culprit.span().start));
        faults.push(match fault.message() {
            said if said.starts_with("unknown field") => {
                format!(", line {line}: {}", without_value(said, others))
            }
            said => format!(", line {line}: {name}: {}", without_value(said, others)),
        });
        table.remove(&culprit);
    }
}

/// What a message of the parser says, without the value that it quotes.
fn without_value(message: &str, others: &[&str]) -> String {
    let message = message.lines().next().unwrap_or_default();
    if let Some(missing) = message.strip_prefix("missing field `") {
        return format!("{}: is required", missing.trim_end_matches('`'));
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (name, known) = rest.split_once('`').unwrap_or((rest, ""));
        let known = known.split('`').skip(1).step_by(2).chain(others.iter().copied());
        let known: Vec<_> = known.collect();
        let likeness = |one: &str| strsim::normalized_damerau_levenshtein(name, one);
        let nearest = known.iter().max_by(|one, two| likeness(one).total_cmp(&likeness(two)));
        let hint = match nearest.filter(|one| likeness(one) >= 0.6) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("known: {}", known.join(", ")),
        };
        return format!("{name}: is not a key of it; {hint}");
    }
    let quotes = ["invalid type", "invalid value", "unknown variant", "invalid length"];
    match message.split_once(", expected ") {
        Some((start, expected)) if quotes.iter().any(|one| start.starts_with(one)) => {
            match expected {
                "u8" | "usize" => "must be a whole number, and not so large".to_owned(),
                "a boolean" => "must be true or false".to_owned(),
                expected => format!("must be {}", expected.replace('`', "")),
            }
        }
        _ if quotes.iter().any(|one| message.starts_with(one)) => "cannot be read".to_owned(),
        _ => message.to_owned(),
    }
}
