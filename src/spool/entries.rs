//! Reading entries.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, Row, types::Type};

use super::{Entry, EntryId, room::Size};
use crate::{
    alert::Source,
    intake::{Encoding, Envelope},
};

/// Tables with more rows than this are not counted at the start.
const MOST_COUNTED: u64 = 100_000;
/// Bodies that are larger are not hashed at a start, in bytes.
const LARGEST_HASHED: i64 = 64 << 10;

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that are not stored yet.
    pub waiting: u64,
    /// When the oldest of them was received.
    pub oldest: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: u64,
    /// When the oldest of them was received.
    pub oldest_dead_letter: Option<Timestamp>,
    /// Size of what the file holds, in bytes.
    pub bytes: u64,
}

pub fn after(
    connection: &Connection,
    after: EntryId,
    count: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, content_type, encoding, body, checksum FROM entry
         WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = select.query((after, i64::try_from(count).unwrap_or(i64::MAX)))?;
    let (mut entries, mut size) = (Vec::new(), 0);
    while size < bytes
        && let Some(row) = rows.next()?
    {
        let entry = entry(row)?;
        size += entry.envelope.body.len();
        entries.push(entry);
    }
    Ok(entries)
}

pub fn with_ids(connection: &Connection, ids: &[EntryId]) -> rusqlite::Result<Vec<Entry>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, content_type, encoding, body, checksum FROM entry
         WHERE id = ?1",
    )?;
    let mut entries = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = select.query([id])?;
        if let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
    }
    entries.sort_unstable_by_key(|entry| entry.id);
    Ok(entries)
}

/// How many rows a table has: exactly, unless it has so many that counting would delay a start.
/// Ids are never used twice and mostly leave in order, so the span of a long backlog is its count,
/// near enough.
pub fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let one = |sql: String| connection.query_row(&sql, [], |row| row.get::<_, u64>(0));
    let span = one(format!("SELECT coalesce(max(id) - min(id) + 1, 0) FROM {table}"))?;
    if span > MOST_COUNTED { Ok(span) } else { one(format!("SELECT count(*) FROM {table}")) }
}

pub fn stats(connection: &Connection, counts: (u64, u64)) -> rusqlite::Result<Stats> {
    let oldest = |table: &str| -> rusqlite::Result<Option<Timestamp>> {
        let sql = format!("SELECT received FROM {table} ORDER BY id LIMIT 1");
        let mut select = connection.prepare_cached(&sql)?;
        let millis = select.query_map([], |row| row.get(0))?.next().transpose()?;
        Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
    };
    let (oldest, oldest_dead_letter) = (oldest("entry")?, oldest("dead_letter")?);
    Ok(Stats {
        waiting: if oldest.is_some() { counts.0.max(1) } else { 0 },
        oldest,
        dead_letters: if oldest_dead_letter.is_some() { counts.1.max(1) } else { 0 },
        oldest_dead_letter,
        bytes: Size::of(connection).live,
    })
}

/// The hashes of a source's last `count` bodies that are entries, and of as many that are dead letters.
pub fn latest(
    connection: &Connection,
    source: Source,
    count: usize,
) -> rusqlite::Result<HashSet<[u8; 32]>> {
    let mut hashes = HashSet::new();
    for table in ["entry", "dead_letter"] {
        let mut select = connection.prepare(&format!(
            "SELECT body FROM (SELECT source, body FROM {table} ORDER BY id DESC LIMIT ?2)
             WHERE source = ?1 AND length(body) <= ?3"
        ))?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut rows = select.query((source.name(), count, LARGEST_HASHED))?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_blob()?;
            hashes.insert(*blake3::hash(body).as_bytes());
        }
    }
    Ok(hashes)
}

/// An entry in the columns `id, source, received, content_type, encoding, body, checksum`.
pub fn entry(row: &Row) -> rusqlite::Result<Entry> {
    let envelope = envelope(row, 1)?;
    let written: Option<u32> = row.get(6)?;
    let is_intact = written.is_none_or(|written| written == checksum(&envelope));
    Ok(Entry { id: row.get(0)?, envelope, is_intact })
}

/// What an envelope's row is checked against when it is read (CRC-32): SQLite itself would not see
/// that the disk gives back another body than was written.
pub fn checksum(envelope: &Envelope) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [
        envelope.source.map_or("", crate::alert::Source::name).as_bytes(),
        &envelope.received.as_millisecond().to_be_bytes(),
        envelope.content_type.as_bytes(),
        envelope.encoding.name().as_bytes(),
        &envelope.body,
    ] {
        hasher.update(part);
    }
    hasher.finalize()
}

/// An envelope in the columns `source, received, content_type, encoding, body` from `first` on.
pub fn envelope(row: &Row, first: usize) -> rusqlite::Result<Envelope> {
    let millis = row.get(first + 1)?;
    let received = Timestamp::from_millisecond(millis).map_err(|fault| {
        rusqlite::Error::FromSqlConversionFailure(first + 1, Type::Integer, Box::new(fault))
    })?;
    Ok(Envelope {
        source: row.get_ref(first)?.as_str()?.parse().ok(),
        received,
        content_type: row.get(first + 2)?,
        encoding: Encoding::of(row.get_ref(first + 3)?.as_str()?),
        body: row.get(first + 4)?,
    })
}
