//! The web page: what operators look at.
//!
//! | path | what | who may |
//! |---|---|---|
//! | `/` | how alerting is, what is engaged, when alerts began | readers |
//! | `/alerts`, `/alerts/{id}` | alerts of the past, one with its life | readers |
//! | `/conditions` | the monitors of OpenSearch | readers |
//! | `/deliveries`, `/deliveries/{id}` | what callbacks were run | readers |
//! | `/dead-letters`, `/dead-letters/{id}` | what was refused | readers |
//! | `/set-up` | the doctor's findings, the plan of provisioning | readers |
//! | `/events` | what is new, as server-sent events | readers |
//! | `POST /alerts/{id}/acknowledge`, `…/replay`, `/set-up` | does it | operators |
//! | `POST /dead-letters/drop`, `/conditions/{id}/switch` | does it | admins |
//! | `/static/{hash}/{file}` | style sheet, script, icon | everybody |
//!
//! Everything works without JavaScript. A form is answered by 303, with what came of it in the address.
//! All links are relative, so that a proxy can serve it below any path.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, rejection::PathRejection},
    http::{StatusCode, Uri, header},
    middleware::{from_fn, map_response},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use tower_http::compression::CompressionLayer;

use crate::http::{ApiError, State};

mod alert;
mod alerts;
mod chart;
mod conditions;
mod dead_letters;
mod deliveries;
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

/// Every route of the page.
pub fn router() -> Router<Arc<State>> {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/alerts", get(alerts::show))
        .route("/alerts/{id}", get(alert::show))
        .route("/alerts/{id}/acknowledge", post(alert::acknowledge))
        .route("/conditions", get(conditions::list))
        .route("/conditions/{id}/switch", post(conditions::switch))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/replay", post(deliveries::replay))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/replay", post(dead_letters::replay))
        .route("/dead-letters/drop", post(dead_letters::discard))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/set-up", get(set_up::show).post(set_up::run))
        .route("/events", get(events::get))
        .layer(from_fn(fault::as_page))
        .layer(CompressionLayer::new());
    let mut all = pages.route("/static/{hash}/{file}", get(statics::get));
    for path in ["/alerts/", "/conditions/", "/deliveries/", "/dead-letters/", "/set-up/"] {
        all = all.route(path, get(without_slash));
    }
    all.layer(DefaultBodyLimit::max(form::LIMIT)).layer(map_response(headers::add))
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
