//! What the store says about itself.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error, segment};

/// Which product the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whether it is OpenSearch; Elasticsearch names no distribution.
    pub is_opensearch: bool,
    /// The version number, such as `3.4.0`.
    pub version: String,
}

impl About {
    /// Major and minor number; `None` of a version that is not numbered so.
    #[must_use]
    pub fn number(&self) -> Option<(u32, u32)> {
        number(&self.version)
    }
}

fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
    parts.next()?.zip(parts.next()?)
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

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The names of its plugins.
    pub plugins: Vec<String>,
}

impl Node {
    /// Major and minor number of its version; `None` where it is not numbered so.
    #[must_use]
    pub fn number(&self) -> Option<(u32, u32)> {
        number(&self.version)
    }
}

/// Lists the nodes with their plugins.
///
/// # Errors
/// [`Error`].
pub async fn nodes(client: &Client) -> Result<Vec<Node>, Error> {
    let filter = "nodes.*.name,nodes.*.version,nodes.*.plugins.name";
    let path = format!("/_nodes/plugins?filter_path={filter}");
    let answer = client.call(Method::Get, &path, None).await?;
    let nodes = answer.get("nodes").and_then(Value::as_object);
    let nodes = nodes.ok_or_else(|| Error::Malformed("no nodes".to_owned()))?;
    Ok(nodes.values().map(read_node).collect())
}

fn read_node(node: &Value) -> Node {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let plugins = node.get("plugins").and_then(Value::as_array).into_iter().flatten();
    Node {
        name: text(node, "name"),
        version: text(node, "version"),
        plugins: plugins.map(|plugin| text(plugin, "name")).collect(),
    }
}

/// Which of Alerting and Notifications shows a user only what users of a backend role of his made:
/// the names of their settings.
///
/// # Errors
/// [`Error`].
pub async fn backend_role_filters(client: &Client) -> Result<Vec<&'static str>, Error> {
    let path = "/_cluster/settings?include_defaults=true&filter_path=**.filter_by_backend_roles";
    Ok(read_filters(&client.call(Method::Get, path, None).await?))
}

fn read_filters(answer: &Value) -> Vec<&'static str> {
    const NAMES: [&str; 2] = [
        "plugins.alerting.filter_by_backend_roles",
        "opensearch.notifications.general.filter_by_backend_roles",
    ];
    let is_on = |name: &&str| {
        let of = |level: &str| {
            let path = format!("/{level}/{}", name.replace('.', "/"));
            answer.pointer(&path).and_then(Value::as_str)
        };
        ["transient", "persistent", "defaults"].into_iter().find_map(of) == Some("true")
    };
    NAMES.into_iter().filter(is_on).collect()
}

/// The indices of a pattern that take no writes, each with its block, such as
/// `read_only_allow_delete` (set by the store itself when a disk is over the flood stage).
///
/// # Errors
/// [`Error`].
pub async fn write_blocks(client: &Client, pattern: &str) -> Result<Vec<(String, String)>, Error> {
    let pattern = segment(pattern);
    let path = format!("/{pattern}/_settings/index.blocks.*?flat_settings=true");
    let answer = match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => return Ok(Vec::new()),
        answer => answer?,
    };
    Ok(read_blocks(&answer))
}

fn read_blocks(answer: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, body) in answer.as_object().into_iter().flatten() {
        let settings = body.get("settings").and_then(Value::as_object).into_iter().flatten();
        for (name, value) in settings {
            let block = name.strip_prefix("index.blocks.").unwrap_or(name);
            let stops_writes = matches!(block, "write" | "read_only" | "read_only_allow_delete");
            if stops_writes && value.as_str() == Some("true") {
                found.push((index.clone(), block.to_owned()));
            }
        }
    }
    found.sort();
    found
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_that_stop_writes_are_read() {
        let answer = json!({
            "s-2": {"settings": {"index.blocks.read_only_allow_delete": "true"}},
            "s-1": {"settings": {"index.blocks.write": "true", "index.blocks.metadata": "true"}},
            "s-3": {"settings": {"index.blocks.write": "false"}}});
        let pairs = [("s-1", "write"), ("s-2", "read_only_allow_delete")];
        let want: Vec<_> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(read_blocks(&answer), want);
        assert_eq!(read_blocks(&json!({})), []);
    }

    #[test]
    fn what_is_set_at_run_time_goes_before_the_default_filter() {
        let set =
            |value: &str| json!({"plugins": {"alerting": {"filter_by_backend_roles": value}}});
        let alerting = "plugins.alerting.filter_by_backend_roles";
        for (answer, want) in [
            (json!({"defaults": set("false")}), vec![]),
            (json!({"transient": set("true"), "defaults": set("false")}), vec![alerting]),
            (json!({"transient": set("false"), "persistent": set("true")}), vec![]),
            (json!({"persistent": set("true")}), vec![alerting]),
            (json!({}), vec![]),
        ] {
            assert_eq!(read_filters(&answer), want, "{answer}");
        }
    }

    #[test]
    fn a_node_is_read_with_its_plugins() {
        let node = json!({"name": "n", "version": "3.4.0", "plugins": [{"name": "a"}, {}]});
        let Node { name, version, plugins } = read_node(&node);
        assert_eq!((name.as_str(), version.as_str()), ("n", "3.4.0"));
        assert_eq!(plugins, ["a", ""]);
        assert_eq!(read_node(&json!({"name": "n"})).plugins, [""; 0]);
    }
}
