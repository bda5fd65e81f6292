//! Alerts of the API against their records: what those lack goes into the spool.

use std::{
    collections::HashSet,
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use metrics::counter;
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{
    APPENDED_AT_ONCE, FULL_ENOUGH, Fault, REMEMBERED, Reconciler, WAITS_QUIETLY, at, at_alerts,
    envelope, query,
    verdict::{self, Verdict},
    walk::Walk,
};
use crate::{
    clock,
    intake::truth,
    opensearch::records::{self, Found},
    record::{self, Receipt, Record},
    telemetry,
};

/// How a page of alerts is compared.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Whether only those of the scope count.
    pub in_scope: bool,
    /// Whether one without a record gets one.
    pub creates: Creates,
    /// Whether those that were compared before, and have not changed since, are left out.
    pub skips_compared: bool,
}

/// An alert that was compared.
#[derive(Clone, Copy)]
pub(super) struct Compared {
    /// How it stood then.
    standing: u64,
    /// The record that it had; one that is removed later is not made again.
    record: Option<u64>,
    /// Whether its state was put into the spool then. While the record stays as it is, that state
    /// waits there, or the store does not take it: it is not put there again and again.
    is_kept: bool,
}

/// Which alerts that have no record get one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Creates {
    All,
    /// Those that came since the alerts are ours, of monitors that counted while they were there.
    OfFormer,
    None,
}

impl Reconciler {
    /// Compares all of a walk; their ids, as hashes.
    pub(super) async fn compare_all(
        &mut self,
        walk: &mut Walk,
        how: How,
    ) -> Result<HashSet<u64>, Fault> {
        let mut ids = HashSet::new();
        loop {
            let alerts = walk.next(&self.client).await.map_err(at_alerts)?;
            if alerts.is_empty() {
                return Ok(ids);
            }
            ids.extend(alerts.iter().map(|alert| self.hash(alert["id"].as_str())));
            self.compare(alerts, how).await?;
        }
    }

    /// Compares a page of alerts with their records, and puts into the spool what those lack.
    pub(super) async fn compare(&mut self, alerts: Vec<Value>, how: How) -> Result<(), Fault> {
        self.keep_lease().await?;
        let known = self.gate.borrow().clone().unwrap_or_default();
        let mut candidates: Vec<(Value, Record, [u64; 2])> = Vec::new();
        for mut alert in alerts {
            self.observe(&alert);
            let hashes = [self.hash(alert["id"].as_str()), self.standing(&alert)];
            let before = self.compared.get(&hashes[0]);
            let is_compared = before.is_some_and(|before| before.standing == hashes[1]);
            if how.in_scope && !self.scope.includes(&alert) || how.skips_compared && is_compared {
                continue;
            }
            self.scope.complete(&mut alert);
            match truth::read(&alert) {
                Ok(read) => {
                    let receipt = Receipt { received: clock::now(), hash: "" };
                    let record = record::build(&read, receipt, &self.settings.naming, &known);
                    self.note_failing(read.error.is_some(), &alert);
                    candidates.push((alert, record, hashes));
                }
                Err(fault) => debug!(error = %fault, "an alert of the API is left out"),
            }
        }
        let addresses: Vec<_> = candidates
            .iter()
            .map(|(_, record, _)| (record.index.as_str(), record.id.as_str()))
            .collect();
        let found =
            records::read(&self.client, &addresses).await.map_err(at("read the records"))?;
        let mut lacking = Vec::new();
        let mut settled = Vec::new();
        for ((mut alert, record, hashes), found) in candidates.into_iter().zip(found) {
            let truth: Map<String, Value> =
                serde_json::from_str(&record.document).unwrap_or_default();
            let verdict = verdict_of(&mut alert, &found, truth);
            let before = self.compared.get(&hashes[0]);
            let record = match &found {
                Found::There(record) => Some(self.hasher.hash_one(json!(record).to_string())),
                _ => None,
            };
            let is_kept = before.is_some_and(|before| {
                before.is_kept && before.standing == hashes[1] && before.record == record
            });
            let may_create = self.may_create(how.creates, &alert);
            match verdict {
                // Somebody removed it since it was compared.
                Verdict::Missing if before.is_some_and(|before| before.record.is_some()) => {
                    continue;
                }
                Verdict::Missing | Verdict::Unknown if !may_create => continue,
                Verdict::Missing | Verdict::Outdated | Verdict::Unknown if is_kept => continue,
                Verdict::Missing => self.found.missing += 1,
                Verdict::Outdated => self.found.outdated += 1,
                Verdict::Same | Verdict::Unknown => {}
            }
            let is_kept = verdict != Verdict::Same;
            settled.push((hashes[0], Compared { standing: hashes[1], record, is_kept }));
            if is_kept {
                lacking.push(alert);
            }
        }
        self.keep(lacking).await?;
        if self.compared.len() > REMEMBERED {
            self.compared.clear();
        }
        self.compared.extend(settled);
        Ok(())
    }

    fn may_create(&self, creates: Creates, alert: &Value) -> bool {
        match creates {
            Creates::All => true,
            Creates::None => false,
            Creates::OfFormer => {
                let newest = newest(alert).unwrap_or_default();
                let is_covered = self.mark.as_ref().is_some_and(|mark| mark.covers(newest));
                is_covered && self.scope.included(alert)
            }
        }
    }

    /// Puts alerts into the spool, and lets webhooks go first where there is much.
    async fn keep(&mut self, alerts: Vec<Value>) -> Result<(), Fault> {
        if alerts.is_empty() {
            return Ok(());
        }
        counter!(telemetry::RECONCILED).increment(alerts.len() as u64);
        let appends = alerts.into_iter().map(|alert| {
            let spool = &self.spool;
            async move { spool.append(envelope(&alert), None).await.map(drop) }
        });
        stream::iter(appends).buffer_unordered(APPENDED_AT_ONCE).try_collect::<()>().await?;
        self.wait_for_room().await
    }

    /// Waits while the spool is full enough; the lease is kept meanwhile, and after a while it is told.
    async fn wait_for_room(&mut self) -> Result<(), Fault> {
        let begun = Instant::now();
        loop {
            let waiting = tokio::task::block_in_place(|| self.spool.stats())?.waiting;
            if waiting <= FULL_ENOUGH {
                return Ok(());
            }
            if begun.elapsed() > WAITS_QUIETLY {
                self.status.troubled(&format!(
                    "{waiting} alerts wait in the spool until the store takes them; what is missing \
                     of the others is looked for when there are less than {FULL_ENOUGH}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.keep_lease().await?;
        }
    }

    fn observe(&mut self, alert: &Value) {
        if let (Some(mark), Some(newest)) = (&mut self.mark, newest(alert)) {
            mark.observe(newest, Instant::now());
        }
    }

    fn note_failing(&mut self, fails: bool, alert: &Value) {
        let id = alert["id"].as_str().unwrap_or_default();
        if fails {
            self.failing.insert(id.to_owned());
        } else {
            self.failing.remove(id);
        }
    }

    pub(super) fn hash(&self, id: Option<&str>) -> u64 {
        self.hasher.hash_one(id.unwrap_or_default())
    }

    /// What tells one state of an alert from another.
    fn standing(&self, alert: &Value) -> u64 {
        let parts = ["state", "error_message", "end_time"].map(|key| alert[key].to_string());
        self.hasher.hash_one(parts)
    }
}

/// What its record lacks; makes the alert's state count from later on where it would not be heard.
fn verdict_of(alert: &mut Value, found: &Found, mut truth: Map<String, Value>) -> Verdict {
    if let Found::There(record) = found
        && let Some(at) = verdict::overheard(record, &truth)
    {
        truth::count_from(alert, at);
        if let Some(Value::Object(event)) = truth.get_mut("event") {
            event.insert("sequence".to_owned(), json!(at));
        }
    }
    verdict::judge(found, truth)
}

/// The newest time of an alert, epoch ms.
fn newest(alert: &Value) -> Option<i64> {
    query::MOVING.iter().filter_map(|(field, _)| alert[*field].as_i64()).max()
}
