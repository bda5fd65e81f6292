//! Switching a monitor on or off, and nothing else of it.

use serde_json::json;

use super::{Client, Error, Family, Monitor, alerting};

/// How often it is tried when somebody else writes it at the same time.
const TRIES: usize = 4;
/// Ids of documents are not longer, in bytes.
const LONGEST_ID: usize = 512;

/// Why a monitor is not switched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// There is none of this id.
    #[error(
        "there is no monitor with the id {0:?}; `GET /mapi/conditions?all=true` lists them, and so does `alertloop monitors list --all`"
    )]
    Unknown(String),
    /// Several have this name.
    #[error("several monitors have the name {0:?}; take the id of one of them: {1}")]
    Several(String, String),
    /// Somebody else wrote it each time that we wanted to.
    #[error("somebody else keeps changing this monitor; ask again")]
    Busy,
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Switches it, where it is not as wanted already; gives it as it is then.
pub(super) async fn switch(
    client: &Client,
    id: &str,
    enabled: bool,
) -> Result<(Family, Monitor), Fault> {
    // Whoever made it in Dashboards has its form in `ui_metadata`; written without, it is lost.
    let client = client.as_dashboards();
    for _ in 0..TRIES {
        let (family, monitor) = read(&client, id).await?;
        if monitor.is_enabled() == enabled {
            return Ok((family, monitor));
        }
        let mut body = monitor.body;
        body["enabled"] = json!(enabled);
        if let Some(body) = body.as_object_mut() {
            // The store fills these in; of the user it takes the one who asks.
            for key in ["enabled_time", "last_update_time", "user"] {
                body.remove(key);
            }
        }
        let guards = (monitor.seq_no, monitor.primary_term);
        match alerting::update(&client, family, id, guards, &body).await {
            Err(fault) if fault.is_conflict() => {}
            answer => return Ok((family, answer?)),
        }
    }
    Err(Fault::Busy)
}

/// The one with this id, else the only one with this name.
pub(super) async fn find(client: &Client, id_or_name: &str) -> Result<(Family, Monitor), Fault> {
    match read(client, id_or_name).await {
        Err(Fault::Unknown(_)) => {}
        found => return found,
    }
    let mut found = Vec::new();
    for family in [Family::Monitor, Family::Workflow] {
        let named = alerting::named(client, family, &[id_or_name]).await?;
        found.extend(named.into_iter().map(|one| (family, one)));
    }
    match <[_; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => Err(Fault::Unknown(id_or_name.to_owned())),
        Err(several) => Err(Fault::Several(
            id_or_name.to_owned(),
            several.into_iter().map(|(_, one)| one.id).collect::<Vec<_>>().join(", "),
        )),
    }
}

/// The one with this id.
pub(super) async fn read(client: &Client, id: &str) -> Result<(Family, Monitor), Fault> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return Err(Fault::Unknown(id.to_owned()));
    }
    match alerting::get(client, Family::Monitor, id).await {
        Ok(Some(monitor)) => return Ok((Family::Monitor, monitor)),
        Ok(None) => {}
        // 3.4.0 answers so for the id of a composite monitor, which is kept as a workflow.
        Err(fault) if fault.status() == Some(500) => {}
        Err(fault) => return Err(fault.into()),
    }
    let found = alerting::get(client, Family::Workflow, id).await?;
    Ok((Family::Workflow, found.ok_or_else(|| Fault::Unknown(id.to_owned()))?))
}
