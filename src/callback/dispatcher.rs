//! Reads what comes into the spool, and keeps there what is due for it. It does not wait for the
//! writer or the store, and the writer does not wait for it: what is stored before it was decided
//! on is kept until then.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use super::{
    Callback,
    dispatch::{self, Candidate, Due, DueState},
    episode::{Changes, Episode, Memory, MessageHash},
    matching::Action,
};
use crate::{
    alert::{Alert, Source},
    clock,
    intake::{self, Envelope, Reading, ntopng::version::Version},
    record::{self, Naming, Receipt},
    spool::{
        AppendError, DeliveryChange, DeliveryState, Dispatched, Entry, EntryId, NewDelivery,
        Remembered, Spool,
    },
    telemetry,
    writer::{self, backoff::Backoff},
};

/// So many entries are decided on in one transaction, and about so many bytes of them.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;
/// The wait after the spool could not be read or written grows from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the dispatcher needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How records are named; `None` where their names cannot be told beforehand.
    pub naming: Option<Naming>,
    /// Whether the Alerting API is asked for the ids that a body lacks.
    pub ids_are_asked: bool,
    /// To what a packed body may unpack, in bytes.
    pub body_limit: usize,
    /// The version that ntopng was declared to have.
    pub ntopng: Option<Version>,
    /// Graylog's own address, for links to its alerts.
    pub graylog: Option<Url>,
}

/// Decides what is due.
pub struct Dispatcher {
    spool: Arc<Spool>,
    candidates: Vec<Candidate>,
    settings: Settings,
    /// Up to where it is decided; `None` before it has begun.
    cursor: Option<EntryId>,
    memory: Memory,
    /// Whether the memory holds what was not kept.
    is_ahead: bool,
}

impl Dispatcher {
    /// One that has decided nothing yet.
    #[must_use]
    pub fn new(spool: Arc<Spool>, callbacks: &[Callback], settings: Settings) -> Self {
        let candidate = |callback: &Callback| Candidate {
            name: callback.name.clone(),
            matching: callback.matching.clone(),
            repeat: callback.repeat,
        };
        let enabled = callbacks.iter().filter(|callback| callback.enabled);
        let candidates = enabled.map(candidate).collect();
        Self {
            spool,
            candidates,
            settings,
            cursor: None,
            memory: Memory::default(),
            is_ahead: false,
        }
    }

    /// Begins: from now on no entry leaves the spool without a decision. To be called before the
    /// first alert is taken in; when the disk fails, [`Self::run`] tries again.
    pub async fn begin(&mut self) {
        self.spool.keep_for_dispatch();
        if let Err(fault) = self.try_to_begin().await {
            warn!(error = %fault, "callbacks wait until the spool can be written");
        }
    }

    async fn try_to_begin(&mut self) -> Result<(), AppendError> {
        let callbacks = self.candidates.iter().map(|one| one.name.clone()).collect();
        let change = DeliveryChange::Begin { callbacks, now: clock::now() };
        let upto = self.spool.deliver(change).await?;
        self.remember()?;
        self.cursor = Some(EntryId::try_from(upto).unwrap_or(EntryId::MAX));
        Ok(())
    }

    /// Reads what is kept of episodes and messages.
    fn remember(&mut self) -> Result<(), AppendError> {
        let read = block_in_place(|| self.spool.remembered());
        let remembered = read.map_err(|fault| AppendError::Write(fault.to_string()))?;
        let read = |(number, text): (i64, String)| {
            // What cannot be read was written by nobody that we know: it begins anew.
            Some((number, serde_json::from_str::<Episode>(&text).ok()?))
        };
        let Remembered { episodes, last_episode, messages } = remembered;
        let episodes = episodes.into_iter().filter_map(read);
        self.memory = Memory::of(episodes, last_episode, messages);
        Ok(())
    }

    /// Decides, until `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while !stop.is_cancelled() {
            let done = self.step().await;
            match done {
                Ok(true) => backoff.reset(),
                Ok(false) => {
                    backoff.reset();
                    stop.run_until_cancelled(self.spool.to_dispatch()).await;
                }
                // The spool itself says what is wrong with it.
                Err(_) => {
                    stop.run_until_cancelled(tokio::time::sleep(backoff.next_wait())).await;
                }
            }
        }
    }

    /// Decides on some entries; tells whether there were any.
    async fn step(&mut self) -> Result<bool, AppendError> {
        let Some(cursor) = self.cursor else {
            return self.try_to_begin().await.map(|()| true);
        };
        if self.is_ahead {
            self.remember()?;
            self.is_ahead = false;
        }
        let entries = block_in_place(|| self.spool.undispatched(cursor, BATCH, BATCH_BYTES));
        let entries = entries.map_err(|fault| AppendError::Write(fault.to_string()))?;
        let Some(upto) = entries.last().map(|entry| entry.id) else { return Ok(false) };
        let dispatched = block_in_place(|| self.decide(entries, upto));
        let due: Vec<_> = (dispatched.notices.iter())
            .flat_map(|(_, due)| due.iter().map(|one| (one.callback.clone(), one.state)))
            .collect();
        if let Err(fault) = self.spool.deliver(DeliveryChange::Dispatch(dispatched)).await {
            self.is_ahead = true;
            return Err(fault);
        }
        for (callback, state) in due.into_iter().filter(|(_, state)| *state != "pending") {
            counter!(telemetry::DELIVERIES, "callback" => callback, "outcome" => state)
                .increment(1);
        }
        self.cursor = Some(upto);
        Ok(true)
    }

    fn decide(&mut self, entries: Vec<Entry>, upto: EntryId) -> Dispatched {
        let decided: Vec<_> =
            entries.into_iter().filter_map(|entry| self.decide_on(entry)).collect();
        let Changes { episodes, messages } = self.memory.changes();
        let keep = |one: Episode| {
            let state = serde_json::to_string(&one).unwrap_or_default();
            (one.alert, state)
        };
        Dispatched {
            upto,
            now: clock::now(),
            notices: decided,
            episodes: episodes.into_iter().map(|(number, one)| (number, one.map(keep))).collect(),
            messages,
            most_messages: Memory::MESSAGES,
        }
    }

    /// What is due for an entry, if anything is. What cannot be read runs nothing: it becomes a dead
    /// letter, and is decided on again when it is replayed.
    fn decide_on(&mut self, entry: Entry) -> Option<(Envelope, Vec<NewDelivery>)> {
        if !entry.is_intact {
            return None;
        }
        let envelope = entry.envelope;
        let alerts = intake::decode(&envelope, self.settings.reading()).ok()?;
        let alerts = alerts.into_iter().enumerate();
        let alerts: Vec<(usize, Alert)> =
            alerts.filter_map(|(position, alert)| Some((position, alert.ok()?))).collect();
        let plain: Vec<&Alert> = alerts.iter().map(|(_, alert)| alert).collect();
        let due = dispatch::decide(
            hash(&envelope),
            &plain,
            envelope.received,
            &self.candidates,
            &mut self.memory,
        );
        let mut deliveries = Vec::new();
        for ((position, alert), due) in alerts.iter().zip(due).filter(|(_, due)| !due.is_empty()) {
            let record = self.settings.record(alert, &envelope, *position);
            deliveries
                .extend(due.into_iter().map(|due| delivery(due, *position, alert, record.clone())));
        }
        (!deliveries.is_empty()).then_some((envelope, deliveries))
    }
}

impl Settings {
    /// What decoding a message depends on.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        Reading { limit: self.body_limit, ntopng: self.ntopng }
    }

    /// Where the record of an alert will be, as far as that can be told before it is written.
    #[must_use]
    pub fn record(
        &self,
        alert: &Alert,
        envelope: &Envelope,
        position: usize,
    ) -> Option<(String, String)> {
        let naming = self.naming.as_ref()?;
        let may_be_asked = self.ids_are_asked && alert.source == Source::OpenSearch;
        if alert.id.is_none() && may_be_asked || writer::lives::series_of(alert).is_some() {
            return None;
        }
        let hash = record::body_hash(&envelope.body, position);
        let receipt = Receipt { received: envelope.received, hash: &hash };
        Some(record::address(alert, receipt, naming))
    }
}

fn delivery(
    due: Due,
    position: usize,
    alert: &Alert,
    record: Option<(String, String)>,
) -> NewDelivery {
    let (state, reason) = match due.state {
        DueState::Pending => (DeliveryState::Pending, None),
        DueState::Held(until) => (DeliveryState::Held, Some(format!("grace until {until}"))),
        DueState::Unknown => {
            let why = "its condition names it, and no enabled callback has this name";
            (DeliveryState::Failed, Some(why.to_owned()))
        }
    };
    NewDelivery {
        position,
        callback: due.callback,
        action: action(due.action),
        state: state.name(),
        reason,
        rule: alert.rule.name.clone().or_else(|| alert.rule.id.clone()).unwrap_or_default(),
        severity: alert.severity,
        alert: alert.id.clone(),
        record,
        episode: due.episode,
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Engaged => "engaged",
        Action::Stored => "stored",
        Action::Acknowledged => "acknowledged",
        Action::Released => "released",
    }
}

/// Two messages are the same when they say the same on the same day (UTC) and come from the same kind
/// of sender. A body may tell neither an id nor a time: the same words on another day are another
/// alert, as they are another record.
fn hash(envelope: &Envelope) -> MessageHash {
    let day = envelope.received.as_second().div_euclid(24 * 60 * 60);
    let mut hasher = blake3::Hasher::new();
    hasher.update(envelope.source.map_or("", Source::name).as_bytes());
    hasher.update(b"\0").update(&day.to_be_bytes()).update(&envelope.body);
    let mut hash = MessageHash::default();
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Encoding;

    #[test]
    fn the_same_words_are_the_same_message_on_the_same_day_only() {
        let of = |received: &str, body: &[u8]| {
            hash(&Envelope {
                source: Some(Source::OpenSearch),
                received: received.parse().unwrap(),
                content_type: String::new(),
                encoding: Encoding::Identity,
                body: body.to_vec(),
            })
        };
        let first = of("2026-11-21T00:00:00Z", b"the disk of sensor 3 is full");
        assert_eq!(first, of("2026-11-21T23:59:59.999Z", b"the disk of sensor 3 is full"));
        assert_ne!(first, of("2026-11-22T00:00:00Z", b"the disk of sensor 3 is full"));
        assert_ne!(first, of("2026-11-21T00:00:00Z", b"the disk of sensor 4 is full"));
    }
}
