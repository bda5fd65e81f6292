//! Monitors and alerts where no plugin keeps them: documents of indices of ours, in the same JSON as
//! the Alerting plugin's, so that all else need not know who runs the monitors.
//!
//! Nothing outside of [`super`] asks here for what the plugin's side of it has a function for:
//! [`super::alerting`], [`super::alerts`] and their neighbours choose.

pub mod alerts;
mod checked;
pub mod indices;
pub mod jobs;
pub mod monitors;
pub mod runs;
