//! The disk answers with errors, is full, or cannot be written.

use std::{fs, path::Path, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    effort,
    faulty_disk::{FaultyDisk, Unsynced},
    ledger::{Ledger, alert},
    report, store,
    support::{Answer, Process, Proxy, Store, TOKEN, settings, skip},
    waiting::{drained, readiness, until},
};

const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: u32 = 4;
/// So many answers are enough to see that it is so.
const SOME: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_refused_while_a_write_fails() {
    fails_and_works_again(&store!(), "eio-write", "EIO from write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_refused_while_a_sync_fails() {
    fails_and_works_again(&store!(), "eio-fsync", "EIO from fsync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_refused_while_the_quota_is_used_up() {
    fails_and_works_again(&store!(), "enospc", "ENOSPC from write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_refused_while_the_disk_is_read_only() {
    fails_and_works_again(&store!(), "erofs", "EROFS from write").await;
}

/// Under load it fails several times; once more when no alert comes that could show that it works.
async fn fails_and_works_again(store: &Store, fault: &str, how: &str) {
    store.make_template().await;
    let disk = FaultyDisk::new();
    let process = Process::serve(&disk.under(&settings(store, &disk.data())));
    let ledger = Ledger::new(&[process.url("")]);
    let flood = ledger.flood(CONNECTIONS, None);
    let times = effort::times(3, 20);
    for _ in 0..times {
        accepts(&ledger).await;
        disk.fails_with(fault);
        refuses(&process, &ledger).await;
        disk.fails_with("");
    }
    accepts(&ledger).await;
    flood.end().await;
    assert!(drained(&process, PATIENCE).await, "it stays");
    disk.fails_with(fault);
    assert_eq!(ledger.send().await, 503);
    disk.fails_with("");
    ready(&process).await;
    assert_eq!(ledger.send().await, 202);

    assert!(drained(&process, PATIENCE).await, "it stays");
    let verdict = ledger.settle(store, PATIENCE).await;
    let refused = ledger.answers().get(&503).copied().unwrap_or_default();
    report::row("Disk error", how, u64::from(times) + 1, &verdict, &format!("{refused} refused"));
    verdict.must_hold();
    assert!(ledger.answers().keys().eq(&[202, 503]), "{:?}", ledger.answers());
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_failed_makes_no_later_acknowledgement_false() {
    let store = store!();
    store.make_template().await;
    let proxy = Proxy::start(&store).await;
    let ledger = Ledger::new(&[String::new()]);
    let times = effort::times(6, 40);
    for turn in 0..times {
        let disk = FaultyDisk::new();
        let mut settings = settings(&store, &disk.data());
        settings.insert("OPENSEARCH_URL".to_owned(), proxy.url());
        let unsynced = if turn % 2 == 0 {
            Unsynced::Lost
        } else {
            Unsynced::Torn(rand::random::<u32>().into())
        };
        println!("{unsynced:?}");
        proxy.cut(); // what is acknowledged stays on the disk
        let process = Process::serve(&disk.cut_at(0, unsynced, &settings));
        ledger.redirect(&[process.url("")]);
        let flood = ledger.flood(CONNECTIONS, None);
        for _ in 0..2 {
            accepts(&ledger).await;
            disk.fails_with("eio-fsync");
            refuses(&process, &ledger).await;
            disk.fails_with("");
        }
        accepts(&ledger).await;
        disk.fails_with("power-cut");
        assert_eq!(process.wait().code(), Some(137));
        flood.end().await;
        disk.power_is_back();
        proxy.mend();
        let process = Process::serve(&settings);
        assert!(drained(&process, PATIENCE).await, "it stays");
    }
    let verdict = ledger.settle(&store, PATIENCE).await;
    let how = "EIO from fsync, which drops what was to be synced; then a power cut";
    report::row("Disk error and power cut", how, times.into(), &verdict, "");
    verdict.must_hold();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_alerts_until_there_is_room() {
    let store = store!();
    let Some(disk) = Tmpfs::mount("4m") else {
        return skip("a file system can be mounted by root only");
    };
    store.make_template().await;
    let proxy = Proxy::start(&store).await;
    proxy.cut();
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 1 << 20]).expect("a filler");
    let mut settings = settings(&store, &disk.path().join("data"));
    settings.insert("OPENSEARCH_URL".to_owned(), proxy.url());
    let process = Process::serve(&settings);
    let ledger = Ledger::heavy(&[process.url("")], 10_000);
    let flood = ledger.flood(CONNECTIONS, None);

    refuses(&process, &ledger).await;
    fs::remove_file(&filler).expect("removed");
    accepts(&ledger).await;
    refuses(&process, &ledger).await;
    flood.end().await;
    // Killed and started again on the full disk.
    process.kill();
    let process = Process::serve(&settings);
    ledger.redirect(&[process.url("")]);
    proxy.mend();
    assert!(drained(&process, PATIENCE).await, "it stays");
    ready(&process).await;
    assert_eq!(ledger.send().await, 202);
    assert!(drained(&process, PATIENCE).await, "it stays");
    let verdict = ledger.settle(&store, PATIENCE).await;
    report::row("Disk full", "a real file system of 4 MiB, the store away", 2, &verdict, "");
    verdict.must_hold();
    assert!(ledger.answers().keys().eq(&[202, 503]), "{:?}", ledger.answers());
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_stops_the_start_and_keeps_what_it_has() {
    let store = store!();
    let Some(disk) = Tmpfs::mount("32m") else {
        return skip("a file system can be mounted by root only");
    };
    store.make_template().await;
    let proxy = Proxy::start(&store).await;
    proxy.cut();
    let mut settings = settings(&store, &disk.path().join("data"));
    settings.insert("OPENSEARCH_URL".to_owned(), proxy.url());
    let process = Process::serve(&settings);
    let ledger = Ledger::new(&[process.url("")]);
    for _ in 0..SOME {
        assert_eq!(ledger.send().await, 202);
    }
    process.kill();
    disk.remount("ro");
    let Err((status, log)) = Process::try_serve(&settings) else { panic!("it starts") };
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("make it writable"), "{log}");
    disk.remount("rw");
    proxy.mend();
    let process = Process::serve(&settings);
    assert!(drained(&process, PATIENCE).await, "it stays");
    let verdict = ledger.settle(&store, PATIENCE).await;
    report::row("Disk read-only", "a real file system, at the start", 1, &verdict, "");
    verdict.must_hold();
}

/// Waits until alerts are acknowledged.
async fn accepts(ledger: &Ledger) {
    let before = ledger.acknowledged();
    until("alerts are accepted", PATIENCE, async || ledger.acknowledged() > before + SOME).await;
}

/// Waits until alerts are refused, and looks at what is said.
async fn refuses(process: &Process, ledger: &Ledger) {
    let refused = || ledger.answers().get(&503).copied().unwrap_or_default();
    let before = refused();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let all_is_said = async || {
        let post = client.post(process.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
        let answer = Answer::of(post.body(alert("refused"))).await;
        let (ready, says) = readiness(process).await.expect("an answer");
        // A disk that is nearly full takes a little now and then.
        if answer.status == 202 || ready == 200 || refused() < before + SOME as u64 {
            return false;
        }
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{answer:?}");
        assert_eq!((ready, &says["spool"]["writable"]), (503, &false.into()), "{says}");
        for says in [&answer.json["error"], &says["spool"]["trouble"]] {
            assert!(says.as_str().is_some_and(|says| says.contains("disk")), "{says}");
        }
        true
    };
    until("alerts are refused", PATIENCE, all_is_said).await;
}

/// Waits until it says that it is ready.
async fn ready(process: &Process) {
    let is_ready = async || readiness(process).await.is_some_and(|(status, _)| status == 200);
    until("it is ready again", PATIENCE, is_ready).await;
}

/// A file system in memory, of a size.
struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// Mounts one; `None` for who may not.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        mounted.then_some(Self { dir })
    }

    fn remount(&self, mode: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{mode}")]).arg(self.path());
        assert!(mount.status().expect("mount").success());
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process may still have files of it.
        Command::new("umount").arg("-l").arg(self.path()).status().ok();
    }
}
