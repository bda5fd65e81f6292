//! Entries → operations: each entry is decoded, its alerts become records, and what is ready goes
//! to the store together.

use std::{borrow::Cow, slice, sync::Once, time::Instant};

use metrics::counter;
use tracing::warn;

use super::{
    Settings,
    firing::{Firings, Readiness},
    lives::{Lives, Waiting},
    sink::Operation,
};
use crate::{
    alert::{Alert, Source},
    clock, intake,
    opensearch::bulk::Item,
    record::{self, Receipt, compat, fields::FieldSet},
    spool::{Entry, EntryId},
    telemetry,
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
    /// Who reported its alerts, one for each record.
    pub sources: Vec<Source>,
    /// Those of its alerts that are messages of a series.
    pub waiting: Vec<Waiting>,
}

/// Entries that go to the store together.
#[derive(Default)]
pub struct Batch {
    pub works: Vec<Work>,
    pub operations: Vec<Operation>,
    /// For whom each operation is, by positions in `works`: the record of a series is for all
    /// messages that are about it.
    pub places: Vec<Vec<usize>>,
}

impl Batch {
    /// Adds an entry and what stores it.
    pub fn push(&mut self, work: Work, operations: Vec<Operation>) {
        self.places.extend(operations.iter().map(|_| vec![self.works.len()]));
        self.operations.extend(operations);
        self.works.push(work);
    }

    /// Adds an operation for works that are there.
    pub fn share(&mut self, operation: Operation, works: Vec<usize>) {
        self.operations.push(operation);
        self.places.push(works);
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
    lives: &Lives,
    known: &FieldSet,
) -> Prepared {
    let Entry { id, envelope, is_intact } = entry;
    let (refused, stored) = (Vec::new(), Vec::new());
    let (sources, waiting) = (Vec::new(), Vec::new());
    let mut work = Work { id, refused, busy: None, stored, sources, waiting };
    if !is_intact {
        let reason = "the disk has changed what was received: its checksum differs; look at the body, and at the disk";
        work.refused.push(reason.to_owned());
        return Prepared::Operations(work, Vec::new());
    }
    // Upstream has a route for OpenSearch alone, and no document for others.
    let is_upstreams = envelope.source.is_none_or(Source::is_alerting);
    let upstream = settings.compat.filter(|_| is_upstreams);
    if let Some(level) = upstream {
        let mut operations = Vec::new();
        match compat::record(&envelope, level, &settings.naming) {
            Ok(record) => {
                work.sources.push(Source::OpenSearch);
                operations.push(record.into());
            }
            Err(reason) => work.refused.push(reason),
        }
        return Prepared::Operations(work, operations);
    }
    let mut alerts = match intake::decode(&envelope, settings.reading()) {
        Ok(alerts) => alerts,
        Err(fault) => {
            work.refused.push(fault.to_string());
            return Prepared::Operations(work, Vec::new());
        }
    };
    for alert in alerts.iter_mut().flatten() {
        alert.locate(settings.graylog.as_ref());
    }
    if intake::is_truncated(alerts.iter().flatten()) {
        tell_truncated();
    }
    let (read, faults): (Vec<_>, Vec<_>) =
        alerts.into_iter().enumerate().partition(|(_, alert)| alert.is_ok());
    let several = read.len() + faults.len() > 1;
    for (position, fault) in faults.into_iter().filter_map(|(n, alert)| Some((n, alert.err()?))) {
        let which = if several { format!("alert {}: ", position + 1) } else { String::new() };
        work.refused.push(format!("{which}{fault}"));
    }
    let read: Vec<_> = read.into_iter().filter_map(|(n, alert)| Some((n, alert.ok()?))).collect();
    let message: Vec<&Alert> = read.iter().map(|(_, alert)| alert).collect();
    let mut operations = Vec::with_capacity(read.len());
    for (place, (position, alert)) in read.iter().enumerate() {
        let complete = if settings.ask_alerting && alert.source.is_alerting() {
            match firings.complete(&message, place, envelope.received, clock::now()).await {
                Readiness::Ready(alerts) => Cow::Owned(alerts),
                Readiness::NotYet(due) => return Prepared::NotYet(due),
                Readiness::StoreAway(reason) => return Prepared::StoreAway(reason),
            }
        } else {
            Cow::Borrowed(slice::from_ref(alert))
        };
        let hash = record::body_hash(&envelope.body, *position);
        let receipt = Receipt { received: envelope.received, hash: &hash };
        let waiting = lives.waiting(alert, receipt, &settings.naming, known);
        if !waiting.is_empty() {
            work.waiting.extend(waiting);
            work.sources.push(alert.source);
            continue;
        }
        work.sources.extend(complete.iter().map(|alert| alert.source));
        operations.extend(
            complete.iter().map(|alert| {
                Operation::from(record::build(alert, receipt, &settings.naming, known))
            }),
        );
    }
    Prepared::Operations(work, operations)
}

/// Counts it, and says it once: each post of a large group is so.
fn tell_truncated() {
    static TOLD: Once = Once::new();
    counter!(telemetry::TRUNCATED_POSTS).increment(1);
    TOLD.call_once(|| {
        warn!(
            "Alertmanager left alerts out of a post, and they have no record; its receiver's max_alerts must be 0"
        );
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        intake::{Encoding, Envelope},
        opensearch::{self, Client},
        record::{Naming, index_name::IndexName},
    };

    use super::*;

    /// Where nothing listens.
    fn client() -> Client {
        let settings = opensearch::Settings {
            url: "http://127.0.0.1:9/".parse().unwrap(),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(5),
            monitors: opensearch::engine::Settings::default(),
        };
        Client::new(&settings).unwrap()
    }

    async fn prepared(source: Source, body: &str) -> Prepared {
        let index = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").unwrap();
        let settings = Settings {
            naming: Naming { index, time_field: "firstPacket".to_owned() },
            pattern: "arkime_sessions3-*".to_owned(),
            compat: None,
            body_limit: 1 << 20,
            ntopng: None,
            graylog: "https://graylog.example/".parse().ok(),
            ask_alerting: true,
            requests_in_flight: 1,
        };
        let envelope = Envelope {
            source: Some(source),
            received: clock::now(),
            content_type: String::new(),
            encoding: Encoding::Identity,
            body: body.as_bytes().to_vec(),
        };
        let entry = Entry { id: 1, envelope, is_intact: true };
        let lives = Lives::new(client(), "arkime_sessions3-*");
        let mut firings = Firings::new(client());
        prepare(entry, &settings, &mut firings, &lives, &FieldSet::everything()).await
    }

    #[tokio::test]
    async fn only_opensearchs_alerts_wait_for_what_opensearch_knows_of_them() {
        let body = r#"{"alert": {"monitor": {"id": "m"}, "trigger": {"id": "t"}}}"#;
        let waits = prepared(Source::OpenSearch, body).await;
        assert!(matches!(waits, Prepared::StoreAway(_)));
        let body = include_str!("../../tests/graylog/callback.json");
        let Prepared::Operations(work, operations) = prepared(Source::Graylog, body).await else {
            panic!("nobody has to be asked");
        };
        assert_eq!((work.refused.len(), operations.len()), (0, 1));
        assert_eq!(work.sources, [Source::Graylog]);
    }
}
