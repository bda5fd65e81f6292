//! `alertloop conditions`, which asks no store.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Exit code, standard output and standard error.
fn alertloop(dir: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alertloop"))
        .arg("conditions")
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("ALERTLOOP_DATA_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdin = child.stdin.take().expect("an input");
    // A command that reads nothing may have ended already.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn graylogs_conditions_are_written_checked_and_listed() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], input: &str| alertloop(dir.path(), arguments, input);
    let parameters =
        json!({"grace": 1, "threshold": 1, "threshold_type": "more", "backlog": 5, "time": 1});
    let one = |id: &str, kind: &str, title: &str| json!({"id": id, "type": kind, "title": title, "parameters": parameters});
    let stream = json!({"id": "s", "title": "Web", "rules": [], "alert_conditions":
        [one("a", "message_count", "Many"), one("b", "message_count", "Many"), one("c", "odd", "Odd")]});
    let input = json!({ "streams": [stream] }).to_string();

    let (code, shown, _) = run(&["import", "-"], &input);
    assert_eq!(code, Some(1), "one is not taken over: {shown}");
    assert!(shown.contains("2 can be written: say --to DIR; 1 not taken over."), "{shown}");
    let folder =
        ["import", "-", "--to", "made/conditions", "--indices", "logs-*", "--time-field", "t"];
    let (code, shown, _) = run(&folder, &input);
    assert_eq!(code, Some(1), "{shown}");
    let (code, _, said) = run(&folder, &input);
    assert!(
        code == Some(1) && said.contains("is there; nothing was written; --overwrite"),
        "{said}"
    );
    let (code, shown, _) =
        run(&[&folder[..], &["--overwrite", "--output", "json"]].concat(), &input);
    let report: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, report["conditions"].as_array().map(Vec::len)), (Some(1), Some(3)));
    assert!(report["conditions"][2]["error"].as_str().is_some_and(|why| why.contains("odd")));

    let files = ["made/conditions/many.toml", "made/conditions/many_2.toml"];
    let (code, shown, _) = run(&["check", files[0], files[1]], "");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("fires on more than 1 message in 1 minute, of logs-*"), "{shown}");
    let (code, shown, said) = run(&["list", "--provisioning-dir", "made"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("Many (2): fires on"), "{shown}");

    std::fs::write(dir.path().join("bad.toml"), "title = \"t\"\n\ntype = \"x\"\n").expect("a file");
    let (code, shown, _) = run(&["check", "bad.toml", "none.toml"], "");
    assert_eq!(code, Some(1));
    assert!(shown.contains("line 3: there is no type \"x\"; there are message_count"), "{shown}");
    assert!(shown.contains("none.toml") && shown.contains("cannot be read"), "{shown}");
    assert_eq!(run(&["import", "none.json"], "").0, Some(2));
    assert_eq!(run(&["import", "-"], "{}").0, Some(1));
}
