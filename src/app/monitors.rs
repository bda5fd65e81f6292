//! What runs the monitors where the store has no plugin for it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::{
    http,
    lease::{Lease, Timing, document::Document},
    runner::{Runner, handing::Hands},
    writer::Gate,
};

impl App {
    /// Runs the monitors until `stop`, where that is ours to do.
    pub(super) fn monitors(
        &self,
        gates: (Gate, watch::Receiver<bool>),
        state: &http::State,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let callbacks = state.callbacks.names().to_vec();
        let hands = Hands::new(
            Arc::clone(&self.spool),
            Arc::clone(&state.heartbeat),
            callbacks.clone(),
            self.dispatcher_settings(),
        );
        // Who shares the monitors shares the lease.
        let document = Document::new("runner", self.client.builtin_prefix());
        let lease = Lease::new(self.client.clone(), document, &self.replica, Timing::default());
        let status = Arc::clone(&state.runner);
        let runner = Runner::new(self.client.clone(), (hands, callbacks), gates, lease, status);
        async move { runner.run(&stop).await }
    }
}
