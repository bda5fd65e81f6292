//! Hands messages over: those to our channel go straight into the spool, as the intake would keep
//! them; those to a callback become deliveries of it. What is handed over is on disk.

use std::sync::Arc;

use jiff::Timestamp;
use metrics::counter;
use serde_json::{Value, json};
use tracing::warn;

use super::noting::Handed;
use crate::{
    alert::{Alert, UNKNOWN_SEVERITY},
    callback::dispatcher,
    clock,
    heartbeat::Heartbeat,
    intake::{self, Encoding, Envelope},
    provision::desired::is_our_channel,
    spool::{AppendError, DeliveryChange, NewDelivery, Spool},
    telemetry,
};

/// What the id of a destination begins with that is a callback of ours.
pub const CALLBACK: &str = "callback:";
/// What is kept of a message that is too large.
const HEAD: usize = 4 << 10;

/// What is needed to hand messages over.
pub struct Hands {
    spool: Arc<Spool>,
    heartbeat: Arc<Heartbeat>,
    /// Names of the callbacks that are enabled.
    callbacks: Vec<String>,
    settings: dispatcher::Settings,
}

impl Hands {
    /// With the names of the callbacks that are enabled.
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        heartbeat: Arc<Heartbeat>,
        callbacks: Vec<String>,
        settings: dispatcher::Settings,
    ) -> Self {
        Self { spool, heartbeat, callbacks, settings }
    }

    /// Hands a message over that was decided at `at`, and tells of `alerts`, each whole. Done again, it
    /// makes the same record, and no second delivery.
    ///
    /// # Errors
    /// [`AppendError`]: it is to be tried again.
    pub async fn hand(
        &self,
        message: &Handed,
        alerts: &[Value],
        at: Timestamp,
    ) -> Result<(), AppendError> {
        let to = message.destination.as_str();
        if is_our_channel(to) {
            self.take_in(envelope(message.body.clone().into_bytes(), at)).await?;
            counter!(telemetry::MONITOR_MESSAGES, "to" => "channel").increment(1);
        } else if let Some(name) = to.strip_prefix(CALLBACK) {
            self.deliver(name, message, alerts, at).await?;
            counter!(telemetry::MONITOR_MESSAGES, "to" => "callback").increment(1);
        } else {
            // Its alert says so.
            warn!(destination = to, "a monitor sends to a destination that there is not");
            counter!(telemetry::MONITOR_MESSAGES, "to" => "nowhere").increment(1);
        }
        Ok(())
    }

    /// As the intake does with a body that was posted.
    async fn take_in(&self, envelope: Envelope) -> Result<(), AppendError> {
        counter!(telemetry::RECEIVED).increment(1);
        let limit = self.settings.body_limit;
        if envelope.body.len() > limit {
            let length = envelope.body.len();
            let reason = format!(
                "a body of {length} bytes is over the limit of {limit} bytes; this is its head"
            );
            let body = envelope.body[..HEAD.min(length)].to_vec();
            self.spool.set_aside(Envelope { body, ..envelope }, reason).await?;
            counter!(telemetry::DEAD_LETTERS).increment(1);
        } else if intake::is_test_post(&envelope.body) {
            counter!(telemetry::TEST_POSTS).increment(1);
        } else if intake::heartbeat::read(&envelope.body).is_some() {
            counter!(telemetry::HEARTBEATS).increment(1);
            self.heartbeat.came(clock::now());
        } else {
            self.spool.append(envelope, None).await?;
            counter!(telemetry::DURABLE).increment(1);
        }
        Ok(())
    }

    async fn deliver(
        &self,
        name: &str,
        message: &Handed,
        alerts: &[Value],
        at: Timestamp,
    ) -> Result<(), AppendError> {
        let (envelope, alert) = self.for_callback(message, alerts, at);
        let is_there = self.callbacks.iter().any(|callback| callback == name);
        let reason = "its monitor names it, and no enabled callback has this name";
        let delivery = NewDelivery {
            position: 0,
            callback: name.to_owned(),
            action: "engaged",
            state: if is_there { "pending" } else { "failed" },
            reason: (!is_there).then(|| reason.to_owned()),
            rule: alert.rule.name.clone().or_else(|| alert.rule.id.clone()).unwrap_or_default(),
            severity: alert.severity,
            record: self.settings.record(&alert, &envelope, 0),
            alert: alert.id,
            episode: None,
        };
        let hand = DeliveryChange::Hand { envelope, delivery, now: clock::now() };
        self.spool.deliver(hand).await.map(drop)
    }

    /// What a callback reads the alert from: the message itself where it tells one, as the shipped
    /// messages do; else the alert, with the message as its text.
    fn for_callback(&self, message: &Handed, alerts: &[Value], at: Timestamp) -> (Envelope, Alert) {
        let read = |envelope: &Envelope| {
            intake::decode(envelope, self.settings.reading()).ok()?.into_iter().next()?.ok()
        };
        let as_it_is = envelope(message.body.clone().into_bytes(), at);
        if let Some(alert) = read(&as_it_is).filter(|alert| alert.rule.name.is_some()) {
            return (as_it_is, alert);
        }
        let wrapped = envelope(wrapped(message, alerts).to_string().into_bytes(), at);
        let alert = read(&wrapped);
        let nothing =
            || Alert { severity: UNKNOWN_SEVERITY, ..Alert::of(crate::alert::Source::OpenSearch) };
        (wrapped, alert.unwrap_or_else(nothing))
    }
}

fn envelope(body: Vec<u8>, received: Timestamp) -> Envelope {
    Envelope {
        source: None,
        received,
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body,
    }
}

/// A message of any form in ours: see `intake::opensearch`.
fn wrapped(message: &Handed, alerts: &[Value]) -> Value {
    let tells = |alert: &&Value| message.alerts.iter().any(|id| alert["id"] == **id);
    let alert = alerts.iter().find(tells).unwrap_or(&Value::Null);
    let text = match message.subject.as_deref().filter(|subject| !subject.trim().is_empty()) {
        Some(subject) => format!("{subject}\n\n{}", message.body),
        None => message.body.clone(),
    };
    json!({ "alert": {
        "monitor": { "id": alert["monitor_id"], "name": alert["monitor_name"] },
        "trigger": { "id": message.trigger, "name": alert["trigger_name"],
            "severity": alert["severity"] },
        "alert": alert["id"], "start": alert["start_time"], "error": alert["error_message"],
        "body": text } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::Body,
        spool::{DeliveryFilter, DeliveryState},
    };

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    struct Ground {
        hands: Hands,
        spool: Arc<Spool>,
        heartbeat: Arc<Heartbeat>,
        _dir: tempfile::TempDir,
    }

    fn ground() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(dir.path(), 64 << 20).unwrap());
        let heartbeat = Arc::new(Heartbeat::new(std::time::Duration::ZERO, AT));
        let settings = dispatcher::Settings {
            naming: None,
            ids_are_asked: false,
            body_limit: 1_000,
            ntopng: None,
            graylog: None,
        };
        let callbacks = vec!["mail".to_owned()];
        let hands = Hands::new(Arc::clone(&spool), Arc::clone(&heartbeat), callbacks, settings);
        Ground { hands, spool, heartbeat, _dir: dir }
    }

    fn message(destination: &str, body: &str) -> Handed {
        let (destination, body) = (destination.to_owned(), body.to_owned());
        let alerts = vec!["a1".to_owned()];
        Handed { destination, body, alerts, trigger: "t".to_owned(), ..Handed::default() }
    }

    fn alert() -> Value {
        json!({"id": "a1", "monitor_id": "m", "monitor_name": "Logins", "trigger_name": "many",
            "severity": "2", "start_time": 1_800_000_000_000_i64, "state": "ACTIVE"})
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn our_channel_takes_in_what_the_intake_would() {
        let Ground { hands, spool, heartbeat, _dir } = ground();
        let long = "x".repeat(2_000);
        for body in
            [r#"{"alert": {}}"#, "plain text", "", r#"{"heartbeat": {"monitor": "h"}}"#, &long]
        {
            for channel in ["malcolm-api-loopback-webhook", "malcolm-api-loopback-webook"] {
                hands.hand(&message(channel, body), &[], AT).await.unwrap();
            }
        }
        let entries = spool.next_batch(0, 10, 1 << 20).unwrap();
        let bodies: Vec<_> = entries.iter().map(|one| one.envelope.body.as_slice()).collect();
        let want: [&[u8]; 4] =
            [b"{\"alert\": {}}", b"{\"alert\": {}}", b"plain text", b"plain text"];
        assert_eq!(bodies, want);
        assert_eq!(entries[0].envelope.received, AT);
        assert_eq!(spool.stats().unwrap().dead_letters, 2);
        assert!(heartbeat.beat(AT).last.is_some());
        hands.hand(&message("somewhere", "x"), &[], AT).await.unwrap();
        assert_eq!(spool.next_batch(0, 10, 1 << 20).unwrap().len(), 4);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_callback_gets_the_alert_once_whatever_the_message_is() {
        let Ground { hands, spool, _dir, .. } = ground();
        let subject = Some("Too many".to_owned());
        let text = Handed { subject, ..message("callback:mail", "12 failed") };
        for _ in 0..2 {
            hands.hand(&text, &[alert()], AT).await.unwrap();
        }
        hands.hand(&message("callback:gone", "12 failed"), &[alert()], AT).await.unwrap();
        let deliveries = spool.deliveries(&DeliveryFilter::default(), i64::MAX, 10).unwrap();
        let told: Vec<_> = deliveries
            .iter()
            .map(|one| (one.callback.as_str(), one.state, one.rule.as_str(), one.severity))
            .collect();
        assert_eq!(
            told,
            [
                ("gone", DeliveryState::Failed, "Logins", 80),
                ("mail", DeliveryState::Pending, "Logins", 80)
            ]
        );
        assert_eq!(deliveries[1].alert.as_deref(), Some("a1"));
        let notice = spool.notice_of(deliveries[1].id).unwrap().unwrap();
        let read = intake::decode(&notice.envelope, 1_000).unwrap().remove(0).unwrap();
        assert_eq!(read.body, Body::Text("Too many\n\n12 failed".to_owned()));
        assert_eq!(read.trigger.name.as_deref(), Some("many"));
        // A message that tells the alert itself stays as it is.
        let own = r#"{"alert": {"monitor": {"name": "Own"}, "alert": "a2", "body": "b"}}"#;
        let (envelope, read) = hands.for_callback(&message("callback:mail", own), &[alert()], AT);
        assert_eq!((envelope.body, read.id.as_deref()), (own.as_bytes().to_vec(), Some("a2")));
    }
}
