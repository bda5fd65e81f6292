//! The worst that a body of the largest size can do: what the service takes of memory for it is bounded,
//! and others are served meanwhile.

use std::{
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    callbacks::client,
    store,
    support::{Answer, Process, TOKEN, settings},
};

/// As large as a body may be by default, in bytes.
const LARGEST: usize = 20 << 20;
/// What the whole service may take, in MiB.
const MOST_MEMORY: u64 = 200;
/// How long a body may keep the writer.
const PATIENCE: Duration = Duration::from_mins(2);

fn filled(head: &str, piece: &str, tail: &str) -> Vec<u8> {
    let room = LARGEST - head.len() - tail.len();
    [head, &piece.repeat(room / piece.len()), tail].concat().into_bytes()
}

fn keys() -> Vec<u8> {
    let mut body = r#"{"alert": {"monitor": {"name": "m"}, "body": {"#.to_owned();
    let mut n = 0;
    while body.len() < LARGEST - 40 {
        write!(body, "\"{n:x}\":0,").expect("a text takes all");
        n += 1;
    }
    (body + r#""z": 1}}}"#).into_bytes()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(body).expect("gzip");
    packer.finish().expect("gzip")
}

/// Name, route, `Content-Encoding`, body.
fn bodies() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let opensearch = r#"{"alert": {"monitor": {"name": "m"}, "trigger": {"name": "t"}, "body": "#;
    let latin = |mut body: Vec<u8>| {
        body[200] = 0xe9;
        body
    };
    vec![
        ("numbers", "/mapi/alert", "", filled(&format!("{opensearch}["), "0,", "0]}}")),
        ("numbers by themselves", "/mapi/alert", "", filled("[", "0,", "0]")),
        ("empty objects", "/mapi/alert", "", filled("[", "{},", "{}]")),
        ("keys", "/mapi/alert", "", keys()),
        ("depth", "/mapi/alert", "", filled("", "[", "")),
        ("depth of objects", "/mapi/alert", "", filled("", "{\"a\":", "")),
        ("one text", "/mapi/alert", "", filled(&format!("{opensearch}\""), "x", "\"}}")),
        (
            "control characters",
            "/mapi/alert",
            "",
            filled(&format!("{opensearch}\""), "\u{1}", "\"}}"),
        ),
        ("quotes", "/mapi/alert", "", filled(&format!("{opensearch}\""), "\"", "\"}}")),
        ("backslashes", "/mapi/alert", "", filled(&format!("{opensearch}\""), "\\", "\"}}")),
        ("latin-1", "/mapi/alert", "", latin(filled(&format!("{opensearch}\""), "\u{1}", "\"}}"))),
        ("no json", "/mapi/alert", "", filled("", "x", "")),
        ("nul", "/mapi/alert", "", filled("", "\0", "")),
        ("graylog's form", "/mapi/alert/graylog", "", filled("a=b", "&a=%41", "")),
        ("graylog's java", "/mapi/alert/graylog", "", filled("event=EventImpl{", "{=", "}")),
        (
            "graylog's messages",
            "/mapi/alert/graylog",
            "",
            filled(
                r#"{"event_definition_id": "x", "event": {"id": "e"}, "backlog": ["#,
                r#"{"fields":{"a":1}},"#,
                "{}]}",
            ),
        ),
        (
            "ntopng's list",
            "/mapi/alert/ntopng",
            "",
            filled(r#"{"alerts": ["#, r#"{"ip":"1","action":"engage"},"#, "{}]}"),
        ),
        (
            "alertmanager's list",
            "/mapi/alert/alertmanager",
            "",
            filled(r#"{"alerts": ["#, r#"{"labels":{"a":"b"}},"#, "{}]}"),
        ),
        (
            "alertmanager's labels",
            "/mapi/alert/alertmanager",
            "",
            filled(
                r#"{"alerts": [{"status": "firing", "labels": {"a": "b"}, "annotations": {"#,
                r#""k":"v","#,
                r#""z":"v"}}]}"#,
            ),
        ),
        ("a secret without an end", "/mapi/alert", "", filled("", "sharedsecret:", "")),
        ("packed numbers", "/mapi/alert", "gzip", packed(&filled("[", "0,", "0]"))),
        ("a bomb", "/mapi/alert", "gzip", packed(&vec![b' '; 4 * LARGEST])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_body_of_the_largest_size_takes_less_than_200_mib() {
    let store = store!();
    store.make_template().await;
    let mut too_much = Vec::new();
    for (name, path, encoding, body) in bodies() {
        let dir = tempfile::tempdir().expect("a directory");
        let process = Process::serve(&settings(&store, dir.path()));
        assert!(body.len() <= LARGEST, "{name}");
        let begun = Instant::now();
        let request = client().post(process.url(path)).header("x-alertloop-token", TOKEN);
        let request =
            request.header("content-encoding", encoding).header("prefer", "respond-async");
        let answer = Answer::of(request.body(body)).await;
        assert!(answer.status == 202 || answer.status == 200, "{name}: {answer:?}");
        loop {
            let ready: Value = Answer::of(client().get(process.url("/readyz"))).await.json;
            if ready["spool"]["waiting"] == 0 {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} is not done: {ready}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // It is shown too, and not only kept.
        let letters = Answer::of(client().get(process.url("/mapi/dead-letters"))).await;
        if let Some(id) = letters.json["items"][0]["id"].as_i64() {
            Answer::of(client().get(process.url(&format!("/mapi/dead-letters/{id}")))).await;
        }
        let peak = process.memory_peak() >> 20;
        println!("{peak:>4} MiB, {:>6.1} s: {name}", begun.elapsed().as_secs_f64());
        if peak >= MOST_MEMORY {
            too_much.push(format!("{name}: {peak} MiB"));
        }
    }
    assert!(too_much.is_empty(), "{}", too_much.join("; "));
}
