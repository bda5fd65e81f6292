//! Whether a template in minijinja's own syntax names only what there is. Pure.
//!
//! Two looks: at all names that it uses, wherever they stand, which minijinja itself lists; and at what
//! the items of its loops are asked for, by running it on things that note what they do not have. For
//! that run every branch is opened, so that what stands in an `else` is seen as well.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::{
    Environment, Value,
    value::{Enumerator, Object, ObjectRepr, Value as Any},
};

use super::{
    names::{Kind, ROOT},
    template::{self, Escape, Fault},
};

mod branches;

/// The name of the one template of a check.
const NAME: &str = "check";
/// Steps of minijinja that a check may take.
const FUEL: u64 = 100_000;
/// How far down a map of anything goes.
const DEEPEST: usize = 4;

/// Finds names that are not known.
///
/// # Errors
/// The first of them, or bad syntax.
pub fn names(text: &str) -> Result<(), Fault> {
    let environment = template::environment(Escape::None);
    let template = environment.template_from_str(text).map_err(|fault| Fault::of(&fault))?;
    let mut used: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    used.sort();
    let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
    for path in used {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        if globals.contains(&first) && ROOT.below(first).is_none() {
            continue;
        }
        walk(first, parts).map_err(|what| Fault::at(line_of(text, &path), what))?;
    }
    for is_true in [true, false] {
        in_loops(text, is_true)?;
    }
    Ok(())
}

fn walk<'a>(first: &str, rest: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut kind = ROOT.below(first).ok_or_else(|| ROOT.unknown("", first))?;
    let mut path = first.to_owned();
    for name in rest {
        // An index, as in `backlog[0]`, or a method of a list or text, as minijinja has some.
        if matches!(kind, Kind::List(_)) && name.parse::<i64>().is_ok() {
            let Kind::List(item) = kind else { continue };
            kind = item;
            continue;
        }
        kind = kind.below(name).ok_or_else(|| kind.unknown(&path, name))?;
        path = format!("{path}.{name}");
    }
    Ok(())
}

/// The line where the last part of a path first stands.
fn line_of(text: &str, path: &str) -> usize {
    let name = path.rsplit('.').next().unwrap_or(path);
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    let stands = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            !line[..at].ends_with(is_letter) && !line[at + name.len()..].starts_with(is_letter)
        })
    };
    text.lines().position(stands).map_or(0, |at| at + 1)
}

fn in_loops(text: &str, is_true: bool) -> Result<(), Fault> {
    let mut environment: Environment<'static> = template::environment(Escape::None);
    environment.set_fuel(Some(FUEL));
    if environment.add_template_owned(NAME, branches::open(text)).is_err() {
        // The text itself was read; its opened form is ours, and not worth an error.
        return Ok(());
    }
    let Ok(template) = environment.get_template(NAME) else { return Ok(()) };
    let noted = Arc::new(Mutex::new(Vec::new()));
    let values = ROOT.names().into_iter().filter_map(|name| {
        let kind = ROOT.below(name)?;
        Some((name, Probe { kind, path: name.to_owned(), is_true, noted: noted.clone() }.value()))
    });
    // That a filter cannot work on what stands for a value says nothing.
    drop(template.render(Value::from_pairs(values)));
    let noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    match noted.first() {
        Some((path, what)) => Err(Fault::at(line_of(text, path), what.as_str())),
        None => Ok(()),
    }
}

/// Stands for a value, and notes what it is asked for and does not have.
#[derive(Debug)]
struct Probe {
    kind: &'static Kind,
    path: String,
    is_true: bool,
    noted: Arc<Mutex<Vec<(String, String)>>>,
}

impl Probe {
    fn value(self) -> Any {
        match self.kind {
            Kind::Text if self.is_true => Any::from("text"),
            Kind::Time if self.is_true => Any::from("2026-11-07T00:00:00.000Z"),
            Kind::Number => Any::from(i64::from(self.is_true)),
            Kind::Flag => Any::from(self.is_true),
            Kind::Text | Kind::Time => Any::from(""),
            Kind::Free | Kind::Map | Kind::List(_) | Kind::Thing(_) => Any::from_object(self),
        }
    }

    fn below(&self, kind: &'static Kind, path: String) -> Any {
        Self { kind, path, is_true: self.is_true, noted: self.noted.clone() }.value()
    }
}

impl Object for Probe {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.kind {
            Kind::List(_) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Any) -> Option<Any> {
        if let Kind::List(item) = self.kind {
            return key.as_i64().map(|_| self.below(item, format!("{}[…]", self.path)));
        }
        let name = key.as_str()?;
        let Some(kind) = self.kind.below(name) else {
            let what = self.kind.unknown(&self.path, name);
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push((format!("{}.{name}", self.path), what));
            return Some(Any::UNDEFINED);
        };
        Some(self.below(kind, format!("{}.{name}", self.path)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.kind {
            Kind::List(_) => Enumerator::Seq(1),
            // It is the same all the way down, and a filter may want to print it.
            Kind::Map | Kind::Free if self.path.matches('.').count() > DEEPEST => Enumerator::Empty,
            Kind::Map | Kind::Free => Enumerator::Str(&["key"]),
            kind => Enumerator::Values(kind.names().into_iter().map(Any::from).collect()),
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.is_true
    }
}

/// A template of JMTE that prints `{{ stream.title }}` as it is was meant to be something else.
///
/// # Errors
/// The line of a known name between braces of the other syntax.
pub fn is_not_mixed(text: &str) -> Result<(), Fault> {
    for (at, _) in text.match_indices("{{").chain(text.match_indices("{%")) {
        let inner = text[at + 2..].trim_start_matches('-').trim_start();
        let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
        let word = &inner[..end];
        let is_block = text[at..].starts_with("{%") && ["if", "for", "set"].contains(&word);
        if is_block || (text[at..].starts_with("{{") && ROOT.below(word).is_some()) {
            let line = 1 + text[..at].matches('\n').count();
            let what = "`${…}` of JMTE and `{{ … }}` in one template; write all of it in one of them \
                        (a first line {# jinja #} makes `${` plain text)";
            return Err(Fault::at(line, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
