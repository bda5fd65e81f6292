//! What the store holds now. Judged by status codes: what a caller may list differs by version
//! and by role.

use super::{
    Error, Settings, TemplateMode,
    desired::{CHANNEL_ID, Desired, OLD_CHANNEL_ID, TEMPLATE_NAME},
};
use crate::{
    opensearch::{
        self, Client,
        alerting::{self, Monitor},
        cluster::{self, About},
        notifications::{self, Config},
        templates::{self, Legacy},
    },
    record::fields::FieldSet,
};

/// What the store holds, as far as provisioning cares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Which product it is.
    pub about: About,
    /// Whether the template named by `MALCOLM_TEMPLATE` is there; asked for in that mode alone.
    pub malcolm_template_exists: bool,
    /// Our own template; this and the next are asked for where we may make one.
    pub template: Option<Legacy>,
    /// Another template that gives a new index of the pattern its types.
    pub covering: Option<Covering>,
    /// The channels; `None` without the Notifications plugin.
    pub channels: Option<Channels>,
    /// The monitors of exactly our monitor's name, the oldest write first; `None` without the
    /// Alerting plugin.
    pub monitors: Option<Vec<Monitor>>,
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
pub async fn probe(client: &Client, settings: &Settings, desired: &Desired) -> Result<Live, Error> {
    let about = cluster::about(client).await.map_err(Error::store("cannot ask for the version"))?;
    let mut live = Live { about, ..Live::default() };
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
    if settings.is_opensearch && live.about.is_opensearch {
        live.channels = channels(client).await.map_err(Error::store("cannot read the channel"))?;
        live.monitors = monitors(client, desired.monitor_name())
            .await
            .map_err(Error::store("cannot look for the monitor"))?;
    }
    Ok(live)
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
        Err(fault) if notifications::is_unavailable(&fault) => return Ok(None),
        current => current?,
    };
    let old = notifications::channel(client, OLD_CHANNEL_ID).await?;
    Ok(Some(Channels { current, old }))
}

async fn monitors(client: &Client, name: &str) -> Result<Option<Vec<Monitor>>, opensearch::Error> {
    match alerting::monitors_named(client, name).await {
        Err(fault) if alerting::is_unavailable(&fault) => Ok(None),
        found => found.map(Some),
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
