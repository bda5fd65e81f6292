//! Hides secrets in what the other side says: some services repeat the request that they refuse, or
//! its address, and answers are kept and shown. Pure.

use crate::secrets::CallbackSecret;

/// What stands for a secret.
const MASKED: &str = "***";
/// A shorter text is found in many words, and is not hidden, in bytes.
const SHORTEST: usize = 4;

/// The secrets of a callback.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<CallbackSecret>);

impl Mask {
    /// Hides this one too.
    pub fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST {
            self.0.push(CallbackSecret::from(secret.to_owned()));
            // One that holds another is hidden as a whole.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
