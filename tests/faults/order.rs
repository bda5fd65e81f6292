//! In which order the alerts of an index were written.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::support::Store;

/// The writer has at most two batches of a thousand on their way at once.
const TWO_BATCHES: usize = 2_000;

/// Panics unless the alerts of an index were written about as they came: none further from its
/// place than what may be on its way at once.
pub async fn must_be_kept(store: &Store, index: &str) {
    let written = numbers(store, index).await;
    let mut by_number: Vec<usize> = (0..written.len()).collect();
    by_number.sort_by_key(|&place| written[place]);
    let far = by_number.iter().enumerate().map(|(came, &place)| came.abs_diff(place)).max();
    let far = far.unwrap_or_default();
    // A fifth more, for what came at the same moment; and where there are very many, one request
    // that the store was slow with is overtaken by more than one.
    let most = TWO_BATCHES * 6 / 5 + written.len() / 200;
    assert!(far <= most, "an alert is {far} places from where it should be, of {most} at most");
    assert!(written.len() > TWO_BATCHES * 3 / 2, "too few to tell: {}", written.len());
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
