//! A real mail server that wants a login: see `tests/smtp`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::certificate;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp/serve.sh");

/// How long a mail may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server, until it is dropped.
pub struct MailServer {
    child: Child,
    port: u16,
    told: Receiver<Value>,
    /// It ends when this is closed.
    _input: ChildStdin,
}

impl MailServer {
    /// Starts one that lets in nobody but this login; what it lacks, where it cannot start.
    pub fn start(username: &str, password: &str) -> Result<Self, String> {
        Self::start_with(&json!({"username": username, "password": password}))
    }

    /// The same with STARTTLS, before which it takes no login.
    pub fn start_tls(username: &str, password: &str, folder: &Path) -> Result<Self, String> {
        let (certificate, key) = certificate(folder, "mail", &[])?;
        Self::start_with(&json!({"username": username, "password": password,
            "certificate": certificate, "key": key}))
    }

    /// Starts one that behaves as `tests/smtp/server.py` says.
    pub fn start_with(login: &Value) -> Result<Self, String> {
        let mut command = Command::new(SERVER);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|fault| format!("{SERVER}: {fault}"))?;
        let mut input = child.stdin.take().expect("stdin");
        writeln!(input, "{login}").ok();
        let (told, output) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        // The first time it installs what it needs; it ends with a reason, or it listens.
        if let Ok(ready) = output.recv() {
            let port = ready["port"].as_u64().and_then(|port| port.try_into().ok());
            Ok(Self { child, port: port.expect("a port"), told: output, _input: input })
        } else {
            let output = child.wait_with_output().expect("an end");
            let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(format!("no mail server: {why}"))
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next thing that happened: a mail, or a login that was refused.
    pub fn next(&self) -> Value {
        match self.told.recv_timeout(PATIENCE) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => panic!("the mail server got nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the mail server has ended"),
        }
    }

    /// Everything that happened and was not asked for yet, once the server has ended.
    pub fn rest(mut self) -> Vec<Value> {
        drop(self.child.kill());
        let end = Instant::now() + PATIENCE;
        let mut rest = Vec::new();
        loop {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(told) => rest.push(told),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the mail server does not end"),
            }
        }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
