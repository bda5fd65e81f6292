//! What was refused can be looked at, sent again and removed: by the API and by the command,
//! whether the service runs or not.

use std::{collections::HashMap, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use alertloop::{
    intake::{Encoding, Envelope},
    spool::{Settlement, Spool},
};
use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Process, TOKEN},
};

const SECRET: &str = "do-not-tell-anybody";

/// Settings for a store that is not there: what is replayed waits.
fn settings(dir: &Path) -> HashMap<String, String> {
    [
        ("OPENSEARCH_URL", "http://127.0.0.1:9"),
        ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
        ("ALERTLOOP_DATA_DIR", dir.to_str().expect("UTF-8")),
        ("ALERTLOOP_TOKEN", TOKEN),
        ("ALERTLOOP_LOG_FORMAT", "json"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn envelope(source: &str, body: &[u8]) -> Envelope {
    Envelope {
        source: source.parse().ok(),
        received: Timestamp::from_millisecond(1_795_258_649_321).expect("a time"),
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body: body.to_vec(),
    }
}

/// Makes a spool with these dead letters: source, reason, body. The first is the head of one.
async fn fill(dir: &Path, letters: &[(&str, &str, &[u8])]) {
    let spool = Spool::open(dir, 1 << 30).expect("a spool");
    spool.set_aside(envelope("", b"{\"head"), "over the limit".to_owned()).await.expect("kept");
    let mut settlements = Vec::new();
    for (source, reason, body) in letters {
        let id = spool.append(envelope(source, body), None).await.expect("kept");
        settlements.push(Settlement { id, refused: Some((*reason).to_owned()) });
    }
    spool.settle(settlements).await.expect("settled");
    spool.close().await;
}

/// The usual four: 1 is a head, 2 and 3 are no JSON, 4 has a secret.
async fn fill_four(dir: &Path) {
    let secret = format!(r#"{{"alerts":[{{"sharedsecret": "{SECRET}"}}]}}"#);
    let packed = format!("<sharedsecret='{SECRET}'>\u{1b}[2J");
    fill(
        dir,
        &[
            ("", "not JSON: <", packed.as_bytes()),
            ("opensearch", "not JSON: \u{fffd}", b"\xff\0\xfd"),
            ("opensearch", "mapper_parsing_exception", secret.as_bytes()),
        ],
    )
    .await;
}

/// Runs the command to its end: exit code, what it printed, what it said.
fn run(settings: &HashMap<String, String>, arguments: &[&str]) -> (i32, String, String) {
    let arguments = [&["dead-letters"], arguments].concat();
    let output = Process::command(settings, &arguments).output().expect("an end");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let Output { status, stdout, stderr } = &output;
    (status.code().expect("a code"), text(stdout), text(stderr))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn get(process: &Process, path: &str) -> Answer {
    Answer::of(client().get(process.url(path))).await
}

async fn post(process: &Process, path: &str, body: &str) -> Answer {
    let request = client().post(process.url(path)).header("content-type", "application/json");
    Answer::of(request.body(body.to_owned())).await
}

fn ids(answer: &Answer) -> Vec<i64> {
    let items = answer.json["items"].as_array().expect("items");
    items.iter().map(|item| item["id"].as_i64().expect("an id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_replays_and_drops_what_is_selected() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_four(dir.path()).await;
    let process = Process::serve(&settings(dir.path()));

    let path = "/mapi/dead-letters";
    let all = get(&process, path).await;
    assert_eq!((ids(&all), &all.json["next"]), (vec![1, 2, 3, 4], &Value::Null));
    let second = &all.json["items"][1];
    assert_eq!((&second["attempts"], &second["source"]), (&json!(1), &json!("")));
    assert_eq!(second["received_at"], "2026-11-21T10:57:29.321Z");
    assert!(second["died_at"].is_string() && second["body"].is_null());
    for (query, want) in [
        ("?reason=NOT+json", vec![2, 3]),
        ("?source=opensearch&reason=json", vec![3]),
        ("?source=-", vec![1, 2]),
        ("?reason=&source=", vec![1, 2, 3, 4]),
        ("?after=2&limit=1", vec![3]),
        ("/?reason=nothing", vec![]),
    ] {
        assert_eq!(ids(&get(&process, &format!("{path}{query}")).await), want, "{query}");
    }
    let one = get(&process, "/mapi/dead-letters/4").await.json;
    assert_eq!(one["body"], r#"{"alerts":[{"sharedsecret": "***"}]}"#);
    assert_eq!(
        (&one["encoding"], &one["content_type"]),
        (&json!("identity"), &json!("application/json"))
    );
    assert_eq!(get(&process, "/mapi/dead-letters/3").await.json["body_base64"], "/wD9");

    for (selection, want) in [
        (r#"{"ids":[1,2,2,99]}"#, json!({"replayed": 1, "left": 1})),
        (r#"{"reason":"MAPPER"}"#, json!({"replayed": 1, "left": 0})),
        (r#"{"source":"opensearch"}"#, json!({"replayed": 1, "left": 0})),
        (r#"{"all":true}"#, json!({"replayed": 0, "left": 1})),
    ] {
        let answer = post(&process, "/mapi/dead-letters/replay", selection).await;
        assert_eq!((answer.status, answer.json), (200, want), "{selection}");
    }
    let ready = get(&process, "/readyz").await.json;
    assert_eq!(
        (&ready["spool"]["waiting"], &ready["spool"]["dead_letters"]),
        (&json!(3), &json!(1))
    );
    let answer = post(&process, "/mapi/dead-letters/drop/", r#"{"all":true}"#).await;
    assert_eq!((answer.status, answer.json), (200, json!({"dropped": 1})));
    assert!(ids(&get(&process, path).await).is_empty());
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let spool = Spool::open(dir.path(), 1 << 30).expect("a spool");
    let bodies: Vec<_> = spool.next_batch(0, 9, 1 << 20).expect("entries");
    assert!(String::from_utf8_lossy(&bodies[1].envelope.body).contains(SECRET), "kept as it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_badly_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_four(dir.path()).await;
    let process = Process::serve(&settings(dir.path()));
    for path in ["/mapi/dead-letters/replay", "/mapi/dead-letters/drop"] {
        for body in [
            "",
            "{}",
            "[1]",
            r#"{"ids":[]}"#,
            r#"{"ids":["1"]}"#,
            r#"{"all":false}"#,
            r#"{"reason":""}"#,
            r#"{"source":""}"#,
            r#"{"all":true,"reason":"x"}"#,
            r#"{"all":true,"sauce":"x"}"#,
        ] {
            let answer = post(&process, path, body).await;
            assert_eq!(answer.status, 400, "{path} {body}: {:?}", answer.json);
            assert!(answer.json["error"].is_string());
        }
        let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(5 << 20));
        assert_eq!(post(&process, path, &large).await.status, 400);
        // What a form on any page could send.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let request = client().post(process.url(path)).header("content-type", kind);
            let answer = Answer::of(request.body(r#"{"all":true}"#)).await;
            assert_eq!(answer.status, 415, "{path} {kind}");
        }
        let preflight = client().request(reqwest::Method::OPTIONS, process.url(path));
        assert_eq!(Answer::of(preflight).await.status, 405);
        assert_eq!(get(&process, path).await.status, 405);
    }
    for path in ["?after=x", "?limit=-1", "?raeson=x", "/x", "/export?after=1"] {
        let answer = get(&process, &format!("/mapi/dead-letters{path}")).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json["error"].is_string(), "{path}");
    }
    assert_eq!(ids(&get(&process, "/mapi/dead-letters").await), [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_read_may_replay_and_drop() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_four(dir.path()).await;
    let gets = ["", "/1", "/export"].map(|path| ("GET", path));
    let posts = ["/replay", "/drop"].map(|path| ("POST", path));
    let ask = |process: &Process, (method, path): (&str, &str), header: (&str, &str)| {
        let method: reqwest::Method = method.parse().expect("a method");
        let request = client().request(method, process.url(&format!("/mapi/dead-letters{path}")));
        let request = request.header("content-type", "application/json").header(header.0, header.1);
        Answer::of(request.body(r#"{"ids":[99]}"#))
    };
    // Without a login: this machine, and not by way of a proxy.
    let process = Process::serve(&settings(dir.path()));
    for route in gets.into_iter().chain(posts) {
        assert_eq!(ask(&process, route, ("x-forwarded-for", "192.0.2.1")).await.status, 404);
        assert_eq!(ask(&process, route, ("accept", "*/*")).await.status, 200, "{route:?}");
    }
    process.kill();
    // With one: nobody else; the secret of the intake does not count.
    let mut settings = settings(dir.path());
    settings.insert("ALERTLOOP_ADMIN_USER".to_owned(), "ann".to_owned());
    settings.insert("ALERTLOOP_ADMIN_PASSWORD".to_owned(), "well kept".to_owned());
    let process = Process::serve(&settings);
    for route in gets.into_iter().chain(posts) {
        for wrong in [("x-alertloop-token", TOKEN), ("authorization", "Basic YW5uOndyb25n")] {
            assert_eq!(ask(&process, route, wrong).await.status, 401, "{route:?}");
        }
        let right = ("authorization", "Basic YW5uOndlbGwga2VwdA==");
        assert_eq!(ask(&process, route, right).await.status, 200, "{route:?}");
    }
    // So too for the command.
    let url = process.url("/");
    let (code, printed, _) = run(&settings, &["list", "--url", &url]);
    assert_eq!((code, printed.lines().count()), (0, 5));
    settings.insert("ALERTLOOP_ADMIN_PASSWORD".to_owned(), "a guess".to_owned());
    let (code, printed, said) = run(&settings, &["drop", "--all", "--yes", "--url", &url]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(said.contains("ALERTLOOP_ADMIN_PASSWORD") && !said.contains("guess"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_every_dead_letter_and_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let body = format!(r#"{{"sharedsecret":"{SECRET}","n":"äöü {}"}}"#, "x".repeat(900));
    let letters = vec![("opensearch", "many", body.as_bytes()); 1_500];
    fill(dir.path(), &letters).await;
    let mut settings = settings(dir.path());
    let from_file = run(&settings, &["export"]);
    let process = Process::serve(&settings);
    let response = client().get(process.url("/mapi/dead-letters/export")).send().await;
    let response = response.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.expect("all of it");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line["id"].as_i64()).collect();
    assert_eq!(numbers, (1..=1_501).map(Some).collect::<Vec<_>>());
    assert!(!text.contains(SECRET));
    assert_eq!(lines[1]["body"], body.replace(SECRET, "***"));
    assert_eq!(lines[1]["bytes"], body.len());
    assert_eq!(from_file, (0, text.clone(), String::new()), "the same from the file");

    settings.insert("ALERTLOOP_LISTEN".to_owned(), process.url("").replace("http://", ""));
    assert_eq!(run(&settings, &["export"]), (0, text, String::new()), "and from the service");
    let path = "/mapi/dead-letters/export?reason=over+the+limit";
    let answer = get(&process, path).await;
    assert_eq!(answer.json["id"], 1, "{answer:?}");
    // A list of several pages.
    let (code, printed, said) = run(&settings, &["list", "--output", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((code, listed.len(), said.as_str()), (0, 1_501, ""));
    let answer = post(&process, "/mapi/dead-letters/drop", r#"{"reason":"many"}"#).await;
    assert_eq!(answer.json, json!({"dropped": 1_500}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_does_the_same_with_and_without_a_service() {
    for runs in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        fill_four(dir.path()).await;
        let mut settings = settings(dir.path());
        let process = runs.then(|| Process::serve(&settings));
        if let Some(process) = &process {
            settings.insert("ALERTLOOP_LISTEN".to_owned(), process.url("").replace("http://", ""));
        }
        let run = |arguments: &[&str]| run(&settings, arguments);

        let (code, printed, said) = run(&["list", "--reason", "NOT JSON"]);
        assert_eq!((code, said.as_str()), (0, ""), "{runs}");
        let lines: Vec<_> = printed.lines().collect();
        assert!(lines[0].ends_with("reason") && lines[1].ends_with("not JSON: <"), "{printed}");
        assert_eq!(lines.len(), 3);
        let (code, printed, said) = run(&["list", "--source", "none-such"]);
        assert_eq!((code, printed.as_str(), said.trim()), (0, "", "no dead letters"));

        let (code, printed, _) = run(&["show", "4"]);
        assert!(printed.contains("reason    mapper_parsing_exception\n"), "{printed}");
        assert!(printed.ends_with("\n\n{\"alerts\":[{\"sharedsecret\": \"***\"}]}\n"), "{printed}");
        assert_eq!(code, 0);
        let (_, printed, _) = run(&["show", "2"]);
        assert!(printed.ends_with("<sharedsecret='***'>\\u{1b}[2J\n"), "{printed}");
        let (code, printed, _) = run(&["show", "3", "--output", "json"]);
        let json: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((code, &json["body_base64"]), (0, &json!("/wD9")));
        let (code, printed, said) = run(&["show", "99"]);
        assert_eq!((code, printed.as_str()), (1, ""));
        assert!(said.contains("no dead letter 99"), "{said}");

        let file = dir.path().join("letters.ndjson");
        let name = file.to_str().expect("UTF-8");
        assert_eq!(run(&["export", name]), (0, String::new(), String::new()));
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&file).expect("a text");
        assert!(text.lines().count() == 4 && !text.contains(SECRET), "{text}");
        let (code, _, said) = run(&["export", name]);
        assert!(code == 1 && said.contains("is there already"), "{said}");

        let (code, printed, said) = run(&["drop", "2"]);
        assert_eq!((code, printed.as_str()), (2, ""));
        assert!(said.contains("--yes"), "{said}");
        assert_eq!(run(&["drop", "2", "--yes"]), (0, "dropped 1\n".to_owned(), String::new()));
        let (code, printed, said) = run(&["replay", "1", "2", "4", "4"]);
        assert_eq!((code, printed.as_str()), (1, "replayed 1\n"));
        assert!(said.contains("left 1") && said.contains("1 of 3 numbers"), "{said}");
        assert_eq!(said.contains("alertloop serve"), !runs, "{said}");
        let (code, printed, _) = run(&["replay", "--all"]);
        assert_eq!((code, printed.as_str()), (0, "replayed 1\n"));
        let (code, printed, _) = run(&["drop", "--source", "-", "--yes"]);
        assert_eq!((code, printed.as_str()), (0, "dropped 1\n"));
        assert_eq!(run(&["list", "--output", "json"]), (0, "[]\n".to_owned(), String::new()));
        if let Some(process) = process {
            process.signal("TERM");
            assert_eq!(process.wait().code(), Some(0));
        }
        let spool = Spool::open(dir.path(), 1 << 30).expect("a spool");
        assert_eq!(spool.stats().expect("stats").waiting, 2);
    }
}

#[test]
fn the_command_makes_nothing_that_is_not_there() {
    let dir = tempfile::tempdir().expect("a directory");
    for place in [dir.path().to_owned(), dir.path().join("none")] {
        let (code, printed, said) = run(&settings(&place), &["list"]);
        assert_eq!((code, printed.as_str()), (1, ""));
        assert!(said.contains("no spool at") && said.contains("--url"), "{said}");
    }
    assert_eq!(dir.path().read_dir().expect("a directory").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_be_asked_is_told_from_one_without_dead_letters() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_four(dir.path()).await;
    let mut settings = settings(dir.path());
    let process = Process::serve(&settings);
    // It listens on a port of its own choice.
    let (code, _, said) = run(&settings, &["list"]);
    assert!(code == 1 && said.contains("--url"), "{said}");
    settings.insert("ALERTLOOP_LISTEN".to_owned(), "127.0.0.1:9".to_owned());
    let (code, _, said) = run(&settings, &["list"]);
    assert!(code == 1 && said.contains("does not answer at http://127.0.0.1:9"), "{said}");
    let url = process.url("/");
    let (code, _, said) = run(&settings, &["list", "--url", &url, "--malcolm-api-prefix", "api"]);
    assert!(code == 1 && said.contains("MALCOLM_API_PREFIX"), "{said}");
    let (code, _, said) = run(&settings, &["show", "1", "--url", "ftp://127.0.0.1/"]);
    assert!(code == 1 && said.contains("http://"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_after_its_cause_is_mended_becomes_a_record() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_TEMPLATE", "none")]).await;
    // In this index not even the alert's id fits its field.
    let mapping =
        json!({"mappings": {"properties": {"event": {"properties": {"id": {"type": "ip"}}}}}});
    store.json(Method::Put, &store.index("261105"), mapping).await.expect("an index");
    let alert = r#"{"alert":{"monitor":{"name":"m"},"trigger":{"name":"t"},"alert":"bad",
        "period":{"start":"2026-11-05T05:00:00.000Z","end":"2026-11-05T05:10:00.000Z"}}}"#;
    assert_eq!(app.alert(alert).await.json["result"]["result"], "dead-letter");
    let replay = || {
        let request = app.post("/mapi/dead-letters/replay");
        let request = request.header("content-type", "application/json; charset=utf-8");
        Answer::of(request.body(r#"{"reason":"event.id"}"#))
    };
    // Before the cause is mended it comes back, with one attempt more.
    assert_eq!(replay().await.json, json!({"replayed": 1, "left": 0}));
    let back = async {
        loop {
            if let [letter] = app.dead_letters().await.as_slice() {
                return letter.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let letter = tokio::time::timeout(std::time::Duration::from_secs(20), back).await;
    assert_eq!(letter.expect("it comes back")["attempts"], 2);
    store.json(Method::Delete, &store.index("261105"), Value::Null).await.expect("no index");
    assert_eq!(replay().await.json, json!({"replayed": 1, "left": 0}));
    let records = store.wait_for_records(1).await;
    assert_eq!(records[0]["_id"], "261105-bad");
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}
