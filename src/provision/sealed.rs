//! What is secret: in a channel header values and addresses (a Slack address is a password), and
//! wherever it stands what a file takes from the environment or from another file. They are compared
//! without being kept, and never shown. Pure.

use std::{collections::BTreeSet, fmt};

use serde_json::{Value, json};
use url::Url;

use super::{diff::Difference, object::Object};

const REDACTED: &str = "[REDACTED]";
/// Headers that say nothing secret.
const OPEN_HEADERS: [&str; 4] = ["accept", "content-type", "user-agent", "accept-encoding"];

/// Begins what stands in place of a secret.
const SEAL: &str = "sealed:";
/// Where a secret is shorter, hiding it in a sentence would hide words, too.
const SHORTEST: usize = 4;

/// The texts that a file takes from the environment or from other files; never printed.
#[derive(Clone, Default)]
pub struct Hidden(BTreeSet<String>);

impl Hidden {
    /// Takes up one more; an empty one hides nothing.
    pub fn add(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.insert(text.to_owned());
        }
    }

    /// Whether one of them is somewhere in `value`.
    fn is_in(&self, value: &Value) -> bool {
        has_text(value, &|text| self.0.contains(text))
    }

    /// A sentence of the store about `body` without the secrets that it quotes.
    #[must_use]
    pub fn hide(&self, object: Object, mut body: Value, mut sentence: String) -> String {
        let mut secrets = self.0.clone();
        if object == Object::Channel {
            for_each_secret(&mut body, &mut |_, text| {
                secrets.insert(text.clone());
            });
        }
        // The longest first: one may be a part of another.
        let mut secrets: Vec<_> = secrets.into_iter().filter(|one| one.len() >= SHORTEST).collect();
        secrets.sort_by_key(|one| std::cmp::Reverse(one.len()));
        for secret in secrets {
            sentence = sentence.replace(&secret, REDACTED);
        }
        sentence
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// An object's body with a keyed hash in place of each secret: equal secrets under equal salts stay
/// equal.
#[must_use]
pub fn sealed(object: Object, body: Value, salt: &str, hidden: &Hidden) -> Value {
    let (mut body, key) = sealed_channel(object, body, salt);
    seal_where(&mut body, &key, &|text| hidden.0.contains(text));
    body
}

/// The body with a seal wherever `before`, which is sealed, has one: what is secret is known from
/// there, also after the secret itself has changed.
#[must_use]
pub fn sealed_like(before: &Value, object: Object, body: Value, salt: &str) -> Value {
    let (mut body, key) = sealed_channel(object, body, salt);
    seal_like(before, &mut body, &key);
    body
}

fn sealed_channel(object: Object, mut body: Value, salt: &str) -> (Value, [u8; 32]) {
    let key = blake3::derive_key("alertloop provisioning seal", salt.as_bytes());
    if object == Object::Channel {
        for_each_secret(&mut body, &mut |_, text| seal(text, &key));
    }
    (body, key)
}

fn seal(text: &mut String, key: &[u8; 32]) {
    let hash = blake3::keyed_hash(key, text.as_bytes()).to_hex();
    *text = format!("{SEAL}{}", &hash[..32]);
}

fn seal_where(value: &mut Value, key: &[u8; 32], is_secret: &impl Fn(&str) -> bool) {
    match value {
        Value::String(text) if is_secret(text) => seal(text, key),
        Value::Array(items) => items.iter_mut().for_each(|item| seal_where(item, key, is_secret)),
        Value::Object(map) => map.values_mut().for_each(|item| seal_where(item, key, is_secret)),
        _ => {}
    }
}

fn seal_like(before: &Value, value: &mut Value, key: &[u8; 32]) {
    match (before, value) {
        (Value::String(before), Value::String(text))
            if before.starts_with(SEAL) && !text.starts_with(SEAL) =>
        {
            seal(text, key);
        }
        (Value::Array(before), Value::Array(items)) => {
            before.iter().zip(items).for_each(|(before, item)| seal_like(before, item, key));
        }
        (Value::Object(before), Value::Object(map)) => {
            for (name, before) in before {
                if let Some(item) = map.get_mut(name) {
                    seal_like(before, item, key);
                }
            }
        }
        _ => {}
    }
}

fn has_text(value: &Value, is_one: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_one(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, is_one)),
        Value::Object(map) => map.values().any(|item| has_text(item, is_one)),
        _ => false,
    }
}

/// A hash that tells whether two objects under one salt are the same, secrets included.
#[must_use]
pub fn digest(canonical: &Value, salt: &str) -> String {
    let key = blake3::derive_key("alertloop provisioning digest", salt.as_bytes());
    blake3::keyed_hash(&key, canonical.to_string().as_bytes()).to_hex().to_string()
}

/// Calls `f` with the path and the text of each secret in a channel's body.
pub fn for_each_secret(body: &mut Value, f: &mut impl FnMut(&str, &mut String)) {
    for (name, part) in body.as_object_mut().into_iter().flatten() {
        let Some(part) = part.as_object_mut() else { continue };
        for (key, value) in part {
            match value {
                Value::String(text) if key == "url" => f(&format!("{name}.url"), text),
                Value::Object(headers) if key == "header_params" => {
                    for (header, value) in headers {
                        // The store makes texts of numbers.
                        if value.is_number() || value.is_boolean() {
                            *value = json!(value.to_string());
                        }
                        if let Value::String(text) = value
                            && !is_open(header)
                        {
                            f(&format!("{name}.header_params.{header}"), text);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether a header's value may be seen.
#[must_use]
pub fn is_open(header: &str) -> bool {
    OPEN_HEADERS.iter().any(|open| open.eq_ignore_ascii_case(header))
}

/// The differences as lines for people, without what is secret.
#[must_use]
pub fn lines(object: Object, differences: Vec<Difference>, hidden: &Hidden) -> Vec<String> {
    let line = |mut one: Difference| {
        let is_hidden = hidden.is_in(&one.live) || hidden.is_in(&one.desired);
        if object == Object::Channel {
            let path = one.path.clone();
            for side in [&mut one.live, &mut one.desired] {
                hide(&path, side);
            }
        }
        // On the other side stands the secret that was there before.
        let is_sealed = |side: &Value| has_text(side, &|text| text.starts_with(SEAL));
        if is_hidden || is_sealed(&one.live) || is_sealed(&one.desired) {
            for side in [&mut one.live, &mut one.desired] {
                if !side.is_null() {
                    *side = json!(REDACTED);
                }
            }
        }
        one.to_string()
    };
    differences.into_iter().map(line).collect()
}

/// Puts what may be seen in place of a value at a path of a channel's body.
fn hide(path: &str, value: &mut Value) {
    match value {
        Value::Null => {}
        Value::String(text) if is_address(path) => *value = json!(shown_at(path, text)),
        Value::Object(map) => {
            for (key, value) in map {
                hide(&format!("{path}.{key}"), value);
            }
        }
        value => {
            let header = path.split_once(".header_params.").map(|(_, header)| header);
            if header.is_some_and(|header| !is_open(header)) {
                *value = json!(REDACTED);
            }
        }
    }
}

fn is_address(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, key)| key == "url")
}

fn shown_at(path: &str, url: &str) -> String {
    if url.starts_with(SEAL) {
        return REDACTED.to_owned();
    }
    // Of chat services the path is the secret; of a webhook it is what tells where it goes.
    match Url::parse(url) {
        Ok(parsed) if !path.starts_with("webhook.") => {
            format!("{}/{REDACTED}", parsed.origin().ascii_serialization())
        }
        _ => shown(url),
    }
}

/// An address without what may be secret in it: login, query, and what looks like a token in its
/// path, as in those of Discord and Mattermost.
#[must_use]
pub fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "[not a URL]".to_owned() };
    let shown = url.path().split('/').map(|part| if is_token(part) { REDACTED } else { part });
    let path = shown.collect::<Vec<_>>().join("/");
    url.set_path(&path);
    if url.query().is_some() {
        url.set_query(Some(REDACTED));
    }
    // An address that cannot have a login has none to hide.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_fragment(None);
    url.into()
}

fn is_token(part: &str) -> bool {
    const SHORTEST_TOKEN: usize = 20;
    part.len() >= SHORTEST_TOKEN && part.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::diff::diff;

    fn slack(token: &str) -> Value {
        json!({"config_type": "slack",
            "slack": {"url": format!("https://hooks.slack.com/services/{token}")}})
    }

    #[test]
    fn a_sealed_secret_is_gone_and_can_still_be_compared() {
        let none = Hidden::default();
        let seal = |token, salt| sealed(Object::Channel, slack(token), salt, &none);
        assert!(!seal("hidden", "a").to_string().contains("hidden"));
        assert_eq!(seal("hidden", "a"), seal("hidden", "a"));
        assert_ne!(seal("hidden", "a"), seal("other", "a"));
        assert_ne!(seal("hidden", "a"), seal("hidden", "b"));
        let webhook = json!({"webhook": {"url": "http://a/?k=hidden",
            "header_params": {"X-Key": "hidden", "X-Pin": 4711, "Content-Type": "text/plain"}}});
        let sealed = sealed(Object::Channel, webhook, "a", &none).to_string();
        assert!(!sealed.contains("hidden") && !sealed.contains("4711"), "{sealed}");
        assert!(sealed.contains("text/plain"), "{sealed}");
    }

    #[test]
    fn what_a_file_takes_from_elsewhere_is_secret_wherever_it_stands() {
        let monitor = |key: &str, size: u32| json!({"a": [{"b": key}, "open"], "size": size});
        let mut hidden = Hidden::default();
        hidden.add("");
        hidden.add("hidden");
        let before = sealed(Object::Monitor, monitor("hidden", 1), "a", &hidden);
        assert!(!before.to_string().contains("hidden") && before.to_string().contains("open"));
        // Another secret in the file by now: what is live is still known.
        let like = |body| sealed_like(&before, Object::Monitor, body, "a");
        assert_eq!(like(monitor("hidden", 1)), before);
        assert_ne!(like(monitor("other", 1)), before);
        for (one, other, want) in [
            (before.clone(), like(monitor("theirs", 2)), "a.0.b: "),
            (monitor("hidden", 1), monitor("theirs", 2), "a.0.b: "),
            (monitor("hidden", 1), json!({"a": ["theirs"]}), "a: "),
        ] {
            let text = lines(Object::Monitor, diff(&one, &other), &hidden).join("\n");
            assert!(!text.contains("hidden") && !text.contains("theirs"), "{text}");
            assert!(text.contains(want), "{want} in {text}");
        }
        assert!(!format!("{hidden:?}").contains("hidden"));
    }

    #[test]
    fn a_sentence_of_the_store_is_shown_without_the_secrets_that_it_quotes() {
        let mut hidden = Hidden::default();
        hidden.add("from-a-file");
        let body = json!({"webhook": {"url": "from-a-file/and-more"}, "name": "n"});
        let sentence = "no protocol: from-a-file/and-more, or from-a-file, of n".to_owned();
        assert_eq!(
            hidden.hide(Object::Channel, body, sentence),
            "no protocol: [REDACTED], or [REDACTED], of n"
        );
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret_in_it() {
        for (url, want) in [
            ("http://alertloop:5000/mapi/alert", "http://alertloop:5000/mapi/alert"),
            ("http://u:p@h/a?k=v#f", "http://h/a?[REDACTED]"),
            (
                "https://d/api/webhooks/7/Zm9vYmFyYmF6MTIzNDU2Nzg5",
                "https://d/api/webhooks/7/[REDACTED]",
            ),
            ("https://m/hooks/xo3kq8w1tbyxpmd5z9ra7cfsue/", "https://m/hooks/[REDACTED]/"),
            ("https://h/a-long-name-without-digits/", "https://h/a-long-name-without-digits/"),
            ("http://h", "http://h/"),
            ("mailto:x", "mailto:x"),
            ("nonsense", "[not a URL]"),
        ] {
            assert_eq!(shown(url), want);
        }
    }

    #[test]
    fn no_line_shows_a_secret() {
        let one = json!({"name": "a", "webhook": {"url": "http://u:hidden@a/x?k=hidden",
            "header_params": {"X-Key": "hidden", "accept": "a"}}, "slack": {"url": "https://b/hidden"}});
        let other = json!({"name": "b", "webhook": {"url": "http://c/y",
            "header_params": {"X-Key": "hidden2", "accept": "b"}}, "slack": {"url": "https://b/hidden2"}});
        let none = Hidden::default();
        let text = lines(Object::Channel, diff(&one, &other), &none).join("\n");
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("http://c/y -> ") || text.contains("\"http://c/y\" -> "), "{text}");
        assert!(text.contains("https://b/[REDACTED]"), "{text}");
        let all = lines(Object::Channel, diff(&one, &json!({})), &none).join("\n");
        assert!(!all.contains("hidden") && all.contains("+ webhook"), "{all}");
    }
}
