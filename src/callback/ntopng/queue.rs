//! One alert, as ntopng 3.6 and 3.8 gave it to their alert endpoints:
//!
//! ```json
//! {"ifid": 0, "entity_type": 1, "entity_value": "10.0.0.1", "type": 2, "severity": 1, "message": "…",
//!  "tstamp": 1523616620, "action": "engage", "alert_key": "…", "alert_engine": 0}
//! ```
//! `alert_key` where it engages or is released, `alert_engine` where it engages, `duration` (s) where
//! it is released; of a flow `origin`, `target` and `flow`.

use serde_json::{Value, json};

use super::{
    codes::{self, Entity},
    subject::Subject,
};
use crate::{
    alert::{Phase, Source},
    callback::Notice,
};

/// `alert_engine`: what looks each minute.
const EACH_MINUTE: i64 = 0;

/// The alert of a notice.
pub fn object(notice: &Notice) -> Value {
    let subject = Subject::of(notice);
    let alert = subject.alert();
    let value = match subject.entity {
        Entity::Interface if subject.value.parse::<u32>().is_ok() => {
            format!("iface_{}", subject.value)
        }
        Entity::Host if subject.vlan > 0 => format!("{}@{}", subject.value, subject.vlan),
        _ => subject.value.clone(),
    };
    let is_over = alert.phase == Phase::Released;
    let is_moment = is_over || alert.phase == Phase::Stored;
    let mut object = json!({
        "ifid": subject.interface(),
        "entity_type": subject.entity.then(),
        "entity_value": value,
        "type": kind(&subject),
        "severity": codes::severity(alert.severity),
        "message": subject.message(),
        "tstamp": if is_moment { subject.ended() } else { subject.begun() },
        "action": subject.action(),
    });
    if alert.phase != Phase::Stored {
        object["alert_key"] = json!(subject.key());
    }
    if is_over {
        object["duration"] = json!((subject.ended() - subject.begun()).max(0));
    } else if alert.phase != Phase::Stored {
        object["alert_engine"] = json!(EACH_MINUTE);
    }
    if subject.entity == Entity::Flow {
        add_flow(&mut object, &subject);
    }
    object
}

fn add_flow(object: &mut Value, subject: &Subject) {
    let address = |field: &str| subject.address(field).map(|ip| ip.to_string()).unwrap_or_default();
    let (client, server) = (address("source.ip"), address("destination.ip"));
    object["origin"] = json!(client);
    object["target"] = json!(server);
    object["flow"] = json!({
        "cli_addr": client,
        "cli_port": subject.number("source.port").unwrap_or(0),
        "cli_blacklisted": 0,
        "srv_addr": server,
        "srv_port": subject.number("destination.port").unwrap_or(0),
        "srv_blacklisted": 0,
        "vlan_id": subject.vlan,
        "proto": subject.protocol(),
        "l7_proto": 0,
        "flow_status": 0,
    });
}

/// Its own where it came so, or its rule has the name of one.
fn kind(subject: &Subject) -> i64 {
    let alert = subject.alert();
    let own = alert.rule.id.as_deref().filter(|_| alert.source == Source::Ntopng);
    let own = own.and_then(|id| id.strip_prefix("type-")?.parse().ok());
    own.or_else(|| codes::kind(subject.rule()))
        .or_else(|| {
            codes::kind(match subject.entity {
                _ if crosses_a_threshold(alert) => "threshold_cross",
                Entity::Other => "process_notification",
                _ => "suspicious_activity",
            })
        })
        .unwrap_or_default()
}

fn crosses_a_threshold(alert: &crate::alert::Alert) -> bool {
    let kind = alert.occasion.as_ref().and_then(|met| met.condition.kind.as_deref());
    kind.is_some_and(|kind| {
        ["message_count", "field_value", "threshold_cross"].contains(&kind)
            || kind.starts_with("threshold")
    })
}
