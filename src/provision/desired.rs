//! What the store should hold: the files under `provisioning/`, with the settings filled in.
//!
//! Pure: the files' texts and what placeholders stand for come in.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Settings,
    object::{Key, Object, Wanted},
    placeholder::fill,
    sealed::Hidden,
};
use crate::{
    condition::{self, Condition},
    opensearch::{notifications::Config, templates::Legacy},
    record::fields::FieldSet,
};

/// A channel that exists only while several replicas agree on one secret.
pub const HANDOVER_ID: &str = "alertloop-secret-handover";

/// The channel's id, as Malcolm has it today.
pub const CHANNEL_ID: &str = "malcolm-api-loopback-webhook";
/// The channel's id as Malcolm spelled it until May 2026; its monitors may still point there.
pub const OLD_CHANNEL_ID: &str = "malcolm-api-loopback-webook";
/// Whether the id is of the channel that is made to send to us.
#[must_use]
pub fn is_our_channel(id: &str) -> bool {
    [CHANNEL_ID, OLD_CHANNEL_ID].contains(&id)
}

/// The name of the monitor that shows how the loop is used.
pub const MONITOR_NAME: &str = "Malcolm API Loopback Monitor";
/// The header that carries the shared secret.
pub const TOKEN_HEADER: &str = "X-Alertloop-Token";
/// The name of our index template.
pub const TEMPLATE_NAME: &str = "alertloop_sessions";
/// Where Malcolm's own channel points.
pub const MALCOLM_WEBHOOK_URL: &str = "http://api:5000/mapi/alert";

/// The store finds no monitor by a longer name, so it could not be told from one that is missing,
/// and each run would make another. It counts in UTF-16 (`ignore_above` of the name's keyword;
/// seen on OpenSearch 3.4.0).
pub(super) const LONGEST_NAME: usize = 256;

/// A file under `provisioning/` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Its path below the folder.
    pub file: String,
    /// What is wrong with it.
    pub fault: String,
}

/// All files that cannot be used, one a line.
#[derive(Debug, thiserror::Error)]
pub struct BadFiles(pub Vec<BadFile>);

/// What the store should hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The channel that sends to us, without its secret; `None` where its file was taken away.
    pub channel: Option<Config>,
    /// The index template for sessions.
    pub template: Option<Legacy>,
    /// All else, in the order in which it is made.
    pub wanted: Vec<Wanted>,
    /// The conditions, by their files; their monitors are among the others.
    pub conditions: BTreeMap<String, Condition>,
    /// The index pattern that the template has to cover.
    pub index_pattern: String,
    /// The name of an index of that pattern, to try templates on.
    pub sample_index: String,
    /// The address in the channel.
    pub webhook_url: Url,
}

impl Desired {
    /// Reads the files, by their path below the folder, and fills in what `value_of` says that
    /// placeholders stand for; `None` leaves one.
    ///
    /// # Errors
    /// [`BadFiles`]: all that cannot be used.
    pub fn new(
        settings: &Settings,
        files: &BTreeMap<String, String>,
        value_of: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<Self, BadFiles> {
        let mut desired = Self {
            channel: None,
            template: None,
            wanted: Vec::new(),
            conditions: BTreeMap::new(),
            index_pattern: settings.index_pattern.clone(),
            sample_index: settings.index_pattern.replace('*', "700101"),
            webhook_url: settings.webhook_url.clone(),
        };
        let mut bad = Vec::new();
        for (file, text) in files {
            let hidden = RefCell::new(Hidden::default());
            let value_of = |name: &str| {
                let value = value_of(name)?;
                if let Some(text) = value.as_ref().filter(|_| may_be_secret(name)) {
                    hidden.borrow_mut().add(text);
                }
                Ok(value)
            };
            let read = match condition::stem(file) {
                Some(stem) => condition::file::read(text, stem, settings.for_conditions())
                    .map_err(|fault| fault.to_string())
                    .and_then(|condition| desired.take_up_condition(file, condition)),
                None => serde_json::from_str(text)
                    .map_err(|fault| fault.to_string())
                    .and_then(|json| fill(json, &value_of))
                    .and_then(|json| {
                        desired.take_up(file, json, hidden.take(), &settings.time_field)
                    }),
            };
            if let Err(fault) = read {
                bad.push(BadFile { file: file.clone(), fault });
            }
        }
        desired.wanted.sort_by_cached_key(|one| (one.rank(), one.key.name.clone()));
        bad.extend(doubles(&desired.wanted));
        if bad.is_empty() { Ok(desired) } else { Err(BadFiles(bad)) }
    }

    fn take_up_condition(&mut self, file: &str, condition: Condition) -> Result<(), String> {
        let same = self.conditions.iter().find(|(_, other)| other.id == condition.id);
        if let Some((other, _)) = same {
            return Err(format!("has the id {:?} as {other} has", condition.id));
        }
        let key = Key::new(Object::Monitor, condition.title.clone());
        let (file, body) = (file.to_owned(), condition.monitor(CHANNEL_ID));
        self.wanted.push(Wanted { key, file: file.clone(), body, hidden: Hidden::default() });
        self.conditions.insert(file, condition);
        Ok(())
    }

    fn take_up(
        &mut self,
        file: &str,
        json: Value,
        hidden: Hidden,
        time_field: &str,
    ) -> Result<(), String> {
        let Value::Object(body) = json else { return Err("is not a JSON object".to_owned()) };
        let (folder, name) = file.split_once('/').unwrap_or(("", file));
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (object, name, body) = match folder {
            "channels" => {
                let (id, config) = read_channel(stem, body)?;
                if id == CHANNEL_ID {
                    if self.channel.replace(loopback(config)?).is_some() {
                        return Err(format!("describes the channel {id} as another file does"));
                    }
                    return Ok(());
                }
                if [OLD_CHANNEL_ID, HANDOVER_ID].contains(&id.as_str()) {
                    return Err(format!(
                        "the channel {id} is looked after without a file: take this one away"
                    ));
                }
                (Object::Channel, id, config)
            }
            "templates" if stem == TEMPLATE_NAME => {
                self.template = Some(sessions(body.into(), time_field)?);
                return Ok(());
            }
            "templates" => (template_kind(&body), stem.to_owned(), body.into()),
            "monitors" => read_monitor(body)?,
            _ => return Err(format!("{folder} is no folder of provisioning files")),
        };
        let key = Key::new(object, name);
        self.wanted.push(Wanted { key, file: file.to_owned(), body, hidden });
        Ok(())
    }

    /// The monitors, with the files that describe them.
    pub fn monitors(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.iter().filter(|one| one.key.object == Object::Monitor)
    }
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "provisioning file {}: {}", self.file, self.fault)
    }
}

impl fmt::Display for BadFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<BadFile> for BadFiles {
    fn from(bad: BadFile) -> Self {
        Self(vec![bad])
    }
}

/// Whether a placeholder stands for what an operator keeps elsewhere, and so perhaps out of sight.
fn may_be_secret(placeholder: &str) -> bool {
    placeholder.starts_with("file:") || placeholder.starts_with("env:")
}

/// Files that describe the same object; `wanted` is in order.
fn doubles(wanted: &[Wanted]) -> Vec<BadFile> {
    let mut seen: BTreeMap<&Key, &str> = BTreeMap::new();
    let mut bad = Vec::new();
    for one in wanted {
        if let Some(first) = seen.insert(&one.key, &one.file) {
            let fault = format!("describes the {} as {first} does", one.key);
            bad.push(BadFile { file: one.file.clone(), fault });
        }
    }
    bad
}

/// A channel's id (the file's name where none is given) and its settings.
fn read_channel(stem: &str, mut body: Map<String, Value>) -> Result<(String, Value), String> {
    let id = match body.get("config_id") {
        None => stem.to_owned(),
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(_) => return Err("config_id must be a text".to_owned()),
    };
    let Some(config @ Value::Object(_)) = body.remove("config") else {
        return Err("has no `config`, as the Notifications API wants it".to_owned());
    };
    let text = |key| config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(config_type) = text("config_type") else {
        return Err("config.config_type is missing, such as webhook".to_owned());
    };
    if text("name").is_none() {
        return Err("config.name is missing".to_owned());
    }
    if !config.get(config_type).is_some_and(Value::is_object) {
        return Err(format!("config.{config_type} is missing: the settings of its type"));
    }
    Ok((id, config))
}

/// The channel that sends to us.
fn loopback(config: Value) -> Result<Config, String> {
    let mut config: Config = serde_json::from_value(config).map_err(|fault| fault.to_string())?;
    let webhook = config.webhook.as_mut().ok_or("is not a webhook")?;
    // The secret is known to the plan alone; the file only shows where it goes.
    webhook.header_params.retain(|name, _| !name.eq_ignore_ascii_case(TOKEN_HEADER));
    Ok(config)
}

fn read_monitor(body: Map<String, Value>) -> Result<(Object, String, Value), String> {
    let text = |key| body.get(key).and_then(Value::as_str);
    let object = match (text("type"), body.contains_key("workflow_type")) {
        (Some("workflow"), _) | (None, true) => Object::Workflow,
        (Some("monitor") | None, _) => Object::Monitor,
        (Some(other), _) => return Err(format!("type is {other:?}; monitor or workflow is known")),
    };
    let name = text("name").filter(|name| !name.is_empty()).ok_or("has no name")?.to_owned();
    if name.encode_utf16().count() > LONGEST_NAME {
        return Err(format!(
            "its name has more than {LONGEST_NAME} characters, where an emoji counts as two; the \
             store would never find it again: shorten it"
        ));
    }
    Ok((object, name, body.into()))
}

/// Composable, unless it has what only a legacy template has at its top.
fn template_kind(body: &Map<String, Value>) -> Object {
    let is_composable = ["template", "priority", "composed_of", "data_stream"];
    let is_legacy = ["order", "mappings", "settings", "aliases"];
    let has = |keys: [&str; 4]| keys.iter().any(|key| body.contains_key(*key));
    if has(is_legacy) && !has(is_composable) { Object::LegacyTemplate } else { Object::Template }
}

fn sessions(file: Value, time_field: &str) -> Result<Legacy, String> {
    let template = serde_json::from_value(file);
    let mut template: Legacy = template.map_err(|fault| fault.to_string())?;
    TEMPLATE_NAME.clone_into(&mut template.name);
    // A time field that the file does not know is a date as well.
    if !FieldSet::from_mapping(&template.mappings).knows(time_field)
        && let Some(properties) = template.mappings.get_mut("properties")
    {
        properties[time_field] = json!({ "type": "date" });
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files, placeholder_value},
        *,
    };

    fn settings(pattern: &str, time_field: &str) -> Settings {
        Settings {
            index_pattern: pattern.to_owned(),
            time_field: time_field.to_owned(),
            ..Settings::for_tests()
        }
    }

    fn read(settings: &Settings, files: &BTreeMap<String, String>) -> Result<Desired, BadFiles> {
        Desired::new(settings, files, |name| placeholder_value(settings, name))
    }

    fn shipped(settings: &Settings) -> Desired {
        read(settings, &files::read(None).unwrap()).unwrap()
    }

    #[test]
    fn the_compiled_in_files_keep_malcolms_names() {
        let desired = shipped(&settings("arkime_sessions3-*", "firstPacket"));
        assert_eq!(desired.channel.as_ref().unwrap().name, "Malcolm API Loopback Webhook");
        let monitor = desired.monitors().next().unwrap();
        assert_eq!(monitor.key.name, MONITOR_NAME);
        let trigger = &monitor.body["triggers"][0]["query_level_trigger"];
        let action = &trigger["actions"][0];
        assert_eq!(trigger["name"], "Malcolm API Loopback Trigger");
        assert_eq!(action["name"], "Malcolm API Loopback Action");
        assert_eq!(action["destination_id"], CHANNEL_ID);
        assert_eq!(monitor.body["enabled"], false);
        assert!(trigger["id"].is_string() && action["id"].is_string());
    }

    #[test]
    fn settings_are_filled_in_as_values_and_never_as_json() {
        let odd = r#"a"b\c-*"#;
        let desired = shipped(&settings(odd, "when.it \"was\""));
        let monitor = &desired.monitors().next().unwrap().body;
        let search = &monitor["inputs"][0]["search"];
        assert_eq!(search["indices"], json!([odd]));
        let bool = &search["query"]["query"]["bool"];
        assert!(bool["filter"][0]["range"]["when.it \"was\""].is_object());
        assert_eq!(bool["must_not"][0]["term"]["event.module"]["value"], "alerting");
        let template = desired.template.as_ref().unwrap();
        assert_eq!(template.index_patterns, [odd]);
        assert_eq!(template.mappings["properties"]["when.it \"was\""]["type"], "date");
        let all = format!("{monitor} {template:?}");
        assert!(!all.contains("${"), "a placeholder is left");
    }

    #[test]
    fn every_kind_of_file_is_read_and_put_in_order() {
        let account =
            r#"{"config": {"name": "a", "config_type": "smtp_account", "smtp_account": {}}}"#;
        let email =
            r#"{"config_id": "e", "config": {"name": "e", "config_type": "email", "email": {}}}"#;
        let files = [
            ("monitors/w.json", r#"{"type": "workflow", "name": "w"}"#),
            ("monitors/m.json", r#"{"type": "monitor", "name": "m"}"#),
            ("channels/a_mail.json", email),
            ("channels/z_account.json", account),
            ("templates/new.json", r#"{"index_patterns": ["a-*"], "template": {"settings": {}}}"#),
            ("templates/old.json", r#"{"index_patterns": ["a-*"], "settings": {}}"#),
        ];
        let files = files.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
        let desired = read(&settings("a-*", "t"), &files).unwrap();
        let keys: Vec<_> = desired.wanted.iter().map(|one| one.key.to_string()).collect();
        let want = [
            "template new",
            "legacy template old",
            "channel z_account",
            "channel e",
            "monitor m",
            "workflow w",
        ];
        assert_eq!(keys, want);
        assert!(desired.channel.is_none() && desired.template.is_none());
    }

    #[test]
    fn all_bad_files_are_named_at_once() {
        for (file, text, want) in [
            ("channels/a.json", "{\n\"config\": x", "line 2 column 11"),
            ("channels/a.json", "[]", "is not a JSON object"),
            ("channels/a.json", r#"{"config_id": 1, "config": {}}"#, "config_id must be"),
            ("channels/a.json", r#"{"config_id": "x"}"#, "has no `config`"),
            (
                "channels/a.json",
                r#"{"config": {"config_type": "slack", "name": "a"}}"#,
                "config.slack is",
            ),
            ("channels/a.json", r#"{"config": {"config_type": "slack"}}"#, "config.name is"),
            ("channels/a.json", r#"{"config": {"name": "${what}"}}"#, "${what} is not known"),
            (
                "channels/z.json",
                r#"{"config_id": "malcolm-api-loopback-webook", "config": {"config_type": "slack",
                    "name": "a", "slack": {}}}"#,
                "looked after without a file",
            ),
            ("monitors/a.json", "{}", "has no name"),
            ("monitors/a.json", r#"{"type": "destination", "name": "x"}"#, "monitor or workflow"),
            ("conditions/a.toml", "\nx = 1", "line 2: unknown field `x`, expected one of `id`"),
        ] {
            let files = [(file, text), ("monitors/z.json", "{")];
            let files = files.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
            let faults = read(&settings("a-*", "t"), &files).unwrap_err();
            assert_eq!(faults.0.len(), 2);
            let text = faults.to_string();
            assert!(
                text.contains(file) && text.contains(want) && text.contains("z.json"),
                "{text}"
            );
        }
        let same = r#"{"name": "same"}"#.to_owned();
        let files =
            [("monitors/a.json".to_owned(), same.clone()), ("monitors/b.json".to_owned(), same)];
        let faults = read(&settings("a-*", "t"), &files.into()).unwrap_err();
        assert!(
            faults.to_string().contains("b.json: describes the monitor same as monitors/a.json")
        );
        let loopback = r#"{"config_id": "malcolm-api-loopback-webhook", "config": {"name": "a",
            "config_type": "webhook", "webhook": {"url": "http://h"}}}"#;
        let files =
            ["channels/a.json", "channels/b.json"].map(|f| (f.to_owned(), loopback.to_owned()));
        let faults = read(&settings("a-*", "t"), &files.into()).unwrap_err().to_string();
        assert!(faults.contains("b.json: describes the channel malcolm-api"), "{faults}");
    }
}
