//! What is secret in a channel: header values and addresses (a Slack address is a password). They
//! are compared without being kept, and never shown. Pure.

use serde_json::{Value, json};
use url::Url;

use super::{diff::Difference, object::Object};

const REDACTED: &str = "[REDACTED]";
/// Headers that say nothing secret.
const OPEN_HEADERS: [&str; 4] = ["accept", "content-type", "user-agent", "accept-encoding"];

/// A channel's body with a keyed hash in place of each secret: equal secrets under equal salts stay
/// equal. Other objects have none.
#[must_use]
pub fn sealed(object: Object, mut body: Value, salt: &str) -> Value {
    if object == Object::Channel {
        let key = blake3::derive_key("alertloop provisioning seal", salt.as_bytes());
        for_each_secret(&mut body, &mut |_, text| {
            let hash = blake3::keyed_hash(&key, text.as_bytes()).to_hex();
            *text = format!("sealed:{}", &hash[..32]);
        });
    }
    body
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
pub fn lines(object: Object, differences: Vec<Difference>) -> Vec<String> {
    let line = |mut one: Difference| {
        if object == Object::Channel {
            let path = one.path.clone();
            for side in [&mut one.live, &mut one.desired] {
                hide(&path, side);
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
    if url.starts_with("sealed:") {
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

/// An address without what may be secret in it: login and query.
#[must_use]
pub fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "[not a URL]".to_owned() };
    if url.query().is_some() {
        url.set_query(Some(REDACTED));
    }
    // An address that cannot have a login has none to hide.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_fragment(None);
    url.into()
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
        let seal = |token, salt| sealed(Object::Channel, slack(token), salt);
        assert!(!seal("hidden", "a").to_string().contains("hidden"));
        assert_eq!(seal("hidden", "a"), seal("hidden", "a"));
        assert_ne!(seal("hidden", "a"), seal("other", "a"));
        assert_ne!(seal("hidden", "a"), seal("hidden", "b"));
        let webhook = json!({"webhook": {"url": "http://a/?k=hidden",
            "header_params": {"X-Key": "hidden", "Content-Type": "text/plain"}}});
        let sealed = sealed(Object::Channel, webhook, "a").to_string();
        assert!(!sealed.contains("hidden") && sealed.contains("text/plain"), "{sealed}");
    }

    #[test]
    fn no_line_shows_a_secret() {
        let one = json!({"name": "a", "webhook": {"url": "http://u:hidden@a/x?k=hidden",
            "header_params": {"X-Key": "hidden", "accept": "a"}}, "slack": {"url": "https://b/hidden"}});
        let other = json!({"name": "b", "webhook": {"url": "http://c/y",
            "header_params": {"X-Key": "hidden2", "accept": "b"}}, "slack": {"url": "https://b/hidden2"}});
        let text = lines(Object::Channel, diff(&one, &other)).join("\n");
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("http://c/y -> ") || text.contains("\"http://c/y\" -> "), "{text}");
        assert!(text.contains("https://b/[REDACTED]"), "{text}");
        let all = lines(Object::Channel, diff(&one, &json!({}))).join("\n");
        assert!(!all.contains("hidden") && all.contains("+ webhook"), "{all}");
    }
}
