//! The buckets of a bucket-level monitor. Pure.
//!
//! The plugin has an aggregation of its own beside the monitor's, which tells for each trigger which
//! buckets its script chooses. A store without the plugin has `bucket_selector`, which leaves no others: the
//! same script, with the same values, within the aggregation. So what was found is searched once more with
//! it, and the keys that are left are the chosen ones.
//!
//! Source: `BucketSelectorExtAggregator.kt` of common-utils; `TriggerService.kt`,
//! `AggregationQueryRewriter.kt` of Alerting; seen on 3.4.0.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    fault::Fault,
    filter,
    shape::{Trigger, text},
};

/// A name that comes behind all others: pipelines run in the order of their names here, and the plugin's
/// runs when all others did.
const SELECTOR: &str = "~~fires";

/// Where the buckets of a trigger are: the names of aggregations, from the outside.
#[must_use]
pub fn path(trigger: Trigger<'_>) -> Vec<&str> {
    text(&trigger.body["condition"], "parent_bucket_path").split('>').map(str::trim).collect()
}

fn aggregations(of: &mut Value) -> Option<&mut Map<String, Value>> {
    let name = if of.get("aggs").is_some() { "aggs" } else { "aggregations" };
    of.get_mut(name)?.as_object_mut()
}

/// The aggregation at a path.
fn aggregation<'a>(search: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    let mut at = search;
    for name in path {
        at = aggregations(at)?.get_mut(*name)?;
    }
    Some(at)
}

/// Makes the search begin behind these keys.
///
/// # Errors
/// A [`Fault`] where there is no such aggregation, in the plugin's words.
pub fn begin_behind(search: &mut Value, path: &[&str], after: Option<&Value>) -> Result<(), Fault> {
    let Some(found) = aggregation(search, path) else {
        let name = path.join(">");
        let why = format!("Validation Failed: 1: No aggregation found for path [{name}];");
        return Err(Fault::java("action_request_validation_exception", why));
    };
    if let (Some(composite), Some(after)) = (found.get_mut("composite"), after) {
        composite["after"] = after.clone();
    }
    Ok(())
}

/// The same search for the buckets alone that a trigger chooses.
#[must_use]
pub fn chosen_only(search: &Value, trigger: Trigger<'_>) -> Option<Value> {
    let path = path(trigger);
    let outer = *path.first()?;
    let mut narrow = search.as_object()?.clone();
    for key in
        ["aggs", "aggregations", "sort", "_source", "highlight", "from", "collapse", "rescore"]
    {
        narrow.remove(key);
    }
    let mut all = search.clone();
    let whole = aggregations(&mut all)?.remove(outer)?;
    narrow.insert("aggregations".to_owned(), json!({ outer: whole }));
    narrow.insert("size".to_owned(), json!(0));
    let mut narrow = Value::from(narrow);
    let parent = aggregation(&mut narrow, &path)?;
    if parent.get("aggs").is_none() && parent.get("aggregations").is_none() {
        parent["aggregations"] = json!({});
    }
    let inner = aggregations(parent)?;
    let last = inner.keys().next_back().filter(|last| last.as_str() >= SELECTOR);
    let name = last.map_or_else(|| SELECTOR.to_owned(), |last| format!("{last}~"));
    let condition = &trigger.body["condition"];
    let mut selector = json!({
        "buckets_path": condition["buckets_path"],
        "script": condition["script"],
    });
    if let Some(policy) = condition.get("gap_policy").filter(|policy| policy.is_string()) {
        selector["gap_policy"] = policy.clone();
    }
    inner.insert(name, json!({ "bucket_selector": selector }));
    Some(narrow)
}

/// The aggregation at a path of an answer.
fn answered<'a>(answer: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut at = answer.get("aggregations")?;
    for name in path {
        at = at.get(*name)?;
    }
    Some(at)
}

/// The buckets that a search found.
///
/// # Errors
/// A [`Fault`] where there is no list of them: the aggregation makes none, or names them.
pub fn found<'a>(answer: &'a Value, path: &[&str]) -> Result<&'a [Value], Fault> {
    let list = answered(answer, path).and_then(|found| found["buckets"].as_array());
    list.map(Vec::as_slice).ok_or_else(|| {
        let why = format!(
            "the aggregation at [{}] has no list of buckets: `parent_bucket_path` has to name one that has",
            path.join(">")
        );
        Fault::java("class_cast_exception", why)
    })
}

/// Behind which keys the next page begins.
#[must_use]
pub fn after(answer: &Value, path: &[&str]) -> Option<Value> {
    answered(answer, path)?.get("after_key").filter(|after| after.is_object()).cloned()
}

/// The keys of a bucket, in the plugin's order: those of several sources are mixed as Java's `HashMap`
/// mixes them.
///
/// # Errors
/// A [`Fault`] where the plugin knows no such key: of a date, a number with a fraction or a large one.
pub fn keys(bucket: &Value) -> Result<Vec<String>, Fault> {
    match &bucket["key"] {
        Value::String(key) => Ok(vec![key.clone()]),
        Value::Array(_) if bucket["key_as_string"].is_string() => {
            Ok(vec![text(bucket, "key_as_string").to_owned()])
        }
        Value::Number(key) if key.as_i64().is_some_and(|key| i32::try_from(key).is_ok()) => {
            Ok(vec![key.to_string()])
        }
        Value::Object(sources) => {
            let names: Vec<_> = sources.keys().map(String::as_str).collect();
            Ok(as_java_mixes(&names).into_iter().map(|name| printed(&sources[name])).collect())
        }
        _ => {
            let why = format!("Unexpected format for key in bucket [{bucket}]");
            Err(Fault::java("illegal_argument_exception", why))
        }
    }
}

fn printed(key: &Value) -> String {
    match key {
        Value::String(key) => key.clone(),
        other => other.to_string(),
    }
}

/// The order of names in Java's `HashMap`.
fn as_java_mixes<'a>(names: &[&'a str]) -> Vec<&'a str> {
    // The table doubles when it is filled by three quarters.
    let mut size = 16_usize;
    while names.len() > size * 3 / 4 {
        size *= 2;
    }
    let slot = |name: &str| {
        let hash = name
            .encode_utf16()
            .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
        (hash ^ (hash >> 16)) as usize & (size - 1)
    };
    let mut names = names.to_vec();
    names.sort_by_key(|name| slot(name));
    names
}

/// How the plugin joins keys, to tell one bucket from another.
#[must_use]
pub fn joined(keys: &[String]) -> String {
    keys.join("#")
}

/// The keys of an alert's bucket, joined; `None` where it is of no bucket.
#[must_use]
pub fn of_alert(alert: &Value) -> Option<String> {
    let keys = alert["agg_alert_content"]["bucket_keys"].as_array()?;
    let keys: Vec<_> = keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
    Some(joined(&keys))
}

/// A bucket that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Its keys, joined.
    pub keys: String,
    /// `agg_alert_content` of its alert.
    pub content: Value,
}

/// The places of the buckets that fire: those that are left, and that the trigger's filter accepts.
///
/// # Errors
/// A [`Fault`] of the filter.
pub fn places(trigger: Trigger<'_>, all: &[Value], left: &[Value]) -> Result<Vec<usize>, Fault> {
    let is_left: BTreeSet<_> = left.iter().map(|bucket| bucket["key"].to_string()).collect();
    let mut places = Vec::new();
    for (place, bucket) in all.iter().enumerate() {
        let is_one = is_left.contains(&bucket["key"].to_string());
        if is_one && filter::accepts(&trigger.body["condition"], bucket)? {
            places.push(place);
        }
    }
    Ok(places)
}

/// What an alert keeps of each of the buckets at these places.
///
/// # Errors
/// A [`Fault`] of a key.
pub fn chosen(trigger: Trigger<'_>, all: &[Value], places: &[usize]) -> Result<Vec<Chosen>, Fault> {
    let path = &trigger.body["condition"]["parent_bucket_path"];
    let chosen = places.iter().filter_map(|place| all.get(*place)).map(|bucket| {
        let keys = keys(bucket)?;
        let content = json!({"parent_bucket_path": path, "bucket_keys": keys, "bucket": bucket});
        Ok(Chosen { keys: joined(&keys), content })
    });
    chosen.collect()
}

/// What the plugin's own aggregation would have said, in its place.
pub fn note(answer: &mut Value, trigger: Trigger<'_>, places: &[usize]) {
    let meta = answered(answer, &path(trigger)).and_then(|found| found.get("meta")).cloned();
    let mut said = json!({
        "parent_bucket_path": trigger.body["condition"]["parent_bucket_path"],
        "bucket_indices": places});
    if let Some(meta) = meta {
        said["meta"] = meta;
    }
    answer["aggregations"][trigger.id()] = said;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger() -> Value {
        json!({"id": "t", "condition": {"parent_bucket_path": "outer>groups",
            "buckets_path": {"s": "s"}, "gap_policy": "skip", "script": {"source": "params.s > 1"}}})
    }

    fn search() -> Value {
        json!({"size": 5, "sort": ["x"], "query": {"match_all": {}}, "aggs": {
            "other": {"max": {"field": "x"}},
            "outer": {"filter": {}, "aggregations": {
                "groups": {"composite": {"size": 2}, "aggs": {"s": {"sum": {}}, "~~~": {}}}}}}})
    }

    #[test]
    fn the_chosen_are_those_that_a_selector_leaves() {
        let trigger = trigger();
        let narrow = chosen_only(&search(), Trigger { body: &trigger }).unwrap();
        assert_eq!(
            narrow,
            json!({"size": 0, "query": {"match_all": {}}, "aggregations": {
                "outer": {"filter": {}, "aggregations": {
                    "groups": {"composite": {"size": 2}, "aggs": {"s": {"sum": {}}, "~~~": {},
                        "~~~~": {"bucket_selector": {"buckets_path": {"s": "s"}, "gap_policy": "skip",
                            "script": {"source": "params.s > 1"}}}}}}}}})
        );
        let mut plain = json!({"aggregations": {"outer": {"aggs": {"groups": {"terms": {}}}}}});
        plain = chosen_only(&plain, Trigger { body: &trigger }).unwrap();
        assert!(
            plain["aggregations"]["outer"]["aggs"]["groups"]["aggregations"][SELECTOR].is_object()
        );
        assert_eq!(chosen_only(&json!({}), Trigger { body: &trigger }), None);
    }

    #[test]
    fn a_page_begins_behind_the_last_one() {
        let mut one = search();
        begin_behind(&mut one, &["outer", "groups"], Some(&json!({"k": "a"}))).unwrap();
        let composite = &one["aggs"]["outer"]["aggregations"]["groups"]["composite"];
        assert_eq!(composite, &json!({"size": 2, "after": {"k": "a"}}));
        let fault = begin_behind(&mut one, &["nope"], None).unwrap_err();
        assert_eq!(fault.message(), "Validation Failed: 1: No aggregation found for path [nope];");
        let answer = json!({"aggregations": {"groups": {"buckets": [1], "after_key": {"k": "b"}}}});
        assert_eq!(after(&answer, &["groups"]), Some(json!({"k": "b"})));
        assert_eq!(found(&answer, &["groups"]).unwrap().len(), 1);
        assert!(found(&answer, &["other"]).is_err());
        assert!(found(&json!({"aggregations": {"g": {"buckets": {"a": {}}}}}), &["g"]).is_err());
    }

    #[test]
    fn keys_are_read_and_mixed_as_by_java() {
        for (bucket, want) in [
            (json!({"key": "a"}), Some(vec!["a"])),
            (json!({"key": 7}), Some(vec!["7"])),
            (json!({"key": ["a", 1], "key_as_string": "a|1"}), Some(vec!["a|1"])),
            (json!({"key": {"n": 0, "k": "a"}}), Some(vec!["a", "0"])),
            (json!({"key": {"a": null, "b": true}}), Some(vec!["null", "true"])),
            (json!({"key": 1.5}), None),
            (json!({"key": 5_000_000_000_i64}), None),
            (json!({}), None),
        ] {
            assert_eq!(
                keys(&bucket).ok(),
                want.map(|keys| keys.into_iter().map(str::to_owned).collect())
            );
        }
        // The hashes of `a` and `q` lead to the same place.
        assert_eq!(as_java_mixes(&["a", "b", "q"]), ["a", "q", "b"]);
        assert_eq!(as_java_mixes(&["k", "n"]), ["k", "n"]);
    }

    #[test]
    fn what_fires_is_told_at_its_place() {
        let trigger = trigger();
        let all = [json!({"key": "a", "s": {"value": 1}}), json!({"key": "b", "s": {"value": 2}})];
        let places = places(Trigger { body: &trigger }, &all, &all[1..]).unwrap();
        assert_eq!(places, [1]);
        let one = chosen(Trigger { body: &trigger }, &all, &places).unwrap();
        assert_eq!((one.len(), one[0].keys.as_str()), (1, "b"));
        assert_eq!(
            one[0].content,
            json!({"parent_bucket_path": "outer>groups", "bucket_keys": ["b"], "bucket": all[1]})
        );
        let mut answer = json!({"aggregations": {"outer": {"groups": {"meta": {"a": 1}}}}});
        note(&mut answer, Trigger { body: &trigger }, &places);
        assert_eq!(
            answer["aggregations"]["t"],
            json!({"parent_bucket_path": "outer>groups", "bucket_indices": [1], "meta": {"a": 1}})
        );
        let alert = json!({"agg_alert_content": {"bucket_keys": ["a", "b"]}});
        assert_eq!((of_alert(&alert).as_deref(), of_alert(&json!({}))), (Some("a#b"), None));
    }
}
