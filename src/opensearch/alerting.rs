//! The monitors and the composite workflows of the Alerting plugin, or of the built-in engine, which
//! has no workflows ([`super::builtin`]); [`Client::engine`] says which.
//!
//! With the plugin both are documents of one index; the search for monitors finds workflows too.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error, builtin::monitors as ours, segment};

const MONITORS: &str = "/_plugins/_alerting/monitors";
const WORKFLOWS: &str = "/_plugins/_alerting/workflows";
/// More than the plugin's own default limit (1,000), as many as one search gives.
pub(super) const MOST: usize = 10_000;

/// A monitor or a workflow as the store has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Monitor {
    /// The id that the store chose.
    pub id: String,
    /// When it was last written: a later write has a higher number.
    pub seq_no: u64,
    /// The term that belongs to the number; both together guard an update.
    pub primary_term: u64,
    /// How often it was written, its creation included.
    pub version: u64,
    /// The monitor itself. A search leaves its `ui_metadata` out.
    pub body: Value,
}

/// Which of the two it is; their APIs differ in the path and in the name of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Query-, bucket- or document-level.
    Monitor,
    /// Composite: runs monitors in order.
    Workflow,
}

impl Family {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Monitor => MONITORS,
            Self::Workflow => WORKFLOWS,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Workflow => "workflow",
        }
    }
}

impl Monitor {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.body.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.body.get("enabled").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The channels that its actions send to, in order, each once.
    #[must_use]
    pub fn channels(&self) -> Vec<&str> {
        let triggers = self.body.get("triggers").and_then(Value::as_array).into_iter().flatten();
        // A trigger is wrapped in an object whose one key is its kind.
        let triggers = triggers.filter_map(|wrapped| wrapped.as_object()?.values().next());
        let actions = triggers.filter_map(|trigger| trigger.get("actions")?.as_array()).flatten();
        let mut ids: Vec<&str> =
            actions.filter_map(|action| action.get("destination_id")?.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// Finds the monitors or workflows with exactly these names, the oldest write first.
///
/// A name of more than 256 characters is never found: the store does not index it.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn named(client: &Client, family: Family, names: &[&str]) -> Result<Vec<Monitor>, Error> {
    if client.is_builtin().await? {
        return ours::named(client, family, names).await;
    }
    // `monitor.name` itself is analysed text: it would match any monitor that shares a word.
    let field = format!("{}.name.keyword", family.word());
    search(client, &json!({ "terms": { field: names } })).await
}

/// Lists all monitors or all workflows, the oldest write first.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn all(client: &Client, family: Family) -> Result<Vec<Monitor>, Error> {
    if client.is_builtin().await? {
        return ours::all(client, family).await;
    }
    let field = format!("{}.name", family.word());
    search(client, &json!({ "exists": { "field": field } })).await
}

/// Lists all monitors, the oldest write first.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn monitors(client: &Client) -> Result<Vec<Monitor>, Error> {
    all(client, Family::Monitor).await
}

/// What changes whenever a monitor or a workflow is written or deleted: how many there are, and the
/// number of the last write. A run of a monitor does not change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    count: u64,
    seq_no: u64,
    primary_term: u64,
}

impl Stamp {
    /// Of the search for the last write.
    pub(super) fn read(answer: &Value) -> Self {
        let number = |path: &str| answer.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        Self {
            count: number("/hits/total/value"),
            seq_no: number("/hits/hits/0/_seq_no"),
            primary_term: number("/hits/hits/0/_primary_term"),
        }
    }
}

/// Reads the stamp of all monitors and workflows, which is much smaller than they are.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn stamp(client: &Client) -> Result<Stamp, Error> {
    if client.is_builtin().await? {
        return ours::stamp(client).await;
    }
    let there = |field: &str| json!({ "exists": { "field": field } });
    let body = json!({
        "size": 1, "sort": [{ "_seq_no": "desc" }], "track_total_hits": true,
        "query": { "bool": { "should": [there("monitor.name"), there("workflow.name")] } } });
    let answer = match client.call(Method::Post, &format!("{MONITORS}/_search"), Some(&body)).await
    {
        Err(fault) if fault.is_not_found() => return Ok(Stamp::default()),
        answer => answer?,
    };
    Ok(Stamp::read(&answer))
}

async fn search(client: &Client, query: &Value) -> Result<Vec<Monitor>, Error> {
    let body = json!({
        "size": MOST, "seq_no_primary_term": true, "version": true, "query": query });
    let answer = match client.call(Method::Post, &format!("{MONITORS}/_search"), Some(&body)).await
    {
        // 2.19 says so before the first monitor is made.
        Err(fault) if fault.is_not_found() => return Ok(Vec::new()),
        answer => answer?,
    };
    let Value::Object(mut answer) = answer else { return Err(without_hits()) };
    let hits = answer.get_mut("hits").and_then(|hits| hits.get_mut("hits")).map(Value::take);
    let Some(Value::Array(hits)) = hits else { return Err(without_hits()) };
    // A monitor that is not seen would be made once more.
    if hits.len() == MOST {
        return Err(too_many());
    }
    let mut found: Vec<Monitor> = hits.into_iter().filter_map(|hit| read(hit, "_source")).collect();
    found.sort_by_key(|monitor| monitor.seq_no);
    Ok(found)
}

pub(super) fn too_many() -> Error {
    Error::Malformed(format!("more monitors than one search gives ({MOST})"))
}

fn without_hits() -> Error {
    Error::Malformed("a search without hits".to_owned())
}

/// The names of the destinations of OpenSearch 1.x, in whose place 2.0 has channels; the built-in
/// engine has none.
///
/// # Errors
/// [`Error`].
pub async fn destinations(client: &Client) -> Result<Vec<String>, Error> {
    if client.is_builtin().await? {
        return Ok(Vec::new());
    }
    let path = "/_plugins/_alerting/destinations?size=200";
    let answer = client.call(Method::Get, path, None).await?;
    let list = answer.get("destinations").and_then(Value::as_array).into_iter().flatten();
    Ok(list.filter_map(|one| one.get("name")?.as_str().map(str::to_owned)).collect())
}

/// Reads a hit of a search, or the answer to a read or a write.
pub(super) fn read(mut answer: Value, key: &str) -> Option<Monitor> {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (seq_no, primary_term) = (number("_seq_no"), number("_primary_term"));
    let version = number("_version");
    let id = answer.get("_id")?.as_str()?.to_owned();
    let mut body = answer.get_mut(key)?.take();
    // Some versions wrap it in its family's name.
    for family in [Family::Monitor, Family::Workflow] {
        if let Some(wrapped) = body.get_mut(family.word()).filter(|wrapped| wrapped.is_object()) {
            body = wrapped.take();
        }
    }
    Some(Monitor { id, seq_no, primary_term, version, body })
}

fn answered(answer: Value, family: Family) -> Result<Monitor, Error> {
    let word = family.word();
    read(answer, word).ok_or_else(|| Error::Malformed(format!("a {word} without an id or a body")))
}

/// Reads one, with its `ui_metadata` if the client is [`Client::as_dashboards`]; `None` where there is none of that id.
///
/// # Errors
/// [`Error`].
pub async fn get(client: &Client, family: Family, id: &str) -> Result<Option<Monitor>, Error> {
    if client.is_builtin().await? {
        return ours::get(client, family, id).await;
    }
    let path = format!("{}/{}", family.path(), segment(id));
    match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => Ok(None),
        answer => answered(answer?, family).map(Some),
    }
}

/// Runs a monitor once, as it stands here, without keeping or sending anything. Gives the plugin's
/// report: `input_results.{results,error}`, and `trigger_results.{id}` with `error` and
/// `action_results`, where each action has `output.message`, the rendered message.
///
/// The monitor and its alerts have no id in such a run, and the triggers of a bucket-level monitor
/// get another.
///
/// # Errors
/// [`Error`]: 400 for a body that is no monitor, 500 for a query that cannot be parsed.
pub async fn dry_run(client: &Client, monitor: &Value) -> Result<Value, Error> {
    if client.is_builtin().await? {
        return ours::dry_run(client, monitor).await;
    }
    let mut monitor = monitor.clone();
    let triggers = monitor.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    for trigger in triggers {
        // The plugin reads `condition` with the id that it has until then
        // (`BucketLevelTrigger.kt`), so an id that comes later, as it does in our sorted JSON,
        // leaves the trigger without results: "null cannot be cast to … HashMap".
        if let Some(trigger) =
            trigger.get_mut("bucket_level_trigger").and_then(Value::as_object_mut)
        {
            trigger.remove("id");
        }
    }
    client.call(Method::Post, &format!("{MONITORS}/_execute?dryrun=true"), Some(&monitor)).await
}

/// Has the plugin run a monitor once, as if its time had come: it keeps alerts and sends messages. Gives
/// a report as [`dry_run`] does.
///
/// # Errors
/// [`Error`].
pub async fn run(client: &Client, id: &str) -> Result<Value, Error> {
    let path = format!("{MONITORS}/{}/_execute?dryrun=false", segment(id));
    client.call(Method::Post, &path, None).await
}

/// Creates one; the store chooses its id.
///
/// # Errors
/// [`Error`]: 400 for a body that is no monitor; 422 for one that the built-in engine cannot run.
pub async fn create(client: &Client, family: Family, body: &Value) -> Result<Monitor, Error> {
    if client.is_builtin().await? {
        return ours::create(client, family, body).await;
    }
    answered(client.call(Method::Post, family.path(), Some(body)).await?, family)
}

/// Replaces one, unless somebody wrote it since it was read with this sequence number and primary
/// term (409).
///
/// # Errors
/// [`Error`].
pub async fn update(
    client: &Client,
    family: Family,
    id: &str,
    (seq_no, term): (u64, u64),
    body: &Value,
) -> Result<Monitor, Error> {
    if client.is_builtin().await? {
        return ours::update(client, family, id, (seq_no, term), body).await;
    }
    let guard = format!("if_seq_no={seq_no}&if_primary_term={term}");
    let path = format!("{}/{}?{guard}", family.path(), segment(id));
    answered(client.call(Method::Put, &path, Some(body)).await?, family)
}

/// Deletes one; one that is gone already is success. Whoever calls this has just read it: 2.19.4 and
/// 3.4.0 answer the deletion of a monitor that is not there twice, and the second answer overwrites the
/// beginning of answers to others (seen: 200 with somebody else's error in 1 of 70 reads beside 240
/// deletions a second; docs/compatibility.md).
///
/// # Errors
/// [`Error`].
pub async fn delete(client: &Client, family: Family, id: &str) -> Result<(), Error> {
    if client.is_builtin().await? {
        return ours::delete(client, family, id).await;
    }
    let path = format!("{}/{}", family.path(), segment(id));
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if fault.is_not_found() => Ok(()),
        // As somebody else was quicker.
        Err(fault @ Error::Malformed(_)) => {
            get(client, family, id).await?.map_or(Ok(()), |_| Err(fault))
        }
        answer => answer.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_read_in_both_shapes() {
        let body = json!({"name": "m", "enabled": true, "triggers": [
            {"query_level_trigger": {"actions": [{"destination_id": "b"}, {"destination_id": "a"}]}},
            {"bucket_level_trigger": {"actions": [{"destination_id": "b"}, {"name": "none"}]}},
            {"chained_alert_trigger": {}}, "noise"]});
        for source in [body.clone(), json!({ "monitor": body }), json!({ "workflow": body })] {
            let hit = json!({"_id": "x", "_seq_no": 7, "_version": 2, "_source": source});
            let monitor = read(hit, "_source").unwrap();
            assert_eq!((monitor.id.as_str(), monitor.seq_no, monitor.version), ("x", 7, 2));
            assert_eq!((monitor.name(), monitor.is_enabled()), ("m", true));
            assert_eq!(monitor.channels(), ["a", "b"]);
        }
        assert_eq!(read(json!({"_id": "x"}), "_source"), None);
    }
}
