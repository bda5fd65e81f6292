//! The web page: what operators look at.
//!
//! Everything works without JavaScript. A form is answered by 303, with what came of it in the address.
//! All links are relative, so that a proxy can serve it below any path.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    extract::{DefaultBodyLimit, Path, rejection::PathRejection},
    http::{Method, StatusCode, Uri, header},
    middleware::{from_fn, map_response},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use tower_http::compression::CompressionLayer;

use crate::http::{
    ApiError,
    doors::{Doors, Needs},
};

mod alert;
mod alerts;
mod chart;
mod condition;
mod conditions;
mod csv;
mod dead_letters;
mod deliveries;
mod download;
pub mod escape;
mod events;
pub mod fault;
pub mod feed;
mod form;
mod frame;
mod headers;
mod headline;
mod overview;
mod rows;
mod set_up;
mod shown;
mod statics;
mod told;

pub use feed::Feed;
pub use set_up::SetUp;

/// What the page has besides what every handler can reach.
pub struct Parts {
    /// What is new, for all open pages.
    pub feed: Arc<Feed>,
    /// What looks at the set-up.
    pub set_up: SetUp,
    /// Since when the store does not answer us.
    pub away: Away,
}

/// Since when the store does not answer.
#[derive(Default)]
pub struct Away(Mutex<Option<Timestamp>>);

impl Away {
    /// Notes why it does not, or that it does; tells why and since when.
    fn note(&self, why: Option<String>, now: Timestamp) -> Option<(String, Timestamp)> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = why {
            return Some((why, *since.get_or_insert(now)));
        }
        *since = None;
        None
    }
}

/// Adds every route of the page.
pub(crate) fn doors(doors: &mut Doors) {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    let mut pages = Doors::new("");
    pages.at(GET, "/", Needs::Reader, overview::show);
    pages.at(GET, "/alerts", Needs::Reader, alerts::show);
    pages.at(GET, "/alerts.csv", Needs::Reader, download::get);
    pages.at(GET, "/alerts/{id}", Needs::Reader, alert::show);
    pages.at(POST, "/alerts/{id}/acknowledge", Needs::Operator, alert::acknowledge);
    pages.at(GET, "/conditions", Needs::Reader, conditions::list);
    pages.at(GET, "/conditions/{id}", Needs::Reader, condition::show);
    pages.at(POST, "/conditions/{id}/switch", Needs::Admin, conditions::switch);
    pages.at(GET, "/deliveries", Needs::Reader, deliveries::list);
    pages.at(POST, "/deliveries/replay", Needs::Operator, deliveries::replay);
    pages.at(GET, "/deliveries/{id}", Needs::Reader, deliveries::show);
    pages.at(GET, "/dead-letters", Needs::Reader, dead_letters::list);
    pages.at(POST, "/dead-letters/replay", Needs::Operator, dead_letters::replay);
    pages.at(POST, "/dead-letters/drop", Needs::Admin, dead_letters::discard);
    pages.at(GET, "/dead-letters/{id}", Needs::Reader, dead_letters::show);
    pages.at(GET, "/set-up", Needs::Reader, set_up::show);
    pages.at(POST, "/set-up", Needs::Operator, set_up::run);
    pages.at(GET, "/events", Needs::Reader, events::get);
    let mut all = Doors::new("");
    all.join(pages, |router| router.layer(from_fn(fault::as_page)).layer(CompressionLayer::new()));
    all.at(GET, "/static/{hash}/{file}", Needs::Nothing, statics::get);
    for path in ["/alerts/", "/conditions/", "/deliveries/", "/dead-letters/", "/set-up/"] {
        all.at(GET, path, Needs::Nothing, without_slash);
    }
    doors.join(all, |router| {
        router.layer(DefaultBodyLimit::max(form::LIMIT)).layer(map_response(headers::add))
    });
}

/// Links of a page count the slashes of its path.
async fn without_slash(uri: Uri) -> Response {
    let place = uri.path().trim_matches('/');
    see_other(&format!("../{place}"))
}

/// Leads a browser on, to a place relative to where it is.
fn see_other(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place.to_owned())]).into_response()
}

/// A page that is not there, for browsers.
#[must_use]
pub async fn unknown(path: &str) -> Response {
    headers::add(fault::unknown(path)).await
}

/// The number that a path has.
fn number(id: Result<Path<String>, PathRejection>) -> Result<i64, ApiError> {
    let none = || ApiError::NotFound("there is nothing with this number".to_owned());
    id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(none)
}
