//! Records that are in the store already, as somebody has written them before.

use alertloop::opensearch::bulk::{self, Action};
use jiff::{SignedDuration, Timestamp};
use opensearch::http::Method;
use serde_json::{Value, json};

use super::Store;

/// Minutes ago, as records tell times.
pub fn ago(minutes: i64) -> String {
    let at = Timestamp::now() - SignedDuration::from_mins(minutes);
    format!("{at:.3}")
}

/// An alert of `(provider, severity)` that began and was last heard of so many minutes ago.
pub fn record(
    id: &str,
    action: &str,
    (provider, severity): (&str, u8),
    times: (i64, i64),
) -> Value {
    let (began, news) = (ago(times.0), ago(times.1));
    json!({ "firstPacket": began, "lastPacket": news,
        "event": { "dataset": "alerting", "action": action, "provider": provider, "id": id,
            "severity": severity, "start": began, "end": news, "ingested": began,
            "reason": format!("reason of {id}") },
        "rule": { "id": format!("id-{provider}"), "name": format!("rule {provider}") } })
}

/// Writes them, each at that day and its own id.
pub async fn keep(store: &Store, day: &str, records: &[Value]) {
    let mut body = Vec::new();
    for one in records {
        let id = format!("{day}-{}", one["event"]["id"].as_str().expect("an id"));
        bulk::push(&mut body, Action::Create, &store.index(day), &id, &one.to_string());
    }
    let items = store.client().bulk(body.into(), records.len()).await.expect("an answer");
    assert!(items.iter().all(|item| item.status == 201), "{items:?}");
}

/// Lets them be seen.
pub async fn refresh(store: &Store) {
    let path = format!("/{}/_refresh", store.pattern());
    store.json(Method::Post, &path, Value::Null).await.expect("a refresh");
}

/// A session of that day that is no alert.
pub async fn keep_traffic(store: &Store, day: &str) {
    let session =
        json!({ "firstPacket": ago(1), "event": { "action": "engaged", "dataset": "conn" } });
    let path = format!("/{}/_doc/{day}-traffic", store.index(day));
    store.json(Method::Put, &path, session).await.expect("a session");
}

/// The alerts of a page, by their own ids.
pub fn ids(page: &Value) -> String {
    let ids = page["items"].as_array().expect("items").iter();
    ids.map(|one| one["alert"].as_str().expect("an id")).collect::<Vec<_>>().join(" ")
}
