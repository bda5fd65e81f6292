//! What ntopng sends, from its request to the record.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    store,
    support::{Answer, App, Process, Proxy, TOKEN, settings},
};

const ROUTE: &str = "/mapi/alert/ntopng";
const PREVIOUS: &str = "the-secret-from-before";

/// A host's alert of ntopng 6.2.
fn host(ip: &str, action: &str, end: i64) -> Value {
    json!({"ifid": 3, "pool_id": 0, "action": action, "alert_id": 20, "alert_category": 1, "score": 100,
        "acknowledged": false, "subtype": "", "ip_version": 4, "ip": ip, "name": "web-1", "vlan_id": 0,
        "observation_point_id": 0, "entity_id": 1, "entity_val": format!("{ip}@0"), "tstamp": 1_793_961_200,
        "tstamp_end": end, "is_attacker": true, "is_victim": false, "is_client": true, "is_server": false,
        "host_pool_id": 4, "network": 1, "granularity": 60, "json": "{\"alert_generation\":{}}"})
}

/// A flow's, whose name of the server is not to be trusted.
fn flow() -> Value {
    json!({"ifid": 3, "action": "store", "first_seen": 1_793_961_490, "score": 150, "acknowledged": false,
        "is_flow_alert": true, "tstamp": 1_793_961_500, "alert_id": 1, "alert_category": 1, "entity_id": 4,
        "entity_val": "flow", "vlan_id": 12, "proto": 6, "proto.ndpi": "TLS.Google", "l7_proto": 126,
        "cli2srv_bytes": 4120, "cli2srv_packets": 17, "srv2cli_bytes": 90111, "srv2cli_packets": 66,
        "cli_ip": "10.44.4.4", "cli_port": 50505, "cli_name": "pc-4", "cli_localhost": true, "cli_asn": 0,
        "srv_ip": "198.51.100.23", "srv_port": 443, "srv_localhost": false, "srv_asn": 64500,
        "srv_name": "evil.example", "probe_ip": "192.0.2.7", "info": "<script>alert(1)</script>a.example",
        "community_id": "1:8m2Ck0hB5vZr1wqPzT0yJv3nKXc=", "json": ""})
}

fn batch(secret: &str, alerts: &[Value]) -> String {
    json!({"version": "0.2", "sharedsecret": secret, "alerts": alerts}).to_string()
}

/// Posts with no secret but what the body holds.
async fn post(app: &App, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.post(path).header("prefer", "wait=20");
    Answer::of(request.header("content-type", "application/json").body(body)).await
}

fn of_host<'a>(records: &'a [Value], ip: &str) -> &'a Value {
    let found = records.iter().find(|record| record["_source"]["host"]["ip"] == ip);
    &found.expect("a record of this host")["_source"]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_in_the_body_admits_and_is_in_no_record() {
    let store = store!();
    let app = App::start(&store, &[("ALERTLOOP_TOKEN_PREVIOUS", PREVIOUS)]).await;
    for (n, path) in
        [ROUTE, "/mapi/event", "/mapi/alert", "/mapi/alert/ntopng/"].into_iter().enumerate()
    {
        for (m, secret) in [TOKEN, PREVIOUS].into_iter().enumerate() {
            let body = batch(secret, &[host(&format!("10.44.{n}.{m}"), "engage", 0)]);
            let answer = post(&app, path, body).await;
            assert_eq!(answer.status, 200, "{path} {:?}", answer.json);
        }
    }
    let records = store.wait_for_records(8).await;
    let text = format!("{records:?}");
    assert!(!text.contains(TOKEN) && !text.contains(PREVIOUS));
    assert!(text.contains("scan_detected"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_the_right_secret_is_not_kept_and_a_large_one_not_read() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let alerts = [host("10.44.0.1", "engage", 0)];
    let nested =
        json!({"version": "0.2", "alerts": [{"sharedsecret": TOKEN, "type": 1, "entity_type": 1}]});
    let twice = format!(r#"{{"sharedsecret":"{TOKEN}","sharedsecret":"guess","alerts":[]}}"#);
    for (path, body) in [
        (ROUTE, batch("wrong-but-long-enough", &alerts)),
        (ROUTE, batch("", &alerts)),
        (ROUTE, json!({"version": "0.2", "alerts": alerts}).to_string()),
        (ROUTE, nested.to_string()),
        (ROUTE, twice),
        (ROUTE, batch("wrong-but-long-enough", &[])),
        ("/mapi/event", batch("wrong-but-long-enough", &alerts)),
        // Their senders have headers.
        ("/mapi/alert/opensearch", batch(TOKEN, &alerts)),
        ("/mapi/alert/graylog", batch(TOKEN, &alerts)),
    ] {
        let answer = post(&app, path, body.clone()).await;
        assert_eq!(answer.status, 401, "{path} {body}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    let padding = " ".repeat(1 << 20);
    let large = batch(TOKEN, &alerts) + &padding;
    assert_eq!(post(&app, ROUTE, large.clone()).await.status, 401);
    let request = app.post(ROUTE).bearer_auth(TOKEN).header("prefer", "wait=20").body(large);
    assert_eq!(Answer::of(request).await.status, 200, "with a header it may be larger");
    // Streamed, it does not say how large it is.
    let pieces =
        futures_util::stream::iter([padding.clone(), padding]).map(Ok::<_, std::io::Error>);
    assert_eq!(post(&app, ROUTE, reqwest::Body::wrap_stream(pieces)).await.status, 401);
    store.wait_for_records(1).await;
    assert!(app.dead_letters().await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_send_nothing_do_not_keep_out_who_has_the_secret() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        let mut stranger = TcpStream::connect(app.address()).await.expect("a connection");
        let head =
            "POST /mapi/alert/ntopng HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n{";
        stranger.write_all(head.as_bytes()).await.expect("sent");
        strangers.push(stranger);
    }
    let body = json!({"version": "0.2", "alerts": [host("10.44.0.1", "engage", 0)]}).to_string();
    let begin = Instant::now();
    let request = app.post(ROUTE).bearer_auth(TOKEN).header("prefer", "respond-async").body(body);
    assert_eq!(Answer::of(request).await.status, 202);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    for mut stranger in strangers {
        let mut answer = [0; 12];
        let read = stranger.read_exact(&mut answer);
        timeout(Duration::from_secs(15), read).await.expect("in time").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
    store.wait_for_records(1).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_the_recipient_leaves_nothing() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for version in ["0.1", "0.2"] {
        for path in [ROUTE, "/mapi/event"] {
            let body = json!({"version": version, "sharedsecret": TOKEN, "alerts": []}).to_string();
            let answer = post(&app, path, body).await;
            assert_eq!(
                (answer.status, &answer.json["result"]),
                (200, &json!({})),
                "{version} {path}"
            );
            let without = json!({"version": version, "alerts": []}).to_string();
            let basic = app.post(path).basic_auth("ntopng", Some(TOKEN)).body(without);
            assert_eq!(Answer::of(basic).await.status, 200);
        }
    }
    let text = Answer::of(app.get("/metrics")).await;
    assert_eq!(text.status, 200);
    assert!(app.dead_letters().await.is_empty());
    assert_eq!(Answer::of(app.get("/readyz")).await.json["spool"]["waiting"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_alert_of_a_batch_takes_no_other_with_it() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let alerts = [
        host("10.44.0.1", "engage", 0),
        json!(7),
        json!({"odd": 1}),
        host("10.44.0.2", "engage", 0),
    ];
    assert!(post(&app, ROUTE, batch(TOKEN, &alerts)).await.status < 300);
    store.wait_for_records(2).await;
    let letters = app.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("alert 2: a number") && reason.contains("alert 3: "), "{reason}");
    let id = letters[0]["id"].to_string();
    let shown = Answer::of(app.get(&format!("/mapi/dead-letters/{id}"))).await;
    assert_eq!(shown.status, 200);
    assert!(!shown.json.to_string().contains(TOKEN), "{:?}", shown.json);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_fills_the_fields_of_its_traffic_and_no_markup_gets_out() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    assert_eq!(post(&app, "/mapi/event", batch(TOKEN, &[flow()])).await.status, 200);
    let again = post(&app, ROUTE, flow().to_string()).await;
    assert_eq!(again.status, 401);
    let queued =
        app.post(ROUTE).bearer_auth(TOKEN).header("prefer", "wait=20").body(flow().to_string());
    let queued = Answer::of(queued).await;
    assert_eq!(
        (queued.status, &queued.json["result"]["result"]),
        (200, &json!("noop")),
        "it is the same alert"
    );
    let records = store.wait_for_records(1).await;
    let record = &records[0]["_source"];
    for (pointer, want) in [
        ("/source/ip", json!("10.44.4.4")),
        ("/source/port", json!(50505)),
        ("/source/domain", json!("pc-4")),
        ("/source/bytes", json!(4120)),
        ("/source/packets", json!(17)),
        ("/destination/ip", json!("198.51.100.23")),
        ("/destination/domain", json!("evil.example")),
        ("/destination/as/number", json!(64500)),
        ("/network/transport", json!("tcp")),
        ("/network/iana_number", json!("6")),
        ("/network/protocol", json!("tls")),
        ("/network/application", json!("google")),
        ("/network/community_id", json!("1:8m2Ck0hB5vZr1wqPzT0yJv3nKXc=")),
        ("/network/vlan/id", json!("12")),
        ("/network/bytes", json!(94231)),
        ("/network/packets", json!(83)),
        ("/network/direction", json!("outbound")),
        ("/network/type", json!("ipv4")),
        ("/ipProtocol", json!(6)),
        ("/totDataBytes", json!(94231)),
        ("/observer/product", json!("ntopng")),
        ("/observer/ip", json!("192.0.2.7")),
        ("/observer/ingress/interface/id", json!("3")),
        ("/rule/name", json!("blacklisted")),
        ("/rule/id", json!("flow-1")),
        ("/rule/category", json!("security")),
        ("/rule/ruleset", json!("ntopng")),
        ("/event/code", json!("1")),
        ("/event/provider", json!("ntopng")),
        ("/event/action", json!("stored")),
        ("/event/severity", json!(80)),
        ("/tags", json!(["host:10.44.4.4@12", "host:198.51.100.23@12"])),
        ("/related/ip", json!(["10.44.4.4", "198.51.100.23", "192.0.2.7"])),
        ("/related/hosts", json!(["pc-4", "evil.example"])),
        ("/conflicts", Value::Null),
    ] {
        assert_eq!(record.pointer(pointer).cloned().unwrap_or_default(), want, "{pointer}");
    }
    let message =
        "Blacklisted: 10.44.4.4:50505 to 198.51.100.23:443 (tcp tls, a.example, score 150)";
    assert_eq!(
        (&record["message"], &record["event"]["reason"]),
        (&json!(message), &json!(message))
    );
    assert!(record["event"]["original"].as_str().expect("kept").contains("<script>"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engaged_alert_and_its_release_are_one_record_in_any_order() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    for (ip, order) in [("10.44.0.1", ["engage", "release"]), ("10.44.0.2", ["release", "engage"])]
    {
        for action in order.into_iter().chain(order) {
            let end = if action == "release" { 1_793_961_275 } else { 0 };
            assert_eq!(post(&app, ROUTE, batch(TOKEN, &[host(ip, action, end)])).await.status, 200);
        }
    }
    let records = store.wait_for_records(2).await;
    for ip in ["10.44.0.1", "10.44.0.2"] {
        let record = of_host(&records, ip);
        let event = &record["event"];
        assert_eq!(
            (&event["action"], &event["duration"]),
            (&json!("released"), &json!(75_000_000_000_i64))
        );
        assert_eq!(
            (&event["start"], &event["end"]),
            (&json!("2026-11-06T10:33:20.000Z"), &json!("2026-11-06T10:34:35.000Z"))
        );
        assert_eq!(
            (&record["source"]["ip"], &record["host"]["name"]),
            (&json!(ip), &json!("web-1"))
        );
        assert_eq!(record["tags"], json!([format!("host:{ip}"), "host_pool:4"]));
        assert_eq!(record["message"], format!("Scan detected: host {ip} (score 100)"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_the_elasticsearch_recipient_keeps_its_fields() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let inner = r#"{"alert_type":10,"alert_severity":3,"alert_tstamp":1606141256,"first_seen":1606141240,"is_flow_alert":true,
        "action":"store","cli_addr":"192.168.1.29","srv_addr":"23.206.251.35","proto":6,"cli2srv_bytes":681,
        "alert_json":"{"info":"ocsp.example","status_info":"{"goodput_ratio":39.7}"}","flow_status":12}"#;
    let document = json!({"organization": {"name": "ntop"}, "rule": {"name": "Low Goodput Ratio"},
        "event": {"severity_label": "low", "created": "2020-11-23T14:20:56.0Z", "category": "network",
            "module": "ntopng", "kind": "alert", "severity": 3, "dataset": "alerts", "risk_score": 10},
        "source": {"port": 60952, "ip": "192.168.1.29"}, "ecs": {"version": "1.6.0"},
        "destination": {"geo": {"country_iso_code": "US"}, "ip": "23.206.251.35", "as": {"number": 16625}, "port": 80},
        "network": {"community_id": "1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=", "transport": "tcp", "protocol": "http"},
        "message": inner, "@timestamp": "2020-11-23T14:20:56.0Z"});
    let request =
        app.post("/mapi/event").basic_auth("ntopng", Some(TOKEN)).header("prefer", "wait=20");
    let answer = Answer::of(request.body(document.to_string())).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let records = store.wait_for_records(1).await;
    let record = &records[0]["_source"];
    for (pointer, want) in [
        ("/source/ip", json!("192.168.1.29")),
        ("/source/port", json!(60952)),
        ("/source/bytes", json!(681)),
        ("/destination/geo/country_iso_code", json!("US")),
        ("/destination/as/number", json!(16625)),
        ("/network/protocol", json!("http")),
        ("/network/community_id", json!("1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=")),
        ("/event/category", json!("network")),
        ("/event/module", json!("alerting")),
        ("/event/severity", json!(40)),
        ("/event/start", json!("2020-11-23T14:20:40.000Z")),
        ("/rule/name", json!("flow_misbehaviour")),
        ("/rule/description", json!("Low Goodput Ratio")),
    ] {
        assert_eq!(record.pointer(pointer).cloned().unwrap_or_default(), want, "{pointer}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_with_quotes_that_nobody_escaped_is_read_and_its_secret_too() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let body = format!(
        r#"{{"version":"0.2","alerts":[{{"ifid":1,"action":"store","alert_type":49,"alert_entity":1,"alert_entity_val":"10.44.9.9@0","alert_severity":5,"alert_tstamp":1793959900,"alert_json":"{{"metric":"bytes","threshold":1000,"value":90210}}"}}],"sharedsecret":"{TOKEN}"}}"#
    );
    let answer = post(&app, ROUTE, body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let records = store.wait_for_records(1).await;
    let record = &records[0]["_source"];
    assert_eq!(record["message"], "Threshold cross: host 10.44.9.9, bytes 90210 > 1000");
    assert_eq!(record["tags"], json!(["host:10.44.9.9", "repaired"]));
    assert!(!record.to_string().contains(TOKEN));
    app.stop().await;
}

/// ntopng copies what stood on the wire into `info`.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_flow_has_in_it_costs_neither_the_secret_nor_the_alert() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let infos: [&[u8]; 5] = [b"caf\xe9", b"a\tb", b"a\x00b", b"a\\xb", b"a\\ud800b"];
    for (n, info) in infos.into_iter().enumerate() {
        let mut flow = flow();
        (flow["cli_port"], flow["info"]) = (json!(50_000 + n), json!("THE-INFO"));
        let body = batch(TOKEN, &[flow]).into_bytes();
        let at = body.windows(8).position(|part| part == b"THE-INFO").expect("it is there");
        let body = [&body[..at], info, &body[at + 8..]].concat();
        let answer = post(&app, ROUTE, body).await;
        assert_eq!(answer.status, 200, "{info:?} {:?}", answer.json);
    }
    let records = store.wait_for_records(5).await;
    for record in records {
        assert_eq!(record["_source"]["source"]["ip"], "10.44.4.4");
        assert!(!record.to_string().contains(TOKEN));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_index_cannot_take_costs_that_field_alone() {
    let store = store!();
    let app = App::start(&store, &[]).await;
    let dots = vec!["a"; 100_000].join(".");
    let document = json!({"event": {"module": "ntopng", "category": {"a": 1}}, "rule": {"name": "Odd"},
        "source": {"ip": "unknown", "port": "http", dots: 1}, "destination": {"ip": "10.44.7.7"},
        "message": "x", "@timestamp": "2026-11-06T10:33:20Z"});
    let request = app.post(ROUTE).bearer_auth(TOKEN).header("prefer", "wait=20");
    let answer = Answer::of(request.body(document.to_string())).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let record = store.wait_for_records(1).await.remove(0)["_source"].clone();
    assert_eq!(
        (&record["destination"]["ip"], &record["tags"]),
        (&json!("10.44.7.7"), &json!(["host:10.44.7.7", "repaired"]))
    );
    assert!(record.get("source").is_none(), "{record}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_answered_within_a_second_though_the_store_is_away() {
    let store = store!();
    let proxy = Proxy::start(&store).await;
    let app = App::start(&store, &[("OPENSEARCH_URL", &proxy.url())]).await;
    let warm = batch(TOKEN, &[host("10.44.0.1", "engage", 0)]);
    assert_eq!(post(&app, ROUTE, warm).await.status, 200);
    proxy.cut();
    for n in 0..20 {
        let alerts: Vec<_> =
            (0..10).map(|m| host(&format!("10.45.{n}.{m}"), "engage", 0)).collect();
        let begin = Instant::now();
        let answer = Answer::of(app.post(ROUTE).body(batch(TOKEN, &alerts))).await;
        let took = begin.elapsed();
        assert_eq!(answer.status, 202, "{:?}", answer.json);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    proxy.mend();
    store.wait_for_records(201).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_version_decides_what_a_code_means_and_a_wrong_one_stops_the_start() {
    let store = store!();
    let body = json!({"ifid": 1, "action": "store", "alert_type": 30, "alert_entity": 1, "alert_entity_val": "10.0.0.1@0",
        "alert_severity": 2, "alert_tstamp": 1_793_959_900, "alert_json": "{}"});
    let app = App::start(&store, &[("ALERTLOOP_NTOPNG_VERSION", "4.0")]).await;
    assert_eq!(post(&app, ROUTE, batch(TOKEN, &[body])).await.status, 200);
    let records = store.wait_for_records(1).await;
    let record = &records[0]["_source"];
    assert_eq!(
        (&record["rule"]["name"], &record["event"]["severity"]),
        (&json!("ping_issues"), &json!(80))
    );
    app.stop().await;

    let dir = tempfile::tempdir().expect("a directory");
    let mut wrong = settings(&store, dir.path());
    wrong.insert("ALERTLOOP_NTOPNG_VERSION".to_owned(), "the-newest".to_owned());
    let (code, _, error) = Process::output(&wrong, &["serve"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("ALERTLOOP_NTOPNG_VERSION") && !error.contains("the-newest"), "{error}");
}
