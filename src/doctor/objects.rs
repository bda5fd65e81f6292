//! Template, channel and monitor, as provisioning's plan sees them.

use super::{Report, Setup};
use crate::{
    opensearch::Client,
    provision::{
        self, ChannelSecret, Live, Options, TemplateMode,
        desired::{Desired, MONITOR_NAME},
        object::{Found, Key},
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
    let plan = provision::plan(&setup.provisioning, desired, live, &secret, Options::default());
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
        Object::Template | Object::LegacyTemplate => "template",
        Object::Channel => "channel",
        Object::Monitor | Object::Workflow => "monitor",
    };
    let name = &step.name;
    let found = live.objects.get(&Key::new(step.object, name)).map(Vec::as_slice);
    let found: &[Found] = found.unwrap_or_default();
    match &step.action {
        Action::Create => report.warn(check, format!("{name} is missing"), APPLY),
        Action::Update { reason, .. } if step.object == Object::Channel => {
            report.fail(check, format!("{name}: {reason}"), APPLY);
        }
        Action::Update { reason, .. } | Action::Delete { reason } => {
            report.warn(check, format!("{name}: {reason}"), APPLY);
        }
        Action::Leave { reason, warning: true, .. } => {
            let mend = if found.len() > 1 {
                "keep one of them, and delete the others in Dashboards (Alerting, Monitors)"
            } else {
                "undo the edit, or delete it and let it be made anew"
            };
            report.warn(check, format!("{name}: {reason}"), mend);
        }
        Action::Unavailable { reason } if live.is_builtin => {
            let mend = "take its file away, or let OpenSearch's plugins run the monitors";
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
            let is_enabled = found.iter().any(|one| one.body["enabled"] == true);
            let how = match (is_enabled, name.as_str()) {
                (true, _) => "enabled",
                (false, MONITOR_NAME) => "disabled, as it is shipped",
                (false, _) => "disabled",
            };
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
