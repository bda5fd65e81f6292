//! Whoever makes the traffic writes part of the alert: in a browser that opens every page, nothing of it
//! is run, asked for, or taken for ours.

use std::collections::BTreeSet;

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    browser as new_browser,
    browser::{Browser, complaints},
    store,
    support::{
        Answer, App, Receiver, Store, TOKEN, Watched,
        hostile::{HOSTILE, messages, no_alerts},
    },
};

/// Notes what only a stranger's text would do: its global is set, a dialog, a window, or something that
/// our policy had to forbid.
const WATCH: &str = "window.done = [];
Object.defineProperty(window, 'pwned', { set() { done.push('a script of a stranger'); } });
addEventListener('securitypolicyviolation', (event) => done.push('policy: ' + event.violatedDirective + ' ' + event.sample));
for (const name of ['alert', 'confirm', 'prompt', 'open', 'print']) window[name] = () => done.push(name);";
/// What there is on a page that our templates do not make.
const STRANGE: &str = "(() => {
const strange = done.slice();
const ours = (one) => new URL(one, location.href);
for (const one of document.querySelectorAll('img, iframe, frame, object, embed, base, style, video, audio, math, meta[http-equiv]')) strange.push(one.outerHTML);
if (document.scripts.length !== 1) strange.push(document.scripts.length + ' scripts');
for (const one of document.querySelectorAll('*')) for (const { name } of one.attributes) {
  if (name.startsWith('on') || ['style', 'srcdoc', 'ping', 'target'].includes(name)) strange.push(name + ' in ' + one.outerHTML);
}
for (const one of document.querySelectorAll('[href], [src], [action], [formaction]')) {
  for (const name of ['href', 'src', 'action', 'formaction']) {
    if (!one.hasAttribute(name)) continue;
    const url = ours(one.getAttribute(name));
    if (!['http:', 'https:'].includes(url.protocol)) strange.push(url.href);
    if (url.host !== location.host && !(one.matches('a') && one.rel.includes('noopener'))) strange.push('leads away: ' + url.href);
  }
}
if (!document.title.endsWith(' \\u00b7 alertloop')) strange.push('title: ' + document.title);
if (/[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]/.test(document.title)) strange.push('the title steers');
return strange; })()";
const LINKS: &str =
    "[...document.querySelectorAll('a[href]')].map((one) => one.href.split('#')[0])";

async fn post(app: &App, path: &str, body: String) {
    let request = app.post(path).header("x-alertloop-token", TOKEN).header("prefer", "wait=20");
    let answer = Answer::of(request.body(body)).await;
    assert!(answer.status == 200 || answer.status == 202, "{path}: {answer:?}");
}

/// Nothing strange is on the page that is open, and nothing strange has happened.
async fn is_ours(browser: &mut Browser, app: &App, what: &str) {
    assert_eq!(browser.eval(STRANGE).await, json!([]), "{what}");
    let happened = browser.happened();
    let complaints = complaints(&happened);
    assert!(complaints.is_empty(), "{what}: {complaints:#?}");
    let of = |method: &str, path: &str| -> Vec<Value> {
        let events = happened.iter().filter(|event| event["method"] == method);
        events.filter_map(|event| event.pointer(path).cloned()).collect()
    };
    assert!(of("Page.javascriptDialogOpening", "/params").is_empty(), "{what}");
    let here = app.url("/");
    for url in of("Network.requestWillBeSent", "/params/request/url") {
        let url = url.as_str().expect("an address");
        // The browser's own picture of a calendar leaves it as little as any other of these.
        assert!(url.starts_with(&here) || url.starts_with("data:"), "{what} asks for {url}");
    }
}

/// The rows of a CSV in which each cell is in quotes.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut rest) = (Vec::new(), Vec::new(), csv);
    while !rest.is_empty() {
        rest = rest.strip_prefix('"').unwrap_or_else(|| panic!("not quoted: {rest}"));
        let mut cell = String::new();
        loop {
            let (before, after) = rest.split_once('"').expect("the end of a cell");
            cell.push_str(before);
            rest = after;
            match rest.strip_prefix('"') {
                Some(after) => rest = after,
                None => break,
            }
            cell.push('"');
        }
        row.push(cell);
        if let Some(after) = rest.strip_prefix("\r\n") {
            rows.push(std::mem::take(&mut row));
            rest = after;
        } else {
            rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("no next cell: {rest}"));
        }
    }
    rows
}

/// Whatever is in a message, each cell of the CSV stays one, and begins no formula.
async fn saved_cells_are_text(app: &App, least: usize) {
    let csv = app.get("/alerts.csv").send().await.expect("an answer").text().await.expect("lines");
    let rows = rows(&csv);
    assert!(rows.len() > least && csv.contains("=HYPERLINK(\"\"http"), "{csv}");
    for row in &rows {
        assert_eq!(row.len(), rows[0].len(), "{row:?}");
        for cell in row {
            let is_formula = cell.trim_start().starts_with(['=', '+', '@', '\t', '\r']);
            assert!(!is_formula, "{cell:?}");
        }
    }
}

/// A monitor with a hostile name, where there can be one.
async fn monitor(store: &Store) -> Option<Watched<'_>> {
    if !Store::has_alerting() {
        return None;
    }
    let name = format!("{} {HOSTILE}", store.index("hostile"));
    let mut body = Watched::body(store.pattern(), &name, "malcolm-api-loopback-webhook");
    body["enabled"] = json!(false);
    Some(Watched::of(store, body).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_stranger_writes_is_run_in_a_browser_on_any_page() {
    let store = store!();
    let mut browser = new_browser!();
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    receiver.answer("hook", 400);
    let file = dir.path().join("alertloop.toml");
    let callback = format!(
        "[[callback]]\nname = \"hook\"\ntype = \"http\"\nurl = \"{}\"\n",
        receiver.url("hook")
    );
    std::fs::write(&file, callback).expect("a file");
    let app = App::start(&store, &[("ALERTLOOP_CONFIG", file.to_str().expect("UTF-8"))]).await;
    let monitor = monitor(&store).await;
    browser.before_each_page(WATCH).await;

    // As it comes in, into a page that is open already.
    browser.goto(&app.url("/")).await;
    browser.until("document.getElementById('live-state').textContent === 'Live'").await;
    for (path, message) in messages() {
        post(&app, path, message.to_string()).await;
    }
    for (path, body) in no_alerts() {
        post(&app, path, body).await;
    }
    browser.until("[...document.querySelectorAll('tbody[data-rows] th')].some((one) => one.textContent.includes('<script>'))").await;
    is_ours(&mut browser, &app, "the page that was open").await;
    store.wait_for_records(messages().len() + 2).await;
    app.drained().await;
    receiver.wait_for("hook", 1).await;

    let escaped: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let mut open: Vec<String> =
        ["/", "/alerts", "/conditions", "/deliveries", "/dead-letters", "/set-up"]
            .map(|path| app.url(path))
            .to_vec();
    let asked = [
        "/alerts?text=",
        "/alerts?rule=",
        "/alerts?source=",
        "/deliveries?callback=",
        "/deliveries?alert=",
        "/dead-letters?reason=",
        "/?told=",
    ];
    open.extend(asked.map(|path| app.url(&format!("{path}{escaped}"))));
    let (mut seen, mut shown) = (BTreeSet::new(), 0);
    while let Some(url) = open.pop() {
        // The last is saved, not shown.
        if ["/static/", "/dashboards/", "/alerts.csv"].iter().any(|not| url.contains(not))
            || !url.starts_with(&app.url("/"))
            || !seen.insert(url.clone())
        {
            continue;
        }
        assert!(seen.len() < 150, "{seen:#?}");
        browser.goto(&url).await;
        shown += usize::from(browser.text().await.contains("<script>top.pwned=1</script>"));
        is_ours(&mut browser, &app, &url).await;
        if !url.contains('?') {
            let links: Vec<String> =
                serde_json::from_value(browser.eval(LINKS).await).expect("links");
            // One delivery looks like the next.
            let many = seen.iter().filter(|url| url.contains("/deliveries/")).count() >= 8;
            open.extend(links.into_iter().filter(|url| !many || !url.contains("/deliveries/")));
        }
    }
    for (kind, least) in
        [("/alerts/", messages().len()), ("/dead-letters/", no_alerts().len()), ("/deliveries/", 4)]
    {
        let count = seen.iter().filter(|url| url.contains(kind)).count();
        assert!(count >= least, "{count} of {kind}: {seen:#?}");
    }
    assert!(shown > messages().len() + no_alerts().len(), "shown as text on {shown} pages");
    saved_cells_are_text(&app, messages().len()).await;
    // What forms lead to.
    for (path, button) in [("/dead-letters/1", "button.danger"), ("/set-up", "main form button")] {
        browser.goto(&app.url(path)).await;
        browser.follow(button).await;
        is_ours(&mut browser, &app, path).await;
    }
    if let Some(monitor) = monitor {
        browser.goto(&app.url("/conditions")).await;
        assert!(browser.text().await.contains(&store.index("hostile")));
        let path = format!("_plugins/_alerting/monitors/{}", monitor.id);
        let kept = store.json(Method::Get, &path, Value::Null).await.expect("a monitor");
        assert!(kept["monitor"]["name"].as_str().is_some_and(|name| name.contains("<script>")));
        monitor.remove().await;
    }
    app.stop().await;
}

/// Without these the test above would see nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_markup_and_a_link_that_run_are_seen() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &[]).await;
    browser.before_each_page(WATCH).await;
    browser.goto(&app.url("/")).await;
    for (harm, want) in [
        ("top.pwned = 1", "a script of a stranger"),
        (
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=top.pwned=1>')",
            "onerror in <img",
        ),
        (
            "document.body.insertAdjacentHTML('beforeend', '<a href=\"javascript:top.pwned=1\">x</a>')",
            "javascript:",
        ),
        (
            "document.body.insertAdjacentHTML('beforeend', '<form action=\"http://pwned.example/\"></form>')",
            "leads away",
        ),
        ("document.title = 'pwned'", "title: pwned"),
        ("alert(1)", "alert"),
    ] {
        browser.eval(&format!("{harm}; true")).await;
        let found = browser.eval(STRANGE).await.to_string();
        assert!(found.contains(want), "{harm}: {found}");
    }
    browser.until("done.some((one) => one.startsWith('policy: '))").await;
    app.stop().await;
}
