//! The name of an e-mail account.

use std::{fmt, str::FromStr};

/// A name that every part of OpenSearch takes: the keystore's names are `PREFIX.NAME.username`, and
/// a plugin only knows those whose NAME is of `[-\w]` (`AffixSetting`; any other keeps the node from
/// starting); Dashboards takes only lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// What is offered when nothing is given.
    pub const DEFAULT: &str = "destination_alpha";

    /// The longest name, in characters, that Dashboards takes.
    const LONGEST: usize = 50;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if text.is_empty() || text.len() > Self::LONGEST || !text.bytes().all(fits) {
            return Err("a name is 1 to 50 of the characters a-z, 0-9, _ and -");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let (longest, too_long) = ("a".repeat(50), "a".repeat(51));
        for (text, fits) in [
            (AccountName::DEFAULT, true),
            ("a", true),
            ("soc-2_mail", true),
            ("9", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("Alpha", false),
            ("a.b", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            ("a\n", false),
            ("ann@example.org", false),
        ] {
            assert_eq!(text.parse::<AccountName>().is_ok(), fits, "{text:?}");
        }
    }
}
