//! The flags of `auth-setup`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    auth_setup::{
        files::{Address, Mail, Method},
        name::AccountName,
    },
    cli::Output,
    config::SettingsArgs,
};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  alertloop auth-setup
  alertloop auth-setup --reload
  alertloop auth-setup --yes --name soc --username soc@example.org --password-file /run/secrets/mail
  alertloop auth-setup --list
  alertloop auth-setup --remove soc --reload
  alertloop auth-setup --keystore-command 'docker compose exec -T opensearch opensearch-keystore' --reload

It asks for what is not given. It runs OpenSearch's own opensearch-keystore: the one that
--keystore-command says, else the one in OPENSEARCH_HOME, else the one on the PATH. Run it as the
user that OpenSearch runs as. Passwords are never arguments, neither here nor there.";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AuthSetupArgs {
    /// Show the accounts in the keystore, never their values
    #[arg(long, conflicts_with_all = ["remove", "username"])]
    pub(super) list: bool,
    /// Form of what --list prints
    #[arg(long, value_enum, value_name = "FORM", default_value = "text", requires = "list")]
    pub(super) output: Output,
    /// Remove an account
    #[arg(long, value_name = "NAME", conflicts_with = "username")]
    pub(super) remove: Option<String>,
    /// Ask nothing
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) account: AccountArgs,
    #[command(flatten)]
    pub(super) keystore: KeystoreArgs,
    #[command(flatten)]
    pub(super) mail: MailArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Account")]
pub(super) struct AccountArgs {
    #[arg(long, value_name = "NAME", help = "Name of the account: the `name` of its smtp_account")]
    pub(super) name: Option<AccountName>,
    /// User name at the mail server
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// File that holds the password at the mail server
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    pub(super) password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long, requires = "yes")]
    pub(super) password_stdin: bool,
    /// Replace an account that is stored already
    #[arg(long)]
    pub(super) force: bool,
}

impl AccountArgs {
    pub(super) fn has_password(&self) -> bool {
        self.password_stdin || self.password_file.is_some()
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Keystore")]
pub(super) struct KeystoreArgs {
    /// How opensearch-keystore is run; words are split as a shell does, but no shell runs
    #[arg(long, value_name = "COMMAND")]
    pub(super) keystore_command: Option<String>,
    /// File that holds the keystore's own password, if it has one
    #[arg(long, value_name = "FILE")]
    pub(super) keystore_password_file: Option<PathBuf>,
    /// Which keys to store; auto looks which plugins OpenSearch has
    #[arg(long, value_enum, value_name = "WHICH", default_value = "auto")]
    pub(super) keys: Keys,
    /// Have the running nodes read their keystores again
    #[arg(long)]
    pub(super) reload: bool,
    /// OpenSearch is stopped: do not ask it
    #[arg(long, conflicts_with = "reload")]
    pub(super) offline: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Keys {
    Auto,
    Both,
    Alerting,
    Notifications,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Provisioning files")]
pub(super) struct MailArgs {
    /// Mail server: writes a sender account and an e-mail channel into --provisioning-dir
    #[arg(long, value_name = "HOST")]
    smtp_host: Option<String>,
    #[arg(
        long,
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..),
        help = "Its port [default: 465 for ssl, 587 for start_tls, 25 for none]"
    )]
    smtp_port: Option<u16>,
    #[arg(
        long,
        value_name = "METHOD",
        help = "How it is spoken to: ssl, start_tls or none [default: ssl]"
    )]
    smtp_method: Option<Method>,
    /// Who the mails are from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<Address>,
    /// Who gets them; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<Address>,
    /// Replace files that are there already
    #[arg(long)]
    pub(super) overwrite: bool,
}

impl MailArgs {
    pub(super) fn is_given(&self) -> bool {
        self.smtp_host.is_some()
            || self.smtp_port.is_some()
            || self.smtp_method.is_some()
            || self.from.is_some()
            || !self.recipient.is_empty()
    }

    /// The flags that are missing, if there is any of them.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let needed = [
            (self.smtp_host.is_none(), "--smtp-host"),
            (self.from.is_none(), "--from"),
            (self.recipient.is_empty(), "--recipient"),
        ];
        let missing =
            needed.into_iter().filter_map(|(is_missing, flag)| is_missing.then_some(flag));
        if self.is_given() { missing.collect() } else { Vec::new() }
    }

    /// What they say, if it is enough.
    pub(super) fn mail(&self) -> Option<Mail> {
        let (host, from) = (self.smtp_host.clone()?, self.from.clone()?);
        let method = self.smtp_method.unwrap_or_default();
        let port = self.smtp_port.unwrap_or_else(|| method.port());
        let recipients = self.recipient.clone();
        (!recipients.is_empty()).then_some(Mail { host, port, method, from, recipients })
    }
}

/// How to reach the store, and where files go; no other setting is read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct StoreArgs {
    #[arg(
        long,
        value_name = "VALUE",
        help = "Address of the store [default: http://opensearch:9200] [env: OPENSEARCH_URL]"
    )]
    opensearch_url: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "Login for the store, as a curl config file [env: OPENSEARCH_CREDS_CONFIG_FILE]"
    )]
    opensearch_creds_config_file: Option<String>,
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help = "Check the store's certificate [default: false] [env: OPENSEARCH_SSL_CERTIFICATE_VERIFICATION]"
    )]
    opensearch_ssl_certificate_verification: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "PEM file of a CA to trust for the store [env: ALERTLOOP_OPENSEARCH_CA]"
    )]
    opensearch_ca: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "PEM file of our client certificate for the store [env: ALERTLOOP_OPENSEARCH_CERT]"
    )]
    opensearch_cert: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "PEM file of the client certificate's key [env: ALERTLOOP_OPENSEARCH_KEY]"
    )]
    opensearch_key: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "Folder of provisioning files [env: ALERTLOOP_PROVISIONING_DIR]"
    )]
    provisioning_dir: Option<String>,
    #[arg(long, value_name = "VALUE", help = "TOML file with settings [env: ALERTLOOP_CONFIG]")]
    config: Option<String>,
}

impl StoreArgs {
    pub(super) fn settings(&self) -> SettingsArgs {
        let verification = &self.opensearch_ssl_certificate_verification;
        let given = [
            ("OPENSEARCH_URL", &self.opensearch_url),
            ("OPENSEARCH_CREDS_CONFIG_FILE", &self.opensearch_creds_config_file),
            ("OPENSEARCH_SSL_CERTIFICATE_VERIFICATION", verification),
            ("ALERTLOOP_OPENSEARCH_CA", &self.opensearch_ca),
            ("ALERTLOOP_OPENSEARCH_CERT", &self.opensearch_cert),
            ("ALERTLOOP_OPENSEARCH_KEY", &self.opensearch_key),
            ("ALERTLOOP_PROVISIONING_DIR", &self.provisioning_dir),
            ("ALERTLOOP_CONFIG", &self.config),
        ];
        let given = given.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        given.map(|(name, text)| (name.to_owned(), text)).collect()
    }
}
