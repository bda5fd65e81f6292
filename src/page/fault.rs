//! Refusals as pages: what a handler, or the check of who asks, refuses in JSON, a browser is told in
//! words, with the same status and the same headers.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};

use super::frame::{Frame, page};
use crate::http::Said;

#[derive(Template)]
#[template(path = "fault.html")]
struct Fault {
    frame: Frame,
    what: Arc<str>,
}

/// Turns refusals into pages.
pub async fn as_page(uri: Uri, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    match answer.extensions().get::<Said>().cloned() {
        Some(Said(what)) => {
            let (parts, _) = answer.into_parts();
            told(uri.path(), parts.status, &parts.headers, what)
        }
        None => answer,
    }
}

/// The page for a path that there is not.
#[must_use]
pub fn unknown(path: &str) -> Response {
    let what = "there is no such page; look at the overview".into();
    told(path, StatusCode::NOT_FOUND, &HeaderMap::new(), what)
}

/// Whether a browser asks, which wants a page.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn told(path: &str, status: StatusCode, headers: &HeaderMap, what: Arc<str>) -> Response {
    let frame = Frame::around(path, title(status));
    let mut answer = page(status, &Fault { frame, what });
    for (name, value) in headers {
        if !matches!(name, &header::CONTENT_TYPE | &header::CONTENT_LENGTH) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 413 | 415 | 422 => "That was not understood",
        401 => "Who are you?",
        403 => "You may not do that",
        404 => "There is nothing here",
        405 => "That cannot be done here",
        429 => "Too many tries",
        503 => "Not now",
        _ => "It did not work",
    }
}
