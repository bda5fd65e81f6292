//! An audit: all that is open on either side, and what was deleted, which moves no time.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use opensearch::http::Method;

use serde_json::Value;
use tracing::debug;

use super::{
    Fault, Reconciler, at, at_alerts,
    compare::{Creates, How},
    query,
    walk::Walk,
};
use crate::{
    alert::Alert,
    clock,
    intake::truth,
    opensearch::{
        Engine,
        alert_search::{any_of, can_be_id},
        alerts::{self, Query},
        builtin::indices::Index,
        records::{Open, OpenRecords},
        rules,
    },
    record::{self, Receipt},
};

/// Of the alerts that are active, and of those that are over.
const HEALTH_OF_ALERTS: &str = "/_cluster/health/.opendistro-alerting-alert*";

impl Reconciler {
    /// Compares all that is open on either side, and what was deleted.
    pub(super) async fn audit(&mut self) -> Result<(), Fault> {
        let how = How { in_scope: true, creates: Creates::All, skips_compared: false };
        let mut walk = Walk::new("start_time", self.scope.narrow(query::OPEN), 0);
        let open = if self.scope.is_empty() {
            HashSet::new()
        } else {
            self.compare_all(&mut walk, how).await?
        };
        let deleted = Query { search: query::DELETED, newest_by: "start_time", from: 0, size: 1 };
        let deleted = alerts::page(&self.client, deleted).await.map_err(at_alerts)?.total;
        if self.mark.as_ref().is_some_and(|mark| mark.is_news(deleted)) {
            let how = How { in_scope: false, creates: Creates::OfFormer, skips_compared: true };
            let mut walk = Walk::new("start_time", query::DELETED, 0);
            self.compare_all(&mut walk, how).await?;
            if let Some(mark) = &mut self.mark {
                mark.count_deleted(deleted);
            }
        }
        self.close(&open).await
    }

    /// Looks what has become of the alerts whose records are open, and which are not.
    async fn close(&mut self, open: &HashSet<u64>) -> Result<(), Fault> {
        let mut pages = OpenRecords::of(&self.settings.pattern, self.scope.known());
        let how = How { in_scope: false, creates: Creates::None, skips_compared: false };
        let mut unknown = HashMap::new();
        let mut monitors = HashMap::new();
        loop {
            let page = pages.next(&self.client).await.map_err(at("search the open records"))?;
            if page.is_empty() {
                break;
            }
            let over: Vec<_> = page
                .into_iter()
                .filter(|one| !open.contains(&self.hash(Some(&one.alert))))
                .collect();
            for part in query::parts(&over, |one| &one.alert) {
                let alerts = self.with_ids(part.iter()).await?;
                let known = ids(&alerts);
                self.compare(alerts, how).await?;
                let mut missed = Vec::new();
                for one in part.iter().filter(|one| !known.contains(&one.alert)) {
                    let hash = self.hash(Some(&one.alert));
                    let since = self.unknown.get(&hash).copied().unwrap_or_else(Instant::now);
                    unknown.insert(hash, since);
                    if since.elapsed() >= self.settings.missed_for {
                        missed.push(one);
                    }
                }
                let gone = self.gone(missed, &mut monitors).await?;
                let gone = gone.into_iter().filter_map(|one| self.end_of(one)).collect();
                self.compare(gone, how).await?;
            }
        }
        self.unknown = unknown;
        Ok(())
    }

    /// The alerts of open records, as far as the API knows them.
    async fn with_ids(&self, open: impl Iterator<Item = &Open>) -> Result<Vec<Value>, Fault> {
        let ids: Vec<_> = open.map(|one| one.alert.as_str()).filter(|id| can_be_id(id)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let search = any_of("_id", &ids);
        // While an alert is moved to the history it is there twice.
        let size = 2 * ids.len();
        let query = Query { search: &search, newest_by: "start_time", from: 0, size };
        Ok(alerts::page(&self.client, query).await.map_err(at_alerts)?.alerts)
    }

    /// Those of the missed ones that are gone indeed. Not where the store is not whole, before or
    /// after it is asked once more; and not where their monitor is there, but is kept from us.
    async fn gone<'a>(
        &self,
        missed: Vec<&'a Open>,
        monitors: &mut HashMap<String, bool>,
    ) -> Result<Vec<&'a Open>, Fault> {
        if missed.is_empty() || !self.is_whole().await? {
            return Ok(Vec::new());
        }
        let known = ids(&self.with_ids(missed.iter().copied()).await?);
        if !self.is_whole().await? {
            return Ok(Vec::new());
        }
        let mut gone = Vec::new();
        for one in missed.into_iter().filter(|one| !known.contains(&one.alert)) {
            if self.would_be_told(one, monitors).await? {
                gone.push(one);
            }
        }
        Ok(gone)
    }

    /// Whether the API would tell us of an alert if it were there: its monitor is listed, or deleted.
    /// With `filter_by_backend_roles` a monitor can be there and be hidden from us, with its alerts.
    async fn would_be_told(
        &self,
        open: &Open,
        monitors: &mut HashMap<String, bool>,
    ) -> Result<bool, Fault> {
        let rule = &open.source["rule"];
        let (id, name) = (rule["id"].as_str(), rule["name"].as_str().unwrap_or_default());
        let ids = id.map_or_else(|| self.scope.named(name), |id| vec![id.to_owned()]);
        if ids.iter().any(|id| self.scope.lists(id)) {
            return Ok(true);
        }
        for id in ids {
            let is_deleted = match monitors.get(&id) {
                Some(known) => *known,
                None => match rules::with_id(&self.client, &id).await {
                    Ok(monitor) => monitor.is_none(),
                    Err(fault) if fault.status().is_some() => false,
                    Err(fault) => return Err(at("read a monitor")(fault)),
                },
            };
            monitors.insert(id, is_deleted);
            if !is_deleted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What ends the record of an alert that is gone; `None` where it cannot be reached.
    fn end_of(&self, open: &Open) -> Option<Value> {
        let receipt = Receipt { received: clock::now(), hash: "" };
        let is_there =
            |alert: &Alert| record::address(alert, receipt, &self.settings.naming) == open.address;
        let end = truth::vanished(&open.alert, &open.source, is_there);
        if end.is_none() {
            let (index, id) = &open.address;
            debug!(index, id, "the record of an alert that is gone is not where its start says");
        }
        end
    }

    /// Whether no alert can be missing in the store's answers: each shard of theirs has a primary.
    pub(super) async fn is_whole(&self) -> Result<bool, Fault> {
        let path = match self.client.engine().await.map_err(at("read the store's health"))? {
            Engine::Plugin => HEALTH_OF_ALERTS.to_owned(),
            // A pattern: an index that is not there yet lacks nothing.
            Engine::Builtin => format!("/_cluster/health/{}*", Index::Alerts.name(&self.client)),
        };
        let health = match self.client.call(Method::Get, &path, None).await {
            // A role may allow it of the whole cluster alone.
            Err(fault) if fault.status() == Some(403) => {
                self.client.call(Method::Get, "/_cluster/health", None).await
            }
            health => health,
        };
        let health = health.map_err(at("read the store's health"))?;
        Ok(health["status"] == "green" || health["status"] == "yellow")
    }
}

fn ids(alerts: &[Value]) -> HashSet<String> {
    alerts.iter().filter_map(|alert| alert["id"].as_str().map(str::to_owned)).collect()
}
