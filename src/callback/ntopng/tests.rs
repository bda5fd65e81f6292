use serde_json::json;

use super::*;
use crate::{
    alert::{
        Alert, Body, Named, Phase, Source,
        bucket::{About, Bucket},
        occasion::{Condition, Occasion},
    },
    callback::sample::{bare, sample},
};

/// The document of ntopng's manual.
fn example() -> Value {
    json!({"ifid": 0, "entity_type": 5, "entity_value": "4A:00:06:A0:7C:51", "type": 17, "severity": 1,
        "message": "IP 1.2.3.4 changed association", "tstamp": 1_523_616_620, "action": "store"})
}

/// ntopng's own posts, as 6.2 sends them.
fn host_of_ntopng() -> Value {
    json!({"ifid": 3, "pool_id": 0, "action": "engage", "alert_id": 20, "alert_category": 1, "score": 100,
        "acknowledged": false, "subtype": "", "ip_version": 4, "ip": "10.44.3.3", "name": "", "vlan_id": 0,
        "observation_point_id": 0, "entity_id": 1, "entity_val": "10.44.3.3@0", "tstamp": 1_793_961_200,
        "tstamp_end": 0, "is_attacker": true, "is_victim": false, "is_client": true, "is_server": false,
        "host_pool_id": 0, "network": 1, "granularity": 60, "json": "{\"alert_generation\":{}}"})
}

fn flow_of_ntopng() -> Value {
    let text = r#"{"ifid": 3, "action": "store", "first_seen": 1793961490, "score": 150, "acknowledged": false,
        "is_flow_alert": true, "tstamp": 1793961500, "alert_id": 1, "alert_category": 1,
        "is_cli_attacker": true, "is_cli_victim": false, "is_srv_attacker": false, "is_srv_victim": false,
        "entity_id": 4, "entity_val": "flow", "pool_id": 0, "vlan_id": 0, "observation_point_id": 0,
        "proto": 6, "flow_risk_bitmap": 2097152, "alerts_map": "00000000000000000000000000000002",
        "proto.ndpi": "TLS", "l7_master_proto": 91, "l7_proto": 91, "l7_cat": 5, "cli2srv_bytes": 4120,
        "cli2srv_packets": 17, "srv2cli_bytes": 90111, "srv2cli_packets": 66, "ip_version": 4,
        "cli_ip": "10.44.4.4", "cli_blacklisted": false, "cli_port": 50505, "cli_name": "", "cli_asn": 0,
        "cli_localhost": true, "srv_ip": "198.51.100.23", "srv_blacklisted": true, "srv_port": 443,
        "srv_name": "", "srv_asn": 64500, "srv_localhost": false, "probe_ip": "0.0.0.0", "input_snmp": 0,
        "output_snmp": 0, "community_id": "1:8m2C", "info": "", "json": "{}"}"#;
    serde_json::from_str(text).unwrap()
}

/// That `got` has each key of `example`, with a value of its type.
fn assert_is_like(got: &Value, example: &Value) {
    for (key, want) in example.as_object().unwrap() {
        let have = got.get(key).unwrap_or_else(|| panic!("no {key}: {got:#}"));
        let kinds = [have, want].map(std::mem::discriminant);
        assert_eq!(kinds[0], kinds[1], "{key}: {have} instead of {want}");
        assert_eq!(have.is_i64(), want.is_i64(), "{key}: {have}");
    }
}

fn notice(change: impl Fn(&mut Alert)) -> Notice {
    let mut alert = Alert {
        rule: Named { id: None, name: Some("Port scan".to_owned()) },
        severity: 80,
        start: Some("2026-11-06T10:33:20Z".parse().unwrap()),
        end: Some("2026-11-06T10:34:35Z".parse().unwrap()),
        message: Some("many ports".to_owned()),
        ..Alert::of(Source::Alertmanager)
    };
    change(&mut alert);
    Notice { alert, received: "2026-11-06T10:35:00Z".parse().unwrap(), record: None }
}

fn about(fields: &Value) -> Option<Box<About>> {
    let fields = fields.as_object()?.clone().into_iter().collect();
    Some(Box::new(About { fields, ..About::default() }))
}

fn flow() -> Notice {
    notice(|alert| {
        alert.phase = Phase::Stored;
        alert.about = about(&json!({"source.ip": "10.44.4.4", "source.port": 50_505,
            "destination.ip": "198.51.100.23", "destination.port": "443", "destination.as.number": 64_500,
            "network.transport": "tcp", "network.protocol": "TLS", "network.community_id": "1:8m2C",
            "network.vlan.id": "12", "source.bytes": 4_120}));
    })
}

fn alert_of(notice: &Notice) -> Value {
    webhook(notice, None)["alerts"][0].clone()
}

#[test]
fn a_program_gets_what_the_manual_of_ntopng_shows() {
    for phase in [Phase::Stored, Phase::Engaged, Phase::Released, Phase::Acknowledged] {
        let notice = notice(|alert| {
            alert.phase = phase;
            alert.concerns("mac", "4a:00:06:a0:7c:51");
        });
        let got = queue(&notice);
        assert_is_like(&got, &example());
        assert_eq!(
            (&got["entity_type"], &got["entity_value"]),
            (&json!(5), &json!("4a:00:06:a0:7c:51"))
        );
        let has = |key: &str| got.get(key).is_some();
        let (action, at, beside) = match phase {
            Phase::Stored => ("store", 1_793_961_275, [false, false, false]),
            Phase::Released => ("release", 1_793_961_275, [true, true, false]),
            _ => ("engage", 1_793_961_200, [true, false, true]),
        };
        assert_eq!((&got["action"], &got["tstamp"]), (&json!(action), &json!(at)), "{phase:?}");
        assert_eq!([has("alert_key"), has("duration"), has("alert_engine")], beside, "{phase:?}");
    }
    let over = queue(&notice(|alert| alert.phase = Phase::Released));
    assert_eq!(over["duration"], json!(75));
}

#[test]
fn a_flow_has_both_sides() {
    let got = queue(&flow());
    assert_eq!((&got["entity_type"], &got["entity_value"]), (&json!(4), &json!("flow")));
    assert_eq!((&got["origin"], &got["target"]), (&json!("10.44.4.4"), &json!("198.51.100.23")));
    let want = json!({"cli_port": 50_505, "srv_port": 443, "cli_blacklisted": 0, "srv_blacklisted": 0,
        "vlan_id": 12, "proto": 6, "flow_status": 0, "l7_proto": 0, "cli_addr": "10.44.4.4",
        "srv_addr": "198.51.100.23"});
    assert_eq!(got["flow"], want);

    let got = alert_of(&flow());
    assert_is_like(&got, &flow_of_ntopng());
    for (key, want) in [
        ("alert_id", json!(10)),
        ("alerts_map", json!("00000000000000000000000000000400")),
        ("action", json!("store")),
        ("first_seen", json!(1_793_961_200)),
        ("tstamp", json!(1_793_961_275)),
        ("srv_port", json!(443)),
        ("srv_asn", json!(64_500)),
        ("cli2srv_bytes", json!(4_120)),
        ("vlan_id", json!(12)),
        ("proto", json!(6)),
        ("community_id", json!("1:8m2C")),
        ("score", json!(100)),
    ] {
        assert_eq!(got[key], want, "{key}");
    }
    assert!(got.get("tstamp_end").is_none(), "ntopng's flows have no life");
}

#[test]
fn a_host_engages_and_is_released_under_one_key() {
    let of = |phase| {
        alert_of(&notice(|alert| {
            (alert.phase, alert.began) = (phase, alert.start);
            alert.id = Some("f-1".to_owned());
            alert.concerns("host", "10.44.3.3@7");
        }))
    };
    let (engaged, released) = (of(Phase::Engaged), of(Phase::Released));
    assert_is_like(&engaged, &host_of_ntopng());
    for key in ["alert_id", "entity_val", "subtype", "tstamp", "granularity", "ifid"] {
        assert_eq!(engaged[key], released[key], "{key}");
    }
    assert_eq!((&engaged["action"], &engaged["tstamp_end"]), (&json!("engage"), &json!(0)));
    assert_eq!(
        (&released["action"], &released["tstamp_end"]),
        (&json!("release"), &json!(1_793_961_275))
    );
    assert_eq!((&engaged["ip"], &engaged["vlan_id"]), (&json!("10.44.3.3"), &json!(7)));
    assert_eq!((&engaged["entity_val"], &engaged["alert_id"]), (&json!("10.44.3.3@7"), &json!(27)));
    assert_eq!(engaged["subtype"], json!("Port scan/f-1"));
    let details: Value = serde_json::from_str(engaged["json"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&details["message"], &details["rule"]),
        (&json!("many ports"), &json!("Port scan"))
    );
}

#[test]
fn opensearchs_key_is_the_same_before_and_after_it_has_an_id() {
    let of = |id: Option<&str>| {
        let notice = notice(|alert| {
            alert.source = Source::OpenSearch;
            alert.trigger.name = Some("over 9".to_owned());
            alert.id = id.map(str::to_owned);
        });
        alert_of(&notice)["subtype"].clone()
    };
    assert_eq!(of(None), json!("Port scan/over 9"));
    assert_eq!(of(None), of(Some("A1")));
}

#[test]
fn what_it_is_about_is_found_in_tags_fields_buckets_and_bodies() {
    let json = |text: Value| Body::Json {
        fields: text.as_object().unwrap().clone(),
        text: text.to_string(),
    };
    let bucket = |groups: Value| Bucket::of_groups(groups.as_object().unwrap());
    for (change, then, today, value) in [
        (&(|_: &mut Alert| {}) as &dyn Fn(&mut Alert), 7, 15, "Port scan"),
        (&|alert| alert.concerns("host", "10.0.0.1"), 1, 1, "10.0.0.1@0"),
        (&|alert| alert.concerns("interface", "eth0"), 0, 0, "eth0"),
        (&|alert| alert.concerns("network", "10.0.0.0/8"), 2, 2, "10.0.0.0/8"),
        (&|alert| alert.concerns("user", "ada"), 8, 7, "ada"),
        // A host by its name alone is none of ntopng's.
        (&|alert| alert.concerns("host", "db-1"), 7, 15, "db-1"),
        (
            &|alert| {
                alert.concerns("host", "db-1");
                alert.about = about(&json!({"host.ip": "10.0.0.9"}));
            },
            1,
            1,
            "10.0.0.9@0",
        ),
        (&|alert| alert.tag("severity:high"), 7, 15, "Port scan"),
        (&|alert| alert.bucket = bucket(json!({"source.ip": "10.0.0.2"})), 1, 1, "10.0.0.2@0"),
        (
            &|alert| {
                alert.bucket =
                    bucket(json!({"source.ip": "10.0.0.2", "destination.ip": "10.0.0.3"}));
            },
            4,
            4,
            "flow",
        ),
        (&|alert| alert.body = json(json!({"source": {"ip": "10.0.0.4"}})), 1, 1, "10.0.0.4@0"),
        (
            &|alert| {
                alert.body = json(json!({"source.ip": "10.0.0.4", "destination": {"ip": "::1"}}));
            },
            4,
            4,
            "flow",
        ),
    ] {
        let notice = notice(change);
        let (queue, today_is) = (queue(&notice), alert_of(&notice));
        assert_eq!(queue["entity_type"], json!(then), "{queue}");
        assert_eq!(
            (&today_is["entity_id"], &today_is["entity_val"]),
            (&json!(today), &json!(value))
        );
    }
}

#[test]
fn an_alert_of_ntopng_keeps_its_numbers_and_a_rule_with_the_name_of_one_has_its() {
    let of = |source, id: Option<&str>, name: &str, entity: &str| {
        let (id, name) = (id.map(str::to_owned), Some(name.to_owned()));
        notice(|alert| {
            alert.source = source;
            alert.rule = Named { id: id.clone(), name: name.clone() };
            alert.concerns(entity, "10.0.0.1");
            alert.about =
                about(&json!({"observer.ingress.interface.id": "3", "rule.category": "security"}));
        })
    };
    for (source, id, name, entity, want) in [
        (Source::Ntopng, Some("host-20"), "scan_detected", "host", 20),
        (Source::Ntopng, Some("host-999"), "unknown(999)", "host", 999),
        (Source::Ntopng, Some("other-4112"), "mac_ip_association_change", "mac", 4_112),
        (Source::OpenSearch, Some("host-20"), "Mine", "host", 27),
        (Source::OpenSearch, None, "scan_detected", "host", 20),
        (Source::OpenSearch, None, "Mine", "interface", 4_125),
    ] {
        let got = alert_of(&of(source, id, name, entity));
        assert_eq!(got["alert_id"], json!(want), "{source} {name}");
        assert_eq!((&got["ifid"], &got["alert_category"]), (&json!(3), &json!(1)));
    }
    for (source, id, name, entity, want) in [
        (Source::Ntopng, Some("type-17"), "mac_ip_association_change", "mac", 17),
        (Source::OpenSearch, None, "mac_ip_association_change", "mac", 17),
        (Source::OpenSearch, None, "Mine", "host", 3),
        (Source::OpenSearch, None, "Mine", "asn", 20),
    ] {
        assert_eq!(queue(&of(source, id, name, entity))["type"], json!(want), "{source} {name}");
    }
    let condition = Condition { kind: Some("message_count".to_owned()), ..Condition::default() };
    let crossed = notice(|alert| {
        alert.occasion =
            Some(Box::new(Occasion { condition: condition.clone(), ..Occasion::default() }));
    });
    assert_eq!(queue(&crossed)["type"], json!(2));
}

#[test]
fn how_bad_it_is_has_a_number_in_both() {
    for (severity, then, today) in
        [(0, 0, 1), (20, 0, 1), (40, 0, 10), (60, 1, 50), (80, 2, 100), (100, 2, 200)]
    {
        let notice = notice(|alert| alert.severity = severity);
        assert_eq!(queue(&notice)["severity"], json!(then), "{severity}");
        assert_eq!(alert_of(&notice)["score"], json!(today), "{severity}");
    }
}

#[test]
fn the_secret_stands_in_the_body_where_there_is_one() {
    let body = webhook(&sample(), Some("s3cret"));
    assert_eq!((&body["version"], &body["sharedsecret"]), (&json!("0.2"), &json!("s3cret")));
    assert_eq!(body["alerts"].as_array().map(Vec::len), Some(1));
    assert!(webhook(&sample(), None).get("sharedsecret").is_none());
}

#[test]
fn next_to_nothing_is_enough() {
    let got = queue(&bare());
    assert_eq!(
        (&got["entity_value"], &got["tstamp"]),
        (&json!("alertloop"), &json!(1_794_038_400))
    );
    assert_eq!(alert_of(&bare())["entity_id"], json!(15));
}
