//! The one shape that every source's alert becomes, before it becomes a record.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

pub mod bucket;
pub mod crossing;
pub mod link;
pub mod occasion;

use bucket::{About, Bucket};
use occasion::Occasion;

/// The severity of an alert that tells none that can be read.
pub const UNKNOWN_SEVERITY: u8 = 40;

/// How much of an entity's name goes into a tag, in bytes.
const LONGEST_ENTITY: usize = 256;

/// Who reported an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// OpenSearch Alerting, through the loopback webhook.
    OpenSearch,
    /// Graylog, through its HTTP alarm callback or HTTP notification.
    Graylog,
    /// ntopng, through its webhook or its Redis queue.
    Ntopng,
    /// Prometheus Alertmanager, through its webhook.
    Alertmanager,
    /// Nobody: what the reconciler read back from the Alerting API.
    Reconciler,
}

impl Source {
    /// Every source that is known.
    pub const ALL: [Self; 5] =
        [Self::OpenSearch, Self::Graylog, Self::Ntopng, Self::Alertmanager, Self::Reconciler];

    /// The name in routes, in the spool and in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenSearch => "opensearch",
            Self::Graylog => "graylog",
            Self::Ntopng => "ntopng",
            Self::Alertmanager => "alertmanager",
            Self::Reconciler => "reconciler",
        }
    }

    /// `event.provider`.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::OpenSearch | Self::Reconciler => "malcolm",
            Self::Graylog | Self::Ntopng | Self::Alertmanager => self.name(),
        }
    }

    /// Whether OpenSearch Alerting knows its alerts, and can be asked about them.
    #[must_use]
    pub const fn is_alerting(self) -> bool {
        matches!(self, Self::OpenSearch | Self::Reconciler)
    }

    /// The sender with this name, as a route tells it.
    ///
    /// # Errors
    /// Which ones there are.
    pub fn sender(name: &str) -> Result<Self, String> {
        let senders = || Self::ALL.into_iter().filter(|source| *source != Self::Reconciler);
        senders().find(|source| source.name() == name).ok_or_else(|| {
            let known: Vec<_> = senders().map(Self::name).collect();
            format!("unknown alert source; known: {}", known.join(", "))
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|source| source.name() == text);
        named.ok_or_else(|| "unknown alert source".to_owned())
    }
}

/// How far the life of an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is there.
    #[default]
    Engaged,
    /// It is there, and somebody has taken note of it.
    Acknowledged,
    /// It is over.
    Released,
    /// It happened, and has no life: nobody will tell that it is over.
    Stored,
}

impl Phase {
    /// `event.action`.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Engaged => "engaged",
            Self::Acknowledged => "acknowledged",
            Self::Released => "released",
            Self::Stored => "stored",
        }
    }
}

/// One happening reported by a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Who reported it.
    pub source: Source,
    /// The source's own id of it; an OpenSearch alert has none on its first firing.
    pub id: Option<String>,
    /// Id and name of the rule: the monitor.
    pub rule: Named,
    /// Id and name of what fired in it: the trigger.
    pub trigger: Named,
    /// 0 to 100, higher is worse.
    pub severity: u8,
    /// Start of the period that the alert is about.
    pub start: Option<Timestamp>,
    /// End of that period.
    pub end: Option<Timestamp>,
    /// When the source says that the alert itself began; it stays the same over re-fires.
    pub began: Option<Timestamp>,
    /// How far its life is.
    pub phase: Phase,
    /// When its state was so, where that is not the end of the period.
    pub as_of: Option<Timestamp>,
    /// Whether it was read back from the Alerting API; then nobody's message tells of it.
    pub is_reconciled: bool,
    /// Whether its rule is a composite monitor (a workflow).
    pub is_composite: bool,
    /// The bucket that it is about, where its monitor counts by buckets.
    pub bucket: Option<Bucket>,
    /// What engages and is released again and again, where no message tells which happening it is
    /// about: then there is no `id`, and [`Alert::as_of`] alone tells one from another.
    pub series: Option<String>,
    /// Fields of the record, addresses, hosts and so on that the source tells beside.
    pub about: Option<Box<About>>,
    /// What happened, for people: `message` of the record.
    pub message: Option<String>,
    /// Where to look at it, where that is not in Dashboards: an address, or until
    /// [`Alert::locate`] a path below the source's own.
    pub url: Option<String>,
    /// What its condition saw, where the source tells it.
    pub occasion: Option<Box<Occasion>>,
    /// How many documents the monitor's query found.
    pub hits: Option<i64>,
    /// Why the monitor itself failed.
    pub error: Option<String>,
    /// What the monitor's author wanted to say.
    pub body: Body,
    /// What had to be mended before it could be read, and so on; `tags` of the record.
    pub tags: Vec<Cow<'static, str>>,
    /// The body as it came, where part of it could not be read; of Graylog's else what it says in
    /// short.
    pub original: Option<String>,
}

/// The free part of an alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// Nothing was said.
    #[default]
    Empty,
    /// Text, which becomes `event.original`.
    Text(String),
    /// JSON, which is merged into the record.
    Json {
        /// The parsed object.
        fields: Map<String, Value>,
        /// Its text, for what finds no place in the record.
        text: String,
    },
}

/// An id and a name, each where the source tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The source's id.
    pub id: Option<String>,
    /// What people call it.
    pub name: Option<String>,
}

impl Alert {
    /// An alert of which nothing is known yet but its source.
    #[must_use]
    pub fn of(source: Source) -> Self {
        Self {
            source,
            id: None,
            rule: Named::default(),
            trigger: Named::default(),
            severity: UNKNOWN_SEVERITY,
            start: None,
            end: None,
            began: None,
            phase: Phase::Engaged,
            as_of: None,
            is_reconciled: false,
            is_composite: false,
            bucket: None,
            series: None,
            about: None,
            message: None,
            url: None,
            occasion: None,
            hits: None,
            error: None,
            body: Body::Empty,
            tags: Vec::new(),
            original: None,
        }
    }

    /// Puts the source's own address before a path to the alert; where it is not known, so is not
    /// where to look.
    pub fn locate(&mut self, graylog: Option<&Url>) {
        let Some(path) = self.url.take_if(|url| !link::is_address(url)) else { return };
        let base = graylog.filter(|_| self.source == Source::Graylog);
        self.url = base.and_then(|base| base.join(&path).ok()).map(String::from);
    }

    /// Tags it with the entity that it is about, such as `host:10.0.0.1` or `interface:eth0`; by this
    /// tag it is found. `kind` is one of ntopng's words: `host`, `network`, `interface`, `mac` and so on.
    pub fn concerns(&mut self, kind: &str, value: &str) {
        let value = value.trim();
        if !value.is_empty() {
            self.tag(format!("{kind}:{}", &value[..value.floor_char_boundary(LONGEST_ENTITY)]));
        }
    }

    /// Adds a tag once.
    pub fn tag(&mut self, tag: impl Into<Cow<'static, str>>) {
        let tag = tag.into();
        if !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_where_its_source_is_or_nobody_knows_where() {
        let base: Url = "https://graylog.example/logs/".parse().unwrap();
        for (source, url, base, want) in [
            (
                Source::Graylog,
                Some("alerts/1/replay-search"),
                Some(&base),
                Some("https://graylog.example/logs/alerts/1/replay-search"),
            ),
            (Source::Graylog, Some("alerts"), None, None),
            (Source::Graylog, None, Some(&base), None),
            (Source::OpenSearch, Some("alerts"), Some(&base), None),
            (Source::Graylog, Some("http://own/x"), Some(&base), Some("http://own/x")),
            (Source::OpenSearch, Some("https://own/x"), None, Some("https://own/x")),
        ] {
            let mut alert = Alert { url: url.map(str::to_owned), ..Alert::of(source) };
            alert.locate(base);
            assert_eq!(alert.url.as_deref(), want, "{source} {url:?}");
        }
    }
}
