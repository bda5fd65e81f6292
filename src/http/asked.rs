//! What a request asks the JSON API for.

use axum::{
    body::{self, Body},
    extract::{
        Path,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;

use super::ApiError;

/// The largest selection, in bytes: some hundred thousand numbers.
const SELECTION: usize = 4 << 20;

/// Refuses what does not say that it is JSON: a browser lets any page on the web post a form or plain
/// text to us, with the login it knows or from this machine. For JSON it asks us first (a preflight),
/// and we do not allow it.
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let is_json = kind.trim().eq_ignore_ascii_case("application/json");
    if is_json { Ok(()) } else { Err(ApiError::NotJson) }
}

/// Reads a selection.
pub(super) async fn selection<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    must_be_json(headers)?;
    let bytes = body::to_bytes(body, SELECTION).await.map_err(|_| {
        ApiError::BadRequest(format!("the selection did not come, or has over {SELECTION} bytes"))
    })?;
    serde_json::from_slice(&bytes).map_err(|fault| ApiError::BadRequest(fault.to_string()))
}

/// An empty parameter is as good as none.
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The number that a path ends in.
pub(super) fn number(id: Result<Path<i64>, PathRejection>) -> Result<i64, ApiError> {
    let whole = |_| ApiError::BadRequest("an id is a whole number".to_owned());
    id.map(|Path(id)| id).map_err(whole)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn misasked(rejection: QueryRejection) -> ApiError {
    ApiError::BadRequest(rejection.body_text())
}
