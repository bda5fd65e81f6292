//! What our intake answers to a channel's test, so that the one who sent the test sees that it
//! arrived here and not at something else that says 200.
//!
//! The receipt is a keyed hash over the channel's id; its key is derived from the intake secret. It
//! does not give the secret away. It is a check against mistakes (a wrong address, a proxy's own
//! page, another alertloop), not against an enemy: whoever receives the test receives the secret
//! with it.

use crate::secrets::WebhookToken;

/// Says what the key is for, as `blake3::derive_key` wants it.
const CONTEXT: &str = "alertloop 2026-11 receipt for the test of a channel";
/// Ids that are longer are nobody's; the Notifications plugin allows 512 characters.
const LONGEST_ID: usize = 512;

/// The receipt for the test of the channel `config_id`, as 64 hex digits.
#[must_use]
pub fn receipt(token: &WebhookToken, config_id: &str) -> String {
    let config_id = config_id.trim();
    let id = &config_id[..config_id.floor_char_boundary(LONGEST_ID)];
    let key = blake3::derive_key(CONTEXT, token.expose().as_bytes());
    blake3::keyed_hash(&key, id.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_of_one_secret_and_one_channel() {
        let token: WebhookToken = "0123456789abcdef".parse().unwrap();
        let other: WebhookToken = "0123456789abcdeF".parse().unwrap();
        let given = receipt(&token, "a");
        assert_eq!(given, receipt(&token, " a\n"));
        assert_ne!(given, receipt(&token, "b"));
        assert_ne!(given, receipt(&other, "a"));
        assert_eq!(given.len(), 64);
        assert!(!given.contains("0123456789abcdef"));
    }
}
