//! What the Alerting API tells of alerts: `GET _plugins/_alerting/monitors/alerts`; what the built-in
//! engine keeps of them is told in the same form.

use jiff::Timestamp;
use serde_json::Value;

use super::{Client, Error, builtin, segment};
use opensearch::http::Method;

/// How many alerts in an error are read, newest first.
const NEWEST: usize = 100;

/// An alert in state `ERROR`: its monitor, or one of its actions, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The monitor's id.
    pub monitor_id: String,
    /// The monitor's name.
    pub monitor_name: String,
    /// When it was last tried; when it began, where that is not told.
    pub at: Option<Timestamp>,
    /// The store's words.
    pub message: String,
}

/// The newest alerts that are in state `ERROR` now.
///
/// # Errors
/// [`Error`], but for a 404.
pub async fn failed(client: &Client) -> Result<Vec<Failed>, Error> {
    if client.is_builtin().await? {
        let alerts = builtin::alerts::failed(client, NEWEST).await?;
        return Ok(alerts.iter().map(read_failed).collect());
    }
    let path = format!(
        "_plugins/_alerting/monitors/alerts?alertState=ERROR&size={NEWEST}&sortString=start_time&sortOrder=desc"
    );
    let Some(answer) = absent_is_none(client.call(Method::Get, &path, None).await)? else {
        return Ok(Vec::new());
    };
    Ok(answer["alerts"].as_array().into_iter().flatten().map(read_failed).collect())
}

fn read_failed(alert: &Value) -> Failed {
    let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
    let at = alert["last_notification_time"].as_i64().or(alert["start_time"].as_i64());
    Failed {
        monitor_id: text("monitor_id"),
        monitor_name: text("monitor_name"),
        at: at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        message: text("error_message"),
    }
}

/// Some alerts, active and past, as the API tells them (`intake::truth`).
#[derive(Debug, Default)]
pub struct Page {
    /// These.
    pub alerts: Vec<Value>,
    /// How many there are in all.
    pub total: u64,
}

/// Which alerts, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// In the words of a `query_string` query over the fields of an alert. With all that is encoded it
    /// has to fit into the first line of a request, 4 KiB.
    pub search: &'a str,
    /// The field by which they are sorted, the highest first.
    pub newest_by: &'a str,
    /// How many are left out at the beginning; with `size` at most 10,000.
    pub from: usize,
    /// How many are given at most.
    pub size: usize,
}

/// Reads alerts of all monitors, but those of monitors that run for a composite one alone.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn page(client: &Client, query: Query<'_>) -> Result<Page, Error> {
    if client.is_builtin().await? {
        return builtin::alerts::page(client, query).await;
    }
    let Query { search, newest_by, from, size } = query;
    let search = segment(search);
    let path = format!(
        "_plugins/_alerting/monitors/alerts?searchString={search}&sortString={newest_by}&sortOrder=desc&missing=_last&startIndex={from}&size={size}"
    );
    let mut answer = match client.call(Method::Get, &path, None).await {
        // Before the first alert there is no index of them.
        Err(fault) if fault.is_not_found() => return Ok(Page::default()),
        answer => answer?,
    };
    let total = answer["totalAlerts"].as_u64().unwrap_or(0);
    match answer.get_mut("alerts").map(Value::take) {
        Some(Value::Array(alerts)) => Ok(Page { alerts, total }),
        _ => Err(Error::Malformed("no list of alerts".to_owned())),
    }
}

/// Lets [`page`] find what was written until now, where that is ours to do: the plugin's are shown soon.
///
/// # Errors
/// [`Error`].
pub async fn show(client: &Client) -> Result<(), Error> {
    if client.is_builtin().await? { builtin::alerts::refresh(client).await } else { Ok(()) }
}

/// Nothing where there is no such thing, or no plugin to ask for it.
pub(super) fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() || error.is_unavailable() => Ok(None),
        Err(error) => Err(error),
    }
}
