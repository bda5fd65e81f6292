//! The file's format, and how an older one becomes the present one.
//!
//! `user_version` is the format's number.
//! - Format 1: `entry` is what was received and is not stored yet, in the order of `id`;
//!   `dead_letter` is what is refused for good, with the reason.
//! - Format 2: `checksum` tells whether a row is still what was written (null: written by format
//!   1); an entry's `attempts` is how often it was a dead letter before.
//! - Format 3: what callbacks are run for. `dispatch` has one row while some are configured: up to
//!   which entry it is decided; `undispatched` keeps entries that were stored before it was. A
//!   `notice` is a message that callbacks get, a `delivery` one callback for one of its alerts, a
//!   `run` one try, with the `configuration` it had then. `episode` and `message` are what the
//!   decision remembers.
//!
//! Times are epoch milliseconds; `source` is empty where the body has to tell.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// The present format.
pub const VERSION: i64 = 3;

/// What brings format `n` to `n + 1`, at index `n`.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        received INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        encoding TEXT NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        received INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        encoding TEXT NOT NULL,
        body BLOB NOT NULL,
        reason TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        died INTEGER NOT NULL
    );
",
    "
    ALTER TABLE entry ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entry ADD COLUMN checksum INTEGER;
    ALTER TABLE dead_letter ADD COLUMN checksum INTEGER;
",
    "
    CREATE TABLE dispatch (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        upto INTEGER NOT NULL
    );
    CREATE TABLE undispatched (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        received INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        encoding TEXT NOT NULL,
        body BLOB NOT NULL,
        checksum INTEGER
    );
    CREATE TABLE notice (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        received INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        encoding TEXT NOT NULL,
        body BLOB NOT NULL,
        checksum INTEGER
    );
    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        notice INTEGER NOT NULL,
        position INTEGER NOT NULL,
        callback TEXT NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        due INTEGER NOT NULL,
        created INTEGER NOT NULL,
        since INTEGER NOT NULL,
        finished INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        reason TEXT,
        rule TEXT NOT NULL,
        severity INTEGER NOT NULL,
        alert TEXT,
        record_index TEXT,
        record_id TEXT,
        episode INTEGER,
        bytes INTEGER NOT NULL
    );
    CREATE INDEX delivery_waiting ON delivery (callback, due, created) WHERE state = 'pending';
    CREATE INDEX delivery_running ON delivery (id) WHERE state = 'running';
    CREATE INDEX delivery_of_notice ON delivery (notice);
    CREATE INDEX delivery_failed ON delivery (callback, id) WHERE state = 'failed';
    CREATE INDEX delivery_ended ON delivery (id) WHERE finished IS NOT NULL;
    CREATE INDEX delivery_size ON delivery (bytes);
    CREATE TABLE run (
        id INTEGER PRIMARY KEY,
        delivery INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        began INTEGER NOT NULL,
        took INTEGER,
        outcome TEXT,
        status INTEGER,
        answer TEXT,
        reason TEXT,
        configuration INTEGER NOT NULL,
        UNIQUE (delivery, attempt)
    );
    CREATE TABLE configuration (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL UNIQUE
    );
    CREATE TABLE episode (
        id INTEGER PRIMARY KEY,
        alert TEXT,
        state TEXT NOT NULL
    );
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hash BLOB NOT NULL
    );
",
];

/// Opens the writing connection, and migrates the file.
pub fn open(file: &Path) -> Result<Connection, OpenError> {
    let unusable = |cause| OpenError::of(file, cause);
    let mut connection = Connection::open(file).map_err(unusable)?;
    let found = prepare(&mut connection).map_err(unusable)?;
    if found > VERSION {
        return Err(OpenError::Newer { file: file.to_owned(), found });
    }
    migrate(&mut connection, found).map_err(unusable)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -2_000)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Ok(found);
    }
    if found == 0 {
        // An empty file takes this; space can then be given back without rewriting the file. Any
        // other would be written to, and a spool must open on a full disk too.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode FULL syncs the log at each commit: the promise behind every acknowledgement.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -4_000)?;
    // Giving space back must not need any elsewhere, and the root of a container may be read-only.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(found)
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let from = usize::try_from(found).unwrap_or_default();
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_way_to_the_present_one() {
        assert_eq!(i64::try_from(MIGRATIONS.len()), Ok(VERSION));
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spool.db");
        let connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(connection);
        let before = std::fs::read(&file).unwrap();
        let error = open(&file).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spool.db");
        std::fs::write(&file, "this is no database, but somebody's letter ".repeat(99)).unwrap();
        let before = std::fs::read(&file).unwrap();
        let error = open(&file).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn the_promise_is_in_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("spool.db")).unwrap();
        let pragma = |name: &str| -> String {
            let value = connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
            format!("{:?}", value.unwrap())
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("auto_vacuum"), "Integer(2)");
    }
}
