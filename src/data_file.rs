//! A small file of the data directory, which is replaced whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Writes `line` to `dir`/`name`, in the place of what was there, readable for this user alone.
///
/// # Errors
/// When it cannot be written; then what was there is still there.
pub fn replace(dir: &Path, name: &str, line: &str) -> io::Result<()> {
    // A command may come before the first `serve`.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let new = dir.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(line.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}
