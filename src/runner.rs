//! Runs monitors where the store has no Alerting plugin: the same files, the same decisions, the same
//! messages. The store's own search, Painless and Mustache do the work; what is here decides when,
//! keeps the alerts, and hands the messages over.

pub mod decide;
pub mod decision;
