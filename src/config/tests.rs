use std::{cell::RefCell, collections::BTreeSet};

use super::*;
use crate::telemetry::LogFormat;

const TOKEN: &str = "0123456789abcdef";
const CERT: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";

/// Reads settings from a table, and files from a table of paths.
fn read(given: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Config, Faults> {
    let find = |table: &[(&str, &str)], name: &str| {
        table.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
    };
    Config::read(
        |name| find(given, name),
        |path| {
            let text = path.to_str().and_then(|path| find(files, path));
            text.map(String::into_bytes).ok_or_else(|| io::ErrorKind::NotFound.into())
        },
    )
}

fn faults(given: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    read(given, files).map_or_else(|faults| faults.to_string(), |_| "no fault".to_owned())
}

#[test]
fn the_defaults_hold_when_nothing_is_given() {
    let config = read(&[], &[]).unwrap();
    assert_eq!(config.store.url.as_str(), "http://opensearch:9200/");
    assert!(config.store.login.is_none() && !config.store.verify && config.store.ca.is_none());
    assert_eq!(config.store.timeout, Duration::from_secs(30));
    assert_eq!(config.store_kind, StoreKind::OpenSearchLocal);
    assert_eq!(
        config.index,
        IndexSettings {
            pattern: "arkime_sessions3-*".to_owned(),
            time_field: "firstPacket".to_owned(),
            suffix: "%{%y%m%d}".to_owned(),
        }
    );
    assert_eq!(config.malcolm_template, "malcolm_template");
    assert_eq!((config.template, config.compat), (TemplateMode::Auto, None));
    assert_eq!(config.api_prefix, "mapi");
    assert_eq!(config.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.data_dir, Path::new("/var/lib/alertloop"));
    assert!(config.token.is_none() && config.token_previous.is_none() && config.admin.is_none());
    assert!(!config.intake_open && config.provision && config.provisioning_dir.is_none());
    assert_eq!(config.webhook_url.as_str(), "http://api:5000/mapi/alert");
    assert_eq!((config.spool_max_bytes, config.body_limit), (10 << 30, 20 << 20));
    assert_eq!((config.wait, config.drain), (Duration::from_millis(250), Duration::from_secs(10)));
    assert_eq!(config.stop_grace, Duration::from_secs(1));
    assert_eq!(config.log, LogSettings { filter: "info".to_owned(), format: LogFormat::Auto });
    assert!(config.warnings.is_empty());
}

#[test]
fn every_setting_of_the_table_is_read_and_no_other() {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    Config::read(lookup, |_| Err(io::ErrorKind::NotFound.into())).unwrap();
    asked.borrow_mut().insert("ALERTLOOP_CONFIG".to_owned());
    assert_eq!(*asked.borrow(), settings::names().collect());
}

#[test]
fn given_settings_hold() {
    let config = read(
        &[
            ("OPENSEARCH_URL", "https://ann:p%40ss%3Aword@store:9200/base"),
            ("OPENSEARCH_PRIMARY", "elasticsearch-remote"),
            ("OPENSEARCH_SSL_CERTIFICATE_VERIFICATION", "true"),
            ("ALERTLOOP_OPENSEARCH_CA", "ca.pem"),
            ("ALERTLOOP_OPENSEARCH_CERT", "cert.pem"),
            ("ALERTLOOP_OPENSEARCH_KEY", "key.pem"),
            ("MALCOLM_NETWORK_INDEX_LIFECYCLE_ROLLOVER_ALIAS", "sessions"),
            ("MALCOLM_API_PREFIX", "/api/v1/"),
            ("ALERTLOOP_LISTEN", " [::1]:0 "),
            ("ALERTLOOP_TOKEN_FILE", "token"),
            ("ALERTLOOP_TOKEN_PREVIOUS", "fedcba9876543210"),
            ("ALERTLOOP_ADMIN_USER", "admin"),
            ("ALERTLOOP_ADMIN_PASSWORD_FILE", "password"),
            ("ALERTLOOP_COMPAT", "malcolm-26.08"),
            ("ALERTLOOP_LOG_FORMAT", "json"),
        ],
        &[
            ("ca.pem", CERT),
            ("cert.pem", CERT),
            ("key.pem", KEY),
            ("token", "0123456789abcdef\n"),
            ("password", " two words \r\n"),
        ],
    )
    .unwrap();
    let login = config.store.login.unwrap();
    assert_eq!((login.user.as_str(), login.password.expose()), ("ann", "p@ss:word"));
    assert_eq!(config.store.url.as_str(), "https://store:9200/base/");
    assert_eq!(config.store.identity.unwrap().0, format!("{CERT}\n{KEY}").into_bytes());
    assert_eq!(config.store.ca.unwrap(), CERT.as_bytes());
    assert!(config.store.verify && !config.store_kind.is_opensearch());
    assert_eq!(config.api_prefix, "api/v1");
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert!(config.token.unwrap().admits(TOKEN.as_bytes()));
    assert!(config.token_previous.is_some());
    let admin = config.admin.unwrap();
    assert_eq!((admin.user.as_str(), admin.password.expose()), ("admin", " two words "));
    assert_eq!(config.compat, Some(Compat::Malcolm2608));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn who_runs_the_monitors_is_asked_of_the_store_unless_it_is_said() {
    for (given, want) in [
        (&[][..], Choice::Auto),
        (&[("ALERTLOOP_MONITORS", "plugin")], Choice::Plugin),
        (&[("ALERTLOOP_MONITORS", "builtin")], Choice::Builtin),
        // What is said to be Elasticsearch has no plugin.
        (&[("OPENSEARCH_PRIMARY", "elasticsearch-remote")], Choice::Builtin),
        (
            &[("OPENSEARCH_PRIMARY", "elasticsearch-remote"), ("ALERTLOOP_MONITORS", "plugin")],
            Choice::Plugin,
        ),
    ] {
        let config = read(given, &[]).unwrap();
        assert_eq!(config.store.monitors.choice, want, "{given:?}");
        let is_elasticsearch = given.iter().any(|(name, _)| *name == "OPENSEARCH_PRIMARY");
        let may = !is_elasticsearch || want == Choice::Builtin;
        assert_eq!((config.may_have_monitors(), config.reconciles()), (may, may), "{given:?}");
    }
    assert!(faults(&[("ALERTLOOP_MONITORS", "both")], &[]).contains("auto, plugin or builtin"));
    for (prefix, want) in [
        ("soc", true),
        ("a.b_c-1", true),
        ("-a", false),
        ("Soc", false),
        ("a*", false),
        (".a", false),
    ] {
        let read = read(&[("ALERTLOOP_MONITORS_PREFIX", prefix)], &[]);
        assert_eq!(read.is_ok(), want, "{prefix}");
        if let Ok(config) = read {
            assert_eq!(config.store.monitors.prefix, prefix);
        }
    }
}

#[test]
fn the_prefix_may_be_empty_and_other_empty_settings_are_not_given() {
    for (text, want) in [("", ""), ("/", ""), ("mapi", "mapi"), ("/a/b/", "a/b")] {
        let given =
            [("MALCOLM_API_PREFIX", text), ("ALERTLOOP_LISTEN", ""), ("ALERTLOOP_WAIT", "")];
        assert_eq!(read(&given, &[]).unwrap().api_prefix, want, "{text}");
    }
}

#[test]
fn the_credentials_file_gives_the_login() {
    const NAME: &str = "OPENSEARCH_CREDS_CONFIG_FILE";
    let default = settings::default_of(NAME);
    let curlrc = "user: \"ann:pa:ss\"\ninsecure\n";
    let user = |config: Config| config.store.login.map(|login| login.user);
    assert_eq!(user(read(&[], &[(default, curlrc)]).unwrap()).as_deref(), Some("ann"));
    assert_eq!(user(read(&[(NAME, "x")], &[("x", curlrc)]).unwrap()).as_deref(), Some("ann"));
    assert_eq!(user(read(&[(NAME, default)], &[]).unwrap()), None);
    assert!(faults(&[(NAME, "x")], &[]).starts_with("OPENSEARCH_CREDS_CONFIG_FILE: cannot read"));
    assert_eq!(
        faults(&[], &[(default, "user: ann")]),
        "OPENSEARCH_CREDS_CONFIG_FILE: line 1: the user has no password"
    );

    let both = [("OPENSEARCH_URL", "http://bob:x@store:9200")];
    let config = read(&both, &[(default, curlrc)]).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(user(config).as_deref(), Some("bob"));
}

#[test]
fn debug_raises_the_level_unless_a_filter_is_given() {
    const DEBUG: &str = "MALCOLM_API_DEBUG";
    for (given, want) in [
        (&[][..], "info"),
        (&[(DEBUG, "true")], "debug"),
        (&[(DEBUG, "true"), ("ALERTLOOP_LOG", "warn")], "warn"),
        (&[("ALERTLOOP_LOG", "info,alertloop=trace")], "info,alertloop=trace"),
    ] {
        assert_eq!(read(given, &[]).unwrap().log.filter, want);
    }
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let given = [
        ("ALERTLOOP_INTAKE_OPEN", "true"),
        ("ALERTLOOP_TOKEN", TOKEN),
        ("ALERTLOOP_OPENSEARCH_CA", "ca.pem"),
    ];
    let warnings = read(&given, &[("ca.pem", CERT)]).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn the_pattern_is_a_lower_case_name_with_one_wildcard_at_its_end() {
    for text in ["arkime_sessions3-*", "a*", "3*", "sessions.x-*"] {
        let config = read(&[("MALCOLM_NETWORK_INDEX_PATTERN", text)], &[]).unwrap();
        assert_eq!(config.index.pattern, text);
    }
    for (text, want) in [
        ("sessions", "must end in *"),
        ("*", "must start with"),
        ("_x*", "must start with"),
        ("a*b*", "no wildcard"),
        ("a**", "no wildcard"),
        ("a?*", "no wildcard"),
        ("a*,b*", "no wildcard"),
        ("Sessions-*", "no upper-case"),
        ("a b*", "a character"),
        ("a/b*", "a character"),
    ] {
        let faults = faults(&[("MALCOLM_NETWORK_INDEX_PATTERN", text)], &[]);
        assert!(faults.contains(want), "{text}: {faults}");
    }
}

/// Every setting that can be wrong, wrong; each value holds the word that no fault may repeat.
const WRONG: &[(&str, &str)] = &[
    ("OPENSEARCH_URL", "ftp://hunter2:hunter2@hunter2"),
    ("OPENSEARCH_PRIMARY", "hunter2"),
    ("OPENSEARCH_CREDS_CONFIG_FILE", "hunter2"),
    ("OPENSEARCH_SSL_CERTIFICATE_VERIFICATION", "hunter2"),
    ("ALERTLOOP_OPENSEARCH_CA", "hunter2"),
    ("ALERTLOOP_OPENSEARCH_CERT", "hunter2"),
    ("ALERTLOOP_STORE_TIMEOUT", "hunter2"),
    ("MALCOLM_NETWORK_INDEX_PATTERN", "hunter2"),
    ("ALERTLOOP_TEMPLATE", "hunter2"),
    ("ALERTLOOP_COMPAT", "hunter2"),
    ("ALERTLOOP_LISTEN", "hunter2:0"),
    ("MALCOLM_API_PREFIX", "{hunter2}"),
    ("ALERTLOOP_TOKEN", "hunter2"),
    ("ALERTLOOP_TOKEN_PREVIOUS_FILE", "bad-token"),
    ("ALERTLOOP_INTAKE_OPEN", "hunter2"),
    ("ALERTLOOP_BODY_LIMIT", "hunter2"),
    ("ALERTLOOP_WAIT", "hunter2"),
    ("ALERTLOOP_ADMIN_USER", "hunter2:x"),
    ("ALERTLOOP_ADMIN_PASSWORD", "hunter2"),
    ("ALERTLOOP_ADMIN_PASSWORD_FILE", "hunter2"),
    ("ALERTLOOP_PROVISION", "hunter2"),
    ("ALERTLOOP_WEBHOOK_URL", "http://hunter2:hunter2@hunter2/"),
    ("ALERTLOOP_SPOOL_MAX_BYTES", "hunter2"),
    ("ALERTLOOP_DRAIN", "hunter2"),
    ("ALERTLOOP_STOP_GRACE", "hunter2"),
    ("ALERTLOOP_LOG", "hunter2"),
    ("ALERTLOOP_LOG_FORMAT", "hunter2"),
    ("MALCOLM_API_DEBUG", "hunter2"),
];

#[test]
fn every_fault_is_told_at_once_and_none_repeats_a_value() {
    let faults = faults(WRONG, &[("bad-token", "hunter2 hunter2 hunter2"), ("hunter2", "hunter2")]);
    assert!(!faults.contains("hunter2"), "{faults}");
    let silent = ["OPENSEARCH_CREDS_CONFIG_FILE", "ALERTLOOP_ADMIN_PASSWORD_FILE"];
    for (name, _) in WRONG.iter().filter(|(name, _)| !silent.contains(name)) {
        assert!(faults.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name}");
    }

    let unreadable = super::tests::faults(WRONG, &[]);
    assert!(!unreadable.contains("hunter2"), "{unreadable}");
    let unreadable = unreadable.matches("cannot read the file").count();
    assert_eq!(unreadable, 4); // the credentials, the CA, the certificate and the previous token
}

#[test]
fn each_fault_alone_is_told_by_name_without_its_value() {
    for (given, want) in [
        (&[("OPENSEARCH_URL", "http://store:9200/?hunter2")][..], "OPENSEARCH_URL: must hold no"),
        (&[("OPENSEARCH_URL", "http://hunter2@store")], "OPENSEARCH_URL: the login"),
        (&[("OPENSEARCH_URL", "http://x:hunter2%zz@store")], "OPENSEARCH_URL: the login"),
        (&[("OPENSEARCH_URL", "hunter2")], "OPENSEARCH_URL: needs an address"),
        (
            &[("ALERTLOOP_OPENSEARCH_CERT", "cert.pem")],
            "ALERTLOOP_OPENSEARCH_CERT: needs ALERTLOOP",
        ),
        (&[("ALERTLOOP_OPENSEARCH_KEY", "key.pem")], "ALERTLOOP_OPENSEARCH_KEY: needs ALERTLOOP"),
        (&[("ALERTLOOP_OPENSEARCH_CA", "key.pem")], "ALERTLOOP_OPENSEARCH_CA: the file holds no"),
        (
            &[("ALERTLOOP_TOKEN", "hunter2"), ("ALERTLOOP_TOKEN_FILE", "hunter2")],
            "ALERTLOOP_TOKEN: is set together with ALERTLOOP_TOKEN_FILE",
        ),
        (&[("ALERTLOOP_TOKEN_FILE", "empty")], "ALERTLOOP_TOKEN_FILE: the file is empty"),
        (&[("ALERTLOOP_ADMIN_USER", "hunter2")], "ALERTLOOP_ADMIN_USER: needs ALERTLOOP_ADMIN_P"),
        (&[("ALERTLOOP_ADMIN_PASSWORD", "hunter2")], "ALERTLOOP_ADMIN_PASSWORD: needs ALERTLOOP"),
        (&[("ALERTLOOP_ADMIN_PASSWORD_FILE", "hunter2")], "ALERTLOOP_ADMIN_PASSWORD_FILE: cannot"),
        (&[("ALERTLOOP_STORE_TIMEOUT", "0")], "ALERTLOOP_STORE_TIMEOUT: must not be 0"),
        (&[("ALERTLOOP_SPOOL_MAX_BYTES", "0")], "ALERTLOOP_SPOOL_MAX_BYTES: must not be 0"),
        (
            &[("MALCOLM_API_DEBUG", "hunter2"), ("ALERTLOOP_LOG_FORMAT", "hunter2")],
            "MALCOLM_API_DEBUG: must be true or false\nALERTLOOP_LOG_FORMAT: must be",
        ),
        (&[("ALERTLOOP_LOG", "inof")], "ALERTLOOP_LOG: needs a level"),
        (&[("ALERTLOOP_LOG", "info,hunter2=x")], "ALERTLOOP_LOG: needs a level"),
    ] {
        let files = [("cert.pem", CERT), ("key.pem", KEY), ("empty", "\n")];
        let faults = faults(given, &files);
        assert!(faults.starts_with(want), "{given:?}: {faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
}

#[test]
fn no_secret_is_printed_with_the_settings() {
    let given = [
        ("OPENSEARCH_URL", "http://ann:hunter2@store:9200"),
        ("ALERTLOOP_TOKEN", "hunter2hunter2hunter2"),
        ("ALERTLOOP_TOKEN_PREVIOUS", "hunter2hunter2hunter3"),
        ("ALERTLOOP_ADMIN_USER", "admin"),
        ("ALERTLOOP_ADMIN_PASSWORD", "hunter2"),
        ("ALERTLOOP_OPENSEARCH_CERT", "cert.pem"),
        ("ALERTLOOP_OPENSEARCH_KEY", "key.pem"),
    ];
    let config = read(&given, &[("cert.pem", CERT), ("key.pem", KEY)]).unwrap();
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("PRIVATE KEY"), "{printed}");
}

#[test]
fn lists_in_redis_are_read_where_one_is_named() {
    const URL: &str = "ALERTLOOP_NTOPNG_REDIS_URL";
    assert!(read(&[], &[]).unwrap().ntopng_queue.is_none());
    let queue = |given: &[(&str, &str)]| read(given, &[]).unwrap().ntopng_queue.unwrap().queues;
    let [one] = queue(&[(URL, "redis://redis")]).try_into().unwrap();
    assert_eq!((one.name.as_str(), one.tee), ("ntopng.alert_process_queue", None));
    let named = [
        (URL, "redis://ann:hunter2@redis/1"),
        ("ALERTLOOP_NTOPNG_QUEUES", "a, b"),
        ("ALERTLOOP_NTOPNG_TEE", "b = c"),
    ];
    let tees: Vec<_> = queue(&named).into_iter().map(|queue| queue.tee).collect();
    assert_eq!(tees, [None, Some("c".to_owned())]);

    let file = "ALERTLOOP_NTOPNG_REDIS_URL_FILE";
    let config = read(&[(file, "url")], &[("url", "redis://:hunter2@redis\n")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.secret_files, [PathBuf::from("url")]);

    let found = faults(
        &[
            (URL, "http://ann:hunter2@redis"),
            ("ALERTLOOP_NTOPNG_QUEUES", "a,a"),
            ("ALERTLOOP_NTOPNG_REDIS_KEY", "key.pem"),
        ],
        &[("key.pem", KEY)],
    );
    for name in [URL, "ALERTLOOP_NTOPNG_QUEUES", "ALERTLOOP_NTOPNG_REDIS_KEY"] {
        assert!(found.contains(&format!("{name}: ")), "{name}: {found}");
    }
    assert!(!found.contains("hunter2"), "{found}");
    let tee = faults(&[(URL, "redis://redis"), ("ALERTLOOP_NTOPNG_TEE", "x=y")], &[]);
    assert!(tee.starts_with("ALERTLOOP_NTOPNG_TEE: "), "{tee}");
    let odd = read(&[("ALERTLOOP_NTOPNG_TEE", "ntopng.alert_process_queue=x")], &[]).unwrap();
    assert_eq!(odd.warnings.len(), 1, "{:?}", odd.warnings);
}
