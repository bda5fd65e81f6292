//! What a definition groups by → fields of the record, so that an alert stands beside the traffic that
//! it is about. Graylog's schema has `source_ip` where ECS has `source.ip`; a name that is ECS already
//! stays. Any other stays too, and is then no field of the index.

use std::net::IpAddr;

use serde_json::{Map, Value};

const NAMES: [(&str, &str); 14] = [
    ("source_ip", "source.ip"),
    ("src_ip", "source.ip"),
    ("src", "source.ip"),
    ("destination_ip", "destination.ip"),
    ("dst_ip", "destination.ip"),
    ("dst", "destination.ip"),
    ("source_port", "source.port"),
    ("src_port", "source.port"),
    ("destination_port", "destination.port"),
    ("dst_port", "destination.port"),
    ("network_transport", "network.transport"),
    ("network_protocol", "network.protocol"),
    ("host_hostname", "host.name"),
    // Graylog's own field of every message: the host that it is from.
    ("source", "host.name"),
];

/// The groups under the names of the record's fields; what does not fit its field is left out.
pub fn named(groups: &Map<String, Value>) -> Map<String, Value> {
    let field = |(name, value): (&String, &Value)| {
        let known = NAMES.iter().find(|(graylogs, _)| graylogs == name);
        let field = known.map_or(name.as_str(), |(_, field)| field);
        Some((field.to_owned(), fitting(field, value)?))
    };
    groups.iter().filter_map(field).collect()
}

fn fitting(field: &str, value: &Value) -> Option<Value> {
    let text = value.as_str().map(str::trim);
    let is_address = || text.is_some_and(|text| text.parse::<IpAddr>().is_ok());
    match field.rsplit('.').next()? {
        "ip" => is_address().then(|| value.clone()),
        "port" => match text {
            Some(text) => text.parse::<u16>().ok().map(Value::from),
            None => value.as_u64().and_then(|port| u16::try_from(port).ok()).map(Value::from),
        },
        _ if field == "host.name" => (!is_address()).then(|| value.clone()),
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn graylogs_names_become_fields_and_what_does_not_fit_is_left_out() {
        let groups = json!({
            "source_ip": "10.3.0.9", "dst_ip": "no address", "src_port": "443", "destination_port": "x",
            "source": "fw-1", "source.ip": "10.3.0.9", "user_name": "ada", "network_transport": "tcp"
        });
        let want = json!({
            "source.ip": "10.3.0.9", "source.port": 443, "host.name": "fw-1", "user_name": "ada",
            "network.transport": "tcp"
        });
        assert_eq!(Value::Object(named(groups.as_object().unwrap())), want);
        let of_address = json!({"source": "10.3.0.9"});
        assert!(named(of_address.as_object().unwrap()).is_empty(), "it is related, and no name");
    }
}
