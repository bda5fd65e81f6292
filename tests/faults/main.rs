//! What is promised, while things break: the process, the machine, the disk, the store, the way to
//! it. A module per kind of fault.
//!
//! `scripts/test faults` runs the short form of each; `scripts/torture` the long one, and makes a
//! report of it. Both run one test at a time: some of them stop the node that all share.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, start tasks and look at the clock"
)]

mod backlog;
mod callbacks;
mod cluster;
mod disk;
mod effort;
mod faulty_disk;
mod floods;
#[path = "../../benches/reconcile/ground.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest of it")]
mod ground;
#[path = "../../benches/load/http.rs"]
#[allow(dead_code, reason = "the load generator uses the rest of it")]
mod http;
mod kills;
mod ledger;
mod lives;
mod order;
mod power;
mod queue;
mod reconciler;
mod replicas;
mod report;
mod rolling;
mod runner;
mod scene;
mod soak;
mod store;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest of it")]
mod support;
mod upgrade;
mod waiting;
