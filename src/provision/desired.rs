//! What the store should hold: the files under `provisioning/`, with the settings filled in.
//!
//! Pure: the files' texts come in. A file says where a setting goes by a whole string (a value or
//! a key) such as `${webhook_url}`; it is put in after parsing, so no setting can break the JSON.

use serde_json::{Value, json};
use url::Url;

use super::Settings;
use crate::{
    opensearch::{
        notifications::{Config, Webhook},
        templates::Legacy,
    },
    record::fields::FieldSet,
};

/// The channel's id, as Malcolm has it today.
pub const CHANNEL_ID: &str = "malcolm-api-loopback-webhook";
/// The channel's id as Malcolm spelled it until May 2026; its monitors may still point there.
pub const OLD_CHANNEL_ID: &str = "malcolm-api-loopback-webook";
/// The header that carries the shared secret.
pub const TOKEN_HEADER: &str = "X-Alertloop-Token";
/// The name of our index template.
pub const TEMPLATE_NAME: &str = "alertloop_sessions";
/// Where Malcolm's own channel points.
pub const MALCOLM_WEBHOOK_URL: &str = "http://api:5000/mapi/alert";

const CHANNEL_FILE: &str = "channels/malcolm_api_loopback_webhook.json";
const MONITOR_FILE: &str = "monitors/malcolm_api_loopback_monitor.json";
const TEMPLATE_FILE: &str = "templates/alertloop_sessions.json";

/// A file under `provisioning/` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("provisioning file {file}: {fault}")]
pub struct BadFile {
    file: &'static str,
    fault: String,
}

/// What the store should hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The channel, without its secret.
    pub channel: Config,
    /// The monitor.
    pub monitor: Value,
    /// The index template.
    pub template: Legacy,
    /// The index pattern that the template has to cover.
    pub index_pattern: String,
    /// The name of an index of that pattern, to try templates on.
    pub sample_index: String,
    /// The address in the channel.
    pub webhook_url: Url,
}

impl Desired {
    /// Reads the three files through `text_of` and fills the settings in.
    ///
    /// # Errors
    /// [`BadFile`]: missing, not JSON, or without what it must have.
    pub fn new(
        settings: &Settings,
        text_of: impl Fn(&'static str) -> Result<String, String>,
    ) -> Result<Self, BadFile> {
        let values = [
            ("${webhook_url}", settings.webhook_url.as_str()),
            ("${index_pattern}", settings.index_pattern.as_str()),
            ("${time_field}", settings.time_field.as_str()),
        ];
        let read = |file| {
            let text = text_of(file).map_err(|fault| BadFile { file, fault })?;
            let json = serde_json::from_str(&text);
            let json = json.map_err(|fault| BadFile { file, fault: fault.to_string() })?;
            Ok(fill(json, &values))
        };
        let template = read_template(read(TEMPLATE_FILE)?, &settings.time_field)?;
        Ok(Self {
            channel: read_channel(read(CHANNEL_FILE)?)?,
            monitor: read_monitor(read(MONITOR_FILE)?)?,
            template,
            index_pattern: settings.index_pattern.clone(),
            sample_index: settings.index_pattern.replace('*', "700101"),
            webhook_url: settings.webhook_url.clone(),
        })
    }

    /// The monitor's name, by which it is found.
    #[must_use]
    pub fn monitor_name(&self) -> &str {
        self.monitor.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Puts `values` in where a string or a key is exactly a placeholder.
fn fill(json: Value, values: &[(&str, &str)]) -> Value {
    let filled = |text: String| match values.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => (*value).to_owned(),
        None => text,
    };
    match json {
        Value::String(text) => Value::String(filled(text)),
        Value::Array(list) => list.into_iter().map(|item| fill(item, values)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, item)| (filled(key), fill(item, values))).collect()
        }
        other => other,
    }
}

fn read_channel(mut file: Value) -> Result<Config, BadFile> {
    let bad = |fault: String| BadFile { file: CHANNEL_FILE, fault };
    if file.get("config_id").and_then(Value::as_str) != Some(CHANNEL_ID) {
        return Err(bad(format!("config_id must be {CHANNEL_ID}")));
    }
    let config = file.get_mut("config").map(Value::take).unwrap_or_default();
    let mut config: Config =
        serde_json::from_value(config).map_err(|fault| bad(fault.to_string()))?;
    let webhook: &mut Webhook =
        config.webhook.as_mut().ok_or_else(|| bad("is not a webhook".to_owned()))?;
    // The secret is known to the plan alone; the file only shows where it goes.
    webhook.header_params.retain(|name, _| !name.eq_ignore_ascii_case(TOKEN_HEADER));
    Ok(config)
}

fn read_monitor(file: Value) -> Result<Value, BadFile> {
    match file.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(file),
        _ => Err(BadFile { file: MONITOR_FILE, fault: "has no name".to_owned() }),
    }
}

fn read_template(file: Value, time_field: &str) -> Result<Legacy, BadFile> {
    let template = serde_json::from_value(file);
    let mut template: Legacy =
        template.map_err(|fault| BadFile { file: TEMPLATE_FILE, fault: fault.to_string() })?;
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
        super::{TemplateMode, compiled_in},
        *,
    };

    fn settings(pattern: &str, time_field: &str) -> Settings {
        Settings {
            webhook_url: Url::parse("http://api:5000/mapi/alert").unwrap(),
            index_pattern: pattern.to_owned(),
            time_field: time_field.to_owned(),
            template: TemplateMode::Auto,
            malcolm_template: "malcolm_template".to_owned(),
            is_opensearch: true,
            dir: None,
        }
    }

    #[test]
    fn the_compiled_in_files_keep_malcolms_names() -> Result<(), BadFile> {
        let desired = Desired::new(&settings("arkime_sessions3-*", "firstPacket"), compiled_in)?;
        assert_eq!(desired.channel.name, "Malcolm API Loopback Webhook");
        assert_eq!(desired.monitor_name(), "Malcolm API Loopback Monitor");
        let trigger = &desired.monitor["triggers"][0]["query_level_trigger"];
        let action = &trigger["actions"][0];
        assert_eq!(trigger["name"], "Malcolm API Loopback Trigger");
        assert_eq!(action["name"], "Malcolm API Loopback Action");
        assert_eq!(action["destination_id"], CHANNEL_ID);
        assert_eq!(desired.monitor["enabled"], false);
        assert!(trigger["id"].is_string() && action["id"].is_string());
        Ok(())
    }

    #[test]
    fn settings_are_filled_in_as_values_and_never_as_json() -> Result<(), BadFile> {
        let odd = r#"a"b\c-*"#;
        let desired = Desired::new(&settings(odd, "when.it \"was\""), compiled_in)?;
        let search = &desired.monitor["inputs"][0]["search"];
        assert_eq!(search["indices"], json!([odd]));
        let bool = &search["query"]["query"]["bool"];
        assert!(bool["filter"][0]["range"]["when.it \"was\""].is_object());
        assert_eq!(bool["must_not"][0]["term"]["event.module"]["value"], "alerting");
        assert_eq!(desired.template.index_patterns, [odd]);
        assert_eq!(desired.template.mappings["properties"]["when.it \"was\""]["type"], "date");
        let all = format!("{} {:?}", desired.monitor, desired.template);
        assert!(!all.contains("${"), "a placeholder is left");
        Ok(())
    }

    #[test]
    fn a_bad_file_is_named() {
        let settings = settings("a-*", "firstPacket");
        for (file, text, want) in [
            (CHANNEL_FILE, "{", "EOF"),
            (CHANNEL_FILE, r#"{"config_id":"other","config":{}}"#, "config_id must be"),
            (MONITOR_FILE, "{}", "has no name"),
        ] {
            let text_of = |name| if name == file { Ok(text.to_owned()) } else { compiled_in(name) };
            let fault = Desired::new(&settings, text_of).unwrap_err().to_string();
            assert!(fault.contains(file) && fault.contains(want), "{fault}");
        }
    }
}
