//! The one table of settings: names, defaults, help. The flags, the look-ups, the warnings about
//! unknown names and the table for the README all come from it.

use std::fmt::Write as _;

/// What can be given, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text, by flag, environment or file.
    Value,
    /// `true` or `false`; as a flag it needs no value.
    Flag,
    /// Never a flag, since other users can see a command line: from the environment, or from the
    /// file that `NAME_FILE` names.
    Secret,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when nothing is given; empty for none.
    pub default: &'static str,
    /// Heading in `--help`.
    pub group: &'static str,
    /// One line for `--help` and the README.
    pub help: &'static str,
    /// What can be given.
    pub kind: Kind,
}

const STORE: &str = "Store";
const RECORDS: &str = "Records";
const INTAKE: &str = "Intake";
const PAGE: &str = "Page and API";
const LOCKS: &str = "Proxies, TLS and bounds";
const PROVISIONING: &str = "Provisioning";
const RECONCILING: &str = "Reconciling";
const CALLBACKS: &str = "Callbacks";
const PROCESS: &str = "Process";

/// Every setting, in the order of `--help`.
pub static TABLE: &[Setting] = &[
    value(
        "OPENSEARCH_URL",
        "http://opensearch:9200",
        STORE,
        "Address of the store; a login in it is used, and never shown",
    ),
    value(
        "OPENSEARCH_PRIMARY",
        "opensearch-local",
        STORE,
        "What the store is: opensearch-local, opensearch-remote or elasticsearch-remote",
    ),
    value(
        "OPENSEARCH_CREDS_CONFIG_FILE",
        "/var/local/curlrc/.opensearch.primary.curlrc",
        STORE,
        "Login for the store, as a curl config file; without the default file there is no login",
    ),
    flag(
        "OPENSEARCH_SSL_CERTIFICATE_VERIFICATION",
        "false",
        STORE,
        "Check the store's certificate; false because a fresh Malcolm signs its own",
    ),
    value(
        "ALERTLOOP_OPENSEARCH_CA",
        "",
        STORE,
        "PEM file of a CA to trust for the store, besides the system's own",
    ),
    value(
        "ALERTLOOP_OPENSEARCH_CERT",
        "",
        STORE,
        "PEM file of our client certificate for the store; a login is sent besides",
    ),
    value("ALERTLOOP_OPENSEARCH_KEY", "", STORE, "PEM file of the client certificate's key"),
    value("ALERTLOOP_STORE_TIMEOUT", "30s", STORE, "Limit of one call to the store"),
    value(
        "MALCOLM_NETWORK_INDEX_PATTERN",
        "arkime_sessions3-*",
        RECORDS,
        "Indices of the session records: a lower-case name that ends in *",
    ),
    value(
        "MALCOLM_NETWORK_INDEX_TIME_FIELD",
        "firstPacket",
        RECORDS,
        "Time field of the session records",
    ),
    value(
        "MALCOLM_NETWORK_INDEX_SUFFIX",
        "%{%y%m%d}",
        RECORDS,
        "What stands for the * in the name of a record's index: %{strftime} and {{field}}",
    ),
    value("MALCOLM_TEMPLATE", "malcolm_template", RECORDS, "Name of Malcolm's index template"),
    value(
        "ALERTLOOP_TEMPLATE",
        "auto",
        RECORDS,
        "auto: make an index template when none covers the pattern; malcolm: wait for Malcolm's; none: neither",
    ),
    value(
        "ALERTLOOP_COMPAT",
        "none",
        RECORDS,
        "Write exactly the documents of malcolm-26.01 or malcolm-26.08; none for ours",
    ),
    value(
        "ALERTLOOP_LISTEN",
        "0.0.0.0:5000",
        INTAKE,
        "Address and port to listen on; port 0 takes a free one",
    ),
    value("MALCOLM_API_PREFIX", "mapi", INTAKE, "First part of the routes' paths; may be empty"),
    secret(
        "ALERTLOOP_TOKEN",
        INTAKE,
        "Secret that alert sources must present, at least 16 characters; made at the first run when not given",
    ),
    secret(
        "ALERTLOOP_TOKEN_PREVIOUS",
        INTAKE,
        "Secret that is accepted too, while sources change over to a new one",
    ),
    value(
        "ALERTLOOP_TOKEN_PARAMETER",
        "token",
        INTAKE,
        "Query parameter that may hold the secret, for senders that can only set a URL",
    ),
    flag(
        "ALERTLOOP_INTAKE_OPEN",
        "false",
        INTAKE,
        "Take alerts from anyone, without a secret, as Malcolm does",
    ),
    value("ALERTLOOP_BODY_LIMIT", "20MiB", INTAKE, "Largest body that is taken in"),
    value(
        "ALERTLOOP_WAIT",
        "250ms",
        INTAKE,
        "How long an answer waits for the record to be stored; 0 does not wait",
    ),
    value(
        "ALERTLOOP_GRAYLOG_URL",
        "",
        INTAKE,
        "Address of Graylog for people, like https://graylog.example/; records then link to its alerts",
    ),
    secret(
        "ALERTLOOP_NTOPNG_REDIS_URL",
        INTAKE,
        "Redis whose lists hold ntopng's alerts, like redis://user:password@redis:6379/0; none is read without",
    ),
    value(
        "ALERTLOOP_NTOPNG_REDIS_CA",
        "",
        INTAKE,
        "PEM file of the CA to trust for a rediss:// address, in place of the system's own",
    ),
    value(
        "ALERTLOOP_NTOPNG_REDIS_CERT",
        "",
        INTAKE,
        "PEM file of our client certificate for Redis",
    ),
    value("ALERTLOOP_NTOPNG_REDIS_KEY", "", INTAKE, "PEM file of that certificate's key"),
    value(
        "ALERTLOOP_NTOPNG_QUEUES",
        "ntopng.alert_process_queue",
        INTAKE,
        "Lists in Redis that are taken, separated by commas",
    ),
    value(
        "ALERTLOOP_NTOPNG_TEE",
        "",
        INTAKE,
        "queue=list, separated by commas: what is taken is pushed on to that list",
    ),
    value(
        "ALERTLOOP_NTOPNG_VERSION",
        "",
        INTAKE,
        "Version of ntopng, like 4.0, where its codes mean another thing than in the last of its kind",
    ),
    value(
        "ALERTLOOP_HEARTBEAT",
        "0",
        INTAKE,
        "How long may be between two heartbeats, like 3m, before that is told; 0 expects none",
    ),
    value(
        "ALERTLOOP_STALE_AFTER",
        "24h",
        PAGE,
        "How long an engaged alert of ntopng or Alertmanager may be without news before it is shown as stale; 0 for ever",
    ),
    value(
        "ALERTLOOP_ADMIN_USER",
        "",
        PAGE,
        "User name for the page and the API; needs a password too",
    ),
    secret("ALERTLOOP_ADMIN_PASSWORD", PAGE, "Password for the page and the API"),
    value(
        "ALERTLOOP_TRUSTED_PROXIES",
        "",
        LOCKS,
        "Addresses and networks of proxies whose X-Forwarded-User, -Roles and -For count, separated by commas",
    ),
    flag(
        "ROLE_BASED_ACCESS",
        "false",
        LOCKS,
        "Whether X-Forwarded-Roles decides what a user may do; else whoever such a proxy lets in may do everything, as in Malcolm",
    ),
    value("ROLE_ADMIN", "admin", LOCKS, "Role that may do everything"),
    value("ROLE_READ_ACCESS", "read_access", LOCKS, "Role that may read"),
    value(
        "ROLE_READ_WRITE_ACCESS",
        "read_write_access",
        LOCKS,
        "Role that may read, acknowledge, send again, and post alerts",
    ),
    value(
        "ROLE_DASHBOARDS_READ_ALL_APPS_ACCESS",
        "dashboards_read_all_apps_access",
        LOCKS,
        "Another role that may read",
    ),
    value(
        "ROLE_DASHBOARDS_READ_WRITE_ALL_APPS_ACCESS",
        "dashboards_read_write_all_apps_access",
        LOCKS,
        "Another role that may read, acknowledge, send again, and post alerts",
    ),
    value(
        "ALERTLOOP_TLS_CERT",
        "",
        LOCKS,
        "PEM file of our own certificate, and of those between it and its CA; with it we speak TLS alone",
    ),
    value("ALERTLOOP_TLS_KEY", "", LOCKS, "PEM file of that certificate's key"),
    value(
        "ALERTLOOP_TLS_CLIENT_CA",
        "",
        LOCKS,
        "PEM file of the CAs of clients, who then need a certificate, unless they are on this machine",
    ),
    value("ALERTLOOP_MAX_CONNECTIONS", "4096", LOCKS, "How many connections may be open"),
    value(
        "ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS",
        "1024",
        LOCKS,
        "How many of them may come from one address that is no trusted proxy's",
    ),
    flag(
        "ALERTLOOP_PROVISION",
        "true",
        PROVISIONING,
        "Make the channel, the monitor and the template while serving",
    ),
    value(
        "ALERTLOOP_MONITORS",
        "auto",
        PROVISIONING,
        "Who runs the monitors: plugin (OpenSearch's Alerting), builtin (alertloop), or auto: the plugin where the store has it",
    ),
    value(
        "ALERTLOOP_MONITORS_PREFIX",
        "alertloop",
        PROVISIONING,
        "What the names of the indices begin with that builtin keeps monitors, alerts and runs in",
    ),
    value(
        "ALERTLOOP_PROVISIONING_DIR",
        "",
        PROVISIONING,
        "Folder of provisioning files, each in place of the compiled-in one or besides",
    ),
    value(
        "ALERTLOOP_WEBHOOK_URL",
        "http://api:5000/mapi/alert",
        PROVISIONING,
        "How OpenSearch reaches us; goes into the channel",
    ),
    value(
        "ALERTLOOP_RECONCILE_INTERVAL",
        "30s",
        RECONCILING,
        "How often the records are compared with OpenSearch Alerting; 0 turns it off",
    ),
    value(
        "ALERTLOOP_RECONCILE_MONITORS",
        "ours",
        RECONCILING,
        "Whose alerts become records without a webhook: ours (the monitors that send to us) or all",
    ),
    value(
        "ALERTLOOP_SILENCE_DAYS",
        "0",
        RECONCILING,
        "Days without an alert after which a monitor is told as one that says nothing; 0 for never",
    ),
    value(
        "ALERTLOOP_DELIVERIES_DAYS",
        "30",
        CALLBACKS,
        "Days that deliveries of callbacks are kept after they ended",
    ),
    value(
        "ALERTLOOP_DELIVERIES_MAX_BYTES",
        "256MiB",
        CALLBACKS,
        "Size from which on the oldest of them are removed earlier",
    ),
    value(
        "ALERTLOOP_DATA_DIR",
        "/var/lib/alertloop",
        PROCESS,
        "Folder of the spool and of generated secrets; one process at a time",
    ),
    value("ALERTLOOP_SPOOL_MAX_BYTES", "10GiB", PROCESS, "Size at which the spool takes no more"),
    value("ALERTLOOP_DRAIN", "10s", PROCESS, "How long a stop may take"),
    value(
        "ALERTLOOP_STOP_GRACE",
        "1s",
        PROCESS,
        "How long a stop begins with: not ready any more, but alerts are still taken",
    ),
    value(
        "ALERTLOOP_LOG",
        "info",
        PROCESS,
        "What is logged: a level, or a filter like info,alertloop=debug",
    ),
    value(
        "ALERTLOOP_LOG_FORMAT",
        "auto",
        PROCESS,
        "json, pretty, or auto: pretty on a terminal, else json",
    ),
    flag(
        "MALCOLM_API_DEBUG",
        "false",
        PROCESS,
        "Log at level debug, where ALERTLOOP_LOG is not given",
    ),
    value(
        "ALERTLOOP_CONFIG",
        "",
        PROCESS,
        "TOML file with settings, their names in lower case, with or without alertloop_, and with callbacks",
    ),
];

const fn value(
    name: &'static str,
    default: &'static str,
    group: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, default, group, help, kind: Kind::Value }
}

const fn flag(
    name: &'static str,
    default: &'static str,
    group: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, default, group, help, kind: Kind::Flag }
}

const fn secret(name: &'static str, group: &'static str, help: &'static str) -> Setting {
    Setting { name, default: "", group, help, kind: Kind::Secret }
}

/// The setting whose empty text means something other than "not given".
const MAY_BE_EMPTY: &str = "MALCOLM_API_PREFIX";

/// Names that tests and tools use beside ours; never warned about.
const NOT_OURS: &str = "ALERTLOOP_TEST_";

impl Setting {
    /// Every name that can be looked up: the setting's own and, for a secret, that of its file.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let file = (self.kind == Kind::Secret).then(|| file_name(self.name));
        std::iter::once(self.name.to_owned()).chain(file)
    }
}

/// The name of the setting that names a secret's file.
#[must_use]
pub fn file_name(secret: &str) -> String {
    format!("{secret}_FILE")
}

/// Every name that can be looked up.
pub fn names() -> impl Iterator<Item = String> {
    TABLE.iter().flat_map(Setting::names)
}

/// What holds for `name` when nothing is given; empty for none.
#[must_use]
pub fn default_of(name: &str) -> &'static str {
    TABLE.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default)
}

/// Whether `text` says anything: an empty variable is as good as none, since compose files pass
/// them on.
#[must_use]
pub fn is_given(name: &str, text: &str) -> bool {
    name == MAY_BE_EMPTY || !text.trim().is_empty()
}

/// A name in the configuration file: lower case, with or without `alertloop_`.
#[must_use]
pub fn of_key(key: &str) -> Option<String> {
    let name = key.to_ascii_uppercase();
    if name.to_ascii_lowercase() != key {
        return None;
    }
    let long = format!("ALERTLOOP_{name}");
    names().find(|known| *known == name || *known == long)
}

/// What to say about an environment variable that looks like ours and is not.
#[must_use]
pub fn unknown_variable(name: &str) -> Option<String> {
    let looks_ours = name.starts_with("ALERTLOOP_") && !name.starts_with(NOT_OURS);
    if !looks_ours || names().any(|known| known == name) {
        return None;
    }
    Some(format!("{name} is not a setting{}", suggestion(name, names())))
}

/// What to say about a key of the configuration file that is not a setting.
#[must_use]
pub fn unknown_key(key: &str) -> String {
    if key == "users" {
        return format!("ALERTLOOP_CONFIG: {key} is not a setting; did you mean [[user]]?");
    }
    if key == "callbacks" {
        return format!("ALERTLOOP_CONFIG: {key} is not a setting; did you mean [[callback]]?");
    }
    let keys = names().flat_map(|name| {
        let name = name.to_ascii_lowercase();
        let short = name.strip_prefix("alertloop_").map(str::to_owned);
        std::iter::once(name).chain(short)
    });
    format!("ALERTLOOP_CONFIG: {key} is not a setting{}", suggestion(key, keys))
}

/// The nearest of `known`, where it is near enough to be meant.
fn suggestion(name: &str, known: impl Iterator<Item = String>) -> String {
    // Without the prefix, which would make all names alike.
    let bare = |name: &str| name.strip_prefix("ALERTLOOP_").unwrap_or(name).to_owned();
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&bare(name), &bare(known));
    let nearest = known
        .map(|known| (likeness(&known), known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((likeness, known)) if likeness >= 0.6 => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

/// The table as Markdown, for the README.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| setting | default | what |\n|---|---|---|\n".to_owned();
    for setting in TABLE {
        let names: Vec<String> = setting.names().map(|name| format!("`{name}`")).collect();
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        // Writing to a `String` cannot fail.
        writeln!(text, "| {} | {default} | {} |", names.join(", "), setting.help).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_groups_stand_together() {
        let mut names: Vec<String> = names().collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        let mut groups: Vec<&str> = TABLE.iter().map(|setting| setting.group).collect();
        groups.dedup();
        assert_eq!(
            groups,
            [STORE, RECORDS, INTAKE, PAGE, LOCKS, PROVISIONING, RECONCILING, CALLBACKS, PROCESS]
        );
    }

    #[test]
    fn a_key_names_a_setting_with_or_without_the_prefix() {
        for (key, want) in [
            ("listen", Some("ALERTLOOP_LISTEN")),
            ("alertloop_listen", Some("ALERTLOOP_LISTEN")),
            ("template", Some("ALERTLOOP_TEMPLATE")),
            ("malcolm_template", Some("MALCOLM_TEMPLATE")),
            ("token_file", Some("ALERTLOOP_TOKEN_FILE")),
            ("opensearch_url", Some("OPENSEARCH_URL")),
            ("LISTEN", None),
            ("callbacks", None),
            ("", None),
        ] {
            assert_eq!(of_key(key).as_deref(), want, "{key}");
        }
    }

    #[test]
    fn an_unknown_name_is_warned_about_with_the_nearest_known_one() {
        for (name, want) in [
            ("ALERTLOOP_LISTN", Some("did you mean ALERTLOOP_LISTEN?")),
            ("ALERTLOOP_TOKEN_FIEL", Some("did you mean ALERTLOOP_TOKEN_FILE?")),
            ("ALERTLOOP_OPENSEARCH_URL", Some("did you mean OPENSEARCH_URL?")),
            ("ALERTLOOP_FOO", Some("is not a setting")),
            ("ALERTLOOP_LISTEN", None),
            ("ALERTLOOP_TOKEN_FILE", None),
            ("ALERTLOOP_TEST_PLUGINS", None),
            ("ROLE_ADMIN", None),
            ("OPENSEARCH_JAVA_OPTS", None),
        ] {
            let said = unknown_variable(name);
            assert_eq!(said.is_some(), want.is_some(), "{name}: {said:?}");
            if let (Some(said), Some(want)) = (said, want) {
                assert!(said.ends_with(want), "{said}");
            }
        }
        assert!(unknown_key("lisen").ends_with("did you mean listen?"));
    }

    #[test]
    fn the_markdown_table_has_every_name() {
        let text = markdown();
        assert!(names().all(|name| text.contains(&format!("`{name}`"))), "{text}");
        assert_eq!(text.lines().count(), TABLE.len() + 2);
        let documented = include_str!("../../docs/settings.md");
        assert!(documented.contains(&text), "docs/settings.md needs this table:\n{text}");
    }
}
