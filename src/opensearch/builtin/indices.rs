//! The indices of the built-in engine: their names, and their fields.

use std::time::Duration;

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::opensearch::{
    Client, Error,
    guarded::{self, Found},
};

/// How often an index is waited for that is just being made, a second at most each time.
const TRIES: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One document a monitor: its body as the plugin gives it.
    Monitors,
    /// One document an alert, of the past too.
    Alerts,
    /// One document a monitor: when it ran, and what came of it; and wishes for a run.
    Runs,
    /// What provisioning applied last. Not the one of the plugin's objects, so that one can go back to
    /// them.
    Ledger,
}

impl Index {
    fn word(self) -> &'static str {
        match self {
            Self::Monitors => "monitors",
            Self::Alerts => "alerts",
            Self::Runs => "runs",
            Self::Ledger => "monitors-provisioned",
        }
    }

    /// Its name, such as `alertloop-monitors`.
    #[must_use]
    pub fn name(self, client: &Client) -> String {
        format!("{}-{}", client.builtin_prefix(), self.word())
    }

    /// What is searched for; all else of a document is only kept.
    fn fields(self) -> Value {
        let keyword = || json!({ "type": "keyword", "ignore_above": 8_191 });
        let named = || json!({ "type": "text", "fields": { "keyword": keyword() } });
        let time = || json!({ "type": "date", "format": "epoch_millis" });
        match self {
            Self::Monitors => json!({
                "name": named(), "type": keyword(), "monitor_type": keyword(),
                "enabled": { "type": "boolean" }, "enabled_time": time(),
                "last_update_time": time() }),
            Self::Alerts => json!({
                "id": keyword(), "monitor_id": keyword(), "monitor_name": named(),
                "trigger_id": keyword(), "trigger_name": named(), "workflow_id": keyword(),
                "execution_id": keyword(),
                "state": keyword(), "severity": keyword(),
                "error_message": { "type": "text" },
                "start_time": time(), "end_time": time(), "last_notification_time": time(),
                "acknowledged_time": time(),
                "agg_alert_content": { "properties": { "bucket_keys": keyword() } } }),
            Self::Runs => json!({
                "kind": keyword(), "monitor_id": keyword(), "last_run": time(),
                "asked_at": time() }),
            Self::Ledger => json!({ "object": keyword(), "name": keyword() }),
        }
    }

    /// Makes it, where it is not there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make(self, client: &Client) -> Result<(), Error> {
        guarded::make_index(client, &self.name(client), self.fields()).await
    }

    /// Searches it; nothing is found where it is not there. While another replica is just making it,
    /// none of its shards answers yet: that is waited for.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn search(self, client: &Client, body: &Value) -> Result<Value, Error> {
        let path = self.search_path(client);
        for _ in 0..TRIES {
            match client.call(Method::Post, &path, Some(body)).await {
                Err(fault) if fault.status() == Some(503) => self.come_up(client).await,
                answer => return answer,
            }
        }
        client.call(Method::Post, &path, Some(body)).await
    }

    /// Reads documents by their ids, as they are at this moment; as for [`Self::search`], an index that
    /// is just being made is waited for.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn read(self, client: &Client, ids: &[&str]) -> Result<Vec<Found>, Error> {
        let index = self.name(client);
        let is_coming_up = |answer: &Result<Vec<Found>, Error>| match answer {
            Ok(found) => found.iter().any(|one| matches!(one, Found::Unread(_))),
            Err(fault) => fault.status() == Some(503),
        };
        let mut answer = guarded::read(client, &index, ids).await;
        for _ in 0..TRIES {
            if !is_coming_up(&answer) {
                break;
            }
            self.come_up(client).await;
            answer = guarded::read(client, &index, ids).await;
        }
        answer
    }

    /// Waits a second at most until its shards answer.
    async fn come_up(self, client: &Client) {
        let health =
            format!("/_cluster/health/{}?wait_for_status=yellow&timeout=1s", self.name(client));
        // Whether it came in time, the next call tells; a node may hear of it later than the one that
        // answers here.
        client.call(Method::Get, &health, None).await.ok();
        tokio::time::sleep(LOOK_EVERY).await;
    }

    /// The path of a search in it, which finds nothing where it is not there.
    pub(super) fn search_path(self, client: &Client) -> String {
        format!("/{}/_search?ignore_unavailable=true&allow_no_indices=true", self.name(client))
    }
}

/// Takes the hits out of the answer to a search.
///
/// # Errors
/// [`Error::Malformed`]: it has none.
pub(super) fn hits(answer: &mut Value) -> Result<Vec<Value>, Error> {
    match answer.pointer_mut("/hits/hits").map(Value::take) {
        Some(Value::Array(hits)) => Ok(hits),
        _ => Err(Error::Malformed("a search without hits".to_owned())),
    }
}
