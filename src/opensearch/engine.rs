//! Who runs the monitors: the store's Alerting plugin, or alertloop itself.

use std::sync::{Arc, OnceLock};

use opensearch::http::Method;
use serde_json::{Value, json};
use tracing::info;

use super::{Client, Error, alerting, is_of_no_address};

/// What the indices of the built-in engine begin with where no setting says otherwise.
pub const DEFAULT_PREFIX: &str = "alertloop";
/// What to do where the store does not say whether it has the plugin.
const MEND: &str = "set ALERTLOOP_MONITORS to plugin or to builtin";

/// Who runs the monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The store's Alerting plugin; its channels come from the Notifications plugin.
    Plugin,
    /// alertloop: the monitors and their alerts are documents of indices of ours.
    Builtin,
}

impl Engine {
    /// Whether it is alertloop itself.
    #[must_use]
    pub fn is_builtin(self) -> bool {
        self == Self::Builtin
    }

    /// How settings, reports and people name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Builtin => "builtin",
        }
    }
}

/// `ALERTLOOP_MONITORS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The plugin where the store has it, else alertloop itself.
    #[default]
    Auto,
    /// The plugin, whether it is there or not.
    Plugin,
    /// alertloop itself, whether the plugin is there or not.
    Builtin,
}

/// Who is to run the monitors, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who.
    pub choice: Choice,
    /// What the names of the built-in engine's indices begin with, such as `alertloop`.
    pub prefix: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { choice: Choice::default(), prefix: DEFAULT_PREFIX.to_owned() }
    }
}

/// The choice, which all copies of a client share.
#[derive(Debug)]
pub(super) struct Chosen {
    settings: Settings,
    /// What was decided, once it is.
    found: OnceLock<Engine>,
}

impl Chosen {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self { settings: settings.clone(), found: OnceLock::new() })
    }
}

/// What the store's answer to a question for monitors says of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Who runs them from now on.
    Engine(Engine),
    /// The plugin is there and does not let us in: whatever is asked is answered so.
    Refused,
    /// Nothing.
    Nothing,
}

impl Client {
    /// Who runs the monitors. Where the settings leave it open, the store is asked, and what it
    /// answers is remembered for as long as the process lives.
    ///
    /// # Errors
    /// [`Error`]: the store does not say. An absent store is no reason for either.
    pub async fn engine(&self) -> Result<Engine, Error> {
        if let Some(engine) = self.engine.found.get() {
            return Ok(*engine);
        }
        match self.engine.settings.choice {
            Choice::Plugin => return Ok(self.remember(Engine::Plugin)),
            Choice::Builtin => return Ok(self.remember(Engine::Builtin)),
            Choice::Auto => {}
        }
        let answer = self.ask_for_monitors().await;
        match answer.as_ref().map(|(status, body)| heard(*status, body)) {
            Ok(Heard::Engine(engine)) => Ok(self.remember(engine)),
            Ok(Heard::Refused) => Ok(Engine::Plugin),
            Ok(Heard::Nothing) | Err(_) => Err(unsaid(answer)),
        }
    }

    /// Whether alertloop runs the monitors itself; see [`Self::engine`].
    ///
    /// # Errors
    /// As [`Self::engine`].
    pub async fn is_builtin(&self) -> Result<bool, Error> {
        Ok(self.engine().await?.is_builtin())
    }

    /// The same client, for what this one of both keeps, whoever runs the monitors.
    #[must_use]
    pub fn run_by(&self, choice: Choice) -> Self {
        let settings = Settings { choice, ..self.engine.settings.clone() };
        Self { engine: Chosen::new(&settings), ..self.clone() }
    }

    /// What the names of the built-in engine's indices begin with.
    #[must_use]
    pub fn builtin_prefix(&self) -> &str {
        &self.engine.settings.prefix
    }

    async fn ask_for_monitors(&self) -> Result<(u16, Value), Error> {
        let body = json!({ "size": 0, "query": { "match_none": {} } });
        let path = format!("{}/_search", alerting::Family::Monitor.path());
        let (status, bytes) = self.exchange(Method::Post, &path, Some(&body)).await?;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
    }

    /// Of several that asked at once the first decides, and a service tells once.
    fn remember(&self, engine: Engine) -> Engine {
        if self.engine.found.set(engine).is_ok() && self.access.follower.is_some() {
            match engine {
                Engine::Plugin => info!("the store's Alerting plugin runs the monitors"),
                Engine::Builtin => info!(
                    prefix = self.builtin_prefix(),
                    "alertloop runs the monitors itself, without the Alerting plugin"
                ),
            }
        }
        *self.engine.found.get().unwrap_or(&engine)
    }
}

fn heard(status: u16, body: &Value) -> Heard {
    match status {
        200..=299 => Heard::Engine(Engine::Plugin),
        // No such address: OpenSearch and Elasticsearch without the plugin say 400. Not so a proxy.
        400 | 405 | 501 if is_of_no_address(status, Some(body)) => Heard::Engine(Engine::Builtin),
        // Before the first monitor is made, 2.19 says that there is no index of them; whoever does
        // not know the address has no such words.
        404 if body.pointer("/error/type").is_some() => Heard::Engine(Engine::Plugin),
        // Addresses that nobody knows are not guarded.
        403 => Heard::Refused,
        _ => Heard::Nothing,
    }
}

fn unsaid(answer: Result<(u16, Value), Error>) -> Error {
    match answer {
        Err(fault) => fault,
        Ok((404, _)) => Error::Status {
            status: 404,
            reason: format!("it does not say whether it has the Alerting plugin; {MEND}"),
        },
        Ok((status, body)) => {
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            Error::refused(status, text.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_definite_answer_decides() {
        let no_handler = json!({"error": "no handler found for uri [/_plugins/x]"});
        let no_index = json!({"error": {"type": "alerting_exception", "reason": "not found"}});
        for (status, body, want) in [
            (200, json!({"hits": {"hits": []}}), Heard::Engine(Engine::Plugin)),
            (400, no_handler, Heard::Engine(Engine::Builtin)),
            (405, json!({"error": "Incorrect HTTP method"}), Heard::Engine(Engine::Builtin)),
            (405, json!("<html>Not Allowed</html>"), Heard::Nothing),
            (400, json!({"error": {"type": "parsing_exception"}}), Heard::Nothing),
            (501, json!(""), Heard::Engine(Engine::Builtin)),
            (404, no_index, Heard::Engine(Engine::Plugin)),
            (404, json!("<html>not found</html>"), Heard::Nothing),
            (403, json!({"error": {"reason": "no permissions"}}), Heard::Refused),
            (401, json!("Unauthorized"), Heard::Nothing),
            (429, json!({}), Heard::Nothing),
            (503, json!({"error": {"type": "cluster_block_exception"}}), Heard::Nothing),
        ] {
            assert_eq!(heard(status, &body), want, "{status} {body}");
        }
    }

    #[test]
    fn what_decides_nothing_is_told_with_the_stores_words() {
        let said = |status, body: Value| unsaid(Ok((status, body))).to_string();
        assert_eq!(said(401, json!("Unauthorized")), "the store answered 401: Unauthorized");
        let blocked = json!({"error": {"type": "x", "reason": "not recovered"}});
        assert_eq!(said(503, blocked), "the store answered 503: not recovered");
        assert!(said(404, json!("")).contains("ALERTLOOP_MONITORS"));
    }
}
