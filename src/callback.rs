//! What is run for an alert besides writing its record: e-mails, HTTP requests, scripts, channels of
//! OpenSearch Notifications. One run is a delivery.
//!
//! The [`dispatcher`] reads what is in the spool, and keeps there what is due: what it is, [`dispatch`]
//! and [`episode`] decide, which are pure. The [`runner`] runs each callback by itself, from what is
//! kept, until it is delivered or given up. So neither waits for the store, nor one callback for
//! another, and a crash at any moment makes a callback run again at worst.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::alert::Alert;

mod body;
mod check;
pub mod dispatch;
pub mod dispatcher;
pub mod email;
pub mod episode;
mod how;
pub mod http;
mod jmte;
mod joda;
pub mod json;
pub mod matching;
pub mod model;
mod names;
pub mod notification;
pub mod ntopng;
pub mod payload;
pub mod runner;
pub mod sample;
pub mod script;
pub mod settings;
pub mod template;
mod users;
mod view;

pub use how::How;
use matching::Match;

/// A callback that is configured.
#[derive(Clone, Debug)]
pub struct Callback {
    /// What it is called.
    pub name: String,
    /// Whether it runs.
    pub enabled: bool,
    /// What it is for.
    pub matching: Match,
    /// Whether it runs at each message of an alert, and not at the first alone.
    pub repeat: bool,
    /// How long it is tried.
    pub give_up_after: Duration,
    /// How many of its runs there may be at once.
    pub at_once: usize,
    /// What it does.
    pub how: How,
    /// What the configuration says, without secrets.
    pub shown: Value,
}

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
