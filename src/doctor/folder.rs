//! Our own side: the data directory, the disk under it, what waits in the spool, and who else on
//! this machine may read it and the files of secrets.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{Report, Setup};
use crate::{
    clock,
    spool::{
        Stats,
        peek::{self, Disk},
    },
};

/// Alerts that wait for longer than this are late: the writer tries again every few seconds.
const LATE_SECONDS: i64 = 300;

/// Looks at the folder, without the lock that `serve` holds on it.
pub(super) fn look(report: &mut Report, setup: &Setup) {
    if !folder(report, &setup.data_dir) {
        return;
    }
    permissions(report, setup);
    let stats = match peek::stats(&setup.data_dir) {
        Ok(stats) => stats.unwrap_or_default(),
        Err(fault) => {
            report.fail("spool", fault.to_string(), "see docs/reliability.md, a damaged spool");
            Stats::default()
        }
    };
    match peek::disk(&setup.data_dir) {
        Ok(disk) => room(report, disk, stats.bytes, setup.spool_max_bytes),
        Err(fault) => {
            report.warn("disk", format!("does not tell its free space: {fault}"), "look with `df`");
        }
    }
    backlog(report, &stats, clock::now());
}

fn folder(report: &mut Report, dir: &Path) -> bool {
    let shown = dir.display();
    let mend = "make ALERTLOOP_DATA_DIR a folder that the user of alertloop can write to";
    if !dir.is_dir() {
        report.fail("data", format!("{shown} is not a folder"), mend);
        return false;
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"doctor").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => report.ok("data", format!("{shown} can be written to")),
        Err(fault) => report.fail("data", format!("{shown} cannot be written to: {fault}"), mend),
    }
    true
}

/// Whether other users of this machine can read the spool or a secret.
fn permissions(report: &mut Report, setup: &Setup) {
    let dir = &setup.data_dir;
    let own = ["intake-token", "spool.db", "spool.db-wal", "spool.db-shm"];
    // Nobody reads a file in a folder that he may not enter.
    let own = own.iter().map(|name| dir.join(name)).filter(|_| is_open_to_others(dir, 0o001));
    let open: Vec<PathBuf> = own
        .chain(setup.secret_files.iter().cloned())
        .filter(|file| is_open_to_others(file, 0o004))
        .collect();
    if open.is_empty() {
        return report.ok("files", "no other user of this machine can read the spool or a secret");
    }
    let list = |files: &[PathBuf]| {
        let shown = files.iter().map(|file| file.display().to_string());
        shown.collect::<Vec<_>>().join(" ")
    };
    let open = list(&open);
    report.warn("files", format!("readable by every user: {open}"), format!("chmod o= {open}"));
}

fn is_open_to_others(path: &Path, bit: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bit != 0)
}

/// Whether the disk bears the spool that the settings allow.
fn room(report: &mut Report, disk: Disk, spool: u64, limit: u64) {
    let usable = disk.free.saturating_sub(disk.reserve);
    let free = size(disk.free);
    if usable == 0 {
        let what = format!("{free} free: alerts are refused (503) until there is more");
        report.fail("disk", what, "make room on the disk of ALERTLOOP_DATA_DIR");
    } else if limit.saturating_sub(spool) == 0 {
        let what = format!("the spool has reached its limit of {}", size(limit));
        report.fail(
            "disk",
            what,
            "let the store take the records, or raise ALERTLOOP_SPOOL_MAX_BYTES",
        );
    } else if usable < limit.saturating_sub(spool) {
        let what = format!("{free} free, and the spool may grow to {}", size(limit));
        let mend = "make room, or set ALERTLOOP_SPOOL_MAX_BYTES to what the disk has";
        report.warn("disk", what, mend);
    } else {
        report.ok("disk", format!("{free} free, enough for a spool of {}", size(limit)));
    }
}

/// What waits, and what cannot be stored.
fn backlog(report: &mut Report, stats: &Stats, now: Timestamp) {
    let age = |since: Option<Timestamp>| since.map_or(0, |since| seconds(since, now));
    match stats.waiting {
        0 => report.ok("spool", "no alert waits"),
        waiting if age(stats.oldest) <= LATE_SECONDS => {
            report.ok("spool", format!("{waiting} alerts wait to be stored"));
        }
        waiting => {
            let oldest = age(stats.oldest);
            let what = format!("{waiting} alerts wait to be stored, the oldest for {oldest} s");
            let mend = "see to the store; alertloop tries again by itself while it runs";
            report.warn("spool", what, mend);
        }
    }
    if stats.dead_letters > 0 {
        let what = match stats.dead_letters {
            1 => "1 alert cannot be stored as it is".to_owned(),
            many => format!("{many} alerts cannot be stored as they are"),
        };
        report.warn("letters", what, "look at them with `alertloop dead-letters list`");
    }
}

fn seconds(since: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(since).as_secs()
}

/// A size for people, such as `1.5 GiB`.
fn size(bytes: u64) -> String {
    let (mut whole, mut rest, mut units) = (bytes, 0, ["B", "KiB", "MiB", "GiB", "TiB"].iter());
    let mut unit = units.next();
    while whole >= 1_024 {
        let Some(next) = units.next() else { break };
        (rest, whole, unit) = (whole % 1_024, whole / 1_024, Some(next));
    }
    format!("{whole}.{} {}", rest * 10 / 1_024, unit.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn a_folder_is_tried_by_writing_to_it() {
        let dir = tempfile::tempdir().unwrap();
        for (path, want) in
            [(dir.path().to_owned(), State::Ok), (dir.path().join("no"), State::Fail)]
        {
            let mut report = Report::default();
            folder(&mut report, &path);
            assert_eq!(report.findings[0].state, want);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the doctor leaves nothing");
    }

    #[test]
    fn a_file_that_every_user_can_read_is_told_with_the_chmod() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let (spool, secret) = (data.join("spool.db"), dir.path().join("secret"));
        for file in [&spool, &secret] {
            fs::write(file, "x").unwrap();
        }
        for (folder, own, other, want) in [
            (0o700, 0o644, 0o600, ""),
            (0o755, 0o600, 0o640, ""),
            (0o755, 0o644, 0o600, "spool.db"),
            (0o700, 0o600, 0o644, "secret"),
        ] {
            set(&data, folder);
            set(&spool, own);
            set(&secret, other);
            let setup = Setup {
                data_dir: data.clone(),
                secret_files: vec![secret.clone()],
                ..Setup::for_tests()
            };
            let mut report = Report::default();
            permissions(&mut report, &setup);
            let mend = report.findings[0].mend.clone().unwrap_or_default();
            assert_eq!(mend.starts_with("chmod o= "), !want.is_empty(), "{mend}");
            assert!(mend.ends_with(want), "{mend}");
        }
    }

    #[test]
    fn the_disk_is_judged_by_what_the_spool_may_need() {
        const GIB: u64 = 1 << 30;
        for (free, spool, limit, state, text) in [
            (20 * GIB, 0, 10 * GIB, State::Ok, "20.0 GiB free, enough for a spool of 10.0 GiB"),
            (5 * GIB + GIB / 2, 0, 10 * GIB, State::Warn, "5.5 GiB free, and the spool may grow"),
            (5 * GIB, 6 * GIB, 10 * GIB, State::Ok, "enough"),
            (60 << 20, 0, 10 * GIB, State::Fail, "60.0 MiB free: alerts are refused"),
            (20 * GIB, 10 * GIB, 10 * GIB, State::Fail, "has reached its limit"),
        ] {
            let mut report = Report::default();
            room(&mut report, Disk { free, reserve: 64 << 20 }, spool, limit);
            let found = &report.findings[0];
            assert_eq!(found.state, state, "{found:?}");
            assert!(found.what.contains(text), "{found:?}");
        }
    }

    #[test]
    fn what_waits_is_late_only_after_some_minutes() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (waiting, age, dead_letters, want) in [
            (0, 0, 0, vec![State::Ok]),
            (3, 10, 0, vec![State::Ok]),
            (3, 301, 0, vec![State::Warn]),
            (0, 0, 2, vec![State::Ok, State::Warn]),
        ] {
            let oldest =
                (waiting > 0).then(|| Timestamp::from_second(1_800_000_000 - age).unwrap());
            let stats = Stats { waiting, oldest, dead_letters, ..Stats::default() };
            let mut report = Report::default();
            backlog(&mut report, &stats, now);
            let found: Vec<_> = report.findings.iter().map(|finding| finding.state).collect();
            assert_eq!(found, want);
        }
    }
}
