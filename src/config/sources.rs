//! Where settings come from: flags, then the environment, then the configuration file.

use std::{collections::BTreeMap, ffi::OsString, io, path::Path};

use toml::{Table, Value};

use super::{Fault, Faults, Outcome, SettingsArgs, settings};

const CONFIG: &str = "ALERTLOOP_CONFIG";

/// Every setting that was given, by name. Not to be printed: secrets are among them.
#[derive(Default)]
pub(super) struct Sources {
    given: BTreeMap<String, String>,
    faults: Faults,
}

impl Sources {
    pub(super) fn gather(
        flags: &SettingsArgs,
        environment: impl Iterator<Item = (OsString, OsString)>,
        read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Self {
        let mut sources = Self::default();
        sources.add_environment(environment);
        for (name, text) in flags.given() {
            sources.add(name.to_owned(), text.to_owned());
        }
        if let Some(path) = sources.get(CONFIG) {
            sources.add_file(&read_file(Path::new(path.trim())));
        }
        sources
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned()
    }

    /// Joins what is wrong here with what came of reading the settings.
    pub(super) fn join<T>(self, outcome: Outcome<T>) -> Outcome<T> {
        let Faults { mut faults, mut warnings } = self.faults;
        let value = match outcome {
            Ok((value, more)) => {
                warnings.extend(more);
                Some(value)
            }
            Err(more) => {
                faults.extend(more.faults);
                warnings.extend(more.warnings);
                None
            }
        };
        match value {
            Some(value) if faults.is_empty() => Ok((value, warnings)),
            _ => Err(Faults { faults, warnings }),
        }
    }

    fn add_environment(&mut self, environment: impl Iterator<Item = (OsString, OsString)>) {
        for (name, text) in environment {
            let Ok(name) = name.into_string() else { continue };
            if settings::names().any(|known| known == name) {
                match text.into_string() {
                    Ok(text) => self.add(name, text),
                    Err(_) => self.fault(&name, "is not UTF-8 text"),
                }
            } else {
                self.faults.warnings.extend(settings::unknown_variable(&name));
            }
        }
    }

    /// Adds what the file says about settings that nothing else speaks of.
    fn add_file(&mut self, read: &io::Result<Vec<u8>>) {
        let table = match read {
            Ok(bytes) => table_of(bytes),
            Err(fault) => Err(format!("cannot read the file: {fault}")),
        };
        let table = match table {
            Ok(table) => table,
            Err(what) => return self.fault(CONFIG, &what),
        };
        let mut seen = BTreeMap::new();
        for (key, value) in table {
            if key == crate::callback::settings::KEY || key == super::USER {
                continue;
            }
            let Some(name) = settings::of_key(&key) else {
                self.faults.warnings.push(settings::unknown_key(&key));
                continue;
            };
            let text = match value {
                Value::String(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Boolean(truth) => truth.to_string(),
                _ => {
                    self.fault(&name, "must be text, a whole number, true or false in the file");
                    continue;
                }
            };
            if seen.insert(name.clone(), text).is_some() {
                self.fault(&name, "stands in the file twice, with and without alertloop_");
            }
        }
        for (name, text) in seen {
            self.given.entry(name).or_insert(text);
        }
    }

    /// Adds a setting, or replaces it.
    fn add(&mut self, name: String, text: String) {
        if settings::is_given(&name, &text) {
            self.given.insert(name, text);
        }
    }

    fn fault(&mut self, name: &str, what: &str) {
        self.faults.faults.push(Fault { name: name.to_owned(), what: what.to_owned() });
    }
}

/// Reads TOML. The parser's own message would quote the line, and with it perhaps a secret.
fn table_of(bytes: &[u8]) -> Result<Table, String> {
    let text = str::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())?;
    text.parse::<Table>().map_err(|fault| {
        let before = fault.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("the file is not TOML, at line {line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> Sources {
        let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let env = env.iter().map(|(name, text)| (name.into(), text.into()));
        Sources::gather(&flags.collect(), env, |_| {
            file.map(|text| text.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn join(sources: Sources) -> Outcome<()> {
        sources.join(Ok(((), Vec::new())))
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let file = "listen = 'file'\nwait = 'file'\ndrain = 'file'\nalertloop_provision = false";
        let sources = gather(
            &[("ALERTLOOP_LISTEN", "flag"), (CONFIG, "/some/where")],
            &[("ALERTLOOP_LISTEN", "env"), ("ALERTLOOP_WAIT", "env"), ("ALERTLOOP_DRAIN", " ")],
            Some(file),
        );
        for (name, want) in [
            ("ALERTLOOP_LISTEN", Some("flag")),
            ("ALERTLOOP_WAIT", Some("env")),
            ("ALERTLOOP_DRAIN", Some("file")),
            ("ALERTLOOP_PROVISION", Some("false")),
            ("ALERTLOOP_LOG", None),
        ] {
            assert_eq!(sources.get(name).as_deref(), want, "{name}");
        }
        assert!(join(sources).unwrap().1.is_empty());
    }

    #[test]
    fn an_empty_prefix_is_a_prefix() {
        let sources = gather(&[], &[("MALCOLM_API_PREFIX", ""), ("ALERTLOOP_LISTEN", "")], None);
        assert_eq!(sources.get("MALCOLM_API_PREFIX").as_deref(), Some(""));
        assert_eq!(sources.get("ALERTLOOP_LISTEN"), None);
    }

    #[test]
    fn a_faulty_file_is_told_without_its_text() {
        for (file, want) in [
            (None, "ALERTLOOP_CONFIG: cannot read the file"),
            (Some("a = 1\ntoken = 'hunter2"), "ALERTLOOP_CONFIG: the file is not TOML, at line 2"),
            (Some("token = ['hunter2']"), "ALERTLOOP_TOKEN: must be text"),
            (Some("token = 'hunter2'\nalertloop_token = 'hunter2'"), "ALERTLOOP_TOKEN: stands"),
        ] {
            let sources = gather(&[], &[(CONFIG, "/etc/hunter2.toml")], file);
            let faults = join(sources).unwrap_err().to_string();
            assert!(faults.starts_with(want) && !faults.contains("hunter2"), "{faults}");
        }
    }

    #[test]
    fn unknown_names_are_warned_about() {
        let file = Some("lisen = 'x'\n[callbacks.one]\nurl = 'x'\n[[callback]]\nname = 'x'");
        let sources = gather(&[(CONFIG, "f")], &[("ALERTLOOP_WIAT", "x"), ("PATH", "x")], file);
        let ((), warnings) = join(sources).unwrap();
        assert_eq!(
            warnings,
            [
                "ALERTLOOP_WIAT is not a setting; did you mean ALERTLOOP_WAIT?",
                "ALERTLOOP_CONFIG: callbacks is not a setting; did you mean [[callback]]?",
                "ALERTLOOP_CONFIG: lisen is not a setting; did you mean listen?",
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt as _;
        let env = [("ALERTLOOP_LISTEN".into(), OsString::from_vec(vec![0xff]))];
        let sources = Sources::gather(&SettingsArgs::default(), env.into_iter(), |_| Ok(vec![]));
        let faults = join(sources).unwrap_err().to_string();
        assert_eq!(faults, "ALERTLOOP_LISTEN: is not UTF-8 text");
    }
}
