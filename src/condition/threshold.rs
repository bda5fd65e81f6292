//! Threshold crosses, as ntopng has them: a host, a network or an interface has more (or less) of
//! something within a minute, five minutes, an hour or a day than it should. Pure.
//!
//! Each becomes one bucket-level monitor, and each entity that crosses one alert of it:
//!
//! - A session counts for both of its ends, so the key of a bucket comes from a script that tells one
//!   session several keys (`keys.painless`). All aggregations of one search are computed in each of
//!   its buckets without knowing its key; so where the two ends differ (what was *sent*), the script
//!   tells the key of the source once, that of the destination twice and one that is both three
//!   times, and `sides_map.painless` counts how often it is shown the same session. Sessions are
//!   known by `_seq_no`, of which no two in a shard are the same.
//! - Always a `composite` aggregation, also for few networks: the store keeps a bucket's key in the
//!   alert, those of all monitors in one index, and once `key` has been an object no alert whose
//!   `key` is a text can be kept (`alert_mapping.json` of Alerting: `dynamic`).
//! - What has no session has no bucket. So that listed networks and interfaces can be found to have
//!   too little, the search also finds the documents of our own state, for which the script tells
//!   all names; they add nothing to any metric.
//! - The texts of the scripts are always the same (what differs are parameters), since the store
//!   compiles at most 75 in 5 minutes.
//!
//! The window is aligned with the clock as ntopng's is (its counters are compared at each full
//! minute, 5 minutes, hour and day), and begins with its first millisecond and ends before the next
//! one's: no session counts twice.

use serde_json::{Value, json};

use super::{Condition, Schedule, Stream, monitor::without_templates, series::Series};
use crate::{
    alert::{
        bucket::THRESHOLD,
        crossing::{Crossing, Kind, Metric},
    },
    lease::document::INDEX as STATE,
};

pub mod networks;
pub mod quantity;

use networks::{Cidr, cuts};

/// How many entities are read at once. Each page looks at all sessions anew, so there should be
/// few; 65,535 is the most that a store as shipped answers with (`search.max_buckets`).
const PAGE: u32 = 10_000;

const KEYS: &str = include_str!("threshold/keys.painless");
const SIDES_MAP: &str = include_str!("threshold/sides_map.painless");
const ACTIVE_INIT: &str = include_str!("threshold/active_init.painless");
const ACTIVE_MAP: &str = include_str!("threshold/active_map.painless");
const ACTIVE_COMBINE: &str = include_str!("threshold/active_combine.painless");
const ACTIVE_REDUCE: &str = include_str!("threshold/active_reduce.painless");

/// A threshold, and who may cross it.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What crosses it.
    pub crossing: Crossing,
    /// Who.
    pub who: Who,
    /// The statistic, where the metric is one.
    pub statistic: Option<Series>,
    /// How many minutes after the end of the window it is looked at: so long what is recorded of it
    /// may take to come.
    pub delay: u32,
    /// The zone whose hours and days count.
    pub zone: String,
}

/// Who may cross a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every host that is seen, or only those of these networks.
    Hosts(Vec<Cidr>),
    /// These networks.
    Networks(Vec<Network>),
    /// Every interface that is seen, or only these, by the field that names them.
    Interfaces {
        /// Such as `node`.
        field: String,
        /// Their names.
        names: Vec<String>,
    },
}

/// Networks that go by one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Such as `lab`, or the network itself.
    pub name: String,
    /// What belongs to it.
    pub cidrs: Vec<Cidr>,
}

impl Threshold {
    /// When it is looked: at each full minute, 5 minutes, hour or day, and the delay later.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        let delay = self.delay;
        let expression = match self.crossing.every.minutes() {
            1 => "* * * * *".to_owned(),
            5 if delay.is_multiple_of(5) => "*/5 * * * *".to_owned(),
            5 => format!("{}-59/5 * * * *", delay % 5),
            60 => format!("{delay} * * * *"),
            _ => format!("{delay} 0 * * *"),
        };
        Schedule::Cron { expression, zone: self.zone.clone() }
    }

    /// What fires it, for people: `Minute traffic of a host > 1 MB`.
    #[must_use]
    pub fn reason(&self) -> String {
        let list = |all: Vec<String>| match all.as_slice() {
            few if few.len() <= 3 => few.join(", "),
            [first, .., last] => format!("{first} to {last} ({} of them)", all.len()),
            _ => String::new(),
        };
        let who = match &self.who {
            Who::Hosts(scope) if scope.is_empty() => "a host".to_owned(),
            Who::Hosts(scope) => {
                format!("a host in {}", list(scope.iter().map(ToString::to_string).collect()))
            }
            Who::Networks(networks) => {
                format!("network {}", list(networks.iter().map(|one| one.name.clone()).collect()))
            }
            Who::Interfaces { names, .. } if names.is_empty() => "an interface".to_owned(),
            Who::Interfaces { names, .. } => format!("interface {}", list(names.clone())),
        };
        self.crossing.rule(&who)
    }

    /// When it is looked, and over which time, for people.
    #[must_use]
    pub fn looks(&self) -> String {
        let every = match self.crossing.every.minutes() {
            1 => "minute",
            5 => "5 minutes",
            60 => "hour",
            _ => "day",
        };
        let zone = match self.zone.as_str() {
            "UTC" => String::new(),
            zone => format!(" ({zone})"),
        };
        let delay = match self.delay {
            0 => "as soon as it is over".to_owned(),
            delay => format!("{} after it is over", super::minutes(delay)),
        };
        format!("looks at each full {every}{zone}, {delay}")
    }

    /// What callbacks are told of it, and what it can be read from again.
    #[must_use]
    pub fn parameters(&self) -> Value {
        let mut told = self.crossing.told();
        told["delay"] = json!(self.delay);
        match &self.who {
            Who::Hosts(scope) if scope.is_empty() => {}
            Who::Hosts(scope) => told["scope"] = json!(texts(scope)),
            Who::Networks(networks) => {
                let one = |one: &Network| json!({"name": one.name, "cidr": texts(&one.cidrs)});
                told["networks"] = networks.iter().map(one).collect();
            }
            Who::Interfaces { names, .. } if names.is_empty() => {}
            Who::Interfaces { names, .. } => told["interfaces"] = json!(names),
        }
        told
    }

    /// Whether entities without any session are found too: those that are listed, where less than the
    /// threshold crosses it.
    fn finds_silence(&self) -> bool {
        let is_listed = match &self.who {
            Who::Hosts(_) => false,
            Who::Networks(_) => true,
            Who::Interfaces { names, .. } => !names.is_empty(),
        };
        self.crossing.is_less && is_listed
    }

    /// The indices that it looks at.
    #[must_use]
    pub fn indices(&self, stream: &Stream) -> Vec<String> {
        let mut indices = stream.indices.clone();
        if self.finds_silence() {
            // A pattern, so that a store without it is not one that fails.
            indices.push(format!("{STATE}*"));
        }
        indices
    }

    /// The search of its monitor.
    #[must_use]
    pub fn search(&self, stream: &Stream) -> Value {
        let minutes = self.crossing.every.minutes();
        let before = |minutes: u32| format!("{{{{period_end}}}}||-{minutes}m");
        let mut filter = vec![json!({"range": {&stream.time_field: {
            "from": before(self.delay + minutes), "to": before(self.delay),
            "include_lower": true, "include_upper": false, "format": "epoch_millis"}}})];
        if stream.query.trim() != "*" {
            filter.push(json!({"query_string": {"query": stream.query, "analyze_wildcard": true}}));
        }
        let of_either = |networks: &[String]| {
            let side = |field: &str| json!({"terms": {field: networks}});
            json!({"bool": {"should": [side("source.ip"), side("destination.ip")]}})
        };
        // Our own records are in the same indices.
        let mut must_not = vec![json!({"term": {"event.module": {"value": "alerting"}}})];
        match &self.who {
            Who::Hosts(scope) if scope.is_empty() => {}
            Who::Hosts(scope) => filter.push(of_either(&texts(scope))),
            Who::Networks(networks) => {
                let all: Vec<_> = networks.iter().flat_map(|one| texts(&one.cidrs)).collect();
                filter.push(of_either(&all));
            }
            Who::Interfaces { field, names } if names.is_empty() => {
                must_not.push(json!({"query_string": {
                    "query": without_templates(field), "lenient": true}}));
            }
            Who::Interfaces { field, names } => filter.push(json!({"terms": {field: names}})),
        }
        if self.finds_silence() {
            let ours = json!({"wildcard": {"_index": {"value": format!("{STATE}*")}}});
            let sessions = json!({"bool": {"filter": filter}});
            filter = vec![json!({"bool": {"should": [sessions, ours]}})];
        }
        let entity = self.crossing.kind.name();
        // The store keeps keys under these names: a word of its own, as `monitor::group_name` says.
        let source = json!({format!("threshold_{entity}"): {"terms": self.keys(stream)}});
        json!({
            "size": 0,
            "track_total_hits": true,
            "query": {"bool": {"filter": filter, "must_not": must_not}},
            "aggregations": {super::monitor::GROUPS: {
                "composite": {"size": PAGE, "sources": [source]},
                "aggregations": {"s0": self.metric(stream)},
                "meta": {THRESHOLD: self.crossing.told()},
            }},
        })
    }

    /// What makes the keys of buckets.
    fn keys(&self, stream: &Stream) -> Value {
        let mut params = json!({"sides": self.crossing.metric.has_sides()});
        if self.finds_silence() {
            params["anchor"] = json!(stream.time_field);
        }
        match &self.who {
            Who::Hosts(scope) if scope.is_empty() => {}
            Who::Hosts(scope) => params["cuts"] = cuts(&[scope]),
            Who::Networks(networks) => {
                let all: Vec<_> = networks.iter().map(|one| one.cidrs.as_slice()).collect();
                params["cuts"] = cuts(&all);
                params["names"] = networks.iter().map(|one| json!(one.name)).collect();
            }
            Who::Interfaces { field, names } if names.is_empty() => {
                return json!({ "field": field });
            }
            Who::Interfaces { field, names } => {
                params["interface"] = json!(field);
                params["names"] = json!(names);
            }
        }
        json!({"script": {"source": KEYS, "lang": "painless", "params": params}})
    }

    /// What computes the number.
    fn metric(&self, stream: &Stream) -> Value {
        let is_of_packets = matches!(
            self.crossing.metric,
            Metric::Packets | Metric::PacketsSent | Metric::PacketsReceived
        );
        let unit = if is_of_packets { "packets" } else { "bytes" };
        // For one that is the source, the destination, both: how much of what the source and the
        // destination sent counts. Both ends in one network are neither out of it nor into it.
        let within =
            |weight: [u8; 2]| if self.crossing.kind == Kind::Network { [0, 0] } else { weight };
        let weights = match self.crossing.metric {
            Metric::Bytes | Metric::Packets => {
                return json!({"sum": {"field": format!("network.{unit}")}});
            }
            Metric::Flows => return json!({"value_count": {"field": stream.time_field}}),
            Metric::Active => return self.active(stream),
            Metric::Statistic(_) => {
                let statistic = self.statistic.as_ref().and_then(Series::single);
                return statistic.unwrap_or_default();
            }
            Metric::BytesSent | Metric::PacketsSent => [[1, 0], [0, 1], within([1, 1])],
            Metric::BytesReceived | Metric::PacketsReceived => [[0, 1], [1, 0], within([1, 1])],
            Metric::Inner => [[0, 0], [0, 0], [1, 1]],
        };
        json!({"scripted_metric": {
            "init_script": "state.sum = 0.0; state.id = -1L; state.calls = 0; state.before = 0.0;",
            "map_script": SIDES_MAP,
            "combine_script": "return state.sum;",
            "reduce_script": "double sum = 0; for (def one : states) { if (one != null) { sum += one; } } return sum;",
            "params": {"source": format!("source.{unit}"),
                       "destination": format!("destination.{unit}"), "weights": weights},
        }})
    }

    /// The seconds in which a session was going on, each once.
    fn active(&self, stream: &Stream) -> Value {
        let ms = |minutes: u32| u64::from(minutes) * 60_000;
        json!({"scripted_metric": {
            "init_script": ACTIVE_INIT,
            "map_script": ACTIVE_MAP,
            "combine_script": ACTIVE_COMBINE,
            "reduce_script": ACTIVE_REDUCE,
            "params": {"first": "firstPacket", "last": stream.time_field, "end": "{{period_end}}",
                       "delay": ms(self.delay), "length": ms(self.crossing.every.minutes())},
        }})
    }

    /// What makes its trigger choose a bucket.
    #[must_use]
    pub fn trigger(&self) -> Value {
        let is_scripted =
            self.crossing.metric.has_sides() || self.crossing.metric == Metric::Active;
        let path = if is_scripted { "s0.value" } else { "s0" };
        let sign = if self.crossing.is_less { '<' } else { '>' };
        json!({
            "buckets_path": {"s0": path},
            "parent_bucket_path": super::monitor::GROUPS,
            "gap_policy": "skip",
            "script": {"source": format!("return params.s0 {sign} params.t0;"), "lang": "painless",
                       "params": {"t0": self.crossing.threshold}},
        })
    }
}

fn texts(cidrs: &[Cidr]) -> Vec<String> {
    cidrs.iter().map(ToString::to_string).collect()
}

impl Condition {
    /// The threshold, where it is about one.
    #[must_use]
    pub fn threshold(&self) -> Option<&Threshold> {
        match &self.test {
            super::Test::Threshold(threshold) => Some(threshold),
            _ => None,
        }
    }

    /// Whether each group of messages, or each entity, fires by itself.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        !self.group_by().is_empty() || self.threshold().is_some()
    }
}
