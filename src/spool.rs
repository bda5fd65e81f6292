//! The spool keeps received bodies until what they say is stored: one SQLite file, in which an
//! entry that was acknowledged survives a crash of the process and of the machine.
//!
//! One thread owns the writing connection and commits in groups: while one transaction syncs
//! (`synchronous=FULL`: one fsync), the appends that arrive meanwhile gather for the next. Readers
//! use a connection of their own and see only what is committed, in the order of the ids. The
//! spool knows bytes, not alerts. `spool.db` can be looked at with the ordinary `sqlite3` tool.

use std::{
    collections::{HashMap, HashSet},
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{alert::Source, intake::Envelope};

mod dead_letters;
mod deliveries;
mod delivering;
mod entries;
mod group_commit;
pub mod peek;
pub mod rescue;
mod room;
mod schema;
mod trouble;

pub use dead_letters::{DeadLetter, Filter, Page};
pub use deliveries::{
    Delivery, DeliveryFilter, DeliveryState, DeliveryStats, DueDelivery, Remembered, RunOf,
};
pub use delivering::{DeliveryChange, Dispatched, Finished, NewDelivery, Replay};
pub use entries::Stats;
use group_commit::Then;
use room::Room;
pub use schema::VERSION;
use trouble::Trouble;

/// Appends and settlements that may wait for the commit thread before the next has to wait itself.
const WAITING_JOBS: usize = 2_048;

/// Number of an entry; later entries have higher numbers, and no number is used twice.
pub type EntryId = i64;

/// An entry of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// What was received.
    pub envelope: Envelope,
    /// Whether it is what was written; else the disk has changed it.
    pub is_intact: bool,
}

/// What has become of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// All of it is stored; the store's answer, for whoever waits.
    Stored(Value),
    /// It is a dead letter, or some of its alerts are; the reason.
    SetAside(String),
}

/// How an entry leaves the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which entry.
    pub id: EntryId,
    /// Why it becomes a dead letter; `None` when it is stored.
    pub refused: Option<String>,
}

/// Why something could not be kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The spool has reached its limit.
    #[error("the spool is full ({limit} bytes): the store has been away for long, or refuses")]
    Full {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The disk has nearly no room left.
    #[error("the disk of the data directory is full ({free} bytes are free, {reserve} are kept)")]
    DiskFull {
        /// Free space, in bytes.
        free: u64,
        /// What is left free, so that the spool can still empty itself.
        reserve: u64,
    },
    /// The disk or the file.
    #[error("the spool cannot write: {0}")]
    Write(String),
    /// The process is stopping.
    #[error("the spool is closed")]
    Closed,
}

/// Why the spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written.
    #[error(
        "cannot write to the data directory {dir}: {cause}; make it writable for this user or set ALERTLOOP_DATA_DIR"
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// Another process has it.
    #[error(
        "another alertloop uses the data directory {dir}; stop it, or set ALERTLOOP_DATA_DIR to a directory of its own"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{file} has format {found}, which is newer than this program's {VERSION}; run the alertloop that wrote it, or a later one"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its `user_version`.
        found: i64,
    },
    /// There is no room at all.
    #[error("the disk with {file} is full; make room on it, some MiB are enough to start")]
    NoRoom {
        /// The file.
        file: PathBuf,
    },
    /// Not a file of ours, or damaged.
    #[error(
        "cannot use {file}: {cause}; nothing was changed. `alertloop spool rescue` saves what can be read of it; if that fails too, keep a copy, and move it away to start with an empty spool"
    )]
    Unusable {
        /// The file.
        file: PathBuf,
        /// SQLite's words.
        cause: rusqlite::Error,
    },
}

impl OpenError {
    fn of(file: &Path, cause: rusqlite::Error) -> Self {
        let file = file.to_owned();
        match cause.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoRoom { file },
            _ => Self::Unusable { file, cause },
        }
    }
}

/// An open spool. All methods may be called from many tasks at once.
pub struct Spool {
    jobs: mpsc::Sender<group_commit::Job>,
    reader: Mutex<Connection>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

/// What the commit thread shares with the rest.
#[derive(Default)]
struct Shared {
    /// Wakes the writer when there are new entries.
    appended: Notify,
    /// Wakes who decides what is due for them.
    to_dispatch: Notify,
    /// Whether somebody decides; else entries leave without.
    dispatches: AtomicBool,
    /// Changes when deliveries become due.
    due: watch::Sender<u64>,
    /// Who waits for the fate of an entry.
    watchers: Mutex<HashMap<EntryId, oneshot::Sender<Fate>>>,
    /// What is wrong at present.
    trouble: Trouble,
    /// The newest entry that is on disk, since the start.
    last_id: AtomicI64,
    /// How many envelopes were kept whose senders waited for that, since the start.
    posted: AtomicI64,
    /// Entries and dead letters that the file holds.
    entries: AtomicU64,
    dead_letters: AtomicU64,
}

impl Spool {
    /// Opens the spool in `dir`, makes it where there is none, and migrates an older one.
    ///
    /// # Errors
    /// [`OpenError`], each with its mend.
    pub fn open(dir: &Path, limit: u64) -> Result<Self, OpenError> {
        let directory = |cause| OpenError::Directory { dir: dir.to_owned(), cause };
        // Alerts are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(directory)?;
        let lock = directory_lock(dir)?;
        rescue::finish(dir).map_err(directory)?;
        let file = dir.join("spool.db");
        // SQLite gives its log the mode of the file.
        let own =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&file);
        own.map_err(directory)?;
        let writer = schema::open(&file)?;
        let unusable = |cause| OpenError::of(&file, cause);
        let reader = schema::open_reader(&file).map_err(unusable)?;
        let shared = Arc::new(Shared::default());
        for (table, counter) in [("entry", &shared.entries), ("dead_letter", &shared.dead_letters)]
        {
            match entries::count(&reader, table) {
                Ok(count) => counter.store(count, Ordering::Relaxed),
                // Who starts it shall be told by readiness, and senders by 503, not by silence.
                Err(fault) => shared.trouble.cannot_read(&fault),
            }
        }
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let room = Room::new(dir, limit);
        let thread =
            group_commit::spawn(writer, waiting, Arc::clone(&shared), room).map_err(directory)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { jobs, reader: Mutex::new(reader), shared, thread, _lock: lock })
    }

    /// Keeps an envelope; when this returns `Ok`, it is on disk.
    ///
    /// With `watch`, the entry's [`Fate`] is sent there once it is known.
    ///
    /// # Errors
    /// [`AppendError`]: then nothing was kept.
    pub async fn append(
        &self,
        envelope: Envelope,
        watch: Option<oneshot::Sender<Fate>>,
    ) -> Result<EntryId, AppendError> {
        let (done, answer) = oneshot::channel();
        let job = group_commit::Job::Append { envelope, watch, done };
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        let kept = answer.await.map_err(|_| AppendError::Closed)?;
        self.shared.posted.fetch_add(i64::from(kept.is_ok()), Ordering::Relaxed);
        kept
    }

    /// Keeps several envelopes in their order, as far as there is room, with as few transactions as
    /// there can be; tells of each whether it is on disk.
    pub async fn append_all(&self, envelopes: Vec<Envelope>) -> Vec<Result<EntryId, AppendError>> {
        let mut answers = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let (done, answer) = oneshot::channel();
            let job = group_commit::Job::Append { envelope, watch: None, done };
            // Where it is closed, the answer says so.
            drop(self.jobs.send(job).await);
            answers.push(answer);
        }
        let mut kept = Vec::with_capacity(answers.len());
        for answer in answers {
            kept.push(answer.await.unwrap_or(Err(AppendError::Closed)));
        }
        kept
    }

    /// The hashes (BLAKE3) of a source's last `count` bodies that are entries, and of as many that are
    /// dead letters; very large ones are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn latest(&self, source: Source, count: usize) -> rusqlite::Result<HashSet<[u8; 32]>> {
        let hashes = entries::latest(&self.reader(), source, count);
        self.noted(hashes)
    }

    /// Takes entries out of the spool, stored or as dead letters, in one transaction.
    ///
    /// # Errors
    /// When the disk fails: then they are all still there, to be settled again.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        let job = group_commit::Job::Settle { settlements, done };
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// Keeps a dead letter that was never an entry, such as the head of a body that was too large.
    ///
    /// # Errors
    /// [`AppendError`]: then nothing was kept.
    pub async fn set_aside(&self, envelope: Envelope, reason: String) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        let job = group_commit::Job::SetAside { envelope, reason, done };
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// Tells whoever watches an entry what became of it.
    pub fn tell(&self, id: EntryId, fate: impl FnOnce() -> Fate) {
        let watcher = self.watchers().remove(&id);
        if let Some(watcher) = watcher {
            // An error says that nobody listens any more: the answer went out before.
            drop(watcher.send(fate()));
        }
    }

    /// Forgets who watches an entry.
    pub fn unwatch(&self, id: EntryId) {
        self.watchers().remove(&id);
    }

    /// The next entries after `after`, oldest first: at most `count`, and no more than one past
    /// `bytes`. Empty when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_batch(
        &self,
        after: EntryId,
        count: usize,
        bytes: usize,
    ) -> rusqlite::Result<Vec<Entry>> {
        let entries = entries::after(&self.reader(), after, count, bytes);
        self.noted(entries)
    }

    /// These entries, as far as they are there, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries(&self, ids: &[EntryId]) -> rusqlite::Result<Vec<Entry>> {
        let entries = entries::with_ids(&self.reader(), ids);
        self.noted(entries)
    }

    /// How much is waiting, and since when.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stats(&self) -> rusqlite::Result<Stats> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = (count(&self.shared.entries), count(&self.shared.dead_letters));
        entries::stats(&self.reader(), counts)
    }

    /// A page of dead letters, oldest first: at most `count` of those that are numbered after the
    /// first bound and up to the second. It may hold none, although there are more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn dead_letters(
        &self,
        filter: &Filter,
        bounds: (i64, i64),
        count: usize,
    ) -> rusqlite::Result<Page> {
        dead_letters::page(&self.reader(), filter, bounds, count)
    }

    /// These dead letters, as far as they are there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn dead_letters_of(&self, ids: &[i64]) -> rusqlite::Result<Vec<DeadLetter>> {
        dead_letters::with_ids(&self.reader(), ids)
    }

    /// The body of a dead letter.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn dead_letter_body(&self, id: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        dead_letters::body(&self.reader(), id)
    }

    /// The number of the newest dead letter; 0 where there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_dead_letter(&self) -> rusqlite::Result<i64> {
        dead_letters::last(&self.reader())
    }

    /// Makes dead letters entries again, at the end of the spool; tells how many. The head of a
    /// body that was too large stays.
    ///
    /// # Errors
    /// When the disk fails: then they are all still dead letters.
    pub async fn replay(&self, ids: Vec<i64>) -> Result<u64, AppendError> {
        self.move_letters(ids, Then::Replay).await
    }

    /// Removes dead letters for good; tells how many there were.
    ///
    /// # Errors
    /// When the disk fails: then they are all still there.
    pub async fn drop_letters(&self, ids: Vec<i64>) -> Result<u64, AppendError> {
        self.move_letters(ids, Then::Drop).await
    }

    async fn move_letters(&self, ids: Vec<i64>, then: Then) -> Result<u64, AppendError> {
        let (done, answer) = oneshot::channel();
        let job = group_commit::Job::Letters { ids, then, done };
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// Resolves at the next append; what was appended since the last call counts too.
    pub async fn appended(&self) {
        self.shared.appended.notified().await;
    }

    /// Changes deliveries; the number means what [`DeliveryChange`] says.
    ///
    /// # Errors
    /// When the disk fails: then nothing was changed.
    pub async fn deliver(&self, change: DeliveryChange) -> Result<u64, AppendError> {
        let (done, answer) = oneshot::channel();
        let job = group_commit::Job::Deliver { change, done };
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// From now on entries that leave are kept until it was decided what is due for them, also where
    /// the disk does not let the decision begin yet.
    pub fn keep_for_dispatch(&self) {
        self.shared.dispatches.store(true, Ordering::Relaxed);
    }

    /// Entries for which it was not decided what is due, those after `after`, oldest first: at most
    /// `count`, and no more than one past `bytes`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn undispatched(
        &self,
        after: EntryId,
        count: usize,
        bytes: usize,
    ) -> rusqlite::Result<Vec<Entry>> {
        let entries = deliveries::undispatched(&self.reader(), after, count, bytes);
        self.noted(entries)
    }

    /// Resolves at the next append, for the one that decides what is due.
    pub async fn to_dispatch(&self) {
        self.shared.to_dispatch.notified().await;
    }

    /// Changes when deliveries become due that were not before.
    #[must_use]
    pub fn due_changes(&self) -> watch::Receiver<u64> {
        self.shared.due.subscribe()
    }

    /// What the decision remembers.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn remembered(&self) -> rusqlite::Result<Remembered> {
        deliveries::remembered(&self.reader())
    }

    /// At most `count` of a callback's deliveries that are due, the longest due first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn due_deliveries(
        &self,
        callback: &str,
        now: Timestamp,
        count: usize,
    ) -> rusqlite::Result<Vec<DueDelivery>> {
        let due = deliveries::due(&self.reader(), callback, now, count);
        self.noted(due)
    }

    /// When the next of a callback's deliveries is due.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_due(&self, callback: &str) -> rusqlite::Result<Option<Timestamp>> {
        deliveries::next_due(&self.reader(), callback)
    }

    /// The message that deliveries are for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn notice(&self, id: i64) -> rusqlite::Result<Option<Entry>> {
        deliveries::notice(&self.reader(), id)
    }

    /// The message that this delivery is for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn notice_of(&self, delivery: i64) -> rusqlite::Result<Option<Entry>> {
        deliveries::notice_of(&self.reader(), delivery)
    }

    /// At most `count` deliveries, newest first, of those numbered below `before`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn deliveries(
        &self,
        filter: &DeliveryFilter,
        before: i64,
        count: usize,
    ) -> rusqlite::Result<Vec<Delivery>> {
        // Among many it may take a while, for which the writer shall not wait.
        let file = self.reader().path().map(PathBuf::from);
        let reader = schema::open_reader(&file.ok_or(rusqlite::Error::InvalidQuery)?)?;
        deliveries::page(&reader, filter, before, count)
    }

    /// A delivery, and its runs that are kept, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn delivery(&self, id: i64) -> rusqlite::Result<Option<(Delivery, Vec<RunOf>)>> {
        let reader = self.reader();
        let Some(found) = deliveries::one(&reader, id)? else { return Ok(None) };
        Ok(Some((found, deliveries::runs(&reader, id)?)))
    }

    /// How much is to be delivered, in all or of one callback.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn delivery_stats(&self, callback: Option<&str>) -> rusqlite::Result<DeliveryStats> {
        deliveries::stats(&self.reader(), callback)
    }

    /// How many envelopes were kept since the start whose senders waited for that; those of a queue
    /// are not among them.
    #[must_use]
    pub fn posted(&self) -> i64 {
        self.shared.posted.load(Ordering::Relaxed)
    }

    /// The newest entry that was appended since the spool was opened; 0 where there is none.
    #[must_use]
    pub fn last_id(&self) -> EntryId {
        self.shared.last_id.load(Ordering::Relaxed)
    }

    /// What is wrong with the file or its disk, if something is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.text()
    }

    /// Ends the commit thread after what is waiting, and waits for it. Later appends fail.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(group_commit::Job::Close { done }).await.is_ok() {
            drop(closed.await);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(thread.map(JoinHandle::join));
    }

    fn noted<T>(&self, read: rusqlite::Result<T>) -> rusqlite::Result<T> {
        match &read {
            Ok(_) => self.shared.trouble.can_read(),
            Err(fault) => self.shared.trouble.cannot_read(fault),
        }
        read
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, HashMap<EntryId, oneshot::Sender<Fate>>> {
        self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use the data directory, until it is dropped.
fn directory_lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |cause| OpenError::Directory { dir: dir.to_owned(), cause };
    let lock = File::create(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

#[cfg(test)]
mod tests;
