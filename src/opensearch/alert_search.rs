//! Alerts that only a `searchString` of the Alerting API can ask for: it is a query string over the
//! alerts, those of the past too (`TransportGetAlertsAction.kt`; seen on 3.4.0). Alerts of the state
//! `AUDIT` are never among them.

use opensearch::http::Method;
use serde_json::Value;

use super::{Client, Error, alerts::Query, builtin, segment};

/// How long a list of values may be, percent-encoded, so that two such lists fit the 4 KiB that
/// OpenSearch takes as a request line.
const LONGEST_LIST: usize = 1_500;
/// The longest id of a document, in bytes: OpenSearch's own limit.
const LONGEST_ID: usize = 512;
/// As many alerts as one answer gives.
const MOST: usize = 10_000;

/// Whether an alert can have this id.
#[must_use]
pub fn can_be_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
}

/// Splits values into lists that are short enough for one request each.
pub fn lists<'v, 'a>(values: &'v [&'a str]) -> impl Iterator<Item = &'v [&'a str]> {
    let mut rest = values;
    std::iter::from_fn(move || {
        let mut length = 0;
        let fits = rest.iter().take_while(|value| {
            length += segment(&quoted(value)).len() + segment(" OR ").len();
            length <= LONGEST_LIST
        });
        // One that is longer than that goes alone: the store says what it thinks of it.
        let (list, others) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = others;
        (!list.is_empty()).then_some(list)
    })
}

/// The query string for a field that has one of these values: `field:("a" OR "b")`.
#[must_use]
pub fn any_of(field: &str, values: &[&str]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    format!("{field}:({})", values.join(" OR "))
}

/// As one word of a query string, whatever is in it.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The alerts that a query string finds, as the API tells them, those that began last first; at most
/// `size` of them.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn search(client: &Client, query: &str, size: usize) -> Result<Vec<Value>, Error> {
    if client.is_builtin().await? {
        let query = Query { search: query, newest_by: "start_time", from: 0, size: size.min(MOST) };
        return builtin::alerts::page(client, query).await.map(|page| page.alerts);
    }
    let path = format!(
        "/_plugins/_alerting/monitors/alerts?size={}&sortString=start_time&sortOrder=desc&searchString={}",
        size.min(MOST),
        segment(query)
    );
    let mut answer = client.call(Method::Get, &path, None).await?;
    match answer.get_mut("alerts").map(Value::take) {
        Some(Value::Array(alerts)) => Ok(alerts),
        _ => Err(Error::Malformed("no list of alerts".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        assert_eq!(any_of("_id", &["a", r#"b" OR \x"#]), r#"_id:("a" OR "b\" OR \\x")"#);
    }

    #[test]
    fn lists_are_short_and_hold_every_value_once() {
        let ids: Vec<String> = (0..200).map(|n| format!("{n:020}")).collect();
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let long = "x".repeat(2 * LONGEST_LIST);
        ids.insert(7, &long);
        let all: Vec<_> = lists(&ids).collect();
        assert_eq!(all.concat(), ids);
        for list in &all {
            let length = segment(&any_of("", list)).len();
            assert!(length < LONGEST_LIST + 20 || list.len() == 1, "{length}");
        }
        assert_eq!(all[0].len(), 7, "the long one is not among others");
        assert_eq!(all.len(), 7);
        assert_eq!(lists(&[]).count(), 0);
    }
}
