//! Who gets through which door. Every route is tried as everybody, and nothing is open that the table
//! of `docs/security.md` does not say; a route that is in no table cannot be made.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
    time::Duration,
};

use alertloop::http::{
    caller::Role,
    doors::{Door, Needs},
};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use crate::{
    store,
    support::{Answer, App, Process, Store, TOKEN, provisioning, skip},
};

const PREVIOUS: &str = "the-secret-of-before-this";
const PASSWORD: &str = "hunting-season";
/// Where a proxy is that is trusted.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

/// Somebody who asks.
struct Visitor {
    who: &'static str,
    from: IpAddr,
    headers: Vec<(&'static str, String)>,
    query: Option<String>,
    /// Whether they may post alerts.
    posts: bool,
    /// What they may do besides.
    role: Option<Role>,
    /// Whether what they may is so by something that a browser sends by itself, for a page elsewhere.
    is_forged: bool,
}

impl Visitor {
    fn new(who: &'static str, from: impl Into<IpAddr>) -> Self {
        let (from, headers) = (from.into(), Vec::new());
        Self { who, from, headers, query: None, posts: false, role: None, is_forged: false }
    }

    fn says(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn basic(self, user: &str, password: &str) -> Self {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.says("authorization", format!("Basic {login}"))
    }

    /// Through the proxy, as this user with these roles.
    fn told_to_be(self, user: &str, roles: &str) -> Self {
        self.says("x-forwarded-user", user).says("x-forwarded-roles", roles)
    }

    const fn posting(mut self) -> Self {
        self.posts = true;
        self
    }

    fn being(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// By the word of a proxy, which counts for posting too.
    fn known_as(self, role: Role) -> Self {
        let visitor = self.being(role);
        if role.may_post() { visitor.posting() } else { visitor }
    }

    fn forged(mut self) -> Self {
        self.is_forged = true;
        self.says("origin", "https://elsewhere.example")
    }

    fn may(&self, door: &Door) -> bool {
        let reads = self.role.is_some();
        let may = match door.needs {
            Needs::Nothing => return true,
            Needs::Secret => self.posts,
            Needs::SecretOrReader => self.posts || reads,
            Needs::Reader => reads,
            Needs::Operator => self.role >= Some(Role::Operator),
            Needs::Admin => self.role >= Some(Role::Admin),
        };
        may && (door.method.is_safe() || !self.is_forged)
    }
}

/// An address of this machine that is not loopback: for somebody from the network.
fn far() -> Option<IpAddr> {
    // Nothing is sent: the system says from where it would be.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

async fn text(answer: reqwest::Response) -> String {
    answer.text().await.expect("a body")
}

/// Tries every door as each of them, and gives what is not as it should be.
async fn wrong(app: &App, visitors: &[Visitor]) -> Vec<String> {
    let (mut wrong, port) = (Vec::new(), app.address().port());
    for visitor in visitors {
        let to: IpAddr =
            if visitor.from.is_loopback() { Ipv4Addr::LOCALHOST.into() } else { visitor.from };
        // Where a door leads on to another one, that one is tried by itself.
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        let client = client.local_address(visitor.from).build().expect("a client");
        let mut headers = HeaderMap::new();
        for (name, value) in &visitor.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a header"),
            );
        }
        for door in alertloop::http::doors("mapi") {
            let methods = match door.method {
                Method::GET => vec![Method::GET, Method::HEAD],
                ref other => vec![other.clone()],
            };
            let path = door.path.replace("{id}", "1").replace("{source}", "opensearch");
            let query = visitor.query.as_deref().map_or(String::new(), |query| format!("?{query}"));
            for method in methods {
                // An empty body is a test post to the intake, and no JSON to the API: it does nothing.
                let url = format!("http://{to}:{port}{path}{query}");
                let request = client.request(method.clone(), url).headers(headers.clone());
                let answer = request.send().await.expect("an answer");
                let status = answer.status().as_u16();
                // What is said to who is let in may have no end, such as live updates.
                let said = if status < 400 { String::new() } else { text(answer).await };
                let is_off =
                    status == 404 && (method == Method::HEAD || said.contains("the API is off"));
                let got_in = !matches!(status, 401 | 403 | 429) && !is_off;
                // There is no dead letter and no delivery 1; a HEAD does not say which 404 it is.
                let unclear = method == Method::HEAD && status == 404;
                if got_in != visitor.may(&door) && !unclear {
                    let who = visitor.who;
                    wrong.push(format!("{who}: {method} {path}: {status} {said}"));
                }
            }
        }
    }
    wrong
}

async fn must_hold(app: App, visitors: &[Visitor]) {
    let wrong = wrong(&app, visitors).await;
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    app.stop().await;
}

/// A loopback address of their own, so that nobody suffers for what another one guesses.
fn near(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// The intake secret in each place, right, of before and wrong; none of them opens anything else.
fn senders(from: impl Fn(u8) -> IpAddr) -> Vec<Visitor> {
    let mut senders = Vec::new();
    for (number, (token, posts)) in
        (0..).zip([(TOKEN, true), (PREVIOUS, true), ("wrong-but-long-enough", false)])
    {
        let new = |place| {
            let visitor = Visitor::new(place, from(100 + number));
            if posts { visitor.posting() } else { visitor }
        };
        senders.extend([
            new("a secret in its header").says("x-alertloop-token", token),
            new("a secret as Bearer").says("authorization", format!("Bearer {token}")),
            new("a secret as password").basic("any", token),
            Visitor { query: Some(format!("token={token}")), ..new("a secret in the query") },
            new("a secret for a page elsewhere")
                .says("x-alertloop-token", token)
                .says("origin", "https://elsewhere.example"),
        ]);
    }
    senders
}

/// Settings besides: a user of each role, a secret of before.
fn logins(dir: &Path) -> Vec<(&'static str, String)> {
    let file = dir.join("alertloop.toml");
    let user = |name: &str, role: &str| {
        format!("[[user]]\nname = \"{name}\"\nrole = \"{role}\"\npassword = \"{PASSWORD}\"\n")
    };
    std::fs::write(&file, user("ada", "reader") + &user("bob", "operator")).expect("a file");
    vec![
        ("ALERTLOOP_CONFIG", file.to_str().expect("UTF-8").to_owned()),
        ("ALERTLOOP_ADMIN_USER", "ops".to_owned()),
        ("ALERTLOOP_ADMIN_PASSWORD", PASSWORD.to_owned()),
    ]
}

/// The service without a store, reachable from the network too.
async fn start(others: &[(&str, String)]) -> App {
    let mut settings = vec![
        ("ALERTLOOP_LISTEN", "0.0.0.0:0"),
        ("ALERTLOOP_TEMPLATE", "none"),
        ("ALERTLOOP_TOKEN_PREVIOUS", PREVIOUS),
        ("ALERTLOOP_WAIT", "0"),
    ];
    settings.extend(others.iter().map(|(name, value)| (*name, value.as_str())));
    App::start(&Store::away(), &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_logins_nothing_is_open_that_the_table_does_not_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let app = start(&logins(dir.path())).await;
    let new = |who, number| Visitor::new(who, near(number));
    let mut visitors = vec![
        new("nobody", 1),
        new("a reader", 2).basic("ada", PASSWORD).being(Role::Reader),
        new("an operator", 3).basic("bob", PASSWORD).being(Role::Operator),
        new("an admin", 4).basic("ops", PASSWORD).being(Role::Admin),
        new("an admin for a page elsewhere", 5).basic("ops", PASSWORD).being(Role::Admin).forged(),
        new("an admin for a page of a neighbour", 6)
            .basic("ops", PASSWORD)
            .being(Role::Admin)
            .forged()
            .says("sec-fetch-site", "same-site"),
        new("a wrong password", 7).basic("ops", "hunting-seasoN"),
        new("a wrong name", 8).basic("Ops", PASSWORD),
        new("two logins", 9).basic("ops", PASSWORD).basic("ops", PASSWORD),
        new("a login in the wrong words", 10).says("authorization", format!("ops:{PASSWORD}")),
        new("a user without a proxy", 11).told_to_be("ops", "admin"),
        new("a forwarded loopback", 12).says("x-forwarded-for", "127.0.0.1"),
    ];
    visitors.extend(senders(|number| near(number).into()));
    if let Some(far) = far() {
        visitors.push(Visitor::new("somebody far away", far));
        visitors
            .push(Visitor::new("an admin far away", far).basic("ops", PASSWORD).being(Role::Admin));
    }
    must_hold(app, &visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_nothing_is_open_but_to_this_machine() {
    let Some(far) = far() else { return skip("this machine has no address but loopback") };
    let app = start(&[]).await;
    let here = |who| Visitor::new(who, near(1)).being(Role::Admin);
    let mut visitors = vec![
        here("somebody here"),
        here("somebody here for a page elsewhere").forged(),
        Visitor::new("somebody here with another name for it", near(2))
            .says("host", "rebound.example"),
        Visitor::new("a proxy here", near(3)).says("x-forwarded-for", "192.0.2.7"),
        Visitor::new("a user of an unknown proxy", near(4)).told_to_be("ops", "admin"),
        Visitor::new("somebody far away", far),
        Visitor::new("a user far away", far).told_to_be("ops", "admin"),
        Visitor::new("a login far away", far).basic("ops", PASSWORD),
        Visitor::new("a forwarded loopback far away", far).says("x-forwarded-for", "127.0.0.1"),
    ];
    visitors.extend(senders(|_| far));
    must_hold(app, &visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_malcolms_roles_decide() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = logins(dir.path());
    settings.push(("ALERTLOOP_TRUSTED_PROXIES", PROXY.to_string()));
    settings.push(("ROLE_BASED_ACCESS", "true".to_owned()));
    let app = start(&settings).await;
    let by = |who| Visitor::new(who, PROXY).says("x-forwarded-for", "198.51.100.7");
    let mut visitors = vec![
        by("an admin").told_to_be("eve", "admin").known_as(Role::Admin),
        by("an admin for a page elsewhere")
            .told_to_be("eve", "admin")
            .known_as(Role::Admin)
            .forged(),
        by("who reads and writes").told_to_be("eve", "read_write_access").known_as(Role::Operator),
        by("who writes dashboards")
            .told_to_be("eve", "upload,dashboards_read_write_all_apps_access")
            .known_as(Role::Operator),
        by("who reads").told_to_be("eve", "read_access").known_as(Role::Reader),
        by("who reads dashboards")
            .told_to_be("eve", "dashboards_read_all_apps_access")
            .known_as(Role::Reader),
        by("who sees visualizations").told_to_be("eve", "dashboards_read_access"),
        by("an odd spelling").told_to_be("eve", "Admin"),
        by("a user without roles").says("x-forwarded-user", "eve"),
        by("roles without a user").says("x-forwarded-roles", "admin"),
        by("an empty user").told_to_be("", "admin"),
        by("two users").told_to_be("eve", "admin").says("x-forwarded-user", "eve"),
        by("two users in one").told_to_be("eve,adam", "admin"),
        by("roles twice").told_to_be("eve", "admin").says("x-forwarded-roles", "admin"),
        by("nobody"),
        by("a login through the proxy").basic("bob", PASSWORD).being(Role::Operator),
        by("a login beside a role that is none")
            .told_to_be("eve", "upload")
            .basic("ada", PASSWORD)
            .being(Role::Reader),
        by("Malcolm's own login")
            .told_to_be("eve", "admin")
            .basic("eve", "x")
            .known_as(Role::Admin),
        by("a sender").says("x-alertloop-token", TOKEN).posting(),
        Visitor::new("an admin by no proxy", near(1)).told_to_be("eve", "admin"),
        Visitor::new("a forwarded proxy", near(2))
            .told_to_be("eve", "admin")
            .says("x-forwarded-for", PROXY.to_string()),
    ];
    if let Some(far) = far() {
        visitors.push(Visitor::new("an admin from far away", far).told_to_be("eve", "admin"));
    }
    must_hold(app, &visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_malcolm_lets_in_may_do_everything_where_roles_do_not_count() {
    let app = start(&[("ALERTLOOP_TRUSTED_PROXIES", PROXY.to_string())]).await;
    let mut visitors = vec![
        Visitor::new("a user", PROXY).says("x-forwarded-user", "eve").known_as(Role::Admin),
        Visitor::new("a user with a role", PROXY).told_to_be("eve", "upload").known_as(Role::Admin),
        Visitor::new("nobody by the proxy", PROXY),
        Visitor::new("somebody on this machine", near(1)).being(Role::Admin),
        Visitor::new("a user by no proxy", near(2)).told_to_be("eve", "admin"),
    ];
    if let Some(far) = far() {
        visitors.push(Visitor::new("somebody far away", far));
        visitors.push(Visitor::new("a user far away", far).told_to_be("eve", "admin"));
    }
    must_hold(app, &visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_intake_opens_the_metrics_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = logins(dir.path());
    settings.push(("ALERTLOOP_INTAKE_OPEN", "true".to_owned()));
    let app = start(&settings).await;
    let visitors = [
        Visitor::new("nobody", near(1)).posting(),
        Visitor::new("a wrong secret", near(2)).says("x-alertloop-token", "wrong").posting(),
        Visitor::new("an admin", near(3)).basic("ops", PASSWORD).being(Role::Admin).posting(),
    ];
    must_hold(app, &visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_takes_another_method() {
    let app = start(&[]).await;
    let doors = alertloop::http::doors("mapi");
    for path in doors.iter().map(|door| &door.path) {
        let has = |method: &Method| {
            let of = |door: &&Door| door.path == *path;
            let as_get = if method == Method::HEAD { &Method::GET } else { method };
            doors.iter().filter(of).any(|door| door.method == *as_get)
        };
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"];
        for method in methods.map(|name| name.parse::<Method>().expect("a method")) {
            if has(&method) {
                continue;
            }
            let url = app.url(&path.replace("{id}", "1").replace("{source}", "opensearch"));
            let request = reqwest::Client::new().request(method.clone(), url);
            let answer = Answer::of(request.header("x-alertloop-token", TOKEN)).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
    app.stop().await;
}

/// What the page's forms carry for this user.
async fn form_token(app: &App, user: &str) -> String {
    let page = app.get("/set-up").basic_auth(user, Some(PASSWORD));
    let page = page.send().await.expect("an answer").text().await.expect("a page");
    let token = page.split("name=\"form_token\" value=\"").nth(1);
    let token = token.and_then(|rest| rest.split('"').next());
    token.expect("a form").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_the_page_is_taken_that_was_not_made_for_who_sends_it() {
    const NOT_OURS: &str = "was not made by this page";
    let dir = tempfile::tempdir().expect("a directory");
    let app = start(&logins(dir.path())).await;
    let (ours, of_another) = (form_token(&app, "ops").await, form_token(&app, "bob").await);
    let doors = alertloop::http::doors("mapi");
    let is_form = |door: &&Door| !door.method.is_safe() && !door.path.starts_with("/mapi/");
    let forms: Vec<_> = doors.iter().filter(is_form).collect();
    assert!(forms.len() >= 6, "{forms:?}");
    for door in forms {
        let path = door.path.replace("{id}", "1");
        let told = async |kind: &str, body: String| {
            let request = app.post(&path).basic_auth("ops", Some(PASSWORD));
            let request = request.header("content-type", kind.to_owned()).body(body);
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a page"))
        };
        let form = "application/x-www-form-urlencoded";
        for token in ["", "0", of_another.as_str(), &ours[1..], &format!("{ours}0")] {
            let (status, page) = told(form, format!("sure=yes&all=yes&form_token={token}")).await;
            assert!(status == 400 && page.contains(NOT_OURS), "{path} {token:?}: {status} {page}");
        }
        let (status, page) = told(form, "sure=yes&all=yes".to_owned()).await;
        assert!(status == 400 && page.contains(NOT_OURS), "{path}: {status} {page}");
        let (status, _) = told("text/plain", format!("form_token={ours}")).await;
        assert_eq!(status, 400, "{path}: a form of a kind that a page elsewhere may send");
        let (_, page) = told(form, format!("form_token={ours}")).await;
        assert!(!page.contains(NOT_OURS), "{path}: its own form is taken");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_a_browser_what_it_may_do() {
    let app = start(&[]).await;
    for path in ["/livez", "/mapi/dead-letters", "/nowhere", "/mapi/alert"] {
        let answer = Answer::of(app.get(path)).await;
        for (name, want) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), want, "{path} {name}");
        }
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_held_and_senders_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let app = start(&logins(dir.path())).await;
    let client = |from: Ipv4Addr| {
        let client = reqwest::Client::builder().no_proxy().local_address(IpAddr::from(from));
        client.build().expect("a client")
    };
    let (guesser, neighbour) = (client(near(1)), client(near(2)));
    let letters = |client: &reqwest::Client, password: &str| {
        client.get(app.url("/mapi/dead-letters")).basic_auth("ops", Some(password.to_owned()))
    };
    // A script with an old password is no guesser.
    for _ in 0..20 {
        assert_eq!(Answer::of(letters(&guesser, "the old one")).await.status, 401);
    }
    assert_eq!(Answer::of(letters(&guesser, PASSWORD)).await.status, 200);
    let tries = (0..20).map(|guess| Answer::of(letters(&guesser, &format!("guess {guess}"))));
    let statuses: Vec<u16> =
        futures_util::future::join_all(tries).await.iter().map(|answer| answer.status).collect();
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    let held = Answer::of(letters(&guesser, PASSWORD)).await;
    assert_eq!(held.status, 429, "the right one tells nothing either");
    assert!((1..=60).contains(&held.header("retry-after").parse::<u64>().expect("seconds")));
    assert_eq!(Answer::of(letters(&neighbour, PASSWORD)).await.status, 200);
    // Its secret is looked at all the same.
    let post = |token: &str| {
        let request = guesser.post(app.url("/mapi/alert"));
        Answer::of(request.header("x-alertloop-token", token.to_owned()))
    };
    assert_eq!(post(TOKEN).await.status, 200);
    assert_eq!(post("wrong-but-long-enough").await.status, 401, "never 429");
    app.stop().await;
}

/// Waits until a post with this secret is answered so.
async fn admits(app: &App, token: &str, status: u16) {
    let until = async {
        loop {
            let request = app.post("/mapi/alert").header("x-alertloop-token", token);
            if Answer::of(request).await.status == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), until).await;
    waited.unwrap_or_else(|_| panic!("{token} is never answered with {status}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_passwords_in_files_change_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("UTF-8").to_owned()
    };
    let next = "the-secret-of-after-this";
    let settings = [
        ("ALERTLOOP_TOKEN", String::new()),
        ("ALERTLOOP_TOKEN_PREVIOUS", String::new()),
        ("ALERTLOOP_TOKEN_FILE", file("token", TOKEN)),
        ("ALERTLOOP_TOKEN_PREVIOUS_FILE", file("previous", PREVIOUS)),
        ("ALERTLOOP_ADMIN_USER", "ops".to_owned()),
        ("ALERTLOOP_ADMIN_PASSWORD_FILE", file("password", PASSWORD)),
    ];
    let app = start(&settings).await;
    let login = |password: &str| {
        Answer::of(app.get("/mapi/dead-letters").basic_auth("ops", Some(password.to_owned())))
    };
    assert_eq!(login(PASSWORD).await.status, 200);
    admits(&app, TOKEN, 200).await;
    admits(&app, PREVIOUS, 200).await;
    file("previous", TOKEN);
    file("token", &format!("{next}\n"));
    file("password", "fishing-season");
    admits(&app, next, 200).await;
    // What is the previous one now is never refused; what was it before is, once that is read.
    admits(&app, TOKEN, 200).await;
    admits(&app, PREVIOUS, 401).await;
    let until = async {
        while login("fishing-season").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), until).await.expect("the new password");
    assert_eq!(login(PASSWORD).await.status, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_of_a_secret_changes_nothing_and_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).expect("a file");
    let mut settings = crate::support::settings(&Store::away(), dir.path());
    settings.remove("ALERTLOOP_TOKEN");
    for (name, value) in
        [("ALERTLOOP_TEMPLATE", "none"), ("ALERTLOOP_TOKEN_FILE", file.to_str().expect("UTF-8"))]
    {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    std::fs::write(&file, "short").expect("a file");
    process.says("a file of a secret is no good any more").await;
    assert_eq!(process.alert("").await, 200, "an empty post with the secret of before");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_does_is_logged_with_their_name_and_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = crate::support::settings(&Store::away(), dir.path());
    settings.insert("ALERTLOOP_TEMPLATE".to_owned(), "none".to_owned());
    let logins = logins(dir.path()).into_iter().map(|(name, value)| (name.to_owned(), value));
    settings.extend(logins);
    settings.insert("ALERTLOOP_TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned());
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (user, path, message) in [
        ("bob", "/mapi/dead-letters/replay", "dead letters are replayed"),
        ("ops", "/mapi/dead-letters/drop", "dead letters are dropped"),
        ("bob", "/mapi/deliveries/replay", "deliveries are replayed"),
    ] {
        let request = client.post(process.url(path)).basic_auth(user, Some(PASSWORD));
        let request = request.header("x-forwarded-for", "198.51.100.7");
        let request = request.header("content-type", "application/json").body(r#"{"all":true}"#);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json);
        process.says(message).await;
        let log = process.log();
        let line = log.iter().find(|line| line["message"] == message).expect("it was said");
        assert_eq!(line["user.name"], user, "{line}");
        assert_eq!(line["client.address"], "198.51.100.7", "{line}");
    }
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_follows_a_secret_that_changes() {
    let store = store!(alerting);
    let _turn = provisioning(&store).await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).expect("a file");
    let path = file.to_str().expect("UTF-8");
    let settings = [("ALERTLOOP_TOKEN", ""), ("ALERTLOOP_TOKEN_FILE", path)];
    let app = App::start_provisioning_with(&store, &settings).await;
    app.wait_until_provisioned().await;
    let next = "the-secret-of-after-this";
    std::fs::write(&file, next).expect("a file");
    let client = store.client();
    let carried = async || {
        let token = alertloop::provision::token_in_use(&client).await.expect("an answer");
        token.map(|token| token.expose().to_owned())
    };
    let follows = async {
        while carried().await.as_deref() != Some(next) {
            // As long as the channel carries the old one, it is not refused.
            let request = app.post("/mapi/alert").header("x-alertloop-token", TOKEN);
            let status = Answer::of(request).await.status;
            assert!(status == 200 || carried().await.as_deref() == Some(next), "{status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), follows).await.expect("the channel follows");
    admits(&app, next, 200).await;
    admits(&app, TOKEN, 401).await;
    app.stop().await;
    store.remove_loopback().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_of_the_locks_stops_the_start_without_its_value() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("alertloop.toml");
    std::fs::write(
        &file,
        "[[user]]\nname = \"a:b\"\nrole = \"reader\"\npassword = \"hunter2\"\n[[user]]\nname = \"c\"\nrole = \"root\"\npassword = \"hunter2\"\n[[user]]\nname = \"d\"\nrole = \"reader\"\n",
    )
    .expect("a file");
    let mut settings = crate::support::settings(&Store::away(), dir.path());
    for (name, value) in [
        ("ALERTLOOP_CONFIG", file.to_str().expect("UTF-8")),
        ("ALERTLOOP_TRUSTED_PROXIES", "hunter2"),
        ("ALERTLOOP_TLS_CERT", "/nowhere/hunter.crt"),
        ("ALERTLOOP_MAX_CONNECTIONS", "0"),
        ("ROLE_BASED_ACCESS", "perhaps"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let (code, _, said) = Process::output(&settings, &["serve"]);
    assert_eq!(code, 2, "{said}");
    for want in [
        "ALERTLOOP_TRUSTED_PROXIES: needs addresses and networks",
        "ALERTLOOP_TLS_CERT: needs ALERTLOOP_TLS_KEY too",
        "ALERTLOOP_TLS_CERT: cannot read the file",
        "ALERTLOOP_MAX_CONNECTIONS: needs a whole number",
        "ROLE_BASED_ACCESS: must be true or false",
        "ALERTLOOP_CONFIG: user 1: name: must hold no colon",
        "ALERTLOOP_CONFIG: user 2: role: must be reader, operator or admin",
        "ALERTLOOP_CONFIG: user 3: needs either password or password_file",
    ] {
        assert!(said.contains(want), "{want} is not in: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
