//! A callback that runs a program: the alert as JSON on its standard input, the most useful of it in
//! `ALERT_*`, no shell, nothing else of our environment. Exit code 0 has taken the alert; any other
//! is tried again.
//!
//! The program runs in a process group of its own, which is killed as a whole when its time is over
//! or we end. All that it prints is read, so that it is never held up, and only the begin is kept.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

use super::{
    Notice, Outcome, Ran,
    body::{Body, Payload},
    settings::shown,
};
use crate::{
    alert::occasion::Occasion,
    secrets::{CallbackSecret, mask::Mask},
};

pub mod settings;

/// How much is kept of what it prints, in bytes, of each of both.
const KEPT: usize = 2_048;
/// How long its output is still read after its end: a program that it left behind may hold it open.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// A value in the environment is no longer, in bytes; all of it is on standard input.
const VALUE: usize = 4_096;

/// A program that is ready to run.
#[derive(Clone, Debug)]
pub struct Script {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// What it is given.
    pub arguments: Vec<String>,
    /// Variables besides `ALERT_*` and `PATH`.
    pub environment: BTreeMap<String, CallbackSecret>,
    /// Where it runs.
    pub directory: PathBuf,
    /// User and group that it runs as, where these are not ours.
    pub user: Option<(u32, u32)>,
    /// What it gets on its standard input.
    pub payload: Payload,
    /// Limit of one run.
    pub timeout: Duration,
}

impl Script {
    /// What it gets on its standard input.
    ///
    /// # Errors
    /// Why there is nothing to give.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        Body::Payload(self.payload).render(notice)
    }

    /// What it was given in secret, and may print.
    fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        for (name, value) in &self.environment {
            if shown::hides_value(name, value.expose()) {
                mask.add(value.expose());
            }
        }
        mask
    }

    /// Runs it.
    pub async fn run(&self, notice: &Notice) -> Ran {
        let text = match self.render(notice) {
            Ok(text) => text,
            Err(why) => return again(format!("its input cannot be made: {why}")),
        };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value.expose())))
            .envs(variables(notice))
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(fault) => return again(format!("cannot run the program: {fault}")),
        };
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let input = child.stdin.take();
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let outputs = (child.stdout.take(), child.stderr.take());
        let ended = {
            let giving = async {
                if let Some(mut input) = input {
                    // One that does not read its input may end before it is written.
                    input.write_all(text.as_bytes()).await.ok();
                }
            };
            let drain = async { tokio::join!(out.drain(outputs.0), err.drain(outputs.1)) };
            tokio::pin!(giving, drain);
            let mut drained = false;
            let work = async {
                let mut given = false;
                loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        () = &mut giving, if !given => given = true,
                        _ = &mut drain, if !drained => drained = true,
                    }
                }
            };
            let ended = timeout(self.timeout, work).await;
            if ended.is_err() {
                group.kill();
            }
            // What it printed last may still be in the pipes.
            if !drained {
                timeout(AFTERWARDS, drain).await.ok();
            }
            ended
        };
        // What it left behind has no more to say, and shall not outlive its alert.
        group.kill();
        let answer = answer(&out, &err, &self.mask());
        match ended {
            Ok(Ok(status)) => Ran { outcome: outcome_of(status), status: status.code(), answer },
            Ok(Err(fault)) => Ran { answer, ..again(format!("its end is not known: {fault}")) },
            Err(_) => {
                let why = format!("it was killed after {} s", self.timeout.as_secs_f64());
                Ran { answer, ..again(why) }
            }
        }
    }
}

fn again(why: String) -> Ran {
    Ran { outcome: Outcome::Again(why), status: None, answer: String::new() }
}

fn outcome_of(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Delivered,
        // EX_TEMPFAIL of sysexits.h.
        Some(75) => Outcome::Again("exit code 75: later".to_owned()),
        Some(code) => Outcome::Again(format!("exit code {code}")),
        None => Outcome::Again(status.to_string()),
    }
}

fn answer(out: &Kept, err: &Kept, mask: &Mask) -> String {
    let texts = [(out, ""), (err, "stderr: ")].into_iter().filter(|(kept, _)| kept.read > 0);
    let texts = texts.map(|(kept, name)| {
        let more = kept.read.saturating_sub(u64::try_from(kept.head.len()).unwrap_or(0));
        let text = mask.apply(String::from_utf8_lossy(&kept.head).into_owned(), more > 0);
        let more = if more > 0 { format!(" … and {more} bytes more") } else { String::new() };
        format!("{name}{}{more}", text.trim_end())
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The begin of what is printed, and how much it was, in bytes.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    read: u64,
}

impl Kept {
    /// Reads to the end, however much comes.
    async fn drain(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut piece = vec![0; 64 << 10];
        while let Ok(length) = from.read(&mut piece).await
            && length > 0
        {
            let room = KEPT - self.head.len();
            self.head.extend_from_slice(&piece[..length.min(room)]);
            self.read += u64::try_from(length).unwrap_or(0);
        }
    }
}

/// A process group, which is killed when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a program may want to know without reading JSON. What is not known is empty.
fn variables(notice: &Notice) -> Vec<(&'static str, String)> {
    let Notice { alert, received, record } = notice;
    let met = alert.occasion.as_deref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let of = |read: fn(&Occasion) -> Option<&String>| text(met.and_then(read));
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let all = vec![
        ("ALERT_ID", text(alert.id.as_ref())),
        ("ALERT_SOURCE", alert.source.provider().to_owned()),
        ("ALERT_ACTION", alert.phase.action().to_owned()),
        ("ALERT_SEVERITY", alert.severity.to_string()),
        ("ALERT_RULE", text(alert.rule.name.as_ref())),
        ("ALERT_RULE_ID", text(alert.rule.id.as_ref())),
        ("ALERT_TRIGGER", text(alert.trigger.name.as_ref())),
        ("ALERT_MESSAGE", text(alert.message.as_ref())),
        ("ALERT_ERROR", text(alert.error.as_ref())),
        ("ALERT_URL", text(alert.url.as_ref())),
        ("ALERT_HITS", alert.hits.map(|hits| hits.to_string()).unwrap_or_default()),
        ("ALERT_START", time(alert.began.or(alert.start))),
        ("ALERT_END", time(alert.end)),
        ("ALERT_RECEIVED", time(Some(*received))),
        ("ALERT_TAGS", alert.tags.join(",")),
        ("ALERT_INDEX", record.as_ref().map(|(index, _)| index.clone()).unwrap_or_default()),
        ("ALERT_RECORD", record.as_ref().map(|(_, id)| id.clone()).unwrap_or_default()),
        ("ALERT_CONDITION", of(|met| met.condition.title.as_ref())),
        ("ALERT_CONDITION_ID", of(|met| met.condition.id.as_ref())),
        ("ALERT_CONDITION_TYPE", of(|met| met.condition.kind.as_ref())),
        ("ALERT_STREAM", of(|met| met.stream.title.as_ref())),
        ("ALERT_STREAM_ID", of(|met| met.stream.id.as_ref())),
        ("ALERT_RESULT", of(|met| met.description.as_ref())),
    ];
    all.into_iter().map(|(name, value)| (name, bounded(value))).collect()
}

/// A variable ends at the first zero byte, and the environment has a limit.
fn bounded(mut value: String) -> String {
    value.truncate(value.floor_char_boundary(VALUE));
    value.retain(|letter| letter != '\0');
    value
}

#[cfg(test)]
mod tests;
