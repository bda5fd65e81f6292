//! What the real server answers to what it cannot or will not store, and what that is taken for.

use alertloop::{
    opensearch::bulk::{self, Action, Item},
    writer::outcome::{Outcome, misfit},
};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{store, support::Store};

async fn create(store: &Store, index: &str, id: &str, document: &Value) -> Item {
    let mut body = Vec::new();
    bulk::push(&mut body, Action::Create, index, id, &document.to_string());
    let mut items = store.client().bulk(body.into(), 1).await.expect("an answer");
    items.pop().expect("an item")
}

fn kind(item: &Item) -> &'static str {
    match Outcome::of(item) {
        Outcome::Stored => "stored",
        Outcome::Exists => "exists",
        Outcome::Busy(_) => "busy",
        Outcome::Refused(_) => "refused",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_refused_and_its_field_told() {
    let store = store!();
    let index = store.index("261106");
    let mapping = json!({"mappings": {"dynamic": "false", "properties": {
        "source": {"properties": {"ip": {"type": "ip"}, "port": {"type": "integer"}}},
        "at": {"type": "date"}, "yes": {"type": "boolean"}, "flat": {"type": "flat_object"},
        "keyword": {"type": "keyword"}, "rule": {"properties": {"name": {"type": "keyword"}}},
        "strict": {"dynamic": "strict", "properties": {"a": {"type": "keyword"}}},
    }}});
    store.json(Method::Put, &index, mapping).await.expect("an index");
    for (document, field) in [
        (json!({"source": {"ip": "none"}}), Some("source.ip")),
        (json!({"source": {"ip": ["10.0.0.1", "[x] of type [y]"]}}), Some("source.ip")),
        (json!({"source.port": 99_999_999_999_i64}), Some("source.port")),
        (json!({"at": "soon"}), Some("at")),
        (json!({"yes": "maybe"}), Some("yes")),
        (json!({"flat": "text"}), Some("flat")),
        (json!({"keyword": "x".repeat(33_000)}), Some("keyword")),
        (json!({"keyword": {"x": 1}}), Some("keyword")),
        (json!({"rule": "text"}), Some("rule")),
        (json!({"strict": {"b": 1}}), Some("strict.b")),
        (json!({"": 1}), None),
    ] {
        let item = create(&store, &index, "misfit", &document).await;
        assert_eq!(kind(&item), "refused", "{document} {item:?}");
        assert_eq!(misfit(&item).as_deref(), field, "{document} {item:?}");
    }
    let fits = json!({"source": {"ip": "10.0.0.1"}});
    for want in ["stored", "exists"] {
        assert_eq!(kind(&create(&store, &index, "fits", &fits).await), want);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_takes_nothing_now_is_waited_for() {
    let store = store!();
    let document = json!({"a": 1});
    // The disk watermark, an operator, a restore: whoever did it can undo it.
    for (day, status, block) in [
        ("261101", 400, None),
        ("261102", 429, Some("read_only_allow_delete")),
        ("261103", 403, Some("write")),
        ("261104", 403, Some("read_only")),
    ] {
        let index = store.index(day);
        assert_eq!(kind(&create(&store, &index, "a", &document).await), "stored");
        let (method, path, body) = match block {
            None => (Method::Post, format!("{index}/_close"), Value::Null),
            Some(name) => {
                let block = json!({format!("index.blocks.{name}"): true});
                (Method::Put, format!("{index}/_settings"), block)
            }
        };
        store.json(method, &path, body).await.expect("done");
        let item = create(&store, &index, "b", &document).await;
        assert_eq!((item.status, kind(&item)), (status, "busy"), "{path} {item:?}");
        if let Some(name) = block {
            let free = json!({format!("index.blocks.{name}"): null});
            store.json(Method::Put, &format!("{index}/_settings"), free).await.expect("free");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_index_can_have_is_refused() {
    let store = store!();
    let item = create(&store, "no Index", "a", &json!({})).await;
    assert_eq!(kind(&item), "refused", "{item:?}");
}
