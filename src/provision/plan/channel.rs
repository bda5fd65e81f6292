//! The channel: brought to our address and secret, unless a user made it his own.

use url::Url;

use super::{Action, Step, Work, token_of};
use crate::{
    opensearch::notifications::{Config, Webhook},
    provision::{
        Options,
        desired::{CHANNEL_ID, Desired, MALCOLM_WEBHOOK_URL, OLD_CHANNEL_ID, TOKEN_HEADER},
        probe::Live,
        sealed::shown,
    },
    secrets::WebhookToken,
};

/// What happens to the channel, under both of its ids.
pub(super) fn steps(
    desired: &Desired,
    live: &Live,
    token: &WebhookToken,
    races: bool,
    options: Options,
) -> Vec<Step> {
    let (Some(live), Some(shipped)) = (&live.channels, &desired.channel) else { return Vec::new() };
    let wanted = WantedChannel { shipped, url: &desired.webhook_url, token };
    let exists = |id, channel: &Config| match existing_channel(id, &wanted, channel, races) {
        step if options.force && step.is_edited() => wanted.take_over(id, channel),
        step => step,
    };
    let current = live.current.as_ref().map(|channel| exists(CHANNEL_ID, channel));
    let current = current.unwrap_or_else(|| {
        Step::channel(CHANNEL_ID, Action::Create, Some(Work::CreateChannel(wanted.fresh())))
    });
    // A channel under the old id is not made, but monitors may still send to one that is there.
    let old = live.old.as_ref().map(|channel| exists(OLD_CHANNEL_ID, channel));
    std::iter::once(current).chain(old).collect()
}

/// The channel as it should be.
struct WantedChannel<'a> {
    shipped: &'a Config,
    url: &'a Url,
    token: &'a WebhookToken,
}

impl WantedChannel<'_> {
    fn fresh(&self) -> Config {
        let mut config = self.shipped.clone();
        config.description = self.describe();
        if let Some(webhook) = &mut config.webhook {
            webhook.set_header(TOKEN_HEADER, self.token.expose());
        }
        config
    }

    /// The channel's description. It remembers the address that we wrote, so that a later run can
    /// tell a change of the setting from a user's edit.
    fn describe(&self) -> String {
        format!("{}{MARK}{}]", self.shipped.description, shown(self.url.as_str()))
    }

    /// A user's channel made ours again; whether it is switched on stays his.
    fn take_over(&self, id: &'static str, live: &Config) -> Step {
        let config = Config { is_enabled: live.is_enabled, ..self.fresh() };
        let reason = "taken over from a user".to_owned();
        let mut diff = Vec::new();
        for (what, from, to) in [
            ("name", &live.name, &config.name),
            ("config_type", &live.config_type, &config.config_type),
        ] {
            if from != to {
                diff.push(format!("~ {what}: {from} -> {to}"));
            }
        }
        let url = |config: &Config| config.webhook.as_ref().map(|webhook| shown(&webhook.url));
        if let (Some(from), Some(to)) = (url(live), url(&config))
            && from != to
        {
            diff.push(format!("~ url: {from} -> {to}"));
        }
        let work = Work::UpdateChannel { config, found: live.clone(), races: false };
        Step::channel(id, Action::Update { reason, diff }, Some(work))
    }
}

impl Step {
    /// Whether a user's edit is what keeps it from being as it should be. Switching it off is no
    /// such edit: that is always his.
    fn is_edited(&self) -> bool {
        matches!(&self.action, Action::Leave { reason, .. } if reason.starts_with(EDITED))
    }
}

const EDITED: &str = "edited by a user: its ";

/// A channel that is there: brought to our address and secret, unless a user made it his own.
fn existing_channel(id: &'static str, wanted: &WantedChannel, live: &Config, races: bool) -> Step {
    let leave = |reason: String, warning| {
        Step::channel(id, if warning { Action::warn(reason) } else { Action::leave(reason) }, None)
    };
    let Some(webhook) = &live.webhook else {
        return leave(format!("{EDITED}type is {}", live.config_type), true);
    };
    let is_admitted = token_of(live).is_some_and(|found| found.is(wanted.token));
    let points_to_us = is_same_url(&webhook.url, wanted.url.as_str());
    let is_untouched = points_to_us
        || is_same_url(&webhook.url, MALCOLM_WEBHOOK_URL)
        || last_applied(&live.description) == Some(shown(&webhook.url).as_str());
    if !is_untouched {
        return leave(format!("{EDITED}URL is {}", shown(&webhook.url)), true);
    }
    if live.name != wanted.shipped.name {
        let warning = !(is_admitted && points_to_us);
        return leave(format!("{EDITED}name is {:?}", live.name), warning);
    }
    if is_admitted && points_to_us {
        if live.is_enabled {
            return Step::channel(id, Action::InSync, None);
        }
        return leave("edited by a user: it is switched off".to_owned(), true);
    }
    let (config, reason, diff) = wanted.brought_up(live, webhook, is_admitted);
    let work = Work::UpdateChannel { config, found: live.clone(), races: races && !is_admitted };
    Step::channel(id, Action::Update { reason, diff }, Some(work))
}

impl WantedChannel<'_> {
    /// The channel with our address and secret, why, and what changes.
    fn brought_up(
        &self,
        live: &Config,
        webhook: &Webhook,
        is_admitted: bool,
    ) -> (Config, String, Vec<String>) {
        let (mut next, mut reasons, mut lines) = (webhook.clone(), Vec::new(), Vec::new());
        if !is_same_url(&webhook.url, self.url.as_str()) {
            let (from, to) = (shown(&webhook.url), shown(self.url.as_str()));
            reasons.push("it does not point to us");
            lines.push(format!("~ url: {from} -> {to}"));
            self.url.as_str().clone_into(&mut next.url);
        }
        if !is_admitted {
            let had = webhook.header(TOKEN_HEADER).is_some();
            reasons.push(if had {
                "its secret is not ours"
            } else {
                "it does not carry our secret"
            });
            let from = if had { "~" } else { "+" };
            lines.push(format!("{from} header {TOKEN_HEADER}: [REDACTED]"));
            next.set_header(TOKEN_HEADER, self.token.expose());
        }
        let mut config = Config { webhook: Some(next), ..live.clone() };
        // A user's own words stay, and with them the memory of what we applied is lost.
        let is_ours = live.description == self.shipped.description
            || last_applied(&live.description).is_some();
        if is_ours {
            config.description = self.describe();
            if config.description != live.description {
                lines.push(format!("~ description: {}", config.description));
            }
        }
        (config, reasons.join(", "), lines)
    }
}

const MARK: &str = " [alertloop: ";

fn last_applied(description: &str) -> Option<&str> {
    description.rsplit_once(MARK)?.1.strip_suffix(']')
}

fn is_same_url(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
