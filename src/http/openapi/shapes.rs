//! What routes take and give that has no type of its own elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A refusal.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What is wrong, and what to do about it.
    pub error: String,
}

/// What became of a message.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Received {
    /// Where its record is, or will be; empty for a test that makes no record.
    pub result: Outcome,
    /// For the test of a channel: proves that it came here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// Where a record is, or will be.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Outcome {
    /// `created` or `updated` (it is in the index), `accepted` (it is durable), `dead-letter` (the store
    /// refuses it), or `heartbeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Its index.
    #[serde(default, rename = "_index", skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Its id.
    #[serde(default, rename = "_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How often it was written.
    #[serde(default, rename = "_version", skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why it is a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which dead letters: exactly one of these.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterSelection {
    /// Those with these numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ids: Option<Vec<i64>>,
    /// Those whose reason contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Those of this source; `-` for those without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// All, where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub all: Option<bool>,
}

/// Which deliveries: exactly one of these.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverySelection {
    /// Those with these numbers, failed, held or delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ids: Option<Vec<i64>>,
    /// Every failed one of this callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub callback: Option<String>,
    /// Every failed one, where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub all: Option<bool>,
}

/// How many dead letters were replayed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersReplayed {
    /// So many wait to be stored again.
    pub replayed: u64,
    /// So many were left, since only the head of their body is there.
    pub left: u64,
}

/// How many dead letters were removed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersDropped {
    /// How many.
    pub dropped: u64,
}

/// How many deliveries run again.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveriesReplayed {
    /// How many.
    pub replayed: u64,
}

/// What Malcolm's health checks ask for.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pong {
    /// `pong`
    pub ping: String,
}
