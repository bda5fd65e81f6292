//! A spool whose file was damaged: by a disk, or by somebody.

use std::{fs, sync::OnceLock};

use alertloop::{
    alert::Source,
    intake::{Encoding, Envelope},
    spool::{Filter, Spool, peek, rescue},
};
use jiff::Timestamp;

const LIMIT: u64 = 1 << 30;

/// The file of a spool with entries and dead letters.
pub fn seed() -> Vec<u8> {
    static SEED: OnceLock<Vec<u8>> = OnceLock::new();
    SEED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        runtime().block_on(async {
            let spool = Spool::open(dir.path(), LIMIT).expect("a spool");
            for n in 0..40 {
                spool.append(envelope(n), None).await.expect("room");
                if n % 4 == 0 {
                    spool.set_aside(envelope(n), format!("reason {n}")).await.expect("room");
                }
            }
            spool.close().await;
        });
        fs::read(dir.path().join("spool.db")).expect("the file")
    })
    .clone()
}

fn envelope(n: usize) -> Envelope {
    Envelope {
        source: Some(Source::OpenSearch),
        received: Timestamp::UNIX_EPOCH,
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body: format!("{{\"alert\": {{\"alert\": \"{n}\"}}}}{}", "x".repeat(n * 50)).into_bytes(),
    }
}

/// It is opened or refused, looked at and rescued, and never believed without its checksum.
pub fn damaged(file: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("spool.db"), file).expect("a file");
    drop(peek::stats(dir.path()));
    drop(rescue::check(dir.path()));
    runtime().block_on(async {
        let Ok(spool) = Spool::open(dir.path(), LIMIT) else { return };
        if let Ok(entries) = spool.next_batch(0, 100, 1 << 20) {
            for entry in entries {
                let body = String::from_utf8_lossy(&entry.envelope.body);
                assert!(
                    body.starts_with("{\"alert\": {\"alert\": \""),
                    "an entry is not whole: {body}"
                );
            }
        }
        drop(spool.dead_letters(&Filter::default(), (0, i64::MAX), 100));
        drop(spool.stats());
        spool.close().await;
    });
    drop(rescue::rescue(dir.path()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}
