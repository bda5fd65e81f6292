use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use super::*;
use crate::callback::{json, ntopng, sample::sample};

/// A program that does this.
fn script(dir: &tempfile::TempDir, text: &str) -> Script {
    let program = dir.path().join("program");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Script {
        program,
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        directory: dir.path().to_owned(),
        user: None,
        payload: Payload::default(),
        timeout: Duration::from_secs(20),
    }
}

async fn run(text: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    script(&dir, text).run(&sample()).await
}

#[tokio::test]
async fn the_exit_code_decides() {
    for (text, want, status) in [
        ("echo taken", Outcome::Delivered, Some(0)),
        ("exit 75", Outcome::Again("exit code 75: later".to_owned()), Some(75)),
        ("exit 1", Outcome::Again("exit code 1".to_owned()), Some(1)),
        ("kill -9 $$", Outcome::Again("signal: 9 (SIGKILL)".to_owned()), None),
    ] {
        let ran = run(text).await;
        assert_eq!((ran.outcome, ran.status), (want, status), "{text}");
    }
    assert_eq!(run("echo out; echo err >&2").await.answer, "out\nstderr: err");
}

#[tokio::test]
async fn it_gets_the_payload_that_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut script = script(&dir, "cat >input");
    script.payload = Payload::Ntopng;
    assert_eq!(script.run(&sample()).await.outcome, Outcome::Delivered);
    let input = fs::read_to_string(dir.path().join("input")).unwrap();
    let input: serde_json::Value = serde_json::from_str(&input).unwrap();
    assert_eq!(input, ntopng::queue(&sample()));
    assert_eq!(script.render(&sample()).unwrap(), input.to_string());
}

#[tokio::test]
async fn it_gets_the_alert_and_nothing_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let mut script =
        script(&dir, "cat >input; env | sort >environment; echo \"$@\" >arguments; pwd >where");
    script.arguments = vec!["one two".to_owned(), "$(id); *".to_owned()];
    script.environment.insert("KEY".to_owned(), CallbackSecret::from("own".to_owned()));
    assert_eq!(script.run(&sample()).await.outcome, Outcome::Delivered);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let input: serde_json::Value = serde_json::from_str(&read("input")).unwrap();
    assert_eq!(input, json::alertloop(&sample()));
    assert_eq!(read("arguments"), "one two $(id); *\n");
    let names: Vec<_> = read("environment")
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .filter(|name| !name.starts_with("ALERT_"))
        .collect();
    // PWD and _ are the shell's own.
    assert!(
        names
            .iter()
            .all(|name| ["KEY", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str())),
        "{names:?}"
    );
    for line in [
        "ALERT_ACTION=engaged",
        "ALERT_CONDITION=Too many errors",
        "ALERT_RULE=Sample of alertloop",
        "ALERT_SEVERITY=60",
        "ALERT_STREAM=Errors in production",
        "KEY=own",
    ] {
        assert!(read("environment").lines().any(|seen| seen == line), "{line}");
    }
}

#[tokio::test]
async fn one_that_does_not_read_or_never_ends_holds_nothing_up() {
    // More than a pipe takes.
    let mut notice = sample();
    notice.alert.message = Some("x".repeat(1 << 20));
    let dir = tempfile::tempdir().unwrap();
    let ran = script(&dir, "exit 0").run(&notice).await;
    assert_eq!(ran.outcome, Outcome::Delivered);

    let mut endless = script(&dir, "echo begun; sleep 1000 & echo $! >child; wait");
    endless.timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let ran = endless.run(&notice).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(ran.outcome, Outcome::Again("it was killed after 0.3 s".to_owned()));
    assert_eq!(ran.answer, "begun");
    let child = fs::read_to_string(dir.path().join("child")).unwrap();
    gone(child.trim()).await;
}

#[tokio::test]
async fn what_it_leaves_behind_is_killed_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let leaves = script(&dir, "sleep 1000 & echo $! >child");
    let begun = Instant::now();
    assert_eq!(leaves.run(&sample()).await.outcome, Outcome::Delivered);
    assert!(begun.elapsed() < Duration::from_secs(10));
    gone(fs::read_to_string(dir.path().join("child")).unwrap().trim()).await;
}

/// Waits until a process has ended: killed, it is there for a moment more.
async fn gone(id: &str) {
    let begun = Instant::now();
    let lives = || {
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    while lives() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{id} lives");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn all_that_is_printed_is_read_and_little_is_kept() {
    let ran = run("head -c 20000000 /dev/zero | tr '\\0' x; echo done >&2").await;
    assert_eq!(ran.outcome, Outcome::Delivered);
    assert!(ran.answer.len() < 3 * KEPT, "{}", ran.answer.len());
    assert!(ran.answer.contains("and 19997952 bytes more") && ran.answer.ends_with("stderr: done"));
}

#[tokio::test]
async fn a_program_that_is_gone_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut gone = script(&dir, "");
    gone.program = dir.path().join("other");
    let ran = gone.run(&sample()).await;
    assert!(
        matches!(&ran.outcome, Outcome::Again(why) if why.starts_with("cannot run the program: No such file")),
        "{ran:?}"
    );
}

#[test]
fn a_value_of_the_environment_is_bounded() {
    assert_eq!(bounded("a\0b".to_owned()), "ab");
    assert!(bounded("ü".repeat(VALUE)).len() <= VALUE);
}

#[tokio::test]
async fn a_secret_that_it_prints_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut script =
        script(&dir, "echo \"token $API_TOKEN, room $ROOM\"; echo $API_TOKEN >&2; exit 1");
    for (name, value) in [("API_TOKEN", "hunter2"), ("ROOM", "soc-1")] {
        script.environment.insert(name.to_owned(), CallbackSecret::from(value.to_owned()));
    }
    assert_eq!(script.run(&sample()).await.answer, "token ***, room soc-1\nstderr: ***");
}
