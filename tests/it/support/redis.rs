//! A real Redis, on a port of its own, which keeps what it confirmed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Connection, FromRedisValue, cmd};
use tempfile::TempDir;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server.
pub struct Redis {
    child: Child,
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts it with these arguments beside ours; `None` where there is no `redis-server`. What it
    /// confirms is on disk (`appendfsync always`).
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().ok()?;
        let dir = tempfile::tempdir().expect("a directory");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = serve(dir.path(), port, &arguments);
        let redis = Self { child, dir, port, arguments };
        redis.wait();
        Some(redis)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address without TLS and login.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its socket, by which tests speak to it, whatever it wants of others.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// A connection of the default user, who may do everything.
    pub fn connection(&self) -> Connection {
        self.try_connection().expect("a connection")
    }

    pub fn try_connection(&self) -> Option<Connection> {
        let url = format!("unix://{}", self.socket().display());
        let mut connection = redis::Client::open(url).ok()?.get_connection().ok()?;
        let answer: redis::RedisResult<String> = cmd("PING").query(&mut connection);
        (answer.ok()? == "PONG").then_some(connection)
    }

    /// Asks it something.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection()).unwrap_or_else(|fault| panic!("{words:?}: {fault}"))
    }

    /// Pushes items to the end of a list, as programs do.
    pub fn push(&self, list: &str, items: &[String]) {
        let mut command = cmd("RPUSH");
        command.arg(list).arg(items);
        command.query::<u64>(&mut self.connection()).expect("pushed");
    }

    /// A list.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.ask(&["LRANGE", name, "0", "-1"])
    }

    /// Keys that match a pattern.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        self.ask(&["KEYS", pattern])
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("an end");
    }

    /// Starts it again, with what it had confirmed.
    pub fn start_again(&mut self) {
        self.child = serve(self.dir.path(), self.port, &self.arguments);
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while self.try_connection().is_none() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "Redis does not start: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--logfile", "log"]);
    command.args(["--unixsocket", "socket", "--unixsocketperm", "700"]);
    command.arg("--dir").arg(dir).args(arguments).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server")
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
