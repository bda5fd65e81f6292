//! The service against a real OpenSearch; a module per promise.
//!
//! `scripts/test integration` starts the node that these tests share and names it in
//! `ALERTLOOP_TEST_OPENSEARCH`; each test writes to an index pattern of its own. A test that cannot
//! run says `SKIPPED name: why`, and `scripts/test` counts it.

mod compat;
mod intake;
mod lifecycle;
mod loopback;
mod outage;

mod startup;
mod support;
