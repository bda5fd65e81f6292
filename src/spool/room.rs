//! Room: when the spool takes no more, and how it gives back what it no longer needs.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tracing::{info, warn};

use super::AppendError;

/// Free disk space that appends leave alone, so that what is stored can still be settled: a part
/// of the disk, within these bounds, in bytes.
const RESERVE_PART: u64 = 20;
const RESERVE: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);
/// Free space within the file is given back from this size on, in bytes.
const WORTH_IT: u64 = 16 << 20;
/// With no more than this in it the file is written anew, which takes some 10 ms.
const LITTLE: u64 = 4 << 20;
/// Pages moved at once where there is more: some milliseconds, in which nobody is answered.
const STEP: u32 = 64;

/// The bounds of a spool's file.
pub struct Room {
    dir: PathBuf,
    limit: u64,
}

impl Room {
    /// The file in `dir` may hold `limit` bytes.
    pub fn new(dir: &Path, limit: u64) -> Self {
        Self { dir: dir.to_owned(), limit }
    }

    /// Why there is no room for `bytes` more, if there is none.
    pub fn refusal(&self, connection: &Connection, bytes: usize) -> Option<AppendError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let used = Size::of(connection).live;
        if used.saturating_add(bytes) > self.limit {
            return Some(AppendError::Full { limit: self.limit });
        }
        // Where the disk does not tell, its own refusal has to do.
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let part = disk.f_blocks.saturating_mul(disk.f_frsize) / RESERVE_PART;
        let reserve = part.clamp(*RESERVE.start(), *RESERVE.end());
        // Once in the log, once in the file.
        let short = free < bytes.saturating_mul(2).saturating_add(reserve);
        short.then_some(AppendError::DiskFull { free, reserve })
    }
}

/// Empties the log into the file, which frees the log's space.
pub fn empty_log(connection: &Connection) {
    // While somebody reads it stays as it is, and the next time does it.
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(fault) = done {
        warn!(error = %fault, "the log of the spool stays beside it for now");
    }
}

/// Gives space back to the disk where a backlog has left much of it; tells whether to go on.
pub fn give_back(connection: &Connection) -> bool {
    let Size { live, free } = Size::of(connection);
    if free < WORTH_IT || free < live {
        return false;
    }
    let done = if live <= LITTLE {
        connection.execute_batch("VACUUM").map(|()| false)
    } else {
        let step = format!("PRAGMA incremental_vacuum({STEP})");
        connection.execute_batch(&step).map(|()| true)
    };
    match done {
        Ok(true) => {
            let left = Size::of(connection).free;
            let goes_on = left < free && left >= WORTH_IT && left >= live;
            if !goes_on {
                empty_log(connection);
            }
            goes_on
        }
        Ok(false) => {
            empty_log(connection);
            info!(bytes = free, "the spool has given space back");
            false
        }
        Err(fault) => {
            warn!(error = %fault, "the spool cannot give space back now");
            false
        }
    }
}

/// What a file holds, and what of it is free, in bytes.
pub struct Size {
    pub live: u64,
    pub free: u64,
}

impl Size {
    /// Of the file of this connection; nothing where it cannot be told.
    pub fn of(connection: &Connection) -> Self {
        let pragma = |name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0)).unwrap_or(0)
        };
        let page = pragma("page_size");
        let free = pragma("freelist_count");
        Self { live: pragma("page_count").saturating_sub(free) * page, free: free * page }
    }
}
