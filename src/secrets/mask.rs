//! Hides secrets in what the other side says: some services repeat the request that they refuse, or
//! its address, and answers are kept and shown. A secret is hidden as it is, and as it stands in JSON, in
//! an address and in base64. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::CallbackSecret;
use crate::opensearch::segment;

/// What stands for a secret.
const MASKED: &str = "***";
/// A shorter text is found in many words, and is not hidden, in bytes.
const SHORTEST: usize = 4;
/// The same of its base64, of which a few letters are found in many words.
const SHORTEST_IN_BASE64: usize = 6;

/// The secrets of one other side.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<CallbackSecret>);

impl Mask {
    /// Hides this one too.
    pub fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let in_json = |text: &str| {
            let json = Value::from(text).to_string();
            json[1..json.len() - 1].to_owned()
        };
        // A body of JSON that is repeated within JSON.
        let (json, twice) = (in_json(secret), in_json(&in_json(secret)));
        let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut forms = vec![secret.to_owned(), json, twice, segment(secret), form];
        if secret.len() >= SHORTEST_IN_BASE64 {
            for before in 0..3 {
                let text = in_base64(secret.as_bytes(), before);
                forms.push(text.replace('+', "-").replace('/', "_"));
                forms.push(text);
            }
        }
        self.0.extend(forms.into_iter().map(CallbackSecret::from));
        // One that holds another is hidden as a whole.
        self.0.sort_by(|a, b| {
            let (a, b) = (a.expose(), b.expose());
            b.len().cmp(&a.len()).then_with(|| a.cmp(b))
        });
        self.0.dedup_by(|a, b| a.expose() == b.expose());
    }

    /// Hides what a header's value holds: all of it, and the part after the scheme of a login.
    pub fn add_header(&mut self, value: &str) {
        self.add(value);
        if let Some((_, login)) = value.split_once(' ') {
            self.add(login);
        }
    }

    /// The text without them; `is_cut` where it may end within one.
    #[must_use]
    pub fn apply(&self, mut text: String, is_cut: bool) -> String {
        for secret in &self.0 {
            let secret = secret.expose();
            if text.contains(secret) {
                text = text.replace(secret, MASKED);
            }
            let begins = |length: &usize| {
                secret.is_char_boundary(*length) && text.ends_with(&secret[..*length])
            };
            if is_cut && let Some(begun) = (SHORTEST..secret.len()).rev().find(begins) {
                text.truncate(text.len() - begun);
                text.push_str(MASKED);
            }
        }
        text
    }
}

/// What the base64 of a text has of these bytes alone, where so many bytes (modulo 3) stand before them.
fn in_base64(bytes: &[u8], before: usize) -> String {
    let whole = BASE64_STANDARD.encode([&[0, 0][..before], bytes].concat());
    // A letter has six bits; the first and the last may belong to a neighbour too.
    whole[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_json_in_addresses_and_in_base64() {
        let secret = "pass\"w\\ord&/+9";
        let mut mask = Mask::default();
        mask.add(secret);
        let apply = |text: &str| mask.apply(text.to_owned(), false);
        assert_eq!(apply(&Value::from(secret).to_string()), "\"***\"");
        let twice = Value::from(Value::from(secret).to_string()).to_string();
        assert_eq!(apply(&twice), r#""\"***\"""#);
        assert_eq!(apply("http://a/?k=pass%22w%5Cord%26%2F%2B9"), "http://a/?k=***");
        for around in ["", "u:", "user:", "\0a\0"] {
            let login = BASE64_STANDARD.encode(format!("{around}{secret}"));
            let shown = apply(&format!("AUTH {login}"));
            let left = shown.replace("AUTH ", "").replace("***", "");
            // The letters that it shares with what stands beside it.
            assert!(shown.contains("***") && left.len() <= around.len() * 4 / 3 + 5, "{shown}");
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let mut mask = Mask::default();
        mask.add("hunter2");
        mask.add_header("Bearer hunter2-and-more");
        mask.add("abc");
        for (text, is_cut, want) in [
            ("nothing", true, "nothing"),
            ("bad token hunter2!", false, "bad token ***!"),
            ("Authorization: Bearer hunter2-and-more", false, "Authorization: ***"),
            ("token=hunter2-and-more hunter2", false, "token=*** ***"),
            ("cut in hunt", true, "cut in ***"),
            ("cut in hunter2-and-m", true, "cut in ***"),
            ("whole hunt", false, "whole hunt"),
            ("abc is too short to be one", false, "abc is too short to be one"),
        ] {
            assert_eq!(mask.apply(text.to_owned(), is_cut), want, "{text}");
        }
    }
}
