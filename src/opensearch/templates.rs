//! Index templates, composable and legacy, and mappings.

use std::collections::BTreeMap;

use opensearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Client, Error, segment};

/// A composable index template, as far as it decides who wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Composable {
    /// Its name.
    pub name: String,
    /// The index names that it is for.
    pub index_patterns: Vec<String>,
    /// The highest priority wins; missing is 0.
    pub priority: u64,
}

/// A legacy template (`_template`). Those that match an index are merged, the higher `order` last;
/// none of them counts where a composable one matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Legacy {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// The index names that it is for.
    #[serde(default)]
    pub index_patterns: Vec<String>,
    /// Its place among those that match.
    #[serde(default)]
    pub order: i64,
    /// Its maker's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The field types.
    #[serde(default)]
    pub mappings: Value,
    /// Settings, aliases and what else it has, as it came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Lists the composable templates.
///
/// # Errors
/// [`Error`].
pub async fn composable(client: &Client) -> Result<Vec<Composable>, Error> {
    let answer = client.call(Method::Get, "/_index_template", None).await?;
    let list = answer.get("index_templates").and_then(Value::as_array);
    let list = list.ok_or_else(|| Error::Malformed("no index_templates".to_owned()))?;
    Ok(list.iter().filter_map(read_composable).collect())
}

fn read_composable(item: &Value) -> Option<Composable> {
    let template = item.get("index_template")?;
    let patterns = template.get("index_patterns")?.as_array()?;
    Some(Composable {
        name: item.get("name")?.as_str()?.to_owned(),
        index_patterns: patterns.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect(),
        priority: template.get("priority").and_then(Value::as_u64).unwrap_or(0),
    })
}

/// The two kinds of index templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `_index_template`: the one of the highest priority decides.
    Composable,
    /// `_template`: all that match are merged; none counts beside a composable one.
    Legacy,
}

impl Family {
    const fn path(self) -> &'static str {
        match self {
            Self::Composable => "/_index_template",
            Self::Legacy => "/_template",
        }
    }
}

/// Lists the templates of one kind by name, as they are.
///
/// # Errors
/// [`Error`].
pub async fn bodies(client: &Client, family: Family) -> Result<BTreeMap<String, Value>, Error> {
    let answer = client.call(Method::Get, family.path(), None).await?;
    let Value::Object(mut answer) = answer else {
        return Err(Error::Malformed("no templates".to_owned()));
    };
    if family == Family::Legacy {
        return Ok(answer.into_iter().collect());
    }
    let Some(Value::Array(list)) = answer.remove("index_templates") else {
        return Err(Error::Malformed("no index_templates".to_owned()));
    };
    let named = list.into_iter().filter_map(|mut item| {
        let name = item.get("name")?.as_str()?.to_owned();
        Some((name, item.get_mut("index_template")?.take()))
    });
    Ok(named.collect())
}

/// Reads one template as it is; `None` where there is none of that name.
///
/// # Errors
/// [`Error`].
pub async fn body(client: &Client, family: Family, name: &str) -> Result<Option<Value>, Error> {
    let path = format!("{}/{}", family.path(), segment(name));
    let mut answer = match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => return Ok(None),
        answer => answer?,
    };
    Ok(match family {
        Family::Composable => {
            answer.pointer_mut("/index_templates/0/index_template").map(Value::take)
        }
        Family::Legacy => answer.get_mut(name).map(Value::take),
    })
}

/// Writes a template; with `create` only where none of that name is there (else 400).
///
/// # Errors
/// [`Error`].
pub async fn put(
    client: &Client,
    family: Family,
    name: &str,
    body: &Value,
    create: bool,
) -> Result<(), Error> {
    let path = format!("{}/{}?create={create}", family.path(), segment(name));
    client.call(Method::Put, &path, Some(body)).await.map(drop)
}

/// Deletes a template; one that is gone already is success.
///
/// # Errors
/// [`Error`].
pub async fn delete(client: &Client, family: Family, name: &str) -> Result<(), Error> {
    let path = format!("{}/{}", family.path(), segment(name));
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if !fault.is_not_found() => Err(fault),
        _ => Ok(()),
    }
}

/// Lists the legacy templates.
///
/// # Errors
/// [`Error`].
pub async fn legacy(client: &Client) -> Result<Vec<Legacy>, Error> {
    let answer = client.call(Method::Get, "/_template", None).await?;
    let all: Map<String, Value> =
        serde_json::from_value(answer).map_err(|fault| Error::Malformed(fault.to_string()))?;
    all.into_iter()
        .map(|(name, body)| {
            let template: Legacy = serde_json::from_value(body)
                .map_err(|fault| Error::Malformed(format!("template {name}: {fault}")))?;
            Ok(Legacy { name, ..template })
        })
        .collect()
}

/// Writes a legacy template.
///
/// # Errors
/// [`Error`].
pub async fn put_legacy(client: &Client, template: &Legacy) -> Result<(), Error> {
    let path = format!("/_template/{}", segment(&template.name));
    let body =
        serde_json::to_value(template).map_err(|fault| Error::Malformed(fault.to_string()))?;
    client.call(Method::Put, &path, Some(&body)).await.map(drop)
}

/// Whether a template of that name is there, of either kind.
///
/// # Errors
/// [`Error`].
pub async fn exists(client: &Client, name: &str) -> Result<bool, Error> {
    for family in ["_index_template", "_template"] {
        match client.call(Method::Get, &format!("/{family}/{}", segment(name)), None).await {
            Ok(_) => return Ok(true),
            Err(fault) if fault.is_not_found() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(false)
}

/// The mapping that the composable templates would give a new index; `None` where none matches
/// (the store then merges the legacy ones, which this API does not show).
///
/// # Errors
/// [`Error`].
pub async fn simulate(client: &Client, index: &str) -> Result<Option<Value>, Error> {
    let path = format!("/_index_template/_simulate_index/{}", segment(index));
    let answer = client.call(Method::Post, &path, None).await?;
    let Some(template) = answer.get("template") else { return Ok(None) };
    Ok(Some(template.get("mappings").cloned().unwrap_or_else(|| json!({}))))
}

/// The mapping of an index that exists; of the last one by name behind an alias.
///
/// # Errors
/// [`Error`].
pub async fn mapping(client: &Client, index: &str) -> Result<Option<Value>, Error> {
    let path = format!("/{}/_mapping", segment(index));
    let answer = match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => return Ok(None),
        answer => answer?,
    };
    let indices = answer.as_object().into_iter().flatten();
    let last = indices.max_by(|(a, _), (b, _)| a.cmp(b));
    Ok(last.and_then(|(_, index)| index.get("mappings").cloned()))
}

/// Whether `name` matches a pattern in which `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(tail) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(tail)
}

/// The composable template that decides the index `name`, if any.
#[must_use]
pub fn winner<'a>(all: &'a [Composable], name: &str) -> Option<&'a Composable> {
    let matching = all.iter().filter(|one| one.index_patterns.iter().any(|p| matches(p, name)));
    matching.max_by_key(|one| one.priority)
}

/// The merged mapping of legacy templates: the higher `order` wins, field by field.
#[must_use]
pub fn merge(templates: &[&Legacy]) -> Value {
    let mut sorted = templates.to_vec();
    sorted.sort_by_key(|one| one.order);
    let mut merged = json!({});
    for template in sorted {
        merge_into(&mut merged, &template.mappings);
    }
    merged
}

fn merge_into(target: &mut Value, source: &Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source {
                merge_into(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, source) => *target = source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_like_the_stores_own() {
        for (pattern, name, want) in [
            ("arkime_sessions3-*", "arkime_sessions3-261101", true),
            ("arkime_sessions3-*", "arkime_sessions3-", true),
            ("arkime_sessions3-*", "arkime_sessions3", false),
            ("*", "anything", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("*-b-*", "a-b-c", true),
            ("a*a", "a", false),
            ("a*b*c", "abbc", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} on {name}");
        }
    }

    #[test]
    fn the_highest_priority_that_matches_wins() {
        let one = |name: &str, pattern: &str, priority| Composable {
            name: name.to_owned(),
            index_patterns: vec![pattern.to_owned()],
            priority,
        };
        let all = [one("all", "*", 1), one("mine", "mine-*", 5), one("other", "other-*", 9)];
        assert_eq!(winner(&all, "mine-1").map(|one| one.name.as_str()), Some("mine"));
        assert_eq!(winner(&all, "x").map(|one| one.name.as_str()), Some("all"));
        assert_eq!(winner(&all[1..], "x"), None);
    }

    #[test]
    fn legacy_templates_are_merged_with_the_higher_order_last() {
        let one = |order, mappings| Legacy { order, mappings, ..Legacy::default() };
        let high = one(1, json!({"properties": {"a": {"type": "ip"}}}));
        let low = one(-1, json!({"properties": {"a": {"type": "text"}, "b": {"type": "long"}}}));
        let want = json!({"properties": {"a": {"type": "ip"}, "b": {"type": "long"}}});
        assert_eq!(merge(&[&high, &low]), want);
        assert_eq!(merge(&[]), json!({}));
    }
}
