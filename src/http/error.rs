//! What a caller may learn when something is refused; the cause is logged once, here.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::counter;
use serde_json::json;
use tracing::error;

use super::caller::Role;
use crate::{opensearch, spool::AppendError, telemetry};

/// Seconds after which a sender may come again: the only refusal that OpenSearch, Graylog,
/// Alertmanager and ElastAlert2 all repeat is a 503, and OpenSearch waits for at most 50 s.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// What a refusal says, for whoever tells it in another form: an extension of the answer.
#[derive(Clone, Debug)]
pub struct Said(pub std::sync::Arc<str>);

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: it was not asked as it has to be.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no secret, or a wrong one.
    #[error(
        "missing or wrong secret; send it as `X-Alertloop-Token`, as `Authorization: Bearer`, as a Basic password, in the query, or as ntopng's `sharedsecret`"
    )]
    Unauthorized,
    /// 403: known, but not enough.
    #[error("this needs the role {}, and you have {}", needed.name(), has.name())]
    Forbidden {
        /// What it needs.
        needed: Role,
        /// The most that the caller has.
        has: Role,
    },
    /// 403: the proxy let them in, with no role that is one here.
    #[error(
        "your roles (X-Forwarded-Roles) may do nothing here: it takes one of ROLE_ADMIN, ROLE_READ_WRITE_ACCESS, ROLE_DASHBOARDS_READ_WRITE_ALL_APPS_ACCESS, ROLE_READ_ACCESS, ROLE_DASHBOARDS_READ_ALL_APPS_ACCESS"
    )]
    NoRole,
    /// 403: it did not come by way of a trusted proxy that tells a user, and there is no login.
    #[error(
        "come through the proxy, after its login: only what a proxy of ALERTLOOP_TRUSTED_PROXIES tells about a user is believed"
    )]
    NotByProxy,
    /// 403: a page of another site had a browser send it.
    #[error("a page of another site sent this; open the page of alertloop itself")]
    OtherSite,
    /// 429: too many wrong logins came from there. Senders of alerts never see it.
    #[error(
        "too many wrong logins came from your address; the next one is looked at in {seconds} s"
    )]
    TooManyGuesses {
        /// After how many seconds.
        seconds: u64,
    },
    /// 404: there is no such thing, or it is not for this caller.
    #[error("{0}")]
    NotFound(String),
    /// 503: the body did not come. Not 408, which neither OpenSearch nor Alertmanager repeats.
    #[error("the body did not arrive in time; send it again")]
    TooSlow,
    /// 413: only its head was kept.
    #[error(
        "the body is larger than the limit of {limit} bytes (ALERTLOOP_BODY_LIMIT); its first 4 KiB are kept as a dead letter"
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// 415: it may have been sent by a page on the web.
    #[error("send it as JSON, with `Content-Type: application/json`")]
    NotJson,
    /// 503: it could not be made durable.
    #[error("the alert could not be kept ({0}); send it again")]
    NotKept(#[from] AppendError),
    /// 503: what was asked for cannot be read now.
    #[error("the spool cannot be read: {0}")]
    Unreadable(#[from] rusqlite::Error),
    /// 503: the store is needed, and cannot be asked.
    #[error("the alert cannot be looked up in OpenSearch: {0}; ask again when it answers")]
    StoreAway(#[from] opensearch::Error),
    /// 503: the store is needed, and has not answered lately.
    #[error("what is engaged cannot be read: {0}; ask again when the store answers")]
    NotListed(#[source] opensearch::Error),
    /// 503: the store is needed, and has not answered lately.
    #[error("the alerts cannot be read: {0}; ask again when the store answers")]
    NoAlerts(#[source] opensearch::Error),
    /// 503: the store is needed, and does not answer.
    #[error("the monitors cannot be read or written: {0}; ask again when the store answers")]
    NoMonitors(#[source] opensearch::Error),
    /// 503: a part of the store is needed, and is not there.
    #[error("{0}")]
    Away(String),
    /// 409: somebody else was faster.
    #[error("{0}")]
    Conflict(String),
    /// 503: part of it was done.
    #[error("it ended after {done} of them: {cause}; ask again for the rest")]
    Unfinished {
        /// How many.
        done: u64,
        /// Why it ended.
        cause: String,
    },
}

impl ApiError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::NoRole | Self::NotByProxy | Self::OtherSite => {
                StatusCode::FORBIDDEN
            }
            Self::TooManyGuesses { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow
            | Self::NotKept(_)
            | Self::Unreadable(_)
            | Self::StoreAway(_)
            | Self::NotListed(_)
            | Self::NoAlerts(_)
            | Self::NoMonitors(_)
            | Self::Away(_)
            | Self::Unfinished { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        counter!(telemetry::REFUSED, "status" => status.as_str().to_owned()).increment(1);
        match &self {
            Self::Unreadable(fault) => error!(error = %fault, "the spool cannot be read"),
            Self::Unfinished { cause, .. } => {
                error!(error = %cause, "a replay or a drop of dead letters did not come to its end");
            }
            _ => {}
        }
        let said = self.to_string();
        let mut response = (status, Json(json!({ "error": said }))).into_response();
        response.extensions_mut().insert(Said(said.into()));
        let headers = response.headers_mut();
        if matches!(&self, Self::TooSlow) {
            // The rest of the body is not waited for.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Self::TooManyGuesses { seconds } = &self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                let ways = HeaderValue::from_static(
                    r#"Bearer realm="alertloop", Basic realm="alertloop""#,
                );
                headers.insert(header::WWW_AUTHENTICATE, ways);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_taken_later_is_refused_so_that_every_sender_comes_again() {
        let stopped = || ApiError::NotKept(AppendError::Closed);
        for (fault, status, again, closes) in [
            (ApiError::TooSlow, 503, true, true),
            (stopped(), 503, true, false),
            (ApiError::TooLarge { limit: 1 }, 413, false, false),
            (ApiError::Unauthorized, 401, false, false),
            (ApiError::TooManyGuesses { seconds: 7 }, 429, true, false),
            (ApiError::OtherSite, 403, false, false),
        ] {
            let said = fault.to_string();
            let response = fault.into_response();
            let has = |name| response.headers().contains_key(name);
            let got =
                (response.status().as_u16(), has(header::RETRY_AFTER), has(header::CONNECTION));
            assert_eq!(got, (status, again, closes), "{said}");
        }
    }
}
