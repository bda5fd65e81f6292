//! Who may come in, and how many.

use std::{
    io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::Reader;
use crate::{
    config::{
        locks::{Locks, Person},
        parse, settings, units,
    },
    http::{
        caller::Role,
        proxies::{Proxies, Roles},
    },
    secrets::Password,
    serving::Limits,
    tls,
};

const CONFIG: &str = "ALERTLOOP_CONFIG";
const ADMIN: &str = "ALERTLOOP_ADMIN_PASSWORD";
/// The keys of a user in the file.
const KEYS: [&str; 4] = ["name", "role", "password", "password_file"];
/// A password that is shorter can be guessed.
const SHORT: usize = 8;

impl<L, F> Reader<L, F>
where
    L: Fn(&str) -> Option<String>,
    F: Fn(&Path) -> io::Result<Vec<u8>>,
{
    pub(super) fn locks(&mut self) -> Option<Locks> {
        let proxies = self.parse("ALERTLOOP_TRUSTED_PROXIES", Proxies::parse);
        let roles = self.roles();
        let users = self.users();
        let tls = self.tls();
        let limits = self.limits();
        let file = |secret| self.optional(&settings::file_name(secret)).map(PathBuf::from);
        let token_file = file("ALERTLOOP_TOKEN");
        let token_previous_file = file("ALERTLOOP_TOKEN_PREVIOUS");
        let (proxies, roles) = (proxies?, roles?);
        if roles.enforced && proxies.is_empty() {
            self.warn("ROLE_BASED_ACCESS has no effect without ALERTLOOP_TRUSTED_PROXIES");
        }
        let tls = tls?;
        Some(Locks { proxies, roles, users, tls, limits: limits?, token_file, token_previous_file })
    }

    fn roles(&mut self) -> Option<Roles> {
        let enforced = self.parse("ROLE_BASED_ACCESS", units::truth);
        let names = |names: &[&str]| names.iter().map(|name| self.text(name)).collect();
        Some(Roles {
            enforced: enforced?,
            admin: names(&["ROLE_ADMIN"]),
            operator: names(&[
                "ROLE_READ_WRITE_ACCESS",
                "ROLE_DASHBOARDS_READ_WRITE_ALL_APPS_ACCESS",
            ]),
            reader: names(&["ROLE_READ_ACCESS", "ROLE_DASHBOARDS_READ_ALL_APPS_ACCESS"]),
        })
    }

    /// Outer `None` for a fault, inner for no TLS.
    #[expect(clippy::option_option, reason = "a fault is something else than no TLS")]
    fn tls(&mut self) -> Option<Option<tls::Files>> {
        const CERT: &str = "ALERTLOOP_TLS_CERT";
        const KEY: &str = "ALERTLOOP_TLS_KEY";
        const CLIENT_CA: &str = "ALERTLOOP_TLS_CLIENT_CA";
        self.together(CERT, KEY);
        let path = |name| self.optional(name).map(PathBuf::from);
        let (certificate, key, client_ca) = (path(CERT), path(KEY), path(CLIENT_CA));
        self.secret_files.extend(key.clone());
        let is_read = [
            certificate.is_none() || self.pem(CERT, "CERTIFICATE-----").is_some(),
            key.is_none() || self.pem(KEY, "PRIVATE KEY-----").is_some(),
            client_ca.is_none() || self.pem(CLIENT_CA, "CERTIFICATE-----").is_some(),
        ];
        if client_ca.is_some() && certificate.is_none() {
            self.fault(CLIENT_CA, &format!("needs {CERT} and {KEY} too"));
        }
        if is_read.contains(&false) {
            return None;
        }
        Some(match (certificate, key) {
            (Some(certificate), Some(key)) => Some(tls::Files { certificate, key, client_ca }),
            _ => None,
        })
    }

    /// Whether our own port speaks TLS, for who asks there.
    pub(in crate::config) fn speaks_tls(&self) -> bool {
        self.given("ALERTLOOP_TLS_CERT").is_some()
    }

    fn limits(&mut self) -> Option<Limits> {
        let connections = self.parse("ALERTLOOP_MAX_CONNECTIONS", parse::count);
        let per_address = self.parse("ALERTLOOP_MAX_CONNECTIONS_PER_ADDRESS", parse::count);
        Some(Limits { connections: connections?, per_address: per_address? })
    }

    /// The administrator, and who stands in the file.
    fn users(&mut self) -> Vec<Person> {
        let mut users = Vec::new();
        // What is wrong with it is told where the login is read.
        let before = self.faults.faults.len();
        if let Some(login) = self.admin() {
            let file = self.optional(&settings::file_name(ADMIN)).map(PathBuf::from);
            let (name, password) = (login.user, login.password);
            users.push(Person { name, role: Role::Admin, password, file });
        }
        self.faults.faults.truncate(before);
        let bytes = self.optional(CONFIG).and_then(|path| (self.read_file)(Path::new(&path)).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        // That it cannot be read is told by who reads its settings.
        let table = text.parse::<Table>().unwrap_or_default();
        match table.get(crate::config::USER) {
            None => {}
            Some(Value::Array(entries)) => {
                for (number, entry) in entries.iter().enumerate() {
                    match self.user(entry) {
                        Ok(user) if users.iter().any(|other| other.name == user.name) => {
                            self.fault(CONFIG, &format!("user {}: is there twice", number + 1));
                        }
                        Ok(user) => users.push(user),
                        Err(what) => self.fault(CONFIG, &format!("user {}: {what}", number + 1)),
                    }
                }
            }
            Some(_) => self.fault(CONFIG, "user: each user is a table of its own, [[user]]"),
        }
        for user in &users {
            if user.password.expose().len() < SHORT {
                let name = &user.name;
                self.warn(&format!("the password of {name} has under {SHORT} characters"));
            }
        }
        users
    }

    fn user(&mut self, entry: &Value) -> Result<Person, String> {
        let table = entry.as_table().ok_or("each user is a table of its own, [[user]]")?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("{key} is not a key of a user; it has {}", KEYS.join(", ")));
        }
        let text = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.as_str())),
            Some(_) => Err(format!("{key}: must be text, and not empty")),
        };
        let name = text("name")?.ok_or("name: is missing")?.to_owned();
        if name.contains(':') {
            return Err("name: must hold no colon, which ends the name in a Basic login".to_owned());
        }
        let role = text("role")?.and_then(Role::named);
        let role = role.ok_or("role: must be reader, operator or admin")?;
        let (password, file) = match (text("password")?, text("password_file")?) {
            (Some(password), None) => (password.to_owned(), None),
            (None, Some(path)) => {
                let path = PathBuf::from(path.trim());
                self.secret_files.push(path.clone());
                let read = (self.read_file)(&path);
                let bytes = read.map_err(|fault| format!("password_file: {fault}"))?;
                let password = crate::config::secret_text(bytes);
                (password.map_err(|what| format!("password_file: {what}"))?, Some(path))
            }
            _ => return Err("needs either password or password_file".to_owned()),
        };
        Ok(Person { name, role, password: Password::from(password), file })
    }
}
