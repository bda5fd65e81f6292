//! Where the spool is that a command is about: in a data directory, or with the service that uses it.

use std::io;

use anyhow::{Context as _, bail};
use url::Url;

use super::{health, printed::say};
use crate::{
    config::{Local, SettingsArgs},
    spool::{OpenError, Spool},
};

/// Where the spool is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where they are")]
pub(super) struct Place {
    /// Ask the service at this address, without a look into the data directory
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[arg(long, value_name = "VALUE", help = "Folder of the spool [env: ALERTLOOP_DATA_DIR]")]
    data_dir: Option<String>,
    #[arg(long, value_name = "VALUE", help = "Where the service listens [env: ALERTLOOP_LISTEN]")]
    listen: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "First part of the service's routes [env: MALCOLM_API_PREFIX]"
    )]
    malcolm_api_prefix: Option<String>,
    #[arg(
        long,
        value_name = "VALUE",
        help = "User name of the service's API [env: ALERTLOOP_ADMIN_USER]"
    )]
    admin_user: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "File that holds its password [env: ALERTLOOP_ADMIN_PASSWORD_FILE]"
    )]
    admin_password_file: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "The service's certificate, if it has one [env: ALERTLOOP_TLS_CERT]"
    )]
    tls_cert: Option<String>,
    #[arg(long, value_name = "VALUE", help = "TOML file with settings [env: ALERTLOOP_CONFIG]")]
    config: Option<String>,
}

impl Place {
    fn settings(&self) -> SettingsArgs {
        let given = [
            ("ALERTLOOP_DATA_DIR", &self.data_dir),
            ("ALERTLOOP_LISTEN", &self.listen),
            ("MALCOLM_API_PREFIX", &self.malcolm_api_prefix),
            ("ALERTLOOP_ADMIN_USER", &self.admin_user),
            ("ALERTLOOP_ADMIN_PASSWORD_FILE", &self.admin_password_file),
            ("ALERTLOOP_TLS_CERT", &self.tls_cert),
            ("ALERTLOOP_CONFIG", &self.config),
        ];
        let given = given.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        given.map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

/// A spool that this process has opened, or the address of the service that has it.
pub(super) enum Reached {
    File(Spool, Local),
    Service(Url, Local),
}

/// Opens the spool, which has to be there; while a service uses it, tells where that is.
pub(super) fn reach(place: &Place) -> anyhow::Result<Reached> {
    let local = Local::load(&place.settings())?;
    for warning in &local.warnings {
        say(&format!("note: {warning}"));
    }
    if let Some(url) = &place.url {
        return Ok(Reached::Service(url.clone(), local));
    }
    let (dir, file) = (&local.data_dir, local.data_dir.join("spool.db"));
    match file.metadata() {
        Ok(_) => {}
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => bail!(
            "no spool at {}; set ALERTLOOP_DATA_DIR to the service's data directory, or ask the service with --url",
            file.display()
        ),
        Err(fault) => {
            return Err(fault).with_context(|| {
                format!("cannot look into {}; run this as the service's user, or ask the service with --url", dir.display())
            });
        }
    }
    match Spool::open(dir, local.spool_max_bytes) {
        Ok(spool) => Ok(Reached::File(spool, local)),
        Err(OpenError::Locked { .. }) => {
            let url = health::base(local.listen, local.is_tls)?;
            Ok(Reached::Service(url, local))
        }
        Err(fault) => Err(fault.into()),
    }
}
