use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn read_with(text: &str, files: &[(&str, &str)]) -> Result<Vec<Callback>, Vec<String>> {
    let read_file = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found
            .map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let variable = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    read(text, &Ground { read_file: &read_file, variable: &variable })
}

fn faults(text: &str) -> Vec<String> {
    read_with(text, &[]).map(|all| all.len()).unwrap_err()
}

#[test]
fn a_file_without_callbacks_has_none() {
    for text in ["", "listen = '127.0.0.1:0'", "this is no TOML ["] {
        assert!(read_with(text, &[]).unwrap().is_empty(), "{text}");
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let all = read_with("[[callback]]\nname='a'\ntype='http'\nurl='http://x.example'\n", &[]);
    let one = all.unwrap().remove(0);
    assert_eq!((one.name.as_str(), one.enabled, one.repeat, one.at_once), ("a", true, false, 4));
    assert_eq!(one.give_up_after, Duration::from_hours(24));
    assert_eq!(one.matching, Match::default());
    assert_eq!((one.how.kind(), one.how.timeout()), ("http", Duration::from_secs(10)));
}

#[test]
fn every_fault_is_told_with_its_line_and_without_a_value() {
    let text = r#"
listen = "127.0.0.1:5000"

[[callback]]
name = "pager"
type = "http"
urll = "http://hunter2.example"
timeout = "hunter2"
min_severity = 900
actions = ["hunter2"]
password = "hunter2"

[[callback]]
name = "pager"
type = "http"
url = "hunter2"
method = "hunter2"
enabled = "hunter2"
headers = { "bad name" = "hunter2" }

[[callback]]
type = "script"
program = "page"
sources = ["hunter2"]

[[callback]]
name = "later"
type = "smoke"
"#;
    let mut told = faults(text);
    told.sort();
    let mut want = [
        "callback pager, line 9: min_severity: must be a whole number, and not so large",
        "callback pager, line 10: actions: must be one of engaged, stored, acknowledged, released",
        "callback pager, line 7: urll: is not a key of it; did you mean url?",
        "callback pager, line 8: timeout: needs a whole number with a unit, like 250ms, 5s, 1m or 2h",
        "callback pager, line 4: url: is required; or url_file, or url_env",
        "callback pager, line 11: password: needs user too",
        "callback pager, line 18: enabled: must be true or false",
        "callback pager, line 16: url: is not an http:// or https:// address",
        "callback pager, line 17: method: must be POST, PUT or PATCH",
        "callback pager, line 19: headers: bad name is not a name that a header can have",
        "callback number 3, line 21: name: is required",
        "callback number 3, line 23: program: must be an absolute path, like /usr/local/bin/page; there is no shell to look for it",
        "callback later, line 28: type: must be email, http, script or opensearch",
    ];
    want.sort_unstable();
    assert_eq!(told, want);
    assert!(told.iter().all(|line| !line.contains("hunter2")), "{told:#?}");
}

#[test]
fn names_are_unique_and_plain() {
    let one = |name: &str| format!("[[callback]]\nname='{name}'\ntype='http'\nurl='http://x'\n");
    let told = faults(&(one("a") + &one("a")));
    assert_eq!(told, ["callback a: there is another one of this name"]);
    for bad in ["", " a", "a/b", "a\u{202e}b", &"x".repeat(65)] {
        assert!(faults(&one(bad))[0].contains("name: needs"), "{bad}");
    }
    assert!(read_with(&one("Pager 1_b.c-ü"), &[]).is_ok());
    assert!(faults("[callback]\nname='a'")[0].contains("write [[callback]]"));
}

#[test]
fn a_secret_comes_from_one_place() {
    let with = |keys: &str| format!("[[callback]]\nname='a'\ntype='http'\nurl='http://x'\n{keys}");
    let files = [("/run/token", "hunter2\n"), ("/run/empty", "\n")];
    for (keys, want) in [
        ("bearer='hunter2'", None),
        ("bearer_file='/run/token'", None),
        ("bearer_env='TOKEN'", None),
        ("bearer_env='NONE'", Some("bearer_env: the variable that it names is not set")),
        ("bearer_file='/run/none'", Some("bearer_file: cannot read the file")),
        ("bearer_file='/run/empty'", Some("bearer_file: the file is empty")),
        ("bearer_file='/run/token'\nbearer='hunter2'", Some("bearer: is given twice")),
        ("bearer='hunter2'\nuser='u'\npassword='hunter2'", Some("more than one login")),
        ("user='u'", Some("user: needs password")),
        ("signature_header='X-S'", Some("signature_header: needs signature_key")),
        ("payload='ntopng'\nshared_secret='hunter2'", None),
        ("payload='ntopng'\nshared_secret_file='/run/token'", None),
        ("payload='ntopng'\nshared_secret_env='TOKEN'", None),
        ("shared_secret='hunter2'", Some("shared_secret: is ntopng's")),
        ("body='x'\nshared_secret='hunter2'", Some("shared_secret: is ntopng's")),
        (
            "payload='hunter2'",
            Some("payload: must be one of alertloop, graylog, graylog-event, ntopng"),
        ),
        ("cert='/run/token'", Some("cert and key: each needs the other")),
        ("ca='/run/token'", Some("ca: the file holds no PEM")),
    ] {
        let told = read_with(&with(keys), &files).map(|all| format!("{all:?}"));
        match (told, want) {
            (Ok(told), None) => assert!(!told.contains("hunter2"), "{told}"),
            (Err(told), Some(want)) => {
                let told = told.join("; ");
                assert!(told.contains(want) && !told.contains("hunter2"), "{keys}: {told}");
            }
            (told, want) => panic!("{keys}: {told:?} {want:?}"),
        }
    }
}

#[test]
fn what_is_shown_has_no_secret_in_it() {
    let text = r#"[[callback]]
name = "a"
type = "http"
url = "https://ops:hunter2@x.example/hook?key=hunter2&b="
headers = { "X-Api-Key" = "hunter2", "Accept" = "text/plain", Cookie = "hunter2" }
signature_key = "hunter2"
proxy = "http://me:hunter2@proxy.example:3128"
rules = ["*"]
"#;
    let one = read_with(text, &[]).unwrap().remove(0);
    let shown = one.shown.to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(one.shown["url"], "https://***:***@x.example/hook?key=***&b=***");
    assert_eq!(one.shown["headers"]["Accept"], "text/plain");
    assert_eq!(one.shown["rules"][0], "*");
    let text = "[[callback]]\nname='a'\ntype='http'\nurl_env='TOKEN'\n";
    let told = read_with(text, &[]).map(|_| ()).unwrap_err();
    assert!(told[0].contains("url: is not an http://") && !told[0].contains("hunter2"), "{told:?}");
}

#[test]
fn the_secret_of_ntopngs_webhook_is_sent_and_not_shown() {
    let text = "[[callback]]\nname='a'\ntype='http'\nurl='http://x'\npayload='ntopng'\nshared_secret='hunter2'";
    let one = read_with(text, &[]).unwrap().remove(0);
    assert_eq!(one.shown["shared_secret"], "***");
    let rendered = one.how.render(&crate::callback::sample::sample()).unwrap();
    assert!(rendered.contains(r#""sharedsecret":"***""#) && !rendered.contains("hunter2"));
    assert!(!format!("{one:?}").contains("hunter2"));
}

#[test]
fn a_program_must_be_there_and_runnable() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("page");
    let text = |more: &str| {
        format!("[[callback]]\nname='a'\ntype='script'\nprogram='{}'\n{more}", program.display())
    };
    assert!(faults(&text(""))[0].contains("program: No such file"));
    fs::write(&program, "").unwrap();
    assert!(faults(&text(""))[0].contains("program: nobody may execute it"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(read_with(&text(""), &[]).is_ok());
    for (keys, want) in [
        ("user='somebody'", "user: is not in /etc/passwd"),
        ("directory='here'", "directory: must be"),
        ("environment={ALERT_ID='x'}", "environment: ALERT_ID is not a name"),
        ("environment={A=7}", "environment: must be a string"),
        ("payload='soap'", "payload: must be one of alertloop, graylog, graylog-event, ntopng"),
    ] {
        let told = faults(&text(keys)).join("; ");
        assert!(told.contains(want), "{keys}: {told}");
    }
    let own = rustix::process::geteuid().as_raw();
    let passwd = format!("me:x:{own}:{own}::/:/bin/sh");
    let read = read_with(&text("user='me'"), &[("/etc/passwd", passwd.as_str())]);
    let How::Script(script) = read.unwrap().remove(0).how else { panic!("no script") };
    assert_eq!(script.user, None, "it is ours");
}

#[test]
fn two_callbacks_that_mail_to_the_same_people_send_two_mails() {
    let one = |name: &str| {
        format!(
            "[[callback]]\nname='{name}'\ntype='email'\nserver='mail.example.org'\n\
             from='soc@example.org'\nto='a@example.org'\n"
        )
    };
    let all = read_with(&(one("short") + &one("long")), &[]).unwrap();
    let id = |callback: &Callback| {
        let mail = callback.how.render(&crate::callback::sample::sample()).unwrap();
        mail.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned()
    };
    // Mail servers drop a second mail of the same Message-ID.
    assert_ne!(id(&all[0]), id(&all[1]));
}
