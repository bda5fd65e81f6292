//! Template, channel and monitor, as provisioning's plan sees them.

use super::{Report, Setup};
use crate::{
    opensearch::{Client, alerting::Monitor},
    provision::{
        self, ChannelSecret, Live, TemplateMode,
        desired::Desired,
        plan::{Action, Object, Step},
        probe::Covering,
    },
    secrets::WebhookToken,
};

const APPLY: &str = "run `alertloop provision apply`, or restart `alertloop serve`";

/// Compares what is there with what should be. `plugins_are_missing`: that has been said already.
pub(super) fn look(
    report: &mut Report,
    setup: &Setup,
    desired: &Desired,
    live: &Live,
    plugins_are_missing: bool,
) {
    // As if it were configured: then a channel with another secret shows.
    let secret = match &setup.token {
        Some(token) => ChannelSecret::Configured(token.clone()),
        None => ChannelSecret::Offered(WebhookToken::generate()),
    };
    let plan = provision::plan(&setup.provisioning, desired, live, &secret);
    for step in &plan.steps {
        let is_unavailable = matches!(step.action, Action::Unavailable { .. });
        if is_unavailable && plugins_are_missing {
            continue;
        }
        if step.object == Object::Template && !plan.template_ready {
            let mend =
                "wait until Malcolm's dashboards-helper has made it, or set ALERTLOOP_TEMPLATE";
            report.warn("template", format!("{} is not there; records wait", step.name), mend);
        } else {
            object(report, step, live);
        }
    }
    if setup.token.is_none() && live.channels.is_some() {
        let mend = "start `alertloop serve` once, or set ALERTLOOP_TOKEN";
        report.warn("secret", "we have none yet, so the channel's is not compared", mend);
    }
}

fn object(report: &mut Report, step: &Step, live: &Live) {
    let check = match step.object {
        Object::Template => "template",
        Object::Channel => "channel",
        Object::Monitor => "monitor",
    };
    let name = &step.name;
    let is_doubled = live.monitors.as_ref().is_some_and(|named| named.len() > 1);
    match &step.action {
        Action::Create => report.warn(check, format!("{name} is missing"), APPLY),
        Action::Update { reason, .. } if step.object == Object::Channel => {
            report.fail(check, format!("{name}: {reason}"), APPLY);
        }
        Action::Update { reason, .. } => report.warn(check, format!("{name}: {reason}"), APPLY),
        Action::Leave { reason, warning: true } => {
            let mend = if step.object == Object::Monitor && is_doubled {
                "keep one of them, and delete the others in Dashboards (Alerting, Monitors)"
            } else {
                "undo the edit, or delete it and let it be made anew"
            };
            report.warn(check, format!("{name}: {reason}"), mend);
        }
        Action::Unavailable { reason } if live.about.is_opensearch => {
            let mend = "install the plugins opensearch-alerting and opensearch-notifications";
            report.warn(check, format!("{name}: {reason}"), mend);
        }
        Action::Leave { reason, .. } | Action::Unavailable { reason } => {
            report.ok(check, format!("{name}: {reason}"));
        }
        Action::InSync if step.object == Object::Monitor => {
            let is_enabled = live.monitors.iter().flatten().any(Monitor::is_enabled);
            let how = if is_enabled { "enabled" } else { "disabled, as it is shipped" };
            report.ok(check, format!("{name} is there, {how}"));
        }
        Action::InSync => report.ok(check, format!("{name} is there")),
    }
}

/// The template of somebody else, where we neither make one nor wait for one.
pub(super) async fn foreign_template(
    report: &mut Report,
    client: &Client,
    setup: &Setup,
    desired: &Desired,
) {
    let settings = &setup.provisioning;
    if settings.template != TemplateMode::None {
        return;
    }
    match provision::probe::template(client, desired, &settings.time_field).await {
        Ok((_, Some(Covering { name, maps_time_field: true }))) => {
            report.ok("template", format!("{name} covers {}", desired.index_pattern));
        }
        Ok(_) => {
            let (pattern, field) = (&desired.index_pattern, &settings.time_field);
            let mend = "set ALERTLOOP_TEMPLATE to auto, or make one";
            report.warn("template", format!("none gives {field} a type in {pattern}"), mend);
        }
        Err(fault) => report.unread("template", &fault),
    }
}
