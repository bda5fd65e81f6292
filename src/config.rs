//! All settings, and the only reader of the environment.
//!
//! A setting is looked up among the flags, then in the environment, then in the configuration
//! file, and has a default ([`settings::TABLE`]). Everything is checked before anything starts, and
//! all faults are told at once, by name and never by value.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use crate::{
    callback::Callback,
    intake::ntopng::version::Version,
    opensearch::{self, engine::Choice},
    queue, reconcile,
    secrets::{Login, WebhookToken},
    telemetry::LogSettings,
};

pub mod curlrc;
mod flags;
pub mod locks;
mod parse;
mod reader;
pub mod settings;
mod sources;
mod units;

pub use crate::record::compat::Compat;
pub use flags::SettingsArgs;
use reader::Reader;
use sources::Sources;
pub(crate) use units::limit;

/// Largest file that a setting may name, in bytes: more is a mistake, like a device.
const FILE_LIMIT: u64 = 1 << 20;

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach the store.
    pub store: opensearch::Settings,
    /// Which of that came from files that may change.
    pub store_files: opensearch::Files,
    /// What the store is.
    pub store_kind: StoreKind,
    /// Where records go.
    pub index: IndexSettings,
    /// Name of Malcolm's index template.
    pub malcolm_template: String,
    /// Which index template records need.
    pub template: TemplateMode,
    /// First part of the routes' paths, without slashes around it; may be empty.
    pub api_prefix: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Folder of the spool and of generated secrets.
    pub data_dir: PathBuf,
    /// What alert sources must present; `None` when it is to be generated.
    pub token: Option<WebhookToken>,
    /// What is accepted too during a rotation.
    pub token_previous: Option<WebhookToken>,
    /// The query parameter that may hold it.
    pub token_parameter: String,
    /// Whether alerts are taken from anyone.
    pub intake_open: bool,
    /// Login of the page and the API.
    pub admin: Option<Login>,
    /// Who may come in, and how many.
    pub locks: locks::Locks,
    /// How OpenSearch reaches us.
    pub webhook_url: Url,
    /// Whose lists hold ntopng's alerts, and which; `None` where none is read.
    pub ntopng_queue: Option<queue::Settings>,
    /// Graylog's own address, for links to its alerts.
    pub graylog_url: Option<Url>,
    /// The version that ntopng was declared to have.
    pub ntopng_version: Option<Version>,
    /// Whether `serve` provisions.
    pub provision: bool,
    /// Folder of provisioning files, each in place of the compiled-in one or besides.
    pub provisioning_dir: Option<PathBuf>,
    /// How often the records are compared with the Alerting API; zero for never.
    pub reconcile_interval: Duration,
    /// Whose alerts become records without a webhook.
    pub reconcile_monitors: reconcile::Monitors,
    /// Size at which the spool takes no more.
    pub spool_max_bytes: u64,
    /// Largest body that is taken in.
    pub body_limit: usize,
    /// How long an answer waits for the record to be stored.
    pub wait: Duration,
    /// How long may be between two heartbeats; zero where none is expected.
    pub heartbeat: Duration,
    /// After how long without news an engaged alert is shown as stale; zero for never.
    pub stale_after: Duration,
    /// After how many days without an alert a monitor is one that says nothing; 0 never.
    pub silence_days: u32,
    /// What is run for alerts.
    pub callbacks: Vec<Callback>,
    /// How long deliveries are kept that ended.
    pub deliveries_days: u32,
    /// How much they may take, in bytes.
    pub deliveries_max_bytes: u64,
    /// How long a stop may take.
    pub drain: Duration,
    /// How long of that alerts are still taken while readiness says no.
    pub stop_grace: Duration,
    /// Files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// Whose documents to write exactly.
    pub compat: Option<Compat>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What is odd about the settings without being a fault; to be logged once logging works.
    pub warnings: Vec<String>,
}

impl Config {
    /// Whether the store may have monitors: Elasticsearch has none but ours.
    #[must_use]
    pub fn may_have_monitors(&self) -> bool {
        self.store_kind.is_opensearch() || self.store.monitors.choice == Choice::Builtin
    }

    /// Whether the records are compared with the monitors' alerts: upstream's documents have no life.
    #[must_use]
    pub fn reconciles(&self) -> bool {
        !self.reconcile_interval.is_zero() && self.compat.is_none() && self.may_have_monitors()
    }
}

/// What the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Malcolm's own OpenSearch.
    OpenSearchLocal,
    /// Another OpenSearch.
    OpenSearchRemote,
    /// An Elasticsearch: it has no monitors but those that alertloop runs itself.
    ElasticsearchRemote,
}

impl StoreKind {
    /// Whether the store can have the Alerting plugin.
    #[must_use]
    pub fn is_opensearch(self) -> bool {
        self != Self::ElasticsearchRemote
    }
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    /// A lower-case name that ends in its only wildcard, `*`.
    pub pattern: String,
    /// Time field of the session records.
    pub time_field: String,
    /// What stands for the `*`: text with `%{strftime}` and `{{field}}` in it.
    pub suffix: String,
}

/// Which index template records need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateMode {
    /// One that covers the pattern, or else ours.
    Auto,
    /// Malcolm's: records wait for it.
    Malcolm,
    /// None is waited for or made.
    None,
}

impl Config {
    /// Reads every setting from the flags, the environment and the configuration file.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn load(flags: &SettingsArgs) -> Result<Self, Faults> {
        let sources = Sources::gather(flags, std::env::vars_os(), read_file);
        let reader = Reader::new(|name: &str| sources.get(name), read_file);
        let outcome = reader.finish(Reader::config);
        sources.join(outcome).map(|(config, warnings)| Self { warnings, ..config })
    }

    /// Reads every setting. Pure: the environment and the files come in as functions.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn read(
        lookup: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Faults> {
        let (config, warnings) = Reader::new(lookup, read_file).finish(Reader::config)?;
        Ok(Self { warnings, ..config })
    }
}

/// Reads where the service listens, and whether it speaks TLS there, for a command that needs nothing else and should not fail for
/// want of a secret.
///
/// # Errors
/// [`Faults`], of this setting and of the configuration file.
pub fn listen_address(flags: &SettingsArgs) -> Result<(SocketAddr, bool), Faults> {
    let sources = Sources::gather(flags, std::env::vars_os(), read_file);
    let outcome = Reader::new(|name: &str| sources.get(name), read_file).finish(Reader::own);
    sources.join(outcome).map(|(own, _)| own)
}

/// What a command needs that looks into the data directory, or else asks the running service.
#[derive(Clone, Debug)]
pub struct Local {
    /// Folder of the spool.
    pub data_dir: PathBuf,
    /// Size at which the spool takes no more.
    pub spool_max_bytes: u64,
    /// Largest body that is taken in.
    pub body_limit: usize,
    /// Where the service listens.
    pub listen: SocketAddr,
    /// First part of its routes' paths; may be empty.
    pub api_prefix: String,
    /// Login of its API.
    pub admin: Option<Login>,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// What is odd about the settings.
    pub warnings: Vec<String>,
}

impl Local {
    /// Reads these settings and no other, so that no other can be in the way.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn load(flags: &SettingsArgs) -> Result<Self, Faults> {
        let sources = Sources::gather(flags, std::env::vars_os(), read_file);
        let outcome = Reader::new(|name: &str| sources.get(name), read_file).finish(Reader::local);
        sources.join(outcome).map(|(local, warnings)| Self { warnings, ..local })
    }
}

/// What a command needs that runs a callback by hand.
#[derive(Clone, Debug)]
pub struct Callbacks {
    /// What is run for alerts.
    pub callbacks: Vec<Callback>,
    /// What is odd about the settings.
    pub warnings: Vec<String>,
}

impl Callbacks {
    /// Reads the callbacks and nothing else, so that nothing else can be in the way.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn load(flags: &SettingsArgs) -> Result<Self, Faults> {
        let sources = Sources::gather(flags, std::env::vars_os(), read_file);
        let reader = Reader::new(|name: &str| sources.get(name), read_file);
        let outcome = reader.finish(|reader| Some(reader.callbacks()));
        sources.join(outcome).map(|(callbacks, warnings)| Self { callbacks, warnings })
    }
}

/// A variable of the environment that is no setting of ours: a provisioning file names it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "here is where the environment is read")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a command needs that writes OpenSearch's keystore.
#[derive(Clone, Debug)]
pub struct KeystoreSettings {
    /// How to reach the store.
    pub store: opensearch::Settings,
    /// Folder of the provisioning files.
    pub provisioning_dir: Option<PathBuf>,
    /// `OPENSEARCH_HOME`: where OpenSearch is installed on this machine.
    pub home: Option<PathBuf>,
    /// What is odd about the settings.
    pub warnings: Vec<String>,
}

impl KeystoreSettings {
    /// Reads these settings and no other, so that no other can be in the way.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn load(flags: &SettingsArgs) -> Result<Self, Faults> {
        let sources = Sources::gather(flags, std::env::vars_os(), read_file);
        let reader = Reader::new(|name: &str| sources.get(name), read_file);
        let outcome = reader.finish(Reader::keystore);
        let home = std::env::var_os("OPENSEARCH_HOME").filter(|home| !home.is_empty());
        let home = home.map(PathBuf::from);
        sources.join(outcome).map(|(settings, warnings)| Self { home, warnings, ..settings })
    }
}

/// What a command needs that sets up our user in the security plugin.
#[derive(Clone, Debug)]
pub struct SecuritySettings {
    /// How to reach the store; with our own login, where it is known already.
    pub store: opensearch::Settings,
    /// Where the login is looked for; the file may be missing.
    pub credentials: PathBuf,
    /// Pattern of the session records' indices.
    pub pattern: String,
    /// Whether `serve` provisions.
    pub provision: bool,
    /// What is odd about the settings.
    pub warnings: Vec<String>,
}

impl SecuritySettings {
    /// Reads these settings and no other, so that no other can be in the way.
    ///
    /// # Errors
    /// [`Faults`]: all of them at once.
    pub fn load(flags: &SettingsArgs) -> Result<Self, Faults> {
        let sources = Sources::gather(flags, std::env::vars_os(), read_file);
        let reader = Reader::new(|name: &str| sources.get(name), read_file);
        let outcome = reader.finish(Reader::security);
        sources.join(outcome).map(|(settings, warnings)| Self { warnings, ..settings })
    }
}

/// The key of the configuration file that holds users.
const USER: &str = "user";

/// Reads a file that holds nothing but a secret, which may have changed since the start.
///
/// # Errors
/// What is wrong, without the secret.
pub fn secret_file(path: &Path) -> Result<String, String> {
    let bytes = read_file(path).map_err(|fault| format!("cannot be read: {fault}"))?;
    secret_text(bytes).map_err(str::to_owned)
}

/// The secret in such a file: all of it, but for the end of its line.
fn secret_text(bytes: Vec<u8>) -> Result<String, &'static str> {
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() { Err("is empty") } else { Ok(line.to_owned()) }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_LIMIT) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"))
}

/// Everything that is wrong with the settings; never repeats a value.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    /// Told along, since a misspelt name is often the cause.
    warnings: Vec<String>,
}

/// A value and what is odd about its settings, or what is wrong with them.
type Outcome<T> = Result<(T, Vec<String>), Faults>;

/// What is wrong with one setting.
#[derive(Debug)]
struct Fault {
    name: String,
    what: String,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter().map(|Fault { name, what }| format!("{name}: {what}"));
        let notes = self.warnings.iter().map(|warning| format!("note: {warning}"));
        f.write_str(&faults.chain(notes).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests;
