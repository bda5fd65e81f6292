//! What is to be done so that the store holds what it should: pure, from what is there.
//!
//! Who wins: an object that is missing is made; one that stands as Malcolm or we left it is brought
//! up to date; one that a user edited is left alone. A monitor that exists is never touched.

use std::fmt;

use serde::Serialize;
use url::Url;

use super::{
    Settings, TemplateMode,
    desired::{
        CHANNEL_ID, Desired, MALCOLM_WEBHOOK_URL, OLD_CHANNEL_ID, TEMPLATE_NAME, TOKEN_HEADER,
    },
    diff::{Difference, diff, paths},
    probe::Live,
};
use crate::{
    opensearch::{
        notifications::{Config, Webhook},
        templates::{Legacy, matches},
    },
    secrets::WebhookToken,
};

/// Where the channel's secret comes from.
#[derive(Clone, Debug)]
pub enum ChannelSecret {
    /// It is a setting: the channel is brought to it.
    Configured(WebhookToken),
    /// It was made by us: one that the channel carries already goes before it.
    Offered(WebhookToken),
}

/// The steps from what is there to what should be, in their order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// One step an object, also for those that need nothing.
    pub steps: Vec<Step>,
    /// The secret that the channel carries once the plan is done.
    #[serde(skip)]
    pub token: WebhookToken,
    /// Whether a record may be written once the plan is done: false only while Malcolm's own
    /// template is awaited.
    pub template_ready: bool,
}

/// What happens to one object.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its kind.
    pub object: Object,
    /// Its name, or a channel's id.
    pub name: String,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
    /// What `apply` sends for it.
    #[serde(skip)]
    pub(super) work: Option<Work>,
}

/// The kinds of objects that we keep in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// An index template.
    Template,
    /// A channel of the Notifications plugin.
    Channel,
    /// A monitor of the Alerting plugin.
    Monitor,
}

/// What happens to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It is missing and will be made.
    Create,
    /// It is as Malcolm or we left it, and will be changed.
    Update {
        /// Why.
        reason: String,
        /// The changes, one a line; secrets are shown as `[REDACTED]`.
        diff: Vec<String>,
    },
    /// It stays as it is.
    Leave {
        /// Why.
        reason: String,
        /// Whether somebody should look at it.
        warning: bool,
    },
    /// It is as it should be.
    InSync,
    /// The store cannot hold it.
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// What `apply` sends to the store.
#[derive(Clone, Debug)]
pub(super) enum Work {
    PutTemplate(Legacy),
    CreateChannel(Config),
    UpdateChannel {
        config: Config,
        /// Whether several replicas may be at it with a secret of their own each.
        races: bool,
    },
    CreateMonitor(serde_json::Value),
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.steps.iter().all(|step| step.work.is_none())
    }
}

/// Plans what to do.
#[must_use]
pub fn plan(settings: &Settings, desired: &Desired, live: &Live, secret: &ChannelSecret) -> Plan {
    let (token, is_decided) = decide_token(live, secret);
    let mut steps = vec![template(settings, desired, live)];
    if let Some(reason) = no_alerting(settings, live) {
        let action = Action::Unavailable { reason: reason.to_owned() };
        steps.push(Step::channel(CHANNEL_ID, action.clone(), None));
        steps.push(Step::monitor(desired, action, None));
    } else {
        steps.extend(channels(desired, live, &token, !is_decided));
        steps.push(monitor(desired, live));
    }
    let template_ready = settings.template != TemplateMode::Malcolm || live.malcolm_template_exists;
    Plan { steps, token, template_ready }
}

/// The secret, and whether every replica would decide on the same one.
fn decide_token(live: &Live, secret: &ChannelSecret) -> (WebhookToken, bool) {
    match secret {
        ChannelSecret::Configured(token) => (token.clone(), true),
        ChannelSecret::Offered(token) => {
            let channels = live.channels.as_ref();
            let both = channels.map(|all| [&all.current, &all.old]).into_iter().flatten();
            let found = both.flatten().find_map(token_of);
            let is_decided = found.is_some();
            (found.unwrap_or_else(|| token.clone()), is_decided)
        }
    }
}

/// The secret that a channel carries, if it is one that intake could accept.
pub(crate) fn token_of(channel: &Config) -> Option<WebhookToken> {
    channel.webhook.as_ref()?.header(TOKEN_HEADER)?.parse().ok()
}

fn no_alerting(settings: &Settings, live: &Live) -> Option<&'static str> {
    if !settings.is_opensearch || !live.about.is_opensearch {
        Some("the store is not OpenSearch; alerts of other sources are still recorded")
    } else if live.channels.is_none() {
        Some("the store has no Notifications plugin")
    } else if live.monitors.is_none() {
        Some("the store has no Alerting plugin")
    } else {
        None
    }
}

fn template(settings: &Settings, desired: &Desired, live: &Live) -> Step {
    let leave = |name: &str, reason: String, warning| {
        Step::new(Object::Template, name, Action::Leave { reason, warning }, None)
    };
    match settings.template {
        TemplateMode::None => {
            leave(TEMPLATE_NAME, "index templates are left to others".to_owned(), false)
        }
        TemplateMode::Malcolm if live.malcolm_template_exists => {
            Step::new(Object::Template, &settings.malcolm_template, Action::InSync, None)
        }
        TemplateMode::Malcolm => {
            let reason = "is awaited from Malcolm; records wait in the spool until it is there";
            leave(&settings.malcolm_template, reason.to_owned(), false)
        }
        TemplateMode::Auto => match &live.covering {
            Some(other) if other.maps_time_field => {
                leave(&other.name, format!("covers {}", desired.index_pattern), false)
            }
            Some(other) => {
                let (pattern, field) = (&desired.index_pattern, &settings.time_field);
                let reason =
                    format!("covers {pattern} but gives {field} no type; ours cannot help");
                leave(&other.name, reason, true)
            }
            None => own_template(desired, live.template.as_ref()),
        },
    }
}

fn own_template(desired: &Desired, live: Option<&Legacy>) -> Step {
    let step = |action, work| Step::new(Object::Template, TEMPLATE_NAME, action, work);
    let Some(live) = live else {
        return step(Action::Create, Some(Work::PutTemplate(desired.template.clone())));
    };
    let covers = live.index_patterns.iter().any(|p| matches(p, &desired.sample_index));
    let is_older = live.version.unwrap_or(0) < desired.template.version.unwrap_or(0);
    let differences = diff(&desired.template.mappings, &live.mappings);
    if covers && !is_older {
        if differences.is_empty() {
            return step(Action::InSync, None);
        }
        let reason = format!("edited by a user: {}", paths(&differences));
        return step(Action::Leave { reason, warning: false }, None);
    }
    let mut next = live.clone();
    let mut lines = Vec::new();
    if !covers {
        // Another deployment on this store may need the patterns that are there.
        lines.push(format!("+ index_patterns: {}", desired.index_pattern));
        next.index_patterns.push(desired.index_pattern.clone());
    }
    let reason = if is_older {
        next.version = desired.template.version;
        next.mappings = desired.template.mappings.clone();
        lines.extend(differences.iter().map(Difference::to_string));
        "an older version of it is there".to_owned()
    } else {
        format!("does not cover {} yet", desired.index_pattern)
    };
    step(Action::Update { reason, diff: lines }, Some(Work::PutTemplate(next)))
}

fn channels(desired: &Desired, live: &Live, token: &WebhookToken, races: bool) -> Vec<Step> {
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

fn monitor(desired: &Desired, live: &Live) -> Step {
    let leave =
        |reason: String, warning| Step::monitor(desired, Action::Leave { reason, warning }, None);
    match live.monitors.as_deref().unwrap_or_default() {
        [] => {
            let work = Work::CreateMonitor(desired.monitor.clone());
            Step::monitor(desired, Action::Create, Some(work))
        }
        [one] => {
            let differences = diff(&desired.monitor, &one.body);
            if differences.is_empty() {
                return Step::monitor(desired, Action::InSync, None);
            }
            leave(format!("it exists, and differs in {}", paths(&differences)), false)
        }
        several => {
            let ids: Vec<_> = several.iter().map(|one| one.id.as_str()).collect();
            let reason = format!("{} have this name: {}", several.len(), ids.join(", "));
            leave(reason, true)
        }
    }
}

fn is_same_url(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// An address without what may be secret in it: login and query.
#[must_use]
pub fn shown(url: &str) -> String {
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

impl Step {
    fn new(object: Object, name: &str, action: Action, work: Option<Work>) -> Self {
        Self { object, name: name.to_owned(), action, work }
    }

    fn channel(id: &str, action: Action, work: Option<Work>) -> Self {
        Self::new(Object::Channel, id, action, work)
    }

    fn monitor(desired: &Desired, action: Action, work: Option<Work>) -> Self {
        Self::new(Object::Monitor, desired.monitor_name(), action, work)
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self.action, Action::Leave { warning: true, .. })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template => "template",
            Self::Channel => "channel",
            Self::Monitor => "monitor",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ {}: {} -> {}", self.path, self.live, self.desired)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.action {
            Action::Create => ("create", ""),
            Action::Update { reason, .. } => ("update", reason.as_str()),
            Action::Leave { reason, .. } => ("leave", reason.as_str()),
            Action::InSync => ("in sync", ""),
            Action::Unavailable { reason } => ("unavailable", reason.as_str()),
        };
        write!(f, "{word:<11} {:<8} {}", self.object.to_string(), self.name)?;
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        if let Action::Update { diff, .. } = &self.action {
            for line in diff {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match self.steps.iter().filter(|step| step.work.is_some()).count() {
            0 => writeln!(f, "Nothing is to do."),
            steps => writeln!(f, "To do: {steps}. `alertloop provision apply` does it."),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{compiled_in, probe::Channels, probe::Covering},
        *,
    };
    use crate::opensearch::{alerting::Monitor, cluster::About};

    const OURS: &str = "0123456789abcdef-ours";
    const THEIRS: &str = "0123456789abcdef-theirs";

    fn settings() -> Settings {
        Settings {
            webhook_url: Url::parse("http://alertloop:5000/mapi/alert").unwrap(),
            index_pattern: "arkime_sessions3-*".to_owned(),
            time_field: "firstPacket".to_owned(),
            template: TemplateMode::Auto,
            malcolm_template: "malcolm_template".to_owned(),
            is_opensearch: true,
            dir: None,
        }
    }

    fn desired(settings: &Settings) -> Desired {
        Desired::new(settings, compiled_in).unwrap()
    }

    fn empty() -> Live {
        Live {
            about: About { is_opensearch: true, version: "3.4.0".to_owned() },
            channels: Some(Channels::default()),
            monitors: Some(Vec::new()),
            ..Live::default()
        }
    }

    fn offered() -> ChannelSecret {
        ChannelSecret::Offered(OURS.parse().unwrap())
    }

    /// The channel as Malcolm's script makes it, with some of it changed.
    fn channel(change: impl FnOnce(&mut Value)) -> Config {
        let mut config = json!({
            "name": "Malcolm API Loopback Webhook",
            "description": "Malcolm API webhook to index OpenSearch alerts as session documents",
            "config_type": "webhook", "is_enabled": true,
            "webhook": {"url": "http://api:5000/mapi/alert", "method": "POST",
                "header_params": {"Content-Type": "application/json"}}});
        change(&mut config);
        serde_json::from_value(config).unwrap()
    }

    fn plan_of(live: &Live, secret: &ChannelSecret) -> Plan {
        let settings = settings();
        plan(&settings, &desired(&settings), live, secret)
    }

    fn channel_step(channel: Config, secret: &ChannelSecret) -> Step {
        let channels = Channels { current: Some(channel), old: None };
        let live = Live { channels: Some(channels), ..empty() };
        plan_of(&live, secret).steps.swap_remove(1)
    }

    /// What the store would show after the plan is carried out.
    fn carried_out(plan: Plan, live: &Live) -> Live {
        let mut live = live.clone();
        for step in plan.steps {
            let channels = live.channels.as_mut().unwrap();
            match step.work {
                None => {}
                Some(Work::PutTemplate(template)) => live.template = Some(template),
                Some(Work::UpdateChannel { config, .. }) if step.name == OLD_CHANNEL_ID => {
                    channels.old = Some(config);
                }
                Some(Work::CreateChannel(config) | Work::UpdateChannel { config, .. }) => {
                    channels.current = Some(config);
                }
                Some(Work::CreateMonitor(body)) => {
                    live.monitors = Some(vec![Monitor { id: "m".to_owned(), seq_no: 1, body }]);
                }
            }
        }
        live
    }

    #[test]
    fn an_empty_store_gets_everything_and_then_needs_nothing() {
        let plan = plan_of(&empty(), &offered());
        assert!(plan.steps.iter().all(|step| step.action == Action::Create), "{plan}");
        assert!(!plan.is_in_sync() && plan.template_ready);
        let live = carried_out(plan, &empty());
        let again = plan_of(&live, &offered());
        assert!(again.is_in_sync(), "{again}");
        assert!(again.steps.iter().all(|step| step.action == Action::InSync), "{again}");
    }

    #[test]
    fn a_channel_is_brought_up_unless_a_user_made_it_his_own() {
        let with_token = |token: &'static str| {
            move |config: &mut Value| {
                config["webhook"]["header_params"]["x-alertloop-TOKEN"] = json!(token);
                config["webhook"]["url"] = json!("http://alertloop:5000/mapi/alert");
            }
        };
        let set = |path: &'static str, value: Value| {
            move |config: &mut Value| *config.pointer_mut(path).unwrap() = value
        };
        let configured = ChannelSecret::Configured(OURS.parse().unwrap());
        for (channel, secret, want) in [
            (channel(|_| ()), offered(), "update: it does not point to us, it does not carry our"),
            (channel(with_token(OURS)), offered(), "in sync"),
            (channel(with_token(THEIRS)), offered(), "in sync"), // adopted
            (channel(with_token(THEIRS)), configured.clone(), "update: its secret is not ours"),
            (channel(with_token("short")), offered(), "update: its secret is not ours"),
            (
                channel(set("/webhook/url", json!("http://elsewhere/"))),
                offered(),
                "leave!: edited by a user: its URL is http://elsewhere/",
            ),
            (
                channel(set("/webhook/url", json!("http://u:p@elsewhere/?key=1"))),
                configured,
                "leave!: edited by a user: its URL is http://elsewhere/?[REDACTED]",
            ),
            (channel(set("/name", json!("Mine"))), offered(), "leave!: edited by a user: its name"),
            (
                channel(|config| {
                    with_token(OURS)(config);
                    config["name"] = json!("Mine");
                }),
                offered(),
                "leave: edited by a user: its name",
            ),
            (
                channel(|config| {
                    with_token(OURS)(config);
                    config["is_enabled"] = json!(false);
                }),
                offered(),
                "leave!: edited by a user: it is switched off",
            ),
            (
                channel(|config| {
                    *config = json!({"name": "Malcolm API Loopback Webhook",
                        "config_type": "slack", "slack": {"url": "https://hooks.slack.com/"}});
                }),
                offered(),
                "leave!: edited by a user: its type is slack",
            ),
        ] {
            let step = channel_step(channel, &secret);
            let got = match &step.action {
                Action::Update { reason, .. } => format!("update: {reason}"),
                Action::Leave { reason, warning: true } => format!("leave!: {reason}"),
                Action::Leave { reason, .. } => format!("leave: {reason}"),
                Action::InSync => "in sync".to_owned(),
                other => format!("{other:?}"),
            };
            assert!(got.starts_with(want), "{got} instead of {want}");
        }
    }

    #[test]
    fn an_update_keeps_what_a_user_added_to_the_channel() {
        let step = channel_step(
            channel(|config| {
                config["webhook"]["header_params"]["X-Own"] = json!("kept");
                config["is_enabled"] = json!(false);
                config["description"] = json!("own words");
            }),
            &offered(),
        );
        let Some(Work::UpdateChannel { config, races: true }) = step.work else {
            panic!("{:?}", step.action);
        };
        let webhook = config.webhook.unwrap();
        assert_eq!(webhook.header("X-Own"), Some("kept"));
        assert_eq!(webhook.header(TOKEN_HEADER), Some(OURS));
        assert_eq!(webhook.url, "http://alertloop:5000/mapi/alert");
        assert_eq!((config.is_enabled, config.description.as_str()), (false, "own words"));
    }

    #[test]
    fn a_changed_setting_moves_the_address_that_we_wrote_and_no_other() {
        let live = carried_out(plan_of(&empty(), &offered()), &empty());
        let moved = Settings {
            webhook_url: Url::parse("https://new:8443/mapi/alert").unwrap(),
            ..settings()
        };
        let plan_moved = |live: &Live| plan(&moved, &desired(&moved), live, &offered());
        let plan = plan_moved(&live);
        assert!(
            plan.to_string().contains("~ url: http://alertloop:5000/mapi/alert -> https://new")
        );
        assert!(plan_moved(&carried_out(plan, &live)).is_in_sync());

        let mut edited = live.clone();
        let current = edited.channels.as_mut().unwrap().current.as_mut().unwrap();
        current.webhook.as_mut().unwrap().url = "http://users.own/".to_owned();
        assert!(plan_moved(&edited).is_in_sync());
    }

    #[test]
    fn a_secret_of_the_channel_is_adopted_unless_one_is_configured() {
        let carrying = |token: &str| {
            Some(channel(|config| {
                config["webhook"]["header_params"][TOKEN_HEADER] = json!(token);
            }))
        };
        let configured = ChannelSecret::Configured(OURS.parse().unwrap());
        for (current, old, secret, want) in [
            (None, None, offered(), OURS),
            (Some(channel(|_| ())), None, offered(), OURS),
            (carrying(THEIRS), None, offered(), THEIRS),
            (None, carrying(THEIRS), offered(), THEIRS),
            (carrying("too short"), None, offered(), OURS),
            (carrying(THEIRS), carrying(THEIRS), configured, OURS),
        ] {
            let live = Live { channels: Some(Channels { current, old }), ..empty() };
            let plan = plan_of(&live, &secret);
            assert!(plan.token.is(&want.parse().unwrap()));
            let after = plan_of(&carried_out(plan.clone(), &live), &secret);
            assert!(after.is_in_sync(), "{plan}then\n{after}");
        }
    }

    #[test]
    fn the_old_id_is_served_where_it_is_and_never_made() {
        let old = Some(channel(|_| ()));
        let live = Live { channels: Some(Channels { current: None, old }), ..empty() };
        let plan = plan_of(&live, &offered());
        let names: Vec<_> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names[1..3], [CHANNEL_ID, OLD_CHANNEL_ID]);
        assert!(matches!(plan.steps[2].action, Action::Update { .. }), "{plan}");
        assert_eq!(plan_of(&empty(), &offered()).steps.len(), 3);
    }

    #[test]
    fn no_output_holds_a_secret() {
        let live = Live {
            channels: Some(Channels { current: Some(channel(|_| ())), old: None }),
            ..empty()
        };
        for live in [live, empty()] {
            let plan = plan_of(&live, &offered());
            let json = serde_json::to_string(&plan).unwrap();
            for text in [plan.to_string(), format!("{plan:?}"), json] {
                assert!(!text.contains(OURS), "{text}");
            }
        }
    }

    #[test]
    fn a_monitor_that_exists_is_never_touched() {
        let settings = settings();
        let ours = desired(&settings).monitor;
        let edited = |path: &str, value: Value| {
            let mut body = ours.clone();
            *body.pointer_mut(path).unwrap() = value;
            body
        };
        let trigger = "/triggers/0/query_level_trigger/condition/script/source";
        for (bodies, want, warning) in [
            (vec![ours.clone()], "", false),
            (vec![edited("/enabled", json!(true))], "differs in enabled", false),
            (vec![edited(trigger, json!("true"))], "condition.script.source", false),
            (vec![ours.clone(), ours.clone()], "2 have this name: id0, id1", true),
        ] {
            let number =
                |(at, body): (u64, Value)| Monitor { id: format!("id{at}"), seq_no: at, body };
            let monitors = Some((0..).zip(bodies).map(number).collect());
            let plan = plan_of(&Live { monitors, ..empty() }, &offered());
            let step = &plan.steps[2];
            assert!(step.work.is_none() && step.to_string().contains(want), "{step}");
            assert_eq!(step.is_warning(), warning, "{step}");
        }
    }

    #[test]
    fn without_alerting_the_template_is_made_all_the_same() {
        let elasticsearch = Live { about: About::default(), ..empty() };
        for (live, want) in [
            (elasticsearch, "not OpenSearch"),
            (Live { channels: None, ..empty() }, "no Notifications"),
            (Live { monitors: None, ..empty() }, "no Alerting"),
        ] {
            let plan = plan_of(&live, &offered());
            assert_eq!(plan.steps[0].action, Action::Create);
            for step in &plan.steps[1..] {
                let Action::Unavailable { reason } = &step.action else { panic!("{step}") };
                assert!(reason.contains(want), "{reason}");
            }
        }
    }

    #[test]
    fn a_template_is_made_only_where_nobody_else_makes_one() {
        let covering =
            |maps_time_field| Some(Covering { name: "other".to_owned(), maps_time_field });
        let auto = Settings { template: TemplateMode::Auto, ..settings() };
        let malcolm = Settings { template: TemplateMode::Malcolm, ..settings() };
        let none = Settings { template: TemplateMode::None, ..settings() };
        for (settings, covering, exists, want, ready) in [
            (&auto, None, false, "create template alertloop_sessions", true),
            (&auto, covering(true), false, "leave template other (covers", true),
            (&auto, covering(false), false, "gives firstPacket no type", true),
            (&malcolm, None, false, "leave template malcolm_template (is awaited", false),
            (&malcolm, None, true, "in sync template malcolm_template", true),
            (&none, None, false, "leave template alertloop_sessions", true),
        ] {
            let live = Live { covering, malcolm_template_exists: exists, ..empty() };
            let plan = plan(settings, &desired(settings), &live, &offered());
            let text = plan.steps[0].to_string();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(want), "{text} instead of {want}");
            assert_eq!(plan.template_ready, ready);
        }
    }

    #[test]
    fn our_template_grows_and_is_renewed_but_not_forced_on_a_user() {
        let settings = settings();
        let ours = desired(&settings).template;
        let with = |change: fn(&mut Legacy)| {
            let mut template = ours.clone();
            change(&mut template);
            Live { template: Some(template), ..empty() }
        };
        for (live, want) in [
            (with(|_| ()), "in sync"),
            (with(|one| one.index_patterns = vec!["arkime*".to_owned()]), "in sync"),
            (with(|one| one.index_patterns = vec!["other-*".to_owned()]), "does not cover"),
            (with(|one| one.version = None), "an older version"),
            (
                with(|one| one.mappings["properties"]["node"]["type"] = json!("text")),
                "edited by a user: properties.node.type",
            ),
        ] {
            let plan = plan(&settings, &desired(&settings), &live, &offered());
            assert!(plan.steps[0].to_string().contains(want), "{plan}");
            let after = carried_out(plan, &live);
            let kept = &after.template.as_ref().unwrap().index_patterns;
            assert!(live.template.unwrap().index_patterns.iter().all(|one| kept.contains(one)));
            assert!(plan_of(&after, &offered()).is_in_sync());
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, want) in [
            ("http://api:5000/mapi/alert", "http://api:5000/mapi/alert"),
            ("https://me:secret@api/x?token=secret#secret", "https://api/x?[REDACTED]"),
            ("nonsense", "[not a URL]"),
        ] {
            assert_eq!(shown(url), want);
        }
    }
}
