//! What alertloop needs in OpenSearch's security plugin, brought there by an administrator: its
//! roles, its user, and that the user has the roles. `look` finds what is to be done, `apply` does
//! it; both may be run again and again.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    data_file,
    opensearch::{
        Client, Error,
        access::{self, Kind},
    },
    provision::plan::Action,
    secrets::{Login, Password, WebhookToken},
};

mod role;
mod user;

pub use role::{MONITORS, Role, shipped};
pub use user::OwnUser;

/// How often a change is tried anew that met another one: all roles are one document.
const TRIES: u32 = 5;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The roles, for the indices of this installation.
    pub roles: Vec<Role>,
    /// Who gets them.
    pub user: OwnUser,
    /// Whether roles that a user edited become as they are shipped.
    pub force: bool,
}

/// What happens, in this order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// One step an object, also for those that need nothing.
    pub steps: Vec<Step>,
    /// Whether it was done.
    pub applied: bool,
}

/// What happens to one object.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its kind: `role`, `user`, `mapping` or `file`.
    pub object: &'static str,
    /// Its name.
    pub name: String,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
    #[serde(skip)]
    work: Option<Work>,
}

/// What `apply` does for a step.
#[derive(Clone, Debug)]
enum Work {
    Put(Kind, String, Value),
    /// Makes the user with this password.
    MakeUser(Login),
    /// Gives the user this password, and leaves all else of it.
    SetPassword(Login),
    /// Has the role given to the user, besides those who have it.
    Map {
        role: String,
        user: String,
    },
    /// Writes the login where the service looks for it.
    Write(PathBuf, Login),
}

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store did not do it.
    #[error("{object} {name}: {fault}{}", mend_of(fault))]
    Store {
        /// What it was about.
        object: &'static str,
        /// Which one.
        name: String,
        /// What the store said.
        fault: Error,
    },
    /// The file with the login cannot be written; nothing was done in the store.
    #[error("cannot write {}: {fault}; nothing was changed; give OPENSEARCH_CREDS_CONFIG_FILE a path that this user may write", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        fault: std::io::Error,
    },
}

fn mend_of(fault: &Error) -> &'static str {
    match fault.status() {
        Some(401) => "; correct the administrator's login",
        Some(403) => {
            "; the administrator needs a role of plugins.security.restapi.roles_enabled, or name the administrator's certificate with --admin-cert and --admin-key"
        }
        Some(404 | 405) => "; is this an OpenSearch with the security plugin?",
        _ => "",
    }
}

impl Plan {
    /// How many steps there are to do.
    #[must_use]
    pub fn to_do(&self) -> usize {
        self.steps.iter().filter(|step| step.work.is_some()).count()
    }

    /// How much was left as it is that an administrator should look at.
    #[must_use]
    pub fn left(&self) -> usize {
        let is_left = |step: &&Step| matches!(step.action, Action::Leave { warning: true, .. });
        self.steps.iter().filter(is_left).count()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match (self.to_do(), self.applied) {
            (0, _) if self.left() > 0 => {}
            (0, _) => writeln!(f, "Nothing is to do.")?,
            (count, true) => writeln!(f, "Done: {count}.")?,
            (count, false) => {
                writeln!(f, "To do: {count}. `alertloop security-setup apply` does it.")?;
            }
        }
        match self.left() {
            0 => Ok(()),
            count => writeln!(f, "Left as somebody made them, and to be looked at: {count}."),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason, diff): (_, _, &[String]) = match &self.action {
            Action::Create => ("create", "", &[]),
            Action::Update { reason, diff } => ("update", reason, diff),
            Action::Leave { reason, diff, .. } => ("leave", reason, diff),
            Action::Delete { reason } => ("delete", reason, &[]),
            Action::InSync => ("in sync", "", &[]),
            Action::Unavailable { reason } => ("unavailable", reason, &[]),
        };
        write!(f, "{word:<8} {:<8} {}", self.object, self.name)?;
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        for line in diff {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Finds out what is to be done.
///
/// `own` opens a client that logs in as the user itself, to see whether its password is right.
///
/// # Errors
/// [`Fault::Store`]: the administrator is not let in, or there is no security plugin.
pub async fn look(
    admin: &Client,
    wanted: &Wanted,
    own: impl Fn(&Login) -> anyhow::Result<Client>,
) -> Result<Plan, Fault> {
    let mut steps = Vec::new();
    for role in &wanted.roles {
        let live = read(admin, Kind::Role, &role.name).await?;
        steps.push(role::step(role, live.as_ref(), wanted.force));
    }
    let name = &wanted.user.name;
    let live = if wanted.user.is_internal { read(admin, Kind::User, name).await? } else { None };
    let is_let_in = match (&wanted.user.login, &live) {
        (Some(login), Some(_)) => {
            Some(user::is_let_in(login, own).await.map_err(|fault| Fault::Store {
                object: "user",
                name: name.clone(),
                fault,
            })?)
        }
        _ => None,
    };
    steps.extend(user::steps(&wanted.user, live.as_ref(), is_let_in));
    for role in &wanted.roles {
        let mapping = read(admin, Kind::Mapping, &role.name).await?;
        steps.push(user::mapping(&role.name, name, mapping.as_ref(), live.as_ref()));
    }
    Ok(Plan { steps, applied: false })
}

/// Does what a plan says, and stops at the first failure.
///
/// # Errors
/// [`Fault`].
pub async fn apply(admin: &Client, plan: Plan) -> Result<Plan, Fault> {
    for step in &plan.steps {
        match &step.work {
            None => {}
            Some(Work::Write(path, login)) => {
                write(path, login).map_err(|fault| Fault::File { path: path.clone(), fault })?;
            }
            Some(work) => {
                let fault =
                    |fault| Fault::Store { object: step.object, name: step.name.clone(), fault };
                change(admin, work).await.map_err(fault)?;
            }
        }
    }
    Ok(Plan { applied: true, ..plan })
}

async fn change(admin: &Client, work: &Work) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match change_once(admin, work).await {
            Err(fault) if fault.is_conflict() && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

async fn change_once(admin: &Client, work: &Work) -> Result<(), Error> {
    match work {
        Work::Put(kind, name, body) => access::put(admin, *kind, name, body).await,
        Work::MakeUser(login) => {
            let body = json!({"password": login.password.expose(),
                "description": "alertloop, which records alerts"});
            access::put(admin, Kind::User, &login.user, &body).await
        }
        Work::SetPassword(login) => {
            let live = access::get(admin, Kind::User, &login.user).await?;
            let body = user::with_password(live.as_ref(), &login.password);
            access::put(admin, Kind::User, &login.user, &body).await
        }
        Work::Map { role, user } => {
            let live = access::get(admin, Kind::Mapping, role).await?;
            let body = user::mapped(live.as_ref(), user);
            access::put(admin, Kind::Mapping, role, &body).await
        }
        Work::Write(..) => Ok(()),
    }
}

async fn read(admin: &Client, kind: Kind, name: &str) -> Result<Option<Value>, Fault> {
    let read = access::get(admin, kind, name).await;
    read.map_err(|fault| Fault::Store { object: kind.word(), name: name.to_owned(), fault })
}

/// Writes the file as alertloop and curl read it, for this system's user alone.
fn write(path: &std::path::Path, login: &Login) -> std::io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(std::io::ErrorKind::InvalidFilename.into());
    };
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let line = format!("user: \"{}:{}\"", escape(&login.user), escape(login.password.expose()));
    data_file::replace(dir, name, &line)
}

/// A password that nobody has to remember. It has what rules for passwords ask for: capitals,
/// small letters, digits and another character.
#[must_use]
pub fn new_password() -> Password {
    let random = WebhookToken::generate();
    Password::from(format!("Al-{}", &random.expose()[..40]))
}
