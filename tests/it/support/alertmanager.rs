//! A real Alertmanager (Debian's prometheus-alertmanager) that posts to the service under test.

use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = "prometheus-alertmanager";
/// How long it may take to start, and what is waited for to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// An Alertmanager with one receiver, until it is dropped.
pub struct Alertmanager {
    child: Child,
    url: String,
    client: reqwest::Client,
    dir: TempDir,
}

impl Alertmanager {
    /// Starts one that posts to `hook` with `secret`, each group of the labels `group_by` by itself,
    /// and again every second or two. `login` is YAML of `http_config` that takes the secret from the
    /// file `SECRET`. `None` where the program is not installed.
    pub async fn start(hook: &str, secret: &str, login: &str, group_by: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = port.expect("a free port").to_string();
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        fs::write(&file, secret).expect("a file");
        let login = login.replace("SECRET", file.to_str().expect("UTF-8"));
        let config = format!(
            "route: {{receiver: loop, group_by: [{group_by}], group_wait: 100ms, group_interval: 1s, repeat_interval: 1s}}\n\
             receivers:\n  - name: loop\n    webhook_configs:\n      - url: {hook}\n        \
             send_resolved: true\n        http_config: {login}\n"
        );
        let config_file = dir.path().join("alertmanager.yml");
        fs::write(&config_file, config).expect("a file");
        let log = File::create(dir.path().join("log")).expect("a file");
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return None,
            Err(fault) => panic!("{PROGRAM}: {fault}"),
        };
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let manager = Self { child, url: format!("http://{address}"), client, dir };
        let ready = async || {
            let asked = manager.client.get(format!("{}/-/ready", manager.url)).send().await;
            asked.is_ok_and(|answer| answer.status().is_success())
        };
        let begun = Instant::now();
        while !ready().await {
            assert!(begun.elapsed() < PATIENCE, "it does not start: {}", manager.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(manager)
    }

    /// Gives it alerts, as Prometheus does (`POST /api/v2/alerts`).
    pub async fn put(&self, alerts: &[Value]) {
        let request = self.client.post(format!("{}/api/v2/alerts", self.url));
        let body = json!(alerts).to_string();
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    /// From now on it has this secret.
    pub fn set_secret(&self, secret: &str) {
        fs::write(self.dir.path().join("secret"), secret).expect("a file");
    }

    /// The sum of a counter of its webhooks.
    pub async fn count(&self, name: &str) -> f64 {
        let answer = self.client.get(format!("{}/metrics", self.url)).send().await;
        let text = answer.expect("an answer").text().await.expect("metrics");
        let of = format!("{name}{{");
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&of) && line.contains("integration=\"webhook\""));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a counter of its webhooks is at least so high.
    pub async fn wait_for(&self, name: &str, count: f64) {
        let begun = Instant::now();
        loop {
            let is = self.count(name).await;
            if is >= count {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} is {is}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An Alertmanager that posts to `hook`, or `return`s from a test that cannot run without one.
#[macro_export]
macro_rules! alertmanager {
    ($($argument:expr),+) => {
        match $crate::support::Alertmanager::start($($argument),+).await {
            Some(manager) => manager,
            None => {
                let why = "there is no prometheus-alertmanager: apt-get install prometheus-alertmanager";
                return $crate::support::skip(why);
            }
        }
    };
}
