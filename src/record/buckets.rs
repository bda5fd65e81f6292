//! What an alert's bucket tells goes into the record's fields, so that the alert stands beside the
//! traffic that it is about. Pure.

use serde_json::{Map, Value, json};

use super::{fields::FieldSet, merge_body};
use crate::alert::bucket::About;

/// Objects and fields that tell of the alert itself; a bucket's value for them tells of the traffic.
const OURS: [&str; 8] =
    ["@timestamp", "conflicts", "ecs", "error", "event", "firstPacket", "lastPacket", "tags"];
/// Last parts of fields that name hosts.
const HOSTS: [&str; 3] = ["domain", "hostname", "address"];

/// Adds the fields of a bucket that the index has a mapping for.
pub fn add_fields(document: &mut Map<String, Value>, about: &About, known: &FieldSet) {
    let is_ours = |field: &str| field.split('.').next().is_some_and(|first| OURS.contains(&first));
    let fields = about.fields.iter().filter(|(field, _)| !is_ours(field)).cloned();
    // What has no field stands in `event.original`, with all keys.
    merge_body::merge(document, &fields.collect(), known);
}

/// Adds addresses and hosts to those that `related` has already.
pub fn add_related(document: &mut Map<String, Value>, about: &About, known: &FieldSet) {
    let mut related: [(&str, Vec<&str>); 5] =
        ["ip", "hosts", "mac", "user", "hash"].map(|name| (name, Vec::new()));
    for (field, value) in &about.fields {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { continue };
        let place = match field.rsplit('.').next().unwrap_or_default() {
            _ if text.parse::<std::net::IpAddr>().is_ok() => 0,
            last if HOSTS.contains(&last) || field == "host.name" => 1,
            "mac" => 2,
            _ => continue,
        };
        related[place].1.push(text);
    }
    let told = [&about.addresses, &about.hosts, &about.macs, &about.users, &about.hashes];
    for ((_, values), told) in related.iter_mut().zip(told) {
        values.extend(told.iter().map(String::as_str));
    }
    for (name, values) in related {
        if !values.is_empty() && known.knows(&format!("related.{name}")) {
            unite(document, name, &values);
        }
    }
}

fn unite(document: &mut Map<String, Value>, name: &str, values: &[&str]) {
    let related = document.entry("related").or_insert_with(|| json!({}));
    let Some(related) = related.as_object_mut() else { return };
    let mut all = match related.remove(name) {
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    for value in values {
        if !all.iter().any(|have| have == value) {
            all.push(json!(value));
        }
    }
    related.insert(name.to_owned(), Value::Array(all));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(document: Value, about: &About, known: &FieldSet) -> Value {
        let Value::Object(mut document) = document else { unreachable!() };
        add_fields(&mut document, about, known);
        add_related(&mut document, about, known);
        Value::Object(document)
    }

    fn about(fields: &[(&str, Value)], addresses: &[&str]) -> About {
        About {
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            ..About::default()
        }
    }

    #[test]
    fn keys_go_into_their_fields_and_into_what_is_related() {
        let fields = [
            ("source.ip", json!("10.0.0.1")),
            ("source.port", json!(53)),
            ("host.name", json!("a")),
            ("source.mac", json!("00:11:22:33:44:55")),
            ("network.protocol", json!("dns")),
        ];
        let got = with(json!({}), &about(&fields, &["10.0.0.2"]), &FieldSet::everything());
        let want = json!({"source": {"ip": "10.0.0.1", "port": 53, "mac": "00:11:22:33:44:55"},
            "host": {"name": "a"}, "network": {"protocol": "dns"},
            "related": {"ip": ["10.0.0.1", "10.0.0.2"], "hosts": ["a"], "mac": ["00:11:22:33:44:55"]}});
        assert_eq!(got, want);
    }

    #[test]
    fn what_the_alert_is_stays_and_nothing_makes_a_new_mapping() {
        let mapping = json!({"properties": {"rule": {"properties": {"name": {"type": "keyword"}}},
            "source": {"properties": {"ip": {"type": "ip"}}},
            "event": {"properties": {"outcome": {"type": "keyword"}}}}});
        let known = FieldSet::from_mapping(&mapping);
        let fields = [
            ("event.outcome", json!("success")),
            ("rule.name", json!("ET SCAN")),
            ("zeek.uid", json!("C1")),
            ("source.ip", json!("10.0.0.1")),
        ];
        let document = json!({"event": {"id": "a"}, "rule": {"name": "Beacons"}});
        let want = json!({"event": {"id": "a"}, "rule": {"name": "Beacons"},
            "source": {"ip": "10.0.0.1"}, "conflicts": "{\"rule\":{\"name\":\"ET SCAN\"}}"});
        assert_eq!(with(document, &about(&fields, &[]), &known), want);
    }

    #[test]
    fn what_is_related_already_stays() {
        let have = json!({"related": {"ip": "10.0.0.1"}});
        let got = with(have, &about(&[], &["10.0.0.1", "10.0.0.2"]), &FieldSet::everything());
        assert_eq!(got, json!({"related": {"ip": ["10.0.0.1", "10.0.0.2"]}}));
    }
}
