//! The intake secret that nobody configured: made on the first run, kept in the data directory, so
//! that a restart while the store is away still admits what the channel sends.

use std::{fs, io, path::Path};

use crate::{data_file, secrets::WebhookToken};

const FILE: &str = "intake-token";

/// The kept secret; `None` where there is none yet.
///
/// # Errors
/// When the file cannot be read, or holds no secret.
pub fn load(dir: &Path) -> io::Result<Option<WebhookToken>> {
    match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text.parse().map(Some).map_err(|fault| {
            let mend = "delete it to have a new one made";
            io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {fault}; {mend}"))
        }),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The kept secret, or a new one, which is kept from now on.
///
/// # Errors
/// When the file cannot be read or written, or holds no secret.
pub fn load_or_make(dir: &Path) -> io::Result<WebhookToken> {
    if let Some(token) = load(dir)? {
        return Ok(token);
    }
    let token = WebhookToken::generate();
    keep(dir, &token)?;
    Ok(token)
}

/// Keeps `token` in the place of the one before, readable for this user alone.
///
/// # Errors
/// When it cannot be written; then the one before is still there.
pub fn keep(dir: &Path, token: &WebhookToken) -> io::Result<()> {
    data_file::replace(dir, FILE, token.expose())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_this_user_alone() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("data");
        assert!(load(&dir).unwrap().is_none());
        let made = load_or_make(&dir).unwrap();
        assert!(load_or_make(&dir).unwrap().is(&made));
        let permissions = fs::metadata(dir.join(FILE)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        let other = WebhookToken::generate();
        keep(&dir, &other).unwrap();
        assert!(load_or_make(&dir).unwrap().is(&other));
    }

    #[test]
    fn a_broken_file_is_an_error_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "short").unwrap();
        assert!(load_or_make(dir.path()).is_err());
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "short");
    }
}
