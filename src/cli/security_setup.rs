//! `alertloop security-setup`: alertloop's roles and user in OpenSearch's security plugin, with an
//! administrator's login for this one run.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};

use super::{Misused, TableArgs, auth_setup::ask, may_ask, printed::say, show};
use crate::{
    config::{SecuritySettings, curlrc},
    opensearch::{Client, Identity, Settings, engine::Choice},
    secrets::Login,
    security_setup::{self, MONITORS, OwnUser, Plan, Wanted},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop security-setup plan
  alertloop security-setup apply --admin-creds ./admin.curlrc
  alertloop security-setup apply --admin-cert admin.pem --admin-key admin.key
  alertloop security-setup apply --user CN=alertloop --external-user

The administrator's login is used for this run and kept nowhere; without a file it is asked for on
the terminal. What a user changed in a role is left alone; --force takes it over. A password is only
changed with --reset-password.";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show what would change, and change nothing
    #[command(after_help = EXAMPLES)]
    Plan(Box<SetupArgs>),
    /// Change it, in order, and stop at the first failure
    #[command(after_help = EXAMPLES)]
    Apply(Box<SetupArgs>),
}

#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// curl config file with the administrator's login
    #[arg(long, value_name = "FILE", conflicts_with = "admin_cert")]
    admin_creds: Option<PathBuf>,
    /// PEM file of the administrator's client certificate
    #[arg(long, value_name = "FILE", requires = "admin_key")]
    admin_cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "admin_cert")]
    admin_key: Option<PathBuf>,
    #[arg(
        long,
        value_name = "NAME",
        help = "User that gets the roles [default: that of OPENSEARCH_CREDS_CONFIG_FILE, else alertloop]"
    )]
    user: Option<String>,
    /// The user comes with a client certificate or from a directory: make none
    #[arg(long, requires = "user", conflicts_with = "reset_password")]
    external_user: bool,
    #[arg(
        long,
        value_name = "ROLE",
        help = "Shipped role to give; may be given several times [default: alertloop, and alertloop_provisioning unless ALERTLOOP_PROVISION is false; with ALERTLOOP_MONITORS=builtin alertloop and alertloop_monitors]"
    )]
    role: Vec<String>,
    #[arg(
        long,
        help = "Give a user that is there the password of OPENSEARCH_CREDS_CONFIG_FILE, or a new one"
    )]
    reset_password: bool,
    /// Take over roles that somebody edited
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    let (Action::Plan(args) | Action::Apply(args)) = action;
    let settings = SecuritySettings::load(&args.table.settings)?;
    for warning in &settings.warnings {
        say(&format!("warning: {warning}"));
    }
    let wanted = wanted(args, &settings)?;
    let admin = Client::new(&administrator(args, &settings.store)?)?;
    let own = |login: &Login| {
        Client::new(&Settings {
            login: Some(login.clone()),
            identity: None,
            ..settings.store.clone()
        })
    };
    let plan = security_setup::look(&admin, &wanted, own).await?;
    let plan = match action {
        Action::Plan(_) => plan,
        Action::Apply(_) => {
            if may_ask() {
                say(&plan.to_string());
            }
            security_setup::apply(&admin, plan).await?
        }
    };
    show(args.table.output, &plan)?;
    Ok(ended(&plan))
}

/// What had to be left because somebody changed it needs a decision, so it is no success.
fn ended(plan: &Plan) -> ExitCode {
    ExitCode::from(u8::from(plan.applied && plan.left() > 0))
}

fn wanted(args: &SetupArgs, settings: &SecuritySettings) -> anyhow::Result<Wanted> {
    let is_builtin = settings.store.monitors.choice == Choice::Builtin;
    let names = match (args.role.is_empty(), settings.provision) {
        (false, _) => args.role.clone(),
        (true, _) if is_builtin => vec!["alertloop".to_owned(), MONITORS.to_owned()],
        (true, true) => vec!["alertloop".to_owned(), "alertloop_provisioning".to_owned()],
        (true, false) => vec!["alertloop".to_owned()],
    };
    let (pattern, prefix) = (&settings.pattern, &settings.store.monitors.prefix);
    let roles = names.iter().map(|name| security_setup::shipped(name, pattern, prefix));
    let roles = roles.collect::<anyhow::Result<Vec<_>>>();
    let roles = roles.map_err(|fault| Misused(format!("--role: {fault}")))?;
    let login = settings.store.login.clone();
    let known = login.as_ref().map(|login| login.user.clone());
    let name = match (&args.user, known) {
        (Some(name), Some(known)) if *name != known && !args.external_user => {
            let what = format!(
                "--user {name:?} is not {known:?}, whom OPENSEARCH_CREDS_CONFIG_FILE holds; leave --user out, or name another file"
            );
            return Err(Misused(what).into());
        }
        (Some(name), _) => name.clone(),
        (None, Some(known)) => known,
        (None, None) => "alertloop".to_owned(),
    };
    let user = OwnUser {
        name,
        is_internal: !args.external_user,
        file: login.is_none().then(|| settings.credentials.clone()),
        login,
        reset_password: args.reset_password,
    };
    Ok(Wanted { roles, user, force: args.force })
}

/// The store's settings, for the administrator.
fn administrator(args: &SetupArgs, store: &Settings) -> anyhow::Result<Settings> {
    let nobody = Settings { login: None, identity: None, ..store.clone() };
    if let (Some(certificate), Some(key)) = (&args.admin_cert, &args.admin_key) {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = Some(Identity::of(read(certificate)?, &read(key)?));
        return Ok(Settings { identity, ..nobody });
    }
    let login = match &args.admin_creds {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let read = curlrc::parse(&text)
                .map_err(|fault| anyhow::anyhow!("{}: {fault}", path.display()))?;
            read.login.with_context(|| format!("{} holds no login", path.display()))?
        }
        None => asked()?,
    };
    Ok(Settings { login: Some(login), ..nobody })
}

fn asked() -> anyhow::Result<Login> {
    if !may_ask() {
        let what = "there is no terminal to ask for the administrator on: say --admin-creds, or --admin-cert and --admin-key";
        return Err(Misused(what.to_owned()).into());
    }
    let user = ask::line("Administrator of OpenSearch", Some("admin"))?;
    let password = ask::hidden(&format!("{user} password: "))?;
    ensure!(!password.is_empty(), "the password is empty; nothing was changed");
    Ok(Login { user, password: password.into() })
}
