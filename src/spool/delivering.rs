//! What changes deliveries, each change within the transaction of the commit thread.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{EntryId, entries};
use crate::{alert::Source, intake::Envelope};

/// So many tries of a delivery are kept, the newest.
const KEPT_RUNS: u64 = 20;
/// What is not delivered but interrupted by the end of the process.
const INTERRUPTED: &str =
    "alertloop ended during this run; whether it was taken is not known, so it runs again";
/// What becomes of what waits for a callback that there is not.
const NOT_ENABLED: &str = "no enabled callback has its name any more";
/// Rows that are removed in one transaction.
const REMOVED_AT_ONCE: i64 = 1_000;
/// Among so many messages, the newest, one that is handed over again is looked for.
const HANDED_LOOKED_AT: i64 = 1_000;
/// What a delivery needs beside its message, roughly.
const DELIVERY_BYTES: usize = 1_024;

/// What is to be changed.
#[derive(Clone, Debug)]
pub enum DeliveryChange {
    /// Callbacks are configured: gives the number of the last entry that was decided on. What the
    /// last process was running is pending again.
    Begin {
        /// The only ones there are: what waits for others has failed.
        callbacks: Vec<String>,
        /// The time.
        now: Timestamp,
    },
    /// None is configured.
    End {
        /// The time.
        now: Timestamp,
    },
    /// It was decided what is due for entries; gives how much is pending.
    Dispatch(Dispatched),
    /// A message for one callback, which names it itself; gives how much is pending. One that is there
    /// already, among the last that were kept, is not kept again.
    Hand {
        /// The message.
        envelope: Envelope,
        /// What is due for it.
        delivery: NewDelivery,
        /// The time.
        now: Timestamp,
    },
    /// Deliveries are run from now on; gives how many.
    Run {
        /// Their numbers.
        ids: Vec<i64>,
        /// The callback's configuration, as JSON without secrets.
        configuration: String,
        /// The time.
        now: Timestamp,
    },
    /// A run has ended.
    Finish(Finished),
    /// Deliveries that have ended are pending again; gives how many.
    Replay {
        /// Which.
        which: Replay,
        /// Only those of these callbacks: nobody would run the others.
        callbacks: Option<Vec<String>>,
        /// The time.
        now: Timestamp,
    },
    /// Deliveries are removed, the oldest first; gives how many, and there may be more.
    Prune {
        /// Those that ended before then.
        before: Timestamp,
        /// And as long as all of them take more than this, in bytes.
        bytes: u64,
    },
}

/// Which deliveries are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Those with these numbers.
    Ids(Vec<i64>),
    /// Every failed one of this callback.
    Callback(String),
    /// Every failed one.
    All,
}

/// An episode's alert id, where it is known, and its state as JSON.
pub type EpisodeRow = (Option<String>, String);

/// What is due for some entries.
#[derive(Clone, Debug, Default)]
pub struct Dispatched {
    /// The last of them.
    pub upto: EntryId,
    /// When it was decided.
    pub now: Timestamp,
    /// Messages for which something is due.
    pub notices: Vec<(Envelope, Vec<NewDelivery>)>,
    /// Episodes by number; `None` is forgotten.
    pub episodes: Vec<(i64, Option<EpisodeRow>)>,
    /// Hashes of messages.
    pub messages: Vec<[u8; 16]>,
    /// How many of these are kept.
    pub most_messages: usize,
}

/// A delivery that is due.
#[derive(Clone, Debug, Default)]
pub struct NewDelivery {
    /// Place of the alert in its message.
    pub position: usize,
    /// Name of the callback.
    pub callback: String,
    /// For what.
    pub action: &'static str,
    /// `pending`, `held` or `failed`.
    pub state: &'static str,
    /// Why it does not run.
    pub reason: Option<String>,
    /// Name of the alert's rule.
    pub rule: String,
    /// The alert's severity.
    pub severity: u8,
    /// The alert's id.
    pub alert: Option<String>,
    /// The record's `_index` and `_id`.
    pub record: Option<(String, String)>,
    /// Number of the alert's episode.
    pub episode: Option<i64>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The delivery.
    pub id: i64,
    /// When it ended.
    pub now: Timestamp,
    /// How long it took, in ms.
    pub took: u64,
    /// `delivered`, `again`, `refused` or `interrupted`.
    pub outcome: &'static str,
    /// HTTP status, SMTP code or exit code.
    pub status: Option<i32>,
    /// What the other side said.
    pub answer: String,
    /// Why it is not delivered.
    pub reason: Option<String>,
    /// When it is tried again; `None` where it is not.
    pub again: Option<Timestamp>,
}

/// Does it. The number that it gives means what [`DeliveryChange`] says.
pub fn apply(transaction: &Transaction, change: DeliveryChange) -> rusqlite::Result<u64> {
    match change {
        DeliveryChange::Begin { callbacks, now } => begin(transaction, &callbacks, now),
        DeliveryChange::End { now } => end(transaction, now),
        DeliveryChange::Dispatch(dispatched) => dispatch(transaction, dispatched),
        DeliveryChange::Hand { envelope, delivery, now } => {
            hand(transaction, &envelope, delivery, now)
        }
        DeliveryChange::Run { ids, configuration, now } => {
            run(transaction, &ids, &configuration, now)
        }
        DeliveryChange::Finish(finished) => finish(transaction, &finished),
        DeliveryChange::Replay { which, callbacks, now } => {
            replay(transaction, &which, callbacks.as_deref(), now)
        }
        DeliveryChange::Prune { before, bytes } => prune(transaction, before, bytes),
    }
}

fn begin(transaction: &Transaction, callbacks: &[String], now: Timestamp) -> rusqlite::Result<u64> {
    let now = now.as_millisecond();
    // What came before there was a callback is not told to it.
    transaction.execute(
        "INSERT OR IGNORE INTO dispatch (id, upto)
         SELECT 1, coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entry'",
        [],
    )?;
    transaction.execute(
        "UPDATE run SET outcome = 'interrupted', reason = ?1
         WHERE outcome IS NULL AND delivery IN (SELECT id FROM delivery WHERE state = 'running')",
        [INTERRUPTED],
    )?;
    transaction.execute(
        "UPDATE delivery SET state = 'pending', due = ?1, reason = ?2 WHERE state = 'running'",
        params![now, INTERRUPTED],
    )?;
    let mut waiting =
        transaction.prepare("SELECT DISTINCT callback FROM delivery WHERE state = 'pending'")?;
    let waiting = waiting.query_map([], |row| row.get::<_, String>(0))?;
    for callback in waiting.collect::<rusqlite::Result<Vec<_>>>()? {
        if !callbacks.contains(&callback) {
            transaction.execute(
                "UPDATE delivery SET state = 'failed', finished = ?1, reason = ?2
                 WHERE state = 'pending' AND callback = ?3",
                params![now, NOT_ENABLED, callback],
            )?;
        }
    }
    transaction.query_row("SELECT upto FROM dispatch", [], |row| row.get(0))
}

fn end(transaction: &Transaction, now: Timestamp) -> rusqlite::Result<u64> {
    transaction.execute("DELETE FROM dispatch", [])?;
    transaction.execute("DELETE FROM undispatched", [])?;
    for state in ["pending", "running"] {
        // Each has an index of its own.
        let sql = format!(
            "UPDATE delivery SET state = 'failed', finished = ?1, reason = ?2 WHERE state = '{state}'"
        );
        transaction.execute(&sql, params![now.as_millisecond(), NOT_ENABLED])?;
    }
    Ok(0)
}

/// Up to which entry it is decided, while callbacks are configured.
pub fn dispatched_upto(transaction: &Transaction) -> rusqlite::Result<Option<EntryId>> {
    let mut select = transaction.prepare_cached("SELECT upto FROM dispatch")?;
    select.query_row([], |row| row.get(0)).optional()
}

/// Keeps the entries of a run of numbers that leave the spool before it was decided on them.
pub fn keep_undispatched(
    transaction: &Transaction,
    (first, last): (EntryId, EntryId),
) -> rusqlite::Result<()> {
    let mut copy = transaction.prepare_cached(
        "INSERT OR IGNORE INTO undispatched
             (id, source, received, content_type, encoding, body, checksum)
         SELECT id, source, received, content_type, encoding, body, checksum
         FROM entry WHERE id BETWEEN ?1 AND ?2",
    )?;
    copy.execute([first, last]).map(drop)
}

fn dispatch(transaction: &Transaction, dispatched: Dispatched) -> rusqlite::Result<u64> {
    let Dispatched { upto, now, notices, episodes, messages, most_messages } = dispatched;
    let now = now.as_millisecond();
    let mut due = 0;
    for (envelope, deliveries) in notices {
        due += insert_deliveries(transaction, &envelope, deliveries, now)?;
    }
    for (number, episode) in episodes {
        if let Some((alert, state)) = episode {
            let mut keep = transaction.prepare_cached(
                "INSERT OR REPLACE INTO episode (id, alert, state) VALUES (?1, ?2, ?3)",
            )?;
            keep.execute(params![number, alert, state])?;
        } else {
            let mut forget = transaction.prepare_cached("DELETE FROM episode WHERE id = ?1")?;
            forget.execute([number])?;
        }
    }
    if !messages.is_empty() {
        let mut insert = transaction.prepare_cached("INSERT INTO message (hash) VALUES (?1)")?;
        let mut last = 0;
        for message in messages {
            last = insert.insert([message.as_slice()])?;
        }
        let most = i64::try_from(most_messages).unwrap_or(i64::MAX);
        let mut forget = transaction.prepare_cached("DELETE FROM message WHERE id <= ?1")?;
        forget.execute([last - most])?;
    }
    transaction.execute("DELETE FROM undispatched WHERE id <= ?1", [upto])?;
    transaction.execute("UPDATE dispatch SET upto = max(upto, ?1)", [upto])?;
    Ok(due)
}

fn hand(
    transaction: &Transaction,
    envelope: &Envelope,
    delivery: NewDelivery,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let mut select = transaction.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM notice n JOIN delivery d ON d.notice = n.id
             WHERE n.id > (SELECT coalesce(max(id), 0) FROM notice) - ?1
                 AND n.received = ?2 AND n.checksum = ?3 AND d.callback = ?4)",
    )?;
    let received = envelope.received.as_millisecond();
    let given = params![HANDED_LOOKED_AT, received, entries::checksum(envelope), delivery.callback];
    if select.query_row(given, |row| row.get(0))? {
        return Ok(0);
    }
    insert_deliveries(transaction, envelope, vec![delivery], now.as_millisecond())
}

/// Keeps a message with what is due for it; gives how much is pending.
fn insert_deliveries(
    transaction: &Transaction,
    envelope: &Envelope,
    deliveries: Vec<NewDelivery>,
    now: i64,
) -> rusqlite::Result<u64> {
    let notice = insert_notice(transaction, envelope)?;
    let share = envelope.body.len() / deliveries.len().max(1) + DELIVERY_BYTES;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO delivery
             (notice, position, callback, action, state, due, created, since, finished, reason,
              rule, severity, alert, record_index, record_id, episode, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let mut due = 0;
    for one in deliveries {
        let is_pending = one.state == "pending";
        due += u64::from(is_pending);
        let (index, id) = one.record.unzip();
        insert.execute(params![
            notice,
            one.position,
            one.callback,
            one.action,
            one.state,
            now,
            (!is_pending).then_some(now),
            one.reason,
            one.rule,
            one.severity,
            one.alert,
            index,
            id,
            one.episode,
            share,
        ])?;
    }
    Ok(due)
}

fn insert_notice(transaction: &Transaction, envelope: &Envelope) -> rusqlite::Result<i64> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO notice (source, received, content_type, encoding, body, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.insert(params![
        envelope.source.map_or("", Source::name),
        envelope.received.as_millisecond(),
        envelope.content_type,
        envelope.encoding.name(),
        envelope.body,
        entries::checksum(envelope),
    ])
}

fn run(
    transaction: &Transaction,
    ids: &[i64],
    configuration: &str,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let mut known = transaction.prepare_cached("SELECT id FROM configuration WHERE text = ?1")?;
    let configuration: i64 = match known.query_row([configuration], |row| row.get(0)).optional()? {
        Some(id) => id,
        None => transaction
            .prepare_cached("INSERT INTO configuration (text) VALUES (?1)")?
            .insert([configuration])?,
    };
    let mut update = transaction.prepare_cached(
        "UPDATE delivery SET state = 'running', attempts = attempts + 1
         WHERE id = ?1 AND state = 'pending'",
    )?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO run (delivery, attempt, began, configuration)
         SELECT id, attempts, ?2, ?3 FROM delivery WHERE id = ?1",
    )?;
    let mut forget = transaction.prepare_cached(
        "DELETE FROM run WHERE delivery = ?1
             AND attempt <= (SELECT attempts FROM delivery WHERE id = ?1) - ?2",
    )?;
    let mut begun = 0;
    for id in ids {
        if update.execute([id])? > 0 {
            insert.execute(params![id, now.as_millisecond(), configuration])?;
            forget.execute(params![id, KEPT_RUNS])?;
            begun += 1;
        }
    }
    Ok(begun)
}

fn finish(transaction: &Transaction, finished: &Finished) -> rusqlite::Result<u64> {
    let Finished { id, now, took, outcome, status, answer, reason, again } = finished;
    let now = now.as_millisecond();
    let mut note = transaction.prepare_cached(
        "UPDATE run SET took = ?2, outcome = ?3, status = ?4, answer = ?5, reason = ?6
         WHERE delivery = ?1 AND attempt = (SELECT attempts FROM delivery WHERE id = ?1)",
    )?;
    note.execute(params![id, took, outcome, status, answer, reason])?;
    let state = match (*outcome, again) {
        ("delivered", _) => "delivered",
        (_, Some(_)) => "pending",
        (_, None) => "failed",
    };
    let mut update = transaction.prepare_cached(
        "UPDATE delivery SET state = ?2, due = ?3, finished = ?4, reason = ?5
         WHERE id = ?1 AND state = 'running'",
    )?;
    let due = again.map_or(now, Timestamp::as_millisecond);
    let ended = (state != "pending").then_some(now);
    let changed = update.execute(params![id, state, due, ended, reason])?;
    Ok(u64::try_from(changed).unwrap_or_default())
}

fn replay(
    transaction: &Transaction,
    which: &Replay,
    callbacks: Option<&[String]>,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    const SET: &str = "UPDATE delivery
        SET state = 'pending', due = ?1, since = ?1, finished = NULL, reason = NULL
        WHERE (?2 IS NULL OR callback IN (SELECT value FROM json_each(?2)))";
    let now = now.as_millisecond();
    let callbacks = callbacks.map(|names| serde_json::json!(names).to_string());
    let changed = match which {
        Replay::Ids(ids) => {
            // One that was delivered may be wanted once more, when it is named.
            let mut update = transaction.prepare_cached(&format!(
                "{SET} AND id = ?3 AND state IN ('failed', 'held', 'delivered')"
            ))?;
            let mut changed = 0;
            for id in ids {
                changed += update.execute(params![now, callbacks, id])?;
            }
            changed
        }
        Replay::Callback(name) => transaction.execute(
            &format!("{SET} AND state = 'failed' AND callback = ?3"),
            params![now, callbacks, name],
        )?,
        Replay::All => {
            transaction.execute(&format!("{SET} AND state = 'failed'"), params![now, callbacks])?
        }
    };
    Ok(u64::try_from(changed).unwrap_or_default())
}

fn prune(transaction: &Transaction, before: Timestamp, bytes: u64) -> rusqlite::Result<u64> {
    let held: u64 =
        transaction
            .query_row("SELECT coalesce(sum(bytes), 0) FROM delivery", [], |row| row.get(0))?;
    let mut over = held.saturating_sub(bytes);
    let mut oldest = transaction.prepare_cached(
        "SELECT id, notice, finished, bytes FROM delivery
         WHERE finished IS NOT NULL ORDER BY id LIMIT ?1",
    )?;
    let oldest = oldest.query_map([REMOVED_AT_ONCE], |row| {
        let of = |n| row.get::<_, i64>(n);
        Ok((of(0)?, of(1)?, of(2)?, row.get::<_, u64>(3)?))
    })?;
    let oldest = oldest.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut removed = 0;
    for (id, notice, ended, size) in oldest {
        if over == 0 && ended >= before.as_millisecond() {
            continue;
        }
        over = over.saturating_sub(size);
        removed += 1;
        transaction.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([id])?;
        transaction.prepare_cached("DELETE FROM run WHERE delivery = ?1")?.execute([id])?;
        transaction
            .prepare_cached(
                "DELETE FROM notice WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM delivery WHERE notice = ?1)",
            )?
            .execute([notice])?;
    }
    Ok(removed)
}
