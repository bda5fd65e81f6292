//! `provision test`: sends OpenSearch's own test message through a channel, sees whether it arrived
//! at our intake, and shows what the loopback monitor would send and which record that would
//! become. Nothing is kept.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Settings,
    desired::{CHANNEL_ID, Desired, MONITOR_NAME, OLD_CHANNEL_ID, TOKEN_HEADER},
    lint::{self, Sample},
    plan::token_of,
    probe::known_fields,
    shape,
};
use crate::{
    finding::{self, Finding},
    opensearch::{
        self, Client, alerting,
        notifications::{self, Config},
    },
    receipt::receipt,
    record::Naming,
    secrets::WebhookToken,
};

pub mod verdict;

use verdict::Known;

/// What a rehearsal showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rehearsal {
    /// Step by step, until the first that fails.
    pub findings: Vec<Finding>,
    /// The loopback monitor's message and its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        finding::write(f, &self.findings)?;
        match &self.sample {
            Some(sample) => write!(f, "\n{sample}"),
            None => Ok(()),
        }
    }
}

/// The secrets that the intake accepts, as far as they are known here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets<'a> {
    /// The one that the channel should carry.
    pub current: Option<&'a WebhookToken>,
    /// The one before, where it is still accepted.
    pub previous: Option<&'a WebhookToken>,
}

/// Rehearses with the channel `id`; with the loopback channel, its monitor too.
pub async fn run(
    client: &Client,
    settings: &Settings,
    naming: &Naming,
    received: Timestamp,
    id: &str,
    secrets: Secrets<'_>,
) -> Rehearsal {
    let mut rehearsal = Rehearsal::default();
    if let Err(fault) = client.capabilities().await {
        rehearsal.findings.push(verdict::store(client.address(), &fault));
        return rehearsal;
    }
    if is_loopback(id) && client.is_builtin().await.unwrap_or(false) {
        let what = "not needed: alertloop runs the monitors itself, and takes what they send here";
        rehearsal.findings.push(Finding::ok(id, what));
        monitor(&mut rehearsal, client, settings, naming, received).await;
        return rehearsal;
    }
    let channel = match notifications::channel(client, id).await {
        Ok(Some(channel)) => channel,
        Ok(None) => {
            rehearsal.findings.push(verdict::no_channel(id, is_loopback(id)));
            return rehearsal;
        }
        Err(fault) => {
            rehearsal.findings.push(verdict::refused(id, "read", &fault));
            return rehearsal;
        }
    };
    if !channel.is_enabled {
        rehearsal.findings.push(verdict::switched_off(id));
        return rehearsal;
    }
    let what = format!("{:?}, of the type {}, is switched on", channel.name, channel.config_type);
    rehearsal.findings.push(Finding::ok(id, what));
    match send(client, settings, (id, id), &channel, secrets).await {
        Ok(findings) => rehearsal.findings.extend(findings),
        Err(fault) => rehearsal.findings.push(verdict::refused(id, "test", &fault)),
    }
    if is_loopback(id) {
        monitor(&mut rehearsal, client, settings, naming, received).await;
    }
    rehearsal
}

/// Has the store send its test message through a channel, and says what became of it. The channel
/// goes by the first of the two names in what is said, and by its id in the store.
///
/// # Errors
/// The store's own, where it does not test the channel at all.
pub async fn send(
    client: &Client,
    settings: &Settings,
    (subject, id): (&str, &str),
    channel: &Config,
    secrets: Secrets<'_>,
) -> Result<Vec<Finding>, opensearch::Error> {
    let deliveries = notifications::send_test(client, id).await?;
    let known = known(settings, id, channel, secrets);
    Ok(deliveries.iter().map(|one| verdict::of(subject, one, &known)).collect())
}

/// Whether the id is of the channel that is made to send to us.
fn is_loopback(id: &str) -> bool {
    [CHANNEL_ID, OLD_CHANNEL_ID].contains(&id)
}

fn known(settings: &Settings, id: &str, channel: &Config, secrets: Secrets<'_>) -> Known {
    let webhook = channel.webhook.as_ref();
    let url = webhook.map(|webhook| webhook.url.as_str());
    let is_ours = is_loopback(id)
        || url == Some(settings.webhook_url.as_str())
        || webhook.is_some_and(|webhook| webhook.header(TOKEN_HEADER).is_some());
    let carried = token_of(channel);
    let carries_ours = carried.zip(secrets.current).map(|(carried, ours)| carried.is(ours));
    Known {
        is_ours,
        host: url.and_then(|url| url::Url::parse(url).ok()).map(|url| verdict::shown(&url)),
        receipt: secrets.current.map(|token| receipt(token, id)),
        previous: secrets.previous.map(|token| receipt(token, id)),
        carries_ours,
    }
}

/// What the loopback monitor would send if it fired now.
async fn monitor(
    rehearsal: &mut Rehearsal,
    client: &Client,
    settings: &Settings,
    naming: &Naming,
    received: Timestamp,
) {
    match dry_run(client, settings, naming, received).await {
        Ok(sample) => {
            let what = "a dry run with a true trigger renders its message, and that becomes a record; a real alert also has the ids of the monitor and of the alert";
            rehearsal.findings.push(Finding::ok(sample.subject.clone(), what));
            rehearsal.sample = Some(sample);
        }
        Err(finding) => rehearsal.findings.push(finding),
    }
}

async fn dry_run(
    client: &Client,
    settings: &Settings,
    naming: &Naming,
    received: Timestamp,
) -> Result<Sample, Finding> {
    let desired = super::desired(settings)
        .map_err(|fault| Finding::fail("files", fault.to_string(), "correct the file"))?;
    let name = MONITOR_NAME;
    let found = body(client, &desired).await.map_err(|fault| verdict::unrun(name, &fault))?;
    let Some((monitor, when)) = found else {
        let mend = "put its file back to run it dry";
        return Err(Finding::warn(name, "neither the store nor a file has it", mend));
    };
    let report = alerting::dry_run(client, &shape::always_true(&monitor)).await;
    let report = report.map_err(|fault| verdict::unrun(name, &fault))?;
    let error = report.pointer("/input_results/error").and_then(Value::as_str);
    if let Some(error) = error {
        let mend = "see that the index pattern is right, and run `alertloop provision lint --live`";
        return Err(Finding::warn(name, format!("its query fails: {error}"), mend));
    }
    let mend = "run `alertloop provision lint --live`";
    let message = match shape::rendered(&report).into_iter().next().map(|one| one.message) {
        Some(Ok(message)) => message,
        Some(Err(fault)) => {
            return Err(Finding::fail(
                name,
                format!("its message cannot be rendered: {fault}"),
                mend,
            ));
        }
        None => return Err(Finding::fail(name, "it renders no message: has it an action?", mend)),
    };
    let known = known_fields(client, &desired.sample_index).await.map_err(|fault| {
        let what = format!("the types of the index cannot be read: {fault}");
        Finding::warn(name, what, "run `alertloop doctor`")
    })?;
    lint::sample(name, when, &message, received, naming, &known).map_err(|fault| {
        let what = format!("its message would become a dead letter: {fault}");
        Finding::fail(name, what, mend)
    })
}

/// The monitor as the store has it, else as the file does; `None` where neither has it.
async fn body(
    client: &Client,
    desired: &Desired,
) -> Result<Option<(Value, &'static str)>, opensearch::Error> {
    let named = alerting::named(client, alerting::Family::Monitor, &[MONITOR_NAME]).await?;
    let file = desired.monitors().find(|one| one.key.name == MONITOR_NAME);
    Ok(match (named.into_iter().next(), file) {
        (Some(live), _) => Some((live.body, "as it stands in the store")),
        (None, Some(file)) => {
            Some((file.body.clone(), "as its file says, since the store has none"))
        }
        (None, None) => None,
    })
}
