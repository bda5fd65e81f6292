//! `--compat` gives upstream's exact documents: the golden files that Malcolm's own code made.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alertloop::{
    config::Compat,
    intake::{Encoding, Envelope},
    record::{Naming, compat, index_name::IndexName},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::skip;

/// Upstream keeps half a surrogate pair, which no UTF-8 text can hold; and it leaves gzip packed,
/// as text with replacement characters whose number depends on the decoder.
const NOT_REPRODUCED: [&str; 2] = ["lone-surrogate", "gzip-body"];

fn golden() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    dir.is_dir().then_some(dir)
}

#[test]
fn upstreams_documents_come_out_to_the_letter() {
    let Some(dir) = golden() else { return skip("the corpus is not beside the project") };
    let mut compared = 0;
    for (level, name) in
        [(Compat::Malcolm2601, "malcolm-26.01"), (Compat::Malcolm2608, "malcolm-26.08")]
    {
        for folder in ["opensearch", "malformed"] {
            for file in files(&dir.join(folder), &format!(".{name}.json")) {
                let stem = file.file_name().and_then(|n| n.to_str()).expect("a name");
                let stem = stem.trim_end_matches(&format!(".{name}.json"));
                let body = dir.join(folder).join(format!("{stem}.in"));
                if NOT_REPRODUCED.contains(&stem) || !body.exists() {
                    continue; // a generated body: the same paths as the others, only larger
                }
                compare(&body, &file, level);
                compared += 1;
            }
        }
        for sequence in files(&dir.join("opensearch"), ".seq") {
            let golden = read(&sequence.join(format!("{name}.json")));
            for (step, want) in golden.as_array().expect("steps").iter().enumerate() {
                let body = sequence.join(format!("{:02}.in", step + 1));
                compare_one(&body, want, level);
                compared += 1;
            }
        }
    }
    assert!(compared > 60, "only {compared} golden files were found");
}

fn compare(body: &Path, golden: &Path, level: Compat) {
    let text = fs::read_to_string(golden).expect("a golden file");
    compare_one(body, &serde_json::from_str(&text).expect("JSON"), level);
}

fn compare_one(body: &Path, want: &Value, level: Compat) {
    let headers = fs::read_to_string(body.with_extension("headers")).unwrap_or_default();
    let content_type = headers
        .lines()
        .find_map(|line| line.strip_prefix("Content-Type:"))
        .unwrap_or("application/json");
    let envelope = Envelope {
        source: None,
        received: "2026-11-21T10:00:00.000Z".parse::<Timestamp>().expect("a time"),
        content_type: content_type.trim().to_owned(),
        encoding: Encoding::Identity,
        body: fs::read(body).expect("a body"),
    };
    let index = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").expect("a name");
    let naming = Naming { index, time_field: "firstPacket".to_owned() };
    let name = body.display();
    match (compat::record(&envelope, level, &naming), &want["document"]) {
        (Err(_), Value::Null) => {}
        // Upstream's store refuses the number; so does ours, and it becomes a dead letter.
        (Ok(_), Value::Null) if name.to_string().contains("hits-beyond") => {}
        (Ok(record), document) if !document.is_null() => {
            let have = serde_json::from_str(&record.document).expect("JSON");
            assert!(matches_golden(document, &have), "{name}\nwant {document:#}\nhave {have:#}");
            let day = "261121";
            let (index, id) =
                (want["index"].as_str().expect("one"), want["id"].as_str().expect("one"));
            assert_eq!(record.index, index.replace("<today>", day), "{name}");
            let prefix = id.replace("<today>", day).replace("<any>", "");
            assert!(record.id.starts_with(&prefix), "{name}: {} is not {id}", record.id);
        }
        (have, want) => panic!("{name}: want {want:#}, have {have:#?}"),
    }
}

/// Compares a document with a golden one, in which `<any>` stands for anything.
fn matches_golden(want: &Value, have: &Value) -> bool {
    match (want, have) {
        (Value::String(any), _) if any == "<any>" => true,
        (Value::Object(want), Value::Object(have)) => {
            want.len() == have.len()
                && want
                    .iter()
                    .all(|(key, want)| have.get(key).is_some_and(|have| matches_golden(want, have)))
        }
        _ => want == have,
    }
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}
