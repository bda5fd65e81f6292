//! The names in the keystore that belong to e-mail accounts: pure.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::name::AccountName;

/// A prefix of keys that a plugin of OpenSearch registers, as read in `DestinationSettings` of
/// alerting and `PluginSettings` of notifications-core, and tried on 2.19.4, 3.4.0 and 3.8.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Of the Alerting plugin; what Malcolm's `auth_setup` stores. Notifications falls back to it.
    Alerting,
    /// Of the Notifications plugin, which sends the mails.
    Notifications,
}

/// Prefixes under which accounts may stand.
const PREFIXES: [(&str, &str); 4] = [
    ("plugins.alerting.destination.email.", "alerting"),
    ("opensearch.notifications.core.email.", "notifications"),
    ("opendistro.alerting.destination.email.", "opendistro"),
    ("opensearch.alerting.destination.email.", UNKNOWN),
];

/// A prefix that older documents of Malcolm show, and no plugin registers.
const UNKNOWN: &str = "unknown";

const PARTS: [&str; 2] = ["username", "password"];

impl Family {
    /// Both, in the order in which they are stored.
    pub const ALL: [Self; 2] = [Self::Alerting, Self::Notifications];

    fn prefix(self) -> &'static str {
        match self {
            Self::Alerting => PREFIXES[0].0,
            Self::Notifications => PREFIXES[1].0,
        }
    }

    /// The plugin without which a key of this family keeps a node from starting.
    #[must_use]
    pub fn plugin(self) -> &'static str {
        match self {
            Self::Alerting => "opensearch-alerting",
            Self::Notifications => "opensearch-notifications-core",
        }
    }

    /// The keys of an account: of its user name, and of its password.
    #[must_use]
    pub fn keys(self, name: &AccountName) -> [String; 2] {
        PARTS.map(|part| format!("{}{name}.{part}", self.prefix()))
    }

    /// The families that a node with these plugins accepts.
    #[must_use]
    pub fn accepted_by(plugins: &[String]) -> Vec<Self> {
        let accepted = |family: &Self| plugins.iter().any(|plugin| plugin == family.plugin());
        Self::ALL.into_iter().filter(accepted).collect()
    }
}

/// An account in the keystore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Which prefixes it stands under: `alerting`, `notifications`, `opendistro`, `unknown`.
    pub families: Vec<&'static str>,
    /// Its keys, sorted.
    pub keys: Vec<String>,
    /// What is wrong with it, for people.
    pub faults: Vec<String>,
}

/// The accounts among the names of a keystore, by name.
#[must_use]
pub fn accounts(names: &[String]) -> Vec<Account> {
    let mut found: BTreeMap<&str, Vec<(&'static str, &str, &str)>> = BTreeMap::new();
    for key in names {
        if let Some((family, name, part)) = parse(key) {
            found.entry(name).or_default().push((family, part, key));
        }
    }
    found.into_iter().map(|(name, keys)| account(name, &keys)).collect()
}

/// Family, account and part of a key.
fn parse(key: &str) -> Option<(&'static str, &str, &str)> {
    let (rest, family) =
        PREFIXES.iter().find_map(|(prefix, family)| Some((key.strip_prefix(prefix)?, *family)))?;
    let (name, part) = rest.rsplit_once('.')?;
    (!name.is_empty() && PARTS.contains(&part)).then_some((family, name, part))
}

fn account(name: &str, found: &[(&'static str, &str, &str)]) -> Account {
    let mut keys: Vec<String> = found.iter().map(|(.., key)| (*key).to_owned()).collect();
    keys.sort();
    let mut account = Account { name: name.to_owned(), families: vec![], keys, faults: vec![] };
    for (_, family) in PREFIXES {
        let parts: Vec<&str> =
            found.iter().filter(|(of, ..)| *of == family).map(|(_, part, _)| *part).collect();
        if parts.is_empty() {
            continue;
        }
        account.families.push(family);
        for part in PARTS.into_iter().filter(|part| !parts.contains(part)) {
            account
                .faults
                .push(format!("{family} has no {part}: OpenSearch sends without a login"));
        }
        if family == UNKNOWN {
            account.faults.push("OpenSearch does not start with such a key: remove it".to_owned());
        }
    }
    if name.contains('.') {
        account
            .faults
            .push("OpenSearch does not start with a dot in the name: remove it".to_owned());
    }
    account
}

/// The accounts as lines; never a value.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Listing(pub Vec<Account>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no e-mail account in the keystore");
        }
        let width = self.0.iter().map(|account| account.name.len()).max().unwrap_or(0).max(4);
        writeln!(f, "{:width$}  KEYS OF", "NAME")?;
        for Account { name, families, faults, .. } in &self.0 {
            writeln!(f, "{name:width$}  {}", families.join(", "))?;
            for fault in faults {
                writeln!(f, "{:width$}  ! {fault}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_account_has_two_keys_in_each_family() {
        let name: AccountName = "alpha".parse().unwrap();
        assert_eq!(
            Family::Alerting.keys(&name),
            [
                "plugins.alerting.destination.email.alpha.username",
                "plugins.alerting.destination.email.alpha.password"
            ]
        );
        assert_eq!(
            Family::Notifications.keys(&name),
            [
                "opensearch.notifications.core.email.alpha.username",
                "opensearch.notifications.core.email.alpha.password"
            ]
        );
    }

    #[test]
    fn only_keys_that_a_plugin_registers_are_accepted() {
        for (plugins, want) in [
            (&["opensearch-alerting", "opensearch-notifications-core"][..], &Family::ALL[..]),
            (&["opensearch-notifications", "opensearch-notifications-core"], &Family::ALL[1..]),
            (&["opensearch-alerting", "opensearch-job-scheduler"], &Family::ALL[..1]),
            (&["opensearch-notifications", "opensearch-security"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(Family::accepted_by(&owned(plugins)), want, "{plugins:?}");
        }
    }

    #[test]
    fn accounts_are_found_among_all_keys_with_what_is_wrong_with_them() {
        let names = owned(&[
            "keystore.seed",
            "s3.client.default.password",
            "opensearch.notifications.core.email.alpha.password",
            "opensearch.notifications.core.email.alpha.username",
            "plugins.alerting.destination.email.alpha.username",
            "plugins.alerting.destination.email.alpha.password",
            "opendistro.alerting.destination.email.beta.username",
            "opensearch.alerting.destination.email.gamma.username",
            "opensearch.alerting.destination.email.gamma.password",
            "plugins.alerting.destination.email.a.b.username",
            "plugins.alerting.destination.email.a.b.password",
            "plugins.alerting.destination.email.delta.host",
            "plugins.alerting.destination.email..username",
        ]);
        let found = accounts(&names);
        let seen: Vec<_> = found
            .iter()
            .map(|account| (account.name.as_str(), &account.families[..], account.faults.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a.b", &["alerting"][..], 1),
                ("alpha", &["alerting", "notifications"], 0),
                ("beta", &["opendistro"], 1),
                ("gamma", &["unknown"], 1),
            ]
        );
        assert_eq!(found[1].keys, {
            let mut keys = names[2..6].to_vec();
            keys.sort();
            keys
        });
    }

    #[test]
    fn the_listing_is_a_line_for_each_account() {
        assert_eq!(Listing(vec![]).to_string(), "no e-mail account in the keystore");
        let names = owned(&["plugins.alerting.destination.email.alpha.username"]);
        let text = Listing(accounts(&names)).to_string();
        assert_eq!(
            text,
            "NAME   KEYS OF\nalpha  alerting\n       ! alerting has no password: OpenSearch sends without a login\n"
        );
    }
}
