//! The sidecar under test: started with a data directory and an index pattern of its own, watched
//! through `/proc`, and always ended.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::report::float;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How many of its last log lines are shown when it fails.
const LOG_LINES: usize = 20;
/// `USER_HZ`, the unit of CPU times in `/proc`: 100 on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running sidecar.
pub struct Sidecar {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    /// Goes after the child was ended.
    _data: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started.
    pub started: Instant,
}

impl Sidecar {
    /// Starts the program and waits until it says where it listens.
    pub async fn start(
        program: &Path,
        parent: &Path,
        settings: &[(String, String)],
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(parent).context("cannot make the folder for the data directory")?;
        let data = tempfile::Builder::new().prefix("load-").tempdir_in(parent);
        let data = data.context("cannot make the data directory")?;
        let mut command = Command::new(program);
        // Nothing of the developer's own settings may change what is measured.
        command.arg("serve").env_clear().env("ALERTLOOP_DATA_DIR", data.path());
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().context("cannot start the sidecar")?;
        let stderr = child.stderr.take().context("the sidecar has no stderr")?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, told) = oneshot::channel();
        thread::spawn({
            let log = Arc::clone(&log);
            move || follow(stderr, &log, tell)
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut sidecar = Self { child, log, _data: data, address: unknown, started };
        sidecar.address = match tokio::time::timeout(START_LIMIT, told).await {
            Ok(Ok(address)) => address,
            Ok(Err(_)) => bail!("the sidecar ended before it listened{}", sidecar.last_words()),
            Err(_) => bail!("the sidecar does not listen{}", sidecar.last_words()),
        };
        Ok(sidecar)
    }

    /// The last lines of its log, for an error message.
    pub fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().flat_map(|line| ["\n  | ", line]).collect()
    }

    /// Resident memory in MiB: `VmRSS` now, or `VmHWM` at its peak.
    pub fn memory(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.context("cannot read the sidecar's memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        Ok(float(kib.context("cannot read the sidecar's memory")?) / 1_024.0)
    }

    /// CPU time used so far, in seconds.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        cpu_of(&self.child.id().to_string())
    }

    /// Asks it to end, waits for it, and complains when it did not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let end = format!("kill -TERM {}", self.child.id());
        Command::new("sh").args(["-c", &end]).status().context("cannot signal the sidecar")?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            match self.child.try_wait().context("cannot wait for the sidecar")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the sidecar ended with {status}{}", self.last_words()),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
        bail!("the sidecar did not end on SIGTERM{}", self.last_words())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// CPU time used by a process (`self` is this one), in seconds.
pub fn cpu_of(process: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("cannot read stat")?;
    // The second field is the program's name in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(") ").context("cannot read stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().context("cannot read stat")?;
    Ok(float(ticks) / TICKS_PER_SECOND)
}

/// Reads the log to its end, tells the address from it and keeps its last lines.
fn follow(stderr: ChildStderr, log: &Mutex<VecDeque<String>>, tell: oneshot::Sender<SocketAddr>) {
    let mut tell = Some(tell);
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if tell.is_some()
            && let Some(address) = listening_on(&line)
            && let Some(tell) = tell.take()
        {
            // Nobody listens any more when the start took too long.
            tell.send(address).ok();
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

fn listening_on(line: &str) -> Option<SocketAddr> {
    if !line.contains(r#""message":"listening""#) {
        return None;
    }
    let (_, rest) = line.split_once(r#""server.address":""#)?;
    rest.split_once('"')?.0.parse().ok()
}
