//! What callbacks were run for alerts, and how it went: looked at, and replayed. The API and the
//! command do it the same way, here.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    clock,
    spool::{AppendError, Delivery, DeliveryChange, DeliveryFilter, Replay, RunOf, Spool},
};

/// A delivery as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Delivery)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// Name of the callback.
    pub callback: String,
    /// `pending`, `running`, `delivered`, `failed` or `held`.
    pub state: String,
    /// For what: `engaged`, `stored`, `acknowledged` or `released`.
    pub action: String,
    /// Name of the alert's rule.
    pub rule: String,
    /// The alert's severity, 0 to 100.
    pub severity: u8,
    /// The alert's id, once a message has told it.
    pub alert: Option<String>,
    /// The record, where it could be told.
    pub record: Option<Record>,
    /// When it was decided that it is due.
    pub created_at: String,
    /// When it was delivered, or given up.
    pub finished_at: Option<String>,
    /// When it is tried next, where it is pending.
    pub next_try_at: Option<String>,
    /// How often it was tried.
    pub attempts: u64,
    /// Why it is not delivered.
    pub reason: Option<String>,
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RecordAddress)]
pub struct Record {
    /// `_index`.
    #[serde(rename = "_index")]
    pub index: String,
    /// `_id`.
    #[serde(rename = "_id")]
    pub id: String,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeliveryRun)]
pub struct Run {
    /// Which one, from 1 on.
    pub attempt: u64,
    /// When it began.
    pub began_at: String,
    /// How long it took, in ms; null while it runs, and where nobody knows.
    pub took_ms: Option<u64>,
    /// `delivered`, `again`, `refused` or `interrupted`; null while it runs.
    pub outcome: Option<String>,
    /// HTTP status, SMTP code or exit code.
    pub status: Option<i32>,
    /// What the other side said.
    pub answer: Option<String>,
    /// Why it is not delivered.
    pub reason: Option<String>,
    /// The callback's configuration at that time, without secrets.
    pub configuration: Value,
}

/// A delivery with its tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeliveryWithRuns)]
pub struct Whole {
    /// As it is listed.
    #[serde(flatten)]
    pub item: Item,
    /// The newest tries, oldest first.
    pub runs: Vec<Run>,
}

/// A page as the API gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Deliveries)]
pub struct Items {
    /// Newest first.
    pub items: Vec<Item>,
    /// The `before` of the next page; null when there is none.
    pub next: Option<i64>,
}

/// Which deliveries are to be replayed: exactly one way of saying it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub enum Selection {
    /// Those with these numbers, failed, held or delivered.
    Ids(Vec<i64>),
    /// Every failed one of this callback.
    Callback(String),
    /// Every failed one.
    All,
}

/// A selection as JSON says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    ids: Option<Vec<i64>>,
    callback: Option<String>,
    all: Option<bool>,
}

impl TryFrom<Given> for Selection {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            Given { ids: Some(ids), callback: None, all: None } if !ids.is_empty() => {
                Ok(Self::Ids(ids))
            }
            Given { ids: None, callback: Some(name), all: None } if !name.is_empty() => {
                Ok(Self::Callback(name))
            }
            Given { ids: None, callback: None, all: Some(true) } => Ok(Self::All),
            _ => Err(
                r#"say which, in exactly one way: {"ids":[1,2]}, {"callback":"its name"} or {"all":true}"#,
            ),
        }
    }
}

impl Selection {
    /// As the API takes it.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Ids(ids) => json!({ "ids": ids }),
            Self::Callback(name) => json!({ "callback": name }),
            Self::All => json!({ "all": true }),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(ids) => write!(f, "{} by number", ids.len()),
            Self::Callback(name) => write!(f, "callback {name:?}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Some deliveries, newest first: at most `count` of those numbered below `before`.
///
/// # Errors
/// When the spool cannot be read.
pub fn list(
    spool: &Spool,
    filter: &DeliveryFilter,
    before: i64,
    count: usize,
) -> rusqlite::Result<Items> {
    let found = spool.deliveries(filter, before, count)?;
    let next = found.last().map(|last| last.id).filter(|_| found.len() == count);
    Ok(Items { items: found.into_iter().map(Item::from).collect(), next })
}

/// One delivery, with its tries.
///
/// # Errors
/// When the spool cannot be read.
pub fn show(spool: &Spool, id: i64) -> rusqlite::Result<Option<Whole>> {
    let found = spool.delivery(id)?;
    Ok(found.map(|(delivery, runs)| Whole {
        item: delivery.into(),
        runs: runs.into_iter().map(Run::from).collect(),
    }))
}

/// Makes deliveries pending again, with all the time that their callback gives them; tells how many.
/// Where it is known which `callbacks` run, those of others stay as they are.
///
/// # Errors
/// When the spool cannot be written: then none is.
pub async fn replay(
    spool: &Spool,
    selection: &Selection,
    callbacks: Option<&[String]>,
) -> Result<u64, AppendError> {
    let which = match selection {
        Selection::Ids(ids) => {
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids.dedup();
            Replay::Ids(ids)
        }
        Selection::Callback(name) => Replay::Callback(name.clone()),
        Selection::All => Replay::All,
    };
    let callbacks = callbacks.map(<[String]>::to_vec);
    spool.deliver(DeliveryChange::Replay { which, callbacks, now: clock::now() }).await
}

impl From<Delivery> for Item {
    fn from(delivery: Delivery) -> Self {
        let is_pending = delivery.state == crate::spool::DeliveryState::Pending;
        Self {
            id: delivery.id,
            callback: delivery.callback,
            state: delivery.state.name().to_owned(),
            action: delivery.action,
            rule: delivery.rule,
            severity: delivery.severity,
            alert: delivery.alert,
            record: delivery.record.map(|(index, id)| Record { index, id }),
            created_at: delivery.created.to_string(),
            finished_at: delivery.finished.map(|at| at.to_string()),
            next_try_at: is_pending.then(|| delivery.due.to_string()),
            attempts: delivery.attempts,
            reason: delivery.reason,
        }
    }
}

impl From<RunOf> for Run {
    fn from(run: RunOf) -> Self {
        Self {
            attempt: run.attempt,
            began_at: run.began.to_string(),
            took_ms: run.took,
            outcome: run.outcome,
            status: run.status,
            answer: run.answer.filter(|answer| !answer.is_empty()),
            reason: run.reason,
            configuration: serde_json::from_str(&run.configuration).unwrap_or(Value::Null),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_says_it_in_exactly_one_way() {
        for (json, want) in [
            (r#"{"ids":[2,1]}"#, Some(Selection::Ids(vec![2, 1]))),
            (r#"{"callback":"x"}"#, Some(Selection::Callback("x".to_owned()))),
            (r#"{"all":true}"#, Some(Selection::All)),
            (r#"{"all":false}"#, None),
            (r#"{"ids":[]}"#, None),
            (r#"{"callback":""}"#, None),
            (r#"{"callback":"x","all":true}"#, None),
            (r#"{"state":"failed"}"#, None),
            ("{}", None),
        ] {
            let selection: Option<Selection> = serde_json::from_str(json).ok();
            assert_eq!(selection, want, "{json}");
            if let Some(selection) = selection {
                assert_eq!(selection.json().to_string(), json);
            }
        }
    }
}
