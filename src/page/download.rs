//! `GET /alerts.csv`: every alert that the list's filter finds, for spreadsheets.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{self, Query, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;

use super::{
    alerts::{Asked, not_understood},
    csv,
};
use crate::{
    clock,
    history::{Filter, PAGE, Page, Question},
    http::{ApiError, State, caller::Reader},
};

/// 200 with the alerts that began last first; 503 while the store does not answer.
///
/// # Errors
/// [`ApiError`]. A fault in the middle cuts the answer off, so that nobody takes it for all.
pub async fn get(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let filter = asked.question().map_err(ApiError::BadRequest)?.filter;
    let first = part(&state, &filter, None).await?;
    let begin = (state, filter, Some(first), csv::heading());
    let lines = stream::try_unfold(begin, |(state, filter, page, mut text)| async move {
        let Some(page) = page else { return Ok::<_, ApiError>(None) };
        text.extend(page.items.iter().map(csv::line));
        let rest = match &page.next {
            Some(next) => Some(part(&state, &filter, Some(next)).await?),
            None => None,
        };
        Ok(Some((Bytes::from(text), (state, filter, rest, String::new()))))
    });
    let name = clock::now().strftime("attachment; filename=\"alerts-%Y%m%dT%H%M%SZ.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, name.to_string()),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The alerts after `after`, all that there are of them.
async fn part(state: &State, filter: &Filter, after: Option<&str>) -> Result<Page, ApiError> {
    let after = after.map(str::parse).transpose();
    let after = after.map_err(|fault: &str| ApiError::BadRequest(fault.to_owned()))?;
    let question = Question { filter: filter.clone(), after, limit: PAGE };
    let page = state.history.anew(&question).await.map_err(|fault| match fault.status() {
        Some(400) => not_understood(&fault),
        _ => ApiError::NoAlerts(fault),
    })?;
    match &page.incomplete {
        Some(why) => Err(ApiError::Away(format!("some alerts cannot be read: {why}; try again"))),
        None => Ok(page),
    }
}
