//! The files under `provisioning/`: those of a mounted folder over those compiled in.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use include_dir::{Dir, include_dir};

use super::desired::BadFile;

pub(super) static COMPILED_IN: Dir = include_dir!("$CARGO_MANIFEST_DIR/provisioning");

/// The folders whose files describe objects, and how those files end.
pub const FOLDERS: [(&str, &str); 4] =
    [("channels", "json"), ("monitors", "json"), ("templates", "json"), ("conditions", "toml")];

/// The texts of all files that describe objects, by their path below the folder, such as
/// `monitors/x.json`.
///
/// A file of the mounted folder stands in for the one compiled in under the same path; an empty one
/// takes it away.
///
/// # Errors
/// [`BadFile`]: the folder or a file cannot be read.
pub fn read(dir: Option<&Path>) -> Result<BTreeMap<String, String>, BadFile> {
    let mut all = compiled_in();
    if let Some(dir) = dir {
        if !dir.is_dir() {
            let fault = "is no folder; correct ALERTLOOP_PROVISIONING_DIR".to_owned();
            return Err(BadFile { file: dir.display().to_string(), fault });
        }
        for (folder, ending) in FOLDERS {
            for path in files_in(&dir.join(folder), ending)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let file = format!("{folder}/{name}");
                let text = fs::read_to_string(&path).map_err(|fault| bad(&file, &fault))?;
                all.insert(file, text);
            }
        }
    }
    all.retain(|_, text| !text.trim().is_empty());
    Ok(all)
}

/// The one file of the session records' template, as [`read`] gives it. Records wait for it, so no
/// other file may stand in its way.
///
/// # Errors
/// [`BadFile`]: it is there and cannot be read.
pub fn session_template(dir: Option<&Path>) -> Result<BTreeMap<String, String>, BadFile> {
    const FILE: &str = "templates/alertloop_sessions.json";
    let mut all = compiled_in();
    all.retain(|file, _| file == FILE);
    if let Some(path) = dir.map(|dir| dir.join(FILE)) {
        match fs::read_to_string(path) {
            Ok(text) => drop(all.insert(FILE.to_owned(), text)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(bad(FILE, &fault)),
        }
    }
    all.retain(|_, text| !text.trim().is_empty());
    Ok(all)
}

/// The files that are part of the program.
fn compiled_in() -> BTreeMap<String, String> {
    let folders = FOLDERS.iter().filter_map(|(folder, ending)| {
        let files = COMPILED_IN.get_dir(folder)?.files();
        Some(files.filter(|file| file.path().extension().is_some_and(|found| found == *ending)))
    });
    let named = folders.flatten().filter_map(|file| {
        let text = file.contents_utf8()?;
        Some((file.path().to_string_lossy().into_owned(), text.to_owned()))
    });
    named.collect()
}

fn files_in(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, BadFile> {
    let shown = folder.display().to_string();
    let entries = match fs::read_dir(folder) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|fault| bad(&shown, &fault))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|fault| bad(&shown, &fault))?.path();
        // What a mounted ConfigMap or an editor leaves beside the files begins with a dot.
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.extension().is_some_and(|found| found == ending) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The text of a file that another one names, such as a secret; relative to the mounted folder.
///
/// # Errors
/// Why it cannot be read, for people.
pub fn named(dir: Option<&Path>, path: &str) -> Result<String, String> {
    let path = dir.map_or_else(|| PathBuf::from(path), |dir| dir.join(path));
    let text = fs::read_to_string(&path).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn bad(file: &str, fault: &io::Error) -> BadFile {
    BadFile { file: file.to_owned(), fault: format!("cannot be read: {fault}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_stands_in_adds_or_takes_away() -> Result<(), Box<dyn std::error::Error>> {
        const MONITOR: &str = "monitors/malcolm_api_loopback_monitor.json";
        let shipped = read(None).unwrap();
        assert!(shipped.contains_key(MONITOR) && shipped.len() >= 3, "{:?}", shipped.keys());
        let dir = tempfile::tempdir()?;
        assert_eq!(read(Some(dir.path())).unwrap(), shipped, "an empty folder changes nothing");
        fs::create_dir(dir.path().join("monitors"))?;
        for (name, text) in [
            ("own.json", "{}"),
            ("malcolm_api_loopback_monitor.json", " \n"),
            (".hidden.json", "x"),
            ("readme.md", "x"),
        ] {
            fs::write(dir.path().join("monitors").join(name), text)?;
        }
        let all = read(Some(dir.path())).unwrap();
        assert_eq!(all["monitors/own.json"], "{}");
        assert!(!all.contains_key(MONITOR));
        assert_eq!(all.len(), shipped.len());
        assert!(read(Some(&dir.path().join("no"))).is_err());
        let template = session_template(Some(&dir.path().join("no"))).unwrap();
        assert_eq!(template.keys().collect::<Vec<_>>(), ["templates/alertloop_sessions.json"]);
        Ok(())
    }
}
