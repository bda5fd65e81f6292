//! The service under test, and the real store.

mod app;
mod proxy;
mod reluctant;
mod store;

pub use app::{Answer, App, Process, TOKEN, settings};
pub use proxy::Proxy;
pub use reluctant::{Mood, Reluctant};
pub use store::Store;

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

/// Only one test at a time may use the objects whose names are fixed; they are removed first.
pub async fn provisioning(store: &Store) -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let alone = ALONE.lock().await;
    store.remove_loopback().await;
    alone
}
