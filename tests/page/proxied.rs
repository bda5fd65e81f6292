//! Behind a real nginx, below a path, as beside Malcolm: every link, form and event finds its way.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    alert, browser as new_browser, store,
    support::{App, skip},
};

/// As it is shipped, with what only a container has replaced: the login's file, the resolver, the name.
const SHIPPED: &str = include_str!("../../docker/nginx-alertloop-page.conf");
/// As its comments say, for where Malcolm's own file is not.
const LOGIN: &str = "auth_basic \"alertloop\"; auth_basic_user_file DIR/htpasswd;
proxy_set_header X-Forwarded-User $remote_user; proxy_set_header X-Forwarded-Roles \"admin\";";

fn configuration(dir: &Path, port: u16, upstream: std::net::SocketAddr) -> String {
    let dir = dir.display();
    let mut shipped = SHIPPED.to_owned();
    for (there, here) in [
        ("/etc/nginx/nginx_auth_rt.conf", format!("{dir}/login.conf")),
        ("  resolver 127.0.0.11 valid=10s;\n  resolver_timeout 3s;\n", String::new()),
        ("set $alertloop alertloop:5000;", format!("set $alertloop {upstream};")),
    ] {
        assert!(shipped.contains(there), "{there}");
        shipped = shipped.replace(there, &here);
    }
    format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1;
events {{}}
http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
server {{ listen 127.0.0.1:{port};
{shipped}
}} }}"
    )
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        Command::new("kill").args(["-s", "TERM", &id]).status().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_path_of_nginx_everything_finds_its_way() {
    let store = store!();
    let nginx =
        ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let Some(nginx) = nginx else { return skip("there is no nginx") };
    let mut browser = new_browser!();
    let trusted = [("ALERTLOOP_TRUSTED_PROXIES", "127.0.0.1"), ("ROLE_BASED_ACCESS", "true")];
    let app = App::start(&store, &trusted).await;
    app.alert(alert("Behind a proxy", "x", 2, "proxied")).await;
    app.alert("no alert at all".to_owned()).await;
    store.wait_for_records(1).await;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("nginx.conf");
    fs::write(&file, configuration(dir.path(), port, app.address())).expect("a file");
    for (name, text) in [
        ("login.conf", LOGIN.replace("DIR", dir.path().to_str().expect("UTF-8"))),
        ("htpasswd", "ops:{PLAIN}a-password-of-tests\n".to_owned()),
    ] {
        // Its workers may be of another user.
        let file = dir.path().join(name);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let arguments =
        ["-p", dir.path().to_str().expect("UTF-8"), "-c", file.to_str().expect("UTF-8")];
    let child = Command::new(nginx).args(arguments).stderr(Stdio::null()).spawn().expect("nginx");
    let nginx = Nginx(child);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let login = "Basic b3BzOmEtcGFzc3dvcmQtb2YtdGVzdHM=";
    let nobody = reqwest::Client::builder().no_proxy().build().expect("a client");
    let place = format!("http://127.0.0.1:{port}/alertloop/");
    let nobody = nobody.get(&place).header("x-forwarded-user", "ops");
    let nobody = nobody.header("x-forwarded-roles", "admin").send().await.expect("an answer");
    assert_eq!(nobody.status(), 401, "nginx lets nobody in who only says so");
    // Who somebody is, nginx says, whatever the browser says.
    let headers = serde_json::json!({"Authorization": login, "X-Forwarded-User": "root"});
    browser.send_along(headers).await;
    browser.goto(&format!("http://127.0.0.1:{port}/alertloop")).await;
    assert_eq!(browser.eval("location.pathname").await, "/alertloop/");
    assert_eq!(browser.eval("getComputedStyle(document.body).marginTop").await, "0px", "styled");
    browser.until("document.getElementById('live-state').textContent === 'Live'").await;
    assert!(browser.text().await.contains("you are ops, admin"));
    // Events come through it as they happen.
    app.alert(alert("Comes live", "x", 2, "live")).await;
    browser.until("document.getElementById('live-news').textContent.includes('Comes live')").await;
    browser
        .until("document.querySelector('tbody[data-rows]').innerText.includes('Comes live')")
        .await;
    browser.follow("tbody tr th a").await;
    assert!(browser.text().await.contains("Its life"));
    browser.follow("nav li:nth-child(5) a").await;
    assert_eq!(browser.eval("location.pathname").await, "/alertloop/dead-letters");
    browser.follow("tbody tr th a").await;
    browser.follow("button.danger").await;
    browser.follow("main button.danger").await;
    assert!(browser.text().await.contains("1 dead letter dropped for good."));
    assert_eq!(browser.eval("location.pathname").await, "/alertloop/dead-letters");
    browser.goto(&format!("http://127.0.0.1:{port}/alertloop/alerts/")).await;
    assert_eq!(browser.eval("location.pathname").await, "/alertloop/alerts");
    assert!(browser.complaints().is_empty());
    drop(nginx);
    app.stop().await;
}
