//! Who asks, and what they may do: found out before a handler runs, so that none can forget it.

use std::{net::IpAddr, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{ApiError, State, access::Denied};

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

    /// Whether alerts may be posted with it, as Malcolm's roles may post to its API.
    #[must_use]
    pub fn may_post(self) -> bool {
        self >= Self::Operator
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Reader, Self::Operator, Self::Admin].into_iter().find(|role| role.name() == name)
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
        admit(parts, state, Role::Reader).await.map(Self)
    }
}

impl FromRequestParts<Arc<State>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        admit(parts, state, Role::Operator).await.map(Self)
    }
}

impl FromRequestParts<Arc<State>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        admit(parts, state, Role::Admin).await.map(Self)
    }
}

/// Where a request came from, before any proxy's word is believed.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Lets in who may do this; a change only where no page of another site had a browser ask for it.
async fn admit(parts: &Parts, state: &State, needed: Role) -> Result<Caller, ApiError> {
    // Nobody knows where a request came from that has none.
    let Some(Peer(peer)) = parts.extensions.get().copied() else {
        return Err(ApiError::Unauthorized);
    };
    let (access, headers) = (&state.access, &parts.headers);
    let found = match access.caller(headers, peer) {
        Ok(_) if !parts.method.is_safe() && access.is_of_other_site(headers, peer) => {
            Err(Denied::OtherSite)
        }
        Ok(caller) if caller.role < needed => Err(Denied::TooLittle { needed, has: caller.role }),
        found => found,
    };
    match found {
        Ok(caller) => Ok(caller),
        Err(denied) => Err(access.refuse(denied, access.client(headers, peer)).await),
    }
}
