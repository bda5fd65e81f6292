//! What an alert tells of its flow, as fields of the record: ECS's names, and Arkime's where ECS has
//! none.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{
    address::{address, at_vlan, kind_of},
    codes::{self, Table},
    put,
    told::Told,
    values::Values,
    version::Version,
};
use crate::{
    alert::{Alert, bucket::About},
    intake::lenient::Lenient,
};

/// What stands for no protocol.
const UNKNOWN_PROTOCOLS: [&str; 3] = ["unknown", "too early", ""];

/// One end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its port, where the protocol has one.
    pub port: Option<i64>,
    /// What people call it.
    pub name: Option<String>,
}

/// A flow, as far as a sentence needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Who began it.
    pub client: End,
    /// Who was asked.
    pub server: End,
    /// `tcp`, `udp`.
    pub transport: Option<&'static str>,
    /// The application protocol, in small letters.
    pub protocol: Option<String>,
    /// The VLAN; 0 for none.
    pub vlan: i64,
    /// What it was about: a name asked for, an address of the web.
    pub info: Option<String>,
}

impl Flow {
    /// What tells it from other flows of the same moment. Ids of records are made of it, so its form
    /// stays.
    pub fn identity(&self) -> String {
        let end = |end: &End| json!([end.ip.map(|ip| ip.to_string()), end.port, end.name]);
        let ends = [end(&self.client), end(&self.server)];
        json!([ends, self.transport, self.protocol, self.vlan, self.info]).to_string()
    }
}

/// Adds what a flow's alert tells, and returns the flow.
pub fn add(
    about: &mut About,
    object: &Map<String, Value>,
    told: &Told,
    lenient: &mut Lenient,
) -> Flow {
    // Up to 3.8 the flow stands in an object of its own, and its addresses may stand outside.
    let inner = object.get("flow").and_then(Value::as_object);
    let mut values = Values::of(object, lenient);
    let outside = ["origin", "target"].map(|key| values.text(key));
    let mut values = Values::of(inner.unwrap_or(object), lenient);
    let bytes = ["cli2srv_bytes", "srv2cli_bytes"].map(|key| values.integer(key));
    let packets = ["cli2srv_packets", "srv2cli_packets"].map(|key| values.integer(key));
    let mut ends = [("cli", "source"), ("srv", "destination")].map(|(short, field)| {
        let end = add_end(about, &mut values, short, field);
        (end, values.flag(&format!("{short}_localhost")), values.has(&format!("{short}_localhost")))
    });
    for (n, field) in ["source", "destination"].into_iter().enumerate() {
        put(about, &format!("{field}.bytes"), bytes[n]);
        put(about, &format!("{field}.packets"), packets[n]);
        if ends[n].0.ip.is_none()
            && let Some(ip) = outside[n].as_deref().and_then(|text| address(text).0)
        {
            ends[n].0.ip = Some(ip);
            put(about, &format!("{field}.ip"), Some(ip.to_string()));
        }
    }
    let total = |both: [Option<i64>; 2]| {
        both.iter()
            .any(Option::is_some)
            .then(|| both.iter().flatten().fold(0, |sum: i64, n| sum.saturating_add(*n)))
    };
    put(about, "network.bytes", total(bytes));
    put(about, "totDataBytes", total(bytes));
    put(about, "network.packets", total(packets));
    let [(client, is_near, near_told), (server, is_server_near, server_told)] = ends;
    if near_told && server_told {
        put(about, "network.direction", Some(direction(is_near, is_server_near)));
    }
    put(about, "network.type", client.ip.or(server.ip).map(kind_of));
    put(about, "network.community_id", values.text("community_id"));
    put(about, "dns.question.name", values.text("dns_last_query"));
    let probe = values.text("probe_ip").and_then(|text| address(&text).0);
    put(about, "observer.ip", probe.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    let vlan = values.positive("vlan_id").unwrap_or(0);
    put(about, "network.vlan.id", (vlan > 0).then(|| vlan.to_string()));
    let (transport, protocol) = add_protocols(about, &mut values, told.version);
    let info = values
        .text("info")
        .or_else(|| told.details.get("info").and_then(Value::as_str).map(str::to_owned));
    Flow { client, server, transport, protocol, vlan, info }
}

/// One end; an address that is none is a name.
fn add_end(about: &mut About, values: &mut Values, short: &str, field: &str) -> End {
    let key = |last: &str| format!("{short}_{last}");
    let told = values.text(&key("ip")).or_else(|| values.text(&key("addr")));
    let ip = told.as_deref().and_then(|text| address(text).0);
    put(about, &format!("{field}.ip"), ip.map(|ip| ip.to_string()));
    let name = values.text(&key("name")).or_else(|| told.filter(|_| ip.is_none()));
    let name = name.filter(|name| address(name).0.is_none());
    put(about, &format!("{field}.domain"), name.clone());
    let port = values.integer(&key("port")).filter(|port| (1..=65_535).contains(port));
    put(about, &format!("{field}.port"), port);
    put(about, &format!("{field}.as.number"), values.positive(&key("asn")));
    put(about, &format!("{field}.mac"), values.text(&key("mac")).map(|mac| mac.to_lowercase()));
    let country = values.text(&key("country")).or_else(|| values.text(&key("country_name")));
    match country {
        Some(code) if code.len() == 2 => {
            put(about, &format!("{field}.geo.country_iso_code"), Some(code));
        }
        country => put(about, &format!("{field}.geo.country_name"), country),
    }
    put(about, &format!("{field}.geo.city_name"), values.text(&key("city_name")));
    End { ip, port, name }
}

fn add_protocols(
    about: &mut About,
    values: &mut Values,
    version: Version,
) -> (Option<&'static str>, Option<String>) {
    let number = values.integer("proto").filter(|number| (0..=255).contains(number));
    put(about, "ipProtocol", number);
    put(about, "network.iana_number", number.map(|number| number.to_string()));
    let transport = number.and_then(|number| codes::name(Table::L4, number, version));
    put(about, "network.transport", transport);
    let (protocol, application) = if let Some(text) = values.text("proto.ndpi") {
        halves(&text)
    } else {
        let mut of = |key| codes::name(Table::L7, values.positive(key)?, version);
        match (of("l7_master_proto"), of("l7_proto")) {
            (Some(master), Some(app)) if master != app => {
                (Some(master.to_owned()), Some(app.to_owned()))
            }
            (master, app) => (app.or(master).map(str::to_owned), None),
        }
    };
    put(about, "network.protocol", protocol.clone());
    put(about, "network.application", application);
    (transport, protocol)
}

/// nDPI's `TLS.Google`: what is spoken, and who speaks it.
fn halves(text: &str) -> (Option<String>, Option<String>) {
    let text = text.trim().to_lowercase();
    let known = |part: &str| (!UNKNOWN_PROTOCOLS.contains(&part)).then(|| part.to_owned());
    match text.split_once('.') {
        Some((master, app)) if master != app => (known(master), known(app)),
        Some((master, _)) => (known(master), None),
        None => (known(&text), None),
    }
}

const fn direction(is_client_near: bool, is_server_near: bool) -> &'static str {
    match (is_client_near, is_server_near) {
        (true, true) => "internal",
        (true, false) => "outbound",
        (false, true) => "inbound",
        (false, false) => "external",
    }
}

/// Adds the entities of a flow's alert: both hosts.
pub fn concern_hosts(alert: &mut Alert, flow: &Flow) {
    for end in [&flow.client, &flow.server] {
        if let Some(ip) = end.ip {
            alert.concerns("host", &at_vlan(ip, flow.vlan));
        }
    }
}
