//! Graylog's alert conditions and event definitions as our conditions. Pure: JSON in, conditions out,
//! each with what could not be carried over.
//!
//! Known forms: `{"conditions": […]}` and `{"streams": […]}` of the REST API of Graylog 1 to 3, a
//! stream with `alert_conditions`, `{"event_definitions": […]}` and a single definition of today's,
//! and content packs (`{"streams": […]}` of version 0, `{"entities": […]}` of version 1, whose values
//! are `{"@type": "string", "@value": "x"}`). Source: `LegacyAlertConditionMigrator.java`,
//! `AggregationEventProcessorConfig.java`, `StreamEntity.java` and `EventDefinitionEntity.java` of
//! Graylog.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Condition,
    file::{self, Defaults},
    write,
};

mod definition;
mod legacy;
mod stream;

use stream::Streams;

/// What became of one condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What Graylog calls it.
    pub title: String,
    /// The condition, or why there is none.
    pub condition: Result<Condition, String>,
    /// What could not be carried over, or is to be looked at.
    pub notes: Vec<String>,
}

/// Reads everything that is a condition.
///
/// # Errors
/// The text is no JSON, or of none of the known forms.
pub fn read(text: &str, defaults: Defaults<'_>) -> Result<Vec<Imported>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: Value = serde_json::from_str(text).map_err(|fault| format!("not JSON: {fault}"))?;
    let json = plain(json);
    let streams = Streams::of(&json, defaults);
    let mut all = Vec::new();
    if !collect(&json, &streams, &mut all) {
        let what = "no conditions of Graylog: there is none of `conditions`, `alert_conditions`, \
                    `streams`, `event_definitions` and `entities` in it";
        return Err(what.to_owned());
    }
    only_one_of_a_name(&mut all);
    for one in &mut all {
        only_what_can_be_read(one, defaults);
    }
    Ok(all)
}

/// Whether a known form was found.
fn collect(json: &Value, streams: &Streams<'_>, all: &mut Vec<Imported>) -> bool {
    let list = |key: &str| json.get(key).and_then(Value::as_array);
    let mut is_known = false;
    for condition in list("conditions").into_iter().flatten() {
        all.push(legacy::read(condition, &streams.unknown()));
    }
    is_known |= list("conditions").is_some();
    if let Some(conditions) = list("alert_conditions") {
        is_known = true;
        let stream = streams.read(json);
        all.extend(conditions.iter().map(|condition| legacy::read(condition, &stream)));
    }
    for stream in list("streams").into_iter().flatten().filter(|stream| stream.is_object()) {
        is_known = true;
        collect(stream, streams, all);
    }
    if let Some(definitions) = list("event_definitions") {
        is_known = true;
        all.extend(definitions.iter().map(|one| definition::read(one, streams)));
    }
    if json.pointer("/config/type").is_some() && json.get("title").is_some() {
        is_known = true;
        all.push(definition::read(json, streams));
    }
    for entity in list("entities").into_iter().flatten() {
        is_known = true;
        let data = entity.get("data").unwrap_or(&Value::Null);
        match entity.pointer("/type/name").and_then(Value::as_str) {
            Some("event_definition") => {
                let mut data = data.clone();
                if let (Some(data), Some(id)) = (data.as_object_mut(), entity.get("id")) {
                    data.entry("id").or_insert_with(|| id.clone());
                }
                all.push(definition::read(&data, streams));
            }
            Some("stream") => drop(collect(data, streams, all)),
            _ => {}
        }
    }
    is_known
}

/// Without the types that content packs write beside their values.
fn plain(json: Value) -> Value {
    match json {
        Value::Object(mut map) => match map.remove("@value") {
            Some(value) => value,
            None => Value::Object(map.into_iter().map(|(key, one)| (key, plain(one))).collect()),
        },
        Value::Array(list) => Value::Array(list.into_iter().map(plain).collect()),
        other => other,
    }
}

/// A monitor is known by its name, so a second one of the same gets a number.
fn only_one_of_a_name(all: &mut [Imported]) {
    let conditions = || all.iter().filter_map(|one| one.condition.as_ref().ok());
    let mut titles: Names = conditions().map(|one| (one.title.clone(), false)).collect();
    let mut ids: Names = conditions().map(|one| (one.id.clone(), false)).collect();
    for one in all {
        let Ok(condition) = &mut one.condition else { continue };
        if let Some(title) =
            another(&mut titles, &condition.title, |n, name| format!("{name} ({n})"))
        {
            one.notes.push(format!("another has its title: it is called {title:?} now"));
            condition.title = title;
        }
        if let Some(id) = another(&mut ids, &condition.id, |n, name| format!("{name}-{n}")) {
            condition.id = id;
        }
    }
}

/// All names that there are, and whether somebody has taken them.
type Names = BTreeMap<String, bool>;

/// A name that nobody has, where somebody has taken this one already.
fn another(all: &mut Names, name: &str, numbered: fn(u32, &str) -> String) -> Option<String> {
    let is_taken = all.insert(name.to_owned(), true) == Some(true);
    let mut names = (2..).map(|number| numbered(number, name));
    let name = is_taken.then(|| names.find(|name| !all.contains_key(name)))??;
    all.insert(name.clone(), true);
    Some(name)
}

/// A file that is written has to be read too: one that is not would keep provisioning from its work.
fn only_what_can_be_read(one: &mut Imported, defaults: Defaults<'_>) {
    let Ok(condition) = &one.condition else { return };
    let text = write::file(condition, &one.notes);
    if let Err(fault) = file::read(&text, &condition.id, defaults) {
        one.condition = Err(format!("it makes no condition file: {}", fault.what));
    }
}

/// A text that is there and not empty.
fn text(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number, which Graylog's older forms write as text too.
fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    match map.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A whole number that is not negative.
fn whole(map: &Map<String, Value>, key: &str) -> Option<u32> {
    let number = number(map, key).filter(|number| (0.0..=f64::from(u32::MAX)).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Some(number as u32)
}

/// A name for a file: small letters, digits and underscores.
#[must_use]
pub fn file_name(title: &str) -> String {
    let mut name = String::new();
    for letter in title.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_matches('_');
    let name = &name[..name.floor_char_boundary(80)];
    if name.is_empty() { "condition".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
