//! Room: when the spool takes no more, and how it gives back what it no longer needs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::{info, warn};

use super::AppendError;

/// Free disk space that appends leave alone, so that what is stored can still be settled: a part
/// of the disk, within these bounds, in bytes.
const RESERVE_PART: u64 = 20;
const RESERVE: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);
/// How long a measurement is believed, unless it is used up before: others write to the disk too.
const BELIEVED_FOR: Duration = Duration::from_millis(200);
/// Free space within the file is given back from this size on, in bytes.
const WORTH_IT: u64 = 4 << 20;
/// With no more than this in it the file is written anew, which takes some 10 ms.
const LITTLE: u64 = 4 << 20;
/// Pages moved at once where there is more: some milliseconds, in which nobody is answered.
const STEP: u32 = 256;
/// On a full disk: what moves them has to find room in the log.
const SMALL_STEP: u32 = 64;
/// What a commit writes besides the bodies, roughly: pages of which it changes a little, in bytes.
const COMMIT: u64 = 32 << 10;

/// The bounds of a spool's file.
pub struct Room {
    dir: PathBuf,
    limit: u64,
    /// What was left when it was measured, less what was written since, in bytes.
    left: u64,
    measured: Option<Instant>,
}

impl Room {
    /// The file in `dir` may hold `limit` bytes.
    pub fn new(dir: &Path, limit: u64) -> Self {
        Self { dir: dir.to_owned(), limit, left: 0, measured: None }
    }

    /// Why there is no room for `bytes` more, if there is none.
    pub fn refusal(&mut self, connection: &Connection, bytes: usize) -> Option<AppendError> {
        // Once in the log, once in the file.
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
        let bytes = bytes.saturating_add(COMMIT);
        let is_fresh = self.measured.is_some_and(|at| at.elapsed() < BELIEVED_FOR);
        if !is_fresh || bytes > self.left {
            match self.measure(connection, bytes) {
                Ok(left) => (self.left, self.measured) = (left, Some(Instant::now())),
                Err(refusal) => {
                    self.measured = None;
                    return Some(refusal);
                }
            }
        }
        self.left = self.left.saturating_sub(bytes);
        None
    }

    fn measure(&self, connection: &Connection, bytes: u64) -> Result<u64, AppendError> {
        let size = Size::of(connection);
        let within = self.limit.saturating_sub(size.live);
        if within < bytes {
            return Err(AppendError::Full { limit: self.limit });
        }
        // Where the disk does not tell, its own refusal has to do.
        let Ok(Disk { free, reserve }) = Disk::under(&self.dir) else { return Ok(within) };
        // What is in the log only will want its place in the file.
        let file = connection.path().and_then(|path| std::fs::metadata(path).ok());
        let to_come = (size.live + size.free).saturating_sub(file.map_or(0, |file| file.len()));
        match free.checked_sub(reserve.saturating_add(to_come)) {
            Some(usable) if usable >= bytes => Ok(within.min(usable)),
            _ => Err(AppendError::DiskFull { free, reserve }),
        }
    }
}

/// What a disk has free, and what of that appends leave alone, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free for this user.
    pub free: u64,
    /// Left alone.
    pub reserve: u64,
}

impl Disk {
    /// The disk under a folder.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn under(dir: &Path) -> std::io::Result<Self> {
        let disk = rustix::fs::statvfs(dir)?;
        let part = disk.f_blocks.saturating_mul(disk.f_frsize) / RESERVE_PART;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(Self { free, reserve: part.clamp(*RESERVE.start(), *RESERVE.end()) })
    }
}

/// Empties the log into the file, which frees the log's space; tells whether that was done.
pub fn empty_log(connection: &Connection) -> bool {
    // While somebody reads it stays as it is, and the next time does it.
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    is_busy.map_or_else(
        |fault| {
            warn!(error = %fault, "the log of the spool stays beside it for now");
            false
        },
        |is_busy: bool| !is_busy,
    )
}

/// Gives a full disk what the log and a piece of the file hold without need; tells whether there
/// may be more.
pub fn make(connection: &Connection) -> bool {
    let before = Size::of(connection).free;
    // Giving back takes room in the log first, so only into an empty one.
    if !empty_log(connection) || before == 0 {
        return false;
    }
    if let Err(fault) = move_pages(connection, SMALL_STEP) {
        warn!(error = %fault, "the spool cannot give space back now");
    }
    empty_log(connection) && Size::of(connection).free < before
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
        move_pages(connection, STEP).map(|()| true)
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

/// Gives back up to so many pages, in one transaction.
fn move_pages(connection: &Connection, pages: u32) -> rusqlite::Result<()> {
    let mut step = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    // It works on one page for each row that is asked for.
    let mut pages = step.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
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
