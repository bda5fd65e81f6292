//! The files that let us in to the store, followed while the service runs: a new password, CA or
//! client certificate counts without a restart. They are read every few seconds, and at once when
//! the store shuts us out. What cannot be used changes nothing: what was read before stays.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{Identity, Settings};
use crate::{config::curlrc, secrets::Login};

/// How often the files are read without a reason.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How often at most they are read because the store shuts us out.
const AT_MOST_EVERY: Duration = Duration::from_millis(250);
const CREDENTIALS: &str = "OPENSEARCH_CREDS_CONFIG_FILE";
const CA: &str = "ALERTLOOP_OPENSEARCH_CA";
const CERTIFICATE: &str = "ALERTLOOP_OPENSEARCH_CERT";
const KEY: &str = "ALERTLOOP_OPENSEARCH_KEY";

/// Where those settings of the store came from that may change. Kubernetes changes a secret by
/// swapping a link, so the paths are opened anew each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The curl configuration with the login; `None` where a login stands in the URL, which goes
    /// before it.
    pub credentials: Option<PathBuf>,
    /// PEM certificates that are trusted.
    pub ca: Option<PathBuf>,
    /// PEM client certificate and its key.
    pub identity: Option<[PathBuf; 2]>,
}

/// Remembers what is in use.
#[derive(Debug)]
pub(super) struct Follower {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    looked: Option<Instant>,
    /// What was said last about files that cannot be used.
    said: String,
}

impl Follower {
    /// Follows `files`, which `settings` were read from.
    pub(super) fn new(settings: Settings, files: Files) -> Self {
        let state = State { settings, looked: None, said: String::new() };
        Self { files, state: Mutex::new(state) }
    }

    /// Looks at the files, and calls `open` with what is new in them; it fails where that cannot be
    /// used. When the store has shut us out, this is asked for with each call, and done now and
    /// then.
    pub(super) fn look(&self, shut_out: bool, open: impl FnOnce(&Settings) -> anyhow::Result<()>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if shut_out && state.looked.is_some_and(|looked| looked.elapsed() < AT_MOST_EVERY) {
            return;
        }
        state.looked = Some(Instant::now());
        let found = news(&state.settings, &self.files, |path| std::fs::read(path));
        let opened = found.and_then(|found| {
            let Some((settings, changed)) = found else { return Ok(None) };
            open(&settings).map_err(|fault| format!("{fault:#}"))?;
            Ok(Some((settings, changed)))
        });
        match opened {
            Ok(Some((settings, changed))) => {
                state.settings = settings;
                state.said.clear();
                info!(changed, "the store is spoken to with what its files say now");
            }
            Ok(None) => state.said.clear(),
            Err(fault) => {
                if fault != state.said {
                    warn!("what lets us in to the store stays as it was: {fault}");
                    state.said = fault;
                }
            }
        }
    }
}

/// The settings with what is new in the files, and the names of the settings that changed; `None`
/// where nothing is.
fn news(
    now: &Settings,
    files: &Files,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Option<(Settings, String)>, String> {
    let read = |name: &str, path: &Path| {
        read(path).map_err(|fault| format!("{name}: cannot read the file: {fault}"))
    };
    let mut settings = now.clone();
    let mut changed = Vec::new();
    if let Some(path) = &files.credentials {
        let login = match read(CREDENTIALS, path) {
            Ok(bytes) => login_of(bytes)?,
            // Only a file at the default place may be missing from the start.
            Err(_) if now.login.is_none() => None,
            Err(fault) => return Err(fault),
        };
        if now.login.is_some() && login.is_none() {
            // As while somebody writes it: without a login nothing would go.
            return Err(format!("{CREDENTIALS}: the file holds no login"));
        }
        if !is_same(now.login.as_ref(), login.as_ref()) {
            changed.push(CREDENTIALS);
        }
        settings.login = login;
    }
    if let Some(path) = &files.ca {
        let pem = read(CA, path)?;
        if now.ca.as_ref() != Some(&pem) {
            changed.push(CA);
            settings.ca = Some(pem);
        }
    }
    if let Some([certificate, key]) = &files.identity {
        let identity = Identity::of(read(CERTIFICATE, certificate)?, &read(KEY, key)?);
        if now.identity.as_ref().map(|now| &now.0) != Some(&identity.0) {
            changed.push(CERTIFICATE);
            settings.identity = Some(identity);
        }
    }
    Ok((!changed.is_empty()).then(|| (settings, changed.join(", "))))
}

fn login_of(bytes: Vec<u8>) -> Result<Option<Login>, String> {
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| format!("{CREDENTIALS}: the file is not UTF-8 text"))?;
    let parsed = curlrc::parse(&text).map_err(|fault| format!("{CREDENTIALS}: {fault}"))?;
    Ok(parsed.login)
}

fn is_same(one: Option<&Login>, other: Option<&Login>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one.user == other.user && one.password.admits(other.password.expose().as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings(login: Option<&str>) -> Settings {
        Settings {
            url: "https://opensearch:9200".parse().unwrap(),
            login: login.map(|password| Login {
                user: "al".to_owned(),
                password: password.to_owned().into(),
            }),
            verify: true,
            ca: Some(b"ca".to_vec()),
            identity: Some(Identity::of(b"cert".to_vec(), b"key")),
            timeout: Duration::from_secs(1),
            monitors: crate::opensearch::engine::Settings::default(),
        }
    }

    fn files() -> Files {
        Files {
            credentials: Some("curlrc".into()),
            ca: Some("ca".into()),
            identity: Some(["cert".into(), "key".into()]),
        }
    }

    #[test]
    fn what_is_new_counts_and_what_cannot_be_used_changes_nothing() {
        let fine = [("curlrc", "user: al:one"), ("ca", "ca"), ("cert", "cert"), ("key", "key")];
        for (change, want) in [
            (("", ""), Ok(None)),
            (("curlrc", "# a comment\nuser: \"al:one\"\n"), Ok(None)),
            (("curlrc", "user: al:two"), Ok(Some(CREDENTIALS))),
            (("curlrc", "user: bo:one"), Ok(Some(CREDENTIALS))),
            (("ca", "other"), Ok(Some(CA))),
            (("cert", "other"), Ok(Some(CERTIFICATE))),
            (("key", "other"), Ok(Some(CERTIFICATE))),
            (("curlrc", ""), Err("holds no login")),
            (("curlrc", "user: al"), Err("line 1: the user has no password")),
            (("curlrc", "gone"), Err("OPENSEARCH_CREDS_CONFIG_FILE: cannot read")),
            (("ca", "gone"), Err("ALERTLOOP_OPENSEARCH_CA: cannot read")),
            (("key", "gone"), Err("ALERTLOOP_OPENSEARCH_KEY: cannot read")),
        ] {
            let mut texts = HashMap::from(fine);
            texts.insert(change.0, change.1);
            let read = |path: &Path| match texts[path.to_str().unwrap()] {
                "gone" => Err(io::ErrorKind::NotFound.into()),
                text => Ok(text.as_bytes().to_vec()),
            };
            let found = news(&settings(Some("one")), &files(), read);
            match (found, want) {
                (Ok(found), Ok(want)) => {
                    assert_eq!(found.map(|(_, changed)| changed).as_deref(), want, "{change:?}");
                }
                (Err(fault), Err(want)) => assert!(fault.contains(want), "{fault}"),
                (found, want) => panic!("{change:?}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn a_login_may_come_later_but_does_not_go() {
        let only = Files { ca: None, identity: None, ..files() };
        let read = |text: &'static str| move |_: &Path| Ok(text.as_bytes().to_vec());
        let gone = |_: &Path| Err(io::ErrorKind::NotFound.into());
        assert!(matches!(news(&settings(None), &only, gone), Ok(None)));
        assert!(matches!(news(&settings(None), &only, read("")), Ok(None)));
        assert!(matches!(news(&settings(None), &only, read("user: a:b")), Ok(Some(_))));
        assert!(news(&settings(Some("one")), &only, gone).is_err());
        assert!(news(&settings(None), &only, |_| Ok(vec![0xff])).is_err(), "half a letter");
    }
}
