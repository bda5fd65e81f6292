//! The only wiring: settings → parts → tasks; what runs while it serves, and in which order it
//! stops: readiness first, a moment later the intake, then the writer, then the spool.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum_server::Handle;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    callback::{
        dispatcher::{self, Dispatcher},
        runner::{self, Runner},
    },
    clock,
    config::{self, Config},
    doctor,
    engaged::{self, Engaged},
    heartbeat::Heartbeat,
    history::{self, History},
    http::{self, Readiness, access::Access},
    intake_token,
    lease::{self, Lease, ReplicaId},
    monitors::Monitors,
    opensearch::Client,
    page, provision, queue,
    reconcile::{self, Reconciler},
    record::{Naming, index_name::IndexName},
    secrets::WebhookToken,
    serving::{self, Doorway},
    shutdown,
    spool::{DeliveryChange, Spool},
    telemetry,
    tls::Tls,
    writer::{self, Writer},
};

mod keys;
mod monitors;
mod preparation;

/// Two bulk requests at once keep the store busy while one answer is on its way.
const IN_FLIGHT: usize = 2;
/// How often the metrics are tidied up.
const UPKEEP: Duration = Duration::from_secs(5);
/// What the writer and the spool need at the end of a stop.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// Serves until a signal asks for a stop.
///
/// # Errors
/// When it cannot start, or a part of it ends by itself.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("cannot listen for signals")?;
    let metrics = telemetry::install_metrics()?;
    App::build(config, metrics)?.run(stop).await
}

/// Everything that serves, bound and opened, but not running yet.
pub struct App {
    config: Config,
    doorway: Doorway,
    tls: Option<Tls>,
    spool: Arc<Spool>,
    client: Client,
    access: Arc<Access>,
    naming: Naming,
    replica: ReplicaId,
    metrics: PrometheusHandle,
}

impl App {
    /// Opens the spool, finds the secret, binds the address. The store is not asked for anything.
    ///
    /// # Errors
    /// Each says what to do about it.
    pub fn build(config: Config, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let spool = Arc::new(Spool::open(&config.data_dir, config.spool_max_bytes)?);
        let token = match &config.token {
            Some(token) => token.clone(),
            None => intake_token::load_or_make(&config.data_dir)
                .context("cannot keep the intake secret in the data directory")?,
        };
        let replica = ReplicaId::load_or_make(&config.data_dir)
            .context("cannot keep the replica's id in the data directory")?;
        let locks = &config.locks;
        let access = Access::new(vec![token], config.intake_open, None)
            .with_parameter(config.token_parameter.clone())
            .with_proxies(locks.proxies.clone(), locks.roles.clone());
        access.set_previous(config.token_previous.clone());
        access.set_users(keys::users(locks.users.iter()));
        let tls = locks.tls.clone().map(Tls::load).transpose()?;
        let client = Client::following(&config.store, config.store_files.clone())?;
        let settings = &config.index;
        let index = IndexName::new(&settings.pattern, &settings.suffix)
            .map_err(|fault| anyhow::anyhow!("MALCOLM_NETWORK_INDEX_SUFFIX: {fault}"))?;
        let naming = Naming { index, time_field: settings.time_field.clone() };
        let doorway = Doorway::bind(config.listen, locks.limits, locks.proxies.clone());
        let doorway = doorway.with_context(|| {
            format!("cannot listen on {}; set ALERTLOOP_LISTEN to a free address", config.listen)
        })?;
        let access = Arc::new(access);
        Ok(Self { config, doorway, tls, spool, client, access, naming, replica, metrics })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.doorway.address().context("cannot tell the bound address")
    }

    /// Serves until `stop`, then drains within the configured time.
    ///
    /// # Errors
    /// When a part ends by itself: the process shall end too, and be started again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let address = self.address()?;
        let readiness = Arc::new(Readiness::default());
        let health = Arc::new(writer::Health::default());
        let (open_gate, gate) = watch::channel(None);
        let (server, last, mut parts) = (Handle::new(), CancellationToken::new(), JoinSet::new());

        let (provisioned, is_provisioned) = watch::channel(false);
        let status = Arc::new(reconcile::Status::new(self.config.reconciles()));
        let gates = (gate.clone(), is_provisioned);
        let reconciler = self.reconciler(gates.clone(), Arc::clone(&status));
        let writer_settings = self.writer_settings();
        let callbacks = Arc::new(self.callbacks_status());
        let deciding = self.begin_callbacks(&callbacks).await;
        let queues = Arc::new(self.queues_status());
        let taking = CancellationToken::new();
        let reading = self.read_queues(Arc::clone(&queues), taking.clone());
        parts.spawn(lasting(reading, last.clone()));
        let (ready, fares) = (Arc::clone(&readiness), Arc::clone(&health));
        let state = self.state((ready, fares), status, callbacks, queues);
        parts.spawn(lasting(self.monitors(gates, &state, taking.clone()), last.clone()));
        let feed = Arc::clone(&state.page.feed);
        parts.spawn(lasting(Arc::clone(&feed).run(last.clone()), last.clone()));
        let (heartbeat, until) = (Arc::clone(&state.heartbeat), last.clone());
        parts.spawn(lasting(async move { heartbeat.watch(&until).await }, last.clone()));
        let router = http::router(state, &self.config.api_prefix);
        let closing = CancellationToken::new();
        let end = (server.clone(), closing.clone());
        parts.spawn(serving::serve(self.doorway, router, self.tls.clone(), end));
        if let Some(tls) = self.tls {
            parts.spawn(lasting(tls.watch(last.clone()), last.clone()));
        }
        let token_changed = Arc::new(Notify::new());
        let keys =
            keys::Keys::new(&self.config, Arc::clone(&self.access), Arc::clone(&token_changed));
        parts.spawn(lasting(keys.follow(last.clone()), last.clone()));

        let (spool, client) = (Arc::clone(&self.spool), self.client.clone());
        let writer = Writer::new(spool, client, writer_settings, gate, Arc::clone(&health));
        let (writer, until) = (writer.telling(feed.news()), last.clone());
        parts.spawn(async move { writer.run(&until).await.context("the writer") });

        if let Some((dispatcher, runner)) = deciding {
            let until = last.clone();
            parts.spawn(lasting(async move { dispatcher.run(&until).await }, last.clone()));
            let until = last.clone();
            parts.spawn(async move { runner.run(&until).await.context("the callbacks") });
        }
        if let Some(reconciler) = reconciler {
            let until = last.clone();
            parts.spawn(lasting(async move { reconciler.run(&until).await }, last.clone()));
        }
        parts.spawn(follow(self.client.clone(), last.clone()));
        let preparation = preparation::Preparation {
            client: self.client,
            settings: provision_settings(&self.config),
            provision: self.config.provision,
            token_changed,
            token_is_configured: self.config.token.is_some(),
            data_dir: self.config.data_dir.clone(),
            replica: self.replica,
            naming: self.naming,
            access: self.access,
            readiness: Arc::clone(&readiness),
            health,
            open_gate,
            provisioned,
        };
        let until = last.clone();
        parts.spawn(lasting(async move { preparation.run(&until).await }, last.clone()));
        parts.spawn(tidy(self.metrics.clone(), last.clone()));
        info!(server.address = %address, version = env!("CARGO_PKG_VERSION"), "listening");

        let ended = tokio::select! {
            () = stop.cancelled() => None,
            part = parts.join_next() => part,
        };
        // No answer lasts longer than those of open pages.
        feed.close();
        readiness.stop();
        taking.cancel();
        let drain = self.config.drain;
        let grace = self.config.stop_grace.min(drain.saturating_sub(LAST_STEPS));
        let begun = Instant::now();
        if ended.is_none() {
            info!(
                grace_ms = grace.as_millis(),
                drain_ms = drain.as_millis(),
                "stopping: not ready any more, and each answer ends its connection"
            );
            // Balancers shall send elsewhere before the first connection is refused.
            tokio::time::sleep(grace).await;
        }
        let left = drain.saturating_sub(begun.elapsed());
        info!("the intake closes: requests in flight are finished");
        closing.cancel();
        server.graceful_shutdown(Some(left.saturating_sub(LAST_STEPS)));
        let failure = ended.map(failure_of);
        let drained = tokio::time::timeout(left, emptied(&server, &last, &mut parts));
        if drained.await.is_err() {
            warn!("not everything ended in time; what was acknowledged is in the spool");
        }
        self.spool.close().await;
        info!("stopped");
        failure.map_or(Ok(()), Err)
    }

    fn writer_settings(&self) -> writer::Settings {
        let asks = self.config.may_have_monitors();
        writer::Settings {
            naming: self.naming.clone(),
            pattern: self.config.index.pattern.clone(),
            compat: self.config.compat,
            body_limit: self.config.body_limit,
            ntopng: self.config.ntopng_version,
            graylog: self.config.graylog_url.clone(),
            ask_alerting: asks && self.config.compat.is_none(),
            // Upstream's documents are overwritten by later ones, ours are merged in any order.
            requests_in_flight: if self.config.compat.is_some() { 1 } else { IN_FLIGHT },
        }
    }

    fn engaged(&self) -> Engaged {
        let settings = engaged::Settings {
            pattern: self.config.index.pattern.clone(),
            stale_after: self.config.stale_after,
            reconciles: self.config.reconciles(),
        };
        Engaged::new(&self.client, settings)
    }

    fn history(&self) -> History {
        let settings = history_settings(&self.config, self.naming.index.clone());
        let spool = Arc::clone(&self.spool);
        History::new(&self.client, settings).with_spool(spool, self.config.body_limit)
    }

    fn page(&self) -> page::Parts {
        let settings = history_settings(&self.config, self.naming.index.clone());
        let setup = doctor_setup(&self.config, None);
        page::Parts {
            feed: Arc::new(page::Feed::new(&self.client, settings)),
            set_up: page::SetUp::new(
                &self.client,
                setup,
                Arc::clone(&self.access),
                self.config.token.is_some(),
            ),
            away: page::Away::default(),
        }
    }

    fn callbacks_status(&self) -> runner::Status {
        let enabled = self.config.callbacks.iter().filter(|callback| callback.enabled);
        runner::Status::new(enabled.map(|callback| callback.name.clone()).collect())
    }

    fn queues_status(&self) -> queue::Status {
        let queues = self.config.ntopng_queue.iter().flat_map(|settings| &settings.queues);
        queue::Status::new(queues.map(|queue| queue.name.as_str()))
    }

    /// Takes from the lists in Redis until `stop`, where there are some.
    fn read_queues(
        &self,
        status: Arc<queue::Status>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let settings = self.config.ntopng_queue.clone();
        let (spool, replica) = (Arc::clone(&self.spool), self.replica.clone());
        let limit = self.config.body_limit;
        async move {
            if let Some(settings) = settings {
                queue::run(settings, &replica, &spool, &status, limit, &stop).await;
            }
        }
    }

    /// Begins with the callbacks, before the first alert is taken in; `None` where there are none.
    async fn begin_callbacks(&self, status: &Arc<runner::Status>) -> Option<(Dispatcher, Runner)> {
        if status.names().is_empty() {
            // Nothing is kept for callbacks that there are not. When the disk fails, it is at the
            // next start.
            let end = DeliveryChange::End { now: clock::now() };
            self.spool.deliver(end).await.ok();
            return None;
        }
        let settings = self.dispatcher_settings();
        let keep = runner::Keep {
            days: self.config.deliveries_days,
            bytes: self.config.deliveries_max_bytes,
        };
        let (spool, callbacks) = (Arc::clone(&self.spool), self.config.callbacks.clone());
        let mut dispatcher = Dispatcher::new(Arc::clone(&spool), &callbacks, settings.clone());
        dispatcher.begin().await;
        let given = (spool, self.client.clone());
        Some((dispatcher, Runner::new(given, callbacks, settings, Arc::clone(status), keep)))
    }

    fn dispatcher_settings(&self) -> dispatcher::Settings {
        dispatcher::Settings {
            naming: self.config.compat.is_none().then(|| self.naming.clone()),
            ids_are_asked: self.config.may_have_monitors(),
            body_limit: self.config.body_limit,
            ntopng: self.config.ntopng_version,
            graylog: self.config.graylog_url.clone(),
        }
    }

    fn reconciler(
        &self,
        gates: (writer::Gate, watch::Receiver<bool>),
        status: Arc<reconcile::Status>,
    ) -> Option<Reconciler> {
        let settings = reconcile::Settings {
            interval: self.config.reconcile_interval,
            monitors: self.config.reconcile_monitors,
            naming: self.naming.clone(),
            pattern: self.config.index.pattern.clone(),
            webhook: self.config.webhook_url.to_string(),
            silence_days: self.config.silence_days,
            missed_for: reconcile::MISSED_FOR,
        };
        let document = lease::document::Document::new("reconciler", &settings.pattern);
        let timing = lease::Timing::default();
        let lease = Lease::new(self.client.clone(), document, &self.replica, timing);
        let spool = Arc::clone(&self.spool);
        let client = self.client.clone();
        let reconciler = Reconciler::new(client, spool, settings, gates, lease, status);
        self.config.reconciles().then_some(reconciler)
    }

    fn state(
        &self,
        (readiness, writer): (Arc<Readiness>, Arc<writer::Health>),
        reconciler: Arc<reconcile::Status>,
        callbacks: Arc<runner::Status>,
        queues: Arc<queue::Status>,
    ) -> Arc<http::State> {
        let asks = self.config.may_have_monitors();
        Arc::new(http::State {
            spool: Arc::clone(&self.spool),
            writer,
            client: self.client.clone(),
            heartbeat: Arc::new(Heartbeat::new(self.config.heartbeat, clock::now())),
            access: Arc::clone(&self.access),
            forgery: http::forgery::Forgery::new(Arc::clone(&self.access)),
            is_tls: self.tls.is_some(),
            readiness,
            reconciler,
            runner: Arc::default(),
            callbacks,
            queues,
            engaged: self.engaged(),
            history: self.history(),
            monitors: Monitors::new(&self.client, provision_settings(&self.config)),
            page: self.page(),
            naming: self.naming.clone(),
            body_limit: self.config.body_limit,
            ntopng: self.config.ntopng_version,
            wait: self.config.wait,
            ids_are_asked: asks,
            predicts: self.config.compat.is_none(),
            metrics: self.metrics.clone(),
            receiving: http::State::receiving(self.config.body_limit),
            strangers: http::State::strangers(),
        })
    }
}

/// The intake ends before all else, so that its last alerts still get their answers.
async fn emptied(
    server: &Handle<serving::Connection>,
    last: &CancellationToken,
    parts: &mut JoinSet<anyhow::Result<()>>,
) {
    while server.connection_count() > 0 {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    last.cancel();
    while parts.join_next().await.is_some() {}
}

/// Why a part ended that should not have.
fn failure_of(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("a part ended by itself"),
        Ok(Err(fault)) => fault,
        Err(panic) => panic.into(),
    }
}

/// A part that may be done before the end.
async fn lasting(part: impl Future<Output = ()>, last: CancellationToken) -> anyhow::Result<()> {
    part.await;
    last.cancelled().await;
    Ok(())
}

/// Keeps up with the files that let us in to the store.
async fn follow(client: Client, until: CancellationToken) -> anyhow::Result<()> {
    client.follow(&until).await;
    Ok(())
}

/// Keeps the metrics small: samples of histograms pile up until somebody renders them or does this.
async fn tidy(metrics: PrometheusHandle, until: CancellationToken) -> anyhow::Result<()> {
    while until.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
    Ok(())
}

/// What the history needs of the settings.
#[must_use]
pub fn history_settings(config: &Config, index: IndexName) -> history::Settings {
    history::Settings {
        pattern: config.index.pattern.clone(),
        index,
        stale_after: config.stale_after,
        reconciles: config.reconciles(),
        asks_alerting: config.may_have_monitors(),
    }
}

/// What the doctor looks at; the secret is given where it is known.
#[must_use]
pub fn doctor_setup(config: &Config, token: Option<WebhookToken>) -> doctor::Setup {
    doctor::Setup {
        token,
        provisioning: provision_settings(config),
        provisions: config.provision,
        reconciles: config.reconciles(),
        callbacks: config.callbacks.iter().filter(|callback| callback.enabled).count(),
        queues: config.ntopng_queue.as_ref().map_or(0, |settings| settings.queues.len()),
        data_dir: config.data_dir.clone(),
        spool_max_bytes: config.spool_max_bytes,
        secret_files: config.secret_files.clone(),
        listen: config.listen,
        certificate: config.locks.tls.as_ref().map(|files| files.certificate.clone()),
        heartbeat: config.heartbeat,
        silence_days: config.silence_days,
        all_monitors: config.reconcile_monitors == reconcile::Monitors::All,
    }
}

/// What provisioning needs of the settings.
#[must_use]
pub fn provision_settings(config: &Config) -> provision::Settings {
    provision::Settings {
        webhook_url: config.webhook_url.clone(),
        index_pattern: config.index.pattern.clone(),
        time_field: config.index.time_field.clone(),
        template: match config.template {
            config::TemplateMode::Auto => provision::TemplateMode::Auto,
            config::TemplateMode::Malcolm => provision::TemplateMode::Malcolm,
            config::TemplateMode::None => provision::TemplateMode::None,
        },
        malcolm_template: config.malcolm_template.clone(),
        may_have_monitors: config.may_have_monitors(),
        dir: config.provisioning_dir.clone(),
    }
}
