//! The flags of a command that takes settings, made from the table.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::settings::{self, Kind, Setting};

/// The settings that were given as flags.
#[derive(Clone, Default)]
pub struct SettingsArgs(BTreeMap<String, String>);

impl SettingsArgs {
    /// Names and texts of the flags that were given.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// Shows names alone: an address may hold a login.
impl fmt::Debug for SettingsArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for SettingsArgs {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(given: T) -> Self {
        Self(given.into_iter().collect())
    }
}

/// One flag. Kept for good, since `clap` wants names that live as long as the program.
struct Flag {
    /// The setting that it gives.
    name: String,
    /// In kebab case, without the prefix and the dashes.
    long: String,
    setting: &'static Setting,
}

static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let flag = |setting: &'static Setting| {
        let name = match setting.kind {
            Kind::Secret => settings::file_name(setting.name),
            Kind::Value | Kind::Flag => setting.name.to_owned(),
        };
        let short = name.strip_prefix("ALERTLOOP_").unwrap_or(&name);
        let long = short.to_ascii_lowercase().replace('_', "-");
        Flag { name, long, setting }
    };
    settings::TABLE.iter().map(flag).collect()
});

impl Flag {
    fn arg(&'static self) -> Arg {
        let arg = Arg::new(self.name.as_str())
            .long(self.long.as_str())
            .help(self.help())
            .help_heading(self.setting.group);
        match self.setting.kind {
            Kind::Value => arg.value_name("VALUE"),
            Kind::Secret => arg.value_name("FILE"),
            Kind::Flag => arg
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }

    fn help(&self) -> String {
        let Setting { help, default, .. } = self.setting;
        let what = match self.setting.kind {
            Kind::Secret => format!("File that holds this: {help}"),
            Kind::Value | Kind::Flag => (*help).to_owned(),
        };
        let default = match *default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        format!("{what}{default} [env: {}]", self.name)
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in FLAGS.iter() {
            if let Ok(Some(text)) = matches.try_get_one::<String>(&flag.name) {
                self.0.insert(flag.name.clone(), text.clone());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Vec<(String, String)> {
        let command = SettingsArgs::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        let flags = SettingsArgs::from_arg_matches(&matches).unwrap();
        flags.given().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn a_flag_is_the_name_in_kebab_case_without_the_prefix() {
        for (line, name, text) in [
            ("x --listen 127.0.0.1:0", "ALERTLOOP_LISTEN", "127.0.0.1:0"),
            ("x --data-dir=/tmp/x", "ALERTLOOP_DATA_DIR", "/tmp/x"),
            ("x --opensearch-url http://x", "OPENSEARCH_URL", "http://x"),
            ("x --opensearch-ca a.pem", "ALERTLOOP_OPENSEARCH_CA", "a.pem"),
            ("x --malcolm-network-index-pattern a-*", "MALCOLM_NETWORK_INDEX_PATTERN", "a-*"),
            ("x --token-file /run/t", "ALERTLOOP_TOKEN_FILE", "/run/t"),
            ("x --intake-open", "ALERTLOOP_INTAKE_OPEN", "true"),
            ("x --provision=false", "ALERTLOOP_PROVISION", "false"),
        ] {
            assert_eq!(given(line), [(name.to_owned(), text.to_owned())], "{line}");
        }
        assert!(given("x").is_empty());
    }

    #[test]
    fn a_secret_is_never_a_flag() {
        let command = SettingsArgs::augment_args(Command::new("x"));
        let longs: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        for secret in ["token", "token-previous", "admin-password"] {
            assert!(!longs.contains(&secret), "{secret}");
        }
    }
}
