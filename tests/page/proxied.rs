//! Behind a real nginx, below a path, as beside Malcolm: every link, form and event finds its way.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    alert, browser as new_browser, store,
    support::{App, skip},
};

/// The service's place, as docs/page.md has it.
fn configuration(dir: &Path, port: u16, upstream: std::net::SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1;
events {{}}
http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
server {{ listen 127.0.0.1:{port};
location = /alertloop {{ return 301 /alertloop/; }}
location /alertloop/ {{ proxy_pass http://{upstream}/; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h; proxy_set_header Authorization $http_authorization; }}
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
    // A proxy hands on what a browser says of itself: it needs a login.
    let login =
        [("ALERTLOOP_ADMIN_USER", "ops"), ("ALERTLOOP_ADMIN_PASSWORD", "a-password-of-tests")];
    let app = App::start(&store, &login).await;
    app.alert(alert("Behind a proxy", "x", 2, "proxied")).await;
    app.alert("no alert at all".to_owned()).await;
    store.wait_for_records(1).await;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("nginx.conf");
    fs::write(&file, configuration(dir.path(), port, app.address())).expect("a file");
    let arguments =
        ["-p", dir.path().to_str().expect("UTF-8"), "-c", file.to_str().expect("UTF-8")];
    let child = Command::new(nginx).args(arguments).stderr(Stdio::null()).spawn().expect("nginx");
    let nginx = Nginx(child);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let login = "Basic b3BzOmEtcGFzc3dvcmQtb2YtdGVzdHM=";
    let headers = serde_json::json!({"headers": {"Authorization": login}});
    browser.call("Network.setExtraHTTPHeaders", headers).await;
    browser.goto(&format!("http://127.0.0.1:{port}/alertloop")).await;
    assert_eq!(browser.eval("location.pathname").await, "/alertloop/");
    assert_eq!(browser.eval("getComputedStyle(document.body).marginTop").await, "0px", "styled");
    browser.until("document.getElementById('live-state').textContent === 'Live'").await;
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
