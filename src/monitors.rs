//! The monitors and composite monitors of OpenSearch's Alerting that concern us: those that send to us,
//! and those that our files describe, conditions above all. Each with whether it runs, when it ran
//! last, and what is wrong with it; and switched on and off.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    answers::{Answers, Told},
    clock,
    history::search,
    intake::severity_in_opensearch as severity,
    opensearch::{
        Client, Error,
        alerting::{self, Family, Monitor},
        alerts, jobs,
    },
    provision::{
        self,
        desired::Desired,
        object::{Key, Object},
        shape::Kind,
    },
    silence::{self, Ran, sends_to_us},
};

mod item;
mod past;
mod switch;
mod trial;

pub use item::{Item, Trouble};
pub use past::{Past, Run};
pub use switch::Fault;
pub use trial::Trial;

/// How long the store may take for one call.
const TIME: Duration = Duration::from_secs(12);
/// How long a list is shared.
const SHARED_FOR: Duration = Duration::from_secs(2);
/// How many alerts of monitors that do not send to us are looked through for the last ones.
const NEWEST: usize = 1_000;

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = Conditions)]
pub struct List {
    /// By name.
    pub items: Vec<Item>,
    /// How many monitors there are that neither send to us nor come from our files; they are listed
    /// when all are asked for.
    pub others: usize,
    /// When the store was asked.
    pub asked_at: String,
    /// How many milliseconds ago that was.
    pub age_ms: u64,
    /// Why the store cannot be asked now; this is what it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

/// The monitors, from the store.
pub struct Monitors {
    client: Client,
    settings: provision::Settings,
    lists: Answers<(), List>,
}

impl Monitors {
    /// Asks through `client`; nothing yet.
    #[must_use]
    pub fn new(client: &Client, settings: provision::Settings) -> Self {
        Self { client: client.within(TIME), settings, lists: Answers::new(SHARED_FOR) }
    }

    /// Those that concern us, or `all`: not older than two seconds while the store answers; else what
    /// it answered last, if that is not too old, with the reason.
    ///
    /// # Errors
    /// [`Error`]: the store does not answer, and has not lately; or it has no Alerting, see
    /// [`Error::is_unavailable`].
    pub async fn list(&self, all: bool) -> Result<List, Error> {
        let ask = || list(&self.client, &self.settings, clock::now());
        let Told { mut answer, age_ms, outdated } = self.lists.to(&(), ask).await?;
        if !all {
            answer.items.retain(Item::concerns_us);
        }
        Ok(List { age_ms, outdated, ..answer })
    }

    /// Switches one on or off, and changes nothing else of it. Provisioning leaves the switch as it is
    /// from then on: it is the user's.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn switch(&self, id: &str, enabled: bool) -> Result<Item, Fault> {
        let item = switch(&self.client, &self.settings, id, enabled).await?;
        self.lists.forget();
        Ok(item)
    }

    /// How the last runs of one went.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn past(&self, id: &str) -> Result<Past, Fault> {
        past::read(&self.client, id).await
    }
}

/// Switches one on or off, as [`Monitors::switch`].
///
/// # Errors
/// [`Fault`].
pub async fn switch(
    client: &Client,
    settings: &provision::Settings,
    id: &str,
    enabled: bool,
) -> Result<Item, Fault> {
    let (family, monitor) = switch::switch(client, id, enabled).await?;
    described(client, settings, family, &monitor).await
}

/// The monitor with this id, else the only one with this name, as it is listed and as it is kept.
///
/// # Errors
/// [`Fault`].
pub async fn find(
    client: &Client,
    settings: &provision::Settings,
    id_or_name: &str,
) -> Result<(Item, Monitor), Fault> {
    let (family, monitor) = switch::find(client, id_or_name).await?;
    Ok((described(client, settings, family, &monitor).await?, monitor))
}

/// How the last runs of a monitor went.
///
/// # Errors
/// [`Error`].
pub async fn past(client: &Client, monitor: &Monitor) -> Result<Past, Error> {
    past::of(client, monitor).await
}

async fn described(
    client: &Client,
    settings: &provision::Settings,
    family: Family,
    monitor: &Monitor,
) -> Result<Item, Fault> {
    let mut item = Item::of(family, monitor);
    if client.is_builtin().await? {
        item.url = None;
    }
    if let Ok(desired) = provision::desired(settings) {
        describe(&mut item, &desired);
    }
    Ok(item)
}

/// Asks the store for all of them.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn list(
    client: &Client,
    settings: &provision::Settings,
    now: Timestamp,
) -> Result<List, Error> {
    if !settings.may_have_monitors {
        return Err(Error::NoSuchApi {
            status: 501,
            reason: "Elasticsearch has no Alerting; with ALERTLOOP_MONITORS=builtin alertloop \
                     runs monitors itself"
                .to_owned(),
        });
    }
    let mut unknown = Vec::new();
    let mut found: Vec<(Family, Monitor)> = Vec::new();
    for family in [Family::Monitor, Family::Workflow] {
        let all = alerting::all(client, family).await?;
        found.extend(all.into_iter().map(|one| (family, one)));
    }
    let desired = provision::desired(settings)
        .map_err(|faults| unknown.push(format!("which files describe them: {faults}")))
        .ok();
    let mut items: Vec<Item> =
        found.iter().map(|(family, monitor)| Item::of(*family, monitor)).collect();
    if let Some(desired) = &desired {
        for item in &mut items {
            describe(item, desired);
        }
        items.extend(missing(&items, desired));
    }
    let monitors: Vec<&Monitor> = found.iter().map(|(_, monitor)| monitor).collect();
    runs(client, &monitors, &mut items, now, &mut unknown).await;
    last_alerts(client, settings, &mut items, &mut unknown).await;
    if client.is_builtin().await? {
        // Dashboards shows those of the plugin alone.
        for item in &mut items {
            item.url = None;
        }
    }
    items.sort_by_cached_key(|item| (item.name.to_lowercase(), item.id.clone()));
    let others = items.iter().filter(|item| !item.concerns_us()).count();
    let asked_at = format!("{now:.3}");
    Ok(List { items, others, asked_at, age_ms: 0, outdated: None, unknown })
}

/// Which file an item comes from, and what its condition says.
fn describe(item: &mut Item, desired: &Desired) {
    let object = if item.kind == "composite" { Object::Workflow } else { Object::Monitor };
    let key = Key::new(object, item.name.clone());
    let Some(wanted) = desired.wanted.iter().find(|wanted| wanted.key == key) else { return };
    item.file = Some(wanted.file.clone());
    if let Some(condition) = desired.conditions.get(&wanted.file) {
        item.condition = Some(condition.id.clone());
        item.description.clone_from(&condition.description);
        item.severity = Some(severity(Some(&json!(condition.severity))));
    }
}

/// What files describe and the store does not have.
fn missing(items: &[Item], desired: &Desired) -> Vec<Item> {
    let objects = [Object::Monitor, Object::Workflow];
    let wanted = desired.wanted.iter().filter(|wanted| objects.contains(&wanted.key.object));
    let wanted =
        wanted.filter(|wanted| !items.iter().any(|item| item.file.as_ref() == Some(&wanted.file)));
    let items = wanted.map(|wanted| {
        let family = match wanted.key.object {
            Object::Workflow => Family::Workflow,
            _ => Family::Monitor,
        };
        let monitor = Monitor { body: wanted.body.clone(), ..Monitor::default() };
        let mut item = Item { enabled: false, ..Item::of(family, &monitor) };
        describe(&mut item, desired);
        item.trouble.push(Trouble {
            reason: "missing".to_owned(),
            what: "its file is there, and it is not in OpenSearch".to_owned(),
            mend: "`alertloop provision plan` says why; `alertloop provision apply` makes it"
                .to_owned(),
        });
        item
    });
    items.collect()
}

/// When each ran last, and what is wrong with those that are enabled.
async fn runs(
    client: &Client,
    monitors: &[&Monitor],
    items: &mut [Item],
    now: Timestamp,
    unknown: &mut Vec<String>,
) {
    let jobs = match jobs::jobs(client).await {
        Ok(jobs) => jobs,
        Err(fault) => return unknown.push(format!("when they ran last: {fault}")),
    };
    let failed = match alerts::failed(client).await {
        Ok(failed) => silence::newest(failed, |_| true),
        Err(fault) => {
            unknown.push(format!("which of them fail: {fault}"));
            std::collections::BTreeMap::default()
        }
    };
    for item in items {
        let Some(monitor) = monitors.iter().find(|one| item.id.as_ref() == Some(&one.id)) else {
            continue;
        };
        let ran_at = jobs.last_runs.get(&monitor.id).copied().flatten();
        item.last_run = ran_at.map(|at| format!("{at:.3}"));
        if !monitor.is_enabled() {
            continue;
        }
        let late = silence::judge(monitor, Ran::of(monitor, &jobs), None, now);
        let failure = failed.get(&monitor.id);
        let lost = failure.and_then(|failure| silence::lost(monitor, failure));
        let broken = failure.filter(|_| lost.is_none()).map(Trouble::broken);
        item.trouble.extend(late.into_iter().chain(lost).map(Trouble::from).chain(broken));
    }
}

/// When each fired last, and how many of its alerts stand: of those that send to us by the records,
/// of the others by the Alerting API, as far as that tells.
async fn last_alerts(
    client: &Client,
    settings: &provision::Settings,
    items: &mut [Item],
    unknown: &mut Vec<String>,
) {
    let ids: BTreeSet<String> = items.iter().filter_map(|item| item.id.clone()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    if ids.is_empty() {
        return;
    }
    let mut last: HashMap<String, (Option<i64>, u64)> = HashMap::new();
    let body = json!({
        "size": 0, "track_total_hits": false, "timeout": "10s",
        "query": { "bool": { "filter": [
            { "term": { "event.dataset": "alerting" } }, { "terms": { "rule.id": ids } } ] } },
        "aggs": { "rules": { "terms": { "field": "rule.id", "size": ids.len() }, "aggs": {
            "last": { "max": { "field": "event.start" } },
            "standing": { "filter": { "terms": { "event.action": ["engaged", "acknowledged"] } } } } } } });
    match search(client, &settings.index_pattern, &body).await {
        Ok(answer) => {
            let buckets = answer.pointer("/aggregations/rules/buckets").and_then(Value::as_array);
            for bucket in buckets.into_iter().flatten() {
                let Some(id) = bucket["key"].as_str() else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "epoch ms fit a double")]
                let at = bucket["last"]["value"].as_f64().map(|ms| ms as i64);
                let standing = bucket["standing"]["doc_count"].as_u64().unwrap_or(0);
                last.insert(id.to_owned(), (at, standing));
            }
        }
        Err(fault) => unknown.push(format!("when they fired last: {fault}")),
    }
    if items.iter().any(|item| !item.sends_to_us) {
        let query = alerts::Query { search: "*", newest_by: "start_time", from: 0, size: NEWEST };
        match alerts::page(client, query).await {
            Ok(page) => {
                for alert in &page.alerts {
                    let owners = ["monitor_id", "workflow_id"].map(|key| alert[key].as_str());
                    for id in owners.into_iter().flatten().filter(|id| !id.is_empty()) {
                        let known = last.entry(id.to_owned()).or_default();
                        known.0 = known.0.max(alert["start_time"].as_i64());
                    }
                }
            }
            Err(fault) => unknown.push(format!("when those fired that do not send to us: {fault}")),
        }
    }
    for item in items {
        let Some((at, standing)) = item.id.as_ref().and_then(|id| last.get(id)) else { continue };
        let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        item.last_alert = at.map(|at| format!("{at:.3}"));
        item.engaged = *standing;
    }
}
