//! What is engaged now, as the service and the command tell it from the real store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alertloop::engaged::{Engaged, Question, Settings};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};

use crate::{
    store,
    support::{
        Answer, App, Process, Proxy, Store,
        kept::{ids, keep, keep_traffic, record, refresh},
        settings,
    },
};

const DAY: &str = "261122";
const PATIENCE: Duration = Duration::from_mins(1);

async fn fill(store: &Store) {
    let mut all = [
        record("a", "engaged", ("ntopng", 80), (10, 1)),
        record("b", "engaged", ("ntopng", 60), (20, 2)),
        record("c", "acknowledged", ("malcolm", 100), (30, 3)),
        record("d", "engaged", ("ntopng", 40), (600, 500)),
        record("g", "engaged", ("alertmanager", 20), (700, 700)),
        record("e", "released", ("ntopng", 100), (5, 1)),
        record("f", "stored", ("graylog", 100), (5, 1)),
    ];
    all[0]["tags"] = json!(["host:10.0.0.1", "repaired"]);
    all[0]["message"] = json!("SYN flood by host 10.0.0.1");
    all[1]["tags"] = json!(["interface:eth0"]);
    all[2]["source"] = json!({ "ip": "10.0.0.1" });
    all[3]["tags"] = json!(["host:mail.lan"]);
    keep(store, DAY, &all).await;
    // Traffic beside: it is no alert.
    keep_traffic(store, DAY).await;
    refresh(store).await;
}

async fn list(app: &App, query: &str) -> Value {
    let answer = Answer::of(app.get(&format!("/mapi/alerts/engaged{query}"))).await;
    assert_eq!(answer.status, 200, "{query}: {:?}", answer.json);
    answer.json
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_engaged_is_listed_filtered_counted_and_paged() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let app = App::start(&store, &[("ALERTLOOP_STALE_AFTER", "1h")]).await;
    for (query, want) in [
        ("", "a b c d g"),
        ("/?limit=2", "a b"),
        ("?entity=host:10.0.0.1", "a"),
        ("?entity=10.0.0.1", "a c"),
        ("?entity=mail.lan", "d"),
        ("?entity=10.0.0.2", ""),
        ("?source=ntopng", "a b d"),
        ("?source=alertmanager", "g"),
        ("?source=opensearch", "c"),
        ("?severity=80", "a c"),
        ("?rule=rule%20ntopng&severity=80", "a"),
        ("?text=syn%20FLOOD", "a"),
        ("?text=Reason%20of%20b", "b"),
        ("?stale=true", "d g"),
        ("?stale=false", "a b c"),
        ("?stale=true&source=alertmanager", "g"),
    ] {
        assert_eq!(ids(&list(&app, query).await), want, "{query}");
    }
    let all = list(&app, "").await;
    assert_eq!((&all["total"], &all["is_more"]), (&json!(5), &json!(false)));
    assert_eq!(all["counts"]["severity"], json!({"100": 1, "80": 1, "60": 1, "40": 1, "20": 1}));
    assert_eq!(all["counts"]["entity"], json!({"host": 2, "interface": 1}));
    assert_eq!(all["items"][0]["entities"], json!(["host:10.0.0.1"]));
    let stale: Vec<_> =
        all["items"].as_array().expect("items").iter().map(|one| &one["stale"]).collect();
    assert_eq!(stale, [false, false, false, true, true]);

    let (mut seen, mut next) = (Vec::new(), Some(String::new()));
    while let Some(after) = next {
        let page = list(&app, &format!("?limit=1&after={after}")).await;
        seen.push(ids(&page));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["a", "b", "c", "d", "g", ""]);
    for (query, why) in [
        ("?after=x", "`after`"),
        ("?source=nagios", "unknown alert source"),
        ("?severity=high", "severity"),
        ("?entities=x", "entities"),
    ] {
        let answer = Answer::of(app.get(&format!("/mapi/alerts/engaged{query}"))).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.json.to_string().contains(why), "{query}: {:?}", answer.json);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_the_service_and_without_one_the_store() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let app = App::start(&store, &[]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(&store, dir.path());
    let url = app.url("/");
    for place in [["--url", url.as_str()].as_slice(), &[]] {
        let run = |more: &[&str]| {
            let arguments = [&["engaged"], place, more].concat();
            Process::output(&settings, &arguments)
        };
        let (code, out, err) = run(&["--severity", "60"]);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(out.lines().count(), 7, "{out}");
        assert!(out.contains("host:10.0.0.1             rule ntopng: reason of a"), "{out}");
        assert!(out.contains("3 engaged; by severity: 100 1, 80 1, 60 1"), "{out}");
        let (code, out, _) = run(&["--output", "json", "--limit", "2"]);
        let page: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((code, ids(&page).as_str()), (0, "a b"));
        let (code, out, _) = run(&["--entity", "10.9.9.9"]);
        assert_eq!((code, out.as_str()), (0, "nothing is engaged\n"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_the_last_answer_is_given_and_marked() {
    let store = store!();
    store.make_template().await;
    fill(&store).await;
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    assert_eq!(ids(&list(&app, "").await), "a b c d g");
    proxy.cut();
    let marked = async {
        loop {
            let page = list(&app, "").await;
            assert_eq!(ids(&page), "a b c d g");
            if page["outdated"].is_string() {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, marked).await.expect("marked");
    assert!(page["age_ms"].as_u64() >= Some(3_000), "{page}");
    let answer = Answer::of(app.get("/mapi/alerts/engaged?source=ntopng")).await;
    assert_eq!(answer.status, 503, "it was never asked: {:?}", answer.json);
    assert_eq!(answer.header("retry-after"), "5");
    proxy.mend();
    let again = async {
        while list(&app, "").await["outdated"].is_string() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("as before");
    app.stop().await;
}

/// A store that counts how often it is asked, and takes its time.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let answer = post(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
        Json(json!({ "hits": { "total": { "value": 0 }, "hits": [] } }))
    });
    let router = Router::new().route("/{index}/_search", answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
    (url, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_the_same_the_store_is_asked_once() {
    let (url, count) = counting().await;
    let store = Store::at(url);
    let settings = Settings {
        pattern: store.pattern().to_owned(),
        stale_after: Duration::from_hours(1),
        reconciles: true,
    };
    let engaged = Arc::new(Engaged::new(&store.client(), settings));
    let ask = |limit: usize| {
        let engaged = Arc::clone(&engaged);
        let question = Question { limit, ..Question::default() };
        tokio::spawn(async move { engaged.page(&question).await.expect("a page") })
    };
    let asked: Vec<_> = (0..100).map(|_| ask(10)).collect();
    for one in asked {
        one.await.expect("an answer");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    ask(11).await.expect("an answer");
    assert_eq!(count.load(Ordering::SeqCst), 2, "another question");
}
