//! The body of ntopng's webhook since 5.0, with one alert:
//!
//! ```json
//! {"version": "0.2", "sharedsecret": "…", "alerts": [{"ifid": 0, "action": "engage", "alert_id": 27, …}]}
//! ```
//! All keys of ntopng's own are there, those of which nothing is known with what ntopng has for
//! nothing: 0, `""`, `false`.

use serde_json::{Map, Value, json};

use super::{codes, codes::Entity, subject::Subject};
use crate::{alert::Phase, callback::Notice};

/// The webhook's version.
const VERSION: &str = "0.2";
/// `alerts_map` has so many bits, the last one for the alert 0.
const MAP_BITS: i64 = 128;

/// The body for a notice; without a secret it has none.
pub fn body(notice: &Notice, shared_secret: Option<&str>) -> Value {
    let mut body = json!({ "version": VERSION, "alerts": [alert(notice)] });
    if let Some(secret) = shared_secret {
        body["sharedsecret"] = json!(secret);
    }
    body
}

fn alert(notice: &Notice) -> Value {
    let subject = Subject::of(notice);
    let mut alert = json!({
        "ifid": subject.interface(),
        "action": subject.action(),
        "alert_id": subject.alert_id(),
        "alert_category": subject.category(),
        "score": codes::score(subject.alert().severity),
        "acknowledged": subject.alert().phase == Phase::Acknowledged,
        "entity_id": subject.entity.today(),
        "pool_id": 0,
        "json": details(&subject).to_string(),
    });
    let own = match subject.entity {
        Entity::Flow => flow(&subject),
        Entity::Host => host(&subject),
        _ => other(&subject),
    };
    if let (Value::Object(alert), Value::Object(own)) = (&mut alert, own) {
        alert.extend(own);
    }
    alert
}

/// What ntopng's own alerts keep in `json`, and what a person wants to read.
fn details(subject: &Subject) -> Value {
    let alert = subject.alert();
    let all = [
        ("alert_generation", json!({"script_key": "alertloop", "subdir": subject.entity.table()})),
        ("message", json!(subject.message())),
        ("rule", json!(subject.rule())),
        ("reason", json!(alert.trigger.name)),
        ("severity", json!(alert.severity)),
        ("provider", json!(alert.source.provider())),
        ("event_id", json!(alert.id)),
        ("url", json!(alert.url)),
        ("tags", json!(alert.tags)),
    ];
    let known = all.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// Begin and end; what goes on has the end 0, what happened at once ends when it begins.
fn times(subject: &Subject) -> (i64, i64) {
    match subject.alert().phase {
        Phase::Engaged | Phase::Acknowledged => (subject.begun(), 0),
        Phase::Released => (subject.begun(), subject.ended()),
        Phase::Stored => (subject.ended(), subject.ended()),
    }
}

fn other(subject: &Subject) -> Value {
    let (begun, ended) = times(subject);
    json!({
        "subtype": subject.key(),
        "granularity": 0,
        "entity_val": subject.value,
        "tstamp": begun,
        "tstamp_end": ended,
    })
}

fn host(subject: &Subject) -> Value {
    let (begun, ended) = times(subject);
    let is = |field: &str| subject.text(field) == Some(subject.value.as_str());
    json!({
        "subtype": subject.key(),
        "granularity": 0,
        "entity_val": format!("{}@{}", subject.value, subject.vlan),
        "ip": subject.value,
        "ip_version": ip_version(&subject.value),
        "name": subject.text("host.name").unwrap_or_default(),
        "vlan_id": subject.vlan,
        "observation_point_id": 0,
        "host_pool_id": 0,
        "network": 0,
        "is_attacker": false,
        "is_victim": false,
        "is_client": is("source.ip"),
        "is_server": is("destination.ip"),
        "tstamp": begun,
        "tstamp_end": ended,
    })
}

/// Where a flow's alert has a life, which ntopng's have not, it has its key and end besides.
fn flow(subject: &Subject) -> Value {
    let mut flow = json!({
        "is_flow_alert": true,
        "entity_val": "flow",
        "first_seen": subject.begun(),
        "tstamp": subject.ended(),
        "vlan_id": subject.vlan,
        "observation_point_id": 0,
        "proto": subject.protocol(),
        "proto.ndpi": subject.text("network.protocol").unwrap_or_default(),
        "l7_proto": 0,
        "l7_master_proto": 0,
        "l7_cat": 0,
        "flow_risk_bitmap": 0,
        "alerts_map": alerts_map(subject.alert_id()),
        "community_id": subject.text("network.community_id").unwrap_or_default(),
        "info": "",
        "probe_ip": "0.0.0.0",
        "input_snmp": 0,
        "output_snmp": 0,
        "ip_version": subject.text("source.ip").map_or(4, ip_version),
    });
    for (side, others, way) in [("cli", "source", "cli2srv"), ("srv", "destination", "srv2cli")] {
        let number = |name: &str| subject.number(&format!("{others}.{name}")).unwrap_or(0);
        let text = |name: &str| subject.text(&format!("{others}.{name}")).unwrap_or_default();
        let address = subject.address(&format!("{others}.ip")).map(|ip| ip.to_string());
        flow[format!("{side}_ip")] = json!(address);
        flow[format!("{side}_port")] = json!(number("port"));
        flow[format!("{side}_name")] = json!(text("domain"));
        flow[format!("{side}_asn")] = json!(number("as.number"));
        flow[format!("{side}_blacklisted")] = json!(false);
        flow[format!("{side}_localhost")] = json!(false);
        flow[format!("is_{side}_attacker")] = json!(false);
        flow[format!("is_{side}_victim")] = json!(false);
        flow[format!("{way}_bytes")] = json!(number("bytes"));
        flow[format!("{way}_packets")] = json!(number("packets"));
    }
    if subject.alert().phase != Phase::Stored {
        let (begun, ended) = times(subject);
        flow["tstamp"] = json!(begun);
        flow["tstamp_end"] = json!(ended);
        flow["subtype"] = json!(subject.key());
    }
    flow
}

fn ip_version(address: &str) -> i64 {
    if address.contains(':') { 6 } else { 4 }
}

/// The alerts of a flow as bits, in hex; ours has one.
fn alerts_map(id: i64) -> String {
    let bit = u32::try_from(id).ok().filter(|_| id < MAP_BITS);
    format!("{:032x}", bit.map_or(0, |bit| 1_u128 << bit))
}
