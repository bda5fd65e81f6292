//! TLS of our own port: what it speaks, certificates that change, certificates of clients, and our
//! own commands.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    net::{IpAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{Certificate, Client, Identity, tls::Version};
use tempfile::TempDir;

use crate::support::{
    Answer, App, OF_NO_AUTHORITY, Process, Store, TOKEN, certificate, settings, skip,
};

/// A certificate that signs itself, with its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn make(folder: &Path, name: &str, more: &[&str]) -> Result<Self, String> {
        let words = [&OF_NO_AUTHORITY, more].concat();
        certificate(folder, name, &words).map(|(certificate, key)| Self { certificate, key })
    }

    fn pem(&self) -> Vec<u8> {
        fs::read(&self.certificate).expect("a certificate")
    }

    fn trusted(&self) -> Certificate {
        Certificate::from_pem(&self.pem()).expect("a certificate")
    }

    fn identity(&self) -> Identity {
        let key = fs::read(&self.key).expect("a key");
        Identity::from_pem(&[self.pem(), key].concat()).expect("an identity")
    }
}

/// The folder with a certificate, and the settings that name it.
fn ground(more: &[&str]) -> Result<(TempDir, Pair), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let pair = Pair::make(dir.path(), "ours", more)?;
    Ok((dir, pair))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

async fn start(pair: &Pair, more: &[(&str, &str)]) -> App {
    let settings = [
        ("ALERTLOOP_TEMPLATE", "none"),
        ("ALERTLOOP_WAIT", "0"),
        ("ALERTLOOP_TLS_CERT", text(&pair.certificate)),
        ("ALERTLOOP_TLS_KEY", text(&pair.key)),
    ];
    App::start(&Store::away(), &[&settings, more].concat()).await
}

fn url(app: &App, path: &str) -> String {
    app.url(path).replace("http://", "https://")
}

fn trusting(pair: &Pair) -> reqwest::ClientBuilder {
    Client::builder().no_proxy().tls_certs_only([pair.trusted()])
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_plain_http_is_told_so() {
    let (_dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let app = start(&pair, &[]).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = trusting(&pair).tls_version_min(version).tls_version_max(version);
        let client = client.build().expect("a client");
        let request = client.post(url(&app, "/mapi/alert")).header("x-alertloop-token", TOKEN);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{version:?}");
        assert!(answer.header("strict-transport-security").starts_with("max-age="));
    }
    let answer = Answer::of(app.get("/livez")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json["error"].as_str().is_some_and(|said| said.contains("https://")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_never() {
    let (dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let settings = of_process(dir.path(), &pair);
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    let livez = process.url("/livez").replace("http://", "https://");
    let answers = async |client: &Client| client.get(&livez).send().await.is_ok();
    let old = || trusting(&pair).pool_max_idle_per_host(0).build().expect("a client");
    let before = old();
    assert!(answers(&before).await);
    let next = Pair::make(dir.path(), "next", &[]).expect("another one");
    // The certificate without its key fits nothing.
    fs::copy(&next.certificate, &pair.certificate).expect("a copy");
    process.says("the new TLS certificate cannot be used; the one before stays in use").await;
    assert!(answers(&before).await, "the one before stays in use");
    fs::copy(&next.key, &pair.key).expect("a copy");
    process.says("the new TLS certificate is in use").await;
    let after = trusting(&next).pool_max_idle_per_host(0).build().expect("a client");
    assert!(answers(&after).await && !answers(&before).await);
    // Gone, as while somebody replaces them by removing them first.
    fs::remove_file(&pair.key).expect("a file");
    process.says("ALERTLOOP_TLS_KEY: cannot read the file").await;
    assert!(answers(&after).await);
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_ca_of_clients_the_network_needs_a_certificate_and_this_machine_none() {
    let far = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("198.51.100.1:9")?;
        socket.local_addr()
    });
    let Some(far) = far.ok().map(|far| far.ip()).filter(|ip: &IpAddr| !ip.is_loopback()) else {
        return skip("this machine has no address but loopback");
    };
    let (dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let client = Pair::make(dir.path(), "client", &[]).expect("another one");
    let stranger = Pair::make(dir.path(), "stranger", &[]).expect("another one");
    let ca =
        [("ALERTLOOP_LISTEN", "0.0.0.0:0"), ("ALERTLOOP_TLS_CLIENT_CA", text(&client.certificate))];
    let app = start(&pair, &ca).await;
    // From a loopback address to another address of this machine: the two differ.
    let answers = async |builder: reqwest::ClientBuilder, ip: IpAddr| {
        let client = builder.build().expect("a client");
        let url = format!("https://{ip}:{}/livez", app.address().port());
        client.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    };
    let here = IpAddr::from([127, 0, 0, 1]);
    assert!(answers(trusting(&pair), here).await, "a health check on this machine");
    assert!(answers(trusting(&pair).identity(client.identity()), here).await);
    assert!(!answers(trusting(&pair).identity(stranger.identity()), here).await);
    // The machine's own address counts as this machine, so somebody else's is needed.
    let anybody = || Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    assert!(answers(anybody(), far).await, "its own address is this machine too");
    let from_elsewhere = anybody().local_address(far);
    assert!(!answers(from_elsewhere, here).await, "no certificate");
    let known = anybody().local_address(far).identity(client.identity());
    assert!(answers(known, here).await, "a certificate of the CA");
    let unknown = anybody().local_address(far).identity(stranger.identity());
    assert!(!answers(unknown, here).await, "a certificate of nobody");
    app.stop().await;
}

/// Settings of a service of its own, and of the commands that ask it.
fn of_process(dir: &Path, pair: &Pair) -> HashMap<String, String> {
    let mut settings = settings(&Store::away(), dir);
    for (name, value) in [
        ("ALERTLOOP_TEMPLATE", "none"),
        ("ALERTLOOP_TLS_CERT", text(&pair.certificate)),
        ("ALERTLOOP_TLS_KEY", text(&pair.key)),
        ("ALERTLOOP_ADMIN_USER", "ops"),
        ("ALERTLOOP_ADMIN_PASSWORD", "hunting-season"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_commands_speak_tls_to_their_service() {
    let (dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let mut settings = of_process(dir.path(), &pair);
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    let address = process.url("").replace("http://", "");
    settings.insert("ALERTLOOP_LISTEN".to_owned(), address);
    for arguments in [&["health"][..], &["dead-letters", "list"], &["deliveries", "list"]] {
        let (code, out, said) = Process::output(&settings, arguments);
        assert_eq!(code, 0, "{arguments:?}: {out} {said}");
    }
    let (_, out, said) = Process::output(&settings, &["doctor"]);
    assert!(out.contains("tls") && out.contains("our certificate ends in 1 days"), "{out} {said}");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_open_page_and_for_nobody_who_says_nothing() {
    let (dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let mut settings = of_process(dir.path(), &pair);
    settings.insert("ALERTLOOP_DRAIN".to_owned(), "6s".to_owned());
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    let address = process.url("").replace("http://", "");
    let silent = TcpStream::connect(&address).expect("a connection");
    let mut begun = TcpStream::connect(&address).expect("a connection");
    // The beginning of a handshake that never comes.
    begun.write_all(&[22, 3, 1, 2, 0, 1]).expect("a piece");
    let client = trusting(&pair).build().expect("a client");
    let page = client.get(format!("https://{address}/events"));
    let mut page = page.basic_auth("ops", Some("hunting-season")).send().await.expect("an answer");
    assert!(page.chunk().await.expect("a piece").is_some(), "the page is open");
    process.signal("TERM");
    process.says("stopped").await;
    let warnings = process.warnings();
    assert!(
        warnings.iter().all(|line| !line.to_string().contains("not everything ended in time")),
        "{warnings:#?}"
    );
    drop((silent, begun));
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_fit_stops_the_start() {
    let (dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let other = Pair::make(dir.path(), "other", &[]).expect("another one");
    let mixed = Pair { certificate: pair.certificate, key: other.key };
    let settings = of_process(dir.path(), &mixed);
    let (code, _, said) = Process::output(&settings, &["serve"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ALERTLOOP_TLS_CERT") && said.contains("ALERTLOOP_TLS_KEY"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_sees_what_it_should() {
    let (_dir, pair) = match ground(&[]) {
        Ok(ground) => ground,
        Err(why) => return skip(&why),
    };
    let app = start(&pair, &[]).await;
    let tries = |version: &str| {
        let address = app.address().to_string();
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &address, version])
            .stdin(std::process::Stdio::null());
        command.output().expect("openssl").status.success()
    };
    tokio::task::block_in_place(|| {
        assert!(tries("-tls1_2") && tries("-tls1_3"));
        assert!(!tries("-tls1_1"), "TLS 1.1 is too old");
    });
    app.stop().await;
}
