//! A lease: of the replicas that share nothing but the store, one at a time does a job. Nothing is
//! wrong where two do it, since ids and merges make it the same twice; it is doubled work and noise.
//!
//! Kept in the store as one document a job ([`document`]); who holds it is decided by [`state`],
//! whose rules compare no clocks of different machines.

use std::time::Instant;

use serde_json::Value;
use tracing::{info, warn};

use crate::opensearch::{self, Client};
use document::{Document, Found};
use state::{State, Write, Written};

pub mod document;
mod replica;
pub mod state;
mod turn;

pub use replica::ReplicaId;
pub use state::{Standing, Timing};
pub use turn::Turn;

/// Why a lease was not held, renewed or given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not do it. A holder keeps its lease until it runs out.
    #[error("the lease of the {purpose} cannot be kept in {index}: {fault}{}", mend(.fault))]
    Store {
        /// What the lease is for.
        purpose: String,
        /// The index that it is in.
        index: String,
        /// What the store said.
        #[source]
        fault: opensearch::Error,
    },
    /// Another replica may hold it by now.
    #[error("the lease of the {0} is lost; what was to be kept is not")]
    Lost(String),
    /// It was confirmed after it had run out.
    #[error("the store took longer to confirm the lease of the {0} than it lasts")]
    Slow(String),
}

impl Error {
    /// What the store said, where it is the reason.
    #[must_use]
    pub fn fault(&self) -> Option<&opensearch::Error> {
        match self {
            Self::Store { fault, .. } => Some(fault),
            Self::Lost(_) | Self::Slow(_) => None,
        }
    }
}

fn mend(fault: &opensearch::Error) -> &'static str {
    match fault.status() {
        Some(403) => {
            "; to mend: give alertloop's user the role of provisioning/security/alertloop.json; \
             see docs/security.md"
        }
        _ => "",
    }
}

/// One process's part in a lease. Each of its futures may be dropped at any point.
pub struct Lease {
    client: Client,
    document: Document,
    state: State,
    timing: Timing,
    /// What the log says last: whether it is held, and that the id is shared.
    told: (bool, bool),
}

impl Lease {
    /// The lease `document`, for a process of `replica`. Asks the store for nothing yet.
    #[must_use]
    pub fn new(client: Client, document: Document, replica: &ReplicaId, timing: Timing) -> Self {
        let session = format!("{:016x}", rand::random::<u64>());
        let state = State::new(replica.to_string(), session, timing);
        Self { client, document, state, timing, told: (false, false) }
    }

    /// How long it lasts, and how often [`Lease::hold`] is to be called.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Renews it, or takes it where it is free: one read, and at most one write, but for the first
    /// time ever. To be called at least as often as [`Timing::renew_every`] says.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Slow`]: a holder's lease goes on until it has run out; ask
    /// [`Lease::is_held`].
    pub async fn hold(&mut self) -> Result<Standing, Error> {
        let done = self.step().await;
        self.tell();
        done?;
        let slow = || Error::Slow(self.document.purpose().to_owned());
        self.state.standing(Instant::now()).ok_or_else(slow)
    }

    /// Whether this process may act as the holder at the moment `now`.
    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        self.state.is_held(now)
    }

    /// Until when this process may act as the holder, where no renewal comes; `None` where it may not.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.state.held_until()
    }

    /// Leaves `payload` for the next holder, with the next renewal; nothing where it is not ours.
    pub fn keep(&mut self, payload: Value) {
        self.state.keep(payload);
    }

    /// Leaves `payload` for the next holder, at once.
    ///
    /// # Errors
    /// [`Error::Lost`]: it is another's by now, and `payload` is dropped. The others as
    /// [`Lease::hold`]; then `payload` is written with the next renewal.
    pub async fn store(&mut self, payload: Value) -> Result<(), Error> {
        let lost = |lease: &Self| Error::Lost(lease.document.purpose().to_owned());
        if !self.is_held(Instant::now()) {
            return Err(lost(self));
        }
        self.state.keep(payload);
        let done = self.step().await;
        self.tell();
        done?;
        // One that was taken anew has what the holder between left.
        let is_still_ours = self.is_held(Instant::now()) && !self.state.is_new();
        if is_still_ours { Ok(()) } else { Err(lost(self)) }
    }

    /// Gives it back, so that the next one takes it at once. From the moment of the call on it is
    /// not held.
    ///
    /// # Errors
    /// [`Error::Store`]: the others have to wait until it runs out.
    pub async fn release(&mut self) -> Result<(), Error> {
        let payload = self.state.resign();
        self.told.0 = false;
        if let Found::Document(seen) = self.read().await?
            && let Some(write) = self.state.release(seen, payload)
        {
            self.write(&write).await?;
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Error> {
        let seen = match self.read().await? {
            Found::Document(seen) => Some(seen),
            Found::Nothing => None,
            Found::NoIndex => {
                // Once, and it may take longer than the rest.
                let made = self.document.make_index(&self.client).await;
                made.map_err(|fault| self.fault(fault))?;
                None
            }
        };
        let mut next = self.state.read(seen, Instant::now());
        while let Some(write) = next {
            let started = Instant::now();
            let answer = self.write(&write).await?;
            next = self.state.written(&write, answer, started, Instant::now());
        }
        Ok(())
    }

    fn tell(&mut self) {
        let now = (self.is_held(Instant::now()), self.state.shares_its_id());
        let before = std::mem::replace(&mut self.told, now);
        let lease = self.document.purpose();
        match (before.0, now.0) {
            (false, true) => info!(lease, "this replica has the lease of the {lease}"),
            (true, false) => info!(lease, "this replica lost the lease of the {lease}"),
            _ => {}
        }
        if now.1 && !before.1 {
            warn!(
                lease,
                "another alertloop has this replica's id: its data directory is a copy; delete the file replica-id in one of the two, and start that one again"
            );
        }
    }

    async fn read(&self) -> Result<Found, Error> {
        self.in_time(self.document.read(&self.client)).await
    }

    async fn write(&self, write: &Write) -> Result<Written, Error> {
        self.in_time(self.document.write(&self.client, write)).await
    }

    /// A call that hangs must not use up the time in which another one could succeed.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, opensearch::Error>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(self.timing.renew_every, call).await;
        let late = |_| Err(opensearch::Error::Unreachable("timed out".to_owned()));
        answer.unwrap_or_else(late).map_err(|fault| self.fault(fault))
    }

    fn fault(&self, fault: opensearch::Error) -> Error {
        Error::Store {
            purpose: self.document.purpose().to_owned(),
            index: self.document.index().to_owned(),
            fault,
        }
    }
}
