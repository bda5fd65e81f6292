//! Taking turns at a job that every replica does once, and that must be done even where no turn can
//! be had: a lease that is waited for, but not for ever.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Lease, ReplicaId, Standing, Timing, document::Document};
use crate::opensearch::Client;

/// How long one that is at work is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// One that died is waited for less long. It is not renewed: a job that takes longer than this is
/// not worth waiting for.
const TIMING: Timing =
    Timing { duration: Duration::from_secs(15), renew_every: Duration::from_secs(5) };
/// How often it is looked whether it is free.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A job that replicas do one after the other where that can be had.
pub struct Turn {
    lease: Lease,
    patience: Duration,
    has_begun: bool,
    has_warned: bool,
}

impl Turn {
    /// A turn at `purpose` among those whose records go to the indices of `pattern`.
    #[must_use]
    pub fn new(client: Client, purpose: &str, pattern: &str, replica: &ReplicaId) -> Self {
        let document = Document::new(purpose, pattern);
        Self::with(Lease::new(client, document, replica, TIMING), PATIENCE)
    }

    /// The same with a lease of one's own, and so long to wait for it.
    #[must_use]
    pub fn with(lease: Lease, patience: Duration) -> Self {
        Self { lease, patience, has_begun: false, has_warned: false }
    }

    /// Waits until nobody else is at work, but not for ever and not after `stop`. It goes on
    /// without a turn where none can be had.
    pub async fn take(&mut self, stop: &CancellationToken) {
        let begun = Instant::now();
        let mut waits = false;
        loop {
            // Not raced against `stop`: each call has its own limit, and one that is cut off would
            // leave the lease to run out.
            match self.lease.hold().await {
                Ok(Standing::Held { .. }) => {
                    self.has_begun = true;
                    return;
                }
                Ok(Standing::Elsewhere { holder, .. }) => {
                    if !waits {
                        info!(holder, "waiting for another replica that does the same");
                    }
                    waits = true;
                }
                Err(fault) => return self.goes_without(&fault),
            }
            let left = self.patience.saturating_sub(begun.elapsed());
            let wait = LOOK_EVERY.mul_f64(rand::random_range(0.5..=1.0)).min(left);
            if left.is_zero() || stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none()
            {
                return;
            }
        }
    }

    /// Lets the next one begin.
    pub async fn end(&mut self) {
        if std::mem::take(&mut self.has_begun)
            && let Err(fault) = self.lease.release().await
        {
            debug!(error = %fault, "the turn runs out by itself");
        }
    }

    fn goes_without(&mut self, fault: &super::Error) {
        let is_refused = fault.fault().and_then(crate::opensearch::Error::status) == Some(403);
        // It may have been written all the same.
        self.has_begun = !is_refused;
        if is_refused && !std::mem::replace(&mut self.has_warned, true) {
            warn!(error = %fault, "replicas cannot take turns; going on without");
        } else {
            debug!(error = %fault, "going on without a turn");
        }
    }
}
