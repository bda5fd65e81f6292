//! What the store says about itself.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error};

/// Which product the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whether it is OpenSearch; Elasticsearch names no distribution.
    pub is_opensearch: bool,
    /// The version number, such as `3.4.0`.
    pub version: String,
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let product = if self.is_opensearch { "OpenSearch" } else { "Elasticsearch" };
        write!(f, "{product} {}", self.version)
    }
}

/// Asks for product and version.
///
/// # Errors
/// [`Error`].
pub async fn about(client: &Client) -> Result<About, Error> {
    let answer = client.call(Method::Get, "/", None).await?;
    let text = |path| answer.pointer(path).and_then(Value::as_str);
    let Some(version) = text("/version/number") else {
        return Err(Error::Malformed("no version number: is this OpenSearch?".to_owned()));
    };
    let is_opensearch = text("/version/distribution") == Some("opensearch");
    Ok(About { is_opensearch, version: version.to_owned() })
}

/// The plugins that every node has.
///
/// # Errors
/// [`Error`].
pub async fn plugins(client: &Client) -> Result<Vec<String>, Error> {
    let answer = client.call(Method::Get, "/_nodes/plugins?filter_path=nodes.*.plugins.name", None);
    let answer = answer.await?;
    let nodes = answer.get("nodes").and_then(Value::as_object);
    let nodes = nodes.ok_or_else(|| Error::Malformed("no nodes in the answer".to_owned()))?;
    let of = |node: &Value| -> Vec<String> {
        let plugins = node.get("plugins").and_then(Value::as_array);
        let names = plugins.into_iter().flatten().filter_map(|plugin| plugin.get("name")?.as_str());
        names.map(str::to_owned).collect()
    };
    let mut all = nodes.values().map(of);
    let mut everywhere = all.next().unwrap_or_default();
    for plugins in all {
        everywhere.retain(|plugin| plugins.contains(plugin));
    }
    Ok(everywhere)
}

/// The hosts and networks that webhooks may not go to.
///
/// # Errors
/// [`Error`].
pub async fn webhook_deny_list(client: &Client) -> Result<Vec<String>, Error> {
    let path = "/_cluster/settings?include_defaults=true&filter_path=**.host_deny_list";
    let answer = client.call(Method::Get, path, None).await?;
    // What is set at run time goes before the node's file and the default.
    for level in ["transient", "persistent", "defaults"] {
        let path = format!("/{level}/opensearch/notifications/core/http/host_deny_list");
        if let Some(list) = answer.pointer(&path).and_then(Value::as_array) {
            return Ok(list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect());
        }
    }
    Ok(Vec::new())
}

/// The clock of the node that answers, in milliseconds since 1970.
///
/// # Errors
/// [`Error`].
pub async fn clock(client: &Client) -> Result<i64, Error> {
    let path = "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp";
    let answer = client.call(Method::Get, path, None).await?;
    let node = answer.get("nodes").and_then(Value::as_object).and_then(|all| all.values().next());
    let time = node.and_then(|node| node.get("timestamp")).and_then(Value::as_i64);
    time.ok_or_else(|| Error::Malformed("no timestamp in the node's stats".to_owned()))
}
