//! Whoever makes the traffic writes part of the alert: markup, scripts, formulas, escapes and line breaks
//! in every field of every source are text, wherever they come out.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    callbacks::{client, deliveries, program, settings_with},
    store,
    support::{
        Answer, MailServer, Process, Receiver, Store, TOKEN,
        hostile::{HOSTILE, messages, no_alerts},
        skip,
    },
};

/// How a forged line would begin.
const FORGED: [&str; 4] = ["Bcc:", "X-Pwned:", "{\"timestamp\":\"2026-11-22", "=HYPERLINK"];

/// Posts all of them, and some that are no alerts.
pub async fn post_all(process: &Process) {
    for (path, message) in messages() {
        let status = post(process, path, message.to_string()).await;
        assert!(status == 200 || status == 202, "{status} {path}");
    }
    for (path, body) in no_alerts() {
        assert_eq!(post(process, path, body).await, 202, "{path}");
    }
}

async fn post(process: &Process, path: &str, body: String) -> u16 {
    let request = client().post(process.url(path)).header("x-alertloop-token", TOKEN);
    let request = request.header("prefer", "wait=20").header("content-type", "x/y");
    Answer::of(request.body(body)).await.status
}

/// Whether something would steer a terminal or turn text around.
fn steers(text: &str) -> bool {
    text.contains(|letter: char| {
        letter.is_control() && letter != '\n' && letter != '\t'
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

fn begins_no_line(text: &str) -> bool {
    !text.lines().any(|line| FORGED.iter().any(|forged| line.starts_with(forged)))
}

/// Settings with a mail, a request and a program for every alert.
fn settings_of(
    store: &Store,
    dir: &Path,
    mail: u16,
    receiver: &Receiver,
) -> HashMap<String, String> {
    let script = program(
        dir,
        "keeps",
        "n=$(mktemp -d \"$PWD/run.XXXXXX\"); cat >\"$n/input\"; env -0 >\"$n/environment\"; echo \"$@\" >\"$n/arguments\"; \
         sh -c 'echo \"$ALERT_RULE\"' >\"$n/quoted\"; echo \"$ALERT_MESSAGE\"",
    );
    let callbacks = format!(
        r#"
[[callback]]
name = "mail"
type = "email"
server = "127.0.0.1"
port = {mail}
tls = "none"
from = "SOC <soc@example.org>"
to = ["a@example.org"]
subject = "${{event_definition_title}}: ${{event.message}}"
html = "<p id='rule'>${{alert.rule}}</p>${{foreach backlog m}}<p>${{m.message}}</p>${{end}}"
headers = {{ "X-Rule" = "${{alert.rule}}", "X-Url" = "${{alert.url}}" }}

[[callback]]
name = "hook"
type = "http"
url = "{}"

[[callback]]
name = "chat"
type = "http"
url = "{}"
body = '{{"text": "${{event.message}} ${{alert.rule}}"}}'

[[callback]]
name = "script"
type = "script"
program = "{}"
directory = "{}"
arguments = ["fixed"]
"#,
        receiver.url("hook"),
        receiver.url("chat"),
        script.display(),
        dir.display(),
    );
    settings_with(store, dir, &callbacks)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_writes_is_text_in_records_mails_requests_programs_and_answers() {
    let store = store!();
    store.make_template().await;
    let server = match MailServer::start_with(&json!({})) {
        Ok(server) => server,
        Err(why) => return skip(&why),
    };
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let settings = settings_of(&store, dir.path(), server.port(), &receiver);
    let process = Process::serve(&settings);
    post_all(&process).await;

    // Two of the messages hold two alerts; the one that is over runs no callback.
    let records = store.wait_for_records(messages().len() + 2).await;
    for record in &records {
        is_text_in_a_record(record);
    }
    let names: Vec<_> =
        records.iter().map(|record| record["_source"]["rule"]["name"].to_string()).collect();
    assert!(names.iter().any(|name| name.contains("<script>")), "it came through: {names:?}");
    let done = |items: &[Value]| {
        items.len() >= 4 * 8 && items.iter().all(|one| one["state"] == "delivered")
    };
    let delivered = deliveries(&process, "?limit=1000", done).await;
    let of = |name: &str| delivered.iter().filter(|one| one["callback"] == name).count();

    for _ in 0..of("mail") {
        is_text_in_a_mail(&server.next());
    }
    for name in ["hook", "chat"] {
        for request in receiver.wait_for(name, of(name)).await {
            assert!(!request.headers.contains_key("x-pwned"), "{:?}", request.headers);
            assert!(request.json().is_object(), "{:?}", request.body);
        }
    }
    is_text_in_programs(dir.path(), of("script"));
    let exported = answers_are_json(&process, &delivered).await;
    assert!(exported.contains("<script>"), "the bodies are there");
    assert!(!dir.path().join("pwned").exists() && !Path::new("pwned").exists(), "it was run");
    commands_print_text(&settings, &process);
    for line in process.log() {
        assert!(line.is_object(), "a log line is JSON: {line}");
        assert_ne!(line["message"], "pwned");
    }
}

fn is_text_in_a_record(record: &Value) {
    let source = &record["_source"];
    assert_eq!(source["event"]["dataset"], "alerting", "{record}");
    let id = record["_id"].as_str().expect("an id");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{id}");
    let url = source["event"]["url"].as_str().unwrap_or("http:");
    assert!(!url.contains(['<', '"', '\n']) && !steers(url), "{url}");
    assert!(
        url.starts_with("http:") || url.starts_with("https:") || url.starts_with("/dashboards/")
    );
}

fn is_text_in_a_mail(mail: &Value) {
    assert_eq!(mail["to"], json!(["a@example.org"]), "nobody else gets it: {mail:#}");
    let headers = mail["headers"].as_object().expect("headers");
    for (name, values) in headers {
        let known = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "In-Reply-To",
            "References",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "X-Rule",
            "X-Url",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        assert!(known.contains(&name.as_str()), "{name}: {values}");
        for value in values.as_array().expect("values") {
            let value = value.as_str().expect("text");
            assert!(!value.contains('\n') && !steers(value), "{name}: {value:?}");
        }
    }
    let html = mail["html"].as_str().expect("HTML");
    for tag in html.split('<').skip(1) {
        assert!(
            tag.starts_with("p id='rule'>") || tag.starts_with("p>") || tag.starts_with("/p>"),
            "<{tag}"
        );
    }
}

fn is_text_in_programs(dir: &Path, count: usize) {
    let runs: Vec<_> = fs::read_dir(dir)
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("run."))
        .collect();
    assert_eq!(runs.len(), count);
    let mut printed = 0;
    for run in runs {
        let read = |name: &str| fs::read(run.path().join(name)).expect(name);
        assert!(serde_json::from_slice::<Value>(&read("input")).is_ok_and(|json| json.is_object()));
        assert_eq!(
            String::from_utf8_lossy(&read("arguments")),
            "fixed\n",
            "no argument is the alert's"
        );
        let environment = String::from_utf8_lossy(&read("environment")).into_owned();
        for variable in environment.split('\0').filter(|variable| !variable.is_empty()) {
            let (name, _) = variable.split_once('=').expect("a variable");
            let known = name.starts_with("ALERT_")
                || ["PATH", "PWD", "_", "SHLVL", "OLDPWD", "n"].contains(&name);
            assert!(known, "{name:?} is a variable of the alert's");
        }
        // A program that quotes its variables prints them; some rules have names of their own.
        printed += usize::from(String::from_utf8_lossy(&read("quoted")).contains("$(touch pwned)"));
    }
    assert!(printed >= 3, "the text came to {printed} programs of {count}");
}

/// All that the API says is JSON, also what is asked with hostile words; gives the bodies.
async fn answers_are_json(process: &Process, delivered: &[Value]) -> String {
    let get = async |path: String| {
        let answer = Answer::of(client().get(process.url(&path))).await;
        let kind = answer.header("content-type").to_owned();
        assert!(kind.starts_with("application/json"), "{path}: {kind}");
        assert!(answer.json.is_object(), "{path}: {:?}", answer.json);
        answer
    };
    let escaped: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let letters = get("/mapi/dead-letters".to_owned()).await;
    let mut bodies = String::new();
    for letter in letters.json["items"].as_array().expect("items") {
        bodies
            .push_str(&get(format!("/mapi/dead-letters/{}", letter["id"])).await.json.to_string());
    }
    assert!(letters.json["items"].as_array().is_some_and(|items| items.len() >= 3), "{letters:?}");
    for one in delivered.iter().step_by(7) {
        get(format!("/mapi/deliveries/{}", one["id"])).await;
    }
    let of = |answer: &Answer| answer.json["items"].as_array().map(Vec::len);
    let all = of(&get("/mapi/alerts/engaged?limit=1000".to_owned()).await);
    assert!(all > Some(0), "some are engaged");
    // What a query language would read as "all" finds what has these letters: nothing.
    for words in ["*:*", "?*", "* OR *:*", "_exists_:event", "/.*/", "%22%7D%5D", "%5C*"] {
        for filter in ["rule", "entity", "text"] {
            let found = of(&get(format!("/mapi/alerts/engaged?{filter}={words}")).await);
            assert!(found < all, "{filter}={words} finds {found:?} of {all:?}");
        }
    }
    for path in [
        format!("/mapi/alerts/engaged?text={escaped}"),
        format!("/mapi/alerts/engaged?entity={escaped}&rule={escaped}"),
        format!("/mapi/alerts/engaged?after={escaped}"),
        format!("/mapi/deliveries?state={escaped}"),
        format!("/mapi/deliveries?callback={escaped}&alert={escaped}"),
        format!("/mapi/dead-letters?reason={escaped}"),
        format!("/mapi/{escaped}"),
        format!("/mapi/deliveries/{escaped}"),
    ] {
        get(path).await;
    }
    // An id is a name in one place: it leads nowhere else.
    for id in [
        "..%2F..%2F_cluster%2Fsettings",
        "a%2F..%2F..%2F_all",
        "%2e%2e",
        "x%0d%0aX-Pwned:%20yes",
        "*",
    ] {
        let path = format!("/mapi/alerts/{id}/acknowledge");
        let request = client().post(process.url(&path)).header("content-type", "application/json");
        let answer = Answer::of(request.body("{}")).await;
        assert!(
            (400..500).contains(&answer.status) || answer.json["state"] != "acknowledged",
            "{id}: {answer:?}"
        );
        assert!(!answer.headers.contains_key("x-pwned"), "{answer:?}");
    }
    bodies
}

/// Tables for people hold nothing that steers a terminal or begins a line.
fn commands_print_text(settings: &HashMap<String, String>, process: &Process) {
    let mut settings = settings.clone();
    let address = process.url("").trim_start_matches("http://").to_owned();
    settings.insert("ALERTLOOP_LISTEN".to_owned(), address);
    settings.insert("ALERTLOOP_LOG_FORMAT".to_owned(), "pretty".to_owned());
    for arguments in [
        &["engaged"][..],
        &["dead-letters", "list"],
        &["dead-letters", "show", "1"],
        &["dead-letters", "show", "2"],
        &["deliveries", "list"],
        &["deliveries", "show", "1"],
        &["deliveries", "show", "2"],
        &["deliveries", "show", "3"],
        &["deliveries", "show", "4"],
        &["doctor"],
        &["acknowledge", HOSTILE],
        &["deliveries", "list", "--callback", HOSTILE],
    ] {
        let (_, out, err) = Process::output(&settings, arguments);
        for text in [&out, &err] {
            assert!(!steers(text), "{arguments:?}: {text:?}");
        }
        // The body of a dead letter is shown as it came: it has lines, below the fields.
        let (above, _) = out.split_once("\n\n").unwrap_or((&out, ""));
        assert!(begins_no_line(above) && begins_no_line(&err), "{arguments:?}: {out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_for_people_has_no_line_of_a_strangers() {
    let store = store!();
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    // Nobody takes the mails: the log tells why.
    let mut settings = settings_of(&store, dir.path(), 1, &receiver);
    receiver.answer("hook", 400);
    settings.insert("ALERTLOOP_LOG".to_owned(), "trace".to_owned());
    let json = Process::serve(&settings);
    post_all(&json).await;
    let enough = |items: &[Value]| {
        items.len() >= 4 * 8 && items.iter().all(|one| one["attempts"].as_u64().unwrap_or(0) > 0)
    };
    deliveries(&json, "?limit=1000", enough).await;
    json.signal("TERM");
    let begun = std::time::Instant::now();
    while !json.has_said("stopped") {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(json.log().iter().all(Value::is_object), "each line is JSON");
    // The same entries again, in words: what it had left to do, it says at the start.
    settings.insert("ALERTLOOP_LOG_FORMAT".to_owned(), "pretty".to_owned());
    settings.insert("ALERTLOOP_LISTEN".to_owned(), free_address());
    let mut command = Process::command(&settings, &["serve"]);
    let log = fs::File::create(dir.path().join("log")).expect("a file");
    let mut child = command.stderr(log).spawn().expect("a process");
    let address = format!("http://{}", settings["ALERTLOOP_LISTEN"]);
    let begun = std::time::Instant::now();
    while client().get(format!("{address}/livez")).send().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (path, message) in messages() {
        let request = client().post(format!("{address}{path}")).header("x-alertloop-token", TOKEN);
        let answer =
            Answer::of(request.header("prefer", "wait=20").body(message.to_string())).await;
        assert!(answer.status < 300, "{answer:?}");
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let log = fs::read_to_string(dir.path().join("log")).expect("a log");
    assert!(log.lines().count() > 2, "{log}");
    assert!(!steers(&log) && begins_no_line(&log), "{log}");
    for line in log.lines() {
        assert!(line.starts_with("20"), "a line begins with its time: {line}");
    }
}

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a free port").to_string()
}
