//! What tells one alert from another, as one short text.

/// A hash of `parts`: 32 hex digits of BLAKE3.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
