//! What the store holds now. Judged by status codes: what a caller may list differs by version
//! and by role.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Error, Options, Settings, TemplateMode, WHO_RUNS,
    desired::{CHANNEL_ID, Desired, OLD_CHANNEL_ID, TEMPLATE_NAME},
    ledger::{self, Entry},
    object::{Found, Key, Object},
    placeholder::fill_monitors,
};
use crate::{
    opensearch::{
        self, Client, alerting,
        cluster::About,
        notifications::{self, Config},
        templates::{self, Legacy},
    },
    record::fields::FieldSet,
};

/// What the store holds, as far as provisioning cares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Which product it is, and the least version of its nodes: while they are upgraded one after the
    /// other, each of them may answer.
    pub about: About,
    /// Whether the template named by `MALCOLM_TEMPLATE` is there; asked for in that mode alone.
    pub malcolm_template_exists: bool,
    /// Our own template; this and the next are asked for where we may make one.
    pub template: Option<Legacy>,
    /// Another template that gives a new index of the pattern its types.
    pub covering: Option<Covering>,
    /// The channels; `None` without the Notifications plugin.
    pub channels: Option<Channels>,
    /// Whether there is an Alerting plugin.
    pub has_alerting: bool,
    /// Whether alertloop runs the monitors itself, whatever plugins there are: it needs no channel.
    pub is_builtin: bool,
    /// The objects that files or the ledger name, those of one name in the order of their writing.
    pub objects: BTreeMap<Key, Vec<Found>>,
    /// What was applied last.
    pub ledger: BTreeMap<Key, Entry>,
}

impl Live {
    /// Whether the store can hold objects of this kind.
    #[must_use]
    pub fn can_have(&self, object: Object) -> bool {
        let has_plugins = self.channels.is_some() && self.has_alerting;
        match object {
            Object::Template | Object::LegacyTemplate => true,
            Object::Monitor => self.is_builtin || has_plugins,
            Object::Channel | Object::Workflow => !self.is_builtin && has_plugins,
        }
    }
}

/// A template that covers the index pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covering {
    /// Its name.
    pub name: String,
    /// Whether it gives the time field a type. Only a composable template can cover without it:
    /// it hides every legacy one, ours too.
    pub maps_time_field: bool,
}

/// The loopback channel under both of its ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channels {
    /// `malcolm-api-loopback-webhook`.
    pub current: Option<Config>,
    /// `malcolm-api-loopback-webook`.
    pub old: Option<Config>,
}

/// Reads what the store holds.
///
/// # Errors
/// [`Error::Store`]: no answer, or one that refuses us.
pub async fn probe(
    client: &Client,
    settings: &Settings,
    desired: &Desired,
    options: Options,
) -> Result<Live, Error> {
    let can = client.capabilities_now().await.map_err(Error::store(&format!(
        "cannot ask the store at {} for its version",
        client.address()
    )))?;
    let mut live = Live { about: can.about.clone(), ..Live::default() };
    match settings.template {
        TemplateMode::Auto => {
            (live.template, live.covering) = template(client, desired, &settings.time_field)
                .await
                .map_err(Error::store("cannot read the index templates"))?;
        }
        TemplateMode::Malcolm => {
            live.malcolm_template_exists = templates::exists(client, &settings.malcolm_template)
                .await
                .map_err(Error::store("cannot look for Malcolm's index template"))?;
        }
        TemplateMode::None => {}
    }
    if options.session_template_only {
        return Ok(live);
    }
    live.is_builtin =
        settings.may_have_monitors && client.is_builtin().await.map_err(Error::store(WHO_RUNS))?;
    if settings.may_have_monitors && live.about.is_opensearch && !live.is_builtin {
        live.channels = channels(client).await.map_err(Error::store("cannot read the channel"))?;
        live.has_alerting = has_alerting(client)
            .await
            .map_err(Error::store("cannot look for the Alerting plugin"))?;
    }
    let has_any = desired.wanted.iter().any(|one| live.can_have(one.key.object));
    if !has_any && !live.can_have(Object::Monitor) {
        return Ok(live);
    }
    let index = ledger::index(client).await.map_err(Error::store(WHO_RUNS))?;
    let what = format!("cannot read the index {index}");
    live.ledger = ledger::read(client).await.map_err(Error::store(&what))?;
    let mut keys: BTreeSet<Key> = desired.wanted.iter().map(|one| one.key.clone()).collect();
    keys.extend(live.ledger.keys().cloned());
    keys.extend(monitors_of_workflows(desired));
    keys.retain(|key| live.can_have(key.object));
    live.objects = objects(client, &keys).await?;
    Ok(live)
}

/// The monitors that workflows name.
fn monitors_of_workflows(desired: &Desired) -> Vec<Key> {
    let keys = RefCell::new(Vec::new());
    for wanted in desired.wanted.iter().filter(|one| one.key.object == Object::Workflow) {
        fill_monitors(&mut wanted.body.clone(), &|name| {
            keys.borrow_mut().push(Key::new(Object::Monitor, name));
            None
        });
    }
    keys.into_inner()
}

async fn objects(
    client: &Client,
    keys: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Vec<Found>>, Error> {
    let mut all: BTreeMap<Key, Vec<Found>> = BTreeMap::new();
    let mut add = |key: Key, found: Found| {
        if keys.contains(&key) {
            all.entry(key).or_default().push(found);
        }
    };
    let names_of = |object: Object| -> Vec<&str> {
        keys.iter().filter(|key| key.object == object).map(|key| key.name.as_str()).collect()
    };
    for (object, family) in [
        (Object::Template, templates::Family::Composable),
        (Object::LegacyTemplate, templates::Family::Legacy),
    ] {
        if !names_of(object).is_empty() {
            let found = templates::bodies(client, family).await;
            for (name, body) in found.map_err(Error::store("cannot list the index templates"))? {
                let id = name.clone();
                add(Key::new(object, name), Found { id, body, ..Found::default() });
            }
        }
    }
    let found = notifications::configs_of(client, &names_of(Object::Channel)).await;
    for (id, body) in found.map_err(Error::store("cannot read the channels"))? {
        add(Key::new(Object::Channel, id.clone()), Found { id, body, ..Found::default() });
    }
    for (object, family) in [
        (Object::Monitor, alerting::Family::Monitor),
        (Object::Workflow, alerting::Family::Workflow),
    ] {
        let names = names_of(object);
        if !names.is_empty() {
            let found = alerting::named(client, family, &names).await;
            for monitor in found.map_err(Error::store("cannot look for the monitors"))? {
                add(Key::new(object, monitor.name()), monitor.into());
            }
        }
    }
    Ok(all)
}

/// One object as it is at this moment, not as a list that lags shows it.
///
/// # Errors
/// The store's own.
pub async fn now(
    client: &Client,
    object: Object,
    id: &str,
) -> Result<Option<Found>, opensearch::Error> {
    let plain = |body| Found { id: id.to_owned(), body, ..Found::default() };
    Ok(match object {
        Object::Template => {
            templates::body(client, templates::Family::Composable, id).await?.map(plain)
        }
        Object::LegacyTemplate => {
            templates::body(client, templates::Family::Legacy, id).await?.map(plain)
        }
        Object::Channel => notifications::config(client, id).await?.map(plain),
        Object::Monitor => {
            alerting::get(client, alerting::Family::Monitor, id).await?.map(Found::from)
        }
        Object::Workflow => {
            alerting::get(client, alerting::Family::Workflow, id).await?.map(Found::from)
        }
    })
}

/// Our own template, and another one that covers the pattern.
///
/// # Errors
/// The store's own.
pub async fn template(
    client: &Client,
    desired: &Desired,
    time_field: &str,
) -> Result<(Option<Legacy>, Option<Covering>), opensearch::Error> {
    let legacy = templates::legacy(client).await?;
    let ours = legacy.iter().find(|one| one.name == TEMPLATE_NAME).cloned();
    let sample = &desired.sample_index;
    let covering = match templates::simulate(client, sample).await? {
        Some(mapping) => {
            let all = templates::composable(client).await?;
            let name = templates::winner(&all, sample).map_or("(unknown)", |one| &one.name);
            let maps_time_field = FieldSet::from_mapping(&mapping).knows(time_field);
            Some(Covering { name: name.to_owned(), maps_time_field })
        }
        None => covering_legacy(&legacy, sample, time_field),
    };
    Ok((ours, covering))
}

/// The legacy template that types the time field. One that matches without it (say, only for
/// the number of replicas) leaves the types to ours, which the store merges with it.
fn covering_legacy(legacy: &[Legacy], sample: &str, time_field: &str) -> Option<Covering> {
    let matching = legacy.iter().filter(|one| {
        one.name != TEMPLATE_NAME
            && one.index_patterns.iter().any(|p| templates::matches(p, sample))
    });
    let mut typing = matching
        .filter(|one| FieldSet::from_mapping(&one.mappings).knows(time_field))
        .collect::<Vec<_>>();
    typing.sort_by_key(|one| one.order);
    let name = typing.pop()?.name.clone();
    Some(Covering { name, maps_time_field: true })
}

async fn channels(client: &Client) -> Result<Option<Channels>, opensearch::Error> {
    let current = match notifications::channel(client, CHANNEL_ID).await {
        Err(fault) if fault.is_unavailable() => return Ok(None),
        current => current?,
    };
    let old = notifications::channel(client, OLD_CHANNEL_ID).await?;
    Ok(Some(Channels { current, old }))
}

async fn has_alerting(client: &Client) -> Result<bool, opensearch::Error> {
    match alerting::named(client, alerting::Family::Monitor, &[""]).await {
        Err(fault) if fault.is_unavailable() => Ok(false),
        found => found.map(|_| true),
    }
}

/// The fields that an index has a mapping for: of the index itself where it exists, else of the
/// templates that it would be made from.
///
/// # Errors
/// The store's own.
pub async fn known_fields(client: &Client, index: &str) -> Result<FieldSet, opensearch::Error> {
    if let Some(mapping) = templates::mapping(client, index).await? {
        return Ok(FieldSet::from_mapping(&mapping));
    }
    if let Some(mapping) = templates::simulate(client, index).await? {
        return Ok(FieldSet::from_mapping(&mapping));
    }
    let legacy = templates::legacy(client).await?;
    let matching: Vec<&Legacy> = legacy
        .iter()
        .filter(|one| one.index_patterns.iter().any(|p| templates::matches(p, index)))
        .collect();
    Ok(FieldSet::from_mapping(&templates::merge(&matching)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_legacy_template_covers_when_it_types_the_time_field() {
        let one = |name: &str, order, mappings: Value| Legacy {
            name: name.to_owned(),
            index_patterns: vec!["s-*".to_owned()],
            order,
            mappings,
            ..Legacy::default()
        };
        let typed = json!({"properties": {"firstPacket": {"type": "date"}}});
        let replicas = one("replicas", 0, json!({}));
        let arkime = one("arkime", 1, typed.clone());
        let low = one("low", 0, typed.clone());
        let ours = one(TEMPLATE_NAME, 2, typed);
        for (all, sample, want) in [
            (vec![], "s-1", None),
            (vec![replicas.clone()], "s-1", None),
            (vec![ours.clone(), replicas.clone()], "s-1", None),
            (vec![replicas, arkime.clone(), low, ours], "s-1", Some("arkime")),
            (vec![arkime], "t-1", None),
        ] {
            let found = covering_legacy(&all, sample, "firstPacket");
            assert_eq!(found.map(|one| one.name).as_deref(), want);
        }
    }
}
