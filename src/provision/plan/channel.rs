//! The channel: brought to our address and secret, unless a user made it his own.

use url::Url;

use super::{Action, Step, Work, token_of};
use crate::{
    opensearch::notifications::{Config, Webhook},
    provision::{
        desired::{CHANNEL_ID, Desired, MALCOLM_WEBHOOK_URL, OLD_CHANNEL_ID, TOKEN_HEADER},
        probe::Live,
    },
    secrets::WebhookToken,
};

/// What happens to the channel, under both of its ids.
pub(super) fn steps(
    desired: &Desired,
    live: &Live,
    token: &WebhookToken,
    races: bool,
) -> Vec<Step> {
    let Some(live) = &live.channels else { return Vec::new() };
    let exists = |id, channel: &Config| existing_channel(id, desired, channel, token, races);
    let current = live.current.as_ref().map(|channel| exists(CHANNEL_ID, channel));
    let current = current.unwrap_or_else(|| {
        let work = Work::CreateChannel(fresh_channel(desired, token));
        Step::channel(CHANNEL_ID, Action::Create, Some(work))
    });
    // A channel under the old id is not made, but monitors may still send to one that is there.
    let old = live.old.as_ref().map(|channel| exists(OLD_CHANNEL_ID, channel));
    std::iter::once(current).chain(old).collect()
}

fn fresh_channel(desired: &Desired, token: &WebhookToken) -> Config {
    let mut config = desired.channel.clone();
    config.description = describe(desired);
    if let Some(webhook) = &mut config.webhook {
        webhook.set_header(TOKEN_HEADER, token.expose());
    }
    config
}

/// A channel that is there: brought to our address and secret, unless a user made it his own.
fn existing_channel(
    id: &'static str,
    desired: &Desired,
    live: &Config,
    token: &WebhookToken,
    races: bool,
) -> Step {
    let leave =
        |reason: String, warning| Step::channel(id, Action::Leave { reason, warning }, None);
    let Some(webhook) = &live.webhook else {
        return leave(format!("edited by a user: its type is {}", live.config_type), true);
    };
    let is_admitted = token_of(live).is_some_and(|found| found.is(token));
    let points_to_us = is_same_url(&webhook.url, desired.webhook_url.as_str());
    let is_untouched = points_to_us
        || is_same_url(&webhook.url, MALCOLM_WEBHOOK_URL)
        || last_applied(&live.description) == Some(shown(&webhook.url).as_str());
    if !is_untouched {
        let url = shown(&webhook.url);
        return leave(format!("edited by a user: its URL is {url}"), true);
    }
    if live.name != desired.channel.name {
        let warning = !(is_admitted && points_to_us);
        return leave(format!("edited by a user: its name is {:?}", live.name), warning);
    }
    if is_admitted && points_to_us {
        if live.is_enabled {
            return Step::channel(id, Action::InSync, None);
        }
        return leave("edited by a user: it is switched off".to_owned(), true);
    }
    let (config, reason, diff) = brought_up(desired, live, webhook, token, is_admitted);
    let work = Work::UpdateChannel { config, races: races && !is_admitted };
    Step::channel(id, Action::Update { reason, diff }, Some(work))
}

/// The channel with our address and secret, why, and what changes.
fn brought_up(
    desired: &Desired,
    live: &Config,
    webhook: &Webhook,
    token: &WebhookToken,
    is_admitted: bool,
) -> (Config, String, Vec<String>) {
    let (mut next, mut reasons, mut lines) = (webhook.clone(), Vec::new(), Vec::new());
    if !is_same_url(&webhook.url, desired.webhook_url.as_str()) {
        let (from, to) = (shown(&webhook.url), shown(desired.webhook_url.as_str()));
        reasons.push("it does not point to us");
        lines.push(format!("~ url: {from} -> {to}"));
        desired.webhook_url.as_str().clone_into(&mut next.url);
    }
    if !is_admitted {
        let had = webhook.header(TOKEN_HEADER).is_some();
        reasons.push(if had { "its secret is not ours" } else { "it does not carry our secret" });
        let from = if had { "~" } else { "+" };
        lines.push(format!("{from} header {TOKEN_HEADER}: [REDACTED]"));
        next.set_header(TOKEN_HEADER, token.expose());
    }
    let mut config = Config { webhook: Some(next), ..live.clone() };
    // A user's own words stay, and with them the memory of what we applied is lost.
    if live.description == desired.channel.description || last_applied(&live.description).is_some()
    {
        config.description = describe(desired);
        if config.description != live.description {
            lines.push(format!("~ description: {}", config.description));
        }
    }
    (config, reasons.join(", "), lines)
}

const MARK: &str = " [alertloop: ";

/// The channel's description. It remembers the address that we wrote, so that a later run can tell
/// a change of the setting from a user's edit.
fn describe(desired: &Desired) -> String {
    let (text, url) = (&desired.channel.description, shown(desired.webhook_url.as_str()));
    format!("{text}{MARK}{url}]")
}

fn last_applied(description: &str) -> Option<&str> {
    description.rsplit_once(MARK)?.1.strip_suffix(']')
}

fn is_same_url(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// An address without what may be secret in it: login and query.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "[not a URL]".to_owned() };
    if url.query().is_some() {
        url.set_query(Some("[REDACTED]"));
    }
    // An address that cannot have a login has none to hide.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_fragment(None);
    url.into()
}
