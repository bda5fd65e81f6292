//! `alertloop dead-letters`: what cannot be stored is looked at, sent again, removed, written out;
//! in the same way whether a service runs or not.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Subcommand, builder::NonEmptyStringValueParser};

use self::letters::Letters;
use super::{
    Misused, Output, confirmed, may_ask,
    place::Place,
    printed::{self, Listed, put, say},
};
use crate::{
    dead_letters::{Selection, Tally},
    spool::Filter,
};

mod letters;
mod service;
mod text;

pub(super) const EXAMPLES: &str = "\
Examples:
  alertloop dead-letters list
  alertloop dead-letters list --reason mapper_parsing --output json
  alertloop dead-letters show 17
  alertloop dead-letters replay 17 18
  alertloop dead-letters replay --reason mapper_parsing
  alertloop dead-letters drop --source graylog --yes
  alertloop dead-letters export letters.ndjson

Works on the spool in the data directory. While a service uses it, the service is asked: at --url,
or where ALERTLOOP_LISTEN says; with ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD, where they
are set. Secrets in bodies are shown as ***.";

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// One line for each, oldest first
    #[command(after_help = EXAMPLES)]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// Form of what is printed
        #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Everything about one, with its body
    #[command(after_help = EXAMPLES)]
    Show {
        #[arg(value_name = "ID", help = "Its number, as `list` shows it")]
        id: i64,
        /// Form of what is printed
        #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Send them again, once their cause is gone
    #[command(after_help = EXAMPLES)]
    Replay {
        #[command(flatten)]
        picked: Picked,
        #[command(flatten)]
        place: Place,
    },
    /// Remove them for good
    #[command(after_help = EXAMPLES)]
    Drop {
        #[command(flatten)]
        picked: Picked,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Write them out as lines of JSON, with their bodies
    #[command(after_help = EXAMPLES)]
    Export {
        #[arg(value_name = "FILE", help = "A new file; standard output, if it is left out")]
        file: Option<PathBuf>,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        place: Place,
    },
}

/// Which are looked at: all of them, or some.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only those whose reason contains this, in capital or small letters
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Only those of this source; - for those whose route named none
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    source: Option<String>,
}

/// Which are meant; exactly one way of saying it.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Picked {
    #[arg(
        value_name = "ID",
        help = "Their numbers, as `list` shows them",
        value_parser = clap::value_parser!(i64).range(1..)
    )]
    ids: Vec<i64>,
    /// All that are there now
    #[arg(long)]
    all: bool,
    /// Those whose reason contains this, in capital or small letters
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Those of this source; - for those whose route named none
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    source: Option<String>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter { reason: self.reason.clone(), source: self.source.clone() }
    }
}

impl Picked {
    fn selection(&self) -> Selection {
        match (&self.reason, &self.source) {
            (Some(text), _) => Selection::Reason(text.clone()),
            (None, Some(name)) => Selection::Source(name.clone()),
            (None, None) if self.all => Selection::All,
            (None, None) => {
                let mut ids = self.ids.clone();
                ids.sort_unstable();
                ids.dedup();
                Selection::Ids(ids)
            }
        }
    }
}

/// Does it.
pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    printed::ended(act(action).await)
}

async fn act(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::List { filter, output, place } => {
            let letters = Letters::open(place)?;
            let outcome = list(&letters, &filter.filter(), *output).await;
            letters.close().await;
            outcome
        }
        Action::Show { id, output, place } => {
            let letters = Letters::open(place)?;
            let found = letters.show(*id).await;
            letters.close().await;
            let whole = found?.with_context(|| format!("no dead letter {id}"))?;
            printed::show(*output, &whole, text::whole)
        }
        Action::Replay { picked, place } => {
            let selection = picked.selection();
            let letters = Letters::open(place)?;
            let outcome = letters.replay(&selection).await;
            let waits = letters.is_file();
            letters.close().await;
            replayed(&selection, outcome?, waits)
        }
        Action::Drop { picked, yes, place } => {
            let selection = picked.selection();
            if !yes && !may_ask() {
                let what = "drop removes dead letters for good, and there is no terminal to ask on: say --yes";
                return Err(Misused(what.to_owned()).into());
            }
            let letters = Letters::open(place)?;
            let outcome = discard(&letters, &selection, *yes).await;
            letters.close().await;
            outcome
        }
        Action::Export { file, filter, place } => {
            let letters = Letters::open(place)?;
            let outcome = match file {
                Some(file) => export_to(&letters, &filter.filter(), file).await,
                None => letters.export(&filter.filter(), &mut io::stdout()).await,
            };
            letters.close().await;
            outcome
        }
    }
}

async fn list(letters: &Letters, filter: &Filter, output: Output) -> anyhow::Result<()> {
    let mut listed = Listed::new(output, text::HEADING, text::line);
    let mut after = Some(0);
    while let Some(from) = after {
        let page = letters.list(filter, from).await?;
        page.items.iter().try_for_each(|item| listed.add(item))?;
        after = page.next;
    }
    listed.end("no dead letters")
}

fn replayed(selection: &Selection, tally: Tally, waits: bool) -> anyhow::Result<()> {
    put(&mut io::stdout(), format!("replayed {}\n", tally.done).as_bytes())?;
    if waits && tally.done > 0 {
        say("no service uses this spool now; they are stored when `alertloop serve` runs");
    }
    if tally.left > 0 {
        say(&format!(
            "left {}: only the head of the body is there; raise ALERTLOOP_BODY_LIMIT, let it be sent again, and drop this one",
            tally.left
        ));
    }
    all_were_there(selection, tally.done + tally.left)
}

async fn discard(letters: &Letters, selection: &Selection, yes: bool) -> anyhow::Result<()> {
    if !yes {
        let count = letters.count(selection).await?;
        let s = if count == 1 { "" } else { "s" };
        let question = format!("Drop {count} dead letter{s} ({selection}) for good?");
        ensure!(count == 0 || confirmed(&question)?, "nothing was dropped");
    }
    let dropped = letters.discard(selection).await?;
    put(&mut io::stdout(), format!("dropped {dropped}\n").as_bytes())?;
    all_were_there(selection, dropped)
}

/// A number that names nothing is a mistake; a reason or a source that nothing has is not.
fn all_were_there(selection: &Selection, found: u64) -> anyhow::Result<()> {
    if let Selection::Ids(ids) = selection {
        let missing = u64::try_from(ids.len())?.saturating_sub(found);
        ensure!(missing == 0, "{missing} of {} numbers name no dead letter", ids.len());
    }
    Ok(())
}

/// Writes a new file that nobody else can read; a part of one is removed.
async fn export_to(letters: &Letters, filter: &Filter, file: &Path) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let name = file.display();
    let mut out = match made {
        Ok(out) => out,
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{name} is there already; remove it, or name another file")
        }
        Err(fault) => return Err(fault).with_context(|| format!("cannot make {name}")),
    };
    let mut outcome = letters.export(filter, &mut out).await;
    if outcome.is_ok() {
        outcome = out.sync_all().with_context(|| format!("cannot write {name}"));
    }
    if outcome.is_err() {
        fs::remove_file(file).ok();
    }
    outcome
}
