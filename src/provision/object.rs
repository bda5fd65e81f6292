//! The objects that files describe and the store holds, whatever their kind.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sealed::Hidden;
use crate::opensearch::alerting::Monitor;

/// The kinds of objects that we keep in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// An index template: the one that makes sessions, or a composable one.
    Template,
    /// A legacy index template (`_template`).
    LegacyTemplate,
    /// A channel of the Notifications plugin, an e-mail account or a group of recipients.
    Channel,
    /// A monitor of the Alerting plugin.
    Monitor,
    /// A composite monitor of the Alerting plugin.
    Workflow,
}

/// What an object is known by: a channel by its id, all others by their name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub object: Object,
    /// Its id or name.
    pub name: String,
}

/// An object as a file describes it, with the settings filled in.
#[derive(Clone)]
pub struct Wanted {
    /// What it is known by.
    pub key: Key,
    /// The file, below the provisioning folder.
    pub file: String,
    /// What is sent to the store: a channel's `config`, all others' whole body.
    pub body: Value,
    /// What in it is not to be shown.
    pub hidden: Hidden,
}

/// An object as the store has it.
#[derive(Clone, Default, PartialEq)]
pub struct Found {
    /// The id that the store chose; a channel's or a template's own.
    pub id: String,
    /// How often it was written; 0 where the store does not count.
    pub version: u64,
    /// Guard an update; 0 where the store has no such guard.
    pub seq_no: u64,
    /// Belongs to `seq_no`.
    pub primary_term: u64,
    /// Its body, as in [`Wanted`].
    pub body: Value,
}

impl Key {
    /// A key.
    #[must_use]
    pub fn new(object: Object, name: impl Into<String>) -> Self {
        Self { object, name: name.into() }
    }
}

impl Wanted {
    /// The order in which objects are made: whatever another refers to comes first.
    #[must_use]
    pub fn rank(&self) -> (Object, bool) {
        let config_type = self.body.get("config_type").and_then(Value::as_str);
        let is_email = self.key.object == Object::Channel && config_type == Some("email");
        (self.key.object, is_email)
    }
}

// A channel's body holds secrets, so no body is shown.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, file, body: _, hidden: _ } = self;
        f.debug_struct("Wanted").field("key", key).field("file", file).finish_non_exhaustive()
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, .. } = self;
        f.debug_struct("Found").field("id", id).field("version", version).finish_non_exhaustive()
    }
}

impl From<Monitor> for Found {
    fn from(monitor: Monitor) -> Self {
        let Monitor { id, seq_no, primary_term, version, body } = monitor;
        Self { id, version, seq_no, primary_term, body }
    }
}

impl Object {
    /// The field by which a user switches it on and off; we set it when we make it, never after.
    #[must_use]
    pub const fn switch(self) -> Option<&'static str> {
        match self {
            Self::Template | Self::LegacyTemplate => None,
            Self::Channel => Some("is_enabled"),
            Self::Monitor | Self::Workflow => Some("enabled"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template => "template",
            Self::LegacyTemplate => "legacy template",
            Self::Channel => "channel",
            Self::Monitor => "monitor",
            Self::Workflow => "workflow",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.name)
    }
}
