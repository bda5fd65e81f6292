//! Deliveries: reading them. What changes them is in [`super::delivering`].

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Entry, entries};

/// How a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is to be run, now or later.
    Pending,
    /// It is being run.
    Running,
    /// The other side has taken it.
    Delivered,
    /// It is tried no more.
    Failed,
    /// It was not run, since the alert came within the grace of the last one.
    Held,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Running, Self::Delivered, Self::Failed, Self::Held];

    /// The name in the file and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One callback for one alert, without the alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Name of the callback.
    pub callback: String,
    /// For what: `engaged`, `released` and so on.
    pub action: String,
    /// How it is.
    pub state: DeliveryState,
    /// When it is tried next, where it is pending.
    pub due: Timestamp,
    /// When it was decided that it is due.
    pub created: Timestamp,
    /// When it was delivered, or given up.
    pub finished: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u64,
    /// Why it is not delivered.
    pub reason: Option<String>,
    /// Name of the alert's rule.
    pub rule: String,
    /// The alert's severity.
    pub severity: u8,
    /// The alert's id, as far as a message has told it by now.
    pub alert: Option<String>,
    /// The record's `_index` and `_id`, where they could be told.
    pub record: Option<(String, String)>,
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOf {
    /// Which try, from 1 on.
    pub attempt: u64,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in ms; `None` while it runs.
    pub took: Option<u64>,
    /// `delivered`, `again`, `refused` or `interrupted`; `None` while it runs.
    pub outcome: Option<String>,
    /// HTTP status, SMTP code or exit code.
    pub status: Option<i32>,
    /// What the other side said.
    pub answer: Option<String>,
    /// Why it is not delivered.
    pub reason: Option<String>,
    /// The callback's configuration at that time, as JSON without secrets.
    pub configuration: String,
}

/// Which deliveries are meant: all of them, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this callback.
    pub callback: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this alert, or of this record (`_id`).
    pub alert: Option<String>,
}

/// A delivery that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// Its number.
    pub id: i64,
    /// The message that it is for, and the place of its alert in it.
    pub notice: (i64, usize),
    /// Size of that message, in bytes.
    pub bytes: usize,
    /// Since when it is tried: when it was created, or replayed.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u64,
}

/// How much is to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// Deliveries that are pending or running.
    pub pending: u64,
    /// When the oldest of them was created.
    pub oldest: Option<Timestamp>,
    /// Deliveries that failed and are kept.
    pub failed: u64,
}

/// No try is put off for so long: what is due later was so by a clock that has been set back.
const FARTHEST: SignedDuration = SignedDuration::from_hours(2);

const COLUMNS: &str = "d.id, d.callback, d.action, d.state, d.due, d.created, d.finished,
    d.attempts, d.reason, d.rule, d.severity, coalesce(d.alert, e.alert), d.record_index,
    d.record_id";

/// At most `count`, newest first, of those numbered below `before`.
pub fn page(
    connection: &Connection,
    filter: &DeliveryFilter,
    before: i64,
    count: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM delivery d LEFT JOIN episode e ON e.id = d.episode
         WHERE d.id < ?1
             AND (?2 IS NULL OR d.callback = ?2)
             AND (?3 IS NULL OR d.state = ?3)
             AND (?4 IS NULL OR d.alert = ?4 OR d.record_id = ?4 OR e.alert = ?4)
         ORDER BY d.id DESC LIMIT ?5"
    );
    let mut select = connection.prepare_cached(&sql)?;
    let state = filter.state.map(DeliveryState::name);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let bounds = params![before, filter.callback, state, filter.alert, count];
    select.query_map(bounds, delivery)?.collect()
}

/// One of them.
pub fn one(connection: &Connection, id: i64) -> rusqlite::Result<Option<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM delivery d LEFT JOIN episode e ON e.id = d.episode
         WHERE d.id = ?1"
    );
    connection.prepare_cached(&sql)?.query_row([id], delivery).optional()
}

/// The tries of a delivery that are kept, oldest first.
pub fn runs(connection: &Connection, id: i64) -> rusqlite::Result<Vec<RunOf>> {
    let mut select = connection.prepare_cached(
        "SELECT attempt, began, took, outcome, status, answer, reason, c.text
         FROM run r JOIN configuration c ON c.id = r.configuration
         WHERE delivery = ?1 ORDER BY attempt",
    )?;
    let run = |row: &Row| {
        Ok(RunOf {
            attempt: row.get(0)?,
            began: time(row.get(1)?),
            took: row.get(2)?,
            outcome: row.get(3)?,
            status: row.get(4)?,
            answer: row.get(5)?,
            reason: row.get(6)?,
            configuration: row.get(7)?,
        })
    };
    select.query_map([id], run)?.collect()
}

/// At most `count` of a callback's deliveries that are due then, the longest due first; and those
/// that would be due only when a clock that was set back gets there again.
pub fn due(
    connection: &Connection,
    callback: &str,
    now: Timestamp,
    count: usize,
) -> rusqlite::Result<Vec<DueDelivery>> {
    let due = |row: &Row| {
        Ok(DueDelivery {
            id: row.get(0)?,
            notice: (row.get(1)?, row.get(2)?),
            bytes: row.get::<_, Option<usize>>(3)?.unwrap_or(0),
            since: time(row.get(4)?),
            attempts: row.get(5)?,
        })
    };
    let of = |which: &str, bound: Timestamp, count: usize| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let bounds = params![callback, bound.as_millisecond(), count];
        connection
            .prepare_cached(&due_by(which))?
            .query_map(bounds, due)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let mut found = of("<=", now, count)?;
    if found.len() < count {
        let far = now.checked_add(FARTHEST).unwrap_or(Timestamp::MAX);
        found.extend(of(">", far, count - found.len())?);
    }
    Ok(found)
}

/// In the order of their index: a replay may make a million due at the same moment, which each look
/// for the next one would sort.
fn due_by(comparison: &str) -> String {
    format!(
        "SELECT d.id, d.notice, d.position, length(n.body), d.since, d.attempts
         FROM delivery d LEFT JOIN notice n ON n.id = d.notice
         WHERE d.state = 'pending' AND d.callback = ?1 AND d.due {comparison} ?2
         ORDER BY d.due, d.created, d.id LIMIT ?3"
    )
}

/// When the next of a callback's deliveries is due.
pub fn next_due(connection: &Connection, callback: &str) -> rusqlite::Result<Option<Timestamp>> {
    let mut select = connection.prepare_cached(
        "SELECT min(due) FROM delivery WHERE state = 'pending' AND callback = ?1",
    )?;
    let millis: Option<i64> = select.query_row([callback], |row| row.get(0))?;
    Ok(millis.map(time))
}

/// The message that a delivery is for.
pub fn notice(connection: &Connection, id: i64) -> rusqlite::Result<Option<Entry>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, content_type, encoding, body, checksum FROM notice
         WHERE id = ?1",
    )?;
    select.query_row([id], entries::entry).optional()
}

/// The message that this delivery is for.
pub fn notice_of(connection: &Connection, delivery: i64) -> rusqlite::Result<Option<Entry>> {
    let mut select = connection.prepare_cached(
        "SELECT n.id, source, received, content_type, encoding, body, checksum
         FROM notice n JOIN delivery d ON d.notice = n.id WHERE d.id = ?1",
    )?;
    select.query_row([delivery], entries::entry).optional()
}

/// Entries for which nothing was decided yet, oldest first: at most `count`, and no more than one
/// past `bytes`. Those that were stored already are among them.
pub fn undispatched(
    connection: &Connection,
    after: i64,
    count: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, content_type, encoding, body, checksum FROM (
             SELECT id, source, received, content_type, encoding, body, checksum FROM undispatched
             WHERE id > ?1
             UNION ALL
             SELECT id, source, received, content_type, encoding, body, checksum FROM entry
             WHERE id > ?1
         ) ORDER BY id LIMIT ?2",
    )?;
    let mut rows = select.query(params![after, i64::try_from(count).unwrap_or(i64::MAX)])?;
    let (mut found, mut size) = (Vec::new(), 0);
    while size < bytes
        && let Some(row) = rows.next()?
    {
        let entry = entries::entry(row)?;
        size += entry.envelope.body.len();
        found.push(entry);
    }
    Ok(found)
}

/// What the decision remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Episodes by number, as JSON.
    pub episodes: Vec<(i64, String)>,
    /// The highest number that was ever given and is still of use.
    pub last_episode: i64,
    /// Hashes of messages, oldest first.
    pub messages: Vec<[u8; 16]>,
}

/// Reads it.
pub fn remembered(connection: &Connection) -> rusqlite::Result<Remembered> {
    let mut episodes = connection.prepare("SELECT id, state FROM episode ORDER BY id")?;
    let episodes = episodes.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let episodes = episodes.collect::<rusqlite::Result<_>>()?;
    // Deliveries may outlive the memory of their episode.
    let last = "SELECT max(coalesce((SELECT max(id) FROM episode), 0),
                    coalesce((SELECT max(episode) FROM delivery), 0))";
    let last_episode = connection.query_row(last, [], |row| row.get(0))?;
    let mut messages = connection.prepare("SELECT hash FROM message ORDER BY id")?;
    let messages = messages.query_map([], |row| row.get(0))?;
    let messages = messages.collect::<rusqlite::Result<_>>()?;
    Ok(Remembered { episodes, last_episode, messages })
}

/// How much is to be delivered, in all or of one callback.
pub fn stats(connection: &Connection, callback: Option<&str>) -> rusqlite::Result<DeliveryStats> {
    // Each state has an index by callback, which a condition that may be none would not use.
    let of = |what: &str, state: &str| {
        let whose = callback.map_or("?1 IS NULL", |_| "callback = ?1");
        connection.prepare_cached(&format!(
            "SELECT {what} FROM delivery WHERE state = '{state}' AND {whose}"
        ))
    };
    let count_and_oldest = |state| {
        let read = |row: &Row| Ok((row.get::<_, u64>(0)?, row.get::<_, Option<i64>>(1)?));
        of("count(*), min(created)", state)?.query_row([callback], read)
    };
    let (pending, oldest) = count_and_oldest("pending")?;
    let (runs, eldest) = count_and_oldest("running")?;
    let failed = of("count(*)", "failed")?.query_row([callback], |row| row.get(0))?;
    let oldest = oldest.into_iter().chain(eldest).min().map(time);
    Ok(DeliveryStats { pending: pending + runs, oldest, failed })
}

fn delivery(row: &Row) -> rusqlite::Result<Delivery> {
    let record = row.get::<_, Option<String>>(12)?.zip(row.get::<_, Option<String>>(13)?);
    Ok(Delivery {
        id: row.get(0)?,
        callback: row.get(1)?,
        action: row.get(2)?,
        state: DeliveryState::of(row.get_ref(3)?.as_str()?).unwrap_or(DeliveryState::Failed),
        due: time(row.get(4)?),
        created: time(row.get(5)?),
        finished: row.get::<_, Option<i64>>(6)?.map(time),
        attempts: row.get(7)?,
        reason: row.get(8)?,
        rule: row.get(9)?,
        severity: row.get(10)?,
        alert: row.get(11)?,
        record,
    })
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::schema;

    #[test]
    fn however_many_are_due_the_next_is_found_without_sorting_them() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open(&dir.path().join("spool.db")).unwrap();
        for comparison in ["<=", ">"] {
            let sql = format!("EXPLAIN QUERY PLAN {}", due_by(comparison));
            let mut plan = connection.prepare(&sql).unwrap();
            let steps = plan.query_map(params!["pager", 0, 9], |row| row.get::<_, String>(3));
            let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
            assert!(steps[0].contains("delivery_waiting (callback=? AND due"), "{steps:?}");
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
        }
    }
}
