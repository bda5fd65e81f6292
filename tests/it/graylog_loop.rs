//! Graylog's alerting as a whole, on OpenSearch: a condition fires on a stream, its callbacks get the
//! backlog, and what we post in Graylog's words is taken as Graylog's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use alertloop::condition::file::{self, Defaults};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    callbacks::{client, deliveries, settings_with},
    store,
    support::{
        Answer, Channel, MailServer, Process, Receiver, Store, TOKEN, Watched, settings, skip,
    },
};

const PATIENCE: Duration = Duration::from_mins(1);
const CALLBACK: &str = include_str!("../graylog/callback.json");

/// So many are in this state.
fn count(items: &[Value], state: &str) -> usize {
    items.iter().filter(|one| one["state"] == state).count()
}

/// What stays the same wherever an alert was sent: not when it came, and in which words.
fn told(record: &Value) -> Value {
    let mut source = record["_source"].clone();
    for key in ["ingested", "hash", "original"] {
        source["event"].as_object_mut().expect("an event").remove(key);
    }
    json!({"_id": record["_id"], "_source": source})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_post_in_graylogs_words_becomes_the_same_record() {
    let (near, far) = (store!(), store!());
    near.make_template().await;
    far.make_template().await;
    let dirs = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let takes = Process::serve(&settings(&far, dirs[1].path()));
    let callback = |payload: &str, rules: &str| {
        format!(
            "[[callback]]\nname = '{payload}'\ntype = 'http'\nurl = '{}'\n\
             payload = '{payload}'\nbearer = '{TOKEN}'\nrules = ['{rules}']\n",
            takes.url("/mapi/alert/graylog")
        )
    };
    let both = callback("graylog", "message_count") + &callback("graylog-event", "Failed*");
    let gives = Process::serve(&settings_with(&near, dirs[0].path(), &both));
    let event = json!({
        "event_definition_id": "66f0", "event_definition_type": "aggregation-v1",
        "event_definition_title": "Failed logins", "event_definition_description": "Guesses",
        "event": {"id": "01KA40B6R8S0T2V4W6X8Y0Z1A3", "timestamp": "2026-11-04T10:00:00.000Z",
            "timerange_start": "2026-11-04T09:55:00.000Z",
            "timerange_end": "2026-11-04T10:00:00.000Z",
            "source_streams": ["5a0c"], "message": "Failed logins: count()=23.0",
            "source": "graylog-1", "key": "10.3.0.9", "priority": 3, "tags": ["perimeter"],
            "fields": {}, "group_by_fields": {"source_ip": "10.3.0.9"},
            "aggregation_conditions": {"count()": 23.0}},
        "backlog": [{"index": "graylog_1", "id": "m1", "source": "vpn-1", "message": "failed",
            "timestamp": "2026-11-04T09:55:01.000Z", "stream_ids": ["5a0c"],
            "fields": {"user_name": "ada", "src_ip": "192.0.2.7"}}]});
    for body in [event.to_string(), CALLBACK.to_owned()] {
        let post = client().post(gives.url("/mapi/alert/graylog"));
        let answer = Answer::of(post.header("x-alertloop-token", TOKEN).body(body)).await;
        assert!([200, 202].contains(&answer.status), "{answer:?}");
    }
    deliveries(&gives, "", |items| count(items, "delivered") == 2).await;
    let mut records = [near.wait_for_records(2).await, far.wait_for_records(2).await];
    for records in &mut records {
        records.sort_by_key(|record| record["_id"].to_string());
    }
    let [own, theirs] = records.map(|all| all.iter().map(told).collect::<Vec<_>>());
    assert_eq!(own, theirs);
    gives.kill();
    takes.kill();
}

/// Those that the condition names, and one that it does not.
fn callbacks(dir: &Path, receiver: &Receiver, port: u16) -> String {
    let program = dir.join("page");
    fs::write(&program, "#!/bin/sh\necho \"$ALERT_CONDITION on $ALERT_STREAM\"\n").expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    format!(
        r#"
[[callback]]
name = "hook"
type = "http"
url = "{hook}"
payload = "graylog"

[[callback]]
name = "mail"
type = "email"
server = "127.0.0.1"
port = {port}
tls = "none"
from = "soc@example.org"
to = "duty@example.org"
subject = "${{stream.title}}: ${{check_result.resultDescription}}"
text = "${{if backlog}}${{foreach backlog message}}${{message.source}}: ${{message.message}}\n${{end}}${{else}}nothing${{end}}"

[[callback]]
name = "page"
type = "script"
program = "{program}"

[[callback]]
name = "end"
type = "http"
url = "{end}"
actions = ["released"]

[[callback]]
name = "not named"
type = "http"
url = "{not_named}"
"#,
        hook = receiver.url("hook"),
        program = program.display(),
        end = receiver.url("end"),
        not_named = receiver.url("not-named"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_calls_back_with_its_backlog_and_keeps_its_grace() {
    let store = store!(alerting);
    store.make_template().await;
    let mail = match MailServer::start_with(&json!({})) {
        Ok(server) => server,
        Err(why) => return skip(&why),
    };
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let callbacks = callbacks(dir.path(), &receiver, mail.port());
    let mut settings = settings_with(&store, dir.path(), &callbacks);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a free port").to_string();
    let webhook = format!("http://{address}/mapi/alert");
    for (name, value) in [
        ("ALERTLOOP_LISTEN", address.as_str()),
        ("ALERTLOOP_WEBHOOK_URL", &webhook),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let channel = Channel::to(&store, &webhook).await;
    let title = format!("it: loop {}", store.pattern());
    let text = format!(
        "title = \"{title}\"\nenabled = false\ntype = \"message_count\"\nthreshold = 1\ntime = 10\n\
         backlog = 5\ngrace = 30\ncallbacks = [\"hook\", \"mail\", \"page\", \"end\"]\n\
         stream.title = \"Errors\"\nstream.query = \"node:n\""
    );
    let defaults = Defaults { index_pattern: store.pattern(), time_field: "firstPacket" };
    let condition = file::read(&text, "it_loop", defaults).expect("a condition");
    let monitor = Watched::of(&store, condition.monitor(&channel.id)).await;
    let process = Process::serve(&settings);
    let message = async |name: &str, node: &str| {
        let now = jiff::Timestamp::now().as_millisecond();
        let document = json!({"firstPacket": now, "node": node, "host": {"name": "web-1"},
            "message": format!("{name} \"broke\" ${{x}} {{{{y}}}}")});
        let path = format!("{}/_doc/{name}?refresh=true", store.index("261121"));
        store.json(Method::Put, &path, document).await.expect("a message");
    };

    // One message is not more than one.
    message("first", "n").await;
    monitor.run().await;
    assert_eq!(monitor.alerts().await, Vec::<Value>::new());
    message("second", "n").await;
    monitor.run().await;
    let first = deliveries(&process, "", |items| count(items, "delivered") == 3).await;
    assert_eq!(first.len(), 3, "those that it names: {first:#?}");
    let hook = receiver.received("hook").remove(0).json();
    let result = &hook["check_result"];
    assert_eq!(
        result["result_description"],
        "Stream had 2 messages in the last 10 minutes with trigger condition more than 1 messages. (Current grace time: 30 minutes)"
    );
    let parameters = &result["triggered_condition"]["parameters"];
    assert_eq!((&parameters["threshold"], &parameters["grace"]), (&json!(1), &json!(30)));
    assert_eq!(parameters["callbacks"], Value::Null);
    assert_eq!(hook["stream"]["title"], "Errors");
    let messages = result["matching_messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 2, "{hook:#}");
    assert_eq!(messages[0]["message"], "second \"broke\" ${x} {{y}}");
    let sent = mail.next();
    let subject = sent["headers"]["Subject"][0].as_str().expect("a subject");
    assert!(subject.starts_with("Errors: Stream had 2 messages"), "{subject}");
    let lines = sent["text"].as_str().expect("a text").replace("\r\n", "\n");
    assert!(
        lines.contains("web-1: second \"broke\" ${x} {{y}}\nweb-1: first \"broke\""),
        "{lines}"
    );
    let page = first.iter().find(|one| one["callback"] == "page").expect("one");
    let page = Answer::of(client().get(process.url(&format!("/mapi/deliveries/{}", page["id"]))));
    assert_eq!(page.await.json["runs"][0]["answer"], format!("{title} on Errors"));

    // Still there: nobody is called again. Over: who wants to know is.
    monitor.run().await;
    for name in ["first", "second"] {
        message(name, "elsewhere").await;
    }
    monitor.run().await;
    let over = deliveries(&process, "", |items| count(items, "delivered") == 4).await;
    assert_eq!((over.len(), &over[3]["callback"]), (4, &json!("end")), "{over:#?}");

    // Again within the grace: a record, and no call.
    for name in ["first", "second"] {
        message(name, "n").await;
    }
    monitor.run().await;
    let held = deliveries(&process, "", |items| count(items, "held") == 3).await;
    assert_eq!(held.len(), 7, "{held:#?}");
    let records = async || {
        let all = store.records().await.into_iter();
        all.filter(|hit| hit["_source"]["event"]["dataset"] == "alerting").collect::<Vec<_>>()
    };
    let begun = Instant::now();
    while records().await.len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "no second record: {held:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(receiver.received("not-named").is_empty());
    assert_eq!(receiver.received("hook").len(), 1);
    assert_eq!(mail.rest(), Vec::<Value>::new());
    process.kill();
    monitor.remove().await;
    channel.remove().await;
}

/// The server is away, then lets nobody in with the old password, then refuses one receiver for good
/// and puts the other off once. The mail comes once, and history says all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_tried_until_it_is_taken_and_its_history_says_why_it_was_not() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("a free port").port();
    let dir = tempfile::tempdir().expect("a directory");
    let password = dir.path().join("password");
    fs::write(&password, "hunter2-old\n").expect("a file");
    let callback = format!(
        "[[callback]]\nname = 'mail'\ntype = 'email'\nserver = '127.0.0.1'\nport = {port}\ntls = 'none'\n\
         from = 'soc@example.org'\nto = ['duty@example.org', 'gone@example.org']\nuser = 'soc'\n\
         password_file = '{}'\n",
        password.display()
    );
    let process = Process::serve(&settings_with(&Store::away(), dir.path(), &callback));
    let request = client().post(process.url("/mapi/alert/graylog"));
    let answer = Answer::of(request.header("x-alertloop-token", TOKEN).body(CALLBACK)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let waits = async |why: &str| {
        let waits = |items: &[Value]| {
            let reason = |one: &Value| one["reason"].as_str().unwrap_or_default().to_owned();
            items.len() == 1 && items[0]["state"] == "pending" && reason(&items[0]).contains(why)
        };
        deliveries(&process, "", waits).await;
    };
    waits("cannot connect").await;
    let server = match MailServer::start_with(
        &json!({"username": "soc", "password": "hunter2-new", "port": port,
        "receivers": {"gone@example.org": ["550 no such user"], "duty@example.org": ["450 later", ""]}}),
    ) {
        Ok(server) => server,
        Err(why) => return skip(&why),
    };
    waits("535").await;
    fs::write(&password, "hunter2-new\n").expect("a file");
    let done = deliveries(&process, "", |items| count(items, "delivered") == 1).await;
    let one = client().get(process.url(&format!("/mapi/deliveries/{}", done[0]["id"])));
    let one = Answer::of(one).await.json;
    let runs = one["runs"].as_array().expect("runs");
    let answers: Vec<_> = runs.iter().map(|run| run["outcome"].as_str().expect("one")).collect();
    let (last, before) = answers.split_last().expect("runs");
    assert_eq!((*last, before.iter().all(|outcome| *outcome == "again")), ("delivered", true));
    assert!(before.len() >= 3, "{runs:#?}");
    let told = runs.last().expect("one")["answer"].as_str().expect("an answer");
    assert!(told.contains("not taken: gone@example.org: 550 no such user"), "{told}");
    let mails: Vec<_> = server.rest().into_iter().filter(|one| one["mail"].is_string()).collect();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(mails[0]["to"], json!(["duty@example.org"]));
    let text = mails[0]["text"].as_str().expect("a text");
    assert!(text.contains("the queue is nearly full"), "its backlog: {text}");
    assert!(!format!("{:?} {one}", process.log()).contains("hunter2"), "a password is shown");
    process.kill();
}
