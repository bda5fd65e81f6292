//! Entries → operations: each entry is decoded, its alerts become records, and what is ready goes
//! to the store together.

use std::time::Instant;

use super::{
    Settings,
    firing::{Firings, Readiness},
    sink::Operation,
};
use crate::{
    clock, intake,
    opensearch::bulk::Item,
    record::{self, Receipt, compat, fields::FieldSet},
    spool::{Entry, EntryId},
};

/// An entry on its way.
pub struct Work {
    pub id: EntryId,
    /// Why some of its alerts are refused.
    pub refused: Vec<String>,
    /// The index that does not take it now, and why.
    pub busy: Option<(String, String)>,
    /// The store's answers.
    pub stored: Vec<Item>,
}

/// Entries that go to the store together.
#[derive(Default)]
pub struct Batch {
    pub works: Vec<Work>,
    pub operations: Vec<Operation>,
    /// Whose operation each is, by position in `works`.
    pub places: Vec<usize>,
}

impl Batch {
    /// Adds an entry and what stores it.
    pub fn push(&mut self, work: Work, operations: Vec<Operation>) {
        self.places.extend(operations.iter().map(|_| self.works.len()));
        self.operations.extend(operations);
        self.works.push(work);
    }
}

/// What an entry is after it was decoded.
pub enum Prepared {
    /// What stores it.
    Operations(Work, Vec<Operation>),
    /// It waits for its alert's id until then.
    NotYet(Instant),
    /// It waits for the store, which alone can tell its alert's id; why the store does not answer.
    StoreAway(String),
}

/// Decodes an entry and makes the operations that store it.
pub async fn prepare(
    entry: Entry,
    settings: &Settings,
    firings: &mut Firings,
    known: &FieldSet,
) -> Prepared {
    let Entry { id, envelope, is_intact } = entry;
    let mut work = Work { id, refused: Vec::new(), busy: None, stored: Vec::new() };
    if !is_intact {
        let reason = "the disk has changed what was received: its checksum differs; look at the body, and at the disk";
        work.refused.push(reason.to_owned());
        return Prepared::Operations(work, Vec::new());
    }
    if let Some(level) = settings.compat {
        let mut operations = Vec::new();
        match compat::record(&envelope, level, &settings.naming) {
            Ok(record) => operations.push(record.into()),
            Err(reason) => work.refused.push(reason),
        }
        return Prepared::Operations(work, operations);
    }
    let alerts = match intake::decode(&envelope, settings.body_limit) {
        Ok(alerts) => alerts,
        Err(fault) => {
            work.refused.push(fault.to_string());
            return Prepared::Operations(work, Vec::new());
        }
    };
    let several = alerts.len() > 1;
    let mut operations = Vec::with_capacity(alerts.len());
    for (position, alert) in alerts.into_iter().enumerate() {
        let mut alert = match alert {
            Ok(alert) => alert,
            Err(fault) if several => {
                work.refused.push(format!("alert {}: {fault}", position + 1));
                continue;
            }
            Err(fault) => {
                work.refused.push(fault.to_string());
                continue;
            }
        };
        if settings.ask_alerting {
            match firings.complete(&mut alert, envelope.received, clock::now()).await {
                Readiness::Ready => {}
                Readiness::NotYet(due) => return Prepared::NotYet(due),
                Readiness::StoreAway(reason) => return Prepared::StoreAway(reason),
            }
        }
        let hash = record::body_hash(&envelope.body, position);
        let receipt = Receipt { received: envelope.received, hash: &hash };
        operations.push(record::build(&alert, receipt, &settings.naming, known).into());
    }
    Prepared::Operations(work, operations)
}
