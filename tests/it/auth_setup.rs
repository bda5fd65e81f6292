//! `alertloop auth-setup` with the real opensearch-keystore, on keystores of its own.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    keystore, store,
    support::{Keystore, Terminal},
};

/// Where nothing listens.
const AWAY: &str = "http://127.0.0.1:1";

/// `auth-setup` with nothing of this process's environment but the PATH, where OpenSearch does not
/// answer.
fn auth_setup(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alertloop"));
    command.arg("auth-setup").args(arguments).env_clear().stdin(Stdio::null());
    command.env("OPENSEARCH_URL", AWAY).env("PATH", std::env::var_os("PATH").expect("a PATH"));
    command
}

/// The same on a keystore.
fn on(keystore: &Keystore, arguments: &[&str]) -> Command {
    let mut command = auth_setup(arguments);
    command.args(["--keystore-command", keystore.command()]);
    command
}

fn text_of(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    text(&output.stdout) + &text(&output.stderr)
}

/// What it says, after a check of its exit code.
fn run(mut command: Command, code: i32) -> String {
    let output = command.output().expect("a process");
    let told = text_of(&output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

/// A file with a secret in it.
fn secret(folder: &Path, text: &str) -> String {
    let file = folder.join(format!("secret-{}", text.len()));
    fs::write(&file, text).expect("a file");
    file.to_str().expect("UTF-8").to_owned()
}

const NOTIFICATIONS: &str = "opensearch.notifications.core.email";
const ALERTING: &str = "plugins.alerting.destination.email";

/// What the keystore holds of an account under both kinds of keys.
fn both(name: &str, username: &str, password: &str) -> Vec<String> {
    [NOTIFICATIONS, ALERTING]
        .into_iter()
        .flat_map(|prefix| {
            [
                format!("{prefix}.{name}.password={password}"),
                format!("{prefix}.{name}.username={username}"),
            ]
        })
        .collect()
}

/// Looks at the command lines and environments of all processes, again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    found: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    /// Looks for these words.
    fn for_words(words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let found = std::thread::spawn(move || {
            let mut found = BTreeSet::new();
            while !ended.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").expect("/proc").flatten() {
                    for file in ["cmdline", "environ"] {
                        let bytes = fs::read(process.path().join(file)).unwrap_or_default();
                        let text = String::from_utf8_lossy(&bytes);
                        found.extend(words.iter().filter(|word| text.contains(*word)).cloned());
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            found
        });
        Self { stop, found }
    }

    fn found(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.found.join().expect("what was found")
    }
}

#[test]
fn on_a_terminal_everything_is_asked_and_the_password_shows_nowhere() {
    let keystore = keystore!(new);
    let folder = tempfile::tempdir().expect("a folder");
    let password = r#"pä ss"w'örd$(x)7Kq"#;
    // The folder stands in the tool's command line: it is what shows that the tool was looked at.
    let tools_own = keystore.folder().to_str().expect("UTF-8");
    let watch = Watch::for_words(&[password, "7Kq", tools_own]);
    let mut terminal = Terminal::run(&on(&keystore, &[]));
    terminal.answer("Store username/password for email alert sender account? (y/N): ", "y");
    terminal.answer("Email account username: ", "analyst@example.org");
    terminal.answer("analyst@example.org password: ", "mistyped-7Kq");
    terminal.answer("analyst@example.org password (again): ", password);
    terminal.wait_for("Passwords do not match");
    terminal.answer("analyst@example.org password: ", password);
    terminal.answer("analyst@example.org password (again): ", password);
    terminal.answer("Email destination name [destination_alpha]: ", "Not Allowed");
    terminal.answer("Email destination name [destination_alpha]: ", "");
    terminal.wait_for(
        "Email alert sender account variables stored: \
         opensearch.notifications.core.email.destination_alpha.password, \
         opensearch.notifications.core.email.destination_alpha.username, \
         plugins.alerting.destination.email.destination_alpha.password, \
         plugins.alerting.destination.email.destination_alpha.username",
    );
    terminal.answer("as provisioning files? (y/N): ", "y");
    terminal.answer("Mail server: ", "smtp.example.org");
    terminal.answer("Method (ssl, start_tls, none) [ssl]: ", "start_tls");
    terminal.answer("Port [587]: ", "");
    terminal.answer("From address [analyst@example.org]: ", "");
    terminal.answer("Recipients, with commas between: ", "soc@example.org, duty@example.org");
    terminal.answer("Folder [provisioning]: ", folder.path().to_str().expect("UTF-8"));
    let (status, screen) = terminal.finish();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("note: with start_tls "), "{screen}");
    assert!(!screen.contains("7Kq"), "{screen}");
    assert_eq!(watch.found(), BTreeSet::from([tools_own.to_owned()]));
    let wanted = both("destination_alpha", "analyst@example.org", password);
    assert_eq!(keystore.values(""), wanted);

    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path().join("channels").join(name)).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    };
    let account = read("smtp_account_destination_alpha.json");
    let want = json!({"host": "smtp.example.org", "port": 587, "method": "start_tls",
        "from_address": "analyst@example.org"});
    assert_eq!(account["config"]["smtp_account"], want);
    let recipients = json!([{"recipient": "soc@example.org"}, {"recipient": "duty@example.org"}]);
    let channel = read("email_destination_alpha.json");
    assert_eq!(channel["config"]["email"]["recipient_list"], recipients);

    let mut terminal = Terminal::run(&on(&keystore, &["--keys", "both"]));
    terminal.answer("(y/N): ", "y");
    terminal.answer("Email account username: ", "other@example.org");
    terminal.answer("password: ", "other");
    terminal.answer("password (again): ", "other");
    terminal.answer("[destination_alpha]: ", "");
    terminal.answer("destination_alpha is stored already. Replace it? (y/N): ", "");
    let (status, screen) = terminal.finish();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert_eq!(keystore.values(""), wanted, "a refused replacement changed something");
}

#[test]
fn without_a_terminal_nothing_is_asked_and_what_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "hidden\n");
    let enough = ["--yes", "--username", "u", "--name", "n", "--password-file", &file];
    for (arguments, want) in [
        (&[][..], "also say --yes, --username, --password-file or --password-stdin, --name"),
        (&["--yes", "--username", "u"], "also say --password-file or --password-stdin, --name"),
        (&enough[1..], "also say --yes"),
        (&["--remove", "n"], "say --yes"),
        (&[&enough[..], &["--smtp-host", "x"]].concat(), "also need --from, --recipient"),
        (
            &[&enough[..], &["--smtp-host", "x", "--from", "a@b.c", "--recipient", "a@b.c"]]
                .concat(),
            "also need --provisioning-dir",
        ),
        (&["--yes", "--username", "a\nb", "--name", "n", "--password-file", &file], "line break"),
        (&["--keystore-command", "'open"], "a quote in it does not end"),
    ] {
        let told = run(auth_setup(arguments), 2);
        assert!(told.contains(want) && told.lines().count() == 1, "{arguments:?}: {told}");
    }
    if rustix::process::geteuid().is_root() {
        let told = run(auth_setup(&enough), 2);
        assert!(told.contains("cannot read a keystore that root has written"), "{told}");
    }
    let mut command = auth_setup(&["--list"]);
    command.env("PATH", "/nowhere");
    let told = run(command, 1);
    assert!(told.contains("cannot find opensearch-keystore; set OPENSEARCH_HOME"), "{told}");
}

#[test]
fn an_account_is_stored_shown_replaced_and_removed() {
    let keystore = keystore!(new);
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "first one\n");
    let account = ["--yes", "--keys=both", "--name", "soc", "--username", "soc@example.org"];
    let store = |others: &[&str]| on(&keystore, &[&account[..], others].concat());

    let told = run(store(&["--password-file", &file]), 0);
    assert!(told.contains("note: no OpenSearch answers at http://127.0.0.1:1/"), "{told}");
    assert!(told.contains("Email alert sender account variables stored: opensearch."), "{told}");
    assert_eq!(keystore.values(""), both("soc", "soc@example.org", "first one"));

    let told = run(store(&["--password-file", &file]), 1);
    assert!(told.contains("soc is stored already, and nothing was changed; say --force"), "{told}");

    let mut command = store(&["--password-stdin", "--force"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), b"second").expect("a pipe");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(keystore.values(""), both("soc", "soc@example.org", "second"));

    let told = run(on(&keystore, &["--list", "--output", "json"]), 0);
    let listed: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(listed[0]["name"], "soc");
    assert_eq!(listed[0]["families"], json!(["alerting", "notifications"]));
    assert!(listed[1].is_null() && !told.contains("second") && !told.contains('@'), "{told}");

    let told = run(on(&keystore, &["--remove", "nobody", "--yes"]), 1);
    assert!(told.contains("no e-mail account nobody is in the keystore; there are: soc"), "{told}");
    let told = run(on(&keystore, &["--remove", "soc", "--yes"]), 0);
    assert!(told.contains("variables removed: opensearch.notifications.core.email.soc.password"));
    assert_eq!(keystore.values(""), [""; 0]);
}

#[test]
fn a_keystore_with_a_password_is_opened_and_gets_the_values_whole() {
    let keystore = keystore!(new);
    let folder = tempfile::tempdir().expect("a folder");
    let (right, wrong) = (secret(folder.path(), "open sesame"), secret(folder.path(), "no"));
    let mail = secret(folder.path(), "pass word");
    assert!(keystore.tool(&["create"], ""));
    assert!(keystore.tool(&["passwd"], "open sesame\nopen sesame\n"));
    let store = |others: &[&str]| {
        let account = ["--yes", "--keys=both", "--name=soc", "--username=u@example.org"];
        on(&keystore, &[&account[..], others].concat())
    };
    let told = run(store(&["--password-file", &mail]), 2);
    assert!(
        told.contains("the keystore has a password: also say --keystore-password-file"),
        "{told}"
    );
    let told = run(store(&["--password-file", &mail, "--keystore-password-file", &wrong]), 1);
    assert!(told.contains("Provided keystore password was incorrect"), "{told}");
    let foreign = secret(folder.path(), "пароль");
    let told = run(store(&["--password-file", &foreign, "--keystore-password-file", &right]), 2);
    assert!(told.contains("the password is not ASCII") && !told.contains("пароль"), "{told}");
    run(store(&["--password-file", &mail, "--keystore-password-file", &right]), 0);
    assert_eq!(keystore.values("open sesame"), both("soc", "u@example.org", "pass word"));
}

#[test]
fn a_running_node_is_left_alone_and_one_that_is_away_is_not_reloaded() {
    let store = store!();
    let enough = ["--yes", "--username=u", "--name=n", "--password-file=/dev/null"];
    // A tool that cannot be run: nothing must be tried.
    let tool = ["--keystore-command", "/nowhere/opensearch-keystore"];
    let command = |others: &[&str]| auth_setup(&[&enough[..], &tool, others].concat());
    let told = run(command(&["--opensearch-url", store.url()]), 1);
    assert!(
        told.contains("a node that runs does not read its keystore; nothing was changed"),
        "{told}"
    );
    let told = run(command(&["--reload"]), 1);
    assert!(told.contains("so it cannot be told to reload; nothing was changed"), "{told}");
    let remove = ["--remove=n", "--yes", "--opensearch-url", store.url()];
    let told = run(auth_setup(&[&remove[..], &tool].concat()), 1);
    assert!(told.contains("nothing was changed. Stop OpenSearch, or say --reload"), "{told}");
}

#[test]
fn a_plugin_that_is_not_installed_gets_no_key() {
    let keystore = keystore!(new);
    let home = tempfile::tempdir().expect("a folder");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
    let real = keystore.home();
    for part in ["lib", "modules", "config", "agent"] {
        symlink(real.join(part), home.path().join(part)).expect("a link");
    }
    // The scripts find their home by following links, so they have to be files.
    for folder in ["bin", "plugins"] {
        fs::create_dir(home.path().join(folder)).expect("a folder");
    }
    for script in fs::read_dir(real.join("bin")).expect("scripts").flatten() {
        fs::copy(script.path(), home.path().join("bin").join(script.file_name())).expect("a copy");
    }
    let plugin = "plugins/opensearch-notifications-core";
    if real.join(plugin).exists() {
        symlink(real.join(plugin), home.path().join(plugin)).expect("a link");
    } else {
        return crate::support::skip("this OpenSearch has no Notifications plugin");
    }
    let (there, here) = (real.to_str().expect("UTF-8"), home.path().to_str().expect("UTF-8"));
    let command = keystore.command().replace(there, here);
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "hidden");
    let enough = ["--yes", "--username=u", "--name=n", "--password-file", &file];
    let arguments = [&enough[..], &["--keystore-command", &command]].concat();
    run(auth_setup(&arguments), 0);
    let wanted = both("n", "u", "hidden");
    assert_eq!(keystore.values(""), wanted[..2]);
    fs::remove_file(home.path().join(plugin)).expect("no plugin");
    let told = run(auth_setup(&[&arguments[..], &["--force"]].concat()), 1);
    assert!(
        told.contains("neither opensearch-alerting nor opensearch-notifications-core"),
        "{told}"
    );
}

#[test]
fn when_the_tool_fails_one_is_told_what_is_stored() {
    let keystore = keystore!(new);
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "7Kq-hidden");
    assert!(keystore.tool(&["create"], ""));
    fs::set_permissions(keystore.folder(), fs::Permissions::from_mode(0o555)).expect("read-only");
    let account = ["--yes", "--keys=both", "--name=soc", "--username=u", "--password-file", &file];
    let told = run(on(&keystore, &account), 1);
    let want = "alertloop: soc was not stored; nothing of it is in the keystore; mend the cause, and run this again: \
        opensearch-keystore cannot store in the keystore: unable to create temporary keystore";
    assert!(told.contains(want) && !told.contains("7Kq"), "{told}");
    fs::set_permissions(keystore.folder(), fs::Permissions::from_mode(0o777)).expect("writable");
    run(on(&keystore, &account), 0);
    assert_eq!(keystore.values(""), both("soc", "u", "7Kq-hidden"));
}
