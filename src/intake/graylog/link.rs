//! Where in Graylog to look at an alert, below Graylog's own address. Source: Graylog's templates for
//! e-mails (`${http_external_uri}alerts/${event.id}/replay-search`) and its routes
//! (`/streams/{id}/search`).

use jiff::Timestamp;

/// The list of all alerts.
pub const ALERTS: &str = "alerts";
/// What Graylog sends where it cannot find the stream of an alert.
const NO_STREAM: &str = "5400deadbeefdeadbeefaffe";

/// The search that led to an event, done again; since Graylog 5.1.
pub fn replay(event: &str) -> Option<String> {
    is_plain(event).then(|| format!("alerts/{event}/replay-search"))
}

/// What the stream holds of a period.
pub fn stream(id: &str, start: Option<Timestamp>, end: Option<Timestamp>) -> Option<String> {
    if !is_plain(id) || id == NO_STREAM {
        return None;
    }
    let path = format!("streams/{id}/search");
    let period = start.zip(end).filter(|(start, end)| start < end);
    Some(period.map_or_else(
        || path.clone(),
        |(start, end)| format!("{path}?rangetype=absolute&from={start:.3}&to={end:.3}&q=*"),
    ))
}

/// Whether an id can stand in an address as it is.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_made_of_plain_ids_alone() {
        let (start, end) =
            ("2026-11-04T09:55:00Z".parse().ok(), "2026-11-04T10:00:00Z".parse().ok());
        for (got, want) in [
            (replay("01KA40B6"), Some("alerts/01KA40B6/replay-search")),
            (replay("../x"), None),
            (replay(""), None),
            (stream("5a0c", None, end), Some("streams/5a0c/search")),
            (stream("5a0c", end, end), Some("streams/5a0c/search")),
            (
                stream("5a0c", start, end),
                Some(
                    "streams/5a0c/search?rangetype=absolute&from=2026-11-04T09:55:00.000Z&to=2026-11-04T10:00:00.000Z&q=*",
                ),
            ),
            (stream(NO_STREAM, start, end), None),
            (stream("a b", start, end), None),
        ] {
            assert_eq!(got.as_deref(), want);
        }
    }
}
