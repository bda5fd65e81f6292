//! How a value is printed. Pure.

use std::borrow::Cow;

use minijinja::{Value, value::ValueKind};

use crate::callback::model::Printed;

/// As our own syntax prints it: nothing for what is not there, JSON for lists and maps.
pub fn of(value: &Value) -> Cow<'_, str> {
    if let Some(text) = value.as_str() {
        return text.into();
    }
    if let Some(printed) = Printed::of(value) {
        return printed.into();
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => "".into(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            serde_json::to_string(value).unwrap_or_default().into()
        }
        _ => value.to_string().into(),
    }
}

/// As JMTE prints it: of a list or map with one value that value, of an empty one nothing.
pub fn of_java(value: &Value) -> String {
    let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    let only = || value.try_iter().ok().and_then(|mut values| values.next());
    match value.len() {
        _ if Printed::of(value).is_some() => of(value).into_owned(),
        Some(0) if is_list || value.kind() == ValueKind::Map => String::new(),
        Some(1) if is_list => only().as_ref().map(java).unwrap_or_default(),
        Some(1) if value.kind() == ValueKind::Map => {
            let value = only().and_then(|key| value.get_item(&key).ok());
            value.as_ref().map(java).unwrap_or_default()
        }
        _ => java(value),
    }
}

/// As Java prints it: a list as `[a, b]`, a map as `{k=v}`.
fn java(value: &Value) -> String {
    if Printed::of(value).is_some() {
        return of(value).into_owned();
    }
    let items = || value.try_iter().into_iter().flatten();
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<String> = items().map(|item| java(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Map => {
            let pair = |key: Value| {
                let value = value.get_item(&key).map(|value| java(&value)).unwrap_or_default();
                format!("{}={value}", of(&key))
            };
            let pairs: Vec<String> = items().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => of(value).into_owned(),
    }
}

/// The text as it stands between the quotes of a JSON string.
pub fn inside_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
