//! Searches for alerts, in the words of a `query_string`. Pure.

use super::ASKED_AT_ONCE;
use crate::opensearch::{alert_search::any_of, segment};

/// States of an alert that is not over.
pub const OPEN: &str = "state:(ACTIVE OR ACKNOWLEDGED OR ERROR)";
/// State of an alert whose monitor or trigger was deleted.
pub const DELETED: &str = "state:DELETED";
/// The fields of an alert that move when it changes: at its begin, its end, its acknowledgement. An
/// error moves `last_notification_time`, as does every run of the monitor while it is active; only
/// for alerts in an error that is a change.
pub const MOVING: [(&str, &str); 4] = [
    ("start_time", ""),
    ("end_time", ""),
    ("acknowledged_time", ""),
    ("last_notification_time", "state:ERROR"),
];
/// Monitors are named in a search while their ids fit well into the first line of a request, which
/// the store takes up to 4 KiB.
const MOST_NAMED: usize = 60;
/// How long a search may be, percent-encoded, to fit there with all the rest.
const LONGEST_SEARCH: usize = 3_600;

/// Those that changed at or after `since` (epoch ms), and those with these ids.
#[must_use]
pub fn changed(since: i64, ids: &[&str]) -> String {
    let mut parts: Vec<String> =
        MOVING.iter().map(|(field, filter)| within(field, filter, since, None)).collect();
    if !ids.is_empty() {
        parts.push(any_of("_id", ids));
    }
    format!("({})", parts.join(" OR "))
}

/// Cuts a list of what has ids into parts whose ids fit into one request each.
pub fn parts<T>(all: &[T], id: impl Fn(&T) -> &str) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut length = 0;
        let fits = rest.iter().take(ASKED_AT_ONCE).take_while(|one| {
            length += segment(id(one)).len() + "%22%22%20OR%20".len();
            length <= LONGEST_SEARCH
        });
        let (part, others) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// Those whose `field` lies between both, which are in.
#[must_use]
pub fn within(field: &str, filter: &str, from: i64, to: Option<i64>) -> String {
    let to = to.map_or("*".to_owned(), |to| to.to_string());
    if filter.is_empty() {
        format!("{field}:[{from} TO {to}]")
    } else {
        format!("({filter} AND {field}:[{from} TO {to}])")
    }
}

/// Only those of these monitors, and of composite ones; nothing where there are too many to name.
#[must_use]
pub fn narrowed(search: &str, monitors: &[&str], workflows: &[&str]) -> String {
    let count = monitors.len() + workflows.len();
    if count == 0 || count > MOST_NAMED {
        return search.to_owned();
    }
    let search = if search.is_empty() { String::new() } else { format!("{search} AND ") };
    let mut of = Vec::new();
    if !monitors.is_empty() {
        of.push(any_of("monitor_id", monitors));
    }
    if !workflows.is_empty() {
        of.push(any_of("workflow_id", workflows));
    }
    format!("{search}({})", of.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_read_as_they_should() {
        assert_eq!(
            changed(7, &["a"]),
            "(start_time:[7 TO *] OR end_time:[7 TO *] OR acknowledged_time:[7 TO *] OR \
             (state:ERROR AND last_notification_time:[7 TO *]) OR _id:(\"a\"))"
        );
        assert_eq!(within("end_time", "", 1, Some(2)), "end_time:[1 TO 2]");
        assert_eq!(narrowed("x", &[], &[]), "x");
        assert_eq!(narrowed("", &["m"], &[]), "(monitor_id:(\"m\"))");
        assert_eq!(narrowed("x", &["m"], &[]), "x AND (monitor_id:(\"m\"))");
        let both = "x AND (monitor_id:(\"m\" OR \"n\") OR workflow_id:(\"w\"))";
        assert_eq!(narrowed("x", &["m", "n"], &["w"]), both);
        let many: Vec<_> = (0..=MOST_NAMED).map(|_| "m").collect();
        assert_eq!(narrowed("x", &many, &[]), "x");
    }

    #[test]
    fn ids_of_any_length_are_asked_for_in_requests_that_fit() {
        let long = "ü".repeat(256);
        let mut ids = vec!["0Ab-"; 2 * ASKED_AT_ONCE + 1];
        ids.extend([long.as_str(), &long, &long, "z"]);
        let parts: Vec<_> = parts(&ids, |id| id).collect();
        assert_eq!(parts.concat(), ids);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [40, 40, 3, 2]);
        let longest = parts.iter().map(|part| segment(&any_of("_id", part)).len()).max();
        assert!(longest < Some(3_700), "{longest:?}");
    }

    #[test]
    fn the_longest_search_fits_into_a_request_line() {
        let id = "error-alert-AbCdEfGhIjKlMnOpQrSt-01234567-89ab-cdef-0123-456789abcdef";
        let ids: Vec<_> = (0..ASKED_AT_ONCE).map(|_| id).collect();
        let encoded = segment(&any_of("_id", &ids)).len();
        assert!(encoded < 3_700, "{encoded}");
        let monitors: Vec<_> = (0..MOST_NAMED).map(|_| "AbCdEfGhIjKlMnOpQrSt").collect();
        let search = narrowed(&changed(1_800_000_000_000, &[]), &monitors, &[]);
        let encoded = segment(&search).len();
        assert!(encoded < 3_700, "{encoded}");
    }
}
