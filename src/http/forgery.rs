//! That a change was meant: a page elsewhere can have a browser post to us with the login it knows.
//!
//! Browsers say whose page it was (`Sec-Fetch-Site`, else `Origin`): what another site's page sends is
//! refused. And our forms carry a text that a page elsewhere cannot read. It is another one in each
//! answer: answers are compressed, and what stands beside a text of the asker's could be guessed letter
//! by letter from their lengths (BREACH).

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use rand::Rng as _;
use subtle::ConstantTimeEq as _;

use super::{access::Access, caller::Caller};
use crate::secrets::WebhookToken;

/// The form field that carries it.
pub const FIELD: &str = "form_token";
/// Of a hash, in bytes.
const LENGTH: usize = blake3::OUT_LEN;

/// Makes and checks what forms carry. All replicas with the same intake secret agree on it.
pub struct Forgery(Arc<Access>);

impl Forgery {
    /// From the intake secrets, which it does not tell.
    #[must_use]
    pub const fn new(access: Arc<Access>) -> Self {
        Self(access)
    }

    /// What a form for this caller carries: a mask, and what it hides, in hexadecimal digits.
    #[must_use]
    pub fn token(&self, caller: &Caller) -> String {
        let mask: [u8; LENGTH] = rand::rng().random();
        let masked = |token: &WebhookToken| {
            let hidden = xor(made_of(token, caller), mask);
            format!("{}{}", blake3::Hash::from(mask).to_hex(), blake3::Hash::from(hidden).to_hex())
        };
        // There always is a secret, if only a made one.
        self.0.tokens().first().map(masked).unwrap_or_default()
    }

    /// Whether a form that carries this came from us, for this caller. Any secret that admits may be
    /// the one that it was made of: another replica may have made it, or it was made a moment ago.
    #[must_use]
    pub fn fits(&self, caller: &Caller, given: &str) -> bool {
        let Some(given) = unmasked(given) else { return false };
        let fits = |token: &WebhookToken| -> bool { made_of(token, caller).ct_eq(&given).into() };
        self.0.tokens().iter().any(fits)
    }
}

/// What a mask hides.
fn unmasked(given: &str) -> Option<[u8; LENGTH]> {
    let part = |text: &str| blake3::Hash::from_hex(text).ok().map(<[u8; LENGTH]>::from);
    let (mask, hidden) = given.split_at_checked(2 * LENGTH)?;
    Some(xor(part(mask)?, part(hidden)?))
}

fn xor(one: [u8; LENGTH], other: [u8; LENGTH]) -> [u8; LENGTH] {
    std::array::from_fn(|place| one[place] ^ other[place])
}

fn made_of(token: &WebhookToken, caller: &Caller) -> [u8; LENGTH] {
    let key = blake3::derive_key("alertloop 2026 form token", token.expose().as_bytes());
    let mut hash = blake3::Hasher::new_keyed(&key);
    // Nobody's is not the one of somebody without letters.
    hash.update(&[u8::from(caller.name.is_some())]);
    hash.update(caller.name.as_deref().unwrap_or_default().as_bytes());
    hash.finalize().into()
}

/// Whether a page of another site had a browser send this. `host` is what the browser asked for.
///
/// A program that is no browser says neither, and has no login by itself that could be misused.
#[must_use]
pub fn is_of_other_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: header::HeaderName| {
        headers.get(name).map(|value| value.to_str().unwrap_or("not text"))
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        // `none`: typed, or from a bookmark. A neighbour of the same site is another site.
        return !matches!(site, "same-origin" | "none");
    }
    text(header::ORIGIN).is_some_and(|origin| !is_origin_of(origin, host))
}

/// Whether `origin` is that of the host that was asked for.
fn is_origin_of(origin: &str, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (url::Url::parse(origin), host) else { return false };
    let Ok(asked) = url::Url::parse(&format!("{}://{host}/", origin.scheme())) else {
        return false;
    };
    if !matches!(origin.scheme(), "http" | "https") || origin.host() != asked.host() {
        return false;
    }
    // Malcolm's nginx passes the name on without the port, so only a port that is told is compared.
    let tells_port = host.rsplit(':').next().is_some_and(|end| end.parse::<u16>().is_ok())
        && host.contains(':')
        && !host.ends_with(']');
    !tells_port || origin.port_or_known_default() == asked.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::caller::Role;

    #[test]
    fn a_token_fits_its_caller_and_its_secret_alone() {
        let of = |token: &str| {
            Forgery::new(Arc::new(Access::new(vec![token.parse().unwrap()], false, None)))
        };
        let caller = |name: Option<&str>| Caller { name: name.map(Into::into), role: Role::Admin };
        let (ours, theirs) = (of("0123456789abcdef"), of("fedcba9876543210"));
        let token = ours.token(&caller(Some("ops")));
        assert!(ours.fits(&caller(Some("ops")), &token));
        // Another role is the same person.
        let reader = Caller { role: Role::Reader, ..caller(Some("ops")) };
        assert!(ours.fits(&reader, &token));
        for other in [caller(Some("op")), caller(Some("")), caller(None)] {
            assert!(!ours.fits(&other, &token), "{other:?}");
        }
        assert!(!ours.fits(&caller(None), &ours.token(&caller(Some("")))));
        assert!(!theirs.fits(&caller(Some("ops")), &token));
        let unmasked = "0".repeat(128);
        for wrong in
            ["", "0", &token[1..], &token[..64], &format!("{token}0"), &unmasked, &"ü".repeat(64)]
        {
            assert!(!ours.fits(&caller(Some("ops")), wrong), "{wrong}");
        }
        // Two answers share no part of it that could be guessed from their lengths.
        let other = ours.token(&caller(Some("ops")));
        assert!(ours.fits(&caller(Some("ops")), &other));
        assert!(token[..64] != other[..64] && token[64..] != other[64..], "{token} {other}");
    }

    #[test]
    fn replicas_that_take_over_the_channels_secret_agree() {
        let access = |token: &str| Arc::new(Access::new(vec![token.parse().unwrap()], false, None));
        let (first, second) = (access("0123456789abcdef"), access("fedcba9876543210"));
        let caller = Caller { name: None, role: Role::Admin };
        let (one, other) = (Forgery::new(first), Forgery::new(Arc::clone(&second)));
        assert!(!one.fits(&caller, &other.token(&caller)));
        let before = other.token(&caller);
        second.admit("0123456789abcdef".parse().unwrap());
        assert!(one.fits(&caller, &other.token(&caller)));
        assert!(other.fits(&caller, &before), "a form that was open meanwhile");
    }

    #[test]
    fn a_page_of_another_site_is_told_by_what_browsers_say() {
        for (site, origin, host, want) in [
            (None, None, Some("a.example"), false),
            (Some("same-origin"), None, Some("a.example"), false),
            (Some("none"), Some("https://b.example"), Some("a.example"), false),
            (Some("cross-site"), Some("https://a.example"), Some("a.example"), true),
            (Some("same-site"), None, Some("a.example"), true),
            (Some("odd"), None, Some("a.example"), true),
            (None, Some("https://a.example"), Some("a.example"), false),
            (None, Some("https://A.example"), Some("a.example"), false),
            (None, Some("https://a.example:8443"), Some("a.example"), false),
            (None, Some("http://a.example:5000"), Some("a.example:5000"), false),
            (None, Some("http://a.example"), Some("a.example:80"), false),
            (None, Some("http://a.example:5001"), Some("a.example:5000"), true),
            (None, Some("http://[::1]:5000"), Some("[::1]:5000"), false),
            (None, Some("http://[::1]:5000"), Some("[::2]:5000"), true),
            (None, Some("https://b.example"), Some("a.example"), true),
            (None, Some("https://a.example.b.example"), Some("a.example"), true),
            (None, Some("null"), Some("a.example"), true),
            (None, Some(""), Some("a.example"), true),
            (None, Some("https://a.example"), None, true),
            (None, Some("https://a.example"), Some("a.example@b.example"), true),
            (None, Some("file://a.example"), Some("a.example"), true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(is_of_other_site(&headers, host), want, "{site:?} {origin:?} {host:?}");
        }
    }
}
