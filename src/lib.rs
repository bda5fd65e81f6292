//! alertloop closes the loop that OpenSearch Alerting leaves open: an alert that fires becomes a
//! session record (`event.dataset=alerting`) in the index of the traffic that caused it, once.
//!
//! Data flows one way: [`http`] takes a body in and seals it into the [`spool`] (fsync before the
//! answer); the [`writer`] takes it from there, [`intake`] decodes it into [`alert`]s, [`record`]
//! makes documents of them, and [`opensearch`] stores them. An entry leaves the spool only when
//! its outcome is known; what can never be stored stays among the [`dead_letters`]. What is pulled comes
//! by a [`queue`] in Redis into the same spool; [`series`] tell which happening a message is about that
//! does not say so, and [`engaged`] what is there now. Beside the writer, [`callback`]s are run for what
//! is in the spool, and each run is kept among the [`deliveries`].
//! [`reconcile`] reads back from the Alerting API what no webhook told, and puts it into the spool;
//! one replica at a time does, by a [`lease`]. [`provision`]
//! makes the channel and the monitor that send to us, [`monitors`] shows and switches them; [`silence`] and [`heartbeat`] tell when they send
//! nothing any more, and [`acknowledge`] answers them. [`page`] shows all of it to people, live by what
//! the writer tells in [`news`]. [`auth_setup`] gives OpenSearch the logins that
//! its e-mails need, and [`security_setup`] our own user and its roles.
//!
//! `alert`, `intake`, `record`, `lifecycle` and `series` are pure: no I/O, no clock, no environment.

pub mod acknowledge;
pub mod alert;
pub mod answers;
pub mod app;
pub mod auth_setup;
pub mod callback;
pub mod cli;
pub mod clock;
pub mod condition;
pub mod config;
mod data_file;
pub mod dead_letters;
pub mod deliveries;
pub mod doctor;
pub mod engaged;
pub mod finding;
pub mod heartbeat;
pub mod history;
pub mod http;
pub mod intake;
pub mod intake_token;
pub mod lease;
pub mod lifecycle;
pub mod monitors;
pub mod news;
pub mod opensearch;
pub mod page;
pub mod provision;
pub mod queue;
pub mod receipt;
pub mod reconcile;
pub mod record;
pub mod runner;
pub mod secrets;
pub mod security_setup;
pub mod series;
pub mod serving;
pub mod shutdown;
pub mod silence;
pub mod spool;
pub mod telemetry;
pub mod tls;
pub mod writer;
