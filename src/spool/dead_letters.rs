//! What is refused for good: kept with its reason, visible and complete.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

/// A dead letter, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The source named by the route; empty where there was none.
    pub source: String,
    /// When it was received.
    pub received: Timestamp,
    /// Why it is one.
    pub reason: String,
    /// Length of its body.
    pub bytes: u64,
    /// How often it was tried to store it; 0 where only its head was kept.
    pub attempts: u64,
}

pub fn page(
    connection: &Connection,
    after: i64,
    count: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, reason, length(body), attempts FROM dead_letter
         WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = select.query_map((after, i64::try_from(count).unwrap_or(i64::MAX)), dead_letter)?;
    rows.collect()
}

pub fn one(connection: &Connection, id: i64) -> rusqlite::Result<Option<(DeadLetter, Vec<u8>)>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, reason, length(body), attempts, body FROM dead_letter
         WHERE id = ?1",
    )?;
    let mut rows = select.query_map([id], |row| Ok((dead_letter(row)?, row.get(6)?)))?;
    rows.next().transpose()
}

fn dead_letter(row: &Row) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        source: row.get(1)?,
        received: Timestamp::from_millisecond(row.get(2)?).unwrap_or(Timestamp::UNIX_EPOCH),
        reason: row.get(3)?,
        bytes: row.get(4)?,
        attempts: row.get(5)?,
    })
}
