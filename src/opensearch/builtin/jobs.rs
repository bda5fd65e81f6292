//! When each monitor ran last, as the replica tells it that runs them.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::indices::{Index, hits};
use crate::opensearch::{Client, Error, alerting::MOST, jobs::Jobs};

/// The last run of each monitor that there is. A run from before it was written last is none: it says
/// nothing of how it runs since.
///
/// # Errors
/// [`Error`].
pub async fn jobs(client: &Client) -> Result<Jobs, Error> {
    let times = fields(client, Index::Monitors, &["enabled_time", "last_update_time"]).await?;
    let runs = fields(client, Index::Runs, &["last_run"]).await?;
    Ok(joined(&times, &runs))
}

async fn fields(
    client: &Client,
    index: Index,
    fields: &[&str],
) -> Result<HashMap<String, Value>, Error> {
    let body = json!({ "size": MOST, "_source": fields, "query": { "match_all": {} } });
    let hits = hits(&mut index.search(client, &body).await?)?;
    let pair = |mut hit: Value| Some((hit["_id"].as_str()?.to_owned(), hit["_source"].take()));
    Ok(hits.into_iter().filter_map(pair).collect())
}

fn joined(monitors: &HashMap<String, Value>, runs: &HashMap<String, Value>) -> Jobs {
    let last_runs = monitors.iter().map(|(id, times)| {
        let time = |key: &str| times[key].as_i64();
        let changed = time("enabled_time").max(time("last_update_time"));
        let last = runs.get(id).and_then(|run| run["last_run"].as_i64());
        let last = last.filter(|last| changed.is_none_or(|changed| changed <= *last));
        (id.clone(), last.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    });
    Jobs { are_on: true, are_all: true, last_runs: last_runs.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_from_before_the_last_write_is_none() {
        let of = |pairs: &[(&str, Value)]| {
            pairs.iter().map(|(id, body)| ((*id).to_owned(), body.clone())).collect()
        };
        let monitors = of(&[
            ("ran", json!({"enabled_time": 3, "last_update_time": 4})),
            ("changed", json!({"enabled_time": 3, "last_update_time": 9})),
            ("new", json!({"enabled_time": null, "last_update_time": 1})),
        ]);
        let runs = of(&[
            ("ran", json!({"last_run": 5})),
            ("changed", json!({"last_run": 5})),
            ("gone", json!({"last_run": 5})),
            ("wish-ran", json!({})),
        ]);
        let jobs = joined(&monitors, &runs);
        let at = Timestamp::from_millisecond(5).ok();
        let want = [("ran", at), ("changed", None), ("new", None)];
        assert_eq!(jobs.last_runs, want.map(|(id, at)| (id.to_owned(), at)).into());
        assert!(jobs.are_on && jobs.are_all);
    }
}
