//! What an alert is about, in ntopng's words.
//!
//! An alert that names both ends of a connection is about a flow. Else it is about the entity of its
//! first tag of such a form (`host:10.0.0.1`, `interface:eth0`), else about the only address that it
//! tells, else about its rule, which is an entity of no kind.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use super::codes::{self, Entity};
use crate::{
    alert::{
        Alert, Body, Phase, Source,
        bucket::{About, Bucket},
    },
    callback::{Notice, view::View},
};

/// Keys and names are no longer, in bytes.
const LONGEST: usize = 256;

/// An alert in ntopng's words.
pub struct Subject<'a> {
    pub notice: &'a Notice,
    pub entity: Entity,
    /// Without the VLAN.
    pub value: String,
    pub vlan: i64,
    told: Vec<About>,
}

impl<'a> Subject<'a> {
    pub fn of(notice: &'a Notice) -> Self {
        let alert = &notice.alert;
        let told = [alert.about.as_deref().cloned(), alert.bucket.as_ref().map(Bucket::about)];
        let told = told.into_iter().flatten().collect();
        let value = String::new();
        let mut subject = Self { notice, entity: Entity::Other, value, vlan: 0, told };
        subject.vlan = subject.number("network.vlan.id").unwrap_or(0);
        (subject.entity, subject.value) = subject.find();
        if let Some((host, vlan)) = subject.value.rsplit_once('@')
            && subject.entity == Entity::Host
            && let Ok(vlan) = vlan.parse()
        {
            (subject.vlan, subject.value) = (vlan, host.to_owned());
        }
        subject
    }

    fn find(&self) -> (Entity, String) {
        if self.address("source.ip").is_some() && self.address("destination.ip").is_some() {
            return (Entity::Flow, "flow".to_owned());
        }
        let tags = self.alert().tags.iter().filter_map(|tag| tag.split_once(':'));
        let entities = tags.filter_map(|(word, value)| Some((Entity::named(word)?, value)));
        let is_found = |(entity, value): &(Entity, &str)| {
            // ntopng's hosts are addresses.
            *entity != Entity::Host || host(value).is_some()
        };
        if let Some((entity, value)) = entities.clone().find(is_found) {
            return (entity, value.to_owned());
        }
        if let Some(address) = self.only_address() {
            return (Entity::Host, address.to_string());
        }
        let named = entities.map(|(_, value)| value.to_owned()).next();
        (Entity::Other, named.unwrap_or_else(|| self.rule().to_owned()))
    }

    fn only_address(&self) -> Option<IpAddr> {
        let fields = ["source.ip", "destination.ip", "host.ip"];
        let mut all: Vec<IpAddr> =
            fields.into_iter().filter_map(|field| self.address(field)).collect();
        let others = self.told.iter().flat_map(|told| &told.addresses);
        all.extend(others.filter_map(|text| text.parse::<IpAddr>().ok()));
        all.sort_unstable();
        all.dedup();
        match all.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    pub fn alert(&self) -> &'a Alert {
        &self.notice.alert
    }

    /// The rule's name, or what comes nearest to it.
    pub fn rule(&self) -> &'a str {
        let rule = &self.alert().rule;
        rule.name.as_deref().or(rule.id.as_deref()).unwrap_or("alertloop")
    }

    /// What happened, for people.
    pub fn message(&self) -> String {
        View::of(self.notice).description.into_owned()
    }

    /// A field of the record, where the alert tells it: of the traffic, of its bucket, or of its body.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let fields = self.told.iter().flat_map(|told| &told.fields);
        let told = fields.filter(|(field, _)| field == name).map(|(_, value)| value).next();
        told.or_else(|| match &self.alert().body {
            Body::Json { fields, .. } => fields.get(name).or_else(|| {
                let (first, rest) = name.split_once('.')?;
                fields.get(first)?.pointer(&format!("/{}", rest.replace('.', "/")))
            }),
            Body::Empty | Body::Text(_) => None,
        })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        let value = self.field(name)?;
        value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    pub fn address(&self, name: &str) -> Option<IpAddr> {
        self.text(name)?.parse().ok()
    }

    /// The number of the protocol over IP; 0 where it is not told.
    pub fn protocol(&self) -> i64 {
        let number = self.number("ipProtocol").or_else(|| self.number("network.iana_number"));
        number.or_else(|| codes::protocol(self.text("network.transport")?)).unwrap_or(0)
    }

    /// `ifid`: of ntopng's own alerts that of its interface, else 0.
    pub fn interface(&self) -> i64 {
        self.number("observer.ingress.interface.id").unwrap_or(0)
    }

    pub fn action(&self) -> &'static str {
        match self.alert().phase {
            Phase::Engaged | Phase::Acknowledged => "engage",
            Phase::Released => "release",
            Phase::Stored => "store",
        }
    }

    /// When it began, in seconds since 1970.
    pub fn begun(&self) -> i64 {
        let alert = self.alert();
        self.second(alert.began.or(alert.start).or(alert.end))
    }

    /// When it ended or happened.
    pub fn ended(&self) -> i64 {
        let alert = self.alert();
        self.second(alert.end.or(alert.start).or(alert.began))
    }

    fn second(&self, at: Option<Timestamp>) -> i64 {
        at.unwrap_or(self.notice.received).as_second().max(0)
    }

    /// What tells it from others of the same rule about the same entity, the same when it engages and
    /// when it is released: the first message of OpenSearch has no id, the later ones have.
    pub fn key(&self) -> String {
        let alert = self.alert();
        let mut parts = vec![self.rule().to_owned()];
        if alert.source.is_alerting() {
            parts.extend(alert.trigger.name.clone().or_else(|| alert.trigger.id.clone()));
            parts.extend(alert.bucket.as_ref().map(Bucket::name));
        } else {
            parts.extend(alert.id.clone().or_else(|| alert.series.clone()));
        }
        let mut key = parts.join("/");
        key.truncate(key.floor_char_boundary(LONGEST));
        key
    }

    /// `alert_id`: ntopng's own for its alerts and for rules that have the name of one, else that of an
    /// external program.
    pub fn alert_id(&self) -> i64 {
        let alert = self.alert();
        let number =
            |id: &str| id.strip_prefix(self.entity.table())?.strip_prefix('-')?.parse().ok();
        let own = alert.rule.id.as_deref().filter(|_| alert.source == Source::Ntopng);
        let named = || self.entity.alert(self.rule());
        own.and_then(number).or_else(named).unwrap_or_else(|| self.entity.external())
    }

    pub fn category(&self) -> i64 {
        self.text("rule.category").and_then(codes::category).unwrap_or(0)
    }
}

/// The address of a host's tag, whose VLAN stands behind `@`.
fn host(value: &str) -> Option<IpAddr> {
    value.split('@').next()?.parse().ok()
}
