//! What people do on the page, in a real browser.

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    alert, browser as new_browser,
    browser::Browser,
    store,
    support::{App, Proxy, Store, Watched},
};

const PAGES: [&str; 6] = ["/", "/alerts", "/conditions", "/deliveries", "/dead-letters", "/set-up"];
/// Runs in the page where markup of a sender became ours.
const HOSTILE: &str =
    "</script><img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script>";

/// axe-core's own findings, one a line; none where its file is not there.
async fn axe(browser: &mut Browser, source: Option<&str>) -> Vec<String> {
    let Some(source) = source else { return Vec::new() };
    browser.eval(&format!("{source}; true")).await;
    let script = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})\
        .then((result) => result.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')))";
    let found = browser.eval(script).await;
    let found = found.as_array().cloned().unwrap_or_default();
    found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
}

fn axe_source() -> Option<String> {
    let file = std::env::var_os("ALERTLOOP_TEST_AXE")?;
    Some(std::fs::read_to_string(file).expect("axe.min.js"))
}

async fn fill(app: &App, store: &Store) {
    for (rule, trigger, severity, id) in [
        ("Beacons to a rare host", "over 40 in 5 minutes", 1, "page-a"),
        ("Login failures", "over 100", 3, "page-b"),
        (HOSTILE, HOSTILE, 2, "page-c"),
    ] {
        let answer = app.alert(alert(rule, trigger, severity, id)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
    }
    // No JSON, and no text that could be mended: it becomes a dead letter.
    for body in ["<b>not</b> an alert", HOSTILE] {
        app.alert(body.to_owned()).await;
    }
    store.wait_for_records(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_for_everybody_who_looks_at_it() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    fill(&app, &store).await;
    let letters = app.dead_letters().await;
    assert!(!letters.is_empty(), "there are dead letters to look at");
    let one = format!("/dead-letters/{}", letters[0]["id"]);
    let hit = &store.records().await[0];
    let record = format!("/alerts/{}", hit["_id"].as_str().expect("an id"));
    let axe_source = axe_source();
    if axe_source.is_none() {
        crate::support::skip("the part of axe-core: ALERTLOOP_TEST_AXE names no axe.min.js");
    }
    let mut found = Vec::new();
    let pages = PAGES.into_iter().chain([one.as_str(), record.as_str()]);
    for path in pages {
        for (width, scheme) in [(1_280, "light"), (1_280, "dark"), (360, "dark"), (360, "light")] {
            browser.look(width, scheme).await;
            browser.goto(&app.url(path)).await;
            let said = format!("{path}, {width} px, {scheme}");
            let wide = browser.eval("document.documentElement.scrollWidth").await;
            assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{said}: {wide} wide");
            for one in axe(&mut browser, axe_source.as_deref()).await {
                found.push(format!("{said}: {one}"));
            }
            assert_eq!(browser.eval("window.hurt").await, Value::Null, "{said}");
            let complaints = browser.complaints();
            assert!(complaints.is_empty(), "{said}: {complaints:#?}");
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // A path that there is not is a page too.
    browser.goto(&app.url("/no-such-page")).await;
    assert!(browser.text().await.contains("There is nothing here"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sees_what_is_engaged_filters_and_opens_an_alert() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    fill(&app, &store).await;
    browser.goto(&app.url("/")).await;
    browser.until("document.body.innerText.includes('Beacons to a rare host')").await;
    let text = browser.text().await;
    assert!(text.contains("Somebody should look") && text.contains("dead letter"), "{text}");
    browser.until("document.querySelectorAll('svg.chart rect').length > 0").await;
    // By the keyboard alone: the first stop is the way past the navigation.
    browser.press("Tab", 9).await;
    assert_eq!(browser.eval("document.activeElement.className").await, "skip");
    browser.press("Enter", 13).await;
    browser.until("document.activeElement.id === 'main'").await;
    // The filter stands in the address.
    browser.goto(&app.url("/alerts")).await;
    browser.eval("document.querySelector('[name=text]').value = 'beacons'").await;
    browser.follow("form.filters button").await;
    let address = browser.eval("location.search").await;
    assert!(address.as_str().is_some_and(|query| query.contains("text=beacons")), "{address}");
    assert_eq!(browser.eval("document.querySelectorAll('tbody tr').length").await, 1);
    browser.follow("tbody tr th a").await;
    let text = browser.text().await;
    assert!(text.contains("Its life") && text.contains("over 40 in 5 minutes"), "{text}");
    // What a sender wrote is text.
    browser.goto(&app.url("/alerts?severity=high")).await;
    assert!(browser.text().await.contains("<script>window.hurt=1</script>"));
    assert_eq!(browser.eval("window.hurt").await, Value::Null);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_alert_appears_by_itself_and_the_reader_stays_where_they_were() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    fill(&app, &store).await;
    for path in ["/alerts", "/"] {
        browser.goto(&app.url(path)).await;
        browser.until("document.getElementById('live-state').textContent === 'Live'").await;
        browser
            .eval("document.querySelector('tbody[data-rows] a').focus(); window.same = document")
            .await;
        let (name, id) = (format!("Fresh for {path}"), format!("fresh-{}", path.len()));
        let begun = std::time::Instant::now();
        assert_eq!(app.alert(alert(&name, "now", 2, &id)).await.status, 200);
        browser
            .until(&format!(
                "document.querySelector('tbody[data-rows]').innerText.includes({})",
                json!(name)
            ))
            .await;
        println!("{path}: shown after {} ms", begun.elapsed().as_millis());
        assert_eq!(browser.eval("window.same === document").await, true, "it was not loaded again");
        assert_eq!(browser.eval("document.activeElement.tagName").await, "A", "the focus stays");
        // What is loaded again may show it before the event does.
        let said = "document.getElementById('live-news').textContent";
        browser.until(&format!("{said}.includes({})", json!(name))).await;
    }
    assert!(browser.complaints().is_empty());
    // Open pages do not hold up a stop; then the page says that it is not live.
    let begun = std::time::Instant::now();
    app.stop().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
    browser.until("document.getElementById('live-state').textContent.startsWith('Not live')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_tells_of_trouble_by_itself_in_words_and_in_colour() {
    let store = store!();
    let mut browser = new_browser!();
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    browser.goto(&app.url("/")).await;
    browser.until("document.getElementById('live-state').textContent === 'Live'").await;
    let quiet = browser.eval("document.getElementById('headline').className").await;
    // Nothing tells of a dead letter but the page itself, asked again.
    app.alert("no alert at all".to_owned()).await;
    browser.until("document.getElementById('headline').innerText.includes('dead letter')").await;
    let coloured = browser.eval("document.getElementById('headline').className").await;
    assert_ne!(quiet, coloured, "the colour goes with the words");
    app.alert(alert("Beacons", "x", 1, "colour")).await;
    browser.until("document.getElementById('headline').innerText.includes('critical')").await;
    let engaged = browser.eval("document.getElementById('headline').className").await;
    let answer = app.get("/").send().await.expect("an answer").text().await.expect("a page");
    let class = engaged.as_str().expect("a class");
    assert!(answer.contains(&format!("data-live class=\"{class}\"")), "{class}");
    proxy.cut();
    browser
        .until("document.getElementById('headline').innerText.includes('does not answer')")
        .await;
    proxy.mend();
    browser
        .until("!document.getElementById('headline').innerText.includes('does not answer')")
        .await;
    assert_eq!(browser.eval("document.getElementById('live-state').textContent").await, "Live");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_counts_what_its_link_lists() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    for (number, severity) in [1, 2, 2, 4].into_iter().enumerate() {
        app.alert(alert(&format!("Rule {number}"), "x", severity, &format!("tile-{number}"))).await;
    }
    store.wait_for_records(4).await;
    for (severity, count) in [("critical", 1), ("high", 2), ("medium", 0), ("low", 1), ("info", 0)]
    {
        browser.goto(&app.url("/")).await;
        let tile = format!(".tiles a.{severity}");
        let told =
            browser.eval(&format!("document.querySelector('{tile} strong').innerText")).await;
        assert_eq!(told, count.to_string(), "{severity}");
        browser.follow(&tile).await;
        let rows = browser.eval("document.querySelectorAll('tbody[data-rows] tr').length").await;
        assert_eq!(rows, count, "{severity}");
        let chosen = browser
            .eval("document.querySelector('[name=severity]').selectedOptions[0].innerText")
            .await;
        assert_eq!(chosen, format!("only {severity}"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_every_form_works_and_dropping_asks_back() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    fill(&app, &store).await;
    let letters = app.dead_letters().await;
    let (first, count) = (letters[0]["id"].clone(), letters.len());
    browser.without_scripts().await;
    browser.goto(&app.url("/dead-letters")).await;
    browser.follow("tbody tr th a").await;
    assert!(browser.text().await.contains(&format!("Dead letter {first}")));
    browser.follow("button.danger").await;
    assert!(browser.text().await.contains(&format!("Drop dead letter {first}?")));
    assert_eq!(app.dead_letters().await.len(), count, "nothing is dropped before the answer");
    browser.follow("a.button.second").await;
    assert!(browser.text().await.contains(&format!("Dead letter {first}")));
    browser.follow("button.danger").await;
    browser.follow("main button.danger").await;
    assert!(browser.text().await.contains("1 dead letter dropped for good."));
    assert_eq!(app.dead_letters().await.len(), count - 1);
    browser.follow("form[action$='replay'] button.second").await;
    assert!(browser.text().await.contains("replayed"));
    browser.goto(&app.url("/set-up")).await;
    browser.follow("form button").await;
    let text = browser.text().await;
    assert!(text.contains("Looked") && text.contains("store"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_somebody_thinks_over_dropping_all_is_not_dropped() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    for number in 0..2 {
        app.alert(format!("no alert {number}")).await;
    }
    browser.goto(&app.url("/dead-letters")).await;
    browser.follow("button.danger").await;
    assert!(browser.text().await.contains("Drop all dead letters?"));
    app.alert("came meanwhile").await;
    browser.follow("main button.danger").await;
    assert!(browser.text().await.contains("2 dead letters dropped for good."));
    assert_eq!(app.dead_letters().await.len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_alert_is_acknowledged_and_its_monitor_switched() {
    let store = store!(alerting);
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    let name = format!("Page test {}", store.index("monitor"));
    // An action that sends to us makes us responsible; its channel is not there, so nothing is sent.
    let mut body = Watched::body(store.pattern(), &name, "malcolm-api-loopback-webhook");
    let speaks = json!({"query_level_trigger": {"name": "speaks", "severity": "2", "actions": [],
        "condition": {"script": {"source": "true", "lang": "painless"}}}});
    body["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"] = json!("false");
    body["triggers"].as_array_mut().expect("triggers").push(speaks);
    body["enabled"] = json!(false);
    let monitor = Watched::of(&store, body).await;
    let path = format!("_plugins/_alerting/monitors/{}/_execute?dryrun=false", monitor.id);
    store.json(Method::Post, &path, json!({})).await.expect("a run");
    let alerts = format!("_plugins/_alerting/monitors/alerts?monitorId={}", monitor.id);
    let mut told = Value::Null;
    while told["alerts"][0]["state"] != "ACTIVE" {
        told = store.json(Method::Get, &alerts, Value::Null).await.expect("alerts");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let id = told["alerts"][0]["id"].as_str().expect("an id").to_owned();
    let sent = app.alert(alert(&name, "speaks", 2, &id)).await;
    let record = sent.json["result"]["_id"].as_str().expect("an id").to_owned();
    store.wait_for_records(1).await;
    browser.goto(&app.url(&format!("/alerts/{record}"))).await;
    browser.follow("form button").await;
    let text = browser.text().await;
    assert!(text.contains("The alert is acknowledged"), "{text}");
    let state = store.json(Method::Get, &alerts, Value::Null).await.expect("alerts");
    assert_eq!(state["alerts"][0]["state"], "ACKNOWLEDGED");
    for (button, said, is_enabled) in
        [("Enable", "is enabled", true), ("Disable", "is disabled", false)]
    {
        browser.goto(&app.url("/conditions")).await;
        let switch = format!("#switch-{}", monitor.id);
        let found = format!("document.getElementById({}).innerText", json!(&switch[1..]));
        assert!(browser.eval(&found).await.as_str().is_some_and(|text| text.starts_with(button)));
        browser.follow(&format!("[id='{}']", &switch[1..])).await;
        assert!(browser.text().await.contains(said), "{}", browser.text().await);
        let path = format!("_plugins/_alerting/monitors/{}", monitor.id);
        let now = store.json(Method::Get, &path, Value::Null).await.expect("a monitor");
        assert_eq!(now["monitor"]["enabled"], is_enabled);
    }
    monitor.remove().await;
    app.stop().await;
}
