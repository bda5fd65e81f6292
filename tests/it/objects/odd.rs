//! What is rarely written in a file or met in a store.

use alertloop::provision::{Options, ledger, object::Object, plan::Action};
use serde_json::{Value, json};

use super::{
    PRUNE,
    folder::Folder,
    lives::{action, minutes, search},
    step,
};
use crate::store;

/// A monitor that is switched off, with this search.
fn monitor(folder: &Folder, name: &str, query: &Value) -> Value {
    json!({"name": format!("{}{name}", folder.prefix), "enabled": false,
        "monitor_type": "query_level_monitor", "schedule": minutes(5),
        "inputs": search(&folder.prefix, query),
        "triggers": [{"query_level_trigger": {"name": "t", "severity": "1",
            "condition": {"script": {"source": "true"}}, "actions": [action("a")]}}]})
}

fn template(folder: &Folder, body: Value) -> Value {
    let mut body = body;
    body["index_patterns"] = json!(format!("{}odd-*", folder.prefix));
    body
}

/// The store writes queries in a form of its own; who has lost the ledger has only that to go by.
/// Those with places and distances are not known again: they are left alone, and said so.
#[tokio::test]
async fn searches_of_many_forms_are_known_again_without_a_ledger() {
    let folder = Folder::new(store!(alerting)).await;
    let query = |query: Value| json!({"size": 0, "query": query});
    let aggs = |aggs: Value| json!({"size": 0, "query": {"match_all": {}}, "aggs": aggs});
    let all = [
        (
            "should",
            query(json!({"bool": {"should": [{"term": {"a": 1}}, {"term": {"b": 2}}],
            "minimum_should_match": 1}})),
        ),
        ("phrase", query(json!({"match_phrase": {"a": {"query": "x y", "slop": 2}}}))),
        ("match", query(json!({"match": {"a": {"query": "x y", "operator": "and"}}}))),
        ("multi", query(json!({"multi_match": {"query": "x", "fields": ["a", "b"]}}))),
        (
            "nested",
            query(json!({"nested": {"path": "n", "query": {"term": {"n.a": 1}},
            "ignore_unmapped": true}})),
        ),
        (
            "script",
            query(json!({"script": {"script": {"source": "params.a > 1", "lang": "painless",
            "params": {"a": 2}}}})),
        ),
        ("regexp", query(json!({"regexp": {"a": "x.*"}}))),
        ("fuzzy", query(json!({"fuzzy": {"a": "x"}}))),
        ("ids", query(json!({"ids": {"values": ["1", "2"]}}))),
        ("constant", query(json!({"constant_score": {"filter": {"term": {"a": 1}}}}))),
        ("string", query(json!({"query_string": {"query": "a:1", "default_field": "b"}}))),
        ("simple", query(json!({"simple_query_string": {"query": "a", "fields": ["b"]}}))),
        (
            "dates",
            query(json!({"range": {"t": {"gte": "now-1h/h", "lt": "now/h",
            "format": "epoch_millis", "time_zone": "+01:00"}}})),
        ),
        ("from", query(json!({"range": {"t": {"from": 1, "to": 2, "include_upper": false}}}))),
        ("case", query(json!({"term": {"a": {"value": "x", "case_insensitive": true}}}))),
        ("source", json!({"size": 3, "_source": ["a", "b*"], "query": {"match_all": {}}})),
        ("no_source", json!({"size": 3, "_source": false, "query": {"match_all": {}}})),
        ("sort", json!({"size": 3, "sort": [{"t": "desc"}], "query": {"match_all": {}}})),
        ("sort_word", json!({"size": 3, "sort": ["t"], "query": {"match_all": {}}})),
        ("total", json!({"size": 3, "track_total_hits": true, "query": {"match_all": {}}})),
        (
            "terms",
            aggs(json!({"by": {"terms": {"field": "a", "order": {"n": "desc"}},
            "aggs": {"n": {"avg": {"field": "x"}}}}})),
        ),
        (
            "histogram",
            aggs(json!({"by": {"date_histogram": {"field": "t",
            "fixed_interval": "1h"}}})),
        ),
        ("filters", aggs(json!({"by": {"filters": {"filters": {"x": {"term": {"a": 1}}}}}}))),
        ("top", aggs(json!({"by": {"top_hits": {"size": 1, "_source": {"includes": ["a"]}}}}))),
        ("percentiles", aggs(json!({"by": {"percentiles": {"field": "a", "percents": [95]}}}))),
        (
            "selector",
            aggs(json!({"by": {"terms": {"field": "a"}, "aggs": {
            "n": {"sum": {"field": "x"}}, "few": {"bucket_selector": {
                "buckets_path": {"n": "n"}, "script": "params.n > 1"}}}}})),
        ),
        (
            "scripted",
            aggs(json!({"by": {"scripted_metric": {"init_script": "state.a = []",
            "map_script": "state.a.add(1)", "combine_script": "return 1",
            "reduce_script": "return 1"}}})),
        ),
    ];
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    for (name, query) in &all {
        folder.write(&format!("monitors/{name}.json"), &monitor(&folder, name, query));
    }
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), names.len(), "{applied}");
    assert!(folder.plan(Options::default()).await.is_in_sync());
    folder.lose_the_ledger().await;
    let plan = folder.plan(Options::default()).await;
    let strange =
        plan.steps.iter().filter(|one| one.file.is_some() && one.action != Action::InSync);
    let strange: Vec<_> = strange.map(ToString::to_string).collect();
    for name in &names {
        let name = format!("{}{name}", folder.prefix);
        let (path, _) = folder.live(Object::Monitor, &name).await.unwrap();
        folder.raw("DELETE", &path, Value::Null).await;
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
}

/// A file that somebody copied out of the store, times and all.
#[tokio::test]
async fn a_copy_of_a_live_monitor_is_a_file() {
    let folder = Folder::new(store!(alerting)).await;
    let mut body = monitor(&folder, "copy", &json!({"query": {"match_all": {}}}));
    for (key, value) in [
        ("enabled", json!(true)),
        ("enabled_time", json!(1_700_000_000_000_i64)),
        ("last_update_time", json!(1_700_000_000_000_i64)),
        ("schema_version", json!(8)),
        ("ui_metadata", json!({"monitor_type": "query_level_monitor"})),
    ] {
        body[key] = value;
    }
    folder.write("monitors/copy.json", &body);
    assert_eq!(folder.apply(Options::default()).await.done.len(), 1);
    for lost in [false, true] {
        if lost {
            folder.lose_the_ledger().await;
        }
        let plan = folder.plan(Options::default()).await;
        assert!(step(&plan, body["name"].as_str().unwrap()).starts_with("in sync"), "{plan}");
    }
    let name = body["name"].as_str().unwrap();
    let (path, _) = folder.live(Object::Monitor, name).await.unwrap();
    folder.raw("DELETE", &path, Value::Null).await;
}

#[tokio::test]
async fn templates_of_many_forms_are_known_again_without_a_ledger() {
    let folder = Folder::new(store!(alerting)).await;
    let component = format!("{}part", folder.prefix);
    let part = json!({"template": {"settings": {"number_of_shards": 1}}});
    folder.raw("PUT", &format!("/_component_template/{component}"), part).await;
    let all = [
        json!({"composed_of": [component], "priority": 901, "_meta": {"a": {"b": [1]}}}),
        json!({"data_stream": {}, "priority": 902}),
        json!({"priority": 903, "template": {"aliases": {"x": {}, "y": {"is_write_index": true}},
            "mappings": {"dynamic": false, "date_detection": false, "_source": {"enabled": true},
                "dynamic_templates": [{"s": {"match": "*", "mapping": {"type": "keyword"}}}]},
            "settings": {"index": {"codec": "default", "query": {"default_field": ["a", "b"]}},
                "analysis": {"analyzer": {"a": {"type": "custom", "tokenizer": "standard"}}}}}}),
        json!({"order": 9, "version": 3, "aliases": {"z": {"filter": {"term": {"a": 1}}}},
            "mappings": {"properties": {"a": {"type": "ip"}}}}),
        json!({"order": 8, "aliases": {"r": {"routing": "1"}}, "mappings": {}}),
    ];
    let name = |at: usize| format!("{}odd{at}", folder.prefix);
    for (at, body) in all.iter().enumerate() {
        folder.write(&format!("templates/{}.json", name(at)), &template(&folder, body.clone()));
    }
    let applied = folder.apply(Options::default()).await;
    assert_eq!(applied.done.len(), all.len(), "{applied}");
    folder.lose_the_ledger().await;
    let plan = folder.plan(Options::default()).await;
    for at in 0..all.len() {
        for family in ["_index_template", "_template"] {
            folder.raw("DELETE", &format!("/{family}/{}", name(at)), Value::Null).await;
        }
    }
    folder.raw("DELETE", &format!("/_component_template/{component}"), Value::Null).await;
    let mut of_files = plan.steps.iter().filter(|step| step.file.is_some());
    assert!(of_files.all(|step| step.action == Action::InSync), "{plan}");
}

/// Two composable templates of one pattern and one priority cannot be there at once.
#[tokio::test]
async fn a_template_can_be_renamed() {
    let folder = Folder::new(store!(alerting)).await;
    let body = template(&folder, json!({"priority": 7}));
    let [old, new] = ["old", "new"].map(|name| format!("templates/{}{name}.json", folder.prefix));
    folder.write(&old, &body);
    folder.apply(Options::default()).await;
    folder.remove(&old);
    folder.write(&new, &body);
    let fault = folder.try_apply(Options::default()).await.unwrap_err().to_string();
    assert!(fault.contains("same priority"), "{fault}");
    assert_eq!(folder.apply(PRUNE).await.done.len(), 2);
    folder.remove(&new);
    assert_eq!(folder.apply(PRUNE).await.done.len(), 1);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_told_and_nothing_is_made() {
    let folder = Folder::new(store!(alerting)).await;
    let body = monitor(&folder, "kept", &json!({"query": {"match_all": {}}}));
    let name = body["name"].as_str().unwrap();
    folder.write("monitors/kept.json", &body);
    folder.apply(Options::default()).await;
    let other = monitor(&folder, "other", &json!({"query": {"match_all": {}}}));
    folder.write("monitors/other.json", &other);
    let index = format!("/{}", ledger::INDEX);
    let block = |on: bool| json!({"index.blocks.read_only_allow_delete": on.then_some(true)});
    for (breaks, body, mends, mended_body, want) in [
        ("_settings", block(true), "_settings", block(false), "read-only"),
        ("_close", Value::Null, "_open", Value::Null, "closed"),
        ("_doc/x", json!({"object": "monitor"}), "_doc/x", Value::Null, "the document \"x\""),
        (
            "_doc/y",
            json!({"object": "dashboard", "name": "n", "salt": "s"}),
            "_doc/y",
            Value::Null,
            "delete it",
        ),
    ] {
        let method = if breaks.starts_with("_close") { "POST" } else { "PUT" };
        folder.raw(method, &format!("{index}/{breaks}"), body).await;
        let fault = folder.try_apply(Options::default()).await;
        let made = folder.live(Object::Monitor, other["name"].as_str().unwrap()).await;
        let method = match mends {
            "_open" => "POST",
            "_settings" => "PUT",
            _ => "DELETE",
        };
        folder.raw(method, &format!("{index}/{mends}"), mended_body).await;
        folder
            .raw("GET", &format!("/_cluster/health{index}?wait_for_status=yellow"), Value::Null)
            .await;
        let fault = fault.expect_err(breaks).to_string();
        assert!(fault.contains(want) && fault.contains(ledger::INDEX), "{breaks}: {fault}");
        assert_eq!(made, None, "{breaks}: {fault}");
    }
    assert_eq!(folder.apply(Options::default()).await.done.len(), 1);
    let plan = folder.plan(Options::default()).await;
    assert!(step(&plan, name).starts_with("in sync"), "{plan}");
    for file in ["monitors/kept.json", "monitors/other.json"] {
        folder.remove(file);
    }
    assert_eq!(folder.apply(PRUNE).await.done.len(), 2);
}

/// The store does not let go of a monitor that a workflow runs.
#[tokio::test]
async fn a_monitor_that_a_users_workflow_runs_stays_and_the_rest_is_pruned_later() {
    let folder = Folder::new(store!(alerting)).await;
    let names = ["a", "b"];
    for name in names {
        let query = json!({"query": {"match_all": {}}});
        folder.write(&format!("monitors/{name}.json"), &monitor(&folder, name, &query));
    }
    folder.apply(Options::default()).await;
    let id = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let name = format!("{}a", folder.prefix);
    let (path, _) = folder.live(Object::Monitor, &name).await.unwrap();
    let workflow = json!({"type": "workflow", "name": format!("{}w", folder.prefix),
        "workflow_type": "composite", "enabled": false, "schedule": minutes(5),
        "inputs": [{"composite_input": {"sequence": {"delegates": [
            {"order": 1, "monitor_id": id(&path)}]}}}], "triggers": []});
    let made = folder.raw("POST", "/_plugins/_alerting/workflows", workflow).await;
    for name in names {
        folder.remove(&format!("monitors/{name}.json"));
    }
    let pruned = folder.try_apply(PRUNE).await;
    let left = folder.live(Object::Monitor, &name).await.is_some();
    let made = made["_id"].as_str().unwrap();
    folder.raw("DELETE", &format!("/_plugins/_alerting/workflows/{made}"), Value::Null).await;
    let fault = pruned.unwrap_err().to_string();
    assert!(left && fault.contains("cannot remove the monitor"), "{left} {fault}");
    folder.apply(PRUNE).await;
    assert_eq!(folder.apply(PRUNE).await.after.steps.len(), 1);
}
