//! The service, in this process or as one of its own.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alertloop::config::Config;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Store;

pub const TOKEN: &str = "a-secret-for-tests-only";
/// How long the service may take to start or stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// Settings for a test: this store and pattern, a free port, no provisioning.
pub fn settings(store: &Store, data_dir: &Path) -> HashMap<String, String> {
    [
        ("OPENSEARCH_URL", store.url()),
        ("MALCOLM_NETWORK_INDEX_PATTERN", store.pattern()),
        ("ALERTLOOP_LISTEN", "127.0.0.1:0"),
        ("ALERTLOOP_DATA_DIR", data_dir.to_str().expect("UTF-8")),
        ("ALERTLOOP_TOKEN", TOKEN),
        ("ALERTLOOP_PROVISION", "false"),
        // The alerts of other tests' monitors would become records too.
        ("ALERTLOOP_RECONCILE_INTERVAL", "0"),
        ("ALERTLOOP_LOG_FORMAT", "json"),
        ("ALERTLOOP_STOP_GRACE", "0s"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The service, running in this process.
pub struct App {
    address: SocketAddr,
    client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _dir: TempDir,
}

impl App {
    /// Starts it with the usual settings and some others.
    pub async fn start(store: &Store, others: &[(&str, &str)]) -> Self {
        if others.iter().all(|(name, _)| *name != "ALERTLOOP_TEMPLATE") {
            store.make_template().await;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = settings(store, dir.path());
        settings
            .extend(others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::read(|name| settings.get(name).cloned(), |path| std::fs::read(path));
        let config = config.unwrap_or_else(|faults| panic!("{faults}"));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let app = alertloop::app::App::build(config, metrics).expect("an app");
        let address = app.address().expect("an address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(app.run(stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, client, stop, task, _dir: dir }
    }

    /// Starts it so that it provisions a channel through which the store reaches it.
    pub async fn start_provisioning(store: &Store) -> Self {
        Self::start_provisioning_with(store, &[]).await
    }

    /// The same, with some other settings.
    pub async fn start_provisioning_with(store: &Store, more: &[(&str, &str)]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = port.expect("a free port").to_string();
        let webhook = format!("http://{address}/mapi/alert");
        let others = [
            ("ALERTLOOP_LISTEN", address.as_str()),
            ("ALERTLOOP_WEBHOOK_URL", webhook.as_str()),
            ("ALERTLOOP_PROVISION", "true"),
        ];
        Self::start(store, &[&others, more].concat()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until it has provisioned.
    pub async fn wait_until_provisioned(&self) {
        let provisioned = async {
            while Answer::of(self.get("/readyz")).await.json["provisioning"] != "done" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, provisioned).await.expect("provisioned");
    }

    /// Waits until nothing waits in its spool.
    pub async fn drained(&self) {
        let drained = async {
            while Answer::of(self.get("/readyz")).await.json["spool"]["waiting"] != 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), drained).await.expect("an empty spool");
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    /// Posts an alert with the secret, and waits for the index.
    pub async fn alert(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.post("/mapi/alert").header("x-alertloop-token", TOKEN);
        Answer::of(request.header("prefer", "wait=20").body(body)).await
    }

    /// The dead letters.
    pub async fn dead_letters(&self) -> Vec<Value> {
        let answer = Answer::of(self.get("/mapi/dead-letters")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
        answer.json["items"].as_array().cloned().unwrap_or_default()
    }

    /// Stops it in order, and checks that it ended well and in time.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time");
        ended.expect("no panic").expect("a good end");
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        Self { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The service as a process of its own, to be killed.
pub struct Process {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Process {
    /// A command of the binary with exactly these settings.
    pub fn command(settings: &HashMap<String, String>, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alertloop"));
        command.args(arguments).env_clear().envs(settings).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end: exit code, standard output, standard error. For a test with more
    /// than one thread, as the service in this process may have to answer meanwhile.
    pub fn output(settings: &HashMap<String, String>, arguments: &[&str]) -> (i32, String, String) {
        let run = || Self::command(settings, arguments).output().expect("a process");
        let output = tokio::task::block_in_place(run);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("an exit code");
        (code, text(output.stdout), text(output.stderr))
    }

    /// Starts `serve`, and waits until it listens.
    pub fn serve(settings: &HashMap<String, String>) -> Self {
        match Self::try_serve(settings) {
            Ok(process) => process,
            Err((status, log)) => panic!("it ended before it listened, {status}: {log}"),
        }
    }

    /// Starts `serve`, and waits until it listens; with the log, if it ends before that.
    pub fn try_serve(settings: &HashMap<String, String>) -> Result<Self, (ExitStatus, String)> {
        let mut command = Self::command(settings, &["serve"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
        let mut log = BufReader::new(child.stderr.take().expect("stderr"));
        let mut lines = Vec::new();
        let address = loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("a log line");
            if read == 0 {
                return Err((child.wait().expect("an end"), format!("{lines:#?}")));
            }
            lines.push(parsed(&line));
            let line = &lines[lines.len() - 1];
            if line["message"] == "listening" {
                break line["server.address"].as_str().expect("an address").parse().expect("one");
            }
        };
        let lines = Arc::new(Mutex::new(lines));
        let all = Arc::clone(&lines);
        // The log must be read on, or the process would wait for room in the pipe.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                all.lock().unwrap_or_else(PoisonError::into_inner).push(parsed(&line));
            }
        });
        Ok(Self { child, address, log: lines })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has logged a line that begins so.
    pub fn has_said(&self, message: &str) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter()
            .any(|line| line["message"].as_str().is_some_and(|said| said.starts_with(message)))
    }

    /// Waits until it has logged a line with this in it.
    pub async fn says(&self, text: &str) {
        let said = async {
            while !self.log().iter().any(|line| line.to_string().contains(text)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        assert!(said.is_ok(), "{text:?} is not said, but {:#?}", self.warnings());
    }

    /// Posts an alert with the secret, waits for the index, and gives the status.
    pub async fn alert(&self, body: impl Into<reqwest::Body>) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(self.url("/mapi/alert")).header("x-alertloop-token", TOKEN);
        Answer::of(request.header("prefer", "wait=20").body(body)).await.status
    }

    /// All that it logged, so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it logged as a warning or worse, so far.
    pub fn warnings(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let bad = |line: &&Value| line["level"] == "WARN" || line["level"] == "ERROR";
        log.iter().filter(bad).cloned().collect()
    }

    /// The most memory that it has had, in bytes.
    pub fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process's status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).expect("its peak");
        peak.parse::<u64>().expect("a number") << 10
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for the end.
    pub fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A log line; where it is not JSON, its text.
fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| Value::from(line.trim_end()))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
