//! In which order the alerts of an index were written.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::support::Store;

/// The writer has at most two batches of a thousand on their way at once.
const TWO_BATCHES: usize = 2_000;

/// Panics unless the alerts of an index were written about as they came: none further from its
/// place than what may be on its way at once.
pub async fn must_be_kept(store: &Store, index: &str) {
    let (far, count) = displacement(store, index).await;
    // A fifth more, for what came at the same moment.
    assert!(far <= TWO_BATCHES * 6 / 5, "an alert is {far} places from where it should be");
    assert!(count > TWO_BATCHES * 3 / 2, "too few to tell: {count}");
}

/// How far the alert of an index is from its place that is furthest from it, and how many there
/// are. A request that the store is slow with is overtaken by those beside it.
pub async fn displacement(store: &Store, index: &str) -> (usize, usize) {
    let written = numbers(store, index).await;
    let mut by_number: Vec<usize> = (0..written.len()).collect();
    by_number.sort_by_key(|&place| written[place]);
    let far = by_number.iter().enumerate().map(|(came, &place)| came.abs_diff(place)).max();
    (far.unwrap_or_default(), written.len())
}

/// The alerts' numbers, in the order in which they were written.
async fn numbers(store: &Store, index: &str) -> Vec<u64> {
    let (mut numbers, mut after) = (Vec::new(), json!(-1));
    loop {
        let query = json!({
            "size": 10_000, "sort": ["_seq_no"], "search_after": [after], "_source": ["event.id"],
        });
        let page = store.json(Method::Post, &format!("{index}/_search"), query).await;
        let page = page.expect("a page");
        let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
        let Some(last) = hits.last() else { return numbers };
        after = last["sort"][0].clone();
        let number = |hit: &Value| {
            let id = hit["_source"]["event"]["id"].as_str().expect("an id");
            id.strip_prefix('n').and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        numbers.extend(hits.iter().map(number));
    }
}
