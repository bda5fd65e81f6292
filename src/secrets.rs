//! One newtype for each secret: two cannot be swapped, and none can be printed or serialised.

pub mod mask;

use std::{fmt, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// The shared secret that an alert source must present.
#[derive(Clone)]
pub struct WebhookToken(SecretString);

impl FromStr for WebhookToken {
    /// A fault never repeats the value.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() < 16 {
            return Err("needs at least 16 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without spaces, since it travels in a header");
        }
        Ok(Self(text.into()))
    }
}

impl WebhookToken {
    /// Makes a new random token: 256 bits, as 64 hex digits.
    #[must_use]
    pub fn generate() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(blake3::Hash::from(bytes).to_hex().as_str().into())
    }

    /// Compares in a time that does not tell how much of `given` was right.
    #[must_use]
    pub fn admits(&self, given: &[u8]) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(given).into()
    }

    /// Whether two tokens are the same secret.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.admits(other.0.expose_secret().as_bytes())
    }

    /// The token in clear, for the one place that sends or stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A user's password, for OpenSearch or for our own page and API.
#[derive(Clone)]
pub struct Password(SecretString);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Password {
    /// Compares in a time that does not tell how much of `given` was right.
    #[must_use]
    pub fn admits(&self, given: &[u8]) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(given).into()
    }

    /// The password in clear, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The address of a Redis, which may hold its password.
#[derive(Clone)]
pub struct RedisUrl(SecretString);

impl From<String> for RedisUrl {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl RedisUrl {
    /// The address in clear, for the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What OpenSearch tells a mail server.
#[derive(Clone)]
pub struct MailPassword(SecretString);

impl From<String> for MailPassword {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl MailPassword {
    /// The password in clear, for the one place that hands it to the keystore's tool.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What opens OpenSearch's keystore, where it is protected.
#[derive(Clone)]
pub struct KeystorePassword(SecretString);

impl From<String> for KeystorePassword {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl KeystorePassword {
    /// The password in clear, for the keystore's tool and for the store's reload.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What a callback shows to the other side: a password, a token, a key to sign with, an address
/// that holds one.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct CallbackSecret(SecretString);

impl From<String> for CallbackSecret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl CallbackSecret {
    /// The secret in clear, for the one place that sends it or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A user name with its password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user name; not a secret.
    pub user: String,
    /// The password.
    pub password: Password,
}

impl fmt::Debug for WebhookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Debug for CallbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Debug for MailPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Debug for KeystorePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_admits_itself_alone_and_prints_nothing() -> Result<(), &'static str> {
        let token: WebhookToken = "0123456789abcdef".parse()?;
        assert!(token.admits(b"0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!token.admits(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "[REDACTED]");
        Ok(())
    }

    #[test]
    fn a_short_or_unsendable_token_is_refused_without_its_value() {
        for bad in ["short", "has a space in the middle", "ünïcode-is-not-a-header"] {
            let fault = bad.parse::<WebhookToken>().map(|_| ()).unwrap_err();
            assert!(!fault.contains(bad));
        }
    }

    #[test]
    fn generated_tokens_differ() {
        assert!(!WebhookToken::generate().is(&WebhookToken::generate()));
    }
}
