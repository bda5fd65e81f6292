//! An HTTP callback over TLS: whom it trusts, and how it proves itself.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use alertloop::callback::{
    Outcome,
    sample::sample,
    settings::{Ground, read},
};

use crate::support::{certificates, skip};

/// Answers each POST with 200, over TLS: certificate, key, and whose client certificates it wants.
const SERVER: &str = r#"
import http.server, ssl, sys
class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
if len(sys.argv) > 3:
    context.load_verify_locations(sys.argv[3])
    context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(files: &[&Path]) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", SERVER]).args(files).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        let port = line.trim().parse().expect("a port");
        Some(Self { child, port })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What comes of a callback to this port with these keys.
async fn outcome(port: u16, keys: &str) -> Outcome {
    let text = format!(
        "[[callback]]\nname = 'tls'\ntype = 'http'\nurl = 'https://127.0.0.1:{port}/hook'\n{keys}"
    );
    let ground = Ground { read_file: &|path: &Path| std::fs::read(path), variable: &|_| None };
    let callbacks = read(&text, &ground).expect("a callback");
    callbacks[0].how.run(&sample(), None).await.ran.outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_and_one_of_ours_is_shown_where_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = certificates(folder.path(), ["server", "client"]);
    let [(ca, key), (own, own_key)] = match made {
        Ok(made) => made,
        Err(why) => return skip(&why),
    };
    let (Some(open), Some(strict)) =
        (Server::start(&[&ca, &key]), Server::start(&[&ca, &key, &own]))
    else {
        return skip("there is no python3");
    };
    let trusted = format!("ca = '{}'\n", ca.display());
    let shown = format!("{trusted}cert = '{}'\nkey = '{}'\n", own.display(), own_key.display());
    for (port, keys, is_taken) in [
        (open.port, "", false),
        (open.port, trusted.as_str(), true),
        (open.port, "insecure = true\n", true),
        (strict.port, trusted.as_str(), false),
        (strict.port, shown.as_str(), true),
    ] {
        match outcome(port, keys).await {
            Outcome::Delivered => assert!(is_taken, "taken with {keys:?}"),
            Outcome::Again(why) => assert!(!is_taken, "not taken with {keys:?}: {why}"),
            Outcome::Refused(why) => panic!("refused for good with {keys:?}: {why}"),
        }
    }
    let Outcome::Again(why) = outcome(open.port, "").await else { panic!("it is not trusted") };
    assert!(why.contains("certificate"), "it says why: {why}");
}
