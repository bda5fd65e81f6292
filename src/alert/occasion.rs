//! What a condition on a stream saw when it fired, in Graylog's words: what its callbacks carry, and
//! what our own conditions send along.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A condition that is met, on a stream, with the messages that met it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Occasion {
    /// The condition, or the event definition.
    pub condition: Condition,
    /// Where it looks.
    pub stream: Stream,
    /// When it was met.
    pub triggered_at: Option<Timestamp>,
    /// What was found, for people: `result_description`, or the event's message.
    pub description: Option<String>,
    /// The messages that went with it, newest first as the sender orders them.
    pub backlog: Vec<Message>,
}

/// An alert condition: Graylog's `triggered_condition`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// Its id.
    pub id: Option<String>,
    /// Its type, in lower case: `message_count`, `field_value`, `field_content_value`, or an event
    /// definition's, such as `aggregation-v1`.
    pub kind: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made, as the sender writes it.
    pub created_at: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
    /// `grace`, `backlog`, `time`, `threshold` and so on, as the sender has them.
    pub parameters: Map<String, Value>,
}

/// A stream: some of the messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Its id.
    pub id: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The rest of what the sender says of it: `rules`, `matching_type` and so on.
    pub rest: Map<String, Value>,
}

/// A message of the backlog.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The index that it is in.
    pub index: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its text.
    pub message: Option<String>,
    /// Where it came from: a host, mostly.
    pub source: Option<String>,
    /// Its time, as the sender writes it.
    pub timestamp: Option<String>,
    /// The streams that it is in.
    pub stream_ids: Vec<String>,
    /// All its other fields.
    pub fields: Map<String, Value>,
}
