//! Every name that a template may use, as a tree: what a template is checked against when it is loaded.
//! Pure.
//!
//! The names are those of the alert e-mail of Graylog 1 to 3 (`stream`, `check_result`, `backlog`),
//! of its event notifications since 3.1 (`event_definition_title`, `event`), and our own (`alert`).
//! Sources: `pages/streams/alerts` of Graylog's documentation, `FormattedEmailAlertSender.java`,
//! `EventNotificationModelData.java`, `EventDto.java` and `TemplateModelProvider.java` of its server.

/// What stands at a name.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// An instant, as RFC 3339 text.
    Time,
    /// Anything, with anything below it.
    Free,
    /// A map with any keys.
    Map,
    /// A list of such.
    List(&'static Kind),
    /// A thing with these names below it.
    Thing(&'static [(&'static str, Kind)]),
}

use Kind::{Flag, Free, List, Map, Number, Text, Thing, Time};

impl Kind {
    /// What stands below, where a thing has such a name or a map may.
    #[must_use]
    pub fn below(&'static self, name: &str) -> Option<&'static Self> {
        match self {
            Thing(fields) => fields.iter().find(|(field, _)| *field == name).map(|(_, kind)| kind),
            Map | Free => Some(&Free),
            _ => None,
        }
    }

    /// The names below.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Thing(fields) => fields.iter().map(|(name, _)| *name).collect(),
            _ => Vec::new(),
        }
    }

    /// What is wrong with `name` below `path` (empty: at the top), and what there is.
    #[must_use]
    pub fn unknown(&self, path: &str, name: &str) -> String {
        let known = self.names();
        let whole = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if known.is_empty() {
            return format!("unknown {whole}: {path} has nothing below it");
        }
        let near = known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
        let near = near.max_by(|one, other| one.0.total_cmp(&other.0));
        let guess = match near {
            Some((score, near)) if score > 0.8 => format!("; did you mean {near}?"),
            _ => String::new(),
        };
        let place = if path.is_empty() { String::new() } else { format!(" below {path}") };
        format!("unknown {whole}{guess} (known{place}: {})", known.join(", "))
    }
}

/// A message of the backlog.
pub static MESSAGE: Kind = Thing(&[
    ("id", Text),
    ("index", Text),
    ("message", Text),
    ("source", Text),
    ("timestamp", Time),
    ("fields", Map),
    ("stream_ids", List(&Text)),
]);

/// One pair of a map, in a loop.
pub static ENTRY: Kind = Thing(&[("key", Text), ("value", Free)]);

const CONDITION: Kind = Thing(&[
    ("id", Text),
    ("type", Text),
    ("title", Text),
    ("description", Text),
    ("grace", Number),
    ("backlog", Number),
    ("parameters", Map),
    ("createdAt", Text),
    ("creatorUserId", Text),
]);

const REPLAY: Kind = Thing(&[
    ("timerange_start", Time),
    ("timerange_end", Time),
    ("query", Text),
    ("streams", List(&Text)),
    ("filters", List(&Free)),
]);

const EVENT: Kind = Thing(&[
    ("id", Text),
    ("event_definition_type", Text),
    ("event_definition_id", Text),
    ("origin_context", Text),
    ("timestamp", Time),
    ("timestamp_processing", Time),
    ("timerange_start", Time),
    ("timerange_end", Time),
    ("streams", List(&Text)),
    ("source_streams", List(&Text)),
    ("message", Text),
    ("source", Text),
    ("key_tuple", List(&Text)),
    ("key", Text),
    ("priority", Number),
    ("scores", Map),
    ("associated_assets", List(&Text)),
    ("tags", List(&Text)),
    ("tactics_techniques", List(&Text)),
    ("alert", Flag),
    ("fields", Map),
    ("group_by_fields", Map),
    ("aggregation_conditions", Map),
    ("replay_info", REPLAY),
]);

const ALERT: Kind = Thing(&[
    ("id", Text),
    ("rule", Text),
    ("rule_id", Text),
    ("trigger", Text),
    ("trigger_id", Text),
    ("severity", Number),
    ("action", Text),
    ("start", Time),
    ("end", Time),
    ("received", Time),
    ("source", Text),
    ("tags", List(&Text)),
    ("message", Text),
    ("hits", Number),
    ("error", Text),
    ("body", Text),
    ("url", Text),
    ("record", Thing(&[("index", Text), ("id", Text)])),
]);

/// The top.
pub static ROOT: Kind = Thing(&[
    ("alert", ALERT),
    ("stream", Thing(&[("id", Text), ("title", Text), ("description", Text)])),
    ("stream_url", Text),
    (
        "check_result",
        Thing(&[
            ("triggeredCondition", CONDITION),
            ("triggeredAt", Time),
            ("resultDescription", Text),
            ("triggered", Flag),
        ]),
    ),
    ("alert_condition", CONDITION),
    ("alertCondition", CONDITION),
    ("backlog", List(&MESSAGE)),
    ("backlog_size", Number),
    ("event_definition_id", Text),
    ("event_definition_type", Text),
    ("event_definition_title", Text),
    ("event_definition_description", Text),
    ("remediation_steps", Text),
    ("job_definition_id", Text),
    ("job_trigger_id", Text),
    ("event", EVENT),
    ("http_external_uri", Text),
    ("product_name", Text),
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_with_what_there_is() {
        let stream = ROOT.below("stream").unwrap();
        assert_eq!(
            stream.unknown("stream", "titel"),
            "unknown stream.titel; did you mean title? (known below stream: id, title, description)"
        );
        assert!(ROOT.unknown("", "nonsense").contains("(known: alert, stream, stream_url, "));
        assert_eq!(
            Text.unknown("stream.id", "x"),
            "unknown stream.id.x: stream.id has nothing below it"
        );
    }

    #[test]
    fn below_a_map_everything_is_known() {
        let fields = MESSAGE.below("fields").unwrap();
        assert_eq!(fields.below("whatever").and_then(|free| free.below("else")), Some(&Free));
        assert_eq!(MESSAGE.below("nothing"), None);
    }
}
