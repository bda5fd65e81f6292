//! Certificates of a store that are no good: a real TLS server shows them.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use alertloop::opensearch::{Client, Settings, cluster};

use crate::support::{OF_NO_AUTHORITY, certificate, expired_certificate, skip};

struct Server(Child, u16);

impl Server {
    fn start(certificate: &Path, key: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("a free port").port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self(command.spawn().expect("openssl"), port);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not listen");
            assert!(server.0.try_wait().expect("a status").is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_of_the_store_is_told_with_its_mend() {
    let dir = tempfile::tempdir().expect("a directory");
    let (Ok(fine), Ok(expired)) = (
        certificate(dir.path(), "fine", &OF_NO_AUTHORITY),
        expired_certificate(dir.path(), "expired", None),
    ) else {
        return skip("openssl makes no certificate");
    };
    let bare = |name: &str, subject: &str, more: &[&str]| {
        let at = |end: &str| dir.path().join(format!("{name}.{end}"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", subject])
            .args(OF_NO_AUTHORITY)
            .args(more)
            .arg("-out")
            .arg(at("crt"))
            .arg("-keyout")
            .arg(at("key"))
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        (at("crt"), at("key"))
    };
    let nameless = bare("nameless", "/CN=127.0.0.1", &[]);
    let elsewhere = bare("elsewhere", "/CN=x", &["-addext", "subjectAltName=DNS:elsewhere"]);
    for (why, shown, trusted, want) in [
        ("another CA", &fine, &nameless, "ALERTLOOP_OPENSEARCH_CA"),
        ("an expired certificate", &expired, &expired, "needs a new one"),
        ("no subjectAltName", &nameless, &nameless, "subjectAltName"),
        ("another name", &elsewhere, &elsewhere, "OPENSEARCH_URL, which must be a name"),
    ] {
        let server = Server::start(&shown.0, &shown.1);
        let settings = Settings {
            url: format!("https://127.0.0.1:{}", server.1).parse().expect("a URL"),
            login: None,
            verify: true,
            ca: Some(std::fs::read(&trusted.0).expect("a PEM file")),
            identity: None,
            timeout: Duration::from_secs(10),
            monitors: alertloop::opensearch::engine::Settings::default(),
        };
        let client = Client::new(&settings).expect("a client");
        let fault = cluster::about(&client).await.expect_err(why).to_string();
        assert!(fault.contains(want), "{why}: {fault}");
    }
}
