//! `docs/security.md` says how each promise is tested: the tests that it names are there.

use std::{fs, path::Path};

const DOCUMENT: &str = include_str!("../../docs/security.md");

/// What stands as a test in the tables of the threat model.
fn named() -> Vec<&'static str> {
    let (_, model) = DOCUMENT.split_once("\n## Threat model\n").expect("the threat model");
    let model = model.split("\n## ").next().unwrap_or_default();
    let rows = model
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.rsplit('|').nth(1));
    rows.flat_map(|tests| tests.split('`').skip(1).step_by(2))
        .filter(|name| name.len() > 20)
        .collect()
}

fn functions(folder: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            // A test is a function below an attribute that says so.
            for (attribute, rest) in text.match_indices("test").filter_map(|(at, _)| {
                let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                Some((&text[line..at], text[at..].split_once("fn ")?.1))
            }) {
                if attribute.trim_start().starts_with("#[") {
                    all.extend(rest.split('(').next().map(str::to_owned));
                }
            }
        }
    }
}

#[test]
fn each_promise_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Vec::new();
    functions(&root.join("src"), &mut tests);
    functions(&root.join("tests"), &mut tests);
    assert!(tests.len() > 500, "only {} tests are found", tests.len());
    let named = named();
    assert!(named.len() > 30, "only {} tests are named", named.len());
    let missing: Vec<_> =
        named.into_iter().filter(|name| !tests.iter().any(|test| test == name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that there are not: {missing:#?}");
}

#[test]
fn each_row_of_the_threat_model_names_a_test() {
    let (_, model) = DOCUMENT.split_once("\n## Threat model\n").expect("the threat model");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| promise |");
    for row in model.lines().filter(is_row) {
        let tests = row.rsplit('|').nth(1).unwrap_or_default();
        assert!(tests.contains('`') || tests.trim() == "the same", "{row}");
    }
}
