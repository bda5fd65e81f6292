//! A real Chromium, without a window, driven over the pipe of its `DevTools` protocol
//! (`--remote-debugging-pipe`: JSON messages, each ended by a zero byte, on descriptors 3 and 4).

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long a page may take for what it should do.
const PATIENCE: Duration = Duration::from_secs(30);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser with one tab.
pub struct Browser {
    _child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    next: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// A fresh one; `None` where there is no Chromium.
    pub async fn start() -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let folders = || path.split(':').map(std::path::Path::new);
        let name = NAMES.iter().find(|name| folders().any(|one| one.join(name).exists()))?;
        let profile = tempfile::tempdir().expect("a directory");
        // A shell puts the pipes where the browser looks for them.
        let command = format!(
            "exec {name} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --no-proxy-server --user-data-dir={} --remote-debugging-pipe about:blank \
             3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null",
            profile.path().display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a browser");
        let requests = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let (session, events) = (String::new(), Vec::new());
        let mut browser =
            Self { _child: child, requests, answers, session, next: 1, events, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    /// Calls a method of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut request = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.requests.write_all(&bytes).await.expect("the browser listens");
        loop {
            let message = self.message().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = self.answers.read_until(0, &mut bytes);
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time").expect("an answer");
        bytes.pop();
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Goes to an address, and waits until it is loaded.
    pub async fn goto(&mut self, url: &str) {
        self.forget("Page.loadEventFired");
        let went = self.call("Page.navigate", json!({"url": url})).await;
        assert!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        self.loaded().await;
    }

    fn forget(&mut self, method: &str) {
        self.events.retain(|event| event["method"] != method);
    }

    async fn loaded(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.message().await;
            self.events.push(message);
        }
    }

    /// What a script gives, which is run in the page.
    pub async fn eval(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Clicks on what a selector finds first, as the page that it leads to is loaded.
    pub async fn follow(&mut self, selector: &str) {
        self.forget("Page.loadEventFired");
        let script = format!("document.querySelector({}).click()", json!(selector));
        self.eval(&script).await;
        self.loaded().await;
    }

    /// Waits until a script gives true.
    pub async fn until(&mut self, script: &str) {
        let begun = Instant::now();
        while self.eval(script).await != true {
            if begun.elapsed() > PATIENCE {
                let text = self.text().await;
                panic!("never true: {script}\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The text that a reader sees.
    pub async fn text(&mut self) -> String {
        let text = self.eval("document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key.
    pub async fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "code": key,
                "windowsVirtualKeyCode": code, "text": if kind == "keyDown" { text } else { "" }});
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Shows the page so wide, in the light or in the dark.
    pub async fn look(&mut self, width: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Switches JavaScript off.
    pub async fn without_scripts(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// Has a script run in each page that is loaded from now on, before any of the page's own.
    pub async fn before_each_page(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Sends these headers along from now on.
    pub async fn send_along(&mut self, headers: Value) {
        self.call("Network.setExtraHTTPHeaders", json!({"headers": headers})).await;
    }

    /// All that happened since it was asked last.
    pub fn happened(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// What the browser complained about since it was asked last: errors of scripts, and what our own
    /// policy forbids.
    pub fn complaints(&mut self) -> Vec<String> {
        complaints(&self.happened())
    }
}

/// What of this is a complaint.
pub fn complaints(all: &[Value]) -> Vec<String> {
    let bad = |event: &&Value| match event["method"].as_str() {
        Some("Runtime.exceptionThrown") => true,
        Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
        Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
        _ => false,
    };
    all.iter().filter(bad).map(|event| event["params"].to_string()).collect()
}
