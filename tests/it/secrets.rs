//! Known secrets of every kind, and whatever goes wrong with them: none is shown anywhere, in any form.
//!
//! The bodies in the spool are the one exception: they are kept as they came, and masked when shown.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alertloop::config::Config;
use serde_json::{Value, json};

mod known;

use known::{Secret, Seen};

use crate::{
    callbacks::{client, program, settings_with},
    redis, store,
    support::{self, Answer, Echo, MailEcho, Process, Store, certificate},
};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// All that there is to log, of the libraries too.
const EVERYTHING: &str = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,\
                          opensearch=trace,lettre=trace,redis=trace,axum=trace,tower=trace";

const TOKEN: &str = r#"Tok3n-intake"q\b&Vx81%/Wd"#;
const PREVIOUS: &str = r"Tok3n-previous'Hm4+Zs==&kP";
const ADMIN: &str = r#"P4ss-admin"\ü&Rn55%/Tj"#;
const STORE: &str = r#"P4ss-store"\ö&Lb72%/Cy"#;
const REDIS: &str = "P4ss-redis-Gw93Qm-Xt";
const MAIL: &str = r#"P4ss-mail"\ä&Fd18%/Bv"#;
const BEARER: &str = "B34rer-hook-Jk61~Nc.Yq";
const HEADER: &str = "H34der-hook-Sp27_Ld-Mw";
const UNNAMED: &str = "Unn4med-hook-Te64_Ua-Ib";
const QUERY: &str = "Qu3ry-hook-Zr39Ah-Ke";
const BASIC: &str = r#"P4ss-hook"\é&Vo56%/Xg"#;
const SIGNING: &str = "S1gning-hook-Wy84Du-Fn";
const SHARED: &str = r#"Sh4red-ntopng"\&Eb45%/Ol"#;
const VARIABLE: &str = "V4riable-script-Ci73Rp-Hs";
/// Of another sender: not ours, but in a body under its own name.
const FOREIGN: &str = "F0reign-sharedsecret-Nz92Gk";

fn secrets() -> Vec<Secret> {
    vec![
        Secret::plain("the intake token", TOKEN),
        Secret::plain("the previous token", PREVIOUS),
        Secret::of_user("the admin's password", "root of all", ADMIN),
        Secret::of_user("the store's password", "loop", STORE),
        Secret::of_user("the password of Redis", "reader", REDIS),
        Secret::of_user("the password of the mail server", "soc", MAIL),
        Secret::plain("the bearer of a callback", BEARER),
        Secret::plain("a header of a callback", HEADER),
        Secret::plain("a header whose name says nothing", UNNAMED),
        Secret::plain("the key in the query of a callback", QUERY),
        Secret::of_user("the login of a callback", "hooker", BASIC),
        Secret::plain("the key that signs", SIGNING),
        Secret::plain("the shared secret of ntopng", SHARED),
        Secret::plain("a variable of a script", VARIABLE),
        Secret::plain("a secret in a body", FOREIGN),
    ]
}

/// A callback of each kind, with secrets in all places.
fn callbacks(hooks: &str, mail: u16, script: &Path) -> String {
    format!(
        r#"
[[callback]]
name = "hook"
type = "http"
url = "{hooks}/hook?key={QUERY}"
bearer = {}
signature_key = {}
headers = {{ "X-Api-Key" = "{HEADER}", "X-Plain" = "{UNNAMED}" }}
repeat = true

[[callback]]
name = "login"
type = "http"
url = "{hooks}/login"
user = "hooker"
password = {}

[[callback]]
name = "ntopng"
type = "http"
url = "{hooks}/ntopng"
payload = "ntopng"
shared_secret = {}

[[callback]]
name = "mail"
type = "email"
server = "127.0.0.1"
port = {mail}
tls = "none"
from = "soc@example.org"
to = ["a@example.org"]
user = "soc"
password = {}

[[callback]]
name = "script"
type = "script"
program = "{}"
environment = {{ PAGER_TOKEN = "{VARIABLE}" }}
"#,
        quoted(BEARER),
        quoted(SIGNING),
        quoted(BASIC),
        quoted(SHARED),
        quoted(MAIL),
        script.display(),
    )
}

/// A JSON string, as TOML has it too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A service with all of them, in the files and variables where they may stand.
struct Ground {
    dir: tempfile::TempDir,
    settings: HashMap<String, String>,
    secrets: Vec<Secret>,
}

impl Ground {
    fn new(store: &Store, hooks: &str, mail: u16, redis: Option<u16>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let script = program(
            dir.path(),
            "tells",
            "cat; echo \"I was given $PAGER_TOKEN and have $(cat /proc/$$/environ | tr '\\0' ' ')\" >&2; exit 1",
        );
        let callbacks = callbacks(hooks, mail, &script);
        let mut settings = settings_with(store, dir.path(), &callbacks);
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a file");
            path.to_str().expect("UTF-8").to_owned()
        };
        let curlrc = format!("user: {}\n", quoted(&format!("loop:{STORE}")).replace("\\u", "u"));
        for (name, value) in [
            ("ALERTLOOP_TOKEN", TOKEN.to_owned()),
            ("ALERTLOOP_TOKEN_PREVIOUS_FILE", file("previous", PREVIOUS)),
            ("ALERTLOOP_ADMIN_USER", "root of all".to_owned()),
            ("ALERTLOOP_ADMIN_PASSWORD", ADMIN.to_owned()),
            ("OPENSEARCH_CREDS_CONFIG_FILE", file("curlrc", &curlrc)),
            ("ALERTLOOP_LOG", EVERYTHING.to_owned()),
            ("ALERTLOOP_PROVISION", "true".to_owned()),
            ("ALERTLOOP_RECONCILE_INTERVAL", "1s".to_owned()),
        ] {
            settings.insert(name.to_owned(), value);
        }
        let secrets = secrets();
        if let Some(port) = redis {
            let url = format!("redis://reader:{REDIS}@127.0.0.1:{port}/0");
            settings.insert("ALERTLOOP_NTOPNG_REDIS_URL".to_owned(), url);
        }
        Self { dir, settings, secrets }
    }

    /// With a key of its own, of which no line may be seen.
    fn with_key(mut self) -> Self {
        if let Ok((cert, key)) = certificate(self.dir.path(), "store", &[]) {
            let pem = fs::read_to_string(&key).expect("a key");
            let line = pem.lines().nth(1).expect("a line of base64").to_owned();
            self.secrets.push(Secret::plain("the client key", &line));
            let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
            self.settings.insert("ALERTLOOP_OPENSEARCH_CERT".to_owned(), text(cert));
            self.settings.insert("ALERTLOOP_OPENSEARCH_KEY".to_owned(), text(key));
        }
        self
    }

    /// Runs a command; what it prints is seen.
    fn run(&self, seen: &mut Seen, arguments: &[&str]) -> (i32, String) {
        let (code, out, err) = Process::output(&self.settings, arguments);
        let both = format!("{out}\n{err}");
        assert!(!both.contains("panicked"), "{arguments:?}: {both}");
        seen.add(arguments.join(" "), both.clone());
        (code, both)
    }
}

/// Asks the service, with the login; what it says is seen.
async fn get(process: &Process, seen: &mut Seen, path: &str) -> Value {
    let request = client().get(process.url(path)).basic_auth("root of all", Some(ADMIN));
    let answer = Answer::of(request).await;
    seen.add(format!("GET {path}"), format!("{:?}\n{}", answer.headers, told(&answer.json)));
    answer.json
}

async fn post(process: &Process, path: &str, body: &str) -> u16 {
    let request = client().post(process.url(path)).header("x-alertloop-token", TOKEN);
    Answer::of(request.header("prefer", "respond-async").body(body.to_owned())).await.status
}

/// JSON, and each text in it without its escapes.
fn told(json: &Value) -> String {
    let mut all = json.to_string();
    let mut open = vec![json];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => all.extend(["\n", text]),
            Value::Array(items) => open.extend(items),
            Value::Object(object) => {
                open.extend(object.values());
                all.extend(object.keys().flat_map(|key| ["\n", key]));
            }
            _ => {}
        }
    }
    all
}

fn add_log(process: &Process, seen: &mut Seen) {
    for line in process.log() {
        let place = format!("the log of {}", line["target"]);
        seen.add(place, told(&line));
    }
}

/// All of the spool but bodies.
fn add_spool(dir: &Path, seen: &mut Seen) {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let spool = rusqlite::Connection::open_with_flags(dir.join("data/spool.db"), flags);
    let spool = spool.expect("the spool");
    let mut tables = spool.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(tables.len() > 5, "{tables:?}");
    for table in tables {
        let mut rows = spool.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns: Vec<String> = rows.column_names().map(str::to_owned).collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (nth, column) in columns.iter().enumerate().filter(|(_, name)| *name != "body") {
                if let Ok(Some(text)) = row.get::<_, Option<String>>(nth) {
                    seen.add(format!("{table}.{column} of the spool"), text);
                }
            }
        }
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn alert(id: &str) -> String {
    json!({"alert": {"monitor": {"id": "m", "name": "Beacons"}, "trigger": {"name": "t", "severity": "1"},
        "period": {"start": "2026-11-06T05:00:00.000Z", "end": "2026-11-06T05:01:00.000Z"},
        "body": "", "alert": id, "error": ""}})
    .to_string()
}

/// Bodies that are no alert, or one with a secret under its own name.
fn bodies_with_secrets() -> Vec<(&'static str, String)> {
    vec![
        ("/mapi/alert", format!(r#"{{"sharedsecret": "{FOREIGN}", "no": "alert"}}"#)),
        ("/mapi/alert", format!(r#"{{"x-alertloop-token": "{FOREIGN}", cut"#)),
        ("/mapi/alert", format!("<p>http://example.org/mapi/alert?token={FOREIGN}</p>")),
        ("/mapi/alert/ntopng", format!(r#"{{"sharedsecret": "{FOREIGN}", "alerts": [17]}}"#)),
        ("/mapi/alert/graylog", format!(r#"{{"url": "http://a/?api_key={FOREIGN}", "event": 1}}"#)),
        ("/mapi/alert/graylog", format!("a=b&token={FOREIGN}")),
        ("/mapi/alert/alertmanager", format!(r#"{{"alerts": [], "a": "sharedsecret={FOREIGN}"}}"#)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_everybody_refuses_shows_no_secret() {
    let redis = redis!();
    let (echo, hooks, mail) =
        (Echo::start(401).await, Echo::start(400).await, MailEcho::start().await);
    let ground = Ground::new(&Store::at(echo.url()), &hooks.url(), mail.port(), Some(redis.port()))
        .with_key();
    let mut seen = Seen::default();
    let process = Process::serve(&ground.settings);

    assert_eq!(post(&process, "/mapi/alert", &alert("one")).await, 202);
    for (path, body) in bodies_with_secrets() {
        let status = post(&process, path, &body).await;
        assert!(status == 202 || status == 200, "{status} {path} {body}");
    }
    strangers(&process, &mut seen).await;

    // Every callback has run and failed, and Redis has been tried.
    until("each callback fails", async || {
        let all = get(&process, &mut Seen::default(), "/mapi/deliveries").await;
        let items = all["items"].as_array().cloned().unwrap_or_default();
        let has_run = |one: &Value| one["attempts"].as_u64().unwrap_or(0) > 0;
        let names = ["hook", "login", "ntopng", "mail", "script"];
        names.iter().all(|name| items.iter().any(|one| one["callback"] == *name && has_run(one)))
    })
    .await;
    until("Redis refuses the login", async || {
        let ready = get(&process, &mut Seen::default(), "/readyz").await;
        ready["queues"][0]["trouble"].is_string() && ready["store"]["trouble"].is_string()
    })
    .await;
    // The store's refusals of other kinds, one after the other.
    for status in [400, 403, 404, 409, 413, 429, 500] {
        echo.answer(status);
        let said = process.log().len();
        until("something is tried", async || process.log().len() > said + 5).await;
        look(&process, &mut seen).await;
        ground.run(&mut seen, &["doctor", "--output", "json"]);
    }
    commands(&ground, &process, &mut seen);
    seen.add("the command line", command_lines(&process));
    process.signal("TERM");
    until("it ends its work", async || process.has_said("stopped") || ended(&process)).await;
    add_log(&process, &mut seen);
    add_spool(ground.dir.path(), &mut seen);
    let logged = process.log().len();
    assert!(logged > 100, "a log at the level trace has more than {logged} lines");
    seen.has_none_of(&ground.secrets);
}

fn ended(process: &Process) -> bool {
    std::net::TcpStream::connect(process.url("").trim_start_matches("http://")).is_err()
}

/// What the API and the rest of HTTP tell to who may ask.
async fn look(process: &Process, seen: &mut Seen) {
    for path in
        ["/readyz", "/metrics", "/livez", "/mapi/ping", "/mapi/ready", "/mapi/alerts/engaged"]
    {
        get(process, seen, path).await;
    }
    for list in ["dead-letters", "deliveries"] {
        let all = get(process, seen, &format!("/mapi/{list}")).await;
        for one in all["items"].as_array().into_iter().flatten() {
            get(process, seen, &format!("/mapi/{list}/{}", one["id"])).await;
        }
    }
    get(process, seen, "/mapi/dead-letters/export").await;
}

/// Secrets in wrong places: what is said to a stranger holds none.
async fn strangers(process: &Process, seen: &mut Seen) {
    let client = client();
    let login = |user: &str, password: &str| {
        let request = client.get(process.url("/mapi/deliveries"));
        request.basic_auth(user, Some(password))
    };
    let requests = [
        login("root of all", TOKEN),
        login(ADMIN, "root of all"),
        login("loop", STORE),
        client.get(process.url("/mapi/deliveries")).bearer_auth(BEARER),
        client.get(process.url("/mapi/deliveries")).header("x-alertloop-token", TOKEN),
        client.get(process.url("/metrics")).header("x-alertloop-token", format!("x{PREVIOUS}")),
        client.post(process.url("/mapi/alert")).header("x-alertloop-token", SHARED).body("{}"),
        client.post(process.url("/mapi/alert")).header("cookie", TOKEN).body(alert("two")),
        client.post(process.url("/mapi/alert")).basic_auth(TOKEN, Some("x")).body(alert("two")),
        client.post(process.url("/mapi/alert")).body(json!({"sharedsecret": ADMIN}).to_string()),
    ];
    for (nth, request) in requests.into_iter().enumerate() {
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 401, "{nth}: {answer:?}");
        seen.add(format!("what stranger {nth} is told"), told(&answer.json));
    }
    // In a path or a query, where they go into the logs of others: we at least do not repeat them.
    for (method, path) in [
        ("GET", format!("/{REDIS}")),
        ("GET", format!("/mapi/{BEARER}/x")),
        ("POST", format!("/mapi/alert/{HEADER}")),
        ("DELETE", format!("/mapi/alert?token={QUERY}")),
        ("GET", format!("/mapi/deliveries?state={QUERY}")),
        ("GET", format!("/mapi/deliveries/{HEADER}")),
        ("GET", format!("/mapi/dead-letters?cursor={SIGNING}&source={SIGNING}")),
    ] {
        let method = method.parse().expect("a method");
        let request = client.request(method, process.url(&path));
        let answer = Answer::of(request.basic_auth("root of all", Some(ADMIN))).await;
        seen.add(format!("the answer to {}", path.len()), told(&answer.json));
    }
}

/// Every command, beside the running service.
fn commands(ground: &Ground, process: &Process, seen: &mut Seen) {
    let mut ground = Ground {
        dir: tempfile::tempdir().expect("a directory"),
        secrets: Vec::new(),
        settings: ground.settings.clone(),
    };
    let address = process.url("").trim_start_matches("http://").to_owned();
    ground.settings.insert("ALERTLOOP_LISTEN".to_owned(), address);
    let export = ground.dir.path().join("exported");
    let export = export.to_str().expect("UTF-8").to_owned();
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["doctor", "--help"],
        &["settings"],
        &["doctor"],
        &["health"],
        &["provision", "plan"],
        &["provision", "plan", "--output", "json"],
        &["provision", "apply"],
        &["provision", "test"],
        &["provision", "export", &export],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--output", "json"],
        &["dead-letters", "show", "1"],
        &["dead-letters", "show", "2", "--output", "json"],
        &["deliveries", "list"],
        &["deliveries", "show", "1"],
        &["deliveries", "show", "2", "--output", "json"],
        &["callbacks", "list"],
        &["callbacks", "list", "--output", "json"],
        &["callbacks", "test", "hook"],
        &["callbacks", "test", "login"],
        &["callbacks", "test", "ntopng"],
        &["callbacks", "test", "mail"],
        &["callbacks", "test", "script"],
        &["callbacks", "render", "hook", "--sample"],
        &["callbacks", "render", "ntopng", "--sample"],
        &["callbacks", "render", "mail", "--sample"],
        &["engaged"],
        &["acknowledge", "nothing"],
        &["conditions", "list"],
        &["spool", "check"],
        &["no-such-command"],
        &["serve", "--no-such-flag"],
    ] {
        ground.run(seen, arguments);
    }
    let exported = fs::read_dir(&export).into_iter().flatten().flatten();
    for file in exported {
        seen.add("an exported file", fs::read_to_string(file.path()).unwrap_or_default());
    }
}

/// The command lines of the service and of what it starts.
fn command_lines(process: &Process) -> String {
    let own = fs::read(format!("/proc/{}/cmdline", process.id())).expect("a command line");
    String::from_utf8_lossy(&own).replace('\0', " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_or_not_trusted_shows_no_secret() {
    for url in ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://no-such-host.invalid:9200"] {
        let (hooks, mail) = ("https://127.0.0.1:1", 1);
        let mut ground = Ground::new(&Store::at(url.to_owned()), hooks, mail, Some(1));
        // The login in the address this time.
        let escaped: String =
            url::form_urlencoded::byte_serialize(STORE.as_bytes()).collect::<String>();
        let with_login = url.replace("://", &format!("://loop:{escaped}@"));
        ground.settings.insert("OPENSEARCH_URL".to_owned(), with_login);
        ground.settings.remove("OPENSEARCH_CREDS_CONFIG_FILE");
        let mut seen = Seen::default();
        let process = Process::serve(&ground.settings);
        assert_eq!(post(&process, "/mapi/alert", &alert("one")).await, 202);
        until("the store's trouble is told", async || {
            let ready = get(&process, &mut seen, "/readyz").await;
            ready["store"]["trouble"].is_string()
        })
        .await;
        until("callbacks fail", async || {
            let all = get(&process, &mut seen, "/mapi/deliveries").await;
            let items = all["items"].as_array().cloned().unwrap_or_default();
            items.len() >= 5 && items.iter().all(|one| one["attempts"].as_u64().unwrap_or(0) > 0)
        })
        .await;
        look(&process, &mut seen).await;
        ground.run(&mut seen, &["doctor"]);
        ground.run(&mut seen, &["provision", "plan"]);
        add_log(&process, &mut seen);
        add_spool(ground.dir.path(), &mut seen);
        process.kill();
        seen.has_none_of(&ground.secrets);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_channel_shows_no_secret_of_it() {
    let store = store!(alerting);
    let _alone = support::provisioning(&store).await;
    let before = support::Reluctant::start(&store, 1).await;
    let echo = Echo::start(400).await;
    before.send_to(&echo.url(), "_plugins/_notifications/configs");
    let mut ground = Ground::new(&Store::at(before.url()), "https://127.0.0.1:1", 1, None);
    // This node knows no logins, and needs none.
    ground.settings.insert("MALCOLM_NETWORK_INDEX_PATTERN".to_owned(), store.pattern().to_owned());
    let mut seen = Seen::default();
    let process = Process::serve(&ground.settings);
    until("provisioning fails", async || {
        process
            .log()
            .iter()
            .any(|line| told(line).contains("repeated") || told(line).contains("you sent"))
            || before.harmed() > 3
    })
    .await;
    look(&process, &mut seen).await;
    ground.run(&mut seen, &["provision", "plan"]);
    ground.run(&mut seen, &["provision", "apply"]);
    ground.run(&mut seen, &["doctor"]);
    add_log(&process, &mut seen);
    process.kill();
    seen.has_none_of(&ground.secrets);
}

#[test]
fn the_settings_as_debug_show_no_secret() {
    let ground = Ground::new(&Store::away(), "http://127.0.0.1:1", 1, Some(1)).with_key();
    let settings = &ground.settings;
    let config = Config::read(|name| settings.get(name).cloned(), |path| fs::read(path));
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    let mut seen = Seen::default();
    seen.add("Debug", format!("{config:?}"));
    seen.add("pretty Debug", format!("{config:#?}"));
    for callback in &config.callbacks {
        seen.add("what is shown of a callback", told(&callback.shown));
    }
    seen.has_none_of(&ground.secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_settings_repeat_no_secret() {
    let mut seen = Seen::default();
    let new = || Ground::new(&Store::away(), "http://127.0.0.1:1", 1, None);
    let all = new().secrets;
    let bad = [
        ("OPENSEARCH_URL", format!("http://loop:{STORE}@[:9200")),
        ("OPENSEARCH_URL", format!("htp://loop:{BEARER}@opensearch:9200")),
        ("OPENSEARCH_URL", BEARER.to_owned()),
        ("ALERTLOOP_NTOPNG_REDIS_URL", format!("redis://reader:{REDIS}@host:99999/0")),
        ("ALERTLOOP_NTOPNG_REDIS_URL", format!("http://reader:{REDIS}@host")),
        ("ALERTLOOP_TOKEN", format!("{TOKEN} with spaces")),
        ("ALERTLOOP_TOKEN_PREVIOUS", format!("ü{PREVIOUS}")),
        ("ALERTLOOP_WEBHOOK_URL", format!("http://x:{TOKEN}@api:5000/mapi/alert")),
        ("ALERTLOOP_GRAYLOG_URL", format!("http://x:{QUERY}@graylog/")),
        ("ALERTLOOP_LISTEN", ADMIN.to_owned()),
        ("ALERTLOOP_LOG", format!("info,{ADMIN}=x=y")),
        ("ALERTLOOP_BODY_LIMIT", ADMIN.to_owned()),
        ("ALERTLOOP_COMPAT", ADMIN.to_owned()),
        ("ALERTLOOP_ADMIN_USER", String::new()),
        ("ALERTLOOP_NTOPNG_VERSION", HEADER.to_owned()),
        ("ALERTLOOP_NTOPNG_TEE", HEADER.to_owned()),
        ("MALCOLM_NETWORK_INDEX_PATTERN", HEADER.to_owned()),
        ("ALERTLOOP_TOKEN_FILE", format!("/{HEADER}")),
    ];
    for (name, value) in bad {
        let mut ground = new();
        ground.settings.insert(name.to_owned(), value);
        let (code, said) = ground.run(&mut seen, &["provision", "plan"]);
        assert_eq!(code, 2, "{name}: {said}");
    }
    for (file, text) in [
        ("curlrc", format!("user: {STORE}")),
        ("curlrc", format!("user: :{STORE}")),
        ("alertloop.toml", format!("token = {TOKEN}")),
        ("alertloop.toml", format!("admin_password = \"{BEARER}\ntoken = 1")),
        ("alertloop.toml", format!("admin_password = [\"{BEARER}\"]")),
        ("alertloop.toml", format!("drain = \"{BEARER}\"")),
        (
            "alertloop.toml",
            format!("[[callback]]\nname = \"x\"\ntype = \"http\"\nurl = \"{BEARER}\""),
        ),
        (
            "alertloop.toml",
            format!(
                "[[callback]]\nname = \"x\"\ntype = \"http\"\nurl = \"http://a\"\nbearer = [\"{BEARER}\"]"
            ),
        ),
        (
            "alertloop.toml",
            format!(
                "[[callback]]\nname = \"x\"\ntype = \"http\"\nurl = \"http://a\"\ntimeout = \"{BEARER}\""
            ),
        ),
        (
            "alertloop.toml",
            format!(
                "[[callback]]\nname = \"x\"\ntype = \"http\"\nurl = \"http://a\"\nheaders = {{ \"X-A\" = \"{BEARER}\\n\" }}"
            ),
        ),
        (
            "alertloop.toml",
            format!("[[callback]]\nname = \"x\"\ntype = \"http\"\nurl = \"http://u:{QUERY}@[a\""),
        ),
        ("alertloop.toml", format!("[[callback]]\nname = \"x\"\ntype = \"{BEARER}\"")),
        (
            "alertloop.toml",
            format!(
                "[[callback]]\nname = \"x\"\ntype = \"email\"\nserver = \"a\"\nfrom = \"a@b.c\"\nto = \"a@b.c\"\nuser = \"u\"\npassword = {{ a = \"{BEARER}\" }}"
            ),
        ),
    ] {
        let ground = new();
        fs::write(ground.dir.path().join(file), text.clone()).expect("a file");
        let (code, said) = ground.run(&mut seen, &["provision", "plan"]);
        assert_eq!(code, 2, "{text}: {said}");
    }
    seen.has_none_of(&all);
}
