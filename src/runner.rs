//! Runs monitors where the store has no Alerting plugin: the same files, the same decisions, the same
//! messages. The store's own search, Painless and Mustache do the work; what is here decides when,
//! keeps the alerts, and hands the messages over.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    lease::Lease,
    opensearch::{Client, builtin::indices::Index},
    provision::desired::{CHANNEL_ID, OLD_CHANNEL_ID},
    writer::Gate,
};

pub mod decide;
pub mod decision;
pub mod handing;
mod leading;
pub mod noting;
mod roster;
mod status;
pub mod timetable;
mod working;

use handing::{CALLBACK, Hands};
use leading::Leading;
pub use status::{Detail, Off, Running, Status};
use working::{Ground, Lead};

/// How long the first run waits for the monitors to be provisioned.
const PROVISIONED_WITHIN: Duration = Duration::from_mins(1);
/// Limit of one call to the store; a run makes several.
const CALL: Duration = Duration::from_secs(30);

/// The task that runs them, on every replica; one at a time leads.
pub struct Runner {
    client: Client,
    hands: Hands,
    callbacks: Vec<String>,
    gate: Gate,
    provisioned: watch::Receiver<bool>,
    lease: Lease,
    status: Arc<Status>,
}

impl Runner {
    /// One that has run nothing yet; `callbacks` are the names of those that are enabled.
    #[must_use]
    pub fn new(
        client: Client,
        (hands, callbacks): (Hands, Vec<String>),
        (gate, provisioned): (Gate, watch::Receiver<bool>),
        lease: Lease,
        status: Arc<Status>,
    ) -> Self {
        Self { client, hands, callbacks, gate, provisioned, lease, status }
    }

    /// Runs monitors until `stop`, where the store's own plugin does not.
    pub async fn run(mut self, stop: &CancellationToken) {
        let open = self.gate.wait_for(Option::is_some);
        if !matches!(stop.run_until_cancelled(open).await, Some(Ok(_))) {
            return;
        }
        let provisioned = self.provisioned.wait_for(|done| *done);
        let ready = tokio::time::timeout(PROVISIONED_WITHIN, provisioned);
        if stop.run_until_cancelled(ready).await.is_none()
            || leading::is_ours(&self.client, stop).await != Some(true)
        {
            return;
        }
        self.status.on();
        let callbacks = self.callbacks.iter().map(|name| format!("{CALLBACK}{name}"));
        let channels = [CHANNEL_ID, OLD_CHANNEL_ID].map(str::to_owned);
        let ground = Ground {
            alerts: Index::Alerts.name(&self.client),
            client: self.client.within(CALL),
            hands: self.hands,
            destinations: channels.into_iter().chain(callbacks).collect(),
            lead: Lead::default(),
            is_unseen: AtomicBool::new(false),
            limit: working::LIMIT,
        };
        Leading::new(Arc::new(ground), self.lease, self.status).run(stop).await;
    }
}
