//! What the page answers over HTTP: the policy, the sizes, the forms, the stream.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;

use crate::{
    alert, store,
    support::{App, Store},
};

const PAGES: [&str; 6] = ["/", "/alerts", "/conditions", "/deliveries", "/dead-letters", "/set-up"];

fn client() -> reqwest::Client {
    let no_redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .redirect(no_redirects)
        .build()
        .expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_the_policy_no_script_of_its_own_and_is_small() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for number in 0..60 {
        app.alert(alert(&format!("Rule {number}"), "over 9", 2, &format!("size-{number}"))).await;
    }
    store.wait_for_records(60).await;
    for path in PAGES {
        let request = client().get(app.url(path)).header("accept-encoding", "gzip");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("content-encoding"), "gzip", "{path}");
        let packed = answer.bytes().await.expect("a body").len();
        assert!(packed < 50_000, "{path}: {packed} bytes");
        let text = app.get(path).send().await.expect("an answer").text().await.expect("a body");
        assert!(
            !text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick")
        );
        assert_eq!(text.matches("<script").count(), 1, "{path}");
        // A link from the root would leave the path that a proxy serves us at; but for Dashboards'.
        for link in text.split("href=\"").skip(1).chain(text.split("action=\"").skip(1)) {
            let link = link.split('"').next().unwrap_or_default();
            assert!(!link.starts_with('/') || link.starts_with("/dashboards/"), "{path}: {link}");
        }
    }
    let text = app.get("/").send().await.expect("an answer").text().await.expect("a body");
    let file = text.split("href=\"./static/").nth(1).and_then(|rest| rest.split('"').next());
    let file = format!("/static/{}", file.expect("a style sheet"));
    let kept = app.get(&file).send().await.expect("an answer");
    assert!(kept.headers()["cache-control"].to_str().expect("text").contains("immutable"));
    assert_eq!(app.get("/static/0/page.css").send().await.expect("an answer").status(), 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_ours_does_nothing() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    app.alert("no alert at all".to_owned()).await;
    let id = app.dead_letters().await[0]["id"].to_string();
    for (path, fields) in [
        ("/dead-letters/drop", HashMap::from([("id", id.as_str()), ("sure", "yes")])),
        (
            "/dead-letters/drop",
            HashMap::from([("id", id.as_str()), ("sure", "yes"), ("form_token", "0")]),
        ),
        ("/dead-letters/replay", HashMap::from([("all", "yes")])),
        ("/deliveries/replay", HashMap::from([("all", "failed")])),
        ("/set-up", HashMap::from([("what", "doctor")])),
        ("/alerts/x/acknowledge", HashMap::new()),
        ("/conditions/x/switch", HashMap::from([("enabled", "yes")])),
    ] {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let request = client().post(app.url(path)).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 400, "{path}");
        assert!(
            answer.text().await.expect("a page").contains("was not made by this page"),
            "{path}"
        );
    }
    assert_eq!(app.dead_letters().await.len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_it_is_told_so_by_a_page_that_tells_nothing_else() {
    let store = store!();
    let login =
        [("ALERTLOOP_ADMIN_USER", "ops"), ("ALERTLOOP_ADMIN_PASSWORD", "a-password-of-tests")];
    let app = App::start(&store, &login).await;
    for path in PAGES.into_iter().chain(["/events", "/alerts/x", "/dead-letters/1"]) {
        let answer = app.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{path}");
        assert!(answer.headers().contains_key("www-authenticate"), "{path}");
        assert!(answer.headers().contains_key("content-security-policy"), "{path}");
        let text = answer.text().await.expect("a page");
        assert!(text.contains("Who are you?") && !text.contains("<nav"), "{path}: {text}");
    }
    let with = app.get("/").basic_auth("ops", Some("a-password-of-tests"));
    let text = with.send().await.expect("an answer").text().await.expect("a page");
    assert!(text.contains("you are ops, admin"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_the_page_says_so_and_what_is_safe() {
    let store = Store::away();
    let no_template = [("ALERTLOOP_TEMPLATE", "none")];
    let app = App::start(&store, &no_template).await;
    let kept = app.post("/mapi/alert").header("x-alertloop-token", crate::support::TOKEN);
    let kept = kept.header("prefer", "respond-async").body(alert("Safe", "x", 2, "safe"));
    assert_eq!(kept.send().await.expect("an answer").status(), 202);
    for path in PAGES {
        let answer = app.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let text = app.get("/").send().await.expect("an answer").text().await.expect("a page");
    assert!(text.contains("OpenSearch does not answer since"), "{text}");
    assert!(text.contains("1 alert is safe in the spool"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_open_pages_hear_of_an_alert_within_a_second_also_of_another_replica() {
    let store = store!();
    let (here, there) = (App::start(&store, &[]).await, App::start(&store, &[]).await);
    // The first alert makes the index, so that what is measured is not that.
    here.alert(alert("First", "x", 2, "first")).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let answer = here.get("/events").send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        streams.push(Heard { body: Box::pin(answer.bytes_stream()), text: String::new() });
    }
    for stream in &mut streams {
        stream.until("event: again").await;
    }
    // Until the feed has seen what is there, it tells nothing.
    here.alert(alert("Second", "x", 2, "second")).await;
    for stream in &mut streams {
        stream.until("Second").await;
    }
    let begun = Instant::now();
    assert_eq!(here.alert(alert("Third", "x", 2, "third")).await.status, 200);
    for stream in &mut streams {
        stream.until("Third").await;
    }
    let took = begun.elapsed();
    println!("200 open pages were told after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
    there.alert(alert("Elsewhere", "x", 2, "elsewhere")).await;
    for stream in &mut streams {
        stream.until("Elsewhere").await;
    }
    let begun = Instant::now();
    here.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    there.stop().await;
}

/// A stream, and what it has told.
struct Heard {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Heard {
    async fn until(&mut self, word: &str) {
        while !self.text.contains(word) {
            let next = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await;
            let piece = next.expect("it comes in time").expect("it goes on").expect("a piece");
            self.text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
    }
}
