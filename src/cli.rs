//! Commands and flags, and what each command prints and exits with; no logic.
//!
//! A command exits with 0 when it did what it should, 1 when it failed, 2 when it was misused (a
//! flag, a setting). What it prints goes to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tracing::{error, warn};

use crate::{
    app,
    config::{Config, Faults, SettingsArgs, settings},
    intake_token,
    secrets::WebhookToken,
    shutdown,
    spool::rescue,
    telemetry,
};

mod acknowledge;
mod alerts;
mod auth_setup;
mod callbacks;
mod conditions;
mod dead_letters;
mod deliveries;
mod doctor;
mod engaged;
mod health;
mod monitors;
mod place;
mod printed;
mod provision;
mod security_setup;
mod service;
mod teller;

/// The exit code of a command that was misused.
const MISUSED: u8 = 2;

/// Closes the loop that OpenSearch Alerting leaves open: an alert becomes a session record, once.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  alertloop serve
  alertloop doctor
  alertloop provision plan
  alertloop dead-letters list

Every setting is looked up among the flags, then in the environment, then in the TOML file that
--config names. Secrets come from the environment or from a file, never from a flag. Each command
has its own --help, with its settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive alerts, keep them and write them; provision at the first run
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Bring OpenSearch's channel, monitor and template to what the files say
    #[command(after_help = provision::EXAMPLES, arg_required_else_help = true)]
    Provision {
        #[command(subcommand)]
        action: provision::Action,
    },
    /// Acknowledge alerts in OpenSearch, so that their actions stop
    #[command(after_help = acknowledge::EXAMPLES)]
    Acknowledge(Box<acknowledge::AcknowledgeArgs>),
    /// Show what is engaged now: the alerts of all sources that are not over
    #[command(after_help = engaged::EXAMPLES)]
    Engaged(Box<engaged::EngagedArgs>),
    /// Look at alerts, those of the past too, and at the life of one
    #[command(after_help = alerts::EXAMPLES, arg_required_else_help = true)]
    Alerts {
        #[command(subcommand)]
        action: alerts::Action,
    },
    /// Look at conditions on streams, and take over those of Graylog
    #[command(after_help = conditions::EXAMPLES, arg_required_else_help = true)]
    Conditions {
        #[command(subcommand)]
        action: conditions::Action,
    },
    /// Look at the monitors in the store; switch them, run them, see how their runs went
    #[command(after_help = monitors::EXAMPLES, arg_required_else_help = true)]
    Monitors {
        #[command(subcommand)]
        action: monitors::Action,
    },
    /// Look at what cannot be stored; send it again, remove it, write it out
    #[command(after_help = dead_letters::EXAMPLES, arg_required_else_help = true)]
    DeadLetters {
        #[command(subcommand)]
        action: dead_letters::Action,
    },
    /// Look at what callbacks were run for alerts, and how it went; run them again
    #[command(after_help = deliveries::EXAMPLES, arg_required_else_help = true)]
    Deliveries {
        #[command(subcommand)]
        action: deliveries::Action,
    },
    /// Look at the callbacks that are configured, and try them out
    #[command(after_help = callbacks::EXAMPLES, arg_required_else_help = true)]
    Callbacks {
        #[command(subcommand)]
        action: callbacks::Action,
    },
    /// Put e-mail sender accounts into OpenSearch's keystore
    #[command(after_help = auth_setup::EXAMPLES)]
    AuthSetup(Box<auth_setup::AuthSetupArgs>),
    /// Give alertloop its roles and its user in OpenSearch's security plugin
    #[command(after_help = security_setup::EXAMPLES, arg_required_else_help = true)]
    SecuritySetup {
        #[command(subcommand)]
        action: security_setup::Action,
    },
    /// Say what is wrong with this set-up, one line a finding, with the mend
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Look after the file that keeps alerts until they are stored
    #[command(after_help = SPOOL_EXAMPLES, arg_required_else_help = true)]
    Spool {
        #[command(subcommand)]
        action: Spool,
    },
    /// Ask a running service whether it lives; for a container's HEALTHCHECK
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(health::HealthArgs),
    /// Print the settings as a Markdown table
    #[command(hide = true)]
    Settings,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  alertloop serve
  alertloop serve --listen 127.0.0.1:0 --data-dir ./data --opensearch-url http://localhost:9200
  ALERTLOOP_TOKEN_FILE=/run/secrets/token alertloop serve --config /etc/alertloop.toml

The first SIGINT or SIGTERM stops in order, the second at once (exit code 130).";

#[derive(Debug, Subcommand)]
enum Spool {
    /// Read the whole file, and say whether it is sound; also while the service runs
    #[command(after_help = SPOOL_EXAMPLES)]
    Check(TableArgs),
    /// Save what can be read of a damaged file into a new one; the service must be stopped
    #[command(after_help = SPOOL_EXAMPLES)]
    Rescue(TableArgs),
}

const SPOOL_EXAMPLES: &str = "\
Examples:
  alertloop spool check
  alertloop spool rescue --data-dir /var/lib/alertloop

`check` exits with 1 when the file is damaged. `rescue` keeps the damaged file beside the new one.";

const HEALTH_EXAMPLES: &str = "\
Examples:
  alertloop health
  alertloop health --listen 0.0.0.0:5001
  alertloop health --url http://alertloop:5000/readyz
  HEALTHCHECK CMD [\"alertloop\", \"health\"]";

/// What the commands take that print a table.
#[derive(Debug, clap::Args)]
struct TableArgs {
    /// Form of what is printed
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs one command.
///
/// # Errors
/// What kept the command from its work; [`failed`] prints it.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve { settings } => serve(configure(&settings)?).await,
        Command::Provision { action } => provision::run(&action).await,
        Command::Acknowledge(args) => acknowledge::run(&args).await,
        Command::Engaged(args) => engaged::run(&args).await,
        Command::Alerts { action } => alerts::run(&action).await,
        Command::AuthSetup(args) => auth_setup::run(&args).await,
        Command::SecuritySetup { action } => security_setup::run(&action).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Spool { action: Spool::Check(args) } => {
            let config = configure(&args.settings)?;
            let checked = rescue::check(&config.data_dir)?;
            show(args.output, &checked)?;
            Ok(ExitCode::from(u8::from(!checked.faults.is_empty())))
        }
        Command::Spool { action: Spool::Rescue(args) } => {
            let config = configure(&args.settings)?;
            show(args.output, &rescue::rescue(&config.data_dir)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Conditions { action } => conditions::run(&action),
        Command::Monitors { action } => monitors::run(&action).await,
        Command::DeadLetters { action } => dead_letters::run(&action).await,
        Command::Deliveries { action } => deliveries::run(&action).await,
        Command::Callbacks { action } => callbacks::run(&action).await,
        Command::Health(args) => health::run(&args).await,
        Command::Settings => {
            put(io::stdout().lock(), &settings::markdown())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The intake secret, as far as it is known here.
fn known_token(config: &Config) -> anyhow::Result<Option<WebhookToken>> {
    match &config.token {
        Some(token) => Ok(Some(token.clone())),
        None => intake_token::load(&config.data_dir)
            .context("cannot read the intake secret in the data directory"),
    }
}

/// Serves until the service ends, or until it is told a second time to stop.
async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let outcome = tokio::select! {
        outcome = app::serve(config) => outcome,
        insisted = shutdown::insisted() => {
            insisted.context("cannot listen for signals")?;
            warn!("ending at once on a second signal");
            return Ok(ExitCode::from(shutdown::AT_ONCE));
        }
    };
    if let Err(fault) = outcome {
        error!(error.message = format!("{fault:#}"), "the service failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the settings, starts logging and tells what is odd about them.
fn configure(flags: &SettingsArgs) -> anyhow::Result<Config> {
    let config = Config::load(flags)?;
    telemetry::start(&config.log)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    Ok(config)
}

/// Prints what a command found.
fn show(output: Output, found: &(impl Display + Serialize)) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => found.to_string(),
        Output::Json => serde_json::to_string_pretty(found)?,
    };
    put(io::stdout().lock(), &text).context("cannot print")
}

/// Prints a text that ends in one line break. A reader that has gone away, as in `| head`, is no
/// fault.
fn put(mut out: impl Write, text: &str) -> io::Result<()> {
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Asks on the terminal; anything but a yes is a no.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Whether there is somebody to ask.
fn may_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A command that was given what it cannot work with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

/// Says why a command failed, and gives its exit code.
#[must_use]
pub fn failed(fault: &anyhow::Error) -> ExitCode {
    let (text, code) = match fault.downcast_ref::<Faults>() {
        Some(faults) => (faults.to_string(), ExitCode::from(MISUSED)),
        None if fault.is::<Misused>() => (format!("alertloop: {fault:#}"), ExitCode::from(MISUSED)),
        None => (format!("alertloop: {fault:#}"), ExitCode::FAILURE),
    };
    // There is nowhere left to say that this cannot be said.
    put(io::stderr().lock(), &text).ok();
    code
}

/// Prints what the parser of the command line has to say: help, the version or a misuse.
#[must_use]
pub fn answer(answer: &clap::Error) -> ExitCode {
    answer.print().ok();
    if answer.use_stderr() { ExitCode::from(MISUSED) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                check(command);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn command_lines() {
        for (line, want) in [
            ("alertloop serve", true),
            ("alertloop serve --listen 127.0.0.1:0 --intake-open", true),
            ("alertloop serve --token x", false),
            ("alertloop provision plan --output json --opensearch-url http://x", true),
            ("alertloop provision apply --output yaml", false),
            ("alertloop provision", false),
            ("alertloop provision lint", true),
            ("alertloop provision lint a.json b.json --live --records --output json", true),
            ("alertloop provision test", true),
            ("alertloop provision test my-slack --output json", true),
            ("alertloop provision test one two", false),
            ("alertloop provision test --output=yaml", false),
            ("alertloop doctor --output text --strict", true),
            ("alertloop acknowledge", false),
            ("alertloop acknowledge a 261121-b --output json --opensearch-url http://x", true),
            ("alertloop acknowledge a --directly --url http://x", false),
            ("alertloop engaged", true),
            ("alertloop engaged --entity host:10.0.0.1 --severity 80 --stale true", true),
            ("alertloop engaged --source nagios", false),
            ("alertloop engaged --severity 101", false),
            ("alertloop engaged --limit 5 --output json --url http://127.0.0.1:1", true),
            ("alertloop conditions", false),
            ("alertloop conditions list --output json", true),
            ("alertloop conditions check", false),
            ("alertloop conditions check a.toml b.toml", true),
            ("alertloop conditions import - --to conditions --indices logs-* --time-field t", true),
            ("alertloop conditions import a.json --overwrite", false),
            ("alertloop dead-letters", false),
            ("alertloop dead-letters list --reason json --source - --output json", true),
            ("alertloop dead-letters list --reason=", false),
            ("alertloop dead-letters show 1", true),
            ("alertloop dead-letters show", false),
            ("alertloop dead-letters replay 1 2 3 --data-dir /x", true),
            ("alertloop dead-letters replay --all", true),
            ("alertloop dead-letters replay", false),
            ("alertloop dead-letters replay 1 --all", false),
            ("alertloop dead-letters replay --all --reason x", false),
            ("alertloop dead-letters drop --source - --yes --url http://127.0.0.1:1", true),
            ("alertloop dead-letters drop 0", false),
            ("alertloop dead-letters drop x", false),
            ("alertloop dead-letters export letters.ndjson --reason x --source y", true),
            ("alertloop deliveries", false),
            ("alertloop deliveries list --state failed --callback pager --alert x", true),
            ("alertloop deliveries list --state lost", false),
            ("alertloop deliveries list --limit 0", false),
            ("alertloop deliveries show 1 --output json", true),
            ("alertloop deliveries replay 1 2", true),
            ("alertloop deliveries replay --callback pager", true),
            ("alertloop deliveries replay --all --url http://127.0.0.1:1", true),
            ("alertloop deliveries replay", false),
            ("alertloop deliveries replay 1 --all", false),
            ("alertloop callbacks", false),
            ("alertloop callbacks list --config x.toml --output json", true),
            ("alertloop callbacks test pager", true),
            ("alertloop callbacks test", false),
            ("alertloop callbacks render pager --sample", true),
            ("alertloop callbacks render pager", false),
            ("alertloop auth-setup", true),
            ("alertloop auth-setup --list --output json", true),
            ("alertloop auth-setup --output json", false),
            ("alertloop auth-setup --list --remove x", false),
            ("alertloop auth-setup --name Not.A.Name", false),
            ("alertloop auth-setup --password-stdin", false),
            ("alertloop auth-setup --password-stdin --password-file x --yes", false),
            ("alertloop auth-setup --password secret", false),
            ("alertloop auth-setup --reload --offline", false),
            ("alertloop auth-setup --smtp-method tls", false),
            ("alertloop auth-setup --recipient nobody", false),
            ("alertloop security-setup", false),
            ("alertloop security-setup plan --role alertloop --role x --output json", true),
            ("alertloop security-setup apply --admin-cert a.pem", false),
            ("alertloop security-setup apply --admin-cert a --admin-key b --admin-creds c", false),
            ("alertloop security-setup apply --external-user", false),
            ("alertloop security-setup apply --admin-password x", false),
            ("alertloop health --url http://127.0.0.1:1/livez", true),
            ("alertloop settings", true),
            ("alertloop", false),
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), want, "{line}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_fault_and_a_full_disk_is() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(put(Broken(io::ErrorKind::BrokenPipe), "x").is_ok());
        assert!(put(Broken(io::ErrorKind::StorageFull), "x").is_err());
    }
}
