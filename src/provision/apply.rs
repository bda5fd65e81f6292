//! Carries a plan out, step by step, and looks again: what others did meanwhile (a second replica,
//! Malcolm's own script, a user) is then part of the next plan.

use tracing::info;

use super::{
    Error, Options, Settings,
    desired::{CHANNEL_ID, Desired, HANDOVER_ID},
    plan::{ChannelSecret, Object, Plan, Step, Work, Write, plan, token_of},
    probe::probe,
};
use crate::{
    opensearch::{
        self, Client,
        notifications::{self, Config},
        templates,
    },
    secrets::WebhookToken,
};

mod channel;
mod object;

/// How often the store is looked at in vain before we give up: each look may find that somebody was
/// faster.
const ROUNDS: usize = 12;

/// Steps that were carried out, and the plan that was left after them: one that needs nothing.
pub(super) async fn apply(
    client: &Client,
    settings: &Settings,
    desired: &Desired,
    secret: &ChannelSecret,
    options: Options,
) -> Result<(Vec<Step>, Plan), Error> {
    let mut done = Vec::new();
    let mut in_vain = 0;
    while in_vain < ROUNDS {
        let live = probe(client, settings, desired, options).await?;
        let plan = plan(settings, desired, &live, secret, options);
        let waiting: Vec<&Step> = plan.steps.iter().filter(|step| step.work.is_some()).collect();
        if waiting.is_empty() {
            if live.channels.is_some() {
                tidy(client).await?;
            }
            return Ok((done, plan));
        }
        let objects = object::Objects::new(client, &live.about.version);
        in_vain += 1;
        for step in waiting {
            match carry_out(client, &objects, step, &plan.token).await {
                Ok(false) => {}
                Ok(true) => {
                    in_vain = 0;
                    if step.is_to_do() {
                        info!("provisioned: {step}");
                        done.push(step.clone());
                    }
                }
                // Somebody was faster: the next look shows what is there now. The Notifications
                // plugin says 408 where a write met another.
                Err(fault) if matches!(fault.status(), Some(408 | 409)) => break,
                Err(fault) => return Err(stopped(&plan, step, done, fault)),
            }
        }
    }
    Err(Error::Unsettled)
}

fn stopped(plan: &Plan, step: &Step, done: Vec<Step>, fault: opensearch::Error) -> Error {
    let rest = plan.steps.iter().skip_while(|one| !std::ptr::eq(*one, step)).skip(1);
    let left = rest.filter(|step| step.is_to_do()).count();
    Error::Stopped { what: short(step), fault, done, left }
}

fn short(step: &Step) -> String {
    let verb = match &step.work {
        Some(Work::UpdateChannel { .. } | Work::Change(..)) => "update",
        Some(Work::PutTemplate(_)) => "write",
        Some(Work::Remove(..)) => "remove",
        Some(Work::Note(_) | Work::Forget(_)) => "note the state of",
        _ => "create",
    };
    match step.object {
        object @ (Object::Monitor | Object::Workflow) => {
            format!("{verb} the {object} {:?}", step.name)
        }
        object => format!("{verb} the {object} {}", step.name),
    }
}

/// Does one step; `false` where it has to wait for another.
async fn carry_out(
    client: &Client,
    objects: &object::Objects<'_>,
    step: &Step,
    token: &WebhookToken,
) -> Result<bool, opensearch::Error> {
    match &step.work {
        None | Some(Work::Await) => return Ok(false),
        Some(Work::PutTemplate(template)) => templates::put_legacy(client, template).await,
        Some(Work::CreateChannel(config)) => {
            notifications::create(client, CHANNEL_ID, config).await
        }
        Some(Work::UpdateChannel { config, found, races }) => {
            // The store has no guard for a channel: what a user did since is looked for.
            if notifications::channel(client, &step.name).await?.as_ref() != Some(found) {
                let reason = format!("somebody else wrote the channel {}", step.name);
                return Err(opensearch::Error::Status { status: 409, reason });
            }
            if *races {
                hand_over(client, &step.name, config, token).await
            } else {
                let [found, config] = [found, config].map(serde_json::to_value);
                let malformed = |fault: serde_json::Error| {
                    opensearch::Error::Malformed(format!("channel {}: {fault}", step.name))
                };
                let (found, config) = (found.map_err(malformed)?, config.map_err(malformed)?);
                channel::replace(client, &step.name, &found, &config).await
            }
        }
        Some(Work::Make(write)) => objects.make(write).await.map_err(|fault| hide(write, fault)),
        Some(Work::Change(write, found)) => {
            objects.change(write, found).await.map_err(|fault| hide(write, fault))
        }
        Some(Work::Remove(key, found, entry)) => objects.remove(key, found, entry.as_ref()).await,
        Some(Work::Note(entry)) => objects.note(entry).await,
        Some(Work::Forget(entry)) => objects.forget(entry).await,
    }?;
    Ok(true)
}

/// The store quotes what it refuses.
fn hide(write: &Write, fault: opensearch::Error) -> opensearch::Error {
    let object = write.entry.key.object;
    match fault {
        opensearch::Error::Status { status, reason } => {
            let reason = write.hidden.hide(object, write.body.clone(), reason);
            opensearch::Error::Status { status, reason }
        }
        fault => fault,
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
