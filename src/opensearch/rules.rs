//! The monitors and composite monitors that alerts are of, as far as an alert needs them:
//! `GET _plugins/_alerting/monitors/{id}`, `GET …/workflows/{id}`, `POST …/monitors/_search`.

use opensearch::http::Method;
use serde_json::Value;

use super::{
    Client, Error,
    alerting::{self, Family},
    alerts::absent_is_none,
    segment,
};

/// What a monitor's alerts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query: at most one alert a trigger at a time, saved after the actions.
    Query,
    /// The buckets of an aggregation: an alert a bucket, saved before the actions.
    Bucket,
    /// Documents: an alert a document, saved after the actions and never completed.
    Document,
    /// Other monitors' alerts: at most one alert a trigger at a time, saved after the actions.
    Composite,
}

/// A monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// Ids and names of its triggers.
    pub triggers: Vec<(String, String)>,
    /// All of it.
    pub body: Value,
}

/// The monitor with this id; `None` where there is none, or no Alerting plugin.
///
/// # Errors
/// [`Error`], but for a 404.
pub async fn with_id(client: &Client, id: &str) -> Result<Option<Rule>, Error> {
    if client.is_builtin().await? {
        let found = alerting::get(client, Family::Monitor, id).await?;
        return Ok(found.map(|monitor| read(id, monitor.body)));
    }
    let path = format!("_plugins/_alerting/monitors/{}", segment(id));
    match client.call(Method::Get, &path, None).await {
        Ok(mut answer) => Ok(Some(read(id, answer["monitor"].take()))),
        // 3.4.0 answers so for the id of a composite monitor, which is kept as a workflow.
        Err(fault) if fault.status() == Some(500) => {
            workflow(client, id).await?.map_or(Err(fault), |rule| Ok(Some(rule)))
        }
        Err(fault) if fault.is_not_found() => workflow(client, id).await,
        Err(fault) => absent_is_none(Err(fault)),
    }
}

async fn workflow(client: &Client, id: &str) -> Result<Option<Rule>, Error> {
    let path = format!("_plugins/_alerting/workflows/{}", segment(id));
    let answer = absent_is_none(client.call(Method::Get, &path, None).await)?;
    Ok(answer.map(|mut answer| read(id, answer["workflow"].take())))
}

/// The only monitor, or composite one, with exactly this name; `None` where there is none, or
/// several.
///
/// # Errors
/// [`Error`], but for a 404.
pub async fn with_name(client: &Client, name: &str, family: Family) -> Result<Option<Rule>, Error> {
    let found = absent_is_none(alerting::named(client, family, &[name]).await)?;
    Ok(match <[_; 1]>::try_from(found.unwrap_or_default()) {
        Ok([one]) => Some(read(&one.id, one.body)),
        Err(_) => None,
    })
}

fn read(id: &str, body: Value) -> Rule {
    let kind = match body["monitor_type"].as_str() {
        Some("bucket_level_monitor") => Kind::Bucket,
        Some("doc_level_monitor") => Kind::Document,
        _ if body.get("workflow_type").is_some() => Kind::Composite,
        _ => Kind::Query,
    };
    // A trigger is wrapped in an object whose one key is its kind.
    let triggers = body["triggers"].as_array().into_iter().flatten();
    let triggers = triggers.filter_map(|wrapped| wrapped.as_object()?.values().next());
    let text = |trigger: &Value, key: &str| trigger[key].as_str().unwrap_or_default().to_owned();
    let triggers = triggers.map(|trigger| (text(trigger, "id"), text(trigger, "name"))).collect();
    Rule { id: id.to_owned(), kind, triggers, body }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_known() {
        for (body, kind) in [
            (json!({"monitor_type": "query_level_monitor"}), Kind::Query),
            (json!({"monitor_type": "bucket_level_monitor"}), Kind::Bucket),
            (json!({"monitor_type": "doc_level_monitor"}), Kind::Document),
            (json!({"workflow_type": "composite"}), Kind::Composite),
            (json!({}), Kind::Query),
        ] {
            assert_eq!(read("m", body.clone()).kind, kind, "{body}");
        }
        let body = json!({"triggers": [{"bucket_level_trigger": {"id": "t", "name": "n"}}]});
        assert_eq!(read("m", body).triggers, [("t".to_owned(), "n".to_owned())]);
    }
}
