//! `GET /mapi/alerts/engaged`: what is engaged now.

use std::sync::Arc;

use axum::{
    Json,
    extract::{self, Query, rejection::QueryRejection},
};
use serde::Deserialize;

use super::{ApiError, State, asked::misasked, caller::Reader};
use crate::{
    alert::Source,
    engaged::{Filter, PAGE, Page, Question},
};

/// How many alerts a page has, unless it is asked for another number.
const USUAL: usize = 100;

/// `?entity=host:10.0.0.1&source=NAME&severity=AT_LEAST&rule=NAME&text=WORDS&stale=true&after=NEXT&limit=N`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// About this: `host:10.0.0.1`, or without its kind.
    entity: Option<String>,
    /// Of this source.
    source: Option<String>,
    /// Of at least this severity, 0 to 100.
    severity: Option<u8>,
    /// Of the rule with this name or id.
    rule: Option<String>,
    /// With these words in the message, or with this in the rule's name or in the reason.
    text: Option<String>,
    /// Only those without news for longer than is usual, or only the others.
    stale: Option<bool>,
    /// The `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1,000.
    limit: Option<usize>,
}

/// A page of alerts, those that began last first: `{"items", "next", "total", "is_more", "counts",
/// "asked_at", "age_ms"}`. While the store does not answer it is the last answer, with the reason in
/// `outdated`; 503 where there is none.
pub async fn list(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(asked) = asked.map_err(misasked)?;
    let question = question(asked).map_err(ApiError::BadRequest)?;
    let page = state.engaged.page(&question).await.map_err(ApiError::NotListed)?;
    Ok(Json(page))
}

fn question(asked: Asked) -> Result<Question, String> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let source = given(asked.source);
    // As it stands in what is answered.
    if let Some(name) = source.as_deref().filter(|name| *name != "malcolm") {
        Source::sender(name)?;
    }
    let after = given(asked.after).map(|text| text.parse()).transpose()?;
    let filter = Filter {
        entity: given(asked.entity),
        source,
        severity: asked.severity,
        rule: given(asked.rule),
        text: given(asked.text),
        stale: asked.stale,
    };
    Ok(Question { filter, after, limit: asked.limit.unwrap_or(USUAL).clamp(1, PAGE) })
}
