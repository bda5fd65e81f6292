//! A look from outside at a spool that may be in use: takes no lock and writes nothing to it.

use std::{io, path::Path};

use super::{OpenError, Stats, entries, room, schema};

pub use room::Disk;

/// What waits in the spool in `dir`; `None` where there is none yet.
///
/// # Errors
/// [`OpenError`], when it cannot be read.
pub fn stats(dir: &Path) -> Result<Option<Stats>, OpenError> {
    let file = dir.join("spool.db");
    if !file.exists() {
        return Ok(None);
    }
    let unusable = |cause| OpenError::of(&file, cause);
    let connection = schema::open_reader(&file).map_err(unusable)?;
    let count = |table| entries::count(&connection, table).map_err(unusable);
    let counts = (count("entry")?, count("dead_letter")?);
    entries::stats(&connection, counts).map(Some).map_err(unusable)
}

/// The disk under `dir`.
///
/// # Errors
/// When the operating system does not tell.
pub fn disk(dir: &Path) -> io::Result<Disk> {
    Disk::under(dir)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Spool, tests},
        *,
    };

    #[tokio::test]
    async fn a_spool_in_use_is_looked_at_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stats(dir.path()).unwrap(), None);
        let spool = Spool::open(dir.path(), tests::LIMIT).unwrap();
        tests::append(&spool, b"one").await;
        tests::append(&spool, b"two").await;
        spool.set_aside(tests::envelope(b"three"), "bad".to_owned()).await.unwrap();
        let seen = stats(dir.path()).unwrap().unwrap();
        assert_eq!((seen.waiting, seen.dead_letters), (2, 1));
        assert_eq!(seen.oldest, spool.stats().unwrap().oldest);
        spool.close().await;
        assert_eq!(stats(dir.path()).unwrap().unwrap().waiting, 2);
        assert!(disk(dir.path()).unwrap().free > 0);
    }
}
