//! The whole stack, as docker/ has it: OpenSearch with TLS and users, alertloop with the roles that
//! `security-setup` gives it, a real monitor, and nginx before alertloop with the shipped
//! configuration.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{client, setup::Desk};
use crate::{
    store,
    support::{self, Answer, Process, skip},
};

const SHIPPED: [(&str, &str); 2] = [
    ("alerts.conf", include_str!("../../../docker/nginx-alertloop.conf")),
    ("page.conf", include_str!("../../../docker/nginx-alertloop-page.conf")),
];
/// As Malcolm's `nginx_auth_basic.conf`, for a user who is an administrator there.
const AUTH: &str = "auth_basic \"Authentication Required\";
auth_basic_user_file HTPASSWD;
proxy_set_header X-Forwarded-User $remote_user;
proxy_set_header X-Forwarded-Roles \"admin\";
";

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a free port").port()
}

struct Nginx(Child, u16);

impl Nginx {
    /// Starts it at `port`, before alertloop at `alertloop`; `None` where there is none.
    fn start(dir: &Path, port: u16, alertloop: u16) -> Option<Self> {
        let found = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
        let program = found.iter().map(PathBuf::from).find(|path| path.exists())?;
        let file = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).expect("a file");
            path.to_str().expect("UTF-8").to_owned()
        };
        // ann:ann-s-password, as `openssl passwd -apr1` writes it.
        let htpasswd = file("htpasswd", format!("ann:{}\n", hashed("ann-s-password")?));
        let auth = file("auth.conf", AUTH.replace("HTPASSWD", &htpasswd));
        let shipped: String = SHIPPED
            .map(|(name, text)| {
                let text = text
                    .replace("alertloop:5000", &format!("127.0.0.1:{alertloop}"))
                    .replace("/etc/nginx/nginx_auth_rt.conf", &auth);
                format!("include {};", file(name, text))
            })
            .concat();
        let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", at(&format!("nginx-{kind}"))))
            .concat();
        let config = file(
            "nginx.conf",
            format!(
                "daemon off; pid {}; user root; worker_processes 1; error_log stderr;
                 events {{}} http {{ access_log off; {temporary}
                 server {{ listen 127.0.0.1:{port}; location / {{ return 418; }} {shipped} }} }}",
                at("nginx.pid")
            ),
        );
        let log = fs::File::create(dir.join("nginx.log")).expect("a file");
        let mut command = Command::new(program);
        command.args(["-p", &at(""), "-e", "stderr", "-c", &config]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut nginx = Self(command.spawn().expect("a process"), port);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = nginx.0.try_wait().expect("a status").is_some();
            let log = || fs::read_to_string(dir.join("nginx.log")).unwrap_or_default();
            assert!(!has_ended && begun.elapsed() < Duration::from_secs(10), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.1)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // In order, so that its worker goes too.
        Command::new("kill").arg(self.0.id().to_string()).status().ok();
        self.0.wait().ok();
    }
}

fn hashed(password: &str) -> Option<String> {
    let output = Command::new("openssl").args(["passwd", "-apr1", password]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_goes_round_the_whole_stack_and_the_page_is_behind_the_login_of_nginx() {
    let store = store!(secured);
    let _alone = support::provisioning(&store).await;
    let desk = Desk::new(&store).await;
    let (alertloop, outside) = (free_port(), free_port());
    let Some(nginx) = Nginx::start(desk.dir.path(), outside, alertloop) else {
        return skip("there is no nginx, or no openssl");
    };
    let (code, text, errors) = desk.run("apply", &[]);
    assert_eq!(code, 0, "{text}{errors}");

    let mut settings = desk.settings.clone();
    settings.remove("ALERTLOOP_TOKEN"); // made, and found by OpenSearch in its channel
    for (name, value) in [
        ("ALERTLOOP_LISTEN", format!("127.0.0.1:{alertloop}")),
        ("ALERTLOOP_WEBHOOK_URL", nginx.url("/mapi/alert")),
        ("ALERTLOOP_TEMPLATE", "auto".to_owned()),
        ("ALERTLOOP_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ("ROLE_ADMIN", "admin".to_owned()),
    ] {
        settings.insert(name.to_owned(), value);
    }
    let process = Process::serve(&settings);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let provisioned = async {
        while Answer::of(http.get(process.url("/readyz"))).await.json["provisioning"] != "done" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), provisioned).await.is_ok();
    assert!(done, "{:#?}", process.warnings());

    fire(&desk, store.pattern()).await;
    let records = store.wait_for_records(2).await;
    let record = records.iter().find(|hit| hit["_source"]["event"]["dataset"] == "alerting");
    let record = record.unwrap_or_else(|| panic!("{records:#?}"));
    assert_eq!(record["_source"]["rule"]["name"], "Malcolm API Loopback Monitor", "{record:#}");

    let post = http.post(nginx.url("/mapi/alert")).body("{}");
    assert_eq!(Answer::of(post).await.status, 401, "a stranger has no secret");
    for path in ["/alertloop/", "/alertloop/mapi/deliveries"] {
        assert_eq!(Answer::of(http.get(nginx.url(path))).await.status, 401, "{path}");
        let as_ann = http.get(nginx.url(path)).basic_auth("ann", Some("wrong"));
        assert_eq!(Answer::of(as_ann).await.status, 401, "{path}");
    }
    let api = http.get(nginx.url("/alertloop/mapi/deliveries"));
    let api = Answer::of(api.basic_auth("ann", Some("ann-s-password"))).await;
    assert_eq!(api.status, 200, "{api:?}");
    drop(nginx);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    store.remove_loopback().await;
    store.json(Method::Delete, "/_template/alertloop_sessions", Value::Null).await.expect("none");
    desk.clean().await;
}

/// Has the loopback monitor find something, as a user who may edit it does.
async fn fire(desk: &Desk<'_>, pattern: &str) {
    let user = client(&desk.settings).expect("a client");
    let session = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"module": "zeek"}});
    let index = pattern.replace('*', "261105");
    let line = |json: Value| json.to_string() + "\n";
    let lines = line(json!({"index": {"_index": index, "_id": "session"}})) + &line(session);
    user.send_ndjson("/_bulk?refresh=wait_for", lines.into()).await.expect("a session");
    let monitors = "/_plugins/_alerting/monitors";
    let name = json!({"query": {"term": {"monitor.name.keyword": "Malcolm API Loopback Monitor"}}});
    let found = user.call(Method::Post, &format!("{monitors}/_search"), Some(&name)).await;
    let hit = found.expect("a search")["hits"]["hits"][0].take();
    let mut monitor = hit["_source"].clone();
    monitor["inputs"][0]["search"]["query"] = json!({"size": 0, "query": {"match_all": {}}});
    let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
    trigger["condition"]["script"]["source"] = json!("ctx.results[0].hits.total.value > 0");
    let one = format!("{monitors}/{}", hit["_id"].as_str().expect("an id"));
    user.call(Method::Put, &one, Some(&monitor)).await.expect("an edit");
    let run = format!("{one}/_execute?dryrun=false");
    user.call(Method::Post, &run, None).await.expect("a run");
}
