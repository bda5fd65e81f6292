//! A threshold that an entity crosses, in ntopng's words: what the monitors of `threshold_cross`
//! conditions say of themselves, in their messages and in the `meta` of their aggregation. Pure.
//!
//! ```json
//! {"entity": "host", "metric": "bytes", "every": "minute", "operator": "gt", "threshold": 1048576}
//! ```
//! An interface has `field` besides, which names it in session records. A bucket of such a monitor
//! has the entity as its only key, and in `s0.value` the number that was compared.
//!
//! Words and units are those of `formatThresholdCross` (`alert_utils.lua`) and of `format_utils.lua`
//! of ntopng 3.4: 1 KB is 1,024 bytes.

use std::{fmt, net::IpAddr};

use serde_json::{Map, Value, json};

use super::{Alert, bucket::About};

/// What may cross a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address, as source or as destination of sessions.
    Host,
    /// A list of networks in CIDR notation that goes by one name.
    Network,
    /// Where the traffic was seen.
    Interface,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Host, Self::Network, Self::Interface];

    /// ntopng's word for it, in files, messages and tags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Network => "network",
            Self::Interface => "interface",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| name.eq_ignore_ascii_case(kind.name()))
    }
}

/// How often it is looked, and over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// `min`
    Minute,
    /// `5mins`
    FiveMinutes,
    /// `hour`
    Hour,
    /// `day`
    Day,
}

impl Every {
    const NAMES: [(&str, Self); 5] = [
        ("minute", Self::Minute),
        ("5mins", Self::FiveMinutes),
        ("hour", Self::Hour),
        ("day", Self::Day),
        ("min", Self::Minute),
    ];
    /// The names that a file may use.
    pub const ALLOWED: &str = "minute, 5mins, hour, day";

    /// The one of this name; ntopng's `min` is a minute.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, every)| *every)
    }

    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::FiveMinutes => "5mins",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its length.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::FiveMinutes => 5,
            Self::Hour => 60,
            Self::Day => 1_440,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Minute => "Minute",
            Self::FiveMinutes => "Five minutes",
            Self::Hour => "Hourly",
            Self::Day => "Daily",
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Bytes, both ways.
    Bytes,
    /// Packets, both ways.
    Packets,
    /// Sessions.
    Flows,
    /// Bytes that the entity sent; of a network what left it.
    BytesSent,
    /// Bytes that the entity received; of a network what came into it.
    BytesReceived,
    /// The same in packets.
    PacketsSent,
    /// The same in packets.
    PacketsReceived,
    /// Bytes between addresses of the same network.
    Inner,
    /// For how many seconds a session was going on.
    Active,
    /// A statistic of a field, as it is written: `max(network.packets)`.
    Statistic(String),
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
    /// Sessions.
    Flows,
    /// Seconds.
    Seconds,
    /// Whatever the field has.
    Any,
}

impl Metric {
    const NAMES: [(&str, Self); 11] = [
        ("bytes", Self::Bytes),
        ("packets", Self::Packets),
        ("flows", Self::Flows),
        ("bytes_sent", Self::BytesSent),
        ("bytes_received", Self::BytesReceived),
        ("packets_sent", Self::PacketsSent),
        ("packets_received", Self::PacketsReceived),
        ("inner", Self::Inner),
        ("active", Self::Active),
        ("egress", Self::BytesSent),
        ("ingress", Self::BytesReceived),
    ];
    /// The names that a file may use.
    pub const ALLOWED: &str = "bytes, packets, flows, bytes_sent, bytes_received, packets_sent, \
                               packets_received, inner, active, or a statistic of a field such as \
                               sum(network.bytes)";

    /// The one of this name, ntopng's `ingress` and `egress` of networks among them; any other text
    /// is a statistic.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let found = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map_or_else(|| Self::Statistic(name.to_owned()), |(_, metric)| metric.clone())
    }

    /// Its name in files.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Flows => "flows",
            Self::BytesSent => "bytes_sent",
            Self::BytesReceived => "bytes_received",
            Self::PacketsSent => "packets_sent",
            Self::PacketsReceived => "packets_received",
            Self::Inner => "inner",
            Self::Active => "active",
            Self::Statistic(text) => text,
        }
    }

    /// What its numbers are.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Bytes | Self::BytesSent | Self::BytesReceived | Self::Inner => Unit::Bytes,
            Self::Packets | Self::PacketsSent | Self::PacketsReceived => Unit::Packets,
            Self::Flows => Unit::Flows,
            Self::Active => Unit::Seconds,
            Self::Statistic(_) => Unit::Any,
        }
    }

    /// Whether it tells one side of a session from the other.
    #[must_use]
    pub const fn has_sides(&self) -> bool {
        matches!(
            self,
            Self::BytesSent
                | Self::BytesReceived
                | Self::PacketsSent
                | Self::PacketsReceived
                | Self::Inner
        )
    }

    fn label(&self, kind: Kind) -> &str {
        match (self, kind) {
            (Self::BytesSent, Kind::Network) => "egress traffic",
            (Self::BytesReceived, Kind::Network) => "ingress traffic",
            (Self::Bytes, _) => "traffic",
            (Self::BytesSent, _) => "traffic sent",
            (Self::BytesReceived, _) => "traffic received",
            (Self::PacketsSent, _) => "packets sent",
            (Self::PacketsReceived, _) => "packets received",
            (Self::Inner, _) => "inner traffic",
            (Self::Active, _) => "activity time",
            (Self::Packets | Self::Flows | Self::Statistic(_), _) => self.name(),
        }
    }
}

impl Unit {
    /// A number as people read it, in ntopng's words.
    #[must_use]
    pub fn shown(self, number: f64) -> String {
        match self {
            Self::Bytes => bytes(number),
            Self::Packets => counted(number, "Pkt"),
            Self::Flows => counted(number, "Flow"),
            Self::Seconds => seconds(number),
            Self::Any => rounded(number, 3),
        }
    }
}

/// A threshold and what is compared with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// Of what.
    pub kind: Kind,
    /// The field that names an interface.
    pub field: Option<String>,
    /// What is measured.
    pub metric: Metric,
    /// Over which time.
    pub every: Every,
    /// Whether it is crossed by what is less; else by what is more.
    pub is_less: bool,
    /// The threshold, which does not cross itself: in bytes, packets, sessions, seconds.
    pub threshold: f64,
}

impl Crossing {
    /// Reads what a message or a monitor says; `None` where that is of no threshold.
    #[must_use]
    pub fn read(told: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| told.get(key)?.as_str();
        Some(Self {
            kind: Kind::of(text("entity")?)?,
            field: text("field").map(str::to_owned),
            metric: Metric::of(text("metric")?),
            every: Every::of(text("every")?)?,
            is_less: text("operator")? == "lt",
            threshold: told.get("threshold")?.as_f64()?,
        })
    }

    /// The same, to be read again.
    #[must_use]
    pub fn told(&self) -> Value {
        let mut told = json!({"entity": self.kind.name(), "metric": self.metric.name(),
            "every": self.every.name(), "operator": if self.is_less { "lt" } else { "gt" },
            "threshold": self.threshold});
        if let Some(field) = &self.field {
            told["field"] = json!(field);
        }
        told
    }

    /// What crosses it, for any entity: `Minute traffic of a host > 1 MB`.
    #[must_use]
    pub fn rule(&self, entity: &str) -> String {
        format!("{} of {entity} {}", self.label(), self.limit())
    }

    /// That this entity crosses it: `Minute traffic crossed by host 10.0.0.5 [2.1 MB > 1 MB]`.
    #[must_use]
    pub fn reason(&self, entity: &str, value: Option<f64>) -> String {
        let value = value.map(|value| self.metric.unit().shown(value) + " ").unwrap_or_default();
        format!(
            "{} crossed by {} {entity} [{value}{}]",
            self.label(),
            self.kind.name(),
            self.limit()
        )
    }

    fn label(&self) -> String {
        format!("{} {}", self.every.label(), self.metric.label(self.kind))
    }

    fn limit(&self) -> String {
        let sign = if self.is_less { '<' } else { '>' };
        format!("{sign} {}", self.metric.unit().shown(self.threshold))
    }

    /// Makes an alert one about this entity, which crosses it.
    pub fn tell(&self, alert: &mut Alert, entity: &str, value: Option<f64>) {
        let reason = self.reason(entity, value);
        alert.concerns(self.kind.name(), entity);
        let field = match self.kind {
            Kind::Host => entity.parse::<IpAddr>().is_ok().then_some("source.ip"),
            Kind::Network => Some("network.name"),
            Kind::Interface => self.field.as_deref(),
        };
        let fields = field.map(|field| (field.to_owned(), json!(entity))).into_iter().collect();
        alert.about = Some(Box::new(About { fields, ..About::default() }));
        if alert.error.is_none() {
            if let Some(occasion) = &mut alert.occasion {
                occasion.description = Some(reason.clone());
            }
            alert.message = Some(reason.clone());
            alert.trigger.name = Some(reason);
        }
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule(&format!("a {}", self.kind.name())))
    }
}

fn bytes(number: f64) -> String {
    const UNITS: [(f64, &str); 4] = [
        (1_099_511_627_776.0, "TB"),
        (1_073_741_824.0, "GB"),
        (1_048_576.0, "MB"),
        (1_024.0, "KB"),
    ];
    match UNITS.into_iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) => format!("{} {unit}", rounded(number / size, 2)),
        None => match rounded(number, 2).as_str() {
            "1" => "1 Byte".to_owned(),
            many => format!("{many} Bytes"),
        },
    }
}

fn counted(number: f64, what: &str) -> String {
    match grouped(number).as_str() {
        "1" => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

fn seconds(number: f64) -> String {
    const UNITS: [(f64, &str); 4] =
        [(86_400.0, "day"), (3_600.0, "h"), (60.0, "min"), (1.0, "sec")];
    let mut rest = number.trunc();
    if number > 0.0 && rest == 0.0 {
        return "< 1 sec".to_owned();
    }
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        let many = (rest / size).trunc();
        rest -= many * size;
        if many > 0.0 {
            let plural = if unit == "day" && many > 1.0 { "s" } else { "" };
            parts.push(format!("{many} {unit}{plural}"));
        }
    }
    if parts.is_empty() { "0 sec".to_owned() } else { parts.join(" ") }
}

/// At most so many decimals, and none that are 0.
fn rounded(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// With a comma before each three digits.
fn grouped(number: f64) -> String {
    let text = rounded(number, 3);
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    rest.map_or_else(|| out.clone(), |rest| format!("{out}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Source;

    fn crossing(kind: Kind, metric: &str, every: &str, is_less: bool, threshold: f64) -> Crossing {
        let (metric, every) = (Metric::of(metric), Every::of(every).unwrap());
        Crossing { kind, field: None, metric, every, is_less, threshold }
    }

    #[test]
    fn it_is_told_in_ntopngs_words() {
        use Kind::{Host, Interface, Network};
        for (kind, metric, every, is_less, threshold, value, want) in [
            (
                Host,
                "bytes",
                "minute",
                false,
                1_048_576.0,
                Some(2_202_010.0),
                "Minute traffic crossed by host x [2.1 MB > 1 MB]",
            ),
            (Host, "bytes", "min", false, 1.0, None, "Minute traffic crossed by host x [> 1 Byte]"),
            (
                Network,
                "egress",
                "5mins",
                false,
                1_536.0,
                Some(1_537.0),
                "Five minutes egress traffic crossed by network x [1.5 KB > 1.5 KB]",
            ),
            (
                Host,
                "packets_received",
                "hour",
                true,
                12_345.0,
                Some(1.0),
                "Hourly packets received crossed by host x [1 Pkt < 12,345 Pkts]",
            ),
            (
                Interface,
                "flows",
                "day",
                true,
                1_000_000.0,
                Some(0.0),
                "Daily flows crossed by interface x [0 Flows < 1,000,000 Flows]",
            ),
            (
                Host,
                "active",
                "hour",
                false,
                600.0,
                Some(3_599.0),
                "Hourly activity time crossed by host x [59 min 59 sec > 10 min]",
            ),
            (
                Host,
                "max(network.packets)",
                "day",
                false,
                -2.5,
                Some(0.123_49),
                "Daily max(network.packets) crossed by host x [0.123 > -2.5]",
            ),
        ] {
            let crossing = crossing(kind, metric, every, is_less, threshold);
            assert_eq!(crossing.reason("x", value), want);
            let told = crossing.told();
            assert_eq!(Crossing::read(told.as_object().unwrap()), Some(crossing), "{told}");
        }
        let rule = crossing(Host, "active", "day", true, 90_061.0).to_string();
        assert_eq!(rule, "Daily activity time of a host < 1 day 1 h 1 min 1 sec");
    }

    #[test]
    fn what_is_no_threshold_is_not_read_as_one() {
        let good = crossing(Kind::Host, "bytes", "hour", false, 1.0).told();
        for key in ["entity", "metric", "every", "operator", "threshold"] {
            let mut told = good.as_object().unwrap().clone();
            told.remove(key);
            assert_eq!(Crossing::read(&told), None, "without {key}");
            told.insert(key.to_owned(), json!([]));
            assert_eq!(Crossing::read(&told), None, "{key}");
        }
    }

    #[test]
    fn an_alert_is_about_its_entity() {
        for (kind, field, entity, want) in [
            (Kind::Host, None, "10.0.0.1", Some("source.ip")),
            (Kind::Host, None, "2001:db8::1", Some("source.ip")),
            (Kind::Host, None, "no address", None),
            (Kind::Network, None, "lab", Some("network.name")),
            (Kind::Interface, Some("node"), "sensor-1", Some("node")),
        ] {
            let mut crossing = crossing(kind, "bytes", "minute", false, 9.0);
            crossing.field = field.map(str::to_owned);
            let mut alert = Alert::of(Source::OpenSearch);
            crossing.tell(&mut alert, entity, None);
            crossing.tell(&mut alert, entity, Some(10.0));
            let fields = alert.about.unwrap().fields;
            let want: Vec<_> =
                want.map(|field| (field.to_owned(), json!(entity))).into_iter().collect();
            assert_eq!(fields, want);
            assert_eq!(alert.tags, [format!("{}:{entity}", kind.name())], "once");
            let said =
                format!("Minute traffic crossed by {} {entity} [10 Bytes > 9 Bytes]", kind.name());
            assert_eq!(alert.trigger.name.as_ref(), Some(&said));
            assert_eq!(alert.message, Some(said));
        }
        let mut failed = Alert { error: Some("no index".into()), ..Alert::of(Source::OpenSearch) };
        crossing(Kind::Host, "bytes", "minute", false, 9.0).tell(&mut failed, "e", None);
        assert_eq!((failed.message, failed.trigger.name), (None, None), "nothing was crossed");
    }
}
