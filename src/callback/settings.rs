//! `[[callback]]` of the configuration file → [`Callback`]s. All faults are told at once, by the
//! callback's name, the key and the line, and never by value.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{
    Callback, How, email, http, matching,
    matching::{Action, Match},
    notification, script,
};
use crate::secrets::CallbackSecret;

mod faults;
pub(in crate::callback) mod shown;

/// The key of the file that holds them.
pub const KEY: &str = "callback";

/// The keys that every type has.
const COMMON: [&str; 12] = [
    "name",
    "type",
    "enabled",
    "sources",
    "rules",
    "tags",
    "min_severity",
    "actions",
    "conditions",
    "repeat",
    "give_up_after",
    "at_once",
];
/// A name is no longer, in letters.
const NAME: usize = 64;
/// The most runs of a callback at once.
const AT_ONCE: usize = 64;

/// What the settings may look at.
pub struct Ground<'a> {
    /// Reads a file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// The three ways of giving a secret.
pub struct Secret {
    /// The plain key.
    pub name: &'static str,
    /// Itself.
    pub plain: Option<CallbackSecret>,
    /// The file that holds it.
    pub file: Option<String>,
    /// The variable that holds it.
    pub variable: Option<String>,
}

/// A time span with a unit: `250ms`, `5s`, `1m`, `2h`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        crate::config::limit(&text).map(Self)
    }
}

impl Ground<'_> {
    /// A secret, where it is given at all.
    ///
    /// # Errors
    /// What is wrong, without the secret.
    pub fn secret(&self, secret: Secret) -> Result<Option<CallbackSecret>, String> {
        let Secret { name, plain, file, variable } = secret;
        match (plain, file, variable) {
            (None, None, None) => Ok(None),
            (Some(plain), None, None) => Ok(Some(plain)),
            (None, Some(path), None) => {
                let fault = |what: &str| format!("{name}_file: {what}");
                let bytes = (self.read_file)(Path::new(path.trim()))
                    .map_err(|cause| fault(&format!("cannot read the file: {cause}")))?;
                let text =
                    String::from_utf8(bytes).map_err(|_| fault("the file is not UTF-8 text"))?;
                let text = text.trim_end_matches(['\n', '\r']);
                if text.is_empty() {
                    return Err(fault("the file is empty"));
                }
                Ok(Some(text.to_owned().into()))
            }
            (None, None, Some(variable)) => {
                let value = (self.variable)(&variable).filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| {
                    format!("{name}_env: the variable that it names is not set, or empty")
                })?;
                Ok(Some(value.into()))
            }
            _ => {
                Err(format!("{name}: is given twice; keep one of {name}, {name}_file, {name}_env"))
            }
        }
    }

    /// A PEM file, where one is named.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn file(&self, name: &str, path: Option<String>) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = path else { return Ok(None) };
        let bytes = (self.read_file)(Path::new(path.trim()))
            .map_err(|cause| format!("{name}: cannot read the file: {cause}"))?;
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        if is_pem { Ok(Some(bytes)) } else { Err(format!("{name}: the file holds no PEM")) }
    }
}

/// What every callback says.
#[derive(Deserialize)]
struct Common {
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    min_severity: u8,
    #[serde(default = "usual_actions")]
    actions: Vec<Action>,
    #[serde(default)]
    conditions: Vec<String>,
    #[serde(default)]
    repeat: bool,
    #[serde(default = "usual_patience")]
    give_up_after: Span,
    #[serde(default = "usual_number")]
    at_once: usize,
}

const fn yes() -> bool {
    true
}

fn usual_actions() -> Vec<Action> {
    Action::USUAL.to_vec()
}

const fn usual_patience() -> Span {
    Span(Duration::from_hours(24))
}

const fn usual_number() -> usize {
    4
}

/// Reads every callback of a configuration file; none, where it is no TOML: that is told elsewhere.
///
/// # Errors
/// Everything that is wrong.
pub fn read(text: &str, ground: &Ground) -> Result<Vec<Callback>, Vec<String>> {
    let Ok(file) = DeTable::parse(text) else { return Ok(Vec::new()) };
    let given = file.get_ref().iter().find(|(key, _)| key.get_ref() == KEY).map(|(_, value)| value);
    let Some(given) = given else { return Ok(Vec::new()) };
    let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    let Some(list) = given.get_ref().as_array() else {
        let line = line(given.span().start);
        return Err(vec![format!("{KEY}, line {line}: write [[{KEY}]] above each one")]);
    };
    let (mut callbacks, mut faults, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, one) in list.iter().enumerate() {
        let Some(table) = one.get_ref().as_table() else {
            let line = line(one.span().start);
            faults.push(format!("{KEY}, line {line}: write [[{KEY}]] above each one"));
            continue;
        };
        let name = value(table, "name").and_then(|name| name.get_ref().as_str());
        let name = name.map_or_else(|| format!("number {}", number + 1), str::to_owned);
        let place = faults::Place { text, from: one.span() };
        match callback(table, &place, ground) {
            Ok(callback) => {
                if names.insert(callback.name.clone()) {
                    callbacks.push(callback);
                } else {
                    faults.push(format!("{KEY} {name}: there is another one of this name"));
                }
            }
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| format!("{KEY} {name}{fault}")));
            }
        }
    }
    if faults.is_empty() { Ok(callbacks) } else { Err(faults) }
}

fn callback(
    table: &DeTable,
    place: &faults::Place,
    ground: &Ground,
) -> Result<Callback, Vec<String>> {
    let (common, own): (DeTable, DeTable) = table
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .partition(|(key, _)| COMMON.contains(&key.get_ref().as_ref()));
    let (common, mut faults) = faults::gather::<Common>(common, place, &[]);
    if let Some(common) = &common {
        faults.extend(check(common).into_iter().map(|fault| place.within(table, &fault)));
    }
    let kind = value(table, "type").and_then(|kind| kind.get_ref().as_str());
    let how = match kind {
        Some("http") => {
            built(own, table, place, &mut faults, |settings: http::settings::Settings| {
                settings.build(ground).map(|http| How::Http(Box::new(http)))
            })
        }
        Some("script") => {
            built(own, table, place, &mut faults, |settings: script::settings::Settings| {
                settings.build(ground).map(|script| How::Script(Box::new(script)))
            })
        }
        Some("email") => {
            built(own, table, place, &mut faults, |settings: email::settings::Settings| {
                let name = common.as_ref().map_or("", |common| common.name.as_str());
                settings.build(ground).map(|email| How::Email(Box::new(email.of(name))))
            })
        }
        Some("opensearch") => {
            built(own, table, place, &mut faults, |settings: notification::Settings| {
                settings.build().map(|channel| How::OpenSearch(Box::new(channel)))
            })
        }
        Some(_) => {
            faults.push(place.within(table, "type: must be email, http, script or opensearch"));
            None
        }
        None => {
            let what = "type: is required; email, http, script or opensearch";
            faults.push(place.within(table, what));
            None
        }
    };
    let (Some(common), Some(how), true) = (common, how, faults.is_empty()) else {
        return Err(faults);
    };
    let Common { name, enabled, repeat, give_up_after, at_once, .. } = common;
    let Common { sources, rules, tags, min_severity, actions, conditions, .. } = common;
    let matching = Match { sources, rules, tags, min_severity, actions, conditions };
    let shown = shown::shown(table);
    let give_up_after = give_up_after.0;
    Ok(Callback { name, enabled, matching, repeat, give_up_after, at_once, how, shown })
}

fn built<T: DeserializeOwned>(
    own: DeTable,
    table: &DeTable,
    place: &faults::Place,
    faults: &mut Vec<String>,
    build: impl FnOnce(T) -> Result<How, Vec<String>>,
) -> Option<How> {
    let (settings, more) = faults::gather(own, place, &COMMON);
    faults.extend(more);
    match build(settings?) {
        Ok(how) => Some(how),
        Err(more) => {
            faults.extend(more.into_iter().map(|fault| place.within(table, &fault)));
            None
        }
    }
}

fn check(common: &Common) -> Vec<String> {
    let mut faults = Vec::new();
    let mut note = |is_bad: bool, what: &str| {
        if is_bad {
            faults.push(what.to_owned());
        }
    };
    let name = common.name.as_str();
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_. ".contains(letter);
    let fits = !name.trim().is_empty() && name.trim() == name && name.chars().count() <= NAME;
    let what = "name: needs 1 to 64 letters, digits, spaces and -_. and no space at its ends";
    note(!fits || !name.chars().all(is_plain), what);
    note(common.min_severity > 100, "min_severity: must be 0 to 100");
    note(
        common.actions.is_empty(),
        "actions: names none, so it would never run; use enabled = false",
    );
    let at_once = (1..=AT_ONCE).contains(&common.at_once);
    note(!at_once, "at_once: must be 1 to 64");
    let known = matching::sources();
    for source in common.sources.iter().filter(|source| !known.contains(&source.as_str())) {
        note(true, &format!("sources: {source:?} is none; known: {}", known.join(", ")));
    }
    faults
}

fn value<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<&'a Spanned<DeValue<'i>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// Reads a table as it is.
fn deserialize<T: DeserializeOwned>(
    table: DeTable,
    place: &faults::Place,
) -> Result<T, toml::de::Error> {
    T::deserialize(Deserializer::from(Spanned::new(place.from.clone(), table)))
}

#[cfg(test)]
mod tests;
