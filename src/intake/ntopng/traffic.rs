//! What an alert tells of the traffic, as fields of the record: of its flow, or of the host, device,
//! network or interface that it is about. ECS's names, and Arkime's where ECS has none.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    codes::{self, Table},
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
/// How many addresses in a text are told.
const MOST: usize = 20;

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

/// Adds what a flow's alert tells, and returns the flow.
pub fn add_flow(
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

const fn kind_of(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}

/// Adds what is told of the host, device, network and so on that an alert is about.
pub fn add_entity(
    alert: &mut Alert,
    about: &mut About,
    object: &Map<String, Value>,
    told: &Told,
    lenient: &mut Lenient,
) {
    let mut values = Values::of(object, lenient);
    let (ip, vlan) = address(&told.value);
    let name = values.text("name").filter(|name| *name != told.value && address(name).0.is_none());
    let kind = &*told.entity.name;
    match kind {
        "host" | "am_host" | "pinged_host" => {
            let ip = values.text("ip").and_then(|text| address(&text).0).or(ip);
            let vlan = values.positive("vlan_id").or(vlan);
            put(about, "host.ip", ip.map(|ip| ip.to_string()));
            put(about, "network.vlan.id", vlan.map(|vlan| vlan.to_string()));
            // So that it stands on the dashboards of the traffic, on the side that it was on.
            let is_source = values.flag("is_attacker") || values.flag("is_client");
            let is_destination = values.flag("is_victim") || values.flag("is_server");
            let side = match (is_source, is_destination) {
                (true, _) => Some("source.ip"),
                (false, true) => Some("destination.ip"),
                (false, false) => None,
            };
            if let Some(side) = side {
                put(about, side, ip.map(|ip| ip.to_string()));
            }
            if let Some(ip) = ip {
                put(about, "network.type", Some(kind_of(ip)));
            }
            let name = name.or_else(|| {
                (ip.is_none() && mac(&told.value).is_none()).then(|| bare(&told.value))
            });
            put(about, "host.name", name.filter(|name| !name.is_empty()));
            put(about, "host.mac", mac(&told.value).or_else(|| mac(&values.text("mac")?)));
            put(
                about,
                "host.geo.country_iso_code",
                values.text("country_name").filter(|code| code.len() == 2),
            );
            let of_host = ip.filter(|_| kind == "host").map(|ip| at_vlan(ip, vlan.unwrap_or(0)));
            alert.concerns(kind, &of_host.unwrap_or_else(|| bare(&told.value)));
        }
        "mac" => {
            put(about, "host.mac", mac(&told.value));
            put(about, "host.name", values.text("device_name").or(name));
            alert.concerns(kind, &mac(&told.value).unwrap_or_else(|| told.value.clone()));
        }
        "network" => {
            put(about, "network.name", Some(bare(&told.value)));
            alert.concerns(kind, &bare(&told.value));
        }
        "interface" => {
            put(about, "observer.ingress.interface.name", name);
            let id = told.value.strip_prefix("iface_").unwrap_or(&told.value);
            alert.concerns(kind, id);
        }
        "snmp_device" => {
            let device = told.value.split("_ifidx").next().unwrap_or_default();
            put(about, "host.ip", address(device).0.map(|ip| ip.to_string()));
            put(about, "host.name", values.text("device_name").or(name));
            alert.concerns(kind, &told.value);
        }
        "user" => {
            about.users.extend((!told.value.is_empty()).then(|| told.value.clone()));
            alert.concerns(kind, &told.value);
        }
        "unknown" => {}
        kind => alert.concerns(kind, &told.value),
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

/// Adds the pools of hosts that an alert's host, or the ends of its flow, are in; pool 0 is the one
/// of all others.
pub fn concern_pools(alert: &mut Alert, object: &Map<String, Value>, lenient: &mut Lenient) {
    let mut values = Values::of(object, lenient);
    for key in ["host_pool_id", "pool_id", "cli_host_pool_id", "srv_host_pool_id"] {
        if let Some(pool) = values.positive(key) {
            alert.concerns("host_pool", &pool.to_string());
        }
    }
}

/// Adds the addresses and devices that a text names.
pub fn add_named(about: &mut About, text: &str) {
    let is_part = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
    for word in text.split(|c: char| !is_part(c)).filter(|word| word.len() >= 3).take(1_000) {
        let word = word.trim_end_matches(['.', ':']);
        if about.addresses.len() + about.macs.len() >= MOST {
            return;
        }
        // A port may follow an address; in `a:b` of IPv6 none is meant.
        let host = word
            .split_once(':')
            .filter(|(host, _)| host.contains('.'))
            .map_or(word, |(host, _)| host);
        if let Some(mac) = mac(word) {
            add_once(&mut about.macs, mac);
        } else if host.contains(['.', ':'])
            && let Ok(ip) = host.parse::<IpAddr>()
        {
            add_once(&mut about.addresses, ip.to_string());
        }
    }
}

fn add_once(all: &mut Vec<String>, text: String) {
    if !all.contains(&text) {
        all.push(text);
    }
}

/// Adds a field where there is a value for it.
pub fn put(about: &mut About, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        about.fields.push((field.to_owned(), value.into()));
    }
}

/// The address and VLAN of `10.0.0.1@12`; a VLAN of 0 is none.
pub fn address(text: &str) -> (Option<IpAddr>, Option<i64>) {
    let text = text.trim();
    let (ip, vlan) = text.split_once('@').unwrap_or((text, ""));
    (ip.parse().ok(), vlan.parse().ok().filter(|vlan| *vlan > 0))
}

/// Without a VLAN of 0 behind it.
pub fn bare(value: &str) -> String {
    value.trim().trim_end_matches("@0").to_owned()
}

fn at_vlan(ip: IpAddr, vlan: i64) -> String {
    if vlan > 0 { format!("{ip}@{vlan}") } else { ip.to_string() }
}

/// A MAC address in small letters, also of `4A:00:06:A0:7C:51@0`.
fn mac(text: &str) -> Option<String> {
    let text = text.split('@').next().unwrap_or_default().trim();
    let mut parts = text.split([':', '-']);
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    (text.len() == 17 && parts.all(is_byte)).then(|| text.to_lowercase().replace('-', ":"))
}

/// What every record of ntopng has: who saw it.
pub fn add_observer(about: &mut About, ifid: Option<i64>) {
    about.fields.push(("observer.vendor".to_owned(), json!("ntop")));
    about.fields.push(("observer.product".to_owned(), json!("ntopng")));
    put(about, "observer.ingress.interface.id", ifid.map(|id| id.to_string()));
}

/// The earlier of two times that are there.
pub fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
