//! What a request asks the JSON API for.

use std::time::Duration;

use axum::{
    body::{self, Body, Bytes},
    extract::{
        Path,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::ApiError;

/// The largest selection, in bytes: some hundred thousand numbers.
const SELECTION: usize = 4 << 20;
/// How long a body may take.
const WHOLE_BODY: Duration = Duration::from_secs(20);

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
    let bytes = self::body(body, SELECTION).await?;
    serde_json::from_slice(&bytes).map_err(|fault| ApiError::BadRequest(fault.to_string()))
}

/// A body of at most `limit` bytes, that comes in time.
pub(super) async fn body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let came = timeout(WHOLE_BODY, body::to_bytes(body, limit)).await;
    came.map_err(|_| ApiError::TooSlow)?.map_err(|_| {
        ApiError::BadRequest(format!("the body did not come, or has over {limit} bytes"))
    })
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
