//! What is run for an alert besides writing its record: e-mails, HTTP requests, scripts, channels of
//! OpenSearch Notifications. One run is a delivery.

use jiff::Timestamp;

use crate::alert::Alert;

mod check;
pub mod email;
mod jmte;
mod joda;
pub mod model;
mod names;
pub mod notification;
pub mod payload;
pub mod sample;
pub mod template;
mod view;

/// An alert as a callback gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The alert.
    pub alert: Alert,
    /// When its message was received.
    pub received: Timestamp,
    /// Its record's `_index` and `_id`, where they could be told before it was written.
    pub record: Option<(String, String)>,
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it means.
    pub outcome: Outcome,
    /// HTTP status, SMTP code or exit code.
    pub status: Option<i32>,
    /// What the other side said, bounded: for people.
    pub answer: String,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Delivered,
    /// It may be taken later; why not now.
    Again(String),
    /// It will not be taken, however often it is tried; why.
    Refused(String),
}
