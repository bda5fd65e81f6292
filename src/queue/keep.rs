//! Items become envelopes, and those become durable: the same that a body by HTTP becomes.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use metrics::counter;
use tokio_util::sync::CancellationToken;

use crate::{
    alert::Source,
    clock,
    intake::{self, Encoding, Envelope},
    spool::{AppendError, Spool},
    telemetry,
    writer::backoff::Backoff,
};

/// What is kept of an item that is too large.
const HEAD: usize = 4 << 10;
/// How long it is waited when the spool takes nothing.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What an item is known by.
pub type Hash = [u8; 32];

/// What an item is known by.
#[must_use]
pub fn hash(item: &[u8]) -> Hash {
    *blake3::hash(item).as_bytes()
}

/// What an item becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// A sender's test, which leaves nothing.
    Test,
    /// An entry of the spool.
    Entry(Envelope),
    /// Too large: a dead letter with its head, and the reason.
    Aside(Envelope, String),
}

impl Fate {
    fn of(item: &[u8], received: Timestamp, limit: usize) -> Self {
        let envelope = |body: &[u8]| Envelope {
            source: Some(Source::Ntopng),
            received,
            content_type: "application/json".to_owned(),
            encoding: Encoding::Identity,
            body: body.to_vec(),
        };
        if item.len() > limit {
            let reason = format!(
                "an item of {} bytes is over the limit of {limit} bytes; this is its head",
                item.len()
            );
            Self::Aside(envelope(&item[..HEAD.min(limit)]), reason)
        } else if intake::is_test_post(item) {
            Self::Test
        } else {
            Self::Entry(envelope(item))
        }
    }
}

/// Where items are kept.
pub struct Keeper<'a> {
    /// There.
    pub spool: &'a Spool,
    /// The largest item, in bytes.
    pub limit: usize,
    /// What is known to be durable already, though it stands in the work list.
    pub durable: &'a mut HashSet<Hash>,
}

impl Keeper<'_> {
    /// Makes the items durable, and notes that they are. While the spool takes nothing, it waits:
    /// the items stay in Redis. Tells how many it kept; `None` where it was stopped before.
    pub async fn keep(
        &mut self,
        items: &[Vec<u8>],
        refused: impl Fn(&AppendError),
        stop: &CancellationToken,
    ) -> Option<u64> {
        let (mut entries, mut aside) = (Vec::with_capacity(items.len()), Vec::new());
        let now = clock::now();
        let mut kept = 0;
        for item in items.iter().filter(|item| !self.durable.contains(&hash(item))) {
            kept += 1;
            match Fate::of(item, now, self.limit) {
                Fate::Test => counter!(telemetry::TEST_POSTS).increment(1),
                Fate::Entry(envelope) => entries.push(envelope),
                Fate::Aside(envelope, reason) => aside.push((envelope, reason)),
            }
        }
        counter!(telemetry::RECEIVED).increment(kept);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let fault = self.append(&mut entries, &mut aside).await;
            let Some(fault) = fault else { break };
            refused(&fault);
            let wait = tokio::time::sleep(backoff.next_wait());
            if matches!(fault, AppendError::Closed)
                || stop.run_until_cancelled(wait).await.is_none()
            {
                return None;
            }
        }
        self.durable.extend(items.iter().map(|item| hash(item)));
        Some(kept)
    }

    /// One try; what was refused is left, in its order. Gives why.
    async fn append(
        &self,
        entries: &mut Vec<Envelope>,
        aside: &mut Vec<(Envelope, String)>,
    ) -> Option<AppendError> {
        let mut fault = None;
        let answers = self.spool.append_all(entries.clone()).await;
        let mut answers = answers.into_iter();
        let mut durable = 0;
        entries.retain(|_| match answers.next() {
            Some(Ok(_)) => {
                durable += 1;
                false
            }
            Some(Err(refused)) => {
                fault = Some(refused);
                true
            }
            None => true,
        });
        counter!(telemetry::DURABLE).increment(durable);
        while let Some((envelope, reason)) = aside.first().cloned() {
            if let Err(refused) = self.spool.set_aside(envelope, reason).await {
                fault = Some(refused);
                break;
            }
            counter!(telemetry::DEAD_LETTERS).increment(1);
            aside.remove(0);
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_durable_already_is_not_kept_again() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 30).unwrap();
        let (mut durable, stop) = (HashSet::new(), CancellationToken::new());
        let mut keeper = Keeper { spool: &spool, limit: 20, durable: &mut durable };
        let items = ["{\"a\":1}", "", "no JSON", "longer than twenty bytes"];
        let items = items.map(|item| item.as_bytes().to_vec());
        assert_eq!(keeper.keep(&items, |_| (), &stop).await, Some(4));
        assert_eq!(keeper.keep(&items, |_| (), &stop).await, Some(0));
        let stats = spool.stats().unwrap();
        assert_eq!((stats.waiting, stats.dead_letters), (2, 1), "the empty one is a test");
        let entries = spool.next_batch(0, 9, 9_999).unwrap();
        let bodies: Vec<_> = entries.iter().map(|entry| entry.envelope.body.clone()).collect();
        assert_eq!(bodies, [items[0].clone(), items[2].clone()]);
        assert_eq!(entries[0].envelope.source, Some(Source::Ntopng));

        // After a restart the spool itself tells.
        let mut durable = spool.latest(Source::Ntopng, 10).unwrap();
        let mut keeper = Keeper { spool: &spool, limit: 20, durable: &mut durable };
        assert_eq!(keeper.keep(&items[..1], |_| (), &stop).await, Some(0));
        assert_eq!(keeper.keep(&[b"{\"a\":2}".to_vec()], |_| (), &stop).await, Some(1));
    }

    #[tokio::test]
    async fn a_spool_that_takes_nothing_is_waited_for_until_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1).unwrap();
        let (mut durable, stop) = (HashSet::new(), CancellationToken::new());
        let mut keeper = Keeper { spool: &spool, limit: 20, durable: &mut durable };
        let end = stop.clone();
        let refused = move |fault: &AppendError| {
            assert!(matches!(fault, AppendError::Full { .. }), "{fault}");
            end.cancel();
        };
        assert_eq!(keeper.keep(&[b"{}".to_vec()], refused, &stop).await, None);
        assert!(durable.is_empty(), "nothing is durable, so nothing may be removed");
    }
}
