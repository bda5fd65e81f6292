//! What every answer of the page carries, in one place.
//!
//! The policy allows nothing but our own files, no inline script or style, no frame around us. So
//! markup that got into a page all the same could neither run nor send anything away.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

/// The Content-Security-Policy.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds them; what an answer has already, stays.
pub async fn add(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // A page has what only its reader may see, and a link away must not tell where it stood.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
