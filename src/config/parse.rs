//! One text to one checked value. A fault never repeats the text.

use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Compat, StoreKind, TemplateMode, units};
use crate::{
    opensearch::engine::Choice, reconcile::Monitors, secrets::Login, telemetry::LogFormat,
};

pub(super) fn store_url(text: &str) -> Result<(Url, Option<Login>), &'static str> {
    const LOGIN: &str = "the login in the address cannot be read: percent-encode it";
    let mut url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must hold no query and no fragment");
    }
    let user = percent_decoded(url.username()).ok_or(LOGIN)?;
    let password = url.password().map(|text| percent_decoded(text).ok_or(LOGIN)).transpose()?;
    url.set_password(None).map_err(|()| LOGIN)?;
    url.set_username("").map_err(|()| LOGIN)?;
    if !url.path().ends_with('/') {
        let folder = format!("{}/", url.path()); // a path is appended to a folder alone
        url.set_path(&folder);
    }
    match (user, password) {
        (user, None) if user.is_empty() => Ok((url, None)),
        (user, Some(password)) if !user.is_empty() => {
            Ok((url, Some(Login { user, password: password.into() })))
        }
        _ => Err("the login in the address needs both a name and a password"),
    }
}

pub(super) fn webhook_url(text: &str) -> Result<Url, &'static str> {
    let url = web_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no login: the channel presents the token");
    }
    Ok(url)
}

/// Its path is a folder's, below which links are made.
pub(super) fn graylog_url(text: &str) -> Result<Url, &'static str> {
    match store_url(text)? {
        (url, None) => Ok(url),
        (_, Some(_)) => Err("must hold no login: it stands in every record"),
    }
}

/// The name of a query parameter.
pub(super) fn parameter(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() > 64 || !text.bytes().all(plain) {
        return Err("must be a plain name, like token or api_key");
    }
    Ok(text.to_owned())
}

fn web_url(text: &str) -> Result<Url, &'static str> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err("needs an address that starts with http:// or https://"),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        let code = code.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(code)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The rules for an index name, with one `*` at the end.
pub(super) fn pattern(text: &str) -> Result<String, &'static str> {
    let Some(stem) = text.strip_suffix('*') else {
        return Err("must end in *, like arkime_sessions3-*");
    };
    if stem.contains(['*', '?', ',']) {
        return Err("must hold no wildcard and no comma but the * at its end");
    }
    if stem.is_empty() || stem.starts_with(['_', '-', '+', '.']) {
        return Err("must start with a letter or a digit");
    }
    if stem.chars().any(char::is_uppercase) {
        return Err("must hold no upper-case letter: the store refuses such an index");
    }
    if stem.contains(['\\', '/', '<', '>', '|', '"', '#', ':'])
        || stem.contains(char::is_whitespace)
    {
        return Err("holds a character that the store refuses in the name of an index");
    }
    Ok(text.to_owned())
}

/// The rules for an index name, for what such names begin with.
pub(super) fn index_prefix(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.bytes().all(|byte| is_plain(byte) || b"-_.".contains(&byte)) {
        return Err(
            "must be lower-case letters, digits, -, _ and .: names of indices begin with it",
        );
    }
    if !text.bytes().next().is_some_and(is_plain) {
        return Err("must start with a lower-case letter or a digit");
    }
    if text.len() > 200 {
        return Err("must have at most 200 characters");
    }
    Ok(text.to_owned())
}

pub(super) fn engine(text: &str) -> Result<Choice, &'static str> {
    match text {
        "auto" => Ok(Choice::Auto),
        "plugin" => Ok(Choice::Plugin),
        "builtin" => Ok(Choice::Builtin),
        _ => Err("must be auto, plugin or builtin"),
    }
}

pub(super) fn api_prefix(text: &str) -> Result<String, &'static str> {
    let prefix = text.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
    if !prefix.chars().all(plain) || prefix.contains("//") {
        return Err("must be a plain path, like mapi");
    }
    Ok(prefix.to_owned())
}

pub(super) fn body_limit(text: &str) -> Result<usize, &'static str> {
    units::bytes(text).and_then(|bytes| usize::try_from(bytes).map_err(|_| "is too large"))
}

pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("needs a whole number, 1 to 1000000"),
    }
}

pub(super) fn days(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(days @ 0..=3_650) => Ok(days),
        _ => Err("needs a whole number of days, at most 3650, like 30; 0 for never"),
    }
}

pub(super) fn store_kind(text: &str) -> Result<StoreKind, &'static str> {
    match text {
        "opensearch-local" => Ok(StoreKind::OpenSearchLocal),
        "opensearch-remote" => Ok(StoreKind::OpenSearchRemote),
        "elasticsearch-remote" => Ok(StoreKind::ElasticsearchRemote),
        _ => Err("must be opensearch-local, opensearch-remote or elasticsearch-remote"),
    }
}

pub(super) fn template(text: &str) -> Result<TemplateMode, &'static str> {
    match text {
        "auto" => Ok(TemplateMode::Auto),
        "malcolm" => Ok(TemplateMode::Malcolm),
        "none" => Ok(TemplateMode::None),
        _ => Err("must be auto, malcolm or none"),
    }
}

pub(super) fn monitors(text: &str) -> Result<Monitors, &'static str> {
    match text {
        "ours" => Ok(Monitors::Ours),
        "all" => Ok(Monitors::All),
        _ => Err("must be ours or all"),
    }
}

pub(super) fn compat(text: &str) -> Result<Option<Compat>, &'static str> {
    match text {
        "none" => Ok(None),
        "malcolm-26.01" => Ok(Some(Compat::Malcolm2601)),
        "malcolm-26.08" => Ok(Some(Compat::Malcolm2608)),
        _ => Err("must be none, malcolm-26.01 or malcolm-26.08"),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("must be auto, json or pretty"),
    }
}

/// A misspelt level would be taken for the name of a module, and silence everything else.
pub(super) fn log_filter(text: &str) -> Result<String, &'static str> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let mut directives = text.split(',').map(str::trim);
    let plain = directives.all(|directive| directive.contains(['=', '[']) || is_level(directive));
    if !plain || EnvFilter::try_new(text).is_err() {
        return Err("needs a level (error, warn, info, debug, trace, off) or a filter like \
                    info,alertloop=debug");
    }
    Ok(text.to_owned())
}
