//! An audit: all that is open on either side, and what was deleted, which moves no time.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use opensearch::http::Method;

use super::{
    ASKED_AT_ONCE, Fault, Reconciler, at, at_alerts,
    compare::{Creates, How},
    query,
    walk::Walk,
};
use crate::{
    intake::truth,
    opensearch::{
        alert_search::any_of,
        alerts::{self, Query},
        records::OpenRecords,
    },
};

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
        // Asked before the alerts are: while an index of theirs has lost its primary, the API leaves
        // its alerts out and does not say so.
        let is_whole = self.is_whole().await?;
        loop {
            let page = pages.next(&self.client).await.map_err(at("search the open records"))?;
            if page.is_empty() {
                break;
            }
            let over: Vec<_> = page
                .into_iter()
                .filter(|one| !open.contains(&self.hash(Some(&one.alert))))
                .collect();
            for part in over.chunks(ASKED_AT_ONCE) {
                let ids: Vec<_> = part.iter().map(|one| one.alert.as_str()).collect();
                let search = any_of("_id", &ids);
                let query = Query {
                    search: &search,
                    newest_by: "start_time",
                    from: 0,
                    size: 2 * ASKED_AT_ONCE,
                };
                let alerts = alerts::page(&self.client, query).await.map_err(at_alerts)?.alerts;
                let known: HashSet<_> = alerts
                    .iter()
                    .filter_map(|alert| alert["id"].as_str().map(str::to_owned))
                    .collect();
                self.compare(alerts, how).await?;
                let mut gone = Vec::new();
                let missed = part.iter().filter(|one| is_whole && !known.contains(&one.alert));
                for one in missed {
                    let hash = self.hash(Some(&one.alert));
                    let since = self.unknown.get(&hash).copied().unwrap_or_else(Instant::now);
                    unknown.insert(hash, since);
                    if since.elapsed() >= self.settings.missed_for {
                        gone.push(truth::vanished(&one.alert, &one.source));
                    }
                }
                if !gone.is_empty() && self.is_whole().await? {
                    self.compare(gone, how).await?;
                }
            }
        }
        self.unknown = unknown;
        Ok(())
    }

    /// Whether nothing is missing in the store's answers: no index has lost its primary.
    async fn is_whole(&self) -> Result<bool, Fault> {
        let health = self.client.call(Method::Get, "/_cluster/health", None).await;
        let health = health.map_err(at("read the store's health"))?;
        Ok(health["status"] == "green" || health["status"] == "yellow")
    }
}
