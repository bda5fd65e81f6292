//! Getting out of a damaged file: all that can still be read goes into a new one, and the damaged
//! one stays beside it. Only an explicit command does this.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value};
use serde::Serialize;

use super::{EntryId, OpenError, directory_lock, room, schema};
use crate::clock;

/// Where nothing can be read in order, at most this many ids are looked up one by one.
const PROBES: EntryId = 2_000_000;

/// What a rescue has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rescued {
    /// Entries that are in the new file.
    pub entries: u64,
    /// Dead letters that are in the new file.
    pub dead_letters: u64,
    /// Deliveries that are in the new file.
    pub deliveries: u64,
    /// At most so many rows could not be read; those that were stored long ago
    /// cannot be told from those that were not.
    pub unreadable: u64,
    /// Where the damaged file is now.
    pub set_aside: PathBuf,
}

impl fmt::Display for Rescued {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { entries, dead_letters, deliveries, unreadable, set_aside } = self;
        write!(f, "rescued     {entries} entries, {dead_letters} dead letters")?;
        match deliveries {
            0 => writeln!(f)?,
            some => writeln!(f, ", {some} deliveries")?,
        }
        match unreadable {
            0 => writeln!(f, "unreadable  nothing")?,
            some => writeln!(f, "unreadable  at most {some} of them; see docs/reliability.md")?,
        }
        writeln!(f, "set aside   {}", set_aside.display())
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What is wrong with the file; empty when nothing is.
    pub faults: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.faults.is_empty() {
            return writeln!(f, "the spool is sound");
        }
        for fault in &self.faults {
            writeln!(f, "damaged  {fault}")?;
        }
        writeln!(f, "stop alertloop, run `alertloop spool rescue`, and start it again")
    }
}

/// Reads the whole file in `dir`, and tells what is wrong with it. May be done while it is in use.
///
/// # Errors
/// [`OpenError`] when there is no such file, or it is newer than this program.
pub fn check(dir: &Path) -> Result<Checked, OpenError> {
    let file = existing(dir)?;
    let unusable = |cause| OpenError::of(&file, cause);
    let connection = schema::open_reader(&file).map_err(unusable)?;
    let checked = || -> rusqlite::Result<Vec<String>> {
        let mut check = connection.prepare("PRAGMA integrity_check(20)")?;
        let lines = check.query_map([], |row| row.get::<_, String>(0))?;
        let mut faults: Vec<String> = lines.collect::<Result<_, _>>()?;
        faults.retain(|line| line != "ok");
        if faults.is_empty() {
            let mut after = 0;
            loop {
                let page = super::entries::after(&connection, after, 1_000, 8 << 20)?;
                let Some(last) = page.last() else { break };
                after = last.id;
                let changed = page.iter().filter(|entry| !entry.is_intact);
                faults.extend(
                    changed.map(|entry| format!("entry {}: its checksum differs", entry.id)),
                );
            }
        }
        Ok(faults)
    };
    Ok(Checked { faults: checked().unwrap_or_else(|fault| vec![fault.to_string()]) })
}

/// Makes a new spool of what can be read of the one in `dir`, and keeps the old file.
///
/// # Errors
/// [`OpenError`]; then the file is as it was.
pub fn rescue(dir: &Path) -> Result<Rescued, OpenError> {
    let _lock = directory_lock(dir)?;
    let file = existing(dir)?;
    let unusable = |cause| OpenError::of(&file, cause);
    let failed = |cause| OpenError::Directory { dir: dir.to_owned(), cause };
    let damaged = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let damaged = damaged.map_err(unusable)?;
    let found: i64 =
        damaged.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)?;
    if found > schema::VERSION {
        return Err(OpenError::Newer { file, found });
    }
    let half_done = dir.join("spool.db.rescuing");
    remove(&half_done).map_err(failed)?;
    let fresh = schema::open(&half_done)?;
    let copy = |table: &Table| copy(&damaged, &fresh, table, found).map_err(unusable);
    let (entries, lost_entries) = copy(&ENTRY)?;
    let (dead_letters, lost_letters) = copy(&DEAD_LETTER)?;
    let (mut deliveries, mut lost) = (0, 0);
    for table in DELIVERIES.iter().filter(|_| found > 2) {
        let (copied, unreadable) = copy(table)?;
        lost += unreadable;
        if table.name == "delivery" {
            deliveries = copied;
        }
    }
    keep_numbers(&damaged, &fresh).map_err(unusable)?;
    room::empty_log(&fresh);
    drop((fresh, damaged));
    let set_aside = dir.join(format!("spool.db.damaged-{}", clock::now().as_second()));
    for end in ["", "-wal"] {
        let from = dir.join(format!("spool.db{end}"));
        if from.exists() {
            let mut to = set_aside.clone().into_os_string();
            to.push(end);
            fs::hard_link(from, to).map_err(failed)?;
        }
    }
    fs::rename(&half_done, dir.join(DONE)).map_err(failed)?;
    finish(dir).map_err(failed)?;
    let unreadable = lost_entries + lost_letters + lost;
    Ok(Rescued { entries, dead_letters, deliveries, unreadable, set_aside })
}

/// A rescued file under this name is complete, and only has to take the place of the old one.
const DONE: &str = "spool.db.rescued";

/// Ends a rescue that was cut off; the caller has the lock.
///
/// # Errors
/// When the directory cannot be changed; then it can be done again.
pub fn finish(dir: &Path) -> io::Result<()> {
    let done = dir.join(DONE);
    if !done.exists() {
        return Ok(());
    }
    // The old file's log must never be applied to the new one.
    for end in ["-wal", "-shm"] {
        remove(&dir.join(format!("spool.db{end}")))?;
    }
    fs::rename(done, dir.join("spool.db"))?;
    fs::File::open(dir)?.sync_all()
}

/// A table, with what stands for the columns that an older format lacks.
struct Table {
    name: &'static str,
    columns: &'static str,
    of_format_1: &'static str,
    places: &'static str,
}

const ENTRY: Table = Table {
    name: "entry",
    columns: "id, source, received, content_type, encoding, body, attempts, checksum",
    of_format_1: "id, source, received, content_type, encoding, body, 0, NULL",
    places: "?, ?, ?, ?, ?, ?, ?, ?",
};
const DEAD_LETTER: Table = Table {
    name: "dead_letter",
    columns: "id, source, received, content_type, encoding, body, reason, attempts, died, checksum",
    of_format_1: "id, source, received, content_type, encoding, body, reason, attempts, died, NULL",
    places: "?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
};

/// What callbacks are run for.
const DELIVERIES: [Table; 8] = [
    of_format_3("dispatch", "id, upto", "?, ?"),
    of_format_3("undispatched", MESSAGE, MESSAGE_PLACES),
    of_format_3("notice", MESSAGE, MESSAGE_PLACES),
    of_format_3(
        "delivery",
        "id, notice, position, callback, action, state, due, created, since, finished, attempts, \
         reason, rule, severity, alert, record_index, record_id, episode, bytes",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
    ),
    of_format_3(
        "run",
        "id, delivery, attempt, began, took, outcome, status, answer, reason, configuration",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
    ),
    of_format_3("configuration", "id, text", "?, ?"),
    of_format_3("episode", "id, alert, state", "?, ?, ?"),
    of_format_3("message", "id, hash", "?, ?"),
];
const MESSAGE: &str = "id, source, received, content_type, encoding, body, checksum";
const MESSAGE_PLACES: &str = "?, ?, ?, ?, ?, ?, ?";

const fn of_format_3(name: &'static str, columns: &'static str, places: &'static str) -> Table {
    Table { name, columns, of_format_1: columns, places }
}

/// Copies every row that can be read; tells how many, and how many ids at most could not be.
fn copy(
    from: &Connection,
    to: &Connection,
    table: &Table,
    format: i64,
) -> rusqlite::Result<(u64, u64)> {
    let (name, columns) = (table.name, if format < 2 { table.of_format_1 } else { table.columns });
    let put = format!("INSERT INTO {name} ({}) VALUES ({})", table.columns, table.places);
    let transaction = to.unchecked_transaction()?;
    let (mut put, mut copied, mut unreadable) = (transaction.prepare(&put)?, 0, 0);
    let mut keep = |row: Vec<Value>| -> rusqlite::Result<EntryId> {
        copied += 1;
        let id = match row.first() {
            Some(Value::Integer(id)) => *id,
            _ => return Err(rusqlite::Error::InvalidQuery),
        };
        put.execute(params_from_iter(row))?;
        Ok(id)
    };
    let row = |condition: &str, bound: EntryId| -> rusqlite::Result<Option<Vec<Value>>> {
        let sql = format!("SELECT {columns} FROM {name} WHERE id {condition} LIMIT 1");
        let mut select = from.prepare_cached(&sql)?;
        let count = select.column_count();
        let mut rows = select.query([bound])?;
        rows.next()?.map(|row| (0..count).map(|n| row.get(n)).collect()).transpose()
    };
    // Upwards to the first damage, then downwards to the last, then one by one in between.
    let mut low = 0;
    let damage = loop {
        match row("> ?1 ORDER BY id", low) {
            Ok(Some(row)) => low = keep(row)?,
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    if damage {
        let sequence = format!("SELECT seq FROM sqlite_sequence WHERE name = '{name}'");
        let highest = from.query_row(&sequence, [], |row| row.get(0)).unwrap_or(low + PROBES);
        let mut high = highest.max(low) + 1;
        while let Ok(Some(row)) = row("< ?1 ORDER BY id DESC", high) {
            high = keep(row)?;
        }
        for id in (low + 1).max(high - PROBES)..high {
            match row("= ?1", id) {
                Ok(Some(row)) => drop(keep(row)?),
                Ok(None) => {}
                Err(_) => unreadable += 1,
            }
        }
    }
    drop(put);
    transaction.commit()?;
    Ok((copied, unreadable))
}

/// Lets numbers go on where they were: a number that was given once stands for something else, also
/// when its row has left. Callbacks would not be decided on for an entry whose number is below the
/// one up to which that was done.
fn keep_numbers(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let read = || -> rusqlite::Result<Vec<(String, i64)>> {
        let mut select = from.prepare("SELECT name, seq FROM sqlite_sequence")?;
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    // Where it cannot be read, what refers to numbers tells the least that they were.
    let mut numbers = read().unwrap_or_default();
    for (name, highest) in [
        ("entry", "SELECT max(upto) FROM dispatch"),
        ("notice", "SELECT max(notice) FROM delivery"),
        ("delivery", "SELECT max(delivery) FROM run"),
        ("configuration", "SELECT max(configuration) FROM run"),
    ] {
        let highest: Option<i64> = to.query_row(highest, [], |row| row.get(0))?;
        numbers.extend(highest.map(|highest| (name.to_owned(), highest)));
    }
    for (name, number) in numbers {
        let raise = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        if to.execute(raise, (&name, number))? == 0 {
            to.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (&name, number))?;
        }
    }
    Ok(())
}

fn existing(dir: &Path) -> Result<PathBuf, OpenError> {
    let file = dir.join("spool.db");
    if file.exists() {
        return Ok(file);
    }
    let cause = io::Error::new(io::ErrorKind::NotFound, "there is no spool.db in it");
    Err(OpenError::Directory { dir: dir.to_owned(), cause })
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{
        DeliveryChange, Dispatched, Settlement, Spool,
        tests::{LIMIT, append, envelope},
    };

    const ENTRIES: u32 = 2_000;

    fn body(n: u32) -> Vec<u8> {
        format!("entry number {n:06} {}", "x".repeat(400)).into_bytes()
    }

    /// A spool of many entries, in which the pages with these are overwritten.
    async fn damaged(dir: &Path, at: &[u32]) {
        let spool = Spool::open(dir, LIMIT).unwrap();
        spool.set_aside(envelope(b"head"), "too large".to_owned()).await.unwrap();
        spool.close().await;
        drop(spool);
        let file = dir.join("spool.db");
        let mut filling = Connection::open(&file).unwrap();
        let transaction = filling.transaction().unwrap();
        for n in 1..=ENTRIES {
            let row = "INSERT INTO entry (source, received, content_type, encoding, body)
                       VALUES ('', 1800000000000, '', 'identity', ?1)";
            transaction.execute(row, [body(n)]).unwrap();
        }
        transaction.commit().unwrap();
        drop(filling);
        let mut bytes = fs::read(&file).unwrap();
        for n in at {
            let mark = &body(*n)[..19];
            let place = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
            bytes[place / 4_096 * 4_096..][..4_096].fill(0xa5);
        }
        fs::write(&file, bytes).unwrap();
    }

    #[tokio::test]
    async fn all_that_is_readable_is_rescued_and_the_old_file_kept() {
        for at in [&[1_000][..], &[1], &[ENTRIES], &[1, 300, 1_000, 1_010, ENTRIES]] {
            let dir = tempfile::tempdir().unwrap();
            damaged(dir.path(), at).await;
            assert!(!check(dir.path()).unwrap().faults.is_empty());

            let spool = Spool::open(dir.path(), LIMIT).unwrap();
            let mut after = 0;
            let fault = loop {
                match spool.next_batch(after, 100, 1 << 20) {
                    Ok(batch) => after = batch.last().map_or(after, |entry| entry.id),
                    Err(fault) => break fault,
                }
            };
            let trouble = spool.trouble().unwrap();
            assert!(trouble.contains("alertloop spool rescue"), "{trouble} {fault}");
            assert!(spool.append(envelope(b"new"), None).await.is_err(), "not into a damaged file");
            spool.close().await;
            drop(spool);

            let rescued = rescue(dir.path()).unwrap();
            // Some seven entries share a page.
            let most = 10 * u64::try_from(at.len()).unwrap();
            assert!((1..=most).contains(&rescued.unreadable), "{at:?}: {rescued}");
            assert!(rescued.entries >= u64::from(ENTRIES) - most, "{at:?}: {rescued}");
            assert_eq!(rescued.dead_letters, 1);
            assert!(rescued.set_aside.exists());
            assert_eq!(check(dir.path()).unwrap().faults, Vec::<String>::new());
            let spool = Spool::open(dir.path(), LIMIT).unwrap();
            let entries = spool.next_batch(0, usize::MAX, usize::MAX).unwrap();
            assert_eq!(entries.len() as u64, rescued.entries);
            for entry in entries {
                assert!(
                    entry.is_intact
                        && entry.envelope.body == body(u32::try_from(entry.id).unwrap())
                );
            }
            append(&spool, b"new").await;
        }
    }

    #[tokio::test]
    async fn after_a_rescue_new_entries_are_decided_on_for_callbacks() {
        for sequence_is_readable in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let spool = Spool::open(dir.path(), LIMIT).unwrap();
            let now = clock::now();
            let begin = || DeliveryChange::Begin { callbacks: vec!["pager".to_owned()], now };
            spool.deliver(begin()).await.unwrap();
            let mut upto = 0;
            for _ in 0..3 {
                upto = append(&spool, b"stored and gone").await;
                let dispatched = Dispatched { upto, now, ..Dispatched::default() };
                spool.deliver(DeliveryChange::Dispatch(dispatched)).await.unwrap();
                spool.settle(vec![Settlement { id: upto, refused: None }]).await.unwrap();
            }
            spool.close().await;
            drop(spool);
            if !sequence_is_readable {
                let file = Connection::open(dir.path().join("spool.db")).unwrap();
                file.execute("DELETE FROM sqlite_sequence", []).unwrap();
            }
            rescue(dir.path()).unwrap();
            let spool = Spool::open(dir.path(), LIMIT).unwrap();
            let cursor = i64::try_from(spool.deliver(begin()).await.unwrap()).unwrap();
            let next = append(&spool, b"new").await;
            assert!(next > upto, "{next} after {upto}");
            let due = spool.undispatched(cursor, 9, 1 << 20).unwrap();
            assert_eq!(due.iter().map(|entry| entry.id).collect::<Vec<_>>(), [next]);
        }
    }

    #[tokio::test]
    async fn a_rescue_that_was_cut_off_is_finished_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        damaged(dir.path(), &[1_000]).await;
        let other = tempfile::tempdir().unwrap();
        let spool = Spool::open(other.path(), LIMIT).unwrap();
        append(&spool, b"rescued").await;
        spool.close().await;
        fs::write(dir.path().join("spool.db-wal"), b"a log of the old file").unwrap();
        fs::copy(other.path().join("spool.db"), dir.path().join(DONE)).unwrap();
        let spool = Spool::open(dir.path(), LIMIT).unwrap();
        assert_eq!(spool.next_batch(0, 9, 99).unwrap()[0].envelope.body, b"rescued");
        assert!(!dir.path().join(DONE).exists());
    }

    #[tokio::test]
    async fn a_file_in_use_or_of_another_time_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(rescue(dir.path()), Err(OpenError::Directory { .. })));
        let spool = Spool::open(dir.path(), LIMIT).unwrap();
        assert!(matches!(rescue(dir.path()), Err(OpenError::Locked { .. })));
        assert_eq!(check(dir.path()).unwrap().faults, Vec::<String>::new());
        spool.close().await;
        drop(spool);
        let file = Connection::open(dir.path().join("spool.db")).unwrap();
        file.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        drop(file);
        assert!(matches!(rescue(dir.path()), Err(OpenError::Newer { .. })));
    }
}
