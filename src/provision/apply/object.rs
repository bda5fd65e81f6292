//! Makes, changes and removes one object, and keeps in the ledger what was done.
//!
//! The order is what makes it safe to be cut off anywhere: first the ledger says what is about to be
//! written (which only one of several can say), then it is written, then the ledger says what came
//! of it. Whoever finds a write that was begun and is still missing waits for its writer, and goes on
//! in his place when he does not come back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tracing::info;

use crate::{
    opensearch::{
        Client, Error,
        alerting::{self, Family, Monitor},
        notifications, templates,
    },
    provision::{
        apply::channel,
        canonical::canonical,
        ledger::{self, Entry, Pending},
        object::{Found, Key, Object},
        plan::Write,
        probe,
    },
};

/// How long a write that somebody else began is waited for. Longer than a write takes on a store
/// that is well; on one that is not, the check after each creation still finds a second monitor.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The store, as far as objects are written to it.
pub(super) struct Objects<'a> {
    client: &'a Client,
    store_version: &'a str,
    has_ledger: AtomicBool,
}

impl<'a> Objects<'a> {
    pub(super) fn new(client: &'a Client, store_version: &'a str) -> Self {
        Self { client, store_version, has_ledger: AtomicBool::new(false) }
    }

    /// Makes an object that is missing.
    pub(super) async fn make(&self, write: &Write) -> Result<(), Error> {
        let entry = self.begin(write, None, true).await?;
        let made = match self.create(&entry.key, &write.body).await {
            Ok(made) => made,
            Err(fault) => return Err(self.give_up(&write.entry, entry, fault).await),
        };
        self.settle(entry, write, made).await
    }

    /// Changes an object that is as it was found; else 409.
    pub(super) async fn change(&self, write: &Write, found: &Found) -> Result<(), Error> {
        let entry = self.begin(write, Some(found), write.entry.made).await?;
        match self.replace(&entry.key, found, &write.body).await {
            Ok(changed) => self.settle(entry, write, changed).await,
            Err(fault) => Err(self.give_up(&write.entry, entry, fault).await),
        }
    }

    /// Removes an object that is as it was found; else 409.
    pub(super) async fn remove(
        &self,
        key: &Key,
        found: &Found,
        entry: Option<&Entry>,
    ) -> Result<(), Error> {
        if let Some(now) = probe::now(self.client, key.object, &found.id).await? {
            check_unchanged(key, found, &now)?;
            match key.object {
                Object::Template => {
                    templates::delete(self.client, templates::Family::Composable, &found.id).await
                }
                Object::LegacyTemplate => {
                    templates::delete(self.client, templates::Family::Legacy, &found.id).await
                }
                Object::Channel => notifications::delete(self.client, &found.id).await,
                Object::Monitor => alerting::delete(self.client, Family::Monitor, &found.id).await,
                Object::Workflow => {
                    alerting::delete(self.client, Family::Workflow, &found.id).await
                }
            }?;
        }
        match entry {
            Some(entry) => ledger::remove(self.client, entry).await,
            None => Ok(()),
        }
    }

    /// Keeps what is known of an object that needed nothing.
    pub(super) async fn note(&self, entry: &Entry) -> Result<(), Error> {
        self.need_ledger().await?;
        ledger::write(self.client, &mut entry.clone()).await
    }

    /// Drops what was known of an object that is gone.
    pub(super) async fn forget(&self, entry: &Entry) -> Result<(), Error> {
        ledger::remove(self.client, entry).await
    }

    /// Says in the ledger what is about to be written; 409 where somebody else is at it.
    async fn begin(
        &self,
        write: &Write,
        found: Option<&Found>,
        made: bool,
    ) -> Result<Entry, Error> {
        self.need_ledger().await?;
        if write.entry.pending.is_some() {
            self.wait_for_other(&write.entry).await?;
        }
        let mut entry = write.entry.clone();
        let body = entry.sealed(canonical(entry.key.object, &write.body), &write.hidden);
        let version = found.map_or(0, |found| found.version);
        // One that is made anew gets another id than the one that is gone had.
        entry.id = found.map(|found| found.id.clone()).unwrap_or_default();
        entry.pending = Some(Pending { digest: write.digest.clone(), version, body });
        entry.made = made;
        ledger::write(self.client, &mut entry).await?;
        Ok(entry)
    }

    /// Waits for whoever began a write; `Ok` once he must be gone.
    async fn wait_for_other(&self, entry: &Entry) -> Result<(), Error> {
        info!("another run is writing the {}; waiting for it", entry.key);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_EVERY).await;
            if ledger::seen_now(self.client, entry).await? != entry.seen {
                return Err(changed(&entry.key));
            }
        }
        Ok(())
    }

    /// Says in the ledger what came of a write.
    async fn settle(&self, mut entry: Entry, write: &Write, now: Found) -> Result<(), Error> {
        let theirs = canonical(entry.key.object, &now.body);
        entry.observed = entry.sealed(theirs, &write.hidden);
        entry.id = now.id;
        entry.applied.clone_from(&write.digest);
        entry.said = entry.sealed(write.said.clone(), &write.hidden);
        self.store_version.clone_into(&mut entry.store_version);
        entry.pending = None;
        ledger::write(self.client, &mut entry).await
    }

    /// Takes back what [`Self::begin`] said, where the store refused the write. Where it cannot be
    /// told whether the write came through, what was begun stays said, and the next run finds out.
    async fn give_up(&self, before: &Entry, begun: Entry, fault: Error) -> Error {
        let is_refused = matches!(fault.status(), Some(400..=407 | 409..=499));
        if !is_refused && !self.is_absent(&begun.key).await {
            return fault;
        }
        let undone = if before.applied.is_empty() {
            ledger::remove(self.client, &begun).await
        } else {
            let mut entry = Entry { seen: begun.seen, ..before.clone() };
            ledger::write(self.client, &mut entry).await
        };
        // The next run finds out by itself, only more slowly.
        if let Err(fault) = undone {
            info!(error.message = fault.to_string(), "cannot take back a note");
        }
        fault
    }

    /// Whether it is certain that nothing of that key is there.
    async fn is_absent(&self, key: &Key) -> bool {
        let found = match key.object {
            Object::Monitor => alerting::named(self.client, Family::Monitor, &[&key.name]).await,
            Object::Workflow => alerting::named(self.client, Family::Workflow, &[&key.name]).await,
            object => {
                return matches!(probe::now(self.client, object, &key.name).await, Ok(None));
            }
        };
        found.is_ok_and(|found| found.is_empty())
    }

    async fn need_ledger(&self) -> Result<(), Error> {
        if !self.has_ledger.swap(true, Ordering::Relaxed) {
            ledger::make(self.client).await?;
        }
        Ok(())
    }

    async fn create(&self, key: &Key, body: &Value) -> Result<Found, Error> {
        match key.object {
            Object::Template => {
                self.put_template(key, templates::Family::Composable, body, true).await
            }
            Object::LegacyTemplate => {
                self.put_template(key, templates::Family::Legacy, body, true).await
            }
            Object::Channel => {
                notifications::create(self.client, &key.name, body).await?;
                self.now(key, &key.name).await
            }
            Object::Monitor => self.create_monitor(key, Family::Monitor, body).await,
            Object::Workflow => self.create_monitor(key, Family::Workflow, body).await,
        }
    }

    async fn replace(&self, key: &Key, found: &Found, body: &Value) -> Result<Found, Error> {
        let family = match key.object {
            Object::Monitor => Family::Monitor,
            Object::Workflow => Family::Workflow,
            _ => {
                // These have no guard of their own, so they are looked at once more.
                let now = probe::now(self.client, key.object, &found.id).await?;
                let now = now.ok_or_else(|| changed(key))?;
                check_unchanged(key, found, &now)?;
                return match key.object {
                    Object::Channel => {
                        channel::replace(self.client, &found.id, &now.body, body).await?;
                        self.now(key, &found.id).await
                    }
                    Object::LegacyTemplate => {
                        self.put_template(key, templates::Family::Legacy, body, false).await
                    }
                    _ => self.put_template(key, templates::Family::Composable, body, false).await,
                };
            }
        };
        let guard = (found.seq_no, found.primary_term);
        alerting::update(self.client, family, &found.id, guard, body).await.map(Found::from)
    }

    async fn put_template(
        &self,
        key: &Key,
        family: templates::Family,
        body: &Value,
        create: bool,
    ) -> Result<Found, Error> {
        match templates::put(self.client, family, &key.name, body, create).await {
            Ok(()) => self.now(key, &key.name).await,
            // 400 says that it is there, or that it is wrong.
            Err(fault) if create && fault.status() == Some(400) => {
                let there = templates::body(self.client, family, &key.name).await?;
                Err(if there.is_some() { changed(key) } else { fault })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Creates a monitor, and takes it back where another of its name was written before it.
    ///
    /// The store chooses the ids, so a creation cannot be refused for being the second. Its writes
    /// are numbered, though, and each is searchable before it is answered: of several creators all
    /// but the first see one with a lower number, and remove what they have just made.
    async fn create_monitor(
        &self,
        key: &Key,
        family: Family,
        body: &Value,
    ) -> Result<Found, Error> {
        let created = alerting::create(self.client, family, body).await?;
        let named = alerting::named(self.client, family, &[&key.name]).await?;
        if is_surplus(&created, &named) {
            info!("another {key} was created before ours; ours is removed");
            alerting::delete(self.client, family, &created.id).await?;
            return Err(changed(key));
        }
        Ok(created.into())
    }

    /// What has just been written. Where it is not to be seen, another look decides (408).
    async fn now(&self, key: &Key, id: &str) -> Result<Found, Error> {
        let now = probe::now(self.client, key.object, id).await?;
        let reason = format!("the {key} was written and is not there");
        now.ok_or(Error::Status { status: 408, reason })
    }
}

/// 409 where an object is not what it was when it was planned; its switch counts, too, as what is
/// written holds the one that was planned with.
fn check_unchanged(key: &Key, found: &Found, now: &Found) -> Result<(), Error> {
    let switch = |found: &Found| found.body.get(key.object.switch()?).cloned();
    let is_same = found.version == now.version
        && switch(found) == switch(now)
        && canonical(key.object, &found.body) == canonical(key.object, &now.body);
    if is_same { Ok(()) } else { Err(changed(key)) }
}

fn changed(key: &Key) -> Error {
    Error::Status { status: 409, reason: format!("somebody else wrote the {key}") }
}

fn is_surplus(created: &Monitor, named: &[Monitor]) -> bool {
    named.iter().any(|other| other.id != created.id && other.seq_no < created.seq_no)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_changed_since_it_was_planned_is_not_written_over() {
        let channel = |body: Value| Found { id: "c".to_owned(), body, ..Found::default() };
        let planned =
            channel(json!({"name": "c", "is_enabled": true, "webhook": {"url": "http://h"}}));
        let key = Key::new(Object::Channel, "c");
        for (now, is_same) in [
            (json!({"name": "c", "is_enabled": true, "webhook": {"url": "http://h/"}}), true),
            (json!({"name": "c", "is_enabled": false, "webhook": {"url": "http://h"}}), false),
            (json!({"name": "d", "is_enabled": true, "webhook": {"url": "http://h"}}), false),
        ] {
            let checked = check_unchanged(&key, &planned, &channel(now));
            assert_eq!(checked.is_ok(), is_same, "{checked:?}");
        }
        let written_again = Found { version: 1, ..planned.clone() };
        assert!(check_unchanged(&key, &planned, &written_again).is_err());
    }

    #[test]
    fn of_several_new_monitors_only_the_first_written_stays() {
        let one = |id: &str, seq_no| Monitor { id: id.to_owned(), seq_no, ..Monitor::default() };
        let all = [one("a", 7), one("b", 3), one("c", 9)];
        assert_eq!(all.each_ref().map(|created| is_surplus(created, &all)), [true, false, true]);
        assert!(!is_surplus(&all[0], &all[..1]));
        assert!(!is_surplus(&all[0], &[]));
    }
}
