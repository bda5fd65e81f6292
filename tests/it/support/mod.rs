//! The service under test, and the real store.

mod alertmanager;
mod app;
mod bench;
mod certificate;
mod echo;
pub mod hostile;
pub mod kept;
mod keystore;
mod mail;
pub mod monitored;
mod proxy;
mod receiver;
mod redis;
mod reluctant;
pub mod schema;
mod store;
mod terminal;
mod watched;

pub use alertmanager::Alertmanager;
pub use app::{Answer, App, Process, TOKEN, settings};
pub use bench::Bench;
pub use certificate::{OF_NO_AUTHORITY, certificate, certificates, expired_certificate};
pub use echo::{Echo, MailEcho};
pub use keystore::Keystore;
pub use mail::MailServer;
pub use proxy::Proxy;
pub use receiver::{Received, Receiver};
pub use redis::Redis;
pub use reluctant::{Asked, Mood, Reluctant};
pub use store::Store;
pub use terminal::Terminal;
pub use watched::{Channel, Watched};

/// Says that a test was skipped, in the form that `scripts/test` counts.
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    println!("SKIPPED {name}: {why}");
}

/// The store, or `return`s from a test that cannot run without one.
#[macro_export]
macro_rules! store {
    () => {
        match $crate::support::Store::of_this_run() {
            Some(store) => store,
            None => return $crate::support::skip("ALERTLOOP_TEST_OPENSEARCH names no OpenSearch"),
        }
    };
    (secured) => {
        match $crate::support::Store::secured_of_this_run() {
            Some(store) => store,
            None => return $crate::support::skip("ALERTLOOP_TEST_SECURED names no OpenSearch"),
        }
    };
    (alerting) => {{
        let store = $crate::store!();
        if !$crate::support::Store::has_alerting() {
            return $crate::support::skip("this OpenSearch has no Alerting plugin");
        }
        store
    }};
}

/// A Redis with these arguments, or `return`s from a test that cannot run without one.
#[macro_export]
macro_rules! redis {
    ($($argument:expr),*) => {
        match $crate::support::Redis::start(&[$($argument),*]) {
            Some(redis) => redis,
            None => return $crate::support::skip("there is no redis-server"),
        }
    };
}

/// A keystore, or `return`s from a test that cannot run without the tool that makes one.
#[macro_export]
macro_rules! keystore {
    ($which:ident) => {
        match $crate::support::Keystore::$which() {
            Some(keystore) => keystore,
            None => {
                let why = "ALERTLOOP_TEST_OPENSEARCH names no node of tests/opensearch/node.sh";
                return $crate::support::skip(why);
            }
        }
    };
}

/// Only one test at a time may use the objects of a store whose names are fixed; they are removed
/// first.
pub async fn provisioning(store: &Store) -> tokio::sync::MutexGuard<'static, ()> {
    static PLAIN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    static SECURED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let is_secured = store.access().ca.is_some();
    let alone = if is_secured { &SECURED } else { &PLAIN }.lock().await;
    store.remove_loopback().await;
    alone
}
