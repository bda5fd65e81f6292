//! What is live, as the files that describe it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Error, Settings, WHO_RUNS,
    canonical::canonical,
    desired::{CHANNEL_ID, HANDOVER_ID, LONGEST_NAME, OLD_CHANNEL_ID, TOKEN_HEADER},
    diff::diff,
    object::{Found, Object},
    placeholder::has_placeholder,
    sealed,
};
use crate::{
    condition,
    opensearch::{
        Client,
        alerting::{self, Family},
        notifications, templates,
    },
};

/// What the store adds to a monitor by itself; a new one would get its own.
const ADDED: [&str; 6] =
    ["last_update_time", "enabled_time", "schema_version", "user", "data_sources", "owner"];
/// The file that the loopback channel is compiled in under, whatever a user has called it.
const LOOPBACK_FILE: &str = "malcolm_api_loopback_webhook";
/// How much of a name goes into that of a file: a file system takes 255 bytes.
const LONGEST_SLUG: usize = 100;
const LONGEST_FILE: usize = 255;
/// Whoever may edit an object could have us put a secret into it when the export is applied.
const PLACEHOLDER: &str = "it holds a text like ${…}, which a file would mean something else by";

/// Everything in the store that a file could describe.
#[derive(Clone, Debug, Default)]
pub struct Everything {
    channels: BTreeMap<String, Value>,
    monitors: Vec<Found>,
    workflows: Vec<Found>,
    templates: BTreeMap<String, Value>,
    legacy_templates: BTreeMap<String, Value>,
}

/// What there is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Texts by their path below the folder.
    pub texts: BTreeMap<String, String>,
    /// Secrets by their path below the folder; the texts name them.
    pub secrets: BTreeMap<String, String>,
    /// What no file can describe, and why.
    pub left_out: Vec<String>,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// Paths below the folder.
    pub files: Vec<String>,
    /// Files that hold a secret each, readable by their owner alone.
    pub secrets: Vec<String>,
    /// What no file can describe, and why.
    pub left_out: Vec<String>,
}

/// Reads all channels, monitors and templates. Where the store has no plugin for them, there are
/// none.
///
/// # Errors
/// [`Error::Store`].
pub async fn read(client: &Client) -> Result<Everything, Error> {
    let mut all = Everything {
        templates: templates::bodies(client, templates::Family::Composable)
            .await
            .map_err(Error::store("cannot list the index templates"))?,
        legacy_templates: templates::bodies(client, templates::Family::Legacy)
            .await
            .map_err(Error::store("cannot list the legacy index templates"))?,
        ..Everything::default()
    };
    if client.is_builtin().await.map_err(Error::store(WHO_RUNS))? {
        all.monitors = every(client, Family::Monitor).await?;
        return Ok(all);
    }
    let listed = match notifications::configs(client).await {
        Err(fault) if fault.is_unavailable() => return Ok(all),
        found => found.map_err(Error::store("cannot list the channels"))?,
    };
    // The list lags on 2.19: ours may be newer than it, and what is in it may have changed.
    let mut ids: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
    ids.insert(CHANNEL_ID);
    let ids: Vec<&str> = ids.into_iter().collect();
    all.channels = notifications::configs_of(client, &ids)
        .await
        .map_err(Error::store("cannot read the channels"))?;
    all.monitors = every(client, Family::Monitor).await?;
    all.workflows = every(client, Family::Workflow).await?;
    Ok(all)
}

async fn every(client: &Client, family: Family) -> Result<Vec<Found>, Error> {
    let listed = match alerting::all(client, family).await {
        Err(fault) if fault.is_unavailable() => return Ok(Vec::new()),
        found => found.map_err(Error::store("cannot list the monitors"))?,
    };
    let mut all = Vec::new();
    // The list leaves out how Dashboards shows it, and so does a read by anybody else.
    let client = client.as_dashboards();
    for one in listed {
        let found = alerting::get(&client, family, &one.id).await;
        all.extend(found.map_err(Error::store("cannot read a monitor"))?.map(Found::from));
    }
    Ok(all)
}

/// The files that describe what is live. Pure.
#[must_use]
pub fn files(all: &Everything, settings: &Settings) -> Files {
    files_beside(all, settings, &BTreeMap::new())
}

/// The same, where these files of conditions (paths and texts) are there: a monitor that is as its
/// condition says stays a condition. One that a user changed is written as what it is now. Pure.
#[must_use]
pub fn files_beside(
    all: &Everything,
    settings: &Settings,
    conditions: &BTreeMap<String, String>,
) -> Files {
    let mut files = Files::default();
    let known = Conditions::read(conditions, settings);
    let names: BTreeMap<&str, &str> =
        all.monitors.iter().map(|one| (one.id.as_str(), name_of(&one.body))).collect();
    for (id, config) in &all.channels {
        files.channel(id, config, settings);
    }
    for (found, body) in all.monitors.iter().map(|one| (one, one.body.clone())) {
        if let Some((file, text)) = known.of(&found.body) {
            files.texts.insert(file.to_owned(), text.to_owned());
            continue;
        }
        files.monitor(Object::Monitor, found, body, &all.monitors);
    }
    for found in &all.workflows {
        let mut body = found.body.clone();
        name_monitors(&mut body, &names);
        files.monitor(Object::Workflow, found, body, &all.workflows);
    }
    for (name, body) in all.templates.iter().chain(&all.legacy_templates) {
        files.template(name, body);
    }
    files
}

/// Conditions and the monitors that they are compiled to.
struct Conditions<'a>(Vec<(&'a str, &'a str, Value)>);

impl<'a> Conditions<'a> {
    /// Those that can be read; the others are told of where they are used.
    fn read(files: &'a BTreeMap<String, String>, settings: &Settings) -> Self {
        let all = files.iter().filter_map(|(file, text)| {
            let stem = condition::stem(file)?;
            let read = condition::file::read(text, stem, settings.for_conditions()).ok()?;
            let monitor = canonical(Object::Monitor, &read.monitor(CHANNEL_ID));
            Some((file.as_str(), text.as_str(), monitor))
        });
        Self(all.collect())
    }

    /// The file and the text of the condition that a monitor is.
    fn of(&self, monitor: &Value) -> Option<(&'a str, &'a str)> {
        let named = self.0.iter().filter(|(_, _, one)| name_of(one) == name_of(monitor));
        let live = canonical(Object::Monitor, monitor);
        let mut same = named.filter(|(_, _, one)| diff(one, &live).is_empty());
        same.next().map(|(file, text, _)| (*file, *text))
    }
}

impl Files {
    fn channel(&mut self, id: &str, config: &Value, settings: &Settings) {
        // The one is gone in a moment; the other is looked after wherever it is, and never made.
        if [HANDOVER_ID, OLD_CHANNEL_ID].contains(&id) {
            return;
        }
        if has_placeholder(config) {
            self.left_out.push(format!("channel {} ({id}): {PLACEHOLDER}", name_of(config)));
            return;
        }
        let slug = match id {
            CHANNEL_ID => LOOPBACK_FILE.to_owned(),
            _ => self.free("channels", &slug(name_of(config))),
        };
        let mut config = config.clone();
        let mut secrets = BTreeMap::new();
        sealed::for_each_secret(&mut config, &mut |path, text| {
            let header = path.rsplit_once("header_params.").map(|(_, header)| header);
            if id == CHANNEL_ID
                && header.is_some_and(|name| name.eq_ignore_ascii_case(TOKEN_HEADER))
            {
                "${token}".clone_into(text);
            } else if id == CHANNEL_ID && text == settings.webhook_url.as_str() {
                "${webhook_url}".clone_into(text);
            } else if path == "webhook.url" && sealed::shown(text) == *text {
                // An address with nothing secret in it.
            } else {
                // A header's name is a user's text, and several may come down to one file.
                let stem = format!("secrets/{slug}.{}", header.map_or("url".to_owned(), file_part));
                let numbered = (2..).map(|number| format!("{stem}_{number}"));
                let mut names = std::iter::once(stem.clone()).chain(numbered);
                let file = names.find(|file| !secrets.contains_key(file)).unwrap_or_default();
                secrets.insert(file.clone(), std::mem::take(text));
                *text = format!("${{file:{file}}}");
            }
        });
        self.secrets.extend(secrets);
        let body = json!({ "config_id": id, "config": config });
        self.texts.insert(format!("channels/{slug}.json"), pretty(&body));
    }

    fn monitor(&mut self, object: Object, found: &Found, body: Value, all: &[Found]) {
        let name = name_of(&found.body);
        if all.iter().filter(|one| name_of(&one.body) == name).count() > 1 {
            let id = &found.id;
            self.left_out.push(format!("{object} {name} ({id}): others have the same name"));
            return;
        }
        let fault = if name.encode_utf16().count() > LONGEST_NAME {
            Some("its name is too long for the store to find it again")
        } else {
            has_placeholder(&found.body).then_some(PLACEHOLDER)
        };
        if let Some(fault) = fault {
            self.left_out.push(format!("{object} {name} ({}): {fault}", found.id));
            return;
        }
        let mut body = body;
        if let Some(map) = body.as_object_mut() {
            map.retain(|key, value| !ADDED.contains(&key.as_str()) && !value.is_null());
        }
        let slug = self.free("monitors", &slug(name));
        self.texts.insert(format!("monitors/{slug}.json"), pretty(&body));
    }

    fn template(&mut self, name: &str, body: &Value) {
        // Those of the store's own plugins, which make them anew.
        if name.starts_with('.') {
            return;
        }
        let file = format!("templates/{name}.json");
        if name.contains('/') || file.len() > LONGEST_FILE || self.texts.contains_key(&file) {
            self.left_out.push(format!("template {name}: its name does not fit a file"));
            return;
        }
        if has_placeholder(body) {
            self.left_out.push(format!("template {name}: {PLACEHOLDER}"));
            return;
        }
        self.texts.insert(file, pretty(body));
    }

    /// A name that no file has yet.
    fn free(&self, folder: &str, slug: &str) -> String {
        let numbered = (2..).map(|number| format!("{slug}_{number}"));
        let mut names = std::iter::once(slug.to_owned()).chain(numbered);
        let is_free = |name: &String| {
            name != LOOPBACK_FILE && !self.texts.contains_key(&format!("{folder}/{name}.json"))
        };
        names.find(is_free).unwrap_or_default()
    }

    /// Writes them below a folder. Files that are there with another content are not overwritten,
    /// unless `overwrite`; then nothing at all is written.
    ///
    /// # Errors
    /// A folder or file that cannot be written; [`io::ErrorKind::AlreadyExists`] names those that
    /// would be overwritten.
    pub fn write(self, dir: &Path, overwrite: bool) -> io::Result<Exported> {
        let all = || self.texts.iter().chain(&self.secrets);
        let differs = |(file, text): &(&String, &String)| match fs::read_to_string(dir.join(file)) {
            Ok(there) => there != **text,
            Err(fault) => fault.kind() != io::ErrorKind::NotFound,
        };
        let in_the_way: Vec<_> = all().filter(differs).map(|(file, _)| file.as_str()).collect();
        if !overwrite && !in_the_way.is_empty() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, in_the_way.join(", ")));
        }
        for (file, text) in &self.texts {
            write(&dir.join(file), text, 0o644)?;
        }
        for (file, text) in &self.secrets {
            write(&dir.join(file), text, 0o600)?;
        }
        Ok(Exported {
            files: self.texts.into_keys().collect(),
            secrets: self.secrets.into_keys().collect(),
            left_out: self.left_out,
        })
    }
}

/// Writes one file; a secret's folder is its owner's alone.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        let mode = if mode == 0o600 { 0o700 } else { 0o755 };
        fs::DirBuilder::new().recursive(true).mode(mode).create(folder)?;
    }
    // A file that is there would keep its mode.
    match fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

/// `${monitor:NAME}` in place of each id of a monitor.
fn name_monitors(value: &mut Value, names: &BTreeMap<&str, &str>) {
    // A `}` would end the placeholder.
    let can_stand = |name: &str| {
        !name.contains('}') && names.values().filter(|other| **other == name).count() == 1
    };
    match value {
        Value::String(text) => {
            for (id, name) in names.iter().filter(|(id, _)| !id.is_empty()) {
                if text.contains(id) && can_stand(name) {
                    *text = text.replace(id, &format!("${{monitor:{name}}}"));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_monitors(item, names)),
        Value::Object(map) => map.values_mut().for_each(|item| name_monitors(item, names)),
        _ => {}
    }
}

fn name_of(body: &Value) -> &str {
    body.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// A header's name as a part of a file's: nothing in it leads to another folder.
fn file_part(header: &str) -> String {
    let plain = |character: char| match character.to_ascii_lowercase() {
        character @ ('a'..='z' | '0'..='9' | '-' | '_') => character,
        _ => '_',
    };
    header.chars().map(plain).take(LONGEST_SLUG).collect()
}

/// A name as a file's.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        match character {
            'a'..='z' | '0'..='9' => slug.push(character),
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
        if slug.len() == LONGEST_SLUG {
            break;
        }
    }
    let slug = slug.trim_end_matches('_');
    if slug.is_empty() { "unnamed".to_owned() } else { slug.to_owned() }
}

fn pretty(body: &Value) -> String {
    format!("{body:#}\n")
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "wrote     {file}")?;
        }
        for file in &self.secrets {
            writeln!(f, "wrote     {file} (a secret; readable by you alone)")?;
        }
        for what in &self.left_out {
            writeln!(f, "left out  {what}")?;
        }
        let folders: BTreeSet<_> =
            self.files.iter().filter_map(|file| file.split('/').next()).collect();
        let folders: Vec<_> = folders.into_iter().collect();
        writeln!(f, "{} files in {}", self.files.len(), folders.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { index_pattern: "s-*".to_owned(), ..Settings::for_tests() }
    }

    fn monitor(id: &str, name: &str) -> Found {
        let body =
            json!({"name": name, "user": {"name": "x"}, "enabled_time": null, "enabled": true});
        Found { id: id.to_owned(), body, ..Found::default() }
    }

    #[test]
    fn secrets_have_files_of_their_own_and_ids_become_names() {
        let channel = |name: &str, part: Value| json!({"name": name, "webhook": part});
        let loopback = json!({"url": "http://alertloop:5000/mapi/alert",
            "header_params": {"X-Alertloop-Token": "hidden", "X-Other": "hidden", "Accept": "a"}});
        let all = Everything {
            channels: [
                (CHANNEL_ID.to_owned(), channel("Loop", loopback)),
                ("x".to_owned(), json!({"name": "Ä b!", "slack": {"url": "https://s/hidden"}})),
                ("y".to_owned(), channel("ä B", json!({"url": "http://h/x"}))),
                (
                    "z".to_owned(),
                    channel("d", json!({"url": "https://d/hooks/Zm9vYmFyhidden123456789"})),
                ),
                ("a".to_owned(), channel(LOOPBACK_FILE, json!({"url": "http://h/x"}))),
                (HANDOVER_ID.to_owned(), json!({})),
            ]
            .into(),
            monitors: vec![monitor("m1", "one"), monitor("m2", "two"), monitor("m3", "two")],
            workflows: vec![Found {
                id: "w".to_owned(),
                body: json!({"name": "w", "delegates": ["m1", "m2"], "c": "monitor[id=m1]"}),
                ..Found::default()
            }],
            templates: [(".theirs".to_owned(), json!({})), ("t".to_owned(), json!({}))].into(),
            ..Everything::default()
        };
        let files = files(&all, &settings());
        let names: Vec<_> = files.texts.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "channels/b.json",
                "channels/b_2.json",
                "channels/d.json",
                "channels/malcolm_api_loopback_webhook.json",
                "channels/malcolm_api_loopback_webhook_2.json",
                "monitors/one.json",
                "monitors/w.json",
                "templates/t.json"
            ]
        );
        assert_eq!(
            files.secrets.keys().collect::<Vec<_>>(),
            ["secrets/b.url", "secrets/d.url", "secrets/malcolm_api_loopback_webhook.x-other"]
        );
        assert_eq!(files.left_out.len(), 2);
        let text: String = files.texts.values().map(String::as_str).collect();
        assert!(!text.contains("hidden") && !text.contains("\"user\""), "{text}");
        for want in [
            "${token}",
            "${webhook_url}",
            "${file:secrets/malcolm_api_loopback_webhook.x-other}",
            "http://h/x",
            "monitor[id=${monitor:one}]",
            "\"m2\"",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
    }

    #[test]
    fn a_condition_stays_one_until_somebody_changes_its_monitor() {
        const TEXT: &str = "title = \"c\"\ntype = \"message_count\"\nthreshold = 1\ntime = 5\n";
        let conditions: BTreeMap<_, _> = [("conditions/c.toml".to_owned(), TEXT.to_owned())].into();
        let read = condition::file::read(TEXT, "c", settings().for_conditions()).unwrap();
        let mut found = Found { body: read.monitor(CHANNEL_ID), ..monitor("m1", "c") };
        found.body["enabled"] = json!(false);
        let all = Everything { monitors: vec![found.clone()], ..Everything::default() };
        let kept = files_beside(&all, &settings(), &conditions);
        assert_eq!(kept.texts, conditions, "whether it is switched on is no part of it");
        let alone = files(&all, &settings());
        assert_eq!(alone.texts.keys().collect::<Vec<_>>(), ["monitors/c.json"]);
        found.body["schedule"]["period"]["interval"] = json!(7);
        let all = Everything { monitors: vec![found], ..Everything::default() };
        let edited = files_beside(&all, &settings(), &conditions);
        assert_eq!(edited.texts.keys().collect::<Vec<_>>(), ["monitors/c.json"]);
    }

    #[test]
    fn no_name_leads_out_of_the_folder_or_to_the_file_of_another() {
        let headers = json!({"a/../../../etc/x": "1", "a/b": "2", "a_b": "3", "X-A": "4",
            "x-a": "5", "url": "6", "..": "7", "ä": "8"});
        let longest = "né".repeat(LONGEST_NAME / 2);
        let channels = [
            (
                "c".to_owned(),
                json!({"name": "../up", "webhook":
                {"url": "http://h/?k=0", "header_params": headers}}),
            ),
            ("d".to_owned(), json!({"name": "up.url", "slack": {"url": "https://s/hidden"}})),
        ];
        let monitors = vec![
            monitor("m1", &longest),
            monitor("m2", &"n".repeat(LONGEST_NAME)),
            monitor("m3", &"n".repeat(LONGEST_NAME + 1)),
        ];
        let templates = [("..".to_owned(), json!({})), ("t".repeat(260), json!({}))].into();
        let all =
            Everything { channels: channels.into(), monitors, templates, ..Everything::default() };
        let files = files(&all, &settings());
        assert_eq!(files.left_out.len(), 2, "{:?}", files.left_out);
        assert_eq!(files.secrets.len(), 10, "{:?}", files.secrets);
        let values: BTreeSet<&String> = files.secrets.values().collect();
        assert_eq!(values.len(), 10);
        for file in files.texts.keys().chain(files.secrets.keys()) {
            let name = file.split_once('/').unwrap().1;
            assert!(name.len() < 255 && !name.contains('/') && !name.contains(".."), "{file}");
        }
    }

    #[test]
    fn what_a_user_wrote_is_never_a_placeholder_of_a_file() {
        let secret = "${env:ALERTLOOP_OPENSEARCH_PASSWORD}";
        let mut with_key = monitor("m1", "one");
        with_key.body["inputs"] = json!([{secret: 1}]);
        let mut in_text = monitor("m2", "two");
        in_text.body["triggers"] = json!(["a ${monitor:one} b"]);
        let all = Everything {
            channels: [
                ("a".to_owned(), json!({"name": "a", "description": secret})),
                (
                    "b".to_owned(),
                    json!({"name": "b", "webhook": {"url": "http://h",
                    "header_params": {"X": "${token}"}}}),
                ),
            ]
            .into(),
            monitors: vec![with_key, in_text, monitor("m3", secret)],
            templates: [("t".to_owned(), json!({"_meta": {"a": [secret]}}))].into(),
            ..Everything::default()
        };
        let files = files(&all, &settings());
        assert_eq!((files.texts.len(), files.secrets.len()), (0, 0), "{files:?}");
        assert_eq!(files.left_out.len(), 6);
    }

    #[test]
    fn nothing_is_overwritten_unless_asked_for() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let files = |text: &str| Files {
            texts: [("monitors/a.json".to_owned(), text.to_owned())].into(),
            secrets: [("secrets/a".to_owned(), "s".to_owned())].into(),
            left_out: Vec::new(),
        };
        files("1").write(dir.path(), false)?;
        files("1").write(dir.path(), false)?;
        let fault = files("2").write(dir.path(), false).unwrap_err();
        assert_eq!(
            (fault.kind(), fault.to_string()),
            (io::ErrorKind::AlreadyExists, "monitors/a.json".to_owned())
        );
        files("2").write(dir.path(), true)?;
        assert_eq!(fs::read_to_string(dir.path().join("monitors/a.json"))?, "2");
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(dir.path().join(path)).map(|meta| meta.permissions().mode() & 0o777)
        };
        assert_eq!((mode("secrets")?, mode("secrets/a")?), (0o700, 0o600));
        Ok(())
    }
}
