//! That a form was ours: a page elsewhere can have a browser post to us with the login it knows, but it
//! cannot read what we put into our own forms.

use subtle::ConstantTimeEq as _;

use super::caller::Caller;
use crate::secrets::WebhookToken;

/// The form field that carries it.
pub const FIELD: &str = "form_token";

/// Makes and checks what forms carry. All replicas with the same intake secret agree on it.
pub struct Forgery([u8; 32]);

impl Forgery {
    /// From the intake secret, which it does not tell.
    #[must_use]
    pub fn new(token: &WebhookToken) -> Self {
        Self(blake3::derive_key("alertloop 2026 form token", token.expose().as_bytes()))
    }

    /// What a form for this caller carries.
    #[must_use]
    pub fn token(&self, caller: &Caller) -> String {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        // Nobody's is not the one of somebody without letters.
        hash.update(&[u8::from(caller.name.is_some())]);
        hash.update(caller.name.as_deref().unwrap_or_default().as_bytes());
        hash.finalize().to_hex().to_string()
    }

    /// Whether a form that carries this came from us, for this caller.
    #[must_use]
    pub fn fits(&self, caller: &Caller, given: &str) -> bool {
        self.token(caller).as_bytes().ct_eq(given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::caller::Role;

    #[test]
    fn a_token_fits_its_caller_and_its_secret_alone() {
        let of = |token: &str| Forgery::new(&token.parse().unwrap());
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
        assert_ne!(ours.token(&caller(None)), ours.token(&caller(Some(""))));
        assert!(!theirs.fits(&caller(Some("ops")), &token));
        for wrong in ["", &token[1..], &token.to_uppercase()] {
            assert!(!ours.fits(&caller(Some("ops")), wrong), "{wrong}");
        }
    }
}
