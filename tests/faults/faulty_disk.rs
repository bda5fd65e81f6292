//! A disk under the data directory that fails when it is told to: `disk.c` between SQLite and it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// What of the writes that were not synced a power cut leaves.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// Some of them, and of some only a part, as the seed decides.
    Torn(u64),
}

/// A data directory, and what is needed to break it.
pub struct FaultyDisk {
    dir: TempDir,
}

impl FaultyDisk {
    /// A disk that works so far.
    pub fn new() -> Self {
        let disk = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(disk.data()).expect("a data directory");
        disk.fails_with("");
        disk
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The settings of a service whose data directory is on this disk.
    pub fn under(&self, settings: &HashMap<String, String>) -> HashMap<String, String> {
        let mut settings = settings.clone();
        let mut set = |name: &str, path: &Path| {
            settings.insert(name.to_owned(), path.to_str().expect("UTF-8").to_owned());
        };
        set("ALERTLOOP_DATA_DIR", &self.data());
        set("LD_PRELOAD", library());
        set("FAULT_DIR", &self.data());
        set("FAULT_COUNT", &self.path("count"));
        set("FAULT_CONTROL", &self.path("control"));
        settings
    }

    /// And whose power fails at the operation of this number, counted over all its processes.
    pub fn cut_at(
        &self,
        operation: u64,
        unsynced: Unsynced,
        settings: &HashMap<String, String>,
    ) -> HashMap<String, String> {
        let mut settings = self.under(settings);
        settings.insert("FAULT_POWER_CUT_AT".to_owned(), operation.to_string());
        if let Unsynced::Torn(seed) = unsynced {
            settings.insert("FAULT_SEED".to_owned(), seed.to_string());
        }
        settings
    }

    /// How many operations there were, over all processes.
    pub fn operations(&self) -> u64 {
        let count = fs::read_to_string(self.path("count")).expect("a count");
        count.trim().parse().expect("a number")
    }

    /// From now on it fails with this fault of `disk.c`; with none, if it is empty.
    pub fn fails_with(&self, fault: &str) {
        // One write over the old text: at no moment is it half of a word.
        let mut text = [0; 32];
        text[..fault.len()].copy_from_slice(fault.as_bytes());
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.path("control"));
        file.expect("a file").write_all_at(&text, 0).expect("written");
    }

    /// After a power cut: removes what was in memory only.
    pub fn power_is_back(&self) {
        let shared = self.data().join("spool.db-shm");
        if shared.exists() {
            fs::remove_file(shared).expect("removed");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().canonicalize().expect("a directory"); // as SQLite names it
        dir.join(name)
    }
}

/// The library to preload, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library);
        cc.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c"));
        assert!(cc.status().expect("a C compiler").success());
        library
    })
}
