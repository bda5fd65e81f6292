//! What an answer of the store means for an alert: stored, busy (an operator or time can cure it,
//! so it waits), or refused (no retry will help). Pure.

use crate::opensearch::{
    Error,
    bulk::{Cause, Item},
    words,
};

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the index.
    Stored,
    /// A document with this id is there already.
    Exists,
    /// Not now; the reason.
    Busy(String),
    /// Never; the reason.
    Refused(String),
}

/// 400s that are about the state of an index or of the cluster, not about the document: the `type` is all
/// that tells them apart. One that is not known here makes a dead letter, which can be stored again.
const CURABLE: [&str; 4] = [
    "index_closed_exception",
    "validation_exception", // the cluster has its maximum of shards open
    "index_create_block_exception",
    "process_cluster_event_timeout_exception",
];

impl Outcome {
    /// Sorts one item of a bulk answer.
    #[must_use]
    pub fn of(item: &Item) -> Self {
        let cause = item.error.as_ref();
        let kind = cause.and_then(|cause| cause.kind.as_deref()).unwrap_or_default();
        let reason = || {
            let text = cause.map_or_else(String::new, Cause::text);
            format!("{} {text}{}", item.status, mend(item.status, kind))
        };
        match item.status {
            200..=299 => Self::Stored,
            409 => Self::Exists,
            401 | 403 | 404 | 408 | 429 | 500.. => Self::Busy(reason()),
            400 if CURABLE.contains(&kind) => Self::Busy(reason()),
            _ => Self::Refused(reason()),
        }
    }
}

/// What an operator does about a block of an index, for the end of its reason. The store gives the
/// one that it sets itself, over the flood stage of a disk, a status of its own (seen on 3.4.0).
fn mend(status: u16, kind: &str) -> &'static str {
    match (status, kind) {
        (429, "cluster_block_exception") => {
            "; free disk space on the store's nodes: it takes the block off by itself"
        }
        (_, "index_create_block_exception") => {
            "; free disk space on the store's nodes, or take cluster.blocks.create_index off"
        }
        (403, "cluster_block_exception") => "; take the block off the index, or open it",
        _ => "",
    }
}

/// The field whose value a 400 is about, as its path; see [`words::misfit`].
#[must_use]
pub fn misfit(item: &Item) -> Option<String> {
    words::misfit(item.error.as_ref().filter(|_| item.status == 400)?)
}

/// What the failure of a whole request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// The same request may succeed later.
    Busy(String),
    /// The store will not take so much at once, or something in it: halves may pass.
    Split(String),
}

impl RequestFault {
    /// Sorts the failure of a bulk request.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error.status() {
            Some(401 | 403) => Self::Busy(format!(
                "{error}; check the login in OPENSEARCH_CREDS_CONFIG_FILE and its permissions"
            )),
            Some(400 | 406 | 413 | 415 | 422) => Self::Split(error.to_string()),
            _ => Self::Busy(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(status: u16, kind: &str) -> &'static str {
        let item = json!({"status": status, "_index": "i", "_id": "a",
                          "error": {"type": kind, "reason": "…"}});
        match Outcome::of(&serde_json::from_value(item).unwrap()) {
            Outcome::Stored => "stored",
            Outcome::Exists => "exists",
            Outcome::Busy(_) => "busy",
            Outcome::Refused(_) => "refused",
        }
    }

    #[test]
    fn what_can_be_cured_waits_and_the_rest_is_refused() {
        for (status, kind, want) in [
            (200, "", "stored"),
            (201, "", "stored"),
            (409, "version_conflict_engine_exception", "exists"),
            (429, "rejected_execution_exception", "busy"),
            (429, "circuit_breaking_exception", "busy"),
            (503, "unavailable_shards_exception", "busy"),
            (503, "cluster_block_exception", "busy"),
            (403, "cluster_block_exception", "busy"),
            (403, "security_exception", "busy"),
            (401, "", "busy"),
            (404, "index_not_found_exception", "busy"),
            (404, "document_missing_exception", "busy"),
            (500, "", "busy"),
            (400, "index_closed_exception", "busy"),
            (400, "validation_exception", "busy"),
            (400, "mapper_parsing_exception", "refused"),
            (400, "strict_dynamic_mapping_exception", "refused"),
            (400, "illegal_argument_exception", "refused"),
            (413, "", "refused"),
        ] {
            assert_eq!(outcome(status, kind), want, "{status} {kind}");
        }
    }

    #[test]
    fn only_a_400_is_about_a_field() {
        let reason = "failed to parse field [source.ip] of type [ip] in document with id 'a'";
        for (status, want) in [(400, Some("source.ip")), (403, None), (503, None)] {
            let item = json!({"status": status, "_index": "i", "_id": "a",
                              "error": {"type": "mapper_parsing_exception", "reason": reason}});
            let item = serde_json::from_value(item).unwrap();
            assert_eq!(misfit(&item).as_deref(), want, "{status}");
        }
    }

    #[test]
    fn a_block_says_what_to_do() {
        for (status, kind, want) in [
            (429, "cluster_block_exception", "free disk space"),
            (403, "cluster_block_exception", "take the block off"),
            (429, "rejected_execution_exception", "…"),
        ] {
            let item = json!({"status": status, "_index": "i", "_id": "a",
                              "error": {"type": kind, "reason": "…"}});
            let outcome = Outcome::of(&serde_json::from_value(item).unwrap());
            let Outcome::Busy(reason) = outcome else { panic!("{outcome:?}") };
            let end = reason.split("; ").last().unwrap();
            assert!(end.starts_with(want) || end.ends_with(want), "{reason}");
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_split_and_an_outage_waited_for() {
        let status = |status| Error::Status { status, reason: String::new() };
        for (error, split) in [
            (status(413), true),
            (status(400), true),
            (status(401), false),
            (status(403), false),
            (status(429), false),
            (status(502), false),
            (status(503), false),
            (Error::Unreachable("refused".to_owned()), false),
            (Error::Malformed("half an answer".to_owned()), false),
        ] {
            let fault = RequestFault::of(&error);
            assert_eq!(matches!(fault, RequestFault::Split(_)), split, "{error}");
        }
    }
}
