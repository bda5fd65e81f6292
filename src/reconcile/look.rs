//! A look: what has changed since the last one, and at times an audit.

use std::time::Instant;

use metrics::gauge;

use super::{
    ASKED_AT_ONCE, AUDIT_EVERY, Fault, MARKED_WITHIN, RECOVERS_WITHIN, Reconciler, Scope, at,
    at_alerts,
    compare::{Creates, How},
    query, walk,
    walk::Walk,
};
use crate::{
    clock,
    opensearch::{
        alerting::{self, Family},
        alerts::{self, Query},
    },
    telemetry,
};

impl Reconciler {
    pub(super) async fn look(&mut self) -> Result<(), Fault> {
        let stamp = alerting::stamp(&self.client).await.map_err(|fault| {
            let is_there = !fault.is_unavailable();
            if is_there { at("list the monitors")(fault) } else { Fault::NoAlerting }
        })?;
        // A store that starts answers with what it has by then; what changed while we were away would
        // be passed over.
        if self.stamp.is_none()
            && self.begun.elapsed() < RECOVERS_WITHIN
            && !self.is_whole().await?
        {
            return Err(Fault::Recovering);
        }
        let is_stale = self.audited.is_none_or(|at| at.elapsed() >= AUDIT_EVERY);
        let is_changed = self.stamp != Some(stamp);
        let is_due = self.audit_due.is_some_and(|at| at <= Instant::now());
        let audits = is_stale || is_changed || is_due;
        if audits {
            self.read_scope().await?;
            // Between them, changes and audit see all that fails.
            self.failing.clear();
        }
        let begun = Instant::now();
        self.changes().await?;
        if let Some(mark) = &mut self.mark {
            mark.pass(begun);
        }
        if audits {
            self.audit().await?;
            self.audited = Some(Instant::now());
            self.stamp = Some(stamp);
            // This one may have come before the alerts of a monitor that is gone were marked.
            self.audit_due = is_changed.then(|| Instant::now() + MARKED_WITHIN);
        }
        self.keep_checkpoint();
        Ok(())
    }

    async fn read_scope(&mut self) -> Result<(), Fault> {
        let list = at("list the monitors");
        let monitors = alerting::all(&self.client, Family::Monitor).await.map_err(&list)?;
        let workflows = alerting::all(&self.client, Family::Workflow).await.map_err(&list)?;
        let channels = self.channels().await?;
        let before = std::mem::take(&mut self.scope);
        self.scope = Scope::of(self.settings.monitors, &monitors, &workflows, &channels, before);
        gauge!(telemetry::RECONCILED_MONITORS)
            .set(u32::try_from(self.scope.count()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// What has changed since the last look.
    async fn changes(&mut self) -> Result<(), Fault> {
        if self.scope.is_empty() {
            return Ok(());
        }
        let how = How { in_scope: true, creates: Creates::All, skips_compared: true };
        let ours = clock::now().as_millisecond();
        let since = self.mark.as_ref().map_or(ours, |mark| mark.since(ours));
        let failing: Vec<_> =
            self.failing.iter().take(ASKED_AT_ONCE / 2).map(String::as_str).collect();
        let search = self.scope.narrow(&query::changed(since, &failing));
        let query = Query { search: &search, newest_by: "start_time", from: 0, size: walk::PAGE };
        let page = alerts::page(&self.client, query).await.map_err(at_alerts)?;
        if page.total <= page.alerts.len() as u64 {
            return self.compare(page.alerts, how).await;
        }
        for (field, filter) in query::MOVING {
            let mut walk = Walk::new(field, self.scope.narrow(filter), since);
            self.compare_all(&mut walk, how).await?;
        }
        Ok(())
    }
}
