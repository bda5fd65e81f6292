//! The few of ntopng's numbers that an alert of somebody else needs.
//!
//! Source: `include/ntop_typedefs.h` and `alert_consts.lua` of 3.8 for the queue;
//! `alert_keys/{flow,host,other}_alert_keys.lua`, `alert_entities.lua`, `alert_categories.lua` and
//! `ntop_defines.h` of 6.2 for the webhook.

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
    pub const fn today(self) -> i64 {
        match self {
            Self::Interface => 0,
            Self::Host => 1,
            Self::Network => 2,
            Self::SnmpDevice => 3,
            Self::Flow => 4,
            Self::Mac => 5,
            Self::HostPool => 6,
            Self::User => 7,
            Self::Other => 15,
        }
    }

    /// `entity_type` of the queue, where all else is a process.
    pub const fn then(self) -> i64 {
        match self {
            Self::User => 8,
            Self::Other => 7,
            other => other.today(),
        }
    }

    /// `alert_id` of what some other program found: `external` of a flow, `external_script` of a host;
    /// of everything else there is but `process_notification`.
    pub const fn external(self) -> i64 {
        match self {
            Self::Flow => 10,
            Self::Host => 27,
            _ => 4_096 + 29,
        }
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

/// `type` of the queue.
pub mod kind {
    pub const THRESHOLD_CROSS: i64 = 2;
    pub const SUSPICIOUS_ACTIVITY: i64 = 3;
    pub const PROCESS_NOTIFICATION: i64 = 20;
    /// Names of rules that are ntopng's own, where they mean the same in 3.6 and 3.8.
    pub const NAMES: [(&str, i64); 24] = [
        ("tcp_syn_flood", 0),
        ("flows_flood", 1),
        ("threshold_cross", THRESHOLD_CROSS),
        ("suspicious_activity", SUSPICIOUS_ACTIVITY),
        ("interface_alerted", 4),
        ("flow_misbehaviour", 5),
        ("flow_blacklisted", 7),
        ("flow_blocked", 8),
        ("new_device", 9),
        ("device_connection", 10),
        ("device_disconnection", 11),
        ("host_pool_connection", 12),
        ("host_pool_disconnection", 13),
        ("quota_exceeded", 14),
        ("misconfigured_app", 15),
        ("too_many_drops", 16),
        ("mac_ip_association_change", 17),
        ("port_status_change", 18),
        ("unresponsive_device", 19),
        ("process_notification", PROCESS_NOTIFICATION),
        ("web_mining", 21),
        ("nfq_flushed", 22),
        ("slow_stats_update", 23),
        ("influxdb_export_failure", 26),
    ];
}

/// `alert_id` of the webhook for rules that have the name of one of ntopng's.
pub const ALERT_IDS: [(Entity, &str, i64); 13] = [
    (Entity::Flow, "blacklisted", 1),
    (Entity::Flow, "external", 10),
    (Entity::Flow, "remote_to_remote", 16),
    (Entity::Flow, "lateral_movement", 58),
    (Entity::Host, "flow_flood", 4),
    (Entity::Host, "syn_scan", 5),
    (Entity::Host, "syn_flood", 6),
    (Entity::Host, "score_threshold", 17),
    (Entity::Host, "scan_detected", 20),
    (Entity::Host, "dns_flood", 22),
    (Entity::Host, "external_script", 27),
    (Entity::Other, "threshold_cross", 4_096 + 40),
    (Entity::Other, "process_notification", 4_096 + 29),
];

/// `alert_category`.
pub const CATEGORIES: [&str; 8] =
    ["other", "security", "internals", "network", "system", "ids_ips", "active_monitoring", "snmp"];

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
    Some(match name.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "esp" => 50,
        "ipv6-icmp" | "icmpv6" | "icmp6" => 58,
        "ospf" => 89,
        "sctp" => 132,
        _ => return None,
    })
}
