//! What is engaged now: the alerts of all sources whose records say that they are not over, as
//! ntopng's cache of engaged alerts gives them, but from the store, so that every replica and every
//! restart sees the same. Nothing is written: that an alert is stale is only shown.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::opensearch::{Client, Error, segment};

mod cache;
mod query;

pub use cache::Engaged;

/// The most that a page has.
pub const PAGE: usize = 1_000;

/// Which ones are asked for; empty for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// An entity with its kind, `host:10.0.0.1`, or without: also by the fields of the record.
    pub entity: Option<String>,
    /// `event.provider`: opensearch, ntopng, alertmanager.
    pub source: Option<String>,
    /// At least this severity, 0 to 100.
    pub severity: Option<u8>,
    /// Name or id of the rule.
    pub rule: Option<String>,
    /// Words of the message, or a part of the rule's name or of the reason.
    pub text: Option<String>,
    /// Only stale ones, or only those that are not.
    pub stale: Option<bool>,
}

/// A question: which ones, after which one, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which ones.
    pub filter: Filter,
    /// The `next` of the page before.
    pub after: Option<After>,
    /// At most so many, up to [`PAGE`].
    pub limit: usize,
}

/// The last alert of a page: its start in epoch ms, and `event.id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct After(i64, String);

impl std::str::FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FAULT: &str = "`after` is what `next` of the page before says";
        let (at, id) = text.split_once('~').ok_or(FAULT)?;
        Ok(Self(at.parse().map_err(|_| FAULT)?, id.to_owned()))
    }
}

/// A page of them, those that began last first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Page {
    /// The alerts.
    pub items: Vec<Item>,
    /// The `after` of the next page.
    pub next: Option<String>,
    /// How many there are on all pages; at most 10,000 are counted.
    pub total: u64,
    /// Whether there are more than `total`.
    pub is_more: bool,
    /// How many by severity, and by the kind of entity; an alert of two entities counts for both.
    pub counts: Counts,
    /// When the store was asked.
    pub asked_at: String,
    /// How many milliseconds ago that was.
    pub age_ms: u64,
    /// Why the store cannot be asked now; this is what it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
}

/// How many alerts are engaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counts {
    /// By `event.severity`.
    pub severity: std::collections::BTreeMap<String, u64>,
    /// By kind of entity.
    pub entity: std::collections::BTreeMap<String, u64>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Item {
    /// `_id` of its record.
    pub id: String,
    /// `_index` of its record.
    pub index: String,
    /// The alert's id.
    pub alert: String,
    /// `engaged` or `acknowledged`.
    pub state: String,
    /// Whether there was no news of it for longer than is usual.
    pub stale: bool,
    /// 0 to 100.
    pub severity: i64,
    /// `event.provider`.
    pub source: String,
    /// Name of its rule, or its id.
    pub rule: String,
    /// What fired.
    pub reason: Option<String>,
    /// What it is about, each as `kind:value`.
    pub entities: Vec<String>,
    /// When it began.
    pub began: Option<String>,
    /// Of when its last news is.
    pub news: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// Where to look at it.
    pub url: Option<String>,
}

/// Where and how is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Pattern of the indices of the records.
    pub pattern: String,
    /// After how long without news an alert is stale; zero for never.
    pub stale_after: Duration,
    /// Whether the alerts of OpenSearch are compared with its Alerting: then they are never stale.
    pub reconciles: bool,
}

/// What is stale: of which sources (`event.provider`), and without news since when, in epoch ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stale {
    providers: &'static [&'static str],
    before: i64,
}

/// Asks the store.
///
/// # Errors
/// [`Error`].
pub async fn ask(
    client: &Client,
    settings: &Settings,
    question: &Question,
    now: Timestamp,
) -> Result<Page, Error> {
    let path = format!(
        "/{}/_search?ignore_unavailable=true&allow_no_indices=true",
        segment(&settings.pattern)
    );
    let stale = Stale::of(settings, now);
    let body = query::body(question, stale);
    let answer = client.call(opensearch::http::Method::Post, &path, Some(&body)).await?;
    read(&answer, question, stale, now)
        .ok_or_else(|| Error::Malformed("a search without hits".to_owned()))
}

impl Stale {
    /// `None` where nothing ever is.
    fn of(settings: &Settings, now: Timestamp) -> Option<Self> {
        let span = i64::try_from(settings.stale_after.as_millis()).unwrap_or(i64::MAX);
        let providers: &[&str] = if settings.reconciles {
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

fn read(answer: &Value, question: &Question, stale: Option<Stale>, now: Timestamp) -> Option<Page> {
    let hits = answer.pointer("/hits/hits")?.as_array()?;
    let total = answer.pointer("/hits/total");
    let next = hits.last().filter(|_| hits.len() >= question.limit).and_then(|hit| {
        let sort = hit["sort"].as_array()?;
        Some(format!("{}~{}", sort.first()?.as_i64()?, sort.get(1)?.as_str()?))
    });
    let buckets = |name: &str| answer.pointer(&format!("/aggregations/{name}/buckets"));
    let counts = |name: &str| {
        let buckets = buckets(name).and_then(Value::as_array).into_iter().flatten();
        let count = |one: &Value| {
            let key = &one["key"];
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Some((key, one["doc_count"].as_u64()?))
        };
        buckets.filter_map(count).collect()
    };
    Some(Page {
        items: hits.iter().map(|hit| item(hit, stale)).collect(),
        next,
        total: total.and_then(|total| total["value"].as_u64()).unwrap_or_default(),
        is_more: total.is_some_and(|total| total["relation"] == "gte"),
        counts: Counts { severity: counts("severity"), entity: counts("entity") },
        asked_at: format!("{now:.3}"),
        age_ms: 0,
        outdated: None,
    })
}

fn item(hit: &Value, stale: Option<Stale>) -> Item {
    let source = &hit["_source"];
    let event = &source["event"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let news = text(&event["end"]);
    let provider = text(&event["provider"]).unwrap_or_default();
    let at = news.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let tags = source["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Item {
        id: text(&hit["_id"]).unwrap_or_default(),
        index: text(&hit["_index"]).unwrap_or_default(),
        alert: text(&event["id"]).unwrap_or_default(),
        state: text(&event["action"]).unwrap_or_default(),
        stale: stale.zip(at).is_some_and(|(stale, at)| stale.holds(&provider, at)),
        severity: event["severity"].as_i64().unwrap_or_default(),
        source: provider,
        rule: text(&source["rule"]["name"]).or(text(&source["rule"]["id"])).unwrap_or_default(),
        reason: text(&event["reason"]),
        entities: tags.filter(|tag| query::is_entity(tag)).map(str::to_owned).collect(),
        began: text(&event["start"]),
        news,
        message: text(&source["message"]),
        url: text(&event["url"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_the_store_becomes_a_page() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let hit = |id: &str, end: &str| {
            json!({"_index": "s-261122", "_id": format!("261122-{id}"), "sort": [1_795_312_800_000_i64, id],
                "_source": {"event": {"id": id, "action": "engaged", "severity": 80, "end": end,
                    "start": "2026-11-22T00:40:00.000Z", "provider": "ntopng"},
                    "rule": {"id": "2"}, "tags": ["host:10.0.0.1", "repaired", "vip"]}})
        };
        let answer = json!({
            "hits": {"total": {"value": 10_000, "relation": "gte"},
                "hits": [hit("a", "2026-11-22T01:59:00.000Z"), hit("b", "2026-11-22T00:59:59.999Z")]},
            "aggregations": {"severity": {"buckets": [{"key": 80, "doc_count": 2}]},
                "entity": {"buckets": [{"key": "host", "doc_count": 2}]}}});
        let question = Question { limit: 2, ..Question::default() };
        let settings =
            |stale_after| Settings { pattern: "s-*".to_owned(), stale_after, reconciles: true };
        let before = Stale::of(&settings(Duration::from_hours(1)), now);
        let page = read(&answer, &question, before, now).unwrap();
        assert_eq!(page.items.iter().map(|one| one.stale).collect::<Vec<_>>(), [false, true]);
        assert_eq!(page.items[0].entities, ["host:10.0.0.1"]);
        assert_eq!((page.items[0].rule.as_str(), page.total, page.is_more), ("2", 10_000, true));
        assert_eq!(page.next.as_deref(), Some("1795312800000~b"));
        assert_eq!(page.counts.entity.len() + page.counts.severity.len(), 2);
        assert_eq!("1795312800000~b~c".parse(), Ok(After(1_795_312_800_000, "b~c".to_owned())));
        assert!("b".parse::<After>().is_err());
        // Without a time span nothing is stale.
        let never = Stale::of(&settings(Duration::ZERO), now);
        let page = read(&answer, &question, never, now).unwrap();
        assert!(page.items.iter().all(|one| !one.stale));
        let more = Question { limit: 3, ..Question::default() };
        assert_eq!(read(&answer, &more, before, now).unwrap().next, None);
        assert_eq!(read(&json!({}), &more, before, now), None);
    }
}
