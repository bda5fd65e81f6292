//! What stands around every page: its place, who reads it, and what they may do.
//!
//! Links are relative to the page's own path, never from the root. So the page works below any path
//! that a proxy serves it at and takes off (`/alertloop/`), without a setting and without a header that
//! would have to be trusted.

use askama::Template;
use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::{shown::When, statics, told::Told};
use crate::{
    clock,
    http::{
        State,
        caller::{Caller, Role},
    },
};

/// The pages of the navigation: path and name.
const PAGES: [(&str, &str); 6] = [
    ("", "Overview"),
    ("alerts", "Alerts"),
    ("conditions", "Conditions"),
    ("deliveries", "Deliveries"),
    ("dead-letters", "Dead letters"),
    ("set-up", "Set-up"),
];

/// Around a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The title, also of the window.
    pub title: String,
    /// From here to the overview: `./`, `../`, …
    pub base: String,
    /// What a form carries against forgery; empty for somebody unknown.
    pub token: String,
    /// When the page was made.
    pub now: When,
    /// What came of the form that led here.
    pub told: Option<Told>,
    /// Whether new alerts belong at the top of the list: it is the first page of all of them.
    pub rows_are_all: bool,
    place: String,
    caller: Option<Caller>,
}

impl Frame {
    /// Around a page for somebody who may read.
    #[must_use]
    pub fn of(state: &State, caller: &Caller, uri: &Uri, title: impl Into<String>) -> Self {
        let told = uri.query().and_then(Told::of);
        let token = state.forgery.token(caller);
        Self { token, told, caller: Some(caller.clone()), ..Self::around(uri.path(), title) }
    }

    /// Around a page for anybody.
    #[must_use]
    pub fn around(path: &str, title: impl Into<String>) -> Self {
        let place = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        Self {
            title: title.into(),
            base: base(path),
            token: String::new(),
            now: clock::now().into(),
            told: None,
            rows_are_all: false,
            place: place.to_owned(),
            caller: None,
        }
    }

    /// Path, name, and whether one is there.
    pub(super) fn pages(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        PAGES.iter().map(|(path, name)| (*path, *name, *path == self.place))
    }

    #[expect(clippy::unused_self, reason = "templates ask the frame")]
    pub(super) fn file(&self, name: &str) -> String {
        statics::path(name)
    }

    #[expect(clippy::unused_self, reason = "templates ask the frame")]
    pub(super) const fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.caller.as_ref()?.name.as_deref()
    }

    pub(super) fn role_name(&self) -> &'static str {
        self.caller.as_ref().map_or("nobody", |caller| caller.role.name())
    }

    pub(super) const fn may_see(&self) -> bool {
        self.caller.is_some()
    }

    /// Whether forms are shown that acknowledge and send again.
    pub fn may_operate(&self) -> bool {
        self.has(Role::Operator)
    }

    /// Whether forms are shown that remove and switch.
    pub fn may_administrate(&self) -> bool {
        self.has(Role::Admin)
    }

    fn has(&self, role: Role) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.role >= role)
    }
}

/// From a path to the root, relatively.
fn base(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        deep => "../".repeat(deep - 1),
    }
}

/// An answer with a page in it.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (status, kind, text).into_response()
        }
        // Our templates write into memory: there is nothing that could fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_root_from_any_depth() {
        for (path, want) in
            [("/", "./"), ("/alerts", "./"), ("/alerts/x", "../"), ("/a/b/c", "../../"), ("", "./")]
        {
            assert_eq!(base(path), want, "{path}");
        }
    }

    #[test]
    fn the_page_that_one_is_on_is_marked() {
        for (path, want) in
            [("/", "Overview"), ("/alerts/x", "Alerts"), ("/dead-letters", "Dead letters")]
        {
            let frame = Frame::around(path, "x");
            let here: Vec<_> = frame.pages().filter(|(.., here)| *here).collect();
            assert_eq!(here.iter().map(|(_, name, _)| *name).collect::<Vec<_>>(), [want]);
        }
    }
}
