//! What is engaged now: the alerts of all sources whose records say that they are not over, as
//! ntopng's cache of engaged alerts gives them, but from the store, so that every replica and every
//! restart sees the same. Nothing is written: that an alert is stale is only shown.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    answers::{Answers, Told},
    clock,
    history::{self, List, incomplete, without_hits},
    opensearch::{Client, Error},
};

mod query;

pub use crate::history::{After, Item, PAGE, Stale};

/// How long a page is shared.
const SHARED_FOR: Duration = Duration::from_secs(3);

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

/// A page of them, those that began last first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = Engaged)]
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
    /// Why some may be missing: a part of the store did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// How many alerts are engaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[schema(as = EngagedCounts)]
pub struct Counts {
    /// By `event.severity`.
    pub severity: std::collections::BTreeMap<String, u64>,
    /// By kind of entity.
    pub entity: std::collections::BTreeMap<String, u64>,
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

/// What is engaged now, from the store.
pub struct Engaged {
    client: Client,
    settings: Settings,
    pages: Answers<Question, Page>,
}

impl Engaged {
    /// Asks through `client`; nothing yet.
    #[must_use]
    pub fn new(client: &Client, settings: Settings) -> Self {
        Self { client: client.within(history::TIME), settings, pages: Answers::new(SHARED_FOR) }
    }

    /// A page of what is engaged: not older than 3 seconds while the store answers; else what it
    /// answered last, if that is not too old, with the reason.
    ///
    /// # Errors
    /// [`Error`]: the store does not answer, and has not lately. A question that the store refuses (400)
    /// is never answered from before.
    pub async fn page(&self, question: &Question) -> Result<Page, Error> {
        let ask = || ask(&self.client, &self.settings, question, clock::now());
        let Told { answer, age_ms, outdated } = self.pages.to(question, ask).await?;
        Ok(Page { age_ms, outdated, ..answer })
    }
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
    let stale = Stale::of(settings.stale_after, settings.reconciles, now);
    let body = query::body(question, stale);
    let answer = history::search(client, &settings.pattern, &body).await?;
    read(&answer, question, stale, now).ok_or_else(without_hits)
}

fn read(answer: &Value, question: &Question, stale: Option<Stale>, now: Timestamp) -> Option<Page> {
    let list = List::of(answer, question.limit, stale)?;
    let counts = |name: &str| {
        let buckets = answer.pointer(&format!("/aggregations/{name}/buckets"));
        let count = |one: &Value| {
            let key = &one["key"];
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Some((key, one["doc_count"].as_u64()?))
        };
        buckets.and_then(Value::as_array).into_iter().flatten().filter_map(count).collect()
    };
    Some(Page {
        items: list.items,
        next: list.next,
        total: list.total,
        is_more: list.is_more,
        counts: Counts { severity: counts("severity"), entity: counts("entity") },
        asked_at: format!("{now:.3}"),
        age_ms: 0,
        outdated: None,
        incomplete: incomplete(answer),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_the_store_becomes_a_page() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let hit = |id: &str, end: &str| {
            json!({"_index": "s-261122", "_id": format!("261122-{id}"), "sort": [1_795_312_800_000_i64, id, 7],
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
        let before = Stale::of(Duration::from_hours(1), true, now);
        let page = read(&answer, &question, before, now).unwrap();
        assert_eq!(page.items.iter().map(|one| one.stale).collect::<Vec<_>>(), [false, true]);
        assert_eq!(page.items[0].entities, ["host:10.0.0.1"]);
        assert_eq!((page.items[0].rule.as_str(), page.total, page.is_more), ("2", 10_000, true));
        assert_eq!(page.next.as_deref(), Some("1795312800000~7~b"));
        assert_eq!(page.counts.entity.len() + page.counts.severity.len(), 2);
        for (at, write, id, text) in [
            (1_795_312_800_000, 7, Some("b~c"), "1795312800000~7~b~c"),
            (i64::MIN, 0, Some(""), "-9223372036854775808~0~"),
            (i64::MIN, 0, None, "-9223372036854775808~0"),
        ] {
            let after = After { at, write, id: id.map(str::to_owned) };
            assert_eq!((after.to_string().as_str(), text.parse()), (text, Ok(after)));
        }
        for wrong in ["b", "1", "1~b", "~1", "1~"] {
            assert!(wrong.parse::<After>().is_err(), "{wrong}");
        }
        // Without a time span nothing is stale.
        let never = Stale::of(Duration::ZERO, true, now);
        let page = read(&answer, &question, never, now).unwrap();
        assert!(page.items.iter().all(|one| !one.stale));
        let more = Question { limit: 3, ..Question::default() };
        assert_eq!(read(&answer, &more, before, now).unwrap().next, None);
        assert_eq!(read(&json!({}), &more, before, now), None);
    }
}
