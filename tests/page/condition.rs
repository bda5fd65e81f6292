//! The page of one monitor, which alertloop runs itself.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    browser as new_browser, store,
    support::{App, Store, Watched},
};

/// Runs in the page where markup of a monitor became ours.
const HOSTILE: &str = "</script><img src=x onerror=\"window.hurt=1\">";
const AT: i64 = 1_800_000_000_000;

/// Puts documents where the built-in engine keeps them: a monitor, and what it did.
async fn keep(store: &Store, prefix: &str) {
    let mut body = Watched::body(store.pattern(), HOSTILE, "malcolm-api-loopback-webhook");
    body["enabled"] = json!(true);
    let run = |minute: i64, outcome: &str, triggers: &[&str], error: Option<&str>| {
        let planned = AT + minute * 60_000;
        json!({"scheduled_at": planned, "started_at": planned + 7, "took_ms": 1_413,
            "outcome": outcome, "triggers": triggers, "messages": triggers.len(), "error": error})
    };
    let history = [
        run(0, "quiet", &[], None),
        run(1, "fired", &["Too many logins", HOSTILE], None),
        run(2, "error", &[], Some("no such index [s-*]")),
    ];
    let state =
        json!({"kind": "state", "monitor_id": "m1", "last_run": AT + 120_000, "history": history});
    for (index, document) in [("monitors", body), ("runs", state)] {
        let path = format!("{prefix}-{index}/_doc/m1?refresh=true");
        store.json(Method::Put, &path, document).await.expect("a document");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_monitor_did_last_is_told_to_everybody_who_looks_and_it_can_be_switched() {
    let store = store!();
    let mut browser = new_browser!();
    let prefix = store.index("monitors");
    keep(&store, &prefix).await;
    let engine =
        [("ALERTLOOP_MONITORS", "builtin"), ("ALERTLOOP_MONITORS_PREFIX", prefix.as_str())];
    let app = App::start(&store, &engine).await;
    browser.goto(&app.url("/conditions")).await;
    browser.follow("th[scope=row] a").await;
    assert_eq!(browser.eval("location.pathname").await, "/conditions/m1");
    let rows = browser
        .eval("[...document.querySelectorAll('tbody tr')].map((row) => row.innerText)")
        .await;
    let rows: Vec<String> = serde_json::from_value(rows).expect("rows");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    for (row, words) in rows.iter().zip([
        &["2027-01-15 08:02:00", "error", "no such index"][..],
        &["08:01:00", "fired", "Too many logins, </script><img", "2", "1.4 s"],
        &["08:00:00", "quiet", "nothing", "0"],
    ]) {
        for word in words {
            assert!(row.contains(word), "{word}: {row}");
        }
    }
    for (width, scheme) in [(1_280, "light"), (1_280, "dark"), (360, "dark"), (360, "light")] {
        browser.look(width, scheme).await;
        browser.goto(&app.url("/conditions/m1")).await;
        let wide = browser.eval("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{width}: {wide} wide");
        assert_eq!(browser.eval("window.hurt").await, Value::Null);
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "{width}, {scheme}: {complaints:#?}");
    }
    // The switch leads back here.
    for (said, is_enabled) in [("is disabled", false), ("is enabled", true)] {
        browser.follow("form.row button").await;
        assert!(browser.text().await.contains(said), "{}", browser.text().await);
        assert_eq!(browser.eval("location.pathname").await, "/conditions/m1");
        let path = format!("{prefix}-monitors/_doc/m1");
        let now = store.json(Method::Get, &path, Value::Null).await.expect("the monitor");
        assert_eq!(now["_source"]["enabled"], is_enabled);
    }
    browser.goto(&app.url("/conditions/nobody")).await;
    assert!(browser.text().await.contains("no monitor has this id"));
    app.stop().await;
    for index in ["monitors", "runs"] {
        store.json(Method::Delete, &format!("{prefix}-{index}"), Value::Null).await.expect("gone");
    }
}
