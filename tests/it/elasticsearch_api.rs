//! What alertloop asks of a store, held against the API of Elasticsearch 8 and 9: by a table of it, and by
//! what a real 8.19 answers to the requests of a run. Of 8 and 9 no node can be had here that runs
//! monitors: the modules of Painless and Mustache are in their distributions alone.

use std::{collections::BTreeMap, path::Path, time::Instant};

use alertloop::opensearch::engine::{Choice, Engine, Settings};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    builtin_loop::{other, whole_loop},
    support::{Asked, Reluctant, Store, skip},
};

/// How long an index that was made a moment ago may have no shard that answers.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);
/// What a JSON pointer, and no address, has in it.
const FIELDS: [&str; 5] = ["_id", "_seq_no", "_primary_term", "_shards", "_source"];

/// Names of the API, the same in all its `versions`.
#[derive(Deserialize)]
struct Api {
    versions: Vec<String>,
    /// Query parameters that every call takes.
    common: Vec<String>,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    name: String,
    /// The methods of each path, in which `{…}` stands for one segment.
    paths: BTreeMap<String, Vec<String>>,
    /// Its query parameters.
    parameters: Vec<String>,
}

impl Api {
    fn read() -> Self {
        let text = include_str!("../captured/elasticsearch-api.json");
        serde_json::from_str(text).expect("the table")
    }

    /// Why there is no such call; `{…}` in the address is what is not known. Without a method any will do.
    fn lacks(&self, method: Option<&str>, address: &str) -> Option<String> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let names = query.split('&').filter_map(|pair| pair.split('=').next());
        let names: Vec<_> = names.filter(|name| !name.is_empty() && !name.contains('{')).collect();
        let fits = |call: &&Call| {
            call.paths.iter().any(|(template, methods)| {
                is_like(template, path) && method.is_none_or(|one| methods.iter().any(|m| m == one))
            })
        };
        let calls: Vec<_> = self.calls.iter().filter(fits).collect();
        let takes = |call: &&Call, name: &str| {
            call.parameters.iter().chain(&self.common).any(|known| known == name)
        };
        if calls.iter().any(|call| names.iter().all(|name| takes(call, name))) {
            return None;
        }
        if calls.is_empty() {
            return Some("no such path and method".to_owned());
        }
        let by: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
        Some(format!("a parameter that {} does not know", by.join(", ")))
    }
}

fn is_like(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.trim_end_matches('/').split('/'));
    let (template, path): (Vec<_>, Vec<_>) = (template.collect(), path.collect());
    // The name of an index begins with no underscore, else every word of the API would be one.
    let fits = |part: &str, segment: &str| match part {
        "{index}" => !segment.is_empty() && !segment.starts_with('_'),
        part if part.starts_with('{') => !segment.is_empty(),
        part => part == segment,
    };
    let root = |parts: &[&str]| parts.iter().all(|part| part.is_empty());
    (root(&template) && root(&path))
        || (template.len() == path.len() && template.iter().zip(&path).all(|(a, b)| fits(a, b)))
}

#[test]
fn the_table_tells_what_is_there_from_what_is_not() {
    let api = Api::read();
    assert_eq!(api.versions, ["8.19", "9.0", "9.5"]);
    for (method, address) in [
        ("GET", "/"),
        ("POST", "/_bulk"),
        ("PUT", "/some-index"),
        ("PUT", "/i/_doc/a?op_type=create&pretty=true"),
        ("GET", "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp"),
    ] {
        assert_eq!(api.lacks(Some(method), address), None, "{method} {address}");
    }
    for (method, address) in [
        ("GET", "/_bulk"),
        ("PUT", "/_new"),
        ("GET", "/i/_new/a"),
        // As they were before 8.
        ("PUT", "/i/record/a"),
        ("PUT", "/i?include_type_name=false"),
        ("PUT", "/_template/{}?include_type_name=true"),
    ] {
        assert!(api.lacks(Some(method), address).is_some(), "{method} {address}");
    }
}

/// The addresses that the text of the program has, each with its file and line.
fn addresses(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            addresses(&path, found);
            continue;
        }
        if path.extension().is_none_or(|end| end != "rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in program.lines().enumerate() {
            let texts = line.split('"').skip(1).step_by(2).filter(|text| is_address(text));
            let at = || format!("{}:{}", path.display(), number + 1);
            found.extend(texts.map(|text| (at(), text.to_owned())));
        }
    }
}

fn is_address(text: &str) -> bool {
    let path = text.split('?').next().unwrap_or_default();
    let is_word = |part: &str| part.starts_with('_') && !FIELDS.contains(&part);
    // What the plugins of OpenSearch know is not asked of Elasticsearch, but for who runs the monitors.
    path.starts_with('/') && !path.starts_with("/_plugins/") && path.split('/').any(is_word)
}

#[test]
fn the_program_names_no_address_that_elasticsearch_lacks() {
    let api = Api::read();
    let mut found = Vec::new();
    addresses(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "addresses are written in another way: {found:#?}");
    // Of answers, not of requests.
    let is_answer = |text: &str| text.starts_with("/_nodes/fail");
    let lacking: Vec<_> = found
        .iter()
        .filter(|(_, text)| !is_answer(text))
        .filter_map(|(at, text)| Some(format!("{at}: {text}: {}", api.lacks(None, text)?)))
        .collect();
    assert!(lacking.is_empty(), "{lacking:#?}");
}

/// All that a run of the whole loop asks of Elasticsearch 7.10, of which the service is a part, and what
/// it answers; `None` without one.
async fn recorded() -> Option<&'static [Asked]> {
    static RECORDED: OnceCell<Vec<Asked>> = OnceCell::const_new();
    let real = other("ALERTLOOP_TEST_ELASTICSEARCH")?;
    let record = || async {
        let before = Reluctant::start(&real, 0).await;
        before.keep();
        let store = Store::at(before.url());
        whole_loop(&store, "elasticsearch-remote").await;
        before.kept()
    };
    Some(RECORDED.get_or_init(record).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_asks_for_nothing_that_elasticsearch_8_and_9_lack() {
    let Some(asked) = recorded().await else {
        return skip("ALERTLOOP_TEST_ELASTICSEARCH names no Elasticsearch");
    };
    let api = Api::read();
    let lacking: Vec<_> = asked
        .iter()
        .filter(|one| !one.path.starts_with("/_plugins/"))
        .filter_map(|one| {
            let why = api.lacks(Some(&one.method), &one.path)?;
            Some(format!("{} {}: {why}", one.method, one.path))
        })
        .collect();
    assert!(lacking.is_empty(), "{lacking:#?}");
    let words = ["_bulk", "_mget", "/_search", "_execute", "/_render/", "/_doc", "/_template/"];
    for word in words {
        assert!(asked.iter().any(|one| one.path.contains(word)), "{word} was not asked for");
    }
}

/// Whether a request is understood that was understood before: the state that it meets may be another,
/// as two were under way at once.
fn is_understood(before: u16, now: u16) -> bool {
    now == before || !(matches!(now, 400 | 405 | 406 | 410 | 413 | 415) || now >= 500)
}

/// The statuses of what a `_bulk` did without a script.
fn items(answer: &str) -> Vec<u16> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let items = answer["items"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let plain = items.flatten().filter(|(verb, _)| *verb != "update");
    plain.filter_map(|(_, item)| u16::try_from(item["status"].as_u64()?).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_8_understands_what_the_loop_asks() {
    let (Some(asked), Some(eight)) = (recorded().await, other("ALERTLOOP_TEST_ELASTICSEARCH_8"))
    else {
        let why =
            "ALERTLOOP_TEST_ELASTICSEARCH and ALERTLOOP_TEST_ELASTICSEARCH_8 name no Elasticsearch";
        return skip(why);
    };
    // They are in modules that the node has not.
    let is_of_module = |path: &str| {
        path == "/"
            || ["/_scripts/", "/_render/", "/_delete_by_query"]
                .iter()
                .any(|word| path.contains(word))
    };
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut count = 0;
    for one in asked.iter().filter(|one| !is_of_module(&one.path)) {
        let begun = Instant::now();
        let (status, answer) = loop {
            let method = one.method.parse().expect("a method");
            let request = client.request(method, format!("{}{}", eight.url(), one.path));
            let request = request.header("content-type", &one.content_type);
            let answer = request.body(one.body.clone()).send().await.expect("an answer");
            let product = answer.headers().get("x-elastic-product").cloned();
            assert_eq!(product.expect("a product"), "Elasticsearch");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a body");
            if status != 503 || begun.elapsed() > PATIENCE {
                break (status, text);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let what =
            format!("{} {} was {} and is {status}: {answer}", one.method, one.path, one.status);
        assert!(is_understood(one.status, status), "{what}");
        let (before, now) = (items(&one.answer), items(&answer));
        assert_eq!(before.len(), now.len(), "{what}");
        for (before, now) in before.into_iter().zip(now) {
            assert!(is_understood(before, now), "{what}");
        }
        count += 1;
    }
    println!("{count} of {} requests were understood", asked.len());
    assert!(count > 100, "{count} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_8_is_told_from_a_store_with_the_plugin() {
    let Some(eight) = other("ALERTLOOP_TEST_ELASTICSEARCH_8") else {
        return skip("ALERTLOOP_TEST_ELASTICSEARCH_8 names no Elasticsearch");
    };
    let client = eight.client_with(Settings { choice: Choice::Auto, ..Settings::default() });
    assert_eq!(client.engine().await.expect("an answer"), Engine::Builtin);
}
