//! Floods of strangers: connections that say nothing, headers and bodies without end, bombs, TLS
//! handshakes that never end. The service goes on answering senders, and its memory stays bounded.
//!
//! All of it on one machine, which the floods need too: so what is asserted is a generous bound, or a
//! ratio to the same measured a moment before without a flood.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{
    effort::{span, times},
    scene::serve,
    store,
    support::{OF_NO_AUTHORITY, Process, Store, TOKEN, certificate, settings, skip},
};

/// The most that the 99th of a hundred answers may take during a flood, on a slow and busy machine that
/// floods itself; a quiet one stays far below. Who is kept out waits for the 10 s that silence may last.
const SLOWEST: Duration = Duration::from_secs(5);
/// The most memory that the service may have taken, in bytes.
const MEMORY: u64 = 300 << 20;

/// The service, with nothing but its spool.
struct Ground {
    process: Process,
    address: SocketAddr,
    scheme: &'static str,
    _dir: TempDir,
}

impl Ground {
    fn begin(more: &[(&str, &str)]) -> Self {
        Self::begin_at(&Store::away(), tempfile::tempdir().expect("a directory"), more)
    }

    fn begin_at(store: &Store, dir: TempDir, more: &[(&str, &str)]) -> Self {
        let mut settings: HashMap<String, String> = settings(store, dir.path());
        let usual = [("ALERTLOOP_TEMPLATE", "none"), ("ALERTLOOP_WAIT", "0")];
        for (name, value) in usual.iter().chain(more) {
            settings.insert((*name).to_owned(), (*value).to_owned());
        }
        let process = serve(&settings);
        let address = process.url("").replace("http://", "").parse().expect("an address");
        let scheme = if settings.contains_key("ALERTLOOP_TLS_CERT") { "https" } else { "http" };
        Self { process, address, scheme, _dir: dir }
    }

    /// What a sender who opens a connection for each alert waits for, at the 99th of a hundred.
    async fn p99(&self, count: u32) -> Duration {
        let mut all = Vec::new();
        for number in 0..count {
            let client = reqwest::Client::builder().no_proxy();
            let client = client.tls_danger_accept_invalid_certs(true).build().expect("a client");
            let body = format!(r#"{{"alert":{{"id":"f{number}"}},"monitor":{{"name":"m"}}}}"#);
            let url = format!("{}://{}/mapi/alert", self.scheme, self.address);
            let begun = Instant::now();
            let request = client.post(url).header("x-alertloop-token", TOKEN).body(body);
            let status = request.send().await.expect("an answer").status().as_u16();
            assert_eq!(status, 202);
            all.push(begun.elapsed());
        }
        all.sort();
        all[all.len() * 99 / 100]
    }

    /// Measures without the flood and with it, and ends.
    async fn stands<F: Future<Output = ()> + Send + 'static>(
        self,
        name: &str,
        flood: impl Fn(SocketAddr, Arc<AtomicBool>, Arc<AtomicU64>) -> Vec<F>,
    ) {
        let count = times(100, 1_000);
        let before = self.p99(count).await;
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut floods = JoinSet::new();
        for one in flood(self.address, Arc::clone(&stop), Arc::clone(&done)) {
            floods.spawn(one);
        }
        let begun = Instant::now();
        while done.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the flood does not begin");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut during = self.p99(count).await;
        let lasts = span(Duration::ZERO, 0.03);
        while begun.elapsed() < lasts {
            during = during.max(self.p99(count).await);
        }
        stop.store(true, Ordering::Relaxed);
        floods.shutdown().await;
        let (memory, done) = (self.process.memory_peak(), done.load(Ordering::Relaxed));
        println!(
            "FLOOD {name}: p99 {} ms before, {} ms during, {done} of it; {} MiB at most",
            before.as_millis(),
            during.as_millis(),
            memory >> 20
        );
        assert!(during <= SLOWEST.max(before * 10), "{during:?}, and {before:?} without it");
        assert!(memory <= MEMORY, "{} MiB", memory >> 20);
        self.process.signal("TERM");
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

/// A connection from one of many addresses of this machine.
async fn connect(to: SocketAddr, from: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let [high, low] = from.to_be_bytes();
    socket.bind((Ipv4Addr::new(127, 7, high, low), 0).into())?;
    socket.connect(to).await
}

/// Sends the same again and again, until there is no more connection or it ends.
async fn pour(mut stream: TcpStream, piece: &[u8], stop: &AtomicBool, done: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) && stream.write_all(piece).await.is_ok() {
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_keep_no_sender_out() {
    for (name, addresses) in [("slowloris of one address", 1), ("slowloris of many addresses", 500)]
    {
        let limits = [
            ("ALERTLOOP_MAX_CONNECTIONS", "1000"),
            ("ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS", "200"),
        ];
        let flood = move |to, stop: Arc<AtomicBool>, done: Arc<AtomicU64>| {
            let slow = move |number: u16| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                async move {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut stream) = connect(to, number % addresses).await else {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            continue;
                        };
                        let begun =
                            stream.write_all(b"POST /mapi/alert HTTP/1.1\r\nHost: a\r\n").await;
                        done.fetch_add(1, Ordering::Relaxed);
                        // One header a second, as long as it is let.
                        let mut goes_on = begun.is_ok();
                        while goes_on && !stop.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_secs(1)).await;
                            goes_on = stream.write_all(b"X-A: b\r\n").await.is_ok();
                        }
                    }
                }
            };
            (0..2_000).map(slow).collect::<Vec<_>>()
        };
        Ground::begin(&limits).stands(name, flood).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_without_end_take_no_memory() {
    let header = format!("X-A: {}\r\n", "a".repeat(8 << 10)).into_bytes();
    let large = format!(
        "POST /mapi/alert HTTP/1.1\r\nHost: a\r\nX-Alertloop-Token: {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 30
    );
    let endless = "POST /mapi/alert HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16)).into_bytes();
    for (name, begin, piece) in [
        ("headers without end", "GET /livez HTTP/1.1\r\n", header),
        ("bodies of 1 GiB", large.as_str(), vec![b'x'; 1 << 16]),
        ("bodies of strangers without end", endless, chunk),
    ] {
        let (begin, piece) = (begin.as_bytes().to_vec(), piece);
        let flood = |to, stop: Arc<AtomicBool>, done: Arc<AtomicU64>| {
            let one = |number: u16| {
                let (begin, piece) = (begin.clone(), piece.clone());
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                async move {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut stream) = connect(to, number).await else { continue };
                        if stream.write_all(&begin).await.is_ok() {
                            pour(stream, &piece, &stop, &done).await;
                        }
                        // So that the flood does not only keep itself busy.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            };
            (0..16).map(one).collect::<Vec<_>>()
        };
        Ground::begin(&[]).stands(name, flood).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_deep_bodies_hold_nobody_up() {
    // They are unpacked and read where the answer is predicted, and again for the store.
    let store = store!();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..40 {
        bomb.write_all(&vec![b' '; 1 << 20]).expect("gzip");
    }
    let bomb = bomb.finish().expect("gzip");
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let deep = ("{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000)).into_bytes();
    for (name, encoding, body) in [("zip bombs", "gzip", bomb), ("deep JSON", "identity", deep)] {
        let head = format!(
            "POST /mapi/alert HTTP/1.1\r\nHost: a\r\nX-Alertloop-Token: {TOKEN}\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        let flood = |to, stop: Arc<AtomicBool>, done: Arc<AtomicU64>| {
            let one = |number: u16| {
                let (request, stop) = (request.clone(), Arc::clone(&stop));
                let done = Arc::clone(&done);
                async move {
                    use tokio::io::AsyncReadExt as _;
                    let mut stream = connect(to, number).await.expect("a connection");
                    let mut answer = vec![0; 4 << 10];
                    while !stop.load(Ordering::Relaxed) {
                        let sent = stream.write_all(&request).await;
                        if sent.is_err() || stream.read(&mut answer).await.is_err() {
                            stream = connect(to, number).await.expect("a connection");
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            };
            (0..4).map(one).collect::<Vec<_>>()
        };
        let dir = tempfile::tempdir().expect("a directory");
        Ground::begin_at(&store, dir, &[]).stands(name, flood).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_keep_no_sender_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = match certificate(dir.path(), "ours", &OF_NO_AUTHORITY) {
        Ok(pair) => pair,
        Err(why) => return skip(&why),
    };
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let settings = [
        ("ALERTLOOP_TLS_CERT", certificate.as_str()),
        ("ALERTLOOP_TLS_KEY", key.as_str()),
        ("ALERTLOOP_MAX_CONNECTIONS", "1000"),
        ("ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS", "200"),
    ];
    let flood = |to, stop: Arc<AtomicBool>, done: Arc<AtomicU64>| {
        let one = |number: u16| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = connect(to, number % 500).await {
                        // The beginning of a record that never comes.
                        let _begun = stream.write_all(&[22, 3, 1, 2, 0, 1]).await;
                        done.fetch_add(1, Ordering::Relaxed);
                        let wait =
                            Duration::from_secs(if number.is_multiple_of(2) { 20 } else { 1 });
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        };
        (0..2_000).map(one).collect::<Vec<_>>()
    };
    Ground::begin_at(&Store::away(), dir, &settings).stands("TLS handshakes", flood).await;
}
