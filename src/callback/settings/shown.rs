//! A callback's configuration as people may see it, and as it is kept with each run: secrets are
//! `***`.

use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};
use url::Url;

/// Keys whose values are secrets, and headers and variables whose names say so.
const SECRET: [&str; 10] = [
    "password",
    "passwd",
    "bearer",
    "token",
    "secret",
    "key",
    "authorization",
    "cookie",
    "auth",
    "credential",
];
/// Keys that name something else, although they hold one of these words.
const PLAIN: [&str; 4] = ["key", "signature_header", "cert", "ca"];
/// Headers whose values are no secrets.
const PLAIN_HEADERS: [&str; 3] = ["accept", "content-type", "user-agent"];
/// A value of a header or a variable may be a secret from this length on, whatever its name, in bytes.
const LONG: usize = 8;
/// A longer text is cut, in bytes.
const LONGEST: usize = 2_048;

/// What a table says.
pub fn shown(table: &DeTable) -> Value {
    let mut all = Map::new();
    for (key, value) in table {
        let (key, value) = (key.get_ref().as_ref(), value.get_ref());
        let value = match (key, value) {
            ("url" | "proxy", DeValue::String(text)) => json!(address(text)),
            ("headers" | "environment", DeValue::Table(table)) => {
                let mask = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue>)| {
                    let name: &std::borrow::Cow<str> = name.get_ref();
                    let value = value.get_ref();
                    let hides = value.as_str().is_some_and(|text| hides_value(name, text));
                    let value = if hides { json!("***") } else { plain(value) };
                    (name.to_string(), value)
                };
                Value::Object(table.iter().map(mask).collect())
            }
            (key, _) if is_secret(key) && !names_a_place(key) => json!("***"),
            (_, value) => plain(value),
        };
        all.insert(key.to_owned(), value);
    }
    Value::Object(all)
}

/// Whether the name of a key, a header or a variable says that its value is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

/// Whether the value of a header or a variable is not shown: a name may say nothing about it.
pub fn hides_value(name: &str, value: &str) -> bool {
    let is_plain = || PLAIN_HEADERS.iter().any(|plain| plain.eq_ignore_ascii_case(name));
    is_secret(name) || (value.len() >= LONG && !is_plain())
}

/// Whether a key of ours says where something is, and not what.
fn names_a_place(key: &str) -> bool {
    PLAIN.contains(&key) || key.ends_with("_file") || key.ends_with("_env")
}

/// An address without its login, and without the values of its query: many services take a secret
/// there. A path that is a secret has to be given by `url_file` or `url_env`.
fn address(text: &str) -> String {
    let Ok(mut url) = Url::parse(text.trim()) else { return "***".to_owned() };
    if !url.username().is_empty() {
        url.set_username("***").ok();
    }
    if url.password().is_some() {
        url.set_password(Some("***")).ok();
    }
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    if !names.is_empty() {
        let query: Vec<_> = names.iter().map(|name| format!("{name}=***")).collect();
        url.set_query(Some(&query.join("&")));
    }
    url.to_string()
}

fn plain(value: &DeValue) -> Value {
    match value {
        DeValue::String(text) if text.len() > LONGEST => {
            json!(format!("{}…", &text[..text.floor_char_boundary(LONGEST)]))
        }
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => number
            .as_str()
            .parse::<i64>()
            .map_or_else(|_| json!(number.to_string()), |number| json!(number)),
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Boolean(truth) => json!(truth),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(list) => list.iter().map(|one| plain(one.get_ref())).collect(),
        DeValue::Table(table) => shown(table),
    }
}
