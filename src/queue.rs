//! The pulled source: lists in Redis or Valkey into which ntopng before 4.0 and external programs
//! push alerts.
//!
//! An item is moved to a work list of this replica, made durable in the spool, and only then removed
//! there; where it is told, it is pushed on to another list between. So whichever side dies, the
//! item is in the queue, in the work list or in the spool: at least once, and once in the store, since
//! an alert's id follows from what it says. What stands in the work list at a start is kept first.
//! The work list of a replica that is gone for good is taken over by another one. The order is kept.
//!
//! Redis Cluster and Sentinel are not supported.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{lease::ReplicaId, spool::Spool};

pub mod fault;
mod keep;
mod keys;
mod pace;
mod reader;
mod server;
pub mod settings;
pub mod status;

use reader::Reader;
pub use settings::Settings;
pub use status::{State, Status};

/// Reads every queue until `stop`; then what is in hand is finished.
pub async fn run(
    settings: Settings,
    replica: &ReplicaId,
    spool: &Arc<Spool>,
    status: &Arc<Status>,
    limit: usize,
    stop: &CancellationToken,
) {
    let settings = Arc::new(settings);
    let mut readers = JoinSet::new();
    for queue in &settings.queues {
        let reader = Reader::new(
            Arc::clone(&settings),
            queue.clone(),
            replica.to_string(),
            Arc::clone(spool),
            Arc::clone(status),
            limit,
        );
        let stop = stop.clone();
        readers.spawn(async move { reader.run(&stop).await });
    }
    while let Some(ended) = readers.join_next().await {
        if let Err(panic) = ended
            && panic.is_panic()
        {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
}
