//! What an alert's labels tell of the traffic. Who writes the rules names the labels; these are the
//! names that exporters and rules of others use.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::{hosts::Host, without_secrets};
use crate::alert::{Alert, bucket::About};

/// Labels that name the host that it is about, the best first: `instance` may be only who measured.
const HOSTS: [&str; 10] = [
    "host",
    "hostname",
    "host_name",
    "fqdn",
    "nodename",
    "node",
    "node_name",
    "exported_instance",
    "target",
    "instance",
];
/// Labels that name what runs on a host under a name of its own.
const GUESTS: [&str; 3] = ["pod", "container_name", "vm"];
/// Labels whose value is an IP address, and its field.
const ADDRESSES: [(&str, &str); 9] = [
    ("src_ip", "source.ip"),
    ("source_ip", "source.ip"),
    ("srcip", "source.ip"),
    ("client_ip", "source.ip"),
    ("dst_ip", "destination.ip"),
    ("dest_ip", "destination.ip"),
    ("destination_ip", "destination.ip"),
    ("dstip", "destination.ip"),
    ("server_ip", "destination.ip"),
];
const INTERFACES: [&str; 4] = ["interface", "ifName", "ifname", "ifDescr"];
const NETWORKS: [&str; 3] = ["network", "subnet", "cidr"];
const MACS: [&str; 2] = ["mac", "mac_address"];
const USERS: [&str; 3] = ["user", "username", "user_name"];
/// Has its place as `rule.name`.
const RULE: &str = "alertname";
/// So many labels become tags, each of at most so many bytes.
const MOST_TAGS: usize = 32;
const LONGEST_TAG: usize = 256;

/// Puts into `alert` what they tell; every label becomes a tag `name=value`.
pub fn tell(labels: &BTreeMap<String, String>, alert: &mut Alert) {
    let mut about = About::default();
    add_hosts(labels, &mut about, alert);
    for (label, field) in ADDRESSES {
        let Some(address) = labels.get(label).and_then(|value| value.parse::<IpAddr>().ok()) else {
            continue;
        };
        let address = address.to_canonical().to_string();
        alert.concerns("host", &address);
        if about.fields.iter().any(|(have, _)| have == field) {
            about.addresses.push(address);
        } else {
            about.fields.push((field.to_owned(), Value::String(address)));
        }
    }
    let of = |names: &'static [&str]| names.iter().filter_map(|name| labels.get(*name));
    if let Some(interface) = of(&INTERFACES).next() {
        alert.concerns("interface", interface);
    }
    for network in of(&NETWORKS).filter(|network| is_network(network)) {
        alert.concerns("network", network);
    }
    for mac in of(&MACS) {
        alert.concerns("mac", mac);
        about.macs.push(mac.clone());
    }
    about.users.extend(of(&USERS).cloned());
    alert.about = (about != About::default()).then(|| Box::new(about));
    let others = labels.iter().filter(|(name, value)| *name != RULE && !value.is_empty());
    for (name, value) in others.take(MOST_TAGS) {
        let mut tag = without_secrets(&format!("{name}={value}"));
        tag.truncate(tag.floor_char_boundary(LONGEST_TAG));
        alert.tag(tag);
    }
}

/// The host that it is about is that of the first label; the others are related.
fn add_hosts(labels: &BTreeMap<String, String>, about: &mut About, alert: &mut Alert) {
    about.hosts.extend(GUESTS.iter().filter_map(|label| labels.get(*label).cloned()));
    let mut is_known = false;
    for host in HOSTS.iter().filter_map(|label| Host::of(labels.get(*label)?)) {
        let (field, text) = match host {
            Host::Name(name) => ("host.name", name),
            Host::Address(address) => ("host.ip", address.to_string()),
        };
        alert.concerns("host", &text);
        match field {
            _ if !is_known => about.fields.push((field.to_owned(), Value::String(text))),
            "host.name" => about.hosts.push(text),
            _ => about.addresses.push(text),
        }
        is_known = true;
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    address.parse::<IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
}
