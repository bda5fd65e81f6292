//! Alerts go on as ntopng's: its webhook, and what its alert endpoints gave to a program. What we send
//! is held against our own intake as well.

use std::fs;

use serde_json::{Value, json};

use crate::{
    callbacks::{client, deliveries, program, settings_with},
    store,
    support::{Answer, App, Process, Received, Receiver, Store, TOKEN},
};

const SECRET: &str = "hunter2 \"is\" a secret";

/// A post of Alertmanager about a host, that fires or is over.
fn post(status: &str) -> String {
    let end = if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-11-06T10:34:35Z" };
    json!({"version": "4", "status": status, "groupLabels": {}, "alerts": [{
        "status": status, "labels": {"alertname": "Port scan", "instance": "10.44.3.3:9100", "severity": "high"},
        "annotations": {"description": "many ports"}, "startsAt": "2026-11-06T10:33:20Z", "endsAt": end,
        "fingerprint": "f1"}]})
    .to_string()
}

async fn send(process: &Process, body: String) {
    let url = process.url("/mapi/alert/alertmanager");
    let request = client().post(url).header("x-alertloop-token", TOKEN);
    let answer = Answer::of(request.header("prefer", "wait=20").body(body)).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
}

/// What is sent when an alert begins and ends: to a receiver, and to a program.
async fn sent(store: &Store) -> (Vec<Value>, Vec<Value>) {
    store.make_template().await;
    let (dir, receiver) = (tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).expect("a file");
    let script = program(dir.path(), "page", "cat >> input; echo >> input");
    let callbacks = format!(
        "[[callback]]\nname = 'soc'\ntype = 'http'\nurl = '{}'\npayload = 'ntopng'\n\
         shared_secret_file = '{}'\nactions = ['engaged', 'released']\nat_once = 1\n\
         [[callback]]\nname = 'page'\ntype = 'script'\nprogram = '{}'\npayload = 'ntopng'\n\
         directory = '{}'\nactions = ['engaged', 'released']\nat_once = 1\n",
        receiver.url("ntopng"),
        secret.display(),
        script.display(),
        dir.path().display(),
    );
    let process = Process::serve(&settings_with(store, dir.path(), &callbacks));
    let delivered = |count: usize| {
        move |items: &[Value]| {
            items.len() == count && items.iter().all(|one| one["state"] == "delivered")
        }
    };
    send(&process, post("firing")).await;
    deliveries(&process, "", delivered(2)).await;
    send(&process, post("resolved")).await;
    let kept = deliveries(&process, "", delivered(4)).await;
    for one in &kept {
        let url =
            process.url(&format!("/mapi/deliveries/{}", one["id"].as_i64().expect("a number")));
        let shown = Answer::of(client().get(url)).await;
        assert_eq!(shown.status, 200);
        assert!(!shown.json.to_string().contains("hunter2"), "{:?}", shown.json);
    }
    let bodies = receiver.received("ntopng").iter().map(Received::json).collect();
    let input = fs::read_to_string(dir.path().join("input")).expect("what it was given");
    let objects = input.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    process.kill();
    (bodies, objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_engages_and_is_released_goes_on_as_ntopngs_by_http_and_to_a_program() {
    let store = store!();
    let (bodies, objects) = sent(&store).await;
    assert_eq!((bodies.len(), objects.len()), (2, 2));
    for (body, action, end) in [(&bodies[0], "engage", 0), (&bodies[1], "release", 1_793_961_275)] {
        assert_eq!((&body["version"], &body["sharedsecret"]), (&json!("0.2"), &json!(SECRET)));
        let alert = &body["alerts"][0];
        assert_eq!((&alert["action"], &alert["tstamp_end"]), (&json!(action), &json!(end)));
        assert_eq!((&alert["ip"], &alert["alert_id"]), (&json!("10.44.3.3"), &json!(27)));
        assert_eq!((&alert["tstamp"], &alert["score"]), (&json!(1_793_961_200), &json!(100)));
    }
    assert_eq!((&objects[0]["action"], &objects[0]["alert_engine"]), (&json!("engage"), &json!(0)));
    assert_eq!((&objects[1]["action"], &objects[1]["duration"]), (&json!("release"), &json!(75)));
    assert_eq!(objects[0]["alert_key"], objects[1]["alert_key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_as_ntopngs_comes_back_as_one_record() {
    let (sending, store) = (store!(), store!());
    let (bodies, objects) = sent(&sending).await;
    let app = App::start(&store, &[]).await;
    let take = async |body: &Value| {
        let request = app.post("/mapi/alert/ntopng").header("x-alertloop-token", TOKEN);
        Answer::of(request.header("prefer", "wait=20").body(body.to_string())).await
    };
    for body in &bodies {
        let answer = take(body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
    }
    let record = store.wait_for_records(1).await.remove(0)["_source"].clone();
    let event = &record["event"];
    assert_eq!((&event["action"], &event["severity"]), (&json!("released"), &json!(80)));
    assert_eq!(event["duration"], json!(75_000_000_000_i64));
    assert_eq!(record["rule"]["name"], "external_script");
    assert_eq!(record["message"], "many ports");
    assert!(
        record["related"]["ip"].as_array().is_some_and(|all| all.contains(&json!("10.44.3.3")))
    );
    assert!(!record.to_string().contains("hunter2"), "{record}");
    for object in &objects {
        assert_eq!(take(object).await.status, 200, "{object}");
    }
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}
