//! What a reader and an operator whom a proxy let in see and may do: a button that is not for them is not
//! there, and what it would send is refused all the same.

use std::collections::HashMap;

use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    alert, browser as new_browser, store,
    support::{App, Store, Watched},
};

/// Who comes through the proxy of these tests.
const PROXY: [(&str, &str); 2] =
    [("ALERTLOOP_TRUSTED_PROXIES", "127.0.0.1"), ("ROLE_BASED_ACCESS", "true")];
const ADMIN: &str = "admin";
const OPERATOR: &str = "read_write_access";
const READER: &str = "read_access";

fn client() -> reqwest::Client {
    let no_redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(no_redirects).build().expect("a client")
}

async fn page(app: &App, role: &str, path: &str) -> String {
    let request = client().get(app.url(path)).header("x-forwarded-user", role);
    let answer = request.header("x-forwarded-roles", role).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path} as {role}");
    answer.text().await.expect("a page")
}

/// What the forms of a page carry; every form of a page has the same.
fn token(html: &str) -> Option<&str> {
    html.split("name=\"form_token\" value=\"").nth(1)?.split('"').next()
}

/// Posts a form with what a page made for this role carries, whether or not it shows it.
async fn post(app: &App, role: &str, path: &str, fields: &[(&str, &str)], token: &str) -> u16 {
    let fields: HashMap<_, _> = fields.iter().copied().chain([("form_token", token)]).collect();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let request = client().post(app.url(path)).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.header("x-forwarded-user", role).header("x-forwarded-roles", role);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_does_what_the_role_may_and_is_refused_beyond_it() {
    let store = store!();
    let app = App::start(&store, &PROXY).await;
    app.alert(alert("Roles", "x", 2, "roles")).await;
    for _ in 0..3 {
        app.alert("no alert at all".to_owned()).await;
    }
    // Replayed ones become new ones: what is wanted is what the answer says.
    let drop = ("/dead-letters/drop", &[("id", "1"), ("sure", "yes")][..]);
    let replay = ("/dead-letters/replay", &[("id", "2")][..]);
    let again = ("/deliveries/replay", &[("all", "failed")][..]);
    let look = ("/set-up", &[("what", "doctor")][..]);
    let acknowledge = ("/alerts/nobody/acknowledge", &[][..]);
    let switch = ("/conditions/nobody/switch", &[("enabled", "yes")][..]);
    // Of the same person, on a page where everybody of that name would see a form.
    for role in [READER, OPERATOR, ADMIN] {
        let admin = client().get(app.url("/set-up")).header("x-forwarded-user", role);
        let html = admin.header("x-forwarded-roles", ADMIN).send().await.expect("an answer");
        let html = html.text().await.expect("a page");
        let ours = token(&html).expect("a form").to_owned();
        for (form, least) in
            [(switch, 2), (acknowledge, 1), (look, 1), (again, 1), (replay, 1), (drop, 2)]
        {
            let rank = [READER, OPERATOR, ADMIN].iter().position(|one| *one == role);
            let may = rank.is_some_and(|rank| rank >= least);
            let (path, fields) = form;
            let status = post(&app, role, path, fields, &ours).await;
            if may {
                assert!(![400, 401, 403].contains(&status), "{path} as {role}: {status}");
            } else {
                assert_eq!(status, 403, "{path} as {role}");
            }
            // What was made for somebody else, or nobody, fits nobody.
            let other = page(&app, ADMIN, "/set-up").await;
            let other = token(&other).filter(|_| role != ADMIN);
            for wrong in ["", "0", &ours[1..]].into_iter().chain(other) {
                let status = post(&app, role, path, fields, wrong).await;
                assert_eq!(status, if may { 400 } else { 403 }, "{path} as {role}: {wrong}");
            }
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_button_and_an_operator_those_that_are_theirs() {
    let store = store!();
    let mut browser = new_browser!();
    let app = App::start(&store, &PROXY).await;
    let record = app.alert(alert("Roles", "x", 2, "roles")).await;
    let record = record.json["result"]["_id"].as_str().expect("an id").to_owned();
    app.alert("no alert at all".to_owned()).await;
    let monitor = if Store::has_alerting() {
        let name = format!("Roles {}", store.index("monitor"));
        let mut body = Watched::body(store.pattern(), &name, "malcolm-api-loopback-webhook");
        body["enabled"] = json!(false);
        Some(Watched::of(&store, body).await)
    } else {
        None
    };
    for (role, named, want) in [
        (READER, "reader", [0, 0, 0, 0]),
        (OPERATOR, "operator", [1, 0, 2, 0]),
        (ADMIN, "admin", [1, 1, 2, 1]),
    ] {
        // A name is a text too.
        let user = "<script>top.pwned=1</script>";
        browser.send_along(json!({"X-Forwarded-User": user, "X-Forwarded-Roles": role})).await;
        browser.goto(&app.url("/dead-letters/1")).await;
        let said = format!("you are {user}, {named}");
        assert!(browser.text().await.contains(&said), "{}", browser.text().await);
        assert_eq!(browser.eval("window.pwned === undefined").await, true);
        let mut found = Vec::new();
        for (path, selector) in [
            ("/dead-letters/1", "main button:not(.danger)"),
            ("/dead-letters/1", "main button.danger"),
            ("/set-up", "main form button"),
            ("/conditions", "main [id^='switch-']"),
        ] {
            browser.goto(&app.url(path)).await;
            let script = format!("document.querySelectorAll(\"{selector}\").length");
            found.push(browser.eval(&script).await.as_u64().expect("a number"));
        }
        // How many monitors there are is other tests' business too.
        let is_switch = u64::from(monitor.is_some() && found[3] > 0);
        let expected = if monitor.is_some() { want[3] } else { 0 };
        assert_eq!((&found[..3], is_switch), (&want[..3], expected), "as {role}");
        if role == READER {
            for path in
                ["/", "/alerts", "/deliveries", "/dead-letters", &format!("/alerts/{record}")]
            {
                browser.goto(&app.url(path)).await;
                assert_eq!(
                    browser.eval("document.querySelectorAll('form[method=post]').length").await,
                    0,
                    "{path}"
                );
            }
        }
        assert!(browser.complaints().is_empty());
    }
    if let Some(monitor) = monitor {
        let path = format!("_plugins/_alerting/monitors/{}", monitor.id);
        let kept = store.json(Method::Get, &path, Value::Null).await.expect("a monitor");
        assert_eq!(kept["monitor"]["enabled"], false);
        monitor.remove().await;
    }
    app.stop().await;
}
