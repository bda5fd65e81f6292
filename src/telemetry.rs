//! Logs and metrics: how a line looks, what the metrics are called. A leaf that all may use.
//!
//! Logs go to standard error, since standard output belongs to what a command prints.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use anyhow::{Context as _, anyhow};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

mod one_line;

use one_line::{Form, OneLine};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A `tracing` filter; checked.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Libraries that tell too much below a warning; a filter that names one of them overrides it.
/// The verifier says what our own error says too.
const QUIET: &str =
    "h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,rustls_platform_verifier=off";

/// Starts logging.
///
/// # Errors
/// When the filter is none, or logging was started before.
pub fn start(log: &LogSettings) -> anyhow::Result<()> {
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    subscriber(&log.filter, json, io::stderr)?.try_init().context("cannot start logging")
}

fn subscriber<W>(filter: &str, json: bool, writer: W) -> anyhow::Result<impl Subscriber + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|_| anyhow!("the log filter cannot be read"))?;
    let is_coloured = !json && io::stderr().is_terminal();
    let form = match (json, is_coloured) {
        (true, _) => Form::Json,
        (false, true) => Form::Coloured,
        (false, false) => Form::Plain,
    };
    let lines = fmt::layer().with_writer(OneLine::over(writer, form));
    let lines = if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(is_coloured).compact().boxed()
    };
    Ok(registry().with(filter).with(lines))
}

/// Counter: bodies that came in with a right secret.
pub const RECEIVED: &str = "alertloop_received_total";
/// Counter: bodies that are durable in the spool.
pub const DURABLE: &str = "alertloop_durable_total";
/// Counter: alerts whose records the store has, by `source`.
pub const ALERTS: &str = "alertloop_alerts_total";
/// Counter: entries whose records the store has taken.
pub const STORED: &str = "alertloop_stored_total";
/// Counter: records that the store had already.
pub const DUPLICATES: &str = "alertloop_duplicates_total";
/// Counter: entries that were set aside.
pub const DEAD_LETTERS: &str = "alertloop_dead_letters_total";
/// Gauge: entries in the spool whose outcome is not known.
pub const SPOOL_DEPTH: &str = "alertloop_spool_depth";
/// Gauge: age of the oldest of them.
pub const OLDEST_UNSTORED_AGE: &str = "alertloop_oldest_unstored_age_seconds";
/// Gauge: size of what the spool holds.
pub const SPOOL_BYTES: &str = "alertloop_spool_bytes";
/// Gauge: entries that wait for a blocked index, or for their alert's id.
pub const PARKED: &str = "alertloop_parked_entries";
/// Gauge: dead letters that are kept.
pub const DEAD_LETTERS_KEPT: &str = "alertloop_dead_letters";
/// Gauge: age of the oldest of them.
pub const OLDEST_DEAD_LETTER_AGE: &str = "alertloop_oldest_dead_letter_age_seconds";
/// Gauge: 1 while the store takes alerts, else 0.
pub const STORE_UP: &str = "alertloop_store_up";
/// Counter: senders' tests, which leave nothing else.
pub const TEST_POSTS: &str = "alertloop_test_posts_total";
/// Counter: posts of Alertmanager that do not hold all alerts of their group.
pub const TRUNCATED_POSTS: &str = "alertloop_truncated_posts_total";
/// Counter: heartbeats that came to this process.
pub const HEARTBEATS: &str = "alertloop_heartbeats_total";
/// Gauge: age of the last of them, or how long we wait for the first.
pub const HEARTBEAT_AGE: &str = "alertloop_heartbeat_age_seconds";
/// Gauge: 1 while none came in time, else 0.
pub const HEARTBEAT_LATE: &str = "alertloop_heartbeat_late";
/// Gauge, with the label `reason`: enabled monitors that say nothing.
pub const SILENT_MONITORS: &str = "alertloop_silent_monitors";
/// Counter: bulk requests sent to the store.
pub const BULK_REQUESTS: &str = "alertloop_bulk_requests_total";
/// Histogram: how long a bulk request took.
pub const BULK_SECONDS: &str = "alertloop_bulk_seconds";
/// Counter, with the labels `callback` and `outcome` (`delivered`, `again`, `failed`, `held`): runs of
/// callbacks, and what was not run.
pub const DELIVERIES: &str = "alertloop_deliveries_total";
/// Gauge: deliveries that are to be run.
pub const PENDING_DELIVERIES: &str = "alertloop_pending_deliveries";
/// Gauge, with the label `callback`: age of the oldest of them.
pub const OLDEST_PENDING_DELIVERY_AGE: &str = "alertloop_oldest_pending_delivery_age_seconds";
/// Gauge: deliveries that failed for good and are kept.
pub const FAILED_DELIVERIES: &str = "alertloop_failed_deliveries";
/// Gauge: callbacks whose last run was not delivered.
pub const FAILING_CALLBACKS: &str = "alertloop_failing_callbacks";
/// Histogram: how long a run of a callback took.
pub const DELIVERY_SECONDS: &str = "alertloop_delivery_seconds";
/// Counter, with the label `status`: requests that were refused.
pub const REFUSED: &str = "alertloop_refused_total";
/// Counter: wrong intake secrets and wrong logins.
pub const WRONG_CREDENTIALS: &str = "alertloop_wrong_credentials_total";
/// Counter: requests that told a user or roles, and came from no trusted proxy.
pub const IGNORED_USERS: &str = "alertloop_ignored_forwarded_users_total";
/// Gauge: connections that are open.
pub const CONNECTIONS: &str = "alertloop_connections";
/// Counter, with the label `outcome`: connections that were ended for want of room (`made_room`), or
/// not taken (`refused`).
pub const CROWDED: &str = "alertloop_crowded_connections_total";
/// Counter: TLS handshakes that did not come to their end.
pub const FAILED_HANDSHAKES: &str = "alertloop_failed_tls_handshakes_total";
/// Gauge: when our certificate ends, in seconds since 1970.
pub const CERTIFICATE_ENDS: &str = "alertloop_tls_certificate_expiry_timestamp_seconds";

/// Counter, with the label `queue`: items of a Redis queue that are durable.
pub const QUEUE_TAKEN: &str = "alertloop_queue_taken_total";
/// Counter, with the label `queue`: items that were pushed on to another list.
pub const QUEUE_PUSHED_ON: &str = "alertloop_queue_pushed_on_total";
/// Counter, with the label `queue`: the oldest items of that list, which it had too many.
pub const QUEUE_TRIMMED: &str = "alertloop_queue_trimmed_total";
/// Counter, with the label `queue`: items that a replica left that is gone.
pub const QUEUE_TAKEN_OVER: &str = "alertloop_queue_taken_over_total";
/// Gauge, with the label `queue`: 1 while items can be taken, else 0.
pub const QUEUE_CONNECTED: &str = "alertloop_queue_connected";
/// Gauge, with the label `queue`: items left in it when it was last seen.
pub const QUEUE_LENGTH: &str = "alertloop_queue_length";
/// Gauge, with the label `queue`: when the last item was taken, in seconds since 1970.
pub const QUEUE_LAST_TAKEN: &str = "alertloop_queue_last_taken_timestamp_seconds";

/// Counter: what the reconciler found that no webhook had told.
pub const RECONCILED: &str = "alertloop_reconciled_total";
/// Gauge: 1 while this replica reconciles, else 0.
pub const RECONCILER_LEADS: &str = "alertloop_reconciler_leads";
/// Gauge: when the records were last compared with the Alerting API, in seconds since 1970.
pub const LAST_RECONCILE: &str = "alertloop_last_reconcile_timestamp_seconds";
/// Gauge: monitors whose alerts become records.
pub const RECONCILED_MONITORS: &str = "alertloop_reconciled_monitors";
/// Histogram: how long a look at the Alerting API took.
pub const RECONCILE_SECONDS: &str = "alertloop_reconcile_seconds";

/// Counter, with the label `outcome` (`quiet`, `fired`, `error`, `missed`): runs of monitors by
/// alertloop itself.
pub const MONITOR_RUNS: &str = "alertloop_monitor_runs_total";
/// Counter, with the label `to` (`channel`, `callback`, `nowhere`): messages of such runs.
pub const MONITOR_MESSAGES: &str = "alertloop_monitor_messages_total";
/// Histogram: how long such a run took.
pub const MONITOR_RUN_SECONDS: &str = "alertloop_monitor_run_seconds";
/// Histogram: how long after its moment such a run began.
pub const MONITOR_RUN_LATENESS: &str = "alertloop_monitor_run_lateness_seconds";
/// Gauge: 1 while this replica runs the monitors, else 0.
pub const RUNNER_LEADS: &str = "alertloop_runner_leads";
/// Gauge: when a run was last noted, in seconds since 1970.
pub const LAST_MONITOR_RUN: &str = "alertloop_last_monitor_run_timestamp_seconds";
/// Gauge: monitors that this replica runs by their schedules.
pub const SCHEDULED_MONITORS: &str = "alertloop_scheduled_monitors";
/// Gauge: those of them that should have run by now, and have not.
pub const OVERDUE_MONITORS: &str = "alertloop_overdue_monitors";

/// The statuses that [`REFUSED`] counts.
pub const REFUSED_STATUSES: [&str; 5] = ["401", "403", "413", "429", "503"];

/// Whose alerts [`ALERTS`] counts.
const SOURCES: [&str; 5] = ["opensearch", "graylog", "ntopng", "alertmanager", "reconciler"];

/// Upper bounds of [`BULK_SECONDS`].
const BULK_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Starts collecting metrics for the whole process; a later call gives the same handle.
///
/// Somebody must call [`PrometheusHandle::run_upkeep`] now and then, or render: samples of
/// histograms pile up until then.
///
/// # Errors
/// When another recorder was installed before.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(BULK_SECONDS.to_owned()), &BULK_BUCKETS)
            .and_then(|builder| {
                let name = Matcher::Full(RECONCILE_SECONDS.to_owned());
                builder.set_buckets_for_metric(name, &BULK_BUCKETS)
            })
            .and_then(|builder| {
                let name = Matcher::Full(DELIVERY_SECONDS.to_owned());
                builder.set_buckets_for_metric(name, &BULK_BUCKETS)
            })
            .and_then(|builder| {
                let name = Matcher::Full(MONITOR_RUN_SECONDS.to_owned());
                builder.set_buckets_for_metric(name, &BULK_BUCKETS)
            })
            .and_then(|builder| {
                let name = Matcher::Full(MONITOR_RUN_LATENESS.to_owned());
                builder.set_buckets_for_metric(name, &BULK_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|fault| fault.to_string())?;
        describe();
        Ok(handle)
    });
    handle.clone().map_err(|fault| anyhow!("cannot collect metrics: {fault}"))
}

/// Gives every metric its help text, and shows counters from zero on, so that the first alert is
/// a rise that can be seen.
fn describe() {
    for (name, help) in [
        (RECEIVED, "Bodies that came in with a right secret"),
        (DURABLE, "Bodies made durable in the spool"),
        (STORED, "Entries whose records the store has taken"),
        (DUPLICATES, "Records that the store had already"),
        (DEAD_LETTERS, "Entries set aside"),
        (BULK_REQUESTS, "Bulk requests sent to the store"),
        (RECONCILED, "States of alerts that no webhook had told, found in the Alerting API"),
        (TEST_POSTS, "Tests of senders, which leave nothing else"),
        (HEARTBEATS, "Heartbeats that came to this process"),
        (TRUNCATED_POSTS, "Posts of Alertmanager that do not hold all alerts of their group"),
        (WRONG_CREDENTIALS, "Wrong intake secrets and wrong logins"),
        (IGNORED_USERS, "Requests that told a user or roles, and came from no trusted proxy"),
        (FAILED_HANDSHAKES, "TLS handshakes that did not come to their end"),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
    describe_counter!(ALERTS, "Alerts whose records the store has, by source");
    for source in SOURCES {
        counter!(ALERTS, "source" => source).increment(0);
    }
    describe_counter!(REFUSED, "Requests refused, by status");
    for status in REFUSED_STATUSES {
        counter!(REFUSED, "status" => status).increment(0);
    }
    for (name, unit, help) in [
        (SPOOL_DEPTH, Unit::Count, "Entries in the spool whose outcome is not known"),
        (OLDEST_UNSTORED_AGE, Unit::Seconds, "Age of the oldest of these entries"),
        (SPOOL_BYTES, Unit::Bytes, "Size of what the spool holds"),
        (PARKED, Unit::Count, "Entries that wait for a blocked index, or for their alert's id"),
        (DEAD_LETTERS_KEPT, Unit::Count, "Dead letters that are kept"),
        (OLDEST_DEAD_LETTER_AGE, Unit::Seconds, "Age of the oldest dead letter"),
        (RECONCILER_LEADS, Unit::Count, "1 while this replica reconciles, else 0"),
        (
            LAST_RECONCILE,
            Unit::Seconds,
            "When the records were last compared with the Alerting API, since 1970",
        ),
        (RECONCILED_MONITORS, Unit::Count, "Monitors whose alerts become records"),
        (STORE_UP, Unit::Count, "1 while the store takes alerts, else 0"),
        (
            HEARTBEAT_AGE,
            Unit::Seconds,
            "Age of the last heartbeat, or how long the first is waited for",
        ),
        (HEARTBEAT_LATE, Unit::Count, "1 while no heartbeat came in time, else 0"),
        (PENDING_DELIVERIES, Unit::Count, "Deliveries of callbacks that are to be run"),
        (FAILED_DELIVERIES, Unit::Count, "Deliveries that failed for good and are kept"),
        (FAILING_CALLBACKS, Unit::Count, "Callbacks whose last run was not delivered"),
        (CONNECTIONS, Unit::Count, "Connections that are open"),
    ] {
        describe_gauge!(name, unit, help);
        gauge!(name).set(0);
    }
    describe_queues();
    describe_runner();
    describe_counter!(CROWDED, "Connections ended for want of room, or not taken, by outcome");
    for outcome in ["made_room", "refused"] {
        counter!(CROWDED, "outcome" => outcome).increment(0);
    }
    describe_gauge!(CERTIFICATE_ENDS, Unit::Seconds, "When our certificate ends, since 1970");
    describe_counter!(DELIVERIES, "Runs of callbacks, by callback and outcome");
    describe_gauge!(
        OLDEST_PENDING_DELIVERY_AGE,
        Unit::Seconds,
        "Age of the oldest delivery that is to be run, by callback"
    );
    describe_histogram!(DELIVERY_SECONDS, Unit::Seconds, "How long a run of a callback took");
    describe_gauge!(SILENT_MONITORS, Unit::Count, "Enabled monitors that say nothing, by reason");
    describe_histogram!(BULK_SECONDS, Unit::Seconds, "How long a bulk request took");
    describe_histogram!(
        RECONCILE_SECONDS,
        Unit::Seconds,
        "How long a look at the Alerting API took"
    );
}

fn describe_runner() {
    describe_counter!(MONITOR_RUNS, "Runs of monitors by alertloop itself, by outcome");
    for outcome in ["quiet", "fired", "error", "missed"] {
        counter!(MONITOR_RUNS, "outcome" => outcome).increment(0);
    }
    describe_counter!(MONITOR_MESSAGES, "Messages of such runs, by where they went");
    describe_histogram!(MONITOR_RUN_SECONDS, Unit::Seconds, "How long a run of a monitor took");
    describe_histogram!(
        MONITOR_RUN_LATENESS,
        Unit::Seconds,
        "How long after its moment a run of a monitor began"
    );
    for (name, unit, help) in [
        (RUNNER_LEADS, Unit::Count, "1 while this replica runs the monitors, else 0"),
        (LAST_MONITOR_RUN, Unit::Seconds, "When a run of a monitor was last noted, since 1970"),
        (SCHEDULED_MONITORS, Unit::Count, "Monitors that this replica runs by their schedules"),
        (OVERDUE_MONITORS, Unit::Count, "Those that should have run by now, and have not"),
    ] {
        describe_gauge!(name, unit, help);
        gauge!(name).set(0);
    }
}

fn describe_queues() {
    describe_counter!(QUEUE_TAKEN, "Items of a Redis queue made durable, by queue");
    describe_counter!(QUEUE_PUSHED_ON, "Items pushed on to another list, by queue");
    describe_counter!(QUEUE_TRIMMED, "Items that such a list had too many, by queue");
    describe_counter!(QUEUE_TAKEN_OVER, "Items that a replica left that is gone, by queue");
    describe_gauge!(QUEUE_CONNECTED, Unit::Count, "1 while items can be taken, by queue");
    describe_gauge!(QUEUE_LENGTH, Unit::Count, "Items left in a queue, by queue");
    describe_gauge!(
        QUEUE_LAST_TAKEN,
        Unit::Seconds,
        "When the last item was taken, since 1970, by queue"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use metrics::histogram;
    use serde_json::Value;
    use tracing::{debug, info, subscriber::with_default, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool, speak: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        with_default(subscriber(filter, json, move || writer.clone()).unwrap(), speak);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let text = logged("info", true, || info!(wait_ms = 5, event.kind = "alert", "kept"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "kept");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["wait_ms"], 5);
        assert_eq!(line["event.kind"], "alert");
        assert_eq!(line["target"], "alertloop::telemetry::tests");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
    }

    #[test]
    fn a_line_stays_a_line_whatever_stands_in_it() {
        let speak = || {
            let forged = "x\n2026-11-22T00:00:00Z ERROR forged\r\u{1b}[2J\u{202e}";
            warn!(reason = %forged, rule = forged, "refused: {forged}");
        };
        for json in [true, false] {
            let text = logged("info", json, speak);
            assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
            assert!(!text.trim_end().contains(crate::alert::link::turns_or_steers), "{text:?}");
        }
        let line: Value = serde_json::from_str(&logged("info", true, speak)).unwrap();
        assert!(line["reason"].as_str().unwrap().ends_with("\u{202e}"), "it is the same text");
    }

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let speak = || {
            debug!(target: "hyper::client", "noise");
            warn!(target: "hyper::client", "trouble");
            debug!("ours");
        };
        for (filter, want) in [
            ("info", vec!["trouble"]),
            ("debug", vec!["trouble", "ours"]),
            ("debug,hyper=debug", vec!["noise", "trouble", "ours"]),
        ] {
            let text = logged(filter, false, speak);
            let seen: Vec<&str> = ["noise", "trouble", "ours"]
                .into_iter()
                .filter(|word| text.contains(word))
                .collect();
            assert_eq!(seen, want, "{filter}: {text}");
        }
    }

    #[test]
    fn every_metric_is_shown() {
        let handle = install_metrics().unwrap();
        install_metrics().unwrap();
        histogram!(BULK_SECONDS).record(0.02);
        counter!(STORED).increment(2);
        let text = handle.render();
        for name in [
            RECEIVED,
            DURABLE,
            STORED,
            DUPLICATES,
            DEAD_LETTERS,
            SPOOL_DEPTH,
            OLDEST_UNSTORED_AGE,
            BULK_REQUESTS,
            BULK_SECONDS,
            REFUSED,
            ALERTS,
        ] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}: {text}");
        }
        for line in [
            "alertloop_stored_total 2",
            "alertloop_refused_total{status=\"413\"} 0",
            "alertloop_bulk_seconds_bucket{le=\"0.025\"} 1",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
        }
    }
}
