//! Reads any number of alerts, newest first, in pages: one request gives 10,000 at most, however they
//! are numbered, so the pages are cut by the time that they are sorted by.

use std::collections::HashSet;

use serde_json::Value;
use tracing::warn;

use super::query;
use crate::opensearch::{
    Client, Error,
    alerts::{self, Query},
};

/// How many alerts one page has: about a MiB.
pub const PAGE: usize = 500;
/// How many alerts can be left out at the beginning of an answer, and still one page be given.
const DEEPEST: usize = 10_000 - PAGE;

/// A walk over the alerts that match, by one of their times.
#[derive(Debug)]
pub struct Walk {
    field: &'static str,
    filter: String,
    from: i64,
    border: Border,
    is_done: bool,
}

/// How far a walk has come.
#[derive(Debug, Default, PartialEq, Eq)]
struct Border {
    /// The time of the last alert that was given.
    at: Option<i64>,
    /// Those of that very time that were given.
    given: HashSet<String>,
    /// How many of the next page were given, where a whole page is of one time.
    skip: usize,
}

impl Walk {
    /// Over those whose `field` is at or after `from` (epoch ms) and that match `filter`.
    #[must_use]
    pub fn new(field: &'static str, filter: impl Into<String>, from: i64) -> Self {
        Self { field, filter: filter.into(), from, border: Border::default(), is_done: false }
    }

    /// The next of them; none after the last.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self, client: &Client) -> Result<Vec<Value>, Error> {
        while !self.is_done {
            let within = query::within(self.field, "", self.from, self.border.at);
            let search = if self.filter.is_empty() {
                within
            } else {
                format!("{} AND {within}", self.filter)
            };
            let query = Query {
                search: &search,
                newest_by: self.field,
                from: self.border.skip,
                size: PAGE,
            };
            let alerts = alerts::page(client, query).await?.alerts;
            self.is_done = alerts.len() < PAGE;
            let fresh = self.border.advance(alerts, self.field);
            if self.border.skip > DEEPEST {
                warn!(
                    at = self.border.at,
                    "more alerts of one millisecond than the Alerting API can tell (10,000); the others of it are left out"
                );
                self.border = Border { at: self.border.at.map(|at| at - 1), ..Border::default() };
            }
            if !fresh.is_empty() {
                return Ok(fresh);
            }
        }
        Ok(Vec::new())
    }
}

impl Border {
    /// Takes a page, and gives what of it was not given before.
    fn advance(&mut self, page: Vec<Value>, field: &str) -> Vec<Value> {
        let time = |alert: &Value| alert[field].as_i64();
        let id = |alert: &Value| alert["id"].as_str().unwrap_or_default().to_owned();
        let Some(last) = page.last().and_then(time) else { return Vec::new() };
        let at_last: HashSet<String> =
            page.iter().filter(|alert| time(alert) == Some(last)).map(id).collect();
        let length = page.len();
        let fresh: Vec<_> =
            page.into_iter().filter(|alert| !self.given.contains(&id(alert))).collect();
        if self.at == Some(last) {
            self.skip += length;
            self.given.extend(at_last);
        } else {
            (self.at, self.given, self.skip) = (Some(last), at_last, 0);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The API in small: those up to `at`, newest first, without the first `skip`.
    fn page(all: &[(i64, u32)], border: &Border, size: usize) -> Vec<Value> {
        let upto = all.iter().filter(|(at, _)| border.at.is_none_or(|border| *at <= border));
        let alerts = upto.map(|(at, id)| json!({"id": id.to_string(), "start_time": at}));
        alerts.skip(border.skip).take(size).collect()
    }

    proptest! {
        #[test]
        fn every_alert_is_given_once_however_many_share_a_time(
            times in proptest::collection::vec(0..6_i64, 0..60), size in 1..8_usize,
        ) {
            let mut all: Vec<(i64, u32)> = times.into_iter().zip(0..).collect();
            all.sort_by_key(|(at, id)| (std::cmp::Reverse(*at), *id));
            let (mut border, mut given) = (Border::default(), Vec::new());
            for _ in 0..1_000 {
                let page = page(&all, &border, size);
                let is_last = page.len() < size;
                given.extend(border.advance(page, "start_time"));
                if is_last {
                    break;
                }
            }
            let given: Vec<_> =
                given.iter().map(|alert| alert["id"].as_str().unwrap().parse::<u32>().unwrap()).collect();
            let want: Vec<_> = all.iter().map(|(_, id)| *id).collect();
            prop_assert_eq!(given, want);
        }
    }
}
