//! One alert as it is listed. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::query::is_entity;

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Item {
    /// `_id` of its record.
    pub id: String,
    /// `_index` of its record.
    pub index: String,
    /// The alert's id.
    pub alert: String,
    /// `engaged`, `acknowledged`, `released` or `stored`.
    pub state: String,
    /// `failure` where its monitor failed.
    #[serde(default)]
    pub outcome: Option<String>,
    /// Whether it stands, and there was no news of it for longer than is usual.
    pub stale: bool,
    /// 0 to 100.
    pub severity: i64,
    /// `event.provider`.
    pub source: String,
    /// Name of its rule, or its id.
    pub rule: String,
    /// Id of its rule: of the monitor, for OpenSearch's.
    #[serde(default)]
    pub rule_id: Option<String>,
    /// What fired.
    pub reason: Option<String>,
    /// What it is about, each as `kind:value`.
    pub entities: Vec<String>,
    /// Its other tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When it began.
    pub began: Option<String>,
    /// Of when its last news is.
    pub news: Option<String>,
    /// When it was over, where it is.
    #[serde(default)]
    pub ended: Option<String>,
    /// For how many milliseconds it stood, where it is over.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// For people.
    pub message: Option<String>,
    /// Where to look at it.
    pub url: Option<String>,
}

/// The fields that [`Item::of`] reads.
pub(super) const FIELDS: [&str; 15] = [
    "event.id",
    "event.action",
    "event.outcome",
    "event.severity",
    "event.provider",
    "event.reason",
    "event.start",
    "event.end",
    "event.duration",
    "event.url",
    "rule.id",
    "rule.name",
    "tags",
    "message",
    "error.message",
];

impl Item {
    /// Of a hit of a search, or of a document with the same keys.
    #[must_use]
    pub fn of(hit: &Value, stale: Option<Stale>) -> Self {
        let source = &hit["_source"];
        let event = &source["event"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let action = text(&event["action"]).unwrap_or_default();
        let stands = matches!(action.as_str(), "engaged" | "acknowledged");
        let news = text(&event["end"]);
        let provider = text(&event["provider"]).unwrap_or_default();
        let at = news.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let tags = match &source["tags"] {
            Value::Array(tags) => tags.iter().filter_map(text_of).collect(),
            tag => tag.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
        };
        let (entities, tags) = tags.into_iter().partition(|tag| is_entity(tag));
        Self {
            id: text(&hit["_id"]).unwrap_or_default(),
            index: text(&hit["_index"]).unwrap_or_default(),
            alert: text(&event["id"]).unwrap_or_default(),
            stale: stands && stale.zip(at).is_some_and(|(stale, at)| stale.holds(&provider, at)),
            outcome: text(&event["outcome"]),
            severity: event["severity"].as_i64().unwrap_or_default(),
            source: provider,
            rule: text(&source["rule"]["name"]).or(text(&source["rule"]["id"])).unwrap_or_default(),
            rule_id: text(&source["rule"]["id"]),
            reason: text(&event["reason"]),
            entities,
            tags,
            began: text(&event["start"]),
            ended: news.clone().filter(|_| !stands),
            duration_ms: event["duration"].as_i64().map(|ns| ns / 1_000_000),
            news,
            message: text(&source["message"]).or(text(&source["error"]["message"])),
            url: text(&event["url"]),
            state: action,
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What is stale: of which sources (`event.provider`), and without news since when, in epoch ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    pub(crate) providers: &'static [&'static str],
    pub(crate) before: i64,
}

impl Stale {
    /// What has no news for so long; `None`, that is never, where that is zero. The alerts of
    /// OpenSearch count only where they are not compared with its Alerting (`reconciles`).
    #[must_use]
    pub fn of(after: Duration, reconciles: bool, now: Timestamp) -> Option<Self> {
        let span = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let providers: &[&str] = if reconciles {
            &["ntopng", "alertmanager"]
        } else {
            &["ntopng", "alertmanager", "malcolm"]
        };
        let before = now.as_millisecond().saturating_sub(span);
        (span > 0).then_some(Self { providers, before })
    }

    fn holds(self, provider: &str, news: Timestamp) -> bool {
        self.providers.contains(&provider) && news.as_millisecond() < self.before
    }
}
