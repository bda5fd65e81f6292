//! `alertloop conditions`: which there are, what a file does, and Graylog's as files.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde::Serialize;

use super::{Misused, TableArgs, configure, show};
use crate::{
    app,
    condition::{
        Condition,
        file::{self, Defaults},
        import::{self, Imported},
        write,
    },
    finding::{self, Finding},
    provision,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop conditions list
  alertloop conditions check provisioning/conditions/*.toml
  alertloop conditions import graylog.json --to provisioning/conditions";

const LIST_EXAMPLES: &str = "\
Examples:
  alertloop conditions list
  alertloop conditions list --provisioning-dir ./provisioning --output json

They are what `alertloop provision apply` makes monitors of. The store is not asked.";

const CHECK_EXAMPLES: &str = "\
Examples:
  alertloop conditions check failed_logins.toml
  alertloop conditions check conditions/*.toml --output json

Says in one sentence what each does, or what is wrong in which line. The store is not asked:
`alertloop provision lint FILE` runs it there. Exits with 1 when a file is no condition.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  alertloop conditions import conditions.json --to provisioning/conditions
  alertloop conditions import streams.json --to ./conditions --indices 'logs-*' --time-field timestamp
  curl -su admin http://graylog:9000/api/streams | alertloop conditions import - --to ./conditions
  alertloop conditions import content-pack.json

Reads the answers of Graylog's REST API (streams, alert conditions, event definitions) and content
packs. Without --to it only says what it would write. Exits with 1 when a condition could not be
taken over; the others are written.";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show the conditions that provisioning makes monitors of
    #[command(after_help = LIST_EXAMPLES)]
    List(TableArgs),
    /// Say what condition files do, or what is wrong with them
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Condition files (TOML)
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Write Graylog's alert conditions and event definitions as condition files
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// JSON of Graylog; `-` reads it from standard input
        file: PathBuf,
        /// The folder to write to; made where it is not there
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// The indices where these messages are in OpenSearch; else those of the sessions
        #[arg(long, value_name = "PATTERN")]
        indices: Option<String>,
        /// The field with their time; else that of the sessions
        #[arg(long, value_name = "FIELD")]
        time_field: Option<String>,
        /// Replace files that are there
        #[arg(long, requires = "to")]
        overwrite: bool,
        #[command(flatten)]
        table: TableArgs,
    },
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(table) => list(table),
        Action::Check { files, table } => check(files, table),
        Action::Import { file, to, indices, time_field, overwrite, table } => {
            let own = [indices.as_deref(), time_field.as_deref()];
            import(file, to.as_deref(), own, *overwrite, table)
        }
    }
}

/// One condition, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    file: String,
    id: String,
    title: String,
    #[serde(rename = "type")]
    kind: &'static str,
    severity: u8,
    enabled: bool,
    what: String,
}

#[derive(Debug, Serialize)]
struct Rows {
    conditions: Vec<Row>,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return f.write_str(
                "There are no conditions. Write one to conditions/ of the provisioning folder, or \
                 import Graylog's: `alertloop conditions import`.",
            );
        }
        for Row { file, title, what, .. } in &self.conditions {
            writeln!(f, "{file}\n  {}: {what}", finding::printable(title))?;
        }
        Ok(())
    }
}

fn list(table: &TableArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&table.settings)?;
    let settings = app::provision_settings(&config);
    let desired = provision::desired(&settings)?;
    let row = |(file, condition): (String, Condition)| Row {
        file,
        kind: condition.test.name(),
        severity: condition.severity,
        enabled: condition.enabled,
        what: condition.explained(),
        id: condition.id,
        title: condition.title,
    };
    show(table.output, &Rows { conditions: desired.conditions.into_iter().map(row).collect() })?;
    Ok(ExitCode::SUCCESS)
}

fn check(files: &[PathBuf], table: &TableArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&table.settings)?;
    let settings = app::provision_settings(&config);
    let findings: Vec<_> =
        files.iter().map(|path| checked(path, settings.for_conditions())).collect();
    let code = finding::exit_code(&findings);
    show(table.output, &Checked { findings })?;
    Ok(ExitCode::from(code))
}

#[derive(Debug, Serialize)]
struct Checked {
    findings: Vec<Finding>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        finding::write(f, &self.findings)
    }
}

fn checked(path: &Path, defaults: Defaults<'_>) -> Finding {
    let name = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(fault) => {
            let what = format!("cannot be read: {fault}");
            return Finding::fail(&name, what, "name a file that is there");
        }
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match file::read(&text, &stem, defaults) {
        Ok(condition) => Finding::ok(&name, condition.explained()),
        Err(fault) => Finding::fail(&name, fault.to_string(), "correct it there"),
    }
}

/// What became of Graylog's conditions.
#[derive(Debug, Serialize)]
struct Report {
    conditions: Vec<Outcome>,
    #[serde(skip)]
    is_written: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failed = 0;
        for Outcome { title, file, what, error, notes } in &self.conditions {
            let title = finding::printable(title);
            match (file, what, error) {
                (Some(file), Some(what), _) => writeln!(f, "{file}\n  {title}: {what}")?,
                (_, _, error) => {
                    failed += 1;
                    let error = error.as_deref().unwrap_or_default();
                    writeln!(f, "NOT TAKEN OVER\n  {title}: {}", finding::printable(error))?;
                }
            }
            for note in notes {
                writeln!(f, "  note: {}", finding::printable(note))?;
            }
        }
        let taken = self.conditions.len() - failed;
        let verb = if self.is_written { "written" } else { "can be written: say --to DIR" };
        writeln!(f, "{taken} {verb}; {failed} not taken over.")
    }
}

fn import(
    path: &Path,
    to: Option<&Path>,
    [indices, time_field]: [Option<&str>; 2],
    overwrite: bool,
    table: &TableArgs,
) -> anyhow::Result<ExitCode> {
    let config = configure(&table.settings)?;
    let settings = app::provision_settings(&config);
    let text = given(path)?;
    let mut defaults = settings.for_conditions();
    defaults.index_pattern = indices.unwrap_or(defaults.index_pattern);
    defaults.time_field = time_field.unwrap_or(defaults.time_field);
    let read = import::read(&text, defaults);
    let all = read.map_err(|fault| anyhow!("{}: {fault}", path.display()))?;
    let named = named(all);
    if let Some(dir) = to {
        write_all(dir, &named, overwrite)?;
    }
    let conditions: Vec<_> = named.into_iter().map(|(outcome, _)| outcome).collect();
    let is_whole = conditions.iter().all(|one| one.error.is_none());
    show(table.output, &Report { conditions, is_written: to.is_some() })?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn given(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return fs::read_to_string(path)
            .map_err(|fault| Misused(format!("{}: {fault}", path.display())).into());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

/// Each outcome with the text of its file; two of a name get a number.
fn named(all: Vec<Imported>) -> Vec<(Outcome, Option<String>)> {
    let mut names: Vec<String> = Vec::new();
    let one = |Imported { title, condition, notes }| match condition {
        Ok(condition) => {
            let stem = import::file_name(&condition.title);
            let numbered = (2..).map(|number| format!("{stem}_{number}.toml"));
            let mut free = std::iter::once(format!("{stem}.toml")).chain(numbered);
            let file = free.find(|name| !names.contains(name)).unwrap_or_default();
            names.push(file.clone());
            let text = write::file(&condition, &notes);
            let what = Some(condition.explained());
            (Outcome { title, file: Some(file), what, error: None, notes }, Some(text))
        }
        Err(error) => (Outcome { title, file: None, what: None, error: Some(error), notes }, None),
    };
    all.into_iter().map(one).collect()
}

/// Writes all files, or none where one is there and may not be replaced.
fn write_all(dir: &Path, all: &[(Outcome, Option<String>)], overwrite: bool) -> anyhow::Result<()> {
    let files = all
        .iter()
        .filter_map(|(outcome, text)| Some((dir.join(outcome.file.as_ref()?), text.as_ref()?)));
    let files: Vec<_> = files.collect();
    let is_there = |path: &&PathBuf| path.symlink_metadata().is_ok();
    if let Some(path) = files.iter().map(|(path, _)| path).find(is_there)
        && !overwrite
    {
        return Err(anyhow!(
            "{} is there; nothing was written; --overwrite replaces it",
            path.display()
        ));
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (path, text) in files {
        put(&path, text, overwrite).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn put(path: &Path, text: &str, overwrite: bool) -> io::Result<()> {
    if overwrite {
        match fs::remove_file(path) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}
