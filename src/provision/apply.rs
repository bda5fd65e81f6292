//! Carries a plan out, one step at a time, and looks again after each: what others did meanwhile
//! (a second replica, Malcolm's own script, a user) is then part of the next plan.

use tracing::info;

use super::{
    Error, Settings,
    desired::{CHANNEL_ID, Desired},
    plan::{ChannelSecret, Object, Plan, Step, Work, plan, token_of},
    probe::probe,
};
use crate::{
    opensearch::{
        Client,
        alerting::{self, Monitor},
        notifications::{self, Config},
        templates,
    },
    secrets::WebhookToken,
};

/// How often the store is looked at before we give up. Each object needs one step, and each step
/// may once be lost to somebody faster.
const ROUNDS: usize = 12;

/// A channel that exists only while several replicas agree on one secret.
pub const HANDOVER_ID: &str = "alertloop-secret-handover";

/// Steps that were carried out, and the plan that was left after them: one that needs nothing.
pub(super) async fn apply(
    client: &Client,
    settings: &Settings,
    desired: &Desired,
    secret: &ChannelSecret,
) -> Result<(Vec<Step>, Plan), Error> {
    let mut done = Vec::new();
    for _ in 0..ROUNDS {
        let live = probe(client, settings, desired).await?;
        let plan = plan(settings, desired, &live, secret);
        let Some(step) = plan.steps.iter().find(|step| step.work.is_some()) else {
            if live.channels.is_some() {
                tidy(client).await?;
            }
            return Ok((done, plan));
        };
        match carry_out(client, desired, step, &plan.token).await {
            Ok(()) => {
                info!("provisioned: {step}");
                done.push(step.clone());
            }
            // Somebody was faster: the next look shows what is there now. The Notifications plugin
            // says 408 where a write met another.
            Err(fault) if matches!(fault.status(), Some(408 | 409)) => {}
            Err(fault) => return Err(Error::store(&format!("cannot {}", short(step)))(fault)),
        }
    }
    Err(Error::Unsettled)
}

fn short(step: &Step) -> String {
    let verb = match &step.work {
        Some(Work::UpdateChannel { .. }) => "update",
        Some(Work::PutTemplate(_)) => "write",
        _ => "create",
    };
    match step.object {
        Object::Monitor => format!("{verb} the monitor {:?}", step.name),
        object => format!("{verb} the {object} {}", step.name),
    }
}

async fn carry_out(
    client: &Client,
    desired: &Desired,
    step: &Step,
    token: &WebhookToken,
) -> Result<(), crate::opensearch::Error> {
    match &step.work {
        None => Ok(()),
        Some(Work::PutTemplate(template)) => templates::put_legacy(client, template).await,
        Some(Work::CreateChannel(config)) => {
            notifications::create(client, CHANNEL_ID, config).await
        }
        Some(Work::UpdateChannel { config, races: false }) => {
            notifications::update(client, &step.name, config).await
        }
        Some(Work::UpdateChannel { config, races: true }) => {
            hand_over(client, &step.name, config, token).await
        }
        Some(Work::CreateMonitor(body)) => create_monitor(client, desired, body).await,
    }
}

/// Gives a channel its first secret so that all replicas end with the same one.
///
/// A channel's update has no version check: of two replicas the later would overwrite the secret
/// that the earlier has begun to use. But of two creations under one id exactly one succeeds. So
/// the secret is first created as a channel of its own, switched off; whoever finds that one there
/// uses its secret in place of his own, so every write to the real channel is the same. A crash on
/// the way leaves it for the next to finish.
async fn hand_over(
    client: &Client,
    id: &str,
    config: &Config,
    token: &WebhookToken,
) -> Result<(), crate::opensearch::Error> {
    let mut next = config.clone();
    let held = Config {
        name: "alertloop secret handover (removed in a moment)".to_owned(),
        is_enabled: false,
        ..config.clone()
    };
    match notifications::create(client, HANDOVER_ID, &held).await {
        Err(fault) if fault.is_conflict() => {
            let theirs = notifications::channel(client, HANDOVER_ID).await?;
            // Gone again: the other is done, and the next look finds his secret.
            let Some(theirs) = theirs else { return Err(fault) };
            let theirs = token_of(&theirs).unwrap_or_else(|| token.clone());
            if let Some(webhook) = &mut next.webhook {
                webhook.set_header(super::desired::TOKEN_HEADER, theirs.expose());
            }
        }
        created => created?,
    }
    // Only now is it certain that nobody writes another secret: look once more before writing.
    let is_decided = match notifications::channel(client, id).await? {
        Some(live) => token_of(&live).is_some(),
        None => true, // deleted meanwhile: the next look plans anew
    };
    if !is_decided {
        notifications::update(client, id, &next).await?;
    }
    notifications::delete(client, HANDOVER_ID).await
}

/// Removes what a crash in [`hand_over`] left. Once nothing is left to do, the real channel has its
/// secret (or is a user's), so nobody needs this one.
async fn tidy(client: &Client) -> Result<(), Error> {
    let gone = notifications::delete(client, HANDOVER_ID).await;
    gone.map_err(Error::store("cannot remove the channel of the handover"))
}

/// Creates the monitor, and takes it back where another of its name was written before it.
///
/// The store chooses the ids, so a creation cannot be refused for being the second. Its writes are
/// numbered, though, and each is searchable before it is answered: of several creators all but the
/// first see one with a lower number, and remove what they have just made.
async fn create_monitor(
    client: &Client,
    desired: &Desired,
    body: &serde_json::Value,
) -> Result<(), crate::opensearch::Error> {
    let created = alerting::create_monitor(client, body).await?;
    let named = alerting::monitors_named(client, desired.monitor_name()).await?;
    if is_surplus(&created, &named) {
        info!("another monitor of that name was created before ours; ours is removed");
        alerting::delete_monitor(client, &created.id).await?;
    }
    Ok(())
}

fn is_surplus(created: &Monitor, named: &[Monitor]) -> bool {
    named.iter().any(|other| other.id != created.id && other.seq_no < created.seq_no)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn of_several_new_monitors_only_the_first_written_stays() {
        let one = |id: &str, seq_no| Monitor { id: id.to_owned(), seq_no, body: Value::Null };
        let all = [one("a", 7), one("b", 3), one("c", 9)];
        assert_eq!(all.each_ref().map(|created| is_surplus(created, &all)), [true, false, true]);
        assert!(!is_surplus(&all[0], &all[..1]));
        assert!(!is_surplus(&all[0], &[]));
    }
}
