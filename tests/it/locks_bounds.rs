//! What a request and a connection may not be: too large, too slow, too deep, or two things at once.

use std::{io::Write as _, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Answer, App, Store, TOKEN};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(more: &[(&str, &str)]) -> App {
    let settings = [("ALERTLOOP_TEMPLATE", "none"), ("ALERTLOOP_WAIT", "0")];
    App::start(&Store::away(), &[&settings, more].concat()).await
}

/// Sends bytes, and gives all that is answered until the connection ends.
async fn said(app: &App, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
    // It may be refused before all is sent.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses in what was answered.
fn statuses(answer: &str) -> Vec<u16> {
    let heads = answer.match_indices("HTTP/1.").filter_map(|(at, _)| answer[at..].get(9..12));
    heads.filter_map(|status| status.parse().ok()).collect()
}

fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_refused_and_open_nothing() {
    let app =
        start(&[("ALERTLOOP_ADMIN_USER", "ops"), ("ALERTLOOP_ADMIN_PASSWORD", "hunting-season")])
            .await;
    let many = "X-A: 1\r\n".repeat(150);
    let long = format!("X-A: {}\r\n", "a".repeat(256 << 10));
    let path = format!("GET /{} HTTP/1.1", "a".repeat(70 << 10));
    for (bytes, want) in [
        (request("GET /livez HTTP/1.1", ""), &[200][..]),
        (request("GET /livez HTTP/1.0", ""), &[200]),
        (request("GET http://elsewhere/livez HTTP/1.1", ""), &[200]),
        (request("GET http://elsewhere/mapi/dead-letters HTTP/1.1", ""), &[401]),
        (request("GET /livez HTTP/1.1", &many), &[431]),
        (request("GET /livez HTTP/1.1", &long), &[431]),
        (request(&path, ""), &[414, 431]),
        (request("GET /mapi/dead-letters HTTP/1.0", ""), &[401]),
        (request("GET //mapi/dead-letters HTTP/1.1", ""), &[404]),
        (request("GET /mapi//dead-letters HTTP/1.1", ""), &[404]),
        (request("GET /livez/../mapi/dead-letters HTTP/1.1", ""), &[404]),
        (request("GET /mapi/ping/../dead-letters HTTP/1.1", ""), &[404]),
        (request("GET /mapi/dead%2dletters HTTP/1.1", ""), &[401, 404]),
        (request("GET /mapi/%2e%2e/dead-letters HTTP/1.1", ""), &[404]),
        (request("GET /mapi/dead-letters;a=b HTTP/1.1", ""), &[404]),
        (request("GET /mapi/dead-letters%00 HTTP/1.1", ""), &[404]),
        (request("GET /mapi/dead-letters\0 HTTP/1.1", ""), &[400]),
        (request("GET /mapi/ping HTTP/1.1", "X-A: b\0c\r\n"), &[400]),
        (request("GET /MAPI/dead-letters HTTP/1.1", ""), &[404]),
        (
            request("POST /mapi/alert HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"),
            &[400],
        ),
        (request("POST /mapi/alert HTTP/1.1", "Content-Length: -1\r\n"), &[400]),
        (request("POST /mapi/alert HTTP/1.1", "Content-Length: 1, 2\r\n"), &[400]),
        (request("POST /mapi/alert HTTP/1.1", "Transfer-Encoding: chunked, x\r\n"), &[400]),
        (request("POST /mapi/alert HTTP/1.0", "Transfer-Encoding: chunked\r\n"), &[400]),
        (request("GET /livez HTTP/3.0", ""), &[400]),
        ("GET /livez HTTP/1.1\nHost: a\nConnection: close\n\n".to_owned(), &[200]),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
    ] {
        let answer = said(&app, bytes.as_bytes()).await;
        let got = statuses(&answer);
        let head = bytes.lines().next().unwrap_or_default();
        let head = head.get(..60).unwrap_or(head);
        let bytes = bytes.len();
        assert!(
            got.len() == 1 && want.contains(&got[0]),
            "{head:?}, {bytes} bytes: {got:?}, {answer}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_two_is_never_one_behind_the_first() {
    let app = start(&[]).await;
    // A proxy that counts by length would take the second for a part of the first.
    let hidden = "GET /mapi/dead-letters HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!(
        "POST /mapi/alert HTTP/1.1\r\nHost: a\r\nX-Alertloop-Token: {TOKEN}\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let answer = said(&app, both.as_bytes()).await;
    assert!(statuses(&answer).len() <= 1, "the connection ends there: {answer}");
    // Pipelined requests are answered in their order.
    let three = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nGET /mapi/ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&said(&app, three.as_bytes()).await), [200, 404, 200]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_deep_bodies_are_kept_and_do_no_harm() {
    let app = start(&[("ALERTLOOP_BODY_LIMIT", "1MiB")]).await;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let nested = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        bomb.write_all(&vec![b' '; 1 << 20]).expect("gzip");
    }
    let bomb = bomb.finish().expect("gzip");
    assert!(bomb.len() < 1 << 20);
    for (what, encoding, body) in [
        ("deep", "identity", deep.into_bytes()),
        ("nested", "identity", nested.into_bytes()),
        ("a bomb", "gzip", bomb),
    ] {
        let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN);
        let answer = Answer::of(request.header("content-encoding", encoding).body(body)).await;
        assert_eq!(answer.status, 202, "{what}: {}", answer.json);
        assert_eq!(Answer::of(app.get("/livez")).await.status, 200, "{what}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_is_told_so_however_much_he_sends() {
    let app = start(&[("ALERTLOOP_BODY_LIMIT", "1MiB")]).await;
    let body = vec![b'x'; 8 << 20];
    for (path, token, want) in [
        ("/mapi/alert/graylog", "wrong-but-long-enough", 401),
        ("/mapi/alert", "wrong-but-long-enough", 401),
        ("/mapi/alert", TOKEN, 413),
        ("/nowhere", TOKEN, 404),
    ] {
        let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Alertloop-Token: {token}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // All of it before the answer is read, and another request after it.
        let next = request("GET /livez HTTP/1.1", "");
        for piece in [head.as_bytes(), &body, next.as_bytes()] {
            let sent = timeout(PATIENCE, stream.write_all(piece)).await.expect("in time");
            sent.unwrap_or_else(|fault| panic!("{path}, {want}: {fault}"));
        }
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
        read.unwrap_or_else(|fault| panic!("{path}, {want}: {fault}"));
        assert_eq!(statuses(&String::from_utf8_lossy(&answer)), [want, 200], "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_makes_room_for_who_does() {
    let limits =
        [("ALERTLOOP_MAX_CONNECTIONS", "20"), ("ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS", "20")];
    let app = start(&limits).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
        stream.write_all(b"GET /livez HT").await.expect("a piece");
        silent.push(stream);
    }
    for _ in 0..40 {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.post(app.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
        assert_eq!(Answer::of(answer).await.status, 200);
    }
    // The first of them are gone, without waiting for their time to be over.
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(5), silent[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "{rest:?}");
    app.stop().await;
}

/// A stranger who says that a body comes, is asked for it, and sends none.
async fn promises_a_body(app: &App) -> TcpStream {
    let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
    let head = "POST /mapi/alert HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("a head");
    let mut asked = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut asked)).await.expect("in time").expect("an answer");
    assert_eq!(&asked, b"HTTP/1.1 100");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_promises_a_body_keeps_no_sender_out() {
    // Neither one with its secret in a header, where there is no room for more connections, nor one whose
    // secret is in the body, which needs room of its own.
    let in_body = json!({"sharedsecret": TOKEN, "version": "0.2", "alerts": []}).to_string();
    for (most, token, body) in [("8", TOKEN, ""), ("100", "", in_body.as_str())] {
        let limits =
            [("ALERTLOOP_MAX_CONNECTIONS", most), ("ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS", most)];
        let app = start(&limits).await;
        let mut strangers = Vec::new();
        for _ in 0..8 {
            strangers.push(promises_a_body(&app).await);
        }
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(app.url("/mapi/alert")).header("x-alertloop-token", token);
        let answer = request.body(body.to_owned()).send().await.expect("a connection");
        assert_eq!(answer.status(), 200, "{body}");
        drop(strangers);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_ends() {
    let app = start(&[]).await;
    let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
    stream.write_all(b"GET /livez HTTP/1.1\r\nHo").await.expect("a piece");
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").ok();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    app.stop().await;
}
