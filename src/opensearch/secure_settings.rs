//! Has the nodes read their keystores again.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error};
use crate::secrets::KeystorePassword;

/// One node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The node's name.
    pub node: String,
    /// Why it did not read its keystore.
    pub fault: Option<String>,
}

impl Reloaded {
    /// The fault with the node's name, where there is one.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let fault = self.fault.as_ref()?;
        Some(format!("node {}: {fault}", self.node))
    }
}

/// Has every node read its keystore again, which `password` opens.
///
/// A node answers that it went well also when it has read a key that no plugin of it registers, with
/// which it will not start again (seen on 3.4.0).
///
/// # Errors
/// [`Error`]. Nodes that failed are no error here: see [`Reloaded::fault`].
pub async fn reload(
    client: &Client,
    password: Option<&KeystorePassword>,
) -> Result<Vec<Reloaded>, Error> {
    let body = password.map(|password| json!({"secure_settings_password": password.expose()}));
    let path = "/_nodes/reload_secure_settings";
    let answer = client.call(Method::Post, path, body.as_ref()).await?;
    parse(&answer)
}

fn parse(answer: &Value) -> Result<Vec<Reloaded>, Error> {
    let nodes = answer.get("nodes").and_then(Value::as_object);
    let nodes = nodes.ok_or_else(|| Error::Malformed("no nodes in the answer".to_owned()))?;
    let mut found: Vec<Reloaded> = nodes.iter().map(|(id, node)| reloaded(id, node)).collect();
    let failed = answer.pointer("/_nodes/failed").and_then(Value::as_u64).unwrap_or(0);
    if failed > 0 {
        let reason = answer.pointer("/_nodes/failures/0/reason").and_then(Value::as_str);
        let fault = reason.unwrap_or("no answer").to_owned();
        found.push(Reloaded { node: format!("({failed} more)"), fault: Some(fault) });
    }
    if found.is_empty() {
        return Err(Error::Malformed("no node answered".to_owned()));
    }
    Ok(found)
}

fn reloaded(id: &str, node: &Value) -> Reloaded {
    let name = node.get("name").and_then(Value::as_str).unwrap_or(id);
    let fault = node.get("reload_exception").map(|fault| {
        let reason = fault.get("reason").and_then(Value::as_str);
        reason.map_or_else(|| fault.to_string(), str::to_owned)
    });
    Reloaded { node: name.to_owned(), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_told_of() {
        let answer = json!({
            "_nodes": {"total": 3, "successful": 2, "failed": 1,
                "failures": [{"type": "failed_node_exception", "reason": "Failed node [c]"}]},
            "nodes": {
                "a": {"name": "one"},
                "b": {"name": "two", "reload_exception":
                    {"type": "illegal_state_exception", "reason": "Keystore is missing"}},
            }
        });
        let nodes = parse(&answer).unwrap();
        let faults: Vec<_> = nodes.iter().filter_map(Reloaded::failure).collect();
        assert_eq!(nodes[0], Reloaded { node: "one".to_owned(), fault: None });
        assert_eq!(faults, ["node two: Keystore is missing", "node (1 more): Failed node [c]"]);
    }

    #[test]
    fn an_answer_without_a_node_is_no_success() {
        for answer in [json!({}), json!({"nodes": {}}), json!(null)] {
            assert!(parse(&answer).is_err(), "{answer}");
        }
    }
}
