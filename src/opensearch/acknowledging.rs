//! Acknowledging alerts: `POST _plugins/_alerting/{monitors,workflows}/{id}/_acknowledge/alerts`, or in
//! the documents of the built-in engine.
//!
//! **Never call the plugin for a monitor that is gone.** From 2.19.4 to 3.7.0 such a call is not answered,
//! and then none on that node is until it is restarted. Read the monitor first, and use a client with
//! a short limit. Seen on 2.19.4 and 3.4.0; 3.8.0 answers 500.

use std::collections::BTreeMap;

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error, alerting::Family, builtin, segment};

/// What the store says to each alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Acknowledged by this call.
    pub success: Vec<String>,
    /// Not acknowledged by it, each with the store's reason: it was before, it is over, it is in an
    /// error, or it is not there.
    pub failed: BTreeMap<String, String>,
}

/// Acknowledges alerts of one monitor, which the caller has just read.
///
/// # Errors
/// [`Error`]; [`Error::Unreachable`] may mean that this node answers no acknowledgement any more.
pub async fn acknowledge(
    client: &Client,
    family: Family,
    owner: &str,
    alerts: &[&str],
) -> Result<Said, Error> {
    if client.is_builtin().await? {
        return builtin::alerts::acknowledge(client, owner, alerts).await;
    }
    let path = format!("{}/{}/_acknowledge/alerts", family.path(), segment(owner));
    let answer = client.call(Method::Post, &path, Some(&json!({ "alerts": alerts }))).await?;
    read(&answer).ok_or_else(|| Error::Malformed("no list of alerts".to_owned()))
}

/// `{"success": ["id"], "failed": [{"id": {"failed_reason": "…"}}]}`
fn read(answer: &Value) -> Option<Said> {
    let success = answer.get("success")?.as_array()?.iter().filter_map(Value::as_str);
    let failed = answer.get("failed")?.as_array()?.iter().filter_map(Value::as_object).flatten();
    let reason = |why: &Value| why["failed_reason"].as_str().unwrap_or_default().to_owned();
    Some(Said {
        success: success.map(str::to_owned).collect(),
        failed: failed.map(|(id, why)| (id.clone(), reason(why))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_is_read_and_nothing_else_is() {
        let already = "Alert has already been acknowledged.";
        let answer = json!({"success": ["a"], "failed": [{"b": {"failed_reason": already}}]});
        let said = read(&answer).unwrap();
        assert_eq!(said.success, ["a"]);
        assert_eq!(said.failed.into_iter().collect::<Vec<_>>(), [("b".into(), already.into())]);
        for other in [json!(null), json!({"success": []}), json!({"success": {}, "failed": []})] {
            assert_eq!(read(&other), None);
        }
    }
}
