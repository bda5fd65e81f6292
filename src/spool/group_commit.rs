//! The one thread that writes: takes what is waiting, commits it in one transaction, answers all.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Transaction, params};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{AppendError, EntryId, Fate, Settlement, Shared};
use crate::{clock, intake::Envelope};

/// At most this many jobs share a transaction: bounds how long the first one waits.
const GROUP: usize = 1_000;
/// And at most about this many bytes of bodies.
const GROUP_BYTES: usize = 16 << 20;
/// What a row needs besides its body, roughly.
const ROW_BYTES: usize = 128;

type Done<T> = oneshot::Sender<Result<T, AppendError>>;

/// What the thread is asked to do.
pub enum Job {
    Append { envelope: Envelope, watch: Option<oneshot::Sender<Fate>>, done: Done<EntryId> },
    Settle { settlements: Vec<Settlement>, done: Done<()> },
    SetAside { envelope: Envelope, reason: String, done: Done<()> },
    Close { done: oneshot::Sender<()> },
}

/// How a transaction changes the counts.
#[derive(Default)]
struct Change {
    entries: (u64, u64),
    dead_letters: u64,
}

/// An answer that goes out after the commit.
enum Answer {
    Appended(Done<EntryId>, EntryId),
    Done(Done<()>),
}

/// Starts the thread. It ends on [`Job::Close`], or when every sender is gone.
pub fn spawn(
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    limit: u64,
) -> io::Result<JoinHandle<()>> {
    let writer = Writer { connection, jobs, shared, limit };
    thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run())
}

struct Writer {
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    limit: u64,
}

impl Writer {
    fn run(mut self) {
        let mut group = VecDeque::with_capacity(GROUP);
        while let Some(first) = self.jobs.blocking_recv() {
            let mut bytes = size(&first);
            group.push_back(first);
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(job) = self.jobs.try_recv() else { break };
                bytes += size(&job);
                group.push_back(job);
            }
            if let Some(closed) = self.commit(&mut group, bytes) {
                // So that after an orderly stop the one file holds everything.
                if let Err(fault) =
                    self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE")
                {
                    warn!(error = %fault, "the log of the spool stays beside it until the next start");
                }
                closed.send(()).ok();
                return;
            }
        }
    }

    /// Commits the group and answers each job; gives who asked to close, if somebody did.
    fn commit(&mut self, group: &mut VecDeque<Job>, bytes: usize) -> Option<oneshot::Sender<()>> {
        let mut close = None;
        let mut answers = Vec::with_capacity(group.len());
        let full = self.is_full(bytes);
        let mut change = Change::default();
        let result = self.connection.transaction().and_then(|transaction| {
            while let Some(job) = group.pop_front() {
                if let Job::Close { done } = job {
                    close = Some(done);
                } else {
                    apply(
                        &transaction,
                        job,
                        full.as_ref(),
                        &self.shared,
                        &mut answers,
                        &mut change,
                    )?;
                }
            }
            transaction.commit()
        });
        match result {
            Ok(()) => {
                self.count(&change);
                self.answer(answers);
            }
            Err(fault) => self.fail(&fault, answers, group),
        }
        close
    }

    fn count(&self, change: &Change) {
        let Change { entries: (more, fewer), dead_letters } = change;
        self.shared.entries.fetch_add(*more, Ordering::Relaxed);
        let less = |count: u64| Some(count.saturating_sub(*fewer));
        // The count of a long backlog is an estimate, so it may come out below nothing.
        self.shared.entries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        self.shared.dead_letters.fetch_add(*dead_letters, Ordering::Relaxed);
    }

    fn answer(&self, answers: Vec<(Answer, Option<AppendError>)>) {
        if self.shared.failing.swap(false, Ordering::Relaxed) {
            info!("the spool can write again");
        }
        let mut last = None;
        for (answer, refused) in answers {
            match (answer, refused) {
                (Answer::Appended(done, id), None) => {
                    last = last.max(Some(id));
                    drop(done.send(Ok(id)));
                }
                (Answer::Done(done), None) => drop(done.send(Ok(()))),
                (Answer::Appended(done, _), Some(refused)) => drop(done.send(Err(refused))),
                (Answer::Done(done), Some(refused)) => drop(done.send(Err(refused))),
            }
        }
        if let Some(id) = last {
            self.shared.last_id.store(id, Ordering::Relaxed);
            self.shared.appended.notify_one();
        }
    }

    /// Nothing of the group was committed: every job of it is told so.
    fn fail(
        &self,
        fault: &rusqlite::Error,
        answers: Vec<(Answer, Option<AppendError>)>,
        left: &mut VecDeque<Job>,
    ) {
        if !self.shared.failing.swap(true, Ordering::Relaxed) {
            error!(error = %fault, "the spool cannot write: alerts are refused with 503 until it can; look at the disk of the data directory");
        }
        let refused = AppendError::Write(fault.to_string());
        let mut watchers = self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for (answer, _) in answers {
            match answer {
                Answer::Appended(done, id) => {
                    watchers.remove(&id);
                    drop(done.send(Err(refused.clone())));
                }
                Answer::Done(done) => drop(done.send(Err(refused.clone()))),
            }
        }
        for job in left.drain(..) {
            match job {
                Job::Append { done, .. } => drop(done.send(Err(refused.clone()))),
                Job::Settle { done, .. } | Job::SetAside { done, .. } => {
                    drop(done.send(Err(refused.clone())));
                }
                Job::Close { done } => drop(done.send(())),
            }
        }
    }

    fn is_full(&self, bytes: usize) -> Option<AppendError> {
        let pragma = |name| {
            self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0)).unwrap_or(0)
        };
        let pages = pragma("page_count").saturating_sub(pragma("freelist_count"));
        let used = pages * pragma("page_size") + u64::try_from(bytes).unwrap_or(u64::MAX);
        (used > self.limit).then_some(AppendError::Full { limit: self.limit })
    }
}

/// Does one job within the transaction. When the spool is full, only settling goes on.
fn apply(
    transaction: &Transaction,
    job: Job,
    full: Option<&AppendError>,
    shared: &Shared,
    answers: &mut Vec<(Answer, Option<AppendError>)>,
    change: &mut Change,
) -> rusqlite::Result<()> {
    match job {
        Job::Append { done, .. } if full.is_some() => {
            answers.push((Answer::Appended(done, 0), full.cloned()));
        }
        Job::SetAside { done, .. } if full.is_some() => {
            answers.push((Answer::Done(done), full.cloned()));
        }
        Job::Append { envelope, watch, done } => {
            // Answered in any case, also when the insert fails.
            answers.push((Answer::Appended(done, 0), None));
            let id = insert(transaction, &envelope)?;
            change.entries.0 += 1;
            if let Some((Answer::Appended(_, answered), _)) = answers.last_mut() {
                *answered = id;
            }
            if let Some(watch) = watch {
                // Before the commit makes the entry visible: its fate cannot be known earlier.
                let watchers = &mut shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
                watchers.insert(id, watch);
            }
        }
        Job::Settle { settlements, done } => {
            answers.push((Answer::Done(done), None));
            for settlement in settlements {
                settle(transaction, &settlement, change)?;
            }
        }
        Job::SetAside { envelope, reason, done } => {
            answers.push((Answer::Done(done), None));
            change.dead_letters += 1;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO dead_letter
                     (source, received, content_type, encoding, body, reason, attempts, died)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
            )?;
            insert.execute(params![
                envelope.source.map_or("", crate::alert::Source::name),
                envelope.received.as_millisecond(),
                envelope.content_type,
                envelope.encoding.name(),
                envelope.body,
                reason,
                clock::now().as_millisecond(),
            ])?;
        }
        Job::Close { .. } => {}
    }
    Ok(())
}

fn insert(transaction: &Transaction, envelope: &Envelope) -> rusqlite::Result<EntryId> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO entry (source, received, content_type, encoding, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.insert(params![
        envelope.source.map_or("", crate::alert::Source::name),
        envelope.received.as_millisecond(),
        envelope.content_type,
        envelope.encoding.name(),
        envelope.body,
    ])
}

fn settle(
    transaction: &Transaction,
    settlement: &Settlement,
    change: &mut Change,
) -> rusqlite::Result<()> {
    if let Some(reason) = &settlement.refused {
        let mut copy = transaction.prepare_cached(
            "INSERT INTO dead_letter
                 (source, received, content_type, encoding, body, reason, attempts, died)
             SELECT source, received, content_type, encoding, body, ?2, 1, ?3
             FROM entry WHERE id = ?1",
        )?;
        let now = clock::now().as_millisecond();
        change.dead_letters += u64::from(copy.execute(params![settlement.id, reason, now])? > 0);
    }
    let mut delete = transaction.prepare_cached("DELETE FROM entry WHERE id = ?1")?;
    change.entries.1 += u64::from(delete.execute([settlement.id])? > 0);
    Ok(())
}

fn size(job: &Job) -> usize {
    match job {
        Job::Append { envelope, .. } | Job::SetAside { envelope, .. } => {
            envelope.body.len() + ROW_BYTES
        }
        Job::Settle { .. } | Job::Close { .. } => 0,
    }
}
