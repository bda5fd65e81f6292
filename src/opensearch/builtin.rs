//! Monitors and alerts where no plugin keeps them: documents of indices of ours, in the same JSON as
//! the Alerting plugin's, so that all else need not know who runs the monitors.
//!
//! Nothing outside of [`super`] asks here for what the plugin's side of it has a function for:
//! [`super::alerting`], [`super::alerts`] and their neighbours choose.

use serde_json::Value;

use super::{Error, alerting::Family};

pub mod alerts;
pub mod asking;
mod checked;
pub mod indices;
pub mod jobs;
pub mod monitors;
pub mod runs;

/// Why only the plugin can run this monitor; `None` where the built-in engine can, or where it is no
/// monitor at all, which is told when it is made.
#[must_use]
pub fn beyond_us(family: Family, body: &Value) -> Option<String> {
    match checked::checked(family, body) {
        Err(Error::Status { status: checked::UNABLE, reason }) => Some(reason),
        _ => None,
    }
}
