//! Which replica this is: a random id, made at the first start and kept in the data directory, so
//! that a process that was killed and started again knows what it held.

use std::{fmt, fs, io, path::Path};

use tracing::warn;

use crate::data_file;

/// The file in the data directory.
pub const FILE: &str = "replica-id";
const DIGITS: usize = 32;

/// The id of a replica, 32 hexadecimal digits. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaId(String);

impl ReplicaId {
    /// A new one, kept nowhere.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The kept one, or a new one, which is kept from now on. One that cannot be understood is
    /// replaced: all that is lost is that a lease runs out before it is taken again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn load_or_make(dir: &Path) -> io::Result<Self> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => {
                if let Some(id) = parsed(&bytes) {
                    return Ok(id);
                }
                warn!(file = FILE, "it holds no replica id, so a new one is made");
            }
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
        let id = Self::random();
        id.keep(dir)?;
        Ok(id)
    }

    fn keep(&self, dir: &Path) -> io::Result<()> {
        data_file::replace(dir, FILE, &self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parsed(bytes: &[u8]) -> Option<ReplicaId> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let is_one = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| ReplicaId(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_this_user_alone() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("data");
        let made = ReplicaId::load_or_make(&dir).unwrap();
        assert_eq!(ReplicaId::load_or_make(&dir).unwrap(), made);
        let permissions = fs::metadata(dir.join(FILE)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        assert_ne!(ReplicaId::random(), made);
    }

    #[test]
    fn one_that_cannot_be_understood_is_replaced() {
        for broken in ["", "short", "zz345678901234567890123456789012", "ä"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), broken).unwrap();
            let made = ReplicaId::load_or_make(dir.path()).unwrap();
            assert_eq!(made.to_string().len(), DIGITS);
            assert_eq!(ReplicaId::load_or_make(dir.path()).unwrap(), made);
        }
    }
}
