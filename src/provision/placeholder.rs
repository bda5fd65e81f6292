//! Puts settings, secrets and ids in where a file names them, such as `${webhook_url}`. Pure but
//! for what `value_of` does.

use serde_json::Value;

/// Replaces each string (a value or a key) that is one placeholder as a whole by what `value_of`
/// gives for the words in it; after parsing, so that no setting can break the JSON.
///
/// `Ok(None)` leaves a placeholder as it is.
///
/// # Errors
/// What `value_of` says.
pub fn fill(
    json: Value,
    value_of: &impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<Value, String> {
    let filled = |text: String| match (name_of(&text), inner(&text)) {
        (Some(name), _) => value_of(name).map(|value| value.unwrap_or(text)),
        (None, Some(name)) => Err(format!(
            "${{{name}}} stands in a longer text, where it is not filled in: let it be the whole \
             text, and put the rest into what it stands for"
        )),
        (None, None) => Ok(text),
    };
    Ok(match json {
        Value::String(text) => Value::String(filled(text)?),
        Value::Array(list) => {
            list.into_iter().map(|item| fill(item, value_of)).collect::<Result<_, _>>()?
        }
        Value::Object(map) => {
            let pairs =
                map.into_iter().map(|(key, item)| Ok((filled(key)?, fill(item, value_of)?)));
            pairs.collect::<Result<_, String>>()?
        }
        other => other,
    })
}

/// The first placeholder within a longer text that somebody must have meant as one.
fn inner(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let (name, _) = after.split_once('}')?;
        let is_meant = ["webhook_url", "index_pattern", "time_field", "token"].contains(&name)
            || ["file:", "env:", "message:"].iter().any(|kind| name.starts_with(kind));
        if is_meant {
            return Some(name);
        }
        rest = after;
    }
    None
}

/// Whether any text in `json` (a value or a key) would be read as a placeholder.
pub fn has_placeholder(json: &Value) -> bool {
    match json {
        Value::String(text) => {
            name_of(text).is_some() || inner(text).is_some() || text.contains(MONITOR)
        }
        Value::Array(list) => list.iter().any(has_placeholder),
        Value::Object(map) => {
            let stands_in = |key: &str| name_of(key).is_some() || inner(key).is_some();
            map.iter().any(|(key, item)| stands_in(key) || has_placeholder(item))
        }
        _ => false,
    }
}

/// How a composite monitor's file names another monitor.
const MONITOR: &str = "${monitor:";

/// What stands in `${…}`, where a text is just that.
fn name_of(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

/// Replaces `${monitor:NAME}` anywhere in the strings of `json`, for a composite monitor's
/// conditions; gives the names that `id_of` does not know.
pub fn fill_monitors(json: &mut Value, id_of: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut unknown = Vec::new();
    match json {
        Value::String(text) => {
            let mut filled = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(MONITOR)
                && let Some((name, after)) = after.split_once('}')
            {
                filled.push_str(before);
                match id_of(name) {
                    Some(id) => filled.push_str(&id),
                    None => unknown.push(name.to_owned()),
                }
                rest = after;
            }
            filled.push_str(rest);
            *text = filled;
        }
        Value::Array(list) => {
            unknown.extend(list.iter_mut().flat_map(|item| fill_monitors(item, id_of)));
        }
        Value::Object(map) => {
            unknown.extend(map.values_mut().flat_map(|item| fill_monitors(item, id_of)));
        }
        _ => {}
    }
    unknown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_whole_string_is_a_placeholder() {
        let value_of = |name: &str| match name {
            "a" => Ok(Some("\"}".to_owned())),
            "later" => Ok(None),
            other => Err(format!("no {other}")),
        };
        let file = json!({"${a}": ["${a}", "x ${a}", "${later}"], "n": 1, "t": "${{a}}"});
        let want = json!({"\"}": ["\"}", "x ${a}", "${later}"], "n": 1, "t": "${{a}}"});
        assert_eq!(fill(file, &value_of), Ok(want));
        assert_eq!(fill(json!(["${b}"]), &value_of), Err("no b".to_owned()));
        for meant in ["Bearer ${file:secrets/x}", "${unknown} ${token}", "x${webhook_url}"] {
            let fault = fill(json!([meant]), &value_of).unwrap_err();
            assert!(fault.contains("stands in a longer text"), "{fault}");
        }
        for left in ["${unknown} x", "${", "a ${file:", "${monitor:x} y"] {
            assert_eq!(fill(json!(left), &value_of), Ok(json!(left)));
        }
    }

    #[test]
    fn monitors_are_named_anywhere_in_a_text() {
        let id_of = |name: &str| (name == "a b").then(|| "id1".to_owned());
        let mut json =
            json!(["(monitor[id=${monitor:a b}] && monitor[id=${monitor:c}])", "${monitor:"]);
        assert_eq!(fill_monitors(&mut json, &id_of), ["c"]);
        assert_eq!(json, json!(["(monitor[id=id1] && monitor[id=])", "${monitor:"]));
    }
}
