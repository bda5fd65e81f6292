//! Who may come in, and how many.

use std::path::PathBuf;

use crate::{
    http::{
        caller::Role,
        proxies::{Proxies, Roles},
    },
    secrets::Password,
    serving::Limits,
    tls,
};

/// Who may come in, and how many.
#[derive(Clone, Debug)]
pub struct Locks {
    /// Proxies whose word about users counts.
    pub proxies: Proxies,
    /// What Malcolm's roles may do.
    pub roles: Roles,
    /// Who may log in: the administrator first, then each `[[user]]`.
    pub users: Vec<Person>,
    /// TLS of our own port, where there is any.
    pub tls: Option<tls::Files>,
    /// How many connections there may be.
    pub limits: Limits,
    /// The file of the intake secret, where it is in one.
    pub token_file: Option<PathBuf>,
    /// The same of the one before.
    pub token_previous_file: Option<PathBuf>,
}

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// The most that they may do.
    pub role: Role,
    /// Their password.
    pub password: Password,
    /// The file that it was read from, where it was.
    pub file: Option<PathBuf>,
}
