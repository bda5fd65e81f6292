//! One alert with everything that is known of it: its record, its states over time, the callbacks that
//! were run for it, and the message as it came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Item, Settings, Stale, incomplete};
use crate::{
    deliveries,
    intake::{
        masked::masked,
        shown::{Shown, shown},
    },
    opensearch::{
        Client, Error, alert_search,
        records::{self, Found},
    },
    spool::{DeliveryFilter, Spool},
};

/// Ids of alerts and of records are not longer, in bytes.
const LONGEST_ID: usize = 1_024;
/// How many deliveries are told.
const DELIVERIES: usize = 100;
/// How long OpenSearch's Alerting may take; without it less is told.
const ALERTING: std::time::Duration = std::time::Duration::from_secs(3);

/// One alert and its life.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Life {
    /// As it is listed.
    #[serde(flatten)]
    pub item: Item,
    /// What happened to it, the oldest first, as far as that is known.
    pub stages: Vec<Stage>,
    /// What callbacks were run for it on this replica, the newest first.
    pub deliveries: Vec<deliveries::Item>,
    /// The message as it came, where it is kept; secrets are masked.
    pub raw: Option<Raw>,
    /// Its record, as it is in the store; secrets are masked.
    pub record: Map<String, Value>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

/// Something that happened to an alert.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Stage {
    /// When.
    pub at: String,
    /// `engaged`, `received`, `told`, `acknowledged`, `released`, `stored` or `failure`.
    pub state: String,
    /// For people: why, or by what it is known.
    pub what: String,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Raw {
    /// The body.
    pub body: String,
    /// Where it was kept: `record` (`event.original`), or `delivery`.
    pub kept_in: String,
}

/// Why an alert cannot be shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
    /// The index of its record is closed.
    #[error("the index {0} is closed; open it (`POST {0}/_open`) and ask again")]
    Closed(String),
    /// The index of its record has no shard that answers.
    #[error(
        "the index {0} does not answer (`GET _cluster/health/{0}` says why); ask again when it does"
    )]
    Away(String),
    /// A part of the store did not answer, and may hold it.
    #[error("it was not found, and {0}; ask again when all of them answer")]
    Incomplete(String),
}

/// Looks for the alert whose record has this `_id`, or which has this id itself, the newest of them;
/// `None` where there is none. What the spool knows of it is not in it yet, see [`Life::complete`].
///
/// # Errors
/// [`Fault`].
pub async fn find(
    client: &Client,
    settings: &Settings,
    id: &str,
    now: Timestamp,
) -> Result<Option<Life>, Fault> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return Ok(None);
    }
    let stale = Stale::of(settings.stale_after, settings.reconciles, now);
    let Some(hit) = hit(client, settings, id).await? else { return Ok(None) };
    let item = Item::of(&hit, stale);
    let Value::Object(mut hit) = hit else { return Ok(None) };
    let Some(Value::Object(mut record)) = hit.remove("_source") else { return Ok(None) };
    mask(&mut record);
    let mut unknown = Vec::new();
    let mut alerting = None;
    if settings.asks_alerting && item.source == "malcolm" && !item.alert.is_empty() {
        let query = alert_search::any_of("_id", &[&item.alert]);
        match alert_search::search(&client.within(ALERTING), &query, 1).await {
            Ok(mut found) => alerting = found.pop(),
            Err(fault) if fault.is_unavailable() => {}
            Err(fault) => unknown.push(format!("what OpenSearch's Alerting knows: {fault}")),
        }
    }
    let raw = record
        .get("event")
        .and_then(|event| event["original"].as_str())
        .map(|body| Raw { body: body.to_owned(), kept_in: "record".to_owned() });
    let stages = stages(&record, alerting.as_ref());
    Ok(Some(Life { item, stages, deliveries: Vec::new(), raw, record, unknown }))
}

/// The record, as a hit of a search.
async fn hit(client: &Client, settings: &Settings, id: &str) -> Result<Option<Value>, Fault> {
    // Where it should be, it is found as it is at this moment; a search sees it only after the next
    // refresh, which is a minute in some set-ups.
    let guess = guess(settings, id);
    let mut untold = None;
    if let Some(index) = &guess {
        match records::read(client, &[(index, id)]).await?.pop() {
            Some(Found::There(source)) if is_alert(&source) => {
                return Ok(Some(json!({ "_index": index, "_id": id, "_source": source })));
            }
            Some(Found::Closed) => untold = Some(Fault::Closed(index.clone())),
            Some(Found::Away) => untold = Some(Fault::Away(index.clone())),
            Some(Found::There(_) | Found::Absent) | None => {}
        }
    }
    let body = json!({
        "size": 1, "track_total_hits": false,
        "query": { "bool": {
            "filter": [{ "term": { "event.dataset": "alerting" } }],
            "should": [{ "ids": { "values": [id] } }, { "term": { "event.id": id } }],
            "minimum_should_match": 1 } },
        "sort": [{ "event.start": { "order": "desc", "unmapped_type": "date" } }] });
    let mut answer = super::search(client, &settings.pattern, &body).await?;
    let found = answer.pointer_mut("/hits/hits/0").map(Value::take);
    match (found, untold, incomplete(&answer)) {
        (Some(hit), ..) => Ok(Some(hit)),
        (None, Some(fault), _) => Err(fault),
        (None, None, Some(why)) => Err(Fault::Incomplete(why)),
        (None, None, None) => Ok(None),
    }
}

fn is_alert(source: &Map<String, Value>) -> bool {
    source.get("event").is_some_and(|event| event["dataset"] == "alerting")
}

/// The index that a record with this `_id` is in, where its name has only the day in it.
fn guess(settings: &Settings, id: &str) -> Option<String> {
    let (day, _) = id.split_once('-')?;
    if day.len() != 6 || !day.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let day: jiff::civil::Date =
        format!("20{}-{}-{}", &day[..2], &day[2..4], &day[4..]).parse().ok()?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(settings.index.index(midnight, |_| None))
}

/// Masks secrets where a sender's own text stands.
fn mask(record: &mut Map<String, Value>) {
    fn texts(value: &mut Value) {
        match value {
            Value::String(text) => {
                if let std::borrow::Cow::Owned(bytes) = masked(text.as_bytes()) {
                    *text = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
            Value::Array(list) => list.iter_mut().for_each(texts),
            Value::Object(fields) => fields.values_mut().for_each(texts),
            _ => {}
        }
    }
    record.values_mut().for_each(texts);
}

/// What happened, from the record and from what the Alerting API tells of the alert.
fn stages(record: &Map<String, Value>, alerting: Option<&Value>) -> Vec<Stage> {
    let event = record.get("event").unwrap_or(&Value::Null);
    let text = |key: &str| event[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let number = |value: &Value| value.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let action = event["action"].as_str().unwrap_or_default();
    let mut all: Vec<(Timestamp, &str, String)> = Vec::new();
    let mut add = |at: Option<Timestamp>, state: &'static str, what: &str| {
        all.extend(at.map(|at| (at, state, what.to_owned())));
    };
    let is_short = action == "stored";
    let first = if is_short { "stored" } else { "engaged" };
    add(text("start"), first, if is_short { "it happened" } else { "it began" });
    add(text("ingested"), "received", "alertloop received the first message of it");
    add(number(&event["created"]), "told", "the newest message of it is from then");
    let acknowledged = alerting.and_then(|alert| number(&alert["acknowledged_time"]));
    match acknowledged {
        Some(at) => add(Some(at), "acknowledged", "in OpenSearch"),
        None if action == "acknowledged" => {
            add(number(&event["sequence"]), "acknowledged", "since then at the latest");
        }
        None => {}
    }
    if action == "released" {
        add(text("end"), "released", "it is over");
    }
    if let Some(alert) = alerting {
        let why = alert["error_message"].as_str().unwrap_or_default();
        for one in alert["alert_history"].as_array().into_iter().flatten() {
            let what = one["message"].as_str().unwrap_or_default();
            add(number(&one["timestamp"]), "failure", what);
        }
        if !why.is_empty() && alert["alert_history"].as_array().is_none_or(Vec::is_empty) {
            add(number(&alert["last_notification_time"]), "failure", why);
        }
    } else if event["outcome"] == "failure" {
        let why = record.get("error").and_then(|error| error["message"].as_str());
        let at = number(&event["sequence"]).or(text("end"));
        add(at, "failure", why.unwrap_or("its monitor failed"));
    }
    all.sort_by_key(|(at, ..)| *at);
    let stage = |(at, state, what): (Timestamp, &str, String)| Stage {
        at: format!("{at:.3}"),
        state: state.to_owned(),
        what,
    };
    all.into_iter().map(stage).collect()
}

impl Life {
    /// Adds what the spool of this replica knows: the deliveries, and the body of their message, up to
    /// `limit` bytes of it.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn complete(&mut self, spool: &Spool, limit: usize) -> rusqlite::Result<()> {
        let mut ids = vec![self.item.id.clone()];
        ids.extend(Some(self.item.alert.clone()).filter(|id| !id.is_empty() && *id != ids[0]));
        for alert in ids {
            let filter = DeliveryFilter { alert: Some(alert), ..DeliveryFilter::default() };
            let found = deliveries::list(spool, &filter, i64::MAX, DELIVERIES)?;
            self.deliveries.extend(found.items);
        }
        self.deliveries.sort_by_key(|one| std::cmp::Reverse(one.id));
        self.deliveries.dedup_by_key(|one| one.id);
        self.deliveries.truncate(DELIVERIES);
        if let (None, Some(newest)) = (&self.raw, self.deliveries.first())
            && let Some(entry) = spool.notice_of(newest.id)?
        {
            let envelope = entry.envelope;
            if let Shown::Text(body) = shown(envelope.encoding, &envelope.body, limit) {
                self.raw = Some(Raw { body, kept_in: "delivery".to_owned() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(suffix: &str) -> Settings {
        let pattern = "arkime_sessions3-*".to_owned();
        let index = crate::record::index_name::IndexName::new(&pattern, suffix).unwrap();
        Settings {
            pattern,
            index,
            stale_after: std::time::Duration::ZERO,
            reconciles: true,
            asks_alerting: false,
        }
    }

    #[test]
    fn the_index_of_a_record_follows_from_its_id() {
        let daily = settings("");
        for (id, want) in [
            ("261122-abc", Some("arkime_sessions3-261122")),
            ("261122-a-b", Some("arkime_sessions3-261122")),
            ("abc", None),
            ("26112-abc", None),
            ("261322-abc", None),
            ("２６-abc", None),
        ] {
            assert_eq!(guess(&daily, id).as_deref(), want, "{id}");
        }
        assert_eq!(guess(&settings("all"), "261122-a").as_deref(), Some("arkime_sessions3-all"));
    }

    #[test]
    fn the_stages_are_told_in_the_order_in_which_they_happened() {
        let record = json!({"event": {"start": "2026-11-22T01:00:00.000Z", "action": "released",
            "end": "2026-11-22T03:00:00.000Z", "ingested": "2026-11-22T01:00:01.000Z"}});
        let told = |alerting: Option<&Value>| {
            let stages = stages(record.as_object().unwrap(), alerting);
            stages.into_iter().map(|one| one.state).collect::<Vec<_>>()
        };
        assert_eq!(told(None), ["engaged", "received", "released"]);
        let at = "2026-11-22T02:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        let alert = json!({"acknowledged_time": at, "alert_history": [
            {"timestamp": at + 1, "message": "Failed running action"}]});
        assert_eq!(
            told(Some(&alert)),
            ["engaged", "received", "acknowledged", "failure", "released"]
        );
    }

    #[test]
    fn a_secret_in_a_record_is_masked_wherever_it_stands() {
        let mut record = json!({"event": {"original": r#"{"sharedsecret":"s3cret"}"#},
            "message": "see http://x/?token=s3cret&a=1", "tags": ["sharedsecret=s3cret"]});
        let record = record.as_object_mut().unwrap();
        mask(record);
        let text = Value::Object(record.clone()).to_string();
        assert!(!text.contains("s3cret") && text.contains("a=1"), "{text}");
    }
}
