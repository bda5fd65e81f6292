//! Says what is wrong with a set-up, one line a finding, each with what mends it. Changes nothing:
//! the test message through the channel leaves no more than a count, and questions about rights are
//! about things that do not exist.
//!
//! The order is that of an alert's way: our own folder, the store, what we keep there, and the way
//! from the store to us.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    opensearch::Client,
    provision::{self, Error, Options, object::Object},
    secrets::WebhookToken,
};

mod callbacks;
mod engine;
mod folder;
mod heartbeat;
mod loopback;
mod monitors;
mod objects;
mod queues;
mod report;
mod rights;
mod silence;
mod store;
mod tls;

pub use report::{Finding, Report, State};

/// What there is to look at.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What provisioning has to know.
    pub provisioning: provision::Settings,
    /// Whether `serve` provisions.
    pub provisions: bool,
    /// Whether `serve` reconciles.
    pub reconciles: bool,
    /// Folder of the spool.
    pub data_dir: PathBuf,
    /// Size at which the spool takes no more, in bytes.
    pub spool_max_bytes: u64,
    /// Files that secrets are read from.
    pub secret_files: Vec<PathBuf>,
    /// Where `serve` listens.
    pub listen: SocketAddr,
    /// The file of our own certificate, where `serve` speaks TLS.
    pub certificate: Option<PathBuf>,
    /// How long may be between two heartbeats; zero where none is expected.
    pub heartbeat: Duration,
    /// After how many days without an alert a monitor is one that says nothing; 0 never.
    pub silence_days: u32,
    /// Whether monitors that do not send to us are looked at too.
    pub all_monitors: bool,
    /// How many callbacks are enabled.
    pub callbacks: usize,
    /// How many lists in Redis are taken.
    pub queues: usize,
    /// Our secret, where it is known.
    pub token: Option<WebhookToken>,
}

/// Looks at the store, at what we keep in it, at the way from it to us, and at our own folder.
pub async fn run(client: &Client, setup: &Setup) -> Report {
    let mut report = Report::default();
    folder::look(&mut report, setup);
    tls::look(&mut report, setup);
    callbacks::look(&mut report, setup).await;
    queues::look(&mut report, setup).await;
    let Some(can) = store::reach(&mut report, client).await else { return report };
    let about = &can.about;
    store::version(&mut report, client, setup, &can).await;
    let is_builtin = engine::look(&mut report, client, setup).await;
    let has_alerting = about.is_opensearch && setup.provisioning.may_have_monitors && !is_builtin;
    let lacks_plugins = has_alerting && store::plugins(&mut report, &can);
    if about.is_opensearch {
        rights::look(&mut report, client, setup).await;
    }
    store::clock(&mut report, client).await;
    store::indices(&mut report, client, &setup.provisioning.index_pattern).await;
    objects_and_back(&mut report, client, setup, lacks_plugins).await;
    report
}

/// What we keep in the store, and the way back to us.
async fn objects_and_back(
    report: &mut Report,
    client: &Client,
    setup: &Setup,
    lacks_plugins: bool,
) {
    let desired = match provision::desired(&setup.provisioning) {
        Ok(desired) => desired,
        Err(fault) => {
            let mend = "correct the file in ALERTLOOP_PROVISIONING_DIR";
            return report.fail("files", fault.to_string(), mend);
        }
    };
    objects::foreign_template(report, client, setup, &desired).await;
    match provision::probe(client, &setup.provisioning, &desired, Options::default()).await {
        Ok(live) => {
            objects::look(report, setup, &desired, &live, lacks_plugins);
            if live.can_have(Object::Monitor)
                && let Some(monitors) = monitors::look(report, client, &desired).await
            {
                silence::look(report, client, setup, &monitors).await;
                heartbeat::look(report, setup, &monitors).await;
            }
            if live.can_have(Object::Channel) {
                loopback::deny_list(report, client, &setup.provisioning.webhook_url).await;
                loopback::test(report, client, setup, &live).await;
            }
        }
        Err(Error::Store { what, fault }) => {
            report.fail("objects", format!("{what}: {fault}"), report::mend_of(&fault));
        }
        Err(fault) => report.fail("objects", fault.to_string(), "look into the store's log"),
    }
}

#[cfg(test)]
impl Setup {
    /// A set-up that needs nothing.
    fn for_tests() -> Self {
        Self {
            provisioning: provision::Settings {
                index_pattern: "s-*".to_owned(),
                ..provision::Settings::for_tests()
            },
            provisions: true,
            reconciles: true,
            data_dir: PathBuf::new(),
            spool_max_bytes: 1 << 30,
            secret_files: Vec::new(),
            listen: ([127, 0, 0, 1], 0).into(),
            certificate: None,
            heartbeat: Duration::ZERO,
            silence_days: 0,
            all_monitors: false,
            callbacks: 0,
            queues: 0,
            token: None,
        }
    }
}
