//! What a `[[callback]]` of type `script` says.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::Script;
use crate::{
    callback::{
        body::Payload,
        settings::{Ground, Span},
        users,
    },
    secrets::CallbackSecret,
};

const PASSWD: &str = "/etc/passwd";

/// The keys of this type, as the file has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    program: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, CallbackSecret>,
    directory: Option<String>,
    user: Option<String>,
    #[serde(default)]
    payload: Payload,
    #[serde(default = "usual_timeout")]
    timeout: Span,
}

fn usual_timeout() -> Span {
    Span(Duration::from_secs(30))
}

impl Settings {
    /// Checks them.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn build(self, ground: &Ground) -> Result<Script, Vec<String>> {
        let mut faults = Vec::new();
        let program = PathBuf::from(&self.program);
        if !program.is_absolute() {
            faults.push("program: must be an absolute path, like /usr/local/bin/page; there is no shell to look for it".to_owned());
        } else if let Err(fault) = may_run(&program) {
            faults.push(format!("program: {fault}"));
        }
        let directory = PathBuf::from(self.directory.as_deref().unwrap_or("/"));
        if !directory.is_absolute() || !directory.is_dir() {
            faults.push("directory: must be the absolute path of a folder".to_owned());
        }
        for name in self.environment.keys() {
            let is_name = |name: &str| {
                !name.is_empty() && !name.bytes().any(|byte| byte == b'=' || byte == 0)
            };
            if !is_name(name) || name.starts_with("ALERT_") {
                faults.push(format!(
                    "environment: {name} is not a name that it can have; ALERT_* are ours"
                ));
            } else if self.environment.get(name).is_some_and(|value| value.expose().contains('\0'))
            {
                faults.push(format!("environment: {name} holds a zero byte"));
            }
        }
        if self.arguments.iter().any(|argument| argument.contains('\0')) {
            faults.push("arguments: one holds a zero byte".to_owned());
        }
        let user = match self.user.as_deref().map(|user| user_of(user, ground)).transpose() {
            Ok(user) => user.flatten(),
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let Self { arguments, environment, payload, timeout, .. } = self;
        Ok(Script { program, arguments, environment, directory, user, payload, timeout: timeout.0 })
    }
}

fn may_run(program: &Path) -> Result<(), String> {
    let found = std::fs::metadata(program).map_err(|fault| fault.to_string())?;
    if !found.is_file() {
        return Err("is not a file".to_owned());
    }
    let may_run = found.permissions().mode() & 0o111 != 0;
    if may_run { Ok(()) } else { Err("nobody may execute it; chmod +x".to_owned()) }
}

/// The ids of another user; `None` where it is our own.
fn user_of(user: &str, ground: &Ground) -> Result<Option<(u32, u32)>, String> {
    let passwd = (ground.read_file)(Path::new(PASSWD)).unwrap_or_default();
    let ids = users::ids(&String::from_utf8_lossy(&passwd), user);
    let ids = ids.ok_or_else(|| format!("user: is not in {PASSWD}"))?;
    let own = rustix::process::geteuid();
    if ids.0 == own.as_raw() {
        return Ok(None);
    }
    if !own.is_root() {
        return Err("user: only root can run a program as somebody else; leave it out".to_owned());
    }
    Ok(Some(ids))
}
