//! Who asks, and what they may do: found out before a handler runs, so that none can forget it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};

use super::{ApiError, State};

/// What somebody may do on the page and in the API; who may more may also do what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads everything.
    Reader,
    /// Acknowledges alerts, and sends dead letters and deliveries again.
    Operator,
    /// Removes dead letters for good, and switches monitors on and off.
    Admin,
}

impl Role {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's name; `None` for somebody on this machine where there is no login.
    pub name: Option<String>,
    /// The most that they may do.
    pub role: Role,
}

/// Somebody who may read.
pub struct Reader(pub Caller);
/// Somebody who may acknowledge and send again.
pub struct Operator(pub Caller);
/// Somebody who may remove and switch.
pub struct Admin(pub Caller);

impl FromRequestParts<Arc<State>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        admit(parts, state, Role::Reader).map(Self)
    }
}

impl FromRequestParts<Arc<State>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        admit(parts, state, Role::Operator).map(Self)
    }
}

impl FromRequestParts<Arc<State>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        admit(parts, state, Role::Admin).map(Self)
    }
}

/// Lets in who may do this.
fn admit(parts: &Parts, state: &State, needed: Role) -> Result<Caller, ApiError> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    let caller = peer.and_then(|peer| state.access.caller(&parts.headers, peer));
    match caller {
        Some(caller) if caller.role >= needed => Ok(caller),
        Some(caller) => Err(ApiError::Forbidden { needed, has: caller.role }),
        None if state.access.has_login() => Err(ApiError::Unauthorized),
        None => {
            let how = "the API is off: set ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD, or ask from this machine";
            Err(ApiError::NotFound(how.to_owned()))
        }
    }
}
