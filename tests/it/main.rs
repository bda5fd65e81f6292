//! The service against a real OpenSearch; a module per promise.
//!
//! `scripts/test integration` starts the node that these tests share and names it in
//! `ALERTLOOP_TEST_OPENSEARCH`; each test writes to an index pattern of its own. A test that cannot
//! run says `SKIPPED name: why`, and `scripts/test` counts it. The tests of `secured` need a node of
//! another kind, in `ALERTLOOP_TEST_SECURED`: `scripts/test secured`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, start tasks and look at the clock"
)]

mod acknowledge;
mod alertmanager;
mod auth_setup;
mod builtin_loop;
mod callback_channel;
mod callback_mail;
mod callback_tls;
mod callbacks;
mod capabilities;
mod compat;
mod conditions;
mod dead_letters;
mod doctor;
mod elasticsearch_api;
mod email;
mod engaged;
mod engine;
mod foreign;
mod graylog;
mod graylog_loop;
mod history;
mod injection;
mod intake;
mod kinds;
mod lease;
mod lifecycle;
mod lint;
mod lives;
mod locks;
mod locks_bounds;
mod locks_tls;
mod loopback;
mod monitors;
mod ntopng;
mod ntopng_sending;
mod objects;
mod outage;
mod outcomes;
mod promises;
mod provision;
mod queue;
mod races;
mod reconcile;
mod reconcile_faults;
mod rehearsal;
mod runner;
mod runner_equal;
mod secrets;
mod secured;
mod silence;
mod startup;
#[allow(dead_code, reason = "the fault tests use the rest of it")]
mod support;
mod thresholds;
