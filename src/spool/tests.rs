//! The spool against a slow, obvious model, over crashes and reopenings.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::intake::Encoding;

pub const LIMIT: u64 = 1 << 30;

pub fn envelope(body: &[u8]) -> Envelope {
    Envelope {
        source: None,
        received: Timestamp::from_millisecond(1_800_000_000_123).unwrap(),
        content_type: "application/json".to_owned(),
        encoding: Encoding::Gzip,
        body: body.to_vec(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn stored(id: EntryId) -> Settlement {
    Settlement { id, refused: None }
}

pub async fn append(spool: &Spool, body: &[u8]) -> EntryId {
    spool.append(envelope(body), None).await.unwrap()
}

fn letters(spool: &Spool) -> Vec<DeadLetter> {
    spool.dead_letters(&Filter::default(), (0, i64::MAX), 1_000).unwrap().letters
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_reopening_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let first = append(&spool, b"one\0\xff").await;
    append(&spool, b"").await;
    spool.settle(vec![stored(first)]).await.unwrap();
    spool.close().await;
    drop(spool);
    let log = dir.path().join("spool.db-wal").metadata().map_or(0, |log| log.len());
    assert_eq!(log, 0, "the one file holds everything");
    let mode = dir.path().join("spool.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let entries = spool.next_batch(0, 10, 1 << 20).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].envelope, envelope(b""));
    assert!(append(&spool, b"x").await > entries[0].id, "no number is used twice");
    assert_eq!(spool.stats().unwrap().waiting, 2);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let second = Spool::open(dir.path(), LIMIT).map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    spool.close().await;
    drop(spool);
    Spool::open(dir.path(), LIMIT).unwrap();
}

#[tokio::test]
async fn a_batch_keeps_its_bounds_and_begins_where_the_last_ended() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    for size in [10, 10, 10, 1_000, 10] {
        append(&spool, &vec![b'x'; size]).await;
    }
    let sizes = |after, count, bytes| -> Vec<usize> {
        let entries = spool.next_batch(after, count, bytes).unwrap();
        entries.iter().map(|entry| entry.envelope.body.len()).collect()
    };
    assert_eq!(sizes(0, 2, 1_000), [10, 10]);
    assert_eq!(sizes(2, 9, 100), [10, 1_000], "one past the bound, so that it always goes on");
    assert_eq!(sizes(4, 9, 100), [10]);
    assert!(sizes(5, 9, 100).is_empty());
    let ids: Vec<_> = spool.entries(&[5, 9, 1]).unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [1, 5]);
}

#[tokio::test]
async fn what_is_refused_becomes_a_dead_letter_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let (bad, good) = (append(&spool, b"bad").await, append(&spool, b"good").await);
    let refused = Settlement { id: bad, refused: Some("no alert".to_owned()) };
    spool.settle(vec![refused.clone(), stored(good)]).await.unwrap();
    spool.settle(vec![refused]).await.unwrap();
    spool.set_aside(envelope(b"head"), "too large".to_owned()).await.unwrap();
    let letters = self::letters(&spool);
    let told: Vec<_> = letters.iter().map(|l| (l.reason.as_str(), l.bytes, l.attempts)).collect();
    assert_eq!(told, [("no alert", 3, 1), ("too large", 4, 0)]);
    assert_eq!(spool.dead_letter_body(letters[0].id).unwrap().unwrap(), b"bad");
    let stats = spool.stats().unwrap();
    assert_eq!((stats.waiting, stats.dead_letters, stats.oldest), (0, 2, None));
    assert_eq!(stats.oldest_dead_letter, Some(envelope(b"").received));
}

#[tokio::test]
async fn a_full_spool_refuses_more_but_still_empties() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), 1 << 20).unwrap();
    let mut ids = Vec::new();
    let refusal = loop {
        match spool.append(envelope(&b"x".repeat(100_000)), None).await {
            Ok(id) => ids.push(id),
            Err(refusal) => break refusal,
        }
        assert!(ids.len() < 12, "it has a limit");
    };
    assert!(matches!(refusal, AppendError::Full { .. }), "{refusal}");
    let trouble = spool.trouble().unwrap();
    assert!(trouble.contains("full"), "{trouble}");
    assert_eq!(spool.stats().unwrap().waiting, ids.len() as u64);
    spool.settle(ids.into_iter().map(stored).collect()).await.unwrap();
    append(&spool, b"room again").await;
    assert_eq!(spool.trouble(), None);
}

#[tokio::test]
async fn a_dead_letter_can_be_replayed_or_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let refused = |id| Settlement { id, refused: Some("no".to_owned()) };
    for body in [b"one", b"two"] {
        let id = append(&spool, body).await;
        spool.settle(vec![refused(id)]).await.unwrap();
    }
    spool.set_aside(envelope(b"head"), "too large".to_owned()).await.unwrap();
    spool.appended().await;
    assert_eq!(spool.replay(vec![1, 3, 9]).await.unwrap(), 1, "a head is no body");
    spool.appended().await;
    let again = spool.next_batch(0, 9, 1 << 20).unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].envelope, again[0].is_intact), (&envelope(b"one"), true));
    assert!(again[0].id > 2, "it goes to the end");
    spool.settle(vec![refused(again[0].id)]).await.unwrap();
    let told: Vec<_> = letters(&spool).iter().map(|l| (l.id, l.attempts)).collect();
    assert_eq!(told, [(2, 1), (3, 0), (4, 2)]);
    assert_eq!(spool.drop_letters(vec![2, 3, 4, 5]).await.unwrap(), 3);
    let stats = spool.stats().unwrap();
    assert_eq!((stats.waiting, stats.dead_letters), (0, 0));
}

#[tokio::test]
async fn a_body_that_the_disk_has_changed_is_told_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let mark = b"a body that can be found in the file";
    append(&spool, mark).await;
    append(&spool, b"another").await;
    spool.close().await;
    drop(spool);
    let file = dir.path().join("spool.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let place = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
    bytes[place] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let intact: Vec<_> =
        spool.next_batch(0, 9, 1 << 20).unwrap().iter().map(|entry| entry.is_intact).collect();
    assert_eq!(intact, [false, true]);
}

#[tokio::test]
async fn a_file_of_format_1_is_migrated_with_all_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy("tests/captured/spool-format-1.db", dir.path().join("spool.db")).unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let entries = spool.next_batch(0, 9, 1 << 20).unwrap();
    let bodies: Vec<_> = entries.iter().map(|entry| entry.envelope.body.as_slice()).collect();
    assert_eq!(bodies[0], b"waiting\0\xff");
    assert_eq!((bodies.len(), bodies[1].len()), (2, 36));
    assert!(entries.iter().all(|entry| entry.is_intact), "what has no checksum is believed");
    assert_eq!(entries[0].envelope.encoding, Encoding::Gzip);
    let letters = self::letters(&spool);
    let told: Vec<_> = letters.iter().map(|l| (l.reason.as_str(), l.attempts)).collect();
    assert_eq!((told[0].0.starts_with("not JSON"), told[0].1, told[1].1), (true, 1, 0));
    assert_eq!(spool.replay(vec![letters[0].id]).await.unwrap(), 1);
    assert!(append(&spool, b"new").await > 4, "no number is used twice");
}

#[tokio::test]
async fn a_file_of_format_2_is_migrated_and_what_waited_in_it_runs_no_callback() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy("tests/captured/spool-format-2.db", dir.path().join("spool.db")).unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let entries = spool.next_batch(0, 9, 1 << 20).unwrap();
    assert!(entries.iter().all(|entry| entry.is_intact));
    assert_eq!((entries.len(), entries[1].envelope.body.as_slice()), (2, &b"not JSON at all"[..]));
    assert_eq!(letters(&spool)[0].attempts, 0);
    assert_eq!(begin(&spool).await, 2, "it came before there was a callback");
    assert!(spool.undispatched(2, 9, 1 << 20).unwrap().is_empty());
    let next = append(&spool, b"new").await;
    let undispatched = spool.undispatched(2, 9, 1 << 20).unwrap();
    assert_eq!(undispatched.iter().map(|entry| entry.id).collect::<Vec<_>>(), [next]);
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

async fn begin(spool: &Spool) -> u64 {
    let callbacks = vec!["pager".to_owned(), "mail".to_owned()];
    spool.deliver(DeliveryChange::Begin { callbacks, now: now() }).await.unwrap()
}

fn due(callback: &str) -> NewDelivery {
    NewDelivery {
        callback: callback.to_owned(),
        action: "engaged",
        state: "pending",
        rule: "Beacons".to_owned(),
        severity: 60,
        ..NewDelivery::default()
    }
}

/// What is due for an entry up to that number.
async fn dispatch(spool: &Spool, upto: EntryId, callbacks: &[&str]) {
    let due = callbacks.iter().map(|name| due(name)).collect();
    let notices = vec![(envelope(b"the message"), due)];
    let dispatched = Dispatched { upto, now: now(), notices, ..Dispatched::default() };
    spool.deliver(DeliveryChange::Dispatch(dispatched)).await.unwrap();
}

async fn run(spool: &Spool, ids: &[i64]) -> u64 {
    let configuration = r#"{"type":"http"}"#.to_owned();
    let change = DeliveryChange::Run { ids: ids.to_vec(), configuration, now: now() };
    spool.deliver(change).await.unwrap()
}

async fn finish(spool: &Spool, id: i64, outcome: &'static str, again: Option<Timestamp>) {
    let finished = Finished {
        id,
        now: now(),
        took: 7,
        outcome,
        status: Some(200),
        answer: "said".to_owned(),
        reason: (outcome != "delivered").then(|| "why".to_owned()),
        again,
    };
    spool.deliver(DeliveryChange::Finish(finished)).await.unwrap();
}

fn states(spool: &Spool) -> Vec<(i64, &'static str, u64)> {
    let all = spool.deliveries(&DeliveryFilter::default(), i64::MAX, 99).unwrap();
    all.iter().map(|one| (one.id, one.state.name(), one.attempts)).collect()
}

#[tokio::test]
async fn an_entry_that_is_stored_before_it_was_decided_on_stays_for_the_decision() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    append(&spool, b"before").await;
    spool.settle(vec![stored(1)]).await.unwrap();
    assert_eq!(begin(&spool).await, 1);
    let first = append(&spool, b"decided on").await;
    let second = append(&spool, b"stored too soon").await;
    let third = append(&spool, b"refused too soon").await;
    let fourth = append(&spool, b"waits").await;
    dispatch(&spool, first, &["pager"]).await;
    let refused = Settlement { id: third, refused: Some("no".to_owned()) };
    spool.settle(vec![stored(first), stored(second), refused]).await.unwrap();
    spool.close().await;
    drop(spool);
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    assert_eq!(begin(&spool).await, 2, "it goes on where it was");
    let left = spool.undispatched(first, 9, 1 << 20).unwrap();
    let left: Vec<_> =
        left.iter().map(|entry| (entry.id, entry.envelope.body.as_slice())).collect();
    assert_eq!(
        left,
        [(second, &b"stored too soon"[..]), (third, b"refused too soon"), (fourth, b"waits")]
    );
    assert_eq!(spool.next_batch(0, 9, 1 << 20).unwrap().len(), 1, "the writer has one to store");
    dispatch(&spool, fourth, &[]).await;
    assert!(spool.undispatched(first, 9, 1 << 20).unwrap().len() == 1, "the one that waits");
    assert!(spool.undispatched(fourth, 9, 1 << 20).unwrap().is_empty());
}

#[tokio::test]
async fn without_callbacks_nothing_is_kept_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    let one = append(&spool, b"one").await;
    spool.settle(vec![stored(one)]).await.unwrap();
    assert_eq!(spool.undispatched(0, 9, 1 << 20).unwrap().len(), 1);
    dispatch(&spool, 0, &["pager"]).await;
    spool.deliver(DeliveryChange::End { now: now() }).await.unwrap();
    assert_eq!(states(&spool), [(1, "failed", 0)], "and what waits for one has failed");
    assert!(spool.undispatched(0, 9, 1 << 20).unwrap().is_empty());
    let two = append(&spool, b"two").await;
    spool.settle(vec![stored(two)]).await.unwrap();
    assert!(spool.undispatched(0, 9, 1 << 20).unwrap().is_empty());
    assert_eq!(begin(&spool).await, 2);
}

#[tokio::test]
async fn a_delivery_is_run_until_it_is_delivered_or_given_up_and_each_try_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    append(&spool, b"x").await;
    dispatch(&spool, 1, &["pager", "mail"]).await;
    let later = now().checked_add(std::time::Duration::from_secs(9)).unwrap();
    assert_eq!(spool.due_deliveries("pager", now(), 9).unwrap().len(), 1);
    assert_eq!(run(&spool, &[1, 2, 77]).await, 2);
    assert_eq!(run(&spool, &[1]).await, 0, "it runs already");
    assert!(spool.due_deliveries("pager", later, 9).unwrap().is_empty());
    finish(&spool, 1, "again", Some(later)).await;
    finish(&spool, 2, "delivered", None).await;
    assert_eq!(states(&spool), [(2, "delivered", 1), (1, "pending", 1)]);
    assert!(spool.due_deliveries("pager", now(), 9).unwrap().is_empty());
    assert_eq!(spool.next_due("pager").unwrap(), Some(later));
    assert_eq!(spool.next_due("mail").unwrap(), None);
    assert_eq!(spool.due_deliveries("pager", later, 9).unwrap()[0].attempts, 1);
    run(&spool, &[1]).await;
    finish(&spool, 1, "refused", None).await;
    let (one, runs) = spool.delivery(1).unwrap().unwrap();
    assert_eq!((one.state, one.reason.as_deref()), (DeliveryState::Failed, Some("why")));
    let told: Vec<_> =
        runs.iter().map(|run| (run.attempt, run.outcome.as_deref(), run.took)).collect();
    assert_eq!(told, [(1, Some("again"), Some(7)), (2, Some("refused"), Some(7))]);
    assert_eq!(runs[0].configuration, r#"{"type":"http"}"#);

    let replay = |which| DeliveryChange::Replay { which, callbacks: None, now: later };
    let none = DeliveryChange::Replay {
        which: Replay::All,
        callbacks: Some(vec!["mail".to_owned()]),
        now: later,
    };
    assert_eq!(spool.deliver(none).await.unwrap(), 0, "nobody would run it");
    assert_eq!(spool.deliver(replay(Replay::Callback("mail".to_owned()))).await.unwrap(), 0);
    assert_eq!(spool.deliver(replay(Replay::All)).await.unwrap(), 1);
    assert_eq!(spool.deliver(replay(Replay::Ids(vec![1, 2, 3]))).await.unwrap(), 1, "1 is pending");
    assert_eq!(states(&spool), [(2, "pending", 1), (1, "pending", 2)]);
    assert_eq!(spool.due_deliveries("pager", later, 9).unwrap()[0].since, later);
    let stats = spool.delivery_stats(None).unwrap();
    assert_eq!((stats.pending, stats.failed, stats.oldest), (2, 0, Some(now())));
    let stats = spool.delivery_stats(Some("mail")).unwrap();
    assert_eq!((stats.pending, stats.failed, stats.oldest), (1, 0, Some(now())));
}

#[tokio::test]
async fn a_clock_that_is_set_back_puts_nothing_off() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    append(&spool, b"x").await;
    dispatch(&spool, 1, &["pager"]).await;
    let earlier = |minutes: i64| now().checked_sub(SignedDuration::from_mins(minutes)).unwrap();
    assert!(spool.due_deliveries("pager", earlier(60), 9).unwrap().is_empty(), "a usual wait");
    let due = spool.due_deliveries("pager", earlier(24 * 60), 9).unwrap();
    assert_eq!(due.iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_run_that_a_crash_cut_off_runs_again_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    append(&spool, b"x").await;
    dispatch(&spool, 1, &["pager", "gone"]).await;
    run(&spool, &[1]).await;
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let spool = Spool::open(crashed.path(), LIMIT).unwrap();
    begin(&spool).await;
    assert_eq!(states(&spool), [(2, "failed", 0), (1, "pending", 1)]);
    let (gone, _) = spool.delivery(2).unwrap().unwrap();
    assert_eq!(gone.reason.as_deref(), Some("no enabled callback has its name any more"));
    let (_, runs) = spool.delivery(1).unwrap().unwrap();
    assert_eq!(runs[0].outcome.as_deref(), Some("interrupted"));
    run(&spool, &[1]).await;
    finish(&spool, 1, "delivered", None).await;
    assert_eq!(states(&spool), [(2, "failed", 0), (1, "delivered", 2)]);
    assert_eq!(spool.delivery(1).unwrap().unwrap().1.len(), 2);
}

#[tokio::test]
async fn only_so_many_tries_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    append(&spool, b"x").await;
    dispatch(&spool, 1, &["pager"]).await;
    for _ in 0..25 {
        run(&spool, &[1]).await;
        finish(&spool, 1, "again", Some(now())).await;
    }
    let (one, runs) = spool.delivery(1).unwrap().unwrap();
    let kept = (runs.first().map(|run| run.attempt), runs.last().map(|run| run.attempt));
    assert_eq!((one.attempts, runs.len(), kept), (25, 20, (Some(6), Some(25))));
}

#[tokio::test]
async fn what_has_ended_is_kept_for_its_time_and_within_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    append(&spool, b"x").await;
    for _ in 0..4 {
        dispatch(&spool, 1, &["pager", "mail"]).await;
    }
    for id in [1, 2, 3, 4, 5] {
        run(&spool, &[id]).await;
        finish(&spool, id, "delivered", None).await;
    }
    let prune =
        async |before, bytes| spool.deliver(DeliveryChange::Prune { before, bytes }).await.unwrap();
    let notices =
        || [1, 2, 3, 4].into_iter().filter(|id| spool.notice(*id).unwrap().is_some()).count();
    assert_eq!(prune(now(), u64::MAX).await, 0, "not older than this");
    // Each takes a little over 1 KiB.
    assert_eq!(prune(Timestamp::MIN, 7_300).await, 1);
    assert_eq!((states(&spool).len(), notices()), (7, 4), "one message is still needed");
    let later = now().checked_add(std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(prune(later, u64::MAX).await, 4);
    let left = states(&spool);
    assert_eq!(left, [(8, "pending", 0), (7, "pending", 0), (6, "pending", 0)]);
    assert_eq!(notices(), 2);
    assert_eq!(prune(Timestamp::MIN, 0).await, 0, "what is to be run stays, whatever it takes");
}

#[tokio::test]
async fn deliveries_are_found_by_callback_state_and_alert() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    begin(&spool).await;
    let one = NewDelivery {
        record: Some(("i".to_owned(), "261106-A1".to_owned())),
        alert: Some("A1".to_owned()),
        ..due("pager")
    };
    // Its alert had no id then; a later message told it.
    let two = NewDelivery { episode: Some(5), ..due("mail") };
    let held = NewDelivery { state: "held", reason: Some("grace".to_owned()), ..due("pager") };
    let dispatched = Dispatched {
        now: now(),
        notices: vec![(envelope(b"m"), vec![one, two, held])],
        episodes: vec![(5, Some((Some("A2".to_owned()), "{}".to_owned())))],
        messages: vec![[1; 16], [2; 16], [3; 16]],
        most_messages: 2,
        ..Dispatched::default()
    };
    spool.deliver(DeliveryChange::Dispatch(dispatched)).await.unwrap();
    let found = |callback: Option<&str>, state, alert: Option<&str>| {
        let (callback, alert) = (callback.map(str::to_owned), alert.map(str::to_owned));
        let filter = DeliveryFilter { callback, state, alert };
        let found = spool.deliveries(&filter, i64::MAX, 9).unwrap();
        found.iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(found(None, None, None), [3, 2, 1]);
    assert_eq!(found(Some("pager"), None, None), [3, 1]);
    assert_eq!(found(None, Some(DeliveryState::Held), None), [3]);
    assert_eq!(found(None, None, Some("A1")), [1]);
    assert_eq!(found(None, None, Some("261106-A1")), [1]);
    assert_eq!(found(None, None, Some("A2")), [2]);
    assert_eq!(spool.deliveries(&DeliveryFilter::default(), 3, 1).unwrap()[0].id, 2);
    let remembered = spool.remembered().unwrap();
    assert_eq!(remembered.episodes, [(5, "{}".to_owned())]);
    assert_eq!((remembered.last_episode, remembered.messages), (5, vec![[2; 16], [3; 16]]));
}

#[tokio::test]
async fn a_backlog_gives_its_space_back_when_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let size = || {
        let of = |name| dir.path().join(name).metadata().map_or(0, |file| file.len());
        of("spool.db") + of("spool.db-wal")
    };
    let body = vec![b'x'; 1 << 20];
    let mut ids = Vec::new();
    for _ in 0..48 {
        ids.push(append(&spool, &body).await);
    }
    let kept = ids.split_off(40);
    let full = size();
    assert!(full > 48 << 20);
    // First what needs moving, then all of it.
    for (gone, most) in [(ids, 40 << 20), (kept, 4 << 20)] {
        spool.settle(gone.into_iter().map(stored).collect()).await.unwrap();
        let begun = std::time::Instant::now();
        while size() > most {
            assert!(begun.elapsed().as_secs() < 20, "{} of {full} bytes are left", size());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        append(&spool, b"it goes on").await;
    }
}

#[tokio::test]
async fn who_watches_an_entry_learns_its_fate() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), LIMIT).unwrap();
    let (watch, fate) = oneshot::channel();
    let id = spool.append(envelope(b"x"), Some(watch)).await.unwrap();
    spool.tell(id, || Fate::SetAside("why".to_owned()));
    assert_eq!(fate.await, Ok(Fate::SetAside("why".to_owned())));
    let (watch, fate) = oneshot::channel();
    let id = spool.append(envelope(b"x"), Some(watch)).await.unwrap();
    spool.unwatch(id);
    spool.tell(id, || Fate::SetAside("why".to_owned()));
    assert!(fate.await.is_err());
    assert!(spool.watchers().is_empty());
}

#[tokio::test]
async fn appends_from_many_tasks_are_each_kept_once_and_wake_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(dir.path(), LIMIT).unwrap());
    let tasks: Vec<_> = (0..200_u32)
        .map(|n| {
            let spool = Arc::clone(&spool);
            #[expect(clippy::disallowed_methods, reason = "a test has no task tracker")]
            tokio::spawn(async move { append(&spool, &n.to_be_bytes()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    spool.appended().await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    let mut bodies: Vec<_> = spool
        .next_batch(0, 1_000, 1 << 20)
        .unwrap()
        .into_iter()
        .map(|entry| entry.envelope.body)
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..200_u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
}

/// What may happen to a spool.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    /// Settles one of those that are there, stored or refused.
    Settle(prop::sample::Index, bool),
    /// One of the dead letters becomes an entry again, or is dropped.
    Move(prop::sample::Index, bool),
    /// The process ends, in order or by a crash that leaves the file as it is at that moment.
    Reopen {
        crash: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Append),
        3 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, refused)| Step::Settle(i, refused)),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, replay)| Step::Move(i, replay)),
        1 => any::<bool>().prop_map(|crash| Step::Reopen { crash }),
    ]
}

/// Copies the files as a crash would leave them.
fn copy(from: &Path, to: &Path) {
    for name in ["spool.db", "spool.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).ok();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_spool_holds_what_the_model_holds(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(async {
            let mut dir = tempfile::tempdir().unwrap();
            let mut spool = Spool::open(dir.path(), LIMIT).unwrap();
            let mut waiting: BTreeMap<EntryId, Vec<u8>> = BTreeMap::new();
            let mut dead: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(body) => {
                        let id = append(&spool, &body).await;
                        assert!(waiting.last_key_value().is_none_or(|(last, _)| id > *last));
                        waiting.insert(id, body);
                    }
                    Step::Settle(index, refused) if !waiting.is_empty() => {
                        let id = *index.get(&waiting.keys().copied().collect::<Vec<_>>());
                        let refused = refused.then(|| "why".to_owned());
                        let body = waiting.remove(&id).unwrap();
                        dead.extend(refused.as_ref().map(|_| body));
                        spool.settle(vec![Settlement { id, refused }]).await.unwrap();
                    }
                    Step::Move(index, replay) if !dead.is_empty() => {
                        let place = index.index(dead.len());
                        let body = dead.remove(place);
                        let id = letters(&spool)[place].id;
                        if replay {
                            assert_eq!(spool.replay(vec![id]).await.unwrap(), 1);
                            let last = spool.next_batch(0, usize::MAX, usize::MAX).unwrap().pop();
                            waiting.insert(last.unwrap().id, body);
                        } else {
                            assert_eq!(spool.drop_letters(vec![id]).await.unwrap(), 1);
                        }
                    }
                    Step::Settle(..) | Step::Move(..) => {}
                    Step::Reopen { crash } => {
                        let next = tempfile::tempdir().unwrap();
                        if crash {
                            copy(dir.path(), next.path());
                        }
                        spool.close().await;
                        drop(spool);
                        if crash {
                            dir = next;
                        }
                        spool = Spool::open(dir.path(), LIMIT).unwrap();
                    }
                }
                let have = spool.next_batch(0, usize::MAX, usize::MAX).unwrap();
                let have: BTreeMap<_, _> = have.into_iter().map(|e| (e.id, e.envelope.body)).collect();
                assert_eq!(have, waiting);
                let letters = self::letters(&spool);
                let letters: Vec<_> = letters.iter().map(|l| spool.dead_letter_body(l.id).unwrap().unwrap()).collect();
                assert_eq!(letters, dead);
                let stats = spool.stats().unwrap();
                assert_eq!((stats.waiting, stats.dead_letters), (waiting.len() as u64, dead.len() as u64));
            }
        });
    }
}
