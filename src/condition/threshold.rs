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

use super::{
    Condition, Schedule, Stream,
    monitor::{MOST, PAGE, without_templates},
    series::Series,
};
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

const KEYS: &str = include_str!("threshold/keys.painless");
const SIDES_MAP: &str = include_str!("threshold/sides_map.painless");
const ACTIVE_INIT: &str = include_str!("threshold/active_init.painless");
const ACTIVE_MAP: &str = include_str!("threshold/active_map.painless");
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
                "aggregations": {"s0": self.metric(stream), "most": self.most()},
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
            "combine_script": "return state.spans;",
            "reduce_script": ACTIVE_REDUCE,
            "params": {"first": "firstPacket", "last": stream.time_field, "end": "{{period_end}}",
                       "delay": ms(self.delay), "length": ms(self.crossing.every.minutes())},
        }})
    }

    /// Where a bucket has the number.
    fn path(&self) -> &'static str {
        let is_scripted =
            self.crossing.metric.has_sides() || self.crossing.metric == Metric::Active;
        if is_scripted { "s0.value" } else { "s0" }
    }

    /// Leaves those that are furthest beyond the threshold, or nearest to it.
    fn most(&self) -> Value {
        let order = if self.crossing.is_less { "asc" } else { "desc" };
        json!({"bucket_sort": {"sort": [{self.path(): {"order": order}}], "size": MOST}})
    }

    /// What makes its trigger choose a bucket.
    #[must_use]
    pub fn trigger(&self) -> Value {
        let sign = if self.crossing.is_less { '<' } else { '>' };
        json!({
            "buckets_path": {"s0": self.path()},
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::file::{Defaults, read};

    fn monitor(lines: &str) -> Value {
        let defaults = Defaults { index_pattern: "p-*", time_field: "firstPacket" };
        let text = format!("title = \"t\"\ntype = \"threshold_cross\"\n{lines}");
        read(&text, "c", defaults).unwrap_or_else(|fault| panic!("{fault}\n{text}")).monitor("ours")
    }

    fn all_metrics(who: &str, metrics: &[&str]) -> Vec<Value> {
        let one = |metric: &&str| {
            monitor(&format!("{who}\nmetric = \"{metric}\"\nevery = \"min\"\nthreshold = 1"))
        };
        metrics.iter().map(one).collect()
    }

    /// Every text below a key `source` or `…_script`, but for what a message's template is.
    fn scripts(json: &Value, found: &mut std::collections::BTreeSet<String>) {
        match json {
            Value::Object(map) => {
                let own = |key: &str| key != "actions" && key != "params";
                for (key, value) in map.iter().filter(|(key, _)| own(key)) {
                    match value {
                        Value::String(text) if key == "source" || key.ends_with("_script") => {
                            found.insert(text.clone());
                        }
                        other => scripts(other, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|one| scripts(one, found)),
            _ => {}
        }
    }

    #[test]
    fn however_many_there_are_they_share_a_few_scripts() {
        let mut found = std::collections::BTreeSet::new();
        let sided = ["bytes", "bytes_sent", "bytes_received", "packets_sent", "active", "sum(x)"];
        for who in [
            "entity = \"host\"",
            "entity = \"host\"\nscope = [\"10.0.0.0/8\"]",
            "entity = \"network\"\nnetworks = [\"10.0.0.0/8\", \"::/0\"]",
            "entity = \"network\"\nnetworks = [\"11.0.0.0/8\"]\noperator = \"lt\"",
        ] {
            for one in all_metrics(who, &sided) {
                scripts(&one, &mut found);
            }
        }
        let interface = "entity = \"interface\"\ninterfaces = [\"a\"]\noperator = \"lt\"";
        for one in all_metrics(interface, &["bytes", "flows", "active"]) {
            scripts(&one, &mut found);
        }
        // Keys; four of each of two metrics; more and less.
        assert_eq!(found.len(), 1 + 8 + 2, "{found:#?}");
        assert!(found.iter().all(|script| !script.contains("{{")), "a template to the store");
    }

    #[test]
    fn the_window_is_aligned_with_the_clock_and_counts_no_session_twice() {
        for (every, delay, cron, from, to) in [
            ("min", 0, "* * * * *", "-1m", "-0m"),
            ("min", 3, "* * * * *", "-4m", "-3m"),
            ("5mins", 0, "*/5 * * * *", "-5m", "-0m"),
            ("5mins", 1, "1-59/5 * * * *", "-6m", "-1m"),
            ("5mins", 7, "2-59/5 * * * *", "-12m", "-7m"),
            ("hour", 5, "5 * * * *", "-65m", "-5m"),
            ("day", 30, "30 0 * * *", "-1470m", "-30m"),
        ] {
            let lines = format!(
                "entity = \"host\"\nmetric = \"bytes\"\nevery = \"{every}\"\nthreshold = 1\ndelay = {delay}\ntimezone = \"Europe/Berlin\""
            );
            let monitor = monitor(&lines);
            let want = json!({"cron": {"expression": cron, "timezone": "Europe/Berlin"}});
            assert_eq!(monitor["schedule"], want);
            let query = &monitor["inputs"][0]["search"]["query"]["query"]["bool"];
            let range = &query["filter"][0]["range"]["lastPacket"];
            let ends = [&range["from"], &range["to"]];
            assert_eq!(
                ends,
                [
                    &json!(format!("{{{{period_end}}}}||{from}")),
                    &json!(format!("{{{{period_end}}}}||{to}"))
                ]
            );
            assert_eq!(
                (&range["include_lower"], &range["include_upper"]),
                (&json!(true), &json!(false))
            );
        }
    }

    #[test]
    fn our_own_records_never_count() {
        for who in [
            "entity = \"host\"\nquery = \"a:b OR c:d\"",
            "entity = \"network\"\nnetworks = [\"::/0\"]\noperator = \"lt\"",
            "entity = \"interface\"",
        ] {
            for monitor in all_metrics(who, &["bytes", "active"]) {
                let query = &monitor["inputs"][0]["search"]["query"]["query"]["bool"];
                let ours = json!({"term": {"event.module": {"value": "alerting"}}});
                assert!(query["must_not"].as_array().unwrap().contains(&ours), "{query}");
            }
        }
    }

    #[test]
    fn only_what_is_listed_and_has_too_little_is_looked_for_where_there_are_no_sessions() {
        for (who, want) in [
            ("entity = \"host\"\noperator = \"lt\"", false),
            ("entity = \"network\"\nnetworks = [\"::/0\"]", false),
            ("entity = \"network\"\nnetworks = [\"::/0\"]\noperator = \"lt\"", true),
            ("entity = \"interface\"\noperator = \"lt\"", false),
            ("entity = \"interface\"\ninterfaces = [\"a\"]\noperator = \"lt\"", true),
        ] {
            for monitor in all_metrics(who, &["flows"]) {
                let indices = &monitor["inputs"][0]["search"]["indices"];
                let has_ours = indices.as_array().unwrap().contains(&json!("alertloop-state*"));
                assert_eq!(has_ours, want, "{who}");
            }
        }
    }
}
