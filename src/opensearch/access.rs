//! The security plugin's REST API for administrators: roles, users, and who has which role.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error, segment};

/// What there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Permissions.
    Role,
    /// Who has a role of the same name.
    Mapping,
    /// A user that the store itself knows.
    User,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Mapping => "mapping",
            Self::User => "user",
        }
    }

    fn path(self, name: &str) -> String {
        let kind = match self {
            Self::Role => "roles",
            Self::Mapping => "rolesmapping",
            Self::User => "internalusers",
        };
        format!("/_plugins/_security/api/{kind}/{}", segment(name))
    }
}

/// One of a kind; `None` where there is none of this name.
///
/// # Errors
/// [`Error`]; 404 where the answer is not the plugin's.
pub async fn get(client: &Client, kind: Kind, name: &str) -> Result<Option<Value>, Error> {
    let path = kind.path(name);
    let (status, bytes) = client.exchange(Method::Get, &path, None).await?;
    let answer: Option<Value> = serde_json::from_slice(&bytes).ok();
    match status {
        200 => {
            let mut answer = answer.ok_or_else(|| Error::Malformed("not JSON".to_owned()))?;
            Ok(Some(answer[name].take()).filter(|found| !found.is_null()))
        }
        // Without the plugin nobody knows the address, and the answer has another form.
        404 if answer.as_ref().is_some_and(|answer| answer["status"] == "NOT_FOUND") => Ok(None),
        _ => Err(Error::refused(status, &bytes)),
    }
}

/// Makes it, or puts `body` in its place.
///
/// # Errors
/// [`Error`]; 409 where somebody changed one of the same kind meanwhile.
pub async fn put(client: &Client, kind: Kind, name: &str, body: &Value) -> Result<(), Error> {
    let (status, bytes) = client.exchange(Method::Put, &kind.path(name), Some(body)).await?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    // The plugin tells what is wrong in words of its own, not under `error`.
    let answer: Option<Value> = serde_json::from_slice(&bytes).ok();
    let words = answer.as_ref().and_then(|answer| {
        answer["message"].as_str().or_else(|| answer["reason"].as_str()).map(str::to_owned)
    });
    match words {
        Some(reason) => Err(Error::Status { status, reason }),
        None => Err(Error::refused(status, &bytes)),
    }
}
