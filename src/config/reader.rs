//! Texts to checked settings, one group at a time. Every reading is done before the first `?`, so
//! that no fault hides another.

use std::{
    fmt::Display,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use url::Url;

use super::{
    Config, Fault, Faults, IndexSettings, KeystoreSettings, Local, Outcome, SecuritySettings,
    StoreKind,
    curlrc::{self, Curlrc},
    parse, settings, units,
};
use crate::{
    callback::{self, Callback},
    intake::ntopng::version::Version,
    opensearch::{
        self, Files, Identity,
        engine::{self, Choice},
    },
    queue,
    secrets::{Login, Password, WebhookToken},
    telemetry::LogSettings,
};

mod locks;

const GRAYLOG: &str = "ALERTLOOP_GRAYLOG_URL";
const NTOPNG_VERSION: &str = "ALERTLOOP_NTOPNG_VERSION";
const REDIS: &str = "ALERTLOOP_NTOPNG_REDIS_URL";
const REDIS_CA: &str = "ALERTLOOP_NTOPNG_REDIS_CA";
const QUEUES: &str = "ALERTLOOP_NTOPNG_QUEUES";
const TEE: &str = "ALERTLOOP_NTOPNG_TEE";
const CREDENTIALS: &str = "OPENSEARCH_CREDS_CONFIG_FILE";
const VERIFICATION: &str = "OPENSEARCH_SSL_CERTIFICATE_VERIFICATION";

/// Looks settings up, and gathers what is wrong with them.
pub(super) struct Reader<L, F> {
    lookup: L,
    read_file: F,
    faults: Faults,
    secret_files: Vec<PathBuf>,
}

impl<L, F> Reader<L, F>
where
    L: Fn(&str) -> Option<String>,
    F: Fn(&Path) -> io::Result<Vec<u8>>,
{
    pub(super) fn new(lookup: L, read_file: F) -> Self {
        Self { lookup, read_file, faults: Faults::default(), secret_files: Vec::new() }
    }

    /// What `read` reads, unless there is a fault.
    pub(super) fn finish<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Outcome<T> {
        match read(&mut self) {
            Some(value) if self.faults.faults.is_empty() => Ok((value, self.faults.warnings)),
            _ => Err(self.faults),
        }
    }

    pub(super) fn config(&mut self) -> Option<Config> {
        let store = self.store();
        let store_kind = self.parse("OPENSEARCH_PRIMARY", parse::store_kind);
        let index = self.index();
        let template = self.parse("ALERTLOOP_TEMPLATE", parse::template);
        let api_prefix = self.parse("MALCOLM_API_PREFIX", parse::api_prefix);
        let listen = self.listen();
        let token = self.token("ALERTLOOP_TOKEN");
        let token_previous = self.token("ALERTLOOP_TOKEN_PREVIOUS");
        let token_parameter = self.parse("ALERTLOOP_TOKEN_PARAMETER", parse::parameter);
        let intake_open = self.parse("ALERTLOOP_INTAKE_OPEN", units::truth);
        let admin = self.admin();
        let locks = self.locks();
        let webhook_url = self.parse("ALERTLOOP_WEBHOOK_URL", parse::webhook_url);
        let graylog_url = self.graylog_url();
        let ntopng_version = self.ntopng_version();
        let ntopng_queue = self.ntopng_queue();
        let provision = self.parse("ALERTLOOP_PROVISION", units::truth);
        let provisioning_dir = self.optional("ALERTLOOP_PROVISIONING_DIR").map(PathBuf::from);
        let reconcile_interval = self.parse("ALERTLOOP_RECONCILE_INTERVAL", units::span);
        let reconcile_monitors = self.parse("ALERTLOOP_RECONCILE_MONITORS", parse::monitors);
        let spool_max_bytes = self.parse("ALERTLOOP_SPOOL_MAX_BYTES", units::bytes);
        let body_limit = self.parse("ALERTLOOP_BODY_LIMIT", parse::body_limit);
        let wait = self.parse("ALERTLOOP_WAIT", units::span);
        let heartbeat = self.parse("ALERTLOOP_HEARTBEAT", units::span);
        let stale_after = self.parse("ALERTLOOP_STALE_AFTER", units::span);
        let silence_days = self.parse("ALERTLOOP_SILENCE_DAYS", parse::days);
        let drain = self.parse("ALERTLOOP_DRAIN", units::span);
        let stop_grace = self.parse("ALERTLOOP_STOP_GRACE", units::span);
        let compat = self.parse("ALERTLOOP_COMPAT", parse::compat);
        let callbacks = self.callbacks();
        let deliveries_days = self.parse("ALERTLOOP_DELIVERIES_DAYS", parse::days);
        let deliveries_max_bytes = self.parse("ALERTLOOP_DELIVERIES_MAX_BYTES", units::bytes);
        let log = self.log();
        if intake_open == Some(true) && self.is_given("ALERTLOOP_TOKEN") {
            self.warn("ALERTLOOP_TOKEN has no effect while ALERTLOOP_INTAKE_OPEN is true");
        }
        Some(Config {
            store: store?,
            store_files: self.store_files(),
            store_kind: store_kind?,
            index: index?,
            malcolm_template: self.text("MALCOLM_TEMPLATE"),
            template: template?,
            api_prefix: api_prefix?,
            listen: listen?,
            data_dir: PathBuf::from(self.text("ALERTLOOP_DATA_DIR")),
            token,
            token_previous,
            token_parameter: token_parameter?,
            intake_open: intake_open?,
            admin,
            locks: locks?,
            webhook_url: webhook_url?,
            graylog_url,
            ntopng_version,
            ntopng_queue,
            provision: provision?,
            provisioning_dir,
            reconcile_interval: reconcile_interval?,
            reconcile_monitors: reconcile_monitors?,
            spool_max_bytes: spool_max_bytes?,
            body_limit: body_limit?,
            wait: wait?,
            heartbeat: heartbeat?,
            stale_after: stale_after?,
            silence_days: silence_days?,
            callbacks,
            deliveries_days: deliveries_days?,
            deliveries_max_bytes: deliveries_max_bytes?,
            drain: drain?,
            stop_grace: stop_grace?,
            secret_files: std::mem::take(&mut self.secret_files),
            compat: compat?,
            log: log?,
            warnings: Vec::new(),
        })
    }

    pub(super) fn local(&mut self) -> Option<Local> {
        let spool_max_bytes = self.parse("ALERTLOOP_SPOOL_MAX_BYTES", units::bytes);
        let body_limit = self.parse("ALERTLOOP_BODY_LIMIT", parse::body_limit);
        let listen = self.listen();
        let api_prefix = self.parse("MALCOLM_API_PREFIX", parse::api_prefix);
        let admin = self.admin();
        Some(Local {
            data_dir: PathBuf::from(self.text("ALERTLOOP_DATA_DIR")),
            spool_max_bytes: spool_max_bytes?,
            body_limit: body_limit?,
            listen: listen?,
            api_prefix: api_prefix?,
            admin,
            is_tls: self.speaks_tls(),
            warnings: Vec::new(),
        })
    }

    /// What the configuration file says about callbacks. Where it cannot be read, that is told by
    /// who reads its settings.
    pub(super) fn callbacks(&mut self) -> Vec<Callback> {
        const CONFIG: &str = "ALERTLOOP_CONFIG";
        let bytes = self.optional(CONFIG).and_then(|path| (self.read_file)(Path::new(&path)).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let read_file = |path: &Path| (self.read_file)(path);
        let ground =
            callback::settings::Ground { read_file: &read_file, variable: &super::variable };
        let read = callback::settings::read(&text, &ground);
        read.unwrap_or_else(|faults| {
            for what in faults {
                self.fault(CONFIG, &what);
            }
            Vec::new()
        })
    }

    pub(super) fn keystore(&mut self) -> Option<KeystoreSettings> {
        let store = self.store();
        let provisioning_dir = self.optional("ALERTLOOP_PROVISIONING_DIR").map(PathBuf::from);
        Some(KeystoreSettings { store: store?, provisioning_dir, home: None, warnings: Vec::new() })
    }

    pub(super) fn security(&mut self) -> Option<SecuritySettings> {
        let curlrc = self.credentials(|_| true);
        let store = self.store_with(curlrc.unwrap_or_default());
        let index = self.index();
        let provision = self.parse("ALERTLOOP_PROVISION", units::truth);
        Some(SecuritySettings {
            store: store?,
            credentials: PathBuf::from(self.text(CREDENTIALS)),
            pattern: index?.pattern,
            provision: provision?,
            warnings: Vec::new(),
        })
    }

    /// Where we listen, and whether with TLS.
    pub(super) fn own(&mut self) -> Option<(SocketAddr, bool)> {
        let listen = self.listen();
        Some((listen?, self.speaks_tls()))
    }

    pub(super) fn listen(&mut self) -> Option<SocketAddr> {
        self.parse("ALERTLOOP_LISTEN", |text| {
            text.parse().map_err(|_| "needs an IP address and a port, like 0.0.0.0:5000")
        })
    }

    fn store(&mut self) -> Option<opensearch::Settings> {
        // Only a file at the default place may be missing.
        let curlrc = self.credentials(|path| path == settings::default_of(CREDENTIALS));
        self.store_with(curlrc.unwrap_or_default())
    }

    fn store_with(&mut self, curlrc: Curlrc) -> Option<opensearch::Settings> {
        let url = self.parse("OPENSEARCH_URL", parse::store_url);
        let Curlrc { login: login_of_file, insecure } = curlrc;
        let verify = self.parse(VERIFICATION, units::truth);
        let ca = self.pem("ALERTLOOP_OPENSEARCH_CA", "CERTIFICATE-----");
        let identity = self.identity();
        let timeout = self.parse("ALERTLOOP_STORE_TIMEOUT", units::limit);
        let monitors = self.engine();
        let (url, login_of_url) = url?;
        if login_of_url.is_some() && login_of_file.is_some() {
            self.warn("the login in OPENSEARCH_URL goes before the one in the credentials file");
        }
        if verify == Some(true) && insecure {
            self.warn(&format!("{VERIFICATION} goes before `insecure` in the credentials file"));
        }
        if verify == Some(false) && ca.is_some() {
            self.warn(&format!("ALERTLOOP_OPENSEARCH_CA has no effect without {VERIFICATION}"));
        }
        Some(opensearch::Settings {
            url,
            login: login_of_url.or(login_of_file),
            verify: verify?,
            ca,
            identity,
            timeout: timeout?,
            monitors: monitors?,
        })
    }

    /// Who runs the monitors. What is said to be Elasticsearch is not asked for a plugin.
    fn engine(&mut self) -> Option<engine::Settings> {
        let choice = self.parse("ALERTLOOP_MONITORS", parse::engine);
        let prefix = self.parse("ALERTLOOP_MONITORS_PREFIX", parse::index_prefix);
        let is_opensearch =
            parse::store_kind(&self.text("OPENSEARCH_PRIMARY")).is_ok_and(StoreKind::is_opensearch);
        let choice = match choice? {
            Choice::Auto if !is_opensearch => Choice::Builtin,
            choice => choice,
        };
        Some(engine::Settings { choice, prefix: prefix? })
    }

    /// The files that [`Self::store`] read, which may change while the service runs.
    fn store_files(&self) -> Files {
        let has_login =
            parse::store_url(&self.text("OPENSEARCH_URL")).is_ok_and(|(_, login)| login.is_some());
        let path = |name: &str| self.optional(name).map(PathBuf::from);
        let pair = [path("ALERTLOOP_OPENSEARCH_CERT"), path("ALERTLOOP_OPENSEARCH_KEY")];
        let identity = match pair {
            [Some(certificate), Some(key)] => Some([certificate, key]),
            _ => None,
        };
        Files {
            credentials: (!has_login).then(|| PathBuf::from(self.text(CREDENTIALS))),
            ca: path("ALERTLOOP_OPENSEARCH_CA"),
            identity,
        }
    }

    /// What the credentials file says, if it is there.
    fn credentials(&mut self, may_be_missing: fn(&str) -> bool) -> Option<Curlrc> {
        let path = self.text(CREDENTIALS);
        match (self.read_file)(Path::new(&path)) {
            Err(fault) if may_be_missing(&path) && fault.kind() == io::ErrorKind::NotFound => None,
            read => {
                self.secret_files.push(PathBuf::from(&path));
                let text = self.utf8(CREDENTIALS, read)?;
                self.settle(CREDENTIALS, curlrc::parse(&text))
            }
        }
    }

    fn identity(&mut self) -> Option<Identity> {
        const CERT: &str = "ALERTLOOP_OPENSEARCH_CERT";
        const KEY: &str = "ALERTLOOP_OPENSEARCH_KEY";
        self.together(CERT, KEY);
        let cert = self.pem(CERT, "CERTIFICATE-----");
        let key = self.pem(KEY, "PRIVATE KEY-----");
        self.secret_files.extend(self.optional(KEY).map(PathBuf::from));
        Some(Identity::of(cert?, &key?))
    }

    fn index(&mut self) -> Option<IndexSettings> {
        let pattern = self.parse("MALCOLM_NETWORK_INDEX_PATTERN", parse::pattern);
        Some(IndexSettings {
            pattern: pattern?,
            time_field: self.text("MALCOLM_NETWORK_INDEX_TIME_FIELD"),
            suffix: self.text("MALCOLM_NETWORK_INDEX_SUFFIX"),
        })
    }

    fn token(&mut self, name: &'static str) -> Option<WebhookToken> {
        let (source, text) = self.secret(name)?;
        self.settle(&source, text.parse())
    }

    fn graylog_url(&mut self) -> Option<Url> {
        let text = self.optional(GRAYLOG)?;
        self.settle(GRAYLOG, parse::graylog_url(&text))
    }

    fn ntopng_version(&mut self) -> Option<Version> {
        let text = self.optional(NTOPNG_VERSION)?;
        self.settle(NTOPNG_VERSION, text.parse())
    }

    /// The queue's settings; where no Redis is named, the others are checked all the same.
    fn ntopng_queue(&mut self) -> Option<queue::Settings> {
        let url = self.secret(REDIS);
        let url = url.and_then(|(source, text)| self.settle(&source, queue::settings::url(&text)));
        let (ca, identity) = (self.pem(REDIS_CA, "CERTIFICATE-----"), self.redis_identity());
        let names = self.parse(QUEUES, queue::settings::queues);
        let tees = self.optional(TEE).unwrap_or_default();
        let queues = self.settle(TEE, queue::settings::with_tees(names?, &tees));
        let uses_tls = url.as_ref().is_some_and(queue::settings::is_tls);
        if url.is_some() && !uses_tls && (ca.is_some() || identity.is_some()) {
            self.warn("ALERTLOOP_NTOPNG_REDIS_CA, _CERT and _KEY have no effect without rediss://");
        }
        if !self.is_given(REDIS) && !tees.is_empty() {
            self.warn(&format!("{TEE} has no effect without {REDIS}"));
        }
        Some(queue::Settings { url: url?, ca, identity, queues: queues? })
    }

    fn redis_identity(&mut self) -> Option<queue::settings::Identity> {
        const CERT: &str = "ALERTLOOP_NTOPNG_REDIS_CERT";
        const KEY: &str = "ALERTLOOP_NTOPNG_REDIS_KEY";
        self.together(CERT, KEY);
        let certificate = self.pem(CERT, "CERTIFICATE-----");
        let key = self.pem(KEY, "PRIVATE KEY-----");
        self.secret_files.extend(self.optional(KEY).map(PathBuf::from));
        Some(queue::settings::Identity { certificate: certificate?, key: key? })
    }

    fn admin(&mut self) -> Option<Login> {
        const USER: &str = "ALERTLOOP_ADMIN_USER";
        const PASSWORD: &str = "ALERTLOOP_ADMIN_PASSWORD";
        let user = self.optional(USER);
        let password = self.secret(PASSWORD);
        let password_is_given = self.is_given(PASSWORD);
        match (user, password_is_given) {
            (Some(_), false) => self.fault(USER, &format!("needs {PASSWORD} too")),
            (None, true) => self.fault(PASSWORD, &format!("needs {USER} too")),
            (Some(user), true) if user.contains(':') => {
                self.fault(USER, "must hold no colon, which ends the name in a Basic login");
            }
            (Some(user), true) => {
                let (_, text) = password?;
                return Some(Login { user, password: Password::from(text) });
            }
            (None, false) => {}
        }
        None
    }

    fn log(&mut self) -> Option<LogSettings> {
        let debug = self.parse("MALCOLM_API_DEBUG", units::truth);
        let format = self.parse("ALERTLOOP_LOG_FORMAT", parse::log_format);
        let filter = match self.optional("ALERTLOOP_LOG") {
            Some(text) => self.settle("ALERTLOOP_LOG", parse::log_filter(&text)),
            None if debug == Some(true) => Some("debug".to_owned()),
            None => Some(settings::default_of("ALERTLOOP_LOG").to_owned()),
        };
        Some(LogSettings { filter: filter?, format: format? })
    }

    /// Reads a secret, and tells the name that it came by.
    fn secret(&mut self, name: &'static str) -> Option<(String, String)> {
        let file = settings::file_name(name);
        match (self.given(name), self.given(&file)) {
            (Some(_), Some(_)) => {
                self.fault(name, &format!("is set together with {file}; keep one"));
                None
            }
            (Some(text), None) => Some((name.to_owned(), text)),
            (None, Some(path)) => {
                self.secret_files.push(PathBuf::from(path.trim()));
                let read = (self.read_file)(Path::new(path.trim()));
                let read = read.map_err(|fault| format!("cannot read the file: {fault}"));
                let text = read.and_then(|bytes| {
                    super::secret_text(bytes).map_err(|what| format!("the file {what}"))
                });
                let text = self.settle(&file, text)?;
                Some((file, text))
            }
            (None, None) => None,
        }
    }

    /// Reads the PEM file that a setting names.
    fn pem(&mut self, name: &str, marker: &str) -> Option<Vec<u8>> {
        let path = self.optional(name)?;
        let text = self.utf8(name, (self.read_file)(Path::new(&path)))?;
        if !text.contains("-----BEGIN ") || !text.contains(marker) {
            let kind = marker.trim_end_matches('-').to_lowercase();
            self.fault(name, &format!("the file holds no PEM {kind}"));
            return None;
        }
        Some(text.into_bytes())
    }

    fn utf8(&mut self, name: &str, read: io::Result<Vec<u8>>) -> Option<String> {
        let bytes = read.map_err(|fault| format!("cannot read the file: {fault}"));
        let text = bytes.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())
        });
        self.settle(name, text)
    }

    fn together(&mut self, one: &str, other: &str) {
        match (self.given(one), self.given(other)) {
            (Some(_), None) => self.fault(one, &format!("needs {other} too")),
            (None, Some(_)) => self.fault(other, &format!("needs {one} too")),
            _ => {}
        }
    }

    fn parse<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name);
        self.settle(name, parse(&text))
    }

    /// What is given, else the default.
    fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| settings::default_of(name).to_owned())
    }

    fn optional(&self, name: &str) -> Option<String> {
        self.given(name).map(|text| text.trim().to_owned())
    }

    fn given(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| settings::is_given(name, text))
    }

    /// Whether a secret is given, well or badly.
    fn is_given(&self, secret: &str) -> bool {
        self.given(secret).or_else(|| self.given(&settings::file_name(secret))).is_some()
    }

    fn settle<T, E: Display>(&mut self, name: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|what| self.fault(name, &what.to_string())).ok()
    }

    fn fault(&mut self, name: &str, what: &str) {
        self.faults.faults.push(Fault { name: name.to_owned(), what: what.to_owned() });
    }

    fn warn(&mut self, what: &str) {
        self.faults.warnings.push(what.to_owned());
    }
}
