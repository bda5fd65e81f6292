//! `alertloop callbacks`: what is configured, and what it does with a sample.

use std::{fmt, io, process::ExitCode, time::Instant};

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Misused, TableArgs, configure, put, show};
use crate::{
    callback::{Callback, How, Outcome, sample::sample},
    config::{Callbacks, SettingsArgs},
    finding::{printable, printable_lines},
    opensearch::Client,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop callbacks list --config /etc/alertloop.toml
  alertloop callbacks list --output json
  alertloop callbacks render pager --sample
  alertloop callbacks test pager

`test` sends a sample at once and for real, also where the callback is not enabled; it is not kept
among the deliveries. It exits with 1 when the other side does not take it.";

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// One line for each that is configured; secrets are ***
    #[command(after_help = EXAMPLES)]
    List(TableArgs),
    /// Run one for a sample alert, and say what the other side answers
    #[command(after_help = EXAMPLES)]
    Test {
        #[arg(value_name = "NAME", help = "Its name, as `list` shows it")]
        name: String,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Print what one would send
    #[command(after_help = EXAMPLES)]
    Render {
        #[arg(value_name = "NAME", help = "Its name, as `list` shows it")]
        name: String,
        /// For the sample alert
        #[arg(long, required = true)]
        sample: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Does it.
pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(table) => {
            let list = List(load(&table.settings)?.iter().map(Line::of).collect());
            show(table.output, &list)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Test { name, table } => {
            let callback = chosen(load(&table.settings)?, name)?;
            // The others are tried also where the store's settings are not there yet.
            let store = match callback.how {
                How::OpenSearch(_) => Some(Client::new(&configure(&table.settings)?.store)?),
                _ => None,
            };
            let begun = Instant::now();
            let ran = callback.how.run(&sample(), store.as_ref()).await.ran;
            let (outcome, reason) = match ran.outcome {
                Outcome::Delivered => ("delivered", None),
                Outcome::Again(why) => ("again", Some(why)),
                Outcome::Refused(why) => ("refused", Some(why)),
            };
            let told = Told {
                callback: name.clone(),
                outcome,
                reason,
                status: ran.status,
                took_ms: u64::try_from(begun.elapsed().as_millis())?,
                answer: ran.answer,
            };
            show(table.output, &told)?;
            Ok(ExitCode::from(u8::from(outcome != "delivered")))
        }
        Action::Render { name, settings, .. } => {
            let callback = chosen(load(settings)?, name)?;
            match callback.how.render(&sample()) {
                Ok(text) => put(io::stdout().lock(), &text)?,
                Err(why) => bail!("callback {name} cannot be rendered: {why}"),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load(flags: &SettingsArgs) -> anyhow::Result<Vec<Callback>> {
    let Callbacks { callbacks, warnings } = Callbacks::load(flags)?;
    for warning in &warnings {
        put(io::stderr().lock(), &format!("note: {warning}")).ok();
    }
    Ok(callbacks)
}

fn chosen(callbacks: Vec<Callback>, name: &str) -> anyhow::Result<Callback> {
    let names: Vec<_> = callbacks.iter().map(|one| one.name.clone()).collect();
    callbacks.into_iter().find(|one| one.name == name).ok_or_else(|| {
        let known = match names.as_slice() {
            [] => "none is; ALERTLOOP_CONFIG names the file with [[callback]]".to_owned(),
            names => format!("configured: {}", names.join(", ")),
        };
        anyhow!(Misused(format!("no callback {name:?} is configured; {known}")))
    })
}

/// What is configured.
#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Line>);

#[derive(Serialize)]
struct Line {
    name: String,
    kind: &'static str,
    enabled: bool,
    configuration: Value,
}

impl Line {
    fn of(callback: &Callback) -> Self {
        Self {
            name: callback.name.clone(),
            kind: callback.how.kind(),
            enabled: callback.enabled,
            configuration: callback.shown.clone(),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no callbacks; ALERTLOOP_CONFIG names the file with [[callback]]");
        }
        writeln!(f, "{:<20}  {:<10}  {:<7}  configuration", "name", "type", "enabled")?;
        for line in &self.0 {
            let rest: Value = match &line.configuration {
                Value::Object(all) => {
                    let other = |(key, _): &(&String, &Value)| {
                        !["name", "type", "enabled"].contains(&key.as_str())
                    };
                    let rest = all.iter().filter(other);
                    Value::Object(rest.map(|(key, value)| (key.clone(), value.clone())).collect())
                }
                other => json!(other),
            };
            let enabled = if line.enabled { "yes" } else { "no" };
            let (name, rest) = (printable(&line.name), printable(&rest.to_string()));
            writeln!(f, "{name:<20}  {:<10}  {enabled:<7}  {rest}", line.kind)?;
        }
        Ok(())
    }
}

/// What came of a test.
#[derive(Serialize)]
struct Told {
    callback: String,
    outcome: &'static str,
    reason: Option<String>,
    status: Option<i32>,
    took_ms: u64,
    answer: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| format!(", status {status}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|why| format!(": {}", printable(why)));
        let reason = reason.unwrap_or_default();
        writeln!(f, "{} in {} ms{status}{reason}", self.outcome, self.took_ms)?;
        if !self.answer.is_empty() {
            writeln!(f, "{}", printable_lines(&self.answer))?;
        }
        Ok(())
    }
}
