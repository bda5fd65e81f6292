//! What an occasion tells: of its condition for `rule`, and its messages of hosts, users and addresses
//! for `related.*`. Pure.
//!
//! The names are those of Graylog's schema (`source_ip`, `user_name`, `host_hostname`), of ECS, and
//! those that inputs and extractors commonly give (`src_ip`, `username`). A value that is an IP
//! address counts under any name.

use std::{collections::HashSet, net::IpAddr};

use serde_json::Value;

use crate::alert::{bucket::About, occasion::Occasion};

/// How many values of a kind are told.
const MOST: usize = 200;
/// The longest of them, in bytes.
const LONGEST: usize = 256;

/// Names of fields, with `_` for a dot; and what others end in.
const HOSTS: [&str; 10] = [
    "host",
    "hostname",
    "host_name",
    "computer",
    "computer_name",
    "source_host",
    "src_host",
    "destination_host",
    "dest_host",
    "dst_host",
];
const HOSTS_END: [&str; 2] = ["_hostname", "_host_name"];
const USERS: [&str; 8] =
    ["user", "username", "user_name", "login", "account", "account_name", "src_user", "dst_user"];
const USERS_END: [&str; 2] = ["_username", "_user_name"];
const HASHES: [&str; 3] = ["md5", "sha1", "sha256"];

/// Fields of the record that the condition has, and who it was that found it to be met.
pub fn fields(occasion: &Occasion) -> Vec<(String, Value)> {
    let condition = &occasion.condition;
    let description = condition.description.as_deref();
    let finder = condition.parameters.get("source").and_then(Value::as_str);
    let told = [("rule.description", description), ("observer.name", finder)];
    told.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect()
}

/// Adds what is related to it.
pub fn relate(about: &mut About, occasion: &Occasion) {
    let mut seen = Seen::default();
    let parameters = &occasion.condition.parameters;
    if let Some(fields) = parameters.get("fields").and_then(Value::as_object) {
        fields.iter().for_each(|(name, value)| seen.field(name, value));
    }
    if let Some(groups) = parameters.get("group_by_fields").and_then(Value::as_object) {
        groups.iter().for_each(|(name, value)| seen.field(name, value));
    }
    for key in parameters.get("key_tuple").and_then(Value::as_array).into_iter().flatten() {
        seen.field("", key);
    }
    for message in &occasion.backlog {
        if let Some(source) = &message.source {
            seen.text("host", source);
        }
        message.fields.iter().for_each(|(name, value)| seen.field(name, value));
    }
    about.addresses.extend(seen.addresses.all);
    about.hosts.extend(seen.hosts.all);
    about.users.extend(seen.users.all);
    about.macs.extend(seen.macs.all);
    about.hashes.extend(seen.hashes.all);
}

#[derive(Default)]
struct Seen {
    addresses: Values,
    hosts: Values,
    users: Values,
    macs: Values,
    hashes: Values,
}

/// Each value once, in the order in which they came.
#[derive(Default)]
struct Values {
    all: Vec<String>,
    known: HashSet<String>,
}

impl Values {
    fn add(&mut self, text: &str) {
        if self.all.len() < MOST && !self.known.contains(text) {
            self.known.insert(text.to_owned());
            self.all.push(text.to_owned());
        }
    }
}

impl Seen {
    fn field(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) => self.text(name, text),
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).for_each(|text| self.text(name, text));
            }
            _ => {}
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST || ["-", "N/A", "unknown"].contains(&text) {
            return;
        }
        if is_address(text) {
            return self.addresses.add(text);
        }
        let dotted = name.contains(['.', '-']).then(|| name.replace(['.', '-'], "_"));
        let name = dotted.as_deref().unwrap_or(name);
        let is = |names: &[&str], ends: &[&str]| {
            names.contains(&name) || ends.iter().any(|end| name.ends_with(end))
        };
        if is(&HOSTS, &HOSTS_END) {
            self.hosts.add(text);
        } else if is(&USERS, &USERS_END) {
            self.users.add(text);
        } else if (name == "mac" || name.ends_with("_mac")) && is_mac(text) {
            self.macs.add(text);
        } else if HASHES.iter().any(|end| name.ends_with(end)) && is_hash(text) {
            self.hashes.add(text);
        }
    }
}

fn is_address(text: &str) -> bool {
    // Most texts end at the first look.
    text.len() <= 45 && text.contains(['.', ':']) && text.parse::<IpAddr>().is_ok()
}

fn is_mac(text: &str) -> bool {
    let mut parts = text.split([':', '-']);
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    text.len() == 17 && parts.all(is_byte)
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::occasion::Message;

    fn told(source: &str, fields: &Value) -> About {
        let fields = fields.as_object().unwrap().clone();
        let message = Message { source: Some(source.to_owned()), fields, ..Message::default() };
        let mut about = About::default();
        relate(&mut about, &Occasion { backlog: vec![message], ..Occasion::default() });
        about
    }

    #[test]
    fn what_a_field_means_is_told_by_its_name_and_an_address_by_itself() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let about = told(
            "fw-1",
            &json!({
                "gl2_remote_ip": "192.0.2.7", "anything": "2001:db8::1", "took_ms": 7, "version": "1.2.3",
                "source_hostname": "db-1", "host.name": "db-2", "http_host": "not one of ours",
                "user_name": "ada", "source.user.name": "bob", "user": "-", "mac": "no mac",
                "source_mac": "00:11:22:33:44:55", "hash_sha1": sha1, "file_md5": "short",
                "clients": ["10.0.0.1", 3, "10.0.0.1"],
            }),
        );
        assert_eq!(about.addresses, ["2001:db8::1", "10.0.0.1", "192.0.2.7"]);
        assert_eq!(about.hosts, ["fw-1", "db-2", "db-1"]);
        assert_eq!(about.users, ["bob", "ada"]);
        assert_eq!(
            (about.macs, about.hashes),
            (vec!["00:11:22:33:44:55".to_owned()], vec![sha1.to_owned()])
        );
        assert_eq!(told("127.0.0.1", &json!({})).addresses, ["127.0.0.1"]);
    }

    #[test]
    fn the_condition_describes_the_rule_and_who_met_it_is_an_observer() {
        let mut occasion = Occasion::default();
        assert!(fields(&occasion).is_empty());
        occasion.condition.description = Some("too many".to_owned());
        occasion.condition.parameters.insert("source".to_owned(), json!("graylog-1"));
        let want = [("rule.description", json!("too many")), ("observer.name", json!("graylog-1"))];
        assert_eq!(fields(&occasion), want.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_a_definition_groups_by_is_told_too_and_there_is_a_bound() {
        let mut occasion = Occasion::default();
        occasion.condition.parameters = json!({"fields": {"src": "10.3.0.9"},
            "group_by_fields": {"user": "ada"}, "key_tuple": ["10.3.0.9", "10.3.0.8"]})
        .as_object()
        .unwrap()
        .clone();
        let host = |n: usize| Message { source: Some(format!("h{n}")), ..Message::default() };
        occasion.backlog = (0..1_000).map(host).collect();
        let mut about = About::default();
        relate(&mut about, &occasion);
        assert_eq!(about.addresses, ["10.3.0.9", "10.3.0.8"]);
        assert_eq!((about.users, about.hosts.len()), (vec!["ada".to_owned()], MOST));
    }
}
