//! Good input to begin with: what the real senders sent (`tests/captured`, and the corpus where it is
//! there), and the files in `tests/fuzz/seeds`, a folder for each kind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::targets::{Target, bodies, spool};

/// The seeds of a target.
pub fn of(target: &Target) -> Vec<Vec<u8>> {
    match target.kind {
        "spool" => vec![spool::seed()],
        "packed" => of_kind("bodies").iter().map(|seed| bodies::packed(seed)).collect(),
        kind => of_kind(kind),
    }
}

/// The files of the repository that are of this kind.
fn of_kind(kind: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = in_folder(&root.join("tests/fuzz/seeds").join(kind), &["seed"]);
    match kind {
        "bodies" => {
            found.extend(in_folder(&root.join("tests/captured"), &["json"]));
            let corpus = std::env::var("ALERTLOOP_TEST_CORPUS");
            let corpus = corpus.map_or_else(|_| root.join("../shared/corpus"), Into::into);
            for source in ["opensearch", "graylog", "ntopng", "alertmanager", "malformed"] {
                found.extend(in_folder(&corpus.join(source), &["in"]));
                for sequence in folders(&corpus.join(source)) {
                    found.extend(in_folder(&sequence, &["in"]));
                }
            }
        }
        "conditions" => {
            found.extend(in_folder(
                &root.join("provisioning/examples/conditions/conditions"),
                &["toml"],
            ));
        }
        _ => {}
    }
    found.retain(|seed| seed.len() < 64 << 10);
    found
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders = entries(folder);
    folders.retain(|path| path.is_dir());
    folders
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn in_folder(folder: &Path, ends: &[&str]) -> Vec<Vec<u8>> {
    let mut files = entries(folder);
    files.retain(|file| {
        let end = file.extension().and_then(|end| end.to_str());
        file.is_file() && end.is_some_and(|end| ends.contains(&end))
    });
    files.iter().map(|file| fs::read(file).expect("a readable seed")).collect()
}
