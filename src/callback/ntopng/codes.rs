//! The numbers that an alert of somebody else gets, by the tables of `intake::ntopng::codes`: those of
//! 3.8 for the queue, those of 6.2 for the webhook.

use crate::intake::ntopng::{
    codes::{self, Table},
    version::Version,
};

const THEN: Version = Version::new(3, 8);
const TODAY: Version = Version::new(6, 2);

/// What an alert can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    Interface,
    Host,
    Network,
    SnmpDevice,
    Flow,
    Mac,
    HostPool,
    User,
    Other,
}

impl Entity {
    /// By the word of its tag.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "interface" => Self::Interface,
            "host" => Self::Host,
            "network" => Self::Network,
            "snmp_device" => Self::SnmpDevice,
            "mac" => Self::Mac,
            "host_pool" => Self::HostPool,
            "user" => Self::User,
            _ => return None,
        })
    }

    /// `entity_id` of the webhook.
    pub fn today(self) -> i64 {
        number(Table::Entity, self.name(), TODAY).unwrap_or_default()
    }

    /// `entity_type` of the queue, where all else is a process.
    pub fn then(self) -> i64 {
        let name = if self == Self::Other { "process" } else { self.name() };
        number(Table::Entity, name, THEN).unwrap_or_default()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Host => "host",
            Self::Network => "network",
            Self::SnmpDevice => "snmp_device",
            Self::Flow => "flow",
            Self::Mac => "mac",
            Self::HostPool => "host_pool",
            Self::User => "user",
            Self::Other => "other",
        }
    }

    /// `alert_id` of an alert of this name; `normal` is none.
    pub fn alert(self, name: &str) -> Option<i64> {
        let table = match self {
            Self::Flow => Table::FlowAlert,
            Self::Host => Table::HostAlert,
            _ => Table::OtherAlert,
        };
        number(table, name, TODAY).filter(|id| *id > 0)
    }

    /// `alert_id` of what some other program found: `external` of a flow, `external_script` of a host;
    /// of everything else there is but `process_notification`.
    pub fn external(self) -> i64 {
        let name = match self {
            Self::Flow => "external",
            Self::Host => "external_script",
            _ => "process_notification",
        };
        self.alert(name).unwrap_or_default()
    }

    /// The name of its alerts' table, as `rule.id` of an alert of ntopng begins.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Host => "host",
            _ => "other",
        }
    }
}

/// `type` of the queue of an alert of this name.
pub fn kind(name: &str) -> Option<i64> {
    number(Table::Type, name, THEN).filter(|kind| *kind >= 0)
}

/// `alert_category` of a category's name.
pub fn category(name: &str) -> Option<i64> {
    number(Table::Category, name, TODAY)
}

/// `severity` of the queue: 0 info, 1 warning, 2 error.
pub const fn severity(severity: u8) -> i64 {
    match severity {
        0..=40 => 0,
        41..=60 => 1,
        _ => 2,
    }
}

/// `score` of the webhook, the least that ntopng shows as info, notice, warning, error, critical.
pub const fn score(severity: u8) -> i64 {
    match severity {
        0..=20 => 1,
        21..=40 => 10,
        41..=60 => 50,
        61..=80 => 100,
        _ => 200,
    }
}

/// Number of a protocol over IP, by its name.
pub fn protocol(name: &str) -> Option<i64> {
    let name = match name.to_ascii_lowercase().as_str() {
        "icmpv6" | "icmp6" => "ipv6-icmp".to_owned(),
        name => name.to_owned(),
    };
    number(Table::L4, &name, TODAY)
}

/// The number of exactly this name: another version's is not sent to this one.
fn number(table: Table, name: &str, version: Version) -> Option<i64> {
    let number = codes::number(table, name, version)?;
    (codes::name(table, number, version) == Some(name)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_is_sent_has_a_number() {
        use Entity::{Flow, Host, HostPool, Interface, Mac, Network, Other, SnmpDevice, User};
        for (entity, then, today, external) in [
            (Interface, 0, 0, 4_125),
            (Host, 1, 1, 27),
            (Network, 2, 2, 4_125),
            (SnmpDevice, 3, 3, 4_125),
            (Flow, 4, 4, 10),
            (Mac, 5, 5, 4_125),
            (HostPool, 6, 6, 4_125),
            (User, 8, 7, 4_125),
            (Other, 7, 15, 4_125),
        ] {
            let got = (entity.then(), entity.today(), entity.external());
            assert_eq!(got, (then, today, external), "{entity:?}");
        }
        for (name, want) in [
            ("threshold_cross", Some(2)),
            ("suspicious_activity", Some(3)),
            ("process_notification", Some(20)),
            ("influxdb_export_failure", Some(26)),
            ("alert_none", None),
            ("flow_remote_to_remote", None),
            ("Mine", None),
        ] {
            assert_eq!(kind(name), want, "{name}");
        }
        for (entity, name, want) in [
            (Host, "scan_detected", Some(20)),
            (Host, "fin_scan", Some(21)),
            (Host, "normal", None),
            (Flow, "web_mining", Some(27)),
            (Flow, "scan_detected", None),
            (Other, "threshold_cross", Some(4_136)),
        ] {
            assert_eq!(entity.alert(name), want, "{name}");
        }
        assert_eq!(
            (category("security"), category("snmp"), category("mine")),
            (Some(1), Some(7), None)
        );
        for (name, want) in
            [("TCP", Some(6)), ("icmp6", Some(58)), ("ipv6-icmp", Some(58)), ("x", None)]
        {
            assert_eq!(protocol(name), want, "{name}");
        }
    }
}
