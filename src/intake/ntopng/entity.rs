//! What an alert tells of the host, device, network or interface that it is about, as fields of the
//! record, and the tags by which it is found.

use serde_json::{Map, Value};

use super::{
    address::{address, at_vlan, bare, kind_of, mac},
    put,
    told::Told,
    values::Values,
};
use crate::{
    alert::{Alert, bucket::About},
    intake::lenient::Lenient,
};

/// Adds what is told of the host, device, network and so on that an alert is about.
pub fn add(
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
