//! What lets us in changes while the service runs: a password, a CA, a client certificate.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use opensearch::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SECURITY, User, alert, pairs, shipped, user::Permissions};
use crate::{
    store,
    support::{Answer, App, Process, Store, TOKEN, certificate, expired_certificate},
};

/// How the log begins to tell of files that cannot be used.
const UNUSABLE: &str = "what lets us in to the store stays as it was";

/// A folder as Kubernetes mounts a secret: the files are links into a folder that is a link, and a
/// change swaps that one.
struct Mounted {
    dir: TempDir,
    version: u32,
}

impl Mounted {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = Self { dir, version: 0 };
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mounted.path(name)).expect("a link");
        }
        mounted.change(files);
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn change(&mut self, files: &[(&str, &[u8])]) {
        self.version += 1;
        let folder = format!("..{}", self.version);
        fs::create_dir(self.path(&folder)).expect("a folder");
        for (name, bytes) in files {
            fs::write(self.path(&folder).join(name), bytes).expect("a file");
        }
        symlink(&folder, self.path("..data.new")).expect("a link");
        fs::rename(self.path("..data.new"), self.path("..data")).expect("a swap");
    }
}

fn curlrc(name: &str, password: &str) -> Vec<u8> {
    format!("user: \"{name}:{password}\"\n").into_bytes()
}

/// The access settings of `user`, with some of them changed; an empty text removes one.
fn access_with(user: &User<'_>, changes: &[(&str, &Path)]) -> Vec<(String, String)> {
    let mut access = user.access();
    for (name, path) in changes {
        access.retain(|(known, _)| known != name);
        if !path.as_os_str().is_empty() {
            access.push(((*name).to_owned(), path.to_str().expect("UTF-8").to_owned()));
        }
    }
    access
}

async fn trouble(app: &App) -> String {
    let ready = Answer::of(app.get("/readyz")).await.json;
    ready["store"]["trouble"].as_str().unwrap_or_default().to_owned()
}

async fn wait_for_trouble(app: &App, word: &str) {
    let told = async {
        while !trouble(app).await.contains(word) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(20), told).await.is_ok();
    assert!(came, "{word} is not told, but {:?}", trouble(app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_change_while_alerts_flow_and_none_is_lost_or_doubled() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let first = "First-Password-of-the-test-1";
    user.has_password(first).await;
    let mut mounted = Mounted::new(&[("curlrc", &curlrc(&user.name, first))]);
    let access = access_with(&user, &[("OPENSEARCH_CREDS_CONFIG_FILE", &mounted.path("curlrc"))]);
    let app = Arc::new(App::start(&store, &pairs(&access)).await);
    let go_on = Arc::new(AtomicBool::new(true));
    let poster = tokio::spawn({
        let (app, go_on) = (Arc::clone(&app), Arc::clone(&go_on));
        async move {
            let mut count = 0;
            while go_on.load(Relaxed) {
                let body = alert(&format!("flow{count}"));
                let post = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(body);
                let status = Answer::of(post).await.status;
                assert!(matches!(status, 200 | 202), "alert {count}: {status}");
                count += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            count
        }
    });
    for round in 2..5 {
        let new = format!("Password-number-{round}-of-the-test");
        let in_file_first = round == 3;
        if in_file_first {
            mounted.change(&[("curlrc", &curlrc(&user.name, &new))]);
        }
        user.has_password(&new).await;
        if !in_file_first {
            // The service meets the refusal before it can know better.
            wait_for_trouble(&app, "401").await;
            mounted.change(&[("curlrc", &curlrc(&user.name, &new))]);
        }
        let seen = store.records().await.len();
        let on = async {
            while store.records().await.len() <= seen || !trouble(&app).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let goes_on = tokio::time::timeout(Duration::from_secs(20), on).await.is_ok();
        assert!(goes_on, "round {round}: {}", trouble(&app).await);
    }
    go_on.store(false, Relaxed);
    let count: usize = poster.await.expect("all posts");
    app.drained().await;
    let records = store.wait_for_records(count).await;
    let mut ids: Vec<_> = records.iter().filter_map(|hit| hit["_id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let written_once = records.iter().all(|hit| hit["_version"] == 1);
    assert!(written_once, "a record was written twice: {records:#?}");
    let Ok(app) = Arc::try_unwrap(app) else { panic!("the poster has ended") };
    app.stop().await;
    user.remove().await;
}

/// The service as a process of its own, whose log tells when it has looked at the files.
async fn serve(user: &User<'_>, access: &[(String, String)]) -> Process {
    user.store.make_template().await;
    let mut settings = user.settings();
    settings.retain(|name, _| !name.contains("OPENSEARCH"));
    settings.extend(access.iter().cloned());
    settings.insert("OPENSEARCH_URL".to_owned(), user.store.url().to_owned());
    tokio::task::block_in_place(|| Process::serve(&settings))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_changes_nothing() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let file = user.credentials();
    let process = serve(&user, &user.access()).await;
    assert_eq!(process.alert(alert("before")).await, 200);
    for (round, (broken, told)) in
        [("user: al", "line 1: the user has no password"), ("", "the file holds no login")]
            .into_iter()
            .enumerate()
    {
        fs::write(&file, broken).expect("a file");
        process.says(&format!("{UNUSABLE}: OPENSEARCH_CREDS_CONFIG_FILE: {told}")).await;
        assert_eq!(process.alert(alert(&format!("during{round}"))).await, 200);
    }
    process.kill();
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_comes_later_lets_the_alerts_through_that_waited() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let right = fs::read(store.access().ca.as_ref().expect("a CA")).expect("a PEM file");
    let other = include_bytes!("../../captured/other-ca.pem");
    let mut mounted = Mounted::new(&[("ca.pem", other)]);
    let access = access_with(&user, &[("ALERTLOOP_OPENSEARCH_CA", &mounted.path("ca.pem"))]);
    let app = App::start(&store, &pairs(&access)).await;
    let post = app.post("/mapi/alert").header("x-alertloop-token", TOKEN).body(alert("early"));
    assert_eq!(Answer::of(post).await.status, 202);
    mounted.change(&[("ca.pem", &right)]);
    store.wait_for_records(1).await;
    app.stop().await;
    user.remove().await;
}

/// The folder with the store's CA and its key.
fn authority(store: &Store) -> PathBuf {
    let ca = store.access().ca.as_ref().expect("a CA");
    ca.parent().expect("a folder").to_owned()
}

/// A certificate of this name that the store's CA has signed, and its key.
fn signed(store: &Store, folder: &Path, name: &str) -> [Vec<u8>; 2] {
    let authority = authority(store);
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-CA"])
        .arg(authority.join("ca.pem"))
        .arg("-CAkey")
        .arg(authority.join("ca.key"))
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(file("crt"))
        .arg("-keyout")
        .arg(file("key"))
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [file("crt"), file("key")].map(|path| fs::read(path).expect("a PEM file"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_enough_and_is_renewed_without_a_restart() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let mapping = format!("{SECURITY}/rolesmapping/{}", user.name);
    let to_certificate = json!({"users": [format!("{}cert", user.name)]});
    store.json(Method::Put, &mapping, to_certificate).await.expect("a mapping");
    let folder = tempfile::tempdir().expect("a directory");
    let name = format!("{}cert", user.name);
    let [old, old_key] = signed(&store, folder.path(), &name);
    let [new, new_key] = signed(&store, folder.path(), &name);
    let mut mounted = Mounted::new(&[("tls.crt", &old), ("tls.key", &old_key)]);
    let none = user.file("no-login", "");
    let access = access_with(
        &user,
        &[
            ("OPENSEARCH_CREDS_CONFIG_FILE", &none),
            ("ALERTLOOP_OPENSEARCH_CERT", &mounted.path("tls.crt")),
            ("ALERTLOOP_OPENSEARCH_KEY", &mounted.path("tls.key")),
        ],
    );
    let process = serve(&user, &access).await;
    assert_eq!(process.alert(alert("old")).await, 200);
    // A key that does not fit is not used; the pair goes on that fits.
    mounted.change(&[("tls.crt", &old), ("tls.key", &new_key)]);
    process.says(&format!("{UNUSABLE}: ALERTLOOP_OPENSEARCH_KEY is not the key of")).await;
    assert_eq!(process.alert(alert("mismatch")).await, 200);
    mounted.change(&[("tls.crt", &new), ("tls.key", &new_key)]);
    process.says("the store is spoken to with what its files say now").await;
    assert_eq!(process.alert(alert("new")).await, 200);
    store.wait_for_records(3).await;
    process.kill();
    store.json(Method::Delete, &mapping, Value::Null).await.expect("no mapping");
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_certificates_is_told_with_its_mend() {
    let store = store!(secured);
    let user = User::new(&store, &Permissions::of(&shipped(&store, &["alertloop"]))).await;
    let folder = tempfile::tempdir().expect("a directory");
    let put = |name: &str, bytes: &[u8]| user.file(name, std::str::from_utf8(bytes).expect("PEM"));
    let [fine, key] = signed(&store, folder.path(), "fine");
    let [_, other_key] = signed(&store, folder.path(), "other");
    let expired = expired_certificate(folder.path(), "expired", Some(&authority(&store)));
    let expired = expired.expect("openssl");
    let stranger = certificate(folder.path(), "stranger", &[]).expect("openssl");
    let at_port = store.url().replace("https://", "http://");
    for (why, certificate, key, url, want) in [
        ("another key", put("a.crt", &fine), put("a.key", &other_key), None, "is not the key of"),
        (
            "an expired certificate",
            expired.0.clone(),
            expired.1.clone(),
            None,
            "ALERTLOOP_OPENSEARCH_CERT",
        ),
        (
            "a certificate of nobody",
            stranger.0.clone(),
            stranger.1.clone(),
            None,
            "ALERTLOOP_OPENSEARCH_CERT",
        ),
        ("no TLS", put("d.crt", &fine), put("d.key", &key), Some(at_port), "OPENSEARCH_URL"),
    ] {
        let mut settings = user.settings();
        for (name, value) in [
            ("ALERTLOOP_OPENSEARCH_CERT", super::shown(&certificate)),
            ("ALERTLOOP_OPENSEARCH_KEY", super::shown(&key)),
        ] {
            settings.insert(name.to_owned(), value);
        }
        settings.extend(url.map(|url| ("OPENSEARCH_URL".to_owned(), url)));
        let (code, text, errors) = Process::output(&settings, &["doctor"]);
        assert_eq!(code, 1, "{why}: {text}{errors}");
        let told = format!("{text}{errors}");
        assert!(told.contains(want), "{why}: {told}");
        assert!(!told.contains(&user.password), "{told}");
    }
    user.remove().await;
}
