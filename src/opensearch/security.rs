//! The security plugin: who we are to the store, and what we may do there.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error};

/// A user as the security plugin sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name, or the subject of a client certificate.
    pub name: String,
    /// The roles that give it its permissions.
    pub roles: Vec<String>,
    /// The groups it belongs to; Alerting and Notifications may show it only theirs.
    pub backend_roles: Vec<String>,
}

/// What a dry run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Given,
    /// It may not, for want of these permissions.
    Lacking(Vec<String>),
    /// This version of the plugin does not tell.
    Unknown,
}

/// Who we are; `None` where there is no security plugin.
///
/// # Errors
/// [`Error`].
pub async fn whoami(client: &Client) -> Result<Option<User>, Error> {
    match client.call(Method::Get, "/_plugins/_security/authinfo", None).await {
        Ok(answer) => Ok(Some(read_user(&answer))),
        // Without the plugin nobody knows the address.
        Err(fault) if fault.is_unavailable() || fault.is_not_found() => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn read_user(answer: &Value) -> User {
    let list = |key: &str| {
        let list = answer.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let name = answer.get("user_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    User { name, roles: list("roles"), backend_roles: list("backend_roles") }
}

/// Asks whether a call would be allowed, without making it: `perform_permission_check`, which the
/// plugin of 3.4.0 knows. A store that does not know it, as 2.19.4, refuses the call for it (400).
///
/// # Errors
/// [`Error`], where there is no answer.
pub async fn may(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Leave, Error> {
    let path = format!("{path}?perform_permission_check=true");
    match client.call(method, &path, body).await {
        Ok(answer) => Ok(read_leave(&answer)),
        Err(fault) if fault.status() == Some(403) => {
            Ok(Leave::Lacking(missing(&fault).map(str::to_owned).into_iter().collect()))
        }
        Err(fault) if fault.status().is_some() => Ok(Leave::Unknown),
        Err(fault) => Err(fault),
    }
}

fn read_leave(answer: &Value) -> Leave {
    let missing = answer.get("missingPrivileges").and_then(Value::as_array).into_iter().flatten();
    match answer.get("accessAllowed").and_then(Value::as_bool) {
        Some(true) => Leave::Given,
        Some(false) => {
            Leave::Lacking(missing.filter_map(|one| one.as_str().map(str::to_owned)).collect())
        }
        None => Leave::Unknown,
    }
}

/// The permission that a 403 of the security plugin names. Only its words tell it, so this is for
/// people: what a 403 means is decided by the status.
#[must_use]
pub fn missing(fault: &Error) -> Option<&str> {
    let Error::Status { status: 403, reason } = fault else { return None };
    let (_, rest) = reason.split_once("no permissions for [")?;
    // An action such as `indices:data/write/bulk[s]` has brackets of its own.
    rest.split_once("] and ").map(|(permission, _)| permission)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_is_read() {
        let answer = json!({"user_name": "alertloop", "roles": ["own_index", "alertloop"],
            "backend_roles": [], "peer_certificates": "0"});
        let user = read_user(&answer);
        assert_eq!((user.name.as_str(), user.roles.len()), ("alertloop", 2));
        assert_eq!(read_user(&json!(null)), User::default());
    }

    #[test]
    fn a_dry_run_is_read_as_far_as_the_plugin_tells() {
        let lacking = Leave::Lacking(vec!["indices:admin/create".to_owned()]);
        for (answer, want) in [
            (json!({"accessAllowed": true, "missingPrivileges": []}), Leave::Given),
            (
                json!({"accessAllowed": false, "missingPrivileges": ["indices:admin/create"]}),
                lacking,
            ),
            // Notifications reads the plugin's answer as its own.
            (json!({"config_id": "\u{0}"}), Leave::Unknown),
        ] {
            assert_eq!(read_leave(&answer), want);
        }
    }

    #[test]
    fn the_missing_permission_is_named_where_the_store_names_it() {
        let error = |status, reason: &str| Error::Status { status, reason: reason.to_owned() };
        let whole = "no permissions for [indices:data/write/bulk[s]] and User [name=a, b=[]]";
        for (fault, want) in [
            (error(403, whole), Some("indices:data/write/bulk[s]")),
            (error(403, "User doesn't have backend roles configured"), None),
            (error(401, whole), None),
            (Error::Unreachable(whole.to_owned()), None),
        ] {
            assert_eq!(missing(&fault), want);
        }
    }
}
