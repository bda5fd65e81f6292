use serde_json::{Value, json};

use url::Url;

use super::{
    super::{
        canonical::canonical,
        desired::{MONITOR_NAME, OLD_CHANNEL_ID},
        files, placeholder_value,
        probe::{Channels, Covering},
        sealed::shown,
    },
    *,
};
use crate::opensearch::cluster::About;

const OURS: &str = "0123456789abcdef-ours";
const THEIRS: &str = "0123456789abcdef-theirs";

fn settings() -> Settings {
    Settings::for_tests()
}

fn desired(settings: &Settings) -> Desired {
    let value_of = |name: &str| placeholder_value(settings, name);
    Desired::new(settings, &files::read(None).unwrap(), value_of).unwrap()
}

fn monitor_key() -> Key {
    Key::new(Object::Monitor, MONITOR_NAME)
}

fn empty() -> Live {
    Live {
        about: About { is_opensearch: true, version: "3.4.0".to_owned() },
        channels: Some(Channels::default()),
        has_alerting: true,
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
    plan(&settings, &desired(&settings), live, secret, Options::default())
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
            None | Some(Work::Await) => {}
            Some(Work::PutTemplate(template)) => live.template = Some(template),
            Some(Work::UpdateChannel { config, .. }) if step.name == OLD_CHANNEL_ID => {
                channels.old = Some(config);
            }
            Some(Work::CreateChannel(config) | Work::UpdateChannel { config, .. }) => {
                channels.current = Some(config);
            }
            Some(Work::Make(write)) => {
                let Write { mut entry, body, said, digest, hidden } = write;
                entry.said = entry.sealed(said, &hidden);
                entry.observed = entry.sealed(canonical(entry.key.object, &body), &hidden);
                (entry.id, entry.applied, entry.made) = ("m".to_owned(), digest, true);
                entry.store_version.clone_from(&live.about.version);
                let found = Found { id: "m".to_owned(), version: 1, body, ..Found::default() };
                live.objects.insert(entry.key.clone(), vec![found]);
                live.ledger.insert(entry.key.clone(), entry);
            }
            Some(Work::Note(entry)) => drop(live.ledger.insert(entry.key.clone(), entry)),
            Some(other) => panic!("{other:?}"),
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
            Action::Leave { reason, warning: true, .. } => format!("leave!: {reason}"),
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
    let Some(Work::UpdateChannel { config, races: true, .. }) = step.work else {
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
    let moved =
        Settings { webhook_url: Url::parse("https://new:8443/mapi/alert").unwrap(), ..settings() };
    let plan_moved =
        |live: &Live| plan(&moved, &desired(&moved), live, &offered(), Options::default());
    let plan = plan_moved(&live);
    assert!(plan.to_string().contains("~ url: http://alertloop:5000/mapi/alert -> https://new"));
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
    let live =
        Live { channels: Some(Channels { current: Some(channel(|_| ())), old: None }), ..empty() };
    for live in [live, empty()] {
        let plan = plan_of(&live, &offered());
        let json = serde_json::to_string(&plan).unwrap();
        for text in [plan.to_string(), format!("{plan:?}"), json] {
            assert!(!text.contains(OURS), "{text}");
        }
    }
}

#[test]
fn a_channel_is_taken_over_by_force_but_not_switched_on() {
    let theirs = channel(|config| {
        config["webhook"]["url"] = json!("http://users.own/");
        config["name"] = json!("Mine");
        config["is_enabled"] = json!(false);
    });
    let live = Live { channels: Some(Channels { current: Some(theirs), old: None }), ..empty() };
    let force = Options { force: true, ..Options::default() };
    let settings = settings();
    let forced = |live: &Live| plan(&settings, &desired(&settings), live, &offered(), force);
    let first = forced(&live);
    assert!(first.to_string().contains("~ name: Mine -> Malcolm API"), "{first}");
    let after = carried_out(first, &live);
    assert!(forced(&after).is_in_sync(), "{}", forced(&after));
    let config = after.channels.unwrap().current.unwrap();
    assert!(!config.is_enabled && token_of(&config).is_some());
}

#[test]
fn a_monitor_that_was_there_before_us_is_never_touched() {
    let settings = settings();
    let ours = desired(&settings).monitors().next().unwrap().body.clone();
    let edited = |path: &str, value: Value| {
        let mut body = ours.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let trigger = "/triggers/0/query_level_trigger/condition/script/source";
    for (bodies, want, warning) in [
        (vec![ours.clone()], "in sync", false),
        (vec![edited("/enabled", json!(true))], "in sync", false),
        (vec![edited(trigger, json!("true"))], "condition.script.source", false),
        (vec![ours.clone(), ours.clone()], "2 have this name: id0, id1", true),
    ] {
        let number = |(at, body): (u64, Value)| Found {
            id: format!("id{at}"),
            version: 7,
            seq_no: at,
            primary_term: 1,
            body,
        };
        let found: Vec<_> = (0..).zip(bodies).map(number).collect();
        let objects = [(monitor_key(), found)].into();
        let plan = plan_of(&Live { objects, ..empty() }, &offered());
        let step = &plan.steps[2];
        assert!(!step.is_to_do() && step.to_string().contains(want), "{step}");
        assert_eq!(step.is_warning(), warning, "{step}");
    }
}

#[test]
fn without_alerting_the_template_is_made_all_the_same() {
    let elasticsearch = Live { about: About::default(), ..empty() };
    for (live, want) in [
        (elasticsearch, "not OpenSearch"),
        (Live { channels: None, ..empty() }, "no Notifications"),
        (Live { has_alerting: false, ..empty() }, "no Alerting"),
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
    let covering = |maps_time_field| Some(Covering { name: "other".to_owned(), maps_time_field });
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
        let plan = plan(settings, &desired(settings), &live, &offered(), Options::default());
        let text = plan.steps[0].to_string();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(want), "{text} instead of {want}");
        assert_eq!(plan.template_ready, ready);
    }
}

#[test]
fn our_template_grows_and_is_renewed_but_not_forced_on_a_user() {
    let settings = settings();
    let ours = desired(&settings).template.unwrap();
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
        let plan = plan(&settings, &desired(&settings), &live, &offered(), Options::default());
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

#[test]
fn a_plan_is_a_table_and_names_the_flags_that_carry_it_out() {
    let step = |object, name| Step::new(object, name, Action::Create, Some(Work::Await));
    let mut plan = plan_of(&empty(), &offered());
    plan.steps = vec![step(Object::LegacyTemplate, "old"), step(Object::Channel, "c")];
    for (force, prune, flags) in
        [(false, false, ""), (true, false, " --force"), (true, true, " --force --prune")]
    {
        plan.options = Options { force, prune, ..Options::default() };
        let want = format!(
            "create      legacy template old\ncreate      channel         c\n\
             To do: 2. `alertloop provision apply{flags}` does it.\n"
        );
        assert_eq!(plan.to_string(), want);
    }
}
