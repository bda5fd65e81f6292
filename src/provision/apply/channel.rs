//! Writes a channel over one that is there.

use serde_json::Value;

use crate::opensearch::{Client, Error, notifications};

/// Puts `body` in the place of the channel that is there, `now`.
///
/// The store answers 409 where its type changes, so such a channel is removed and made anew: under
/// its old id, by which monitors know it. A new one that the store refuses leaves the old one.
pub(super) async fn replace(
    client: &Client,
    id: &str,
    now: &Value,
    body: &Value,
) -> Result<(), Error> {
    let type_of = |body: &Value| body.get("config_type").cloned();
    if type_of(now) == type_of(body) {
        return notifications::update(client, id, body).await;
    }
    notifications::delete(client, id).await?;
    let created = notifications::create(client, id, body).await;
    if created.is_err() {
        // Where that fails as well, whatever is wrong with the store is told by the first fault.
        notifications::create(client, id, now).await.ok();
    }
    created
}
