//! The user that alertloop is to the store, and the roles that it has.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Step, Work, new_password};
use crate::{
    opensearch::{Client, Error, security},
    provision::plan::Action,
    secrets::{Login, Password},
};

/// Who gets the roles.
#[derive(Clone, Debug)]
pub struct OwnUser {
    /// The name: of the login, or the one that the store reads from a client certificate.
    pub name: String,
    /// Whether it is to be among the store's own users; not where it comes with a certificate, or
    /// from a directory.
    pub is_internal: bool,
    /// The login, as far as it is known.
    pub login: Option<Login>,
    /// Where the service looks for it; `None` where it is known from elsewhere.
    pub file: Option<PathBuf>,
    /// Whether the user gets this password, or a new one, although it has another.
    pub reset_password: bool,
}

/// Whether the store takes the login.
pub(super) async fn is_let_in(
    login: &Login,
    open: impl Fn(&Login) -> anyhow::Result<Client>,
) -> Result<bool, Error> {
    let client = open(login).map_err(|fault| Error::Unreachable(format!("{fault:#}")))?;
    match security::whoami(&client).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.status() == Some(401) => Ok(false),
        // It is known, and may not ask who it is.
        Err(fault) if fault.status() == Some(403) => Ok(true),
        Err(fault) => Err(fault),
    }
}

/// What happens to the user and to the file with its login. `is_let_in` tells, where the user is
/// there and the login known, whether they fit.
pub(super) fn steps(user: &OwnUser, live: Option<&Value>, is_let_in: Option<bool>) -> Vec<Step> {
    let name = user.name.clone();
    if !user.is_internal {
        return Vec::new();
    }
    let of_user = |action, work| Step { object: "user", name: name.clone(), action, work };
    let leave = |reason: String| {
        vec![of_user(Action::Leave { reason, warning: true, diff: Vec::new() }, None)]
    };
    let is_reserved = live.is_some_and(|live| live["reserved"] == true || live["hidden"] == true);
    match (live, is_let_in, user.reset_password) {
        (Some(_), Some(true), _) => vec![of_user(Action::InSync, None)],
        (Some(_), _, true) if is_reserved => {
            leave("reserved: change its password in the files that it comes from".to_owned())
        }
        (Some(_), Some(false), false) => leave(
            "it has another password than OPENSEARCH_CREDS_CONFIG_FILE; correct that, or --reset-password gives it the file's"
                .to_owned(),
        ),
        (Some(_), None, false) => leave(
            "it is there, and its password is not known here; write it into OPENSEARCH_CREDS_CONFIG_FILE, or --reset-password makes a new one"
                .to_owned(),
        ),
        (live, ..) => {
            let login = user.login.clone();
            let is_new = login.is_none();
            let login =
                login.unwrap_or_else(|| Login { user: name.clone(), password: new_password() });
            // The file comes first: a password that only the store knows is lost.
            let file = user.file.clone().filter(|_| is_new).map(|path| Step {
                object: "file",
                name: path.display().to_string(),
                action: Action::Create,
                work: Some(Work::Write(path, login.clone())),
            });
            let step = if live.is_some() {
                let reason = "its password is set".to_owned();
                let action = Action::Update { reason, diff: Vec::new() };
                of_user(action, Some(Work::SetPassword(login)))
            } else {
                of_user(Action::Create, Some(Work::MakeUser(login)))
            };
            file.into_iter().chain([step]).collect()
        }
    }
}

/// What happens so that the user has a role.
pub(super) fn mapping(
    role: &str,
    user: &str,
    live: Option<&Value>,
    live_user: Option<&Value>,
) -> Step {
    let holds = |value: Option<&Value>, key: &str, what: &str| {
        let list = value.and_then(|value| value[key].as_array()).into_iter().flatten();
        list.into_iter().any(|one| one == what)
    };
    let has = holds(live, "users", user) || holds(live_user, "opendistro_security_roles", role);
    let is_reserved = live.is_some_and(|live| live["reserved"] == true || live["hidden"] == true);
    let work = Work::Map { role: role.to_owned(), user: user.to_owned() };
    let (action, work) = if has {
        (Action::InSync, None)
    } else if is_reserved {
        let reason = "reserved: change it in the files that it comes from".to_owned();
        (Action::Leave { reason, warning: true, diff: Vec::new() }, None)
    } else if live.is_some() {
        let reason = format!("{user} gets it too");
        (Action::Update { reason, diff: vec![format!("+ user {user}")] }, Some(work))
    } else {
        (Action::Create, Some(work))
    };
    Step { object: "mapping", name: role.to_owned(), action, work }
}

/// A mapping with this user, and with all who were in it.
pub(super) fn mapped(live: Option<&Value>, user: &str) -> Value {
    let mut mapping =
        kept(live, &["description", "backend_roles", "and_backend_roles", "hosts", "users"]);
    let mut users = mapping["users"].as_array().cloned().unwrap_or_default();
    if users.iter().all(|one| one != user) {
        users.push(json!(user));
    }
    mapping["users"] = Value::from(users);
    mapping
}

/// A user with another password, and with all else that it had.
pub(super) fn with_password(live: Option<&Value>, password: &Password) -> Value {
    let keys = ["description", "backend_roles", "attributes", "opendistro_security_roles"];
    let mut user = kept(live, &keys);
    user["password"] = json!(password.expose());
    user
}

fn kept(live: Option<&Value>, keys: &[&str]) -> Value {
    let kept = keys.iter().filter_map(|key| {
        let value = live?.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    });
    Value::Object(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(login: Option<&str>, reset_password: bool) -> OwnUser {
        OwnUser {
            name: "al".to_owned(),
            is_internal: true,
            login: login.map(|password| Login {
                user: "al".to_owned(),
                password: password.to_owned().into(),
            }),
            file: Some("/x/curlrc".into()),
            reset_password,
        }
    }

    #[test]
    fn a_password_is_changed_only_where_that_was_asked_for() {
        let live = json!({"reserved": false});
        let reserved = json!({"reserved": true});
        for (login, reset, live, is_let_in, want) in [
            (None, false, None, None, "file create, user create"),
            (Some("p"), false, None, None, "user create"),
            (Some("p"), false, Some(&live), Some(true), "user sync"),
            (Some("p"), true, Some(&live), Some(true), "user sync"),
            (Some("p"), false, Some(&live), Some(false), "user leave"),
            (Some("p"), true, Some(&live), Some(false), "user update"),
            (Some("p"), true, Some(&reserved), Some(false), "user leave"),
            (None, false, Some(&live), None, "user leave"),
            (None, true, Some(&live), None, "file create, user update"),
        ] {
            let steps = steps(&own(login, reset), live, is_let_in);
            let told = steps.iter().map(|step| {
                let word = match step.action {
                    Action::Create => "create",
                    Action::Update { .. } => "update",
                    Action::Leave { warning: true, .. } => "leave",
                    _ => "sync",
                };
                assert_eq!(step.work.is_some(), matches!(word, "create" | "update"));
                format!("{} {word}", step.object)
            });
            assert_eq!(told.collect::<Vec<_>>().join(", "), want);
            assert!(!format!("{steps:?}").contains("Al-"), "a password is not printed");
        }
        let outside = OwnUser { is_internal: false, ..own(None, false) };
        assert!(super::steps(&outside, None, None).is_empty());
    }

    #[test]
    fn another_password_changes_nothing_else() {
        let live = json!({"hash": "", "reserved": false, "hidden": false, "static": false,
            "backend_roles": ["soc"], "attributes": {"a": "b"}, "opendistro_security_roles": []});
        assert_eq!(
            with_password(Some(&live), &"new".to_owned().into()),
            json!({"backend_roles": ["soc"], "attributes": {"a": "b"},
                "opendistro_security_roles": [], "password": "new"})
        );
    }

    #[test]
    fn a_mapping_keeps_whom_it_has() {
        let live = json!({"hosts": ["h"], "users": ["ann"], "backend_roles": ["soc"],
            "and_backend_roles": [], "reserved": false});
        let mapped = mapped(Some(&live), "al");
        assert_eq!(
            mapped,
            json!({"hosts": ["h"], "users": ["ann", "al"], "backend_roles": ["soc"],
                "and_backend_roles": []})
        );
        assert_eq!(super::mapped(Some(&mapped), "al"), mapped);
        let has_it_itself = json!({"opendistro_security_roles": ["r"]});
        for (live, live_user, want) in [
            (None, None, "create"),
            (Some(&live), None, "+ user al"),
            (Some(&mapped), None, "InSync"),
            (None, Some(&has_it_itself), "InSync"),
        ] {
            let step = mapping("r", "al", live, live_user);
            let told = format!("{:?}", step.action).replace("Create", "create");
            assert!(told.contains(want), "{told}, not {want}");
        }
    }
}
