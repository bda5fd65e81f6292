//! Replicas behind nginx, with the shipped configuration, are restarted one after the other, and no
//! sender notices.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::UdpSocket;

use crate::{
    effort,
    ledger::Ledger,
    report,
    scene::{PATIENCE, serve, settings_with, wait_for},
    store,
    support::{Process, skip},
};

/// The replicas' addresses; Linux takes all of 127.0.0.0/8 for this machine.
const REPLICAS: [[u8; 4]; 2] = [[127, 0, 0, 1], [127, 0, 0, 2]];

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_restarted_one_after_the_other_and_no_request_fails() {
    let store = store!();
    let Some(nginx) = nginx() else { return skip("there is no nginx") };
    store.make_template().await;
    let rounds = effort::times(3, 50);
    let port = free_port();
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another")];
    let settings: Vec<_> = dirs
        .iter()
        .zip(REPLICAS)
        .map(|(dir, address)| {
            let listen = SocketAddr::from((address, port)).to_string();
            settings_with(&store, dir, &[("ALERTLOOP_LISTEN", &listen)])
        })
        .collect();
    let mut replicas: Vec<Process> = settings.iter().map(serve).collect();
    let nginx = Nginx::start(nginx, port, name_server().await);
    let ledger = Ledger::new(&[nginx.url()]);
    let flood = ledger.flood(8, Some(200.0));
    for _ in 0..rounds {
        for (replica, settings) in settings.iter().enumerate() {
            ledger.acknowledges(100).await;
            let stopping = replicas.remove(replica);
            stopping.signal("TERM");
            let ended = tokio::task::block_in_place(|| stopping.wait());
            assert_eq!(ended.code(), Some(0));
            // The other one serves alone.
            ledger.acknowledges(20).await;
            replicas.insert(replica, serve(settings));
            wait_for(&replicas[replica], |status| status["ready"] == true).await;
        }
    }
    ledger.acknowledges(100).await;
    flood.end().await;
    let log = nginx.log();
    let answers = ledger.answers();
    assert!(answers.keys().all(|status| (200..300).contains(status)), "{answers:?}\n{log}");
    let verdict = ledger.settle(&store, PATIENCE).await;
    verdict.must_hold();
    let tail = ledger.per_mille(999).as_millis();
    let notes = format!("no request failed; p99.9 of the answers {tail} ms");
    let how = "SIGTERM to one of two replicas behind nginx";
    report::row("rolling restart", how, u64::from(rounds) * 2, &verdict, &notes);
}

fn nginx() -> Option<&'static str> {
    let known = ["nginx", "/usr/sbin/nginx"];
    let runs = |name: &&str| {
        let version = Command::new(name).arg("-v").stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    known.into_iter().find(runs)
}

/// A port that is free on all addresses of the replicas.
fn free_port() -> u16 {
    let free = TcpListener::bind("0.0.0.0:0").and_then(|free| free.local_addr());
    free.expect("a free port").port()
}

/// Answers every question for an IPv4 address with those of the replicas, and others with nothing.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut query).await {
            let Some(end) = query[12..length].iter().position(|byte| *byte == 0) else { continue };
            let question = &query[12..12 + end + 5];
            let asks_ipv4 = question[question.len() - 4..] == [0, 1, 0, 1];
            let known: &[_] = if asks_ipv4 { &REPLICAS } else { &[] };
            let count = u8::try_from(known.len()).unwrap_or_default();
            let mut answer =
                [&query[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
            for address in known {
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, asker).await.ok();
        }
    });
    address
}

/// nginx with the shipped configuration, only with other addresses in it.
struct Nginx {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Nginx {
    fn start(binary: &str, replicas: u16, names: SocketAddr) -> Self {
        let (dir, port) = (tempfile::tempdir().expect("a directory"), free_port());
        let at = dir.path().to_str().expect("UTF-8");
        let shipped = include_str!("../../docker/nginx-alertloop.conf");
        let ours = shipped
            .replace("alertloop:5000", &format!("alertloop:{replicas}"))
            .replace("resolver 127.0.0.11", &format!("resolver {names}"));
        assert!(ours.contains(&names.to_string()), "the configuration names a resolver");
        std::fs::write(dir.path().join("alertloop.conf"), ours).expect("a file");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {at}/{what};\n"))
            .concat();
        let whole = format!(
            "daemon off; pid {at}/nginx.pid; worker_processes 1; events {{}}\n\
             http {{ access_log off;\n{temporary}\
             server {{ listen 127.0.0.1:{port}; include {at}/alertloop.conf; }} }}\n"
        );
        // As root nginx would give its workers to a user who may not enter the folder.
        let user = if is_root() { "user root; " } else { "" };
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, format!("{user}{whole}")).expect("a file");
        let mut command = Command::new(binary);
        command.arg("-p").arg(dir.path()).arg("-e").arg(dir.path().join("log")).arg("-c").arg(file);
        let child = command.stdin(Stdio::null()).spawn().expect("nginx");
        let nginx = Self { child, port, dir };
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", nginx.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it logged, without what it is to get over: that a replica is not there.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.lines()
            .filter(|line| !line.contains("Connection refused"))
            .map(|line| line.to_owned() + "\n")
            .collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers on TERM; on KILL it could not.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}
