//! Alerts as ntopng sends them: one object as its alert endpoints took it from the queue up to 3.8
//! ([`queue()`]), and its webhook of today ([`webhook()`]). What takes ntopng's alerts takes ours. Pure.
//!
//! Source: `doc/README.alerts` and `AlertsManager::notifyAlert` of ntopng 3.6 and 3.8;
//! `notifications/endpoints/webhook.lua`, `alerts_api.lua`, `Host::alert2JSON` and `Flow::alert2JSON`
//! of 6.2.

use serde_json::Value;

use super::Notice;

mod codes;
mod queue;
mod subject;
mod webhook;

/// The alert as an alert endpoint of ntopng 3.6 or 3.8 gets it.
#[must_use]
pub fn queue(notice: &Notice) -> Value {
    queue::object(notice)
}

/// The body of ntopng's webhook, version 0.2 as since 5.0.
#[must_use]
pub fn webhook(notice: &Notice, shared_secret: Option<&str>) -> Value {
    webhook::body(notice, shared_secret)
}

#[cfg(test)]
mod tests;
