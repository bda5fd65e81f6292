//! The one thread that writes: takes what is waiting, commits it in one transaction, answers all.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, Transaction, params};
use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::{
    AppendError, EntryId, Fate, Settlement, Shared,
    delivering::{self, DeliveryChange},
    entries,
    room::{self, Room},
    schema,
};
use crate::{clock, intake::Envelope};

/// At most this many jobs share a transaction: bounds how long the first one waits.
const GROUP: usize = 1_000;
/// And at most about this many bytes of bodies.
const GROUP_BYTES: usize = 16 << 20;
/// What a row needs besides its body, roughly.
const ROW_BYTES: usize = 128;
/// While there is trouble: how often it is looked whether it has passed, and for jobs.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

type Done<T> = oneshot::Sender<Result<T, AppendError>>;

/// What the thread is asked to do.
pub enum Job {
    Append { envelope: Envelope, watch: Option<oneshot::Sender<Fate>>, done: Done<EntryId> },
    Settle { settlements: Vec<Settlement>, done: Done<()> },
    SetAside { envelope: Envelope, reason: String, done: Done<()> },
    Letters { ids: Vec<i64>, then: Then, done: Done<u64> },
    Deliver { change: DeliveryChange, done: Done<u64> },
    Close { done: oneshot::Sender<()> },
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// They are entries again.
    Replay,
    /// They are gone for good.
    Drop,
}

/// How a transaction changes the counts: so many more, so many fewer.
#[derive(Default)]
struct Change {
    entries: (u64, u64),
    dead_letters: (u64, u64),
    /// Deliveries that were removed.
    deliveries: u64,
}

/// An answer that goes out after the commit.
enum Answer {
    Appended(Done<EntryId>, EntryId),
    Done(Done<()>),
    Moved(Done<u64>, u64),
    Delivering { done: Done<u64>, count: u64, makes_due: bool, starts: Option<bool> },
}

/// Starts the thread. It ends on [`Job::Close`], or when every sender is gone.
pub fn spawn(
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    room: Room,
) -> io::Result<JoinHandle<()>> {
    // A spool that was opened may have free space of an earlier life.
    let writer = Writer { connection, jobs, shared, room, may_give_back: true };
    thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run())
}

struct Writer {
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    room: Room,
    /// Something has left the file since it was last looked for free space, which costs as much as
    /// a small commit.
    may_give_back: bool,
}

impl Writer {
    fn run(mut self) {
        let mut group = VecDeque::with_capacity(GROUP);
        while let Some(first) = self.next() {
            let mut bytes = size(&first);
            group.push_back(first);
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(job) = self.jobs.try_recv() else { break };
                bytes += size(&job);
                group.push_back(job);
            }
            if let Some(closed) = self.commit(&mut group, bytes) {
                // So that after an orderly stop the one file holds everything.
                room::empty_log(&self.connection);
                closed.send(()).ok();
                return;
            }
        }
    }

    /// The next job; space is given back only while nobody waits.
    fn next(&mut self) -> Option<Job> {
        while self.may_give_back && self.jobs.is_empty() {
            self.may_give_back = room::give_back(&self.connection);
        }
        let mut looked = Instant::now();
        while self.shared.trouble.fails_to_write() || self.shared.trouble.is_full() {
            match self.jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => thread::sleep(POLL),
            }
            if looked.elapsed() >= LOOK_AGAIN {
                self.look_again();
                looked = Instant::now();
            }
        }
        self.jobs.blocking_recv()
    }

    /// Finds out whether trouble has passed: who is not ready is sent nothing that would show it.
    fn look_again(&mut self) {
        if self.shared.trouble.is_full() {
            self.refusal(ROW_BYTES);
        }
        if self.shared.trouble.fails_to_write() {
            // Says what is so already, but is written and synced.
            match self.connection.pragma_update(None, "user_version", schema::VERSION) {
                Ok(()) => self.shared.trouble.can_write(),
                Err(fault) => drop(self.cannot_write(&fault)),
            }
        }
    }

    /// Notes that a transaction failed. On a full disk the log is what has room to give: the next
    /// settlement needs it, and else nothing would ever leave the spool.
    fn cannot_write(&self, fault: &rusqlite::Error) -> AppendError {
        if fault.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            room::empty_log(&self.connection);
        }
        self.shared.trouble.cannot_write(fault)
    }

    /// Commits the group and answers each job; gives who asked to close, if somebody did.
    fn commit(&mut self, group: &mut VecDeque<Job>, bytes: usize) -> Option<oneshot::Sender<()>> {
        let mut close = None;
        let mut answers = Vec::with_capacity(group.len());
        let refusal = if bytes > 0 { self.refusal(bytes) } else { None };
        let refusal = refusal.or_else(|| self.shared.trouble.refusal());
        let mut change = Change::default();
        let result = self.connection.transaction().and_then(|transaction| {
            while let Some(job) = group.pop_front() {
                if let Job::Close { done } = job {
                    close = Some(done);
                } else {
                    apply(
                        &transaction,
                        job,
                        refusal.as_ref(),
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
                self.may_give_back |=
                    change.entries.1 > 0 || change.dead_letters.1 > 0 || change.deliveries > 0;
                self.count(&change);
                self.answer(answers);
            }
            Err(fault) => self.fail(&fault, answers, group),
        }
        close
    }

    /// Why there is no room for `bytes` more, if there is none.
    fn refusal(&mut self, bytes: usize) -> Option<AppendError> {
        let mut refusal = self.room.refusal(&self.connection, bytes);
        let mut has_more = true;
        while has_more && matches!(refusal, Some(AppendError::DiskFull { .. })) {
            has_more = room::make(&self.connection);
            refusal = self.room.refusal(&self.connection, bytes);
        }
        self.shared.trouble.room(refusal.as_ref());
        refusal
    }

    fn count(&self, change: &Change) {
        for (counter, (more, fewer)) in [
            (&self.shared.entries, change.entries),
            (&self.shared.dead_letters, change.dead_letters),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
            // The count of a long backlog is an estimate, so it may come out below nothing.
            let less = |count: u64| Some(count.saturating_sub(fewer));
            counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        }
    }

    fn answer(&self, answers: Vec<(Answer, Option<AppendError>)>) {
        self.shared.trouble.can_write();
        let (mut last, mut replayed) = (None, false);
        for (answer, refused) in answers {
            match (answer, refused) {
                (Answer::Appended(done, id), None) => {
                    last = last.max(Some(id));
                    drop(done.send(Ok(id)));
                }
                (Answer::Done(done), None) => drop(done.send(Ok(()))),
                (Answer::Moved(done, count), None) => {
                    replayed |= count > 0;
                    drop(done.send(Ok(count)));
                }
                (Answer::Appended(done, _), Some(refused)) => drop(done.send(Err(refused))),
                (Answer::Done(done), Some(refused)) => drop(done.send(Err(refused))),
                (Answer::Moved(done, _) | Answer::Delivering { done, .. }, Some(refused)) => {
                    drop(done.send(Err(refused)));
                }
                (Answer::Delivering { done, count, makes_due, starts }, None) => {
                    if let Some(starts) = starts {
                        self.shared.dispatches.store(starts, Ordering::Relaxed);
                    }
                    if makes_due && count > 0 {
                        self.shared.due.send_modify(|version| *version += 1);
                    }
                    drop(done.send(Ok(count)));
                }
            }
        }
        if let Some(id) = last {
            self.shared.last_id.store(id, Ordering::Relaxed);
        }
        if last.is_some() || replayed {
            self.shared.appended.notify_one();
            self.shared.to_dispatch.notify_one();
        }
    }

    /// Nothing of the group was committed: every job of it is told so.
    fn fail(
        &self,
        fault: &rusqlite::Error,
        answers: Vec<(Answer, Option<AppendError>)>,
        left: &mut VecDeque<Job>,
    ) {
        let refused = self.cannot_write(fault);
        let mut watchers = self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for (answer, _) in answers {
            match answer {
                Answer::Appended(done, id) => {
                    watchers.remove(&id);
                    drop(done.send(Err(refused.clone())));
                }
                Answer::Done(done) => drop(done.send(Err(refused.clone()))),
                Answer::Moved(done, _) | Answer::Delivering { done, .. } => {
                    drop(done.send(Err(refused.clone())));
                }
            }
        }
        for job in left.drain(..) {
            match job {
                Job::Append { done, .. } => drop(done.send(Err(refused.clone()))),
                Job::Settle { done, .. } | Job::SetAside { done, .. } => {
                    drop(done.send(Err(refused.clone())));
                }
                Job::Letters { done, .. } | Job::Deliver { done, .. } => {
                    drop(done.send(Err(refused.clone())));
                }
                Job::Close { done } => drop(done.send(())),
            }
        }
    }
}

/// Does one job within the transaction. When the spool takes no more, only what leaves it goes on.
fn apply(
    transaction: &Transaction,
    job: Job,
    refusal: Option<&AppendError>,
    shared: &Shared,
    answers: &mut Vec<(Answer, Option<AppendError>)>,
    change: &mut Change,
) -> rusqlite::Result<()> {
    match job {
        Job::Append { done, .. } if refusal.is_some() => {
            answers.push((Answer::Appended(done, 0), refusal.cloned()));
        }
        Job::SetAside { done, .. } if refusal.is_some() => {
            answers.push((Answer::Done(done), refusal.cloned()));
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
            let dispatches = shared.dispatches.load(Ordering::Relaxed);
            settle(transaction, &settlements, dispatches, change)?;
        }
        Job::SetAside { envelope, reason, done } => {
            answers.push((Answer::Done(done), None));
            change.dead_letters.0 += 1;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO dead_letter
                     (source, received, content_type, encoding, body, reason, attempts, died, checksum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
            )?;
            insert.execute(params![
                envelope.source.map_or("", crate::alert::Source::name),
                envelope.received.as_millisecond(),
                envelope.content_type,
                envelope.encoding.name(),
                envelope.body,
                reason,
                clock::now().as_millisecond(),
                entries::checksum(&envelope),
            ])?;
        }
        Job::Letters { ids, then, done } => {
            answers.push((Answer::Moved(done, 0), None));
            let moved = move_letters(transaction, &ids, then, change)?;
            if let Some((Answer::Moved(_, count), _)) = answers.last_mut() {
                *count = moved;
            }
        }
        Job::Deliver { change: deliveries, done } => {
            let starts = match &deliveries {
                DeliveryChange::Begin { .. } => Some(true),
                DeliveryChange::End { .. } => Some(false),
                _ => None,
            };
            let makes_due = matches!(
                deliveries,
                DeliveryChange::Dispatch(_)
                    | DeliveryChange::Hand { .. }
                    | DeliveryChange::Replay { .. }
            );
            let prunes = matches!(deliveries, DeliveryChange::Prune { .. });
            answers.push((Answer::Delivering { done, count: 0, makes_due, starts }, None));
            let counted = delivering::apply(transaction, deliveries)?;
            change.deliveries += if prunes { counted } else { 0 };
            if let Some((Answer::Delivering { count, .. }, _)) = answers.last_mut() {
                *count = counted;
            }
        }
        Job::Close { .. } => {}
    }
    Ok(())
}

fn insert(transaction: &Transaction, envelope: &Envelope) -> rusqlite::Result<EntryId> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO entry (source, received, content_type, encoding, body, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.insert(params![
        envelope.source.map_or("", crate::alert::Source::name),
        envelope.received.as_millisecond(),
        envelope.content_type,
        envelope.encoding.name(),
        envelope.body,
        entries::checksum(envelope),
    ])
}

fn settle(
    transaction: &Transaction,
    settlements: &[Settlement],
    dispatches: bool,
    change: &mut Change,
) -> rusqlite::Result<()> {
    for Settlement { id, refused } in settlements {
        let Some(reason) = refused else { continue };
        let mut copy = transaction.prepare_cached(
            "INSERT INTO dead_letter
                 (source, received, content_type, encoding, body, reason, attempts, died, checksum)
             SELECT source, received, content_type, encoding, body, ?2, attempts + 1, ?3, checksum
             FROM entry WHERE id = ?1",
        )?;
        let now = clock::now().as_millisecond();
        change.dead_letters.0 += u64::from(copy.execute(params![id, reason, now])? > 0);
    }
    let mut delete = transaction.prepare_cached("DELETE FROM entry WHERE id BETWEEN ?1 AND ?2")?;
    let upto = if dispatches { delivering::dispatched_upto(transaction)? } else { None };
    for (first, last) in runs(settlements.iter().map(|settlement| settlement.id).collect()) {
        if let Some(upto) = upto.filter(|upto| *upto < last) {
            // No alert is stored without its callbacks having been decided on, or kept until then.
            delivering::keep_undispatched(transaction, (first.max(upto + 1), last))?;
        }
        let gone = delete.execute([first, last])?;
        change.entries.1 += u64::try_from(gone).unwrap_or_default();
    }
    Ok(())
}

/// Numbers as runs without a gap: one statement for each is several times cheaper than for each
/// number.
fn runs(mut ids: Vec<EntryId>) -> Vec<(EntryId, EntryId)> {
    ids.sort_unstable();
    let mut runs: Vec<(EntryId, EntryId)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 >= id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    runs
}

/// Tells how many there were. The head of a body that was too large cannot be replayed.
fn move_letters(
    transaction: &Transaction,
    ids: &[i64],
    then: Then,
    change: &mut Change,
) -> rusqlite::Result<u64> {
    let mut moved = 0;
    for id in ids {
        if then == Then::Replay {
            let mut copy = transaction.prepare_cached(
                "INSERT INTO entry
                     (source, received, content_type, encoding, body, attempts, checksum)
                 SELECT source, received, content_type, encoding, body, attempts, checksum
                 FROM dead_letter WHERE id = ?1 AND attempts > 0",
            )?;
            if copy.execute([id])? == 0 {
                continue;
            }
            change.entries.0 += 1;
        }
        let mut delete = transaction.prepare_cached("DELETE FROM dead_letter WHERE id = ?1")?;
        let gone = u64::from(delete.execute([id])? > 0);
        change.dead_letters.1 += gone;
        moved += gone;
    }
    Ok(moved)
}

fn size(job: &Job) -> usize {
    match job {
        Job::Append { envelope, .. } | Job::SetAside { envelope, .. } => {
            envelope.body.len() + ROW_BYTES
        }
        // What deliveries copy was in the spool before.
        Job::Settle { .. } | Job::Letters { .. } | Job::Deliver { .. } | Job::Close { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_hold_the_same_numbers() {
        assert_eq!(runs(vec![]), []);
        assert_eq!(runs(vec![7]), [(7, 7)]);
        assert_eq!(runs(vec![3, 1, 2, 2, 9, 5, 6]), [(1, 3), (5, 6), (9, 9)]);
    }
}
