//! What has to be so before records can be written, and what is set up in the store: the index
//! template, then the gate of the writer opens; the channel and the monitor, at the same time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    clock,
    http::{Readiness, access::Access},
    intake_token,
    lease::{ReplicaId, Turn},
    opensearch::Client,
    provision::{self, Applied, ChannelSecret, Options, TemplateMode},
    record::{Naming, fields::FieldSet},
    secrets::WebhookToken,
    writer::{self, backoff::Backoff},
};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often the fields that records may use, and the channel's secret, are read again: templates
/// change, and another replica or an operator may have given the channel another secret.
const AGAIN_EVERY: Duration = Duration::from_mins(1);

/// Everything that the set-up touches.
pub struct Preparation {
    pub client: Client,
    pub settings: provision::Settings,
    /// Whether channel and monitor are provisioned.
    pub provision: bool,
    /// Told when our secret is another one.
    pub token_changed: Arc<Notify>,
    pub token_is_configured: bool,
    pub data_dir: PathBuf,
    pub replica: ReplicaId,
    pub naming: Naming,
    pub access: Arc<Access>,
    pub readiness: Arc<Readiness>,
    pub health: Arc<writer::Health>,
    pub open_gate: watch::Sender<Option<Arc<FieldSet>>>,
    /// Told once the channel is there, or where it is left to others.
    pub provisioned: watch::Sender<bool>,
}

impl Preparation {
    /// Prepares, and then keeps the known fields fresh until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        let pattern = &self.settings.index_pattern;
        let mut turn = Turn::new(self.client.clone(), "provisioner", pattern, &self.replica);
        tokio::join!(self.open_gate(stop), self.provision(&mut turn, stop));
        let (mut is_first, mut is_due) = (true, false);
        loop {
            let wait = async {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_EVERY) => false,
                    () = self.token_changed.notified() => true,
                }
            };
            let Some(has_changed) = stop.run_until_cancelled(wait).await else { return };
            is_due |= has_changed;
            if is_due || std::mem::take(&mut is_first) {
                // Where our secret has changed, until it is done.
                is_due &= !self.provision_again(&mut turn, stop).await;
            }
            if has_changed {
                continue;
            }
            if let Ok(fields) = self.fields().await {
                self.open_gate.send_replace(Some(Arc::new(fields)));
            }
            self.follow_secret().await;
        }
    }

    /// Waits for the index template, making ours where that is asked for; then lets records through.
    async fn open_gate(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut said = String::new();
        loop {
            let waits_for = match self.template().await {
                Ok(Some(fields)) => {
                    self.open_gate.send_replace(Some(Arc::new(fields)));
                    self.readiness.waits_for(None);
                    self.health.succeeded();
                    return;
                }
                Ok(None) => format!(
                    "waiting for the index template {}; alerts are kept until it is there",
                    self.settings.malcolm_template
                ),
                Err(fault) => format!("waiting for the store: {fault}"),
            };
            if waits_for != said {
                info!("{waits_for}");
                self.readiness.waits_for(Some(waits_for.clone()));
                said = waits_for;
            }
            let wait = tokio::time::sleep(backoff.next_wait());
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// The fields that records may use, once the template is there.
    async fn template(&self) -> Result<Option<FieldSet>, provision::Error> {
        // Without channel and monitor: those must not keep records waiting.
        let alone = Options::SESSION_TEMPLATE;
        let applied = provision::apply(&self.client, &self.settings, &self.secret(), alone).await?;
        if !applied.template_ready {
            return Ok(None);
        }
        let fields = self.fields().await;
        fields.map(Some).map_err(provision::Error::store("cannot read the fields of the index"))
    }

    async fn fields(&self) -> Result<FieldSet, crate::opensearch::Error> {
        if self.settings.template == TemplateMode::None {
            return Ok(FieldSet::everything());
        }
        let index = self.naming.index.index(clock::now(), |_| None);
        provision::known_fields(&self.client, &index).await
    }

    async fn provision(&self, turn: &mut Turn, stop: &CancellationToken) {
        if !self.provision || !self.settings.may_have_monitors {
            self.readiness.provisioning("off");
            self.provisioned.send_replace(true);
            if self.provision {
                warn!(
                    "channels and monitors are not provisioned: OPENSEARCH_PRIMARY names Elasticsearch, which has none (ALERTLOOP_MONITORS=builtin has alertloop run them itself); alerts of other sources are recorded all the same"
                );
            }
            return;
        }
        // The template is the gate's business.
        let settings =
            provision::Settings { template: TemplateMode::None, ..self.settings.clone() };
        let ready = |applied: &Applied| self.provisioned(applied);
        provision::run(&self.client, &settings, &self.secret(), turn, ready, stop).await;
    }

    /// Once more, when all that start together with us have started: Malcolm's own script may have
    /// made its objects right after we looked. And whenever our secret has changed. Tells whether the
    /// channel is as it should be; then only what it carries admits.
    async fn provision_again(&self, turn: &mut Turn, stop: &CancellationToken) -> bool {
        if !self.provision || !self.settings.may_have_monitors {
            // The channel is somebody else's business.
            self.access.retire();
            return true;
        }
        let secret = self.secret();
        let options = Options::default();
        let mut is_done = false;
        turn.take(stop).await;
        // What fails now was done before; the doctor tells the rest.
        if !stop.is_cancelled()
            && let Ok(applied) =
                provision::apply(&self.client, &self.settings, &secret, options).await
        {
            self.provisioned(&applied);
            self.access.retire();
            is_done = true;
        }
        turn.end().await;
        is_done
    }

    /// Accepts the secret that the channel carries now, whoever put it there.
    async fn follow_secret(&self) {
        if !self.provision || !self.settings.may_have_monitors || self.token_is_configured {
            return;
        }
        let found = provision::token_in_use(&self.client).await;
        if let Ok(Some(token)) = found {
            self.adopt(&token);
        }
    }

    /// The secret that the channel should carry.
    fn secret(&self) -> ChannelSecret {
        // There always is one.
        let token = self.access.own().unwrap_or_else(WebhookToken::generate);
        ChannelSecret::new(token, self.token_is_configured)
    }

    fn provisioned(&self, applied: &Applied) {
        if !self.token_is_configured {
            self.adopt(&applied.token);
        }
        self.readiness.provisioning("done");
        self.provisioned.send_replace(true);
    }

    /// Takes over the secret that the channel carries: the first of several replicas decides it.
    fn adopt(&self, token: &WebhookToken) {
        if self.access.admit(token.clone()) {
            info!("the channel carries another secret than ours, which is accepted from now on");
            if let Err(fault) = intake_token::keep(&self.data_dir, token) {
                error!(error = %fault, "cannot keep the channel's secret; after a restart its alerts are refused until the store answers");
            }
        }
    }
}
