#![expect(clippy::needless_pass_by_value, reason = "tables of literals read better without `&`")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::alert::{Phase, Source, UNKNOWN_SEVERITY};

fn all(body: Value) -> Vec<Result<Alert, Undecodable>> {
    decode(body.as_object().unwrap().clone(), None)
}

fn alert(body: Value) -> Alert {
    alert_of(body, None)
}

fn alert_of(body: Value, version: Option<&str>) -> Alert {
    let version = version.map(|version| version.parse().unwrap());
    let mut alerts = decode(body.as_object().unwrap().clone(), version);
    assert_eq!(alerts.len(), 1);
    alerts.pop().unwrap().unwrap()
}

/// An object with some keys changed; null takes one away.
fn with(mut body: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(key)),
            value => body[key] = value.clone(),
        }
    }
    body
}

fn field(alert: &Alert, name: &str) -> Value {
    let fields = &alert.about.as_ref().unwrap().fields;
    let mut found = fields.iter().filter(|(field, _)| field == name);
    let value = found.next().map_or(Value::Null, |(_, value)| value.clone());
    assert!(found.all(|(_, other)| *other == value), "{name} has two values");
    value
}

fn at(second: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(second).ok()
}

/// Pushed by a program, as the documentation of 3.6 has it.
fn pushed() -> Value {
    json!({"ifid": 0, "entity_type": 5, "entity_value": "4A:00:06:A0:7C:51", "type": 17, "severity": 1,
        "message": "IP 1.2.3.4 changed association from <a href=\"/lua/mac_details.lua?host=4a:00:06:a0:7c:50\">4a:00:06:a0:7c:50</a> to <a href=\"/x\">4a:00:06:a0:7c:51</a>",
        "tstamp": 1_523_616_620, "action": "store"})
}

fn engaged_a() -> Value {
    json!({"ifid": 2, "entity_type": 0, "entity_value": "iface_2", "type": 2, "severity": 2,
        "message": "Minute traffic crossed", "tstamp": 1_793_959_320, "action": "engage", "alert_key": "min_bytes"})
}

fn engaged_b() -> Value {
    json!({"ifid": 1, "action": "engage", "alert_type": 49, "alert_subtype": "bytes", "alert_granularity": 60,
        "alert_entity": 1, "alert_entity_val": "10.44.2.5@0", "alert_severity": 5,
        "alert_tstamp": 1_793_959_900, "alert_tstamp_end": 1_793_959_960,
        "alert_json": "{\"metric\":\"bytes\",\"threshold\":1000,\"value\":90210,\"operator\":\"gt\"}"})
}

fn flow_b() -> Value {
    json!({"ifid": 1, "action": "store", "is_flow_alert": true, "alert_type": 10, "alert_severity": 3,
        "alert_tstamp": 1_793_960_600, "alert_json": "{\"info\":\"a.example\",\"status_info\":\"\"}", "flow_status": 13,
        "cli_addr": "10.44.2.6", "srv_addr": "2001:db8::99", "cli_port": 40001, "srv_port": 443, "proto": 6,
        "l7_proto": 7, "l7_master_proto": 5, "vlan_id": 12, "score": 40, "first_seen": 1_793_960_590,
        "cli2srv_bytes": 10, "srv2cli_bytes": 20, "cli2srv_packets": 1, "srv2cli_packets": 2,
        "cli_asn": 0, "srv_asn": 64500, "srv_country": "NL", "cli_localhost": true, "srv_localhost": false})
}

fn host_c() -> Value {
    json!({"ifid": 3, "pool_id": 0, "action": "engage", "alert_id": 20, "alert_category": 1, "score": 100,
        "acknowledged": false, "subtype": "", "ip_version": 4, "ip": "10.44.3.3", "name": "web-1", "vlan_id": 7,
        "entity_id": 1, "entity_val": "10.44.3.3@7", "tstamp": 1_793_961_200, "tstamp_end": 0,
        "is_attacker": true, "is_victim": false, "is_client": true, "is_server": false,
        "host_pool_id": 4, "granularity": 60, "json": "{\"alert_generation\":{}}"})
}

fn flow_c() -> Value {
    json!({"ifid": 3, "action": "store", "first_seen": 1_793_961_490, "score": 150, "is_flow_alert": true,
        "tstamp": 1_793_961_500, "alert_id": 1, "alert_category": 1, "entity_id": 4, "entity_val": "flow",
        "vlan_id": 0, "proto": 17, "proto.ndpi": "DNS.Google", "l7_proto": 126, "l7_master_proto": 5,
        "cli2srv_bytes": 4120, "cli2srv_packets": 17, "srv2cli_bytes": 90111, "srv2cli_packets": 66,
        "cli_ip": "10.44.4.4", "cli_port": 50505, "cli_name": "pc-4", "srv_ip": "198.51.100.23", "srv_port": 53,
        "srv_name": "198.51.100.23", "probe_ip": "0.0.0.0", "community_id": "1:abc=", "info": "", "json": ""})
}

#[test]
fn a_pushed_alert_is_read_by_the_codes_of_its_time() {
    let alert = alert(pushed());
    assert_eq!((alert.source, alert.phase, alert.severity), (Source::Ntopng, Phase::Stored, 60));
    assert_eq!(alert.rule.name.as_deref(), Some("mac_ip_association_change"));
    assert_eq!(alert.rule.id.as_deref(), Some("type-17"));
    let text = "IP 1.2.3.4 changed association from 4a:00:06:a0:7c:50 to 4a:00:06:a0:7c:51";
    assert_eq!(alert.message.as_deref(), Some(text));
    assert_eq!(alert.trigger.name.as_deref(), Some(text));
    assert_eq!((alert.start, alert.end), (at(1_523_616_620), at(1_523_616_620)));
    assert_eq!(field(&alert, "host.mac"), "4a:00:06:a0:7c:51");
    assert_eq!(field(&alert, "event.code"), "17");
    assert_eq!(field(&alert, "observer.ingress.interface.id"), "0");
    let about = alert.about.as_ref().unwrap();
    assert_eq!(about.addresses, ["1.2.3.4"]);
    assert_eq!(about.macs, ["4a:00:06:a0:7c:50", "4a:00:06:a0:7c:51"]);
    assert_eq!(alert.tags, ["mac:4a:00:06:a0:7c:51"]);
    assert!(alert.original.unwrap().contains("<a href"));
}

#[test]
fn what_identifies_an_alert_stays_the_same_from_version_to_version() {
    // An alert that is said again after an upgrade must find its record.
    let series = alert(engaged_a()).series;
    for (id, want) in [
        (alert(pushed()).id, "127ac989ff3015a480594cdbcb5ee586"),
        (series, "e10094e28b2b9e73cdc6d754f2cd73b8"),
        (alert(engaged_b()).id, "e31433ad595b1fd7f85cfcf2fa2298d9"),
        (alert(flow_b()).id, "f79c2f6790c1821c8072bd4a64ad638c"),
        (alert(host_c()).id, "8ca95459fe137d54559e175ff227f22b"),
        (alert(flow_c()).id, "b23aae5bd4c5fce2f71a557c12148a04"),
    ] {
        assert_eq!(id.as_deref(), Some(want));
    }
}

#[test]
fn names_and_texts_stand_for_codes_and_numbers() {
    let words =
        json!({"entity_type": "mac", "type": "mac_ip_association_change", "severity": "warning"});
    let named = alert(with(pushed(), words));
    let coded = alert(pushed());
    assert_eq!((&named.rule, named.severity, &named.tags), (&coded.rule, 60, &coded.tags));
    assert_eq!(named.id, coded.id, "it is the same alert");
    let texts = json!({"entity_type": "5", "type": "17", "severity": "1", "tstamp": "1523616620", "ifid": "0"});
    let texts = alert(with(pushed(), texts));
    assert_eq!((&texts.rule, texts.severity, texts.start), (&coded.rule, 60, coded.start));
    assert_eq!(texts.id, coded.id);
    assert!(texts.tags.iter().any(|tag| tag == "repaired"));
    let millis = alert(with(pushed(), json!({"tstamp": 1_523_616_620_000_i64})));
    assert_eq!((millis.start, &millis.id), (coded.start, &coded.id));
    let when =
        alert(with(pushed(), json!({"tstamp": null, "when": 1_523_616_620, "action": null})));
    assert_eq!((when.start, when.phase, &when.id), (coded.start, Phase::Stored, &coded.id));
}

#[test]
fn the_names_of_the_documentation_do_as_well_as_those_of_the_sources() {
    let told = json!({"ifid": 0, "entity_type": "mac", "entity_value": "4A:00:06:A0:7C:51",
        "alert_type": "mac_ip_association_change", "alert_severity": "warning", "timestamp": 1_523_616_620,
        "message": pushed()["message"], "action": "store"});
    assert!(recognises(told.as_object().unwrap()));
    let (told, coded) = (alert(told), alert(pushed()));
    assert_eq!((&told.id, &told.rule, told.severity), (&coded.id, &coded.rule, coded.severity));
    let released = json!({"action": "release", "tstamp": 1_793_959_620, "duration": 300});
    let released = alert(with(engaged_a(), released));
    assert_eq!((released.start, released.end), (at(1_793_959_320), at(1_793_959_620)));
    assert_eq!(released.as_of, released.end);
}

#[test]
fn what_is_wrong_in_an_alert_is_left_out_and_the_rest_stays() {
    for (changes, is_repaired) in [
        (json!({"severity": {"a": 1}}), true),
        (json!({"entity_value": ["x"]}), true),
        (json!({"message": 7}), true),
        (json!({"message": null}), false),
        (json!({"tstamp": "soon"}), true),
        (json!({"tstamp": null}), false),
        (json!({"entity_type": null}), false),
        (json!({"action": "explode"}), true),
        (json!({"ifid": 1.5}), true),
        (json!({"flow": 7}), false),
    ] {
        let alert = alert(with(pushed(), changes.clone()));
        assert_eq!(alert.rule.name.as_deref(), Some("mac_ip_association_change"), "{changes}");
        assert!(alert.message.as_deref().is_some_and(|text| !text.is_empty()), "{changes}");
        assert_eq!(alert.tags.iter().any(|tag| tag == "repaired"), is_repaired, "{changes}");
    }
    let alert = alert(with(pushed(), json!({"severity": 9, "type": 99})));
    assert_eq!(
        (alert.severity, alert.rule.name.as_deref()),
        (UNKNOWN_SEVERITY, Some("unknown(99)"))
    );
    assert_eq!(alert.rule.id.as_deref(), Some("type-99"));
}

#[test]
fn a_flow_of_3_8_has_its_ends_in_an_object_of_its_own() {
    let body = json!({"ifid": 2, "entity_type": 4, "entity_value": "flow", "type": 7, "severity": 2,
        "message": "Blacklisted flow", "tstamp": 1_793_959_700, "action": "store", "origin": "10.44.1.9",
        "target": "203.0.113.80", "flow": {"cli_port": 51022, "srv_port": 8080, "cli_blacklisted": 0,
        "srv_blacklisted": 1, "vlan_id": 0, "proto": 6, "flow_status": 13, "l7_proto": 7, "srv_addr": "203.0.113.80"}});
    let told = alert(body.clone());
    for (name, want) in [
        ("source.ip", json!("10.44.1.9")),
        ("source.port", json!(51022)),
        ("destination.ip", json!("203.0.113.80")),
        ("destination.port", json!(8080)),
        ("network.transport", json!("tcp")),
        ("network.iana_number", json!("6")),
        ("ipProtocol", json!(6)),
        ("network.protocol", json!("http")),
        ("network.type", json!("ipv4")),
        ("network.vlan.id", Value::Null),
    ] {
        assert_eq!(field(&told, name), want, "{name}");
    }
    assert_eq!(told.tags, ["host:10.44.1.9", "host:203.0.113.80"]);
    // The C++ part of 3.8 sends a flow's JSON in the place of a message.
    let json = alert(with(body, json!({"message": "{\"info\":\"a.example\"}", "origin": null})));
    assert_eq!(
        json.message.as_deref(),
        Some(
            "Flow blacklisted: unknown:51022 to 203.0.113.80:8080 (tcp http, blacklisted, a.example)"
        )
    );
}

#[test]
fn a_flow_of_4_2_fills_the_fields_of_its_traffic() {
    let told = alert(flow_b());
    for (name, want) in [
        ("source.ip", json!("10.44.2.6")),
        ("destination.ip", json!("2001:db8::99")),
        ("destination.as.number", json!(64500)),
        ("source.as.number", Value::Null),
        ("destination.geo.country_iso_code", json!("NL")),
        ("source.bytes", json!(10)),
        ("destination.bytes", json!(20)),
        ("network.bytes", json!(30)),
        ("totDataBytes", json!(30)),
        ("network.packets", json!(3)),
        ("network.vlan.id", json!("12")),
        ("network.direction", json!("outbound")),
        ("network.protocol", json!("dns")),
        ("network.application", json!("http")),
        ("rule.ruleset", json!("ntopng")),
        ("rule.description", json!("flow status malicious_signature")),
    ] {
        assert_eq!(field(&told, name), want, "{name}");
    }
    assert_eq!((told.severity, told.phase), (40, Phase::Stored));
    assert_eq!((told.start, told.end), (at(1_793_960_590), at(1_793_960_600)));
    assert_eq!(told.tags, ["host:10.44.2.6@12", "host:2001:db8::99@12"]);
    assert_eq!(
        told.message.as_deref(),
        Some(
            "Flow misbehaviour: 10.44.2.6:40001 to [2001:db8::99]:443 (tcp dns, malicious signature, a.example, score 40)"
        )
    );
}

#[test]
fn a_declared_version_decides_where_codes_differ() {
    for (version, name, severity) in [
        (None, "am_threshold_cross", 20),
        (Some("4.2"), "am_threshold_cross", 20),
        (Some("4.0"), "ping_issues", 80),
        (Some("6.2"), "am_threshold_cross", 20),
    ] {
        let body = with(engaged_b(), json!({"alert_type": 30, "alert_severity": 2}));
        let alert = alert_of(body, version);
        assert_eq!(
            (alert.rule.name.as_deref(), alert.severity),
            (Some(name), severity),
            "{version:?}"
        );
    }
    let six = json!({"type": 6});
    let name = |version| alert_of(with(pushed(), six.clone()), version).rule.name.unwrap();
    assert_eq!(
        (name(Some("3.6")), name(Some("3.8"))),
        ("flow_remote_to_remote".into(), "remote_to_remote".into())
    );
    let worst = with(host_c(), json!({"score": 300}));
    assert_eq!(alert_of(worst.clone(), Some("5.0")).severity, 80);
    assert_eq!(alert_of(worst, None).severity, 100);
}

#[test]
fn a_host_of_6_2_stands_on_the_side_that_it_was_on() {
    let told = alert(host_c());
    for (name, want) in [
        ("host.ip", json!("10.44.3.3")),
        ("host.name", json!("web-1")),
        ("source.ip", json!("10.44.3.3")),
        ("destination.ip", Value::Null),
        ("network.vlan.id", json!("7")),
        ("rule.category", json!("security")),
        ("event.code", json!("20")),
        ("observer.product", json!("ntopng")),
        ("observer.ingress.interface.id", json!("3")),
    ] {
        assert_eq!(field(&told, name), want, "{name}");
    }
    assert_eq!(told.rule.name.as_deref(), Some("scan_detected"));
    assert_eq!(told.tags, ["host:10.44.3.3@7", "host_pool:4"]);
    assert_eq!(told.message.as_deref(), Some("Scan detected: host 10.44.3.3@7 (score 100)"));
    let victim = json!({"is_attacker": false, "is_client": false, "is_victim": true});
    let victim = alert(with(host_c(), victim));
    assert_eq!(
        (field(&victim, "source.ip"), field(&victim, "destination.ip")),
        (Value::Null, json!("10.44.3.3"))
    );
}

#[test]
fn an_alert_id_means_what_its_entity_says() {
    for (changes, name) in [
        (json!({"alert_id": 1}), "smtp_server_contacts"),
        (json!({"alert_id": 4136}), "threshold_cross"),
        (json!({"alert_id": 4126, "entity_id": 6, "entity_val": "4"}), "quota_exceeded"),
        (json!({"alert_id": 20, "entity_id": 0, "entity_val": "3"}), "unknown(20)"),
        (json!({"alert_id": "20"}), "scan_detected"),
        (json!({"alert_id": 20, "entity_id": null}), "scan_detected"),
    ] {
        let told = alert(with(host_c(), changes.clone()));
        assert_eq!(told.rule.name.as_deref(), Some(name), "{changes}");
    }
    assert_eq!(alert(flow_c()).rule.name.as_deref(), Some("blacklisted"));
    let flow = alert(flow_c());
    assert_eq!(
        (field(&flow, "network.protocol"), field(&flow, "network.application")),
        (json!("dns"), json!("google"))
    );
    assert_eq!(
        (field(&flow, "source.domain"), field(&flow, "destination.domain")),
        (json!("pc-4"), Value::Null)
    );
    assert_eq!(field(&flow, "observer.ip"), Value::Null, "0.0.0.0 is no probe");
}

#[test]
fn each_kind_of_entity_has_its_tag_and_its_fields() {
    for (entity, value, tag, name, want) in [
        (0, "3", "interface:3", "observer.product", json!("ntopng")),
        (1, "10.0.0.1@0", "host:10.0.0.1", "host.ip", json!("10.0.0.1")),
        (1, "fe80::1", "host:fe80::1", "network.type", json!("ipv6")),
        (
            1,
            "4A:00:06:A0:7C:51@0",
            "host:4A:00:06:A0:7C:51",
            "host.mac",
            json!("4a:00:06:a0:7c:51"),
        ),
        (2, "10.0.0.0/8@0", "network:10.0.0.0/8", "network.name", json!("10.0.0.0/8")),
        (3, "10.0.0.9_ifidx3", "snmp_device:10.0.0.9_ifidx3", "host.ip", json!("10.0.0.9")),
        (5, "4A:00:06:A0:7C:51", "mac:4a:00:06:a0:7c:51", "host.mac", json!("4a:00:06:a0:7c:51")),
        (6, "4", "host_pool:4", "rule.ruleset", json!("ntopng")),
        (7, "ada", "user:ada", "rule.ruleset", json!("ntopng")),
        (8, "icmp@dns.example", "am_host:icmp@dns.example", "host.name", json!("icmp@dns.example")),
        (9, "system", "system:system", "rule.ruleset", json!("ntopng")),
    ] {
        let body = json!({"alert_id": 4136, "entity_id": entity, "entity_val": value, "score": 1,
            "action": "store", "tstamp": 1});
        let told = alert(body);
        assert_eq!(told.tags, [tag], "{entity} {value}");
        assert_eq!(field(&told, name), want, "{entity} {value}");
    }
    let old = alert(engaged_a());
    assert_eq!(old.tags, ["interface:2"], "the same interface as that of today's `2`");
}

#[test]
fn how_often_something_is_looked_at_is_told_by_its_name() {
    for (body, want) in [
        (engaged_a(), "min_bytes, every min"),
        (with(engaged_a(), json!({"alert_key": "5mins_dns"})), "5mins_dns, every 5mins"),
        (with(engaged_a(), json!({"alert_key": "syn", "alert_engine": 3})), "syn, every day"),
        (engaged_b(), "bytes, every min"),
        (with(engaged_b(), json!({"alert_granularity": 3600})), "bytes, every hour"),
        (with(engaged_b(), json!({"alert_granularity": 0})), "bytes"),
        (host_c(), "every min"),
    ] {
        assert_eq!(field(&alert(body.clone()), "rule.description"), want, "{body}");
    }
}

#[test]
fn a_life_whose_begin_is_told_has_one_id_and_any_other_is_a_series() {
    for (engaged, key, end_key) in
        [(engaged_b(), "alert_tstamp", "alert_tstamp_end"), (host_c(), "tstamp", "tstamp_end")]
    {
        let began = engaged[key].as_i64().unwrap();
        let told = alert(engaged.clone());
        let release = with(engaged.clone(), json!({"action": "release", (end_key): began + 600}));
        let released = alert(release.clone());
        assert_eq!((told.phase, released.phase), (Phase::Engaged, Phase::Released));
        assert!(told.id.is_some() && told.series.is_none());
        assert_eq!(told.id, released.id, "{key}");
        for alert in [&told, &released] {
            assert_eq!((alert.began, alert.start), (at(began), at(began)));
        }
        assert_eq!((released.end, released.as_of), (at(began + 600), at(began + 600)));
        let last = engaged[end_key].as_i64().unwrap().max(began);
        assert_eq!((told.end, told.as_of), (at(last), at(last)), "its last news");
        let next = with(release, json!({(key): began + 1}));
        assert_ne!(alert(next).id, told.id, "another engagement");
        let acknowledged = alert(with(engaged, json!({"acknowledged": true})));
        assert_eq!((acknowledged.phase, acknowledged.id), (Phase::Acknowledged, told.id));
    }
    let told = alert(engaged_a());
    let released = alert(with(engaged_a(), json!({"action": "release", "tstamp": 1_793_959_620})));
    assert_eq!((told.id.as_deref(), told.began), (None, None));
    assert!(told.series.is_some());
    assert_eq!(told.series, released.series);
    assert_eq!((told.as_of, released.as_of), (at(1_793_959_320), at(1_793_959_620)));
}

#[test]
fn the_key_of_a_life_is_of_what_is_engaged_and_of_nothing_else() {
    let key = |changes: Value| alert(with(engaged_b(), changes)).id.unwrap();
    let of = key(json!({}));
    for changes in [
        json!({"ifid": 2}),
        json!({"alert_entity": 2}),
        json!({"alert_entity_val": "10.44.2.6@0"}),
        json!({"alert_type": 50}),
        json!({"alert_subtype": "packets"}),
        json!({"alert_granularity": 300}),
    ] {
        assert_ne!(key(changes.clone()), of, "{changes}");
    }
    for changes in [
        json!({"alert_severity": 8}),
        json!({"alert_json": "{}"}),
        json!({"alert_tstamp_end": 1_793_960_000}),
        json!({"alert_entity_val": "10.44.2.5"}),
    ] {
        assert_eq!(key(changes.clone()), of, "{changes}");
    }
    let series = |changes: Value| alert(with(engaged_a(), changes)).series.unwrap();
    assert_ne!(series(json!({"alert_key": "5mins_bytes"})), series(json!({})));
    assert_eq!(
        series(json!({"type": "threshold_cross", "entity_type": "interface"})),
        series(json!({}))
    );
}

#[test]
fn what_only_happened_is_known_by_all_that_was_said() {
    let key = |body: Value| alert(body).id.unwrap();
    for body in [pushed(), flow_b(), flow_c()] {
        assert_eq!(key(body.clone()), key(body));
    }
    for changes in
        [json!({"tstamp": 1_523_616_621}), json!({"message": "another"}), json!({"ifid": 1})]
    {
        assert_ne!(key(with(pushed(), changes)), key(pushed()));
    }
    for changes in [json!({"cli_ip": "10.44.4.5"}), json!({"srv_port": 54}), json!({"alert_id": 2})]
    {
        assert_ne!(key(with(flow_c(), changes)), key(flow_c()));
    }
    assert_eq!(key(with(flow_c(), json!({"score": 151}))), key(flow_c()));
    let noted = alert(with(flow_c(), json!({"acknowledged": true})));
    assert_eq!(noted.phase, Phase::Stored, "what has no life cannot stay open");
    assert!(noted.tags.iter().any(|tag| tag == "acknowledged"));
}

#[test]
fn a_batch_is_read_alert_by_alert_and_a_bad_one_takes_no_other_with_it() {
    let batch = json!({"version": "0.2", "sharedsecret": "s3cret-of-the-batch",
        "alerts": [host_c(), 7, {"odd": 1}, engaged_b(), pushed(), {"alert_id": {}}]});
    let told = all(batch);
    let good: Vec<_> = told.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, false, true, true, false]);
    let reasons: Vec<_> =
        told.iter().filter_map(|one| Some(one.as_ref().err()?.0.clone())).collect();
    assert_eq!(reasons[0], "a number instead of an object");
    assert!(reasons[1].contains("(keys: odd)"), "{}", reasons[1]);
    for one in told.iter().flatten() {
        assert!(!format!("{one:?}").contains("s3cret-of-the-batch"));
    }
    for (alerts, want) in [
        (json!([]), 0),
        (json!({}), 0),
        (json!(host_c()), 1),
        (json!({"1": host_c(), "2": pushed()}), 2),
        (json!(json!([host_c()]).to_string()), 1),
        (json!("no JSON"), 0),
    ] {
        let told = all(json!({"version": "0.2", "alerts": alerts}));
        assert_eq!(told.iter().filter(|one| one.is_ok()).count(), want, "{alerts}");
        assert!(!told.is_empty());
    }
}

#[test]
fn a_secret_in_an_alert_is_not_in_its_original() {
    let told = alert(with(pushed(), json!({"sharedsecret": "s3cret", "message": "x"})));
    assert!(!format!("{told:?}").contains("s3cret"));
}

#[test]
fn ntopngs_objects_are_known_from_those_of_others() {
    for (object, want) in [
        (pushed(), true),
        (engaged_b(), true),
        (flow_b(), true),
        (host_c(), true),
        (flow_c(), true),
        (json!({"event": {"module": "ntopng"}, "message": "x"}), true),
        (json!({"version": "0.1", "alerts": [pushed()]}), true),
        (json!({"alerts": [pushed()]}), true),
        (json!({"sharedsecret": "s", "alerts": []}), true),
        (json!({"alerts": [{"fingerprint": "f"}]}), false),
        (json!({"version": "4", "alerts": [], "groupKey": "g"}), false),
        (json!({"type": "x"}), false),
        (json!({"alert": {}}), false),
        (json!({"event": {"module": "zeek"}}), false),
        (json!({}), false),
    ] {
        assert_eq!(recognises(object.as_object().unwrap()), want, "{object}");
    }
    for (body, want) in [
        (r#"{"version":"0.2","sharedsecret":"s","alerts":[]}"#, true),
        (r#"{"alerts": [], "version": 0.1}"#, true),
        (r#"{"version":"0.2","alerts":{}}"#, true),
        (r#"{"version":"0.2","alerts":[{}]}"#, false),
        (r#"{"version":"4","alerts":[],"receiver":"r"}"#, false),
        (r#"{"alerts":[]}"#, false),
        ("", false),
    ] {
        assert_eq!(is_test(body.as_bytes()), want, "{body}");
    }
}

/// As ntopng's documentation has it.
fn ecs() -> Value {
    json!({"organization": {"name": "ntop"}, "rule": {"name": "Low Goodput Ratio"}, "ecs": {"version": "1.6.0"},
        "event": {"severity_label": "low", "created": "2020-11-23T14:20:56.0Z", "category": "network",
            "module": "ntopng", "kind": "alert", "severity": 3, "dataset": "alerts", "risk_score": 10},
        "source": {"port": 60952, "ip": "192.168.1.29"},
        "destination": {"geo": {"continent_name": "NA", "country_iso_code": "US"}, "ip": "23.206.251.35",
            "as": {"number": 16625}, "port": 80},
        "network": {"community_id": "1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=", "transport": "tcp", "protocol": "http"},
        "message": r#"{"proto.ndpi":"HTTP","proto":6,"alert_tstamp":1606141256,"cli_addr":"192.168.1.29","srv_addr":"23.206.251.35","alert_severity":3,"first_seen":1606141240,"score":10,"action":"store","cli_port":60952,"srv2cli_bytes":558,"is_flow_alert":true,"alert_type":10,"cli2srv_bytes":681,"alert_json":"{"info":"ocsp.example/MFg","status_info":"{"goodput_ratio":39.7}"}","srv_port":80,"ifid":0,"flow_status":12}"#,
        "@timestamp": "2020-11-23T14:20:56.0Z"})
}

#[test]
fn a_document_of_the_elasticsearch_recipient_keeps_its_fields_and_tells_more_by_its_message() {
    let told = alert(ecs());
    for (name, want) in [
        ("source.ip", json!("192.168.1.29")),
        ("source.port", json!(60952)),
        ("source.bytes", json!(681)),
        ("destination.geo.country_iso_code", json!("US")),
        ("destination.as.number", json!(16625)),
        ("network.community_id", json!("1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=")),
        ("network.protocol", json!("http")),
        ("event.category", json!("network")),
        ("rule.description", json!("Low Goodput Ratio")),
        ("organization.name", json!("ntop")),
    ] {
        assert_eq!(field(&told, name), want, "{name}");
    }
    assert_eq!((told.rule.name.as_deref(), told.severity), (Some("flow_misbehaviour"), 40));
    assert_eq!((told.start, told.end), (at(1_606_141_240), at(1_606_141_256)));
    assert!(told.original.as_deref().unwrap().contains("low"));

    let broken = alert(with(ecs(), json!({"message": "{\"alert_type\":10,"})));
    assert_eq!((broken.rule.name.as_deref(), broken.severity), (Some("Low Goodput Ratio"), 40));
    assert_eq!((broken.start, broken.phase), (at(1_606_141_256), Phase::Stored));
    assert_eq!(
        (field(&broken, "source.ip"), broken.message.as_deref()),
        (json!("192.168.1.29"), Some("Low Goodput Ratio"))
    );
    assert!(broken.tags.iter().any(|tag| tag == "repaired"));
    let said = alert(with(ecs(), json!({"message": "in <b>words</b>"})));
    assert_eq!(said.message.as_deref(), Some("in words"));
    assert_ne!(said.id, broken.id);
}

#[test]
fn a_field_that_no_index_takes_costs_that_field_alone() {
    let told = alert(with(
        ecs(),
        json!({"source": {"ip": "unknown", "port": "http", "domain": ["a", "b"], "bytes": {"in": 1}},
            "host": {"ip": ["10.0.0.1", 7], "geo": {"location": "here"}}, "message": "x"}),
    ));
    for (name, want) in [
        ("source.ip", Value::Null),
        ("source.port", Value::Null),
        ("source.domain", json!(["a", "b"])),
        ("source.bytes", Value::Null),
        ("host.ip", Value::Null),
        ("host.geo.location", Value::Null),
        ("destination.ip", json!("23.206.251.35")),
    ] {
        assert_eq!(field(&told, name), want, "{name}");
    }
    assert!(told.tags.iter().any(|tag| tag == "repaired"));
    assert!(told.original.as_deref().unwrap().contains("unknown"));
}

#[test]
fn a_long_text_is_cut_where_it_goes_into_a_field() {
    let told = alert(with(host_c(), json!({"entity_val": "x".repeat(1 << 20), "ip": null})));
    let longest = told.about.unwrap().fields.iter().map(|(_, value)| value.to_string().len()).max();
    assert!(longest.unwrap() <= LONGEST_FIELD + 2, "{longest:?}");
}

proptest! {
    #[test]
    fn any_object_is_read_or_refused_and_nothing_panics(
        keys in proptest::collection::vec((0_usize..24, "[<a-z0-9@.:{}\"&;]{0,12}|[0-9]{1,12}"), 0..12)
    ) {
        const KEYS: [&str; 24] = ["alert_id", "alert_type", "type", "entity_id", "entity_val", "tstamp", "tstamp_end",
            "action", "json", "message", "severity", "score", "cli_ip", "srv_ip", "cli_port", "proto", "proto.ndpi",
            "vlan_id", "entity_type", "entity_value", "is_flow_alert", "alert_json", "first_seen", "alerts"];
        for as_number in [false, true] {
            let value = |text: &String| match text.parse::<i64>() {
                Ok(number) if as_number => json!(number),
                _ => json!(text),
            };
            let object = keys.iter().map(|(key, text)| (KEYS[*key].to_owned(), value(text))).collect();
            for alert in decode(object, None).into_iter().flatten() {
                prop_assert!(alert.id.is_some() != alert.series.is_some());
                prop_assert!(alert.message.is_some_and(|text| !text.contains("<a")));
            }
        }
    }
}
